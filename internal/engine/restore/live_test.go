package restore_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/engine/journal"
	"github.com/backstay/backstay/internal/engine/restore"
	"github.com/backstay/backstay/internal/engine/switchover"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/repository/memory"
)

// damage changes the app after its backup, in every way that there is. It may
// run in a process that the tests' server is not of.
func damage(t *testing.T, a *enginetest.App) {
	t.Helper()
	d := a.Target.App.Database
	c, err := mysql.Connect(t.Context(), mysql.Config{Socket: d.Socket, User: d.User, Database: d.Name})
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"DELETE FROM a WHERE id > 10", "ALTER TABLE b ADD COLUMN late INT", "DROP TABLE bag",
		"CREATE OR REPLACE VIEW v AS SELECT 1 AS one", "CREATE TABLE extra (id INT PRIMARY KEY)", "INSERT INTO extra VALUES (7)",
	} {
		if _, err := c.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	a.Write(t, "uploads/a.txt", "changed\n")
	a.Write(t, "uploads/extra.txt", "since then\n")
	a.Write(t, "app.ini", "x=2\n")
	if err := os.RemoveAll(filepath.Join(a.Root, "uploads/deep")); err != nil {
		t.Fatal(err)
	}
}

// withoutExtras is a state without what damage added and a restore leaves.
func withoutExtras(a *enginetest.App, state map[string]string) map[string]string {
	delete(state, "table extra")
	delete(state, "file "+filepath.Join(a.Root, "uploads/extra.txt"))
	return state
}

func request(t *testing.T, e *engine.Engine, a *enginetest.App) restore.Request {
	t.Helper()
	return restore.Request{Target: a.Target, Record: enginetest.Find(t, e, "shop@latest"), Keep: time.Hour}
}

func run(t *testing.T, e *engine.Engine, req restore.Request) *restore.Restored {
	t.Helper()
	r, err := restore.Make(t.Context(), e, req)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, core.HintOf(err))
	}
	done, err := r.Run(t.Context())
	if err != nil {
		t.Fatalf("%v (hint: %s)\n%s", err, core.HintOf(err), said(r))
	}
	return done
}

func earlier(t *testing.T, e *engine.Engine, a *enginetest.App) *switchover.Earlier {
	t.Helper()
	r, err := switchover.FindEarlier(t.Context(), e, a.Target, nil, false)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, core.HintOf(err))
	}
	return r
}

// nothingLeft checks that nothing of backstay's lies in the app or its database.
func nothingLeft(t *testing.T, a *enginetest.App) {
	t.Helper()
	for _, dir := range []string{a.Root, filepath.Dir(a.Root)} {
		found, err := filepath.Glob(filepath.Join(dir, ".backstay*"))
		if err != nil || len(found) > 0 {
			t.Errorf("left in the file system: %v %v", found, err)
		}
	}
	rows := mysqltest.Query(t, "", "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES WHERE (TABLE_SCHEMA LIKE '"+a.DB+"%' AND TABLE_SCHEMA <> '"+a.DB+"') OR (TABLE_SCHEMA='"+a.DB+"' AND TABLE_NAME LIKE '%backstay%')")
	if len(rows) > 0 {
		t.Errorf("left on the server: %v", rows)
	}
}

// TestRestoreAndUndo: a restore brings all back and leaves what the backup does
// not have; undo makes the app exactly what it was before; what is kept goes
// when it is dropped.
func TestRestoreAndUndo(t *testing.T) {
	t.Parallel()
	a, e := enginetest.NewApp(t), enginetest.New(t, memory.New())
	whole := a.State(t)
	enginetest.Backup(t, e, a.Target)
	damage(t, a)
	damaged := a.State(t)
	done := run(t, e, request(t, e, a))
	if diff := cmp.Diff(whole, withoutExtras(a, a.State(t))); diff != "" {
		t.Errorf("not what was backed up (-want +got):\n%s", diff)
	}
	if rows := mysqltest.Query(t, a.DB, "SELECT id FROM extra"); len(rows) != 1 {
		t.Error("the extra table is gone")
	}
	if done.Safety == "" || done.KeptTill == nil || done.KeptBytes <= 0 {
		t.Errorf("restored: %+v", done)
	}
	enginetest.Whole(t, e, done.Safety)
	if _, err := earlier(t, e, a).Undo(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(damaged, a.State(t)); diff != "" {
		t.Errorf("undo did not bring back what was (-want +got):\n%s", diff)
	}
	_, err := earlier(t, e, a).Undo(t.Context())
	enginetest.WantError(t, err, core.CodeNotFound, "undone already", "--drop")
	if _, err := earlier(t, e, a).Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(damaged, a.State(t)); diff != "" {
		t.Errorf("dropping what is kept changed the app:\n%s", diff)
	}
	nothingLeft(t, a)
	_, err = switchover.FindEarlier(t.Context(), e, a.Target, nil, false)
	enginetest.WantError(t, err, core.CodeNotFound, "no restore of it is kept", "backstay list shop")
}

// TestClean: what the backup does not have is taken away, and undo brings it
// back.
func TestClean(t *testing.T) {
	t.Parallel()
	a, e := enginetest.NewApp(t), enginetest.New(t, memory.New())
	whole := a.State(t)
	enginetest.Backup(t, e, a.Target)
	damage(t, a)
	damaged := a.State(t)
	req := request(t, e, a)
	req.Clean = true
	run(t, e, req)
	if diff := cmp.Diff(whole, a.State(t)); diff != "" {
		t.Errorf("not what was backed up (-want +got):\n%s", diff)
	}
	if _, err := earlier(t, e, a).Undo(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(damaged, a.State(t)); diff != "" {
		t.Errorf("undo did not bring back what was (-want +got):\n%s", diff)
	}
}

// TestNothingKept: with keep 0 the way back is closed at once.
func TestNothingKept(t *testing.T) {
	t.Parallel()
	a, e := enginetest.NewApp(t), enginetest.New(t, memory.New())
	enginetest.Backup(t, e, a.Target)
	damage(t, a)
	req := request(t, e, a)
	req.Keep, req.NoSafetyBackup = 0, true
	if done := run(t, e, req); done.KeptTill != nil || done.Safety != "" {
		t.Errorf("restored: %+v", done)
	}
	nothingLeft(t, a)
}

// TestEarlierRestoreIsDropped: there is one way back, and what is kept for
// longer than was asked for goes.
func TestEarlierRestoreIsDropped(t *testing.T) {
	t.Parallel()
	a, e := enginetest.NewApp(t), enginetest.New(t, memory.New())
	enginetest.Backup(t, e, a.Target)
	req := request(t, e, a)
	damage(t, a)
	run(t, e, req)
	whole := a.State(t)
	mysqltest.ExecIn(t, a.DB, "DELETE FROM a")
	second := a.State(t)
	run(t, e, req)
	all, err := journal.All(e.StateDir, "shop")
	if err != nil || len(all) != 1 {
		t.Fatalf("%d runs are kept, %v", len(all), err)
	}
	if diff := cmp.Diff(whole, a.State(t)); diff != "" {
		t.Errorf("the second restore differs from the first:\n%s", diff)
	}
	if _, err := earlier(t, e, a).Undo(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(second, a.State(t)); diff != "" {
		t.Errorf("undo (-want +got):\n%s", diff)
	}
	run(t, e, req)
	if dropped, err := switchover.DropExpired(t.Context(), e, a.Target); dropped || err != nil {
		t.Fatalf("dropped %v before its time, %v", dropped, err)
	}
	all[0], err = journal.Newest(e.StateDir, "shop")
	if err != nil {
		t.Fatal(err)
	}
	all[0].KeepTill = e.Clock.Now().Add(-time.Second)
	if err := all[0].Save(); err != nil {
		t.Fatal(err)
	}
	if dropped, err := switchover.DropExpired(t.Context(), e, a.Target); !dropped || err != nil {
		t.Fatalf("dropped %v after its time, %v", dropped, err)
	}
	nothingLeft(t, a)
}

// TestLockedTable: a table that somebody holds ends the restore with the live
// app as it was.
func TestLockedTable(t *testing.T) {
	t.Parallel()
	a, e := enginetest.NewApp(t), enginetest.New(t, memory.New())
	enginetest.Backup(t, e, a.Target)
	damage(t, a)
	damaged := a.State(t)
	req := request(t, e, a)
	req.NoSafetyBackup = true
	r, err := restore.Make(t.Context(), e, req)
	if err != nil {
		t.Fatal(err)
	}
	holder, err := mysql.Connect(t.Context(), mysqltest.Config(t, a.DB))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holder.Exec(t.Context(), "LOCK TABLES a WRITE"); err != nil {
		t.Fatal(err)
	}
	_, err = r.Run(t.Context())
	if cerr := holder.Close(); cerr != nil {
		t.Fatal(cerr)
	}
	enginetest.WantError(t, err, core.CodeOf(err), "the live app is wholly as it was", "a")
	if diff := cmp.Diff(damaged, a.State(t)); diff != "" {
		t.Errorf("the live app changed:\n%s", diff)
	}
	nothingLeft(t, a)
	run(t, e, req)
}

// killer is a progress that kills the process when it hears of a step.
type killer struct {
	at string
	core.NoProgress
}

func (k killer) Stage(name string, _ int64) { k.Item(name) }

func (k killer) Item(name string) {
	if name == k.at {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

// child is a process that restores an app and is killed.
const child = "BACKSTAY_TEST_CHILD"

// TestKilledHere is run by TestKilledRestore in a process of its own.
func TestKilledHere(t *testing.T) {
	settings := strings.Split(os.Getenv(child), "\n")
	if len(settings) != 6 {
		t.Skip("it is for TestKilledRestore")
	}
	at, root, db, socket, user, state := settings[0], settings[1], settings[2], settings[3], settings[4], settings[5]
	a := enginetest.Existing(root, db, mysql.Config{Socket: socket, User: user})
	e := enginetest.New(t, memory.New())
	e.StateDir = state
	enginetest.Backup(t, e, a.Target)
	damage(t, a)
	r, err := restore.Make(t.Context(), e, request(t, e, a))
	if err != nil {
		t.Fatal(err)
	}
	e.Progress = killer{at: at}
	if _, err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Fatalf("nothing is called %q", at)
}

// TestKilledRestore kills a restore at every step. The app is then wholly old,
// or its state is known and both ways out of it lead to the end.
func TestKilledRestore(t *testing.T) {
	t.Parallel()
	if os.Getenv(child) != "" {
		t.Skip("it is the child")
	}
	for _, at := range []string{
		"compare and build config", "compare and build files", "load and verify database", "backup shop", "keep users out", "users are out",
		"database", "config", "files", "prove", "finish", "users are in", "look",
	} {
		for _, way := range []string{"resume", "undo"} {
			t.Run(at+"/"+way, func(t *testing.T) {
				t.Parallel()
				a, e := enginetest.NewApp(t), enginetest.New(t, memory.New())
				whole := a.State(t)
				config := mysqltest.Config(t, a.DB)
				cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledHere$")
				cmd.Env = append(os.Environ(), child+"="+strings.Join([]string{at, a.Root, a.DB, config.Socket, config.User, e.StateDir}, "\n"))
				var out bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &out
				err := cmd.Run()
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != -1 {
					t.Fatalf("%v: %s", err, out.String())
				}
				judge(t, e, a, whole, way)
			})
		}
	}
}

// judge finishes what was killed one way or the other and looks at the app.
func judge(t *testing.T, e *engine.Engine, a *enginetest.App, whole map[string]string, way string) {
	t.Helper()
	r := earlier(t, e, a)
	began, was := r.Journal.Phase, a.State(t)
	_, err := e.Backup(t.Context(), a.Target, engine.BackupOptions{Trigger: "test"})
	if r.Journal.Unsettled() {
		enginetest.WantError(t, err, core.CodeUnfinished, "backstay restore --resume shop", "backstay undo shop")
	} else if err != nil {
		t.Error(err)
	}
	do := map[string]func() (*switchover.Outcome, error){
		"resume": func() (*switchover.Outcome, error) { return r.Resume(t.Context()) },
		"undo":   func() (*switchover.Outcome, error) { return r.Undo(t.Context()) },
	}[way]
	done, err := do()
	if err != nil {
		t.Fatalf("%s from %s: %v (hint: %s)", way, began, err, core.HintOf(err))
	}
	now := a.State(t)
	switch {
	case began == journal.Building:
		if diff := cmp.Diff(was, now); diff != "" || done.Run != "" {
			t.Errorf("removing what was built changed the app (run %q):\n%s", done.Run, diff)
		}
		nothingLeft(t, a)
	case way == "resume":
		if diff := cmp.Diff(whole, withoutExtras(a, now)); diff != "" {
			t.Errorf("from %s, not what was backed up (-want +got):\n%s", began, diff)
		}
	default:
		if now["table extra"] == "" || strings.Contains(fmt.Sprint(now), "first") || !slices.Contains(slicesOf(now), "table b") {
			t.Errorf("from %s, not the app as it was: %v", began, now)
		}
	}
	if _, err := e.Backup(t.Context(), a.Target, engine.BackupOptions{Trigger: "test"}); err != nil {
		t.Errorf("the app cannot be backed up: %v", err)
	}
	if done.Run == "" {
		return
	}
	// What was kept of it goes with the next restore, and leaves nothing.
	again := request(t, e, a)
	again.Keep = 0
	if done := run(t, e, again); len(done.Warnings) > 0 {
		t.Errorf("the next restore: %v", done.Warnings)
	}
	nothingLeft(t, a)
}

func slicesOf(m map[string]string) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}

// TestStateFolderLost: tables of a restore that nobody knows of any more are
// named, and can be removed.
func TestStateFolderLost(t *testing.T) {
	t.Parallel()
	a, e := enginetest.NewApp(t), enginetest.New(t, memory.New())
	enginetest.Backup(t, e, a.Target)
	damage(t, a)
	whole := run(t, e, request(t, e, a))
	now := a.State(t)
	e.StateDir = t.TempDir()
	r, err := restore.Make(t.Context(), e, request(t, e, a))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said(r), whole.Run) || !strings.Contains(said(r), "backstay undo shop --drop") {
		t.Errorf("the plan does not name them:\n%s", said(r))
	}
	u, err := switchover.FindUnknown(t.Context(), e, a.Target, a.Target.Profile)
	if err != nil || len(u.Runs) != 1 || u.Runs[0] != whole.Run {
		t.Fatalf("%+v, %v", u, err)
	}
	if err := u.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if u, err = switchover.FindUnknown(t.Context(), e, a.Target, a.Target.Profile); err != nil || len(u.Runs) > 0 {
		t.Errorf("%+v, %v", u, err)
	}
	if diff := cmp.Diff(now, a.State(t)); diff != "" {
		t.Errorf("it changed the app:\n%s", diff)
	}
}
