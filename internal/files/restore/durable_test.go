package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/capture"
	"github.com/backstay/backstay/internal/files/durable"
	"github.com/backstay/backstay/internal/files/treetest"
)

// hooked is the kernel with somebody watching, or failing.
type hooked struct {
	durable.System
	untrusted             bool
	onFile, onFolder, all func(fd int) error
}

func (h hooked) Trusted(fd int) bool { return !h.untrusted && h.System.Trusted(fd) }
func (h hooked) File(fd int) error   { return first(h.onFile, h.System.File, fd) }
func (h hooked) Folder(fd int) error { return first(h.onFolder, h.System.Folder, fd) }
func (h hooked) Disk(fd int) error   { return first(h.all, h.System.Disk, fd) }

func first(hook, call func(int) error, fd int) error {
	if hook != nil {
		if err := hook(fd); err != nil {
			return err
		}
	}
	return call(fd)
}

// testBatch is a batch that is small, and large enough to be synced as a whole.
const testBatch = durable.Singly + 8

// flatTree captures n files in one folder and some in others.
func flatTree(t *testing.T, n, folders int) (*treetest.Store, *capture.Result, string) {
	t.Helper()
	root := t.TempDir()
	for i := range n {
		treetest.Write(t, fmt.Sprintf("%s/flat/file%04d", root, i), fmt.Sprintf("new %d", i))
	}
	for i := range folders {
		treetest.Write(t, fmt.Sprintf("%s/folder%03d/file", root, i), "new")
	}
	m := treetest.NewStore()
	return m, captured(t, m, treetest.AppSet(root)), root
}

func trustedSystem(t *testing.T) durable.System {
	t.Helper()
	s, err := durable.New()
	treetest.OK(t, err)
	d, err := os.Open(t.TempDir())
	treetest.OK(t, err)
	defer func() { treetest.OK(t, d.Close()) }()
	if !s.Trusted(int(d.Fd())) {
		t.Skip("this kernel or file system is one where files are synced one by one")
	}
	return s
}

// TestNothingTakesItsPlaceUnsynced looks whether every file was under its
// temporary name when it was brought to disk, and its folder after that.
func TestNothingTakesItsPlaceUnsynced(t *testing.T) {
	for name, untrusted := range map[string]bool{"file by file": true, "as a whole": false} {
		t.Run(name, func(t *testing.T) {
			h := hooked{System: trustedSystem(t), untrusted: untrusted}
			n := 2*testBatch + 10
			m, c, _ := flatTree(t, n, 2*durable.Singly)
			target := t.TempDir()
			var mu sync.Mutex
			synced := map[string]bool{}
			disks, alone, folders, last := 0, 0, 0, ""
			h.all = func(int) error {
				mu.Lock()
				defer mu.Unlock()
				disks++
				last = "disk"
				entries, err := os.ReadDir(target + "/flat")
				for _, e := range entries {
					synced[e.Name()] = true
				}
				return err
			}
			h.onFile = func(fd int) error {
				mu.Lock()
				defer mu.Unlock()
				alone++
				last = "file"
				path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
				synced[filepath.Base(path)] = true
				return err
			}
			h.onFolder = func(int) error {
				mu.Lock()
				defer mu.Unlock()
				folders++
				last = "folder"
				return nil
			}
			got, err := restoreFiles(t.Context(), m, c.Entry, extraOf(c), optionsFor(c, target, func(o *Options) { o.Verify, o.batch = true, testBatch }), h)
			treetest.OK(t, err)
			if want := int64(n + 2*durable.Singly); got.Files != want {
				t.Errorf("%d files restored, want %d", got.Files, want)
			}
			for i := range n {
				name := fmt.Sprintf("file%04d", i)
				if !synced[files.TempName(name)] {
					t.Fatalf("%s took its place before it was on disk", name)
				}
				if b, err := os.ReadFile(target + "/flat/" + name); err != nil || string(b) != fmt.Sprintf("new %d", i) {
					t.Fatalf("%s: %q %v", name, b, err)
				}
			}
			if last != "folder" {
				t.Errorf("the last thing that was synced was a %s: what was renamed before may not be on disk", last)
			}
			if untrusted && (disks > 0 || alone != n+2*durable.Singly || folders != 2*durable.Singly+2) {
				t.Errorf("file by file: synced the disk %d times, %d files, %d folders", disks, alone, folders)
			}
			if !untrusted && (disks < 2 || alone > durable.Singly || folders > 2*durable.Singly) {
				t.Errorf("as a whole: synced the disk %d times, %d files, %d folders", disks, alone, folders)
			}
			noTempFiles(t, target)
		})
	}
}

// A disk that fails is told of, whichever call says so, and what was not on
// disk does not take the place of what was.
func TestDiskThatFails(t *testing.T) {
	const n = testBatch + 5
	m, c, _ := flatTree(t, n, 2*durable.Singly)
	few, fewC, _ := flatTree(t, 3, 0)
	eio := func(int) error { return unix.EIO }
	for name, x := range map[string]struct {
		h     hooked
		few   bool
		whole bool // all files are the old ones
		names string
	}{
		"a batch":           {h: hooked{all: eio}, whole: true, names: ""},
		"a file of a batch": {h: hooked{all: eio, onFile: eio}, whole: true, names: "/flat/file"},
		"a file":            {h: hooked{onFile: eio}, few: true, whole: true, names: "/flat/file"},
		"a file, untrusted": {h: hooked{onFile: eio, untrusted: true}, whole: true, names: "/flat/file"},
		"a folder":          {h: hooked{onFolder: eio}, few: true, names: "/flat"},
		"the end":           {h: hooked{onFolder: failAfter(durable.Singly, unix.EIO)}, names: ""},
		"no space":          {h: hooked{all: func(int) error { return unix.ENOSPC }}, whole: true, names: ""},
	} {
		t.Run(name, func(t *testing.T) {
			x.h.System = trustedSystem(t)
			m, c, n := m, c, n
			if x.few {
				m, c, n = few, fewC, 3
			}
			target := t.TempDir()
			for i := range n {
				treetest.Write(t, fmt.Sprintf("%s/flat/file%04d", target, i), "old")
			}
			before := treetest.OpenFiles(t)
			_, err := restoreFiles(t.Context(), m, c.Entry, extraOf(c), optionsFor(c, target, func(o *Options) { o.batch = testBatch }), x.h)
			if core.CodeOf(err) != core.CodeDisk || core.HintOf(err) == "" || !strings.Contains(err.Error(), target+x.names) {
				t.Errorf("got %v", err)
			}
			noTempFiles(t, target)
			if after := treetest.OpenFiles(t); after != before {
				t.Errorf("%d open files before, %d after", before, after)
			}
			if !x.whole {
				return
			}
			for i := range n {
				if b, err := os.ReadFile(fmt.Sprintf("%s/flat/file%04d", target, i)); err != nil || string(b) != "old" {
					t.Fatalf("file %d: %q %v", i, b, err)
				}
			}
		})
	}
}

func failAfter(n int, err error) func(int) error {
	var mu sync.Mutex
	return func(int) error {
		mu.Lock()
		defer mu.Unlock()
		if n--; n < 0 {
			return err
		}
		return nil
	}
}

func TestVerifyNoticesWhatTheDiskDid(t *testing.T) {
	m, c, _ := flatTree(t, 2*durable.Singly, 0)
	for name, untrusted := range map[string]bool{"file by file": true, "as a whole": false} {
		t.Run(name, func(t *testing.T) {
			target := t.TempDir()
			treetest.Write(t, target+"/flat/file0007", "old")
			spoil := func(int) error {
				path := target + "/flat/" + files.TempName("file0007")
				b, err := os.ReadFile(path)
				if errors.Is(err, fs.ErrNotExist) {
					return nil
				}
				b[0] ^= 1
				return errors.Join(err, os.WriteFile(path, b, 0o600))
			}
			h := hooked{System: trustedSystem(t), untrusted: untrusted, onFile: spoil, all: spoil}
			_, err := restoreFiles(t.Context(), m, c.Entry, extraOf(c), optionsFor(c, target, func(o *Options) { o.Verify = true; o.Workers = 1 }), h)
			if core.CodeOf(err) != core.CodeDamage || !strings.Contains(err.Error(), target+"/flat/file0007") {
				t.Errorf("got %v", err)
			}
			if b, err := os.ReadFile(target + "/flat/file0007"); err != nil || string(b) != "old" {
				t.Errorf("the file has %q, %v", b, err)
			}
			noTempFiles(t, target)
		})
	}
}

// TestKernelReportsFailedWrites restores to a file system whose disk fails when
// the kernel writes to it, long after write returned.
func TestKernelReportsFailedWrites(t *testing.T) {
	if !treetest.IsRoot() {
		t.Skip("only root can mount a file system")
	}
	base := t.TempDir()
	disk, target := treetest.Mkdir(t, base+"/disk"), treetest.Mkdir(t, base+"/target")
	// The disk is a file with more bytes than the file system has that it is on.
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=6m"); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() { treetest.OK(t, unix.Unmount(disk, 0)) })
	treetest.OK(t, os.WriteFile(disk+"/image", nil, 0o600))
	treetest.OK(t, os.Truncate(disk+"/image", 64<<20))
	run := func(name string, args ...string) {
		if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
			t.Skipf("%s: %v: %s", name, err, out)
		}
	}
	run("mkfs.ext4", "-q", "-F", "-O", "^has_journal", disk+"/image")
	run("mount", "-o", "loop", disk+"/image", target)
	t.Cleanup(func() { treetest.OK(t, unix.Unmount(target, 0)) })
	trustedSystem(t)
	root := t.TempDir()
	for i := range 100 {
		treetest.Write(t, fmt.Sprintf("%s/file%03d", root, i), strings.Repeat(fmt.Sprintf("%d ", i), 40_000))
	}
	m := treetest.NewStore()
	c := captured(t, m, treetest.AppSet(root))
	whole := false
	s, err := durable.New()
	treetest.OK(t, err)
	h := hooked{System: s, all: func(int) error { whole = true; return nil }}
	_, err = restoreFiles(t.Context(), m, c.Entry, extraOf(c), optionsFor(c, target), h)
	if core.CodeOf(err) != core.CodeDisk || core.HintOf(err) == "" || !strings.Contains(err.Error(), target) {
		t.Errorf("got %v", err)
	}
	if !whole {
		t.Error("the file system was not brought to disk as a whole: the test proves nothing")
	}
	if diff := cmp.Diff([]string{".", "lost+found"}, names(t, target)); diff != "" {
		t.Error(diff)
	}
}
