package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// What a run is given whose process ended without a word.
const (
	goneMessage = "the process that ran it ended without saying how"
	goneHint    = "read the log: journalctl -u backstay, or what the timer or cron job wrote; killed for memory, dmesg says so"
)

// Gone says whether Sweep recorded how a run ended, which knows only that its
// process is gone: whoever knows more may say so (FinishRun).
func Gone(r core.Run) bool { return r.Outcome == core.OutcomeFailed && r.Message == goneMessage }

// RunFilter chooses runs. Zero values choose all.
type RunFilter struct {
	App     string
	Kind    string
	Outcome core.Outcome
	Since   time.Time // that started then or later
	Limit   int       // how many of the newest
	Offset  int       // how many of the newest are left out
	// ExceptKinds are kinds that are left out.
	ExceptKinds []string
}

// BeginRun records a run that begins now, in this process, and returns its id.
// Its outcome becomes OutcomeRunning. When the process ends before FinishRun,
// Sweep makes it a failed one.
func (db *DB) BeginRun(ctx context.Context, r core.Run) (id int64, err error) {
	return db.BeginRunFor(ctx, r, os.Getpid())
}

// AddRun records a run that is over, or never began (OutcomeMissed), and
// returns its id.
func (db *DB) AddRun(ctx context.Context, r core.Run) (id int64, err error) {
	if r.Outcome == core.OutcomeRunning || r.Outcome == "" {
		return 0, fmt.Errorf("record run: outcome %q is not that of one that is over", r.Outcome)
	}
	r.ID = 0
	err = db.write(ctx, "record run", func(tx *sql.Tx) error {
		id, err = insertRun(ctx, tx, r, 0, "")
		return err
	})
	return id, err
}

// FinishRun records how a run ended that BeginRun returned the id of; its app
// may have become known since. It wins over Sweep and AbandonRun. When the run is
// not there, because the database was begun anew meanwhile or the beginning could
// not be recorded (ID 0), it is added. Finished nil means now. Of a run that was
// cancelled, what AskRun was told comes first in the message.
func (db *DB) FinishRun(ctx context.Context, r core.Run) error {
	if r.Outcome == core.OutcomeRunning || r.Outcome == "" {
		return fmt.Errorf("record run: outcome %q is not that of one that is over", r.Outcome)
	}
	if r.Finished == nil {
		now := db.now()
		r.Finished = &now
	}
	return db.write(ctx, "record run", func(tx *sql.Tx) error {
		known := "UPDATE runs SET app = ?, cause = ?, schedule = ?, due = ?, finished = ?, outcome = ?, backup = ?, code = ?, fault = ?, message = " + messageAfter + ", hint = ?, warnings = ?, by_whom = ?" +
			" WHERE id = ? AND app IN ('', ?) AND kind = ? AND started = ?"
		args := append([]any{r.App, r.Trigger, r.Schedule, timeOrNil(r.Due), timeOrNil(r.Finished), r.Outcome, r.Backup, r.Code, r.Fault}, messageArgs(r.Outcome, r.Message)...)
		res, err := tx.ExecContext(ctx, known, append(args, r.Hint, r.Warnings, r.By, r.ID, r.App, r.Kind, nanos(r.Started))...)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n > 0 {
			return err
		}
		var taken bool
		if err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM runs WHERE id = ?)", r.ID).Scan(&taken); err != nil {
			return err
		}
		if taken {
			r.ID = 0
		}
		_, err = insertRun(ctx, tx, r, 0, "")
		return err
	})
}

// AbandonRun records how the runs of a process ended that is over and did not
// say so itself: the service knows how its child ended. It returns how many
// they were; a run that has an outcome keeps it.
func (db *DB) AbandonRun(ctx context.Context, pid int, outcome core.Outcome, message, hint string) (abandoned int, err error) {
	err = db.write(ctx, "record end of run", func(tx *sql.Tx) error {
		here := processOf(os.Getpid())
		code := core.CodeFailed
		if outcome == core.OutcomeCancelled {
			code = core.CodeCancelled
		}
		args := append([]any{nanos(db.now()), outcome, code}, messageArgs(outcome, message)...)
		res, err := tx.ExecContext(ctx, "UPDATE runs SET finished = ?, outcome = ?, code = ?, message = "+messageAfter+", hint = ? WHERE outcome = 'running' AND pid = ? AND process LIKE ?",
			append(args, hint, pid, here.boot+" "+here.space+" %")...)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		abandoned = int(n)
		return err
	})
	return abandoned, err
}

// Sweep records every run as failed that is running and whose process is gone,
// and returns them. Open calls it; a service should now and then. A run in
// another container is given up a day after it began; FinishRun still wins.
func (db *DB) Sweep(ctx context.Context) ([]core.Run, error) {
	const op = "look for runs whose process is gone"
	var dead []core.Run
	err := db.read(ctx, op, func(pool *sql.DB) (err error) {
		dead, err = db.dead(ctx, pool)
		return err
	})
	if err != nil || len(dead) == 0 {
		return nil, err
	}
	var swept []core.Run
	err = db.write(ctx, op, func(tx *sql.Tx) error {
		swept = nil
		now := db.now()
		for _, r := range dead {
			r.Finished, r.Outcome, r.Code, r.Message, r.Hint = &now, core.OutcomeFailed, core.CodeFailed, goneMessage, goneHint
			res, err := tx.ExecContext(ctx, "UPDATE runs SET finished = ?, outcome = ?, code = ?, message = ?, hint = ? WHERE outcome = 'running' AND id = ?",
				nanos(now), r.Outcome, r.Code, r.Message, r.Hint, r.ID)
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil {
				return err
			} else if n > 0 {
				swept = append(swept, r)
			}
		}
		return nil
	})
	return swept, err
}

func (db *DB) dead(ctx context.Context, pool *sql.DB) (dead []core.Run, err error) {
	rows, err := pool.QueryContext(ctx, "SELECT pid, process, "+runColumns+" FROM runs WHERE outcome = 'running' ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var pid int
		var p string
		r, err := scanRun(rows, &pid, &p)
		if err != nil {
			return nil, err
		}
		if gone(pid, parseProcess(p), db.now().Sub(r.Started)) {
			dead = append(dead, r)
		}
	}
	return dead, rows.Err()
}

// Runs returns the runs that f chooses, the last started first.
func (db *DB) Runs(ctx context.Context, f RunFilter) ([]core.Run, error) {
	query, args := f.query()
	return db.runs(ctx, query, args...)
}

func (f RunFilter) query() (string, []any) {
	var where []string
	var args []any
	add := func(condition string, arg any) {
		where = append(where, condition)
		args = append(args, arg)
	}
	if f.App != "" {
		add("app = ?", f.App)
	}
	if f.Kind != "" {
		add("kind = ?", f.Kind)
	}
	if f.Outcome != "" {
		add("outcome = ?", f.Outcome)
	}
	if !f.Since.IsZero() {
		add("started >= ?", nanos(f.Since))
	}
	if len(f.ExceptKinds) > 0 {
		where = append(where, "kind NOT IN (?"+strings.Repeat(", ?", len(f.ExceptKinds)-1)+")")
		for _, kind := range f.ExceptKinds {
			args = append(args, kind)
		}
	}
	return "SELECT " + runColumns + " FROM runs" + whereAll(where) + " ORDER BY started DESC, id DESC" + part(f.Offset, f.Limit), args
}

// LastRun returns the run of an app and kind that was recorded last, whatever
// the clock said then, and nil when there is none. outcomes are those that
// count; none given: all of runs that began and are over, which leaves out
// OutcomeRunning and OutcomeMissed.
func (db *DB) LastRun(ctx context.Context, app, kind string, outcomes ...core.Outcome) (*core.Run, error) {
	if len(outcomes) == 0 {
		outcomes = []core.Outcome{core.OutcomeOK, core.OutcomeWarnings, core.OutcomeFailed, core.OutcomeCancelled}
	}
	query, args := lastRunQuery(app, kind, outcomes)
	found, err := db.runs(ctx, query, args...)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

func lastRunQuery(app, kind string, outcomes []core.Outcome) (string, []any) {
	args := []any{app, kind}
	for _, o := range outcomes {
		args = append(args, o)
	}
	// The plus keeps SQLite from looking for the outcome first: most runs share it.
	return "SELECT " + runColumns + " FROM runs WHERE app = ? AND kind = ? AND +outcome IN (?" + strings.Repeat(", ?", len(outcomes)-1) + ") ORDER BY id DESC LIMIT 1", args
}

func (db *DB) runs(ctx context.Context, query string, args ...any) (found []core.Run, err error) {
	err = db.read(ctx, "read runs", func(pool *sql.DB) (err error) {
		found, err = queryRuns(ctx, pool, query, args...)
		return err
	})
	return found, err
}

func queryRuns(ctx context.Context, q rowsQuerier, query string, args ...any) (found []core.Run, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		r, err := scanRun(rows)
		if err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	return found, rows.Err()
}

const runColumns = "id, app, kind, cause, schedule, due, started, finished, outcome, backup, code, fault, message, hint, warnings, by_whom"

func insertRun(ctx context.Context, tx *sql.Tx, r core.Run, pid int, process string) (int64, error) {
	id := sql.NullInt64{Int64: r.ID, Valid: r.ID != 0}
	res, err := tx.ExecContext(ctx, "INSERT INTO runs ("+runColumns+", pid, process) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		id, r.App, r.Kind, r.Trigger, r.Schedule, timeOrNil(r.Due), nanos(r.Started), timeOrNil(r.Finished), r.Outcome,
		r.Backup, r.Code, r.Fault, r.Message, r.Hint, r.Warnings, r.By, pid, process)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

func scanRun(rows *sql.Rows, before ...any) (core.Run, error) {
	var r core.Run
	var started int64
	var due, finished sql.NullInt64
	err := rows.Scan(append(before, &r.ID, &r.App, &r.Kind, &r.Trigger, &r.Schedule, &due, &started, &finished, &r.Outcome,
		&r.Backup, &r.Code, &r.Fault, &r.Message, &r.Hint, &r.Warnings, &r.By)...)
	r.Due, r.Started, r.Finished = timeIfSet(due), timeOf(started), timeIfSet(finished)
	return r, err
}
