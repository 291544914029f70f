// Package enginetest holds an app, an engine and a repository for the tests of
// package engine and of those below it.
package enginetest

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/generic"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/memory"
)

// Later is an hour ahead, so that the file cache trusts files that a test has
// just written.
type Later struct{}

func (Later) Now() time.Time { return time.Now().Add(time.Hour) }

// App is an application with a database and files of the test's own.
type App struct {
	Root   string
	DB     string
	Target engine.Target
}

// NewApp makes one, which goes with the test.
func NewApp(t *testing.T) *App {
	t.Helper()
	a := &App{Root: t.TempDir(), DB: mysqltest.Database(t)}
	mysqltest.ExecIn(t, a.DB,
		"CREATE TABLE a (id INT PRIMARY KEY, v VARCHAR(40)) ENGINE=InnoDB", "CREATE TABLE b (id INT PRIMARY KEY, v VARCHAR(40)) ENGINE=InnoDB",
		"CREATE TABLE bag (v INT) ENGINE=InnoDB", "INSERT INTO a SELECT seq, SHA1(seq) FROM seq_1_to_100", "INSERT INTO b SELECT seq, SHA1(-seq) FROM seq_1_to_100",
		"INSERT INTO bag SELECT seq % 5 FROM seq_1_to_50", "CREATE VIEW v AS SELECT id FROM a")
	for name, text := range map[string]string{"uploads/a.txt": "first\n", "uploads/deep/b.txt": "second\n", "uploads/c.txt": "third\n", "app.ini": "x=1\n"} {
		a.Write(t, name, text)
	}
	if err := os.Symlink("a.txt", filepath.Join(a.Root, "uploads/link")); err != nil {
		t.Fatal(err)
	}
	return Existing(a.Root, a.DB, mysqltest.Config(t, a.DB))
}

// Existing is an app that NewApp made, of this process or another.
func Existing(root, db string, config mysql.Config) *App {
	return &App{Root: root, DB: db, Target: engine.Target{
		Profile: generic.Name, Consistency: "online", Connections: 2,
		App: profile.App{
			Name: "shop", Root: root, Database: profile.Database{Socket: config.Socket, User: config.User, Name: db},
			Files: []profile.Files{{Path: filepath.Join(root, "uploads")}}, Config: []string{filepath.Join(root, "app.ini")},
		},
	}}
}

// FilesOnly is the same app without its database, for tests that are about other
// things.
func (a *App) FilesOnly() engine.Target {
	t := a.Target
	t.App.Database = profile.Database{}
	return t
}

// Write puts a file into the app.
func (a *App) Write(t *testing.T, name, text string) {
	t.Helper()
	p := filepath.Join(a.Root, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// New returns an engine with a state folder of its own.
func New(t *testing.T, store repository.Store) *engine.Engine {
	t.Helper()
	return &engine.Engine{
		Store: store, Repository: "memory:" + t.Name(), Profiles: profile.NewRegistry(generic.Profile{}), StateDir: t.TempDir(),
		Clock: Later{}, Progress: core.NoProgress{}, Log: slog.New(slog.DiscardHandler), Version: "test", Host: "testhost",
	}
}

// Backup backs the target up, whole and without warnings.
func Backup(t *testing.T, e *engine.Engine, target engine.Target) core.Backup {
	t.Helper()
	b, err := e.Backup(t.Context(), target, engine.BackupOptions{Trigger: "manual"})
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, core.HintOf(err))
	}
	if len(b.Warnings) > 0 {
		t.Fatalf("warnings: %v", b.Warnings)
	}
	return b
}

// Find returns the backup that ref names.
func Find(t *testing.T, e *engine.Engine, ref string) repository.Record {
	t.Helper()
	rec, err := e.Find(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// Whole reads a backup back.
func Whole(t *testing.T, e *engine.Engine, id string) *engine.Verified {
	t.Helper()
	v, err := e.Verify(t.Context(), Find(t, e, id))
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Damaged) > 0 {
		t.Fatalf("backup %s is damaged: %+v", id, v.Damaged)
	}
	return v
}

// Listed returns the ids of all backups.
func Listed(t *testing.T, e *engine.Engine) (ids []string) {
	t.Helper()
	records, err := e.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		ids = append(ids, r.ID)
	}
	return ids
}

// WantError checks an error's code and text, and that it says what to do.
func WantError(t *testing.T, err error, code core.Code, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if got := core.CodeOf(err); got != code {
		t.Errorf("code %s, want %s: %v", got, code, err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error()+"\n"+core.HintOf(err), part) {
			t.Errorf("%q (hint %q) has no %q", err, core.HintOf(err), part)
		}
	}
}

// Tamper is a change to a backup's tree: of the file at a path, what it gets
// is stored, nil removes it; more adds files.
type Tamper struct {
	Change func(p string, data []byte) []byte
	More   map[string]string
	Record func(*core.Backup)
}

// Tampered copies a backup with its id into a new repository, changed.
func Tampered(t *testing.T, from repository.Store, rec repository.Record, how Tamper) *memory.Store {
	t.Helper()
	to := memory.New()
	s, err := to.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort()
	root := copyDir(t, from, s, rec.Root.ID, "", how)
	if how.Record != nil {
		how.Record(&rec.Backup)
	}
	if _, err := s.Commit(t.Context(), root, rec.Backup); err != nil {
		t.Fatal(err)
	}
	return to
}

func copyDir(t *testing.T, from core.TreeReader, to core.TreeWriter, dir core.ObjectID, at string, how Tamper) core.Object {
	t.Helper()
	entries, err := from.ReadDir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []core.Entry
	for _, e := range entries {
		p := path.Join(at, e.Name)
		if e.Type == core.TypeDir {
			e.Object = copyDir(t, from, to, e.Object.ID, p, how)
			out = append(out, e)
			continue
		}
		data := Read(t, from, e.Object.ID)
		if how.Change != nil {
			data = how.Change(p, data)
		}
		if data != nil {
			e.Object = Object(t, to, data)
			out = append(out, e)
		}
	}
	for p, text := range how.More {
		if path.Dir(p) == at || path.Dir(p) == "." && at == "" {
			out = append(out, core.Entry{Name: path.Base(p), Type: core.TypeFile, Mode: 0o600, Object: Object(t, to, []byte(text))})
		}
	}
	obj, err := to.WriteDir(t.Context(), out)
	if err != nil {
		t.Fatal(err)
	}
	return obj
}

// Read returns an object.
func Read(t *testing.T, from core.TreeReader, id core.ObjectID) []byte {
	t.Helper()
	r, err := from.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	if data == nil {
		data = []byte{}
	}
	return data
}

// Object stores an object.
func Object(t *testing.T, to core.TreeWriter, data []byte) core.Object {
	t.Helper()
	f, err := to.Create(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(data)
	obj, ferr := f.Finish()
	if err := errors.Join(err, ferr, f.Close()); err != nil {
		t.Fatal(err)
	}
	return obj
}

// PathsOf lists the files of a backup.
func PathsOf(t *testing.T, from core.TreeReader, rec repository.Record) map[string]core.Entry {
	t.Helper()
	out := map[string]core.Entry{}
	var walk func(id core.ObjectID, at string)
	walk = func(id core.ObjectID, at string) {
		entries, err := from.ReadDir(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			p := path.Join(at, e.Name)
			out[p] = e
			if e.Type == core.TypeDir {
				walk(e.Object.ID, p)
			}
		}
	}
	walk(rec.Root.ID, "")
	return out
}

// State is all that there is of the app now, without what a restore keeps
// beside it.
func (a *App) State(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for name, sum := range mysqltest.Checksum(t, a.DB) {
		out["table "+name] = sum
	}
	for name, text := range mysqltest.ShowCreate(t, a.DB) {
		out[name] = text
	}
	maps.DeleteFunc(out, func(name, _ string) bool { return strings.Contains(name, " _backstay_") })
	err := filepath.WalkDir(a.Root, func(p string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(p)
		out["file "+p] = fmt.Sprintf("%s %s %q", info.Mode(), info.ModTime(), data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
