package engine

import (
	"context"
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

// AppLock is the operating system's lock on an app: it ends with the process,
// however that ends.
type AppLock struct{ f *os.File }

// Guarding is what LockApp is to be told by a guard.
const Guarding = "guard"

// lockPoll is how often a busy lock is tried again. There is no way to wait
// for flock and for a context at once.
const lockPoll = 200 * time.Millisecond

// LockApp makes this the only operation on the app. While another one runs it
// waits, or, when wait is false, fails with CodeLocked and says who holds it.
func (e *Engine) LockApp(ctx context.Context, app, doing string, wait bool) (*AppLock, error) {
	dir := filepath.Join(e.StateDir, "locks")
	if err := ensureDir(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, app+".lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, &core.Error{Code: core.CodeDisk, Op: "lock app " + app, Err: err, Hint: "run as the user who owns state_dir, usually root"}
	}
	told := false
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock app %s: %w", app, err), f.Close())
		}
		holder := readHolder(path)
		if e.Under != "" && strings.HasPrefix(holder, Guarding+" by process "+e.Under+" ") {
			return nil, errors.Join(&core.Error{
				Code: core.CodeLocked, Op: "lock app " + app, Message: "this runs under backstay guard, which holds the app until its command has ended",
				Hint: "guard backs the app up before and after its command; leave backups and restores of the app out of the command",
			}, f.Close())
		}
		if !wait {
			return nil, errors.Join(&core.Error{
				Code: core.CodeLocked, Op: "lock app " + app, Message: "another operation works on it: " + holder,
				Hint: "wait until it is done; without --no-wait backstay waits by itself",
			}, f.Close())
		}
		if !told {
			e.Log.Info("waiting for another operation on the app to end", "app", app, "holder", holder)
			told = true
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-time.After(lockPoll):
		}
	}
	text := fmt.Sprintf("%s by process %d since %s\n", doing, os.Getpid(), e.Clock.Now().UTC().Format(time.RFC3339))
	if err := writeHolder(f, text); err != nil { // on a full disk the lock still holds; only its message is poorer
		e.Log.Debug("write lock holder", "app", app, "err", err)
	}
	return &AppLock{f: f}, nil
}

// Holder says which operation works on an app right now; "": none.
func Holder(stateDir, app string) string {
	path := filepath.Join(stateDir, "locks", app+".lock")
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

func writeHolder(f *os.File, text string) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

func readHolder(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 200))
	if text := strings.TrimSpace(string(b)); err == nil && text != "" {
		return text
	}
	return "unknown"
}

// Release lets others work on the app.
func (l *AppLock) Release() error {
	if err := l.f.Close(); err != nil {
		return fmt.Errorf("release app lock: %w", err)
	}
	return nil
}
