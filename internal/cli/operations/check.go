package operations

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/cli/report"
	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/operation"
)

func (s commands) checkCommand() *cobra.Command {
	var accept, quietly bool
	params := &session.ScriptParams{}
	cmd := s.Command("check [APP…]", "See whether the newest backup is there, fresh, whole and plausible; alarms and tickets", cobra.ArbitraryArgs, func(ctx context.Context, args []string) error {
		if err := s.ReadParams(params); err != nil {
			return err
		}
		if accept && len(args) != 1 {
			return &core.Error{Code: core.CodeUsage, Op: "check", Message: "--accept is about one app", Hint: "backstay check APP --accept"}
		}
		if accept {
			s.Acts("accept") // a decision
		}
		return s.withCaretaker(ctx, args, func(c *operation.Caretaker, apps []operation.App) error {
			if err := s.ApplyParams(ctx, c, apps, params); err != nil {
				return err
			}
			if accept {
				accepted, err := c.Accept(ctx, apps[0])
				if err != nil {
					return err
				}
				s.Printer.Infof("backup %s of %s counts as right, and what was usual before it no longer counts", accepted.Backup, apps[0].Name)
			}
			if quietly {
				return s.printReport(c.Look(ctx, names(apps)), names(apps))
			}
			found, err := c.Check(ctx, names(apps), s.Trigger())
			if err != nil && ctx.Err() != nil {
				return err
			}
			if err != nil { // the findings are worth more than the way they went
				s.Printer.Failure(err)
			}
			perr := s.printReport(found, names(apps))
			if perr == nil {
				return err
			}
			return perr
		})
	})
	cmd.PreRunE = session.RefuseEmptyFlags
	cmd.Long = `See whether the newest backup of each app is there, fresh, whole and of plausible size and content.

Each finding is a line. One that somebody must hear of opens an alarm, which is told to the
destinations under notify: once, updated while it lasts, and closed when it is over; the exit code
is 4 then. docs/check.md explains every finding.`
	f := cmd.Flags()
	f.BoolVar(&accept, "accept", false, "the newest backup is right as it is: judge later ones by it")
	f.BoolVar(&quietly, "dry-run", false, "judge, and neither open nor close alarms nor tell anybody")
	s.ParamFlags(f, params)
	return cmd
}

func (s commands) printReport(found operation.Report, apps []string) error {
	result := struct {
		Apps     []string       `json:"apps"`
		Problems []core.Problem `json:"problems"`
	}{apps, orEmpty(found.Problems)}
	err := s.Printer.Result(result, func() {
		for _, p := range found.Problems {
			report.Problem(s.Printer, p)
		}
		if !found.Alarming() {
			for _, app := range apps {
				if b := found.LastGood[app]; b != nil {
					s.Printer.Printf("ok     %s: backup %s of %s\n", app, b.ID[:min(8, len(b.ID))], s.ago(b.Time))
				} else {
					s.Printer.Printf("ok     %s: no backup, and none is due\n", app)
				}
			}
		}
	})
	if err == nil && found.Alarming() {
		return session.Outcome(core.CodeDamage.ExitCode())
	}
	return err
}
