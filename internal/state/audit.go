package state

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/backstay/backstay/internal/core"
)

const auditColumns = "id, time, who, via, action, object, outcome, detail"

// AuditFilter chooses entries of the audit log. Zero values choose all.
type AuditFilter struct {
	Since  time.Time
	Who    string
	Action string
	Object string
	Limit  int // how many of the newest
	Offset int // how many of the newest are left out
}

// Audit adds an entry to the audit log. Its ID is given by the log; a zero Time
// means now.
func (db *DB) Audit(ctx context.Context, a core.Audited) error {
	if a.Time.IsZero() {
		a.Time = db.now()
	}
	return db.write(ctx, "write audit log", func(tx *sql.Tx) error { return appendAudit(ctx, tx, &a) })
}

func appendAudit(ctx context.Context, tx *sql.Tx, a *core.Audited) error {
	var last int64
	var hash []byte
	if err := tx.QueryRowContext(ctx, "SELECT last_id, last_hash FROM audit_ends").Scan(&last, &hash); err != nil {
		return err
	}
	a.ID, a.Time = last+1, timeOf(nanos(a.Time))
	hash = chained(hash, *a)
	if _, err := tx.ExecContext(ctx, "INSERT INTO audit ("+auditColumns+", hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		a.ID, nanos(a.Time), a.Who, a.Via, a.Action, a.Object, a.Outcome, a.Detail, hash); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "UPDATE audit_ends SET last_id = ?, last_hash = ?", a.ID, hash)
	return err
}

// chained is the hash of an entry: of the one before it and all its own fields,
// each with its length, so that no two entries are written alike.
func chained(before []byte, a core.Audited) []byte {
	h := sha256.New()
	put := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	number := func(i int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)) }
	for _, field := range [][]byte{
		before, number(a.ID), number(nanos(a.Time)),
		[]byte(a.Who), []byte(a.Via), []byte(a.Action), []byte(a.Object), []byte(a.Outcome), []byte(a.Detail),
	} {
		put(field)
	}
	return h.Sum(nil)
}

// AuditLog returns the entries that f chooses, the newest first.
func (db *DB) AuditLog(ctx context.Context, f AuditFilter) (found []core.Audited, err error) {
	query, args := f.query()
	err = db.read(ctx, "read audit log", func(pool *sql.DB) (err error) {
		found = nil
		return eachAudit(ctx, pool, query, args, func(a core.Audited, _ []byte) bool {
			found = append(found, a)
			return true
		})
	})
	return found, err
}

func (f AuditFilter) query() (string, []any) {
	var where []string
	var args []any
	if !f.Since.IsZero() {
		where, args = append(where, "time >= ?"), append(args, nanos(f.Since))
	}
	if f.Who != "" {
		where, args = append(where, "who = ?"), append(args, f.Who)
	}
	if f.Action != "" {
		where, args = append(where, "action = ?"), append(args, f.Action)
	}
	if f.Object != "" {
		where, args = append(where, "object = ?"), append(args, f.Object)
	}
	return "SELECT " + auditColumns + ", hash FROM audit" + whereAll(where) + " ORDER BY id DESC" + part(f.Offset, f.Limit), args
}

func eachAudit(ctx context.Context, q rowsQuerier, query string, args []any, do func(a core.Audited, hash []byte) (more bool)) (err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var a core.Audited
		var t int64
		var hash []byte
		if err := rows.Scan(&a.ID, &t, &a.Who, &a.Via, &a.Action, &a.Object, &a.Outcome, &a.Detail, &hash); err != nil {
			return err
		}
		a.Time = timeOf(t)
		if !do(a, hash) {
			return nil
		}
	}
	return rows.Err()
}

// AuditReport says whether the audit log is as it was written.
type AuditReport struct {
	Entries int64  `json:"entries"`          // that are as they were written, up to the broken one
	Broken  int64  `json:"broken,omitempty"` // the first that is not
	Reason  string `json:"reason,omitempty"` // why not; "": all are
}

// VerifyAudit follows the log's hashes from its first entry to its last. It
// notices entries that were changed, put in or taken out, by whoever did not
// also work out all later hashes: there is no key.
func (db *DB) VerifyAudit(ctx context.Context) (report AuditReport, err error) {
	err = db.read(ctx, "verify audit log", func(pool *sql.DB) (err error) {
		// One transaction, so that entries added meanwhile are all seen or none.
		tx, err := pool.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // it wrote nothing
		report, err = verifyAudit(ctx, tx)
		return err
	})
	return report, err
}

func verifyAudit(ctx context.Context, tx *sql.Tx) (AuditReport, error) {
	var report AuditReport
	var id, last int64
	var hash, lastHash []byte
	if err := tx.QueryRowContext(ctx, "SELECT before_id, before_hash, last_id, last_hash FROM audit_ends").Scan(&id, &hash, &last, &lastHash); err != nil {
		return report, err
	}
	err := eachAudit(ctx, tx, "SELECT "+auditColumns+", hash FROM audit ORDER BY id", nil, func(a core.Audited, got []byte) bool {
		id++
		hash = chained(hash, a)
		switch {
		case a.ID > id:
			report.Broken, report.Reason = id, fmt.Sprintf("it was taken out: entry %d is the next", a.ID)
		case a.ID < id:
			report.Broken, report.Reason = a.ID, "it was put in before the first"
		case !bytes.Equal(hash, got):
			report.Broken, report.Reason = id, "it, or the one before it, was changed"
		default:
			report.Entries++
			return true
		}
		return false
	})
	if err == nil && report.Reason == "" && (id != last || !bytes.Equal(hash, lastHash)) {
		report.Broken, report.Reason = id+1, fmt.Sprintf("entries were taken out at the end, or put in: the last was %d", last)
	}
	return report, err
}
