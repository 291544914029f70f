package state

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// SpaceSample says how full a repository was at a time.
type SpaceSample struct {
	Time time.Time `json:"time"`
	core.Space
}

// AddSpace keeps how full a repository is now. repository tells it from others:
// its address, without secrets.
func (db *DB) AddSpace(ctx context.Context, repository string, s core.Space) error {
	return db.write(ctx, "keep space of repository", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO space (repository, time, used, free, total, maintained, attempted) VALUES (?, ?, ?, ?, ?, ?, ?)",
			repository, nanos(db.now()), s.Used, s.Free, s.Total, timeOrNil(s.Maintained), timeOrNil(s.Attempted))
		return err
	})
}

// Space returns how full a repository was, since a time, the oldest first.
func (db *DB) Space(ctx context.Context, repository string, since time.Time) (samples []SpaceSample, err error) {
	err = db.read(ctx, "read space of repository", func(pool *sql.DB) (err error) {
		rows, err := pool.QueryContext(ctx, "SELECT time, used, free, total, maintained, attempted FROM space WHERE repository = ? AND time >= ? ORDER BY time, id", repository, nanos(since))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		samples = nil
		for rows.Next() {
			var s SpaceSample
			var t int64
			var maintained, attempted sql.NullInt64
			if err := rows.Scan(&t, &s.Used, &s.Free, &s.Total, &maintained, &attempted); err != nil {
				return err
			}
			s.Time, s.Maintained, s.Attempted = timeOf(t), timeIfSet(maintained), timeIfSet(attempted)
			samples = append(samples, s)
		}
		return rows.Err()
	})
	return samples, err
}
