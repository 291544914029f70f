package engine_test

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/engine/restore"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/faulty"
	"github.com/backstay/backstay/internal/repository/memory"
)

func warned(b core.Backup, code string) bool {
	for _, w := range b.Warnings {
		if w.Code == code {
			return true
		}
	}
	return false
}

// TestLiveDatabaseIsNoCopy: the live database under --to-database is not a copy
// of itself.
func TestLiveDatabaseIsNoCopy(t *testing.T) {
	a := enginetest.NewApp(t)
	e := enginetest.New(t, memory.New())
	rec := enginetest.Find(t, e, enginetest.Backup(t, e, a.Target).ID)
	_, err := restore.Make(t.Context(), e, restore.Request{Target: a.Target, Record: rec, ToDatabase: a.DB})
	enginetest.WantError(t, err, core.CodeUsage, "is the live one", "leave out --to-database")
}

func TestBackupThatHoldsNothing(t *testing.T) {
	a := enginetest.NewApp(t)
	e := enginetest.New(t, memory.New())
	enginetest.Backup(t, e, a.Target)

	wrong := a.Target
	wrong.App.Database.Prefix = "zz_"
	b, err := e.Backup(t.Context(), wrong, engine.BackupOptions{})
	if err != nil || !warned(b, "empty") {
		t.Errorf("a prefix that no table has: %v, warnings %v", err, b.Warnings)
	}
	if err := os.RemoveAll(filepath.Join(a.Root, "uploads")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(a.Root, "uploads"), 0o755); err != nil {
		t.Fatal(err)
	}
	b, err = e.Backup(t.Context(), a.Target, engine.BackupOptions{})
	if err != nil || !warned(b, "empty") {
		t.Errorf("a folder that lost its files: %v, warnings %v", err, b.Warnings)
	}
	// Once would be missed.
	b, err = e.Backup(t.Context(), a.Target, engine.BackupOptions{})
	if err != nil || !warned(b, "empty") {
		t.Errorf("a folder without files, again: %v, warnings %v", err, b.Warnings)
	}
}

func TestClockBehindTheNewestBackup(t *testing.T) {
	a := enginetest.NewApp(t)
	store := memory.New()
	record(t, store, "fromthefuture", "shop", time.Now().AddDate(1, 0, 0))
	b, err := enginetest.New(t, store).Backup(t.Context(), a.Target, engine.BackupOptions{})
	if err != nil || !warned(b, "clock") {
		t.Errorf("%v, warnings %v", err, b.Warnings)
	}
}

// TestDamagedIndexKeepsNothingElse: the files of a backup can be restored
// though its database cannot.
func TestDamagedIndexKeepsNothingElse(t *testing.T) {
	a := enginetest.NewApp(t)
	store := memory.New()
	rec := enginetest.Find(t, enginetest.New(t, store), enginetest.Backup(t, enginetest.New(t, store), a.Target).ID)
	broken := enginetest.New(t, enginetest.Tampered(t, store, rec, enginetest.Tamper{Change: func(p string, data []byte) []byte {
		if p == "database/index.json" {
			return data[1:]
		}
		return data
	}}))
	rec = enginetest.Find(t, broken, rec.ID)
	to := t.TempDir()
	r, err := restore.Make(t.Context(), broken, restore.Request{Target: a.Target, Record: rec, Only: []core.Component{core.ComponentFiles}, ToDir: to})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(to, "uploads/deep/b.txt")); err != nil {
		t.Error(err)
	}
	_, err = restore.Make(t.Context(), broken, restore.Request{Target: a.Target, Record: rec})
	enginetest.WantError(t, err, core.CodeDamage, "index.json", "--only files")
}

// TestBackupWhereDamageIsKnown: after a verification that found damage a new
// backup is read back, since it shares content with the damaged one.
func TestBackupWhereDamageIsKnown(t *testing.T) {
	a := enginetest.NewApp(t)
	inner := memory.New()
	store := faulty.New(inner)
	e := enginetest.New(t, store)
	first := enginetest.Find(t, e, enginetest.Backup(t, e, a.Target).ID)
	store.Set(faulty.On(faulty.Read).Damage())
	v, err := e.Verify(t.Context(), first)
	if err != nil || len(v.Damaged) == 0 {
		t.Fatalf("%v, %v", v, err)
	}
	if rec := enginetest.Find(t, e, first.ID); rec.Damaged == nil || rec.Verified != nil {
		t.Errorf("the damage is not recorded: %+v", rec.Backup)
	}
	_, err = e.Backup(t.Context(), a.Target, engine.BackupOptions{})
	enginetest.WantError(t, err, core.CodeDamage, "read back the new backup", "are damaged", "backstay init")
	// Deleting the damaged backups does not mend what new ones share with them.
	for _, id := range enginetest.Listed(t, e) {
		if err := e.Delete(t.Context(), enginetest.Find(t, e, id)); err != nil {
			t.Fatal(err)
		}
	}
	_, err = e.Backup(t.Context(), a.Target, engine.BackupOptions{})
	enginetest.WantError(t, err, core.CodeDamage, "read back the new backup")
	store.Set()
	first = enginetest.Find(t, e, enginetest.Listed(t, e)[0])
	if v, err := e.Verify(t.Context(), enginetest.Find(t, e, first.ID)); err != nil || len(v.Damaged) > 0 {
		t.Fatalf("%v, %v", v, err)
	}
	if rec := enginetest.Find(t, e, first.ID); rec.Damaged != nil || rec.Verified == nil {
		t.Errorf("the whole backup still counts as damaged: %+v", rec.Backup)
	}
}

// TestTwoStateFolders: the lock on the server keeps apart what the lock in the
// state folder cannot.
func TestTwoStateFolders(t *testing.T) {
	a := enginetest.NewApp(t)
	holder := mysqltest.Connect(t, mysqltest.Config(t, a.DB))
	taken, err := holder.Query(t.Context(), "SELECT GET_LOCK(CONCAT('backstay.', LEFT(SHA2("+mysql.QuoteText(a.DB)+", 256), 32)), 0)")
	if err != nil || taken[0][0].Text != "1" {
		t.Fatal(taken, err)
	}
	e := enginetest.New(t, memory.New())
	e.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	_, err = e.Backup(t.Context(), a.Target, engine.BackupOptions{})
	enginetest.WantError(t, err, core.CodeLocked, "another backstay")
	if ids := enginetest.Listed(t, e); len(ids) > 0 {
		t.Error(strings.Join(ids, " "))
	}
}

// TestRepositoryPutBack: an older copy of the repository in its place is
// noticed; a backup that was deleted from here is not missed.
func TestRepositoryPutBack(t *testing.T) {
	a := enginetest.NewApp(t)
	old, store := memory.New(), memory.New()
	e := enginetest.New(t, store)
	enginetest.Backup(t, e, a.Target)
	second := enginetest.Find(t, e, enginetest.Backup(t, e, a.Target).ID)

	e.Store = old
	b, err := e.Backup(t.Context(), a.Target, engine.BackupOptions{})
	if err != nil || !warned(b, "repository-older") {
		t.Errorf("%v, warnings %v", err, b.Warnings)
	}
	e.Store = store
	third := enginetest.Find(t, e, func() string {
		b, err := e.Backup(t.Context(), a.Target, engine.BackupOptions{})
		if err != nil || !warned(b, "repository-older") {
			t.Errorf("the other way round: %v, warnings %v", err, b.Warnings)
		}
		return b.ID
	}())
	for _, rec := range []repository.Record{second, third} {
		if err := e.Delete(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	enginetest.Backup(t, e, a.Target) // without warnings
}
