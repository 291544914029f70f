// Package openat looks at, opens and lists files relative to open folders. It
// is for capture and restore, which must not be led out of a tree by a symbolic
// link that somebody puts into the way of a longer path.
//
// It promises that a function without "through links" in its description
// follows none, that calls interrupted by a signal are repeated, and that
// descriptors are closed when another program is started. Errors are the
// system's own, without paths, which the caller knows better. Its functions
// are safe for concurrent use.
package openat

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ID tells files of one machine apart.
type ID struct{ dev, ino uint64 }

// IDOf returns the identity of what was looked at.
func IDOf(st *unix.Stat_t) ID { return ID{dev: uint64(st.Dev), ino: st.Ino} }

// Kind returns the file type, one of unix.S_IFREG, unix.S_IFDIR and so on.
func Kind(st *unix.Stat_t) uint32 { return st.Mode & unix.S_IFMT }

// IsDir says whether it is a folder.
func IsDir(st *unix.Stat_t) bool { return Kind(st) == unix.S_IFDIR }

// Retry repeats a system call that a signal interrupted.
func Retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// Lstat looks at a name in an open folder.
func Lstat(dir int, name string) (unix.Stat_t, error) {
	return statAt(dir, name, unix.AT_SYMLINK_NOFOLLOW)
}

// Stat looks at a name in an open folder, through links.
func Stat(dir int, name string) (unix.Stat_t, error) { return statAt(dir, name, 0) }

func statAt(dir int, name string, flags int) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := Retry(func() error { return unix.Fstatat(dir, name, &st, flags) })
	return st, err
}

// Fstat looks at an open file or folder.
func Fstat(fd int) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := Retry(func() error { return unix.Fstat(fd, &st) })
	return st, err
}

// Open opens a name in an open folder as flags say: through links, unless
// unix.O_NOFOLLOW is among them.
func Open(dir int, name string, flags int, perm uint32) (int, error) {
	fd := -1
	err := Retry(func() (err error) {
		fd, err = unix.Openat(dir, name, flags|unix.O_CLOEXEC, perm)
		return err
	})
	return fd, err
}

// Dir opens a folder for reading.
func Dir(dir int, name string) (int, error) {
	return Open(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

// DirThroughLinks opens a folder for reading, through links.
func DirThroughLinks(dir int, name string) (int, error) {
	return Open(dir, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
}

// ReadAt reads from an open file what there is at an offset, at most b's
// length in one call; 0 is the file's end.
func ReadAt(fd int, b []byte, at int64) (n int, err error) {
	err = Retry(func() (err error) {
		n, err = unix.Pread(fd, b, at)
		return err
	})
	return n, err
}

// WriteAt writes all of b to an open file at an offset.
func WriteAt(fd int, b []byte, at int64) error {
	for len(b) > 0 {
		n := 0
		err := Retry(func() (err error) {
			n, err = unix.Pwrite(fd, b, at)
			return err
		})
		if err != nil {
			return err
		}
		b, at = b[n:], at+int64(n)
	}
	return nil
}

// Path names an open file for system calls that take only paths.
func Path(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// Readlink returns the target of a symbolic link in an open folder.
func Readlink(dir int, name string) (string, error) {
	for size := 256; ; size *= 2 {
		buf := make([]byte, size)
		n := 0
		err := Retry(func() (err error) {
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

// List returns the names in an open folder, in byte order. When reading
// breaks off in the middle it returns what there was, and the error.
func List(fd int) ([]string, error) {
	// A second descriptor, because os.File closes the one it is given and
	// reading moves a position that the descriptor's copies would share.
	again, err := Dir(fd, ".")
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(again), "folder")
	names, err := f.Readdirnames(-1)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	slices.Sort(names)
	return names, err
}

// Sync brings an open folder's names to disk. Some network file systems do
// that of themselves and refuse the call, which is no error.
func Sync(fd int) error {
	err := Retry(func() error { return unix.Fsync(fd) })
	if IsErrno(err, unix.EINVAL, unix.ENOTSUP) {
		return nil
	}
	return err
}

// SyncPath is Sync for a folder that is not open, through links.
func SyncPath(path string) error {
	fd, err := DirThroughLinks(unix.AT_FDCWD, path)
	if err != nil {
		return err
	}
	return errors.Join(Sync(fd), unix.Close(fd))
}

// IsErrno says whether err is one of the error numbers.
func IsErrno(err error, numbers ...unix.Errno) bool {
	var e unix.Errno
	return errors.As(err, &e) && slices.Contains(numbers, e)
}

// Reason is what the system says of an error, without the path, which the
// caller shows beside it.
func Reason(err error) string {
	var e unix.Errno
	if errors.As(err, &e) {
		return e.Error()
	}
	return err.Error()
}

// SetTime sets the modification time of an open file or folder and leaves the
// access time. It is the system call itself, because golang.org/x/sys knows only the form with a
// path, and for a folder "." would need the right to search it.
func SetTime(fd int, modified time.Time) error {
	times := [2]unix.Timespec{
		{Nsec: unix.UTIME_OMIT},
		{Sec: modified.Unix(), Nsec: int64(modified.Nanosecond())},
	}
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&times)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// ModTime returns the modification time.
func ModTime(st *unix.Stat_t) time.Time { return time.Unix(st.Mtim.Unix()) }
