package ui

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/backstay/backstay/internal/core"
)

// Confirm asks a person to type name before something is destroyed. what says
// what will happen, as a sentence without its full stop. The error has
// CodeUsage when there is no person to ask, and CodeCancelled when the answer
// is another one, or ctx ends first.
func (p *Printer) Confirm(ctx context.Context, name, what string) error {
	if !p.options.IsTerminal(p.options.Stdin) {
		return &core.Error{
			Code: core.CodeUsage, Message: fmt.Sprintf("this needs a confirmation: %s", what),
			Hint: "nobody can be asked here; look at the plan with --dry-run, then add --yes",
		}
	}
	p.note(fmt.Sprintf("%s.\nType %s to go on: ", Clean(what), Clean(name)))

	type answer struct {
		text string
		err  error
	}
	// A read of a terminal cannot be interrupted, so it waits elsewhere.
	answers := make(chan answer, 1)
	go func() {
		const most = 1 << 10
		text, err := bufio.NewReader(io.LimitReader(p.options.Stdin, most)).ReadString('\n')
		answers <- answer{text, err}
	}()
	select {
	case <-ctx.Done():
		p.note("\n")
		return context.Cause(ctx)
	case a := <-answers:
		if a.err != nil && !errors.Is(a.err, io.EOF) {
			return fmt.Errorf("read the confirmation: %w", a.err)
		}
		if strings.TrimSpace(a.text) != name {
			return &core.Error{
				Code: core.CodeCancelled, Message: "not confirmed; nothing was changed",
				Hint: fmt.Sprintf("type exactly %s, or add --yes", name),
			}
		}
		return nil
	}
}
