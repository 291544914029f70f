package agenda_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/schedule"
	"github.com/backstay/backstay/internal/schedule/agenda"
)

func at(text string) time.Time {
	at, err := time.Parse("2006-01-02 15:04:05", text)
	if err != nil {
		panic(err)
	}
	return at
}

func daily(t testing.TB, hour int, change ...func(*schedule.Spec)) *schedule.Schedule {
	t.Helper()
	s := schedule.Spec{Weekly: &schedule.Weekly{At: schedule.ClockTime{Hour: hour}}, TimeZone: "UTC"}
	for _, c := range change {
		c(&s)
	}
	return compile(t, s)
}

func noCatch(s *schedule.Spec) { s.NoCatch = true }

// tick returns what Tick says, in short.
func tick(a *agenda.Agenda, now time.Time) string {
	var said []string
	starts, events := a.Tick(now)
	for _, s := range starts {
		said = append(said, fmt.Sprintf("%s %s %s +%d", s.Job.Key, s.Trigger, s.Due.Format("02 15:04"), s.Collapsed))
	}
	for _, e := range events {
		said = append(said, fmt.Sprintf("%s %s x%d", e.Job.Key, e.Kind, e.Count))
	}
	return strings.Join(said, "; ")
}

func expect(t *testing.T, a *agenda.Agenda, now, want string) {
	t.Helper()
	if got := tick(a, at(now)); got != want {
		t.Errorf("at %s: %q, want %q", now, got, want)
	}
}

func state(t *testing.T, a *agenda.Agenda, key string) agenda.State {
	t.Helper()
	for _, s := range a.Snapshot() {
		if s.Job.Key == key {
			return s
		}
	}
	t.Fatalf("no job %s", key)
	return agenda.State{}
}

// TestFirstSeen: a new job is not caught up.
func TestFirstSeen(t *testing.T) {
	a := agenda.New(agenda.Limits{}, []agenda.Job{{Key: "a", Schedule: daily(t, 2)}}, nil, at("2027-01-01 02:00:01"))
	expect(t, a, "2027-01-01 02:00:02", "")
	expect(t, a, "2027-01-02 01:59:59", "")
	expect(t, a, "2027-01-02 02:00:00", "a schedule 02 02:00 +0")
	expect(t, a, "2027-01-02 02:00:00", "")
}

// TestMissed: what was missed is caught up once, or reported once.
func TestMissed(t *testing.T) {
	jobs := []agenda.Job{{Key: "a", Schedule: daily(t, 2)}, {Key: "b", Schedule: daily(t, 3, noCatch)}}
	a := agenda.New(agenda.Limits{Running: 9}, jobs, nil, at("2027-01-01 00:00:00"))
	expect(t, a, "2027-01-05 12:00:00", "a catch-up 05 02:00 +4; b missed x5")
	expect(t, a, "2027-01-05 12:00:01", "")
	a.Done("a", at("2027-01-05 13:00:00"))
	expect(t, a, "2027-01-06 02:10:00", "a schedule 06 02:00 +0") // within the grace
	a.Done("a", at("2027-01-06 02:11:00"))
	expect(t, a, "2027-01-07 02:10:01", "a catch-up 07 02:00 +0; b missed x1")
}

// TestOneRunPerAppAndGroup: who has to wait, for what, and that turns are kept.
func TestOneRunPerAppAndGroup(t *testing.T) {
	every := compile(t, schedule.Spec{Every: 10 * time.Minute, TimeZone: "UTC"})
	jobs := []agenda.Job{
		{Key: "a1", App: "a", Schedule: daily(t, 2)},
		{Key: "a2", App: "a", Schedule: daily(t, 2)},
		{Key: "b", App: "b", Group: "g", Schedule: daily(t, 2)},
		{Key: "c", Group: "g", Schedule: daily(t, 2)},
		{Key: "d", Schedule: every},
	}
	a := agenda.New(agenda.Limits{Running: 2}, jobs, nil, at("2027-01-01 01:55:00"))
	expect(t, a, "2027-01-01 02:00:00", "a1 schedule 01 02:00 +0; b schedule 01 02:00 +0")
	for key, want := range map[string]string{"a2": agenda.ForApp, "c": agenda.ForGroup, "d": agenda.ForLimit} {
		if w := state(t, a, key).Waiting; w == nil || w.For != want {
			t.Errorf("%s waits %+v, not for %s", key, w, want)
		}
	}
	expect(t, a, "2027-01-01 02:25:00", "")
	if !a.Done("a1", at("2027-01-01 02:25:00")) || a.Done("a1", at("2027-01-01 02:25:00")) || a.Done("x", at("2027-01-01 02:25:00")) {
		t.Error("done is not true exactly for what runs")
	}
	expect(t, a, "2027-01-01 02:25:00", "a2 schedule 01 02:00 +0")
	a.Done("a2", at("2027-01-01 02:26:00"))
	expect(t, a, "2027-01-01 02:26:00", "d schedule 01 02:20 +2") // c was due with it, and waits for b
	a.Done("b", at("2027-01-01 02:27:00"))
	expect(t, a, "2027-01-01 02:27:00", "c schedule 01 02:00 +0")
	expect(t, a, "2027-01-01 02:59:00", "") // d is due three times while it runs
	a.Done("d", at("2027-01-01 02:59:30"))
	expect(t, a, "2027-01-01 02:59:30", "d schedule 01 02:50 +2")
}

// TestFree: a job that is free begins beside what runs or hangs, and takes no
// place from it, over a changed configuration too.
func TestFree(t *testing.T) {
	every := compile(t, schedule.Spec{Every: 10 * time.Minute, TimeZone: "UTC"})
	jobs := []agenda.Job{{Key: "hangs", Schedule: daily(t, 2)}, {Key: "check", Free: true, Schedule: every}, {Key: "next", Schedule: daily(t, 3)}}
	l := agenda.Limits{Running: 1}
	a := agenda.New(l, jobs, nil, at("2027-01-01 01:59:00"))
	expect(t, a, "2027-01-01 02:00:00", "hangs schedule 01 02:00 +0; check schedule 01 02:00 +0")
	a.Done("check", at("2027-01-01 02:01:00"))
	a.Replace(l, jobs, at("2027-01-01 02:02:00"))
	expect(t, a, "2027-01-01 02:10:00", "check schedule 01 02:10 +0")
	expect(t, a, "2027-01-01 03:00:00", "") // the check runs still, and next waits for what hangs
	a.Done("hangs", at("2027-01-01 03:00:30"))
	expect(t, a, "2027-01-01 03:00:31", "next schedule 01 03:00 +0")
}

// TestAsk: a job that is asked for begins when it may, once, and is due as before.
func TestAsk(t *testing.T) {
	jobs := []agenda.Job{{Key: "a", App: "x", Schedule: daily(t, 2)}, {Key: "b", App: "x", Schedule: daily(t, 3)}, {Key: "off", Off: true, Schedule: daily(t, 3)}}
	a := agenda.New(agenda.Limits{Running: 9}, jobs, nil, at("2027-01-01 01:59:00"))
	expect(t, a, "2027-01-01 02:00:00", "a schedule 01 02:00 +0")
	for range 2 {
		a.Ask("b", at("2027-01-01 02:01:00"))
		a.Ask("off", at("2027-01-01 02:01:00"))
		a.Ask("nobody", at("2027-01-01 02:01:00"))
	}
	expect(t, a, "2027-01-01 02:02:00", "") // the app is busy
	a.Done("a", at("2027-01-01 02:03:00"))
	expect(t, a, "2027-01-01 02:03:00", "b asked 01 02:01 +0")
	a.Ask("b", at("2027-01-01 02:04:00")) // it may have looked already
	expect(t, a, "2027-01-01 02:04:00", "")
	a.Done("b", at("2027-01-01 02:05:00"))
	expect(t, a, "2027-01-01 02:06:00", "b asked 01 02:04 +0")
	a.Done("b", at("2027-01-01 02:07:00"))
	expect(t, a, "2027-01-01 02:07:00", "")
	expect(t, a, "2027-01-01 03:00:00", "b schedule 01 03:00 +0")
}

func nextIs(t *testing.T, a *agenda.Agenda, want string) {
	t.Helper()
	if got := state(t, a, "a").Next; !got.Equal(at(want)) {
		t.Errorf("next: %s, not %s", got, want)
	}
}

// TestUndo: what was begun and could not do its work is due again: after a
// restart it is caught up once, or reported as missed once, and it is no more.
func TestUndo(t *testing.T) {
	jobs := []agenda.Job{{Key: "a", Schedule: daily(t, 2)}, {Key: "b", Schedule: daily(t, 2, noCatch)}, {Key: "off", Off: true}}
	memory := map[string]agenda.Memory{}
	save := func(a *agenda.Agenda) {
		for key, m := range a.Changed() {
			memory[key] = m
		}
	}
	a := agenda.New(agenda.Limits{Running: 9}, jobs, nil, at("2027-01-01 00:00:00"))
	expect(t, a, "2027-01-02 02:00:00", "a schedule 02 02:00 +1; b schedule 02 02:00 +1")
	save(a)
	due := at("2027-01-02 02:00:00")
	if a.Undo("a", due) {
		t.Error("undone while it runs")
	}
	for _, key := range []string{"a", "b"} {
		a.Done(key, at("2027-01-02 02:05:00"))
		if !a.Undo(key, due) || a.Undo(key, due) {
			t.Errorf("%s: not undone once", key)
		}
	}
	if a.Undo("off", due) || a.Undo("nobody", due) {
		t.Error("undone what never begins")
	}
	save(a)
	if m := memory["a"]; !m.Handled.Before(due) || !m.Handled.After(at("2027-01-01 02:00:00")) {
		t.Errorf("remembered: %+v", m)
	}
	later := agenda.New(agenda.Limits{Running: 9}, jobs, memory, at("2027-01-02 03:00:00"))
	expect(t, later, "2027-01-02 03:00:00", "a catch-up 02 02:00 +0; b missed x1")
	later.Done("a", at("2027-01-02 03:05:00"))
	expect(t, later, "2027-01-02 03:05:00", "")
	expect(t, later, "2027-01-03 02:00:00", "a schedule 03 02:00 +0; b schedule 03 02:00 +0")

	// One that goes on begins it again, once, with what waits.
	expect(t, a, "2027-01-02 02:06:00", "a schedule 02 02:00 +0; b schedule 02 02:00 +0")
	expect(t, a, "2027-01-03 02:00:00", "")
	a.Done("a", at("2027-01-03 02:01:00"))
	expect(t, a, "2027-01-03 02:01:00", "a schedule 03 02:00 +0")
	expect(t, a, "2027-01-04 02:00:00", "") // it waits for itself
	a.Done("a", at("2027-01-04 02:01:00"))
	a.Undo("a", at("2027-01-03 02:00:00"))
	expect(t, a, "2027-01-04 02:01:00", "a schedule 04 02:00 +1")
}

// TestPause: what is due in a pause begins at its end, once, and was not missed.
func TestPause(t *testing.T) {
	s := compile(t, schedule.Spec{Every: 2 * time.Hour, TimeZone: "UTC", NoCatch: true, Pauses: []schedule.Pause{{From: schedule.ClockTime{Hour: 8}, To: schedule.ClockTime{Hour: 17, Minute: 30}}}})
	a := agenda.New(agenda.Limits{}, []agenda.Job{{Key: "a", Schedule: s}}, nil, at("2027-01-01 07:00:00"))
	expect(t, a, "2027-01-01 08:00:00", "")
	if w := state(t, a, "a").Waiting; w == nil || w.For != agenda.ForPause || !w.Until.Equal(at("2027-01-01 17:30:00")) {
		t.Errorf("it waits %+v", w)
	}
	nextIs(t, a, "2027-01-01 17:30:00") // it waits for that
	expect(t, a, "2027-01-01 12:00:30", "")
	expect(t, a, "2027-01-01 17:29:49", "")
	if wake := a.NextWake(at("2027-01-01 17:29:50")); !wake.Equal(at("2027-01-01 17:30:00")) {
		t.Errorf("the next look is at %s", wake)
	}
	expect(t, a, "2027-01-01 17:29:59", "")
	expect(t, a, "2027-01-01 17:30:00", "a schedule 01 16:00 +4")
	a.Done("a", at("2027-01-01 17:31:00"))
	expect(t, a, "2027-01-01 17:59:59", "")
	expect(t, a, "2027-01-01 18:00:00", "a schedule 01 18:00 +0")
	nextIs(t, a, "2027-01-01 20:00:00")
	a.Done("a", at("2027-01-01 18:01:00"))
	expect(t, a, "2027-01-02 06:30:00", "a missed x6")
	nextIs(t, a, "2027-01-02 17:30:00") // due in a pause to come

	// Nothing ran, and it was started within the pause: still not missed.
	b := agenda.New(agenda.Limits{}, []agenda.Job{{Key: "a", Schedule: s}}, map[string]agenda.Memory{"a": {Handled: at("2027-01-01 07:00:00"), Fingerprint: s.Fingerprint()}}, at("2027-01-01 17:00:00"))
	expect(t, b, "2027-01-01 17:00:00", "")
	expect(t, b, "2027-01-01 17:35:00", "a schedule 01 16:00 +4")
}

// TestClockBack: a clock that is set back repeats nothing, and one that was wrong
// for long does not silence a job.
func TestClockBack(t *testing.T) {
	jobs := []agenda.Job{{Key: "a", Schedule: compile(t, schedule.Spec{Cron: "0 * * * *", TimeZone: "UTC"})}}
	a := agenda.New(agenda.Limits{}, jobs, nil, at("2027-01-01 00:30:00"))
	expect(t, a, "2027-01-01 01:00:00", "a schedule 01 01:00 +0")
	a.Done("a", at("2027-01-01 01:01:00"))
	expect(t, a, "2027-01-01 00:01:00", "") // back by an hour
	expect(t, a, "2027-01-01 00:59:59", "")
	expect(t, a, "2027-01-01 01:00:00", "")
	expect(t, a, "2027-01-01 02:00:00", "a schedule 01 02:00 +0")
	a.Done("a", at("2027-01-01 02:01:00"))
	expect(t, a, "2028-06-01 00:30:00", "a catch-up 01 00:00 +12405") // years ahead: once
	a.Done("a", at("2028-06-01 00:31:00"))
	expect(t, a, "2027-01-01 02:10:00", "a clock x0")
	expect(t, a, "2027-01-01 02:11:00", "")
	expect(t, a, "2027-01-01 03:00:00", "a schedule 01 03:00 +0")
	a.Done("a", at("2027-01-01 03:01:00"))

	// The same over a restart.
	memory := map[string]agenda.Memory{"a": {Handled: at("2031-01-01 00:00:00"), Fingerprint: jobs[0].Schedule.Fingerprint()}}
	b := agenda.New(agenda.Limits{}, jobs, memory, at("2027-01-01 03:30:00"))
	expect(t, b, "2027-01-01 03:30:00", "a clock x0")
	if m := b.Changed()["a"]; !m.Handled.Equal(at("2027-01-01 03:30:00")) {
		t.Errorf("remembered: %+v", m)
	}
	expect(t, b, "2027-01-01 04:00:00", "a schedule 01 04:00 +0")
}

// TestClockBackWhileWaiting: what waits for a time that has become the future is
// dropped with the wrong clock.
func TestClockBackWhileWaiting(t *testing.T) {
	jobs := []agenda.Job{{Key: "a", App: "x", Schedule: daily(t, 1)}, {Key: "b", App: "x", Schedule: daily(t, 2)}}
	a := agenda.New(agenda.Limits{}, jobs, nil, at("2027-01-01 00:00:00"))
	expect(t, a, "2027-01-01 01:00:00", "a schedule 01 01:00 +0")
	expect(t, a, "2029-01-01 02:00:00", "") // both wait for a
	expect(t, a, "2027-01-01 01:01:00", "a clock x0; b clock x0")
	a.Done("a", at("2027-01-01 01:02:00"))
	expect(t, a, "2027-01-01 01:02:00", "")
	expect(t, a, "2027-01-01 02:00:00", "b schedule 01 02:00 +0")
}

// TestOffAndInvalid: neither ever begins, at no tick, and neither is caught up
// more than it should be.
func TestOffAndInvalid(t *testing.T) {
	broken := errors.New("week_days: \"mondy\" is not a day")
	good := daily(t, 2)
	jobs := []agenda.Job{
		{Key: "off", Off: true},
		{Key: "off2", Schedule: daily(t, 2, func(s *schedule.Spec) { s.Off = true })},
		{Key: "bad", Err: broken},
		{Key: "nil"},
		{Key: "good", Schedule: good},
		{Key: "good", Schedule: daily(t, 3)},
	}
	memory := map[string]agenda.Memory{"bad": {Handled: at("2026-12-31 02:00:00"), Fingerprint: good.Fingerprint()}}
	a := agenda.New(agenda.Limits{Running: 9}, jobs, memory, at("2027-01-01 00:00:00"))
	began := 0
	for now := at("2027-01-01 00:00:00"); now.Before(at("2027-01-03 00:00:00")); now = now.Add(time.Minute) {
		starts, events := a.Tick(now)
		for _, s := range starts {
			began++
			if s.Job.Key != "good" || s.Due.Hour() != 2 {
				t.Fatalf("at %s %+v begins", now, s)
			}
			a.Done(s.Job.Key, now)
		}
		if len(events) != 0 {
			t.Fatalf("at %s: %+v", now, events)
		}
	}
	if began != 2 {
		t.Errorf("%d runs began, not 2", began)
	}
	states := a.Snapshot()
	for i, want := range []struct{ off, bad, next bool }{{true, false, false}, {true, false, false}, {false, true, false}, {false, true, false}, {false, false, true}, {false, true, false}} {
		s := states[i]
		if s.Off != want.off || (s.Job.Err != nil) != want.bad || !s.Next.IsZero() != want.next {
			t.Errorf("%s: off %v, error %v, next %s", s.Job.Key, s.Off, s.Job.Err, s.Next)
		}
	}
	if !errors.Is(states[2].Job.Err, broken) {
		t.Errorf("the error is %v", states[2].Job.Err)
	}

	// Switched on, the first counts from then on; what could not be read for two
	// days, and is as it was before, is caught up.
	jobs = []agenda.Job{{Key: "off", Schedule: good}, {Key: "bad", Schedule: good}}
	a.Replace(agenda.Limits{Running: 9}, jobs, at("2027-01-03 00:00:00"))
	expect(t, a, "2027-01-03 00:00:00", "bad catch-up 02 02:00 +1")
	expect(t, a, "2027-01-03 02:00:00", "off schedule 03 02:00 +0")
}

// TestOffOverRestart: what was off while the machine was restarted is not caught
// up when it is switched on with the next.
func TestOffOverRestart(t *testing.T) {
	m := &machine{memory: map[string]agenda.Memory{}, jobs: []agenda.Job{{Key: "a", Schedule: daily(t, 2)}}}
	m.boot(at("2027-01-01 00:00:00"))
	m.jobs[0].Off = true
	m.boot(at("2027-01-01 01:00:00"))
	m.boot(at("2027-01-04 01:00:00"))
	m.jobs[0].Off = false
	m.boot(at("2027-01-07 01:00:00"))
	expect(t, m.agenda, "2027-01-07 01:00:00", "")
	expect(t, m.agenda, "2027-01-07 02:00:00", "a schedule 07 02:00 +0")
}

// TestReplace: what is unchanged keeps its memory, what runs goes on, and a new
// time counts from now on.
func TestReplace(t *testing.T) {
	keep, change, remove := daily(t, 2), daily(t, 1), daily(t, 1)
	jobs := []agenda.Job{{Key: "keep", App: "x", Schedule: keep}, {Key: "change", App: "y", Schedule: change}, {Key: "remove", App: "x", Schedule: remove}, {Key: "drop", App: "x", Schedule: remove}}
	a := agenda.New(agenda.Limits{Running: 9}, jobs, nil, at("2027-01-01 00:00:00"))
	expect(t, a, "2027-01-01 01:00:00", "change schedule 01 01:00 +0; remove schedule 01 01:00 +0")
	expect(t, a, "2027-01-01 02:00:00", "") // keep waits for remove's run
	a.Changed()
	jobs = []agenda.Job{{Key: "change", App: "y", Schedule: daily(t, 5)}, {Key: "keep", App: "x", Schedule: daily(t, 2, noCatch)}, {Key: "new", Schedule: daily(t, 3)}}
	a.Replace(agenda.Limits{Running: 9}, jobs, at("2027-01-01 05:30:00"))
	changed := a.Changed()
	if diff := cmp.Diff(map[string]agenda.Memory{
		"change": {Handled: at("2027-01-01 05:30:00"), Fingerprint: jobs[0].Schedule.Fingerprint()},
		"new":    {Handled: at("2027-01-01 05:30:00"), Fingerprint: jobs[2].Schedule.Fingerprint()},
		"remove": {}, "drop": {},
	}, changed); diff != "" {
		t.Errorf("to be saved (-want +got):\n%s", diff)
	}
	if s := state(t, a, "remove"); !s.Gone || s.Running == nil {
		t.Errorf("what runs and is gone: %+v", s)
	}
	if s := state(t, a, "change"); s.Running == nil {
		t.Errorf("what runs and was changed: %+v", s)
	}
	expect(t, a, "2027-01-01 05:31:00", "change changed x0")
	if !a.Done("remove", at("2027-01-01 06:00:00")) || !a.Done("change", at("2027-01-01 06:00:00")) {
		t.Error("what ran before does not")
	}
	expect(t, a, "2027-01-01 06:00:00", "keep schedule 01 02:00 +0") // NoCatch is not about due times, and it was noticed in time
	if n := len(a.Snapshot()); n != 3 {
		t.Errorf("%d jobs, not 3", n)
	}
	a.Done("keep", at("2027-01-01 06:01:00"))
	expect(t, a, "2027-01-02 03:00:00", "new schedule 02 03:00 +0; keep missed x1")
	expect(t, a, "2027-01-02 05:00:00", "change schedule 02 05:00 +0")
}

// TestReplaceDropsWaiting: what waited on a schedule that is no more is said.
func TestReplaceDropsWaiting(t *testing.T) {
	jobs := []agenda.Job{{Key: "a", App: "x", Schedule: daily(t, 1)}, {Key: "b", App: "x", Schedule: daily(t, 1)}, {Key: "c", App: "x", Schedule: daily(t, 1)}}
	a := agenda.New(agenda.Limits{}, jobs, nil, at("2027-01-01 00:00:00"))
	expect(t, a, "2027-01-01 01:00:00", "a schedule 01 01:00 +0")
	a.Replace(agenda.Limits{}, []agenda.Job{jobs[0], {Key: "b", App: "x", Schedule: daily(t, 4)}, {Key: "c", App: "x", Schedule: jobs[2].Schedule, Off: true}}, at("2027-01-01 01:30:00"))
	expect(t, a, "2027-01-01 01:31:00", "b changed x0; b missed x1; c missed x1")
	a.Done("a", at("2027-01-01 02:00:00"))
	expect(t, a, "2027-01-01 02:00:00", "")
	expect(t, a, "2027-01-01 04:00:00", "b schedule 01 04:00 +0")
}

// TestForgotten: a job that was taken out and comes back months later is new.
func TestForgotten(t *testing.T) {
	m := &machine{memory: map[string]agenda.Memory{}, jobs: []agenda.Job{{Key: "a", Schedule: daily(t, 2)}}}
	m.boot(at("2027-01-01 00:00:00"))
	jobs := m.jobs
	m.jobs = nil
	m.boot(at("2027-01-02 00:00:00"))
	if len(m.memory) != 0 {
		t.Errorf("remembered: %v", m.memory)
	}
	m.jobs = jobs
	m.boot(at("2027-06-01 00:00:00"))
	expect(t, m.agenda, "2027-06-01 00:00:00", "")
}

// TestSavedBeforeBegun: a service that dies right after Tick repeats nothing.
func TestSavedBeforeBegun(t *testing.T) {
	m := &machine{memory: map[string]agenda.Memory{}, jobs: []agenda.Job{{Key: "a", App: "x", Schedule: daily(t, 2)}, {Key: "b", App: "x", Schedule: daily(t, 2)}}}
	m.boot(at("2027-01-01 00:00:00"))
	expect(t, m.agenda, "2027-01-01 02:00:00", "a schedule 01 02:00 +0")
	m.save()
	m.boot(at("2027-01-01 02:05:00"))
	expect(t, m.agenda, "2027-01-01 02:05:00", "b schedule 01 02:00 +0") // it had waited, and is not lost
}

// TestMonotonic: the clock that never jumps, which a time.Time may carry along,
// does not hide that the other one was set back.
func TestMonotonic(t *testing.T) {
	now := time.Now()
	jobs := []agenda.Job{{Key: "a", Schedule: compile(t, schedule.Spec{Every: time.Minute, TimeZone: "UTC"})}}
	a := agenda.New(agenda.Limits{}, jobs, nil, now)
	if _, events := a.Tick(now.Round(0).Add(-2 * time.Hour)); len(events) != 1 || events[0].Kind != agenda.EventClock {
		t.Errorf("events: %+v", events)
	}
	if m := a.Changed()["a"]; strings.Contains(m.Handled.String(), "m=") {
		t.Errorf("remembered with it: %s", m.Handled)
	}
}

// TestClockBackOutOfPause: a pause that a wrong clock saw is over with it.
func TestClockBackOutOfPause(t *testing.T) {
	yearly := compile(t, schedule.Spec{Cron: "0 8 1 1 *", TimeZone: "UTC", Pauses: []schedule.Pause{{From: schedule.ClockTime{Hour: 12}, To: schedule.ClockTime{Hour: 17}}}})
	a := agenda.New(agenda.Limits{}, []agenda.Job{{Key: "a", App: "x", Schedule: compile(t, schedule.Spec{Cron: "0 7 1 1 *", TimeZone: "UTC"})}, {Key: "b", App: "x", Schedule: yearly}}, nil, at("2027-01-01 00:00:00"))
	expect(t, a, "2027-01-01 07:00:00", "a schedule 01 07:00 +0")
	expect(t, a, "2027-01-01 08:00:00", "") // b waits for a
	expect(t, a, "2027-06-01 12:00:00", "")
	a.Done("a", at("2027-06-01 12:00:00"))
	expect(t, a, "2027-06-01 12:00:01", "")
	expect(t, a, "2027-01-01 08:01:00", "b schedule 01 08:00 +0")
}
