package mysql

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Patience is how long a server may leave a new connection unanswered before it
// is taken for hung.
const Patience = 2 * time.Minute

// WhileAlive returns a context that ends when the server gives no sign of life
// any more, which is noticed within twice the limit: a machine that is frozen,
// or a network that swallows packets, closes no connection, and a statement may
// rightly be silent for an hour. The function that it returns must be called;
// it ends the watch, and says so in place of err.
func WhileAlive(ctx context.Context, config Config, limit time.Duration) (context.Context, func(err error) error) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(limit / 2):
			}
			if !answers(ctx, config, limit) && ctx.Err() == nil {
				cancel(&core.Error{
					Code: core.CodeDatabase, Op: "ask the database server for a sign of life", Message: fmt.Sprintf("no answer within %s", limit),
					Hint: "the server hangs, or the network to it is gone; try again when it answers",
				})
			}
		}
	}()
	return ctx, func(err error) error {
		cancel(context.Canceled)
		<-done
		var hung *core.Error
		if err != nil && errors.As(context.Cause(ctx), &hung) {
			return hung
		}
		return err
	}
}

// answers says whether the server answers a new connection. A refusal is an
// answer, and a server that is not there ends the connections that there are.
func answers(ctx context.Context, config Config, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	config.Timeout = limit
	c, err := Connect(ctx, config)
	if err == nil {
		err = c.Close()
	}
	return err == nil || ctx.Err() == nil
}
