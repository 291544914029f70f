package daemon

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
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

// TestRuns: however a run ends, there is one record that says so, and the next
// run begins.
func TestRuns(t *testing.T) {
	for mode, want := range map[string]core.Run{
		"ok":       {Outcome: core.OutcomeOK},
		"warnings": {Outcome: core.OutcomeWarnings},
		"locked":   {Outcome: core.OutcomeMissed, Code: core.CodeLocked, Message: "the run ended with code 11"},
		"fails":    {Outcome: core.OutcomeFailed, Code: core.CodeDatabase, Message: "the server is gone", Hint: "start it"},
		"crashes":  {Outcome: core.OutcomeFailed, Code: core.CodeFailed, Message: "the run ended with code 2; the last it said: "},
		"killed":   {Outcome: core.OutcomeFailed, Code: core.CodeFailed, Message: "the run was ended by SIGKILL", Hint: "see whether the machine ran out of memory: journalctl -k -g 'out of memory'"},
		"records and is killed": {
			Outcome: core.OutcomeFailed, Code: core.CodeFailed, Message: "the run was ended by SIGKILL", Hint: "see whether the machine ran out of memory: journalctl -k -g 'out of memory'", By: "test",
		},
	} {
		t.Run(mode, func(t *testing.T) {
			h := newHarness(t, daily(t, "desk", 13, 0))
			h.modes["desk"] = mode
			h.start()
			due := noon().Add(time.Hour)
			h.clock.set(due)
			h.until("the run to end", func() bool {
				return strings.Contains(h.log.String(), "the run has ended") || strings.Contains(h.log.String(), "the run failed")
			})
			h.setMode("desk", "ok")
			h.clock.set(due.Add(24 * time.Hour))
			h.until("the next run", func() bool { return strings.Count(h.log.String(), "the run begins") == 2 && h.file("desk.done") })
			if err := h.end(); err != nil {
				t.Fatal(err)
			}
			runs := h.runs()
			if len(runs) != 2 {
				t.Fatalf("%d runs: %+v", len(runs), runs)
			}
			if want.By == "" {
				want.By, want.Due = "service", &due
			}
			want.App, want.Kind, want.Trigger = "desk", core.RunBackup, "schedule"
			got := runs[0]
			if got.Outcome == core.OutcomeRunning {
				runs[0], runs[1] = runs[1], runs[0]
				got = runs[0]
			}
			if mode == "crashes" {
				got.Message = got.Message[:min(len(got.Message), len(want.Message))]
			}
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(core.Run{}, "ID", "Started", "Finished")); diff != "" {
				t.Error(diff)
			}
			if runs[1].Outcome != core.OutcomeOK {
				t.Errorf("the next run: %+v", runs[1])
			}
		})
	}
}

// TestRunThatHangs: it is asked to end, killed when it does not, and recorded;
// meanwhile other apps are backed up.
func TestRunThatHangs(t *testing.T) {
	job := daily(t, "desk", 13, 0)
	job.Timeout = 300 * time.Millisecond
	h := newHarness(t, job, daily(t, "docs", 13, 0))
	h.modes["desk"] = "hangs"
	h.start()
	h.clock.set(noon().Add(time.Hour))
	h.until("the other app's run", func() bool { return h.file("docs.done") })
	h.says("the run failed")
	if err := h.end(); err != nil {
		t.Fatal(err)
	}
	for _, r := range h.runs() {
		if r.App == "desk" && (r.Outcome != core.OutcomeFailed || !strings.Contains(r.Message, "it took longer than 300ms") || !strings.Contains(r.Message, "SIGKILL")) {
			t.Errorf("got %+v", r)
		}
	}
}

// TestRunThatFloods: what a run says is bounded, in the log and in memory, and
// no run waits for anybody to read.
func TestRunThatFloods(t *testing.T) {
	h := newHarness(t, daily(t, "desk", 13, 0))
	h.modes["desk"] = "floods"
	h.start()
	h.clock.set(noon().Add(time.Hour))
	h.says("the run has ended")
	text := h.log.String()
	if n := strings.Count(text, "short"); n > process.MaxLines || n < process.MaxLines/2 {
		t.Errorf("%d lines were logged", n)
	}
	if !strings.Contains(text, "left_out=") {
		t.Error("what was left out is not said")
	}
	for line := range strings.Lines(text) {
		if len(line) > process.MaxLine+500 {
			t.Fatalf("a line of %d bytes", len(line))
		}
	}
}

// TestRunThatLeavesAProcess: what a hook started and left, with the run's output
// open, keeps nobody waiting and is left alone.
func TestRunThatLeavesAProcess(t *testing.T) {
	h := newHarness(t, daily(t, "desk", 13, 0))
	h.modes["desk"] = "leaves"
	h.start()
	h.clock.set(noon().Add(time.Hour))
	h.says("the run has ended")
	h.says("is still there and was left alone")
	content, err := os.ReadFile(h.dir + "/left")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(content))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGTERM); err != nil {
		t.Errorf("it was not left alone: %v", err)
	}
}

// TestRunThatIsKilledLeavesNothing: what a run had started that a signal ended
// ends with it, as nobody would end it.
func TestRunThatIsKilledLeavesNothing(t *testing.T) {
	h := newHarness(t, daily(t, "desk", 13, 0))
	h.modes["desk"] = "leaves and is killed"
	h.start()
	h.clock.set(noon().Add(time.Hour))
	h.says("the run failed: the run was ended by SIGKILL")
	content, err := os.ReadFile(h.dir + "/left")
	if err != nil {
		t.Fatal(err)
	}
	h.until("the end of what it left", func() bool {
		stat, err := os.ReadFile("/proc/" + string(content) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ") || strings.Contains(string(stat), ") X ")
	})
}

// TestProgramRemoved: after an upgrade that removes the program while the service
// runs, runs begin all the same, and the log says what to do.
func TestProgramRemoved(t *testing.T) {
	dir := t.TempDir()
	program := dir + "/backstay"
	content, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, content, 0o700); err != nil {
		t.Fatal(err)
	}
	log := &logged{more: make(chan struct{}, 1)}
	cmd := exec.Command(program, "service whose program is removed", dir, "desk")
	cmd.Env = append(os.Environ(), childMode+"=1")
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h := &harness{t: t, dir: dir, log: log}
	h.until("the run", func() bool { return h.file("desk.running") })
	h.says("the program was removed or is being replaced")
	h.says("systemctl restart backstay")
	h.replace(dir+"/desk.go-on", "")
	h.says("the run has ended\" app=desk kind=backup outcome=ok")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the service ended by itself")
	}
}

// TestRunThatCannotStart is recorded, and a problem of the service as long as
// it is so.
func TestRunThatCannotStart(t *testing.T) {
	h := newHarness(t, daily(t, "desk", 13, 0))
	program := h.dir + "/program"
	h.o.Executable = program
	h.start()
	h.clock.set(noon().Add(time.Hour))
	h.until("the problem", func() bool { p := h.problems(); return len(p) == 1 && p[0].Name == "cannot-start" })
	if err := os.Symlink(os.Args[0], program); err != nil {
		t.Fatal(err)
	}
	h.clock.set(noon().Add(25 * time.Hour))
	h.until("the problem to be over", func() bool { return h.file("desk.done") && len(h.problems()) == 0 })
	if err := h.end(); err != nil {
		t.Fatal(err)
	}
	runs := h.runs()
	if len(runs) != 2 || runs[0].Outcome != core.OutcomeFailed || !strings.Contains(runs[0].Message, "could not be started") || runs[0].Hint == "" || runs[1].Outcome != core.OutcomeOK {
		t.Errorf("got %+v", runs)
	}
}

// TestPoliteness: the run has its priority from its first instruction on, the
// service keeps its own, and what is meant for the service stays with it.
func TestPoliteness(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	h := newHarness(t, daily(t, "desk", 13, 0))
	h.o.Environment = append(h.o.Environment, "NOTIFY_SOCKET=/run/systemd/notify")
	h.polite = process.Polite
	h.modes["desk"] = "priority"
	plan, err := h.plan()
	if err != nil {
		t.Fatal(err)
	}
	plan.Service.Nice, plan.Service.IOClass = 7, IOIdle
	h.plan = func() (Plan, error) { return plan, nil }
	h.start()
	h.clock.set(noon().Add(time.Hour))
	h.says("the run has ended")
	if want := `"argv0 backstay notify  nice 7"`; !strings.Contains(h.log.String(), want) {
		t.Errorf("%s is not in the log", want)
	}
	h.until("the end of the thread that had the run's priority", func() bool {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		for _, thread := range threads {
			stat, err := os.ReadFile("/proc/self/task/" + thread.Name() + "/stat")
			if err != nil {
				continue // it has ended
			}
			if fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')'):])); fields[17] == "7" {
				return false
			}
		}
		return true
	})
}

// TestPriorityNotAllowed: runs go on with the service's own, which is said once.
func TestPriorityNotAllowed(t *testing.T) {
	h := newHarness(t, daily(t, "desk", 13, 0), daily(t, "docs", 13, 0))
	h.polite = func(int, IOClass) error { return errors.New("not allowed") }
	h.start()
	h.clock.set(noon().Add(time.Hour))
	h.until("both runs", func() bool { return strings.Count(h.log.String(), "the run has ended") == 2 })
	if n := strings.Count(h.log.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings:\n%s", n, h.log)
	}
}

// TestParallel: no more runs at a time than were asked for, and all in the end.
func TestParallel(t *testing.T) {
	h := newHarness(t, daily(t, "a", 13, 0), daily(t, "b", 13, 0), daily(t, "c", 13, 0))
	plan, err := h.plan()
	if err != nil {
		t.Fatal(err)
	}
	plan.Service.Parallel = 2
	h.plan = func() (Plan, error) { return plan, nil }
	apps := []string{"a", "b", "c"}
	for _, app := range apps {
		h.modes[app] = "waits"
	}
	h.start()
	h.clock.set(noon().Add(time.Hour))
	running := func() (n int) {
		for _, app := range apps {
			if h.file(app+".running") && !h.file(app+".finished") {
				n++
			}
		}
		return n
	}
	h.until("two runs", func() bool { return running() == 2 })
	if n := strings.Count(h.log.String(), "the run begins"); n != 2 {
		t.Errorf("%d runs began", n)
	}
	for _, app := range apps {
		h.replace(h.dir+"/"+app+".go-on", "")
	}
	h.until("all", func() bool { return strings.Count(h.log.String(), "the run has ended") == 3 })
}

// TestMissed: what was due while nothing ran is caught up once, or recorded as
// missed where that is not wanted, also over a restart.
func TestMissed(t *testing.T) {
	once := scheduled(t, core.RunBackup, "docs", schedule.Spec{Cron: "0 13 * * *", TimeZone: "UTC", NoCatch: true})
	h := newHarness(t, daily(t, "desk", 13, 0), once)
	h.start()
	h.clock.set(noon().Add(time.Hour))
	h.until("the runs", func() bool { return strings.Count(h.log.String(), "the run has ended") == 2 })
	if err := h.end(); err != nil {
		t.Fatal(err)
	}
	h.clock.set(noon().Add(75 * time.Hour)) // three days on
	h.ended = make(chan error, 1)
	h.start()
	h.says("trigger=catch-up")
	h.until("the run", func() bool { return strings.Count(h.log.String(), "the run has ended") == 3 })
	if err := h.end(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range h.runs() {
		got = append(got, strings.Join([]string{r.App, r.Trigger, string(r.Outcome), r.Due.UTC().Format("02 15:04")}, " "))
	}
	want := []string{
		"desk schedule ok 23 13:00", "docs schedule ok 23 13:00", "docs schedule missed 26 13:00", "desk catch-up ok 26 13:00",
	}
	less := func(a, b string) bool { return a < b }
	if diff := cmp.Diff(want, got, cmpopts.SortSlices(less)); diff != "" {
		t.Error(diff)
	}
}

// TestClockJumps: a clock that was wrong neither repeats runs nor stops them.
func TestClockJumps(t *testing.T) {
	h := newHarness(t, daily(t, "desk", 13, 0))
	h.start()
	ran := func(n int) {
		t.Helper()
		h.until("the run", func() bool { return strings.Count(h.log.String(), "the run has ended") == n })
	}
	h.clock.set(noon().Add(time.Hour))
	ran(1)
	h.clock.set(noon().Add(-12 * time.Hour)) // back over the due time
	h.until("a turn", func() bool { return h.turned(3) })
	h.clock.set(noon().Add(2 * time.Hour)) // it was due at 13:00, and was done
	h.until("a turn", func() bool { return h.turned(3) })
	h.clock.set(noon().Add(25 * time.Hour))
	ran(2)
	h.clock.set(noon().AddDate(10, 0, 0)) // far ahead, and back
	ran(3)
	h.clock.set(noon().Add(26 * time.Hour))
	h.until("a turn", func() bool { return h.turned(3) })
	h.clock.set(noon().Add(49*time.Hour + time.Minute))
	ran(4)
}
