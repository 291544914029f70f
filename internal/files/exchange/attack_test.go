package exchange

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files/treetest"
)

// webUser owns the folders of an app in these tests, and tries to make root give it root's.
const webUser = 33

func asRoot(t *testing.T) {
	t.Helper()
	if !treetest.IsRoot() {
		t.Skip("only root can be made to give away what is not the attacker's")
	}
}

// give makes a tree the web user's.
func give(t *testing.T, root string) {
	t.Helper()
	treetest.OK(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, webUser, webUser)
	}))
}

// webApp is the web user's app with a folder and a file that differ from the backup.
func webApp(t *testing.T) *app {
	t.Helper()
	asRoot(t)
	a := newApp(t, func(root string) {
		treetest.Write(t, root+"/up/f", "backup")
		treetest.Write(t, root+"/mode/f", "backup")
		treetest.Write(t, root+"/g", "backup")
		give(t, root)
	})
	treetest.Write(t, a.root+"/up/f", "live")
	treetest.Write(t, a.root+"/g", "live")
	give(t, a.root)
	return a
}

// rootsOwn is a folder of root's that nobody else may look into.
func rootsOwn(t *testing.T, path string) (seen map[string]string) {
	t.Helper()
	treetest.Mkdir(t, path)
	treetest.Write(t, path+"/f", "precious")
	treetest.Write(t, path+"/secret", "precious")
	treetest.OK(t, os.Chmod(path, 0o700))
	return treetest.Describe(t, path)
}

func owner(t *testing.T, path string) uint32 {
	t.Helper()
	var st unix.Stat_t
	treetest.OK(t, unix.Lstat(path, &st))
	return st.Uid
}

// TestMovedLink has a link that the backup followed lead to a folder of root's.
func TestMovedLink(t *testing.T) {
	a := webApp(t)
	etc := treetest.Mkdir(t, t.TempDir()+"/etc")
	seen := rootsOwn(t, etc)
	treetest.OK(t, os.RemoveAll(a.root+"/up"))
	treetest.Symlink(t, etc, a.root+"/up")
	give(t, a.root)
	a.opt.Follow = []string{"app/up"}
	refused(t, a, a.root+"/up", etc)
	same(t, "root's folder", seen, treetest.Describe(t, etc))
	// Somebody agrees.
	a.opt.MovedTargets = true
	b := a.build()
	a.switchTo(b)
	if got, err := os.ReadFile(etc + "/f"); err != nil || string(got) != "backup" {
		t.Errorf("agreed to, and %q, %v", got, err)
	}
	a.revert(b)
	same(t, "root's folder after Revert", seen, treetest.Describe(t, etc))
	a.drop(b)
	// A folder of the app's user needs no agreement.
	a.opt.MovedTargets = false
	give(t, etc)
	b = a.build()
	treetest.OK(t, Drop(b))
}

// TestMovedTarget has the target lead to a folder of root's.
func TestMovedTarget(t *testing.T) {
	for name, link := range map[string]bool{"link": true, "folder": false} {
		t.Run(name, func(t *testing.T) {
			a := webApp(t)
			home := filepath.Dir(a.root)
			give(t, home)
			treetest.OK(t, os.Rename(a.root, a.root+"-away"))
			etc := a.root
			if link {
				etc = treetest.Mkdir(t, t.TempDir()+"/etc")
			}
			seen := rootsOwn(t, etc)
			if link {
				treetest.Symlink(t, etc, a.root)
				treetest.OK(t, os.Lchown(a.root, webUser, webUser))
			}
			refused(t, a, a.root, etc)
			same(t, "root's folder", seen, treetest.Describe(t, etc))
		})
	}
	t.Run("root's app", func(t *testing.T) {
		asRoot(t)
		a := newApp(t, func(root string) { treetest.Write(t, root+"/f", "backup") })
		real := a.root + "-real"
		treetest.OK(t, os.Rename(a.root, real))
		treetest.Symlink(t, real, a.root)
		treetest.Write(t, real+"/f", "live")
		d, err := Compare(t.Context(), a.m, a.c.Entry, a.extra(), a.opt)
		if err != nil || len(d.Decisions) > 0 || !slices.Equal(d.Changed.Paths, []string{real + "/f"}) {
			t.Errorf("%+v, %v", d, err)
		}
	})
}

func refused(t *testing.T, a *app, path, real string) {
	t.Helper()
	d, err := Compare(t.Context(), a.m, a.c.Entry, a.extra(), a.opt)
	treetest.OK(t, err)
	if len(d.Decisions) != 1 || d.Decisions[0].Code != MovedTarget || d.Decisions[0].Object != path || !strings.Contains(d.Decisions[0].Message, real+"/") {
		t.Errorf("decisions: %+v", d.Decisions)
	}
	if all := append(d.Changed.Paths, d.Added.Paths...); len(all) == 0 || slices.ContainsFunc(all, func(p string) bool { return (path == a.root || p != a.root+"/g") && !strings.HasPrefix(p, real+"/") }) {
		t.Errorf("the paths listed are %s", all)
	}
	if _, err := a.tryBuild(hooks{}); core.CodeOf(err) != core.CodeDecision {
		t.Errorf("Build: %v", err)
	}
	nothingLeft(t, filepath.Dir(a.root), a.opt.MovesFile)
}

// TestStageHijacked puts a folder of the web user's into the place of the staging folder that was just made.
func TestStageHijacked(t *testing.T) {
	a := webApp(t)
	home := filepath.Dir(a.root)
	give(t, home)
	trap := treetest.Mkdir(t, home+"/trap")
	give(t, trap)
	swapped := false
	_, err := a.tryBuild(hooks{step: func(what string) error {
		if path, made := strings.CutPrefix(what, "staging folder made at "); made {
			swapped = true
			return unix.Renameat2(unix.AT_FDCWD, trap, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
		}
		return nil
	}})
	if core.CodeOf(err) != core.CodeLocked || !swapped {
		t.Errorf("swapped %v: %v", swapped, err)
	}
	// The exchange left the attacker's folder under the name; neither has anything in it.
	for _, path := range []string{trap, home + "/.backstay-itop-files"} {
		if in, err := os.ReadDir(path); err == nil && len(in) > 0 {
			t.Errorf("%s has %v", path, in)
		}
	}
}

// TestStageSwappedLater puts folders with the same inode numbers in slots, and another folder in the
// place of a staging folder that was filled.
func TestStageSwappedLater(t *testing.T) {
	a := webApp(t)
	b := a.build()
	slot := b.Stages[0].Path + "/00000000"
	want := reuse(t, slot)
	if _, err := Switch(t.Context(), b); err == nil {
		t.Errorf("switched to another file (inode %d)", want)
	}
	a.side(b, Old)
	treetest.OK(t, Drop(b))

	b = a.build() // and one that is written to
	treetest.OK(t, os.WriteFile(slot, []byte("attack"), 0o600))
	if _, err := Switch(t.Context(), b); err == nil {
		t.Error("switched to a staged file that was changed")
	}
	a.side(b, Old)
	treetest.OK(t, Drop(b))

	b = a.build()
	stage := b.Stages[0].Path
	home := filepath.Dir(a.root)
	precious := rootsOwn(t, home+"/roots")
	treetest.OK(t, unix.Renameat2(unix.AT_FDCWD, home+"/roots", unix.AT_FDCWD, stage, unix.RENAME_EXCHANGE))
	before := live(t, a.root)
	if _, err := Switch(t.Context(), b); core.CodeOf(err) != core.CodeLocked {
		t.Errorf("Switch: %v", err)
	}
	if err := Drop(b); core.CodeOf(err) != core.CodeLocked {
		t.Errorf("Drop: %v", err)
	}
	same(t, "live", before, live(t, a.root))
	same(t, "root's folder", precious, treetest.Describe(t, stage))
}

// reuse puts another file with the same inode number, if the file system gives it out again, into the
// place of one.
func reuse(t *testing.T, path string) uint64 {
	t.Helper()
	var st, now unix.Stat_t
	treetest.OK(t, unix.Lstat(path, &st))
	treetest.OK(t, os.Remove(path))
	for i := range 200 {
		name := fmt.Sprintf("%s-x%d", path, i)
		treetest.Write(t, name, "ATTACK")
		treetest.OK(t, unix.Lstat(name, &now))
		if now.Ino == st.Ino || i == 199 {
			treetest.OK(t, os.Rename(name, path))
			break
		}
	}
	return st.Ino
}

// TestStageForRoot keeps what comes into root's folder out of the hands of the web user, in
// whose folder that is.
func TestStageForRoot(t *testing.T) {
	asRoot(t)
	fill := func(root, text string) {
		treetest.Write(t, root+"/f", text)
		treetest.Write(t, root+"/etc/root.conf", text)
		give(t, filepath.Dir(root))
		treetest.OK(t, os.Chown(root+"/etc", 0, 0))
		treetest.OK(t, os.Chown(root+"/etc/root.conf", 0, 0))
	}
	a := newApp(t, func(root string) { fill(root, "backup") })
	fill(a.root, "live")
	b := a.build()
	var in []string
	for _, s := range b.Stages {
		in = append(in, filepath.Dir(s.Path))
	}
	slices.Sort(in)
	if diff := cmp.Diff([]string{filepath.Dir(a.root), a.root + "/etc"}, in); diff != "" {
		t.Error(diff)
	}
	before := live(t, a.root)
	a.switchTo(b)
	for _, p := range []string{"/f", "/etc/root.conf"} {
		if got, err := os.ReadFile(a.root + p); err != nil || string(got) != "backup" {
			t.Errorf("%s: %q, %v", p, got, err)
		}
	}
	a.revert(b)
	same(t, "after Revert", before, live(t, a.root))
	a.drop(b)
}

// TestFolderSwapped renames root's folder to the name of one that was compared: whose owner and mode are to
// be set, or in which a file is to be replaced.
func TestFolderSwapped(t *testing.T) {
	for _, name := range []string{"mode", "up"} {
		t.Run(name, func(t *testing.T) {
			a := webApp(t)
			treetest.OK(t, os.Chmod(a.root+"/mode", 0o711))
			seen := rootsOwn(t, a.root+"/roots")
			b := a.build()
			treetest.OK(t, os.Rename(a.root+"/"+name, a.root+"/away"))
			treetest.OK(t, os.Rename(a.root+"/roots", a.root+"/"+name))
			w, err := Switch(t.Context(), b)
			if name == "up" && err == nil {
				t.Error("filled another folder")
			}
			if name == "mode" && (err != nil || len(w) != 1 || w[0].Object != a.root+"/mode") {
				t.Errorf("%v, %v", w, err)
			}
			same(t, "root's folder", seen, treetest.Describe(t, a.root+"/"+name))
			if _, err := Revert(t.Context(), b); err != nil {
				t.Error(err)
			}
			same(t, "root's folder after Revert", seen, treetest.Describe(t, a.root+"/"+name))
		})
	}
}

// TestFolderSwappedBefore renames root's folder to a name of the backup before anybody looks.
func TestFolderSwappedBefore(t *testing.T) {
	a := webApp(t)
	treetest.OK(t, os.Rename(a.root+"/mode", a.root+"/away"))
	seen := rootsOwn(t, a.root+"/mode")
	if _, err := a.tryBuild(hooks{}); core.CodeOf(err) != core.CodeDecision {
		t.Errorf("Build: %v", err)
	}
	same(t, "root's folder", seen, treetest.Describe(t, a.root+"/mode"))
	a.opt.MovedTargets = true
	b := a.build()
	a.switchTo(b)
	if got := owner(t, a.root+"/mode"); got != webUser {
		t.Errorf("agreed to, and it belongs to %d", got)
	}
	a.revert(b)
	same(t, "root's folder after Revert", seen, treetest.Describe(t, a.root+"/mode"))
	a.drop(b)
}

// TestNotTakenAway renames root's folder to the name of an extra one that is to be taken away, of one that was restored,
// and of one that is to come.
func TestNotTakenAway(t *testing.T) {
	a := webApp(t)
	a.opt.Clean = true
	treetest.Write(t, a.root+"/extra/x", "live")
	treetest.OK(t, os.RemoveAll(a.root+"/mode"))
	give(t, a.root)
	b := a.build()
	seen := rootsOwn(t, a.root+"/roots")
	treetest.OK(t, os.Rename(a.root+"/extra", a.root+"/away"))
	treetest.OK(t, os.Rename(a.root+"/roots", a.root+"/extra"))
	a.switchTo(b, "newer "+a.root+"/extra")
	same(t, "in the place of an extra one", seen, treetest.Describe(t, a.root+"/extra"))

	treetest.OK(t, os.Rename(a.root+"/mode", a.root+"/away2"))
	treetest.OK(t, os.Rename(a.root+"/extra", a.root+"/mode"))
	a.revert(b, "newer "+a.root+"/mode")
	same(t, "in the place of a restored one", seen, treetest.Describe(t, a.root+"/mode"))
	treetest.OK(t, Drop(b))
	same(t, "after Drop", seen, treetest.Describe(t, a.root+"/mode"))

	treetest.OK(t, os.Rename(a.root+"/mode", a.root+"/roots"))
	a.opt.Clean = false
	b = a.build()
	treetest.OK(t, os.Rename(a.root+"/roots", a.root+"/mode"))
	before := live(t, a.root)
	if _, err := Switch(t.Context(), b); err == nil {
		t.Error("filled root's folder")
	}
	same(t, "live", before, live(t, a.root))
}

// TestTakenInARace renames root's folder to a name between the last look and the rename.
func TestTakenInARace(t *testing.T) {
	a := webApp(t)
	a.opt.Clean = true
	treetest.Write(t, a.root+"/extra/x", "live")
	give(t, a.root)
	seen := rootsOwn(t, a.root+"/roots")
	// It is extra too, and stays: it is not ready to be moved in this test.
	a.opt.Kept = append(a.opt.Kept, core.Warning{Code: "unreadable", Object: a.root + "/roots"})
	b := a.build()
	raced := false
	h := hooks{rename: func(fromDir int, from string, toDir int, to string, flags uint) error {
		if from == "extra" && !raced {
			raced = true
			treetest.OK(t, os.Rename(a.root+"/extra", a.root+"/away"))
			treetest.OK(t, os.Rename(a.root+"/roots", a.root+"/extra"))
		}
		return unix.Renameat2(fromDir, from, toDir, to, flags)
	}}
	if _, err := run(t.Context(), b, New, h); err == nil || !raced {
		t.Errorf("raced %v: %v", raced, err)
	}
	same(t, "root's folder", seen, treetest.Describe(t, a.root+"/extra"))
	a.revert(b)
	same(t, "root's folder after Revert", seen, treetest.Describe(t, a.root+"/extra"))
}

// TestLostMoves loses the moves file of a restore that was switched to.
func TestLostMoves(t *testing.T) {
	for name, lose := range map[string]func(path string) error{
		"gone":  os.Remove,
		"empty": func(path string) error { return os.Truncate(path, 0) },
		"torn": func(path string) error {
			st, err := os.Stat(path)
			if err != nil {
				return err
			}
			return os.Truncate(path, st.Size()-20)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, func(root string) { treetest.Write(t, root+"/f", "backup") })
			treetest.Write(t, a.root+"/f", "live")
			b := a.build()
			a.switchTo(b)
			treetest.OK(t, lose(a.opt.MovesFile))
			_, load := Load(a.opt.MovesFile)
			_, build := a.tryBuild(hooks{})
			_, revert := Revert(t.Context(), b)
			for what, err := range map[string]error{"Load": load, "Build": build, "Revert": revert, "Drop": Drop(b), "Abandon": Abandon(a.opt.MovesFile)} {
				if core.CodeOf(err) != core.CodeDamage || !strings.Contains(err.Error(), b.Stages[0].Path) || strings.Contains(core.HintOf(err), "nothing was switched") {
					t.Errorf("%s: %v (%s)", what, err, core.HintOf(err))
				}
			}
			if got, err := os.ReadFile(b.Stages[0].Path + "/00000000"); err != nil || string(got) != "live" {
				t.Errorf("what was replaced: %q, %v", got, err)
			}
		})
	}
}

// TestOldMovesFile reads a moves file that has inode numbers alone.
func TestOldMovesFile(t *testing.T) {
	a := newApp(t, func(root string) { treetest.Write(t, root+"/f", "backup") })
	treetest.Write(t, a.root+"/f", "live")
	b := a.build()
	text, err := os.ReadFile(a.opt.MovesFile)
	treetest.OK(t, err)
	var out []byte
	for l := range strings.Lines(string(text)) {
		var fields map[string]any
		treetest.OK(t, json.Unmarshal([]byte(l), &fields))
		if m, is := fields["move"].(map[string]any); is {
			for _, k := range []string{"birth", "was", "staged", "ctime", "size"} {
				delete(m, k)
			}
			line, err := json.Marshal(fields)
			treetest.OK(t, err)
			l = string(line) + "\n"
		}
		out = append(out, l...)
	}
	treetest.OK(t, os.WriteFile(a.opt.MovesFile, out, 0o600))
	a.switchTo(b)
	a.revert(b)
	a.drop(b)
}
