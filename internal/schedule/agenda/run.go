package agenda

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

const (
	defaultGrace = 10 * time.Minute
	// A clock that goes back by no more than this was corrected, or shows local
	// time: what was handled stays handled. One that goes back further was wrong.
	clockSlack = time.Hour
	// What is slept through at most: jumps of the clock have to be noticed.
	longestSleep = time.Minute
)

// The triggers of runs.
const (
	TriggerSchedule = "schedule"
	TriggerCatchUp  = "catch-up"
	TriggerAsked    = "asked" // by Ask
)

// What a job that is due can wait for.
const (
	ForApp   = "app"
	ForGroup = "group"
	ForLimit = "limit"
	ForPause = "pause"
)

// Agenda is the state of all jobs. It is not safe for use by several goroutines
// at once.
type Agenda struct {
	limits  Limits
	jobs    []*entry          // as they are configured, then those that are gone and still run
	byKey   map[string]*entry // without those that Job.Err puts aside as doubles
	running int
	waiting int
	events  []Event
	changed map[string]Memory
	asked   int // how often a schedule was asked; tests look at the work, not at the time
}

// entry is a job and what is known of it.
type entry struct {
	job    Job
	idle   bool // off, in error or gone: it never begins
	gone   bool
	memory Memory
	seen   time.Time // all that was due until then is handled, or waits
	next   time.Time // the first due time after seen; zero: none

	run     *Running
	counted bool // it counts for Limits.Running
	ended   time.Time

	wait *Waiting
	asOf time.Time // when wait.Until was looked up

	begin struct{ due, at time.Time } // when the run that is due then may begin, as looked up last
}

// New returns an agenda. memory is what Changed gave before, added up; nil is
// none. What it remembers of jobs that are configured no more is forgotten.
func New(l Limits, jobs []Job, memory map[string]Memory, now time.Time) *Agenda {
	now = now.Round(0) // without the monotonic clock, which hides jumps of the other
	a := &Agenda{byKey: map[string]*entry{}}
	for key := range memory {
		a.note(key, Memory{})
	}
	a.adopt(l, jobs, now, func(key string) (Memory, bool) {
		m, ok := memory[key]
		delete(a.changed, key)
		return m, ok
	})
	return a
}

// Replace puts a changed configuration into effect. What runs goes on. A
// schedule that is as before keeps its memory; one that was changed counts from
// now on, and what waited on it is dropped, which EventChanged says.
func (a *Agenda) Replace(l Limits, jobs []Job, now time.Time) {
	now = now.Round(0)
	before, old := a.byKey, a.jobs
	a.byKey, a.jobs = map[string]*entry{}, nil
	a.adopt(l, jobs, now, func(key string) (Memory, bool) {
		e, ok := before[key]
		if !ok || e.gone {
			return Memory{}, false
		}
		return e.memory, true
	})
	for _, e := range old {
		key := e.job.Key
		if before[key] != e {
			continue
		}
		if kept, ok := a.byKey[key]; ok {
			kept.run, kept.counted, kept.ended = e.run, e.counted, e.ended
			a.keepWaiting(kept, e)
			continue
		}
		if !e.gone {
			a.note(key, Memory{})
		}
		if e.run != nil {
			gone := &entry{job: e.job, idle: true, gone: true, run: e.run, counted: e.counted}
			a.jobs = append(a.jobs, gone)
			a.byKey[key] = gone
		}
	}
	a.waiting = 0
	for _, e := range a.jobs {
		if e.wait != nil {
			a.waiting++
		}
	}
}

// keepWaiting hands over what waited, when the schedule is the same.
func (a *Agenda) keepWaiting(e, old *entry) {
	if old.wait == nil || e.job.Err != nil {
		return
	}
	if !e.idle && e.memory == old.memory {
		e.wait, e.seen = old.wait, old.seen
		e.wait.Until, e.asOf = time.Time{}, time.Time{}
		e.next = a.after(e, e.seen)
		return
	}
	count := old.wait.Collapsed + 1
	a.events = append(a.events, Event{Kind: EventMissed, Job: e.job, Due: old.wait.Due, Count: count,
		Message: "the schedule was changed or switched off while a run waited to begin"})
}

// adopt makes entries of jobs.
func (a *Agenda) adopt(l Limits, jobs []Job, now time.Time, remembered func(string) (Memory, bool)) {
	l.Running = max(l.Running, 1)
	if l.Grace <= 0 {
		l.Grace = defaultGrace
	}
	a.limits = l
	for _, job := range jobs {
		e := &entry{job: job}
		a.jobs = append(a.jobs, e)
		if _, double := a.byKey[job.Key]; double {
			e.job.Err, e.idle = fmt.Errorf("another job is called %s too", job.Key), true
			continue
		}
		a.byKey[job.Key] = e
		memory, known := remembered(job.Key)
		e.memory = memory
		switch {
		case job.Off || job.Schedule != nil && job.Schedule.Spec().Off:
			// Switched on again, it counts from then on.
			e.job.Off, e.idle = true, true
			a.remember(e, Memory{Handled: now, Fingerprint: "off"}, known && memory.Fingerprint == "off")
			continue
		case job.Err != nil || job.Schedule == nil:
			// What could not be read may be read later: its memory is kept.
			if job.Err == nil {
				e.job.Err = fmt.Errorf("job %s has no schedule", job.Key)
			}
			e.idle = true
			continue
		}
		e.job.Schedule = job.Schedule.Keyed(job.Key)
		print := e.job.Schedule.Fingerprint()
		if known && memory.Fingerprint != "" && memory.Fingerprint != print && memory.Fingerprint != "off" {
			a.events = append(a.events, Event{Kind: EventChanged, Job: e.job, Message: "the schedule was changed: it counts from now on"})
		}
		a.remember(e, Memory{Handled: now, Fingerprint: print}, known && memory.Fingerprint == print)
		e.seen = e.memory.Handled
		e.next = a.after(e, e.seen)
	}
}

// remember sets a job's memory, unless what it has is to be kept.
func (a *Agenda) remember(e *entry, m Memory, keep bool) {
	if keep {
		return
	}
	e.memory = m
	a.note(e.job.Key, m)
}

func (a *Agenda) note(key string, m Memory) {
	if a.changed == nil {
		a.changed = map[string]Memory{}
	}
	a.changed[key] = m
}

// Changed returns what has to be saved since the last call, by job, or nil. A
// zero Memory means that the job's is to be forgotten.
func (a *Agenda) Changed() map[string]Memory {
	changed := a.changed
	a.changed = nil
	if len(changed) == 0 {
		return nil
	}
	return changed
}

// Tick says what is to begin at now, and what happened since the last call.
// Both are nil most of the time. What it starts counts as running until Done.
func (a *Agenda) Tick(now time.Time) ([]Start, []Event) {
	now = now.Round(0)
	for _, e := range a.jobs {
		if e.idle {
			continue
		}
		if e.seen.Sub(now) > clockSlack {
			a.clockWasWrong(e, now)
		}
		if !e.next.IsZero() && !e.next.After(now) {
			a.look(e, now)
		}
	}
	var starts []Start
	if a.waiting > 0 {
		starts = a.begin(now)
	}
	events := a.events
	a.events = nil
	return starts, events
}

// clockWasWrong counts from now on, and drops what waits for a time to come.
func (a *Agenda) clockWasWrong(e *entry, now time.Time) {
	a.events = append(a.events, Event{Kind: EventClock, Job: e.job, Due: e.seen,
		Message: fmt.Sprintf("the clock was at %s or later and is at %s now: due times count from now on", e.seen.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))})
	if e.wait != nil && e.wait.Due.Sub(now) > clockSlack {
		e.wait = nil
		a.waiting--
	}
	e.memory.Handled, e.seen = now, now
	a.note(e.job.Key, e.memory)
	e.next = a.after(e, now)
}

// look takes up what has become due.
func (a *Agenda) look(e *entry, now time.Time) {
	a.asked++
	due, count := e.job.Schedule.Due(e.seen, now)
	e.next = a.after(e, now)
	if count == 0 {
		return
	}
	e.seen = due
	ready := due
	a.asked++
	if until := e.job.Schedule.PausedUntil(due); !until.IsZero() {
		ready = until
	}
	trigger := TriggerSchedule
	if now.Sub(ready) > a.limits.Grace {
		if e.job.Schedule.Spec().NoCatch {
			a.missed(e, due, count)
			return
		}
		trigger = TriggerCatchUp
	}
	if e.wait == nil {
		e.wait = &Waiting{First: due, Collapsed: -1}
		a.waiting++
	}
	e.wait.Due, e.wait.Trigger = due, trigger
	e.wait.Collapsed += count
}

// missed reports due times that are not caught up.
func (a *Agenda) missed(e *entry, due time.Time, count int) {
	if e.wait == nil { // else what waits is older, and is not handled yet
		e.memory.Handled = due
		a.note(e.job.Key, e.memory)
	}
	a.events = append(a.events, Event{Kind: EventMissed, Job: e.job, Due: due, Count: count,
		Message: "it was due while nothing ran, and is not caught up"})
}

// begin starts what waits, the first that was due first, as far as it can.
func (a *Agenda) begin(now time.Time) []Start {
	queue := make([]*entry, 0, a.waiting)
	for _, e := range a.jobs {
		if e.wait != nil {
			queue = append(queue, e)
		}
	}
	slices.SortStableFunc(queue, func(x, y *entry) int { return cmp.Compare(x.wait.First.UnixNano(), y.wait.First.UnixNano()) })
	var starts []Start
	for _, e := range queue {
		if e.wait.For = a.obstacle(e, now); e.wait.For != "" {
			continue
		}
		w := e.wait
		e.wait = nil
		a.waiting--
		e.run = &Running{Since: now, Due: w.Due, Trigger: w.Trigger}
		e.memory.Handled = e.seen
		a.note(e.job.Key, e.memory)
		starts = append(starts, Start{Job: e.job, Due: w.Due, Trigger: w.Trigger, Collapsed: w.Collapsed})
		if e.counted = !e.job.Free; e.counted {
			a.running++
		}
	}
	return starts
}

// obstacle says why a job that is due cannot begin, or "".
func (a *Agenda) obstacle(e *entry, now time.Time) string {
	if w := e.wait; !now.Before(w.Until) || now.Before(e.asOf) {
		a.asked++
		w.Until, e.asOf = e.job.Schedule.PausedUntil(now), now
	}
	if now.Before(e.wait.Until) {
		return ForPause
	}
	for _, other := range a.jobs {
		switch {
		case other.run == nil:
		case other.job.App == e.job.App && e.job.App != "" || other == e:
			return ForApp
		case other.job.Group == e.job.Group && e.job.Group != "":
			return ForGroup
		}
	}
	if !e.job.Free && a.running >= a.limits.Running {
		return ForLimit
	}
	return ""
}

// Done says that a started job has ended, however it did. Tick afterwards: others
// may have waited for it. It reports whether the job was running.
func (a *Agenda) Done(key string, now time.Time) bool {
	e, ok := a.byKey[key]
	if !ok || e.run == nil {
		return false
	}
	e.run, e.ended = nil, now.Round(0)
	if e.counted {
		a.running--
	}
	e.counted = false
	if e.gone {
		delete(a.byKey, key)
		a.jobs = slices.DeleteFunc(a.jobs, func(other *entry) bool { return other == e })
	}
	return true
}

// Undo takes back that a due time is dealt with, whose run was ended before it
// had done its work: it is due again, and what has become due since with it. Call
// it after Done, and save Changed. It does nothing for a job that is switched off
// or configured no more, and reports whether it did something.
func (a *Agenda) Undo(key string, due time.Time) bool {
	e, ok := a.byKey[key]
	// Due times are whole seconds.
	before := due.Round(0).Add(-time.Second)
	if !ok || e.gone || e.job.Off || e.run != nil || !e.memory.Handled.After(before) {
		return false
	}
	e.memory.Handled = before
	a.note(key, e.memory)
	switch {
	case e.idle: // as long as its schedule cannot be understood
	case e.wait != nil:
		e.wait.Collapsed++
	default:
		e.seen = before
		e.next = a.after(e, before)
	}
	return true
}

// Ask has a job begin as soon as it may, without its being due: what it is due
// for stays due. One that runs begins again when it has ended: it may have looked
// already. It does nothing when the job waits or never begins. Tick afterwards.
func (a *Agenda) Ask(key string, now time.Time) {
	e, ok := a.byKey[key]
	if !ok || e.idle || e.wait != nil {
		return
	}
	now = now.Round(0)
	e.wait = &Waiting{Due: now, First: now, Trigger: TriggerAsked}
	e.asOf = time.Time{}
	a.waiting++
}

// NextWake returns when to Tick next: when something is due or a pause ends, and
// in a minute at the latest, so that a jump of the clock is noticed.
func (a *Agenda) NextWake(now time.Time) time.Time {
	now = now.Round(0)
	wake := now.Add(longestSleep)
	for _, e := range a.jobs {
		if !e.idle && !e.next.IsZero() && e.next.Before(wake) {
			wake = e.next
		}
		if e.wait != nil && e.wait.For == ForPause && e.wait.Until.Before(wake) {
			wake = e.wait.Until
		}
	}
	if wake.Before(now) {
		return now
	}
	return wake
}

// Snapshot returns the state of every job, in their order, and then of those
// that are configured no more and still run. It is a copy.
func (a *Agenda) Snapshot() []State {
	states := make([]State, 0, len(a.jobs))
	for _, e := range a.jobs {
		s := State{Job: e.job, Off: e.job.Off, Handled: e.memory.Handled, Ended: e.ended, Gone: e.gone}
		if e.run != nil {
			run := *e.run
			s.Running = &run
		}
		if e.wait != nil {
			wait := *e.wait
			s.Waiting = &wait
		}
		s.Next = e.begins()
		states = append(states, s)
	}
	return states
}

// begins says when the job may begin next, as far as its schedule says.
func (e *entry) begins() time.Time {
	if e.wait != nil && e.wait.For == ForPause {
		return e.wait.Until
	}
	if e.idle || e.next.IsZero() {
		return e.next
	}
	if !e.begin.due.Equal(e.next) {
		e.begin.due, e.begin.at = e.next, e.next
		if until := e.job.Schedule.PausedUntil(e.next); !until.IsZero() {
			e.begin.at = until
		}
	}
	return e.begin.at
}

func (a *Agenda) after(e *entry, t time.Time) time.Time {
	a.asked++
	return e.job.Schedule.Next(t)
}
