package localserver

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// startDummy starts a process that waits and has argument on its command line.
func startDummy(t *testing.T, argument string) (*exec.Cmd, io.Closer) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "read -r line; exit 0", "dummy", argument)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, in
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// The watchdog alone, as on a system whose kernel kills nothing.
func TestWatchdogKillsTheServerOnly(t *testing.T) {
	for name, ours := range map[string]bool{"server": true, "another process with its number": false} {
		t.Run(name, func(t *testing.T) {
			f, err := newFolder(t.TempDir(), "")
			if err != nil {
				t.Fatal(err)
			}
			argument := "--datadir=/somewhere/else"
			if ours {
				argument = "--datadir=" + f.path + "/data"
			}
			dummy, in := startDummy(t, argument)
			w, err := startWatchdog(f)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.watch(dummy.Process.Pid); err != nil {
				t.Fatal(err)
			}
			// The end of the pipe is what the watchdog sees of a dead parent.
			if err := w.pipe.Close(); err != nil {
				t.Fatal(err)
			}
			if err := w.cmd.Wait(); err != nil {
				t.Errorf("watchdog: %v", err)
			}
			if exists(f.path) {
				t.Errorf("left behind: %s", f.path)
			}
			if err := in.Close(); err != nil {
				t.Fatal(err)
			}
			if err := dummy.Wait(); (err != nil) != ours {
				t.Errorf("the process ended with %v", err)
			}
			if err := f.owner.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDismissedWatchdogDoesNothing(t *testing.T) {
	f, err := newFolder(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	w, err := startWatchdog(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.dismiss(); err != nil {
		t.Error(err)
	}
	if !exists(f.path) {
		t.Error("the folder is gone")
	}
	if err := f.remove(); err != nil {
		t.Error(err)
	}
}

func TestSweep(t *testing.T) {
	parent := t.TempDir()
	alive, err := newFolder(parent, "alive")
	if err != nil {
		t.Fatal(err)
	}
	dead, err := newFolder(parent, "dead")
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.owner.Close(); err != nil {
		t.Fatal(err)
	}
	// A folder that was made and whose maker died before locking it.
	unlocked := filepath.Join(parent, folderPrefix+"unlocked")
	// A link that a stranger put there, to something dear.
	dear := filepath.Join(t.TempDir(), "dear")
	stranger := filepath.Join(parent, "database")
	for _, dir := range []string{unlocked, dear, stranger} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(dear, filepath.Join(parent, folderPrefix+"link")); err != nil {
		t.Fatal(err)
	}
	// A server that nothing killed, and a short socket folder.
	dummy, _ := startDummy(t, "--datadir="+dead.path+"/data")
	socketDir, err := os.MkdirTemp(t.TempDir(), socketPrefix)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dead.path, pidFileName), strconv.Itoa(dummy.Process.Pid))
	writeFile(t, filepath.Join(dead.path, linkFileName), socketDir)
	// One that claims a folder which is not a socket folder.
	liar := filepath.Join(parent, folderPrefix+"liar")
	if err := os.Mkdir(liar, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(liar, linkFileName), dear)

	sweep(parent, slog.New(slog.DiscardHandler))

	for path, want := range map[string]bool{
		alive.path: true, dear: true, stranger: true,
		dead.path: false, unlocked: false, socketDir: false, liar: false,
	} {
		if exists(path) != want {
			t.Errorf("%s: there is %v, want %v", path, exists(path), want)
		}
	}
	if err := dummy.Wait(); err == nil {
		t.Error("the left-over server was not killed")
	}
	if err := alive.remove(); err != nil {
		t.Error(err)
	}
}

// Removing must never reach through a mount into what is mounted.
func TestMountedFileSystemIsNotEmptied(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	for name, spaced := range map[string]string{"plain": "p", "space in the path": "p q"} {
		t.Run(name, func(t *testing.T) {
			parent := filepath.Join(t.TempDir(), spaced)
			dear := t.TempDir()
			if err := os.Mkdir(parent, 0o700); err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(dear, "file"), "dear")
			f, err := newFolder(parent, "")
			if err != nil {
				t.Fatal(err)
			}
			point := filepath.Join(f.path, "mnt")
			if err := os.Mkdir(point, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mount(dear, point, "", syscall.MS_BIND, ""); err != nil {
				t.Skipf("this machine lets no file system be mounted: %v", err)
			}
			mounted := true
			unmount := func() {
				if mounted {
					mounted = false
					if err := syscall.Unmount(point, 0); err != nil {
						t.Error(err)
					}
				}
			}
			t.Cleanup(unmount)
			w, err := startWatchdog(f)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.pipe.Close(); err != nil {
				t.Fatal(err)
			}
			if err := w.cmd.Wait(); err == nil {
				t.Error("the watchdog removed a folder with a mount")
			}
			if err := f.owner.Close(); err != nil {
				t.Fatal(err)
			}
			sweep(parent, slog.New(slog.DiscardHandler))
			if !exists(filepath.Join(dear, "file")) || !exists(f.path) {
				t.Error("removed through the mount")
			}
			unmount()
			sweep(parent, slog.New(slog.DiscardHandler))
			if exists(f.path) {
				t.Error("without the mount the folder is not removed")
			}
		})
	}
}

func TestPlainNames(t *testing.T) {
	for name, want := range map[string]string{
		"": "", "help desk/../ü": "help-desk------", "a123456789012345678901234567890": "a12345678901234567890123-",
	} {
		if got := plain(name); got != want {
			t.Errorf("plain(%q) = %q, want %q", name, got, want)
		}
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
