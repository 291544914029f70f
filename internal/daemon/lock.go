package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
)

// serviceLock is held by the one service of a state folder. It is the operating
// system's lock, which ends with the process, however that ends.
type serviceLock struct{ f *os.File }

func lockPath(stateDir string) string { return filepath.Join(stateDir, "locks", ".service.lock") }

// lockTries and lockPause bear with Holder, which holds the lock for a moment.
const (
	lockTries = 10
	lockPause = 50 * time.Millisecond
)

func lockService(stateDir string, now time.Time) (*serviceLock, error) {
	const op = "start the service"
	path := lockPath(stateDir)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, &core.Error{Code: core.CodeDisk, Op: op, Err: err, Hint: "run as the user who owns state_dir, usually root"}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, &core.Error{Code: core.CodeDisk, Op: op, Err: err, Hint: "run as the user who owns state_dir, usually root"}
	}
	for try := 0; ; try++ {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		if try == lockTries {
			return nil, errors.Join(&core.Error{
				Code: core.CodeLocked, Op: op, Message: "another service runs on the state folder " + stateDir + ": " + readHolder(path),
				Hint: "one service looks after all apps; stop that one first (systemctl stop backstay), or give this one a state_dir of its own",
			}, f.Close())
		}
		time.Sleep(lockPause)
	}
	text := fmt.Sprintf("process %d since %s\n", os.Getpid(), now.UTC().Format(time.RFC3339))
	if err := f.Truncate(0); err == nil {
		// On a full disk the lock still holds; only its message is poorer.
		_, _ = f.WriteAt([]byte(text), 0)
	}
	return &serviceLock{f}, nil
}

func (l *serviceLock) release() error { return l.f.Close() }

// Holder says which service runs on the state folder, as "process 17 since
// 2026-11-23T02:00:00Z"; "": none does.
func Holder(stateDir string) string {
	path := lockPath(stateDir)
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // lets go of the lock, when it was free
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return readHolder(path)
	}
	return ""
}

func readHolder(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "unknown"
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, 200))
	if text := strings.TrimSpace(string(b)); err == nil && text != "" {
		return text
	}
	return "unknown"
}
