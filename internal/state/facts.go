package state

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/backstay/backstay/internal/core"
)

// Facts returns what is known of the backups with these ids, by id. Those of
// which nothing is known, or nothing that this version understands, are not in
// it: the caller finds the facts out anew.
func (db *DB) Facts(ctx context.Context, backups []string) (found map[string]core.Facts, err error) {
	ids, err := json.Marshal(backups)
	if err != nil {
		return nil, err
	}
	err = db.read(ctx, "read facts of backups", func(pool *sql.DB) (err error) {
		rows, err := pool.QueryContext(ctx, "SELECT backup, body FROM facts WHERE backup IN (SELECT value FROM json_each(?))", string(ids))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		found = map[string]core.Facts{}
		for rows.Next() {
			var id string
			var body []byte
			if err := rows.Scan(&id, &body); err != nil {
				return err
			}
			var f core.Facts
			if json.Unmarshal(body, &f) == nil {
				found[id] = f
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
			if _, err := tx.ExecContext(ctx, "INSERT INTO facts (backup, body) VALUES (?, ?) ON CONFLICT (backup) DO UPDATE SET body = excluded.body", f.Backup, string(body)); err != nil {
				return err
			}
		}
		return nil
	})
}

// ForgetFacts removes the facts of all backups but the existing ones, of all
// apps, and returns how many it removed.
func (db *DB) ForgetFacts(ctx context.Context, existing []string) (forgotten int, err error) {
	if existing == nil {
		existing = []string{}
	}
	ids, err := json.Marshal(existing)
	if err != nil {
		return 0, err
	}
	err = db.write(ctx, "forget facts of backups", func(tx *sql.Tx) error {
		forgotten, err = deleted(ctx, tx, "DELETE FROM facts WHERE backup NOT IN (SELECT value FROM json_each(?))", string(ids))
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
