package access

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
)

var validName = regexp.MustCompile(`^[A-Za-z0-9._@+-]{1,64}$`)

// CheckName says whether a user may be called so: 1 to 64 letters, digits and
// . _ - @ +, of ASCII, so that no two look alike.
func CheckName(name string) error {
	// Dots alone are a part of an address that browsers take away, and a dash
	// begins a flag.
	if validName.MatchString(name) && strings.Trim(name, ".") != "" && !strings.HasPrefix(name, "-") {
		return nil
	}
	return &core.Error{Code: core.CodeUsage, Message: fmt.Sprintf("%q cannot be a user's name", shortened(name, 80)), Hint: "take 1 to 64 of a-z, A-Z, 0-9 and . _ - @ +, not dots alone, and no dash at the beginning"}
}

// ParseRole reads the name of a role that people can have.
func ParseRole(text string) (Role, error) {
	for _, r := range Roles() {
		if string(r) == text {
			return r, nil
		}
	}
	return Anyone, &core.Error{Code: core.CodeUsage, Message: fmt.Sprintf("there is no role %q", shortened(text, 80)), Hint: "roles are viewer, operator and admin"}
}

// fold is what names are compared by.
func fold(name string) string { return strings.ToLower(name) }

// shortened keeps what somebody typed from filling a message or the database.
func shortened(text string, most int) string {
	text = strings.ToValidUTF8(text, "?")
	runes := []rune(text)
	if len(runes) > most {
		text = string(runes[:most])
	}
	return text
}

// person is a user with what nobody else sees.
type person struct {
	User
	folded   string
	password string // its hash; "": none
	subject  string
	totp     string // the secret; "": none
	step     int64  // the last that a code was used of
	offered  string
	offerAt  *time.Time
}

const personColumns = `u.id, u.name, u.folded, u.role, u.disabled, u.created, u.last_login, u.password, u.provider, u.subject, u.language, u.theme, u.zone,
	u.totp, u.totp_step, u.offered, u.offered_at, (SELECT count(*) FROM recovery WHERE user = u.id)`

type scanner interface{ Scan(dest ...any) error }

// scanPerson reads personColumns, and what into takes after them.
func scanPerson(row scanner, into ...any) (person, error) {
	var p person
	var created int64
	var login, offered sql.NullInt64
	err := row.Scan(append([]any{
		&p.ID, &p.Name, &p.folded, &p.Role, &p.Disabled, &created, &login, &p.password, &p.Provider, &p.subject, &p.Language, &p.Theme, &p.Zone,
		&p.totp, &p.step, &p.offered, &offered, &p.RecoveryCodes,
	}, into...)...)
	p.Created, p.LastLogin, p.offerAt = timeOf(created), optionalTime(login), optionalTime(offered)
	p.TOTP, p.Password = p.totp != "", p.password != ""
	return p, err
}

func timeOf(ns int64) time.Time { return time.Unix(0, ns).UTC() }

func optionalTime(ns sql.NullInt64) *time.Time {
	if !ns.Valid {
		return nil
	}
	t := timeOf(ns.Int64)
	return &t
}

func find(ctx context.Context, q querier, name string) (person, error) {
	p, err := scanPerson(q.QueryRowContext(ctx, "SELECT "+personColumns+" FROM users u WHERE folded = ?", fold(name)))
	if errors.Is(err, sql.ErrNoRows) {
		return person{}, &core.Error{Code: core.CodeNotFound, Err: fmt.Errorf("%w: %q", ErrNoSuchUser, shortened(name, 80)), Hint: "backstay user list shows those that there are"}
	}
	return p, err
}

// locked reads until when wrong passwords keep users out, by the key of their name.
func locked(ctx context.Context, pool *sql.DB, now time.Time) (until map[string]time.Time, err error) {
	rows, err := pool.QueryContext(ctx, "SELECT name, max(until) FROM attempts WHERE user <> 0 AND until > ? AND until <= ? GROUP BY name", now.UnixNano(), now.Add(longestWait).UnixNano())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	until = map[string]time.Time{}
	for rows.Next() {
		var name []byte
		var ns int64
		if err := rows.Scan(&name, &ns); err != nil {
			return nil, err
		}
		until[string(name)] = timeOf(ns)
	}
	return until, rows.Err()
}

// Users lists all users, by name.
func (s *Store) Users(ctx context.Context) (users []User, err error) {
	users = []User{}
	err = s.read(ctx, "list users", func(pool *sql.DB) (err error) {
		until, err := locked(ctx, pool, s.clock.Now())
		if err != nil {
			return err
		}
		rows, err := pool.QueryContext(ctx, "SELECT "+personColumns+" FROM users u ORDER BY u.folded")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		for rows.Next() {
			p, err := scanPerson(rows)
			if err != nil {
				return err
			}
			if t, ok := until[string(nameKey(p.folded))]; ok {
				p.LockedUntil = &t
			}
			users = append(users, p.User)
		}
		return rows.Err()
	})
	return users, err
}

// User finds one by name, whatever its case. ErrNoSuchUser.
func (s *Store) User(ctx context.Context, name string) (User, error) {
	var found User
	err := s.read(ctx, "look for a user", func(pool *sql.DB) error {
		p, err := find(ctx, pool, name)
		if err != nil {
			return err
		}
		until, err := locked(ctx, pool, s.clock.Now())
		if t, ok := until[string(nameKey(p.folded))]; ok {
			p.LockedUntil = &t
		}
		found = p.User
		return err
	})
	return found, err
}

// AddUser makes a user. Errors: ErrNameTaken, ErrWeak; core.CodeUsage for a name
// or role that there cannot be.
func (s *Store) AddUser(ctx context.Context, name string, role Role, password core.Secret) (User, error) {
	if _, err := s.User(ctx, name); err == nil {
		return User{}, taken(name) // before anybody waits for a hash
	}
	hash, err := s.newPassword(ctx, name, role, password)
	if err != nil {
		return User{}, err
	}
	var added User
	err = s.keep(ctx, "add user", func(tx *sql.Tx) error {
		p, err := insert(ctx, tx, person{User: User{Name: name, Role: role, Created: s.clock.Now()}, password: hash})
		added = p.User
		return err
	})
	if err != nil {
		return User{}, err
	}
	return added, nil
}

// newPassword checks what a new user is to be, and makes the hash.
func (s *Store) newPassword(ctx context.Context, name string, role Role, password core.Secret) (hash string, err error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	if _, err := ParseRole(string(role)); err != nil {
		return "", err
	}
	if err := CheckPassword(name, password); err != nil {
		return "", err
	}
	return s.hash(ctx, password)
}

func taken(name string) error {
	return refusal(core.CodeUsage, fmt.Errorf("%w: %s", ErrNameTaken, name), "take another name; upper and lower case count as the same")
}

func insert(ctx context.Context, tx *sql.Tx, p person) (person, error) {
	if _, err := find(ctx, tx, p.Name); err == nil {
		return person{}, taken(p.Name)
	} else if !errors.Is(err, ErrNoSuchUser) {
		return person{}, err
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO users (name, folded, role, created, password, provider, subject) VALUES (?, ?, ?, ?, ?, ?, ?)",
		p.Name, fold(p.Name), string(p.Role), p.Created.UnixNano(), p.password, p.Provider, p.subject)
	if err != nil {
		return person{}, err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM offer"); err != nil { // it would be refused from now on
		return person{}, err
	}
	return find(ctx, tx, p.Name)
}

// ChangeUser changes a user. A role that is lowered, and being disabled, ends
// their sessions. Errors: ErrNoSuchUser, ErrLastAdmin; core.CodeUsage for values
// that there cannot be.
func (s *Store) ChangeUser(ctx context.Context, name string, c Change) (User, error) {
	err := s.keep(ctx, "change user", func(tx *sql.Tx) error {
		p, err := find(ctx, tx, name)
		if err != nil {
			return err
		}
		if err := s.change(ctx, tx, p, c); err != nil || c.Force {
			return err
		}
		return adminRemains(ctx, tx, p)
	})
	if err != nil {
		return User{}, err
	}
	return s.User(ctx, name)
}

func (s *Store) change(ctx context.Context, tx *sql.Tx, p person, c Change) error {
	ends := false
	set := func(column string, value any) error {
		_, err := tx.ExecContext(ctx, "UPDATE users SET "+column+" = ? WHERE id = ?", value, p.ID)
		return err
	}
	if c.Role != nil && *c.Role != p.Role {
		if _, err := ParseRole(string(*c.Role)); err != nil {
			return err
		}
		if p.Provider != "" {
			return &core.Error{Code: core.CodeUsage, Message: p.Name + " comes from " + p.Provider + ", which says the role at each login", Hint: "change it there; backstay user disable " + p.Name + " keeps them out"}
		}
		ends = ends || !c.Role.May(p.Role)
		if err := set("role", string(*c.Role)); err != nil {
			return err
		}
	}
	if c.Disabled != nil {
		ends = ends || *c.Disabled
		if err := set("disabled", *c.Disabled); err != nil {
			return err
		}
	}
	for _, preference := range []struct {
		column string
		value  *string
		valid  func(string) bool
	}{{"language", c.Language, knownLanguage}, {"theme", c.Theme, knownTheme}, {"zone", c.Zone, knownZone}} {
		if preference.value == nil {
			continue
		}
		if !preference.valid(*preference.value) {
			return &core.Error{Code: core.CodeUsage, Message: fmt.Sprintf("there is no %s %q", preference.column, shortened(*preference.value, 80))}
		}
		if err := set(preference.column, *preference.value); err != nil {
			return err
		}
	}
	if c.Unlock {
		if err := unlock(ctx, tx, p.folded); err != nil {
			return err
		}
	}
	if c.DropTOTP {
		if err := dropSecond(ctx, tx, p.ID); err != nil {
			return err
		}
	}
	if !ends {
		return nil
	}
	return endSessions(ctx, tx, p.ID, 0)
}

func knownLanguage(s string) bool { return s == "" || s == "en" || s == "de" || s == "fr" }

func knownTheme(s string) bool { return s == "" || s == "light" || s == "dark" }

func knownZone(s string) bool {
	if len(s) > 100 {
		return false
	}
	_, err := time.LoadLocation(s)
	return err == nil && s != "Local"
}

// adminRemains says whether somebody is left who can log in and may do all,
// where was could: ErrLastAdmin.
func adminRemains(ctx context.Context, tx *sql.Tx, was person) error {
	if was.Role != Admin || was.Disabled {
		return nil
	}
	var left bool
	err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM users WHERE role = ? AND disabled = 0 AND (password <> '' OR provider <> ''))", string(Admin)).Scan(&left)
	if err != nil || left {
		return err
	}
	return refusal(core.CodeDecision, fmt.Errorf("%w: %s", ErrLastAdmin, was.Name), "make another one first: backstay user add NAME --role admin")
}

// SetPassword changes a password, forgets what was typed wrong before, and ends
// the user's sessions but keep (0: all). Errors: ErrNoSuchUser, ErrWeak;
// core.CodeUsage for people of a provider, who have none here.
func (s *Store) SetPassword(ctx context.Context, name string, password core.Secret, keep int64) error {
	user, err := s.User(ctx, name)
	if err != nil {
		return err
	}
	if user.Provider != "" {
		return noPassword(user)
	}
	if err := CheckPassword(user.Name, password); err != nil {
		return err
	}
	hash, err := s.hash(ctx, password)
	if err != nil {
		return err
	}
	return s.keep(ctx, "set password", func(tx *sql.Tx) error {
		p, err := find(ctx, tx, name)
		if err != nil {
			return err
		}
		if p.Provider != "" {
			return noPassword(p.User)
		}
		if _, err := tx.ExecContext(ctx, "UPDATE users SET password = ? WHERE id = ?", hash, p.ID); err != nil {
			return err
		}
		if err := unlock(ctx, tx, p.folded); err != nil {
			return err
		}
		return endSessions(ctx, tx, p.ID, keep)
	})
}

func noPassword(u User) error {
	return refusal(core.CodeUsage, fmt.Errorf("%w: %s comes from %s", ErrElsewhere, u.Name, u.Provider), "log in there, and change the password and the second factor there")
}

// RemoveUser removes a user with their sessions and tokens. Errors:
// ErrNoSuchUser, ErrLastAdmin.
func (s *Store) RemoveUser(ctx context.Context, name string) error {
	return s.remove(ctx, name, false)
}

// ForceRemoveUser is RemoveUser, of the last admin too: for those who can make
// another one without logging in.
func (s *Store) ForceRemoveUser(ctx context.Context, name string) error {
	return s.remove(ctx, name, true)
}

func (s *Store) remove(ctx context.Context, name string, force bool) error {
	return s.keep(ctx, "remove user", func(tx *sql.Tx) error {
		p, err := find(ctx, tx, name)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM users WHERE id = ?", p.ID); err != nil {
			return err
		}
		if err := unlock(ctx, tx, p.folded); err != nil || force {
			return err
		}
		return adminRemains(ctx, tx, p)
	})
}
