package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"github.com/backstay/backstay/internal/core"
)

// messageAfter is the message of a run that ends, as SQL with the parameters of
// messageArgs: while a run goes on, its message is why it was asked to end.
const messageAfter = "CASE WHEN ? <> 'cancelled' OR message = '' OR instr(?, message) > 0 THEN ? WHEN ? = '' THEN message ELSE message || ': ' || ? END"

func messageArgs(outcome core.Outcome, message string) []any {
	return []any{outcome, message, message, message, message}
}

// BeginRunFor is BeginRun for a run of another process, or of one that is yet to
// be started: until AdoptRun the run ends with the process pid.
func (db *DB) BeginRunFor(ctx context.Context, r core.Run, pid int) (id int64, err error) {
	r.ID, r.Outcome, r.Finished = 0, core.OutcomeRunning, nil
	err = db.write(ctx, "record run", func(tx *sql.Tx) error {
		id, err = insertRun(ctx, tx, r, pid, processOf(pid).String())
		return err
	})
	return id, err
}

// AdoptRun makes a run that BeginRunFor recorded one of this process, and
// returns it. CodeNotFound when there is none of this id, or when it is over.
func (db *DB) AdoptRun(ctx context.Context, id int64) (adopted core.Run, err error) {
	const op = "take over run"
	err = db.write(ctx, op, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, "UPDATE runs SET pid = ?, process = ? WHERE id = ? AND outcome = 'running'", os.Getpid(), processOf(os.Getpid()).String(), id)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			return notRunning(op, id)
		}
		found, err := queryRuns(ctx, tx, "SELECT "+runColumns+" FROM runs WHERE id = ?", id)
		if err == nil {
			adopted = found[0]
		}
		return err
	})
	return adopted, err
}

// DescribeRun records of a run that goes on what it is about, as soon as that is
// known. A run that is over, and an id that is none, stay as they are.
func (db *DB) DescribeRun(ctx context.Context, id int64, app, backup string) error {
	return db.write(ctx, "describe run", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE runs SET app = CASE WHEN app = '' THEN ? ELSE app END, backup = ? WHERE id = ? AND outcome = 'running'", app, backup, id)
		return err
	})
}

// AskRun records of a run that goes on why it was asked to end. When it is over
// as one that was cancelled, its message says so; until then it is its message.
// CodeNotFound when no such run goes on.
func (db *DB) AskRun(ctx context.Context, id int64, why string) error {
	const op = "cancel run"
	return db.write(ctx, op, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, "UPDATE runs SET message = CASE WHEN message = '' THEN ? ELSE message END WHERE id = ? AND outcome = 'running'", why, id)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n > 0 {
			return err
		}
		return notRunning(op, id)
	})
}

// Run returns a run, nil when there is none of this id.
func (db *DB) Run(ctx context.Context, id int64) (*core.Run, error) {
	found, err := db.runs(ctx, "SELECT "+runColumns+" FROM runs WHERE id = ?", id)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// Process returns the number of the living process that runs a run. It is the
// number's present holder: who sends it a signal should hold on to the process
// first (pidfd_open(2)), and then ask here. CodeNotFound when no such run goes
// on, or its process is gone; CodeUnsupported when it cannot be told from here,
// because it runs in another container.
func (db *DB) Process(ctx context.Context, id int64) (pid int, err error) {
	const op = "find the process of run"
	var p string
	err = db.read(ctx, op, func(pool *sql.DB) error {
		err := pool.QueryRowContext(ctx, "SELECT pid, process FROM runs WHERE id = ? AND outcome = 'running'", id).Scan(&pid, &p)
		if errors.Is(err, sql.ErrNoRows) {
			return notRunning(op, id)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	here, then := processOf(os.Getpid()), parseProcess(p)
	switch {
	case gone(pid, then, 0):
		return 0, notRunning(op, id)
	case then.space != here.space:
		return 0, &core.Error{
			Code: core.CodeUnsupported, Op: fmt.Sprintf("%s %d", op, id), Message: "its process runs in another container",
			Hint: "cancel it where it was started",
		}
	}
	if start, _, err := procStat(pid); err != nil || then.start == "-" || start != then.start {
		return 0, &core.Error{
			Code: core.CodeUnsupported, Op: fmt.Sprintf("%s %d", op, id), Message: fmt.Sprintf("it cannot be told whether process %d is still the one that runs it", pid),
			Hint: "cancel it where it was started, or as root: kill -TERM PID",
		}
	}
	return pid, nil
}

func notRunning(op string, id int64) error {
	return &core.Error{Code: core.CodeNotFound, Op: fmt.Sprintf("%s %d", op, id), Message: "no run with this number goes on", Hint: "backstay runs lists what was run, and how it ended"}
}
