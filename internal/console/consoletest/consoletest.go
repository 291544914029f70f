// Package consoletest holds a filled console for the tests of package console
// and of those that serve it: two apps with backups in a repository in memory,
// records, and a launcher that starts nothing. What has to be real - processes,
// databases, restores - is tested in test/browser and test/api.
package consoletest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/generic"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/memory"
	"github.com/backstay/backstay/internal/state"
)

// Clock is a clock that only Pass moves.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Pass moves the clock on.
func (c *Clock) Pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// World is a console with what it works on.
type World struct {
	Console  *console.Console
	Clock    *Clock
	State    *state.DB
	Store    *memory.Store
	Engine   *engine.Engine
	StateDir string
	Root     string // of the app helpdesk
	Config   *config.Config
	Launcher *Launcher
}

// Uploads are the files of the app helpdesk's first backup, by path below files/.
func Uploads() map[string]string {
	return map[string]string{
		"uploads/a.txt": "first\n", "uploads/deep/b.txt": "second\n", "uploads/c <b>&.txt": "third\n", "uploads/ünï code.pdf": strings.Repeat("x", 70_000),
	}
}

const configText = `# helpdesk of the test
repository:
  url: file://%[1]s/repository
  password_file: %[1]s/key
state_dir: %[1]s/state
apps:
  - name: helpdesk
    profile: generic
    root: %[1]s/helpdesk
    files:
      - {path: %[1]s/helpdesk/uploads}
    schedule: {time: "02:00"}   # at night
    retention: {daily: 7, weekly: 4}
  - name: wiki
    profile: generic
    root: %[1]s/wiki
    files:
      - {path: %[1]s/wiki/images}
`

// New makes a console with the apps helpdesk, which has three backups, and wiki,
// which has none, at noon of 23 November 2026.
func New(t *testing.T) *World {
	t.Helper()
	dir := t.TempDir()
	w := &World{
		Clock: &Clock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}, Store: memory.New(), StateDir: filepath.Join(dir, "state"), Root: filepath.Join(dir, "helpdesk"),
	}
	for _, d := range []string{w.StateDir, filepath.Join(w.Root, "uploads"), filepath.Join(dir, "wiki/images")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("key-of-the-test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "backstay.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, configText, dir), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.Config, err = config.Load(path); err != nil {
		t.Fatal(err)
	}
	if w.State, err = state.Open(t.Context(), w.StateDir, w.Clock); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	w.Engine = &engine.Engine{
		Store: w.Store, Repository: w.Config.Repository.URL, Profiles: profile.NewRegistry(generic.Profile{}), StateDir: w.StateDir, Clock: w.Clock,
		Progress: core.NoProgress{}, Log: log, Version: "test", Host: "testhost",
	}
	w.Launcher = &Launcher{world: w}
	w.Console = console.New(console.Options{
		StateDir: w.StateDir, ConfigPath: path, Config: func() *config.Config { return w.Config }, State: func(context.Context) *state.DB { return w.State },
		Open: func(context.Context) (console.Repository, error) { return &opened{w, w.Engine}, nil },
		Without: func(reason error) (console.Repository, error) {
			e := *w.Engine
			e.Store = repository.Unusable(reason)
			return &opened{w, &e}, nil
		},
		Launcher: w.Launcher, Clock: w.Clock, Log: log, Version: "test",
	})
	t.Cleanup(func() {
		w.Console.Close()
		if err := w.State.Close(); err != nil {
			t.Error(err)
		}
	})
	for day := 3; day > 0; day-- {
		files := Uploads()
		if day < 3 {
			files["uploads/day.txt"] = fmt.Sprintf("day %d\n", day)
		}
		w.AddBackup(t, "helpdesk", time.Duration(day)*24*time.Hour-10*time.Hour, files, Tables(6-day))
	}
	return w
}

// Tables makes so many tables.
func Tables(n int) []core.Table {
	var out []core.Table
	for i := range n {
		out = append(out, core.Table{Name: fmt.Sprintf("table_%03d", i), Engine: "InnoDB", Schema: fmt.Sprintf("database/schema/table_%03d.sql", i), Rows: int64(i * 100), Bytes: int64(i * 12_345), Checksum: fmt.Sprintf("%032x", i)})
	}
	return out
}

// AddBackup commits a backup of an app, made so long ago, with these files below
// files/ and these tables, and returns its id.
func (w *World) AddBackup(t *testing.T, app string, ago time.Duration, files map[string]string, tables []core.Table) string {
	t.Helper()
	ctx := t.Context()
	s, err := w.Store.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort()
	at := w.Clock.Now().Add(-ago)
	index := core.DatabaseIndex{Tables: tables, Objects: []core.SchemaObject{}}
	text, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	m := core.Manifest{
		Schema: core.ManifestSchema, ID: engine.NewID(), App: app, Profile: "generic", Host: "testhost", Root: w.Root, Time: at, Started: at, Trigger: "schedule", BackstayVersion: "test",
		Versions: map[string]string{"application": "helpdesk 1.2"}, Components: []core.Component{core.ComponentDatabase, core.ComponentFiles},
		Consistency: core.Consistency{Mode: "online", Method: "table-locks", Connections: 4, FreezeMS: 7},
		Database:    &core.Database{Name: app, Server: core.DatabaseServer{Vendor: "mariadb", Version: "10.11.6"}, Index: "database/index.json", Checksum: hex.EncodeToString(sum[:]), Tables: len(tables)},
		Owners:      core.Owners{Users: map[string]string{"33": "www-data"}, Groups: map[string]string{"33": "www-data"}},
	}
	for _, table := range tables {
		m.Database.Rows += table.Rows
		m.Database.Bytes += table.Bytes
	}
	tree := core.Tree{Component: core.ComponentFiles}
	for _, text := range files {
		tree.Files++
		tree.Bytes += int64(len(text))
	}
	m.Trees = []core.Tree{tree}
	parts := map[string]string{"index.json": string(text)}
	for _, table := range tables {
		parts[strings.TrimPrefix(table.Schema, "database/")] = "CREATE TABLE `" + table.Name + "` (id INT)"
	}
	database := w.write(t, s, at, parts)
	stored := w.write(t, s, at, files)
	rec, err := w.Engine.Commit(ctx, s, m, []core.Entry{
		{Name: "database", Type: core.TypeDir, Mode: 0o700, ModTime: at, Object: database}, {Name: "files", Type: core.TypeDir, Mode: 0o755, ModTime: at, Object: stored, Files: tree.Files},
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	return rec.ID
}

// write stores a tree, whose folders are those that the paths name.
func (w *World) write(t *testing.T, to core.TreeWriter, at time.Time, files map[string]string) core.Object {
	t.Helper()
	below := map[string]map[string]string{}
	var entries []core.Entry
	for p, text := range files {
		if dir, rest, deeper := strings.Cut(p, "/"); deeper {
			if below[dir] == nil {
				below[dir] = map[string]string{}
			}
			below[dir][rest] = text
			continue
		}
		f, err := to.Create(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		object, err := f.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, core.Entry{Name: p, Type: core.TypeFile, Mode: 0o640, UID: 33, GID: 33, ModTime: at, Object: object})
	}
	for name, files := range below {
		entries = append(entries, core.Entry{Name: name, Type: core.TypeDir, Mode: 0o755, UID: 33, GID: 33, ModTime: at, Object: w.write(t, to, at, files), Files: int64(len(files))})
	}
	slices.SortFunc(entries, func(a, b core.Entry) int { return strings.Compare(a.Name, b.Name) })
	object, err := to.WriteDir(t.Context(), entries)
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// opened is the repository of a World.
type opened struct {
	w *World
	e *engine.Engine
}

func (o *opened) Engine() *engine.Engine { return o.e }

func (o *opened) Caretaker(context.Context) *operation.Caretaker {
	c := &operation.Caretaker{Engine: o.e, State: o.w.State, Log: o.e.Log, By: "tester"}
	for i := range o.w.Config.Apps {
		a := &o.w.Config.Apps[i]
		c.Apps = append(c.Apps, operation.App{
			Name: a.Name, Profile: a.Profile, Schedules: a.Schedules, Retention: a.Retention, Limits: a.Check,
			Target: func() (engine.Target, error) {
				t := engine.Target{Profile: a.Profile, Consistency: a.Consistency, App: profile.App{Name: a.Name, Root: a.Root}}
				for _, f := range a.Files {
					t.App.Files = append(t.App.Files, profile.Files(f))
				}
				return t, nil
			},
		})
	}
	return c
}

func (o *opened) Close(context.Context) error { return nil }

var _ console.Launcher = (*Launcher)(nil)

// Launcher records what is to be run and runs nothing.
type Launcher struct {
	world *World

	mu        sync.Mutex // guards what follows
	launched  []console.Launch
	cancelled []int64
	fail      error
}

// Launch implements console.Launcher.
func (l *Launcher) Launch(ctx context.Context, launch console.Launch) (int64, error) {
	l.mu.Lock()
	fail := l.fail
	l.mu.Unlock()
	if fail != nil {
		return 0, fail
	}
	run, err := l.world.State.BeginRun(ctx, core.Run{App: launch.App, Kind: launch.Kind, Trigger: "manual", Started: l.world.Clock.Now(), Backup: launch.Backup, By: launch.By})
	if err != nil {
		return 0, err
	}
	if launch.Prepare != nil {
		more, err := launch.Prepare(run)
		if err != nil {
			return 0, err
		}
		launch.Args = append(launch.Args, more...)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.launched = append(l.launched, launch)
	return run, nil
}

// Cancel implements console.Launcher.
func (l *Launcher) Cancel(_ context.Context, run int64, _ string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cancelled = append(l.cancelled, run)
	return nil
}

// Launched returns what was to be run.
func (l *Launcher) Launched() []console.Launch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.launched)
}

// Cancelled returns the runs that were to be cancelled.
func (l *Launcher) Cancelled() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.cancelled)
}

// Fail has the next launches fail.
func (l *Launcher) Fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

// Finish ends a run: outcome is how, result what its command printed, "" for nothing.
func (w *World) Finish(t *testing.T, run int64, outcome core.Outcome, message, hint, result string) {
	t.Helper()
	r, err := w.State.Run(t.Context(), run)
	if err != nil || r == nil {
		t.Fatalf("run %d: %v, %v", run, r, err)
	}
	now := w.Clock.Now()
	r.Outcome, r.Message, r.Hint, r.Finished = outcome, message, hint, &now
	if outcome == core.OutcomeFailed {
		r.Code = core.CodeFailed
	}
	if result != "" {
		folder := filepath.Join(w.StateDir, "console", "results")
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%d.json", run)), []byte(result), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.State.FinishRun(t.Context(), *r); err != nil {
		t.Fatal(err)
	}
}
