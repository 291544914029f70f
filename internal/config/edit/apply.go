package edit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Apply writes the file as it would be, in one step: whoever reads it sees all
// of it or nothing. Mode and owner stay, and a link goes on leading to it. What
// was there before is kept in stateDir (Versions); by is who wants it. Errors:
// ErrChanged, with CodeLocked, when the file is no longer what was read;
// CodeConfig where there are Problems; CodeDisk when it cannot be written.
// Nothing is changed then.
func (p *Proposal) Apply(now time.Time, stateDir, by string) error {
	if len(p.Problems) > 0 {
		first := p.Problems[0]
		return &core.Error{Code: core.CodeConfig, Op: "change the configuration", Message: fmt.Sprintf("line %d: %s", first.Line, first.Message), Hint: first.Hint}
	}
	if !p.Changed() {
		return nil
	}
	folder := versionsFolder(stateDir)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return writeError(err)
	}
	unlock, err := lock(filepath.Join(folder, ".lock"))
	if err != nil {
		return writeError(err)
	}
	defer unlock()
	current, err := Read(p.d.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		// A file that can be read no longer was changed by somebody.
		return changedError(p.d.path)
	}
	if err != nil || current.Digest() != p.d.Digest() || current.target != p.d.target {
		return changedError(p.d.path)
	}
	id, err := keepVersion(folder, now, p.d, p.After, by)
	if err == nil {
		err = replaceFile(current.target, p.After, current.info)
	}
	if err != nil {
		// What is still in effect is no former version.
		return writeError(errors.Join(err, removeVersion(folder, id)))
	}
	return forget(folder)
}

func changedError(path string) error {
	return &core.Error{Code: core.CodeLocked, Op: "change " + path, Err: ErrChanged, Hint: "look at the file as it is now, and change it again"}
}

func writeError(err error) error {
	hint := ""
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		hint = "make room on the disk; the configuration is as it was"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		hint = "let the service's account write the file's folder (for systemd: ReadWritePaths), or change the file with an editor"
	case errors.Is(err, syscall.EBUSY), errors.Is(err, syscall.EXDEV):
		hint = "the file itself is mounted: mount its folder, or change it with an editor"
	}
	return &core.Error{Code: core.CodeDisk, Op: "write the configuration", Err: err, Hint: hint}
}

// lock keeps other processes from changing the configuration at the same time.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return func() { f.Close() }, nil // the lock goes with it; nothing was written
}

// replaceFile puts data in place of the file at path, durably. like is the file
// whose mode and owner it gets, nil for one of the owner's only.
func replaceFile(path string, data []byte, like fs.FileInfo) (err error) {
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(temp.Name())))
		}
	}()
	_, err = temp.Write(data)
	if err == nil && like != nil {
		err = takeAfter(temp, like)
	}
	if err == nil {
		err = temp.Sync()
	}
	if closeErr := temp.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	return syncFolder(dir)
}

// takeAfter gives a file the owner and mode of another.
func takeAfter(f *os.File, like fs.FileInfo) error {
	own, err := f.Stat()
	if err != nil {
		return err
	}
	want, ok1 := like.Sys().(*syscall.Stat_t)
	have, ok2 := own.Sys().(*syscall.Stat_t)
	if ok1 && ok2 && (want.Uid != have.Uid || want.Gid != have.Gid) {
		if err := f.Chown(int(want.Uid), int(want.Gid)); err != nil {
			return err
		}
	}
	return f.Chmod(like.Mode().Perm())
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
