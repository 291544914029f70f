package access

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/backstay/backstay/internal/core"
)

// Limits of tokens.
const (
	tokenBegins = "bst_"
	tokenLength = len(tokenBegins) + 43
	hintLength  = len(tokenBegins) + 4
	maxTokens   = 100 // of a user
)

// ByToken finds who a token belongs to. ErrNobody; ErrSlowDown for an address
// that came with too many wrong ones. A right one is always right: there is no
// guessing 256 bits, and a script with an old token is not to shut out another
// on the same machine.
func (s *Store) ByToken(ctx context.Context, token core.Secret, from netip.Addr) (Identity, error) {
	var who Identity
	err := s.read(ctx, "look for a token", func(pool *sql.DB) error {
		if text := token.Reveal(); len(text) != tokenLength || !strings.HasPrefix(text, tokenBegins) {
			return sql.ErrNoRows
		}
		var t Token
		var created int64
		var expires, used sql.NullInt64
		p, err := scanPerson(pool.QueryRowContext(ctx, "SELECT "+personColumns+", t.id, t.name, t.role, t.hint, t.created, t.expires, t.used FROM tokens t JOIN users u ON u.id = t.user WHERE t.hash = ?", digest(token)),
			&t.ID, &t.Name, &t.Role, &t.Hint, &created, &expires, &used)
		if err != nil {
			return err
		}
		t.User, t.Created, t.Expires, t.Used = p.Name, timeOf(created), optionalTime(expires), optionalTime(used)
		if p.Disabled || t.Expires != nil && !s.clock.Now().Before(*t.Expires) {
			return sql.ErrNoRows
		}
		who = Identity{User: p.User, Role: lower(t.Role, p.Role), Token: &t}
		return nil
	})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Identity{}, s.wrongToken(ctx, from)
	case err != nil:
		return Identity{}, err
	}
	return who, s.noteToken(ctx, who.Token)
}

func lower(a, b Role) Role {
	if a.May(b) {
		return b
	}
	return a
}

// wrongToken counts it: ErrNobody, or ErrSlowDown, which writes nothing.
func (s *Store) wrongToken(ctx context.Context, from netip.Addr) error {
	tried := &attempt{[]*counter{{name: []byte{}, address: tokenPrefix + placeOf(from)}}}
	var wait time.Duration
	err := s.read(ctx, "look at wrong tokens", func(pool *sql.DB) (err error) {
		wait, err = tried.counters[0].wait(ctx, pool, s.clock.Now())
		return err
	})
	if err != nil {
		return err
	}
	if wait > 0 {
		return &RetryAfter{Wait: wait}
	}
	err = s.write(ctx, "count a wrong token", func(tx *sql.Tx) error { return tried.begin(ctx, tx, s.clock.Now(), s.most) })
	if err != nil {
		return err
	}
	return ErrNobody
}

// noteToken notes that a token is used, to the minute. Where that cannot be
// noted, it is let in all the same.
func (s *Store) noteToken(ctx context.Context, t *Token) error {
	now := s.clock.Now().UTC()
	if t.Used != nil && now.Sub(*t.Used) < seenEvery {
		return nil
	}
	err := s.write(ctx, "note the use of a token", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE tokens SET used = max(coalesce(used, 0), ?) WHERE id = ?", now.UnixNano(), t.ID)
		return err
	})
	switch primary(err) {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR:
		return nil
	}
	if err == nil {
		t.Used = &now
	}
	return err
}

// AddToken makes a token of a user. expires 0 means never. The secret is never
// shown again. ErrNoSuchUser; core.CodeUsage for a name that the user has given
// already, and a role that is higher than the user's.
func (s *Store) AddToken(ctx context.Context, user, name string, role Role, expires time.Duration) (core.Secret, Token, error) {
	wrong := func(message, hint string) (core.Secret, Token, error) {
		return core.Secret{}, Token{}, &core.Error{Code: core.CodeUsage, Op: "add token", Message: message, Hint: hint}
	}
	if _, err := ParseRole(string(role)); err != nil {
		return core.Secret{}, Token{}, err
	}
	runes := []rune(name)
	if len(runes) == 0 || len(runes) > 64 || strings.TrimSpace(name) != name || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return wrong("a token's name has 1 to 64 letters, digits, signs and spaces between them", "name it after what uses it: monitoring")
	}
	if expires < 0 {
		return wrong("a token cannot have expired before it is made", "give how long it is good for: 90d")
	}
	now := s.clock.Now().UTC()
	token := core.NewSecret(tokenBegins + newSecret().Reveal())
	made := Token{Name: name, Role: role, Created: now, Hint: token.Reveal()[:hintLength]}
	var until sql.NullInt64
	if expires > 0 {
		end := now.Add(expires)
		made.Expires, until = &end, sql.NullInt64{Int64: end.UnixNano(), Valid: true}
	}
	err := s.keep(ctx, "add token", func(tx *sql.Tx) error {
		p, err := find(ctx, tx, user)
		if err != nil {
			return err
		}
		if !p.Role.May(role) {
			return &core.Error{Code: core.CodeUsage, Message: fmt.Sprintf("%s is %s, and a token of theirs cannot be %s", p.Name, p.Role, role), Hint: "give the token a role that its user has"}
		}
		var all, same int
		if err := tx.QueryRowContext(ctx, "SELECT count(*), count(*) FILTER (WHERE name = ?) FROM tokens WHERE user = ?", name, p.ID).Scan(&all, &same); err != nil {
			return err
		}
		if same > 0 {
			return &core.Error{Code: core.CodeUsage, Message: fmt.Sprintf("%s has a token named %s already", p.Name, name), Hint: "remove it first, or take another name: the audit log tells tokens apart by it"}
		}
		if all >= maxTokens {
			return &core.Error{Code: core.CodeUsage, Message: fmt.Sprintf("%s has %d tokens", p.Name, all), Hint: "remove those that nothing uses: backstay token list"}
		}
		result, err := tx.ExecContext(ctx, "INSERT INTO tokens (user, name, role, hash, hint, created, expires) VALUES (?, ?, ?, ?, ?, ?, ?)",
			p.ID, name, string(role), digest(token), made.Hint, now.UnixNano(), until)
		if err != nil {
			return err
		}
		made.User = p.Name
		made.ID, err = result.LastInsertId()
		return err
	})
	if err != nil {
		return core.Secret{}, Token{}, err
	}
	return token, made, nil
}

// Tokens lists a user's tokens, or with "" all, by user and name. ErrNoSuchUser.
func (s *Store) Tokens(ctx context.Context, user string) (list []Token, err error) {
	list = []Token{}
	err = s.read(ctx, "list tokens", func(pool *sql.DB) (err error) {
		if user != "" {
			if _, err := find(ctx, pool, user); err != nil {
				return err
			}
		}
		rows, err := pool.QueryContext(ctx, "SELECT t.id, t.name, u.name, t.role, t.hint, t.created, t.expires, t.used FROM tokens t JOIN users u ON u.id = t.user WHERE ?1 = '' OR u.folded = ?1 ORDER BY u.folded, t.name, t.id", fold(user))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		for rows.Next() {
			var t Token
			var created int64
			var expires, used sql.NullInt64
			if err := rows.Scan(&t.ID, &t.Name, &t.User, &t.Role, &t.Hint, &created, &expires, &used); err != nil {
				return err
			}
			t.Created, t.Expires, t.Used = timeOf(created), optionalTime(expires), optionalTime(used)
			list = append(list, t)
		}
		return rows.Err()
	})
	return list, err
}

// RemoveToken removes a token of a user, or with "" anybody's. ErrNoSuchItem;
// ErrNoSuchUser.
func (s *Store) RemoveToken(ctx context.Context, user string, id int64) error {
	return s.keep(ctx, "remove token", func(tx *sql.Tx) error {
		if user == "" {
			result, err := tx.ExecContext(ctx, "DELETE FROM tokens WHERE id = ?", id)
			return oneGone(result, err)
		}
		p, err := find(ctx, tx, user)
		if err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, "DELETE FROM tokens WHERE id = ? AND user = ?", id, p.ID)
		return oneGone(result, err)
	})
}
