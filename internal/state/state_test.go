package state

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
)

// TestMain lets the test program be the other process in tests that need one.
func TestMain(m *testing.M) {
	if role := os.Getenv("BACKSTAY_STATE_TEST_ROLE"); role != "" {
		os.Exit(beOther(role))
	}
	os.Exit(m.Run())
}

// hand is a clock that tests move.
type hand struct{ now time.Time }

func (h *hand) Now() time.Time { return h.now }

func newHand() *hand { return &hand{time.Date(2026, 11, 23, 8, 30, 0, 123456789, time.UTC)} }

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
}

func open(t *testing.T, dir string, clock core.Clock) *DB {
	t.Helper()
	db, err := Open(t.Context(), dir, clock)
	ok(t, err)
	t.Cleanup(func() { ok(t, db.Close()) })
	return db
}

// raw opens the database as a stranger would.
func raw(t *testing.T, dir string) *sql.DB {
	t.Helper()
	pool, err := openPool(filepath.Join(dir, FileName), busyTimeout)
	ok(t, err)
	t.Cleanup(func() { ok(t, pool.Close()) })
	return pool
}

func backup(app string, started time.Time) core.Run {
	return core.Run{App: app, Kind: core.RunBackup, Trigger: "schedule", Started: started, By: "root"}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	ok(t, err)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestOpenMakesPrivateFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "var", "backstay")
	db := open(t, dir, newHand())
	ok(t, db.SetValue(t.Context(), "x", 1))
	info, err := os.Stat(dir)
	ok(t, err)
	same(t, os.FileMode(0o700), info.Mode().Perm())
	same(t, []string{FileName, FileName + "-shm", FileName + "-wal", FileName + ".lock"}, names(t, dir))
	for _, name := range names(t, dir) {
		info, err := os.Stat(filepath.Join(dir, name))
		ok(t, err)
		same(t, os.FileMode(0o600), info.Mode().Perm())
	}
	ok(t, db.Close())
	same(t, []string{FileName, FileName + ".lock"}, names(t, dir))
}

func TestOpenKeepsTheFoldersMode(t *testing.T) {
	dir := t.TempDir()
	ok(t, os.Chmod(dir, 0o750))
	open(t, dir, newHand())
	info, err := os.Stat(dir)
	ok(t, err)
	same(t, os.FileMode(0o750), info.Mode().Perm())
}

func TestOpenNarrowsTheFile(t *testing.T) {
	dir := t.TempDir()
	ok(t, open(t, dir, newHand()).Close())
	ok(t, os.Chmod(filepath.Join(dir, FileName), 0o664))
	open(t, dir, newHand())
	info, err := os.Stat(filepath.Join(dir, FileName))
	ok(t, err)
	same(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestFolderWithHostileName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "50% of #1? mode=memory&é")
	db := open(t, dir, newHand())
	ok(t, db.SetValue(t.Context(), "x", 1))
	if _, err := os.Stat(filepath.Join(dir, FileName)); err != nil {
		t.Fatal(err)
	}
}

func TestSettings(t *testing.T) {
	db := open(t, t.TempDir(), newHand())
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "busy_timeout": "5000", "user_version": "1", "application_id": "1651733625"} {
		var got string
		ok(t, db.pool.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got))
		if got != want {
			t.Errorf("%s is %s, want %s", pragma, got, want)
		}
	}
}

func TestNewerVersionIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, newHand())
	_, err := db.BeginRun(t.Context(), backup("wiki", newHand().now))
	ok(t, err)
	ok(t, db.Close())
	pool := raw(t, dir)
	_, err = pool.ExecContext(t.Context(), "PRAGMA user_version = 99")
	ok(t, err)
	_, err = Open(t.Context(), dir, newHand())
	if core.CodeOf(err) != core.CodeUnsupported || !strings.Contains(err.Error(), "in form 99; this one knows 1") || core.HintOf(err) == "" {
		t.Fatalf("%v (%s)", err, core.CodeOf(err))
	}
	var n int
	ok(t, pool.QueryRowContext(t.Context(), "SELECT count(*) FROM runs").Scan(&n))
	same(t, 1, n)
	if strings.Contains(strings.Join(names(t, dir), " "), "damaged") {
		t.Error("it was put aside")
	}
}

func TestForeignDatabaseIsPutAside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	ok(t, os.WriteFile(path, nil, 0o600))
	pool := raw(t, dir)
	_, err := pool.ExecContext(t.Context(), "CREATE TABLE theirs (x); INSERT INTO theirs VALUES (42)")
	ok(t, err)
	ok(t, pool.Close())
	db := open(t, dir, newHand())
	if db.Replaced() == "" || !strings.Contains(db.Warnings()[0].Message, "no state database of backstay") {
		t.Fatalf("%v", db.Warnings())
	}
	theirs, err := openPool(db.Replaced(), busyTimeout)
	ok(t, err)
	defer theirs.Close()
	var x int
	ok(t, theirs.QueryRowContext(t.Context(), "SELECT x FROM theirs").Scan(&x))
	same(t, 42, x)
}

func TestWithoutAndClosedAndNil(t *testing.T) {
	reason := &core.Error{Code: core.CodeLocked, Op: opOpen, Message: "held", Hint: "wait"}
	closed := open(t, t.TempDir(), newHand())
	ok(t, closed.Close())
	ok(t, closed.Close())
	var none *DB
	for name, tt := range map[string]struct {
		db   *DB
		want error
	}{"without": {Without(reason), reason}, "closed": {closed, errClosed}, "nil": {none, errNone}} {
		t.Run(name, func(t *testing.T) {
			ctx, db := t.Context(), tt.db
			done := newHand().now
			r := core.Run{Outcome: core.OutcomeOK, Finished: &done}
			errs := map[string]error{"FinishRun": db.FinishRun(ctx, r), "SaveAlarm": db.SaveAlarm(ctx, &core.Alarm{}), "Audit": db.Audit(ctx, core.Audited{}),
				"SaveFacts": db.SaveFacts(ctx), "SetValue": db.SetValue(ctx, "x", 1), "SetDefault": db.SetDefault(ctx, "x", 1), "DeleteValue": db.DeleteValue(ctx, "x"),
				"AddSpace": db.AddSpace(ctx, "", core.Space{}), "Trim": db.Trim(ctx, done)}
			_, errs["BeginRun"] = db.BeginRun(ctx, r)
			_, errs["AddRun"] = db.AddRun(ctx, r)
			_, errs["AbandonRun"] = db.AbandonRun(ctx, 1, core.OutcomeFailed, "", "")
			_, errs["Sweep"] = db.Sweep(ctx)
			_, errs["Runs"] = db.Runs(ctx, RunFilter{})
			_, errs["LastRun"] = db.LastRun(ctx, "a", "b")
			_, errs["OpenAlarms"] = db.OpenAlarms(ctx)
			_, errs["Alarms"] = db.Alarms(ctx, 1)
			_, errs["AuditLog"] = db.AuditLog(ctx, AuditFilter{})
			_, errs["VerifyAudit"] = db.VerifyAudit(ctx)
			_, errs["Facts"] = db.Facts(ctx, "a")
			_, errs["KeepFacts"] = db.KeepFacts(ctx, "a", nil)
			_, errs["Value"] = db.Value(ctx, "x", new(int))
			_, errs["Values"] = db.Values(ctx, "x")
			_, errs["Space"] = db.Space(ctx, "", done)
			for method, err := range errs {
				if !errors.Is(err, tt.want) {
					t.Errorf("%s: %v, want %v", method, err, tt.want)
				}
				if name == "without" && (core.CodeOf(err) != core.CodeLocked || core.HintOf(err) != "wait") {
					t.Errorf("%s: code %s, hint %q", method, core.CodeOf(err), core.HintOf(err))
				}
			}
			ok(t, db.Close())
			if db.Replaced() != "" || db.Warnings() != nil {
				t.Error("it has warnings")
			}
		})
	}
}

func TestCancelledContext(t *testing.T) {
	db := open(t, t.TempDir(), newHand())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := db.BeginRun(ctx, backup("wiki", newHand().now))
	same(t, core.CodeCancelled, core.CodeOf(err))
	_, err = db.Runs(ctx, RunFilter{})
	same(t, core.CodeCancelled, core.CodeOf(err))
	if _, err = Open(ctx, t.TempDir(), newHand()); core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("%v", err)
	}
}

func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		db, err := Open(b.Context(), dir, newHand())
		if err == nil {
			err = db.Close()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
