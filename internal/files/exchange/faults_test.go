package exchange

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files/restore"
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
		var opened atomic.Int64
		a.m.OnOpen = func(core.ObjectID) error {
			if fmt.Sprintf("object %d", opened.Add(1)) == step {
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
				var opened atomic.Int64
				a.m.OnOpen = func(core.ObjectID) error {
					if opened.Add(1) == 2 {
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

// TestBackOnAFullDisk takes a switch back when there is no room for its own notes.
func TestBackOnAFullDisk(t *testing.T) {
	a := newApp(t, func(root string) {
		for i := range 2000 {
			treetest.Write(t, fmt.Sprintf("%s/%04d", root, i), "backup")
		}
	})
	for i := range 2000 {
		treetest.Write(t, fmt.Sprintf("%s/%04d", a.root, i), "live")
	}
	notes := t.TempDir()
	smallDisk(t, notes, "4m")
	a.opt.MovesFile = notes + "/moves"
	before := live(t, a.root)
	b := a.build()
	for _, kill := range []int{1000, 1_000_000} {
		if _, err := run(t.Context(), b, New, killAt(kill, hooks{})); !errors.Is(err, errKilled) && err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(notes+"/others", make([]byte, 5<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("the disk is not full: %v", err)
		}
		a.revert(b)
		same(t, "after Revert", before, live(t, a.root))
		treetest.OK(t, os.Remove(notes+"/others"))
	}
	// No room for going back: it does not begin.
	if err := os.WriteFile(notes+"/others", make([]byte, 5<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	if _, err := Switch(t.Context(), b); core.CodeOf(err) != core.CodeDisk {
		t.Errorf("got %v", err)
	}
	same(t, "after a Switch that failed", before, live(t, a.root))
	a.side(b, Old)
	treetest.OK(t, os.Remove(notes+"/others"))
	a.drop(b)
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

// protect makes a file or folder immutable until the returned function is called.
func protect(t *testing.T, path string) (release func()) {
	t.Helper()
	if !treetest.IsRoot() {
		t.Skip("only root can protect a file")
	}
	const immutable = 0x10 // FS_IMMUTABLE_FL
	set := func(flags int) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags), f.Close())
	}
	if err := set(immutable); err != nil {
		t.Skipf("this file system protects no files: %v", err)
	}
	released := false
	release = func() {
		if !released {
			released = true
			treetest.OK(t, set(0))
		}
	}
	t.Cleanup(release)
	return release
}

func TestImmutable(t *testing.T) {
	for _, path := range []string{"/folder/f", "/folder"} {
		t.Run(path, func(t *testing.T) {
			a := newApp(t, func(root string) { treetest.Write(t, root+"/folder/f", "backup") })
			treetest.Write(t, a.root+"/folder/f", "live")
			release := protect(t, a.root+path)
			_, err := a.tryBuild(hooks{})
			if err == nil || core.HintOf(err) != "run: chattr -ia "+a.root+path {
				t.Errorf("got %v, hint %q", err, core.HintOf(err))
			}
			nothingLeft(t, filepath.Dir(a.root), a.opt.MovesFile)
			release()
			a.build()
		})
	}
	t.Run("extra", func(t *testing.T) {
		a := newApp(t, func(root string) { treetest.Write(t, root+"/f", "backup") })
		protect(t, treetest.Write(t, a.root+"/extra/f", "live"))
		treetest.Write(t, a.root+"/extra/g", "live")
		a.opt.Clean = true
		b := a.build()
		if diff := cmp.Diff([]string{"kept " + a.root + "/extra/f"}, treetest.Codes(b.Warnings)); diff != "" {
			t.Error(diff)
		}
		before := live(t, a.root)
		a.switchTo(b)
		if _, err := os.Lstat(a.root + "/extra/g"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what may be taken away: %v", err)
		}
		a.revert(b)
		same(t, "after Revert", before, live(t, a.root))
	})
}

// TestLabels gives what is staged the label that its place has, not the staging folder's.
func TestLabels(t *testing.T) {
	if !treetest.IsRoot() {
		t.Skip("only root can set labels")
	}
	a := newApp(t, func(root string) {
		treetest.Write(t, root+"/uploads/changed", "backup")
		treetest.Write(t, root+"/uploads/added/file", "backup")
	})
	treetest.Write(t, a.root+"/uploads/changed", "live")
	treetest.OK(t, os.RemoveAll(a.root+"/uploads/added"))
	label := func(path string) string {
		buf := make([]byte, 100)
		n, err := unix.Lgetxattr(a.root+path, "security.selinux", buf)
		treetest.OK(t, err)
		return strings.TrimSuffix(string(buf[:n]), "\x00")
	}
	for path, l := range map[string]string{"/uploads": "system_u:object_r:httpd_sys_rw_content_t:s0", "/uploads/changed": "system_u:object_r:httpd_config_t:s0"} {
		if err := unix.Setxattr(a.root+path, "security.selinux", []byte(l), 0); err != nil {
			t.Skipf("no labels can be set here: %v", err)
		}
	}
	a.switchTo(a.build())
	for path, want := range map[string]string{
		"/uploads/changed": "system_u:object_r:httpd_config_t:s0", "/uploads/added": "system_u:object_r:httpd_sys_rw_content_t:s0",
		"/uploads/added/file": "system_u:object_r:httpd_sys_rw_content_t:s0",
	} {
		if got := label(path); got != want {
			t.Errorf("%s has %q, want %q", path, got, want)
		}
	}
}

// TestPastDamage restores what can be read, and leaves the rest as it is.
func TestPastDamage(t *testing.T) {
	a := newApp(t, func(root string) {
		for _, p := range []string{"/changed", "/changed-too", "/same", "/gone", "/folder/one", "/folder/two"} {
			treetest.Write(t, root+p, "backup of "+p)
		}
	})
	treetest.Write(t, a.root+"/changed", "live")
	treetest.Write(t, a.root+"/changed-too", "live")
	treetest.OK(t, os.Remove(a.root+"/gone"))
	treetest.OK(t, os.RemoveAll(a.root+"/folder"))
	stored := treetest.Stored(t, a.m, a.c.Entry)
	for _, p := range []string{"/changed", "/same", "/gone", "/folder/two"} {
		delete(a.m.Files, stored["app"+p].Object.ID)
	}
	a.opt.Damaged = &restore.Damaged{}
	b := a.build()
	if diff := cmp.Diff([]string{"files/app/changed", "files/app/folder/two", "files/app/gone", "files/app/same"}, a.opt.Damaged.Paths); diff != "" {
		t.Error(diff)
	}
	a.switchTo(b)
	for path, want := range map[string]string{
		"/changed": "live", "/changed-too": "backup of /changed-too", "/same": "backup of /same", "/gone": "", "/folder/one": "backup of /folder/one", "/folder/two": "",
	} {
		if got, _ := os.ReadFile(a.root + path); string(got) != want {
			t.Errorf("%s has %q, want %q", path, got, want)
		}
	}
}

// TestStickyFolder finds out that a file of somebody else cannot be moved.
func TestStickyFolder(t *testing.T) {
	const name = "BACKSTAY_TEST_STICKY"
	if treetest.IsRoot() {
		dir, err := os.MkdirTemp("", "exchange-")
		treetest.OK(t, err)
		t.Cleanup(func() { treetest.OK(t, os.RemoveAll(dir)) })
		treetest.OK(t, os.Chmod(dir, 0o755))
		treetest.Write(t, dir+"/app/f", "live")
		treetest.OK(t, os.Chmod(dir+"/app", 0o777|os.ModeSticky))
		t.Setenv(name, dir+"/app")
	}
	root := os.Getenv(name)
	if root == "" {
		t.Skip("only root can make files of others")
	}
	if !treetest.AsOrdinaryUser(t) {
		return
	}
	a := newApp(t, func(root string) { treetest.Write(t, root+"/f", "backup") })
	a.opt.Targets["app"] = root
	if _, err := a.tryBuild(hooks{}); err == nil || !strings.Contains(err.Error(), root+"/f") || core.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
	nothingLeft(t, root, a.opt.MovesFile)
}
