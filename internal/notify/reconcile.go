package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// ledgerTimeout is how long the ledger may take after the context's end to keep
// what was delivered before it.
const ledgerTimeout = 10 * time.Second

// round is one Reconcile.
type round struct {
	*Desk
	log     *slog.Logger
	now     time.Time
	safe    func(app string) string
	changes Changes
	ledger  error // the first error of the ledger

	mu   sync.Mutex
	slow map[string]bool // destinations that did not answer in time: not asked again in this round
}

// Reconcile opens, updates and closes alarms so that there is one for each
// matter in scope that has problems of LevelAlarm, tells the destinations of
// what changed, and tries again what they could not be told before. A matter
// that has a problem counts as looked at. safe returns in words which backup of
// an app is the last good one; it may be nil.
//
// Where the ledger fails, what is wrong now is told all the same: Changes is
// valid with an error too. The error is of the ledger, or says that nobody was
// told of an alarm.
func (d *Desk) Reconcile(ctx context.Context, scope Scope, problems []core.Problem, safe func(app string) string) (Changes, error) {
	r := &round{Desk: d, log: d.Log, now: d.Clock.Now(), safe: safe, slow: map[string]bool{}}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if d.Lock != nil {
		unlock, err := d.Lock(ctx)
		if err != nil {
			r.log.Warn("alarms are told without a lock: some may be told twice", "error", Line(err.Error(), messageMax))
		} else {
			defer unlock()
		}
	}
	known, err := d.Ledger.OpenAlarms(ctx)
	if err != nil {
		r.ledger = fmt.Errorf("read open alarms: %w", err)
		known = nil
	}
	alarms := r.decide(known, scope, group(problems))
	for _, e := range alarms {
		r.keep(ctx, e, e.ID == 0)
		attempted := r.tell(ctx, &e.Alarm)
		r.keep(ctx, e, attempted || e.changed)
		r.note(e)
	}
	return r.changes, r.failure()
}

// entry is an alarm in a round.
type entry struct {
	core.Alarm
	before  *core.Alarm // nil: it is new
	changed bool        // it differs from what the ledger has
}

// group returns the problems that alarms are about, by matter, in their order.
func group(problems []core.Problem) (groups []core.Alarm) {
	for _, p := range problems {
		if p.Level != core.LevelAlarm {
			continue
		}
		p.Object, p.Message, p.Hint = Redact(p.Object), Redact(p.Message), Redact(p.Hint)
		i := slices.IndexFunc(groups, func(g core.Alarm) bool { return g.App == p.App && g.Topic == p.Topic })
		if i < 0 {
			i = len(groups)
			groups = append(groups, core.Alarm{App: p.App, Topic: p.Topic})
		}
		groups[i].Problems = append(groups[i].Problems, p)
	}
	return groups
}

// decide returns all alarms as they are to be now. Those that are closed come
// first: a ticket must not be closed after it was taken for the next alarm.
func (r *round) decide(known []core.Alarm, scope Scope, wanted []core.Alarm) []*entry {
	var closed, open []*entry
	took := map[Matter]bool{}
	for _, a := range known {
		before := a
		e := &entry{Alarm: a, before: &before}
		matter := Matter{a.App, a.Topic}
		i := slices.IndexFunc(wanted, func(w core.Alarm) bool { return w.App == a.App && w.Topic == a.Topic })
		gone := r.Known != nil && a.App != "" && !r.Known(a.App)
		switch {
		case a.Closed != nil:
			closed = append(closed, e)
		case i >= 0 && !took[matter]:
			took[matter] = true
			if Digest(a.Problems) != Digest(wanted[i].Problems) {
				e.Updated = r.now
			}
			e.changed = !reflect.DeepEqual(a.Problems, wanted[i].Problems)
			e.Problems = wanted[i].Problems
			open = append(open, e)
		case i >= 0 || scope[matter] || gone:
			now := r.now
			e.Closed, e.changed = &now, true
			closed = append(closed, e)
		default:
			open = append(open, e)
		}
	}
	for _, w := range wanted {
		if took[Matter{w.App, w.Topic}] {
			continue
		}
		w.Opened, w.Updated = r.now, r.now
		e := &entry{Alarm: w, changed: true}
		for _, old := range closed {
			if old.App == w.App && old.Topic == w.Topic {
				e.inherit(old)
			}
		}
		open = append(open, e)
	}
	return append(closed, open...)
}

// inherit takes over what was opened for an alarm whose end somebody could not
// be told of: for them it went on.
func (e *entry) inherit(old *entry) {
	for name, d := range old.Deliveries {
		if d.Told == "" || d.Told == core.AlarmClosed {
			continue
		}
		if e.Deliveries == nil {
			e.Deliveries = map[string]core.Delivery{}
		}
		e.Deliveries[name] = d
		old.settle(name, "the next alarm goes on with it")
	}
}

// settle says that destination name has nothing to hear of the alarm any more.
func (e *entry) settle(name, why string) {
	deliveries := map[string]core.Delivery{}
	for n, d := range e.Deliveries {
		deliveries[n] = d
	}
	d := deliveries[name]
	d.Told, d.Error = core.AlarmClosed, why
	deliveries[name] = d
	e.Deliveries, e.changed = deliveries, true
}

// keep writes an alarm to the ledger, if it is due.
func (r *round) keep(ctx context.Context, e *entry, due bool) {
	if e.Closed != nil {
		posts := r.Posts(e.App)
		for name, d := range e.Deliveries {
			switch {
			case d.Told == core.AlarmClosed:
			case d.Told == "":
				e.settle(name, "")
				due = true
			case name == Borrowed: // it comes with a later command line
			case !slices.ContainsFunc(posts, func(p Post) bool { return p.Name == name }):
				e.settle(name, "it is not in the configuration any more")
				due = true
			}
		}
	}
	if !due {
		return
	}
	// What was delivered is to be known although the process is being stopped.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ledgerTimeout)
	defer cancel()
	if err := r.Ledger.SaveAlarm(ctx, &e.Alarm); err != nil && r.ledger == nil {
		r.ledger = fmt.Errorf("keep alarm: %w", err)
	}
}

// note adds what became of an alarm to the changes.
func (r *round) note(e *entry) {
	c := &r.changes
	switch {
	case e.Closed != nil:
		if e.before == nil || e.before.Closed == nil {
			c.Closed = append(c.Closed, e.Alarm)
		}
		return
	case e.before == nil:
		c.Opened = append(c.Opened, e.Alarm)
	case !e.Updated.Equal(e.before.Updated):
		c.Updated = append(c.Updated, e.Alarm)
	}
	c.Open = append(c.Open, e.Alarm)
	told := func(d core.Delivery) bool { return d.Told != "" }
	if len(r.Posts(e.App)) > 0 && !slices.ContainsFunc(deliveries(e.Alarm), told) {
		c.Untold = append(c.Untold, e.Alarm)
	}
}

func deliveries(a core.Alarm) (all []core.Delivery) {
	for _, d := range a.Deliveries {
		all = append(all, d)
	}
	return all
}

func (r *round) failure() error {
	var untold error
	if problems := r.changes.Problems(); len(problems) > 0 {
		message := problems[0].Message
		if more := len(problems) - 1; more > 0 {
			message += fmt.Sprintf(" (and %d more)", more)
		}
		untold = &core.Error{Code: core.CodeFailed, Op: "tell of alarms", Message: message, Hint: problems[0].Hint}
	}
	return errors.Join(r.ledger, untold)
}

// Digest is the same for problems that are the same in substance: names,
// objects and levels. Their messages hold numbers that change all the time.
func Digest(problems []core.Problem) string {
	var lines []string
	for _, p := range problems {
		lines = append(lines, fmt.Sprintf("%q %q %q", p.Name, p.Object, p.Level))
	}
	slices.Sort(lines)
	h := sha256.New()
	for _, line := range slices.Compact(lines) {
		_, _ = h.Write([]byte(line + "\n")) // it never fails
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}
