package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"

	"github.com/backstay/backstay/internal/core"
)

// checkMax is the size in bytes up to which a database that was not closed
// cleanly is read as a whole before it is used. A larger one would delay every
// command; damage in it is noticed where it is met.
const checkMax = 256 << 20

// open opens the database, and makes or replaces it where it must. The caller
// holds mu.
//
// It never opens the file but through SQLite: closing any descriptor of it
// would take this process's POSIX locks on it away, other connections' too.
func (db *DB) open(ctx context.Context) error {
	users, err := db.enter(ctx)
	if err != nil {
		return err
	}
	if err := db.openGated(ctx, users); err != nil {
		return errors.Join(err, db.shut(), users.Close()) // which lets go of the gate
	}
	db.users = users
	db.suspect.Store(false)
	if err := leaveGate(users); err != nil {
		return errors.Join(diskError(err), db.shut())
	}
	return nil
}

func (db *DB) openGated(ctx context.Context, users *os.File) error {
	why, err := db.missing(ctx)
	switch {
	case err != nil:
		return err
	case why != "":
		if err := db.replace(ctx, why); err != nil {
			return err
		}
	}
	err = db.connect(ctx, users)
	if err != nil && damagedBy(err) {
		if err := errors.Join(db.shut(), db.replace(ctx, reason(err))); err != nil {
			return err
		}
		err = db.connect(ctx, users)
	}
	if err != nil {
		return err
	}
	return db.share(ctx, users)
}

// missing says why there is no database to open, "" when there is one or none
// was ever there: then it is made.
func (db *DB) missing(ctx context.Context) (why string, err error) {
	info, err := os.Stat(db.path)
	if err == nil {
		if info.Size() == 0 {
			return "it is empty", nil // SQLite would take it for a new one
		}
		if info.Mode().Perm()&0o077 != 0 {
			err = os.Chmod(db.path, 0o600)
		}
		return "", diskError(err)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", diskError(err)
	}
	for _, suffix := range companions() {
		if _, err := os.Lstat(db.path + suffix); err == nil {
			return "it is gone, and " + FileName + suffix + " is there", nil
		}
	}
	return "", diskError(db.create(ctx))
}

// companions are what SQLite adds to a database's name.
func companions() []string { return []string{"-wal", "-shm", "-journal"} }

// connect opens the file, checks it as far as that is cheap, or in full when
// there is reason to, and brings its tables up to date.
func (db *DB) connect(ctx context.Context, users *os.File) error {
	info, err := os.Stat(db.path)
	if err != nil {
		return diskError(err)
	}
	how := ""
	if db.suspect.Load() {
		how = "integrity_check"
	} else if db.sole(users) && info.Size() <= checkMax && !db.closedCleanly(users, info) {
		how = "quick_check" // all but whether indexes fit their tables, ten times as fast
	}
	pool, err := openPool(db.path, db.patience)
	if err != nil {
		return named(opOpen, err)
	}
	db.pool, db.file = pool, info
	if how != "" {
		if err := check(ctx, pool, how); err != nil {
			return db.explained(ctx, opOpen, err)
		}
	}
	return db.explained(ctx, opOpen, migrate(ctx, pool, db.path))
}

// check reads the whole database, in the way that SQLite's pragma how does.
func check(ctx context.Context, pool *sql.DB, how string) error {
	var first string
	if err := pool.QueryRowContext(ctx, "PRAGMA "+how+"(1)").Scan(&first); err != nil {
		return err
	}
	if first != "ok" {
		return fmt.Errorf("%w: %s", errDamaged, first)
	}
	return nil
}

// create makes an empty database under another name and renames it, so that a
// crash leaves none that is half made.
func (db *DB) create(ctx context.Context) error {
	next := db.path + ".new"
	for _, suffix := range append(companions(), "") {
		if err := os.Remove(next + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	f, err := os.OpenFile(next, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	pool, err := openPool(next, db.patience)
	if err != nil {
		return err
	}
	if err := errors.Join(migrate(ctx, pool, next), pool.Close()); err != nil {
		return db.explained(ctx, "make state database", err)
	}
	if err := os.Rename(next, db.path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(db.path))
}

// replace puts what is there of the database aside and makes a new one.
func (db *DB) replace(ctx context.Context, why string) error {
	now := db.clock.Now().UTC()
	aside := db.path + ".damaged-" + now.Format("20060102T150405Z")
	for n := 2; ; n++ {
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return diskError(err)
		}
		aside = fmt.Sprintf("%s.damaged-%s-%d", db.path, now.Format("20060102T150405Z"), n)
	}
	// The database goes first: without its log it would look whole, and lack
	// what was last written.
	for _, suffix := range append([]string{""}, companions()...) {
		if err := os.Rename(db.path+suffix, aside+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return diskError(err)
		}
	}
	db.warnings = append(db.warnings, core.Warning{
		Code: warnReplaced, Object: aside,
		Message: "the state database was damaged (" + why + ") and is begun anew: past runs, alarms and the audit log are in the file put aside, and tickets that are open may be opened again; no backup is touched",
	})
	if err := db.create(ctx); err != nil {
		return diskError(err)
	}
	pool, err := openPool(db.path, db.patience)
	if err != nil {
		return named(opOpen, err)
	}
	return db.explained(ctx, opOpen, errors.Join(noteReplaced(ctx, pool, now, aside, why), pool.Close()))
}

// noteReplaced keeps the replacement where later processes find it.
func noteReplaced(ctx context.Context, pool *sql.DB, now time.Time, aside, why string) error {
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	entry := core.Audited{Time: now, Who: "backstay", Via: "state", Action: "state-replaced", Object: aside, Outcome: "ok", Detail: why}
	err = appendAudit(ctx, tx, &entry)
	if err == nil {
		err = setValue(ctx, tx, KeyReplaced, Replacement{Time: now, Aside: aside, Reason: why})
	}
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// shut closes the pool and lets go of the lock. The caller holds mu.
func (db *DB) shut() error {
	var err error
	if db.pool != nil {
		err = named("close state database", db.pool.Close())
		db.pool = nil
	}
	if db.users != nil {
		db.markClean(db.users)
		err = errors.Join(err, db.users.Close())
		db.users = nil
	}
	return err
}

func openPool(path string, patience time.Duration) (*sql.DB, error) {
	connector, err := sqlite.NewConnector(dsn(path, patience))
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(4)
	pool.SetMaxIdleConns(2)
	return pool, nil
}

// dsn names the database and its settings: transactions take the right to write
// when they begin, since one that has read cannot wait for it; and what was
// committed is there after a power cut (synchronous FULL).
func dsn(path string, patience time.Duration) string {
	settings := []string{
		"mode=rw", "_txlock=immediate", "_defensive=1",
		fmt.Sprintf("_busy_timeout=%d", patience.Milliseconds()),
		"_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)", "_pragma=cell_size_check(1)", "_pragma=journal_size_limit(4194304)",
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: strings.Join(settings, "&")}
	return u.String()
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func diskError(err error) error {
	var known *core.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return &core.Error{Code: core.CodeDisk, Op: opOpen, Err: err, Hint: "run as the user who owns state_dir, usually root, and see that its file system is writable and has room"}
}
