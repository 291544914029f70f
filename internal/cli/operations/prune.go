package operations

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/retention"
)

// pruned is what prune did, or would do, for an app.
type pruned struct {
	App       string               `json:"app"`
	Decisions []retention.Decision `json:"decisions"`
	Removed   int                  `json:"removed"`
	Error     string               `json:"error,omitempty"`
}

func (s commands) pruneCommand() *cobra.Command {
	var dryRun bool
	cmd := s.Command("prune [APP…]", "Remove the backups that retention does not keep", cobra.ArbitraryArgs, func(ctx context.Context, args []string) error {
		if !dryRun {
			s.Records(core.RunPrune, oneOf(args))
		}
		return s.withCaretaker(ctx, args, func(c *operation.Caretaker, apps []operation.App) error {
			report := c.Look(ctx, names(apps))
			var results []pruned
			var failed error
			for _, a := range apps {
				do := c.Prune
				if dryRun {
					do = c.Plan
				}
				decisions, err := do(ctx, a, report)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				p := pruned{App: a.Name, Decisions: orEmpty(decisions)}
				for _, d := range decisions {
					if !d.Keep {
						p.Removed++
					}
				}
				if err != nil {
					err = &core.Error{Code: core.CodeOf(err), Op: "prune app " + a.Name, Err: err}
					p.Error, failed = err.Error(), errors.Join(failed, err)
				}
				results = append(results, p)
			}
			err := s.Printer.Result(map[string]any{"apps": results, "dry_run": dryRun}, func() {
				for _, p := range results {
					s.printDecisions(p, dryRun)
				}
			})
			return errors.Join(err, failed)
		})
	})
	cmd.Long = `Remove the backups that retention does not keep.

Whatever the policy says, the newest complete backup, the newest verified one, pinned ones and, while
a check has an anomaly open, all of them stay. --dry-run explains each decision. The space comes back
with the repository's maintenance.`
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be removed and why, and remove nothing")
	return cmd
}

// oneOf returns the app that a command is about, "" for several and for all.
func oneOf(apps []string) string {
	if len(apps) == 1 {
		return apps[0]
	}
	return ""
}

func (s commands) printDecisions(p pruned, dryRun bool) {
	verb := "removed"
	if dryRun {
		verb = "remove"
	}
	s.Printer.Printf("%s: %d kept, %d %s\n", p.App, len(p.Decisions)-p.Removed, p.Removed, map[bool]string{true: "would be removed", false: "removed"}[dryRun])
	t := ui.NewTable(ui.Column{}, ui.Column{}, ui.Column{}, ui.Column{})
	for _, d := range slices.Backward(p.Decisions) { // oldest first, as lists are
		word := "keep"
		if !d.Keep {
			word = verb
		}
		t.Row("  "+word, ui.ShortID(d.ID), s.Printer.Time(d.Time), strings.Join(d.Reasons, "; "))
	}
	s.Printer.Table(t)
}
