package keys

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/appkeys"
)

// bareFlags let a backup be named on a machine without a configuration.
func (s commands) bareFlags(cmd *cobra.Command) {
	s.RepositoryFlags(cmd.Flags(), session.OtherKeyFlag)
	cmd.Flags().StringVar(&s.StateDir, "state-dir", "", "where locks and caches are kept, on a machine without a configuration")
}

// withSource calls do with what the arguments name: APP, the live application,
// or APP and BACKUP. The application of a backup need not be configured here.
func (s commands) withSource(ctx context.Context, args []string, do func(*appkeys.Source) error) error {
	if len(args) == 1 {
		if s.RepositoryURL != "" {
			return &core.Error{Code: core.CodeUsage, Op: "look for keys", Message: "--repository is for a backup, and none is named", Hint: "add latest, or an id"}
		}
		return s.WithMachine(ctx, func(e *engine.Engine, cfg *config.Config) error {
			app, err := cfg.App(args[0])
			if err != nil {
				return err
			}
			target, err := s.Target(app)
			if err != nil {
				return err
			}
			return using(do)(appkeys.Live(ctx, e, target))
		})
	}
	return s.WithEngine(ctx, func(e *engine.Engine, _ *config.Config) error {
		ref := args[1]
		if ref == "latest" {
			ref = args[0] + "@latest"
		}
		rec, err := e.Find(ctx, ref)
		if err != nil {
			return err
		}
		if rec.App != args[0] {
			return &core.Error{
				Code: core.CodeUsage, Op: "look for keys", Message: fmt.Sprintf("backup %s is of app %s, not of %s", rec.ID, ui.Clean(rec.App), ui.Clean(args[0])),
				Hint: "backstay list " + args[0] + " shows those of " + args[0],
			}
		}
		return using(do)(appkeys.Backup(ctx, e, rec))
	})
}

// using calls do with a source, and closes it.
func using(do func(*appkeys.Source) error) func(*appkeys.Source, error) error {
	return func(source *appkeys.Source, err error) (_ error) {
		if err != nil {
			return err
		}
		err = do(source)
		if cerr := source.Close(); cerr != nil && err == nil {
			err = cerr
		}
		return err
	}
}

// maxPassword is more than any password has.
const maxPassword = 64 << 10

// appPassword reads the password of somebody in an application: from the file,
// from the standard input where that is "-", or from the terminal.
func (s commands) appPassword(ctx context.Context, file, prompt string) (core.Secret, error) {
	const op = "read the password"
	switch file {
	case "":
		terminal, ok := s.Terminal()
		if !ok {
			return core.Secret{}, &core.Error{Code: core.CodeUsage, Op: op, Message: "nobody can be asked for it here", Hint: "add --password-file F, a file that its owner only can read, or --password-file - for the standard input"}
		}
		password, err := s.AskHidden(ctx, terminal, prompt)
		if err == nil && password.Empty() {
			err = &core.Error{Code: core.CodeUsage, Op: op, Message: "nothing was typed", Hint: "type the password, which is not shown"}
		}
		return password, err
	case "-":
		line, err := bufio.NewReader(io.LimitReader(s.Env.Stdin, maxPassword+1)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return core.Secret{}, &core.Error{Code: core.CodeFailed, Op: op, Err: err, Hint: "give it with --password-file F"}
		}
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if line == "" || len(line) > maxPassword {
			return core.Secret{}, &core.Error{Code: core.CodeUsage, Op: op, Message: "the standard input does not begin with a line that is one", Hint: "send the password as one line"}
		}
		return core.NewSecret(line), nil
	}
	return config.ResolveSecret(config.SecretSource{PasswordFile: file}, "the application's user", s.LookupEnv)
}
