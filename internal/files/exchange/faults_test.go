package exchange

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files/treetest"
)

var errKilled = errors.New("killed")

// killAt stops at the n-th step.
func killAt(n int, h hooks) hooks {
	h.step = func(string) error {
		if n--; n == 0 {
			return errKilled
		}
		return nil
	}
	return h
}

// plainRenames is a file system that has no renames but the plain one.
func plainRenames(fromDir int, from string, toDir int, to string, flags uint) error {
	if flags != 0 {
		return unix.EINVAL
	}
	return unix.Renameat(fromDir, from, toDir, to)
}

// smallTree has one of each kind of difference, after spoilSmall.
func smallTree(t *testing.T) func(root string) {
	return func(root string) {
		treetest.Write(t, root+"/changed", "backup")
		treetest.Write(t, root+"/sub/changed", "backup")
		treetest.Write(t, root+"/added/in/file", "backup")
		treetest.Write(t, root+"/sub/added", "backup")
		treetest.Write(t, root+"/becomes-file", "backup")
		treetest.Write(t, root+"/becomes-folder/file", "backup")
		treetest.Mkdir(t, root+"/mode")
		treetest.Write(t, root+"/same", "same")
	}
}

func spoilSmall(t *testing.T, root string) {
	treetest.Write(t, root+"/changed", "live")
	treetest.Write(t, root+"/sub/changed", "live")
	treetest.OK(t, os.RemoveAll(root+"/added"))
	treetest.OK(t, os.Remove(root+"/sub/added"))
	treetest.OK(t, os.Remove(root+"/becomes-file"))
	treetest.Write(t, root+"/becomes-file/inside", "live")
	treetest.OK(t, os.RemoveAll(root+"/becomes-folder"))
	treetest.Write(t, root+"/becomes-folder", "live")
	treetest.OK(t, os.Chmod(root+"/mode", 0o700))
	treetest.Write(t, root+"/extra/file", "live")
	treetest.Write(t, root+"/sub/extra", "live")
}

// TestKilled stops a Switch and a Revert at each step, and has another
// process go on with either.
func TestKilled(t *testing.T) {
	for name, rename := range map[string]func(int, string, int, string, uint) error{"exchange": nil, "plain renames": plainRenames} {
		for _, first := range []Side{New, Old} {
			t.Run(name+", killed on the way to "+string(first), func(t *testing.T) {
				a := newApp(t, smallTree(t))
				want := tree(t, a.root)
				spoilSmall(t, a.root)
				a.opt.Clean = true
				before := live(t, a.root)
				b := a.build()
				kills, mixed := 0, 0
				for n := 1; ; n++ {
					if first == Old {
						a.switchTo(b)
					}
					_, err := run(t.Context(), b, first, killAt(n, hooks{rename: rename}))
					if err == nil {
						break
					}
					if !errors.Is(err, errKilled) {
						t.Fatal(err)
					}
					kills++
					side, err := State(b)
					treetest.OK(t, err)
					if side == Mixed {
						mixed++
						if err := Drop(b); core.CodeOf(err) != core.CodeLocked {
							t.Errorf("dropped half-way: %v", err)
						}
					}
					if rename == nil {
						for path := range before { // each is there as it was or as it will be
							if _, later := want[path]; later && !strings.Contains(path, "becomes-file/") {
								if _, err := os.Lstat(filepath.Join(a.root, path)); err != nil {
									t.Errorf("killed at step %d: %v", n, err)
								}
							}
						}
					}
					// Killed once more while it goes on, the same way or back.
					for _, next := range []Side{New, Old} {
						if _, err := run(t.Context(), b, next, killAt(3, hooks{rename: rename})); !errors.Is(err, errKilled) && err != nil {
							t.Fatal(err)
						}
					}
					_, err = run(t.Context(), b, New, hooks{rename: rename})
					treetest.OK(t, err)
					a.side(b, New)
					got := tree(t, a.root)
					same(t, fmt.Sprintf("killed at step %d, after Switch", n), want, got)
					_, err = run(t.Context(), b, Old, hooks{rename: rename})
					treetest.OK(t, err)
					a.side(b, Old)
					same(t, fmt.Sprintf("killed at step %d, after Revert", n), before, live(t, a.root))
				}
				if kills < 10 || mixed < 6 {
					t.Errorf("killed %d times, %d of them half-way: the test proves little", kills, mixed)
				}
			})
		}
	}
}

// TestKilledBuild kills a process that builds, and looks what is left.
func TestKilledBuild(t *testing.T) {
	if dir := os.Getenv("BACKSTAY_TEST_KILLED_BUILD"); dir != "" {
		a := killedApp(t, dir)
		step := os.Getenv("BACKSTAY_TEST_KILLED_AT")
		die := func() error { return syscall.Kill(os.Getpid(), syscall.SIGKILL) }
		opened := 0
		a.m.OnOpen = func(core.ObjectID) error {
			if opened++; fmt.Sprintf("object %d", opened) == step {
				return die()
			}
			return nil
		}
		_, err := a.tryBuild(hooks{step: func(what string) error {
			if what == step {
				return die()
			}
			return nil
		}})
		t.Fatalf("not killed: %v", err)
	}
	for _, step := range []string{"begun", "object 1", "staging folders made", "object 4", "staged"} {
		t.Run(step, func(t *testing.T) {
			dir := t.TempDir()
			smallTree(t)(treetest.Mkdir(t, dir+"/origin"))
			smallTree(t)(treetest.Mkdir(t, dir+"/www/app"))
			spoilSmall(t, dir+"/www/app")
			before := live(t, dir+"/www/app")
			self, err := os.Executable()
			treetest.OK(t, err)
			cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestKilledBuild$")
			cmd.Env = append(os.Environ(), "BACKSTAY_TEST_KILLED_BUILD="+dir, "BACKSTAY_TEST_KILLED_AT="+step)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("%v: %s", err, out)
			}
			same(t, "after the kill", before, live(t, dir+"/www/app"))
			a := killedApp(t, dir)
			if _, err := Load(a.opt.MovesFile); core.CodeOf(err) != core.CodeNotFound {
				t.Errorf("loaded what was not finished: %v", err)
			}
			b := a.build() // takes what the killed one left away
			a.switchTo(b)
			a.revert(b)
			same(t, "after Revert", before, live(t, a.root))
			a.drop(b)
			if out, err := cmd.CombinedOutput(); err == nil {
				t.Fatalf("%s", out)
			}
			cmd = exec.CommandContext(t.Context(), self, cmd.Args[1:]...)
			cmd.Env = append(os.Environ(), "BACKSTAY_TEST_KILLED_BUILD="+dir, "BACKSTAY_TEST_KILLED_AT="+step)
			if out, err := cmd.CombinedOutput(); err == nil {
				t.Fatalf("%s", out)
			}
			treetest.OK(t, Abandon(a.opt.MovesFile))
			nothingLeft(t, dir, a.opt.MovesFile)
			same(t, "after Abandon", before, live(t, a.root))
		})
	}
}

func killedApp(t *testing.T, dir string) *app {
	a := captureApp(t, dir+"/origin")
	a.root = dir + "/www/app"
	a.opt.Targets["app"], a.opt.MovesFile = a.root, dir+"/moves"
	return a
}

// smallDisk mounts a file system, or skips the test.
func smallDisk(t *testing.T, at, size string) {
	t.Helper()
	if !treetest.IsRoot() {
		t.Skip("only root can mount a file system")
	}
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, "mode=755,size="+size); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() { treetest.OK(t, unix.Unmount(at, 0)) })
}

func TestDiskFull(t *testing.T) {
	for _, early := range []bool{true, false} {
		t.Run(fmt.Sprintf("seen early %v", early), func(t *testing.T) {
			origin := t.TempDir()
			for i := range 8 {
				treetest.Write(t, fmt.Sprintf("%s/folder/%d", origin, i), strings.Repeat("x", 200_000))
			}
			above := treetest.Mkdir(t, t.TempDir()+"/www")
			smallDisk(t, above, "2m")
			a := captureApp(t, origin)
			a.root = treetest.Mkdir(t, above+"/app")
			a.opt.Targets["app"] = a.root
			treetest.Write(t, a.root+"/folder", "live")
			fill := func() {
				err := os.WriteFile(above+"/others", make([]byte, 1_000_000), 0o600)
				if err != nil && !errors.Is(err, unix.ENOSPC) {
					t.Error(err)
				}
			}
			if early {
				fill()
			} else {
				opened := 0
				a.m.OnOpen = func(core.ObjectID) error {
					if opened++; opened == 2 {
						fill()
					}
					return nil
				}
			}
			before := live(t, a.root)
			d, err := Compare(t.Context(), a.m, a.c.Entry, a.extra(), a.opt)
			treetest.OK(t, err)
			if len(d.Space) != 1 || d.Space[0].Enough() == early {
				t.Errorf("space: %+v", d.Space)
			}
			_, err = a.tryBuild(hooks{})
			if core.CodeOf(err) != core.CodeDisk || core.HintOf(err) == "" || !strings.Contains(err.Error(), above) {
				t.Errorf("got %v", err)
			}
			same(t, "after a Build that failed", before, live(t, a.root))
			nothingLeft(t, above, a.opt.MovesFile)
		})
	}
}

// TestMounts has an application that is a mount itself, with a volume in it and a
// single file mounted.
func TestMounts(t *testing.T) {
	origin := t.TempDir()
	treetest.Write(t, origin+"/code", "backup")
	treetest.Write(t, origin+"/data/uploads/file", "backup")
	treetest.Write(t, origin+"/data/uploads/new/file", "backup")
	treetest.Write(t, origin+"/data/config.php", "backup")
	a := captureApp(t, origin)
	want := tree(t, origin)
	a.root = treetest.Mkdir(t, t.TempDir()+"/www/app")
	a.opt.Targets["app"] = a.root
	a.opt.Clean = true
	smallDisk(t, a.root, "2m")
	uploads := treetest.Mkdir(t, a.root+"/data/uploads")
	smallDisk(t, uploads, "2m")
	treetest.Write(t, a.root+"/code", "live")
	treetest.Write(t, uploads+"/file", "live")
	treetest.Write(t, uploads+"/extra", "live")
	treetest.Write(t, a.root+"/data/config.php", "live")
	treetest.Mkdir(t, a.root+"/extra-mount")
	smallDisk(t, a.root+"/extra-mount", "1m")
	mounted := a.root + "/data/config.php"
	treetest.OK(t, unix.Mount(treetest.Write(t, t.TempDir()+"/config.php", "mounted"), mounted, "", unix.MS_BIND, ""))
	unmount := func() { treetest.OK(t, unix.Unmount(mounted, 0)) }
	before := live(t, a.root)
	if d, err := Compare(t.Context(), a.m, a.c.Entry, a.extra(), a.opt); err != nil || len(d.Obstacles) != 1 || d.Obstacles[0].Code != "mounted" || len(d.Space) != 2 {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := a.tryBuild(hooks{}); core.HintOf(err) == "" || !strings.Contains(err.Error(), mounted) {
		t.Errorf("got %v", err)
	}
	same(t, "after a Build that failed", before, live(t, a.root))
	unmount()

	before = live(t, a.root)
	b := a.build()
	got := []string{}
	for _, s := range b.Stages {
		got = append(got, s.Path)
	}
	if diff := cmp.Diff([]string{a.root + "/.backstay-itop-files", uploads + "/.backstay-itop-files"}, got); diff != "" {
		t.Error(diff)
	}
	a.switchTo(b)
	after := tree(t, a.root)
	delete(after, "extra-mount") // it stays
	same(t, "after Switch", want, after)
	if c := captureApp(t, a.root); len(treetest.Stored(t, c.m, c.c.Entry)) != len(treetest.Stored(t, a.m, a.c.Entry))+1 {
		t.Error("the next backup has more in it")
	}
	a.revert(b)
	same(t, "after Revert", before, live(t, a.root))
	a.drop(b)
	same(t, "after Drop", before, live(t, a.root))
}

func TestImmutable(t *testing.T) {
	if !treetest.IsRoot() {
		t.Skip("only root can protect a file")
	}
	a := newApp(t, func(root string) { treetest.Write(t, root+"/f", "backup") })
	treetest.Write(t, a.root+"/f", "live")
	f, err := os.Open(a.root + "/f")
	treetest.OK(t, err)
	defer func() { treetest.OK(t, f.Close()) }()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, 0x10); err != nil {
		t.Skipf("this file system protects no files: %v", err)
	}
	defer func() { treetest.OK(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, 0)) }()
	_, err = a.tryBuild(hooks{})
	if err == nil || !strings.Contains(core.HintOf(err), "chattr -ia "+a.root+"/f") {
		t.Errorf("got %v, hint %q", err, core.HintOf(err))
	}
	nothingLeft(t, filepath.Dir(a.root), a.opt.MovesFile)
}

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
	treetest.OK(t, os.RemoveAll(b.Stages[0].Path))
	treetest.Symlink(t, outside, b.Stages[0].Path)
	if _, err := Switch(t.Context(), b); err == nil {
		t.Error("switched to something that somebody else put there")
	}
	treetest.OK(t, Drop(b))
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

// TestShellWords has a shell read them.
func TestShellWords(t *testing.T) {
	for _, path := range []string{"/plain", "/it's", "/a b", "/bad\xff\xfename", "/$(x)`\"'\\%d\xe9", "/new\nline"} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s "+shellWord(path)).Output()
		if err != nil || string(out) != path {
			t.Errorf("%q is read as %q, %v", path, out, err)
		}
	}
}

// TestManyNames are spread over lines.
func TestManyNames(t *testing.T) {
	var paths []string
	for i := range 1000 {
		paths = append(paths, fmt.Sprintf("/var/www/app/uploads/%04d", i))
	}
	lines := commandLines("chown -h 1:1 --", paths)
	if n := len(lines); n < 2 || n > 3 {
		t.Errorf("%d lines", n)
	}
	if got := strings.Fields(strings.Join(lines, " ")); len(got) != 1000+4*len(lines) {
		t.Errorf("%d words", len(got))
	}
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
