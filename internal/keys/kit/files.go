package kit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
)

// writeNew writes a file that its owner only can read, whole or not at all, and
// durably. A file that is there stays.
func writeNew(path string, write func(io.Writer) error) (err error) {
	fail := func(err error) error {
		if errors.Is(err, fs.ErrExist) {
			return &core.Error{Code: core.CodeUsage, Op: "write " + path, Message: "it is there already", Hint: "give another name, or move it away"}
		}
		return &core.Error{Code: core.CodeDisk, Op: "write " + path, Err: err, Hint: "nothing of it is left; make room or give another place"}
	}
	if _, err := os.Lstat(path); err == nil {
		return fail(fs.ErrExist)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".backstay-kit-*")
	if err != nil {
		return fail(err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already, once it has its name
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fail(err)
	}
	if err := place(f.Name(), path); err != nil {
		return fail(err)
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fail(err)
	}
	_ = d.Sync() // some file systems do not
	return d.Close()
}

// place gives a file its name, unless there is one of that name. Sticks and cards,
// on which kits are kept, have no links; other file systems cannot rename so.
func place(temp, path string) error {
	err := unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return os.Link(temp, path)
	}
	return err
}

// WriteFile writes content into a new file on the terms of a kit.
func WriteFile(path string, content []byte) error {
	return writeNew(path, func(w io.Writer) error { _, err := w.Write(content); return err })
}

// Unpack writes the files of an opened kit into a new or empty folder, for its
// owner only.
func (c Content) Unpack(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return &core.Error{Code: core.CodeDisk, Op: "unpack the recovery kit", Err: err, Hint: "give another folder with --into"}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("unpack the recovery kit: %w", err)
	}
	if len(entries) > 0 {
		return &core.Error{Code: core.CodeUsage, Op: "unpack the recovery kit", Message: dir + " is not empty", Hint: "give a folder that is new or empty: nothing is overwritten"}
	}
	for name, content := range c.Files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return &core.Error{Code: core.CodeDisk, Op: "unpack the recovery kit", Err: err, Hint: "give another folder with --into"}
		}
		if err := WriteFile(path, content); err != nil {
			return err
		}
	}
	return nil
}
