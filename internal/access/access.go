// Package access knows the people and scripts that may use the console: users
// with their roles and passwords, sessions, tokens and the one-time set-up
// link. It is for the console, the API and the commands that look after users.
// It promises that no password, session or token can be read back from what it
// keeps, that guessing is slowed down and then stopped, and that whoever can
// write the state folder can always let somebody in again.
package access

import (
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
	// RecoveryCodes are those of the second factor that were not used yet.
	RecoveryCodes int `json:"recovery_codes,omitempty"`
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
	if i.Session == nil {
		return i.Token != nil
	}
	age := now.Sub(i.Session.Proved)
	return age > -backwards && age < FreshFor // a clock that was set back makes nothing fresh
}

// FreshFor is how long a password that was given counts for what needs one.
const FreshFor = 5 * time.Minute

// What callers branch on.
var (
	ErrNobody     = errors.New("not logged in")                     // no session or token, or one that has ended
	ErrRefused    = errors.New("the name or password is wrong")     // whichever it is
	ErrSecond     = errors.New("the second factor is missing")      // the password was right
	ErrCode       = errors.New("the code is wrong or was used")     // it is ErrSecond too
	ErrElsewhere  = errors.New("the provider looks after that")     // a password or second factor of somebody who has none here
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

// Credentials are what somebody gives at the login.
type Credentials struct {
	Name     string
	Password core.Secret
	Code     string // of the second factor, or a recovery code; "": not given
	Address  netip.Addr
	Agent    string
}

// Change is what is to be different about a user; nil fields stay.
type Change struct {
	Role                  *Role
	Disabled              *bool
	Language, Theme, Zone *string
	Unlock                bool // forget wrong passwords
	DropTOTP              bool // forget the second factor
	// Force changes the last admin too: for those who can make another one
	// without logging in.
	Force bool
}

// Second is a second factor that is offered to a user and not yet in use.
type Second struct {
	Secret core.Secret // base32, to be typed
	URL    core.Secret // otpauth://
	PNG    []byte      // the URL as a QR code
}
