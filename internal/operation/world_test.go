package operation_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/check"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/generic"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/faulty"
	"github.com/backstay/backstay/internal/repository/memory"
	"github.com/backstay/backstay/internal/state"
)

var errGone = errors.New("the server is gone")

// hour is a clock that stands still.
type hour struct {
	mu  sync.Mutex
	now time.Time
}

func (h *hour) Now() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return h.now }

func (h *hour) pass(d time.Duration) { h.mu.Lock(); defer h.mu.Unlock(); h.now = h.now.Add(d) }

// desk records what it is told, and fails as the test wants.
type desk struct {
	mu   sync.Mutex
	told []string
	do   func() error
}

func (d *desk) Deliver(_ context.Context, _ string, m notify.Message) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.do != nil {
		if err := d.do(); err != nil {
			return "", err
		}
	}
	d.told = append(d.told, strings.TrimSpace(string(m.Part)+" "+m.Alarm.App+" "+string(m.Alarm.Topic)))
	return m.Matter, nil
}

// heard returns what it was told since the last call.
func (d *desk) heard() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	told := d.told
	d.told = nil
	return told
}

// pinger records the outcomes of the runs that it is told of.
type pinger struct {
	mu   sync.Mutex
	told []core.Outcome
	do   func(context.Context) error
}

func (p *pinger) Ping(ctx context.Context, run core.Run) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = append(p.told, run.Outcome)
	if p.do != nil {
		return p.do(ctx)
	}
	return nil
}

// world is a machine with apps of files.
type world struct {
	testing.TB
	clock  *hour
	memory *memory.Store
	store  *faulty.Store
	engine *engine.Engine
	state  *state.DB
	desk   *desk
	ping   *pinger
	apps   []operation.App
	limits check.Limits
}

func (w *world) root(app string) string { return filepath.Join(w.engine.StateDir, "..", app) }

// newWorld makes one with the apps named. Each has one file.
func newWorld(t testing.TB, apps ...string) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{
		TB: t, clock: &hour{now: time.Date(2030, 1, 7, 10, 0, 0, 0, time.UTC)}, memory: memory.New(), desk: &desk{}, ping: &pinger{},
		limits: check.Limits{MaintenanceAge: -1},
	}
	w.store = faulty.New(w.memory)
	w.engine = &engine.Engine{
		Store: w.store, Repository: "memory:", Profiles: profile.NewRegistry(generic.Profile{}, selfMade{}), StateDir: filepath.Join(dir, "state"),
		Clock: w.clock, Progress: core.NoProgress{}, Log: slog.New(slog.DiscardHandler), Version: "test", Host: "testhost",
	}
	w.openState()
	for _, name := range apps {
		w.write(name, "data", 1000)
		w.apps = append(w.apps, operation.App{
			Name: name, Profile: generic.Name,
			Target: func() (engine.Target, error) {
				root := w.root(name)
				return engine.Target{
					Profile: generic.Name, Consistency: "online",
					App: profile.App{Name: name, Root: root, Files: []profile.Files{{Path: filepath.Join(root, "uploads")}}, Config: []string{filepath.Join(root, "app.ini")}},
				}, nil
			},
			Posts: func() []notify.Post { return []notify.Post{{Name: "desk", Destination: w.desk}} },
			Pings: func() []operation.Pinger { return []operation.Pinger{w.ping} },
		})
	}
	return w
}

func (w *world) openState() {
	w.Helper()
	db, err := state.Open(w.Context(), w.engine.StateDir, w.clock)
	if err != nil {
		w.Fatal(err)
	}
	w.state = db
	w.Cleanup(func() { _ = db.Close() }) // some tests close or damage it
}

// write gives an app a file of so many bytes.
func (w *world) write(app, name string, size int) {
	w.Helper()
	for p, text := range map[string]string{"uploads/" + name: strings.Repeat("x", size), "app.ini": "x=1"} {
		p = filepath.Join(w.root(app), p)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			w.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			w.Fatal(err)
		}
	}
}

// caretaker is that of a new process.
func (w *world) caretaker() *operation.Caretaker {
	return &operation.Caretaker{
		Engine: w.engine, State: w.state, Apps: w.apps, Limits: w.limits, Log: slog.New(slog.DiscardHandler), By: "tester",
		Posts: func() []notify.Post { return []notify.Post{{Name: "desk", Destination: w.desk}} },
	}
}

func (w *world) app(name string) *operation.App {
	return &w.apps[slices.IndexFunc(w.apps, func(a operation.App) bool { return a.Name == name })]
}

// try backs an app up, as an hour has passed, in a process of its own.
func (w *world) try(app string) (operation.Result, error) {
	w.clock.pass(time.Hour)
	return w.caretaker().Backup(w.Context(), *w.app(app), engine.BackupOptions{Trigger: "schedule"}, operation.Occasion{Trigger: "schedule", Schedule: "nightly"})
}

// backup is try, and must not fail.
func (w *world) backup(app string) operation.Result {
	w.Helper()
	r, err := w.try(app)
	if err != nil {
		w.Fatalf("%v (hint: %s)", err, core.HintOf(err))
	}
	return r
}

// fails has an app's backups fail, until the function that it returns is called.
func (w *world) fails(app string) (mend func()) {
	a := w.app(app)
	target := a.Target
	a.Target = func() (engine.Target, error) { return engine.Target{}, errGone }
	return func() { a.Target = target }
}

func (w *world) check(apps ...string) operation.Report {
	w.Helper()
	if len(apps) == 0 {
		apps = w.names()
	}
	r, err := w.caretaker().Check(w.Context(), apps, "schedule")
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func (w *world) names() (names []string) {
	for _, a := range w.apps {
		names = append(names, a.Name)
	}
	return names
}

// open are the matters of open alarms, in order.
func (w *world) open() []string {
	w.Helper()
	alarms, err := w.state.OpenAlarms(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	open := []string{}
	for _, a := range alarms {
		if a.Closed == nil {
			open = append(open, strings.TrimSpace(a.App+" "+string(a.Topic)))
		}
	}
	slices.Sort(open)
	return open
}

// alarming are the matters of problems that somebody must hear of, in order.
func alarming(problems []core.Problem) []string {
	matters := []string{}
	for _, p := range problems {
		if p.Level == core.LevelAlarm {
			matters = append(matters, strings.TrimSpace(p.App+" "+string(p.Topic)))
		}
	}
	slices.Sort(matters)
	return slices.Compact(matters)
}

// ids of an app's backups, oldest first, also those that cannot all be listed.
func (w *world) ids(app string) (ids []string) {
	w.Helper()
	records, err := w.memory.List(w.Context())
	if err != nil && core.CodeOf(err) != core.CodeDamage {
		w.Fatal(err)
	}
	for _, r := range records {
		if r.App == app {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

func (w *world) lastRun(app string) core.Run {
	w.Helper()
	runs, err := w.state.Runs(w.Context(), state.RunFilter{App: app, Kind: core.RunBackup, Limit: 1})
	if err != nil || len(runs) != 1 {
		w.Fatalf("runs of %s: %v %v", app, runs, err)
	}
	return runs[0]
}

func (w *world) same(what string, want, got any) {
	w.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// problemNames are the names of problems, in their order.
func problemNames(problems []core.Problem) []string {
	names := []string{}
	for _, p := range problems {
		names = append(names, p.Name)
	}
	return names
}

// onCommit calls do when a backup was committed, before its process goes on.
type onCommit struct {
	repository.Store
	do func()
}

func (s onCommit) Begin(ctx context.Context) (repository.Session, error) {
	session, err := s.Store.Begin(ctx)
	return committing{session, s.do}, err
}

type committing struct {
	repository.Session
	do func()
}

func (s committing) Commit(ctx context.Context, root core.Object, b core.Backup) (repository.Record, error) {
	rec, err := s.Session.Commit(ctx, root, b)
	if err == nil {
		s.do()
	}
	return rec, err
}

// onSpace calls do once as a look comes to its end.
type onSpace struct {
	repository.Store
	once *sync.Once
	do   func()
}

func (s onSpace) Space(ctx context.Context) (core.Space, error) {
	s.once.Do(s.do)
	return s.Store.Space(ctx)
}

// selfMade is a profile whose application says when it wants to be backed up:
// in the file schedule of its root, as hours and a count.
type selfMade struct{ generic.Profile }

func (selfMade) Name() string                { return "selfmade" }
func (selfMade) ScheduleNeedsDatabase() bool { return false }

func (selfMade) AppSchedule(ctx context.Context, _ profile.Querier, app profile.App) (profile.AppSchedule, error) {
	file := filepath.Join(app.Root, "schedule")
	own := profile.AppSchedule{Enabled: true, File: file, Source: "schedule"}
	text, err := os.ReadFile(file)
	if err != nil {
		return own, err
	}
	if string(text) == "hang" {
		<-ctx.Done()
		return own, ctx.Err()
	}
	hours, count, _ := strings.Cut(string(text), " ")
	if own.Count, err = strconv.Atoi(count); err != nil {
		own.Count, own.RetentionErr = 0, fmt.Errorf("read %s: %w", file, err)
	}
	if hours == "off" {
		own.Enabled = false
		return own, nil
	}
	n, err := strconv.Atoi(hours)
	if err != nil {
		return profile.AppSchedule{File: file, Count: own.Count, RetentionErr: own.RetentionErr}, fmt.Errorf("read %s: %w", file, err)
	}
	own.Every = time.Duration(n) * time.Hour
	return own, nil
}
