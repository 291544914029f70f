package recovery

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/journal"
	"github.com/backstay/backstay/internal/engine/switchover"
)

func (s commands) undoCommand() *cobra.Command {
	var f restoreFlags
	var drop bool
	cmd := s.Command("undo APP", "Put back what the last restore replaced", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		s.Records(core.RunUndo, args[0])
		if drop {
			if done, err := s.dropUnknown(ctx, args[0], f); done || err != nil {
				return err
			}
		}
		return s.withEarlier(ctx, args[0], f, func(r *switchover.Earlier) error {
			if drop {
				return s.dropEarlier(ctx, r, f.yes)
			}
			return s.undo(ctx, r, f.yes)
		})
	})
	cmd.Long = `Put back what the last restore replaced: database and files become what they were before it.

What the restore had brought, with all that was written since, is taken away and kept; --drop removes
what is kept for good.`
	fl := cmd.Flags()
	fl.BoolVar(&f.yes, "yes", false, "do not ask")
	fl.BoolVar(&drop, "drop", false, "remove what is kept, for good")
	fl.StringSliceVar(&f.force, "force", nil, "agree to this finding (may be repeated)")
	fl.BoolVar(&f.noWait, "no-wait", false, "fail when another operation works on the app, instead of waiting")
	s.placeFlags(fl, &f)
	return cmd
}

// dropUnknown removes tables of restores that no journal here knows, when there
// is no restore here to speak of; done says that there were some.
func (s commands) dropUnknown(ctx context.Context, app string, f restoreFlags) (done bool, err error) {
	err = s.WithMachine(ctx, func(e *engine.Engine, cfg *config.Config) error {
		j, err := journal.Newest(e.StateDir, app)
		if err != nil || j != nil {
			return err
		}
		known, err := cfg.App(app)
		if err != nil {
			return nil // the usual way says what is wrong
		}
		t, err := s.restoreTarget(cfg, app, known.Profile, f)
		if err != nil {
			return err
		}
		u, err := switchover.FindUnknown(ctx, e, t, known.Profile)
		if err != nil || len(u.Runs) == 0 {
			return err
		}
		done = true
		what := "tables of restores that no journal here knows (" + core.Some(u.Runs, 5) + ")"
		if !f.yes {
			if err := s.Printer.Confirm(ctx, app, what+" will be removed for good"); err != nil {
				return err
			}
		}
		if err := u.Drop(ctx); err != nil {
			return err
		}
		return s.Printer.Result(map[string]any{"dropped": map[string]any{"app": app, "runs": u.Runs}}, func() { s.Printer.Printf("removed %s\n", what) })
	})
	return done, err
}

// withEarlier calls do with the last restore of an app.
func (s commands) withEarlier(ctx context.Context, app string, f restoreFlags, do func(*switchover.Earlier) error) error {
	return s.WithMachine(ctx, func(e *engine.Engine, cfg *config.Config) error {
		j, err := journal.Newest(e.StateDir, app)
		if err != nil {
			return err
		}
		profileName := ""
		if j != nil {
			profileName = j.Profile
			if f.root == "" {
				f.root = j.Root
			}
		}
		t, err := s.restoreTarget(cfg, app, profileName, f)
		if err != nil {
			return err
		}
		r, err := switchover.FindEarlier(ctx, e, t, f.force, !f.noWait)
		if err != nil {
			return err
		}
		return do(r)
	})
}

func (s commands) undo(ctx context.Context, r *switchover.Earlier, yes bool) error {
	j := r.Journal
	if j.Phase == journal.Undone || j.Phase == journal.Building { // there is nothing to agree to
		yes = true
	} else if !s.Printer.JSON() {
		s.Printer.Printf("undo %s:\n", j.Describe())
		if j.Database != nil {
			s.Printer.Printf("  database %s at %s: %d tables and views become what they were\n", j.Database.Live, j.Address, len(j.Database.Tables))
		}
		for _, t := range r.Trees() {
			s.Printer.Printf("  %s: %s files change back, %s that it added go, %s that it took away come back\n", t.Component, ui.Count(t.Changed.Files), ui.Count(t.Added.Files), ui.Count(t.Removed.Files))
		}
		s.Printer.Printf("  what was written to these since %s is taken away, and kept until backstay undo %s --drop; what was added beside them stays\n", s.Printer.Time(j.Since()), j.App)
	}
	if !yes {
		if err := s.Printer.Confirm(ctx, j.App, "the live app "+j.App+" will be what it was before that restore"); err != nil {
			return err
		}
	}
	done, err := r.Undo(ctx)
	if err != nil {
		return err
	}
	return s.reportRestored(done, done.Warnings, func() {
		if done.Run == "" {
			s.Printer.Printf("%s: nothing live had been changed; what that restore had built is removed\n", done.App)
			return
		}
		except := ""
		if len(done.Warnings) > 0 {
			except = ", but for what the warnings name"
		}
		s.Printer.Printf("%s is what it was before the restore%s\n", done.App, except)
		s.printSwitched(done)
		s.Printer.Printf("  what was taken away is kept (%s); backstay undo %s --drop removes it\n", ui.Size(done.KeptBytes), done.App)
		s.printOutcome(done)
	})
}

func (s commands) dropEarlier(ctx context.Context, r *switchover.Earlier, yes bool) error {
	j := r.Journal
	if !yes {
		if err := s.Printer.Confirm(ctx, j.App, fmt.Sprintf("what is kept of %s will be removed for good (%s)", j.Describe(), ui.Size(r.KeptBytes))); err != nil {
			return err
		}
	}
	done, err := r.Drop(ctx)
	if err != nil {
		return err
	}
	return s.Printer.Result(map[string]any{"dropped": map[string]any{"app": j.App, "run": j.Run, "bytes": r.KeptBytes}}, func() {
		s.Printer.Printf("removed what was kept of %s (%s)\n", j.Describe(), ui.Size(r.KeptBytes))
		s.printOutcome(done)
	})
}

func (s commands) resumeRestore(ctx context.Context, app string, f restoreFlags) error {
	s.Records(core.RunRestore, app)
	return s.withEarlier(ctx, app, f, func(r *switchover.Earlier) error {
		j := r.Journal
		s.About(ctx, app, j.Backup)
		if !f.yes && j.Mixed() {
			if err := s.Printer.Confirm(ctx, app, "the live app "+app+" will be brought to one state: "+j.Describe()+" goes on"); err != nil {
				return err
			}
		}
		done, err := r.Resume(ctx)
		if err != nil {
			return err
		}
		return s.reportRestored(done, done.Warnings, func() {
			switch {
			case done.Run == "":
				s.Printer.Printf("%s: nothing live had been changed, the app is wholly as it was; what that restore had built is removed\n", app)
				s.Printer.Printf("next: backstay restore %s %s\n", app, ui.ShortID(j.Backup))
			case j.Phase == journal.Undone || j.Phase == journal.Reverted:
				s.Printer.Printf("%s is what it was before the restore\n", app)
			default:
				s.Printer.Printf("%s is wholly of backup %s\n", app, ui.ShortID(j.Backup))
			}
			s.printSwitched(done)
			s.printOutcome(done)
		})
	})
}
