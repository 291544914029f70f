// Package core holds the nouns of backstay: what an app, a component, a backup
// and its manifest are, and the errors, secrets, clock and progress that every
// other package speaks in. It is for all packages of this module. It promises
// to import the standard library only and to do no input or output itself.
package core

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Component names one part of a backup. Each is a folder at the root of the
// backup (docs/spec/backup-layout.md).
type Component string

// The components, in the order in which a restore puts them back.
const (
	ComponentCode     Component = "code"     // the application as installed, without caches and logs
	ComponentConfig   Component = "config"   // configuration files
	ComponentDatabase Component = "database" // schema objects and rows
	ComponentFiles    Component = "files"    // what users put in
	ComponentSecrets  Component = "secrets"  // reserved: sealed, not written by this version
)

// Components lists the components that a backup can hold, in restore order.
func Components() []Component {
	return []Component{ComponentCode, ComponentConfig, ComponentDatabase, ComponentFiles}
}

// Some lists the first n of names, and says how many more there are.
func Some(names []string, n int) string {
	list := strings.Join(names[:min(n, len(names))], ", ")
	if more := len(names) - n; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}

// ParseComponent returns the component called s. The error is a usage error.
func ParseComponent(s string) (Component, error) {
	for _, c := range Components() {
		if string(c) == s {
			return c, nil
		}
	}
	return "", &Error{
		Code: CodeUsage, Op: "read component", Message: fmt.Sprintf("there is no component %q", s),
		Hint: "components are config, database, files and code",
	}
}

var appName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// ValidAppName says whether s may name an app: lower-case letters, digits and
// dashes, at most 63, not beginning with a dash.
func ValidAppName(s string) bool { return appName.MatchString(s) }

// Clock tells the time. Code takes one instead of calling time.Now, so that
// tests can choose the time.
type Clock interface {
	Now() time.Time
}

// SystemClock is the machine's clock.
type SystemClock struct{}

// Now returns the current time.
func (SystemClock) Now() time.Time { return time.Now() }

var _ Clock = SystemClock{}

// Secret is a password or key. It prints as stars wherever it is formatted, so
// that it reaches no log, error or JSON by accident; Reveal gives the text.
type Secret struct{ text string }

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text: text} }

// Reveal returns the text, for the one place that must hand it on.
func (s Secret) Reveal() string { return s.text }

// Empty says whether no secret was given.
func (s Secret) Empty() bool { return s.text == "" }

func (s Secret) redacted() string {
	if s.text == "" {
		return ""
	}
	return "*****"
}

// String returns stars, or nothing for an empty secret.
func (s Secret) String() string { return s.redacted() }

// GoString returns stars, or nothing for an empty secret.
func (s Secret) GoString() string { return s.redacted() }

// Format prints stars whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.redacted()) }

// MarshalText gives stars, so that JSON and YAML hold no secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.redacted()), nil }

// Progress hears how long work goes on. Its methods are safe for concurrent
// use and return at once.
type Progress interface {
	// Stage begins a stage of the work. total is its expected size in bytes,
	// 0 when it is not known.
	Stage(name string, total int64)
	// Item says what is being worked on now: a table, a file.
	Item(name string)
	// Add says that n more bytes of the stage are done.
	Add(n int64)
}

// NoProgress hears nothing.
type NoProgress struct{}

// Stage does nothing.
func (NoProgress) Stage(string, int64) {}

// Item does nothing.
func (NoProgress) Item(string) {}

// Add does nothing.
func (NoProgress) Add(int64) {}

var _ Progress = NoProgress{}
