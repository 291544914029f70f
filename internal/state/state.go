// Package state keeps what backstay did and knows beside its backups: runs,
// alarms, the audit log, what was due and done, and facts about backups that
// checks compare. It is a SQLite database in the state folder, for the commands
// and the service, which may use it at the same time. It promises that losing
// it loses no backup: a database that is damaged is put aside and begun anew,
// and one that is locked or cannot be written is an error that callers report
// and work on without.
package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/backstay/backstay/internal/core"
)

// busyTimeout is how long a method waits for another process to end its
// transaction. Those of backstay take milliseconds. Who waited that long in vain
// waits hurriedTimeout only from then on, until it is let in: a backup writes a
// dozen times, and is not to take a minute longer for it.
const (
	busyTimeout    = 5 * time.Second
	hurriedTimeout = 200 * time.Millisecond
)

// The codes of Warnings.
const (
	warnReplaced = "state-replaced"
	warnUnswept  = "state-unswept"
)

// FileName is the database's name in the state folder.
const FileName = "state.db"

// DB is the open database. All methods are safe for concurrent use, by
// goroutines and by several processes; those of a nil DB, of a closed one and
// of one made by Without return an error.
//
// A method that meets damage returns an error with CodeDisk, and the next one
// opens the database anew, which puts a damaged one aside. A method that cannot
// write because another process holds the database longer than a few seconds
// returns an error with CodeLocked, one for whom the disk is full or read-only
// CodeDisk. What a method that returned an error was to write is not written.
type DB struct {
	path     string
	clock    core.Clock
	patience time.Duration // how long to wait for other processes
	reason   error         // set by Without

	writing chan struct{} // holds one token while a goroutine writes: SQLite's own waiting is not fair

	mu       sync.RWMutex // read-locked while pool is used
	pool     *sql.DB      // nil: closed, or to be opened anew
	file     os.FileInfo  // of the database that pool has open
	users    *os.File     // keeps the lock that says that this process uses the database
	closed   bool
	suspect  atomic.Bool // damage was met: open it anew
	inVain   atomic.Bool // the last write waited for another process, and was not let in
	warnings []core.Warning
}

// Without returns a DB that is none: all its methods return reason, the error
// of Open. So callers work on without.
func Without(reason error) *DB { return &DB{reason: reason} }

// Open opens the database in the folder dir, and makes both where they are
// missing. One that is damaged, empty or no database of backstay is put aside
// and begun anew; Warnings says so. It marks the runs whose process is gone as
// failed (see Sweep); when that cannot be written now, it is left to the next,
// and Warnings says so.
//
// Errors have CodeLocked, CodeDisk, or, when a newer version of backstay wrote
// the database, CodeUnsupported.
func Open(ctx context.Context, dir string, clock core.Clock) (*DB, error) {
	return openWithin(ctx, dir, clock, busyTimeout)
}

// openWithin is Open with a choice of how long to wait for other processes.
func openWithin(ctx context.Context, dir string, clock core.Clock, patience time.Duration) (*DB, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, diskError(err)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, diskError(err)
	}
	db := &DB{path: filepath.Join(dir, FileName), clock: clock, patience: patience, writing: make(chan struct{}, 1)}
	db.mu.Lock()
	err = db.open(ctx)
	db.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if _, err := db.Sweep(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, errors.Join(err, db.Close())
		}
		db.warn(core.Warning{Code: warnUnswept, Object: db.path, Message: "runs whose process is gone still count as running: " + err.Error()})
	}
	return db, nil
}

// Path returns the path of the database; "" for one made by Without.
func (db *DB) Path() string {
	if db == nil {
		return ""
	}
	return db.path
}

// Warnings returns what callers should say of the opening, or nil: that the
// database was put aside ("state-replaced"; Object is where it is now), or that
// runs could not be swept ("state-unswept"). It can grow while the database is
// open.
func (db *DB) Warnings() []core.Warning {
	if db == nil {
		return nil
	}
	db.mu.RLock()
	defer db.mu.RUnlock()
	return append([]core.Warning(nil), db.warnings...)
}

// Replaced returns where a damaged database was put aside to by this DB, ""
// when none was. What was in it is lost to the methods of this one.
func (db *DB) Replaced() string {
	aside := ""
	for _, w := range db.Warnings() {
		if w.Code == warnReplaced {
			aside = w.Object
		}
	}
	return aside
}

func (db *DB) warn(w core.Warning) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.warnings = append(db.warnings, w)
}

// Close closes the database. Closing it twice, or one made by Without, does
// nothing.
func (db *DB) Close() error {
	if db == nil || db.reason != nil {
		return nil
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.closed = true
	return db.shut()
}

// read runs do, which only reads. op is for errors.
func (db *DB) read(ctx context.Context, op string, do func(*sql.DB) error) error {
	release, err := db.use(ctx)
	if err != nil {
		return named(op, err)
	}
	defer release()
	return db.judged(ctx, op, do(db.pool))
}

// write runs do in a transaction that nobody else writes in. When the database
// was put aside by another process meanwhile, do runs again on the new one, so
// it must bear that.
func (db *DB) write(ctx context.Context, op string, do func(*sql.Tx) error) error {
	if db == nil || db.reason != nil {
		_, err := db.use(ctx)
		return named(op, err)
	}
	select {
	case db.writing <- struct{}{}:
	case <-ctx.Done():
		return named(op, ctx.Err())
	}
	defer func() { <-db.writing }()
	for {
		moved, err := db.writeOnce(ctx, op, do)
		if err != nil || !moved {
			return err
		}
	}
}

func (db *DB) writeOnce(ctx context.Context, op string, do func(*sql.Tx) error) (moved bool, err error) {
	release, err := db.use(ctx)
	if err != nil {
		return false, named(op, err)
	}
	defer release()
	tx, done, err := db.begin(ctx)
	defer done()
	if err != nil {
		return false, db.judged(ctx, op, err)
	}
	if err := do(tx); err != nil {
		if undo := tx.Rollback(); undo != nil && !errors.Is(undo, sql.ErrTxDone) {
			err = errors.Join(err, undo)
		}
		return false, db.judged(ctx, op, err)
	}
	if err := tx.Commit(); err != nil {
		return false, db.judged(ctx, op, err)
	}
	return db.moved(), nil
}

// begin begins a transaction that writes; done is called after its end.
func (db *DB) begin(ctx context.Context) (tx *sql.Tx, done func(), err error) {
	conn, err := db.pool.Conn(ctx)
	if err != nil {
		return nil, func() {}, err
	}
	done = func() { _ = conn.Close() } // back to the pool
	patience := db.patience
	if db.inVain.Load() {
		patience = min(patience, hurriedTimeout)
	}
	if _, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", patience.Milliseconds())); err != nil {
		return nil, done, err
	}
	tx, err = conn.BeginTx(ctx, nil) // BEGIN IMMEDIATE: see dsn
	db.inVain.Store(primary(err) == sqlite3.SQLITE_BUSY)
	return tx, done, err
}

// use readies the pool, which stays as it is until release.
func (db *DB) use(ctx context.Context) (release func(), err error) {
	switch {
	case db == nil:
		return nil, errNone
	case db.reason != nil:
		return nil, db.reason
	}
	for {
		db.mu.RLock()
		if db.closed {
			db.mu.RUnlock()
			return nil, errClosed
		}
		if db.pool != nil && !db.suspect.Load() && !db.moved() {
			return db.mu.RUnlock, nil
		}
		db.mu.RUnlock()
		if err := db.reopen(ctx); err != nil {
			return nil, err
		}
	}
}

// reopen opens the database anew: it was put aside, removed, or is damaged.
func (db *DB) reopen(ctx context.Context) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed || db.pool != nil && !db.suspect.Load() && !db.moved() {
		return nil // another goroutine was here first
	}
	// What closing a damaged database complains of is known already.
	_ = db.shut()
	return db.open(ctx)
}

// moved says whether the file at the path is another than the open one.
func (db *DB) moved() bool {
	now, err := os.Stat(db.path)
	return err != nil || !os.SameFile(now, db.file)
}
