package daemon

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/state"
)

// TestStateLocked: while another program holds the state database, backups run,
// it is said, and all is recorded afterwards.
func TestStateLocked(t *testing.T) {
	h := newHarness(t, daily(t, "desk", 13, 0))
	h.start()
	release := h.hold()
	h.clock.set(noon().Add(time.Hour))
	h.until("the run", func() bool { return h.file("desk.done") })
	h.until("the problem", func() bool { return h.problem("state-unusable") })
	if body, status := h.get("/healthz"); status != 503 || !strings.Contains(body, "state-unusable: backups run, but are not recorded: ") {
		t.Errorf("%d %s", status, body)
	}
	if body, _ := h.get("/metrics"); !strings.Contains(body, "backstay_state_ok 0") || !strings.Contains(body, `backstay_last_run_outcome{app="desk",outcome="ok"} 1`) {
		t.Error(body)
	}
	release()
	h.until("the problem to be over", func() bool { return !h.problem("state-unusable") })
	if err := h.end(); err != nil {
		t.Fatal(err)
	}
	if runs := h.runs(); len(runs) != 1 || runs[0].Outcome != core.OutcomeOK {
		t.Errorf("got %+v", runs)
	}
}

// hold keeps everybody from writing into the state database, as another program
// would.
func (h *harness) hold() (release func()) {
	h.t.Helper()
	cmd := exec.Command(os.Args[0], "holds", h.dir, "state")
	cmd.Env = append(os.Environ(), childMode+"=1")
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.until("the lock", func() bool { return h.file("state.held") })
	return func() {
		h.t.Helper()
		h.replace(h.dir+"/state.go-on", "")
		if err := cmd.Wait(); err != nil {
			h.t.Error(err)
		}
	}
}

// TestStateDamaged: a database that is damaged at the start, or while the
// service runs, is begun anew, and what the agenda remembers is in it again.
func TestStateDamaged(t *testing.T) {
	h := newHarness(t, daily(t, "desk", 13, 0))
	path := filepath.Join(h.dir, state.FileName)
	if err := os.WriteFile(path, []byte(strings.Repeat("garbage ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	h.start()
	h.says("state-replaced")
	h.clock.set(noon().Add(time.Hour))
	h.says("the run has ended")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	h.clock.set(noon().Add(25 * time.Hour))
	h.until("the second run", func() bool { return strings.Count(h.log.String(), "the run has ended") == 2 })
	if err := h.end(); err != nil {
		t.Fatal(err)
	}
	if runs := h.runs(); len(runs) == 0 {
		t.Error("nothing was recorded")
	}
	h.clock.set(noon().Add(48 * time.Hour)) // not due yet: nothing is caught up that was done
	h.ended = make(chan error, 1)
	h.start()
	h.until("turns", func() bool { return h.turned(5) })
	if n := strings.Count(h.log.String(), "the run begins"); n != 2 {
		t.Errorf("%d runs", n)
	}
}

// TestStateFull: on a full disk backups run, it is said, and all is recorded
// when there is room again.
func TestStateFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root mounts file systems")
	}
	h := newHarness(t, daily(t, "desk", 13, 0))
	small := filepath.Join(h.dir, "state")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(small, 0); err != nil {
			t.Error(err)
		}
	})
	h.o.StateDir = small
	h.start()
	filler := filepath.Join(small, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	h.clock.set(noon().Add(time.Hour))
	h.until("the run", func() bool { return h.file("desk.done") })
	h.until("the problem", func() bool { return h.problem("state-unusable") })
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	h.until("the problem to be over", func() bool { return !h.problem("state-unusable") })
	if err := h.end(); err != nil {
		t.Fatal(err)
	}
	dir := h.dir
	h.dir = small
	if runs := h.runs(); len(runs) != 1 || runs[0].Outcome != core.OutcomeOK {
		t.Errorf("got %+v", runs)
	}
	h.dir = dir
}

// TestStateUnusableAtTheStart: the service starts, and uses it when it can.
func TestStateUnusableAtTheStart(t *testing.T) {
	h := newHarness(t, daily(t, "desk", 13, 0))
	path := filepath.Join(h.dir, state.FileName)
	if err := os.Mkdir(path, 0o700); err != nil { // a folder is no database
		t.Fatal(err)
	}
	h.start()
	h.clock.set(noon().Add(time.Hour))
	h.says("the run has ended")
	h.until("the problem", func() bool { return h.problem("state-unusable") })
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	h.until("the problem to be over", func() bool { return !h.problem("state-unusable") })
	if err := h.end(); err != nil {
		t.Fatal(err)
	}
	if runs := h.runs(); len(runs) != 1 {
		t.Errorf("got %+v", runs)
	}
}
