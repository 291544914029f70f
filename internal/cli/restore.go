package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/restore"
	"github.com/backstay/backstay/internal/profile"
)

// restoreFlags are the flags of restore.
type restoreFlags struct {
	only, tables, paths []string
	toDir, toDatabase   string
	dryRun, yes, noWait bool

	root, environment    string
	database             profile.Database
	databasePasswordFile string
}

func (s *session) restoreCommand() *cobra.Command {
	var f restoreFlags
	cmd := s.command("restore APP BACKUP|latest", "Restore an app, or a part of it, from a backup", cobra.ExactArgs(2), func(ctx context.Context, args []string) error {
		return s.restore(ctx, args[0], args[1], f)
	})
	cmd.PreRunE = refuseEmptyFlags
	cmd.Long = `Restore an app, or a part of it, from a backup.

The plan is printed first, and nothing is changed before you agree to it. Everything that will be
needed is then read back from the repository once, before the first change; files that go into a new
or empty folder (--to-dir) are checked while they are written there, and those that are damaged are
left out and named. Configuration, database and files are restored; code too when the app's folder is
empty or --only names it.

On a bare machine, without a configuration:

  backstay restore helpdesk latest --repository file:///mnt/backups --password-file key --root /var/www/itop`
	fl := cmd.Flags()
	fl.StringSliceVar(&f.only, "only", nil, "only these components: config, database, files, code")
	fl.StringArrayVar(&f.tables, "table", nil, "only this table (may be repeated)")
	fl.StringArrayVar(&f.paths, "path", nil, "only this file or folder (may be repeated)")
	fl.StringVar(&f.toDir, "to-dir", "", "put files here instead of into the live app")
	fl.StringVar(&f.toDatabase, "to-database", "", "put the database here instead of into the live one")
	fl.BoolVar(&f.dryRun, "dry-run", false, "print the plan and stop")
	fl.BoolVar(&f.yes, "yes", false, "do not ask")
	fl.BoolVar(&f.noWait, "no-wait", false, "fail when another operation works on the app, instead of waiting")
	fl.StringVar(&s.repositoryURL, "repository", "", "the repository's URL, on a machine without a configuration")
	fl.StringVar(&s.passwordFile, "password-file", "", "file that holds the repository's key")
	fl.StringVar(&s.stateDir, "state-dir", "", "where locks are kept, on a machine without a configuration")
	fl.StringVar(&f.root, "root", "", "the app's folder")
	fl.StringVar(&f.environment, "environment", "", "iTop's environment")
	fl.StringVar(&f.database.Host, "database-host", "", "database server to restore into")
	fl.IntVar(&f.database.Port, "database-port", 0, "its port")
	fl.StringVar(&f.database.Socket, "database-socket", "", "its socket")
	fl.StringVar(&f.database.User, "database-user", "", "account that may create and fill the database")
	fl.StringVar(&f.databasePasswordFile, "database-password-file", "", "file that holds the account's password")
	fl.StringVar(&f.database.Name, "database-name", "", "name of the database")
	return cmd
}

// refuseEmptyFlags keeps `--to-dir "$UNSET"` from meaning the live app.
func refuseEmptyFlags(cmd *cobra.Command, _ []string) error {
	var empty error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		value := strings.TrimSpace(f.Value.String())
		if value == "" || value == "[]" {
			empty = &core.Error{
				Code: core.CodeUsage, Op: cmd.Name(), Message: "--" + f.Name + " is empty",
				Hint: "give it a value, or leave it out; was a variable of your script not set?",
			}
		}
		if list, ok := f.Value.(pflag.SliceValue); ok && slices.Contains(list.GetSlice(), "") {
			empty = &core.Error{Code: core.CodeUsage, Op: cmd.Name(), Message: "--" + f.Name + " is empty", Hint: "give it a value, or leave it out"}
		}
	})
	return empty
}

func (s *session) restore(ctx context.Context, app, ref string, f restoreFlags) error {
	if s.repositoryURL != "" && s.passwordFile == "" {
		return &core.Error{Code: core.CodeUsage, Op: "restore", Message: "--repository needs the key too", Hint: "give --password-file FILE"}
	}
	only, err := parseComponents(f.only)
	if err != nil {
		return err
	}
	for _, dir := range []*string{&f.toDir, &f.root} {
		if *dir == "" {
			continue
		}
		if *dir, err = filepath.Abs(*dir); err != nil {
			return err
		}
	}
	if ref == "latest" {
		ref = app + "@latest"
	}
	return s.withEngine(ctx, func(e *engine.Engine, cfg *config.Config) error {
		rec, err := e.Find(ctx, ref)
		if err != nil {
			return err
		}
		t, err := s.restoreTarget(cfg, app, rec.Profile, f)
		if err != nil {
			return err
		}
		r, err := restore.Make(ctx, e, restore.Request{
			Target: t, Record: rec, Only: only, Tables: f.tables, Paths: f.paths, ToDir: f.toDir, ToDatabase: f.toDatabase, Wait: !f.noWait,
		})
		if err != nil {
			return err
		}
		if f.dryRun {
			err := s.printer.Result(map[string]any{"plan": r.Plan}, func() { s.printPlan(r, rec.Backup) })
			if err == nil && r.Refused() != nil {
				return outcome(core.CodeNotPortable.ExitCode())
			}
			return err
		}
		if !s.printer.JSON() {
			s.printPlan(r, rec.Backup)
		}
		if err := r.Refused(); err != nil {
			return err
		}
		if f.yes && r.Plan.Live && rec.App != app {
			return &core.Error{
				Code: core.CodeUsage, Op: "restore app " + app, Message: fmt.Sprintf("backup %s is of app %s, and --yes does not agree to that", rec.ID, rec.App),
				Hint: fmt.Sprintf("backstay list %s shows the backups of %s; to go on with this one all the same, run it without --yes", app, app),
			}
		}
		if !f.yes {
			if err := s.printer.Confirm(ctx, app, confirmation(r.Plan, app)); err != nil {
				return err
			}
		}
		done, err := r.Run(ctx)
		if err != nil {
			return err
		}
		if err := s.printer.Result(done, func() { s.printRestored(done) }); err != nil {
			return err
		}
		if len(done.Warnings) > 0 {
			return outcome(core.CodeWarnings.ExitCode())
		}
		return nil
	})
}

func confirmation(p restore.Plan, app string) string {
	if p.Live {
		return "the live app " + app + " will be changed as listed"
	}
	return "this will be restored as listed"
}

// restoreTarget takes the app from the configuration; flags win over it. On a
// bare machine the flags are all there is.
func (s *session) restoreTarget(cfg *config.Config, name, profileName string, f restoreFlags) (engine.Target, error) {
	t := engine.Target{Profile: profileName, App: profile.App{Name: name}}
	if s.repositoryURL == "" && len(cfg.Apps) > 0 {
		app, err := cfg.App(name)
		if err != nil {
			return t, err
		}
		if t, err = s.target(app); err != nil {
			return t, err
		}
	}
	if !core.ValidAppName(name) {
		return t, &core.Error{Code: core.CodeUsage, Op: "restore", Message: fmt.Sprintf("%q cannot be the name of an app", name)}
	}
	d := &t.App.Database
	password, err := config.ResolveSecret(config.SecretSource{PasswordFile: f.databasePasswordFile}, "the database", s.lookupEnv)
	if err != nil {
		return t, err
	}
	set := func(to *string, v string) {
		if v != "" {
			*to = v
		}
	}
	set(&t.App.Root, f.root)
	set(&t.App.Environment, f.environment)
	set(&d.Host, f.database.Host)
	set(&d.Socket, f.database.Socket)
	set(&d.User, f.database.User)
	set(&d.Name, f.database.Name)
	if f.database.Port != 0 {
		d.Port = f.database.Port
	}
	if !password.Empty() {
		d.Password = password
	}
	return t, nil
}

func (s *session) printPlan(r *restore.Restore, b core.Backup) {
	p := s.printer
	p.Printf("restore app %s from backup %s of %s:\n", r.Plan.App, shortID(b.ID), p.Time(b.Time))
	for _, st := range r.Plan.Steps {
		p.Printf("  %-9s %s (%s) into %s\n", string(st.Component), st.What, ui.Size(st.Bytes), st.Into)
		if st.Replaces != "" {
			p.Printf("  %-9s replaces %s\n", "", st.Replaces)
		}
	}
	for _, f := range r.Plan.Findings {
		p.Printf("  note: %s\n", f)
	}
}

func (s *session) printRestored(r *restore.Restored) {
	var parts []string
	if r.Tables > 0 {
		parts = append(parts, fmt.Sprintf("%d tables with %s rows", r.Tables, ui.Count(r.Rows)))
	}
	if r.Files > 0 || r.Tables == 0 {
		parts = append(parts, ui.Count(r.Files)+" files")
	}
	s.printer.Printf("restored %s: %s, %s; all compared with the backup\n", r.App, strings.Join(parts, " and "), ui.Size(r.Bytes))
	for _, w := range r.Warnings {
		s.printer.Warn(w)
	}
	for _, n := range r.Next {
		s.printer.Printf("next: %s\n", n)
	}
}
