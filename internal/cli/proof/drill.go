package proof

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/cli/archives"
	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/config/strict"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/drill"
	"github.com/backstay/backstay/internal/evidence"
	"github.com/backstay/backstay/internal/operation"
)

// drillFlags are the flags of drill. What is not given is as drill: in the
// configuration says.
type drillFlags struct {
	byPolicy, scratch        bool
	sample                   string
	loginUser, loginPassword string
	server, php, dir, disk   string
	trigger, schedule, due   string
}

// drilled is a drill in JSON.
type drilled struct {
	evidence.Drill
	Report string      `json:"report"` // path of its HTML
	Error  *ui.Failure `json:"error,omitempty"`
}

func (s commands) drillCommand() *cobra.Command {
	f := drillFlags{trigger: "manual"}
	cmd := s.Command("drill [APP] [BACKUP]", "Restore a backup into a scratch place and prove it", cobra.MaximumNArgs(2), func(ctx context.Context, args []string) error {
		why, err := occasion(f)
		if err != nil {
			return err
		}
		if f.byPolicy && len(args) == 2 {
			return &core.Error{Code: core.CodeUsage, Op: "drill", Message: "--by-policy chooses the backup", Hint: "leave out the backup, or --by-policy"}
		}
		return s.WithEngineAnyway(ctx, func(e *engine.Engine, cfg *config.Config) error {
			apps, err := appsOf(ctx, e, cfg, args[:min(len(args), 1)])
			if err != nil {
				return err
			}
			ref := ""
			if len(args) == 2 {
				ref = args[1]
			}
			return s.drillAll(ctx, e, cfg, apps, ref, f, why)
		})
	})
	cmd.PreRunE = session.RefuseEmptyFlags
	cmd.Long = `Restore a backup into a scratch place and prove it.

A private database server is started from the installed program, with its own data folder and no
network; the newest backup, or the one that is named, is restored there with its files beside, and
compared with what was captured. Then the application's own needs are looked at: versions, an
administrator, files that rows name, secrets that can be read. Where PHP is installed the restored
application is started, kept off the network, and asked for its pages; with --login-user somebody logs
in. All of it is removed again. The report is signed (backstay report verify FILE).

A drill that fails ends with exit code 4 and opens an alarm.`
	fl := cmd.Flags()
	s.RepositoryFlags(fl, session.KeyFlag)
	fl.BoolVar(&f.byPolicy, "by-policy", false, "drill the backup whose turn it is by drill: in the configuration, if one's is")
	fl.StringVar(&f.sample, "sample", "", "look at this share of rows and files only, with the whole schema: 5% (100%: all)")
	fl.StringVar(&f.loginUser, "login-user", "", "a user of the application to log in as")
	fl.StringVar(&f.loginPassword, "login-password-file", "", "file that holds the user's password")
	fl.StringVar(&f.server, "server", "", "program of the private database server (default: the installed one that fits best)")
	fl.BoolVar(&f.scratch, "scratch", false, "use the server of scratch: in the configuration, in place of a private one")
	fl.StringVar(&f.php, "php", "", "program that runs the application, or off")
	fl.StringVar(&f.dir, "dir", "", "folder in which the scratch place is made (default: the system's for temporary files)")
	fl.StringVar(&f.disk, "disk", "", "the most that it may take of the disk: 50GB")
	fl.StringVar(&f.trigger, "trigger", f.trigger, "why it is done: manual, schedule, catch-up")
	fl.StringVar(&f.schedule, "schedule", "", "the name of the schedule that asks for it")
	fl.StringVar(&f.due, "due", "", "when the schedule wanted it")
	for _, name := range []string{"trigger", "schedule", "due"} { // the service's
		_ = fl.MarkHidden(name)
	}
	return cmd
}

// appsOf are the apps that are named, or all. One that the configuration does
// not know and the repository does is drilled as on a bare machine.
func appsOf(ctx context.Context, e *engine.Engine, cfg *config.Config, names []string) ([]*config.App, error) {
	apps, err := session.Apps(cfg, names)
	if err == nil || len(names) == 0 {
		return apps, err
	}
	backups, lerr := e.List(ctx, names[0])
	if len(backups) == 0 {
		return nil, errors.Join(err, lerr)
	}
	return []*config.App{{Name: names[0], Profile: backups[len(backups)-1].Profile, Drill: cfg.Defaults.Drill, Targets: cfg.Defaults.Targets}}, nil
}

func occasion(f drillFlags) (operation.Occasion, error) {
	why := operation.Occasion{Trigger: f.trigger, Schedule: f.schedule}
	if !slices.Contains([]string{"manual", "schedule", "catch-up"}, f.trigger) {
		return why, &core.Error{Code: core.CodeUsage, Op: "drill", Message: fmt.Sprintf("there is no trigger %q", f.trigger), Hint: "it is manual, schedule or catch-up"}
	}
	if f.due != "" {
		at, err := time.Parse(time.RFC3339, f.due)
		if err != nil {
			return why, &core.Error{Code: core.CodeUsage, Op: "drill", Message: fmt.Sprintf("--due %q is not a time", f.due), Hint: "write it as 2026-11-23T23:30:00Z"}
		}
		why.Due = &at
	}
	return why, nil
}

// drillAll drills a backup of each app. One that fails keeps no other from its
// drill.
func (s commands) drillAll(ctx context.Context, e *engine.Engine, cfg *config.Config, apps []*config.App, ref string, f drillFlags, why operation.Occasion) error {
	c := s.Caretaker(ctx, e, cfg)
	results, failed := []drilled{}, error(nil)
	for _, a := range apps {
		done, err := s.drillOne(ctx, c, cfg, a, ref, f, why)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if done != nil {
			if err != nil {
				done.Error = ui.FailureOf(err)
			}
			if results = append(results, *done); !s.Printer.JSON() {
				s.printDrill(*done)
			}
		}
		if err != nil && len(apps) > 1 {
			s.Printer.Failure(err)
		}
		failed = errors.Join(failed, err)
	}
	if len(results) > 0 {
		if err := s.Printer.Result(map[string]any{"drills": results}, func() {}); err != nil {
			return err
		}
	}
	if failed != nil && (len(apps) > 1 || s.Printer.JSON() && len(results) > 0) {
		s.FailedWith(failed)
		return session.Outcome(worst(failed).ExitCode())
	}
	return failed
}

// worst is the code of several errors: damage is worse than what could not be
// looked at.
func worst(err error) core.Code {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		for _, e := range joined.Unwrap() {
			if core.CodeOf(e) == core.CodeDamage {
				return core.CodeDamage
			}
		}
		return core.CodeOf(joined.Unwrap()[0])
	}
	return core.CodeOf(err)
}

// drillOne drills a backup of an app; nil when none's turn it is.
func (s commands) drillOne(ctx context.Context, c *operation.Caretaker, cfg *config.Config, a *config.App, ref string, f drillFlags, why operation.Occasion) (*drilled, error) {
	app := s.Operated(a)
	e := c.Engine
	req, err := s.drillRequest(cfg, a, f)
	if err != nil {
		return nil, err
	}
	switch rec, newest, reason, err := s.choose(ctx, c, a, ref, f.byPolicy); {
	case err != nil:
		return nil, err
	case reason != "" && rec.ID == "":
		s.Printer.Infof("%s: %s", a.Name, reason)
		c.NoDrill(ctx, app, why, reason)
		return nil, nil
	default:
		req.Record, req.Newest = rec, newest
		if reason != "" {
			s.Printer.Infof("%s: backup %s, because %s", a.Name, ui.ShortID(rec.ID), reason)
		}
	}
	stepBack(req.Nice)
	progress := s.Printer.Progress()
	before := e.Progress
	e.Progress = progress
	d, err := c.Drill(ctx, app, req, reports(cfg.StateDir), why)
	progress.Close(err == nil)
	e.Progress = before
	if err == nil {
		err = operation.Judge(d)
	}
	return &drilled{Drill: d, Report: filepath.Join(reports(cfg.StateDir).Dir, "drills", d.ID+".html")}, err
}

// drillRequest says how a backup of the app is drilled: as the configuration
// says, but for what flags give.
func (s commands) drillRequest(cfg *config.Config, a *config.App, f drillFlags) (drill.Request, error) {
	d := a.Drill
	req := drill.Request{
		App: a.Name, Environment: a.Environment, Sample: d.Share(), Program: cmp.Or(f.server, d.Server), PHP: cmp.Or(f.php, d.PHP), Dir: cmp.Or(f.dir, d.Dir),
		Disk: d.Disk, Memory: d.Memory, Nice: d.Nice, RPO: a.Targets.RPO, RTO: a.Targets.RTO,
	}
	if f.sample != "" {
		share, err := percent(f.sample)
		if err != nil {
			return req, err
		}
		req.Sample = share
	}
	if f.disk != "" {
		size, wrong, hint := strict.ParseSize(f.disk)
		if wrong != "" {
			return req, &core.Error{Code: core.CodeUsage, Op: "drill", Message: "--disk " + wrong, Hint: hint}
		}
		req.Disk = size
	}
	user, source := d.LoginUser, d.Login
	if f.loginUser != "" {
		user, source = f.loginUser, config.SecretSource{PasswordFile: f.loginPassword}
	}
	if user != "" {
		password, err := config.ResolveSecret(source, "the user "+user, s.LookupEnv)
		if err != nil {
			return req, err
		}
		if password.Empty() {
			return req, &core.Error{Code: core.CodeUsage, Op: "drill", Message: "the password of the user " + user + " is not given", Hint: "give --login-password-file, or drill.login.password_file in the configuration"}
		}
		req.Account.User, req.Account.Password = user, password
	}
	if f.scratch || d.Scratch {
		server, err := archives.ScratchServer(s.Session, cfg)
		if err != nil {
			return req, err
		}
		if server == nil {
			return req, &core.Error{Code: core.CodeUsage, Op: "drill", Message: "no scratch server is configured", Hint: "add scratch: to the configuration, or leave out --scratch"}
		}
		req.Scratch = server
	}
	return req, nil
}

// percent reads a share.
func percent(text string) (float64, error) {
	n, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(text, "%")), 64)
	if err != nil || n <= 0 || n > 100 {
		return 0, &core.Error{Code: core.CodeUsage, Op: "drill", Message: fmt.Sprintf("--sample %q is no share", text), Hint: "write it as 5%"}
	}
	return n / 100, nil
}

// printDrill prints what a drill showed.
func (s commands) printDrill(d drilled) {
	p := s.Printer
	p.Printf("drill of %s, backup %s of %s\n", d.App, ui.ShortID(d.Backup.ID), p.Time(d.Backup.Time))
	if d.Place.Server != "" {
		p.Printf("  on %s\n", d.Place.Server)
	}
	t := ui.NewTable(ui.Column{}, ui.Column{}, ui.Column{})
	for _, proof := range d.Proofs {
		text := proof.Message
		if proof.Object != "" {
			text = proof.Object + ": " + text
		}
		t.Row("  "+string(proof.Outcome), proof.Name, text)
	}
	p.Table(t)
	if d.Failure != "" {
		p.Printf("  it could not go on: %s\n", d.Failure)
	}
	if d.Passed {
		p.Printf("recovered in %s%s; the newest backup was %s old%s\n", span(d.RTO.MeasuredMS), against(d.RTO), span(d.RPO.MeasuredMS), against(d.RPO))
	}
	word := map[bool]string{true: "passed", false: "FAILED"}[d.Passed]
	if d.Passed && d.Mode == evidence.DrillSample {
		word = "passed, of a sample"
	}
	p.Printf("%s; report: %s\n", word, d.Report)
	for _, left := range d.Left {
		p.Warn(core.Warning{Code: "left", Message: "it could not be removed: " + left})
	}
}

func span(ms int64) string { return ui.Duration(time.Duration(ms) * time.Millisecond) }

func against(o evidence.Objective) string {
	switch {
	case o.TargetMS == 0:
		return ""
	case o.Missed:
		return ", MORE than the " + span(o.TargetMS) + " that is the target"
	}
	return ", of " + span(o.TargetMS) + " that is the target"
}
