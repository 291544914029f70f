package profile

import (
	"context"

	"github.com/backstay/backstay/internal/core"
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
	// ArchivePasswordIn returns it from the text of a configuration file, read
	// as text only; false when it is not there in plain text.
	ArchivePasswordIn(config []byte) (core.Secret, bool)
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
// conversions of % and a letter, in the application's time zone.
type Naming struct {
	Format   string
	Host     string
	Database string
	Subname  string
}

// Configured is what an archive's configuration file says.
type Configured struct {
	Settings map[string]string // for core.Application and the manifest; never nil
	Database string            // the name that it had there; "" unknown
	Prefix   string            // of the tables' names
	Problems []core.Warning    // settings that could not be read
}

// Found returns an application as Versions takes it, for a database that holds
// what an archive brought and belongs to no live application. root is where
// the application lies or will lie; database is the name of the scratch database.
func Found(p Profile, name, root, database string, c Configured) *core.Application {
	found := &core.Application{
		Name: name, Profile: p.Name(), Root: root, Versions: map[string]string{}, Settings: map[string]string{},
		Database: &core.DatabaseSource{Name: database, Prefix: c.Prefix}, Warnings: c.Problems,
	}
	for k, v := range c.Settings {
		found.Settings[k] = v
	}
	return found
}
