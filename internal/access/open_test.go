package access

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Ten who open at once make one database, for its owner only.
func TestOpenedByMany(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	clock := &testClock{now: time.Now()}
	var all sync.WaitGroup
	stores, errs := make([]*Store, 10), make([]error, 10)
	for i := range stores {
		all.Go(func() { stores[i], errs[i] = Open(t.Context(), dir, clock) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range stores {
		s.cost = cheap()
		all.Go(func() { _, errs[i] = s.AddUser(t.Context(), "anna", Admin, core.NewSecret(good)) })
	}
	all.Wait()
	made := 0
	for i, err := range errs {
		if err == nil {
			made++
		} else if !errors.Is(err, ErrNameTaken) {
			t.Error(err)
		}
		if err := errors.Join(stores[i].Close(), stores[i].Close()); err != nil {
			t.Error(err)
		}
		if _, err := stores[i].Users(t.Context()); !errors.Is(err, errClosed) {
			t.Errorf("got %v", err)
		}
	}
	if made != 1 {
		t.Errorf("%d made anna", made)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, FileName): 0o600, filepath.Join(dir, FileName+".lock"): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

func TestModeIsMadeNarrow(t *testing.T) {
	w := newWorld(t)
	w.ok(os.Chmod(w.path, 0o644))
	w.another()
	info, err := os.Stat(w.path)
	w.ok(err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

// A damaged database is never begun anew, and lets nobody in.
func TestDamage(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"empty": func(path string) error { return os.Truncate(path, 0) },
		"text": func(path string) error {
			return os.WriteFile(path, []byte(strings.Repeat("no database ", 1000)), 0o600)
		},
		"short": func(path string) error { return os.Truncate(path, 5000) },
		"gone": func(path string) error {
			return errors.Join(os.Remove(path), os.WriteFile(path+"-wal", []byte("x"), 0o600))
		},
		"folder":  func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"symlink": func(path string) error { return errors.Join(os.Remove(path), os.Symlink("elsewhere", path)) },
		"pages": func(path string) error {
			text, err := os.ReadFile(path)
			for i := 4096; i < len(text); i++ {
				text[i] ^= 0x55
			}
			return errors.Join(err, os.WriteFile(path, text, 0o600))
		},
		"foreign": func(path string) error {
			pool, err := openPool(path, time.Second)
			if err != nil {
				return err
			}
			_, err = pool.Exec("PRAGMA application_id = 7")
			return errors.Join(err, pool.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.add("anna", Admin)
			w.ok(w.Store.Close())
			w.ok(damage(w.path))
			before, _ := os.ReadFile(w.path)
			for range 2 {
				s, err := Open(t.Context(), w.dir, w.clock)
				if err == nil {
					_ = s.Close()
					t.Fatal("it was opened")
				}
				if core.CodeOf(err) != core.CodeDisk || !strings.Contains(core.HintOf(err), "backstay user add") {
					t.Errorf("got %v, hint %q", err, core.HintOf(err))
				}
			}
			if after, _ := os.ReadFile(w.path); !bytes.Equal(before, after) {
				t.Error("it was changed")
			}
		})
	}
}

// While the service runs, something else takes the database's name, its log
// lying beside: nothing of either is lost.
func TestWrongFileBesideTheLog(t *testing.T) {
	for name, wrong := range map[string][]byte{"junk": bytes.Repeat([]byte("junk"), 100), "letters": bytes.Repeat([]byte("x"), 9000)} {
		t.Run(name, func(t *testing.T) {
			w, ctx := newWorld(t), t.Context()
			w.add("anna", Admin)
			cookie, _ := w.in("anna", home) // which is in the log only
			aside := w.path + ".aside"
			w.ok(os.Rename(w.path, aside))
			w.ok(os.WriteFile(w.path, wrong, 0o600))
			before, err := os.ReadFile(w.path + "-wal")
			w.ok(err)
			if len(before) == 0 {
				t.Fatal("there is nothing in the log")
			}
			if _, err := w.session(cookie); core.CodeOf(err) != core.CodeDisk {
				t.Errorf("got %v", err)
			}
			if _, err := Open(ctx, w.dir, w.clock); core.CodeOf(err) != core.CodeDisk {
				t.Errorf("another process got %v", err)
			}
			if now, err := os.ReadFile(w.path); err != nil || !bytes.Equal(now, wrong) {
				t.Errorf("the wrong file was changed: %d bytes, %v", len(now), err)
			}
			if now, err := os.ReadFile(w.path + "-wal"); err != nil || !bytes.Equal(now, before) {
				t.Errorf("the log was changed: %d bytes, %v", len(now), err)
			}
			w.ok(os.Rename(aside, w.path))
			if who, err := w.session(cookie); err != nil || who.User.Name != "anna" {
				t.Errorf("with the right file: %+v, %v", who, err)
			}
		})
	}
}

// A database whose pages are damaged is not mixed with the log.
func TestDamagedPagesBesideTheLog(t *testing.T) {
	w := newWorld(t)
	w.add("anna", Admin)
	w.in("anna", home)
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	text, err := os.ReadFile(w.path)
	w.ok(err)
	for i := 4096; i < len(text); i++ {
		text[i] ^= 0x55
	}
	log, err := os.ReadFile(w.path + "-wal")
	w.ok(err)
	w.ok(errors.Join(os.WriteFile(path, text, 0o600), os.WriteFile(path+"-wal", log, 0o600)))
	for range 2 {
		if _, err := Open(t.Context(), dir, w.clock); core.CodeOf(err) != core.CodeDisk {
			t.Fatalf("got %v", err)
		}
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, text) {
		t.Errorf("the file was changed: %v", err)
	}
	if now, err := os.ReadFile(path + "-wal"); err != nil || !bytes.Equal(now, log) {
		t.Errorf("the log was changed: %d bytes, %v", len(now), err)
	}
}

func TestNamesOfUsers(t *testing.T) {
	for name, good := range map[string]bool{
		"anna": true, "a.b-c_d@e+f": true, ".anna": true, "anna.": true, "_": true,
		"": false, ".": false, "..": false, "...": false, "-": false, "-rf": false, "--force": false, "a b": false, "a/b": false, "änne": false,
	} {
		err := CheckName(name)
		if (err == nil) != good || err != nil && (core.CodeOf(err) != core.CodeUsage || core.HintOf(err) == "") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// A copy of the database alone has users, passwords and tokens, and lacks what
// was taken away.
func TestCopyOfTheFileAlone(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("anna", Admin)
	w.add("bob", Viewer)
	gone, revoked, err := w.AddToken(ctx, "anna", "gone", Viewer, 0)
	w.ok(err)
	token, _, err := w.AddToken(ctx, "anna", "script", Viewer, 0)
	w.ok(err)
	w.ok(w.RemoveToken(ctx, "anna", revoked.ID))
	w.ok(w.RemoveUser(ctx, "bob"))
	text, err := os.ReadFile(w.path)
	w.ok(err)
	dir := t.TempDir()
	w.ok(os.WriteFile(filepath.Join(dir, FileName), text, 0o600))
	copied, err := Open(ctx, dir, w.clock)
	w.ok(err)
	defer func() { w.ok(copied.Close()) }()
	users, err := copied.Users(ctx)
	w.ok(err)
	if len(users) != 1 || users[0].Name != "anna" {
		t.Errorf("users are %+v", users)
	}
	if who, err := copied.ByToken(ctx, token, home); err != nil || who.User.Name != "anna" {
		t.Errorf("got %+v, %v", who, err)
	}
	_, err = copied.ByToken(ctx, gone, home)
	w.is(err, ErrNobody)
}

func TestNewerForm(t *testing.T) {
	w := newWorld(t)
	_, err := w.pool.Exec("PRAGMA user_version = 99")
	w.ok(err)
	_, err = Open(t.Context(), w.dir, w.clock)
	if core.CodeOf(err) != core.CodeUnsupported || core.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
}

// While the service runs, somebody moves the database aside and makes another.
func TestMovedAside(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("anna", Admin)
	cookie, _ := w.in("anna", home)
	aside := t.TempDir()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		w.ok(os.Rename(w.path+suffix, filepath.Join(aside, FileName+suffix)))
	}
	for range 2 {
		if _, err := w.session(cookie); err == nil || errors.Is(err, ErrNobody) || core.CodeOf(err) != core.CodeDisk {
			t.Errorf("without a database: %v", err)
		}
	}
	if secret, err := w.Offer(ctx); err == nil || !secret.Empty() {
		t.Error("the running service made a set-up link of nothing")
	}
	if _, err := os.Stat(w.path); err == nil {
		t.Error("the running service made a new database")
	}
	_, err := w.another().AddUser(ctx, "bob", Admin, core.NewSecret(good)) // as `backstay user add` does
	w.ok(err)
	_, err = w.session(cookie)
	w.is(err, ErrNobody)
	w.in("bob", home)
}

func TestBusy(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("anna", Admin)
	cookie, _ := w.in("anna", home)
	w.patience = time.Millisecond
	hurried := newStore(w.dir, w.clock)
	hurried.cost, hurried.patience = cheap(), 20*time.Millisecond
	hurried, err := hurried.opened(ctx)
	w.ok(err)
	defer func() { w.ok(hurried.Close()) }()
	tx, err := w.pool.BeginTx(ctx, nil)
	w.ok(err)
	_, err = hurried.AddUser(ctx, "bob", Viewer, core.NewSecret(good))
	if core.CodeOf(err) != core.CodeLocked || core.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
	// Reading goes on, also when it cannot be noted.
	w.clock.pass(2 * time.Minute)
	if who, err := hurried.BySession(ctx, cookie, Limits{}); err != nil || who.User.Name != "anna" {
		t.Errorf("got %+v, %v", who, err)
	}
	w.ok(tx.Rollback())
	_, err = hurried.AddUser(ctx, "bob", Viewer, core.NewSecret(good))
	w.ok(err)

	gate, err := w.gate(ctx)
	w.ok(err)
	late := newStore(w.dir, w.clock)
	late.patience = time.Millisecond
	if _, err := late.opened(ctx); core.CodeOf(err) != core.CodeLocked {
		t.Errorf("got %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	late.patience = time.Minute
	if _, err := late.opened(cancelled); core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("got %v", err)
	}
	w.ok(gate.Close())
}

func TestDiskFull(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("anna", Admin)
	w.pool.SetMaxOpenConns(1)
	cookie, _ := w.in("anna", home)
	_, err := w.pool.Exec("PRAGMA max_page_count = 1") // SQLite takes the present count for it
	w.ok(err)
	var full error
	for i := 0; full == nil && i < 200; i++ {
		_, _, full = w.AddToken(ctx, "anna", strings.Repeat("x", 60)+string(rune('A'+i%26))+string(rune('A'+i/26)), Viewer, 0)
	}
	if core.CodeOf(full) != core.CodeDisk || !strings.Contains(core.HintOf(full), "make room") {
		t.Errorf("got %v, hint %q", full, core.HintOf(full))
	}
	if _, err := w.session(cookie); err != nil {
		t.Errorf("nobody can come and look: %v", err)
	}
}

// What root makes belongs to the folder's owner, whom the service may run as.
func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes files for others")
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 12345, 23456); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), dir, core.SystemClock{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < 2 {
		t.Fatalf("%v, %v", entries, err)
	}
	for _, e := range entries {
		if err := ownedBy(filepath.Join(dir, e.Name()), 12345); err != nil {
			t.Error(err)
		}
	}
}

func ownedBy(path string, uid uint32) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || owner.Uid != uid {
		return fmt.Errorf("%s does not belong to %d", path, uid)
	}
	return nil
}
