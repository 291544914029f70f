package capture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/openat"
	"github.com/backstay/backstay/internal/files/treetest"
)

func capture1(t *testing.T, m *treetest.Store, opt Options, sets ...core.FileSet) *Result {
	t.Helper()
	c, err := Files(t.Context(), sets, m, opt)
	treetest.OK(t, err)
	return c
}

// hook calls f with every item that progress hears of.
type hook struct {
	core.NoProgress
	f func(name string)
}

func (h hook) Item(name string) { h.f(name) }

func TestIncludeAndExclude(t *testing.T) {
	root := t.TempDir()
	for _, p := range []string{
		"conf/production/config.php", "conf/test/config.php", "data/a.log", "data/deep/b.log", "data/keep.txt",
		"data/cache/x", "data/cache/y/z", "data/cache/wanted", "other/file", "top.txt", "logs/x", "logs/sub/y",
	} {
		treetest.Write(t, filepath.Join(root, p), p)
	}
	set := func(include []string, exclude ...string) core.FileSet {
		s := core.FileSet{Component: core.ComponentFiles, Place: "app", Root: root, Exclude: exclude}
		for _, p := range include {
			s.Include = append(s.Include, core.Path{Path: p})
		}
		return s
	}
	for name, c := range map[string]struct {
		sets []core.FileSet
		want []string
	}{
		"one file": {
			[]core.FileSet{set([]string{"conf/production/config.php"})},
			[]string{"app", "app/conf", "app/conf/production", "app/conf/production/config.php"},
		},
		"a folder, with globs": {
			[]core.FileSet{set([]string{"data"}, "data/*.log", "data/cache/**")},
			[]string{"app", "app/data", "app/data/cache", "app/data/deep", "app/data/deep/b.log", "app/data/keep.txt"},
		},
		"globs across folders": {
			[]core.FileSet{set([]string{"data"}, "**/*.log", "data/cache/")},
			[]string{"app", "app/data", "app/data/deep", "app/data/keep.txt"},
		},
		"all but": {
			[]core.FileSet{set([]string{"."}, "data", "conf/**", "/logs/sub", "./top.*")},
			[]string{"app", "app/conf", "app/logs", "app/logs/x", "app/other", "app/other/file"},
		},
		"what one set leaves out another may take": {
			[]core.FileSet{set([]string{"data"}, "data/**"), set([]string{"data/cache/wanted", "other"})},
			[]string{"app", "app/data", "app/data/cache", "app/data/cache/wanted", "app/other", "app/other/file"},
		},
		"nothing": {
			[]core.FileSet{set([]string{"."}, "**")},
			[]string{"app"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := treetest.NewStore()
			got := capture1(t, m, Options{}, c.sets...)
			if diff := cmp.Diff(c.want, treetest.Paths(treetest.Stored(t, m, got.Entry))); diff != "" {
				t.Error(diff)
			}
			if len(got.Warnings)+len(got.Notes) > 0 || got.Extra != nil {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestTwoPlaces(t *testing.T) {
	root := t.TempDir()
	treetest.Write(t, root+"/a/app.conf", "a")
	treetest.Write(t, root+"/b/etc/php.ini", "p")
	m := treetest.NewStore()
	got := capture1(t, m, Options{},
		core.FileSet{Component: core.ComponentConfig, Place: "system", Root: root + "/b", Include: []core.Path{{Path: "etc/php.ini"}}},
		core.FileSet{Component: core.ComponentConfig, Place: "app", Root: root + "/a", Include: []core.Path{{Path: "app.conf"}}},
	)
	want := []string{"app", "app/app.conf", "system", "system/etc", "system/etc/php.ini"}
	if diff := cmp.Diff(want, treetest.Paths(treetest.Stored(t, m, got.Entry))); diff != "" {
		t.Error(diff)
	}
	wantTrees := []core.Tree{
		{Component: core.ComponentConfig, Place: "app", Root: root + "/a", Include: []string{"app.conf"}, Files: 1, Dirs: 1, Bytes: 1},
		{Component: core.ComponentConfig, Place: "system", Root: root + "/b", Include: []string{"etc/php.ini"}, Files: 1, Dirs: 2, Bytes: 1},
	}
	if diff := cmp.Diff(wantTrees, got.Trees); diff != "" {
		t.Error(diff)
	}
	if got.Entry.Name != "config" || got.Entry.Files != 2 {
		t.Errorf("%+v", got.Entry)
	}
}

func TestBadSets(t *testing.T) {
	root := t.TempDir()
	treetest.Write(t, root+"/file", "f")
	treetest.Symlink(t, "nowhere", root+"/dangling")
	treetest.Mkdir(t, root+"/real")
	treetest.Write(t, root+"/real/inside", "i")
	treetest.Symlink(t, "real", root+"/link")
	set := func(change func(*core.FileSet)) []core.FileSet {
		s := treetest.AppSet(root)
		change(&s)
		return []core.FileSet{s}
	}
	include := func(p core.Path) []core.FileSet {
		return set(func(s *core.FileSet) { s.Include = []core.Path{p} })
	}
	for name, c := range map[string]struct {
		sets    []core.FileSet
		code    core.Code
		message string
	}{
		"no root":          {set(func(s *core.FileSet) { s.Root += "/gone" }), core.CodeNotFound, root + "/gone"},
		"root is a file":   {set(func(s *core.FileSet) { s.Root += "/file" }), core.CodeNotFound, root + "/file"},
		"relative root":    {set(func(s *core.FileSet) { s.Root = "etc" }), core.CodeConfig, `"etc"`},
		"missing":          {include(core.Path{Path: "a/b"}), core.CodeNotFound, root + "/a/b: it is not there"},
		"below a file":     {include(core.Path{Path: "file/b"}), core.CodeNotFound, root + "/file is not a folder"},
		"below a link":     {include(core.Path{Path: "link/inside"}), core.CodeNotFound, "name the real folder, " + root + "/real"},
		"dangling":         {include(core.Path{Path: "dangling", Follow: true}), core.CodeNotFound, "symbolic link to nowhere"},
		"out of the root":  {include(core.Path{Path: "../x"}), core.CodeConfig, `"../x"`},
		"absolute include": {include(core.Path{Path: "/etc"}), core.CodeConfig, `"/etc"`},
		"empty include":    {include(core.Path{}), core.CodeConfig, `""`},
		"bad glob":         {set(func(s *core.FileSet) { s.Exclude = []string{"a["} }), core.CodeConfig, `"a["`},
		"empty glob":       {set(func(s *core.FileSet) { s.Exclude = []string{"/"} }), core.CodeConfig, `"/"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Files(t.Context(), c.sets, treetest.NewStore(), Options{})
			if core.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.message) || core.HintOf(err) == "" {
				t.Errorf("got %v (%s, hint %q)", err, core.CodeOf(err), core.HintOf(err))
			}
		})
	}
	for name, sets := range map[string][]core.FileSet{
		"none":           nil,
		"two components": {treetest.AppSet(root), {Component: core.ComponentCode, Place: "app", Root: root}},
		"two roots":      {treetest.AppSet(root), treetest.AppSet(root + "/real")},
	} {
		if _, err := Files(t.Context(), sets, treetest.NewStore(), Options{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestOptionalPaths(t *testing.T) {
	root := t.TempDir()
	treetest.Write(t, root+"/real/inside", "i")
	treetest.Symlink(t, "real", root+"/link")
	s := treetest.AppSet(root)
	s.Include = []core.Path{{Path: "gone", Optional: true}, {Path: "also/gone", Optional: true}, {Path: "link/gone", Optional: true}, {Path: "link/inside", Optional: true}}
	m := treetest.NewStore()
	got := capture1(t, m, Options{}, s)
	if diff := cmp.Diff([]string{"app"}, treetest.Paths(treetest.Stored(t, m, got.Entry))); diff != "" {
		t.Error(diff)
	}
	// What is there, but behind a link, is not left out without a word.
	if diff := cmp.Diff([]string{"skipped " + root + "/link/inside"}, treetest.Codes(got.Warnings)); diff != "" {
		t.Error(diff)
	}
}

func TestFollow(t *testing.T) {
	base := t.TempDir()
	root := treetest.Mkdir(t, base+"/root")
	treetest.Write(t, base+"/elsewhere/a.txt", "a")
	treetest.Symlink(t, "loop", base+"/elsewhere/loop")
	treetest.Write(t, base+"/config.php", "c")
	treetest.OK(t, os.Chmod(base+"/elsewhere", 0o710))
	treetest.Symlink(t, "../elsewhere", root+"/uploads")
	treetest.Symlink(t, base+"/config.php", root+"/config.php")
	treetest.Symlink(t, "../elsewhere", root+"/as-link")
	s := treetest.AppSet(root)
	s.Include = append(s.Include, core.Path{Path: "uploads", Follow: true}, core.Path{Path: "config.php", Follow: true})
	m := treetest.NewStore()
	got := capture1(t, m, Options{}, s)
	all := treetest.Stored(t, m, got.Entry)
	want := []string{"app", "app/as-link", "app/config.php", "app/uploads", "app/uploads/a.txt", "app/uploads/loop"}
	if diff := cmp.Diff(want, treetest.Paths(all)); diff != "" {
		t.Error(diff)
	}
	if all["app/uploads"].Mode != 0o710 || all["app/as-link"].Type != core.TypeSymlink || m.Read(t, all["app/config.php"].Object.ID) != "c" {
		t.Errorf("%+v", all)
	}
	wantNotes := []string{
		root + "/config.php is a symbolic link to " + base + "/config.php; what it points to was captured in its place",
		root + "/uploads is a symbolic link to ../elsewhere; what it points to was captured in its place",
	}
	if diff := cmp.Diff(wantNotes, got.Notes); diff != "" {
		t.Error(diff)
	}
}

func TestSpecialFilesAreReported(t *testing.T) {
	root := t.TempDir()
	treetest.Write(t, root+"/file", "f")
	treetest.OK(t, unix.Mkfifo(root+"/fifo", 0o600))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	treetest.OK(t, err)
	defer func() { treetest.OK(t, unix.Close(fd)) }()
	treetest.OK(t, unix.Bind(fd, &unix.SockaddrUnix{Name: root + "/socket"}))
	want := []string{"skipped " + root + "/fifo", "skipped " + root + "/socket"}
	if treetest.IsRoot() && unix.Mknod(root+"/device", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) == nil {
		want = append([]string{"skipped " + root + "/device"}, want...)
	}
	m := treetest.NewStore()
	got := capture1(t, m, Options{}, treetest.AppSet(root))
	if diff := cmp.Diff(want, treetest.Codes(got.Warnings)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"app", "app/file"}, treetest.Paths(treetest.Stored(t, m, got.Entry))); diff != "" {
		t.Error(diff)
	}
}

func TestUnreadable(t *testing.T) {
	if !treetest.AsOrdinaryUser(t) {
		return
	}
	root := t.TempDir()
	treetest.Write(t, root+"/readable", "r")
	treetest.OK(t, os.Chmod(treetest.Write(t, root+"/secret", "s"), 0))
	treetest.Write(t, root+"/closed/inside", "i")
	treetest.Write(t, root+"/searchable/known", "k")
	treetest.OK(t, os.Chmod(root+"/closed", 0))
	treetest.OK(t, os.Chmod(root+"/searchable", 0o111))
	t.Cleanup(func() {
		treetest.OK(t, errors.Join(os.Chmod(root+"/closed", 0o700), os.Chmod(root+"/searchable", 0o700)))
	})
	m := treetest.NewStore()
	got := capture1(t, m, Options{}, treetest.AppSet(root))
	want := []core.Warning{
		{Code: "unreadable", Object: root + "/closed", Message: "the folder is stored without what is in it: permission denied"},
		{Code: "unreadable", Object: root + "/searchable", Message: "the folder is stored without what is in it: permission denied"},
		{Code: "unreadable", Object: root + "/secret", Message: "permission denied"},
	}
	if diff := cmp.Diff(want, got.Warnings); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"app", "app/closed", "app/readable", "app/searchable"}, treetest.Paths(treetest.Stored(t, m, got.Entry))); diff != "" {
		t.Error(diff)
	}
	// For a file that is named, the right to search the folders above is enough.
	s := treetest.AppSet(root)
	s.Include = []core.Path{{Path: "searchable/known"}}
	got = capture1(t, m, Options{}, s)
	if _, ok := treetest.Stored(t, m, got.Entry)["app/searchable/known"]; !ok || len(got.Warnings) > 0 {
		t.Errorf("%+v", got)
	}
	// The root itself must be readable.
	_, err := Files(t.Context(), []core.FileSet{treetest.AppSet(root + "/closed")}, m, Options{})
	if core.CodeOf(err) != core.CodeDisk || core.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
}

func TestChangedWhileRead(t *testing.T) {
	root := t.TempDir()
	path := treetest.Write(t, root+"/log", strings.Repeat("x", 3*bufferSize))
	appendTo := func() error {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString(strings.Repeat("y", bufferSize))
		return errors.Join(err, f.Close())
	}
	t.Run("for ever", func(t *testing.T) {
		m := treetest.NewStore()
		writes := 0
		// It grows by as much as is read: without a bound this never ends.
		m.OnWrite = func(string, int) error { writes++; return appendTo() }
		got := capture1(t, m, Options{Clock: treetest.LaterClock{}}, treetest.AppSet(root))
		if diff := cmp.Diff([]string{"changed " + path}, treetest.Codes(got.Warnings)); diff != "" {
			t.Error(diff)
		}
		e := treetest.Stored(t, m, got.Entry)["app/log"]
		if writes != 3+6+12 || e.Object.Size != 12*bufferSize {
			t.Errorf("%d writes, %d bytes", writes, e.Object.Size)
		}
		if got.Cache.Len() != 0 {
			t.Error("a file that changed is in the cache")
		}
	})
	t.Run("once", func(t *testing.T) {
		m := treetest.NewStore()
		once := sync.OnceValue(appendTo)
		m.OnWrite = func(string, int) error { return once() }
		got := capture1(t, m, Options{}, treetest.AppSet(root))
		info, err := os.Stat(path)
		treetest.OK(t, err)
		if e := treetest.Stored(t, m, got.Entry)["app/log"]; len(got.Warnings) > 0 || e.Object.Size != info.Size() {
			t.Errorf("%v, %d bytes of %d", got.Warnings, e.Object.Size, info.Size())
		}
	})
	t.Run("shorter", func(t *testing.T) {
		m := treetest.NewStore()
		once := sync.OnceValue(func() error { return os.Truncate(path, bufferSize) })
		m.OnWrite = func(string, int) error { return once() }
		got := capture1(t, m, Options{}, treetest.AppSet(root))
		if e := treetest.Stored(t, m, got.Entry)["app/log"]; len(got.Warnings) > 0 || e.Object.Size != bufferSize {
			t.Errorf("%v, %d bytes", got.Warnings, e.Object.Size)
		}
	})
	t.Run("replaced", func(t *testing.T) {
		m := treetest.NewStore()
		n := 0
		m.OnWrite = func(string, int) error {
			n++
			if err := os.WriteFile(path+".new", fmt.Appendf(nil, "version %d", n), 0o600); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		}
		s := treetest.AppSet(root)
		s.Include = []core.Path{{Path: "log"}}
		got := capture1(t, m, Options{}, s)
		if diff := cmp.Diff([]string{"changed " + path}, treetest.Codes(got.Warnings)); diff != "" {
			t.Error(diff)
		}
		if text := m.Read(t, treetest.Stored(t, m, got.Entry)["app/log"].Object.ID); text != "version 2" {
			t.Errorf("stored %q", text)
		}
	})
}

func TestVanished(t *testing.T) {
	root := t.TempDir()
	treetest.Write(t, root+"/file", "f")
	treetest.Write(t, root+"/kept", "k")
	treetest.Write(t, root+"/folder/x", "x")
	m := treetest.NewStore()
	var once sync.Once
	p := hook{f: func(name string) {
		if name == root+"/file" {
			once.Do(func() { treetest.OK(t, os.Remove(name)) })
		}
	}}
	got := capture1(t, m, Options{Progress: p}, treetest.AppSet(root))
	if diff := cmp.Diff([]string{"vanished " + root + "/file"}, treetest.Codes(got.Warnings)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"app", "app/folder", "app/folder/x", "app/kept"}, treetest.Paths(treetest.Stored(t, m, got.Entry))); diff != "" {
		t.Error(diff)
	}
	// Deleted when it was open already: all of it was read, nothing is amiss.
	m.OnWrite = func(string, int) error { return os.RemoveAll(root + "/kept") }
	s := treetest.AppSet(root)
	s.Include = []core.Path{{Path: "kept"}}
	got = capture1(t, m, Options{}, s)
	if e := treetest.Stored(t, m, got.Entry)["app/kept"]; len(got.Warnings) > 0 || m.Read(t, e.Object.ID) != "k" {
		t.Errorf("%+v", got)
	}
}

func TestFileReplacedBeforeItIsRead(t *testing.T) {
	root := t.TempDir()
	outside := treetest.Write(t, t.TempDir()+"/outside", "must not be captured")
	for _, name := range []string{"fifo", "folder", "link"} {
		treetest.Write(t, root+"/"+name, name)
	}
	p := hook{f: func(name string) {
		var st unix.Stat_t
		if unix.Lstat(name, &st) != nil || openat.Kind(&st) != unix.S_IFREG {
			return
		}
		treetest.OK(t, os.Remove(name))
		switch filepath.Base(name) {
		case "fifo": // opening it for reading would wait for a writer
			treetest.OK(t, unix.Mkfifo(name, 0o600))
		case "folder":
			treetest.Mkdir(t, name)
		case "link":
			treetest.Symlink(t, outside, name)
		}
	}}
	m := treetest.NewStore()
	got := capture1(t, m, Options{Progress: p}, treetest.AppSet(root))
	if diff := cmp.Diff([]string{"changed " + root + "/fifo", "changed " + root + "/folder"}, treetest.Codes(got.Warnings)); diff != "" {
		t.Error(diff)
	}
	all := treetest.Stored(t, m, got.Entry)
	if e := all["app/link"]; len(all) != 2 || e.Type != core.TypeSymlink || m.Read(t, e.Object.ID) != outside {
		t.Errorf("%+v", all)
	}
}

func TestFolderReplacedBeforeItIsOpened(t *testing.T) {
	outside := t.TempDir()
	treetest.Write(t, outside+"/file", "must not be captured")
	for name, c := range map[string]struct {
		replace  func(t *testing.T, path string)
		want     []string
		warnings []string
	}{
		"link": {func(t *testing.T, path string) { treetest.Symlink(t, outside, path) }, []string{"app", "app/folder"}, nil},
		"file": {func(t *testing.T, path string) { treetest.Write(t, path, "f") }, []string{"app", "app/folder"}, nil},
		"none": {func(*testing.T, string) {}, []string{"app"}, []string{"vanished"}},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			treetest.Write(t, root+"/folder/file", "f")
			p := hook{f: func(name string) {
				if name == root+"/folder/" {
					treetest.OK(t, os.RemoveAll(name))
					c.replace(t, root+"/folder")
				}
			}}
			m := treetest.NewStore()
			got := capture1(t, m, Options{Progress: p}, treetest.AppSet(root))
			all := treetest.Stored(t, m, got.Entry)
			if diff := cmp.Diff(c.want, treetest.Paths(all)); diff != "" {
				t.Error(diff)
			}
			if name == "link" && m.Read(t, all["app/folder"].Object.ID) != outside {
				t.Errorf("%+v", all)
			}
			if len(got.Warnings) != len(c.warnings) || (len(c.warnings) == 1 && got.Warnings[0].Code != c.warnings[0]) {
				t.Errorf("warnings %v", got.Warnings)
			}
		})
	}
}

// TestFolderSwappedForLink captures while a folder and a link to a folder
// outside change places all the time.
func TestFolderSwappedForLink(t *testing.T) {
	base := t.TempDir()
	root := treetest.Mkdir(t, base+"/root")
	treetest.Write(t, root+"/folder/file", "inside")
	treetest.Write(t, base+"/outside/file", "outside")
	treetest.Symlink(t, base+"/outside", base+"/swap")
	ctx, stop := context.WithCancel(t.Context())
	var swapper sync.WaitGroup
	swaps := 0
	swapper.Go(func() {
		for ctx.Err() == nil {
			if err := unix.Renameat2(unix.AT_FDCWD, root+"/folder", unix.AT_FDCWD, base+"/swap", unix.RENAME_EXCHANGE); err != nil {
				t.Errorf("swap: %v", err)
				return
			}
			swaps++
		}
	})
	seen := map[core.EntryType]int{}
	for i := 0; i < 5000 && (i < 200 || seen[core.TypeDir] == 0 || seen[core.TypeSymlink] == 0); i++ {
		m := treetest.NewStore()
		got := capture1(t, m, Options{}, treetest.AppSet(root))
		all := treetest.Stored(t, m, got.Entry)
		seen[all["app/folder"].Type]++
		if e, found := all["app/folder/file"]; found && m.Read(t, e.Object.ID) != "inside" {
			t.Fatal("the capture was led outside")
		}
	}
	stop()
	swapper.Wait()
	if swaps == 0 || seen[core.TypeDir] == 0 || seen[core.TypeSymlink] == 0 {
		t.Errorf("%d swaps, seen %v: the test proves nothing", swaps, seen)
	}
}

func TestHardLinksAreReadOnce(t *testing.T) {
	root := t.TempDir()
	treetest.Write(t, root+"/a", "a")
	treetest.OK(t, os.Link(root+"/a", root+"/b"))
	treetest.OK(t, os.Link(root+"/a", treetest.Mkdir(t, root+"/c")+"/d"))
	treetest.Write(t, root+"/alone", "x")
	treetest.OK(t, os.Link(root+"/alone", filepath.Dir(root)+"/outside-of-the-set"))
	m := treetest.NewStore()
	got := capture1(t, m, Options{}, treetest.AppSet(root))
	reads := slices.DeleteFunc(m.Created(), func(h string) bool { return strings.HasSuffix(h, ".jsonl") })
	slices.Sort(reads)
	if diff := cmp.Diff([]string{"app/a", "app/alone"}, reads); diff != "" {
		t.Error(diff)
	}
	extras, err := files.ReadExtra(t.Context(), m, got.Extra.ID)
	treetest.OK(t, err)
	want := map[string]files.Extra{"app/b": {Path: "app/b", Link: "app/a"}, "app/c/d": {Path: "app/c/d", Link: "app/a"}}
	if diff := cmp.Diff(want, extras); diff != "" {
		t.Error(diff)
	}
	all := treetest.Stored(t, m, got.Entry)
	if all["app/b"].Object != all["app/a"].Object || got.Trees[0].Files != 4 || got.Trees[0].Bytes != 4 {
		t.Errorf("%+v %+v", all, got.Trees)
	}
}

// When the first name of a file is lost while it is read, the second one is
// read itself.
func TestHardLinkWithVanishedFirstName(t *testing.T) {
	root := t.TempDir()
	treetest.Write(t, root+"/a", "a")
	treetest.OK(t, os.Link(root+"/a", root+"/b"))
	m := treetest.NewStore()
	got := capture1(t, m, Options{Progress: hook{f: func(name string) {
		if name == root+"/a" {
			treetest.OK(t, os.Remove(name))
		}
	}}}, treetest.AppSet(root))
	all := treetest.Stored(t, m, got.Entry)
	if e := all["app/b"]; len(all) != 2 || m.Read(t, e.Object.ID) != "a" || got.Extra != nil {
		t.Errorf("%+v, extra %v", all, got.Extra)
	}
}

func TestWriterErrorsAbort(t *testing.T) {
	broken := errors.New("repository is gone")
	for name, breakIt := range map[string]func(*treetest.Store){
		"create":     func(m *treetest.Store) { m.OnCreate = func(string) error { return broken } },
		"create 5th": func(m *treetest.Store) { n := 0; m.OnCreate = func(string) error { n++; return at(n == 5, broken) } },
		"write":      func(m *treetest.Store) { m.OnWrite = func(string, int) error { return broken } },
		"folder":     func(m *treetest.Store) { m.OnDir = func([]core.Entry) error { return broken } },
		"last folder": func(m *treetest.Store) {
			m.OnDir = func(e []core.Entry) error { return at(len(e) == 1 && e[0].Name == "app", broken) }
		},
		"extra": func(m *treetest.Store) {
			m.OnCreate = func(hint string) error { return at(strings.HasSuffix(hint, ".jsonl"), broken) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for i := range 50 {
				treetest.Write(t, fmt.Sprintf("%s/d%d/f", root, i), "f")
			}
			treetest.OK(t, os.Link(root+"/d1/f", root+"/d2/g"))
			before := treetest.OpenFiles(t)
			m := treetest.NewStore()
			breakIt(m)
			_, err := Files(t.Context(), []core.FileSet{treetest.AppSet(root)}, m, Options{Workers: 1})
			if !errors.Is(err, broken) {
				t.Errorf("got %v", err)
			}
			if after := treetest.OpenFiles(t); after != before {
				t.Errorf("%d open files before, %d after", before, after)
			}
		})
	}
}

func at(now bool, err error) error {
	if now {
		return err
	}
	return nil
}

func TestCaptureIsCancelled(t *testing.T) {
	root := t.TempDir()
	treetest.Write(t, root+"/big", strings.Repeat("x", 20*bufferSize))
	treetest.OK(t, os.Link(root+"/big", root+"/second"))
	ctx, cancel := context.WithCancel(t.Context())
	m := treetest.NewStore()
	m.OnWrite = func(_ string, n int) error {
		if n == bufferSize {
			cancel()
		}
		if n > 3*bufferSize {
			t.Error("it goes on")
		}
		return nil
	}
	before := treetest.OpenFiles(t)
	_, err := Files(ctx, []core.FileSet{treetest.AppSet(root)}, m, Options{})
	if core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("got %v", err)
	}
	if after := treetest.OpenFiles(t); after != before {
		t.Errorf("%d open files before, %d after", before, after)
	}
}

func TestManyWarningsAreCounted(t *testing.T) {
	root := t.TempDir()
	for i := range files.MaxWarnings + 5 {
		treetest.OK(t, unix.Mkfifo(fmt.Sprintf("%s/%d", root, i), 0o600))
	}
	got := capture1(t, treetest.NewStore(), Options{}, treetest.AppSet(root))
	last := got.Warnings[len(got.Warnings)-1]
	if len(got.Warnings) != files.MaxWarnings+1 || !strings.HasPrefix(last.Message, "5 more paths") {
		t.Errorf("%d warnings, the last is %+v", len(got.Warnings), last)
	}
}

func TestOwnersHaveNames(t *testing.T) {
	root := t.TempDir()
	treetest.Write(t, root+"/file", "f")
	if !treetest.IsRoot() {
		t.Skip("only root can give a file away")
	}
	treetest.OK(t, os.Lchown(root+"/file", 0, 54321))
	got := capture1(t, treetest.NewStore(), Options{}, treetest.AppSet(root))
	if got.Owners.Users["0"] != "root" || got.Owners.Groups["54321"] != "" || got.Owners.Groups["0"] != "root" {
		t.Errorf("%+v", got.Owners)
	}
}
