// Package recovery has the commands that bring an app back - restore, undo - and
// guard, which may have to. It is for package cli. It promises that nothing live
// is changed before its plan was printed and agreed to.
package recovery

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/restore"
	"github.com/backstay/backstay/internal/profile"
)

// commands are the commands of this package in one session.
type commands struct{ *session.Session }

// Commands returns the commands.
func Commands(s *session.Session) []*cobra.Command {
	c := commands{s}
	return []*cobra.Command{c.restoreCommand(), c.undoCommand(), c.guardCommand()}
}

// restoreFlags are the flags of restore.
type restoreFlags struct {
	only, tables, paths []string
	toDir, toDatabase   string
	dryRun, yes, noWait bool

	force                         []string
	clean, noSafetyBackup, resume bool
	backupConnection              bool

	fromArchive, archiveFormat string
	archivePasswordFiles       []string

	as, url  string
	noConfig bool

	root, environment    string
	database             profile.Database
	databasePasswordFile string
}

func (s commands) restoreCommand() *cobra.Command {
	var f restoreFlags
	params := &session.ScriptParams{}
	cmd := s.Command("restore APP BACKUP|latest", "Restore an app, or a part of it, from a backup", cobra.RangeArgs(1, 2), func(ctx context.Context, args []string) error {
		if err := s.ReadParams(params); err != nil {
			return err
		}
		if file := params.BackupFile(); file != "" && f.fromArchive == "" && len(args) == 1 && !f.resume {
			f.fromArchive = scriptArchive(file)
		}
		switch {
		case f.fromArchive != "" && (len(args) == 2 || f.resume):
			return &core.Error{Code: core.CodeUsage, Op: "restore", Message: "--from-archive takes the place of the backup", Hint: "backstay restore " + args[0] + " --from-archive FILE"}
		case f.fromArchive != "":
			return s.restore(ctx, args[0], "", f)
		case f.archiveFormat != "" || len(f.archivePasswordFiles) > 0:
			return &core.Error{Code: core.CodeUsage, Op: "restore", Message: "--archive-format and --archive-password-file are about an archive", Hint: "give --from-archive FILE too"}
		case f.resume && len(args) == 1:
			return s.resumeRestore(ctx, args[0], f)
		case f.resume || len(args) == 1:
			return &core.Error{Code: core.CodeUsage, Op: "restore", Message: "give an app and a backup, or --resume and an app", Hint: "backstay restore " + args[0] + " latest --dry-run shows what would be done"}
		}
		return s.restore(ctx, args[0], args[1], f)
	})
	cmd.PreRunE = session.RefuseEmptyFlags
	cmd.Long = `Restore an app, or a part of it, from a backup.

The plan is printed first, and nothing is changed before you agree to it. A live app is not touched
until all that it will consist of lies beside it, complete and compared with the backup; then what is
live is backed up and the two change places at once. What was replaced is kept, and backstay undo
brings it back. Configuration, database and files are restored; code too when the app's folder is
empty or --only names it. What the live app has and the backup does not stays, unless --clean.

On a bare machine, without a configuration:

  backstay restore helpdesk latest --repository file:///mnt/backups --password-file key --root /var/www/itop

An archive that iTop, ITFlow, mysqldump or backstay wrote is made a backup first, and then restored:

  backstay restore helpdesk --from-archive itop-2026-11-23.tar.gz

A copy beside the live app, which leads to itself, and sends and charges nothing:

  backstay restore helpdesk latest --as helpdesk-test --root /var/www/itop-test --to-database itop_test`
	fl := cmd.Flags()
	fl.StringSliceVar(&f.only, "only", nil, "only these components: config, database, files, code")
	fl.StringArrayVar(&f.tables, "table", nil, "only this table (may be repeated)")
	fl.StringArrayVar(&f.paths, "path", nil, "only this file or folder (may be repeated)")
	fl.StringVar(&f.toDir, "to-dir", "", "put files here instead of into the live app")
	fl.StringVar(&f.toDatabase, "to-database", "", "put the database here instead of into the live one")
	fl.BoolVar(&f.dryRun, "dry-run", false, "print the plan and stop")
	fl.BoolVar(&f.yes, "yes", false, "do not ask")
	fl.StringSliceVar(&f.force, "force", nil, "agree to this finding of the plan, or flaw of the archive (may be repeated)")
	fl.BoolVar(&f.clean, "clean", false, "take away tables and files that the backup does not have (kept for undo)")
	fl.BoolVar(&f.noSafetyBackup, "no-safety-backup", false, "do not back up what is live before it is replaced")
	fl.BoolVar(&f.backupConnection, "backup-connection", false, "restore the configuration with the backup's connection to the database, not this app's")
	fl.BoolVar(&f.resume, "resume", false, "finish a restore of APP that was cut short")
	fl.BoolVar(&f.noWait, "no-wait", false, "fail when another operation works on the app, instead of waiting")
	fl.StringVar(&f.fromArchive, "from-archive", "", "import this archive and restore that backup")
	fl.StringVar(&f.archiveFormat, "archive-format", "", "what the archive is: itop, itflow, sql or backstay (default: recognised)")
	fl.StringArrayVar(&f.archivePasswordFiles, "archive-password-file", nil, "file that holds the archive's password (may be repeated)")
	fl.StringVar(&f.as, "as", "", "make a copy of the whole app under this name, in --root and --to-database")
	fl.StringVar(&f.url, "url", "", "the address at which the app, or its copy, will answer, where its configuration is to say another one")
	fl.BoolVar(&f.noConfig, "no-config", false, "on a machine without a configuration: do not write one")
	s.RepositoryFlags(fl, session.KeyFlag)
	s.placeFlags(fl, &f)
	s.ParamFlags(fl, params)
	return cmd
}

// scriptArchive is the archive that iTop's restore.php takes: backup_file may
// lack its ending.
func scriptArchive(file string) string {
	if _, err := os.Stat(file); err != nil {
		if _, err := os.Stat(file + ".tar.gz"); err == nil {
			return file + ".tar.gz"
		}
	}
	return file
}

// placeFlags say where an app lies, on a machine without a configuration or
// against what the configuration says.
func (s commands) placeFlags(fl *pflag.FlagSet, f *restoreFlags) {
	fl.StringVar(&s.StateDir, "state-dir", "", "where locks and journals are kept, on a machine without a configuration")
	fl.StringVar(&f.root, "root", "", "the app's folder")
	fl.StringVar(&f.environment, "environment", "", "iTop's environment")
	fl.StringVar(&f.database.Host, "database-host", "", "database server to restore into")
	fl.IntVar(&f.database.Port, "database-port", 0, "its port")
	fl.StringVar(&f.database.Socket, "database-socket", "", "its socket")
	fl.StringVar(&f.database.User, "database-user", "", "account that may create and fill the database")
	fl.StringVar(&f.databasePasswordFile, "database-password-file", "", "file that holds the account's password")
	fl.StringVar(&f.database.Name, "database-name", "", "name of the database")
}

func (s commands) restore(ctx context.Context, app, ref string, f restoreFlags) error {
	only, err := session.ParseComponents(f.only)
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
	switch {
	case !f.dryRun:
		s.Records(core.RunRestore, app)
	case s.Launched(): // somebody waits for the plan
		s.Records(core.RunPlan, app)
	}
	return s.WithEngine(ctx, func(e *engine.Engine, cfg *config.Config) error {
		if err := checkCopyFlags(cfg, app, f); err != nil {
			return err
		}
		rec, err := s.backupToRestore(ctx, e, cfg, app, ref, f)
		if err != nil {
			return err
		}
		s.About(ctx, app, rec.ID)
		t, asked, err := s.restoreTargets(cfg, app, rec.Profile, f)
		if err != nil {
			return err
		}
		toDir := f.toDir
		if asked != nil {
			toDir = f.root
		}
		settings := restoreSettings(cfg, app)
		r, err := restore.Make(ctx, e, restore.Request{
			Target: t, Record: rec, Only: only, Tables: f.tables, Paths: f.paths, ToDir: toDir, ToDatabase: f.toDatabase, Copy: asked, URL: f.url, Wait: !f.noWait, Check: f.dryRun,
			Force: agreedFindings(f.force), Clean: f.clean, NoSafetyBackup: f.noSafetyBackup || !settings.SafetyBackup, Keep: settings.Keep, BackupConnection: f.backupConnection,
		})
		if err != nil {
			return err
		}
		place := s.writesConfig(f)
		if place != "" {
			r.Plan.Findings = append(r.Plan.Findings, core.Finding{
				Kind: core.FindingFine, Name: restore.FindingWritesConfig, Message: "the configuration " + place + " will be written, for later backups (--no-config: it will not)",
			})
		}
		if f.dryRun {
			err := s.Printer.Result(map[string]any{"plan": r.Plan}, func() { s.printPlan(r, rec.Backup) })
			if refused := r.Refused(); err == nil && refused != nil {
				s.FailedWith(refused)
				return session.Outcome(core.CodeOf(refused).ExitCode())
			}
			return err
		}
		if !s.Printer.JSON() {
			s.printPlan(r, rec.Backup)
		}
		if err := r.Refused(); err != nil {
			return err
		}
		if !f.yes {
			if err := s.Printer.Confirm(ctx, app, confirmation(r.Plan, app)); err != nil {
				return err
			}
		}
		done, err := r.Run(ctx)
		if err != nil {
			return err
		}
		if asked != nil {
			if done.Copy.Entry, err = s.entry(cfg, app, r, f); err != nil {
				return err
			}
			return s.reportRestored(done, done.Warnings, func() { s.printCopied(done, app) })
		}
		if place != "" {
			s.writeBareConfig(ctx, cfg, r, done, f, place)
		} else if s.describesBare(f) {
			return s.reportRestored(done, done.Warnings, func() { s.printRestored(done); s.printBareEntry(ctx, r, f) })
		}
		return s.reportRestored(done, done.Warnings, func() { s.printRestored(done) })
	})
}

// restoreTargets says what is restored: the live app, and the copy to be made
// of it when --as asks for one, to which the flags then belong.
func (s commands) restoreTargets(cfg *config.Config, name, profileName string, f restoreFlags) (engine.Target, *restore.Copy, error) {
	if f.as == "" {
		t, err := s.restoreTarget(cfg, name, profileName, f)
		return t, nil, err
	}
	given, err := s.restoreTarget(&config.Config{}, name, profileName, f)
	if err != nil {
		return given, nil, err
	}
	live := f
	live.root, live.database, live.databasePasswordFile = "", profile.Database{}, ""
	t, err := s.restoreTarget(cfg, name, profileName, live)
	return t, &restore.Copy{Name: f.as, URL: f.url, Database: given.App.Database}, err
}

// reportRestored prints how a restore, or its undoing, ended.
func (s commands) reportRestored(done any, warnings []core.Warning, print func()) error {
	if err := s.Printer.Result(done, print); err != nil {
		return err
	}
	if s.Warned(len(warnings)); len(warnings) > 0 {
		return session.Outcome(core.CodeWarnings.ExitCode())
	}
	return nil
}

// restoreSettings are what backstay.yaml says of restores of the app.
func restoreSettings(cfg *config.Config, app string) config.Restore {
	if a, err := cfg.App(app); err == nil {
		return a.Restore
	}
	return config.DefaultRestore()
}

func confirmation(p restore.Plan, app string) string {
	if p.Live {
		return "the live app " + app + " will be changed as listed"
	}
	return "this will be restored as listed"
}

// restoreTarget takes the app from the configuration; flags win over it. On a
// bare machine the flags are all there is.
func (s commands) restoreTarget(cfg *config.Config, name, profileName string, f restoreFlags) (engine.Target, error) {
	t := engine.Target{Profile: profileName, App: profile.App{Name: name}}
	if s.RepositoryURL == "" && len(cfg.Apps) > 0 {
		app, err := cfg.App(name)
		if err != nil {
			return t, err
		}
		if t, err = s.Target(app); err != nil {
			return t, err
		}
	}
	if !core.ValidAppName(name) {
		return t, &core.Error{Code: core.CodeUsage, Op: "restore", Message: fmt.Sprintf("%q cannot be the name of an app", name)}
	}
	d := &t.App.Database
	password, err := config.ResolveSecret(config.SecretSource{PasswordFile: f.databasePasswordFile}, "the database", s.LookupEnv)
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
