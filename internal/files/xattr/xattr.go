// Package xattr reads and writes the extended attributes of open files and
// folders. It is for capture and restore, and knows which attributes belong
// into a backup and which a restore may take away. Access control lists and
// file capabilities are extended attributes too.
package xattr

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/files/openat"
)

// Stored says whether an extended attribute belongs into a backup. Left
// out are those that belong to the machine and not to the file: SELinux labels, which
// the target's policy gives, IMA and EVM signatures, and overlayfs's own notes.
func Stored(name string) bool {
	switch name {
	case "", "security.selinux", "security.ima", "security.evm", "security.apparmor":
		return false
	}
	return !strings.HasPrefix(name, "trusted.overlay.") && !strings.ContainsRune(name, 0)
}

// removable says whether a restore takes an attribute away that the backup
// does not have: those that users set and those that grant access, which a new
// file inherits from its folder.
func removable(name string) bool {
	return strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "system.posix_acl_")
}

// Inherited says whether what is made in an open folder may come with
// extended attributes that a restore takes away: those of a default access
// control list, the only ones that are inherited.
func Inherited(folder int) bool {
	err := openat.Retry(func() error {
		_, err := unix.Fgetxattr(folder, "system.posix_acl_default", nil)
		return err
	})
	return !openat.IsErrno(err, unix.ENODATA, unix.ENOTSUP)
}

// list returns the names of an open file's extended attributes, none
// where the file system knows none.
func list(fd int) ([]string, error) {
	buf := make([]byte, 1024)
	for {
		n := 0
		err := openat.Retry(func() (err error) {
			n, err = unix.Flistxattr(fd, buf)
			if err == unix.EBADF { // opened with O_PATH
				n, err = unix.Listxattr(openat.Path(fd), buf)
			}
			return err
		})
		if openat.IsErrno(err, unix.ENOTSUP, unix.ENOSYS) {
			return nil, nil
		}
		if openat.IsErrno(err, unix.ERANGE) && len(buf) < 1<<20 {
			buf = make([]byte, 4*len(buf))
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, nil
		}
		names := strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
		slices.Sort(names)
		return names, nil
	}
}

func get(fd int, name string) ([]byte, error) {
	buf := make([]byte, 256)
	for {
		n := 0
		err := openat.Retry(func() (err error) {
			n, err = unix.Fgetxattr(fd, name, buf)
			if err == unix.EBADF {
				n, err = unix.Getxattr(openat.Path(fd), name, buf)
			}
			return err
		})
		if openat.IsErrno(err, unix.ERANGE) && len(buf) < 16<<20 {
			buf = make([]byte, 8*len(buf))
			continue
		}
		if err != nil {
			return nil, err
		}
		return buf[:n:n], nil
	}
}

// Read returns the extended attributes of an open file or folder that
// are stored, nil when there are none. failed hears of those that could not be read.
func Read(fd int, failed func(name string, err error)) map[string][]byte {
	names, err := list(fd)
	if err != nil {
		failed("", err)
		return nil
	}
	var xattrs map[string][]byte
	for _, name := range names {
		if !Stored(name) {
			continue
		}
		value, err := get(fd, name)
		if openat.IsErrno(err, unix.ENODATA) {
			continue // removed since it was listed
		}
		if err != nil {
			failed(name, err)
			continue
		}
		if xattrs == nil {
			xattrs = map[string][]byte{}
		}
		xattrs[name] = value
	}
	return xattrs
}

// Write gives an open file or folder the extended attributes want, and
// takes away those that it should not have.
func Write(fd int, want map[string][]byte, failed func(name string, err error)) {
	have, err := list(fd)
	if err != nil {
		failed("", err)
	}
	for _, name := range have {
		if _, wanted := want[name]; wanted || !removable(name) {
			continue
		}
		err := openat.Retry(func() error { return unix.Fremovexattr(fd, name) })
		if err != nil && !openat.IsErrno(err, unix.ENODATA, unix.ENOTSUP) {
			failed(name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if old, err := get(fd, name); err == nil && bytes.Equal(old, want[name]) {
			continue
		}
		if err := openat.Retry(func() error { return unix.Fsetxattr(fd, name, want[name], 0) }); err != nil {
			failed(name, err)
		}
	}
}
