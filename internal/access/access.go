// Package access knows the people and scripts that may use the console: users
// with their roles and passwords, sessions, tokens and the one-time set-up
// link. It is for the console, the API and the commands that look after users.
// It promises that no password, session or token can be read back from what it
// keeps, that guessing is slowed down and then stopped, and that whoever can
// write the state folder can always let somebody in again.
package access

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Role says what somebody may do. A higher role may do all that a lower may.
type Role string

// The roles, the lowest first. Anyone is nobody's role: it is what routes need
// that are open before the login.
const (
	Anyone   Role = ""
	Viewer   Role = "viewer"   // sees state, runs and what backups hold in names and numbers; no content of files
	Operator Role = "operator" // backs up, verifies, checks, pins, cancels, downloads
	Admin    Role = "admin"    // restores, deletes, and looks after settings, keys, users and the audit log
)

// Roles lists the roles that people can have, the lowest first.
func Roles() []Role { return []Role{Viewer, Operator, Admin} }

// May says whether somebody with role r may do what needs need.
func (r Role) May(need Role) bool { return rank(r) >= rank(need) }

func rank(r Role) int {
	switch r {
	case Viewer:
		return 1
	case Operator:
		return 2
	case Admin:
		return 3
	}
	return 0
}

// User is a person who may log in.
type User struct {
	ID       int64     `json:"id"`
	Name     string    `json:"name"` // what is typed at the login; unique, whatever the case
	Role     Role      `json:"role"`
	Disabled bool      `json:"disabled"`
	Created  time.Time `json:"created"`
	// LastLogin is when the last session began; nil: never.
	LastLogin *time.Time `json:"last_login"`
	// LockedUntil is set while too many wrong passwords keep the user out.
	LockedUntil *time.Time `json:"locked_until"`
	TOTP        bool       `json:"totp"`               // a second factor is asked for
	Password    bool       `json:"password"`           // there is one; people of an OIDC provider may have none
	Provider    string     `json:"provider,omitempty"` // the OIDC issuer that the user comes from
	Language    string     `json:"language,omitempty"` // "en", "de", "fr"; "": as the browser asks for
	Theme       string     `json:"theme,omitempty"`    // "light", "dark"; "": as the browser asks for
	Zone        string     `json:"zone,omitempty"`     // of times that are shown; "": the machine's
}

// Session is a login.
type Session struct {
	ID      int64     `json:"id"`
	Began   time.Time `json:"began"`
	Seen    time.Time `json:"seen"`    // to the minute
	Ends    time.Time `json:"ends"`    // whatever is done until then
	Proved  time.Time `json:"proved"`  // when the password, or the provider, was last asked
	Address string    `json:"address"` // that it began from
	Agent   string    `json:"agent,omitempty"`
}

// Token lets a script in, as the user whose it is, with at most its own role.
type Token struct {
	ID      int64      `json:"id"`
	Name    string     `json:"name"`
	User    string     `json:"user"`
	Role    Role       `json:"role"`
	Created time.Time  `json:"created"`
	Expires *time.Time `json:"expires"`   // nil: never
	Used    *time.Time `json:"last_used"` // nil: never
	Hint    string     `json:"hint"`      // its first letters, to know it by
}

// Identity is who asks.
type Identity struct {
	User    User
	Role    Role     // what counts: a token may have less than its user
	Session *Session // nil for a token
	Token   *Token   // nil for a session
}

// By is the identity as the audit log and runs name it.
func (i Identity) By() string {
	if i.Token != nil {
		return i.User.Name + " (token " + i.Token.Name + ")"
	}
	return i.User.Name
}

// Fresh says whether the person proved who they are a moment ago, as what can
// do harm needs. A token is as fresh as it ever will be: it was made for this.
func (i Identity) Fresh(now time.Time) bool {
	return i.Token != nil || i.Session != nil && now.Sub(i.Session.Proved) < FreshFor
}

// FreshFor is how long a password that was given counts for what needs one.
const FreshFor = 5 * time.Minute

// What callers branch on.
var (
	ErrNobody     = errors.New("not logged in")                     // no session or token, or one that has ended
	ErrRefused    = errors.New("the name or password is wrong")     // whichever it is
	ErrSecond     = errors.New("the second factor is missing")      // the password was right
	ErrSlowDown   = errors.New("too many attempts")                 // a RetryAfter is in the chain
	ErrSetUpDone  = errors.New("the set-up link was used")          // or there are users already
	ErrLastAdmin  = errors.New("the last admin must remain")        // of users who can log in
	ErrWeak       = errors.New("the password is too easy")          // its reason is in the chain
	ErrNameTaken  = errors.New("there is a user of that name")      //
	ErrNoSuchUser = errors.New("there is no user of that name")     //
	ErrNoSuchItem = errors.New("there is no such session or token") //
)

// RetryAfter is the error of an attempt that came too soon; it is ErrSlowDown.
type RetryAfter struct{ Wait time.Duration }

// Error says how long to wait.
func (e *RetryAfter) Error() string {
	return "too many attempts: wait " + e.Wait.Round(time.Second).String()
}

// Is makes it ErrSlowDown.
func (e *RetryAfter) Is(target error) bool { return target == ErrSlowDown }

// Limits are how long a session lasts.
type Limits struct {
	Idle     time.Duration // without a request; 0: 30 minutes
	Absolute time.Duration // whatever is done; 0: 12 hours
}

// Store is the open database of users. Safe for concurrent use, by several
// processes too: the commands change what the service reads.
type Store struct{}

// FileName is the database's name in the state folder.
const FileName = "access.db"

// Open opens the database in the folder dir, and makes it where it is missing.
// One that is damaged is an error with a hint: nobody is let in by a new one.
func Open(ctx context.Context, dir string, clock core.Clock) (*Store, error) {
	return nil, errUnfinished
}

// Close closes it.
func (s *Store) Close() error { return errUnfinished }

// Credentials are what somebody gives at the login.
type Credentials struct {
	Name     string
	Password core.Secret
	Code     string // of the second factor, or a recovery code; "": not given
	Address  netip.Addr
	Agent    string
}

// Offer makes the secret of a set-up link, in place of one made before, when
// there is no user; "" when there are users.
func (s *Store) Offer(ctx context.Context) (secret core.Secret, err error) {
	return core.Secret{}, errUnfinished
}

// SetUp uses the link: it makes the first admin and logs them in.
func (s *Store) SetUp(ctx context.Context, secret core.Secret, c Credentials, l Limits) (cookie core.Secret, _ Identity, err error) {
	return core.Secret{}, Identity{}, errUnfinished
}

// Login begins a session. Errors: ErrRefused, ErrSecond, ErrSlowDown.
func (s *Store) Login(ctx context.Context, c Credentials, l Limits) (cookie core.Secret, _ Identity, err error) {
	return core.Secret{}, Identity{}, errUnfinished
}

// Enter begins a session of somebody whom an OIDC provider vouches for; the
// user is made or changed: name and role are what the provider says.
func (s *Store) Enter(ctx context.Context, issuer, subject, name string, role Role, c Credentials, l Limits) (cookie core.Secret, _ Identity, err error) {
	return core.Secret{}, Identity{}, errUnfinished
}

// BySession finds who a cookie belongs to, and notes that they were seen. ErrNobody.
func (s *Store) BySession(ctx context.Context, cookie core.Secret, l Limits) (Identity, error) {
	return Identity{}, errUnfinished
}

// ByToken finds who a token belongs to. ErrNobody, ErrSlowDown.
func (s *Store) ByToken(ctx context.Context, token core.Secret, from netip.Addr) (Identity, error) {
	return Identity{}, errUnfinished
}

// Prove asks for the password, and the second factor where there is one, anew.
// It changes the cookie.
func (s *Store) Prove(ctx context.Context, i Identity, c Credentials) (cookie core.Secret, err error) {
	return core.Secret{}, errUnfinished
}

// Logout ends a session of a user; 0: all of them but keep (0: none is kept).
func (s *Store) Logout(ctx context.Context, user, session, keep int64) error { return errUnfinished }

// Sessions lists a user's sessions, the last seen first.
func (s *Store) Sessions(ctx context.Context, user int64) ([]Session, error) {
	return nil, errUnfinished
}

// Users lists all users, by name.
func (s *Store) Users(ctx context.Context) ([]User, error) { return nil, errUnfinished }

// User finds one by name.
func (s *Store) User(ctx context.Context, name string) (User, error) { return User{}, errUnfinished }

// AddUser makes a user.
func (s *Store) AddUser(ctx context.Context, name string, role Role, password core.Secret) (User, error) {
	return User{}, errUnfinished
}

// Change is what is to be different about a user; nil fields stay.
type Change struct {
	Role                  *Role
	Disabled              *bool
	Language, Theme, Zone *string
	Unlock                bool // forget wrong passwords
	DropTOTP              bool // forget the second factor
}

// ChangeUser changes a user. A role that is lowered, and being disabled, ends their sessions.
func (s *Store) ChangeUser(ctx context.Context, name string, c Change) (User, error) {
	return User{}, errUnfinished
}

// SetPassword changes a password and ends the user's sessions but keep.
func (s *Store) SetPassword(ctx context.Context, name string, password core.Secret, keep int64) error {
	return errUnfinished
}

// RemoveUser removes a user with their sessions and tokens.
func (s *Store) RemoveUser(ctx context.Context, name string) error { return errUnfinished }

// Second is a second factor that is offered to a user and not yet in use.
type Second struct {
	Secret core.Secret // base32, to be typed
	URL    core.Secret // otpauth://
	PNG    []byte      // the URL as a QR code
}

// OfferSecond makes a second factor for a user, which counts from ConfirmSecond on.
func (s *Store) OfferSecond(ctx context.Context, name string) (Second, error) {
	return Second{}, errUnfinished
}

// ConfirmSecond puts the offered factor to use once code shows that the person
// has it, and returns recovery codes, each good for one login.
func (s *Store) ConfirmSecond(ctx context.Context, name, code string) (recovery []core.Secret, err error) {
	return nil, errUnfinished
}

// AddToken makes a token of a user. expires 0 means never. The secret is never shown again.
func (s *Store) AddToken(ctx context.Context, user, name string, role Role, expires time.Duration) (core.Secret, Token, error) {
	return core.Secret{}, Token{}, errUnfinished
}

// Tokens lists a user's tokens, or with "" all.
func (s *Store) Tokens(ctx context.Context, user string) ([]Token, error) { return nil, errUnfinished }

// RemoveToken removes a token of a user, or with "" anybody's.
func (s *Store) RemoveToken(ctx context.Context, user string, id int64) error { return errUnfinished }

var errUnfinished = errors.New("not finished")
