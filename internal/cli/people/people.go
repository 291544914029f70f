// Package people has the commands that look after who may use the console:
// user and token. It is for package cli. It promises that whoever may write the
// state folder can let somebody in again, whatever was forgotten, and that
// passwords and tokens are never on a command line.
package people

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/core"
)

// commands are the commands of this package in one session.
type commands struct{ *session.Session }

// Commands returns the commands.
func Commands(s *session.Session) []*cobra.Command {
	c := commands{s}
	user := group("user", "Look after the people who may use the console")
	user.AddCommand(c.addCommand(), c.listCommand(), c.roleCommand(), c.passwordCommand(), c.disableCommand(), c.enableCommand(),
		c.unlockCommand(), c.removeCommand(), c.secondCommand(), c.linkCommand())
	token := group("token", "Look after the tokens that let scripts use the API")
	token.AddCommand(c.addTokenCommand(), c.listTokensCommand(), c.removeTokenCommand())
	return []*cobra.Command{user, token}
}

func group(name, short string) *cobra.Command {
	return &cobra.Command{Use: name, Short: short, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
}

// command makes a command below another. Its use begins with the other's name.
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

// withUsers calls do with the database of users.
func (s commands) withUsers(ctx context.Context, do func(*access.Store) error) error {
	cfg, err := s.LoadConfig()
	if err != nil {
		return err
	}
	return s.open(ctx, cfg.StateDir, do)
}

// changing is withUsers for what is in the audit log, as being about object.
func (s commands) changing(ctx context.Context, do func(*access.Store) error, object ...string) error {
	cfg, err := s.LoadConfig()
	if err != nil {
		return err
	}
	s.Audit(ctx, cfg.StateDir, object...)
	return s.open(ctx, cfg.StateDir, do)
}

func (s commands) open(ctx context.Context, stateDir string, do func(*access.Store) error) (err error) {
	store, err := access.Open(ctx, stateDir, s.Env.Clock)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return do(store)
}

// done prints what became of a user.
func (s commands) done(u access.User, what string) error {
	return s.Printer.Result(map[string]any{"user": u}, func() { s.Printer.Printf("%s %s\n", u.Name, what) })
}

func (s commands) addCommand() *cobra.Command {
	var role, passwordFile string
	cmd := s.command("user add NAME --role viewer|operator|admin [--password-file F]", "Make a user", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		if role == "" {
			return &core.Error{Code: core.CodeUsage, Op: "user add", Message: "--role is missing", Hint: "viewer sees, operator backs up, admin does all"}
		}
		wanted, err := access.ParseRole(role)
		if err != nil {
			return err
		}
		if err := access.CheckName(args[0]); err != nil {
			return err
		}
		return s.changing(ctx, func(store *access.Store) error {
			if _, err := store.User(ctx, args[0]); err == nil { // before anybody is asked for a password
				return &core.Error{Code: core.CodeUsage, Op: "user add", Err: fmt.Errorf("%w: %s", access.ErrNameTaken, args[0]), Hint: "backstay user list shows them; upper and lower case count as the same"}
			}
			password, err := s.password(ctx, args[0], passwordFile)
			if err != nil {
				return err
			}
			user, err := store.AddUser(ctx, args[0], wanted, password)
			if err != nil {
				return err
			}
			return s.done(user, "can log in as "+string(user.Role))
		}, args[0], role)
	})
	cmd.Flags().StringVar(&role, "role", "", "viewer, operator or admin")
	cmd.Flags().StringVar(&passwordFile, "password-file", "", "file that holds the user's password; without it a terminal is asked")
	return cmd
}

func (s commands) listCommand() *cobra.Command {
	return s.command("user list", "List the users", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		return s.withUsers(ctx, func(store *access.Store) error {
			users, err := store.Users(ctx)
			if err != nil {
				return err
			}
			return s.Printer.Result(map[string]any{"users": users}, func() { s.printUsers(users) })
		})
	})
}

func (s commands) printUsers(users []access.User) {
	if len(users) == 0 {
		s.Printer.Infof("there is no user; backstay user add NAME --role admin makes one, backstay user link a link that does")
		return
	}
	t := ui.NewTable(ui.Column{Title: "NAME"}, ui.Column{Title: "ROLE"}, ui.Column{Title: "SECOND FACTOR"}, ui.Column{Title: "LAST LOGIN"}, ui.Column{Title: ""})
	for _, u := range users {
		second, login := "no", "never"
		switch {
		case u.Provider != "":
			second = "provider's"
		case u.TOTP:
			second = "yes"
		}
		if u.LastLogin != nil {
			login = s.Printer.Time(*u.LastLogin)
		}
		var remarks []string
		if u.Disabled {
			remarks = append(remarks, "disabled")
		}
		if u.LockedUntil != nil {
			remarks = append(remarks, "waits until "+s.Printer.Time(*u.LockedUntil)+" after wrong passwords")
		}
		if u.Provider != "" {
			remarks = append(remarks, "from "+u.Provider)
		}
		t.Row(u.Name, string(u.Role), second, login, strings.Join(remarks, ", "))
	}
	s.Printer.Table(t)
}

const forceUsage = "the last admin too: nobody can then log in who may do all"

// hinted says that --force is the way, where there is none but it.
func hinted(err error) error {
	if !errors.Is(err, access.ErrLastAdmin) {
		return err
	}
	return &core.Error{Code: core.CodeDecision, Err: err, Hint: core.HintOf(err) + "; or add --force"}
}

func (s commands) roleCommand() *cobra.Command {
	var force bool
	cmd := s.command("user role NAME viewer|operator|admin", "Give a user another role", cobra.ExactArgs(2), func(ctx context.Context, args []string) error {
		role, err := access.ParseRole(args[1])
		if err != nil {
			return err
		}
		return s.change(ctx, access.Change{Role: &role, Force: force}, "is "+string(role)+" now", args...)
	})
	cmd.Flags().BoolVar(&force, "force", false, forceUsage)
	return cmd
}

// change changes a user, and says so.
func (s commands) change(ctx context.Context, c access.Change, what string, args ...string) error {
	return s.changing(ctx, func(store *access.Store) error {
		user, err := store.ChangeUser(ctx, args[0], c)
		if err != nil {
			return hinted(err)
		}
		return s.done(user, what)
	}, args...)
}

func (s commands) passwordCommand() *cobra.Command {
	var passwordFile string
	cmd := s.command("user password NAME [--password-file F]", "Give a user another password, and end their sessions", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		return s.changing(ctx, func(store *access.Store) error {
			user, err := store.User(ctx, args[0])
			if err != nil {
				return err
			}
			password, err := s.password(ctx, user.Name, passwordFile)
			if err != nil {
				return err
			}
			if err := store.SetPassword(ctx, user.Name, password, 0); err != nil {
				return err
			}
			return s.done(user, "has the new password; their sessions are over")
		}, args...)
	})
	cmd.Flags().StringVar(&passwordFile, "password-file", "", "file that holds the new password; without it a terminal is asked")
	return cmd
}

func (s commands) disableCommand() *cobra.Command {
	var force bool
	cmd := s.command("user disable NAME", "Keep a user out, at once", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		disabled := true
		return s.change(ctx, access.Change{Disabled: &disabled, Force: force}, "is disabled; their sessions are over, and their tokens do not count", args...)
	})
	cmd.Flags().BoolVar(&force, "force", false, forceUsage)
	return cmd
}

func (s commands) enableCommand() *cobra.Command {
	return s.command("user enable NAME", "Let a user in again who was disabled", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		disabled := false
		return s.change(ctx, access.Change{Disabled: &disabled, Force: true}, "can log in again", args...)
	})
}

func (s commands) unlockCommand() *cobra.Command {
	return s.command("user unlock NAME", "Forget a user's wrong passwords, so that nobody has to wait", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		return s.change(ctx, access.Change{Unlock: true, Force: true}, "does not have to wait", args...)
	})
}

func (s commands) removeCommand() *cobra.Command {
	var force bool
	cmd := s.command("user remove NAME", "Remove a user with their sessions and tokens", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		return s.changing(ctx, func(store *access.Store) error {
			user, err := store.User(ctx, args[0])
			if err != nil {
				return err
			}
			remove := store.RemoveUser
			if force {
				remove = store.ForceRemoveUser
			}
			if err := remove(ctx, user.Name); err != nil {
				return hinted(err)
			}
			return s.done(user, "is removed")
		}, args...)
	})
	cmd.Flags().BoolVar(&force, "force", false, forceUsage)
	return cmd
}

func (s commands) secondCommand() *cobra.Command {
	var off bool
	cmd := s.command("user second NAME --off", "Drop a user's second factor, for who lost it", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		if !off {
			return &core.Error{Code: core.CodeUsage, Op: "user second", Message: "--off is missing", Hint: "a second factor is set up in the console, by the person who has it"}
		}
		return s.change(ctx, access.Change{DropTOTP: true, Force: true}, "logs in with the password alone", args...)
	})
	cmd.Flags().BoolVar(&off, "off", false, "drop it")
	return cmd
}

func (s commands) linkCommand() *cobra.Command {
	return s.command("user link", "Make a set-up link, while there is no user", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		return s.changing(ctx, func(store *access.Store) error {
			secret, err := store.Offer(ctx)
			if err != nil {
				return err
			}
			if secret.Empty() {
				return &core.Error{Code: core.CodeUsage, Op: "user link", Message: "there are users already", Hint: "backstay user add NAME --role admin makes another; backstay user password NAME helps who forgot theirs"}
			}
			path := "/setup?key=" + secret.Reveal()
			return s.Printer.Result(map[string]any{"path": path}, func() {
				s.Printer.Printf("%s\n", path)
				s.Printer.Infof("open this path of the console within a day; it makes the first admin, once. Former links are not valid any more")
			})
		})
	})
}
