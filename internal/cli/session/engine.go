package session

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/daemon"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/guard"
	"github.com/backstay/backstay/internal/engine/journal"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/generic"
	"github.com/backstay/backstay/internal/profile/itflow"
	"github.com/backstay/backstay/internal/profile/itop"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/kopia"
)

// Names of the flag for the repository's key. OtherKeyFlag is for commands on
// which --password-file is another password.
const (
	KeyFlag      = "password-file"
	OtherKeyFlag = "repository-password-file"
)

// RepositoryFlags name a repository on a machine without a configuration, or
// another one than the configuration's. keyFlag is KeyFlag or OtherKeyFlag.
func (s *Session) RepositoryFlags(fl *pflag.FlagSet, keyFlag string) {
	fl.StringVar(&s.RepositoryURL, "repository", "", "the repository's URL, on a machine without a configuration")
	fl.StringVar(&s.PasswordFile, keyFlag, "", "file that holds the repository's key")
}

// checkRepositoryFlags makes the paths of the key and the state folder
// absolute: they may become part of a configuration or a journal.
func (s *Session) checkRepositoryFlags() (err error) {
	switch {
	case s.RepositoryURL != "" && s.PasswordFile == "":
		return &core.Error{Code: core.CodeUsage, Op: s.ran, Message: "--repository needs the key too", Hint: "give --" + s.keyFlag + " FILE"}
	case s.RepositoryURL == "" && s.PasswordFile != "":
		return &core.Error{Code: core.CodeUsage, Op: s.ran, Message: "--" + s.keyFlag + " is the key of the repository that --repository names", Hint: "give --repository URL too; with a configuration its password_file is used"}
	case s.PasswordFile != "":
		s.PasswordFile, err = filepath.Abs(s.PasswordFile)
	}
	if s.StateDir != "" && err == nil {
		s.StateDir, err = filepath.Abs(s.StateDir)
	}
	return err
}

// Profiles wires the profiles.
func Profiles() profile.Registry {
	return profile.NewRegistry(itop.Profile{}, itflow.Profile{}, generic.Profile{})
}

// LoadConfig reads the configuration and says what in it has no effect.
func (s *Session) LoadConfig() (*config.Config, error) {
	path, err := config.Find(s.ConfigPath, s.Env.Getenv)
	if err != nil {
		return nil, err
	}
	cfg, err := config.LoadExcusing(path) // a schedule with a typo must not keep anyone from a restore
	if err != nil {
		return nil, err
	}
	s.UseConfig(cfg)
	for _, w := range cfg.Warnings {
		s.Printer.Warn(w)
	}
	return cfg, nil
}

// UseConfig has targets keep the passwords of this configuration from hooks, and
// what says that the service runs this, and for whom: a backstay in a hook is a
// person's.
func (s *Session) UseConfig(cfg *config.Config) {
	s.passwordEnv = append(cfg.PasswordEnv(), EnvService, daemon.EnvRun, daemon.EnvBy, daemon.EnvVia)
}

// WithEngine opens the repository that the configuration, or the flags of a
// bare machine, name, calls do, and closes it. cfg is empty on a bare machine.
func (s *Session) WithEngine(ctx context.Context, do func(e *engine.Engine, cfg *config.Config) error) (err error) {
	return s.withEngine(ctx, s.OpenStore, do)
}

// WithEngineAnyway is WithEngine for what tells people what is wrong: with a
// repository that cannot be opened, do has one that says so.
func (s *Session) WithEngineAnyway(ctx context.Context, do func(e *engine.Engine, cfg *config.Config) error) error {
	return s.withEngine(ctx, func(ctx context.Context, cfg *config.Config) (repository.Store, error) {
		store, err := s.OpenStore(ctx, cfg)
		if err != nil && ctx.Err() == nil {
			return repository.Unusable(err), nil
		}
		return store, err
	}, do)
}

type storeOpener func(context.Context, *config.Config) (repository.Store, error)

func (s *Session) withEngine(ctx context.Context, open storeOpener, do func(e *engine.Engine, cfg *config.Config) error) (err error) {
	if err := s.checkRepositoryFlags(); err != nil {
		return err
	}
	cfg := &config.Config{StateDir: s.StateDir}
	if s.RepositoryURL == "" {
		if cfg, err = s.LoadConfig(); err != nil {
			return err
		}
	} else {
		cfg.Repository = config.Repository{URL: s.RepositoryURL, SecretSource: config.SecretSource{PasswordFile: s.PasswordFile}}
		if cfg.StateDir == "" {
			cfg.StateDir = config.DefaultStateDir()
		}
		s.UseConfig(cfg)
	}
	if err := s.warnUnfinished(cfg.StateDir); err != nil {
		return err
	}
	s.beginAudit(ctx, cfg.StateDir)
	s.beginRun(ctx, cfg.StateDir)
	return s.withStore(ctx, cfg, open, func(e *engine.Engine) error { return do(e, cfg) })
}

// WithStore opens the repository of a configuration, calls do, and closes it.
func (s *Session) WithStore(ctx context.Context, cfg *config.Config, do func(e *engine.Engine) error) error {
	return s.withStore(ctx, cfg, s.OpenStore, do)
}

func (s *Session) withStore(ctx context.Context, cfg *config.Config, open storeOpener, do func(e *engine.Engine) error) (err error) {
	store, err := open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := store.Close(context.WithoutCancel(ctx)); cerr != nil && err == nil {
			err = cerr
		}
	}()
	progress := s.Printer.Progress()
	e, err := s.NewEngine(store, cfg, s.progress.show(progress))
	if err != nil {
		return err
	}
	defer func() { progress.Close(err == nil) }()
	return do(e)
}

// NewEngine wires an engine. store is nil for what needs no repository.
func (s *Session) NewEngine(store repository.Store, cfg *config.Config, progress core.Progress) (*engine.Engine, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("ask for the host name: %w", err)
	}
	var identities core.Secret
	if file := cfg.Secrets.IdentityFile; file != "" {
		if identities, err = config.ReadArchiveSecret(file); err != nil {
			// A backup needs none; what does says that there is none.
			s.Printer.Logger().Warn("the identities that open sealed secrets cannot be read", "err", err, "hint", core.HintOf(err))
		}
	}
	return &engine.Engine{
		SealTo: cfg.Secrets.Recipients, Identities: identities,
		Store: store, Repository: cfg.Repository.URL, Profiles: Profiles(), StateDir: cfg.StateDir, Clock: s.Env.Clock,
		Progress: progress, Log: s.Printer.Logger(), Version: s.Env.Version, Host: host,
		Under: s.Env.Getenv(guard.EnvGuard),
	}, nil
}

// LookupEnv returns an environment variable, and whether there is anything in it.
func (s *Session) LookupEnv(name string) (string, bool) {
	v := s.Env.Getenv(name)
	return v, v != ""
}

// OpenStore opens the repository of a configuration. The caller closes it.
func (s *Session) OpenStore(ctx context.Context, cfg *config.Config) (repository.Store, error) {
	key, err := config.ResolveSecret(cfg.Repository.SecretSource, "the repository", s.LookupEnv)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &core.Error{
			Code: core.CodeOf(err), Err: err,
			Hint: s.keyHint(),
		}
	}
	if err != nil {
		return nil, err
	}
	return kopia.Open(ctx, s.StoreOptions(cfg, key))
}

// keyHint says what to do when the file of the repository's key is not there.
func (s *Session) keyHint() string {
	if s.RepositoryURL != "" {
		return "give the file that holds the repository's key with --" + s.keyFlag
	}
	return "put the key back from the copy that is kept elsewhere, or correct password_file; where there is no repository yet, backstay init makes both"
}

// StoreOptions say how to open or create the repository of a configuration.
func (s *Session) StoreOptions(cfg *config.Config, key core.Secret) kopia.Options {
	o := kopia.Options{URL: cfg.Repository.URL, Password: key, Clock: s.Env.Clock, Logger: s.Printer.Logger(), StateDir: usableDir(cfg.StateDir)}
	if s.ByService() && !s.Launched() { // a person who waits is not slowed down
		o.UploadLimit, o.DownloadLimit = cfg.Service.UploadLimit, cfg.Service.DownloadLimit
	}
	return o
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

// Target turns an app of the configuration into what the engine works on.
func (s *Session) Target(app *config.App) (engine.Target, error) {
	password, err := config.ResolveSecret(app.Database.SecretSource, "the database of app "+app.Name, s.LookupEnv)
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

// Apps returns the apps named, or all.
func Apps(cfg *config.Config, names []string) ([]*config.App, error) {
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

// WithMachine calls do with an engine that has no repository: the way back
// must be open when the repository is not there.
func (s *Session) WithMachine(ctx context.Context, do func(*engine.Engine, *config.Config) error) (err error) {
	if err := s.checkRepositoryFlags(); err != nil {
		return err
	}
	cfg := &config.Config{StateDir: s.StateDir}
	if s.StateDir == "" {
		if cfg, err = s.LoadConfig(); err != nil {
			return err
		}
	}
	s.beginAudit(ctx, cfg.StateDir)
	s.beginRun(ctx, cfg.StateDir)
	progress := s.Printer.Progress()
	e, err := s.NewEngine(nil, cfg, s.progress.show(progress))
	if err != nil {
		return err
	}
	defer func() { progress.Close(err == nil) }()
	return do(e, cfg)
}

// warnUnfinished says for every app whose restore was cut short what must be
// done about it.
func (s *Session) warnUnfinished(stateDir string) error {
	apps, err := journal.Apps(stateDir)
	if err != nil {
		return err
	}
	for _, app := range apps {
		j, err := journal.Newest(stateDir, app)
		if err != nil {
			return err
		}
		if j == nil || !j.Unfinished() {
			continue
		}
		if engine.Holder(stateDir, app) != "" {
			continue // it is not cut short: somebody works on it
		}
		s.Printer.Warn(core.Warning{Code: "unfinished", Object: "app " + app, Message: j.Left() + ": backstay restore --resume " + app})
	}
	return nil
}
