// Package place is the folder in which a repository lies: what is in it, who is
// making a repository of it, and how files get into it durably. It is for
// package kopia. It promises that nobody's files are taken for a repository or
// written over.
package place

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
)

// DiskError returns a core.CodeDisk error, with repository.ErrStorage, when err
// comes from the operating system's file calls on the folder path, else nil.
func DiskError(op, path string, err error) error {
	var (
		errno    syscall.Errno
		pathErr  *fs.PathError
		linkErr  *os.LinkError
		sysErr   *os.SyscallError
		fileName = path
	)
	switch {
	case errors.As(err, &pathErr):
		fileName = pathErr.Path
	case errors.As(err, &linkErr):
		fileName = linkErr.New
	case errors.As(err, &sysErr):
	case errors.As(err, &errno):
	default:
		return nil
	}
	e := &core.Error{Code: core.CodeDisk, Op: op, Err: err}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e.Message = fmt.Sprintf("no space left for the repository in %s", path)
		e.Hint = "free space there, then run it again; `backstay delete` and, a day later, `--reclaim` give back what old backups hold"
	case errors.Is(err, syscall.EROFS):
		e.Message = fmt.Sprintf("repository folder %s is read-only", path)
		e.Hint = "mount it writable"
	case errors.Is(err, fs.ErrPermission):
		e.Message = fmt.Sprintf("no permission for %s", fileName)
		e.Hint = "run as the user who owns the repository folder"
	default:
		e.Message = fmt.Sprintf("repository folder %s", path)
	}
	return repository.StorageError(e)
}

// failed classifies an error of making a repository.
func failed(op, path string, err error) error {
	var known *core.Error
	if errors.As(err, &known) {
		return err
	}
	if disk := DiskError(op, path, err); disk != nil {
		return disk
	}
	return fmt.Errorf("%s: %w", op, err)
}

// TempInfix marks a file that is being written; kopia's own storage names its
// temporary files the same way, and both ignore them.
const TempInfix = ".tmp."

// WriteFile writes path whole or not at all, and durably.
func WriteFile(path string, write func(io.Writer) error) (err error) {
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return err
	}
	temp := path + TempInfix + hex.EncodeToString(random[:])
	out, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			if rmErr := os.Remove(temp); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
				err = errors.Join(err, rmErr)
			}
		}
	}()
	if err := errors.Join(write(out), out.Sync(), out.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes the names in dir durable. File systems that cannot sync a
// folder say EINVAL or ENOTSUP, and then there is nothing to be done.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, d.Close())
}
