// Package cli is backstay's command line. It is for cmd/backstay. The packages
// below it hold the commands, by what they are about; they turn flags and
// backstay.yaml into requests to the engine, and print what comes back: the
// result to stdout, all else to stderr. It promises the exit codes and the JSON
// that docs/commands.md states.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/cli/archives"
	"github.com/backstay/backstay/internal/cli/backups"
	"github.com/backstay/backstay/internal/cli/demonstration"
	"github.com/backstay/backstay/internal/cli/keys"
	"github.com/backstay/backstay/internal/cli/operations"
	"github.com/backstay/backstay/internal/cli/people"
	"github.com/backstay/backstay/internal/cli/proof"
	"github.com/backstay/backstay/internal/cli/recovery"
	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/cli/setup"
	"github.com/backstay/backstay/internal/core"
)

// Environment is what a command sees of the world.
type Environment = session.Environment

const exitCodes = `Exit codes: 0 ok, 1 failed, 3 finished with warnings or in part, 4 damage, or an implausible
backup, 10 no repository, 11 locked, 12 wrong key, 64 usage, 130 cancelled.`

// Main runs the command line and returns the exit code.
func Main(ctx context.Context, args []string, env Environment) int {
	s := session.New(env)
	help := &checkedWriter{w: env.Stdout}
	root := rootCommand(s, help)
	root.SetArgs(args)
	root.SetIn(env.Stdin)
	root.SetErr(env.Stderr)
	err := root.ExecuteContext(ctx)
	if s.Printer == nil { // the flags were not even parsed
		s.Prepare(asksForJSON(args))
	}
	if err != nil && s.Ran() == "" && help.err == nil {
		err = unknownCommand(root, args, err)
	}
	if errors.Is(err, context.Canceled) {
		err = cancelled(ctx, s.Ran(), err)
	}
	var out session.Outcome
	if errors.As(err, &out) {
		err = nil
	}
	if cerr := s.Close(); cerr != nil { // the work is done; only its record may be poorer
		s.Printer.Logger().Warn("close the state database", "err", cerr)
	}
	s.Printer.Error(err)
	if perr := errors.Join(s.Printer.Err(), help.err); perr != nil && err == nil {
		fmt.Fprintln(env.Stderr, "backstay: error:", perr)
		return core.CodeFailed.ExitCode()
	}
	if err != nil {
		return core.CodeOf(err).ExitCode()
	}
	return int(out)
}

// cancelled says in plain words that a person ended the command, where it was,
// and what that means. Nothing of err's text is lost: it may also say that
// something could not be put back in order.
func cancelled(ctx context.Context, command string, err error) error {
	hint := core.HintOf(err)
	if hint == "" {
		hint = map[string]string{
			"backup":  "the backup under way was not made; backups that were finished before it stay",
			"export":  "there is no archive of that name; nothing of what was written is left",
			"import":  "no backup was made of the archive under way; those made before it stay",
			"guard":   "the command was not run, and nothing was changed",
			"restore": "a restore that had begun may have changed a part of the app; run it again to bring back all of it",
			"verify":  "nothing was changed; run it again to verify",
		}[command]
	}
	text := strings.ReplaceAll(err.Error(), context.Canceled.Error(), "cancelled")
	if cause := context.Cause(ctx); cause != nil {
		text = strings.ReplaceAll(text, cause.Error(), "cancelled")
	}
	return &core.Error{Code: core.CodeCancelled, Message: text, Hint: hint}
}

// checkedWriter keeps the error of a write, which cobra ignores when it prints
// help or a completion script.
type checkedWriter struct {
	w   io.Writer
	err error
}

func (c *checkedWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err != nil {
		c.err = fmt.Errorf("write the result: %w", err)
	}
	return n, err
}

// asksForJSON looks for --json in a command line that cannot be parsed, so that
// a script gets this error too in the form that it reads.
func asksForJSON(args []string) bool {
	for _, a := range args {
		switch a {
		case "--json", "--json=true":
			return true
		case "--":
			return false
		}
	}
	return false
}

func rootCommand(s *session.Session, out io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "backstay",
		Short: "Back up and restore self-hosted business applications",
		Long: "backstay backs up a self-hosted application - database, files, configuration, code - as one\n" +
			"consistent whole into an encrypted, deduplicated repository, and restores it.\n\n" + exitCodes,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRun: func(*cobra.Command, []string) {
			s.Prepare(false)
		},
	}
	s.GlobalFlags(root.PersistentFlags())
	root.SetFlagErrorFunc(unknownFlag)
	root.DisableSuggestions = true // cobra's take three lines; see unknownCommand
	root.AddCommand(versionCommand(s))
	root.AddCommand(setup.Commands(s)...)
	root.AddCommand(backups.Commands(s)...)
	root.AddCommand(recovery.Commands(s)...)
	root.AddCommand(archives.Commands(s)...)
	root.AddCommand(operations.Commands(s)...)
	root.AddCommand(people.Commands(s)...)
	root.AddCommand(proof.Commands(s)...)
	root.AddCommand(keys.Commands(s)...)
	root.AddCommand(demonstration.Command(s))
	root.SetOut(out) // before the completion command is made, which keeps it
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" { // or an unknown shell would be met with help and exit code 0
			c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		}
		if c.Long == "" {
			c.Long = c.Short + "."
		}
		c.Long += "\n\n" + exitCodes
	}
	return root
}

func versionCommand(s *session.Session) *cobra.Command {
	return s.Command("version", "Print the version", cobra.NoArgs, func(context.Context, []string) error {
		return s.Printer.Result(map[string]any{"version": s.Env.Version, "layout": core.ManifestSchema}, func() {
			s.Printer.Printf("backstay %s, backup layout %d\n", s.Env.Version, core.ManifestSchema)
		})
	})
}
