package people

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/config/strict"
	"github.com/backstay/backstay/internal/core"
)

func (s commands) addTokenCommand() *cobra.Command {
	var user, role, expires string
	cmd := s.command("token add NAME --user U --role viewer|operator|admin [--expires 90d|never]", "Make a token for a script, and print it once", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		for flag, value := range map[string]string{"user": user, "role": role} {
			if value == "" {
				return &core.Error{Code: core.CodeUsage, Op: "token add", Message: "--" + flag + " is missing", Hint: "a token acts as a user, with at most the role that it is given"}
			}
		}
		wanted, err := access.ParseRole(role)
		if err != nil {
			return err
		}
		lasts, err := parseExpires(expires)
		if err != nil {
			return err
		}
		return s.changing(ctx, func(store *access.Store) error {
			secret, token, err := store.AddToken(ctx, user, args[0], wanted, lasts)
			if err != nil {
				return err
			}
			result := struct {
				Secret string       `json:"secret"`
				Token  access.Token `json:"token"`
			}{secret.Reveal(), token}
			return s.Printer.Result(result, func() {
				s.Printer.Printf("%s\n", secret.Reveal())
				s.Printer.Infof("this is token %d, %s, of %s as %s, %s; it is not shown again", token.ID, token.Name, token.User, string(token.Role), s.until(token))
			})
		}, args[0], user, role)
	})
	cmd.Flags().StringVar(&user, "user", "", "whose it is: it can do nothing that they cannot")
	cmd.Flags().StringVar(&role, "role", "", "the most that it may: viewer, operator or admin")
	cmd.Flags().StringVar(&expires, "expires", "90d", "how long it is good for: 12h, 90d, or never")
	return cmd
}

func parseExpires(text string) (time.Duration, error) {
	if text == "never" {
		return 0, nil
	}
	d, wrong, hint := strict.ParseDuration(text)
	if wrong == "" && d <= 0 {
		wrong, hint = "is not after now", "90d, or never"
	}
	if wrong != "" {
		return 0, &core.Error{Code: core.CodeUsage, Op: "token add", Message: "--expires " + wrong, Hint: hint}
	}
	return d, nil
}

func (s commands) until(t access.Token) string {
	if t.Expires == nil {
		return "which does not expire"
	}
	return "good until " + s.Printer.Time(*t.Expires)
}

func (s commands) listTokensCommand() *cobra.Command {
	var user string
	cmd := s.command("token list [--user U]", "List the tokens", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		return s.withUsers(ctx, func(store *access.Store) error {
			tokens, err := store.Tokens(ctx, user)
			if err != nil {
				return err
			}
			return s.Printer.Result(map[string]any{"tokens": tokens}, func() { s.printTokens(tokens) })
		})
	})
	cmd.Flags().StringVar(&user, "user", "", "only this user's")
	return cmd
}

func (s commands) printTokens(tokens []access.Token) {
	if len(tokens) == 0 {
		s.Printer.Infof("there is no token")
		return
	}
	t := ui.NewTable(ui.Column{Title: "ID", Right: true}, ui.Column{Title: "NAME"}, ui.Column{Title: "USER"}, ui.Column{Title: "ROLE"}, ui.Column{Title: "BEGINS"}, ui.Column{Title: "LAST USED"}, ui.Column{Title: "EXPIRES"})
	for _, token := range tokens {
		used, expires := "never", "never"
		if token.Used != nil {
			used = s.Printer.Time(*token.Used)
		}
		if token.Expires != nil {
			if expires = s.Printer.Time(*token.Expires); !s.Env.Clock.Now().Before(*token.Expires) {
				expires = "expired " + expires
			}
		}
		t.Row(strconv.FormatInt(token.ID, 10), token.Name, token.User, string(token.Role), token.Hint+"…", used, expires)
	}
	s.Printer.Table(t)
}

func (s commands) removeTokenCommand() *cobra.Command {
	return s.command("token remove ID", "Remove a token, at once", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		id, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil {
			return &core.Error{Code: core.CodeUsage, Op: "token remove", Message: fmt.Sprintf("%q is no token's number", args[0]), Hint: "backstay token list shows the numbers"}
		}
		return s.changing(ctx, func(store *access.Store) error {
			if err := store.RemoveToken(ctx, "", id); err != nil {
				return err
			}
			return s.Printer.Result(map[string]any{"removed": id}, func() { s.Printer.Printf("token %d is removed\n", id) })
		}, args...)
	})
}
