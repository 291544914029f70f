package recovery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine/restore"
)

// configPlace is where a configuration will be looked up. It is "" when there
// is one already, or when it cannot be told.
func (s commands) configPlace() string {
	path := s.ConfigPath
	if path == "" {
		path = s.Env.Getenv(config.EnvConfig)
	}
	if path == "" {
		if _, err := config.Find("", s.Env.Getenv); err == nil {
			return ""
		}
		path = config.DefaultPath(s.Env.Getenv)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return ""
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	return path
}

// restoresBare says whether a whole app is restored by flags alone.
func (s commands) restoresBare(f restoreFlags) bool {
	return s.RepositoryURL != "" && !f.noConfig && f.as == "" && f.toDir == "" && f.toDatabase == "" && len(f.only)+len(f.tables)+len(f.paths) == 0
}

// describesBare says whether such an app should be added to a configuration
// that is there and does not have it.
func (s commands) describesBare(f restoreFlags) bool {
	if !s.restoresBare(f) {
		return false
	}
	path, err := config.Find(s.ConfigPath, s.Env.Getenv)
	if err != nil {
		return false
	}
	cfg, err := config.Load(path)
	if err != nil {
		return true
	}
	return !slices.ContainsFunc(cfg.Apps, func(a config.App) bool { return a.Root == f.root })
}

// printBareEntry prints what to add to the configuration that is there.
func (s commands) printBareEntry(ctx context.Context, r *restore.Restore, f restoreFlags) {
	app, err := s.bareApp(ctx, r, f)
	if err != nil {
		return
	}
	entry, err := app.Entry()
	if err != nil {
		return
	}
	path, err := config.Find(s.ConfigPath, s.Env.Getenv)
	if err != nil {
		return
	}
	s.printEntry("to back it up, put this below apps: in "+path, entry)
}

// printEntry prints an entry of a configuration, to be pasted.
func (s commands) printEntry(what, entry string) {
	s.Printer.Printf("%s:\n", what)
	for line := range strings.Lines(entry) {
		s.Printer.Printf("%s\n", strings.TrimSuffix(line, "\n"))
	}
}

// writesConfig says where a restore on a bare machine will write the
// configuration, "" when it will not.
func (s commands) writesConfig(f restoreFlags) string {
	if !s.restoresBare(f) {
		return ""
	}
	return s.configPlace()
}

// writeBareConfig writes the configuration of a machine on which an app was
// just restored, from the flags that it was restored with. It never overwrites
// one. What cannot be written is a warning: the app is restored.
func (s commands) writeBareConfig(ctx context.Context, cfg *config.Config, r *restore.Restore, done *restore.Restored, f restoreFlags, path string) {
	err := func() error {
		app, err := s.bareApp(ctx, r, f)
		if err != nil {
			return err
		}
		state, err := filepath.Abs(cfg.StateDir)
		if err != nil {
			return err
		}
		c := config.Config{Repository: cfg.Repository, StateDir: state, Apps: []config.App{app}}
		text, err := c.Standalone()
		if err != nil {
			return err
		}
		if _, err := config.Parse(path, text); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		return config.WriteFile(path, text)
	}()
	if err != nil {
		done.Warnings = append(done.Warnings, core.Warning{Code: "configuration", Object: path, Message: fmt.Sprintf("the app is restored, and the configuration for its backups could not be written: %v (backstay init writes one)", err)})
		return
	}
	done.Next = append(done.Next, fmt.Sprintf("the configuration %s was written: look through it, then backstay doctor and backstay backup %s", path, done.App))
}

// bareApp describes the restored app. Its database is in it only where its
// profile would not find it by itself.
func (s commands) bareApp(ctx context.Context, r *restore.Restore, f restoreFlags) (config.App, error) {
	a := config.App{Name: r.Plan.App, Profile: r.Profile(), Root: f.root, Environment: f.environment, Consistency: config.Online}
	describeFiles(&a, r.Trees(), f.root)
	if r.FindsDatabase(ctx) {
		return a, nil
	}
	d, err := f.configDatabase(r.Prefix())
	a.Database = d
	return a, err
}

// configDatabase is the database of the flags, as a configuration says it.
func (f restoreFlags) configDatabase(prefix string) (config.Database, error) {
	d := config.Database{Host: f.database.Host, Port: f.database.Port, Socket: f.database.Socket, User: f.database.User, Name: f.database.Name, Prefix: prefix}
	if f.databasePasswordFile == "" {
		return d, nil
	}
	path, err := filepath.Abs(f.databasePasswordFile)
	d.PasswordFile = path
	return d, err
}
