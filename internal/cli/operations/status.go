package operations

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/cli/report"
	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/daemon"
	"github.com/backstay/backstay/internal/operation"
)

func (s commands) statusCommand() *cobra.Command {
	cmd := s.Command("status [APP…]", "Show every app: last backup, last proof, next run, what is wrong", cobra.ArbitraryArgs, func(ctx context.Context, args []string) error {
		return s.withCaretaker(ctx, args, func(c *operation.Caretaker, apps []operation.App) error {
			status, err := c.Status(ctx, names(apps))
			if err != nil {
				return err
			}
			service := daemon.Holder(c.Engine.StateDir)
			result := struct {
				operation.Status
				Service string `json:"service"` // which process it is; "": it does not run
			}{status, service}
			if err := s.Printer.Result(result, func() { s.printStatus(status, service) }); err != nil {
				return err
			}
			if status.Alarming() {
				return session.Outcome(core.CodeDamage.ExitCode())
			}
			return nil
		})
	})
	return cmd
}

func (s commands) printStatus(status operation.Status, service string) {
	scheduled := false
	for i, a := range status.Apps {
		if i > 0 {
			s.Printer.Printf("\n")
		}
		s.Printer.Printf("%s (%s)\n", a.App, a.Profile)
		s.printLast(a)
		s.printProof(a)
		for _, sch := range a.Schedules {
			scheduled = scheduled || !sch.Off
			s.printSchedule(sch)
		}
		if len(a.Schedules) == 0 {
			s.Printer.Printf("  schedule     none: nothing is backed up by itself\n")
		}
		if a.Doing != "" {
			s.Printer.Printf("  now          %s\n", a.Doing)
		}
		s.indented(a.Problems)
	}
	if status.Unlisted {
		s.Printer.Printf("\nrepository     cannot be read; the last backups above are those that are remembered here\n")
	} else {
		s.Printer.Printf("\nrepository     %s, %s\n", ui.Counted(int64(status.Backups), "backup"), s.space(status.Repository))
	}
	switch {
	case service != "":
		s.Printer.Printf("service        runs, %s\n", service)
	case scheduled:
		s.Printer.Printf("service        does not run, so no schedule is kept: backstay serve, or systemctl start backstay\n")
	default:
		s.Printer.Printf("service        does not run\n")
	}
	s.indented(status.Problems)
}

func (s commands) indented(problems []core.Problem) {
	for _, p := range problems {
		s.Printer.Printf("  %-12s %s: %s\n", string(p.Level), p.Name, report.Said(p))
		if p.Hint != "" {
			s.Printer.Printf("  %-12s   %s\n", "", p.Hint)
		}
	}
}

func (s commands) ago(t time.Time) string {
	d := s.Env.Clock.Now().Sub(t)
	if d < 0 {
		return s.Printer.Time(t) + ", which is still to come"
	}
	return s.Printer.Time(t) + ", " + ui.Duration(d) + " ago"
}

func (s commands) printLast(a operation.AppStatus) {
	if a.Last == nil {
		s.Printer.Printf("  last backup  none\n")
	} else {
		s.Printer.Printf("  last backup  %s of %s; %s\n", ui.ShortID(a.Last.ID), s.ago(a.Last.Time), ui.Size(a.Last.LogicalBytes))
	}
	if r := a.LastRun; r != nil && r.Outcome == core.OutcomeFailed && r.Finished != nil {
		s.Printer.Printf("  last run     failed %s: %s\n", s.ago(*r.Finished), r.Message)
	}
}

func (s commands) printProof(a operation.AppStatus) {
	parts := []string{"never verified"}
	if a.Verified != nil {
		parts[0] = "verified " + s.ago(*a.Verified)
	}
	if a.Drilled != nil {
		parts = append(parts, "drilled "+s.ago(*a.Drilled))
	}
	s.Printer.Printf("  last proof   %s\n", strings.Join(parts, "; "))
}

func (s commands) printSchedule(sch operation.ScheduleStatus) {
	name := "schedule"
	if sch.Name != "" {
		name += " " + sch.Name
	}
	text := sch.When
	if sch.Source != "" {
		text += " (" + sch.Source + ")"
	}
	if len(sch.Only) > 0 {
		var only []string
		for _, c := range sch.Only {
			only = append(only, string(c))
		}
		text += ", only " + strings.Join(only, ", ")
	}
	switch {
	case sch.Off && sch.Source != "": // an application says no more of what is off
		text = "switched off in " + sch.Source + ": nothing is backed up by it"
	case sch.Off && sch.When == "":
		text = "switched off (enabled: false): nothing is backed up by it"
	case sch.Off:
		text = "switched off (enabled: false): nothing is backed up by it; it would be " + text
	case sch.Next != nil:
		text += "; next " + s.Printer.Time(*sch.Next)
	}
	s.Printer.Printf("  %-12s %s\n", name, text)
}

func (s commands) space(space *core.Space) string {
	if space == nil {
		return "its size could not be asked"
	}
	text := "size not known"
	if space.Used >= 0 {
		text = ui.Size(space.Used)
	}
	if space.Free >= 0 {
		text += ", " + ui.Size(space.Free) + " free"
	}
	if space.Maintained != nil {
		return text + "; maintained " + s.ago(*space.Maintained)
	}
	return text + "; never maintained"
}
