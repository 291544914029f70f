package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/capture"
	"github.com/backstay/backstay/internal/files/treetest"
)

// restoreTo restores what c captured, as an engine would.
func restoreTo(t *testing.T, m core.TreeReader, c *capture.Result, target string, change ...func(*Options)) (*Result, error) {
	t.Helper()
	return Files(t.Context(), m, c.Entry, extraOf(c), optionsFor(c, target, change...))
}

func optionsFor(c *capture.Result, target string, change ...func(*Options)) Options {
	opt := Options{Targets: map[string]string{"app": target}, Owners: c.Owners, Trees: c.Trees, Kept: c.Warnings}
	for _, f := range change {
		f(&opt)
	}
	return opt
}

func captured(t *testing.T, m core.TreeWriter, sets ...core.FileSet) *capture.Result {
	t.Helper()
	c, err := capture.Files(t.Context(), sets, m, capture.Options{})
	treetest.OK(t, err)
	return c
}

func extraOf(c *capture.Result) core.ObjectID {
	if c.Extra == nil {
		return ""
	}
	return c.Extra.ID
}

func noTempFiles(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), ".backstay-") {
			t.Errorf("left behind: %s", path)
		}
		return err
	})
	treetest.OK(t, err)
}

func TestRestoreOverDamagedTree(t *testing.T) {
	root := t.TempDir() + "/tree"
	treetest.HostileTree(t, root)
	want := treetest.Describe(t, root)
	m := treetest.NewStore()
	c := captured(t, m, treetest.AppSet(root))
	outside := t.TempDir()
	treetest.Write(t, outside+"/precious", "p")

	// Everything that can stand in the way.
	treetest.OK(t, os.Chmod(root+"/closed", 0o755))
	treetest.OK(t, os.WriteFile(root+"/plain.txt", []byte("overwritten"), 0o644))
	treetest.OK(t, os.Remove(root+"/big.bin"))
	treetest.Mkdir(t, root+"/big.bin/a/b") // a folder in a file's place
	treetest.Write(t, root+"/big.bin/a/c", "c")
	treetest.Symlink(t, outside, root+"/big.bin/out")
	treetest.OK(t, os.RemoveAll(root+"/hard"))
	treetest.Write(t, root+"/hard", "a file in a folder's place")
	treetest.OK(t, os.RemoveAll(root+"/sticky"))
	treetest.Symlink(t, outside, root+"/sticky") // a link in a folder's place
	treetest.OK(t, os.Remove(root+"/empty"))
	treetest.Symlink(t, outside+"/precious", root+"/empty") // a link in a file's place
	treetest.OK(t, os.Remove(root+"/link"))
	treetest.Mkdir(t, root+"/link/x") // a folder in a link's place
	treetest.OK(t, os.Chmod(root+"/sgid folder", 0o700))
	treetest.OK(t, os.Chmod(root+"/closed", 0o555))
	treetest.OK(t, os.Remove(root+"/secret"))
	treetest.OK(t, unix.Mkfifo(root+"/secret", 0o600))
	treetest.Write(t, root+"/"+files.TempName("plain.txt"), "left by a restore that was killed")
	treetest.OK(t, os.RemoveAll(root+"/acl"))
	if err := unix.Setxattr(root+"/another", "user.new", []byte("x"), 0); err != nil && err != unix.ENOTSUP {
		t.Fatal(err)
	}

	got, err := restoreTo(t, m, c, root)
	treetest.OK(t, err)
	if diff := cmp.Diff([]string{"replaced " + root + "/sticky"}, treetest.Codes(got.Warnings)); diff != "" || got.Removed != 0 {
		t.Errorf("%+v\n%s", got, diff)
	}
	if diff := cmp.Diff(want, treetest.Describe(t, root)); diff != "" {
		t.Errorf("-captured +restored:\n%s", diff)
	}
	if diff := cmp.Diff([]string{".", "precious"}, names(t, outside)); diff != "" {
		t.Error(diff)
	}
	noTempFiles(t, root)
}

// A link to another disk may be meant to stay one.
func TestRestoreFollowsWhereItIsTold(t *testing.T) {
	base := t.TempDir()
	root := treetest.Mkdir(t, base+"/root")
	treetest.Write(t, base+"/disk/a", "a")
	treetest.Symlink(t, base+"/disk", root+"/uploads")
	s := treetest.AppSet(root)
	s.Include = append(s.Include, core.Path{Path: "uploads", Follow: true})
	m := treetest.NewStore()
	c := captured(t, m, s)
	if diff := cmp.Diff([]string{"uploads"}, c.Trees[0].Followed); diff != "" {
		t.Error(diff)
	}
	treetest.OK(t, os.Remove(base+"/disk/a"))
	got, err := restoreTo(t, m, c, root, func(o *Options) { o.Follow = []string{"app/uploads"} })
	treetest.OK(t, err)
	if diff := cmp.Diff([]string{".", "disk", "disk/a", "root", "root/uploads"}, names(t, base)); diff != "" || len(got.Warnings) > 0 {
		t.Errorf("%v %s", got.Warnings, diff)
	}
	got, err = restoreTo(t, m, c, root)
	treetest.OK(t, err)
	if diff := cmp.Diff([]string{".", "disk", "disk/a", "root", "root/uploads", "root/uploads/a"}, names(t, base)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"replaced " + root + "/uploads"}, treetest.Codes(got.Warnings)); diff != "" {
		t.Error(diff)
	}
}

func names(t *testing.T, root string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		all = append(all, rel)
		return err
	})
	treetest.OK(t, err)
	return all
}

func TestRestoreSomePaths(t *testing.T) {
	root := t.TempDir()
	treetest.Write(t, root+"/a/one", "1")
	treetest.Write(t, root+"/a/two", "2")
	treetest.Write(t, root+"/b/deep/three", "3")
	treetest.Write(t, root+"/ab/four", "4")
	treetest.OK(t, os.Link(root+"/a/one", root+"/b/linked"))
	treetest.OK(t, os.Chmod(root+"/b", 0o710))
	m := treetest.NewStore()
	c := captured(t, m, treetest.AppSet(root))
	for name, x := range map[string]struct {
		paths []string
		want  []string
	}{
		"a file":                      {[]string{"app/a/two"}, []string{".", "a", "a/two"}},
		"a folder":                    {[]string{"app/b/"}, []string{".", "b", "b/deep", "b/deep/three", "b/linked"}},
		"a link without its original": {[]string{"app/b/linked"}, []string{".", "b", "b/linked"}},
		"a place":                     {[]string{"app"}, []string{".", "a", "a/one", "a/two", "ab", "ab/four", "b", "b/deep", "b/deep/three", "b/linked"}},
		"two":                         {[]string{"app/a/one", "/app/ab"}, []string{".", "a", "a/one", "ab", "ab/four"}},
	} {
		t.Run(name, func(t *testing.T) {
			target := t.TempDir()
			_, err := restoreTo(t, m, c, target, func(o *Options) { o.Paths = x.paths })
			treetest.OK(t, err)
			if diff := cmp.Diff(x.want, names(t, target)); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("folders on the way keep their attributes", func(t *testing.T) {
		target := t.TempDir()
		treetest.OK(t, os.Chmod(treetest.Mkdir(t, target+"/b"), 0o700))
		treetest.SetTime(t, target, time.Unix(1, 0))
		_, err := restoreTo(t, m, c, target, func(o *Options) { o.Paths = []string{"app/b/deep"} })
		treetest.OK(t, err)
		for path, mode := range map[string]fs.FileMode{"/b": 0o700, "/b/deep": 0o755} {
			if info, err := os.Stat(target + path); err != nil || info.Mode().Perm() != mode {
				t.Errorf("%s: %v %v", path, info.Mode(), err)
			}
		}
	})
	t.Run("missing", func(t *testing.T) {
		target := t.TempDir() + "/untouched"
		_, err := restoreTo(t, m, c, target, func(o *Options) { o.Paths = []string{"app/a", "app/nope"} })
		if core.CodeOf(err) != core.CodeNotFound || core.HintOf(err) == "" {
			t.Errorf("got %v", err)
		}
		if _, err := os.Lstat(target); !os.IsNotExist(err) {
			t.Errorf("the target was made: %v", err)
		}
	})
}

// What lies on the way to a captured path belongs to the system, not to the backup.
func TestFoldersOnTheWayAreNotReplaced(t *testing.T) {
	root := t.TempDir()
	treetest.Write(t, root+"/etc/app/conf", "c")
	treetest.OK(t, os.Chmod(root+"/etc", 0o700))
	m := treetest.NewStore()
	s := treetest.AppSet(root)
	s.Include = []core.Path{{Path: "etc/app/conf"}}
	c := captured(t, m, s)

	target := t.TempDir()
	treetest.Mkdir(t, target+"/elsewhere")
	treetest.Symlink(t, "elsewhere", target+"/etc")
	_, err := restoreTo(t, m, c, target)
	if err == nil || core.HintOf(err) == "" || !strings.Contains(err.Error(), target+"/etc is not a folder here") {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{".", "elsewhere", "etc"}, names(t, target)); diff != "" {
		t.Error(diff)
	}
	treetest.OK(t, os.Remove(target+"/etc"))
	treetest.OK(t, os.Chmod(treetest.Mkdir(t, target+"/etc"), 0o751))
	treetest.Mkdir(t, target+"/etc/app/conf") // the captured file itself is the backup's
	_, err = restoreTo(t, m, c, target)
	treetest.OK(t, err)
	if info, err := os.Stat(target + "/etc"); err != nil || info.Mode().Perm() != 0o751 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if b, err := os.ReadFile(target + "/etc/app/conf"); err != nil || string(b) != "c" {
		t.Errorf("%q %v", b, err)
	}
	_, err = restoreTo(t, m, c, t.TempDir()+"/new") // made, so with the attributes of the backup
	treetest.OK(t, err)
}

func TestDelete(t *testing.T) {
	root := t.TempDir()
	treetest.Write(t, root+"/data/keep", "k")
	treetest.Write(t, root+"/data/cache/c", "c")
	treetest.Write(t, root+"/conf/file", "f")
	treetest.Write(t, root+"/unowned/x", "x")
	m := treetest.NewStore()
	set := core.FileSet{
		Component: core.ComponentFiles, Place: "app", Root: root,
		Include: []core.Path{{Path: "data"}, {Path: "conf/file"}}, Exclude: []string{"data/cache/**", "**/*.log"},
	}
	c := captured(t, m, set)
	outside := t.TempDir()
	treetest.Write(t, outside+"/precious", "p")
	treetest.Write(t, root+"/data/new", "n")
	treetest.Write(t, root+"/data/newdir/sub/file", "n")
	treetest.Write(t, root+"/data/logs/a.log", "excluded, so its folder stays too")
	treetest.Write(t, root+"/data/logs/a.txt", "goes")
	treetest.Symlink(t, outside, root+"/data/newlink")
	treetest.Write(t, root+"/data/unread", "could not be captured")
	treetest.Write(t, root+"/conf/other", "not the backup's")
	treetest.Write(t, root+"/data/"+files.TempName("gone"), "left by a restore that was killed")

	got, err := restoreTo(t, m, c, root)
	treetest.OK(t, err)
	if got.Removed != 0 {
		t.Errorf("removed without Delete: %+v", got)
	}
	got, err = restoreTo(t, m, c, root, func(o *Options) {
		o.Delete = true
		o.Kept = []core.Warning{{Code: "unreadable", Object: root + "/data/unread"}}
	})
	treetest.OK(t, err)
	want := []string{
		".", "conf", "conf/file", "conf/other", "data", "data/cache", "data/cache/c", "data/keep",
		"data/logs", "data/logs/a.log", "data/unread", "unowned", "unowned/x",
	}
	if diff := cmp.Diff(want, names(t, root)); diff != "" {
		t.Error(diff)
	}
	if got.Removed != 7 { // new, newdir with two, a.txt, newlink, the temporary file
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff([]string{".", "precious"}, names(t, outside)); diff != "" {
		t.Error(diff)
	}
	if _, err := restoreTo(t, m, c, root, func(o *Options) { o.Delete, o.Trees = true, nil }); err == nil {
		t.Error("Delete without Trees was accepted")
	}
	// Only what is below the restored paths is touched.
	treetest.Write(t, root+"/data/again", "a")
	_, err = restoreTo(t, m, c, root, func(o *Options) { o.Delete = true; o.Paths = []string{"app/data/keep"} })
	treetest.OK(t, err)
	if _, err := os.Stat(root + "/data/again"); err != nil {
		t.Error(err)
	}
}

// failing lets some objects' reads break off.
type failing struct {
	*treetest.Store
	id  core.ObjectID
	err error
}

func (f failing) Open(ctx context.Context, id core.ObjectID) (io.ReadSeekCloser, error) {
	r, err := f.Store.Open(ctx, id)
	if err != nil || id != f.id {
		return r, err
	}
	return &breaking{ReadSeekCloser: r, err: f.err}, nil
}

type breaking struct {
	io.ReadSeekCloser
	n   int
	err error
}

func (b *breaking) Read(p []byte) (int, error) {
	if b.n > 0 {
		return 0, b.err
	}
	b.n++
	return b.ReadSeekCloser.Read(p[:min(len(p), 100)])
}

func TestDamagedBackupLeavesTheFileAsItWas(t *testing.T) {
	root := t.TempDir()
	treetest.Write(t, root+"/sub/file", strings.Repeat("new ", 1000))
	m := treetest.NewStore()
	c := captured(t, m, treetest.AppSet(root))
	e := treetest.Stored(t, m, c.Entry)["app/sub/file"]
	damaged := &core.Error{Code: core.CodeDamage, Message: "block 7 is damaged"}
	for name, r := range map[string]core.TreeReader{
		"in the middle": failing{m, e.Object.ID, damaged},
		"shorter":       failing{m, e.Object.ID, io.EOF},
		"missing": func() core.TreeReader {
			n := treetest.NewStore()
			n.Dirs = m.Dirs
			return n
		}(),
		"longer": func() core.TreeReader {
			n := treetest.NewStore()
			n.Dirs = m.Dirs
			n.Files[e.Object.ID] = []byte(strings.Repeat("new ", 1001))
			return n
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			target := t.TempDir()
			treetest.Write(t, target+"/sub/file", "old")
			before := treetest.OpenFiles(t)
			_, err := restoreTo(t, r, c, target)
			if core.CodeOf(err) != core.CodeDamage || !strings.Contains(err.Error(), target+"/sub/file") {
				t.Errorf("got %v", err)
			}
			if b, err := os.ReadFile(target + "/sub/file"); err != nil || string(b) != "old" {
				t.Errorf("the file has %q, %v", b, err)
			}
			noTempFiles(t, target)
			if after := treetest.OpenFiles(t); after != before {
				t.Errorf("%d open files before, %d after", before, after)
			}
		})
	}
}

// hostileEntry makes a stored tree that Capture would not write.
func hostileEntry(m *treetest.Store, entries ...core.Entry) core.Entry {
	app, _ := m.WriteDir(context.Background(), entries)
	top, _ := m.WriteDir(context.Background(), []core.Entry{{Name: "app", Type: core.TypeDir, Mode: 0o755, Object: app}})
	return core.Entry{Name: "files", Type: core.TypeDir, Object: top}
}

func put(t *testing.T, m *treetest.Store, text string) core.Object {
	t.Helper()
	f, err := m.Create(t.Context(), "test")
	treetest.OK(t, err)
	_, err = io.WriteString(f, text)
	treetest.OK(t, err)
	o, err := f.Finish()
	treetest.OK(t, err)
	return o
}

func TestHostileBackup(t *testing.T) {
	m := treetest.NewStore()
	x := put(t, m, "x")
	file := func(name string) core.Entry {
		return core.Entry{Name: name, Type: core.TypeFile, Mode: 0o644, Object: x, UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	}
	link := func(name, target string) core.Entry {
		e := file(name)
		e.Type, e.Object = core.TypeSymlink, put(t, m, target)
		return e
	}
	unknown := file("a")
	unknown.Type = "p"
	for name, c := range map[string]struct {
		entry core.Entry
		extra string
	}{
		"dot dot":             {hostileEntry(m, file("..")), ""},
		"dot":                 {hostileEntry(m, file(".")), ""},
		"slash":               {hostileEntry(m, file("../../escaped")), ""},
		"absolute":            {hostileEntry(m, file("/escaped")), ""},
		"empty":               {hostileEntry(m, file("")), ""},
		"NUL":                 {hostileEntry(m, file("a\x00b")), ""},
		"unknown kind":        {hostileEntry(m, unknown), ""},
		"empty link":          {hostileEntry(m, link("a", "")), ""},
		"link with NUL":       {hostileEntry(m, link("a", "b\x00c")), ""},
		"endless link":        {hostileEntry(m, link("a", strings.Repeat("b", 5000))), ""},
		"name in extra":       {hostileEntry(m, file("a")), `{"path":"app/a","name":"Li4v/w=="}`},
		"same name in extra":  {hostileEntry(m, file("a"), file("b")), `{"path":"app/a","name":"/w=="}` + "\n" + `{"path":"app/b","name":"/w=="}`},
		"extra is no JSON":    {hostileEntry(m, file("a")), `<xml>`},
		"place is not folder": {core.Entry{Name: "files", Type: core.TypeDir, Object: topOf(m, core.Entry{Name: "app", Type: core.TypeFile, Object: x})}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			var extra core.ObjectID
			if c.extra != "" {
				extra = put(t, m, c.extra).ID
			}
			_, err := Files(t.Context(), m, c.entry, extra, Options{Targets: map[string]string{"app": base + "/a/b/target"}})
			if core.CodeOf(err) != core.CodeDamage {
				t.Errorf("got %v", err)
			}
			for _, n := range names(t, base) {
				if strings.Contains(n, "escaped") {
					t.Errorf("written: %s", n)
				}
			}
			noTempFiles(t, base)
		})
	}
}

func topOf(m *treetest.Store, entries ...core.Entry) core.Object {
	o, _ := m.WriteDir(context.Background(), entries)
	return o
}

// A hard link's line in extra.jsonl that names another file, or none, cannot
// make one file appear as another.
func TestLinksAreOnlyMadeToTheSameBytes(t *testing.T) {
	m := treetest.NewStore()
	me := core.Entry{Type: core.TypeFile, Mode: 0o600, UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	a, b, c := me, me, me
	a.Name, a.Object = "a", put(t, m, "a")
	b.Name, b.Object = "b", put(t, m, "b")
	c.Name, c.Object = "c", put(t, m, "a")
	entry := hostileEntry(m, a, b, c)
	extra := put(t, m, `{"path":"app/b","link":"app/a"}`+"\n"+`{"path":"app/c","link":"app/../../etc/passwd"}`+"\n"+`{"path":"app/a","link":"app/a"}`)
	target := t.TempDir()
	_, err := Files(t.Context(), m, entry, extra.ID, Options{Targets: map[string]string{"app": target}})
	treetest.OK(t, err)
	for name, want := range map[string]string{"a": "a", "b": "b", "c": "a"} {
		var st unix.Stat_t
		treetest.OK(t, unix.Lstat(target+"/"+name, &st))
		if got, err := os.ReadFile(target + "/" + name); err != nil || string(got) != want || st.Nlink != 1 {
			t.Errorf("%s: %q, %d links, %v", name, got, st.Nlink, err)
		}
	}
}

// TestTargetSwappedForLink restores while a folder of the target and a link
// to a folder outside change places all the time.
func TestTargetSwappedForLink(t *testing.T) {
	base := t.TempDir()
	root := treetest.Mkdir(t, base+"/root")
	for i := range 5 {
		treetest.Write(t, fmt.Sprintf("%s/folder/sub/file%d", root, i), "restored")
	}
	treetest.OK(t, os.Link(root+"/folder/sub/file0", root+"/folder/sub/link"))
	m := treetest.NewStore()
	c := captured(t, m, treetest.AppSet(root))
	target := treetest.Mkdir(t, base+"/target")
	treetest.Mkdir(t, target+"/folder/sub")
	treetest.Mkdir(t, base+"/outside/sub")
	treetest.Write(t, base+"/outside/sub/file1", "precious")
	treetest.OK(t, os.Chmod(base+"/outside", 0o700))
	before := treetest.Describe(t, base+"/outside")
	ctx, stop := context.WithCancel(t.Context())
	var swapper sync.WaitGroup
	var swaps atomic.Int64
	swapper.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			// Whatever the restore made of the two, put a link into the way again.
			old := fmt.Sprintf("%s/old%d", base, i)
			if err := os.Rename(target+"/folder", old); err != nil {
				continue
			}
			if os.Symlink(base+"/outside", target+"/folder") == nil {
				swaps.Add(1)
			}
		}
	})
	for i := 0; i < 5000 && (i < 50 || swaps.Load() < 20); i++ {
		// It may fail, because its folders disappear, but it must not go outside.
		_, err := restoreTo(t, m, c, target, func(o *Options) { o.Delete = i%2 == 0 })
		if err != nil && i == 0 {
			t.Logf("restore: %v", err)
		}
	}
	stop()
	swapper.Wait()
	if swaps.Load() < 20 {
		t.Errorf("%d swaps: the test proves nothing", swaps.Load())
	}
	if diff := cmp.Diff(before, treetest.Describe(t, base+"/outside")); diff != "" {
		t.Errorf("the restore was led outside:\n%s", diff)
	}
}

func TestRestoreIsCancelled(t *testing.T) {
	root := t.TempDir()
	for i := range 50 {
		treetest.Write(t, fmt.Sprintf("%s/d%d/file", root, i), "new")
	}
	m := treetest.NewStore()
	c := captured(t, m, treetest.AppSet(root))
	target := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	var mu sync.Mutex
	m.OnOpen = func(core.ObjectID) error {
		mu.Lock()
		defer mu.Unlock()
		if n++; n == 20 {
			cancel()
		}
		return nil
	}
	before := treetest.OpenFiles(t)
	_, err := Files(ctx, m, c.Entry, extraOf(c), Options{Targets: map[string]string{"app": target}})
	if core.CodeOf(err) != core.CodeCancelled || n > 30 {
		t.Errorf("got %v after %d files", err, n)
	}
	noTempFiles(t, target)
	if after := treetest.OpenFiles(t); after != before {
		t.Errorf("%d open files before, %d after", before, after)
	}
}

func TestDiskFull(t *testing.T) {
	if !treetest.IsRoot() {
		t.Skip("only root can mount a small file system")
	}
	target := t.TempDir()
	if err := unix.Mount("tmpfs", target, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() { treetest.OK(t, unix.Unmount(target, 0)) })
	root := t.TempDir()
	treetest.Write(t, root+"/sub/big", strings.Repeat("x", 5<<20))
	m := treetest.NewStore()
	c := captured(t, m, treetest.AppSet(root))
	treetest.Write(t, target+"/sub/big", "old")
	_, err := restoreTo(t, m, c, target)
	if core.CodeOf(err) != core.CodeDisk || !strings.Contains(err.Error(), target+"/sub/big") || core.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(target + "/sub/big"); err != nil || string(b) != "old" {
		t.Errorf("the file has %q, %v", b, err)
	}
	noTempFiles(t, target)
	// Capture crosses the mount point and says so.
	s := treetest.AppSet(filepath.Dir(target))
	s.Include = []core.Path{{Path: filepath.Base(target)}}
	got := captured(t, treetest.NewStore(), s)
	if len(got.Notes) != 1 || !strings.HasPrefix(got.Notes[0], target+" is on another file system") {
		t.Errorf("notes %q", got.Notes)
	}
	// Delete does not empty other file systems.
	above := t.TempDir()
	empty := captured(t, m, treetest.AppSet(above))
	treetest.Mkdir(t, above+"/mounted")
	treetest.OK(t, unix.Mount("tmpfs", above+"/mounted", "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { treetest.OK(t, unix.Unmount(above+"/mounted", 0)) })
	treetest.Write(t, above+"/mounted/precious", "p")
	restored, err := restoreTo(t, m, empty, above, func(o *Options) { o.Delete = true })
	treetest.OK(t, err)
	if diff := cmp.Diff([]string{"kept " + above + "/mounted"}, treetest.Codes(restored.Warnings)); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(above + "/mounted/precious"); err != nil {
		t.Error(err)
	}
}

func TestReadOnlyTarget(t *testing.T) {
	if !treetest.IsRoot() {
		t.Skip("only root can mount a read-only file system")
	}
	target := t.TempDir()
	if err := unix.Mount("tmpfs", target, "tmpfs", unix.MS_RDONLY, ""); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() { treetest.OK(t, unix.Unmount(target, 0)) })
	root := t.TempDir()
	treetest.Write(t, root+"/file", "f")
	m := treetest.NewStore()
	c := captured(t, m, treetest.AppSet(root))
	if _, err := restoreTo(t, m, c, target); core.CodeOf(err) != core.CodeDisk || core.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
}

func TestOwnersByName(t *testing.T) {
	if !treetest.IsRoot() {
		t.Skip("only root can give files away")
	}
	root := t.TempDir()
	treetest.Write(t, root+"/file", "f")
	treetest.OK(t, os.Lchown(root+"/file", 54321, 54322))
	m := treetest.NewStore()
	c := captured(t, m, treetest.AppSet(root))
	for name, x := range map[string]struct {
		owners   core.Owners
		uid, gid uint32
	}{
		"known here by another number": {core.Owners{Users: map[string]string{"54321": "nobody"}, Groups: map[string]string{"54322": "daemon"}}, treetest.Nobody, 1},
		"unknown here":                 {core.Owners{Users: map[string]string{"54321": "no-such-user"}}, 54321, 54322},
		"without a name":               {core.Owners{}, 54321, 54322},
	} {
		target := t.TempDir()
		_, err := restoreTo(t, m, c, target, func(o *Options) { o.Owners = x.owners })
		treetest.OK(t, err)
		var st unix.Stat_t
		treetest.OK(t, unix.Lstat(target+"/file", &st))
		if st.Uid != x.uid || st.Gid != x.gid {
			t.Errorf("%s: %d:%d", name, st.Uid, st.Gid)
		}
	}
}

func TestRestoreAsOrdinaryUser(t *testing.T) {
	if !treetest.AsOrdinaryUser(t) {
		return
	}
	root := t.TempDir() + "/tree"
	treetest.HostileTree(t, root)
	want := treetest.Describe(t, root)
	m := treetest.NewStore()
	c := captured(t, m, treetest.AppSet(root))
	// Twice: into nothing, and over what is there and may not be written to.
	target := t.TempDir() + "/target"
	t.Cleanup(func() { treetest.OK(t, os.Chmod(target+"/closed", 0o755)) })
	for range 2 {
		got, err := restoreTo(t, m, c, target, func(o *Options) { o.Delete = true })
		treetest.OK(t, err)
		if len(got.Warnings) > 0 {
			t.Errorf("%v", got.Warnings)
		}
		if diff := cmp.Diff(want, treetest.Describe(t, target)); diff != "" {
			t.Errorf("-captured +restored:\n%s", diff)
		}
		treetest.OK(t, os.Chmod(target+"/closed", 0))
	}
	treetest.OK(t, os.Chmod(target+"/closed", 0o755))
	// A folder that somebody else closed to us is an error that says what to do.
	treetest.OK(t, os.Chmod(target+"/closed", 0o555))
	_, err := restoreTo(t, m, c, "/backstay-cannot-be-made-here")
	if err == nil || core.HintOf(err) == "" || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
}

func TestOwnersAsOrdinaryUser(t *testing.T) {
	if !treetest.AsOrdinaryUser(t) {
		return
	}
	root := t.TempDir()
	for _, n := range []string{"a", "b"} {
		treetest.OK(t, os.Chmod(treetest.Write(t, root+"/"+n, n), 0o755|fs.ModeSetuid|fs.ModeSetgid))
	}
	treetest.Symlink(t, "a", root+"/link")
	m := treetest.NewStore()
	c := captured(t, m, treetest.AppSet(root))
	// As captured from somebody else.
	for id, entries := range m.Dirs {
		for i := range entries {
			entries[i].UID, entries[i].GID = 54321, 54322
		}
		m.Dirs[id] = entries
	}
	target := t.TempDir() + "/it's here"
	got, err := restoreTo(t, m, c, target)
	treetest.OK(t, err)
	want := []core.Warning{{Code: "owner", Message: "the owner of 4 files, links and folders could not be set, because only root may, the first being " +
		target + "; as root, run: chown -hR 54321:54322 '" + strings.ReplaceAll(target, "'", `'\''`) + "'"}}
	if diff := cmp.Diff(want, got.Warnings); diff != "" {
		t.Error(diff)
	}
	// A program must not run as us where it ran as somebody else.
	if info, err := os.Stat(target + "/a"); err != nil || info.Mode() != 0o755 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

// TestDeleteKeepsStagingFolders leaves what another restore replaced and keeps.
func TestDeleteKeepsStagingFolders(t *testing.T) {
	root := t.TempDir() + "/tree"
	treetest.Write(t, root+"/a", "a")
	m := treetest.NewStore()
	c := captured(t, m, treetest.AppSet(root))
	kept := treetest.Write(t, root+"/"+files.StagingName("itop-files")+"/0/b", "kept")
	treetest.Write(t, root+"/extra", "x")
	got, err := restoreTo(t, m, c, root, func(o *Options) { o.Delete = true })
	treetest.OK(t, err)
	if got.Removed != 1 {
		t.Errorf("%d paths removed", got.Removed)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
}
