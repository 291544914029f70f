package operations

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/operation"
)

func (s commands) notifyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "notify", Short: "Try out where alarms go", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	cmd.AddCommand(s.notifyTestCommand())
	return cmd
}

func (s commands) notifyTestCommand() *cobra.Command {
	var leaveOpen bool
	cmd := s.Command("test [APP…]", "Open, update and close a test alarm at every destination", cobra.ArbitraryArgs, func(ctx context.Context, args []string) error {
		s.Records(core.RunNotify, oneOf(args))
		return s.withCaretaker(ctx, args, func(c *operation.Caretaker, apps []operation.App) error {
			results := c.TestAlarms(ctx, apps, len(args) == 0, leaveOpen)
			if err := ctx.Err(); err != nil {
				return err
			}
			if len(results) == 0 {
				return &core.Error{Code: core.CodeConfig, Op: "notify", Message: "there is no destination", Hint: "add some under notify: in backstay.yaml; docs/notify.md lists them"}
			}
			failed, first := 0, ""
			for _, r := range results {
				if r.Error != "" {
					failed, first = failed+1, cmp.Or(first, r.Destination+": "+r.Error)
				}
			}
			s.Warned(failed)
			if failed > 0 {
				s.FailedWith(&core.Error{
					Code: core.CodeFailed, Op: "notify test", Message: fmt.Sprintf("%d of %d attempts to tell destinations failed, the first: %s", failed, len(results), first),
					Hint: "correct the destination below notify: in backstay.yaml; docs/notify.md explains each",
				})
			}
			err := s.Printer.Result(map[string]any{"tried": results}, func() {
				for _, r := range results {
					where := r.Destination
					if r.App != "" {
						where = r.App + ": " + where
					}
					switch {
					case r.Error != "":
						s.Printer.Printf("failed %s, %s: %s\n", where, r.Part, r.Error)
					case r.Ref != "":
						s.Printer.Printf("told   %s, %s: %s\n", where, r.Part, r.Ref)
					default:
						s.Printer.Printf("told   %s, %s\n", where, r.Part)
					}
				}
			})
			switch {
			case err != nil || failed == 0:
				return err
			case failed < len(results):
				return session.Outcome(core.CodeWarnings.ExitCode())
			}
			return session.Outcome(core.CodeFailed.ExitCode())
		})
	})
	cmd.Flags().BoolVar(&leaveOpen, "leave-open", false, "leave the test alarm open, to look at the ticket")
	return cmd
}
