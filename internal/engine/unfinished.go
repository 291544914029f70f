package engine

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine/journal"
	"github.com/backstay/backstay/internal/mysql"
)

// refuseUnfinished fails while the last restore of the app was cut short in
// its switch, or before its tables had all their names: what is live then may
// be half old, half new, and no backup may take that for the app.
func (e *Engine) refuseUnfinished(app string) error {
	j, err := journal.Newest(e.StateDir, app)
	if err != nil || j == nil || !j.Unsettled() {
		return err
	}
	return &core.Error{
		Code: core.CodeUnfinished, Op: "back up app " + app, Message: j.Left(),
		Hint: fmt.Sprintf("backstay restore --resume %s finishes it, backstay undo %s makes the app what it was before that restore; if it is as it should be: backstay backup --ignore-unfinished-restore", app, app),
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
