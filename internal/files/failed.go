package files

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files/openat"
)

// Failed says what could not be done with a path of the target, and what to do about
// it: nil for nil, and err itself when it says that already.
func Failed(op, real string, err error) error {
	if err == nil {
		return nil
	}
	var known *core.Error
	if errors.As(err, &known) {
		return err
	}
	e := &core.Error{Code: core.CodeFailed, Op: op + " " + Quote(real), Err: err}
	switch {
	case openat.IsErrno(err, unix.ENOSPC, unix.EDQUOT):
		e.Code, e.Hint = core.CodeDisk, "free space on the file system of "+Quote(real)
	case openat.IsErrno(err, unix.EROFS):
		e.Code, e.Hint = core.CodeDisk, "the file system is mounted read-only; mount it writable, or restore elsewhere with --to-dir"
	case openat.IsErrno(err, unix.EIO):
		e.Code, e.Hint = core.CodeDisk, "the disk reports errors; restore to another one with --to-dir"
	case openat.IsErrno(err, unix.EBUSY):
		e.Hint = "something is mounted there; unmount it, or restore this path elsewhere with --to-dir"
	case openat.IsErrno(err, unix.EXDEV):
		e.Hint = "the file system cannot move this here: it is a folder of a lower layer, as in containers, or of another project or subvolume; move it away by hand, or restore elsewhere with --to-dir"
	case openat.IsErrno(err, unix.EPERM):
		e.Hint = "restore as root or as a user who may write there; if root may not either, the file system protects it: see lsattr"
	case openat.IsErrno(err, unix.EACCES):
		e.Hint = "restore as root or as a user who may write there, or elsewhere with --to-dir"
	default:
		return fmt.Errorf("%s %s: %w", op, Quote(real), err)
	}
	return e
}
