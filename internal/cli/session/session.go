// Package session holds one run of the command line: its flags, its printer, its
// configuration, and what wires the concrete parts together - profiles, the
// repository's store, the engine. It is for the packages of commands beside it.
// It promises that every command finds repository, configuration and apps in the
// same way, and that a command's end is told apart from an error in its use.
package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/state"
)

// Environment is what a command sees of the world.
type Environment struct {
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Getenv  func(string) string
	Clock   core.Clock
	Version string
}

// Session is one run of the command line. It is used by one goroutine.
type Session struct {
	Env     Environment
	Printer *ui.Printer // made by Prepare

	ConfigPath string // --config
	Verbose    bool   // --verbose

	// Of commands that work on a machine without a configuration; "" elsewhere.
	RepositoryURL, PasswordFile, StateDir string

	json, quiet, noProgress bool
	ran                     string   // the command that began; errors from then on are not about usage
	keyFlag                 string   // of the command that began
	passwordEnv             []string // the variables that hold passwords of the configuration
	action                  string   // of the audit log: the command, with the one that it is below
	object                  []string // what the command is about, for the audit log
	auditBegun              bool
	state                   *state.DB // once it was opened
	stateDir                string    // of what runs
	recorded                *recorded // the run that the command is; nil: it is none
	adopted                 bool      // the run that was recorded for it was taken over
	progress                shared
}

// New returns the session of a command line that is yet to be parsed.
func New(env Environment) *Session { return &Session{Env: env} }

// GlobalFlags adds the flags that every command has.
func (s *Session) GlobalFlags(f *pflag.FlagSet) {
	f.StringVar(&s.ConfigPath, "config", "", "configuration file (default: $BACKSTAY_CONFIG, ~/.config/backstay/backstay.yaml, /etc/backstay/backstay.yaml)")
	f.BoolVar(&s.json, "json", false, "print the result as JSON")
	f.BoolVar(&s.quiet, "quiet", false, "print the result, warnings and errors only")
	f.BoolVar(&s.Verbose, "verbose", false, "say more about what is done")
	f.BoolVar(&s.noProgress, "no-progress", false, "do not show progress")
}

// Prepare makes the printer that the flags ask for. json asks for JSON too,
// where the flags could not be parsed.
func (s *Session) Prepare(json bool) {
	s.json = s.json || json
	s.Printer = ui.New(ui.Options{
		Stdout: s.Env.Stdout, Stderr: s.Env.Stderr, Stdin: s.Env.Stdin, Clock: s.Env.Clock,
		JSON: s.json, Quiet: s.quiet, Verbose: s.Verbose, NoProgress: s.noProgress,
	})
}

// Begin says that a command begins: errors from now on are not about usage.
func (s *Session) Begin(command string) {
	s.ran, s.keyFlag = command, KeyFlag
	s.surviveService()
}

// Acts says what a command does, where the audit log has that by a name of its
// own.
func (s *Session) Acts(action string) { s.action = action }

// Ran names the command that began, "" when none did.
func (s *Session) Ran() string { return s.ran }

// Command makes a cobra command whose errors are not about usage once it runs.
func (s *Session) Command(use, short string, args cobra.PositionalArgs, run func(ctx context.Context, args []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short,
		Args: func(cmd *cobra.Command, given []string) error {
			err := args(cmd, given)
			if err == nil {
				return nil
			}
			return &core.Error{Code: core.CodeUsage, Op: cmd.Name(), Err: err, Hint: "it is: backstay " + use + "; backstay " + cmd.Name() + " --help lists the flags"}
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if slices.ContainsFunc(args, func(a string) bool { return strings.TrimSpace(a) == "" }) {
				return UsageError(errors.New("an argument is empty; was a variable of your script not set?"))
			}
			if s.Begin(cmd.Name()); cmd.Flags().Lookup(OtherKeyFlag) != nil {
				s.keyFlag = OtherKeyFlag
			}
			s.action, s.object = strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" "), args
			if f := cmd.Flags().Lookup("force"); f != nil && f.Changed { // what somebody decided against a warning
				s.object = append(slices.Clone(args), "--force="+f.Value.String())
			}
			for _, only := range []string{"dry-run", "simulate"} { // what only looks is nothing to audit
				if f := cmd.Flags().Lookup(only); f != nil && f.Value.String() == "true" {
					s.action = ""
				}
			}
			err := run(cmd.Context(), args)
			s.endRun(cmd.Context(), err)
			s.endAudit(cmd.Context(), err)
			return err
		},
	}
}

// Outcome ends a command with an exit code and no error message: what there is
// to say has been printed.
type Outcome int

func (o Outcome) Error() string { return fmt.Sprintf("exit code %d", int(o)) }

// UsageError makes an error one about usage, unless it has a code already.
func UsageError(err error) error {
	var e *core.Error
	if errors.As(err, &e) {
		return err
	}
	return &core.Error{Code: core.CodeUsage, Message: err.Error(), Hint: "backstay --help lists the commands, backstay COMMAND --help their flags"}
}

// RefuseEmptyFlags keeps `--to-dir "$UNSET"` from meaning the live app.
func RefuseEmptyFlags(cmd *cobra.Command, _ []string) error {
	var empty error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		value := strings.TrimSpace(f.Value.String())
		if value == "" || value == "[]" {
			empty = &core.Error{
				Code: core.CodeUsage, Op: cmd.Name(), Message: "--" + f.Name + " is empty",
				Hint: "give it a value, or leave it out; was a variable of your script not set?",
			}
		}
		if list, ok := f.Value.(pflag.SliceValue); ok && slices.Contains(list.GetSlice(), "") {
			empty = &core.Error{Code: core.CodeUsage, Op: cmd.Name(), Message: "--" + f.Name + " is empty", Hint: "give it a value, or leave it out"}
		}
	})
	return empty
}

// ParseComponents reads what --only takes.
func ParseComponents(names []string) ([]core.Component, error) {
	var out []core.Component
	for _, n := range names {
		c, err := core.ParseComponent(n)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}
