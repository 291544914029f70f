package daemon

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/daemon/process"
	"github.com/backstay/backstay/internal/schedule"
)

// many are the jobs of n apps: a backup each day, each at another minute.
func many(t testing.TB, n int) []Job {
	t.Helper()
	var jobs []Job
	for i := range n {
		spec := schedule.Spec{Weekly: &schedule.Weekly{At: schedule.ClockTime{Hour: 13 + i/60, Minute: i % 60}}, TimeZone: "Europe/Paris", Jitter: time.Minute}
		s, err := schedule.Compile(spec, "UTC")
		if err != nil {
			t.Fatal(err)
		}
		j := Job{}
		j.App = fmt.Sprintf("app-%d", i)
		j.Key, j.Kind, j.Schedule = "backup/"+j.App, "backup", s
		jobs = append(jobs, j)
	}
	return jobs
}

// TestIdleService: with 200 apps and nothing due the loop turns as often as with
// none, and a turn costs little. Time is not measured here: BenchmarkIdle does.
func TestIdleService(t *testing.T) {
	h := newHarness(t, many(t, 200)...)
	h.wait.turn = time.Hour
	h.clock.set(noon().Add(-6 * time.Hour))
	h.start()
	h.until("the start", func() bool { return strings.Contains(h.log.String(), "the service runs") })
	h.clock.set(noon().Add(-6 * time.Hour))
	for range 5 { // answers that need no turn
		h.get("/healthz")
	}
	if h.turned(6) { // a start takes up to three
		t.Errorf("the idle loop looked at the clock %d times", h.clock.looks)
	}
	if text := h.log.String(); strings.Count(text, "\n") > 3 {
		t.Errorf("it says more than that it runs:\n%s", text)
	}
}

// BenchmarkIdle is what a minute of a service with 200 apps costs: a turn.
func BenchmarkIdle(b *testing.B) {
	h := &harness{clock: &clock{now: noon()}}
	s := idleService(b, h, 200)
	b.ReportAllocs()
	for b.Loop() {
		s.turn()
	}
}

// BenchmarkStart is how long it takes from the plan to the first turn, and what
// it leaves in memory.
func BenchmarkStart(b *testing.B) {
	jobs := many(b, 200)
	b.ReportAllocs()
	for b.Loop() {
		s := idleService(b, &harness{clock: &clock{now: noon()}}, 0)
		s.apply(loaded{plan: Plan{Jobs: jobs}})
		s.turn()
	}
	runtime.GC()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(usage.Maxrss)/1024, "MiB-rss")
}

// idleService is one whose loop is turned by hand.
func idleService(t testing.TB, h *harness, apps int) *service {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	s := newService(Options{StateDir: dir, Clock: h.clock}, quickWaits(), process.Polite)
	s.keeper = newKeeper(dir, h.clock, s.log, s.wait, s.lookAgain)
	go s.keeper.run(t.Context())
	t.Cleanup(s.keeper.end)
	s.web = newWeb(s)
	s.settle(Plan{Jobs: many(t, apps)}, nil)
	return s
}
