package agenda

import (
	"fmt"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/schedule"
)

// crowd is an agenda of 200 apps with two jobs each, none due within the hour.
func crowd(tb testing.TB, now time.Time) *Agenda {
	tb.Helper()
	var jobs []Job
	for i := range 200 {
		for _, kind := range []string{"backup", "check"} {
			s, err := schedule.Compile(schedule.Spec{Cron: fmt.Sprintf("%d 2 * * 1-5", i%60), TimeZone: "Europe/Paris", Jitter: 10 * time.Minute}, "")
			if err != nil {
				tb.Fatal(err)
			}
			app := fmt.Sprintf("app%d", i)
			jobs = append(jobs, Job{Key: app + "/" + kind, App: app, Kind: kind, Schedule: s})
		}
	}
	a := New(Limits{Running: 2}, jobs, nil, now)
	a.Changed()
	return a
}

// TestIdleWork: while nothing is due no schedule is asked and nothing is
// allocated; what is due costs its own job alone.
func TestIdleWork(t *testing.T) {
	now := time.Date(2027, 3, 2, 12, 0, 0, 0, time.UTC)
	a := crowd(t, now)
	if a.asked > 400 {
		t.Errorf("the beginning asked %d times", a.asked)
	}
	a.asked = 0
	idle := func() {
		now = a.NextWake(now)
		if starts, events := a.Tick(now); starts != nil || events != nil || a.Changed() != nil {
			t.Fatalf("at %s %v, %v", now, starts, events)
		}
	}
	if n := testing.AllocsPerRun(500, idle); n != 0 || a.asked != 0 {
		t.Errorf("an idle tick allocates %v times; %d questions", n, a.asked)
	}
	a.asked = 0
	a.Replace(Limits{Running: 400}, jobsOf(a), now)
	if a.asked > 400 {
		t.Errorf("a replacement asked %d times", a.asked)
	}
	a.asked = 0
	begun := 0
	for now.Before(time.Date(2027, 3, 3, 12, 0, 0, 0, time.UTC)) {
		now = a.NextWake(now)
		starts, _ := a.Tick(now)
		begun += len(starts)
		for _, s := range starts {
			a.Done(s.Job.Key, now)
		}
	}
	if begun != 400 || a.asked > 4*400 {
		t.Errorf("%d runs began, for %d questions", begun, a.asked)
	}
}

func jobsOf(a *Agenda) []Job {
	var jobs []Job
	for _, e := range a.jobs {
		jobs = append(jobs, e.job)
	}
	return jobs
}

func BenchmarkIdleTick(b *testing.B) {
	now := time.Date(2027, 3, 2, 12, 0, 0, 0, time.UTC)
	a := crowd(b, now)
	b.ReportAllocs()
	for b.Loop() {
		a.Tick(now)
		a.NextWake(now)
	}
}
