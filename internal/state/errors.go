package state

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/backstay/backstay/internal/core"
)

const opOpen = "open state database"

var (
	errNone    = errors.New("there is no state database")
	errDamaged = errors.New("the file is damaged")
	errClosed  = errors.New("the state database is closed")
)

// judged gives an error of SQLite a code and a hint, and remembers damage.
func (db *DB) judged(ctx context.Context, op string, err error) error {
	err = db.explained(ctx, op, err)
	if err != nil && damagedBy(err) {
		db.suspect.Store(true)
	}
	return err
}

func (db *DB) explained(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return named(op, errors.Join(ctx.Err(), err))
	}
	e := &core.Error{Code: core.CodeDisk, Op: op, Err: err}
	switch primary(err) {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL:
		e.Code = core.CodeLocked
		e.Message = "another process holds the state database " + db.path
		e.Hint = "try again; when it stays so, fuser -v " + db.path + " names the process"
	case sqlite3.SQLITE_FULL:
		e.Message = "there is no room for the state database " + db.path
		e.Hint = "make room there, or set state_dir in backstay.yaml to a folder with more"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH:
		e.Message = "the state database " + db.path + " cannot be written"
		e.Hint = "run as the user who owns state_dir, usually root, and see that its file system is writable and has room"
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		e.Message = "the state database " + db.path + " is damaged"
		e.Hint = "nothing to do: it is put aside and begun anew at its next use; no backup is touched"
	case sqlite3.SQLITE_IOERR:
		e.Message = "the state database " + db.path + " cannot be read or written"
		e.Hint = "see that its file system has room and works: dmesg, df " + db.path
	default:
		return named(op, err)
	}
	return e
}

// damagedBy says whether err shows that the database is damaged.
func damagedBy(err error) bool {
	c := primary(err)
	return c == sqlite3.SQLITE_CORRUPT || c == sqlite3.SQLITE_NOTADB || errors.Is(err, errDamaged)
}

// primary returns SQLite's primary result code in err's chain, 0 when there is none.
func primary(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code() & 0xff
}

// named puts op before err, and nil before nil.
func named(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", op, err)
}

// reason words what is wrong with a damaged database.
func reason(err error) string {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Error()
	}
	return strings.TrimPrefix(err.Error(), opOpen+": ")
}
