package notify

import (
	"context"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Tried is what became of one part of a test alarm at one destination.
type Tried struct {
	Post string
	Part core.AlarmPart
	Ref  string
	Took time.Duration
	Err  error // nil: the destination took it
}

// Test opens, updates and closes a test alarm at every destination, also those
// that are a fallback, and returns what happened in the order of posts. With
// leaveOpen it is not closed. Nothing is kept in the ledger.
func (d *Desk) Test(ctx context.Context, posts []Post, leaveOpen bool) []Tried {
	return nil
}
