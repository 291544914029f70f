// Package cli is backstay's command line: one file a command. It is for
// cmd/backstay. It wires the concrete parts together, turns flags and
// backstay.yaml into requests to the engine, and prints what comes back: the
// result to stdout, all else to stderr. It promises the exit codes and the JSON
// that docs/commands.md states.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/guard"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/generic"
	"github.com/backstay/backstay/internal/profile/itflow"
	"github.com/backstay/backstay/internal/profile/itop"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/kopia"
)

// Environment is what a command sees of the world.
type Environment struct {
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Getenv  func(string) string
	Clock   core.Clock
	Version string
}

const exitCodes = `Exit codes: 0 ok, 1 failed, 3 finished with warnings or in part, 4 damage, or an implausible
backup, 10 no repository, 11 locked, 12 wrong key, 64 usage, 130 cancelled.`

// Main runs the command line and returns the exit code.
func Main(ctx context.Context, args []string, env Environment) int {
	s := &session{env: env}
	help := &checkedWriter{w: env.Stdout}
	root := s.rootCommand(help)
	root.SetArgs(args)
	root.SetIn(env.Stdin)
	root.SetErr(env.Stderr)
	err := root.ExecuteContext(ctx)
	if s.printer == nil { // the flags were not even parsed
		s.json = s.json || asksForJSON(args)
		s.printer = s.newPrinter()
	}
	if err != nil && s.ran == "" && help.err == nil {
		err = usageError(err)
	}
	if errors.Is(err, context.Canceled) {
		err = s.cancelled(ctx, err)
	}
	var out outcome
	if errors.As(err, &out) {
		err = nil
	}
	s.printer.Error(err)
	if perr := errors.Join(s.printer.Err(), help.err); perr != nil && err == nil {
		fmt.Fprintln(env.Stderr, "backstay: error:", perr)
		return core.CodeFailed.ExitCode()
	}
	if err != nil {
		return core.CodeOf(err).ExitCode()
	}
	return int(out)
}

// cancelled says in plain words that a person ended the command, where it was,
// and what that means. Nothing of err's text is lost: it may also say that
// something could not be put back in order.
func (s *session) cancelled(ctx context.Context, err error) error {
	hint := core.HintOf(err)
	if hint == "" {
		hint = map[string]string{
			"backup":  "the backup under way was not made; backups that were finished before it stay",
			"guard":   "the command was not run, and nothing was changed",
			"restore": "a restore that had begun may have changed a part of the app; run it again to bring back all of it",
			"verify":  "nothing was changed; run it again to verify",
		}[s.ran]
	}
	text := strings.ReplaceAll(err.Error(), context.Canceled.Error(), "cancelled")
	if cause := context.Cause(ctx); cause != nil {
		text = strings.ReplaceAll(text, cause.Error(), "cancelled")
	}
	return &core.Error{Code: core.CodeCancelled, Message: text, Hint: hint}
}

// checkedWriter keeps the error of a write, which cobra ignores when it prints
// help or a completion script.
type checkedWriter struct {
	w   io.Writer
	err error
}

func (c *checkedWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err != nil {
		c.err = fmt.Errorf("write the result: %w", err)
	}
	return n, err
}

// asksForJSON looks for --json in a command line that cannot be parsed, so that
// a script gets this error too in the form that it reads.
func asksForJSON(args []string) bool {
	for _, a := range args {
		switch a {
		case "--json", "--json=true":
			return true
		case "--":
			return false
		}
	}
	return false
}

// outcome ends a command with an exit code and no error message: what there is
// to say has been printed.
type outcome int

func (o outcome) Error() string { return fmt.Sprintf("exit code %d", int(o)) }

func usageError(err error) error {
	var e *core.Error
	if errors.As(err, &e) {
		return err
	}
	return &core.Error{Code: core.CodeUsage, Message: err.Error(), Hint: "backstay --help lists the commands, backstay COMMAND --help their flags"}
}

// session is one run of the command line.
type session struct {
	env     Environment
	printer *ui.Printer
	ran     string // the command that began; errors from then on are not about usage

	passwordEnv []string // the variables that hold passwords of the configuration

	configPath                            string
	json, quiet, verbose, noProgress      bool
	repositoryURL, passwordFile, stateDir string // of restore on a bare machine
}

func (s *session) newPrinter() *ui.Printer {
	return ui.New(ui.Options{
		Stdout: s.env.Stdout, Stderr: s.env.Stderr, Stdin: s.env.Stdin, Clock: s.env.Clock,
		JSON: s.json, Quiet: s.quiet, Verbose: s.verbose, NoProgress: s.noProgress,
	})
}

func (s *session) rootCommand(out io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "backstay",
		Short: "Back up and restore self-hosted business applications",
		Long: "backstay backs up a self-hosted application - database, files, configuration, code - as one\n" +
			"consistent whole into an encrypted, deduplicated repository, and restores it.\n\n" + exitCodes,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRun: func(*cobra.Command, []string) {
			s.printer = s.newPrinter()
		},
	}
	f := root.PersistentFlags()
	f.StringVar(&s.configPath, "config", "", "configuration file (default: $BACKSTAY_CONFIG, ~/.config/backstay/backstay.yaml, /etc/backstay/backstay.yaml)")
	f.BoolVar(&s.json, "json", false, "print the result as JSON")
	f.BoolVar(&s.quiet, "quiet", false, "print the result, warnings and errors only")
	f.BoolVar(&s.verbose, "verbose", false, "say more about what is done")
	f.BoolVar(&s.noProgress, "no-progress", false, "do not show progress")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError(err) })
	root.AddCommand(
		s.initCommand(), s.detectCommand(), s.doctorCommand(), s.backupCommand(), s.listCommand(), s.showCommand(),
		s.lsCommand(), s.catCommand(), s.diffCommand(), s.verifyCommand(), s.restoreCommand(), s.undoCommand(), s.guardCommand(), s.deleteCommand(),
		s.pinCommand(true), s.pinCommand(false), s.demoCommand(), s.versionCommand(),
	)
	root.SetOut(out) // before the completion command is made, which keeps it
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" { // or an unknown shell would be met with help and exit code 0
			c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		}
		if slices.Contains([]string{"list", "show", "ls", "cat", "diff", "verify"}, c.Name()) {
			s.repositoryFlags(c.Flags())
			c.Flags().StringVar(&s.stateDir, "state-dir", "", "where locks and caches are kept, on a machine without a configuration")
			c.PreRunE = refuseEmptyFlags
		}
		if c.Long == "" {
			c.Long = c.Short + "."
		}
		c.Long += "\n\n" + exitCodes
	}
	return root
}

// command makes a cobra command whose errors are not about usage once it runs.
func (s *session) command(use, short string, args cobra.PositionalArgs, run func(ctx context.Context, args []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			if slices.ContainsFunc(args, func(a string) bool { return strings.TrimSpace(a) == "" }) {
				return usageError(errors.New("an argument is empty; was a variable of your script not set?"))
			}
			s.ran = cmd.Name()
			return run(cmd.Context(), args)
		},
	}
}

// registry wires the profiles.
func registry() profile.Registry {
	return profile.NewRegistry(itop.Profile{}, itflow.Profile{}, generic.Profile{})
}

// loadConfig reads the configuration and says what in it has no effect.
func (s *session) loadConfig() (*config.Config, error) {
	path, err := config.Find(s.configPath, s.env.Getenv)
	if err != nil {
		return nil, err
	}
	cfg, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	s.passwordEnv = cfg.PasswordEnv()
	for _, w := range cfg.Warnings {
		s.printer.Warn(w)
	}
	return cfg, nil
}

// withEngine opens the repository that the configuration, or the flags of a
// bare machine, name, calls do, and closes it. cfg is empty on a bare machine.
func (s *session) withEngine(ctx context.Context, do func(e *engine.Engine, cfg *config.Config) error) (err error) {
	if err := s.checkRepositoryFlags(); err != nil {
		return err
	}
	cfg := &config.Config{StateDir: s.stateDir}
	if s.repositoryURL == "" {
		if cfg, err = s.loadConfig(); err != nil {
			return err
		}
	} else {
		cfg.Repository = config.Repository{URL: s.repositoryURL, SecretSource: config.SecretSource{PasswordFile: s.passwordFile}}
		if cfg.StateDir == "" {
			cfg.StateDir = config.DefaultStateDir()
		}
	}
	if err := s.warnUnfinished(cfg.StateDir); err != nil {
		return err
	}
	return s.withStore(ctx, cfg, func(e *engine.Engine) error { return do(e, cfg) })
}

// withStore opens the repository of a configuration, calls do, and closes it.
func (s *session) withStore(ctx context.Context, cfg *config.Config, do func(e *engine.Engine) error) (err error) {
	store, err := s.openStore(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := store.Close(context.WithoutCancel(ctx)); cerr != nil && err == nil {
			err = cerr
		}
	}()
	progress := s.printer.Progress()
	e, err := s.newEngine(store, cfg, progress)
	if err != nil {
		return err
	}
	defer func() { progress.Close(err == nil) }()
	return do(e)
}

func (s *session) newEngine(store repository.Store, cfg *config.Config, progress core.Progress) (*engine.Engine, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("ask for the host name: %w", err)
	}
	return &engine.Engine{
		Store: store, Repository: cfg.Repository.URL, Profiles: registry(), StateDir: cfg.StateDir, Clock: s.env.Clock,
		Progress: progress, Log: s.logger(), Version: s.env.Version, Host: host,
		Under: s.env.Getenv(guard.EnvGuard),
	}, nil
}

func (s *session) logger() *slog.Logger { return s.printer.Logger() }

func (s *session) lookupEnv(name string) (string, bool) {
	v := s.env.Getenv(name)
	return v, v != ""
}

func (s *session) openStore(ctx context.Context, cfg *config.Config) (repository.Store, error) {
	key, err := config.ResolveSecret(cfg.Repository.SecretSource, "the repository", s.lookupEnv)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &core.Error{
			Code: core.CodeOf(err), Err: err,
			Hint: s.keyHint(),
		}
	}
	if err != nil {
		return nil, err
	}
	return kopia.Open(ctx, s.storeOptions(cfg, key))
}

// keyHint says what to do when the file of the repository's key is not there.
func (s *session) keyHint() string {
	if s.repositoryURL != "" {
		return "give the file that holds the repository's key with --password-file"
	}
	return "put the key back from the copy that is kept elsewhere, or correct password_file; where there is no repository yet, backstay init makes both"
}

func (s *session) storeOptions(cfg *config.Config, key core.Secret) kopia.Options {
	return kopia.Options{URL: cfg.Repository.URL, Password: key, Clock: s.env.Clock, Logger: s.logger(), StateDir: usableDir(cfg.StateDir)}
}

// usableDir returns dir when this process can write there, else "". What is
// kept there need not be made anew, and a process that is killed leaves no
// temporary folder; but a full disk must not keep anyone from a restore.
func usableDir(dir string) string {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return ""
	}
	probe, err := os.CreateTemp(dir, ".probe-")
	if err != nil {
		return ""
	}
	_, err = probe.Write(make([]byte, 8<<10))
	if errors.Join(err, probe.Close(), os.Remove(probe.Name())) != nil {
		return ""
	}
	return dir
}

// target turns an app of the configuration into what the engine works on.
func (s *session) target(app *config.App) (engine.Target, error) {
	password, err := config.ResolveSecret(app.Database.SecretSource, "the database of app "+app.Name, s.lookupEnv)
	if err != nil {
		return engine.Target{}, err
	}
	d := app.Database
	t := engine.Target{
		Profile: app.Profile, Consistency: app.Consistency, Connections: d.Connections,
		App: profile.App{
			Name: app.Name, Root: app.Root, Environment: app.Environment, Config: app.Config, Exclude: app.Exclude,
			Database: profile.Database{Host: d.Host, Port: d.Port, Socket: d.Socket, User: d.User, Password: password, Name: d.Name, Prefix: d.Prefix, TLS: d.TLS},
			Hooks:    profile.Hooks(app.Hooks), URL: app.URL, PasswordEnv: s.passwordEnv,
		},
	}
	for _, f := range app.Files {
		t.App.Files = append(t.App.Files, profile.Files(f))
	}
	return t, nil
}

// apps returns the apps named, or all.
func apps(cfg *config.Config, names []string) ([]*config.App, error) {
	var out []*config.App
	for _, n := range names {
		a, err := cfg.App(n)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	if len(names) == 0 {
		for i := range cfg.Apps {
			out = append(out, &cfg.Apps[i])
		}
	}
	if len(out) == 0 {
		return nil, &core.Error{
			Code: core.CodeConfig, Op: "choose apps", Message: "the configuration has no app",
			Hint: "add one under apps:, or let backstay init --detect find them",
		}
	}
	return out, nil
}

func parseComponents(names []string) ([]core.Component, error) {
	var out []core.Component
	for _, n := range names {
		c, err := core.ParseComponent(n)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// shortID is as much of an id as lists show.
func shortID(id string) string { return id[:min(8, len(id))] }
