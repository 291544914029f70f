// Package operations has the commands that look after backups: status, check,
// prune, maintain, notify, the records of runs and of who did what, and the
// service that does all that by itself. It is for package cli. It promises that
// a problem that somebody must hear of is one line of output and exit code 4.
package operations

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/config/strict"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/state"
)

// commands are the commands of this package in one session.
type commands struct{ *session.Session }

// Commands returns the commands.
func Commands(s *session.Session) []*cobra.Command {
	c := commands{s}
	return []*cobra.Command{
		c.serveCommand(), c.statusCommand(), c.checkCommand(), c.pruneCommand(), c.maintainCommand(), c.notifyCommand(),
		c.alarmsCommand(), c.runsCommand(), c.auditCommand(),
	}
}

// withCaretaker calls do with what looks after the apps named, or all. The
// repository may be one that cannot be used: that is then what there is to say.
func (s commands) withCaretaker(ctx context.Context, args []string, do func(c *operation.Caretaker, apps []operation.App) error) error {
	return s.WithEngineAnyway(ctx, func(e *engine.Engine, cfg *config.Config) error {
		chosen, err := session.Apps(cfg, args)
		if err != nil {
			return err
		}
		c := s.Caretaker(ctx, e, cfg)
		var apps []operation.App
		for _, a := range chosen {
			for _, known := range c.Apps {
				if known.Name == a.Name {
					apps = append(apps, known)
				}
			}
		}
		return do(c, apps)
	})
}

func names(apps []operation.App) []string {
	out := make([]string, len(apps))
	for i, a := range apps {
		out[i] = a.Name
	}
	return out
}

func (s commands) maintainCommand() *cobra.Command {
	return s.Command("maintain", "Give back the space of deleted backups in the repository", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		return s.withCaretaker(ctx, nil, func(c *operation.Caretaker, _ []operation.App) error {
			done, err := c.Maintain(ctx, s.Trigger())
			if err != nil {
				return err
			}
			return s.Printer.Result(done, func() {
				what := "tidied up; space comes back with a full one, which is not due yet"
				if done.Full {
					what = "gave back " + ui.Size(max(0, done.Freed()))
				}
				s.Printer.Printf("maintenance took %s: %s\n", ui.Duration(done.Ended.Sub(done.Began)), what)
			})
		})
	})
}

// withState calls do with the state database, for commands that show it.
func (s commands) withState(ctx context.Context, do func(*state.DB, *config.Config) error) error {
	cfg, err := s.LoadConfig()
	if err != nil {
		return err
	}
	return do(s.State(ctx, cfg.StateDir), cfg)
}

func (s commands) runsCommand() *cobra.Command {
	var limit int
	cmd := s.Command("runs [APP]", "List what was run, newest last", cobra.MaximumNArgs(1), func(ctx context.Context, args []string) error {
		return s.withState(ctx, func(db *state.DB, cfg *config.Config) error {
			filter := state.RunFilter{Limit: limit}
			if len(args) > 0 {
				if _, err := cfg.App(args[0]); err != nil {
					return err
				}
				filter.App = args[0]
			}
			runs, err := db.Runs(ctx, filter)
			if err != nil {
				return err
			}
			return s.Printer.Result(map[string]any{"runs": orEmpty(runs)}, func() { s.printRuns(runs) })
		})
	})
	cmd.Flags().IntVar(&limit, "limit", 30, "how many, the newest ones")
	return cmd
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (s commands) printRuns(runs []core.Run) {
	if len(runs) == 0 {
		s.Printer.Infof("nothing has been run yet")
		return
	}
	t := ui.NewTable(ui.Column{Title: "STARTED"}, ui.Column{Title: "APP"}, ui.Column{Title: "RUN"}, ui.Column{Title: "TRIGGER"},
		ui.Column{Title: "TOOK", Right: true}, ui.Column{Title: "OUTCOME"}, ui.Column{Title: ""})
	for i := len(runs) - 1; i >= 0; i-- {
		r := runs[i]
		took := "-"
		if r.Finished != nil {
			took = ui.Duration(r.Finished.Sub(r.Started))
		}
		remark := r.Message
		if remark == "" && r.Backup != "" {
			remark = "backup " + ui.ShortID(r.Backup)
		}
		t.Row(s.Printer.Time(r.Started), r.App, r.Kind, r.Trigger, took, string(r.Outcome), remark)
	}
	s.Printer.Table(t)
}

func (s commands) alarmsCommand() *cobra.Command {
	var limit int
	cmd := s.Command("alarms", "List alarms, newest last: what they were about, and who was told", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		return s.withState(ctx, func(db *state.DB, _ *config.Config) error {
			alarms, err := db.Alarms(ctx, limit)
			if err != nil {
				return err
			}
			return s.Printer.Result(map[string]any{"alarms": orEmpty(alarms)}, func() { s.printAlarms(alarms) })
		})
	})
	cmd.Flags().IntVar(&limit, "limit", 20, "how many, the newest ones")
	return cmd
}

func (s commands) printAlarms(alarms []core.Alarm) {
	if len(alarms) == 0 {
		s.Printer.Infof("there has been no alarm")
		return
	}
	for i := len(alarms) - 1; i >= 0; i-- {
		a := alarms[i]
		about := string(a.Topic)
		if a.App != "" {
			about = a.App + ": " + about
		}
		until := "open"
		if a.Closed != nil {
			until = "closed " + s.Printer.Time(*a.Closed)
		}
		s.Printer.Printf("alarm %d  %s  opened %s, %s\n", a.ID, about, s.Printer.Time(a.Opened), until)
		for _, p := range a.Problems {
			s.Printer.Printf("  %s: %s\n", p.Name, p.Message)
		}
		for _, name := range slices.Sorted(maps.Keys(a.Deliveries)) {
			d := a.Deliveries[name]
			switch {
			case d.Error != "":
				s.Printer.Printf("  %s was not told (%s): %s\n", name, s.Printer.Time(d.At), d.Error)
			case d.Ref != "":
				s.Printer.Printf("  %s was told it is %s: %s\n", name, string(d.Told), d.Ref)
			default:
				s.Printer.Printf("  %s was told it is %s\n", name, string(d.Told))
			}
		}
	}
}

func (s commands) auditCommand() *cobra.Command {
	var limit int
	var since string
	cmd := s.Command("audit", "Show who did what, newest last, and whether the log is as it was written", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		return s.withState(ctx, func(db *state.DB, _ *config.Config) error {
			filter := state.AuditFilter{Limit: limit}
			if since != "" {
				ago, wrong, hint := strict.ParseDuration(since)
				if wrong != "" {
					return &core.Error{Code: core.CodeUsage, Op: "audit", Message: "--since " + wrong, Hint: hint}
				}
				filter.Since = s.Env.Clock.Now().Add(-ago)
			}
			entries, err := db.AuditLog(ctx, filter)
			if err != nil {
				return err
			}
			whole, err := db.VerifyAudit(ctx)
			if err != nil {
				return err
			}
			result := struct {
				Audit []core.Audited    `json:"audit"`
				Log   state.AuditReport `json:"log"`
			}{orEmpty(entries), whole}
			err = s.Printer.Result(result, func() {
				t := ui.NewTable(ui.Column{Title: "TIME"}, ui.Column{Title: "WHO"}, ui.Column{Title: "ACTION"}, ui.Column{Title: "OBJECT"}, ui.Column{Title: "OUTCOME"}, ui.Column{Title: ""})
				for i := len(entries) - 1; i >= 0; i-- {
					a := entries[i]
					t.Row(s.Printer.Time(a.Time), a.Who, a.Action, a.Object, a.Outcome, a.Detail)
				}
				s.Printer.Table(t)
			})
			if err == nil && whole.Broken != 0 && s.Printer.JSON() {
				return session.Outcome(core.CodeDamage.ExitCode()) // log says it
			}
			if err == nil && whole.Broken != 0 {
				err = &core.Error{
					Code: core.CodeDamage, Op: "read the audit log", Message: fmt.Sprintf("entry %d is not as it was written: %s", whole.Broken, whole.Reason),
					Hint: "somebody or something changed " + db.Path() + "; what stands before it is as it was",
				}
			}
			return err
		})
	})
	cmd.Flags().IntVar(&limit, "limit", 50, "how many, the newest ones")
	cmd.Flags().StringVar(&since, "since", "", "only those of so long ago and later: 24h, 7d, 2w")
	return cmd
}
