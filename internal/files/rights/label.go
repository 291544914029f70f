package rights

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/compare"
	"github.com/backstay/backstay/internal/files/openat"
)

// selinux is the label by which SELinux says who may do what with a file. New files get that
// of their folder, and keep it when they are renamed: what was staged would
// come to its place with the label of the staging folder.
const selinux = "security.selinux"

// Labels are those of live folders: "" where there is none.
type Labels map[*compare.Folder]string

// Give gives what is staged for a change the label of what it replaces, or of the
// folder that it comes to.
func (l Labels) Give(dir int, slot string, ch *compare.Change) (err error) {
	label, known := l[ch.In]
	if known && label == "" {
		return nil
	}
	fd, err := ch.In.Open()
	if err != nil {
		return files.Failed("open folder", ch.In.Real, err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if !known {
		label = labelOf(func(buf []byte) (int, error) { return unix.Fgetxattr(fd, selinux, buf) })
		l[ch.In] = label
	}
	if label == "" {
		return nil
	}
	if ch.Had {
		// Through the descriptor, which is a link of the kernel's own, to a name that is not followed.
		path := openat.Path(fd) + "/" + ch.Name
		if own := labelOf(func(buf []byte) (int, error) { return unix.Lgetxattr(path, selinux, buf) }); own != "" {
			label = own
		}
	}
	return files.Failed("label what was staged for", ch.Real, setLabel(dir, slot, label))
}

// labelOf returns a label, "" where there is none or none can be read.
func labelOf(get func(buf []byte) (int, error)) string {
	buf := make([]byte, 1024)
	n, err := get(buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// setLabel Labels a staged path and all that is in it, where this user may.
func setLabel(dir int, name, label string) (err error) {
	err = unix.Lsetxattr(openat.Path(dir)+"/"+name, selinux, []byte(label), 0)
	if openat.IsErrno(err, unix.EPERM, unix.EACCES, unix.ENOTSUP, unix.EINVAL) {
		return nil // the policy's own is as good as it gets
	}
	if err != nil {
		return fmt.Errorf("set %s: %w", selinux, err)
	}
	fd, err := openat.Dir(dir, name)
	if openat.IsErrno(err, unix.ENOTDIR, unix.ELOOP, unix.EACCES) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	names, err := openat.List(fd)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := setLabel(fd, n, label); err != nil {
			return err
		}
	}
	return nil
}
