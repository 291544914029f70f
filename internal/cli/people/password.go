package people

import (
	"context"
	"crypto/subtle"
	"fmt"
	"os"

	"golang.org/x/term"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
)

// password reads a new password from the file, or asks a terminal for it twice.
func (s commands) password(ctx context.Context, name, file string) (core.Secret, error) {
	if file != "" {
		return config.ResolveSecret(config.SecretSource{PasswordFile: file}, "the user "+name, s.LookupEnv)
	}
	terminal, ok := s.Env.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return core.Secret{}, &core.Error{Code: core.CodeUsage, Message: "nobody can be asked for the password here", Hint: "add --password-file F, a file that its owner only can read"}
	}
	first, err := s.ask(ctx, terminal, fmt.Sprintf("Password of %s, at least %d characters: ", name, access.PasswordRunes))
	if err != nil {
		return core.Secret{}, err
	}
	if err := access.CheckPassword(name, first); err != nil {
		return core.Secret{}, err
	}
	second, err := s.ask(ctx, terminal, "The same again: ")
	if err != nil {
		return core.Secret{}, err
	}
	if subtle.ConstantTimeCompare([]byte(first.Reveal()), []byte(second.Reveal())) != 1 {
		return core.Secret{}, &core.Error{Code: core.CodeUsage, Message: "the two passwords are not the same; nothing was changed", Hint: "type it again"}
	}
	return first, nil
}

// ask reads a line that the terminal does not show. A read of a terminal cannot
// be interrupted, so it waits elsewhere, and the terminal is put back in order.
func (s commands) ask(ctx context.Context, terminal *os.File, prompt string) (core.Secret, error) {
	before, err := term.GetState(int(terminal.Fd()))
	if err != nil {
		return core.Secret{}, fmt.Errorf("ask for the password: %w", err)
	}
	if _, err := fmt.Fprint(s.Env.Stderr, prompt); err != nil {
		return core.Secret{}, fmt.Errorf("ask for the password: %w", err)
	}
	type answer struct {
		text []byte
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		text, err := term.ReadPassword(int(terminal.Fd()))
		answers <- answer{text, err}
	}()
	select {
	case <-ctx.Done():
		_ = term.Restore(int(terminal.Fd()), before) // or what is typed next would not be seen
		_, _ = fmt.Fprintln(s.Env.Stderr)
		return core.Secret{}, context.Cause(ctx)
	case a := <-answers:
		_, _ = fmt.Fprintln(s.Env.Stderr)
		if a.err != nil {
			return core.Secret{}, fmt.Errorf("ask for the password: %w", a.err)
		}
		return core.NewSecret(string(a.text)), nil
	}
}
