package state

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
)

// The lock file holds two locks, of a byte each: the gate, which is held while
// the database is opened, so that only one process makes, checks or replaces
// it; and the users', which all that have it open share. They are the open
// file's, not the process's, so that two DBs of one process are two users too.
const (
	gateByte  = 0
	usersByte = 1
)

const lockPoll = 10 * time.Millisecond

// enter opens the lock file and takes the gate.
func (db *DB) enter(ctx context.Context) (*os.File, error) {
	f, err := os.OpenFile(db.path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, diskError(err)
	}
	if err := db.await(ctx, f, unix.F_WRLCK, gateByte); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func leaveGate(f *os.File) error { return lock(f, unix.F_UNLCK, gateByte) }

// sole says whether nobody else has the database open, and keeps it so until
// share.
func (db *DB) sole(f *os.File) bool { return lock(f, unix.F_WRLCK, usersByte) == nil }

// share makes this process one of the users.
func (db *DB) share(ctx context.Context, f *os.File) error {
	return db.await(ctx, f, unix.F_RDLCK, usersByte)
}

// await takes a lock, or gives up when db's patience or ctx ends.
func (db *DB) await(ctx context.Context, f *os.File, kind int16, at int64) error {
	for waited := time.Duration(0); ; waited += lockPoll {
		err := lock(f, kind, at)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			return diskError(fmt.Errorf("lock %s: %w", f.Name(), err))
		}
		if waited >= db.patience {
			return &core.Error{
				Code: core.CodeLocked, Op: opOpen, Message: "another process is opening it, and has not done so yet",
				Hint: "try again; when it stays so, fuser -v " + f.Name() + " names the process",
			}
		}
		select {
		case <-ctx.Done():
			return named(opOpen, ctx.Err())
		case <-time.After(lockPoll):
		}
	}
}

func lock(f *os.File, kind int16, at int64) error {
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: at, Len: 1})
}

// mark describes the database's file as the last to close it left it.
func mark(info os.FileInfo) string {
	return fmt.Sprintf("%020d %020d\n", info.Size(), info.ModTime().UnixNano())
}

// markClean notes in the lock file, when nobody else has the database open, how
// it was left. Without the note the next to open it reads all of it: so
// nothing is lost where the note cannot be written.
func (db *DB) markClean(f *os.File) {
	if !db.sole(f) || db.suspect.Load() {
		return
	}
	if _, err := os.Lstat(db.path + "-wal"); err == nil {
		return
	}
	if info, err := os.Stat(db.path); err == nil {
		_, _ = f.WriteAt([]byte(mark(info)), 0)
	}
}

// closedCleanly says whether the file is as the last to close it left it.
func (db *DB) closedCleanly(f *os.File, info os.FileInfo) bool {
	if _, err := os.Lstat(db.path + "-wal"); err == nil {
		return false
	}
	want := mark(info)
	got := make([]byte, len(want))
	n, err := f.ReadAt(got, 0)
	return err == nil && n == len(want) && string(got) == want
}
