package localserver

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	folderPrefix  = "backstay-db-"
	socketPrefix  = "backstay-sock-"
	ownerFileName = "owner"       // locked by the process that the folder belongs to
	linkFileName  = "socket-dir"  // path of the folder of the socket, where that is another
	pidFileName   = "server.pid"  // written by the server
	socketName    = "server.sock" // in the folder, or in the socket's own
	maxSocketPath = 100           // sun_path holds 108 bytes on Linux, 104 elsewhere, with the final NUL
)

// folder is a server's folder. As long as the process that made it lives, it
// holds the lock on the file "owner" in it; the kernel drops the lock with the
// process, and then the folder is anybody's to sweep away.
type folder struct {
	path      string
	socket    string
	socketDir string // "" when the socket is in path
	owner     *os.File
}

// newFolder makes and locks a folder in parent.
func newFolder(parent, name string) (*folder, error) {
	for {
		path, err := os.MkdirTemp(parent, folderPrefix+plain(name)+"*")
		if err != nil {
			return nil, err
		}
		owner, err := lockOwner(path)
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(path))
		}
		if owner == nil {
			continue // a sweep came between making the folder and locking it
		}
		f := &folder{path: path, owner: owner}
		if err := f.placeSocket(); err != nil {
			return nil, errors.Join(err, f.remove())
		}
		return f, nil
	}
}

// plain reduces a name to what is safe in a path, and ends it with a dash.
func plain(name string) string {
	if name == "" {
		return ""
	}
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, name)
	return name[:min(len(name), 24)] + "-"
}

// lockOwner takes the folder. It returns nil without an error when another
// process has it, or when it was removed meanwhile.
func lockOwner(path string) (*os.File, error) {
	file := filepath.Join(path, ownerFileName)
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, f.Close()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", file, err), f.Close())
	}
	// The lock counts only if the file is still the one in the folder.
	ours, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	there, err := os.Lstat(file)
	if err != nil || !os.SameFile(ours, there) {
		return nil, f.Close()
	}
	return f, nil
}

// placeSocket chooses where the socket is. A path that is too long for a
// socket gets a short folder for it.
func (f *folder) placeSocket() error {
	f.socket = filepath.Join(f.path, socketName)
	if len(f.socket) <= maxSocketPath {
		return nil
	}
	tmp := os.TempDir()
	if len(tmp) > maxSocketPath-len(socketPrefix)-len(socketName)-12 {
		tmp = "/tmp"
	}
	dir, err := os.MkdirTemp(tmp, socketPrefix+"*")
	if err != nil {
		return err
	}
	f.socketDir = dir
	f.socket = filepath.Join(dir, socketName)
	return os.WriteFile(filepath.Join(f.path, linkFileName), []byte(dir), 0o600)
}

// paths lists the folders that belong to the server, the main one first.
func (f *folder) paths() []string {
	if f.socketDir == "" {
		return []string{f.path}
	}
	return []string{f.path, f.socketDir}
}

// remove deletes the folder and drops the lock. It deletes nothing while a
// file system is mounted inside: that would empty the file system, which may
// be a bind mount of something dear.
func (f *folder) remove() error {
	var errs []error
	for _, path := range f.paths() {
		err := mountedBelow(path)
		if err == nil {
			err = os.RemoveAll(path)
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, f.owner.Close())...)
}

// mountedBelow returns an error that names a mount point inside path. Systems
// without /proc have none that it knows of.
func mountedBelow(path string) error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for mounts in %s: %w", path, err)
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(string(table)) {
		// proc_pid_mountinfo(5): the fifth field is the mount point.
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		if point := unescape.Replace(fields[4]); strings.HasPrefix(point, path+"/") {
			return fmt.Errorf("%s is not removed: a file system is mounted at %s", path, point)
		}
	}
	return nil
}

// sweep removes the folders in parent whose owner is dead, and ends what still
// runs in them. It never fails a start: what it cannot remove is logged.
func sweep(parent string, log *slog.Logger) {
	paths, err := filepath.Glob(filepath.Join(globEscape(parent), folderPrefix+"*"))
	if err != nil {
		log.Warn("cannot look for left-over database servers", "dir", parent, "error", err)
		return
	}
	for _, path := range paths {
		if err := sweepFolder(path); err != nil {
			log.Warn("cannot remove the folder of a dead database server", "dir", path, "error", err)
		}
	}
}

func sweepFolder(path string) error {
	// Others may write in the parent too: only real folders of this very user.
	if !ownFolder(path) {
		return nil
	}
	owner, err := lockOwner(path)
	if err != nil || owner == nil {
		return err
	}
	f := &folder{path: path, owner: owner}
	link, err := os.ReadFile(filepath.Join(path, linkFileName))
	if dir := string(link); err == nil && filepath.IsAbs(dir) && strings.HasPrefix(filepath.Base(dir), socketPrefix) && ownFolder(dir) {
		f.socketDir = dir
	}
	return errors.Join(killLeftOver(path), f.remove())
}

func ownFolder(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}

// killLeftOver kills the server that the folder's pid file names, if that
// process is a server on this folder.
func killLeftOver(path string) error {
	text, err := os.ReadFile(filepath.Join(path, pidFileName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return nil
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !bytes.Contains(cmdline, []byte("\x00--datadir="+path+"/")) {
		return nil // gone, or another's process by now
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill process %d: %w", pid, err)
	}
	return nil
}

func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
