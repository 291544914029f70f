package exchange

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files/treetest"
)

// TestLiveGoesOn has users and an attacker at work between Build, Switch and Revert.
func TestLiveGoesOn(t *testing.T) {
	a := newApp(t, func(root string) {
		for _, p := range []string{"/same", "/gone", "/added", "/changed", "/folder/file", "/folder/deep/file", "/other/file"} {
			treetest.Write(t, root+p, "backup")
		}
	})
	for _, p := range []string{"/added", "/folder", "/other"} {
		treetest.OK(t, os.RemoveAll(a.root+p))
	}
	treetest.Write(t, a.root+"/changed", "live")
	b := a.build()
	if w, err := Changed(t.Context(), b); err != nil || w != nil {
		t.Errorf("nothing has changed: %v, %v", w, err)
	}
	treetest.Write(t, a.root+"/same", "newer")
	treetest.OK(t, os.Remove(a.root+"/gone"))
	treetest.Write(t, a.root+"/added", "uploaded")
	treetest.Write(t, a.root+"/folder/deep/file", "uploaded")
	treetest.Write(t, a.root+"/folder/deep/mine", "uploaded")
	treetest.Write(t, a.root+"/changed", "changed again")
	w, err := Changed(t.Context(), b)
	treetest.OK(t, err)
	if diff := cmp.Diff([]string{"newer " + a.root + "/gone", "newer " + a.root + "/same"}, treetest.Codes(w)); diff != "" {
		t.Error(diff)
	}
	before := live(t, a.root)
	a.switchTo(b, "newer "+a.root+"/added", "newer "+a.root+"/folder/deep/file")
	check := func(when string, want map[string]string) {
		t.Helper()
		for path, content := range want {
			got, err := os.ReadFile(a.root + path)
			if content == "" && !errors.Is(err, os.ErrNotExist) || content != "" && string(got) != content {
				t.Errorf("%s: %s has %q, %v", when, path, got, err)
			}
		}
	}
	switched := map[string]string{
		"/same": "newer", "/gone": "", "/added": "backup", "/changed": "backup", "/folder/file": "backup", "/folder/deep/file": "backup",
		"/folder/deep/mine": "uploaded", "/other/file": "backup",
	}
	check("after Switch", switched)
	a.revert(b)
	same(t, "after Revert", before, live(t, a.root))
	a.switchTo(b)
	check("after Switch once more", switched)
	// After the switch users go on.
	treetest.Write(t, a.root+"/other/mine", "uploaded")
	treetest.Write(t, a.root+"/changed", "edited")
	treetest.OK(t, os.Remove(a.root+"/added"))
	a.revert(b, "newer "+a.root+"/other")
	check("after Revert with additions", map[string]string{
		"/same": "newer", "/added": "uploaded", "/changed": "changed again", "/folder/deep/file": "uploaded", "/folder/file": "",
		"/other/file": "", "/other/mine": "uploaded",
	})
	a.switchTo(b)
	check("after Switch at last", map[string]string{"/other/file": "backup", "/other/mine": "uploaded", "/changed": "edited", "/folder/file": "backup"})
	a.drop(b)
}

// TestNotLedAway puts a link in the place of a folder after Build.
func TestNotLedAway(t *testing.T) {
	outside := t.TempDir()
	treetest.Write(t, outside+"/f", "precious")
	seen := treetest.Describe(t, outside)
	a := newApp(t, func(root string) {
		treetest.Write(t, root+"/folder/f", "backup")
		treetest.Write(t, root+"/g", "backup")
	})
	treetest.Write(t, a.root+"/folder/f", "live")
	treetest.Write(t, a.root+"/g", "live")
	b := a.build()
	treetest.OK(t, os.Rename(a.root+"/folder", a.root+"/away"))
	treetest.Symlink(t, outside, a.root+"/folder")
	if _, err := Switch(t.Context(), b); err == nil {
		t.Error("switched through a link")
	}
	a.side(b, Old)
	if got, err := os.ReadFile(a.root + "/g"); err != nil || string(got) != "live" {
		t.Errorf("something was changed: %q, %v", got, err)
	}
	same(t, "outside", seen, treetest.Describe(t, outside))
	treetest.OK(t, os.Remove(a.root+"/folder"))
	treetest.OK(t, os.Rename(a.root+"/away", a.root+"/folder"))
	a.switchTo(b)
	// And in the place of what was staged.
	a.revert(b)
	treetest.OK(t, os.Rename(b.Stages[0].Path, a.root+"-away"))
	treetest.Write(t, b.Stages[0].Path+"/00000000", "bad")
	if _, err := Switch(t.Context(), b); err == nil {
		t.Error("switched to something that somebody else put there")
	}
	treetest.OK(t, os.RemoveAll(b.Stages[0].Path))
	treetest.Symlink(t, outside, b.Stages[0].Path)
	if _, err := Switch(t.Context(), b); err == nil {
		t.Error("switched to something that somebody else put there")
	}
	if err := Drop(b); core.CodeOf(err) != core.CodeLocked {
		t.Errorf("dropped what somebody else put there: %v", err)
	}
	treetest.OK(t, os.Remove(b.Stages[0].Path))
	treetest.OK(t, os.Rename(a.root+"-away", b.Stages[0].Path))
	a.drop(b)
	same(t, "outside", seen, treetest.Describe(t, outside))
}

// TestMissingStaged finds out that the staging folder was tampered with before it moves anything.
func TestMissingStaged(t *testing.T) {
	a := newApp(t, smallTree(t))
	spoilSmall(t, a.root)
	before := live(t, a.root)
	b := a.build()
	names, err := filepath.Glob(b.Stages[0].Path + "/0*")
	treetest.OK(t, err)
	treetest.OK(t, os.RemoveAll(names[len(names)-1]))
	if _, err := Switch(t.Context(), b); err == nil || core.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
	a.side(b, Old)
	same(t, "after a Switch that failed", before, live(t, a.root))
	a.drop(b)
}

// TestFollowedLinks fills the folder that a link leads to, and leaves the link.
func TestFollowedLinks(t *testing.T) {
	a := newApp(t, func(root string) {
		treetest.Write(t, root+"/uploads/file", "backup")
		treetest.Write(t, root+"/linked.php", "backup")
	})
	elsewhere := treetest.Mkdir(t, t.TempDir()+"/elsewhere")
	treetest.OK(t, os.Rename(a.root+"/uploads", elsewhere+"/uploads"))
	treetest.OK(t, os.Rename(a.root+"/linked.php", elsewhere+"/linked.php"))
	treetest.Symlink(t, elsewhere+"/uploads", a.root+"/uploads")
	treetest.Symlink(t, elsewhere+"/linked.php", a.root+"/linked.php")
	treetest.Write(t, elsewhere+"/uploads/file", "live")
	a.opt.Follow = []string{"app/uploads", "app/linked.php"}
	b := a.build()
	if b.Changed.Files != 1 || b.Unchanged != 1 {
		t.Errorf("built: %+v", b)
	}
	if w, err := Changed(t.Context(), b); err != nil || w != nil {
		t.Errorf("nothing has changed: %v, %v", w, err)
	}
	a.switchTo(b)
	if got, err := os.ReadFile(elsewhere + "/uploads/file"); err != nil || string(got) != "backup" {
		t.Errorf("behind the link: %q, %v", got, err)
	}
	a.revert(b)
	if got, err := os.ReadFile(elsewhere + "/uploads/file"); err != nil || string(got) != "live" {
		t.Errorf("behind the link: %q, %v", got, err)
	}
	a.drop(b)
}

// TestCommands has an ordinary user restore what belongs to others.
func TestCommands(t *testing.T) {
	if !treetest.AsOrdinaryUser(t) {
		return
	}
	a := newApp(t, func(root string) {
		for i := range 300 {
			treetest.Write(t, fmt.Sprintf("%s/all/in one/%03d", root, i), "backup")
			treetest.Write(t, fmt.Sprintf("%s/mixed/%03d", root, i), "backup")
		}
		treetest.OK(t, os.Chmod(treetest.Write(t, root+"/suid", "backup"), 0o755|os.ModeSetuid))
		treetest.Write(t, root+"/same", "same")
		treetest.Write(t, root+"/it's", "backup")
	})
	me := uint32(os.Geteuid())
	for _, entries := range a.m.Dirs {
		for i := range entries {
			e := &entries[i]
			if e.Name == "100" && e.Object.Size == 6 {
				continue // in both folders
			}
			if e.Name != "mixed" && e.Name != "app" {
				e.UID = me + 1000
			}
		}
	}
	treetest.OK(t, os.RemoveAll(a.root+"/all"))
	treetest.OK(t, os.Remove(a.root+"/suid"))
	treetest.OK(t, os.Remove(a.root+"/it's"))
	at := time.Now()
	for i := range 300 {
		treetest.SetTime(t, fmt.Sprintf("%s/mixed/%03d", a.root, i), at.Add(time.Second))
	}
	b := a.build()
	if b.Unchanged != 1 {
		t.Errorf("a file that differs only in an owner that cannot be set: %+v", b)
	}
	all := strings.Join(b.Commands, "\n")
	owner := fmt.Sprintf("%d:%d", me+1000, os.Getegid())
	for _, want := range []string{"chown -h " + owner + " -- ", " '" + a.root + `/it'\''s'`, " " + a.root + "/same", "\nchmod 4755 -- " + a.root + "/suid"} {
		if !strings.Contains(all, want) {
			t.Errorf("there is no %q", want)
		}
	}
	if len(b.Commands) > 6 {
		t.Errorf("%d commands", len(b.Commands))
	}
	for _, e := range []string{"/mixed ", "/mixed/100", "/all/in one/100"} {
		if strings.Contains(all+" ", a.root+e) {
			t.Errorf("%s needs no command", e)
		}
	}
	// With the one exception gone, one line does for the folder.
	treetest.OK(t, Abandon(a.opt.MovesFile))
	for _, entries := range a.m.Dirs {
		for i := range entries {
			if entries[i].Name == "100" {
				entries[i].UID = me + 1000
			}
		}
	}
	b = a.build()
	if want := "chown -hR " + owner + " -- " + a.root + "/all"; b.Commands[0] != want {
		t.Errorf("%q, want %q", b.Commands[0], want)
	}
	a.switchTo(b)
	a.drop(b)
}

// TestOpenFiles closes what it opens.
func TestOpenFiles(t *testing.T) {
	a := newApp(t, func(root string) { treetest.HostileTree(t, root) })
	spoil(t, a.root)
	before := treetest.OpenFiles(t)
	b := a.build()
	a.switchTo(b)
	a.revert(b)
	a.drop(b)
	if n := treetest.OpenFiles(t); n != before {
		t.Errorf("%d files open, %d before", n, before)
	}
}

// TestTornLine goes on after a power cut left a part of the pass file's last line.
func TestTornLine(t *testing.T) {
	a := newApp(t, smallTree(t))
	want := tree(t, a.root)
	spoilSmall(t, a.root)
	a.opt.Clean = true
	before := live(t, a.root)
	b := a.build()
	steps := 0
	_, err := run(t.Context(), b, New, hooks{step: func(what string) error {
		if steps++; what == "folders set" {
			return errKilled
		}
		return nil
	}})
	if !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	for range 2 {
		f, err := os.OpenFile(passFile(b.MovesFile), os.O_WRONLY|os.O_APPEND, 0)
		treetest.OK(t, err)
		_, err = f.WriteString(`{"don`)
		treetest.OK(t, errors.Join(err, f.Close()))
		a.side(b, Mixed)
		a.switchTo(b)
		same(t, "after Switch", want, tree(t, a.root))
		a.revert(b)
		same(t, "after Revert", before, live(t, a.root))
		if _, err := run(t.Context(), b, New, killAt(steps, hooks{})); !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
	}
	// What is no line at all is not taken for one.
	treetest.OK(t, os.WriteFile(b.MovesFile, []byte("{\"moves\":{\"version\":1}}\nrubbish\n"), 0o600))
	if _, err := State(b); core.CodeOf(err) != core.CodeDamage {
		t.Errorf("got %v", err)
	}
	treetest.OK(t, os.WriteFile(b.MovesFile, []byte("{\"moves\":{\"version\":99}}\n{\"stage\":\"/\"}\n"), 0o600))
	if err := Drop(b); core.CodeOf(err) != core.CodeUnsupported {
		t.Errorf("got %v", err)
	}
}

// TestLayers has an application in a container, most of it in layers that cannot be written to.
func TestLayers(t *testing.T) {
	if !treetest.IsRoot() {
		t.Skip("only root can mount a file system")
	}
	base := t.TempDir()
	origin := base + "/origin"
	treetest.Write(t, origin+"/folder/file", "backup")
	treetest.Write(t, origin+"/folder/added/file", "backup")
	a := captureApp(t, origin)
	want := tree(t, origin)
	treetest.Write(t, base+"/lower/app/folder/file", "live")
	treetest.Write(t, base+"/lower/app/extra/in/file", "live")
	treetest.Mkdir(t, base+"/upper")
	treetest.Mkdir(t, base+"/work")
	merged := treetest.Mkdir(t, base+"/merged")
	if err := unix.Mount("overlay", merged, "overlay", 0, "lowerdir="+base+"/lower,upperdir="+base+"/upper,workdir="+base+"/work,redirect_dir=off"); err != nil {
		t.Skipf("no layers can be mounted here: %v", err)
	}
	t.Cleanup(func() { treetest.OK(t, unix.Unmount(merged, 0)) })
	a.root = merged + "/app"
	a.opt.Targets["app"] = a.root
	a.opt.Clean = true
	before := tree(t, a.root) // copies of files from below get inodes of their own
	b, err := a.tryBuild(hooks{})
	treetest.OK(t, err)
	a.switchTo(b)
	got := tree(t, a.root)
	for path := range got {
		if strings.HasPrefix(path, "extra") {
			delete(got, path)
		}
	}
	same(t, "after Switch", want, got)
	a.revert(b)
	same(t, "after Revert", before, tree(t, a.root))
	a.drop(b)
}

// TestAbandon removes what was built when the live tree is the old one, and only then.
func TestAbandon(t *testing.T) {
	a := newApp(t, smallTree(t))
	spoilSmall(t, a.root)
	before := live(t, a.root)
	treetest.OK(t, Abandon(a.opt.MovesFile)) // of nothing
	for _, switched := range []bool{false, true} {
		b := a.build()
		if switched {
			a.switchTo(b)
			if err := Abandon(a.opt.MovesFile); core.CodeOf(err) != core.CodeLocked {
				t.Errorf("abandoned what is live: %v", err)
			}
			a.side(b, New)
			a.revert(b)
		}
		treetest.OK(t, Abandon(a.opt.MovesFile))
		nothingLeft(t, filepath.Dir(a.root), a.opt.MovesFile)
		same(t, "after Abandon", before, live(t, a.root))
	}
}

func TestOrdinaryUserSystemPlace(t *testing.T) {
	if treetest.AsOrdinaryUser(t) {
		TestSystemPlace(t)
	}
}

// TestSystemPlace restores a file and a folder somewhere below "/".
func TestSystemPlace(t *testing.T) {
	etc := treetest.Mkdir(t, t.TempDir()+"/etc")
	treetest.Write(t, etc+"/app.conf", "backup")
	treetest.Write(t, etc+"/conf.d/more", "backup")
	a := captureApp(t, etc, core.FileSet{
		Component: core.ComponentConfig, Place: "system", Root: "/",
		Include: []core.Path{{Path: etc[1:] + "/app.conf"}, {Path: etc[1:] + "/conf.d"}},
	})
	a.opt.Targets = map[string]string{"system": "/"}
	want := tree(t, etc)
	treetest.Write(t, etc+"/app.conf", "live")
	treetest.OK(t, os.RemoveAll(etc+"/conf.d"))
	treetest.Write(t, etc+"/other.conf", "live")
	delete(want, ".") // it is not owned
	before := live(t, etc)
	b := a.build()
	if len(b.Stages) != 1 || b.Stages[0].Path != etc+"/.backstay-itop-config" || b.Extra.Files != 0 {
		t.Errorf("built: %+v", b)
	}
	a.switchTo(b)
	after := tree(t, etc)
	if after["other.conf"] == "" {
		t.Error("what the backup does not own was taken away")
	}
	delete(after, "other.conf")
	delete(after, ".")
	same(t, "after Switch", want, after)
	a.revert(b)
	same(t, "after Revert", before, live(t, etc))
	treetest.OK(t, Drop(b))
	nothingLeft(t, etc, a.opt.MovesFile)
	if _, err := os.Lstat(b.Stages[0].Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

// TestGroupOfOthers leaves a file whose group this user cannot give it, and says how to.
func TestGroupOfOthers(t *testing.T) {
	if !treetest.AsOrdinaryUser(t) {
		return
	}
	a := newApp(t, func(root string) { treetest.Write(t, root+"/f", "backup") })
	gid := uint32(os.Getegid() + 1000)
	for _, entries := range a.m.Dirs {
		for i := range entries {
			if entries[i].Name == "f" {
				entries[i].GID = gid
			}
		}
	}
	b := a.build()
	want := []string{fmt.Sprintf("chown -h %d:%d -- %s/f", os.Geteuid(), gid, a.root)}
	if diff := cmp.Diff(want, b.Commands); diff != "" || b.Stages != nil || b.Unchanged != 1 {
		t.Errorf("%+v: %s", b, diff)
	}
}
