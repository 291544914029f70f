package state

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
)

func TestRunRoundTrip(t *testing.T) {
	clock := newHand()
	db := open(t, t.TempDir(), clock)
	due := clock.now.Add(-time.Minute)
	want := core.Run{
		App: "wiki", Kind: core.RunBackup, Trigger: "catch-up", Schedule: "nightly", Due: &due, Started: clock.now, Outcome: core.OutcomeRunning, By: "service",
	}
	var err error
	want.ID, err = db.BeginRun(t.Context(), want)
	ok(t, err)
	got, err := db.Runs(t.Context(), RunFilter{})
	ok(t, err)
	same(t, []core.Run{want}, got)

	clock.now = clock.now.Add(time.Hour)
	want.Outcome, want.Backup, want.Code, want.Fault, want.Message, want.Hint, want.Warnings = core.OutcomeWarnings, "b1", core.CodeWarnings, "repository", "2 files\nvanished \x00", "read them", 2
	ok(t, db.FinishRun(t.Context(), want))
	want.Finished = &clock.now
	got, err = db.Runs(t.Context(), RunFilter{})
	ok(t, err)
	same(t, []core.Run{want}, got)
}

func TestFinishRunThatIsNotThere(t *testing.T) {
	clock := newHand()
	db := open(t, t.TempDir(), clock)
	other, err := db.BeginRun(t.Context(), backup("other", clock.now))
	ok(t, err)
	done := clock.now.Add(time.Minute)
	lost := backup("wiki", clock.now)
	lost.Outcome, lost.Finished = core.OutcomeOK, &done
	// Never begun, another run has the id, nobody has it.
	for i, id := range []int64{0, other, 41} {
		lost.ID = id
		lost.Started = lost.Started.Add(time.Second)
		ok(t, db.FinishRun(t.Context(), lost))
		got, err := db.LastRun(t.Context(), "wiki", core.RunBackup)
		ok(t, err)
		want := lost
		want.ID = []int64{2, 3, 41}[i]
		same(t, &want, got)
	}
	running, err := db.Runs(t.Context(), RunFilter{Outcome: core.OutcomeRunning})
	ok(t, err)
	if len(running) != 1 || running[0].App != "other" {
		t.Errorf("running: %v", running)
	}
}

func TestRunsNeedAnOutcome(t *testing.T) {
	db := open(t, t.TempDir(), newHand())
	for _, o := range []core.Outcome{"", core.OutcomeRunning} {
		if err := db.FinishRun(t.Context(), core.Run{Outcome: o}); err == nil {
			t.Errorf("FinishRun took outcome %q", o)
		}
		if _, err := db.AddRun(t.Context(), core.Run{Outcome: o}); err == nil {
			t.Errorf("AddRun took outcome %q", o)
		}
	}
}

func TestRunFilter(t *testing.T) {
	clock := newHand()
	db := open(t, t.TempDir(), clock)
	start := clock.now
	for i, r := range []core.Run{
		{App: "a", Kind: core.RunBackup, Outcome: core.OutcomeOK}, {App: "a", Kind: core.RunCheck, Outcome: core.OutcomeOK},
		{App: "b", Kind: core.RunBackup, Outcome: core.OutcomeFailed}, {App: "a", Kind: core.RunBackup, Outcome: core.OutcomeFailed},
		{Kind: core.RunMaintain, Outcome: core.OutcomeOK}, {App: "a", Kind: core.RunBackup, Outcome: core.OutcomeMissed},
	} {
		r.Started = start.Add(time.Duration(i) * time.Hour)
		_, err := db.AddRun(t.Context(), r)
		ok(t, err)
	}
	// Recorded last, and started first.
	_, err := db.AddRun(t.Context(), core.Run{App: "b", Kind: core.RunBackup, Outcome: core.OutcomeMissed, Started: start.Add(-time.Hour)})
	ok(t, err)
	for _, tt := range []struct {
		f    RunFilter
		want string
	}{
		{RunFilter{}, "6 5 4 3 2 1 7"},
		{RunFilter{Limit: 2}, "6 5"},
		{RunFilter{App: "a"}, "6 4 2 1"},
		{RunFilter{App: "a", Kind: core.RunBackup}, "6 4 1"},
		{RunFilter{Kind: core.RunMaintain}, "5"},
		{RunFilter{Outcome: core.OutcomeMissed}, "6 7"},
		{RunFilter{Since: start.Add(4 * time.Hour)}, "6 5"},
		{RunFilter{App: "a", Kind: core.RunBackup, Outcome: core.OutcomeFailed, Since: start, Limit: 9}, "4"},
		{RunFilter{App: "'; DROP TABLE runs; --"}, ""},
	} {
		runs, err := db.Runs(t.Context(), tt.f)
		ok(t, err)
		var ids []string
		for _, r := range runs {
			ids = append(ids, fmt.Sprint(r.ID))
		}
		if got := strings.Join(ids, " "); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.f, got, tt.want)
		}
	}
	for _, tt := range []struct {
		app, kind string
		outcomes  []core.Outcome
		want      int64
	}{
		{"a", core.RunBackup, nil, 4}, {"a", core.RunBackup, []core.Outcome{core.OutcomeOK, core.OutcomeWarnings}, 1}, {"b", core.RunBackup, nil, 3},
		{"b", core.RunBackup, []core.Outcome{core.OutcomeMissed}, 7}, {"b", core.RunCheck, nil, 0}, {"", core.RunMaintain, nil, 5},
	} {
		r, err := db.LastRun(t.Context(), tt.app, tt.kind, tt.outcomes...)
		ok(t, err)
		if r == nil {
			r = &core.Run{}
		}
		if r.ID != tt.want {
			t.Errorf("last %s of %q with %v: %d, want %d", tt.kind, tt.app, tt.outcomes, r.ID, tt.want)
		}
	}
}

// TestLastRunAfterTheClockWentBack takes the run that was recorded last, though
// an earlier one says that it started later.
func TestLastRunAfterTheClockWentBack(t *testing.T) {
	clock := newHand()
	db := open(t, t.TempDir(), clock)
	for _, started := range []time.Time{clock.now.AddDate(10, 0, 0), clock.now} {
		r := backup("wiki", started)
		r.Outcome = core.OutcomeOK
		_, err := db.AddRun(t.Context(), r)
		ok(t, err)
	}
	last, err := db.LastRun(t.Context(), "wiki", core.RunBackup)
	ok(t, err)
	same(t, clock.now, last.Started)
}

// other starts this program in a role; it writes a line when it is ready and
// ends when its input does.
func other(t *testing.T, role string, args ...string) (cmd *exec.Cmd, ready func() string, end func()) {
	t.Helper()
	self, err := os.Executable()
	ok(t, err)
	cmd = exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), "BACKSTAY_STATE_TEST_ROLE="+role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	ok(t, err)
	out, err := cmd.StdoutPipe()
	ok(t, err)
	ok(t, cmd.Start())
	ready = func() string {
		t.Helper()
		var line string
		if _, err := fmt.Fscanln(out, &line); err != nil {
			t.Fatalf("%s: %v", role, err)
		}
		return line
	}
	end = func() {
		t.Helper()
		ok(t, in.Close())
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%s: %v", role, err)
		}
	}
	return cmd, ready, end
}

func TestRunOfKilledProcessBecomesFailed(t *testing.T) {
	clock := newHand()
	dir := t.TempDir()
	db := open(t, dir, clock)
	cmd, ready, _ := other(t, "run", dir)
	ready()
	mine, err := db.BeginRun(t.Context(), backup("mine", clock.now))
	ok(t, err)
	swept, err := db.Sweep(t.Context())
	ok(t, err)
	if len(swept) != 0 {
		t.Fatalf("swept while both live: %v", swept)
	}
	ok(t, cmd.Process.Kill())
	// Not waited for: a zombie does not run either.
	for state := ""; state != "Z"; {
		_, state, err = procStat(cmd.Process.Pid)
		ok(t, err)
	}
	clock.now = clock.now.Add(time.Minute)
	second := open(t, dir, clock) // sweeps
	_ = cmd.Wait()
	runs, err := second.Runs(t.Context(), RunFilter{App: "wiki"})
	ok(t, err)
	want := core.Run{ID: 1, App: "wiki", Kind: core.RunBackup, Trigger: "schedule", Started: newHand().now, Finished: &clock.now, Outcome: core.OutcomeFailed,
		Code: core.CodeFailed, Message: goneMessage, Hint: goneHint, By: "root"}
	same(t, []core.Run{want}, runs)
	running, err := db.Runs(t.Context(), RunFilter{Outcome: core.OutcomeRunning})
	ok(t, err)
	if len(running) != 1 || running[0].ID != mine {
		t.Errorf("running: %v", running)
	}
}

func TestSweep(t *testing.T) {
	clock := newHand()
	me := processOf(os.Getpid())
	for name, tt := range map[string]struct {
		pid     int
		process process
		age     time.Duration
		want    bool
	}{
		"this process":                       {os.Getpid(), me, time.Hour, false},
		"its number, another start":          {os.Getpid(), process{me.boot, me.space, "1"}, time.Hour, true},
		"its number, before the last boot":   {os.Getpid(), process{"00000000-0000", me.space, me.start}, time.Hour, true},
		"nobody has the number":              {1 << 30, me, time.Hour, true},
		"in another container":               {1 << 30, process{me.boot, "pid:[1]", "1"}, time.Hour, false},
		"in another container, long ago":     {1 << 30, process{me.boot, "pid:[1]", "1"}, 25 * time.Hour, true},
		"a machine without proc, there":      {os.Getpid(), process{"-", me.space, "-"}, time.Hour, false},
		"a machine without proc, not there":  {1 << 30, process{"-", me.space, "-"}, time.Hour, true},
		"init, which is there, by its start": {1, processOf(1), time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t, t.TempDir(), clock)
			ok(t, db.write(t.Context(), "test", func(tx *sql.Tx) error {
				r := backup("wiki", clock.now.Add(-tt.age))
				r.Outcome = core.OutcomeRunning
				_, err := insertRun(t.Context(), tx, r, tt.pid, tt.process.String())
				return err
			}))
			swept, err := db.Sweep(t.Context())
			ok(t, err)
			if got := len(swept) == 1; got != tt.want {
				t.Fatalf("swept %v, want %v", swept, tt.want)
			}
			again, err := db.Sweep(t.Context())
			ok(t, err)
			if len(again) != 0 {
				t.Errorf("swept twice: %v", again)
			}
			// A run that is alive after all has the last word.
			r := backup("wiki", clock.now.Add(-tt.age))
			r.ID, r.Outcome = 1, core.OutcomeOK
			ok(t, db.FinishRun(t.Context(), r))
			last, err := db.LastRun(t.Context(), "wiki", core.RunBackup)
			ok(t, err)
			if last.ID != 1 || last.Outcome != core.OutcomeOK || last.Message != "" {
				t.Errorf("%+v", last)
			}
		})
	}
}

func TestAbandonRun(t *testing.T) {
	clock := newHand()
	dir := t.TempDir()
	db := open(t, dir, clock)
	cmd, ready, _ := other(t, "run", dir)
	ready()
	mine, err := db.BeginRun(t.Context(), backup("mine", clock.now))
	ok(t, err)
	ok(t, cmd.Process.Kill())
	_ = cmd.Wait()
	n, err := db.AbandonRun(t.Context(), cmd.Process.Pid, core.OutcomeCancelled, "the service ended", "it runs again")
	ok(t, err)
	same(t, 1, n)
	last, err := db.LastRun(t.Context(), "wiki", core.RunBackup)
	ok(t, err)
	if last.Outcome != core.OutcomeCancelled || last.Message != "the service ended" || last.Hint != "it runs again" || last.Code != core.CodeCancelled || !last.Finished.Equal(clock.now) {
		t.Errorf("%+v", last)
	}
	n, err = db.AbandonRun(t.Context(), cmd.Process.Pid, core.OutcomeFailed, "again", "")
	ok(t, err)
	same(t, 0, n)
	running, err := db.Runs(t.Context(), RunFilter{Outcome: core.OutcomeRunning})
	ok(t, err)
	if len(running) != 1 || running[0].ID != mine {
		t.Errorf("running: %v", running)
	}
}
