// Package files captures file trees into a backup and restores them. It is for
// the engine, and for whatever lists, verifies or compares what was captured.
//
// It promises that a captured tree comes back as it was: contents, names of any
// bytes, modes, owners, times to the nanosecond, symbolic and hard links, holes
// and extended attributes; that what could not be captured is named in a
// warning; that neither capture nor restore is led out of its folder by a
// symbolic link, not even by one put there while it runs; and that a file
// that is restored is either the old one or the whole new one.
//
// It works on Linux file systems, relative to open folders throughout.
// The form of what it stores is specified in docs/spec/backup-layout.md.
package files

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
)

// Walk calls fn for everything below the stored folder dir: each folder before
// what is in it, names in byte order. path is relative to dir, as stored:
// "app/uploads/a.txt". When fn returns fs.SkipDir for a folder, what is below
// it is left out; for a file, the rest of its folder. Any other error ends the
// walk and is returned.
func Walk(ctx context.Context, r core.TreeReader, dir core.Entry, fn func(path string, e core.Entry) error) error {
	err := walkStored(ctx, r, "", dir, fn)
	if err == fs.SkipDir {
		return nil
	}
	return err
}

func walkStored(ctx context.Context, r core.TreeReader, at string, dir core.Entry, fn func(string, core.Entry) error) error {
	entries, err := readStoredDir(ctx, r, at, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		path := join(at, e.Name)
		err := fn(path, e)
		if err == fs.SkipDir {
			if e.Type == core.TypeDir {
				continue
			}
			return nil
		}
		if err != nil {
			return err
		}
		if e.Type == core.TypeDir {
			if err := walkStored(ctx, r, path, e, fn); err != nil {
				return err
			}
		}
	}
	return nil
}

// Lookup returns the entry at path, relative to the stored folder dir and as
// stored; "" is dir itself. The error has core.CodeNotFound when there is none.
func Lookup(ctx context.Context, r core.TreeReader, dir core.Entry, path string) (core.Entry, error) {
	e, at := dir, ""
	for _, name := range strings.Split(path, "/") {
		if name == "" {
			continue
		}
		missing := &core.Error{
			Code: core.CodeNotFound, Op: "look up " + quote(path), Message: fmt.Sprintf("there is no %s in %s", quote(name), quote(join(dir.Name, at))),
			Hint: "see what there is with `backstay ls BACKUP " + quote(join(dir.Name, at)) + "`",
		}
		if e.Type != core.TypeDir {
			return core.Entry{}, missing
		}
		entries, err := readStoredDir(ctx, r, at, e)
		if err != nil {
			return core.Entry{}, err
		}
		i := slices.IndexFunc(entries, func(e core.Entry) bool { return e.Name == name })
		if i < 0 {
			return core.Entry{}, missing
		}
		e, at = entries[i], join(at, name)
	}
	return e, nil
}

// readStoredDir returns the entries of a stored folder in byte order. What
// could not have been written by Capture is damage.
func readStoredDir(ctx context.Context, r core.TreeReader, at string, dir core.Entry) ([]core.Entry, error) {
	entries, err := r.ReadDir(ctx, dir.Object.ID)
	if err != nil {
		return nil, fmt.Errorf("read stored folder %q: %w", at, err)
	}
	sort.Slice(entries, func(i, k int) bool { return entries[i].Name < entries[k].Name })
	for i, e := range entries {
		if err := checkName(e.Name); err != nil {
			return nil, damage("read stored folder "+quote(at), err.Error())
		}
		if i > 0 && entries[i-1].Name == e.Name {
			return nil, damage("read stored folder "+quote(at), fmt.Sprintf("the name %q is there twice", e.Name))
		}
		switch e.Type {
		case core.TypeFile, core.TypeDir, core.TypeSymlink:
		default:
			return nil, damage("read stored folder "+quote(at), fmt.Sprintf("%q is of the unknown kind %q", e.Name, e.Type))
		}
	}
	return entries, nil
}

func damage(op, message string) error {
	return &core.Error{
		Code: core.CodeDamage, Op: op, Message: message,
		Hint: "run `backstay verify` to see what else is affected, and use another backup",
	}
}

// join puts together two paths of which the first may be empty.
func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// fileID tells files of one machine apart.
type fileID struct{ dev, ino uint64 }

func idOf(st *unix.Stat_t) fileID { return fileID{dev: uint64(st.Dev), ino: st.Ino} }

// modeOf returns permission bits with setuid, setgid and sticky.
func modeOf(st *unix.Stat_t) fs.FileMode {
	m := fs.FileMode(st.Mode & 0o777)
	if st.Mode&unix.S_ISUID != 0 {
		m |= fs.ModeSetuid
	}
	if st.Mode&unix.S_ISGID != 0 {
		m |= fs.ModeSetgid
	}
	if st.Mode&unix.S_ISVTX != 0 {
		m |= fs.ModeSticky
	}
	return m
}

// unixMode is the opposite of modeOf.
func unixMode(m fs.FileMode) uint32 {
	u := uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		u |= unix.S_ISUID
	}
	if m&fs.ModeSetgid != 0 {
		u |= unix.S_ISGID
	}
	if m&fs.ModeSticky != 0 {
		u |= unix.S_ISVTX
	}
	return u
}

func kindOf(st *unix.Stat_t) uint32 { return st.Mode & unix.S_IFMT }

func isDir(st *unix.Stat_t) bool { return kindOf(st) == unix.S_IFDIR }

func mtimeOf(st *unix.Stat_t) time.Time { return time.Unix(st.Mtim.Unix()).UTC() }

func nanos(t unix.Timespec) int64 { return t.Nano() }

// retryIntr repeats a system call that a signal interrupted.
func retryIntr(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

func lstatAt(dir int, name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := retryIntr(func() error { return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return st, err
}

func statFD(fd int) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := retryIntr(func() error { return unix.Fstat(fd, &st) })
	return st, err
}

func openAt(dir int, name string, flags int, perm uint32) (int, error) {
	fd := -1
	err := retryIntr(func() (err error) {
		fd, err = unix.Openat(dir, name, flags|unix.O_CLOEXEC, perm)
		return err
	})
	return fd, err
}

// openDirAt opens a folder, and never through a symbolic link.
func openDirAt(dir int, name string) (int, error) {
	return openAt(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

// openWay opens a folder in which only known names are looked up, so that the right to
// search it is enough.
func openWay(dir int, name string, flags int) (int, error) {
	fd, err := openAt(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|flags, 0)
	if isErrno(err, unix.EACCES) {
		fd, err = openAt(dir, name, unix.O_PATH|unix.O_DIRECTORY|flags, 0)
	}
	return fd, err
}

// fdPath names an open file for system calls that take only paths.
func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

func readlinkAt(dir int, name string) (string, error) {
	for size := 256; ; size *= 2 {
		buf := make([]byte, size)
		n := 0
		err := retryIntr(func() (err error) {
			n, err = unix.Readlinkat(dir, name, buf)
			return err
		})
		if err != nil {
			return "", err
		}
		if n < size {
			return string(buf[:n]), nil
		}
	}
}

// listDir returns the names in an open folder, in byte order. When reading
// breaks off in the middle it returns what there was, and the error.
func listDir(fd int) ([]string, error) {
	// A second descriptor, because os.File closes the one it is given and
	// reading moves a position that the descriptor's copies would share.
	again, err := openAt(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(again), "folder")
	names, err := f.Readdirnames(-1)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	sort.Strings(names)
	return names, err
}

// exhausted says that the machine, not the file, is the reason for err: to go
// on would make a warning of every file that follows.
func exhausted(err error) bool {
	return isErrno(err, unix.EMFILE, unix.ENFILE, unix.ENOMEM)
}

// quote makes a path printable: as it is where it is plain, in quotes where it
// holds control characters or is not valid UTF-8.
func quote(path string) string {
	if printable(path) {
		return path
	}
	return strconv.Quote(path)
}
