package profile

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/phpconf"
)

// Archiver is a profile whose application has backup archives of its own.
type Archiver interface {
	// ArchiveFormat is the name of their format: "itop", "itflow".
	ArchiveFormat() string
	// ArchiveNaming says how the app's own archives are called. An app whose
	// configuration cannot be read gets the application's own default, with the
	// error.
	ArchiveNaming(ctx context.Context, app App) (Naming, error)
	// FromConfig reads what a backup must know of the application from its
	// configuration file, as it lies in an archive: hostile, and read as text
	// only. environment is iTop's. An error says that nothing could be read;
	// what could not, of an otherwise readable file, is in Problems.
	FromConfig(content []byte, environment string) (Configured, error)
}

// ArchiveKeeper is a profile whose application encrypts its archives.
type ArchiveKeeper interface {
	// ArchivePassword returns the password from the live app's configuration;
	// empty when it has none.
	ArchivePassword(ctx context.Context, app App) (core.Secret, error)
	// ArchiveConfig is the configuration file, below the app's root, that has it.
	ArchiveConfig() string
	// ArchivePasswordIn returns it from the text of a configuration file, read
	// as text only; false when it is not there in plain text.
	ArchivePasswordIn(config []byte) (core.Secret, bool)
}

// ArchiveFormat is the format of the archives of p's application itself, "" for
// none.
func ArchiveFormat(p Profile) string {
	if a, ok := p.(Archiver); ok {
		return a.ArchiveFormat()
	}
	return ""
}

// Placeholders of Naming.Format. Those that iTop knows are iTop's.
const (
	NamingHost    = "__HOST__"    // Naming.Host
	NamingDB      = "__DB__"      // Naming.Database
	NamingSubname = "__SUBNAME__" // Naming.Subname
	NamingKind    = "__KIND__"    // "full" or "database"
	NamingRandom  = "__RANDOM__"  // 32 random characters of A-Za-z0-9_-
)

// Naming is how an application calls its archives: Format is a name without
// its extension, in which placeholders are replaced first and then strftime's
// conversions of % and a letter, in the application's time zone. Nothing in it
// has been looked at: what comes out may hold slashes and worse.
type Naming struct {
	Format   string
	Host     string // as the configuration says it: "p:db:3307"
	Database string
	Subname  string
	TimeZone string // "Europe/Paris"; "": the machine's
}

// Configured is what an archive's configuration file says.
type Configured struct {
	Settings map[string]string // for core.Application and the manifest; never nil
	Database string            // the name that it had there; "" unknown
	Prefix   string            // of the tables' names
	Problems []core.Warning    // settings that could not be read
}

// maxSetting is how many bytes a setting may have that goes into a manifest.
const maxSetting = 1000

// Setting returns the text of a value of a configuration file that came in an
// archive. ok is false when it is not set, or no plain text that can stand in
// a manifest, which is then in Problems; what names it there.
func (c *Configured) Setting(v phpconf.Value, set bool, what string) (text string, ok bool) {
	if !set || v.IsLiteral() && v.Kind() == phpconf.Null {
		return "", false
	}
	text = strings.TrimSpace(v.Text())
	switch {
	case !v.IsLiteral():
		c.problem(v, what, v.Why())
	case v.Kind() == phpconf.Array:
		c.problem(v, what, "it is an array")
	case len(text) > maxSetting || !utf8.ValidString(text) || strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0:
		c.problem(v, what, "it is too long or holds control characters")
	default:
		return text, true
	}
	return "", false
}

func (c *Configured) problem(v phpconf.Value, what, why string) {
	c.Problems = append(c.Problems, core.Warning{
		Code: "setting", Object: what, Message: fmt.Sprintf("it could not be read from the configuration in the archive (line %d: %s)", v.Line(), why),
	})
}

// maxIdentifier is how many characters the name of a database or table has.
const maxIdentifier = 64

// SetDatabase sets name and prefix, as far as a server takes them.
func (c *Configured) SetDatabase(name, prefix string) {
	if utf8.RuneCountInString(name) <= maxIdentifier {
		c.Database = name
	}
	if utf8.RuneCountInString(prefix) < maxIdentifier {
		c.Prefix = prefix
	}
}

// Found returns an application as Versions takes it, for a database that holds
// what an archive brought and belongs to no live application. root is where
// the application lies or will lie; database is the name of the scratch database.
func Found(p Profile, name, root, database string, c Configured) *core.Application {
	found := &core.Application{
		Name: name, Profile: p.Name(), Root: root, Versions: map[string]string{}, Settings: map[string]string{},
		Database: &core.DatabaseSource{Name: database, Prefix: c.Prefix}, Warnings: c.Problems,
	}
	maps.Copy(found.Settings, c.Settings)
	return found
}
