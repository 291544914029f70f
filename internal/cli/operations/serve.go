package operations

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/daemon"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/schedule"
	"github.com/backstay/backstay/internal/schedule/agenda"
)

func (s commands) serveCommand() *cobra.Command {
	var listen string
	cmd := s.Command("serve", "Look after all apps: keep schedules, check, tell of alarms, show metrics", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		path, err := config.Find(s.ConfigPath, s.Env.Getenv)
		if err != nil {
			return err
		}
		return Serve(ctx, s.Session, path, listen)
	})
	cmd.PreRunE = session.RefuseEmptyFlags
	cmd.Long = `Look after all apps of the configuration: back them up on their schedules, check them, apply retention,
maintain the repository, and tell of alarms where notify: says. Each run is a process of its own. A
changed configuration takes effect at once, and on SIGHUP; one that is wrong is refused, said, and
the former one goes on. http://127.0.0.1:8484/ is the web console, /api/v1 its API for scripts, /metrics
is for Prometheus, /healthz for monitors. The first start prints the link that sets the console up.`
	cmd.Flags().StringVar(&listen, "listen", "", "host:port of the console, the API, metrics and health (default: service.listen of the configuration)")
	return cmd
}

// Serve runs the service on a configuration until ctx ends. listen "" is as the
// configuration says.
func Serve(ctx context.Context, s *session.Session, path, listen string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	cfg, err := config.LoadExcusing(path)
	if err != nil {
		return err
	}
	log := s.Printer.Logger()
	if cfg.Service.Log == "json" {
		log = s.Printer.JSONLogger()
	}
	v := &service{commands: commands{s}, path: path, stateDir: cfg.StateDir, log: log, initial: cfg}
	return v.run(ctx, listen)
}

// run runs the service. A console that cannot be had keeps no backup from being
// made: that is a problem of the service.
func (v *service) run(ctx context.Context, listen string) error {
	o := daemon.Options{
		Load: v.load, Environment: append(os.Environ(), session.EnvService+"="+v.path), StateDir: v.stateDir, Listen: listen,
		Clock: v.Env.Clock, Log: v.log, Version: v.Env.Version, Problems: v.problems,
	}
	o.Launcher = daemon.NewLauncher(v.arguments)
	parts, err := v.newConsole(ctx, o.Launcher)
	if err != nil {
		v.log.Error("there is no console", "err", err, "hint", core.HintOf(err))
		v.noConsole = &core.Problem{Topic: core.TopicService, Name: "no-console", Level: core.LevelAlarm, Message: "the console cannot be used: " + err.Error(), Hint: core.HintOf(err)}
	} else {
		o.Handler = parts.handler
		looking, end := context.WithCancel(ctx)
		defer end()
		o.Ready = func(address string) {
			go parts.look(looking)
			parts.ready(address)
		}
		defer func() {
			if err := parts.close(); err != nil {
				v.log.Error("close the console", "err", err)
			}
		}()
	}
	return daemon.Run(ctx, o)
}

// service turns the configuration into what the daemon does.
type service struct {
	commands
	path     string
	stateDir string
	log      *slog.Logger
	initial  *config.Config                // what holds before the first plan was made
	cfg      atomic.Pointer[config.Config] // the last that was good
	broken   atomic.Pointer[error]         // why the file could not be read last
	kept     atomic.Pointer[string]        // the path of a copy of what is in effect
	unsaved  operation.Unsaved             // alarms of the service that are not in the state database

	noConsole *core.Problem // why there is no console; nil: there is one
}

// refreshSchedules is how often applications are asked anew when they want to
// be backed up.
const refreshSchedules = 5 * time.Minute

// load makes the plan, and remembers why it could not.
func (v *service) load(ctx context.Context) (daemon.Plan, error) {
	plan, err := v.plan(ctx)
	v.broken.Store(&err)
	return plan, err
}

// config is the configuration in effect.
func (v *service) config() *config.Config {
	if cfg := v.cfg.Load(); cfg != nil {
		return cfg
	}
	return v.initial
}

// effective is the configuration in effect, and why the file as it is now is not.
func (v *service) effective() (*config.Config, error) {
	if broken := v.broken.Load(); broken != nil {
		return v.config(), *broken
	}
	return v.config(), nil
}

// plan makes the plan. What is wrong with one app keeps no other from its work.
func (v *service) plan(ctx context.Context) (daemon.Plan, error) {
	load := config.Load
	if v.cfg.Load() == nil { // there is no former one to go on with: what is right is done
		load = config.LoadExcusing
	}
	cfg, err := load(v.path)
	if err != nil {
		return daemon.Plan{}, err
	}
	if cfg.StateDir != v.stateDir {
		return daemon.Plan{}, &core.Error{
			Code: core.CodeConfig, Op: "read " + v.path, Message: "state_dir changed from " + v.stateDir + " to " + cfg.StateDir,
			Hint: "restart the service: systemctl restart backstay",
		}
	}
	for _, w := range cfg.Warnings {
		v.log.Warn(w.String())
	}
	v.UseConfig(cfg)
	e, err := v.NewEngine(nil, cfg, core.NoProgress{})
	if err != nil {
		return daemon.Plan{}, err
	}
	e.Log = v.log
	checks := map[string][]string{} // apps by the name of their check's job
	plan := daemon.Plan{
		WatchFiles: []string{v.path}, Service: serviceOf(cfg.Service), Repository: e.Repository,
		Command: func(job daemon.Job, start agenda.Start) []string { return v.command(job, start, checks) },
	}
	for i := range cfg.Apps {
		v.planApp(ctx, e, &cfg.Apps[i], &plan, checks)
	}
	plan.Jobs = append(plan.Jobs, job(core.RunMaintain, "", cfg.Service.Maintenance, nil))
	if cfg.Verify.Scheduled {
		plan.Jobs = append(plan.Jobs, job(core.RunVerify, "", cfg.Verify.Schedule, nil))
	}
	for i := range plan.Jobs {
		plan.Jobs[i].Timeout = cfg.Service.Timeout
	}
	v.keepConfig()
	v.cfg.Store(cfg)
	plan.Service.TLS = daemon.TLS{Certificate: cfg.Console.Certificate, Key: cfg.Console.Key}
	if v.noConsole != nil && cfg.Console.Enabled {
		plan.Problems = append(plan.Problems, *v.noConsole)
	}
	plan.Digest = digest(plan, checks)
	return plan, nil
}

func serviceOf(c config.Service) daemon.Service {
	class := daemon.IOClass(c.IONice)
	if c.IONice == "none" {
		class = daemon.IOUnchanged
	}
	return daemon.Service{Listen: c.Listen, Parallel: c.Parallel, Nice: c.Nice, IOClass: class, Cancel: c.Stop == config.StopCancel, StopTimeout: c.StopTimeout}
}

// digest tells plans apart.
func digest(plan daemon.Plan, checks map[string][]string) string {
	h := sha256.New()
	for _, j := range plan.Jobs {
		fmt.Fprintf(h, "%s %v %v %v", j.Key, j.Off, j.Err, j.Timeout)
		if j.Schedule != nil {
			spec := j.Schedule.Spec()
			spec.Weekly = nil // a pointer, which is another each time; the fingerprint has what it points to
			fmt.Fprintf(h, " %s %+v", j.Schedule.Fingerprint(), spec)
		}
		fmt.Fprintln(h)
	}
	fmt.Fprintf(h, "%+v\n%s\n%v", plan.Service, plan.Repository, checks)
	return fmt.Sprintf("%x", h.Sum(nil))
}

func (v *service) planApp(ctx context.Context, e *engine.Engine, a *config.App, plan *daemon.Plan, checks map[string][]string) {
	app := v.Operated(a)
	want := operation.Want(ctx, e, app)
	if app.AsksApp() {
		plan.RefreshEvery = refreshSchedules
		if want.File != "" {
			plan.WatchFiles = append(plan.WatchFiles, want.File)
		}
	}
	// Apps that are checked at the same times are checked in one process, which
	// opens the repository once.
	looks := a.CheckSchedule
	looks.Name = checkName(looks)
	then := ""
	if !a.Check.Off && !looks.Off {
		checked := job(core.RunCheck, "", looks, nil)
		if _, known := checks[looks.Name]; !known {
			plan.Jobs = append(plan.Jobs, checked)
		}
		checks[looks.Name] = append(checks[looks.Name], a.Name)
		then = checked.Key
	}
	if a.Drill.Scheduled {
		drill := job(core.RunDrill, a.Name, a.Drill.Schedule, nil)
		drill.Free = true // a drill takes long, and no backup is to wait for it
		plan.Jobs = append(plan.Jobs, drill)
	}
	if want.Unusable != nil {
		unusable := job(core.RunBackup, a.Name, schedule.Spec{}, want.Unusable)
		unusable.Then = then
		plan.Jobs = append(plan.Jobs, unusable)
	}
	for _, spec := range want.Schedules {
		if spec.Check() == nil { // otherwise it is the one that is unusable
			backup := job(core.RunBackup, a.Name, spec, nil)
			backup.Then = then
			plan.Jobs = append(plan.Jobs, backup)
		}
	}
}

// job is a job of the plan. err says why its schedule cannot be kept.
func job(kind, app string, spec schedule.Spec, err error) daemon.Job {
	j := daemon.Job{Job: agenda.Job{Key: operation.JobKey(kind, app, spec.Name), App: app, Kind: kind, Name: spec.Name, Free: kind == core.RunCheck, Err: err}}
	if err == nil {
		j.Schedule, j.Err = schedule.Compile(spec, "")
	}
	return j
}

func checkName(spec schedule.Spec) string {
	s, err := schedule.Compile(spec, "")
	if err != nil {
		return cmp.Or(spec.Name, "check")
	}
	return "check " + s.Describe()
}

// command is the command line of a job's process.
func (v *service) command(job daemon.Job, start agenda.Start, checks map[string][]string) []string {
	args := v.arguments(nil)
	switch job.Kind {
	case core.RunBackup:
		args = append(args, "backup", job.App, "--trigger", start.Trigger, "--due", start.Due.UTC().Format(time.RFC3339))
		if job.Name != "" {
			args = append(args, "--schedule", job.Name)
		}
		if components := job.Schedule.Spec().Only; len(components) > 0 {
			var only []string
			for _, c := range components {
				only = append(only, string(c))
			}
			args = append(args, "--only", strings.Join(only, ","))
		}
	case core.RunCheck:
		args = append(append(args, "check"), checks[job.Name]...)
	case core.RunDrill:
		args = append(args, "drill", job.App, "--by-policy", "--trigger", start.Trigger, "--due", start.Due.UTC().Format(time.RFC3339), "--schedule", job.Name)
	case core.RunVerify:
		args = append(args, "verify", "--cover")
	default:
		args = append(args, job.Kind)
	}
	return args
}

// arguments are those of a process: what it is to do, and what holds for all.
func (v *service) arguments(command []string) []string {
	args := []string{"--config", *v.kept.Load(), "--json", "--no-progress"}
	if v.Verbose {
		args = append(args, "--verbose")
	}
	return append(args, command...)
}

// problems tells of what is wrong with the service itself.
func (v *service) problems(ctx context.Context, problems []core.Problem) {
	cfg := v.cfg.Load()
	if cfg == nil {
		return
	}
	e, err := v.NewEngine(nil, cfg, core.NoProgress{})
	if err != nil {
		v.log.Error("tell of the service's problems", "err", err)
		return
	}
	e.Log = v.log
	c := v.Caretaker(ctx, e, cfg)
	c.Unsaved = &v.unsaved
	if err := c.TellService(ctx, problems); err != nil {
		v.log.Error("the service's problems could not be told", "err", err)
	}
}
