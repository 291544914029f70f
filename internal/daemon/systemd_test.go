package daemon

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/schedule/agenda"
	"github.com/backstay/backstay/internal/state"
)

// notified is systemd's end of the socket.
type notified struct {
	conn *net.UnixConn
	mu   sync.Mutex
	got  []string
}

// listenAsSystemd gives the service a socket to tell how it does.
func listenAsSystemd(t *testing.T) *notified {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify") // t.TempDir's paths are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	n := &notified{conn: conn}
	t.Cleanup(func() {
		_ = conn.Close()
		_ = os.Remove(path)
		_ = os.Remove(dir)
	})
	t.Setenv("NOTIFY_SOCKET", path)
	go func() {
		buf := make([]byte, 64<<10)
		for {
			size, err := conn.Read(buf)
			if err != nil {
				return
			}
			n.mu.Lock()
			n.got = append(n.got, string(buf[:size]))
			n.mu.Unlock()
		}
	}()
	return n
}

// count says how many messages match.
func (n *notified) count(pattern string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	re := regexp.MustCompile("(?m)^" + pattern + "$")
	found := 0
	for _, m := range n.got {
		if re.MatchString(m) {
			found++
		}
	}
	return found
}

// TestSystemd: ready after the plan and the address, alive while the loop turns,
// reloading and ready again, stopping and asking for time.
func TestSystemd(t *testing.T) {
	n := listenAsSystemd(t)
	t.Setenv("WATCHDOG_USEC", "40000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	h := newHarness(t, daily(t, "desk", 13, 0))
	h.o.Environment = append(os.Environ(), childMode+"=1")
	before := 0
	load := h.o.Load
	plan := h.plan
	h.plan = func() (Plan, error) {
		before += n.count("READY=1")
		return plan()
	}
	h.o.Load = load
	h.modes["desk"] = "waits"
	h.start()
	if before != 0 {
		t.Error("ready before there was a plan")
	}
	h.until("READY", func() bool { return n.count("READY=1") == 1 })
	if n.count(`STATUS=1 schedules, 0 running, next: backup of desk at 2026-11-23 13:00 UTC`) == 0 {
		t.Errorf("no status in %q", n.got)
	}
	h.until("the watchdog", func() bool { return n.count("WATCHDOG=1") > 3 })
	h.setPlan(plan)
	if err := unix.Kill(os.Getpid(), unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	h.until("READY again", func() bool { return n.count("READY=1") == 2 })
	if n.count("RELOADING=1") != 1 || n.count(`MONOTONIC_USEC=[1-9]\d+`) != 1 {
		t.Errorf("no RELOADING in %q", n.got)
	}
	h.clock.set(noon().Add(time.Hour))
	h.until("the run", func() bool { return h.file("desk.running") })
	h.stop()
	h.until("EXTEND", func() bool { return n.count("EXTEND_TIMEOUT_USEC=90000") > 2 })
	if n.count("STOPPING=1") != 1 || n.count("STATUS=ending; 1 runs are waited for, at most .*") == 0 {
		t.Errorf("no STOPPING in %q", n.got)
	}
	alive := n.count("WATCHDOG=1")
	h.until("the watchdog at the end", func() bool { return n.count("WATCHDOG=1") > alive+2 })
	h.replace(h.dir+"/desk.go-on", "")
	if err := h.end(); err != nil {
		t.Fatal(err)
	}
}

// TestWatchdogOfLoop: a loop that stands still is not alive.
func TestWatchdogOfLoop(t *testing.T) {
	n := listenAsSystemd(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	h := newHarness(t, daily(t, "desk", 13, 0))
	stand, stands := make(chan struct{}), make(chan struct{}, 1)
	command := h.o.Command
	h.o.Command = func(job Job, start agenda.Start) []string { // called by the loop
		stands <- struct{}{}
		<-stand
		return command(job, start)
	}
	h.start()
	h.until("the watchdog", func() bool { return n.count("WATCHDOG=1") > 2 })
	h.clock.set(noon().Add(time.Hour))
	<-stands
	before := n.count("WATCHDOG=1")
	// Others go on meanwhile: ten answers take longer than the watchdog's time.
	for range 10 {
		h.get("/metrics")
	}
	if after := n.count("WATCHDOG=1"); after > before+1 {
		t.Errorf("%d signs of life of a loop that stands still", after-before)
	}
	close(stand)
	h.until("the watchdog again", func() bool { return n.count("WATCHDOG=1") > before+2 })
}

// TestStop: what becomes of a running backup when the service ends.
func TestStop(t *testing.T) {
	for name, c := range map[string]struct {
		mode    string
		service Service
		goOn    bool
		want    core.Outcome
		message string
	}{
		"finish":                   {mode: "waits", goOn: true, want: core.OutcomeOK},
		"finish, but not in time":  {mode: "waits", service: Service{StopTimeout: 50 * time.Millisecond}, want: core.OutcomeCancelled, message: "the service ended"},
		"cancel":                   {mode: "waits", service: Service{Cancel: true}, want: core.OutcomeCancelled, message: "the service ended"},
		"cancel one that will not": {mode: "hangs", service: Service{Cancel: true}, want: core.OutcomeCancelled, message: "the service ended, and the run did not end by itself (SIGKILL)"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, daily(t, "desk", 13, 0), daily(t, "docs", 14, 0))
			plan, err := h.plan()
			if err != nil {
				t.Fatal(err)
			}
			c.service.Listen = plan.Service.Listen
			plan.Service = c.service
			h.plan = func() (Plan, error) { return plan, nil }
			h.modes["desk"] = c.mode
			h.start()
			h.clock.set(noon().Add(time.Hour))
			h.until("the run", func() bool { return h.file("desk.running") })
			h.stop()
			h.says("the service ends when its runs have")
			h.clock.set(noon().Add(2 * time.Hour)) // nothing is begun any more
			if c.goOn {
				if body, status := h.get("/healthz"); status != 503 || !strings.Contains(body, "stopping") {
					t.Errorf("%d %s", status, body)
				}
				h.replace(h.dir+"/desk.go-on", "")
			}
			if err := h.end(); err != nil {
				t.Fatal(err)
			}
			runs := h.runs()
			if len(runs) != 1 || runs[0].Outcome != c.want || runs[0].Message != c.message {
				t.Errorf("got %+v", runs)
			}
			if Holder(h.dir) != "" {
				t.Error("the lock is held")
			}
		})
	}
}

// TestRunsDieWithTheService: a service that is killed leaves no run behind that
// nobody sees; it gets the time to end cleanly.
func TestRunsDieWithTheService(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "service", dir, "desk")
	cmd.Env = append(os.Environ(), childMode+"=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h := &harness{t: t, dir: dir, log: &logged{more: make(chan struct{})}}
	h.until("the run", func() bool { return h.file("desk.running") })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it ended well")
	}
	h.until("the run's clean end", func() bool { return h.file("desk.cancelled") })
	db, err := state.Open(t.Context(), dir, core.SystemClock{})
	if err != nil {
		t.Fatal(err)
	}
	memory := map[string]agenda.Memory{}
	if _, err := db.Value(t.Context(), memoryKey, &memory); err != nil || memory["desk"].Handled.Before(noon()) {
		t.Errorf("the next service would run it again: %+v, %v", memory, err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// TestUnits: systemd understands the units that come with backstay.
func TestUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze")
	}
	units, err := filepath.Glob("../../deploy/systemd/*")
	if err != nil || len(units) < 5 {
		t.Fatalf("got %v, %v", units, err)
	}
	dir := t.TempDir()
	program, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, unit := range units {
		content, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		// The program need not be installed where the tests run.
		text := strings.ReplaceAll(string(content), "/usr/local/bin/backstay", program)
		path := filepath.Join(dir, strings.Replace(filepath.Base(unit), "@.", "@desk.", 1))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	out, err := exec.Command(analyze, append([]string{"verify", "--man=no"}, paths...)...).CombinedOutput()
	if err != nil || strings.Contains(string(out), dir) || strings.Contains(string(out), "backstay") {
		t.Errorf("%v\n%s", err, out)
	}
}
