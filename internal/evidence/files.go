package evidence

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/backstay/backstay/internal/core"
)

// tempPrefix begins the names of files that are not yet in place; what a killed
// process left of them is swept by Trim.
const tempPrefix = ".new-"

// Disk is how a Store changes its folder. Tests put in one that fails.
type Disk interface {
	// Write writes a file that is not there yet, for its owner only, and brings it to disk.
	Write(path string, text []byte) error
	Rename(from, to string) error
	Remove(path string) error
	// SyncDir brings the names in a folder to disk.
	SyncDir(dir string) error
}

// system is the machine's file system.
type system struct{}

var _ Disk = system{}

func (system) Write(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (system) Rename(from, to string) error { return os.Rename(from, to) }
func (system) Remove(path string) error     { return os.Remove(path) }

func (system) SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (s Store) disk() Disk {
	if s.Disk != nil {
		return s.Disk
	}
	return system{}
}

func (s Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.Dir}, parts...)...)
}

func (s Store) makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return diskError("make the folder of the reports", err)
	}
	return nil
}

// writeTemp writes text durably into a new file of dir and returns its path.
// When it fails nothing is left.
func (s Store) writeTemp(dir string, text []byte) (string, error) {
	path := filepath.Join(dir, tempPrefix+rand.Text())
	if err := s.disk().Write(path, text); err != nil {
		if rerr := s.disk().Remove(path); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
		return "", diskError("write "+dir, err)
	}
	return path, nil
}

// file is one to be put into place.
type file struct {
	path string
	text []byte
}

// putAll puts files into one folder so that the last is there only when all
// are. On error none of them is there, nor what they would have replaced: their
// names are those of something new.
func (s Store) putAll(files []file) (err error) {
	dir := filepath.Dir(files[0].path)
	if err := s.makeDir(dir); err != nil {
		return err
	}
	var temps, placed []string
	defer func() {
		if err == nil {
			return
		}
		for _, path := range append(placed, temps[len(placed):]...) {
			if rerr := s.disk().Remove(path); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
				err = errors.Join(err, rerr)
			}
		}
	}()
	for _, f := range files {
		temp, err := s.writeTemp(dir, f.text)
		if err != nil {
			return err
		}
		temps = append(temps, temp)
	}
	for i, f := range files {
		if i == len(files)-1 { // a power cut must not keep the last name alone
			if err := s.disk().SyncDir(dir); err != nil {
				return diskError("write "+dir, err)
			}
		}
		if err := s.disk().Rename(temps[i], f.path); err != nil {
			return diskError("write "+f.path, err)
		}
		placed = append(placed, f.path)
	}
	if err := s.disk().SyncDir(dir); err != nil {
		return diskError("write "+dir, err)
	}
	return nil
}

// replace writes one file whole or not at all.
func (s Store) replace(path string, text []byte) error {
	return s.putAll([]file{{path, text}})
}

// diskError is the error of a folder that cannot be written.
func diskError(op string, err error) error {
	return &core.Error{Code: core.CodeDisk, Op: op, Err: err, Hint: "see that the state folder's disk has room and can be written"}
}

// readBounded reads a regular file of at most so many bytes.
func readBounded(path string, most int64) (_ []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > most {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, most)
	}
	return text, nil
}
