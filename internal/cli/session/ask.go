package session

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/term"

	"github.com/backstay/backstay/internal/core"
)

// Terminal returns the terminal that a person can be asked on; false when there
// is none.
func (s *Session) Terminal() (*os.File, bool) {
	terminal, ok := s.Env.Stdin.(*os.File)
	return terminal, ok && term.IsTerminal(int(terminal.Fd()))
}

// AskHidden reads a line that the terminal does not show. A read of a terminal
// cannot be interrupted, so it waits elsewhere, and the terminal is put back in
// order.
func (s *Session) AskHidden(ctx context.Context, terminal *os.File, prompt string) (core.Secret, error) {
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
