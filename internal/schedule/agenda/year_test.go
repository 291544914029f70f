package agenda_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/schedule"
	"github.com/backstay/backstay/internal/schedule/agenda"
	"github.com/backstay/backstay/internal/schedule/scheduletest"
)

func compile(t testing.TB, s schedule.Spec) *schedule.Schedule {
	t.Helper()
	c, err := schedule.Compile(s, "UTC")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// machine keeps an agenda as a service does: it saves what changed before it
// begins anything, and loses all else when it stops.
type machine struct {
	agenda *agenda.Agenda
	memory map[string]agenda.Memory
	limits agenda.Limits
	jobs   []agenda.Job
}

func (m *machine) boot(now time.Time) {
	m.agenda = agenda.New(m.limits, m.jobs, maps.Clone(m.memory), now)
	m.save()
}

func (m *machine) save() {
	for key, memory := range m.agenda.Changed() {
		if memory == (agenda.Memory{}) {
			delete(m.memory, key)
			continue
		}
		m.memory[key] = memory
	}
}

// outage is a stretch in which the machine is off or asleep.
type outage struct {
	from, to time.Time
	asleep   bool
}

func outages(r *rand.Rand, begin, end time.Time) []outage {
	var list []outage
	at := begin
	for {
		at = at.Add(time.Duration(r.IntN(14*24*3600)) * time.Second)
		length := time.Duration(r.IntN(40)) * time.Minute
		if r.IntN(3) == 0 {
			length = time.Duration(r.IntN(9*24)) * time.Hour
		}
		if !at.Add(length).Before(end) {
			return list
		}
		list = append(list, outage{at, at.Add(length), r.IntN(2) == 0})
		at = at.Add(length + time.Second)
	}
}

// TestYearWithOutages: a year of every policy on a machine that is off or asleep
// now and then. What begins, when, as what, and what is missed is exactly what
// follows from the due times and the outages.
func TestYearWithOutages(t *testing.T) {
	begin, end := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)
	r := rand.New(rand.NewPCG(1, 2))
	off := outages(r, begin, end)
	m := &machine{memory: map[string]agenda.Memory{}, limits: agenda.Limits{Running: 1000}}
	want := map[string][]string{}
	for i, p := range scheduletest.Policies() {
		p.Spec.NoCatch = i%3 == 0
		job := agenda.Job{Key: p.Name, App: p.Name, Schedule: compile(t, p.Spec)}
		m.jobs = append(m.jobs, job)
		want[p.Name] = expected(p, off, begin, end)
	}
	got := map[string][]string{}
	now := begin
	m.boot(now)
	for now.Before(end) {
		starts, events := m.agenda.Tick(now)
		m.save()
		for _, s := range starts {
			got[s.Job.Key] = append(got[s.Job.Key], record(now, s.Trigger, s.Due, s.Collapsed))
			if !m.agenda.Done(s.Job.Key, now) {
				t.Fatalf("%s was started and does not run", s.Job.Key)
			}
		}
		for _, e := range events {
			got[e.Job.Key] = append(got[e.Job.Key], record(now, string(e.Kind), e.Due, e.Count-1))
		}
		next := m.agenda.NextWake(now)
		if !next.After(now) || next.Sub(now) > time.Minute {
			t.Fatalf("at %s the next look is at %s", now, next)
		}
		now = next
		for len(off) > 0 && !now.Before(off[0].from) {
			if now.Before(off[0].to) {
				now = off[0].to
				if !off[0].asleep {
					m.boot(now)
				}
			}
			off = off[1:]
		}
	}
	total := 0
	for name, w := range want {
		total += len(w)
		if diff := cmp.Diff(w, got[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%.1500s", name, diff)
		}
	}
	if total < 100_000 || len(want) < 20 {
		t.Errorf("only %d events of %d policies were compared", total, len(want))
	}
}

func record(now time.Time, what string, due time.Time, collapsed int) string {
	return fmt.Sprintf("%s %s due %s +%d", now.UTC().Format(time.RFC3339), what, due.UTC().Format(time.RFC3339), collapsed)
}

// expected says what follows from a policy and the outages.
func expected(p scheduletest.Policy, off []outage, begin, end time.Time) []string {
	var list []string
	dues := p.Dues(begin.Add(time.Second), end)
	for i := 0; i < len(dues); i++ {
		due, noticed, collapsed := dues[i], dues[i], 0
		for _, o := range off {
			if due.Before(o.from) || !due.Before(o.to) {
				continue
			}
			noticed = o.to
			for i+1 < len(dues) && !dues[i+1].After(noticed) {
				i++
				collapsed++
			}
			due = dues[i]
		}
		what := "schedule"
		if noticed.Sub(due) > 10*time.Minute {
			what = "catch-up"
			if p.Spec.NoCatch {
				what = "missed"
			}
		}
		list = append(list, record(noticed, what, due, collapsed))
	}
	return list
}

// TestCrowdedYear: the same policies, three apps and two runs at a time that
// take up to two hours, and restarts in the middle of them: every due time is
// stood for by exactly one run.
func TestCrowdedYear(t *testing.T) {
	begin, end := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)
	r := rand.New(rand.NewPCG(3, 4))
	off := outages(r, begin, end)
	m := &machine{memory: map[string]agenda.Memory{}, limits: agenda.Limits{Running: 2}}
	open := map[string][]time.Time{}
	for i, p := range scheduletest.Policies() {
		p.Spec.Jitter = 0
		if i%4 == 0 {
			p.Spec.Pauses = []schedule.Pause{{From: schedule.ClockTime{Hour: 8}, To: schedule.ClockTime{Hour: 17, Minute: 30}}}
		}
		m.jobs = append(m.jobs, agenda.Job{Key: p.Name, App: fmt.Sprintf("app%d", i%3), Schedule: compile(t, p.Spec)})
		open[p.Name] = p.Dues(begin.Add(time.Second), end)
	}
	ends := map[string]time.Time{}
	apps := map[string]bool{}
	now := begin
	m.boot(now)
	for now.Before(end) {
		for key, at := range ends {
			if !now.Before(at) {
				m.agenda.Done(key, now)
				delete(ends, key)
			}
		}
		starts, _ := m.agenda.Tick(now)
		m.save()
		for _, s := range starts {
			dues := open[s.Job.Key]
			if len(dues) <= s.Collapsed || !dues[s.Collapsed].Equal(s.Due) {
				t.Fatalf("at %s %s begins for %s and %d before it; open is %s", now, s.Job.Key, s.Due, s.Collapsed, dues[0])
			}
			if s.Due.After(now) || !s.Job.Schedule.PausedUntil(now).IsZero() {
				t.Fatalf("at %s %s begins before its time, or in a pause", now, s.Job.Key)
			}
			open[s.Job.Key] = dues[s.Collapsed+1:]
			ends[s.Job.Key] = now.Add(time.Duration(1+r.IntN(120)) * time.Minute)
		}
		clear(apps)
		running := 0
		for _, s := range m.agenda.Snapshot() {
			if s.Running == nil {
				continue
			}
			running++
			if apps[s.Job.App] {
				t.Fatalf("at %s two runs of %s", now, s.Job.App)
			}
			apps[s.Job.App] = true
		}
		if running > 2 || running != len(ends) {
			t.Fatalf("at %s %d run, and %d were begun", now, running, len(ends))
		}
		now = m.agenda.NextWake(now)
		for len(off) > 0 && !now.Before(off[0].from) {
			if now.Before(off[0].to) {
				now = off[0].to
				if !off[0].asleep {
					m.boot(now)
					clear(ends)
				}
			}
			off = off[1:]
		}
	}
	for key, dues := range open {
		if len(dues) > 0 && dues[0].Before(end.Add(-3*24*time.Hour)) {
			t.Errorf("%s: nothing began for %s", key, dues[0])
		}
	}
}
