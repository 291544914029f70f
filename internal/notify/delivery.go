package notify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// defaultTimeout is how long one delivery may take.
const defaultTimeout = 30 * time.Second

// grace is how long a destination that was told to stop may take to say why.
const grace = time.Second

// tell tells every destination of an alarm what it does not know yet, and says
// whether there was any such. One that is slow keeps only those that are its
// fallback.
func (r *round) tell(ctx context.Context, a *core.Alarm) bool {
	posts := r.Posts(a.App)
	results := make([]result, len(posts))
	ended := make([]chan struct{}, len(posts))
	for i := range posts {
		ended[i] = make(chan struct{})
	}
	var all sync.WaitGroup
	for i, post := range posts {
		all.Go(func() {
			defer close(ended[i])
			before := a.Deliveries[post.Name]
			part := due(*a, before)
			if part == "" {
				results[i].knows = a.Closed == nil
				return
			}
			if post.Fallback && part != core.AlarmClosed {
				for j := range i {
					<-ended[j]
					if results[j].knows {
						return
					}
				}
			}
			results[i] = r.deliver(ctx, post, part, *a, before)
		})
	}
	all.Wait()

	attempted := false
	told := maps.Clone(a.Deliveries)
	if told == nil {
		told = map[string]core.Delivery{}
	}
	for i, post := range posts {
		if !results[i].attempted {
			continue
		}
		attempted = true
		told[post.Name] = results[i].Delivery
		if results[i].err != nil {
			r.changes.Failed = append(r.changes.Failed, Failure{Post: post.Name, Alarm: *a, Part: results[i].part, Err: results[i].err})
			r.log.Warn("alarm could not be delivered", "destination", post.Name, "app", a.App, "topic", string(a.Topic), "part", string(results[i].part), "error", results[i].err.Error())
		}
	}
	if len(told) > 0 {
		a.Deliveries = told
	}
	return attempted
}

// due returns which part of an alarm's life a destination has to be told of, ""
// when of none.
func due(a core.Alarm, d core.Delivery) core.AlarmPart {
	switch {
	case a.Closed != nil && (d.Told == "" || d.Told == core.AlarmClosed):
		return ""
	case a.Closed != nil:
		return core.AlarmClosed
	case d.Told == "" || d.Told == core.AlarmClosed:
		return core.AlarmOpened
	case d.Digest != Digest(a.Problems):
		return core.AlarmUpdated
	}
	return ""
}

// result is what became of a delivery.
type result struct {
	core.Delivery
	part      core.AlarmPart
	attempted bool
	knows     bool // the destination knows the alarm as it is now
	err       error
}

func (r *round) deliver(ctx context.Context, post Post, part core.AlarmPart, a core.Alarm, before core.Delivery) result {
	res := result{Delivery: before, part: part, attempted: true}
	res.At = r.now
	r.mu.Lock()
	slow := r.slow[post.Name]
	r.mu.Unlock()
	if slow {
		res.err = &core.Error{Code: core.CodeFailed, Message: "it was not tried: it did not answer in time a moment ago"}
	} else {
		safe := ""
		if r.safe != nil && a.App != "" {
			safe = r.safe(a.App)
		}
		m := Compose(part, a, Setting{Host: r.Host, Now: r.now, Location: r.Location, Safe: safe})
		var late bool
		res.Ref, late, res.err = r.send(ctx, post, before.Ref, m)
		if late {
			r.mu.Lock()
			r.slow[post.Name] = true
			r.mu.Unlock()
		}
	}
	if res.err != nil {
		res.Error = res.err.Error()
		return res
	}
	res.Told, res.Digest, res.Error, res.knows = part, Digest(a.Problems), "", true
	return res
}

// send calls Deliver and returns what the destination calls the alarm, with an
// error too. It returns in time even if the destination does not, and whatever
// the destination does. The error is one clean line without secrets. late says
// that the time was over.
func (d *Desk) send(ctx context.Context, post Post, ref string, m Message) (newRef string, late bool, err error) {
	timeout := d.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	type outcome struct {
		ref string
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if p := recover(); p != nil {
				o.err = fmt.Errorf("it stumbled over the message (%v); that is a bug", p)
			}
			done <- o
		}()
		o.ref, o.err = post.Deliver(within, ref, m)
	}()
	var o outcome
	select {
	case o = <-done:
	case <-within.Done():
		wait := time.NewTimer(grace)
		defer wait.Stop()
		select {
		case o = <-done:
		case <-wait.C: // it is left alone: what it comes to is found by the marker
			o.err = fmt.Errorf("it did not answer in time: %w", within.Err())
		}
	}
	// A number that was found before something failed is worth keeping.
	newRef = Line(o.ref, objectMax)
	if newRef == "" {
		newRef = ref
	}
	if o.err == nil {
		return newRef, false, nil
	}
	var timed net.Error
	late = errors.Is(o.err, context.DeadlineExceeded) || errors.As(o.err, &timed) && timed.Timeout()
	shown := &core.Error{Code: core.CodeOf(o.err), Message: Line(o.err.Error(), messageMax), Hint: Line(core.HintOf(o.err), hintMax)}
	if ctx.Err() != nil {
		shown.Err = ctx.Err()
	}
	return newRef, late, shown
}
