package state

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/backstay/backstay/internal/core"
)

// applicationID marks our databases in SQLite's header: "bsty".
const applicationID = 0x62737479

var errForeign = fmt.Errorf("%w: it is no state database of backstay", errDamaged)

// migrations bring the tables from each version to the next; the first makes
// them. Versions that were released are never changed.
func migrations() []string {
	return []string{`
CREATE TABLE runs (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	app TEXT NOT NULL, kind TEXT NOT NULL, cause TEXT NOT NULL, schedule TEXT NOT NULL, due INTEGER,
	started INTEGER NOT NULL, finished INTEGER, outcome TEXT NOT NULL,
	backup TEXT NOT NULL, code TEXT NOT NULL, fault TEXT NOT NULL DEFAULT '', message TEXT NOT NULL, hint TEXT NOT NULL, warnings INTEGER NOT NULL, by_whom TEXT NOT NULL,
	process TEXT NOT NULL, pid INTEGER NOT NULL
) STRICT;
CREATE INDEX runs_started ON runs (started);
CREATE INDEX runs_app_started ON runs (app, started);
CREATE INDEX runs_app_kind_started ON runs (app, kind, started);
CREATE INDEX runs_app_kind ON runs (app, kind);
CREATE INDEX runs_outcome_started ON runs (outcome, started);

CREATE TABLE alarms (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	app TEXT NOT NULL, topic TEXT NOT NULL,
	opened INTEGER NOT NULL, updated INTEGER NOT NULL, closed INTEGER,
	live INTEGER NOT NULL,
	problems TEXT NOT NULL, deliveries TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX alarms_one_open ON alarms (app, topic) WHERE closed IS NULL;
CREATE INDEX alarms_live ON alarms (id) WHERE live = 1;

CREATE TABLE audit (
	id INTEGER PRIMARY KEY,
	time INTEGER NOT NULL, who TEXT NOT NULL, via TEXT NOT NULL, action TEXT NOT NULL, object TEXT NOT NULL, outcome TEXT NOT NULL, detail TEXT NOT NULL,
	hash BLOB NOT NULL
) STRICT;
CREATE INDEX audit_action ON audit (action);
CREATE INDEX audit_object ON audit (object);
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'entries of the audit log are never changed'); END;
CREATE TABLE audit_ends (
	one INTEGER PRIMARY KEY CHECK (one = 1),
	before_id INTEGER NOT NULL, before_hash BLOB NOT NULL,
	last_id INTEGER NOT NULL, last_hash BLOB NOT NULL
) STRICT;
INSERT INTO audit_ends VALUES (1, 0, x'', 0, x'');

CREATE TABLE facts (app TEXT NOT NULL, backup TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (app, backup)) STRICT, WITHOUT ROWID;
CREATE TABLE remembered (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE space (
	id INTEGER PRIMARY KEY,
	repository TEXT NOT NULL, time INTEGER NOT NULL,
	used INTEGER NOT NULL, free INTEGER NOT NULL, total INTEGER NOT NULL, maintained INTEGER, attempted INTEGER
) STRICT;
CREATE INDEX space_time ON space (repository, time);
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
			Hint:    "use that version of backstay or a newer one, or move the file away: runs, alarms and the audit log begin anew then",
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
