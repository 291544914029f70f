package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// offerLasts is how long a set-up link can be used.
const offerLasts = 24 * time.Hour

// newSecret makes 256 bits of chance, as text.
func newSecret() core.Secret {
	b := make([]byte, 32)
	fill(b)
	return core.NewSecret(base64.RawURLEncoding.EncodeToString(b))
}

func digest(secret core.Secret) []byte {
	sum := sha256.Sum256([]byte(secret.Reveal()))
	return sum[:]
}

// Offer makes the secret of a set-up link, in place of one made before, when
// there is no user; "" when there are users. It is good for a day.
func (s *Store) Offer(ctx context.Context) (secret core.Secret, err error) {
	err = s.write(ctx, "make a set-up link", func(tx *sql.Tx) error {
		switch users, err := anyUser(ctx, tx); {
		case err != nil || users:
			return err
		}
		secret = newSecret()
		_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO offer (one, hash, ends) VALUES (1, ?, ?)", digest(secret), s.clock.Now().Add(offerLasts).UnixNano())
		return err
	})
	if err != nil {
		return core.Secret{}, err
	}
	return secret, nil
}

func anyUser(ctx context.Context, q querier) (there bool, err error) {
	err = q.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM users)").Scan(&there)
	return there, err
}

// Offered says whether secret is that of a set-up link that can be used now:
// nil, or ErrSetUpDone.
func (s *Store) Offered(ctx context.Context, secret core.Secret) error {
	return s.read(ctx, "look at the set-up link", func(pool *sql.DB) error { return s.offered(ctx, pool, secret) })
}

func (s *Store) offered(ctx context.Context, q querier, secret core.Secret) error {
	var hash []byte
	var ends int64
	err := q.QueryRowContext(ctx, "SELECT hash, ends FROM offer WHERE NOT EXISTS (SELECT 1 FROM users)").Scan(&hash, &ends)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if err != nil || subtle.ConstantTimeCompare(hash, digest(secret)) != 1 || !s.clock.Now().Before(timeOf(ends)) {
		return refusal(core.CodeUsage, ErrSetUpDone, "while there is no user, backstay user link makes another one; afterwards backstay user add")
	}
	return nil
}

// SetUp uses the link: it makes the first admin and logs them in. Errors:
// ErrSetUpDone, ErrWeak; a name or password that cannot be leaves the link.
func (s *Store) SetUp(ctx context.Context, secret core.Secret, c Credentials, l Limits) (cookie core.Secret, _ Identity, err error) {
	if err := s.Offered(ctx, secret); err != nil {
		return core.Secret{}, Identity{}, err
	}
	hash, err := s.newPassword(ctx, c.Name, Admin, c.Password)
	if err != nil {
		return core.Secret{}, Identity{}, err
	}
	var who Identity
	err = s.keep(ctx, "set up the first user", func(tx *sql.Tx) error {
		if err := s.offered(ctx, tx, secret); err != nil {
			return err
		}
		p, err := insert(ctx, tx, person{User: User{Name: c.Name, Role: Admin, Created: s.clock.Now()}, password: hash})
		if err != nil {
			return err
		}
		cookie, who, err = s.beginSession(ctx, tx, p, c, l)
		return err
	})
	if err != nil {
		return core.Secret{}, Identity{}, err
	}
	return cookie, who, nil
}

// Login begins a session. Errors: ErrRefused, ErrSecond, ErrSlowDown; a code
// that is wrong is ErrCode and ErrSecond.
func (s *Store) Login(ctx context.Context, c Credentials, l Limits) (cookie core.Secret, _ Identity, err error) {
	var tried *attempt
	var p person
	err = s.write(ctx, "begin a login", func(tx *sql.Tx) error {
		var err error
		if p, err = find(ctx, tx, c.Name); err != nil && !errors.Is(err, ErrNoSuchUser) {
			return err
		}
		if tried, err = atLogin(ctx, tx, fold(c.Name), p.ID, c.Address, s.clock.Now()); err != nil {
			return err
		}
		return tried.begin(ctx, tx, s.clock.Now(), s.most)
	})
	if err != nil {
		return core.Secret{}, Identity{}, err
	}
	newer, err := s.passwordOf(ctx, p, c.Password)
	if err != nil {
		return core.Secret{}, Identity{}, err
	}
	var who Identity
	err = s.finish(ctx, "log in", p, c, newer, tried, func(tx *sql.Tx, p person) error {
		var err error
		cookie, who, err = s.beginSession(ctx, tx, p, c, l)
		return err
	})
	if err != nil {
		return core.Secret{}, Identity{}, err
	}
	return cookie, who, nil
}

// passwordOf says whether it is the person's: ErrRefused. newer is its hash when
// the one that is kept is out of date.
func (s *Store) passwordOf(ctx context.Context, p person, password core.Secret) (newer string, err error) {
	right, err := s.matches(ctx, p.password, password)
	switch {
	case err != nil:
		return "", err
	case !right || p.Disabled:
		return "", ErrRefused
	case s.outdated(p.password):
		return s.hash(ctx, password)
	}
	return "", nil
}

// finish ends an attempt whose password was right: it looks at the second
// factor, and does what the attempt was for.
func (s *Store) finish(ctx context.Context, op string, was person, c Credentials, newer string, tried *attempt, do func(*sql.Tx, person) error) error {
	var missing error
	err := s.write(ctx, op, func(tx *sql.Tx) error {
		missing = nil
		p, err := find(ctx, tx, was.Name)
		switch {
		case errors.Is(err, ErrNoSuchUser):
			return ErrRefused
		case err != nil:
			return err
		case p.ID != was.ID || p.Disabled || p.password != was.password: // changed while the hash was computed
			return ErrRefused
		}
		switch err := s.second(ctx, tx, p, c.Code); {
		case errors.Is(err, ErrCode):
			return err // it stays counted
		case errors.Is(err, ErrSecond):
			missing = err
			return tried.half(ctx, tx)
		case err != nil:
			return err
		}
		if newer != "" {
			if _, err := tx.ExecContext(ctx, "UPDATE users SET password = ? WHERE id = ?", newer, p.ID); err != nil {
				return err
			}
		}
		if err := tried.right(ctx, tx); err != nil {
			return err
		}
		return do(tx, p)
	})
	if err != nil {
		return err
	}
	return missing
}

// Enter begins a session of somebody whom an OIDC provider vouches for; the
// user is made or changed: name and role are what the provider says. Errors:
// ErrNameTaken when the name is another's; ErrRefused for who is disabled, or
// has no role there.
func (s *Store) Enter(ctx context.Context, issuer, subject, name string, role Role, c Credentials, l Limits) (cookie core.Secret, _ Identity, err error) {
	if issuer == "" || subject == "" {
		return core.Secret{}, Identity{}, fmt.Errorf("log in by a provider: it names no issuer or no subject")
	}
	if err := CheckName(name); err != nil {
		return core.Secret{}, Identity{}, fmt.Errorf("log in by %s: %w", issuer, err)
	}
	if _, err := ParseRole(string(role)); err != nil {
		return core.Secret{}, Identity{}, refusal(core.CodeUsage, fmt.Errorf("%w: %s gives %s no role", ErrRefused, issuer, name), "give the person a role at the provider, by the claim that backstay.yaml names")
	}
	var who Identity
	err = s.keep(ctx, "log in by a provider", func(tx *sql.Tx) error {
		p, err := scanPerson(tx.QueryRowContext(ctx, "SELECT "+personColumns+" FROM users u WHERE provider = ? AND subject = ?", issuer, subject))
		switch {
		case errors.Is(err, sql.ErrNoRows):
			p, err = insert(ctx, tx, person{User: User{Name: name, Role: role, Created: s.clock.Now(), Provider: issuer}, subject: subject})
			if errors.Is(err, ErrNameTaken) {
				return refusal(core.CodeUsage, fmt.Errorf("%w: %s, who does not come from %s as this person", ErrNameTaken, name, issuer), "an admin removes that user, or the person is given another name at the provider")
			}
		case err == nil && p.Disabled:
			return fmt.Errorf("%w: %s is disabled", ErrRefused, p.Name)
		case err == nil:
			p, err = s.follow(ctx, tx, p, name, role)
		}
		if err != nil {
			return err
		}
		cookie, who, err = s.beginSession(ctx, tx, p, c, l)
		return err
	})
	if err != nil {
		return core.Secret{}, Identity{}, err
	}
	return cookie, who, nil
}

// follow changes a person as the provider says. A name that somebody else has
// is not taken over: the person keeps the former one.
func (s *Store) follow(ctx context.Context, tx *sql.Tx, p person, name string, role Role) (person, error) {
	if name != p.Name {
		other, err := find(ctx, tx, name)
		if err != nil && !errors.Is(err, ErrNoSuchUser) {
			return person{}, err
		}
		if err == nil && other.ID != p.ID {
			name = p.Name
		}
		if fold(name) != p.folded {
			if err := unlock(ctx, tx, p.folded); err != nil {
				return person{}, err
			}
		}
	}
	if !role.May(p.Role) {
		if err := endSessions(ctx, tx, p.ID, 0); err != nil {
			return person{}, err
		}
	}
	if _, err := tx.ExecContext(ctx, "UPDATE users SET name = ?, folded = ?, role = ? WHERE id = ?", name, fold(name), string(role), p.ID); err != nil {
		return person{}, err
	}
	return find(ctx, tx, name)
}

// Prove asks for the password, and the second factor where there is one, anew.
// It changes the cookie. Errors as Login; ErrNobody when the session has ended;
// ErrElsewhere for people of a provider, who log in there again.
//
// Wrong attempts within sessions are counted apart from those at the login: who
// guesses there keeps nobody from work that is under way.
func (s *Store) Prove(ctx context.Context, i Identity, c Credentials) (cookie core.Secret, err error) {
	if i.Session == nil {
		return core.Secret{}, ErrNobody
	}
	tried := &attempt{}
	var p person
	err = s.write(ctx, "begin a proof", func(tx *sql.Tx) error {
		var err error
		if p, err = sessionOwner(ctx, tx, i); err != nil {
			return err
		}
		if p.password == "" {
			return noPassword(p.User)
		}
		tried.counters = []*counter{{name: nameKey(p.folded), address: withinSession, user: p.ID}}
		return tried.begin(ctx, tx, s.clock.Now(), s.most)
	})
	if err != nil {
		return core.Secret{}, err
	}
	newer, err := s.passwordOf(ctx, p, c.Password)
	if err != nil {
		return core.Secret{}, err
	}
	err = s.finish(ctx, "prove who it is", p, c, newer, tried, func(tx *sql.Tx, p person) error {
		if _, err := sessionOwner(ctx, tx, i); err != nil { // it ended meanwhile
			return err
		}
		cookie = newSecret()
		_, err := tx.ExecContext(ctx, "UPDATE sessions SET hash = ?, proved = ? WHERE id = ?", digest(cookie), s.clock.Now().UnixNano(), i.Session.ID)
		return err
	})
	if err != nil {
		return core.Secret{}, err
	}
	return cookie, nil
}

func sessionOwner(ctx context.Context, tx *sql.Tx, i Identity) (person, error) {
	p, err := scanPerson(tx.QueryRowContext(ctx, "SELECT "+personColumns+" FROM sessions s JOIN users u ON u.id = s.user WHERE s.id = ? AND u.id = ? AND u.disabled = 0", i.Session.ID, i.User.ID))
	if errors.Is(err, sql.ErrNoRows) {
		return person{}, ErrNobody
	}
	return p, err
}

// printable is text of a browser as it can be kept and shown.
func printable(text string, most int) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, shortened(text, most))
}
