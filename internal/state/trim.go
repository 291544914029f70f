package state

import (
	"context"
	"database/sql"
	"time"
)

const day = 24 * time.Hour

// How much is kept. What is among the newest is kept however old it is: a clock
// that was once set wrong must not empty the database.
const (
	runsMax   = 2000      // of an app and kind
	runsFew   = 100       // of an app and kind that are kept whatever their age
	runsAge   = 400 * day // of the others
	alarmsFew = 100
	alarmsAge = 2 * 365 * day // since they were closed
	auditFew  = 1000
	auditAge  = 2 * 365 * day
	spaceAge  = 400 * day
	spaceFew  = 100
	spaceFull = 30 * day // older samples are thinned to one a day
)

// Trim removes what is too old or too much: runs of an app and kind beyond the
// newest 2000, or older than 400 days but for the newest 100; closed alarms and
// entries of the audit log after 2 years, but for the newest 100 and 1000;
// samples of space after 400 days, but for the newest 100, and all but one a
// day after 30. Runs that are running and alarms that are open stay.
func (db *DB) Trim(ctx context.Context, now time.Time) error {
	before := func(age time.Duration) int64 { return nanos(now.Add(-age)) }
	return db.write(ctx, "trim state database", func(tx *sql.Tx) error {
		for _, step := range []struct {
			query string
			args  []any
		}{
			{`DELETE FROM runs WHERE outcome <> 'running' AND id IN (
				SELECT id FROM (SELECT id, started, row_number() OVER (PARTITION BY app, kind ORDER BY id DESC) AS place FROM runs)
				WHERE place > ? OR place > ? AND started < ?)`, []any{runsMax, runsFew, before(runsAge)}},
			{`DELETE FROM alarms WHERE closed < ? AND id NOT IN (SELECT id FROM alarms ORDER BY id DESC LIMIT ?)`, []any{before(alarmsAge), alarmsFew}},
			{`DELETE FROM space WHERE time < ? AND id NOT IN (SELECT id FROM space ORDER BY id DESC LIMIT ?)`, []any{before(spaceAge), spaceFew}},
			{`DELETE FROM space WHERE time < ? AND id NOT IN (SELECT max(id) FROM space GROUP BY repository, time / ?)`, []any{before(spaceFull), int64(day)}},
		} {
			if _, err := tx.ExecContext(ctx, step.query, step.args...); err != nil {
				return err
			}
		}
		return trimAudit(ctx, tx, before(auditAge))
	})
}

// trimAudit removes entries from the beginning of the log, up to the first that
// is young enough, so that the rest is still a chain.
func trimAudit(ctx context.Context, tx *sql.Tx, before int64) error {
	var last sql.NullInt64
	if err := tx.QueryRowContext(ctx, `SELECT min(
			coalesce((SELECT min(id) FROM audit WHERE time >= ?), (SELECT last_id + 1 FROM audit_ends)) - 1,
			(SELECT last_id FROM audit_ends) - ?)`, before, auditFew).Scan(&last); err != nil {
		return err
	}
	res, err := tx.ExecContext(ctx, `UPDATE audit_ends SET before_id = ?1, before_hash = (SELECT hash FROM audit WHERE id = ?1) WHERE EXISTS (SELECT 1 FROM audit WHERE id = ?1)`, last.Int64)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	_, err = tx.ExecContext(ctx, "DELETE FROM audit WHERE id <= ?", last.Int64)
	return err
}
