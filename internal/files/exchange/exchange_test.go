package exchange

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/capture"
	"github.com/backstay/backstay/internal/files/treetest"
)

// app is a captured application with a live tree.
type app struct {
	t    *testing.T
	m    *treetest.Store
	c    *capture.Result
	root string // live
	opt  Options
}

// newApp captures the tree that fill makes.
func newApp(t *testing.T, fill func(root string)) *app {
	t.Helper()
	root := treetest.Mkdir(t, t.TempDir()+"/www/app")
	fill(root)
	return captureApp(t, root)
}

func captureApp(t *testing.T, root string, sets ...core.FileSet) *app {
	t.Helper()
	if len(sets) == 0 {
		sets = []core.FileSet{treetest.AppSet(root)}
	}
	a := &app{t: t, m: treetest.NewStore(), root: root}
	c, err := capture.Files(t.Context(), sets, a.m, capture.Options{})
	treetest.OK(t, err)
	a.c = c
	a.opt = Options{
		Targets: map[string]string{"app": root}, Owners: c.Owners, Trees: c.Trees, Kept: c.Warnings,
		Name: "itop", MovesFile: t.TempDir() + "/moves",
	}
	return a
}

func (a *app) extra() core.ObjectID {
	if a.c.Extra == nil {
		return ""
	}
	return a.c.Extra.ID
}

func (a *app) tryBuild(h hooks) (*Built, error) {
	return build(a.t.Context(), a.m, a.c.Entry, a.extra(), a.opt, h)
}

// build builds, and checks that nothing live has changed and that what it returns
// survives JSON.
func (a *app) build() *Built {
	a.t.Helper()
	before := live(a.t, a.root)
	b, err := a.tryBuild(hooks{})
	treetest.OK(a.t, err)
	same(a.t, "after Build", before, live(a.t, a.root))
	text, err := json.Marshal(b)
	treetest.OK(a.t, err)
	var again Built
	treetest.OK(a.t, json.Unmarshal(text, &again))
	loaded, err := Load(b.MovesFile)
	treetest.OK(a.t, err)
	if diff := cmp.Diff(b, loaded); diff != "" {
		a.t.Error(diff)
	}
	a.side(b, Old)
	return &again
}

func (a *app) switchTo(b *Built, want ...string) {
	a.t.Helper()
	w, err := Switch(a.t.Context(), b)
	treetest.OK(a.t, err)
	a.side(b, New)
	if diff := cmp.Diff(want, treetest.Codes(w)); diff != "" {
		a.t.Error(diff)
	}
}

func (a *app) revert(b *Built, want ...string) {
	a.t.Helper()
	w, err := Revert(a.t.Context(), b)
	treetest.OK(a.t, err)
	a.side(b, Old)
	if diff := cmp.Diff(want, treetest.Codes(w)); diff != "" {
		a.t.Error(diff)
	}
}

func (a *app) side(b *Built, want Side) {
	a.t.Helper()
	if got, err := State(b); err != nil || got != want {
		a.t.Errorf("the state is %q, %v; want %q", got, err, want)
	}
}

func (a *app) drop(b *Built) {
	a.t.Helper()
	treetest.OK(a.t, Drop(b))
	nothingLeft(a.t, filepath.Dir(a.root), a.opt.MovesFile)
	treetest.OK(a.t, Drop(b)) // again
}

// live describes a tree with the inode of everything, but for staging folders.
func live(t *testing.T, root string) map[string]string {
	t.Helper()
	all := treetest.Describe(t, root)
	for path := range all {
		if strings.Contains("/"+path, "/.backstay-itop-") {
			delete(all, path)
			continue
		}
		var st unix.Stat_t
		treetest.OK(t, unix.Lstat(filepath.Join(root, path), &st))
		all[path] += fmt.Sprintf(" inode=%d", st.Ino)
	}
	return all
}

// tree describes a tree, but for staging folders.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	all := treetest.Describe(t, root)
	for path := range all {
		if strings.Contains("/"+path, "/.backstay-itop-") {
			delete(all, path)
		}
	}
	return all
}

func same(t *testing.T, when string, want, got map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s: %s", when, diff)
	}
}

func nothingLeft(t *testing.T, above, movesFile string) {
	t.Helper()
	err := filepath.WalkDir(above, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), ".backstay-") {
			t.Errorf("left behind: %s", path)
		}
		return err
	})
	treetest.OK(t, err)
	left, err := filepath.Glob(movesFile + "*")
	treetest.OK(t, err)
	if len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// spoil changes about everything of a hostile tree.
func spoil(t *testing.T, root string) {
	t.Helper()
	treetest.OK(t, os.Chmod(root+"/closed", 0o755))
	treetest.OK(t, os.WriteFile(root+"/plain.txt", []byte("overwritten"), 0o644))
	treetest.OK(t, os.Remove(root+"/big.bin"))
	treetest.Mkdir(t, root+"/big.bin/a/b") // a folder in a file's place
	treetest.Write(t, root+"/big.bin/a/c", "c")
	treetest.OK(t, os.RemoveAll(root+"/empty folder"))
	treetest.Write(t, root+"/empty folder", "a file in a folder's place")
	treetest.OK(t, os.RemoveAll(root+"/deep"))
	treetest.OK(t, os.Remove(root+"/hard/two"))
	treetest.Write(t, root+"/hard/two", "hard") // the same, but no link
	treetest.OK(t, os.Remove(root+"/link"))
	treetest.Symlink(t, "elsewhere", root+"/link")
	treetest.OK(t, os.Remove(root+"/link-out"))
	treetest.Write(t, root+"/link-out", "a file in a link's place")
	treetest.OK(t, os.Remove(root+"/bad\xff\xfename"))
	treetest.OK(t, os.RemoveAll(root+"/latin1-\xe9"))
	treetest.OK(t, os.Chmod(root+"/secret", 0o644))
	treetest.OK(t, os.Chmod(root+"/sticky", 0o700))
	treetest.OK(t, os.Remove(root+"/closed/inside"))
	treetest.Write(t, root+"/.hidden/extra", "not in the backup")
	treetest.Write(t, root+"/extra\xfffolder/x/y", "not in the backup")
	treetest.Write(t, root+"/ünïcödé/extra", "e")
	treetest.SetTime(t, root+"/.hidden", time.Unix(1_500_000_000, 77))
	treetest.SetTime(t, root+"/empty", time.Unix(5, 5))
	treetest.OK(t, os.Chmod(root+"/closed", 0o555))
	treetest.SetTime(t, root, time.Unix(1_555_555_555, 5))
}

func TestThereAndBack(t *testing.T) {
	a := newApp(t, func(root string) { treetest.HostileTree(t, root) })
	want := tree(t, a.root)
	a.opt.Clean = true
	spoil(t, a.root)
	before := live(t, a.root)
	b := a.build()
	if len(b.Stages) != 1 || b.Stages[0].Path != filepath.Dir(a.root)+"/.backstay-itop-files" {
		t.Errorf("staging folders: %v", b.Stages)
	}
	for range 3 {
		a.switchTo(b)
		same(t, "after Switch", want, tree(t, a.root))
		a.switchTo(b) // again
		a.revert(b)
		same(t, "after Revert", before, live(t, a.root))
		a.revert(b)
	}
	a.switchTo(b)
	after := live(t, a.root)
	if n, err := KeptBytes(b); err != nil || n < 4096 {
		t.Errorf("kept: %d bytes, %v", n, err)
	}
	a.drop(b)
	same(t, "after Drop", after, live(t, a.root))

	// Now nothing differs.
	b = a.build()
	if b.Stages != nil || b.Bytes != 0 || b.Metadata != 0 || b.Changed.Files+b.Added.Files+b.Removed.Files+b.Added.Folders+b.Changed.Folders != 0 {
		t.Errorf("a second restore would change: %+v", b)
	}
	a.switchTo(b)
	same(t, "after a Switch to the same", after, live(t, a.root))
	a.revert(b)
	same(t, "after a Revert to the same", after, live(t, a.root))
	a.drop(b)
}

func TestOrdinaryUserThereAndBack(t *testing.T) {
	if !treetest.AsOrdinaryUser(t) {
		return
	}
	TestThereAndBack(t)
}

// TestCounts compares what Compare and Build say with what was done.
func TestCounts(t *testing.T) {
	a := newApp(t, func(root string) {
		for i := range 5 {
			treetest.Write(t, fmt.Sprintf("%s/same/%d", root, i), "same")
			treetest.Write(t, fmt.Sprintf("%s/gone/in/%d", root, i), "gone")
		}
		treetest.Write(t, root+"/changed", "old")
		treetest.Symlink(t, "there", root+"/link")
	})
	treetest.OK(t, os.RemoveAll(a.root+"/gone"))
	treetest.Write(t, a.root+"/changed", "longer")
	treetest.Write(t, a.root+"/new/a", "")
	treetest.Write(t, a.root+"/new/b", "")
	treetest.Write(t, a.root+"/same/new", "")
	added := List{Files: 5, Folders: 1, Paths: []string{a.root + "/gone/"}}
	changed := List{Files: 1, Paths: []string{a.root + "/changed"}}
	extra := List{Files: 3, Folders: 1, Paths: []string{a.root + "/same/new", a.root + "/new/"}}
	for _, clean := range []bool{false, true} {
		a.opt.Clean = clean
		before := live(t, a.root)
		d, err := Compare(t.Context(), a.m, a.c.Entry, a.extra(), a.opt)
		treetest.OK(t, err)
		same(t, "after Compare", before, live(t, a.root))
		want := Difference{Added: added, Changed: changed, Extra: extra, Metadata: 2, Unchanged: 6, Bytes: 23}
		if clean {
			want.Extra, want.Removed = want.Removed, want.Extra
		}
		if len(d.Space) != 1 || d.Space[0].Bytes < 6*4096 || d.Space[0].Inodes != 7 || !d.Space[0].Enough() || d.Space[0].Free == 0 {
			t.Errorf("space: %+v", d.Space)
		}
		d.Space = nil
		if diff := cmp.Diff(want, *d, cmp.Comparer(func(a, b List) bool {
			return a.Files == b.Files && a.Folders == b.Folders && cmp.Equal(sorted(a.Paths), sorted(b.Paths))
		})); diff != "" {
			t.Error(diff)
		}
		b := a.build()
		if b.Added.Files != 5 || b.Changed.Files != 1 || b.Unchanged != 6 || b.Bytes != 23 || b.Metadata != 2 || b.Extra.Files+b.Removed.Files != 3 || (b.Removed.Files > 0) != clean {
			t.Errorf("built: %+v", b)
		}
		a.switchTo(b)
		if _, err := os.Lstat(a.root + "/new/a"); (err == nil) == clean {
			t.Errorf("an extra file with Clean %v: %v", clean, err)
		}
		a.revert(b)
		same(t, "after Revert", before, live(t, a.root))
		a.drop(b)
	}
}

func sorted(paths []string) string {
	m := map[string]bool{}
	for _, p := range paths {
		m[p] = true
	}
	return fmt.Sprint(m)
}

// TestDamage changes nothing when the backup is damaged anywhere, also where the live
// file seems to be the same.
func TestDamage(t *testing.T) {
	for _, path := range []string{"same", "changed", "gone/file"} {
		t.Run(path, func(t *testing.T) {
			a := newApp(t, func(root string) {
				treetest.Write(t, root+"/same", "same in both")
				treetest.Write(t, root+"/changed", "changed in live")
				treetest.Write(t, root+"/gone/file", "gone from live")
			})
			treetest.OK(t, os.RemoveAll(a.root+"/gone"))
			treetest.OK(t, os.WriteFile(a.root+"/changed", []byte("x"), 0o644))
			e := treetest.Stored(t, a.m, a.c.Entry)["app/"+path]
			delete(a.m.Files, e.Object.ID)
			before := live(t, a.root)
			_, err := a.tryBuild(hooks{})
			if core.CodeOf(err) != core.CodeDamage || !strings.Contains(err.Error(), a.root+"/"+path) {
				t.Errorf("got %v", err)
			}
			same(t, "after a Build that failed", before, live(t, a.root))
			nothingLeft(t, filepath.Dir(a.root), a.opt.MovesFile)
		})
	}
}

// TestContentCounts finds a file that differs in nothing but its bytes.
func TestContentCounts(t *testing.T) {
	a := newApp(t, func(root string) { treetest.Write(t, root+"/f", "one") })
	want := tree(t, a.root)
	st, err := os.Stat(a.root + "/f")
	treetest.OK(t, err)
	treetest.OK(t, os.WriteFile(a.root+"/f", []byte("two"), 0o644))
	treetest.SetTime(t, a.root+"/f", st.ModTime())
	if d, err := Compare(t.Context(), a.m, a.c.Entry, a.extra(), a.opt); err != nil || d.Unchanged != 1 {
		t.Errorf("quickly compared: %+v, %v", d, err)
	}
	b := a.build()
	if b.Changed.Files != 1 || b.Unchanged != 0 {
		t.Errorf("built: %+v", b)
	}
	a.switchTo(b)
	same(t, "after Switch", want, tree(t, a.root))
}

func TestTransform(t *testing.T) {
	a := newApp(t, func(root string) {
		treetest.Write(t, root+"/conf/config.php", "host=origin")
		treetest.Write(t, root+"/other/config.php", "host=origin")
	})
	change := func(b []byte) ([]byte, error) { return []byte(strings.ReplaceAll(string(b), "origin", "target")), nil }
	a.opt.Transform = map[string]func([]byte) ([]byte, error){"app/conf/config.php": change, "app/other/config.php": change}
	treetest.OK(t, os.RemoveAll(a.root+"/other"))
	b := a.build()
	if b.Changed.Files != 1 || b.Added.Files != 1 {
		t.Errorf("built: %+v", b)
	}
	a.switchTo(b)
	for _, path := range []string{"/conf/config.php", "/other/config.php"} {
		if got, err := os.ReadFile(a.root + path); err != nil || string(got) != "host=target" {
			t.Errorf("%s has %q, %v", path, got, err)
		}
	}
	a.drop(b)
	if b := a.build(); b.Unchanged != 2 || b.Stages != nil {
		t.Errorf("once more: %+v", b)
	}
	treetest.OK(t, Abandon(a.opt.MovesFile))
	no := errors.New("no such setting")
	a.opt.Transform["app/conf/config.php"] = func([]byte) ([]byte, error) { return nil, no }
	if _, err := a.tryBuild(hooks{}); !errors.Is(err, no) || !strings.Contains(err.Error(), "conf/config.php") {
		t.Errorf("got %v", err)
	}
	nothingLeft(t, filepath.Dir(a.root), a.opt.MovesFile)
}

func TestPathsAlone(t *testing.T) {
	a := newApp(t, func(root string) {
		treetest.Write(t, root+"/a/one", "1")
		treetest.Write(t, root+"/a/two", "2")
		treetest.Write(t, root+"/b/c/three", "3")
		treetest.Write(t, root+"/b/c/four", "4")
		treetest.Write(t, root+"/b/five", "5")
	})
	for _, p := range []string{"/a/one", "/a/two"} {
		treetest.Write(t, a.root+p, "changed")
	}
	treetest.OK(t, os.RemoveAll(a.root+"/b"))
	a.opt.Paths = []string{"app/a/two", "app/b/c/four"}
	before := live(t, a.root)
	b := a.build()
	a.switchTo(b)
	for path, want := range map[string]string{"/a/one": "changed", "/a/two": "2", "/b/c/four": "4", "/b/c/three": "", "/b/five": ""} {
		if got, _ := os.ReadFile(a.root + path); string(got) != want {
			t.Errorf("%s has %q, want %q", path, got, want)
		}
	}
	a.revert(b)
	same(t, "after Revert", before, live(t, a.root))
	a.drop(b)
}

// TestBareMachine puts code, configuration and files, each by itself, where nothing is.
func TestBareMachine(t *testing.T) {
	a := newApp(t, func(root string) {
		treetest.Write(t, root+"/index.php", "code")
		treetest.Write(t, root+"/conf/readme", "code")
		treetest.Write(t, root+"/conf/production/config.php", "config")
		treetest.Write(t, root+"/conf/production/other", "code")
		treetest.Write(t, root+"/data/upload", "file")
	})
	want := tree(t, a.root)
	parts := map[core.Component]core.FileSet{
		core.ComponentCode:   {Include: []core.Path{{Path: "."}}, Exclude: []string{"conf/production/config.php", "data"}},
		core.ComponentConfig: {Include: []core.Path{{Path: "conf/production/config.php"}}},
		core.ComponentFiles:  {Include: []core.Path{{Path: "data"}}},
	}
	var apps []*app
	for _, c := range []core.Component{core.ComponentCode, core.ComponentConfig, core.ComponentFiles} {
		set := parts[c]
		set.Component, set.Place, set.Root = c, "app", a.root
		one := captureApp(t, a.root, set)
		one.opt.Clean = true
		apps = append(apps, one)
	}
	above := filepath.Dir(a.root)
	treetest.OK(t, os.RemoveAll(above))
	for range 2 {
		var built []*Built
		for _, one := range apps {
			b, err := one.tryBuild(hooks{})
			treetest.OK(t, err)
			built = append(built, b)
		}
		for i, one := range apps {
			one.switchTo(built[i])
		}
		same(t, "after Switch", want, tree(t, a.root))
		for i := range apps {
			i = len(apps) - 1 - i
			_, err := Revert(t.Context(), built[i])
			treetest.OK(t, err)
		}
		for i := range apps {
			i = len(apps) - 1 - i
			treetest.OK(t, Drop(built[i]))
		}
		if _, err := os.Stat(above); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("after all was taken back: %v, %v", err, tree(t, above))
		}
	}
}

// TestStagingFolder is not served and not seen by the next backup.
func TestStagingFolder(t *testing.T) {
	a := newApp(t, func(root string) { treetest.Write(t, root+"/f", "one") })
	treetest.Write(t, a.root+"/f", "other")
	// Beside it there is no room for a folder: it is the root of what may be written to.
	if !treetest.IsRoot() {
		treetest.OK(t, os.Chmod(filepath.Dir(a.root), 0o555))
		t.Cleanup(func() { treetest.OK(t, os.Chmod(filepath.Dir(a.root), 0o755)) })
	}
	b := a.build()
	st, err := os.Stat(b.Stages[0].Path)
	treetest.OK(t, err)
	if st.Mode().Perm() != 0o700 {
		t.Errorf("mode %v", st.Mode())
	}
	if got, err := os.ReadFile(b.Stages[0].Path + "/.htaccess"); err != nil || string(got) != "Require all denied\n" {
		t.Errorf(".htaccess has %q, %v", got, err)
	}
	if !files.IsStagingName(filepath.Base(b.Stages[0].Path)) {
		t.Errorf("%s would be captured", b.Stages[0].Path)
	}
	// Somebody else's is not touched.
	c := captureApp(t, a.root)
	c.opt.Clean = true
	if b, err := c.tryBuild(hooks{}); err != nil || b.Stages != nil {
		t.Errorf("a restore that changes nothing: %+v, %v", b, err)
	}
	treetest.OK(t, Abandon(c.opt.MovesFile))
	treetest.Write(t, a.root+"/f", "and another")
	if _, err := c.tryBuild(hooks{}); core.CodeOf(err) != core.CodeLocked {
		t.Errorf("a second restore of the name: %v", err)
	}
	a.switchTo(b)
}
