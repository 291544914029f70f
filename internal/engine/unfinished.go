package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// A restore that changes a live app and does not end leaves the app half old,
// half new. A note in the state folder says so until a restore ends, so that no
// backup takes that state for the app's, and `latest` never names it.

func (e *Engine) unfinishedPath(app string) string {
	return filepath.Join(e.StateDir, "restoring", app)
}

// BeginRestore notes that the live app is being changed. done is called when
// the restore has ended; it removes the note, unless an earlier restore did not
// end that this one did not make good: only one of the same scope, or of all
// (scope ""), does.
func (e *Engine) BeginRestore(app, backup, scope string) (done func() error, err error) {
	path := e.unfinishedPath(app)
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, &core.Error{Code: core.CodeDisk, Op: "look for an unfinished restore", Err: err, Hint: "run as the user who owns state_dir, usually root"}
	}
	_, earlier, unfinished := strings.Cut(string(before), "\n")
	if unfinished && scope != "" && strings.TrimSpace(earlier) != scope {
		return func() error { return nil }, nil
	}
	if err := ensureDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	text := fmt.Sprintf("backup %s since %s\n%s\n", backup, e.Clock.Now().UTC().Format(time.RFC3339), scope)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		return nil, &core.Error{Code: core.CodeDisk, Op: "note the restore in the state folder", Err: err, Hint: "make room in state_dir, or run as the user who owns it"}
	}
	return func() error { return e.endRestore(app) }, nil
}

// endRestore removes the note, when there is one.
func (e *Engine) endRestore(app string) error {
	if err := os.Remove(e.unfinishedPath(app)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the note of the restore: %w", err)
	}
	return nil
}

// refuseUnfinished fails while a restore of the app is not finished.
func (e *Engine) refuseUnfinished(app string) error {
	text, err := os.ReadFile(e.unfinishedPath(app))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &core.Error{Code: core.CodeDisk, Op: "look for an unfinished restore", Err: err, Hint: "run as the user who owns state_dir, usually root"}
	}
	what, _, _ := strings.Cut(string(text), "\n")
	id := "BACKUP"
	if fields := strings.Fields(what); len(fields) > 1 {
		id = fields[1]
	}
	return &core.Error{
		Code: core.CodeFailed, Op: "back up app " + app,
		Message: "its last restore did not end (" + what + "), so the app may be half restored",
		Hint:    fmt.Sprintf("backstay restore %s %s again; if the app is as it should be: backstay backup --ignore-unfinished-restore", app, id),
	}
}

// LockGrace is how long a lock on the server is waited for even with --no-wait,
// in seconds: a server takes a moment to notice that a session has ended.
const LockGrace = 2

// TakeDatabaseLock keeps another backstay with another state folder, or another
// user's, off the same database for as long as c is open.
func TakeDatabaseLock(ctx context.Context, c *mysql.Conn, database string, wait int) error {
	sum := sha256.Sum256([]byte(database))
	rows, err := c.Query(ctx, fmt.Sprintf("SELECT GET_LOCK('backstay.%x', %d)", sum[:16], wait))
	if err != nil {
		return fmt.Errorf("take the lock on database %s: %w", database, err)
	}
	if len(rows) != 1 || len(rows[0]) != 1 || rows[0][0].Text != "1" {
		return &core.Error{
			Code: core.CodeLocked, Op: "take the lock on database " + database,
			Message: "another backstay, with another state folder, is backing it up or restoring it",
			Hint:    "wait until it is done, then try again",
		}
	}
	return nil
}
