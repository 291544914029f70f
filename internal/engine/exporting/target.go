package exporting

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
)

// target is the file that an archive becomes. It has a temporary name until
// place.
type target struct {
	*os.File
	temp, path string
	done       bool
}

// refuseTarget keeps what is there from being overwritten, before anything is
// written.
func refuseTarget(path string, replace bool) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return &core.Error{Code: core.CodeDisk, Op: "export to " + files.Quote(path), Err: err, Hint: "choose another file"}
	case !info.Mode().IsRegular():
		return &core.Error{Code: core.CodeUsage, Op: "export to " + files.Quote(path), Message: "it is there and is not a plain file", Hint: "give the name of a file that is to be made, or - for the standard output: backstay export BACKUP - > FILE"}
	case !replace:
		return exists(path)
	}
	return nil
}

func exists(path string) error {
	return &core.Error{Code: core.CodeUsage, Op: "export to " + files.Quote(path), Message: "the file is there already", Hint: "choose another name, or give --replace"}
}

// newTarget makes the temporary file, 0600. What a killed export left under
// the name is overwritten; one that another export still writes is not.
func newTarget(path string) (*target, error) {
	dir := filepath.Dir(path)
	t := &target{path: path, temp: filepath.Join(dir, files.TempName(filepath.Base(path)))}
	for {
		f, err := os.OpenFile(t.temp, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
		if errors.Is(err, os.ErrNotExist) {
			return nil, &core.Error{Code: core.CodeDisk, Op: "export to " + files.Quote(path), Message: "there is no folder " + files.Quote(dir), Hint: "make it, or choose a folder that exists"}
		}
		if err != nil {
			err = fmt.Errorf("make a file in %s: %w", files.Quote(dir), unnamed(err))
			return nil, &core.Error{Code: core.CodeDisk, Op: "export to " + files.Quote(path), Err: err, Hint: "choose a folder that exists and that you may write to"}
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			return nil, errors.Join(&core.Error{Code: core.CodeLocked, Op: "export to " + files.Quote(path), Message: "another export is writing it", Hint: "wait until it is done, or choose another name"}, f.Close())
		}
		mine, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		// The export that held the lock may just have given the file its name.
		if there, err := os.Lstat(t.temp); err != nil || !os.SameFile(mine, there) {
			if err := f.Close(); err != nil {
				return nil, err
			}
			continue
		}
		t.File = f
		if err := errors.Join(f.Truncate(0), f.Chmod(0o600)); err != nil {
			return nil, errors.Join(t.explain(err), t.discard())
		}
		return t, nil
	}
}

// unnamed is an error without the temporary name, which nobody knows.
func unnamed(err error) error {
	var of *os.PathError
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// explain says what to do about an error of writing.
func (t *target) explain(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &core.Error{Code: core.CodeDisk, Op: "export to " + files.Quote(t.path), Err: err, Hint: "make room, or choose a file on another disk; nothing is left of this attempt"}
	}
	return err
}

// discard removes the temporary file.
func (t *target) discard() error {
	if t.done {
		return nil
	}
	t.done = true
	// Removed while it is locked: nobody else can have it.
	return errors.Join(os.Remove(t.temp), t.Close())
}

// place brings the file to disk and gives it its name.
func (t *target) place(replace bool) error {
	if err := t.Sync(); err != nil {
		return t.explain(fmt.Errorf("write %s: %w", files.Quote(t.path), err))
	}
	flags := uint(unix.RENAME_NOREPLACE)
	if replace {
		flags = 0
	}
	err := unix.Renameat2(unix.AT_FDCWD, t.temp, unix.AT_FDCWD, t.path, flags)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // the file system cannot tell
		if err = refuseTarget(t.path, replace); err == nil {
			err = os.Rename(t.temp, t.path)
		}
	}
	switch {
	case errors.Is(err, unix.EEXIST):
		return exists(t.path)
	case err != nil:
		return &core.Error{Code: core.CodeDisk, Op: "export to " + files.Quote(t.path), Err: err}
	}
	t.done = true
	if err := t.Close(); err != nil {
		return fmt.Errorf("write %s: %w", files.Quote(t.path), err)
	}
	return syncFolder(filepath.Dir(t.path))
}

func syncFolder(path string) (err error) {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // file systems that have none for folders
		return fmt.Errorf("bring folder %s to disk: %w", path, err)
	}
	return nil
}

// writeSum writes FILE.sha256 in the place of one that is there: it belongs to
// the archive that is there now.
func writeSum(path, sum, name string) error {
	t, err := newTarget(path)
	if err != nil {
		return err
	}
	defer func() { _ = t.discard() }()
	if _, err := fmt.Fprintf(t, "%s  %s\n", sum, name); err != nil {
		return t.explain(err)
	}
	return t.place(true)
}
