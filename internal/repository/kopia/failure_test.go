package kopia_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/kopia"
	"github.com/backstay/backstay/internal/repository/repositorytest"
)

// tree returns path → content of all files below root.
func tree(t testing.TB, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == root {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// wantError checks an error's code, and that its message and hint have texts.
func wantError(t testing.TB, err error, code core.Code, texts ...string) {
	t.Helper()
	if core.CodeOf(err) != code {
		t.Fatalf("error %v has code %s, want %s", err, core.CodeOf(err), code)
	}
	full := err.Error() + "\n" + core.HintOf(err)
	for _, text := range texts {
		if !strings.Contains(full, text) {
			t.Errorf("error %q does not say %q", full, text)
		}
	}
	if strings.Contains(full, "correct horse") {
		t.Errorf("error %q tells the key", full)
	}
}

func TestFolderThatIsNoRepository(t *testing.T) {
	half := func(drop string) func(*testing.T, string) {
		return func(t *testing.T, root string) {
			opts := create(t)
			if err := os.CopyFS(root, os.DirFS(folderOf(opts))); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(root, drop)); err != nil {
				t.Fatal(err)
			}
		}
	}
	file := func(names ...string) func(*testing.T, string) {
		return func(t *testing.T, root string) {
			if err := os.MkdirAll(root, 0o700); err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				if err := os.WriteFile(filepath.Join(root, name), []byte("{"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for name, tt := range map[string]struct {
		make      func(*testing.T, string)
		open      []string  // texts in Open's error
		create    core.Code // of Create's error; "" when it works
		createSay []string
	}{
		"missing":    {func(*testing.T, string) {}, []string{"there is no folder", "backstay init", "mount"}, "", nil},
		"empty":      {file(), []string{"is empty", "backstay init"}, "", nil},
		"new disk":   {func(t *testing.T, root string) { file()(t, root); file()(t, root+"/lost+found") }, []string{"is empty"}, "", nil},
		"foreign":    {file("holiday.jpg"), []string{"holds holiday.jpg, but no repository"}, core.CodeFailed, []string{"not empty", "holiday.jpg"}},
		"no format":  {half("kopia.repository.f"), []string{"kopia.repository.f is missing", "from a copy"}, core.CodeNoRepository, []string{"parts of a repository"}},
		"cut format": {file("kopia.repository.f", ".shards"), []string{"kopia.repository.f cannot be read"}, core.CodeNoRepository, []string{"parts of a repository"}},
		"killed while created": {func(t *testing.T, root string) {
			file("kopia.repository.f")(t, root)
			creatingMark(t, root, hostname(t))
		}, []string{"creation did not finish", "remove"},
			core.CodeNoRepository, []string{"creation did not finish"}},
	} {
		t.Run(name, func(t *testing.T) {
			opts := newOptions(t)
			tt.make(t, folderOf(opts))
			before := tree(t, folderOf(opts))
			_, err := kopia.Open(t.Context(), opts)
			wantError(t, err, core.CodeNoRepository, tt.open...)
			if diff := cmp.Diff(before, tree(t, folderOf(opts))); diff != "" {
				t.Errorf("open changed the folder:\n%s", diff)
			}
			err = kopia.Create(t.Context(), opts)
			if tt.create == "" {
				if err != nil {
					t.Fatalf("create: %v", err)
				}
				s := mustOpen(t, opts)
				mustStore(t, s, 1)
				mustClose(t, s)
				return
			}
			wantError(t, err, tt.create, tt.createSay...)
			if diff := cmp.Diff(before, tree(t, folderOf(opts))); diff != "" {
				t.Errorf("create changed the folder:\n%s", diff)
			}
		})
	}
}

func hostname(t *testing.T) string {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return host
}

// creatingMark makes the file that a creation on host has in its folder, and
// returns it open.
func creatingMark(t *testing.T, root, host string) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(root, "backstay.creating"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := f.WriteString(host); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestWhileCreated looks at a folder in which another process is creating a
// repository, or was until it was killed.
func TestWhileCreated(t *testing.T) {
	here := hostname(t)
	for name, tt := range map[string]struct {
		host         string
		locked, aged bool
		want         core.Code
	}{
		"alive":                     {here, true, false, core.CodeLocked},
		"alive for long":            {here, true, true, core.CodeLocked},
		"killed":                    {here, false, false, core.CodeNoRepository},
		"on another host":           {here + "2", false, false, core.CodeLocked},
		"on another host, long ago": {here + "2", false, true, core.CodeNoRepository},
		"not locked yet":            {"", false, false, core.CodeLocked},
		"cut short long ago":        {"", false, true, core.CodeNoRepository},
	} {
		t.Run(name, func(t *testing.T) {
			opts := newOptions(t)
			root := folderOf(opts)
			if err := os.MkdirAll(root, 0o700); err != nil {
				t.Fatal(err)
			}
			mark := creatingMark(t, root, tt.host)
			if tt.locked {
				if err := unix.Flock(int(mark.Fd()), unix.LOCK_EX); err != nil {
					t.Fatal(err)
				}
			}
			if tt.aged {
				old := time.Now().Add(-2 * time.Minute)
				if err := os.Chtimes(mark.Name(), old, old); err != nil {
					t.Fatal(err)
				}
			}
			says := "another process is creating"
			if tt.want == core.CodeNoRepository {
				says = "nothing was ever stored in it: remove"
			}
			_, openErr := kopia.Open(t.Context(), opts)
			for _, err := range []error{openErr, kopia.Vacant(opts.URL), kopia.Create(t.Context(), opts)} {
				wantError(t, err, tt.want, says, root)
			}
			if _, err := os.Stat(mark.Name()); err != nil {
				t.Errorf("the other's mark is gone: %v", err)
			}
		})
	}
}

// TestCreateAtOnce: one wins, and nobody harms what it made.
func TestCreateAtOnce(t *testing.T) {
	for _, exists := range []bool{false, true} {
		opts := newOptions(t)
		if exists {
			if err := os.MkdirAll(folderOf(opts), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		errs := make([]error, 8)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { errs[i] = kopia.Create(t.Context(), opts) })
		}
		wg.Wait()
		made := 0
		for _, err := range errs {
			switch {
			case err == nil:
				made++
			case core.CodeOf(err) != core.CodeLocked && !errors.Is(err, kopia.ErrExists):
				t.Errorf("a loser was told: %v", err)
			}
		}
		if made != 1 {
			t.Fatalf("%d of %d made the repository, want 1", made, len(errs))
		}
		s := mustOpen(t, opts)
		if err := read(t, s, mustStore(t, s, 1), 1); err != nil {
			t.Error(err)
		}
		mustClose(t, s)
	}
}

func TestCreateTwice(t *testing.T) {
	opts := create(t)
	before := tree(t, folderOf(opts))
	err := kopia.Create(t.Context(), opts)
	wantError(t, err, core.CodeFailed, "already a repository", folderOf(opts))
	if strings.Count(err.Error(), "repository") != 2+strings.Count(folderOf(opts), "repository") { // the first names the operation
		t.Errorf("%q says it twice", err)
	}
	if !errors.Is(err, kopia.ErrExists) {
		t.Errorf("%v is not ErrExists", err)
	}
	if diff := cmp.Diff(before, tree(t, folderOf(opts))); diff != "" {
		t.Errorf("the repository was changed:\n%s", diff)
	}
}

func TestCreateCancelledLeavesNothing(t *testing.T) {
	opts := newOptions(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantError(t, kopia.Create(ctx, opts), core.CodeCancelled)
	if _, err := os.Stat(folderOf(opts)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is left: %v", err)
	}
}

func TestWrongKey(t *testing.T) {
	opts := create(t)
	opts.Password = core.NewSecret("wrong horse")
	var log bytes.Buffer
	opts.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	_, err := kopia.Open(t.Context(), opts)
	wantError(t, err, core.CodeWrongKey, folderOf(opts), "password_file")
	if log.Len() > 0 {
		t.Errorf("beside the error, the log says: %s", log.String())
	}
	opts.Password = core.Secret{}
	wantError(t, kopia.Create(t.Context(), opts), core.CodeUsage, "no repository key")
}

func TestURLs(t *testing.T) {
	for url, tt := range map[string]struct {
		code core.Code
		text string
	}{
		"":                       {core.CodeUsage, "no repository URL"},
		"/var/lib/repository":    {core.CodeUsage, "no scheme"},
		"file://":                {core.CodeUsage, "no path"},
		"file:///":               {core.CodeUsage, "root of the file system"},
		"file:///a/../..":        {core.CodeUsage, "root of the file system"},
		"file://relative/path":   {core.CodeUsage, "not an absolute path"},
		"file:relative":          {core.CodeUsage, "not an absolute path"},
		"file:///a?b":            {core.CodeUsage, "%3F"},
		"file:///a%00b":          {core.CodeUsage, "NUL"},
		"s3://bucket/prefix":     {core.CodeUnsupported, "this version has file://"},
		"sftp://user:pw@host/x":  {core.CodeUnsupported, "this version has file://"},
		"gopher://host/x":        {core.CodeUsage, `unknown scheme "gopher"`},
		"file://u:secret@host/%": {core.CodeUsage, "cannot be read"},
	} {
		opts := newOptions(t)
		opts.URL = url
		_, err := kopia.Open(t.Context(), opts)
		for _, err := range []error{err, kopia.Create(t.Context(), opts)} {
			wantError(t, err, tt.code, tt.text)
			if strings.Contains(err.Error(), "pw") || strings.Contains(err.Error(), "secret") {
				t.Errorf("%q tells a password", err)
			}
		}
	}
	// What looks like escapes is taken as such.
	opts := newOptions(t)
	opts.URL += "%20with%3Fodd%23name"
	if err := kopia.Create(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(strings.TrimSuffix(folderOf(opts), "%20with%3Fodd%23name") + " with?odd#name"); err != nil || !fi.IsDir() {
		t.Errorf("the folder is not where the URL says: %v", err)
	}
	mustClose(t, mustOpen(t, opts))
}

// asOrdinaryUser runs the rest of the test without root's right to everything,
// but with the right to go to path.
func asOrdinaryUser(t *testing.T, path string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	for dir := filepath.Dir(path); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		chmod(t, dir, 0o755)
	}
	if err := syscall.Seteuid(65534); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Seteuid(0); err != nil {
			t.Fatal(err)
		}
	})
}

// chmod changes a mode until the test ends.
func chmod(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Chmod(path, fi.Mode()); err != nil {
			t.Error(err)
		}
	})
}

// chmodAll makes all below root readable, but not writable, for everybody.
func chmodAll(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			chmod(t, path, map[bool]fs.FileMode{true: 0o555, false: 0o444}[d.IsDir()])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestReadOnlyFolder(t *testing.T) {
	opts := create(t)
	opts.StateDir = ""
	s := mustOpen(t, opts)
	r := mustStore(t, s, 1)
	mustClose(t, s)
	chmodAll(t, folderOf(opts))
	asOrdinaryUser(t, folderOf(opts))

	s = mustOpen(t, opts)
	defer mustClose(t, s)
	got, err := s.List(t.Context())
	if err != nil || len(got) != 1 {
		t.Fatalf("list: %v, %v", got, err)
	}
	if err := read(t, s, r, 1); err != nil {
		t.Errorf("read: %v", err)
	}
	pinned := true
	_, beginErr := s.Begin(t.Context())
	_, maintainErr := s.Maintain(t.Context())
	for what, err := range map[string]error{
		"begin": beginErr, "delete": s.Delete(t.Context(), r.ID), "maintain": maintainErr,
		"mark": s.Mark(t.Context(), r.ID, repository.Mark{Pinned: &pinned}),
	} {
		t.Run(what, func(t *testing.T) { wantError(t, err, core.CodeDisk, folderOf(opts), "read-only") })
	}
	other := opts
	other.URL += "/inside"
	wantError(t, kopia.Create(t.Context(), other), core.CodeDisk, "/inside", "permission")
}

func TestUnreadable(t *testing.T) {
	for name, tt := range map[string]struct {
		which func(t *testing.T, root string) string
	}{
		"folder":      {func(_ *testing.T, root string) string { return root }},
		"format":      {func(_ *testing.T, root string) string { return filepath.Join(root, "kopia.repository.f") }},
		"index":       {func(t *testing.T, root string) string { return blobs(t, root, "x")[0] }},
		"pack":        {func(t *testing.T, root string) string { return blobs(t, root, "p")[0] }},
		"pack folder": {func(_ *testing.T, root string) string { return filepath.Join(root, "p") }},
		"list folder": {func(_ *testing.T, root string) string { return filepath.Join(root, "x") }},
	} {
		t.Run(name, func(t *testing.T) {
			opts := create(t)
			opts.StateDir = ""
			s := mustOpen(t, opts)
			r := mustStore(t, s, 1)
			mustClose(t, s)
			path := tt.which(t, folderOf(opts))
			chmodAll(t, folderOf(opts))
			chmod(t, path, 0)
			asOrdinaryUser(t, folderOf(opts))
			s, err := kopia.Open(t.Context(), opts)
			if err == nil {
				defer mustClose(t, s)
				_, err = s.List(t.Context())
			}
			if err == nil {
				err = read(t, s, r, 1)
			}
			wantError(t, err, core.CodeDisk, path, "permission")
		})
	}
}

// TestDiskFull fills a small file system while a backup is written.
func TestDiskFull(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("backstay-test", disk, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("a small file system needs the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	opts := newOptions(t)
	opts.URL = "file://" + disk
	if err := kopia.Create(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, opts)
	defer func() { mustClose(t, s) }()
	first := mustStore(t, s, 1)
	before := tree(t, disk)
	if space, err := s.Space(t.Context()); err != nil || space.Total != 24<<20 || space.Free <= 0 || space.Free+space.Used > space.Total {
		t.Errorf("space on a disk of 24 MiB: %+v, %v", space, err)
	}

	fill := func(size int) error {
		ss, err := s.Begin(t.Context())
		if err != nil {
			return err
		}
		defer ss.Abort()
		o, err := repositorytest.Put(t.Context(), ss, "large", repositorytest.Random(9, size))
		if err != nil {
			return err
		}
		root, err := ss.WriteDir(t.Context(), []core.Entry{{Name: "large", Type: core.TypeFile, Object: o}})
		if err != nil {
			return err
		}
		_, err = ss.Commit(t.Context(), root, repositorytest.NewBackup(2))
		return err
	}
	// The first size is too much for the packs that are written on the way,
	// the second for the one that is written by Commit.
	for _, size := range []int{60 << 20, 28 << 20} {
		err := fill(size)
		wantError(t, err, core.CodeDisk, disk, "no space left", "backstay delete")
		if !errors.Is(err, repository.ErrStorage) {
			t.Errorf("%v does not say that it is the repository's disk", err)
		}
		if diff := cmp.Diff(before, tree(t, disk)); diff != "" {
			t.Errorf("a backup of %d bytes that did not fit left something:\n%.300s", size, diff)
		}
		got, err := s.List(t.Context())
		if err != nil || len(got) != 1 || got[0].ID != first.ID {
			t.Fatalf("after disk full: %v, %v", got, err)
		}
	}
	mustStore(t, s, 3)
	mustClose(t, s)
	s = mustOpen(t, opts)
	if got, err := s.List(t.Context()); err != nil || len(got) != 2 {
		t.Errorf("after another backup: %v, %v", got, err)
	}
	if err := read(t, s, first, 1); err != nil {
		t.Error(err)
	}
	// Full to the last byte, one can still see and delete.
	if err := os.WriteFile(filepath.Join(disk, "backstay.ballast"), make([]byte, 40<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	if got, err := s.List(t.Context()); err != nil || len(got) != 2 {
		t.Errorf("list on a full disk: %v, %v", got, err)
	}
	pinned := true
	wantError(t, s.Mark(t.Context(), first.ID, repository.Mark{Pinned: &pinned}), core.CodeDisk, "no space left")
}

func TestFolderGoesAway(t *testing.T) {
	opts := create(t)
	s := mustOpen(t, opts)
	r := mustStore(t, s, 1)
	ss, err := s.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ss.Abort()
	if err := os.Rename(folderOf(opts), folderOf(opts)+".away"); err != nil {
		t.Fatal(err)
	}
	_, err = s.List(t.Context())
	wantError(t, err, core.CodeNoRepository)
	wantError(t, read(t, s, r, 1), core.CodeNoRepository)
	_, err = repositorytest.Put(t.Context(), ss, "f", repositorytest.Random(1, 50<<20))
	wantError(t, err, core.CodeNoRepository)
	wantError(t, s.Delete(t.Context(), r.ID), core.CodeNoRepository)
	_, err = s.Maintain(t.Context())
	wantError(t, err, core.CodeNoRepository)
	_, err = s.Space(t.Context())
	wantError(t, err, core.CodeNoRepository)
	if _, err := os.Stat(folderOf(opts)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the folder was made again")
	}
	if err := os.Rename(folderOf(opts)+".away", folderOf(opts)); err != nil {
		t.Fatal(err)
	}
	if got, err := s.List(t.Context()); err != nil || len(got) != 1 {
		t.Errorf("after the folder came back: %v, %v", got, err)
	}
	mustClose(t, s)
}

// TestAbortAndCloseLeaveNothing counts goroutines and files.
func TestAbortAndCloseLeaveNothing(t *testing.T) {
	opts := create(t)
	s := mustOpen(t, opts)
	mustStore(t, s, 1) // whatever starts once has started
	before, goroutines := tree(t, folderOf(opts)), runtime.NumGoroutine()
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		ss, err := s.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		f, err := ss.Create(ctx, "cut off")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(repositorytest.Random(4, 50<<20)); err != nil {
			t.Fatal(err)
		}
		if ss.StoredBytes() == 0 {
			t.Fatal("nothing was written that could be left")
		}
		cancel()
		ss.Abort()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff(before, tree(t, folderOf(opts))); diff != "" {
		t.Errorf("aborted sessions left files:\n%.300s", diff)
	}
	mustClose(t, s)
	// Goroutines that have been told to end may need a moment.
	for range 1_000_000 {
		if runtime.NumGoroutine() <= goroutines {
			return
		}
		runtime.Gosched()
	}
	buf := make([]byte, 1<<20)
	t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), goroutines, buf[:runtime.Stack(buf, true)])
}
