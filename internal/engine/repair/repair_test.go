package repair_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/engine/repair"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/faulty"
	"github.com/backstay/backstay/internal/repository/memory"
)

// site is an app of files alone in a repository of its own.
type site struct {
	*enginetest.App
	store  *memory.Store
	engine *engine.Engine
	target engine.Target
}

func newSite(t *testing.T) *site {
	t.Helper()
	a := enginetest.Existing(t.TempDir(), "", mysql.Config{})
	for name, text := range map[string]string{"uploads/a.txt": "first\n", "uploads/deep/b.txt": "second\n", "app.ini": "x=1\n"} {
		a.Write(t, name, text)
	}
	store := memory.New()
	return &site{App: a, store: store, engine: enginetest.New(t, store), target: a.FilesOnly()}
}

func (s *site) backup(t *testing.T) repository.Record {
	t.Helper()
	b, err := s.engine.Backup(t.Context(), s.target, engine.BackupOptions{Trigger: "manual"})
	if err != nil {
		t.Fatal(err)
	}
	return enginetest.Find(t, s.engine, b.ID)
}

// spoil makes objects of a backup unreadable by the ends of their paths.
func (s *site) spoil(t *testing.T, r repository.Record, ends ...string) {
	t.Helper()
	n := 0
	for p, e := range enginetest.PathsOf(t, s.store, r) {
		if slices.ContainsFunc(ends, func(end string) bool { return strings.HasSuffix(p, end) }) {
			s.store.Spoil(e.Object.ID)
			n++
		}
	}
	if n != len(ends) {
		t.Fatalf("%d of %q were found", n, ends)
	}
}

func (s *site) repair(t *testing.T) *repair.Repaired {
	t.Helper()
	r, err := repair.Run(t.Context(), s.engine, s.target)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// lost are the paths that a backup has lost, by its id.
func lost(r *repair.Repaired) map[string][]string {
	found := map[string][]string{}
	for _, v := range r.Older {
		for _, d := range v.Damaged {
			found[v.ID] = append(found[v.ID], d.Path)
		}
	}
	return found
}

func TestNothingToRepair(t *testing.T) {
	s := newSite(t)
	_, err := repair.Run(t.Context(), s.engine, s.target)
	enginetest.WantError(t, err, core.CodeNotFound, "backup")
	first, second := s.backup(t), s.backup(t)
	r := s.repair(t)
	if r.Backup != nil || len(r.Damaged) > 0 || r.Newest != second.ID || r.Lost() > 0 || len(r.Older) != 1 || r.Older[0].ID != first.ID {
		t.Errorf("%+v", r)
	}
	if n := len(enginetest.Listed(t, s.engine)); n != 2 {
		t.Errorf("%d backups", n)
	}
}

// TestRepair: folders and files of the newest backup are damaged, also below one
// another. What the app still has comes back, in older backups and in those of
// another app too; what it has not is named.
func TestRepair(t *testing.T) {
	s := newSite(t)
	s.Write(t, "uploads/only-before.txt", "of the first backup alone\n")
	s.Write(t, "uploads/shared.txt", "other\n")
	first := s.backup(t)
	if err := os.Remove(filepath.Join(s.Root, "uploads/only-before.txt")); err != nil {
		t.Fatal(err)
	}
	s.Write(t, "uploads/a.txt", "changed\n")
	second := s.backup(t)
	other := &site{App: enginetest.Existing(t.TempDir(), "", mysql.Config{}), store: s.store, engine: s.engine}
	other.Write(t, "uploads/copy.txt", "other\n")
	other.Write(t, "app.ini", "y=2\n")
	other.target = other.FilesOnly()
	other.target.App.Name = "other"
	third := other.backup(t)

	s.spoil(t, first, "only-before.txt")
	s.spoil(t, second, "shared.txt", "deep/b.txt", "/deep", "manifest.json")
	if v, err := s.engine.Verify(t.Context(), third); err != nil || len(v.Damaged) != 1 {
		t.Fatalf("%+v, %v", v, err)
	}
	r := s.repair(t)
	if r.Newest != second.ID || len(r.Damaged) == 0 || r.Backup == nil || r.Parts != 3 {
		t.Fatalf("%+v", r)
	}
	if !strings.Contains(r.Backup.Note, second.ID) {
		t.Errorf("note %q", r.Backup.Note)
	}
	enginetest.Whole(t, s.engine, r.Backup.ID)
	enginetest.Whole(t, s.engine, third.ID)
	got := lost(r)
	if l := got[first.ID]; len(l) != 1 || !strings.HasSuffix(l[0], "only-before.txt") {
		t.Errorf("of the first backup %q is lost", l)
	}
	// Each manifest is its own: it cannot be made again.
	if l := got[second.ID]; !slices.Equal(l, []string{"manifest.json"}) {
		t.Errorf("of the second backup %q is lost", l)
	}
	if _, named := got[third.ID]; named || r.Lost() != 2 || len(r.Older) != 3 {
		t.Errorf("%+v", r)
	}
	for id, damaged := range map[string]bool{first.ID: true, second.ID: true, third.ID: false, r.Backup.ID: false} {
		if rec := enginetest.Find(t, s.engine, id); (rec.Damaged != nil) != damaged {
			t.Errorf("backup %s is marked as damaged: %v", id, rec.Damaged)
		}
	}
	// Once more there is nothing to do.
	if again := s.repair(t); again.Backup != nil || again.Parts != 0 || again.Newest != r.Backup.ID || again.Lost() != 2 {
		t.Errorf("%+v", again)
	}
}

// TestCutShort ends a repair at each place at which it writes: what can be read
// stays so, and the next one is done as if there had been none.
func TestCutShort(t *testing.T) {
	gone := errors.New("the storage is gone")
	for _, op := range []faulty.Op{faulty.Begin, faulty.Create, faulty.Write, faulty.Finish, faulty.WriteDir, faulty.Commit} {
		t.Run(string(op), func(t *testing.T) {
			s := newSite(t)
			first := s.backup(t)
			s.spoil(t, first, "a.txt")
			s.engine.Store = faulty.New(s.store, faulty.On(op).Nth(1).Fail(gone))
			if _, err := repair.Run(t.Context(), s.engine, s.target); !errors.Is(err, gone) {
				t.Fatalf("%v", err)
			}
			s.engine.Store = s.store
			if ids := enginetest.Listed(t, s.engine); len(ids) != 1 {
				t.Errorf("backups %q", ids)
			}
			if v, err := s.engine.Verify(t.Context(), first); err != nil || len(v.Damaged) != 1 {
				t.Errorf("%+v, %v", v, err)
			}
			if r := s.repair(t); r.Backup == nil || r.Lost() != 0 {
				t.Errorf("%+v", r)
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		s := newSite(t)
		s.spoil(t, s.backup(t), "a.txt")
		ctx, cancel := context.WithCancel(t.Context())
		s.engine.Store = faulty.New(s.store, faulty.On(faulty.Create).Nth(1).Block())
		done := make(chan error, 1)
		go func() {
			_, err := repair.Run(ctx, s.engine, s.target)
			done <- err
		}()
		cancel()
		if err := <-done; core.CodeOf(err) != core.CodeCancelled {
			t.Errorf("%v", err)
		}
	})
}

// TestAppIsGone: without the live app nothing is captured, and nothing is lost.
func TestAppIsGone(t *testing.T) {
	s := newSite(t)
	first := s.backup(t)
	s.spoil(t, first, "a.txt")
	if err := os.Rename(s.Root, s.Root+".away"); err != nil {
		t.Fatal(err)
	}
	r, err := repair.Run(t.Context(), s.engine, s.target)
	if err == nil || r == nil || len(r.Damaged) != 1 || !strings.Contains(err.Error(), "capture anew what is damaged") {
		t.Fatalf("%v, %+v", err, r)
	}
	if enginetest.Find(t, s.engine, first.ID).Damaged == nil {
		t.Error("the damage is not marked")
	}
}

// TestUnlisted: backups that cannot be found are told of; they cannot be repaired.
func TestUnlisted(t *testing.T) {
	s := newSite(t)
	first := s.backup(t)
	s.spoil(t, s.backup(t), "a.txt")
	s.store.Lose(first.ID)
	r := s.repair(t)
	if !strings.Contains(r.Unlisted, first.ID) || r.Backup == nil || len(r.Older) != 1 {
		t.Errorf("%+v", r)
	}
}

// TestStorageFails: what is written comes back with other bytes.
func TestStorageFails(t *testing.T) {
	s := newSite(t)
	s.spoil(t, s.backup(t), "a.txt")
	s.engine.Store = faulty.New(s.store, faulty.On(faulty.Read).AfterBytes(1).Fail(&core.Error{Code: core.CodeDamage, Op: "read", Message: "the disk is failing"}))
	_, err := repair.Run(t.Context(), s.engine, s.target)
	enginetest.WantError(t, err, core.CodeDamage, "the storage itself may be failing")
}
