// Package backups has the commands that make, list, read, verify and delete
// backups. It is for package cli. It promises that one app, or one backup, that
// fails does not keep the others from being worked on where several are named.
package backups

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/switchover"
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
	var dryRun, noWait, noReuse, pin, ignoreUnfinished bool
	var note string
	cmd := s.Command("backup [APP…]", "Back up apps, all of them when none is named", cobra.ArbitraryArgs, func(ctx context.Context, args []string) error {
		components, err := session.ParseComponents(only)
		if err != nil {
			return err
		}
		opt := engine.BackupOptions{Only: components, Wait: !noWait, Trigger: "manual", Note: note, Pin: pin, ReadAll: noReuse, IgnoreUnfinished: ignoreUnfinished}
		return s.WithEngine(ctx, func(e *engine.Engine, cfg *config.Config) error {
			chosen, err := session.Apps(cfg, args)
			if err != nil {
				return err
			}
			if dryRun {
				return s.previewBackups(ctx, e, chosen, opt)
			}
			return s.backupAll(ctx, e, chosen, opt)
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
	return cmd
}

// backupAll backs up one app after the other. An app that fails does not keep
// the others from being backed up.
func (s commands) backupAll(ctx context.Context, e *engine.Engine, chosen []*config.App, opt engine.BackupOptions) error {
	var done []core.Backup
	var failures []error
	for _, app := range chosen {
		b, err := s.backupOne(ctx, e, app, opt)
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
		done = append(done, b)
	}
	if len(done) > 0 {
		if err := s.printBackups(done, failures); err != nil {
			return err
		}
	}
	switch {
	case len(failures) == 0 && !anyWarnings(done):
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

func (s commands) backupOne(ctx context.Context, e *engine.Engine, app *config.App, opt engine.BackupOptions) (core.Backup, error) {
	t, err := s.Target(app)
	if err != nil {
		return core.Backup{}, err
	}
	b, err := e.Backup(ctx, t, opt)
	if err == nil {
		s.dropExpired(ctx, e, t)
	}
	return b, err
}

// dropExpired makes room of what a restore kept for longer than was asked for.
// That it does not work takes nothing from the backup that was made.
func (s commands) dropExpired(ctx context.Context, e *engine.Engine, t engine.Target) {
	dropped, err := switchover.DropExpired(ctx, e, t)
	switch {
	case err != nil:
		s.Printer.Logger().Warn("what the last restore replaced could not be removed, though its time is over", "app", t.App.Name, "err", err, "hint", "backstay undo "+t.App.Name+" --drop")
	case dropped:
		s.Printer.Logger().Info("what the last restore replaced is removed: its time is over", "app", t.App.Name)
	}
}

func anyWarnings(backups []core.Backup) bool {
	for _, b := range backups {
		if len(b.Warnings) > 0 {
			return true
		}
	}
	return false
}

func (s commands) printBackups(done []core.Backup, failures []error) error {
	result := struct {
		Backups []core.Backup `json:"backups"`
		Errors  []*ui.Failure `json:"errors,omitempty"`
	}{Backups: done}
	for _, err := range failures {
		result.Errors = append(result.Errors, ui.FailureOf(err))
	}
	return s.Printer.Result(result, func() {
		for _, b := range done {
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
