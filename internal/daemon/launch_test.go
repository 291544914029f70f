package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/daemon/process"
	"github.com/backstay/backstay/internal/progress"
	"github.com/backstay/backstay/internal/state"
)

// beLaunched is a command that takes over its run, or records one where there is
// none.
func beLaunched(mode, dir, app string, mark func(string)) int {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	// As package session does: the service that reads what is said may be gone.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	db, err := state.Open(context.Background(), dir, core.SystemClock{})
	must(err)
	id, err := strconv.ParseInt(os.Getenv(EnvRun), 10, 64)
	if os.Getenv(EnvRun) == "" {
		id, err = db.BeginRun(context.Background(), core.Run{App: app, Kind: core.RunBackup, Trigger: "schedule", Started: time.Now(), By: "service"})
	}
	must(err)
	run, err := db.AdoptRun(context.Background(), id)
	must(err)
	shown := progress.NewWriter(dir, id, core.SystemClock{}, slog.New(slog.DiscardHandler))
	shown.Stage("working", 10)
	for {
		if _, err := progress.Read(dir, id); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	mark("running")
	run.Outcome, run.Backup = core.OutcomeOK, "b1"
	switch mode {
	case "adopts and is killed":
		must(unix.Kill(os.Getpid(), unix.SIGKILL))
	case "adopts and waits":
		<-term
		fmt.Fprintln(os.Stderr, "it ends")
		run.Outcome, run.Code, run.Message = core.OutcomeCancelled, core.CodeCancelled, "its own words"
	}
	shown.Close()
	must(db.FinishRun(context.Background(), run))
	must(db.Close())
	mark("ended")
	if run.Outcome == core.OutcomeCancelled {
		return 130
	}
	return 0
}

// beLaunchingService is a service in which somebody launched a run.
func beLaunchingService(dir string) int {
	l := NewLauncher(func(args []string) []string { return args })
	err := run(context.Background(), Options{
		Load: func(context.Context) (Plan, error) { return Plan{}, nil }, StateDir: dir, Log: slog.New(slog.DiscardHandler), Launcher: l,
		Ready: func(string) {
			if _, err := l.Launch(context.Background(), Launch{Kind: core.RunRestore, App: "desk", By: "anna", Args: []string{"adopts and waits", dir, "desk"}}); err != nil {
				panic(err)
			}
		},
	}, quickWaits(), process.Polite)
	if err != nil {
		panic(err)
	}
	return 0
}

// launching is a harness with a launcher. Its clock is the machine's, as that of
// the commands.
func launching(t *testing.T) *harness {
	t.Helper()
	h := newHarness(t)
	h.o.Clock = core.SystemClock{}
	h.o.Launcher = NewLauncher(func(args []string) []string { return args })
	return h
}

func (h *harness) launch(kind, app, mode string) int64 {
	h.t.Helper()
	id, err := h.o.Launcher.Launch(h.t.Context(), Launch{Kind: kind, App: app, By: "anna", Via: "console", Args: []string{mode, h.dir, app}})
	if err != nil {
		h.t.Fatal(err)
	}
	return id
}

// record is how a run is recorded.
func (h *harness) record(id int64) core.Run {
	h.t.Helper()
	db, err := state.Open(h.t.Context(), h.dir, core.SystemClock{})
	if err != nil {
		h.t.Fatal(err)
	}
	r, err := db.Run(h.t.Context(), id)
	if err := errors.Join(err, db.Close()); err != nil || r == nil {
		h.t.Fatalf("run %d: %v", id, err)
	}
	return *r
}

func (h *harness) over(id int64) (r core.Run) {
	h.t.Helper()
	h.until("the end of the run", func() bool {
		r = h.record(id)
		// Looking opens the database, which may see that the process is gone before
		// the service has said how it ended.
		return r.Outcome != core.OutcomeRunning && !state.Gone(r)
	})
	return r
}

func (h *harness) endClean() {
	h.t.Helper()
	if err := h.end(); err != nil {
		h.t.Fatal(err)
	}
	for _, dir := range []string{"progress", "service/secrets"} {
		if left, err := os.ReadDir(filepath.Join(h.dir, dir)); err != nil && !errors.Is(err, fs.ErrNotExist) || len(left) > 0 {
			h.t.Errorf("left in %s: %v %v", dir, left, err)
		}
	}
}

// TestLaunch: what somebody wants runs as a process, is recorded, says how far it
// is, and its result is in a file.
func TestLaunch(t *testing.T) {
	h := launching(t)
	h.start()
	cleaned := make(chan bool, 1)
	result := filepath.Join(h.dir, "results", "1.json")
	id, err := h.o.Launcher.Launch(t.Context(), Launch{
		Kind: core.RunExport, App: "desk", Backup: "b0", By: "anna\nroot", Via: "api", Args: []string{"tells", h.dir, "desk", "b0"},
		Result: result, Secret: core.NewSecret("pässword\n"), SecretFlag: "password-file", Cleanup: func() { cleaned <- true },
	})
	if err != nil {
		t.Fatal(err)
	}
	<-cleaned
	got, err := os.ReadFile(result)
	if want := fmt.Sprintf("%d|anna root|api|pässword\n|b0", id); err != nil || string(got) != want {
		t.Errorf("%q, want %q, %v", got, want, err)
	}
	for path, want := range map[string]os.FileMode{result: 0o600, filepath.Dir(result): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
	r := h.over(id)
	r.ID, r.Started, r.Finished = 0, time.Time{}, nil
	want := core.Run{App: "desk", Kind: core.RunExport, Trigger: "manual", Backup: "b0", Outcome: core.OutcomeOK, By: "anna root"}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}

	id = h.launch(core.RunBackup, "desk", "adopts and ends")
	if r := h.over(id); r.Outcome != core.OutcomeOK || r.Backup != "b1" {
		t.Errorf("%+v", r)
	}
	h.endClean()
	if text := h.log.String(); strings.Contains(text, "pässword") {
		t.Error("the secret is in the log")
	}
	if _, err := h.o.Launcher.Launch(t.Context(), Launch{Kind: core.RunBackup}); core.CodeOf(err) != core.CodeLocked {
		t.Errorf("after the end: %v", err)
	}
}

// TestLaunchedThatFails: it is recorded, whatever it could still say.
func TestLaunchedThatFails(t *testing.T) {
	h := launching(t)
	h.start()
	for mode, want := range map[string]struct {
		code          core.Code
		message, hint string
	}{
		"fails":                {core.CodeDatabase, "the server is gone", "start it"},
		"locked":               {core.CodeLocked, "the run ended with code 11", ""},
		"crashes":              {core.CodeFailed, "the run ended with code 2; the last it said: ", ""},
		"killed":               {core.CodeFailed, "the run was ended by SIGKILL", "ran out of memory"},
		"adopts and is killed": {core.CodeFailed, "the run was ended by SIGKILL", "ran out of memory"},
	} {
		r := h.over(h.launch(core.RunRestore, "desk", mode))
		if r.Outcome != core.OutcomeFailed || r.Code != want.code || !strings.HasPrefix(r.Message, want.message) || !strings.Contains(r.Hint, want.hint) || r.By != "anna" {
			t.Errorf("%s: %+v", mode, r)
		}
	}
	if n := len(h.runs()); n != 5 {
		t.Errorf("%d runs", n)
	}
	h.o.Launcher.command = func([]string) []string { return []string{"\x00"} }
	cleaned := false
	if _, err := h.o.Launcher.Launch(t.Context(), Launch{Kind: core.RunRestore, App: "wiki", By: "anna", Cleanup: func() { cleaned = true }}); err == nil || !cleaned {
		t.Errorf("it was started: %v, cleaned %t", err, cleaned)
	}
	h.endClean()
	if r := h.record(6); r.App != "wiki" || r.Outcome != core.OutcomeFailed || !strings.HasPrefix(r.Message, "the run could not be started: ") {
		t.Errorf("%+v", r)
	}
}

// TestCancel: whoever started a run, it is asked to end, and the record says by
// whom.
func TestCancel(t *testing.T) {
	h := launching(t)
	h.o.Clock, h.plan = h.clock, func() (Plan, error) {
		return Plan{Jobs: []Job{daily(t, "daily", 13, 0)}, Service: Service{Listen: "127.0.0.1:0"}}, nil
	}
	h.modes["daily"] = "adopts and waits"
	h.start()
	l := h.o.Launcher

	id := h.launch(core.RunRestore, "desk", "adopts and waits")
	h.until("the run", func() bool { return h.file("desk.running") })
	if p, err := progress.Read(h.dir, id); err != nil || p.Stage != "working" {
		t.Errorf("%+v %v", p, err)
	}
	if err := l.Cancel(t.Context(), id, "bert"); err != nil {
		t.Fatal(err)
	}
	if r := h.over(id); r.Outcome != core.OutcomeCancelled || r.Message != "cancelled by bert: its own words" {
		t.Errorf("%+v", r)
	}

	// One that was started in a shell, and records itself.
	db, err := state.Open(t.Context(), h.dir, h.clock)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	other, err := db.BeginRun(t.Context(), core.Run{App: "wiki", Kind: core.RunVerify, Started: h.clock.Now(), By: "root"})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Cancel(t.Context(), other, "bert"); core.CodeOf(err) != core.CodeLocked {
		t.Errorf("this process ended itself: %v", err)
	}
	shell := exec.Command(os.Args[0], "adopts and waits", h.dir, "wiki")
	shell.Env = append(os.Environ(), childMode+"=1", EnvRun+"="+strconv.FormatInt(other, 10))
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	h.until("the run in the shell", func() bool { return h.file("wiki.running") })
	if err := l.Cancel(t.Context(), other, "bert"); err != nil {
		t.Fatal(err)
	}
	_ = shell.Wait() // it ends with 130
	if r := h.over(other); r.Outcome != core.OutcomeCancelled || r.Message != "cancelled by bert: its own words" || r.By != "root" {
		t.Errorf("%+v", r)
	}
	for _, none := range []int64{id, other, 99, firstUnrecorded + 5} {
		if err := l.Cancel(t.Context(), none, "bert"); core.CodeOf(err) != core.CodeNotFound {
			t.Errorf("run %d: %v", none, err)
		}
	}

	// A scheduled one.
	h.clock.set(noon().Add(time.Hour))
	h.until("the scheduled run", func() bool { return h.file("daily.running") })
	running, err := db.Runs(t.Context(), state.RunFilter{App: "daily", Outcome: core.OutcomeRunning})
	if err != nil || len(running) != 1 {
		t.Fatal(running, err)
	}
	due := running[0].ID
	if err := l.Cancel(t.Context(), due, "bert"); err != nil {
		t.Fatal(err)
	}
	if r := h.over(due); r.Outcome != core.OutcomeCancelled || !strings.HasPrefix(r.Message, "cancelled by bert") {
		t.Errorf("%+v", r)
	}
	h.until("the end of the run", func() bool { return strings.Contains(h.log.String(), "kind=backup outcome=cancelled") })
	h.endClean()
}

// TestLimits: no more at a time than the machine bears, and no long queue for one
// app.
func TestLimits(t *testing.T) {
	h := launching(t)
	h.start()
	l := h.o.Launcher
	refused := func(what Launch) {
		t.Helper()
		cleaned := false
		what.By, what.Args, what.Cleanup = "anna", []string{"ok", h.dir, "x"}, func() { cleaned = true }
		_, err := l.Launch(t.Context(), what)
		if core.CodeOf(err) != core.CodeLocked || core.HintOf(err) == "" || !cleaned {
			t.Errorf("%s: %v, cleaned %t", what.Kind, err, cleaned)
		}
	}
	ids := []int64{h.launch(core.RunBackup, "desk", "waits"), h.launch(core.RunBackup, "desk", "waits"), h.launch(core.RunRestore, "desk", "waits")}
	refused(Launch{Kind: core.RunBackup, App: "desk"})
	ids = append(ids, h.launch(core.RunVerify, "desk", "waits"), h.launch(core.RunBackup, "wiki", "waits"), h.launch(core.RunCheck, "", "waits"))
	for len(ids) < maxLaunched {
		ids = append(ids, h.launch(core.RunExport, "docs", "waits"))
	}
	refused(Launch{Kind: core.RunVerify, App: "shop"})
	for _, id := range ids {
		if err := l.Cancel(t.Context(), id, "anna"); err != nil {
			t.Error(err)
		}
	}
	for _, id := range ids {
		if r := h.over(id); r.Outcome != core.OutcomeCancelled || !strings.HasPrefix(r.Message, "cancelled by anna") {
			t.Errorf("%+v", r)
		}
	}
	h.until("room", func() bool { return l.count() == 0 })
	h.over(h.launch(core.RunBackup, "desk", "ok"))
	h.endClean()
}

// TestLaunchedAtTheEnd: the end of the service waits for what was launched, or
// cancels it, as it does with what was scheduled.
func TestLaunchedAtTheEnd(t *testing.T) {
	for mode, service := range map[string]Service{
		"waits": {Cancel: true}, "hangs": {Cancel: true}, "waits too": {StopTimeout: 50 * time.Millisecond}, "finishes": {},
	} {
		t.Run(mode, func(t *testing.T) {
			h := launching(t)
			h.plan = func() (Plan, error) { return Plan{Service: service}, nil }
			h.start()
			run := map[string]string{"waits": "waits", "hangs": "hangs", "waits too": "waits", "finishes": "waits"}[mode]
			id := h.launch(core.RunRestore, "desk", run)
			h.until("the run", func() bool { return h.file("desk.running") })
			want := core.OutcomeCancelled
			if mode == "finishes" {
				want = core.OutcomeOK
				h.stop()
				h.says("the service ends when its runs have")
				h.replace(filepath.Join(h.dir, "desk.go-on"), "")
			}
			h.endClean()
			if r := h.record(id); r.Outcome != want || want == core.OutcomeCancelled && !strings.HasPrefix(r.Message, whyEnd) {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestServiceKilled: a run ends cleanly when the service is killed, and its own
// record wins.
func TestServiceKilled(t *testing.T) {
	dir := t.TempDir()
	service := exec.Command(os.Args[0], "service that launches", dir, "x")
	service.Env = append(os.Environ(), childMode+"=1")
	var said bytes.Buffer
	service.Stderr = &said
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	h := &harness{t: t, dir: dir, log: &logged{more: make(chan struct{}, 1)}}
	h.until("the run", func() bool { return h.file("desk.running") })
	if err := service.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = service.Wait() // it was killed
	h.until("the end of the run", func() bool { return h.file("desk.ended") })
	if r := h.record(1); r.Outcome != core.OutcomeCancelled || r.Message != "its own words" {
		t.Errorf("%+v\n%s", r, said.String())
	}
}

// TestLaunchWithoutState: somebody who wants to restore can, and sees how far it is.
func TestLaunchWithoutState(t *testing.T) {
	h := launching(t)
	if err := os.Mkdir(filepath.Join(h.dir, state.FileName), 0o700); err != nil {
		t.Fatal(err)
	}
	h.start()
	id := h.launch(core.RunRestore, "desk", "waits")
	if id < firstUnrecorded {
		t.Errorf("run %d", id)
	}
	h.until("the run", func() bool { return h.file("desk.running") })
	if err := h.o.Launcher.Cancel(t.Context(), id, "anna"); err != nil {
		t.Error(err)
	}
	h.until("the end of the run", func() bool { return h.o.Launcher.count() == 0 })
	if err := os.Remove(filepath.Join(h.dir, state.FileName)); err != nil {
		t.Fatal(err)
	}
	h.says("the state database can be used again")
	h.endClean()
	if runs := h.runs(); len(runs) != 1 || runs[0].Outcome != core.OutcomeCancelled || runs[0].Message != "cancelled by anna" || runs[0].ID >= firstUnrecorded || runs[0].By != "anna" {
		t.Errorf("%+v", runs)
	}
}
