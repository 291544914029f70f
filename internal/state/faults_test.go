package state

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
)

// beOther is what the other process in a test does.
func beOther(role string) int {
	ctx := context.Background()
	if err := roles()[role](ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, role+":", err)
		return 1
	}
	return 0
}

func roles() map[string]func(ctx context.Context, args []string) error {
	untilTold := func() { _, _ = io.Copy(io.Discard, os.Stdin) }
	return map[string]func(ctx context.Context, args []string) error{
		// run begins a run and never ends it.
		"run": func(ctx context.Context, args []string) error {
			db, err := Open(ctx, args[0], newHand())
			if err != nil {
				return err
			}
			if _, err := db.BeginRun(ctx, backup("wiki", newHand().now)); err != nil {
				return err
			}
			fmt.Println("ready")
			untilTold()
			return db.Close()
		},
		// hold keeps the database locked.
		"hold": func(ctx context.Context, args []string) error {
			pool, err := openPool(filepath.Join(args[0], FileName), busyTimeout)
			if err != nil {
				return err
			}
			conn, err := pool.Conn(ctx)
			if err != nil {
				return err
			}
			if _, err := conn.ExecContext(ctx, "BEGIN EXCLUSIVE; INSERT INTO remembered VALUES ('held', '1')"); err != nil {
				return err
			}
			fmt.Println("ready")
			untilTold()
			if _, err := conn.ExecContext(ctx, "ROLLBACK"); err != nil {
				return err
			}
			return errors.Join(conn.Close(), pool.Close())
		},
		// write records runs and says each that is recorded.
		"write": func(ctx context.Context, args []string) error {
			db, err := Open(ctx, args[0], newHand())
			if err != nil {
				return err
			}
			for i := 0; args[2] == "" || strconv.Itoa(i) != args[2]; i++ {
				r := backup(args[1], newHand().now)
				r.Outcome, r.Message = core.OutcomeOK, strings.Repeat("x", i%3000)
				id, err := db.AddRun(ctx, r)
				if err == nil {
					err = db.Audit(ctx, core.Audited{Who: args[1], Action: "run"})
				}
				if err != nil {
					return err
				}
				fmt.Println(id)
			}
			return db.Close()
		},
		"full":      fillDisk,
		"read-only": readOnly,
	}
}

// TestLocked: another process holds the database. Writing is an error in
// time; opening and reading go on.
func TestLocked(t *testing.T) {
	dir := t.TempDir()
	clock := newHand()
	first := open(t, dir, clock)
	_, err := first.AddRun(t.Context(), core.Run{App: "wiki", Kind: core.RunBackup, Outcome: core.OutcomeOK, Started: clock.now})
	ok(t, err)
	_, ready, end := other(t, "hold", dir)
	ready()
	db, err := openWithin(t.Context(), dir, clock, 300*time.Millisecond)
	ok(t, err)
	defer func() { ok(t, db.Close()) }()
	began := time.Now()
	_, err = db.BeginRun(t.Context(), backup("wiki", clock.now))
	if core.CodeOf(err) != core.CodeLocked || !strings.Contains(core.HintOf(err), "fuser") || !strings.Contains(err.Error(), "record run: another process holds the state database") {
		t.Fatalf("%v (%s)", err, core.CodeOf(err))
	}
	if took := time.Since(began); took < 250*time.Millisecond || took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	runs, err := db.Runs(t.Context(), RunFilter{})
	ok(t, err)
	same(t, 1, len(runs))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := first.SetValue(ctx, "x", 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the context's end: %v", err)
	}
	end()
	ok(t, db.SetValue(t.Context(), "x", 1))
}

// TestLockedWhileOpening: another process opens it, which takes long; and runs
// that cannot be swept keep nobody from reading.
func TestLockedWhileOpening(t *testing.T) {
	dir := t.TempDir()
	clock := newHand()
	ok(t, open(t, dir, clock).write(t.Context(), "test", func(tx *sql.Tx) error {
		r := backup("wiki", clock.now)
		r.Outcome = core.OutcomeRunning
		_, err := insertRun(t.Context(), tx, r, 1<<30, processOf(1).String())
		return err
	}))
	_, ready, end := other(t, "hold", dir)
	ready()
	db, err := openWithin(t.Context(), dir, clock, 100*time.Millisecond)
	ok(t, err)
	defer func() { ok(t, db.Close()) }()
	if w := db.Warnings(); len(w) != 1 || w[0].Code != "state-unswept" || db.Replaced() != "" {
		t.Errorf("warnings: %v", w)
	}
	end()
	gate, err := db.enter(t.Context())
	ok(t, err)
	defer func() { ok(t, gate.Close()) }()
	if _, err := openWithin(t.Context(), dir, clock, 100*time.Millisecond); core.CodeOf(err) != core.CodeLocked || core.HintOf(err) == "" {
		t.Errorf("%v (%s)", err, core.CodeOf(err))
	}
}

// filled makes a database of some pages and closes it.
func filled(t *testing.T, dir string) {
	t.Helper()
	db := open(t, dir, newHand())
	ok(t, db.write(t.Context(), "test", func(tx *sql.Tx) error {
		for i := range 200 {
			if err := setValue(t.Context(), tx, fmt.Sprintf("key/%d", i), strings.Repeat("x", 500)); err != nil {
				return err
			}
		}
		return nil
	}))
	ok(t, db.Close())
}

func TestDamage(t *testing.T) {
	edit := func(change func(b []byte) []byte) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			ok(t, err)
			ok(t, os.WriteFile(path, change(b), 0o600))
		}
	}
	overwrite := func(from, n int) func(t *testing.T, path string) {
		return edit(func(b []byte) []byte {
			copy(b[from:], bytes.Repeat([]byte{0xa5}, n))
			return b
		})
	}
	for name, damage := range map[string]func(t *testing.T, path string){
		"header":            overwrite(0, 100),
		"magic":             overwrite(0, 4),
		"page size":         overwrite(16, 2),
		"schema":            overwrite(100, 3000),
		"a page":            overwrite(20*4096, 4096),
		"zeroed page":       edit(func(b []byte) []byte { clear(b[20*4096 : 21*4096]); return b }),
		"truncated":         edit(func(b []byte) []byte { return b[:len(b)/2] }),
		"truncated in page": edit(func(b []byte) []byte { return b[:len(b)-1000] }),
		"first page only":   edit(func(b []byte) []byte { return b[:4096] }),
		"some bytes":        edit(func(b []byte) []byte { return b[:50] }),
		"not a database": edit(func([]byte) []byte {
			return []byte("# this is a text, and a long one at that\n" + strings.Repeat("x", 5000))
		}),
		"empty":              edit(func([]byte) []byte { return nil }),
		"gone, the log left": func(t *testing.T, path string) { ok(t, os.Rename(path, path+"-wal")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, FileName)
			filled(t, dir)
			damage(t, path)
			broken, readErr := os.ReadFile(path)
			db := open(t, dir, newHand())
			aside := db.Replaced()
			same(t, path+".damaged-20261123T083000Z", aside)
			if w := db.Warnings(); len(w) != 1 || w[0].Code != "state-replaced" || !strings.Contains(w[0].Message, "begun anew") {
				t.Errorf("warnings: %v", w)
			}
			if readErr == nil {
				kept, err := os.ReadFile(aside)
				ok(t, err)
				if !bytes.Equal(broken, kept) {
					t.Error("the damaged file was changed")
				}
			}
			ok(t, db.SetValue(t.Context(), "works", true))
			var r Replacement
			found, err := db.Value(t.Context(), KeyReplaced, &r)
			ok(t, err)
			if !found || r.Aside != aside || r.Reason == "" {
				t.Errorf("%v %+v", found, r)
			}
			log, err := db.AuditLog(t.Context(), AuditFilter{})
			ok(t, err)
			if len(log) != 1 || log[0].Action != "state-replaced" || log[0].Object != aside {
				t.Errorf("audit log: %+v", log)
			}
			ok(t, db.Close())
			again := open(t, dir, newHand())
			if again.Replaced() != "" {
				t.Errorf("replaced again: %v", again.Warnings())
			}
		})
	}
}

// TestHalfMade: a process was killed while it made the database.
func TestHalfMade(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	for _, suffix := range []string{".new", ".new-wal", ".new-shm", ".lock"} {
		ok(t, os.WriteFile(path+suffix, []byte("half"), 0o600))
	}
	db := open(t, dir, newHand())
	ok(t, db.SetValue(t.Context(), "x", 1))
	same(t, "", db.Replaced())
	ok(t, db.Close())
	same(t, []string{FileName, FileName + ".lock"}, names(t, dir))
}

// TestDamageTwice keeps both.
func TestDamageTwice(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	for _, want := range []string{path + ".damaged-20261123T083000Z", path + ".damaged-20261123T083000Z-2"} {
		filled(t, dir)
		ok(t, os.WriteFile(path, []byte("no"), 0o600))
		db := open(t, dir, newHand())
		same(t, want, db.Replaced())
		ok(t, db.Close())
	}
}

// TestDamageMet: it is damaged while it is open. The method that meets it says
// so; the next has a new database; and another that had it open goes on with
// that one.
func TestDamageMet(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	filled(t, dir)
	db, bystander := open(t, dir, newHand()), open(t, dir, newHand())
	id, err := bystander.BeginRun(t.Context(), backup("wiki", newHand().now))
	ok(t, err)
	_, err = raw(t, dir).ExecContext(t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)")
	ok(t, err)
	b, err := os.ReadFile(path)
	ok(t, err)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	ok(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte{0xa5}, len(b)-4096), 4096)
	ok(t, errors.Join(err, f.Close()))
	_, err = db.Values(t.Context(), "key/")
	if core.CodeOf(err) != core.CodeDisk || !strings.Contains(err.Error(), "is damaged") || core.HintOf(err) == "" {
		t.Fatalf("%v", err)
	}
	values, err := db.Values(t.Context(), "key/")
	ok(t, err)
	if len(values) != 0 || db.Replaced() == "" {
		t.Fatalf("%d values, %v", len(values), db.Warnings())
	}
	ok(t, db.SetValue(t.Context(), "new", 1))
	found, err := bystander.Value(t.Context(), "new", new(int))
	ok(t, err)
	if !found || bystander.Replaced() != "" {
		t.Errorf("the bystander: found %v, %v", found, bystander.Warnings())
	}
	r := backup("wiki", newHand().now)
	r.ID, r.Outcome = id, core.OutcomeOK
	ok(t, bystander.FinishRun(t.Context(), r))
	last, err := db.LastRun(t.Context(), "wiki", core.RunBackup)
	ok(t, err)
	if last == nil || last.Outcome != core.OutcomeOK {
		t.Errorf("the run that the damage interrupted: %+v", last)
	}
	same(t, 1, strings.Count(strings.Join(names(t, dir), "\n"), ".damaged-20261123T083000Z\n"))
}

// TestRemovedWhileOpen: somebody removed the file of an open database.
func TestRemovedWhileOpen(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, newHand())
	ok(t, db.SetValue(t.Context(), "old", 1))
	for _, name := range names(t, dir) {
		ok(t, os.Remove(filepath.Join(dir, name)))
	}
	ok(t, db.SetValue(t.Context(), "new", 1))
	found, err := open(t, dir, newHand()).Value(t.Context(), "new", new(int))
	ok(t, err)
	same(t, true, found)
}

// TestOpenChecksOnlyInDoubt counts on damage that only a check of the whole
// file notices.
func TestOpenChecksOnlyInDoubt(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	filled(t, dir)
	before, err := os.Stat(path)
	ok(t, err)
	b, err := os.ReadFile(path)
	ok(t, err)
	copy(b[20*4096:], bytes.Repeat([]byte{0xa5}, 4096))
	ok(t, os.WriteFile(path, b, 0o600))
	ok(t, os.Chtimes(path, time.Time{}, before.ModTime()))
	db := open(t, dir, newHand())
	same(t, "", db.Replaced()) // all as it was left: not read as a whole
	ok(t, db.Close())
	ok(t, os.Chtimes(path, time.Time{}, before.ModTime().Add(time.Second)))
	if open(t, dir, newHand()).Replaced() == "" {
		t.Error("a changed file was not checked")
	}
}

// TestKilledWhileWriting: what a process said was recorded is there after a
// kill, and the database is whole.
func TestKilledWhileWriting(t *testing.T) {
	dir := t.TempDir()
	var last int64
	for round := range 8 {
		cmd, ready, _ := other(t, "write", dir, "wiki", "")
		for range 5 + 7*round {
			n, err := strconv.ParseInt(ready(), 10, 64)
			ok(t, err)
			last = n
		}
		ok(t, cmd.Process.Kill())
		_ = cmd.Wait()
		db := open(t, dir, newHand())
		same(t, "", db.Replaced())
		ok(t, check(t.Context(), db.pool, "integrity_check"))
		runs, err := db.Runs(t.Context(), RunFilter{})
		ok(t, err)
		if runs[0].ID < last || int64(len(runs)) != runs[0].ID {
			t.Fatalf("%d runs, the newest %d; %d was recorded", len(runs), runs[0].ID, last)
		}
		report, err := db.VerifyAudit(t.Context())
		ok(t, err)
		if report.Broken != 0 || report.Entries < last-int64(round)-1 { // each kill can come between a run and its entry
			t.Fatalf("%+v", report)
		}
		ok(t, db.Close())
	}
}

// TestManyWriters: processes and goroutines write at the same time, from the
// first moment on, and lose nothing.
func TestManyWriters(t *testing.T) {
	dir := t.TempDir()
	const each = 60
	var ends []func()
	for _, app := range []string{"a", "b"} {
		_, ready, end := other(t, "write", dir, app, strconv.Itoa(each))
		ends = append(ends, func() {
			for range each {
				ready()
			}
			end()
		})
	}
	db := open(t, dir, newHand())
	var writers sync.WaitGroup
	for _, app := range []string{"c", "d", "e"} {
		writers.Go(func() {
			for range each {
				if _, err := db.AddRun(t.Context(), core.Run{App: app, Outcome: core.OutcomeOK}); err != nil {
					t.Error(err)
				}
				if err := db.Audit(t.Context(), core.Audited{Who: app}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	for _, end := range ends {
		end()
	}
	for _, app := range []string{"a", "b", "c", "d", "e"} {
		runs, err := db.Runs(t.Context(), RunFilter{App: app})
		ok(t, err)
		same(t, each, len(runs))
	}
	report, err := db.VerifyAudit(t.Context())
	ok(t, err)
	same(t, AuditReport{Entries: 5 * each}, report)
	same(t, "", db.Replaced())
}

// mounted runs a role in a mount namespace of its own, which needs root.
func mounted(t *testing.T, role string) {
	t.Helper()
	self, err := os.Executable()
	ok(t, err)
	unshare, err := exec.LookPath("unshare")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("a file system of a few pages needs root and unshare")
	}
	if out, err := exec.CommandContext(t.Context(), unshare, "-m", "mount", "-t", "tmpfs", "tmpfs", t.TempDir()).CombinedOutput(); err != nil {
		t.Skipf("file systems cannot be mounted here: %v: %s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), unshare, "-m", self, t.TempDir())
	cmd.Env = append(os.Environ(), "BACKSTAY_STATE_TEST_ROLE="+role)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestDiskFull(t *testing.T) { mounted(t, "full") }

// fillDisk fills a file system under an open database.
func fillDisk(ctx context.Context, args []string) (err error) {
	dir := args[0]
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	ballast := filepath.Join(dir, "ballast")
	fill := func() error {
		f, err := os.Create(ballast)
		if err != nil {
			return err
		}
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		if !errors.Is(err, unix.ENOSPC) {
			return err
		}
		return f.Close()
	}
	// No room from the beginning: no database, and none that is half made.
	if err := fill(); err != nil {
		return err
	}
	if _, err := Open(ctx, dir, newHand()); core.CodeOf(err) != core.CodeDisk || core.HintOf(err) == "" {
		return fmt.Errorf("opened on a full disk: %v (%s)", err, core.CodeOf(err))
	}
	if _, err := os.Stat(filepath.Join(dir, FileName)); err == nil {
		return errors.New("a database was made on a full disk")
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	db, err := Open(ctx, dir, newHand())
	if err != nil {
		return err
	}
	add := func() error {
		_, err := db.AddRun(ctx, core.Run{App: "wiki", Kind: core.RunBackup, Outcome: core.OutcomeOK, Message: strings.Repeat("x", 2000)})
		return err
	}
	recorded := 0
	for ; recorded < 20; recorded++ {
		if err := add(); err != nil {
			return err
		}
	}
	if err := fill(); err != nil {
		return err
	}
	for err = nil; err == nil && recorded < 10000; {
		if err = add(); err == nil {
			recorded++
		}
	}
	if core.CodeOf(err) != core.CodeDisk || !strings.Contains(err.Error(), "no room") || core.HintOf(err) == "" {
		return fmt.Errorf("with the disk full: %v (%s)", err, core.CodeOf(err))
	}
	counted := func(db *DB) error {
		runs, err := db.Runs(ctx, RunFilter{})
		if err == nil && len(runs) != recorded {
			err = fmt.Errorf("%d runs of %d", len(runs), recorded)
		}
		return err
	}
	if err := counted(db); err != nil {
		return fmt.Errorf("read on a full disk: %w", err)
	}
	if err := db.Close(); err != nil {
		return fmt.Errorf("close on a full disk: %w", err)
	}
	if db, err = Open(ctx, dir, newHand()); err == nil {
		err = errors.Join(counted(db), db.Close())
	} else if core.CodeOf(err) == core.CodeDisk && core.HintOf(err) != "" {
		err = nil // there may be no room for SQLite's own files
	}
	if err != nil {
		return fmt.Errorf("open on a full disk: %w", err)
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	if db, err = Open(ctx, dir, newHand()); err != nil {
		return err
	}
	if err := add(); err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	recorded++
	if db.Replaced() != "" {
		return fmt.Errorf("taken for damaged: %v", db.Warnings())
	}
	return errors.Join(counted(db), check(ctx, db.pool, "integrity_check"), db.Close())
}

func TestReadOnlyFileSystem(t *testing.T) { mounted(t, "read-only") }

func readOnly(ctx context.Context, args []string) error {
	dir := args[0]
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	db, err := Open(ctx, dir, newHand())
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, "size=4m"); err != nil {
		return fmt.Errorf("mount read-only: %w", err)
	}
	if _, err := Open(ctx, dir, newHand()); core.CodeOf(err) != core.CodeDisk || core.HintOf(err) == "" {
		return fmt.Errorf("opened where nothing can be written: %v (%s)", err, core.CodeOf(err))
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=4m"); err != nil {
		return fmt.Errorf("mount writable: %w", err)
	}
	if db, err = Open(ctx, dir, newHand()); err != nil {
		return err
	}
	if db.Replaced() != "" {
		return fmt.Errorf("taken for damaged: %v", db.Warnings())
	}
	return db.Close()
}

func TestFolderOfAnotherUser(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere; see TestReadOnlyFileSystem")
	}
	dir := t.TempDir()
	ok(t, os.Chmod(dir, 0o500))
	if _, err := Open(t.Context(), dir, newHand()); core.CodeOf(err) != core.CodeDisk || core.HintOf(err) == "" {
		t.Errorf("%v (%s)", err, core.CodeOf(err))
	}
}
