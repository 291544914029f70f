// Package setup has the commands that prepare a machine for backups: init,
// detect, doctor. It is for package cli. It promises that none of them
// overwrites a configuration, a key or a repository.
package setup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/doctor"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/itop"
	"github.com/backstay/backstay/internal/repository/kopia"
	"github.com/backstay/backstay/internal/retention"
	"github.com/backstay/backstay/internal/schedule"
)

// commands are the commands of this package in one session.
type commands struct {
	*session.Session
	installs []config.Install // of init --from-itop
	unclear  bool             // one has settings that cannot be understood
}

// Commands returns the commands.
func Commands(s *session.Session) []*cobra.Command {
	c := &commands{Session: s}
	return []*cobra.Command{c.initCommand(), c.detectCommand(), c.doctorCommand()}
}

func (s *commands) initCommand() *cobra.Command {
	var url string
	var detect bool
	var fromITop []string
	cmd := s.Command("init [--repository URL] [--detect [DIR…]]", "Write a configuration and create the repository", cobra.ArbitraryArgs, func(ctx context.Context, args []string) error {
		if len(args) > 0 && !detect {
			return &core.Error{Code: core.CodeUsage, Op: "init", Message: "folders are for --detect", Hint: "backstay init --detect DIR…"}
		}
		for _, root := range fromITop {
			found, err := s.fromITop(ctx, root)
			if err != nil {
				return err
			}
			s.installs = append(s.installs, found)
		}
		return s.initialise(ctx, url, detect, args)
	})
	cmd.Long = `Write a configuration and create the repository.

With a configuration already there it creates the repository that this names, with the key in
password_file when that file exists, and with a new key when not. It never overwrites a
configuration, a key or a repository.`
	cmd.Flags().StringVar(&url, "repository", "", "where the repository is to be (default: file:// in the state folder)")
	cmd.Flags().StringVar(&s.StateDir, "state-dir", "", "where locks and caches are to be kept (default: /var/lib/backstay for root)")
	cmd.Flags().StringArrayVar(&fromITop, "from-itop", nil, "take over the iTop in this folder, with its own schedule and retention (may be repeated)")
	cmd.Flags().BoolVar(&detect, "detect", false, "look for iTop and ITFlow in the folders given, or in the usual web roots, and list them in the configuration")
	return cmd
}

// initialised is what init did.
type initialised struct {
	Config        string   `json:"config"`
	ConfigCreated bool     `json:"config_created"`
	Repository    string   `json:"repository"`
	KeyFile       string   `json:"key_file"`
	KeyCreated    bool     `json:"key_created"`
	Apps          []string `json:"apps"`
}

func (s *commands) initialise(ctx context.Context, url string, detect bool, dirs []string) error {
	path := s.ConfigPath
	if path == "" {
		path = s.Env.Getenv(config.EnvConfig)
	}
	if path == "" {
		found, err := config.Find("", s.Env.Getenv)
		if err == nil {
			path = found
		} else {
			path = config.DefaultPath(s.Env.Getenv)
		}
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	done := initialised{Config: path, Apps: []string{}}
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		if err := s.writeConfig(ctx, path, url, detect, dirs); err != nil {
			return err
		}
		done.ConfigCreated = true
	} else if err != nil {
		return &core.Error{Code: core.CodeConfig, Op: "init", Err: err}
	}
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	if !done.ConfigCreated && url != "" && url != cfg.Repository.URL {
		return &core.Error{
			Code: core.CodeUsage, Op: "init", Message: path + " is there already and names the repository " + cfg.Repository.URL,
			Hint: "change repository.url there, or give another file with --config",
		}
	}
	done.Repository = cfg.Repository.URL
	for _, a := range cfg.Apps {
		done.Apps = append(done.Apps, a.Name)
	}
	if err := s.createRepository(ctx, cfg, &done); err != nil {
		if done.ConfigCreated {
			s.Printer.Infof("the configuration %s was written; correct it and run backstay init again", path)
		}
		return err
	}
	if err := s.Printer.Result(done, func() { s.printInitialised(done) }); err != nil || !s.unclear || !done.ConfigCreated {
		return err
	}
	return session.Outcome(core.CodeWarnings.ExitCode())
}

func (s *commands) writeConfig(ctx context.Context, path, url string, detect bool, dirs []string) error {
	state, err := filepath.Abs(cmp.Or(s.StateDir, config.DefaultStateDir()))
	if err != nil {
		return err
	}
	if url == "" {
		url = "file://" + filepath.Join(state, "repository")
	}
	// What cannot become a repository must not get a configuration either.
	if err := kopia.Vacant(url); err != nil {
		return err
	}
	in := config.TemplateInput{RepositoryURL: url, KeyFile: filepath.Join(filepath.Dir(path), "repository.key"), StateDir: state}
	in.Installs = append(in.Installs, s.installs...)
	if detect {
		found, err := s.find(ctx, dirs)
		if err != nil {
			return err
		}
		for _, f := range found {
			in.Installs = append(in.Installs, config.Install{Profile: f.Profile, Root: f.Root, Name: f.Name, Environment: f.Environment})
		}
	}
	text, err := config.Template(in)
	if err != nil {
		return err
	}
	return config.WriteFile(path, text)
}

// fromITop reads what an iTop says of its own backups. What cannot be understood
// is told, and followed from when it can be: until then check raises an alarm.
func (s *commands) fromITop(ctx context.Context, root string) (config.Install, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return config.Install{}, err
	}
	found, ok := itop.Profile{}.Detect(root)
	if !ok {
		return config.Install{}, &core.Error{
			Code: core.CodeApplication, Op: "init", Message: "there is no iTop in " + root,
			Hint: "give the folder that has approot.inc.php and conf/; backstay detect DIR looks for it",
		}
	}
	in := config.Install{Profile: found.Profile, Root: found.Root, Name: found.Name, Environment: found.Environment}
	own, err := itop.Profile{}.AppSchedule(ctx, nil, profile.App{Name: cmp.Or(found.Name, filepath.Base(found.Root)), Root: found.Root, Environment: found.Environment})
	switch {
	case err != nil:
		s.followed(root, "schedule", err)
		in.Schedules = []schedule.Spec{{FromApp: true}}
	case own.Enabled:
		in.Schedules = []schedule.Spec{{Weekly: &schedule.Weekly{Days: own.Days, At: schedule.ClockTime{Hour: own.Hour, Minute: own.Minute}}, TimeZone: own.TimeZone}}
	default: // what is off says no time
		in.Schedules = []schedule.Spec{{Off: true}}
	}
	switch {
	case own.RetentionErr != nil:
		s.followed(root, "retention", own.RetentionErr)
		in.Retention = []retention.Policy{{FromApp: true}}
	case own.Count > 0:
		in.Retention = []retention.Policy{{Count: own.Count}}
	case err != nil: // nothing could be read
		in.Retention = []retention.Policy{{FromApp: true}}
	}
	return in, nil
}

// followed says that a part of an iTop's settings could not be written down.
func (s *commands) followed(root, what string, err error) {
	s.unclear = true
	message := "its " + what + " cannot be taken over, and is followed (from_app) once it is put right: " + err.Error()
	if hint := core.HintOf(err); hint != "" {
		message += "; " + hint
	}
	s.Printer.Warn(core.Warning{Object: root, Message: message})
}

// createRepository makes the key where there is none, then the repository. A
// key that was made for a repository that could not be created stays: it may
// be used by the next try, and it protects nothing yet.
func (s *commands) createRepository(ctx context.Context, cfg *config.Config, done *initialised) error {
	source := cfg.Repository.SecretSource
	done.KeyFile = source.PasswordFile
	if source.PasswordFile != "" {
		if _, err := os.Lstat(source.PasswordFile); errors.Is(err, os.ErrNotExist) {
			if err := kopia.Vacant(cfg.Repository.URL); err != nil {
				return err // a new key would not open what is there
			}
			key, err := config.GenerateKey()
			if err != nil {
				return err
			}
			if err := config.WriteKeyFile(source.PasswordFile, key); err != nil {
				return err
			}
			done.KeyCreated = true
		}
	}
	if !source.Given() {
		return &core.Error{
			Code: core.CodeConfig, Op: "init", Message: "the configuration names no key for the repository",
			Hint: "add password_file: /etc/backstay/repository.key under repository:, and run backstay init again to make it",
		}
	}
	key, err := config.ResolveSecret(source, "the repository", s.LookupEnv)
	if err != nil {
		return err
	}
	return kopia.Create(ctx, s.StoreOptions(cfg, key))
}

func (s *commands) printInitialised(d initialised) {
	p := s.Printer
	if d.ConfigCreated {
		p.Printf("wrote the configuration %s\n", d.Config)
	}
	p.Printf("created the repository %s\n", d.Repository)
	if d.KeyCreated {
		p.Printf("wrote its key to %s\n\n", d.KeyFile)
		p.Printf("Keep a copy of this key somewhere else too, on paper or in a password safe. Whoever has\n" +
			"lost it has lost every backup: nothing else opens the repository.\n\n")
	}
	if len(d.Apps) == 0 {
		p.Printf("next: describe your apps in %s, then run backstay doctor\n", d.Config)
		return
	}
	for _, a := range d.Apps {
		p.Printf("app %s\n", a)
	}
	p.Printf("next: backstay doctor, then backstay backup\n")
}

// find looks for installations and says where it could not look.
func (s *commands) find(ctx context.Context, dirs []string) ([]profile.Installation, error) {
	found, warnings, err := session.Profiles().Detect(ctx, dirs)
	for _, w := range warnings {
		s.Printer.Warn(w)
	}
	return found, err
}

func (s *commands) detectCommand() *cobra.Command {
	return s.Command("detect [DIR…]", "Find iTop and ITFlow on this machine", cobra.ArbitraryArgs, func(ctx context.Context, args []string) error {
		found, err := s.find(ctx, args)
		if err != nil {
			return err
		}
		type install struct {
			Profile string `json:"profile"`
			Root    string `json:"root"`
			Name    string `json:"name"`
			Version string `json:"version,omitempty"`
		}
		out := []install{}
		for _, f := range found {
			out = append(out, install{f.Profile, f.Root, f.Name, f.Version})
		}
		return s.Printer.Result(map[string]any{"installations": out}, func() {
			if len(out) == 0 {
				s.Printer.Printf("found no installation\n")
				return
			}
			t := ui.NewTable(ui.Column{Title: "PROFILE"}, ui.Column{Title: "VERSION"}, ui.Column{Title: "ROOT"})
			for _, f := range out {
				t.Row(f.Profile, f.Version, f.Root)
			}
			s.Printer.Table(t)
			s.Printer.Infof("backstay init --detect writes a configuration for them")
		})
	})
}

func (s *commands) doctorCommand() *cobra.Command {
	return s.Command("doctor [APP]", "See whether apps can be backed up and restored", cobra.MaximumNArgs(1), func(ctx context.Context, args []string) error {
		cfg, err := s.LoadConfig()
		if err != nil {
			return err
		}
		chosen, err := session.Apps(cfg, args)
		if err != nil {
			return err
		}
		checks := s.doctorRepository(ctx, cfg)
		e, err := s.NewEngine(nil, cfg, core.NoProgress{})
		if err != nil {
			return err
		}
		for _, app := range chosen {
			t, err := s.Target(app)
			if err != nil {
				checks = append(checks, doctor.Check{App: app.Name, Name: "configuration", Health: doctor.Broken, Message: err.Error(), Hint: core.HintOf(err)})
				continue
			}
			checks = append(checks, doctor.App(ctx, e, t)...)
			checks = append(checks, s.doctorOperations(ctx, e, app)...)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return s.printChecks(checks)
	})
}

// doctorRepository opens the repository and writes nothing into it but what
// opening takes.
func (s *commands) doctorRepository(ctx context.Context, cfg *config.Config) []doctor.Check {
	store, err := s.OpenStore(ctx, cfg)
	if err != nil {
		return []doctor.Check{{Name: "repository", Health: doctor.Broken, Message: err.Error(), Hint: core.HintOf(err)}}
	}
	list, err := store.List(ctx)
	if cerr := store.Close(ctx); err == nil {
		err = cerr
	}
	if err == nil {
		err = kopia.Writable(cfg.Repository.URL)
	}
	if err != nil {
		return []doctor.Check{{Name: "repository", Health: doctor.Broken, Message: err.Error(), Hint: core.HintOf(err)}}
	}
	checks := []doctor.Check{{Name: "repository", Health: doctor.Healthy, Message: cfg.Repository.URL + ", " + ui.Count(int64(len(list))) + " backup(s)"}}
	if dir, ok := kopia.LocalPath(cfg.Repository.URL); ok {
		checks = append(checks, checkSpace("repository space", dir))
	}
	return checks
}

// doctorOperations looks at when an app is backed up and who is told of alarms.
func (s *commands) doctorOperations(ctx context.Context, e *engine.Engine, app *config.App) []doctor.Check {
	var checks []doctor.Check
	add := func(name string, err error, fine string) {
		c := doctor.Check{App: app.Name, Name: name, Health: doctor.Healthy, Message: fine}
		if err != nil {
			c.Health, c.Message, c.Hint = doctor.Broken, err.Error(), core.HintOf(err)
		}
		checks = append(checks, c)
	}
	operated := s.Operated(app)
	if len(app.Schedules) > 0 || operated.AsksApp() {
		want := operation.Want(ctx, e, operated)
		var lines []string
		for _, spec := range want.Schedules {
			compiled, err := schedule.Compile(spec, "")
			switch {
			case spec.Off:
				lines = append(lines, "switched off")
			case err == nil:
				lines = append(lines, compiled.Describe())
			}
		}
		if len(app.Schedules) > 0 {
			add("schedule", want.Unusable, strings.Join(lines, "; "))
		}
		if want.Unkept != nil {
			checks = append(checks, doctor.Check{App: app.Name, Name: "retention", Health: doctor.Caution, Message: "nothing is removed: " + want.Unkept.Error(), Hint: core.HintOf(want.Unkept)})
		}
	}
	for _, d := range app.Notify {
		add("notify "+d.Name, s.TryDestination(app.Name, d), "configured; backstay notify test tries it")
	}
	return checks
}

// lowSpace is how much free space is worth a warning, in bytes.
const lowSpace = 1 << 30

// checkSpace says how much room a folder's file system has.
func checkSpace(name, dir string) doctor.Check {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return doctor.Check{Name: name, Health: doctor.Broken, Message: fmt.Sprintf("%s: %v", dir, err)}
	}
	free := int64(st.Bavail) * st.Bsize
	c := doctor.Check{Name: name, Health: doctor.Healthy, Message: ui.Size(free) + " free at " + dir}
	if free < lowSpace {
		c.Health, c.Hint = doctor.Caution, "a backup that fills the disk fails; make room or move the repository"
	}
	return c
}

func (s *commands) printChecks(checks []doctor.Check) error {
	worst := core.Code("")
	for _, c := range checks {
		switch {
		case c.Health == doctor.Broken:
			worst = core.CodeFailed
		case c.Health == doctor.Caution && worst == "":
			worst = core.CodeWarnings
		}
	}
	err := s.Printer.Result(map[string]any{"checks": checks}, func() {
		for _, c := range checks {
			name := c.Name
			if c.App != "" {
				name = c.App + ": " + name
			}
			s.Printer.Printf("%-8s %s: %s\n", string(c.Health), name, c.Message)
			if c.Hint != "" {
				s.Printer.Printf("%-8s   %s\n", "", c.Hint)
			}
		}
	})
	if err == nil && worst != "" {
		return session.Outcome(worst.ExitCode())
	}
	return err
}
