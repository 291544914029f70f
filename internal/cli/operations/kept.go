package operations

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"

	"github.com/backstay/backstay/internal/config"
)

// keepConfig keeps a copy of the configuration that is in effect, for the runs:
// they are processes of their own, and a file that was broken since is not
// theirs to read.
func (v *service) keepConfig() {
	path := filepath.Join(v.stateDir, "service", "backstay.yaml")
	text, err := os.ReadFile(v.path)
	if err == nil {
		err = replaceFile(path, text)
	}
	if err == nil {
		_, err = config.LoadExcusing(path) // the file may have changed since it was looked at
	}
	if err != nil {
		v.log.Warn("runs read the configuration itself, and fail while it cannot be used", "err", err)
		path = v.path
	}
	v.kept.Store(&path)
}

// replaceFile writes a file whole or not at all, for its owner only: it may hold
// passwords.
func replaceFile(path string, text []byte) (err error) {
	if there, err := os.ReadFile(path); err == nil && bytes.Equal(there, text) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = temp.Write(text)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}
