package engine_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/faulty"
	"github.com/backstay/backstay/internal/repository/memory"
)

var errGone = errors.New("the store is gone")

// TestBackupFailsAtEveryCall lets each call of the store fail once: there is no
// backup then, and the next one is complete, whatever the file cache holds.
func TestBackupFailsAtEveryCall(t *testing.T) {
	t.Parallel()
	a := enginetest.NewApp(t)
	calls := faulty.New(memory.New())
	enginetest.Backup(t, enginetest.New(t, calls), a.Target)
	for _, op := range []faulty.Op{
		faulty.List, faulty.Begin, faulty.Create, faulty.Write, faulty.Finish, faulty.CloseFile, faulty.WriteDir, faulty.Commit,
	} {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			if calls.Calls(op) == 0 {
				t.Fatal("a backup makes no such call")
			}
			for n := 1; n <= calls.Calls(op); n++ {
				store := faulty.New(memory.New(), faulty.On(op).Nth(n).Fail(errGone))
				e := enginetest.New(t, store)
				_, err := e.Backup(t.Context(), a.Target, engine.BackupOptions{})
				if !errors.Is(err, errGone) {
					t.Fatalf("call %d: %v", n, err)
				}
				store.Set()
				if ids := enginetest.Listed(t, e); len(ids) != 0 {
					t.Fatalf("call %d: there is a backup", n)
				}
				b := enginetest.Backup(t, e, a.Target)
				if got := b.Components[core.ComponentFiles]; got.Files != 3 || got.FilesReused != 0 {
					t.Fatalf("call %d: the next backup has %+v", n, got)
				}
				enginetest.Whole(t, e, b.ID)
			}
		})
	}
}

// TestFailedCommitKeepsTheCacheTrue lets a commit fail between two backups: the
// cache must go on speaking of the first.
func TestFailedCommitKeepsTheCacheTrue(t *testing.T) {
	t.Parallel()
	a := enginetest.NewApp(t)
	store := faulty.New(memory.New())
	e := enginetest.New(t, store)
	first := enginetest.Backup(t, e, a.FilesOnly())
	a.Write(t, "uploads/new.txt", "new\n")
	store.Set(faulty.On(faulty.Commit).Fail(errGone))
	if _, err := e.Backup(t.Context(), a.FilesOnly(), engine.BackupOptions{}); !errors.Is(err, errGone) {
		t.Fatal(err)
	}
	store.Set()
	if diff := cmp.Diff([]string{first.ID}, enginetest.Listed(t, e)); diff != "" {
		t.Fatalf("backups (-want +got):\n%s", diff)
	}
	next := enginetest.Backup(t, e, a.FilesOnly())
	if got := next.Components[core.ComponentFiles]; got.Files != 4 || got.FilesReused != 3 {
		t.Errorf("the next backup has %+v, want 4 files, 3 of them not read again", got)
	}
	enginetest.Whole(t, e, next.ID)
}

func TestBackupOnFullDisk(t *testing.T) {
	t.Parallel()
	a := enginetest.NewApp(t)
	for _, after := range []int64{1, 100, 5_000} {
		store := faulty.New(memory.New(), faulty.On(faulty.Write).AfterBytes(after).DiskFull())
		e := enginetest.New(t, store)
		_, err := e.Backup(t.Context(), a.Target, engine.BackupOptions{})
		enginetest.WantError(t, err, core.CodeDisk, "no space left", "free space")
		store.Set()
		if len(enginetest.Listed(t, e)) != 0 {
			t.Error("there is a backup")
		}
	}
}

// TestShortWrite lets a write take half: that must be noticed.
func TestShortWrite(t *testing.T) {
	t.Parallel()
	a := enginetest.NewApp(t)
	calls := faulty.New(memory.New())
	enginetest.Backup(t, enginetest.New(t, calls), a.Target)
	for n := 1; n <= calls.Calls(faulty.Write); n++ {
		store := faulty.New(memory.New(), faulty.On(faulty.Write).Nth(n).Short())
		e := enginetest.New(t, store)
		if _, err := e.Backup(t.Context(), a.Target, engine.BackupOptions{}); err == nil {
			t.Errorf("write %d of %d took half, and the backup says that all is well", n, calls.Calls(faulty.Write))
		}
		if len(enginetest.Listed(t, e)) != 0 {
			t.Errorf("write %d: there is a backup", n)
		}
	}
}

func TestCancelledBackup(t *testing.T) {
	t.Parallel()
	a := enginetest.NewApp(t)
	for _, op := range []faulty.Op{faulty.Create, faulty.Commit} {
		ctx, cancel := context.WithCancel(t.Context())
		store := faulty.New(onCall{memory.New(), func() { cancel() }}, faulty.On(op).Block())
		e := enginetest.New(t, store)
		_, err := e.Backup(ctx, a.Target, engine.BackupOptions{})
		enginetest.WantError(t, err, core.CodeCancelled)
		store.Set()
		if len(enginetest.Listed(t, e)) != 0 {
			t.Errorf("%s: there is a backup", op)
		}
		enginetest.Whole(t, e, enginetest.Backup(t, e, a.Target).ID)
	}
}

// onCall calls do when a backup begins.
type onCall struct {
	repository.Store
	do func()
}

func (s onCall) Begin(ctx context.Context) (repository.Session, error) {
	session, err := s.Store.Begin(ctx)
	if err == nil {
		s.do()
	}
	return session, err
}

// TestSchemaChangesDuringBackup alters a table after the consistency point and
// before its rows are read: once, then every time.
func TestSchemaChangesDuringBackup(t *testing.T) {
	t.Parallel()
	for _, changes := range []int32{1, 100} {
		a := enginetest.NewApp(t)
		config := mysqltest.Config(t, a.DB)
		var changed atomic.Int32
		store := faulty.New(&onCreate{Store: memory.New(), do: func() error {
			if n := changed.Add(1); n <= changes {
				return exec(t.Context(), config, "ALTER TABLE bag ADD COLUMN c"+strings.Repeat("c", int(n))+" INT, FORCE")
			}
			return nil
		}})
		e := enginetest.New(t, store)
		target := a.Target
		target.Connections = 1
		b, err := e.Backup(t.Context(), target, engine.BackupOptions{})
		if changes > 1 {
			enginetest.WantError(t, err, core.CodeDatabase, "bag", "definition changed during the backup")
			if got := store.Calls(faulty.Begin); got != 3 {
				t.Errorf("%d attempts, want 3", got)
			}
			if len(enginetest.Listed(t, e)) != 0 {
				t.Error("there is a backup")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := store.Calls(faulty.Begin); got != 2 {
			t.Errorf("%d attempts, want 2", got)
		}
		enginetest.Whole(t, e, b.ID)
		o, err := e.OpenBackup(t.Context(), enginetest.Find(t, e, b.ID))
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(o.Index.Tables, func(t core.Table) bool { return t.Name == "bag" })
		if got := len(o.Index.Tables[i].Columns); got != 2 {
			t.Errorf("the table has %d columns in the backup, want 2", got)
		}
	}
}

// onCreate calls do before the first file of table a is stored, once a session.
type onCreate struct {
	repository.Store
	do func() error
}

func (s *onCreate) Begin(ctx context.Context) (repository.Session, error) {
	session, err := s.Store.Begin(ctx)
	return &onCreateSession{Session: session, do: s.do}, err
}

type onCreateSession struct {
	repository.Session
	do   func() error
	done atomic.Bool
}

func (s *onCreateSession) Create(ctx context.Context, hint string) (core.FileWriter, error) {
	if strings.Contains(hint, "database/") && !s.done.Swap(true) {
		if err := s.do(); err != nil {
			return nil, err
		}
	}
	return s.Session.Create(ctx, hint)
}

func (s *onCreateSession) CreateBlocks(ctx context.Context, hint string) (core.FileWriter, error) {
	if strings.Contains(hint, "database/") && !s.done.Swap(true) {
		if err := s.do(); err != nil {
			return nil, err
		}
	}
	return s.Session.CreateBlocks(ctx, hint)
}

// TestFileCache says when a file is not read again: only when the backup that
// has it is still there, in this repository, and the file is as it was.
func TestFileCache(t *testing.T) {
	t.Parallel()
	a := enginetest.NewApp(t)
	store := faulty.New(memory.New())
	e := enginetest.New(t, store)
	first := enginetest.Backup(t, e, a.FilesOnly())
	reused := func(b core.Backup) int64 { return b.Components[core.ComponentFiles].FilesReused }
	if reused(first) != 0 {
		t.Errorf("the first backup reused %d files", reused(first))
	}
	created := store.Calls(faulty.Create)
	second := enginetest.Backup(t, e, a.FilesOnly())
	if reused(second) != 3 {
		t.Errorf("the second backup reused %d files, want 3", reused(second))
	}
	// What is written is the manifest and the link, no file.
	if got := store.Calls(faulty.Create) - created; got > 2 {
		t.Errorf("the second backup wrote %d objects, want 2", got)
	}
	enginetest.Whole(t, e, second.ID)

	a.Write(t, "uploads/c.txt", "other\n") // of the same size
	third := enginetest.Backup(t, e, a.FilesOnly())
	if reused(third) != 2 {
		t.Errorf("after a change %d files are reused, want 2", reused(third))
	}
	for _, id := range []string{second.ID, third.ID} {
		if err := e.Delete(t.Context(), enginetest.Find(t, e, id)); err != nil {
			t.Fatal(err)
		}
	}
	fourth := enginetest.Backup(t, e, a.FilesOnly())
	if reused(fourth) != 0 {
		t.Errorf("the cache of a deleted backup gave %d files", reused(fourth))
	}
	if _, err := store.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	enginetest.Whole(t, e, fourth.ID)

	e.Store, e.Repository = memory.New(), "memory:another"
	other := enginetest.Backup(t, e, a.FilesOnly())
	if reused(other) != 0 {
		t.Errorf("the cache of another repository gave %d files", reused(other))
	}
	enginetest.Whole(t, e, other.ID)
}

// TestRepeatedBackupStoresLittle backs up an app twice, with nothing changed.
func TestRepeatedBackupStoresLittle(t *testing.T) {
	t.Parallel()
	a := enginetest.NewApp(t)
	mysqltest.ExecIn(t, a.DB, "INSERT INTO a SELECT seq, SHA1(seq) FROM seq_101_to_20000")
	a.Write(t, "uploads/large.bin", strings.Repeat("a file that is as large as it is dull\n", 20_000))
	e := enginetest.New(t, memory.New())
	first, second := enginetest.Backup(t, e, a.Target), enginetest.Backup(t, e, a.Target)
	if first.LogicalBytes != second.LogicalBytes || second.StoredBytes*100 >= first.StoredBytes {
		t.Errorf("%d of %d bytes stored, then %d of %d", first.StoredBytes, first.LogicalBytes, second.StoredBytes, second.LogicalBytes)
	}
}

// TestOnlyAndNothing backs up parts, and nothing.
func TestOnlyAndNothing(t *testing.T) {
	t.Parallel()
	a := enginetest.NewApp(t)
	e := enginetest.New(t, memory.New())
	b, err := e.Backup(t.Context(), a.Target, engine.BackupOptions{Only: []core.Component{core.ComponentConfig}})
	if err != nil || len(b.Components) != 1 || b.Consistency.Method != "none" {
		t.Errorf("%+v, %v", b, err)
	}
	_, err = e.Backup(t.Context(), a.Target, engine.BackupOptions{Only: []core.Component{core.ComponentCode}})
	enginetest.WantError(t, err, core.CodeUsage, "nothing to back up", "--only")
	if got := enginetest.Listed(t, e); len(got) != 1 {
		t.Errorf("backups %v, want one", got)
	}
}
