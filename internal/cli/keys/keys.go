// Package keys has the commands that look after keys: those of the applications
// and the repository's own. It is for package cli. It promises that no password
// or key is ever on a command line, in an error or in a log, and that a key is
// shown only where it was asked for.
package keys

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/core"
)

// commands are the commands of this package in one session.
type commands struct{ *session.Session }

// Commands returns the commands.
func Commands(s *session.Session) []*cobra.Command {
	c := commands{s}
	key := &cobra.Command{
		Use: "key", Short: "Look after keys: the applications' and the repository's", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, add := range [][]*cobra.Command{
		c.applications(), c.kits(),
	} {
		key.AddCommand(add...)
	}
	return []*cobra.Command{key}
}

// applications are the commands for the keys of applications.
func (s commands) applications() []*cobra.Command {
	return []*cobra.Command{s.itflowCommand(), s.itopCommand()}
}

// command makes a command below key. Its use begins with "key".
func (s commands) command(use, short string, args cobra.PositionalArgs, run func(ctx context.Context, args []string) error) *cobra.Command {
	_, own, _ := strings.Cut(use, " ")
	cmd := s.Command(own, short, args, run)
	cmd.Args = func(cmd *cobra.Command, given []string) error {
		err := args(cmd, given)
		if err == nil {
			return session.RefuseEmptyFlags(cmd, given)
		}
		path := strings.TrimSpace(cmd.CommandPath())
		return &core.Error{Code: core.CodeUsage, Op: strings.TrimPrefix(path, cmd.Root().Name()+" "), Err: err, Hint: "it is: backstay " + use + "; " + path + " --help lists the flags"}
	}
	return cmd
}
