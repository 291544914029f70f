package access

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/backstay/backstay/internal/core"
)

// applicationID marks our databases in SQLite's header: "bsta".
const applicationID = 0x62737461

var errForeign = fmt.Errorf("%w: it is no database of backstay's users", errDamaged)

// migrations bring the tables from each version to the next; the first makes
// them. Versions that were released are never changed. docs/spec/access.md says
// what the columns mean.
func migrations() []string {
	return []string{`
CREATE TABLE users (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	name TEXT NOT NULL, folded TEXT NOT NULL UNIQUE,
	role TEXT NOT NULL, disabled INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL, last_login INTEGER,
	password TEXT NOT NULL, provider TEXT NOT NULL DEFAULT '', subject TEXT NOT NULL DEFAULT '',
	language TEXT NOT NULL DEFAULT '', theme TEXT NOT NULL DEFAULT '', zone TEXT NOT NULL DEFAULT '',
	totp TEXT NOT NULL DEFAULT '', totp_step INTEGER NOT NULL DEFAULT 0, offered TEXT NOT NULL DEFAULT '', offered_at INTEGER
) STRICT;
CREATE UNIQUE INDEX users_subject ON users (provider, subject) WHERE provider <> '';

CREATE TABLE recovery (
	user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE, hash BLOB NOT NULL,
	PRIMARY KEY (user, hash)
) STRICT, WITHOUT ROWID;
CREATE TABLE known (
	user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE, address TEXT NOT NULL, last INTEGER NOT NULL,
	PRIMARY KEY (user, address)
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE, hash BLOB NOT NULL UNIQUE,
	began INTEGER NOT NULL, seen INTEGER NOT NULL, proved INTEGER NOT NULL, ends INTEGER NOT NULL, idle INTEGER NOT NULL,
	address TEXT NOT NULL, agent TEXT NOT NULL
) STRICT;
CREATE INDEX sessions_user ON sessions (user, seen);

CREATE TABLE tokens (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE, name TEXT NOT NULL, role TEXT NOT NULL,
	hash BLOB NOT NULL UNIQUE, hint TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER, used INTEGER,
	UNIQUE (user, name)
) STRICT;

CREATE TABLE attempts (
	name BLOB NOT NULL, address TEXT NOT NULL, user INTEGER NOT NULL,
	failures INTEGER NOT NULL, since INTEGER NOT NULL, last INTEGER NOT NULL, until INTEGER NOT NULL,
	PRIMARY KEY (name, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempts_last ON attempts (user, last);

CREATE TABLE offer (one INTEGER PRIMARY KEY CHECK (one = 1), hash BLOB NOT NULL, ends INTEGER NOT NULL) STRICT;
`}
}

// migrate makes the tables, or brings them up to date. A database that a newer
// version wrote is left as it is.
func migrate(ctx context.Context, pool *sql.DB, path string) error {
	id, version, err := versionOf(ctx, pool)
	if err != nil || id == applicationID && version == len(migrations()) {
		return err
	}
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if id, version, err = versionOf(ctx, tx); err != nil {
		return err
	}
	var tables int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return err
	}
	switch {
	case id != applicationID && (id != 0 || version != 0 || tables != 0):
		return errForeign
	case version > len(migrations()):
		return &core.Error{
			Code: core.CodeUnsupported, Op: opOpen,
			Message: fmt.Sprintf("a newer version of backstay wrote %s, in form %d; this one knows %d", path, version, len(migrations())),
			Hint:    "use that version of backstay or a newer one, or move the file aside and make users anew with backstay user add",
		}
	}
	for ; version < len(migrations()); version++ {
		if _, err := tx.ExecContext(ctx, migrations()[version]); err != nil {
			return fmt.Errorf("bring tables to form %d: %w", version+1, err)
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, version)); err != nil {
		return err
	}
	return tx.Commit()
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func versionOf(ctx context.Context, q querier) (id, version int, err error) {
	err = q.QueryRowContext(ctx, "SELECT application_id, user_version FROM pragma_application_id, pragma_user_version").Scan(&id, &version)
	return id, version, err
}
