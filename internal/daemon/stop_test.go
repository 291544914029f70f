package daemon

import (
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/daemon/process"
	"github.com/backstay/backstay/internal/schedule"
)

// TestEndedRunIsCaughtUp: a backup that the service's end cancelled, however
// that ended, is made when the service runs again, once; where nothing is caught
// up it is reported as missed.
func TestEndedRunIsCaughtUp(t *testing.T) {
	for mode, plan := range map[string]Service{
		"waits":    {Cancel: true},
		"hangs":    {Cancel: true},                        // and is killed
		"wait too": {StopTimeout: 100 * time.Millisecond}, // finish, and its time is over
	} {
		t.Run(mode, func(t *testing.T) {
			once := scheduled(t, core.RunBackup, "docs", schedule.Spec{Cron: "0 13 * * *", TimeZone: "UTC", NoCatch: true})
			h := newHarness(t, daily(t, "desk", 13, 0), once, daily(t, "wiki", 13, 0))
			former, err := h.plan()
			if err != nil {
				t.Fatal(err)
			}
			former.Service.Cancel, former.Service.StopTimeout = plan.Cancel, plan.StopTimeout
			h.plan = func() (Plan, error) { return former, nil }
			run := strings.Replace(mode, "wait too", "waits", 1)
			h.modes["desk"], h.modes["docs"] = run, run
			h.start()
			h.clock.set(noon().Add(time.Hour))
			h.until("the runs", func() bool { return h.file("desk.running") && h.file("docs.running") && h.file("wiki.done") })
			h.says("the run has ended")
			if err := h.end(); err != nil {
				t.Fatal(err)
			}
			h.modes["desk"], h.modes["docs"] = "ok", "ok"
			for i := range 2 { // the second start has nothing to catch up
				h.clock.set(noon().Add(time.Duration(2+i) * time.Hour))
				h.ended = make(chan error, 1)
				h.start()
				h.until("the run", func() bool { return h.file("desk.done") })
				h.until("turns", func() bool { return h.turned(10) })
				h.until("the end", func() bool {
					return strings.Count(h.log.String(), "the run begins") == strings.Count(h.log.String(), "the run has ended")
				})
				if err := h.end(); err != nil {
					t.Fatal(err)
				}
			}
			var got []string
			for _, r := range h.runs() {
				got = append(got, strings.Join([]string{r.App, r.Trigger, string(r.Outcome), r.Due.UTC().Format("02 15:04")}, " "))
			}
			want := []string{
				"desk schedule cancelled 23 13:00", "docs schedule cancelled 23 13:00", "wiki schedule ok 23 13:00", "desk catch-up ok 23 13:00", "docs schedule missed 23 13:00",
			}
			if diff := cmp.Diff(want, got, cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// check is one of all apps, which is not due while a test runs.
func check(t *testing.T) Job {
	t.Helper()
	job := scheduled(t, core.RunCheck, "", schedule.Spec{Name: "look", Cron: "0 0 * * *", TimeZone: "UTC"})
	job.Free = true
	return job
}

// TestCheckAtStart: what went wrong while nothing ran is looked for at once.
func TestCheckAtStart(t *testing.T) {
	h := newHarness(t, daily(t, "desk", 13, 0), check(t))
	h.start()
	h.until("the check", func() bool { return h.file(".done") })
	h.says("the run has ended")
	h.until("turns", func() bool { return h.turned(10) })
	if n := strings.Count(h.log.String(), "the run begins"); n != 1 {
		t.Errorf("%d runs began", n)
	}
}

// TestScheduleThatBreaks: a schedule that cannot be understood any more is said
// once, with what to do, and looked at at once; so is that it can be again.
func TestScheduleThatBreaks(t *testing.T) {
	good, look := daily(t, "desk", 13, 0), check(t)
	good.Then = look.Key
	bad := good
	bad.Schedule, bad.Err = nil, &core.Error{Code: core.CodeConfig, Message: "itop-backup: week_days: mondy is not a day", Hint: "write it as monday"}
	h := newHarness(t, good, look)
	h.start()
	checked := func(n int) {
		t.Helper()
		h.until("the check", func() bool { return strings.Count(h.log.String(), "the run has ended") == n })
	}
	checked(1) // at the start
	service := Service{Listen: "127.0.0.1:0"}
	put := func(digest string, jobs ...Job) {
		h.setPlan(func() (Plan, error) {
			return Plan{Digest: digest, Jobs: jobs, WatchFiles: []string{h.config}, Service: service}, nil
		})
		h.replace(h.config, digest)
	}
	put("2", bad, look)
	checked(2)
	put("3", bad, look, daily(t, "wiki", 13, 0)) // another change: it is known
	h.says("jobs=3")
	h.until("turns", func() bool { return h.turned(10) })
	put("4", good, look)
	checked(3)
	text := h.log.String()
	for part, want := range map[string]int{"a schedule cannot be understood": 1, "mondy is not a day": 1, `hint="write it as monday"`: 1, "can be understood again": 1, "the run begins": 3} {
		if n := strings.Count(text, part); n != want {
			t.Errorf("%q is said %d times, not %d", part, n, want)
		}
	}
	put("5", bad, look)
	checked(4)
	put("6", look) // neither is it right
	h.says("jobs=1 ")
	if n := strings.Count(h.log.String(), "can be understood again"); n != 1 {
		t.Error("an app that is gone is right")
	}

	broken := newHarness(t, Job{Job: bad.Job, Then: look.Key}, look)
	broken.start()
	broken.says("mondy is not a day")
	broken.says("the run has ended")
}

// TestAskedToEndWhileItBegins: a run that is asked to end before its process is
// there is asked when it is.
func TestAskedToEndWhileItBegins(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	c := process.New(log, &process.Limited{})
	c.Ask(whyEnd, false)
	how := process.Command{Path: os.Args[0], Args: []string{"waits", t.TempDir(), "desk"}, Env: append(os.Environ(), childMode+"=1"), Pipes: time.Second}
	watchdog := time.AfterFunc(8*time.Second, c.Kill)
	defer watchdog.Stop()
	exit, signal, err := c.Run(how, func(int, IOClass) error { return nil }, func(error) {})
	if err != nil || exit != 130 && signal != unix.SIGTERM {
		t.Errorf("it ended with %d, %v, %v", exit, signal, err)
	}
}
