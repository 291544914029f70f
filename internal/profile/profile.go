// Package profile is what backstay knows of kinds of applications. A profile
// finds an installation, reads its configuration, says which files belong to
// which component and how to reach the database, and knows the application's
// own modes and locks. It is for the engine and for detect. Profiles promise to
// change nothing but in ReadOnly and Maintenance, to treat what they read as hostile, and that
// a path belongs to one component at most.
package profile

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/backstay/backstay/internal/core"
)

// Profile knows one kind of application. Implementations are immutable and safe
// for concurrent use; package profiletest holds the tests that all must pass.
type Profile interface {
	// Name is what `profile:` in backstay.yaml says.
	Name() string
	// Detect says whether an installation's root folder is at root. It MUST be
	// cheap, MUST NOT fail on a folder that is something else or cannot be read,
	// and reads no secrets. The generic profile never detects anything.
	Detect(root string) (Installation, bool)
	// Discover finds out all that can be known without the database. What
	// cannot be understood is a core.Error that names file, setting and what to
	// write where; what a backup can do without is a warning in the result.
	Discover(ctx context.Context, app App) (*core.Application, error)
	// Versions adds what only the database tells (versions, modules) to what
	// Discover returned. What is missing there is a warning, not an error: a
	// database of another kind must still be saved. It is not called for
	// applications without a database.
	Versions(ctx context.Context, q Querier, found *core.Application) error
	// Busy returns an error with core.CodeLocked while the application itself
	// restores or replaces the data that a backup would read. q is nil when
	// there is no database.
	Busy(ctx context.Context, q Querier, found *core.Application) error
	// ReadOnly puts the application into its read-only mode and waits until
	// nothing writes any more. leave is never nil, and MUST be called on every
	// way out, also after an error; it undoes what was done and nothing else,
	// may be called more than once, and works after ctx has ended. A profile
	// without such a mode returns an error with core.CodeUnsupported. q may be
	// nil.
	ReadOnly(ctx context.Context, q Querier, app App, found *core.Application) (leave func() error, err error)
	Restorer
}

// Querier asks the application's database. Names in statements are already
// quoted. A NULL is nil.
type Querier interface {
	Query(ctx context.Context, statement string) ([][]*string, error)
}

// App is what backstay.yaml says of an app.
type App struct {
	Name        string
	Root        string // absolute; "" only for the generic profile
	Environment string // iTop's; "": production
	Database    Database
	Files       []Files  // for the files component, beyond what the profile takes
	Config      []string // for the config component: paths, absolute or relative to Root
	Exclude     []string // globs relative to Root
	Hooks       Hooks
	URL         string // where the application answers; "": what the profile finds
	// PasswordEnv names the environment variables that hold passwords of any app
	// or repository of the configuration: hooks do not get them.
	PasswordEnv []string
}

// Database is what is given about the database. Fields that are "" or 0 are not
// given; for them the profile takes what the application's configuration says.
type Database struct {
	Host     string
	Port     int
	Socket   string
	User     string
	Password core.Secret
	Name     string
	Prefix   string
	TLS      core.DatabaseTLS
}

// Files is a folder or file to take.
type Files struct {
	Path    string   // absolute, or relative to the app's root
	Exclude []string // globs relative to Path
}

// Hooks are command lines for /bin/sh.
type Hooks struct {
	Before      []string
	After       []string
	ReadonlyOn  []string
	ReadonlyOff []string

	MaintenanceOn  []string // keeps users out during the switch of a restore
	MaintenanceOff []string // undoes MaintenanceOn; must be harmless when there is nothing to undo
	AfterRestore   []string // makes the application work after a restore
}

// Installation is an application that was found on this machine.
type Installation struct {
	Profile     string
	Root        string // absolute
	Name        string // a valid app name to suggest
	Environment string // iTop's, when it is not production
	Version     string // of the application; "" when it could not be read
}

// Registry holds the profiles by name. It is built once by the caller
// (NewRegistry) and then only read.
type Registry map[string]Profile

// NewRegistry returns a registry of the given profiles.
func NewRegistry(profiles ...Profile) Registry {
	r := Registry{}
	for _, p := range profiles {
		r[p.Name()] = p
	}
	return r
}

// Names returns the names of the profiles, sorted.
func (r Registry) Names() []string {
	names := make([]string, 0, len(r))
	for name := range r {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Get returns the profile called name.
func (r Registry) Get(name string) (Profile, error) {
	if p, ok := r[name]; ok {
		return p, nil
	}
	return nil, &core.Error{
		Code: core.CodeConfig, Op: "choose profile", Message: fmt.Sprintf("there is no profile %q", name),
		Hint: "write profile: " + strings.Join(r.Names(), ", profile: ") + " in backstay.yaml",
	}
}

// QuoteName returns a table or column name as MySQL and MariaDB take it in a
// statement.
func QuoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// Text returns a value of a row, "" for NULL and for what is not there.
func Text(row []*string, column int) string {
	if column >= len(row) || row[column] == nil {
		return ""
	}
	return *row[column]
}

// Warn adds a warning to what was found.
func Warn(found *core.Application, code, object, format string, args ...any) {
	found.Warnings = append(found.Warnings, core.Warning{Code: code, Object: object, Message: fmt.Sprintf(format, args...)})
}

// Note adds a decision worth knowing.
func Note(found *core.Application, format string, args ...any) {
	found.Notes = append(found.Notes, fmt.Sprintf(format, args...))
}

// maxVersion is how many bytes a version may have that goes into a manifest.
const maxVersion = 100

// ValidVersion says whether s, which the application gave, can stand as a
// version: not empty, short, on one line and printable.
func ValidVersion(s string) bool {
	return s != "" && len(s) <= maxVersion && utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}
