package access

import (
	"context"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/backstay/backstay/internal/core"
)

const opOpen = "open the database of users"

var (
	errDamaged = errors.New("the file is damaged")
	errClosed  = errors.New("the database of users is closed")
)

// hintDamaged is what to do about a damaged database: nothing is done by itself.
const hintDamaged = "put it back from a copy; or move it aside, with -wal and -shm, and make users anew with backstay user add"

func (s *Store) damaged(err error) error {
	return &core.Error{Code: core.CodeDisk, Op: opOpen, Message: "the database of users " + s.path + " is damaged, and nobody is let in", Hint: hintDamaged, Err: err}
}

// explained gives an error of SQLite a code and a hint.
func (s *Store) explained(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return named(op, errors.Join(ctx.Err(), err))
	}
	if damagedBy(err) {
		return s.damaged(err)
	}
	e := &core.Error{Code: core.CodeDisk, Op: op, Err: err}
	switch primary(err) {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL:
		e.Code = core.CodeLocked
		e.Message = "another process holds the database of users " + s.path
		e.Hint = "try again; when it stays so, fuser -v " + s.path + " names the process"
	case sqlite3.SQLITE_FULL:
		e.Message = "there is no room for the database of users " + s.path
		e.Hint = "make room there, or set state_dir in backstay.yaml to a folder with more"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH:
		e.Message = "the database of users " + s.path + " cannot be written"
		e.Hint = hintDisk
	case sqlite3.SQLITE_IOERR:
		e.Message = "the database of users " + s.path + " cannot be read or written"
		e.Hint = "see that its file system has room and works: dmesg, df " + s.path
	default:
		return named(op, err)
	}
	return e
}

const hintDisk = "run as the user who owns state_dir, usually root, and see that its file system is writable and has room"

func diskError(err error) error {
	var known *core.Error
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) {
		return err
	}
	return &core.Error{Code: core.CodeDisk, Op: opOpen, Err: err, Hint: hintDisk}
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

// refusal is an error about what somebody asked for, with what to do instead.
func refusal(code core.Code, cause error, hint string) error {
	return &core.Error{Code: code, Err: cause, Hint: hint}
}
