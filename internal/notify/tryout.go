package notify

import (
	"context"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Tried is what became of one part of a test alarm at one destination.
type Tried struct {
	Post string
	Part core.AlarmPart
	Ref  string // what the destination calls it
	Took time.Duration
	Err  error // nil: the destination took it; without secrets
}

// Test opens, updates and closes a test alarm at every destination, also at
// those that are a fallback, and returns what happened, in the order of posts;
// after the first part that failed at one there is no more of it. With leaveOpen
// it is not closed: the next test does that. Nothing is kept in the ledger.
func (d *Desk) Test(ctx context.Context, posts []Post, leaveOpen bool) []Tried {
	parts := []core.AlarmPart{core.AlarmOpened, core.AlarmUpdated, core.AlarmClosed}
	if leaveOpen {
		parts = parts[:2]
	}
	began := d.Clock.Now()
	tried := make([][]Tried, len(posts))
	var all sync.WaitGroup
	for i, post := range posts {
		all.Go(func() {
			ref := ""
			for _, part := range parts {
				now := d.Clock.Now()
				a := core.Alarm{Topic: topicTest, Opened: began, Updated: now}
				if part == core.AlarmClosed {
					a.Closed = &now
				}
				t := Tried{Post: post.Name, Part: part}
				t.Ref, _, t.Err = d.send(ctx, post, ref, Compose(part, a, Setting{Host: d.Host, Now: now, Location: d.Location}))
				t.Took = d.Clock.Now().Sub(now)
				ref = t.Ref
				tried[i] = append(tried[i], t)
				if t.Err != nil {
					return
				}
			}
		})
	}
	all.Wait()
	var list []Tried
	for _, t := range tried {
		list = append(list, t...)
	}
	return list
}
