package state

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"
)

// KeyReplaced is the key of the Replacement that began this database, when it
// was begun in place of a damaged one.
const KeyReplaced = "state/replaced"

// Replacement says that a damaged database was put aside.
type Replacement struct {
	Time   time.Time `json:"time"`
	Aside  string    `json:"aside"` // where it is
	Reason string    `json:"reason"`
}

// Value reads the value of a key into what into points to, and says whether
// there is one. Keys are words with slashes: "agenda", "accepted/helpdesk".
func (db *DB) Value(ctx context.Context, key string, into any) (found bool, err error) {
	err = db.read(ctx, "read "+key, func(pool *sql.DB) error {
		var body []byte
		switch err := pool.QueryRowContext(ctx, "SELECT body FROM remembered WHERE key = ?", key).Scan(&body); {
		case errors.Is(err, sql.ErrNoRows):
			return nil
		case err != nil:
			return err
		}
		found = true
		return json.Unmarshal(body, into)
	})
	return found, err
}

// SetValue keeps a value, which must be one that JSON can hold, in place of the
// key's last.
func (db *DB) SetValue(ctx context.Context, key string, value any) error {
	return db.write(ctx, "keep "+key, func(tx *sql.Tx) error { return setValue(ctx, tx, key, value) })
}

func setValue(ctx context.Context, tx *sql.Tx, key string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO remembered (key, body) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET body = excluded.body", key, string(body))
	return err
}

// SetDefault keeps a value unless the key has one: what was seen first stays.
func (db *DB) SetDefault(ctx context.Context, key string, value any) error {
	return db.write(ctx, "keep "+key, func(tx *sql.Tx) error {
		body, err := json.Marshal(value)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO remembered (key, body) VALUES (?, ?) ON CONFLICT (key) DO NOTHING", key, string(body))
		return err
	})
}

// DeleteValue forgets a key; one without a value is no error.
func (db *DB) DeleteValue(ctx context.Context, key string) error {
	return db.write(ctx, "forget "+key, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM remembered WHERE key = ?", key)
		return err
	})
}

// Values returns the values of all keys that begin with prefix, by key.
func (db *DB) Values(ctx context.Context, prefix string) (found map[string]json.RawMessage, err error) {
	err = db.read(ctx, "read "+prefix, func(pool *sql.DB) (err error) {
		// Text is compared by its bytes, and none of UTF-8 is as large as 0xff.
		rows, err := pool.QueryContext(ctx, "SELECT key, body FROM remembered WHERE key >= ? AND key < CAST(? AS TEXT)", prefix, append([]byte(prefix), 0xff))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		found = map[string]json.RawMessage{}
		for rows.Next() {
			var key string
			var body []byte
			if err := rows.Scan(&key, &body); err != nil {
				return err
			}
			found[key] = body
		}
		return rows.Err()
	})
	return found, err
}
