package access

import (
	"context"
	"database/sql"
	"errors"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/backstay/backstay/internal/core"
)

// Limits of what is kept of sessions.
const (
	maxSessions = 100 // of a user
	seenEvery   = time.Minute
	agentRunes  = 256
	backwards   = time.Minute // how far a clock may be set back under a session
)

// orDefaults are the limits that count.
func (l Limits) orDefaults() Limits {
	if l.Idle <= 0 {
		l.Idle = 30 * time.Minute
	}
	if l.Absolute <= 0 {
		l.Absolute = 12 * time.Hour
	}
	return l
}

// beginSession logs a person in, and tidies up.
func (s *Store) beginSession(ctx context.Context, tx *sql.Tx, p person, c Credentials, l Limits) (cookie core.Secret, who Identity, err error) {
	l = l.orDefaults()
	now := s.clock.Now().UTC()
	place := placeOf(c.Address)
	from := "unknown"
	if c.Address.IsValid() {
		from = c.Address.Unmap().WithZone("").String()
	}
	cookie = newSecret()
	session := Session{Began: now, Seen: now, Proved: now, Ends: now.Add(l.Absolute), Address: from, Agent: printable(c.Agent, agentRunes)}
	at := now.UnixNano()
	result, err := tx.ExecContext(ctx, "INSERT INTO sessions (user, hash, began, seen, proved, ends, idle, address, agent) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		p.ID, digest(cookie), at, at, at, session.Ends.UnixNano(), int64(l.Idle), session.Address, session.Agent)
	if err != nil {
		return core.Secret{}, Identity{}, err
	}
	if session.ID, err = result.LastInsertId(); err != nil {
		return core.Secret{}, Identity{}, err
	}
	for _, step := range []struct {
		statement string
		args      []any
	}{
		{"UPDATE users SET last_login = ? WHERE id = ?", []any{at, p.ID}},
		{"DELETE FROM sessions WHERE ends <= ?1 OR seen + idle <= ?1", []any{at}},
		{"DELETE FROM sessions WHERE user = ?1 AND id NOT IN (SELECT id FROM sessions WHERE user = ?1 ORDER BY seen DESC, id DESC LIMIT ?2)", []any{p.ID, maxSessions}},
		{"DELETE FROM known WHERE last <= ?", []any{now.Add(-knownFor).UnixNano()}},
		{"DELETE FROM attempts WHERE last <= ?", []any{now.Add(-forgetFailures).UnixNano()}},
	} {
		if _, err := tx.ExecContext(ctx, step.statement, step.args...); err != nil {
			return core.Secret{}, Identity{}, err
		}
	}
	if c.Address.IsValid() {
		if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO known (user, address, last) VALUES (?, ?, ?)", p.ID, place, at); err != nil {
			return core.Secret{}, Identity{}, err
		}
	}
	p.LastLogin = &now
	return cookie, Identity{User: p.User, Role: p.Role, Session: &session}, nil
}

const sessionColumns = "s.id, s.began, s.seen, s.proved, s.ends, s.idle, s.address, s.agent"

type sessionRow struct {
	Session
	began, seen, proved, ends, idle int64
}

func (r *sessionRow) fields() []any {
	return []any{&r.ID, &r.began, &r.seen, &r.proved, &r.ends, &r.idle, &r.Address, &r.Agent}
}

func (r *sessionRow) session() Session {
	r.Began, r.Seen, r.Proved, r.Ends = timeOf(r.began), timeOf(r.seen), timeOf(r.proved), timeOf(r.ends)
	return r.Session
}

// BySession finds who a cookie belongs to, and notes that they were seen; where
// that cannot be noted, they are let in all the same. ErrNobody.
func (s *Store) BySession(ctx context.Context, cookie core.Secret, l Limits) (Identity, error) {
	if cookie.Empty() {
		return Identity{}, ErrNobody
	}
	l = l.orDefaults()
	var p person
	var row sessionRow
	err := s.read(ctx, "look for a session", func(pool *sql.DB) (err error) {
		p, err = scanPerson(pool.QueryRowContext(ctx, "SELECT "+personColumns+", "+sessionColumns+" FROM sessions s JOIN users u ON u.id = s.user WHERE s.hash = ?", digest(cookie)), row.fields()...)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Identity{}, ErrNobody
	}
	if err != nil {
		return Identity{}, err
	}
	now, session := s.clock.Now(), row.session()
	if ends := session.Began.Add(l.Absolute); ends.Before(session.Ends) { // the setting may be a shorter one now
		session.Ends = ends
	}
	if p.Disabled || !now.Before(session.Ends) || now.Sub(session.Seen) >= l.Idle || now.Before(session.Began.Add(-backwards)) {
		return Identity{}, ErrNobody
	}
	if now.Sub(session.Seen) >= min(seenEvery, l.Idle/4) {
		err := s.write(ctx, "note a session", func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE sessions SET seen = max(seen, ?), idle = ? WHERE id = ?", now.UnixNano(), int64(l.Idle), session.ID)
			return err
		})
		switch code := primary(err); {
		case err == nil:
			session.Seen = now.UTC()
		case code == sqlite3.SQLITE_BUSY, code == sqlite3.SQLITE_FULL, code == sqlite3.SQLITE_READONLY, code == sqlite3.SQLITE_IOERR:
			// A full disk is what people come here to look at.
		default:
			return Identity{}, err
		}
	}
	return Identity{User: p.User, Role: p.Role, Session: &session}, nil
}

// Logout ends a session of a user; 0: all of them but keep (0: none is kept).
// ErrNoSuchItem when the user has no such session.
func (s *Store) Logout(ctx context.Context, user, session, keep int64) error {
	return s.keep(ctx, "log out", func(tx *sql.Tx) error {
		if session == 0 {
			return endSessions(ctx, tx, user, keep)
		}
		result, err := tx.ExecContext(ctx, "DELETE FROM sessions WHERE id = ? AND user = ?", session, user)
		return oneGone(result, err)
	})
}

func oneGone(result sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return refusal(core.CodeNotFound, ErrNoSuchItem, "")
}

func endSessions(ctx context.Context, tx *sql.Tx, user, keep int64) error {
	_, err := tx.ExecContext(ctx, "DELETE FROM sessions WHERE user = ? AND id <> ?", user, keep)
	return err
}

// Sessions lists a user's sessions, the last seen first.
func (s *Store) Sessions(ctx context.Context, user int64) (list []Session, err error) {
	list = []Session{}
	err = s.read(ctx, "list sessions", func(pool *sql.DB) (err error) {
		rows, err := pool.QueryContext(ctx, "SELECT "+sessionColumns+" FROM sessions s WHERE s.user = ?1 AND s.ends > ?2 AND s.seen + s.idle > ?2 ORDER BY s.seen DESC, s.id DESC", user, s.clock.Now().UnixNano())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		for rows.Next() {
			var row sessionRow
			if err := rows.Scan(row.fields()...); err != nil {
				return err
			}
			list = append(list, row.session())
		}
		return rows.Err()
	})
	return list, err
}
