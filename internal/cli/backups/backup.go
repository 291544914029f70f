// Package backups has the commands that make, list, read, verify and delete
// backups. It is for package cli. It promises that one app, or one backup, that
// fails does not keep the others from being worked on where several are named.
package backups

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/cli/archives"
	"github.com/backstay/backstay/internal/cli/report"
	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/exporting"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/retention"
)

// commands are the commands of this package in one session.
type commands struct{ *session.Session }

// Commands returns the commands.
func Commands(s *session.Session) []*cobra.Command {
	c := commands{s}
	readers := []*cobra.Command{c.listCommand(), c.showCommand(), c.lsCommand(), c.catCommand(), c.diffCommand(), c.verifyCommand()}
	for _, r := range readers { // they work on a machine without a configuration
		s.RepositoryFlags(r.Flags(), session.KeyFlag)
		r.Flags().StringVar(&s.StateDir, "state-dir", "", "where locks and caches are kept, on a machine without a configuration")
		r.PreRunE = session.RefuseEmptyFlags
	}
	return append(readers, c.backupCommand(), c.deleteCommand(), c.pinCommand(true), c.pinCommand(false))
}

func (s commands) backupCommand() *cobra.Command {
	var only []string
	var simulate, dryRun, noWait, noReuse, pin, ignoreUnfinished bool
	var note, schedule, due string
	trigger := "manual"
	params := &session.ScriptParams{}
	cmd := s.Command("backup [APP…]", "Back up apps, all of them when none is named", cobra.ArbitraryArgs, func(ctx context.Context, args []string) error {
		components, err := session.ParseComponents(only)
		if err != nil {
			return err
		}
		if err := s.ReadParams(params); err != nil {
			return err
		}
		why, err := occasion(trigger, schedule, due)
		if err != nil {
			return err
		}
		opt := engine.BackupOptions{Only: components, Wait: !noWait, Trigger: why.Trigger, Note: note, Pin: pin, ReadAll: noReuse, IgnoreUnfinished: ignoreUnfinished}
		return s.WithEngineAnyway(ctx, func(e *engine.Engine, cfg *config.Config) error {
			chosen, err := session.Apps(cfg, args)
			if err != nil {
				return err
			}
			simulate = simulate || params.Simulate()
			if simulate || params.BackupFile() != "" {
				if err := archives.OfScripts(chosen); err != nil {
					return err
				}
			}
			if simulate {
				return s.simulate(ctx, chosen, params.BackupFile())
			}
			if dryRun {
				return s.previewBackups(ctx, e, chosen, opt)
			}
			return s.backupAll(ctx, e, cfg, chosen, opt, why, params)
		})
	})
	cmd.PreRunE = session.RefuseEmptyFlags
	f := cmd.Flags()
	f.StringSliceVar(&only, "only", nil, "only these components: config, database, files, code")
	f.BoolVar(&dryRun, "dry-run", false, "say what would be captured, and change nothing")
	f.BoolVar(&noWait, "no-wait", false, "fail when another operation works on the app, instead of waiting")
	f.BoolVar(&noReuse, "no-reuse", false, "read every table and file, also those that did not change since the last backup")
	f.BoolVar(&pin, "pin", false, "never let retention delete this backup")
	f.BoolVar(&ignoreUnfinished, "ignore-unfinished-restore", false, "back up an app whose last restore did not end")
	f.StringVar(&note, "note", "", "a note to keep with the backup")
	f.StringVar(&trigger, "trigger", trigger, "why it is made: manual, schedule, catch-up")
	f.StringVar(&schedule, "schedule", "", "the name of the schedule that asks for it")
	f.StringVar(&due, "due", "", "when the schedule wanted it")
	for _, name := range []string{"trigger", "schedule", "due"} { // the service's
		_ = f.MarkHidden(name)
	}
	f.BoolVar(&simulate, "simulate", false, "only print the name that the archive would get (see --param_file)")
	s.ParamFlags(f, params)
	return cmd
}

// occasion reads what the service says of a run.
func occasion(trigger, schedule, due string) (operation.Occasion, error) {
	why := operation.Occasion{Trigger: trigger, Schedule: schedule}
	if !slices.Contains([]string{"manual", "schedule", "catch-up"}, trigger) {
		return why, &core.Error{Code: core.CodeUsage, Op: "backup", Message: fmt.Sprintf("there is no trigger %q", trigger), Hint: "it is manual, schedule or catch-up"}
	}
	if due != "" {
		at, err := time.Parse(time.RFC3339, due)
		if err != nil {
			return why, &core.Error{Code: core.CodeUsage, Op: "backup", Message: fmt.Sprintf("--due %q is not a time", due), Hint: "write it as 2026-11-23T23:30:00Z"}
		}
		why.Due = &at
	}
	return why, nil
}

// backupAll backs up one app after the other. An app that fails does not keep
// the others from being backed up.
func (s commands) backupAll(ctx context.Context, e *engine.Engine, cfg *config.Config, chosen []*config.App, opt engine.BackupOptions, why operation.Occasion, params *session.ScriptParams) error {
	var done []operation.Result
	var written []*exporting.Exported
	var failures []error
	caretaker := s.Caretaker(ctx, e, cfg)
	var apps []operation.App
	for _, app := range chosen {
		apps = append(apps, s.Operated(app))
	}
	if err := s.ApplyParams(ctx, caretaker, apps, params); err != nil {
		return err
	}
	for _, app := range chosen {
		at := slices.IndexFunc(caretaker.Apps, func(a operation.App) bool { return a.Name == app.Name })
		r, err := caretaker.Backup(ctx, caretaker.Apps[at], opt, why)
		if err == nil && params.BackupFile() != "" {
			var archive *exporting.Exported
			if archive, err = s.writeArchive(ctx, e, cfg, app, r.Backup, params.BackupFile()); err == nil {
				written = append(written, archive)
			}
		}
		if err != nil {
			err = &core.Error{Code: core.CodeOf(err), Op: "back up app " + app.Name, Err: err}
			failures = append(failures, err)
			if ctx.Err() != nil {
				break
			}
			if len(chosen) > 1 {
				s.Printer.Failure(err)
			}
			continue
		}
		done = append(done, r)
	}
	if len(done) > 0 {
		if err := s.printBackups(done, written, failures); err != nil {
			return err
		}
	}
	switch {
	case len(failures) == 0 && slices.ContainsFunc(done, implausible):
		return session.Outcome(core.CodeDamage.ExitCode())
	case len(failures) == 0 && !slices.ContainsFunc(done, func(r operation.Result) bool { return len(r.Backup.Warnings) > 0 }):
		return nil
	case len(failures) == 0:
		return session.Outcome(core.CodeWarnings.ExitCode())
	case len(done) > 0 && ctx.Err() == nil: // some apps are backed up, some are not
		return session.Outcome(core.CodeWarnings.ExitCode())
	case len(chosen) == 1 || ctx.Err() != nil:
		return failures[len(failures)-1]
	case s.Printer.JSON():
		return errors.Join(failures...)
	default: // each has been reported already
		return session.Outcome(core.CodeOf(failures[0]).ExitCode())
	}
}

// writeArchive writes the archive that iTop's backup.php would have written. The
// backup stays whatever becomes of it.
func (s commands) writeArchive(ctx context.Context, e *engine.Engine, cfg *config.Config, app *config.App, b core.Backup, backupFile string) (*exporting.Exported, error) {
	file, err := archives.ScriptFile(ctx, s.Session, app, backupFile, b.Time)
	if err != nil {
		return nil, err
	}
	written, err := archives.WriteScriptFile(ctx, s.Session, e, cfg, b.ID, file)
	if err != nil {
		return nil, &core.Error{Code: core.CodeOf(err), Op: "write the archive of backup " + b.ID + ", which is in the repository", Err: err}
	}
	for _, w := range written.Warnings {
		s.Printer.Verbosef("note: %s", w)
	}
	return written, nil
}

// simulate prints the names that archives would get.
func (s commands) simulate(ctx context.Context, chosen []*config.App, backupFile string) error {
	files := map[string]string{}
	for _, app := range chosen {
		file, err := archives.ScriptFile(ctx, s.Session, app, backupFile, s.Env.Clock.Now())
		if err != nil {
			return fmt.Errorf("app %s: %w", app.Name, err)
		}
		files[app.Name] = file
	}
	return s.Printer.Result(map[string]any{"files": files}, func() {
		for _, app := range chosen {
			s.Printer.Printf("%s\n", files[app.Name])
		}
	})
}

// implausible says whether the backup that was made is not what it should be.
func implausible(r operation.Result) bool {
	return slices.ContainsFunc(r.Problems, func(p core.Problem) bool {
		return p.Level == core.LevelAlarm && p.App == r.Backup.App && p.Topic == core.TopicContent
	})
}

func (s commands) printBackups(done []operation.Result, written []*exporting.Exported, failures []error) error {
	result := struct {
		Backups  []core.Backup         `json:"backups"`
		Problems []core.Problem        `json:"problems,omitempty"`
		Pruned   []retention.Decision  `json:"pruned,omitempty"`
		Archives []*exporting.Exported `json:"archives,omitempty"`
		Errors   []*ui.Failure         `json:"errors,omitempty"`
	}{Archives: written}
	for _, r := range done {
		result.Backups = append(result.Backups, r.Backup)
		result.Pruned = append(result.Pruned, r.Pruned...)
		for _, p := range r.Problems {
			if !slices.Contains(result.Problems, p) { // the repository's are found after each
				result.Problems = append(result.Problems, p)
			}
		}
	}
	for _, err := range failures {
		result.Errors = append(result.Errors, ui.FailureOf(err))
	}
	return s.Printer.Result(result, func() {
		for _, r := range done {
			b := r.Backup
			s.Printer.Printf("%s: backup %s of %s, %s in all, %s stored, in %s\n", b.App, ui.ShortID(b.ID), s.Printer.Time(b.Time),
				ui.Size(b.LogicalBytes), ui.Size(b.StoredBytes), ui.Duration(time.Duration(b.DurationMS)*time.Millisecond))
			for _, c := range core.Components() {
				if size, ok := b.Components[c]; ok {
					s.Printer.Printf("  %-9s %s\n", string(c), ui.Describe(c, size))
				}
			}
			if b.Consistency.Method != "" && b.Consistency.Method != "none" {
				s.Printer.Printf("  one instant by %s, %d connection(s), writes waited %s\n", b.Consistency.Method, b.Consistency.Connections,
					ui.Duration(time.Duration(b.FreezeMS)*time.Millisecond))
				if b.Consistency.Connections == 1 && b.Consistency.Why != "" {
					s.Printer.Printf("  one connection only: %s\n", b.Consistency.Why)
				}
			}
			for _, w := range b.Warnings {
				s.Printer.Warn(w)
			}
			if n := len(r.Pruned); n > 0 {
				s.Printer.Printf("  retention removed %s\n", ui.Counted(int64(n), "backup"))
			}
		}
		for _, a := range written {
			s.Printer.Printf("archive %s (%s, %s)\n", a.File, a.Format, ui.Size(a.Bytes))
		}
		for _, p := range result.Problems {
			if p.Level == core.LevelAlarm {
				report.Problem(s.Printer, p)
			}
		}
	})
}

func (s commands) previewBackups(ctx context.Context, e *engine.Engine, chosen []*config.App, opt engine.BackupOptions) error {
	previews := []engine.Preview{}
	for _, app := range chosen {
		t, err := s.Target(app)
		if err != nil {
			return err
		}
		p, err := e.PreviewBackup(ctx, t, opt)
		if err != nil {
			return fmt.Errorf("app %s: %w", app.Name, err)
		}
		previews = append(previews, *p)
	}
	return s.Printer.Result(map[string]any{"previews": previews}, func() {
		for _, p := range previews {
			s.Printer.Printf("%s would capture:\n", p.App)
			for _, line := range p.Takes {
				s.Printer.Printf("  %s\n", line)
			}
			for _, w := range p.Warnings {
				s.Printer.Warn(w)
			}
		}
	})
}
