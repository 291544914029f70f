//go:build !linux

package daemon

import (
	"errors"
	"syscall"
)

func politeThread(nice int, class IOClass) error {
	if nice == 0 && (class == "" || class == IOUnchanged) {
		return nil
	}
	return errors.New("priorities of runs can be set on Linux only")
}

func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func expendable(int) {}
