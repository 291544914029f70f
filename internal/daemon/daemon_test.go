package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/daemon/process"
	"github.com/backstay/backstay/internal/schedule"
	"github.com/backstay/backstay/internal/schedule/agenda"
	"github.com/backstay/backstay/internal/state"
)

// childMode tells the test binary to be a run, and which.
const childMode = "BACKSTAY_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childMode) != "" {
		os.Exit(beChild(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// beChild is a run: what it does is its first argument. The second is a folder
// in which it leaves a file when it has begun.
func beChild(args []string) int {
	mode, dir, app := args[0], args[1], args[2]
	mark := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, app+"."+name), fmt.Append(nil, os.Getpid()), 0o600); err != nil {
			panic(err)
		}
	}
	switch mode {
	case "ok":
		fmt.Println(`{"schema":1}`)
	case "warnings":
		return 3
	case "locked":
		return 11
	case "fails":
		fmt.Println(`{"schema":1,"error":{"code":"database","message":"the server is gone","hint":"start it"}}`)
		return 1
	case "crashes":
		fmt.Fprintln(os.Stderr, "about to crash")
		panic("crash")
	case "killed", "records and is killed":
		if mode != "killed" {
			beginRecord(dir, app)
		}
		if err := unix.Kill(os.Getpid(), unix.SIGKILL); err != nil {
			panic(err)
		}
	case "leaves":
		cmd := exec.Command("sleep", "30")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "left"), fmt.Append(nil, cmd.Process.Pid), 0o600); err != nil {
			panic(err)
		}
	case "leaves and is killed":
		cmd := exec.Command("sleep", "30")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "left"), fmt.Append(nil, cmd.Process.Pid), 0o600); err != nil {
			panic(err)
		}
		if err := unix.Kill(os.Getpid(), unix.SIGKILL); err != nil {
			panic(err)
		}
	case "hangs":
		signal.Ignore(unix.SIGTERM)
		mark("running")
		forever()
	case "waits":
		term := make(chan os.Signal, 1)
		signal.Notify(term, unix.SIGTERM)
		mark("running")
		for {
			select {
			case <-term:
				mark("cancelled")
				return 130
			case <-time.After(20 * time.Millisecond):
				if _, err := os.Stat(filepath.Join(dir, app+".go-on")); err == nil {
					mark("finished")
					return 0
				}
			}
		}
	case "holds":
		// The lock for writing in SQLite's log mode is byte 120 of the file beside
		// the database (WAL_WRITE_LOCK).
		f, err := os.OpenFile(filepath.Join(dir, state.FileName+"-shm"), os.O_RDWR, 0)
		if err != nil {
			panic(err)
		}
		if err := unix.FcntlFlock(f.Fd(), unix.F_SETLKW, &unix.Flock_t{Type: unix.F_WRLCK, Start: 120, Len: 1}); err != nil {
			panic(err)
		}
		mark("held")
		for {
			if _, err := os.Stat(filepath.Join(dir, app+".go-on")); err == nil {
				return 0
			}
			time.Sleep(10 * time.Millisecond)
		}
	case "service":
		return beService(dir, app, func() error { return nil })
	case "adopts and waits", "adopts and is killed", "adopts and ends":
		return beLaunched(mode, dir, app, mark)
	case "tells":
		secret := ""
		for _, a := range args[3:] {
			if file, ok := strings.CutPrefix(a, "--password-file="); ok {
				b, err := os.ReadFile(file)
				if err != nil {
					panic(err)
				}
				secret = string(b)
			}
		}
		fmt.Printf("%s|%s|%s|%s|%s", os.Getenv(EnvRun), os.Getenv(EnvBy), os.Getenv(EnvVia), secret, strings.Join(args[3:len(args)-1], " "))
	case "service that launches":
		return beLaunchingService(dir)
	case "service whose program is removed":
		return beService(dir, app, func() error {
			path, err := os.Executable()
			return errors.Join(err, os.Remove(path))
		})
	case "floods":
		line := strings.Repeat("x", 100_000) + "\n"
		for range 300 {
			fmt.Fprint(os.Stderr, line)
			fmt.Print(line)
		}
		for range 30_000 {
			fmt.Fprintln(os.Stderr, "short")
		}
		fmt.Fprint(os.Stderr, "the last word")
	case "priority":
		nice, err := os.ReadFile("/proc/self/stat")
		if err != nil {
			panic(err)
		}
		fmt.Fprintln(os.Stderr, "argv0", os.Args[0], "notify", os.Getenv("NOTIFY_SOCKET"), "nice", strings.Fields(string(nice[bytes.LastIndexByte(nice, ')'):]))[17])
	}
	mark("done")
	return 0
}

// beService is a service whose run begins at once, after ready.
func beService(dir, app string, ready func() error) int {
	s, err := schedule.Compile(schedule.Spec{Every: time.Hour}, "UTC")
	if err != nil {
		panic(err)
	}
	job := Job{Job: agenda.Job{Key: app, App: app, Kind: core.RunBackup, Schedule: s}}
	c := &clock{now: s.Next(noon()).Add(-time.Second)}
	wait := quickWaits()
	err = run(context.Background(), Options{
		Load:     func(context.Context) (Plan, error) { return Plan{Jobs: []Job{job}}, nil },
		Command:  func(Job, agenda.Start) []string { return []string{"waits", dir, app} },
		StateDir: dir, Clock: c, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Ready: func(string) {
			if err := ready(); err != nil {
				panic(err)
			}
			c.set(s.Next(noon()))
		},
	}, wait, process.Polite)
	if err != nil {
		panic(err)
	}
	return 0
}

// beginRecord is what `backstay backup` does at its beginning.
func beginRecord(dir, app string) {
	db, err := state.Open(context.Background(), dir, core.SystemClock{})
	if err != nil {
		panic(err)
	}
	if _, err := db.BeginRun(context.Background(), core.Run{App: app, Kind: core.RunBackup, Trigger: "schedule", Started: time.Now(), By: "test"}); err != nil {
		panic(err)
	}
}

// clock is one that a test sets.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	looks int // since it was set
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looks++
	return c.now
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.looks = t, 0
}

// noon is when tests begin.
func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

// logged is a log that can be waited for.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// harness is a service under test.
type harness struct {
	t       *testing.T
	dir     string
	config  string
	clock   *clock
	log     *logged
	o       Options
	wait    waits
	polite  func(int, IOClass) error
	mu      sync.Mutex
	plan    func() (Plan, error)
	told    [][]core.Problem
	modes   map[string]string // of each app's runs
	address string
	stop    context.CancelFunc
	ended   chan error
}

func quickWaits() waits {
	return waits{
		settle: 10 * time.Millisecond, unrest: 200 * time.Millisecond, again: 10 * time.Millisecond, tries: 4, look: 50 * time.Millisecond,
		broken: time.Hour, load: 10 * time.Second, kill: 300 * time.Millisecond, pipes: 100 * time.Millisecond, store: 2 * time.Second, repair: 50 * time.Millisecond, extend: 30 * time.Millisecond,
		turn: 5 * time.Millisecond,
	}
}

func newHarness(t *testing.T, jobs ...Job) *harness {
	t.Helper()
	dir := t.TempDir()
	h := &harness{
		t: t, dir: dir, config: filepath.Join(dir, "backstay.yaml"), clock: &clock{now: noon()}, log: &logged{more: make(chan struct{}, 1)},
		wait: quickWaits(), polite: func(int, IOClass) error { return nil }, modes: map[string]string{}, ended: make(chan error, 1),
	}
	if err := os.WriteFile(h.config, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.plan = func() (Plan, error) {
		return Plan{Jobs: jobs, Digest: "1", WatchFiles: []string{h.config}, Service: Service{Listen: "127.0.0.1:0", Parallel: 4}}, nil
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h.o = Options{
		Load: func(context.Context) (Plan, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.plan()
		},
		Command: func(job Job, _ agenda.Start) []string {
			h.mu.Lock()
			defer h.mu.Unlock()
			mode := h.modes[job.App]
			if mode == "" {
				mode = "ok"
			}
			return []string{mode, dir, job.App}
		},
		Executable: executable, Environment: append(os.Environ(), childMode+"=1"), StateDir: dir, Clock: h.clock,
		Log: slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Version: "1.2.3",
		Problems: func(_ context.Context, problems []core.Problem) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.told = append(h.told, problems)
		},
	}
	return h
}

// daily is a backup of an app each day.
func daily(t *testing.T, app string, hour, minute int) Job {
	t.Helper()
	return scheduled(t, core.RunBackup, app, schedule.Spec{Weekly: &schedule.Weekly{At: schedule.ClockTime{Hour: hour, Minute: minute}}, TimeZone: "UTC"})
}

func scheduled(t *testing.T, kind, app string, spec schedule.Spec) Job {
	t.Helper()
	s, err := schedule.Compile(spec, "UTC")
	if err != nil {
		t.Fatal(err)
	}
	return Job{Job: agenda.Job{Key: kind + "/" + app + "/" + spec.Name, App: app, Kind: kind, Name: spec.Name, Schedule: s}}
}

// start starts the service and waits until it is ready.
func (h *harness) start() {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	h.stop = cancel
	ready := make(chan string, 1)
	h.o.Ready = func(address string) { ready <- address }
	go func() { h.ended <- run(ctx, h.o, h.wait, h.polite) }()
	select {
	case h.address = <-ready:
	case err := <-h.ended:
		h.t.Fatalf("the service ended: %v\n%s", err, h.log)
	}
	h.t.Cleanup(func() {
		cancel()
		if h.ended != nil {
			<-h.ended
			h.ended = nil
		}
		if h.t.Failed() {
			h.t.Log(h.log)
		}
	})
}

// end ends the service and returns what it said.
func (h *harness) end() error {
	h.t.Helper()
	h.stop()
	err := <-h.ended
	h.ended = nil
	return err
}

// until waits until ok, which is looked at when something was logged, and now
// and then.
func (h *harness) until(what string, ok func() bool) {
	h.t.Helper()
	late := time.After(8 * time.Second)
	for !ok() {
		select {
		case <-h.log.more:
		case <-time.After(10 * time.Millisecond):
		case <-late:
			h.t.Fatalf("waited in vain for: %s\n%s", what, h.log)
		}
	}
}

func (h *harness) says(text string) {
	h.t.Helper()
	h.until(text, func() bool { return strings.Contains(h.log.String(), text) })
}

func (h *harness) file(name string) bool {
	_, err := os.Stat(filepath.Join(h.dir, name))
	return err == nil
}

// runs returns what the state database holds, the first run first.
func (h *harness) runs() []core.Run {
	h.t.Helper()
	db, err := state.Open(h.t.Context(), h.dir, core.SystemClock{})
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			h.t.Error(err)
		}
	}()
	runs, err := db.Runs(h.t.Context(), state.RunFilter{})
	if err != nil {
		h.t.Fatal(err)
	}
	slices.Reverse(runs)
	return runs
}

// replace puts a file in place of another, as editors do.
func (h *harness) replace(path, content string) {
	h.t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) setPlan(plan func() (Plan, error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.plan = plan
}

func (h *harness) setMode(app, mode string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.modes[app] = mode
}

// problems returns what was told last.
func (h *harness) problems() []core.Problem {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.told) == 0 {
		return nil
	}
	return h.told[len(h.told)-1]
}

// turned says whether the clock was looked at n times since it was set.
func (h *harness) turned(n int) bool {
	h.clock.mu.Lock()
	defer h.clock.mu.Unlock()
	return h.clock.looks >= n
}

// forever ends by a signal only. An empty select would be a deadlock to the
// runtime where nothing else is going on.
func forever() {
	for {
		time.Sleep(time.Hour)
	}
}
