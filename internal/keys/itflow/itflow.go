// Package itflow opens what ITFlow encrypts: the master key, which every agent's
// and API key's password wraps, and the credentials under it. It is for the
// commands and for drills. It promises to take no password for right that is
// not, as far as what is stored can tell, and to put no secret into an error.
package itflow

import (
	"errors"
	"fmt"

	"github.com/backstay/backstay/internal/core"
)

// Errors of opening.
var (
	// ErrStale: ITFlow lets the user in with the password, and has the master key
	// under a former one. It happens where a password was reset by somebody who
	// was not logged in.
	ErrStale         = errors.New("the password is right, but the master key is stored under another one")
	ErrWrongPassword = errors.New("the password is wrong")
	ErrNoWrapping    = errors.New("there is no master key stored for it")
	ErrMalformed     = errors.New("it is not stored as ITFlow stores it")
	ErrOtherKey      = errors.New("the master key does not open it")
)

// MasterKey opens credentials. It prints as stars. Its zero value opens nothing.
type MasterKey struct{ secret core.Secret }

// NewMasterKey takes a master key as text. The error is ErrMalformed where it
// can be none.
func NewMasterKey(text core.Secret) (MasterKey, error) {
	if !isMasterKey(text.Reveal()) {
		return MasterKey{}, ErrMalformed
	}
	return MasterKey{text}, nil
}

// Secret returns the key, for the one place that must hand it on.
func (k MasterKey) Secret() core.Secret { return k.secret }

// Format prints stars whatever the verb: fmt does not ask a Secret that another
// type hides within.
func (k MasterKey) Format(f fmt.State, verb rune) { k.secret.Format(f, verb) }

// MarshalText gives stars, so that JSON holds no key.
func (k MasterKey) MarshalText() ([]byte, error) { return k.secret.MarshalText() }

// WrappingKind says whose password wraps a master key.
type WrappingKind string

// The kinds of wrappings.
const (
	OfUser   WrappingKind = "user"
	OfAPIKey WrappingKind = "api-key"
)

// Wrapping is the master key under the password of a user or an API key.
type Wrapping struct {
	Kind     WrappingKind
	ID       string
	Name     string // the user's e-mail address, the API key's name
	Stored   string // "": there is none
	Login    string // the user's password as ITFlow stores it, bcrypt; "" for API keys
	Archived bool   // the user cannot log in any more
}

// Field is a value under the master key.
type Field struct {
	Table, ID, Column string
	Name              string // of the credential
	Archived          bool
	Stored            string
}

// Failure is a field that does not open. It holds no secret.
type Failure struct {
	Table  string `json:"table"`
	ID     string `json:"id"`
	Column string `json:"column"`
	Name   string `json:"name"`
	Why    string `json:"why"` // in a sentence without a full stop
}

// Verdict is what came of opening all fields.
type Verdict struct {
	Credentials int64     `json:"credentials"` // rows that were looked at
	Fields      int64     `json:"fields"`      // values that were looked at, all but the empty ones
	Opened      int64     `json:"opened"`
	Failures    []Failure `json:"failures"` // the first MaxFailures of them
	Failed      int64     `json:"failed"`   // all of them
}

// MaxFailures is how many failures a verdict names.
const MaxFailures = 1000
