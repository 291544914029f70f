// Package transfer keeps files on their way in and out in the state folder:
// archives that are uploaded in parts, and archives that were made to be
// downloaded. It is for package console. It promises that what was received is
// on disk before it is said to be, that a broken connection, a full disk or a
// restart costs nothing that had arrived, and that no name that comes from
// outside leads out of its folders.
package transfer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/backstay/backstay/internal/core"
)

// reserve is what must stay free on the disk: the state folder holds more than
// archives.
const reserve = 256 << 20

// maxName is the most bytes of a file's name that Linux's file systems have.
const maxName = 255

// ValidName says whether name can be that of a file: no path, nothing that
// cannot be seen, not too long.
func ValidName(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsAny(name, `/\`) {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) })
}

// freeBelow asks the file system how many bytes can still be written in dir.
func freeBelow(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("ask for free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

// full is the error of a disk that has no room, with what is left of it.
func full(op, dir string, free int64) error {
	return &core.Error{
		Code: core.CodeDisk, Op: op, Message: fmt.Sprintf("there is too little space in %s: %d MB are free, of which %d MB must stay so", dir, free/1e6, int64(reserve)/1e6),
		Hint: "make room on that disk, or remove uploads and downloads that are not needed any more; what arrived is kept",
	}
}

// diskError gives what the file system refused a code and a hint.
func diskError(op, dir string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) {
		return &core.Error{Code: core.CodeDisk, Op: op, Err: err, Hint: "make room on the disk of " + dir + ", and send the rest again; what arrived is kept"}
	}
	if errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EIO) {
		return &core.Error{Code: core.CodeDisk, Op: op, Err: err, Hint: "look after the disk of " + dir}
	}
	return fmt.Errorf("%s: %w", op, err)
}

// writeJSON puts v into dir under name, whole or not at all.
func writeJSON(dir, name string, v any) (err error) {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err = os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return syncDir(dir)
}

// readJSON reads what writeJSON wrote; fs.ErrNotExist when it did not.
func readJSON(dir, name string, v any) error {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("read %s: %w", filepath.Join(dir, name), err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) { // file systems without it for folders
		err = nil
	}
	if err = errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	return nil
}

// lock takes the file for this caller alone, against other processes too.
func lock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// folders lists the folders in dir; none when it is not there.
func folders(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// olderThan says whether the folder was last changed more than d before now.
func olderThan(dir string, now time.Time, d time.Duration) bool {
	info, err := os.Lstat(dir)
	return err == nil && now.Sub(info.ModTime()) > d
}
