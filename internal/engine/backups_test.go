package engine_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/repository/memory"
)

// record commits a backup with nothing in it but what a list shows.
func record(t *testing.T, s *memory.Store, id, app string, at time.Time) {
	t.Helper()
	session, err := s.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Abort()
	root, err := session.WriteDir(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := session.Commit(t.Context(), root, core.Backup{ID: id, App: app, Time: at}); err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	store := memory.New()
	e := enginetest.New(t, store)
	day := time.Date(2026, 3, 14, 9, 30, 0, 0, time.Local)
	record(t, store, "aaaa000000000001", "shop", day)
	record(t, store, "aaab000000000002", "shop", day.Add(2*time.Hour))
	record(t, store, "bbbb000000000003", "shop", day.AddDate(0, 0, 1))
	record(t, store, "cccc000000000004", "wiki", day.AddDate(0, 0, 2))
	// An id that is the beginning of another one is itself.
	record(t, store, "aaaa", "wiki", day.AddDate(0, 0, -1))

	for _, c := range []struct{ ref, want string }{
		{"aaaa000000000001", "aaaa000000000001"},
		{"aaaa", "aaaa"},
		{"aaaa0", "aaaa000000000001"},
		{"b", "bbbb000000000003"},
		{"shop@latest", "bbbb000000000003"},
		{"wiki@latest", "cccc000000000004"},
		{"shop@2026-03-14", "aaab000000000002"}, // the day's last
		{"shop@2026-03-14T09:30", "aaaa000000000001"},
		{"shop@2026-03-14 10:00:00", "aaaa000000000001"},
		{"shop@" + day.Add(2*time.Hour).UTC().Format(time.RFC3339), "aaab000000000002"},
		{"shop@" + day.Add(2*time.Hour).In(time.FixedZone("x", 5*3600+1800)).Format(time.RFC3339), "aaab000000000002"},
		{"shop@" + day.Add(2*time.Hour-time.Second).UTC().Format(time.RFC3339), "aaaa000000000001"},
		{"shop@2999-01-01", "bbbb000000000003"},
	} {
		rec, err := e.Find(t.Context(), c.ref)
		if err != nil || rec.ID != c.want {
			t.Errorf("Find(%q) = %s, %v; want %s", c.ref, rec.ID, err, c.want)
		}
	}
	for _, c := range []struct {
		ref   string
		code  core.Code
		parts []string
	}{
		{"aaa", core.CodeAmbiguous, []string{"aaaa000000000001", "aaab000000000002", "give more of the id"}},
		{"", core.CodeNotFound, []string{"backstay list"}},
		{"zz", core.CodeNotFound, []string{`there is no backup "zz"`, "backstay list"}},
		{"AAAA0", core.CodeNotFound, nil},
		{"nobody@latest", core.CodeNotFound, []string{`no backup of app "nobody"`}},
		{"shop@2026-03-14T09:29", core.CodeNotFound, []string{"the oldest backup of shop is of", "backstay list shop"}},
		{"shop@", core.CodeUsage, []string{"APP@latest"}},
		{"shop@14.3.2026", core.CodeUsage, []string{"is not a time", "APP@2026-11-23T08:30"}},
		{"shop@2026-02-30", core.CodeUsage, []string{"is not a time"}},
	} {
		_, err := e.Find(t.Context(), c.ref)
		if err == nil {
			t.Errorf("Find(%q) found one", c.ref)
			continue
		}
		enginetest.WantError(t, err, c.code, c.parts...)
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	store := memory.New()
	e := enginetest.New(t, store)
	_, err := e.Choose(t.Context(), "", true)
	enginetest.WantError(t, err, core.CodeNotFound, "there is no backup yet", "backstay backup")
	day := time.Date(2026, 3, 14, 9, 30, 0, 0, time.UTC)
	record(t, store, "a1", "shop", day)
	record(t, store, "b2", "wiki", day.Add(time.Hour))
	record(t, store, "c3", "shop", day.Add(2*time.Hour))
	for _, c := range []struct {
		ref  string
		all  bool
		want []string
	}{
		{"", false, []string{"b2", "c3"}},
		{"", true, []string{"a1", "b2", "c3"}},
		{"shop", false, []string{"c3"}},
		{"shop", true, []string{"a1", "c3"}},
		{"a1", false, []string{"a1"}},
		{"shop@latest", false, []string{"c3"}},
	} {
		records, err := e.Choose(t.Context(), c.ref, c.all)
		var got []string
		for _, r := range records {
			got = append(got, r.ID)
		}
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("Choose(%q, %t): %v (-want +got):\n%s", c.ref, c.all, err, diff)
		}
	}
}

func TestDeleteAndPin(t *testing.T) {
	t.Parallel()
	store := memory.New()
	e := enginetest.New(t, store)
	record(t, store, "a1", "shop", time.Now())
	if err := e.Pin(t.Context(), enginetest.Find(t, e, "a1"), true); err != nil {
		t.Fatal(err)
	}
	enginetest.WantError(t, e.Delete(t.Context(), enginetest.Find(t, e, "a1")), core.CodeUsage, "it is pinned", "backstay unpin a1")
	if err := e.Pin(t.Context(), enginetest.Find(t, e, "a1"), false); err != nil {
		t.Fatal(err)
	}
	rec := enginetest.Find(t, e, "a1")
	if err := e.Delete(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	enginetest.WantError(t, e.Delete(t.Context(), rec), core.CodeNotFound, "a1")
}

// TestNotInTheBackup names the backup in which something was looked for.
func TestNotInTheBackup(t *testing.T) {
	t.Parallel()
	e := enginetest.New(t, memory.New())
	a := enginetest.NewApp(t)
	id := enginetest.Backup(t, e, a.FilesOnly()).ID
	o := mustOpen(t, e, id)
	enginetest.WantError(t, o.Cat(t.Context(), "database/evidence.json", io.Discard), core.CodeNotFound, "there is no database in backup "+id, "`backstay ls "+id+"`")
	enginetest.WantError(t, o.Cat(t.Context(), "files/nothing", io.Discard), core.CodeNotFound, "there is no nothing in files of backup "+id, "`backstay ls "+id+" files`")
}

func mustOpen(t *testing.T, e *engine.Engine, id string) *engine.Open {
	t.Helper()
	o, err := e.OpenBackup(t.Context(), enginetest.Find(t, e, id))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestDiff(t *testing.T) {
	t.Parallel()
	a := enginetest.NewApp(t)
	e := enginetest.New(t, memory.New())
	a.Write(t, "uploads/gone/x/y.txt", "y")
	first := enginetest.Backup(t, e, a.Target)
	same, err := e.Diff(t.Context(), mustOpen(t, e, first.ID), mustOpen(t, e, first.ID))
	if err != nil || !same.Empty() {
		t.Errorf("a backup differs from itself: %v, %v", same, err)
	}

	mysqltest.ExecIn(t, a.DB,
		"UPDATE a SET v='changed' WHERE id=1", "ALTER TABLE b ADD KEY k (v)", "DROP TABLE bag", "CREATE TABLE new_one (id INT PRIMARY KEY)",
		"CREATE OR REPLACE VIEW v AS SELECT id, v FROM a", "CREATE PROCEDURE p() SELECT 1")
	up := filepath.Join(a.Root, "uploads")
	for _, err := range []error{
		os.RemoveAll(filepath.Join(up, "gone")), os.Chmod(filepath.Join(up, "a.txt"), 0o600), os.Chmod(filepath.Join(up, "deep"), 0o700),
		os.Remove(filepath.Join(up, "link")), os.Symlink("c.txt", filepath.Join(up, "link")), os.Remove(filepath.Join(up, "c.txt")),
		os.MkdirAll(filepath.Join(up, "c.txt/d"), 0o755), os.WriteFile(filepath.Join(up, "deep/b.txt"), []byte("longer than before\n"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	second := enginetest.Backup(t, e, a.Target)
	difference, err := e.Diff(t.Context(), mustOpen(t, e, first.ID), mustOpen(t, e, second.ID))
	if err != nil {
		t.Fatal(err)
	}
	got := difference.Changes()
	want := []engine.Change{
		{Kind: "changed", Object: "table a", Before: "100 rows", After: "100 rows"},
		{Kind: "removed", Object: "table bag", Before: "50 rows"},
		{Kind: "added", Object: "table new_one", After: "0 rows"},
		{Kind: "changed", Object: "definition of table b"},
		{Kind: "added", Object: "procedure p"},
		{Kind: "changed", Object: "view v"},
		{Kind: "changed", Object: "files/app/uploads/a.txt", Before: "6 bytes", After: "6 bytes"},
		{Kind: "changed", Object: "files/app/uploads/c.txt", Before: "6 bytes", After: "0 files"},
		{Kind: "changed", Object: "files/app/uploads/deep", Before: "mode or owner"},
		{Kind: "changed", Object: "files/app/uploads/deep/b.txt", Before: "7 bytes", After: "19 bytes"},
		{Kind: "removed", Object: "files/app/uploads/gone", Before: "1 files"},
		{Kind: "changed", Object: "files/app/uploads/link", Before: "5 bytes", After: "5 bytes"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	// A folder counts as the files in it.
	f := difference.Files[0]
	if f.Added != 0 || f.Removed != 1 || f.Changed != 5 {
		t.Errorf("%d files added, %d removed, %d changed; want 0, 1 and 5", f.Added, f.Removed, f.Changed)
	}
}

// TestOpenBackup refuses what it cannot understand.
func TestOpenBackup(t *testing.T) {
	t.Parallel()
	a := enginetest.NewApp(t)
	store := memory.New()
	e := enginetest.New(t, store)
	rec := enginetest.Find(t, e, enginetest.Backup(t, e, a.Target).ID)
	change := func(at string, to func(data []byte) []byte) error {
		broken := enginetest.New(t, enginetest.Tampered(t, store, rec, enginetest.Tamper{Change: func(p string, data []byte) []byte {
			if p == at {
				return to(data)
			}
			return data
		}}))
		o, err := broken.OpenBackup(t.Context(), enginetest.Find(t, broken, rec.ID))
		if err == nil {
			return o.IndexDamage // which keeps nothing but the database from being read
		}
		return err
	}
	newer := func(data []byte) []byte {
		return []byte(fmt.Sprintf(`{"schema": %d, "id": %q, "backstay_version": "99.1"}`, core.ManifestSchema+1, rec.ID))
	}
	enginetest.WantError(t, change("manifest.json", newer), core.CodeUnsupported, "written by backstay 99.1", "use that version")
	enginetest.WantError(t, change("manifest.json", func([]byte) []byte { return []byte("{}x") }), core.CodeDamage, "manifest.json", "backstay verify --all")
	enginetest.WantError(t, change("manifest.json", func([]byte) []byte { return []byte(`{"schema":1,"id":"another"}`) }), core.CodeDamage, "belongs to backup another")
	enginetest.WantError(t, change("manifest.json", func([]byte) []byte { return nil }), core.CodeDamage, "manifest.json")
	enginetest.WantError(t, change("database/index.json", func([]byte) []byte { return nil }), core.CodeDamage, "database/index.json")
	enginetest.WantError(t, change("database/index.json", func(b []byte) []byte { return append(b, ' ') }), core.CodeDamage, "database/index.json is not the one")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := e.OpenBackup(ctx, rec)
	enginetest.WantError(t, err, core.CodeCancelled)
}
