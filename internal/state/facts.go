package state

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/backstay/backstay/internal/core"
)

// Facts returns what is known of an app's backups, those that are gone too, in
// no set order. What this version does not understand is not in it: the caller
// finds it out anew.
func (db *DB) Facts(ctx context.Context, app string) (found []core.Facts, err error) {
	err = db.read(ctx, "read facts of backups", func(pool *sql.DB) (err error) {
		rows, err := pool.QueryContext(ctx, "SELECT body FROM facts WHERE app = ?", app)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		found = nil
		for rows.Next() {
			var body []byte
			if err := rows.Scan(&body); err != nil {
				return err
			}
			var f core.Facts
			if json.Unmarshal(body, &f) == nil {
				found = append(found, f)
			}
		}
		return rows.Err()
	})
	return found, err
}

// SaveFacts keeps facts of backups, in place of what was known of them.
func (db *DB) SaveFacts(ctx context.Context, facts ...core.Facts) error {
	return db.write(ctx, "keep facts of backups", func(tx *sql.Tx) error {
		for _, f := range facts {
			body, err := json.Marshal(f)
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO facts (app, backup, body) VALUES (?, ?, ?) ON CONFLICT (app, backup) DO UPDATE SET body = excluded.body", f.App, f.Backup, string(body)); err != nil {
				return err
			}
		}
		return nil
	})
}

// KeepFacts removes the facts of all backups of an app but these, and returns
// how many it removed.
func (db *DB) KeepFacts(ctx context.Context, app string, backups []string) (forgotten int, err error) {
	if backups == nil {
		backups = []string{}
	}
	ids, err := json.Marshal(backups)
	if err != nil {
		return 0, err
	}
	err = db.write(ctx, "forget facts of backups", func(tx *sql.Tx) error {
		forgotten, err = deleted(ctx, tx, "DELETE FROM facts WHERE app = ? AND backup NOT IN (SELECT value FROM json_each(?))", app, string(ids))
		return err
	})
	return forgotten, err
}

func deleted(ctx context.Context, tx *sql.Tx, query string, args ...any) (int, error) {
	res, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}
