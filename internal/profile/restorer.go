package profile

import (
	"context"

	"github.com/backstay/backstay/internal/core"
)

// Restorer is what a restore into a live application, or a copy of one, needs
// from its profile.
type Restorer interface {
	// Maintenance keeps users and the application's own jobs out, for the short
	// time of the switch. It waits for a running job to end first, while users
	// still work; when that takes too long the error has core.CodeLocked, and
	// opt.WithoutCron goes on all the same, with a warning in found. leave is
	// never nil, and MUST be called on every way out, also after an error; it
	// undoes what was done and nothing else, may be called more than once, and
	// works after ctx has ended. A maintenance that a killed restore left is
	// taken over; one that somebody else made stays. Where nothing keeps users
	// out, there is a note in found. q's connection MUST stay open until leave
	// has been called, and MUST NOT be used by others while Maintenance or
	// leave run: named locks live with it. q is nil where there is no database.
	Maintenance(ctx context.Context, q Querier, app App, found *core.Application, opt MaintenanceOptions) (leave func() error, err error)
	// LiftMaintenance ends a maintenance that a killed restore left; lifted
	// says whether there was one. It does nothing where there was none, and is
	// for whoever knows from the journal that there may be one.
	LiftMaintenance(ctx context.Context, app App) (lifted bool, err error)
	// Compare looks at backup and machine before the restore: versions,
	// modules, PHP, keys. What becomes of the connection settings, Configure says.
	// It changes nothing.
	Compare(ctx context.Context, c Comparison) []core.Finding
	// Configure returns the content of the application's configuration file
	// (Settings["config"] of the manifest) with the settings of c in it, and
	// what was changed. All else stays byte for byte. Nothing to change: content
	// itself and no changes. A setting that cannot be changed in place is a
	// core.Error that names it. The result has been read back and holds what c
	// says. A profile that knows no configuration file returns content.
	Configure(ctx context.Context, content []byte, c Configuration) (out []byte, changes []Change, err error)
	// Quiet lists the statements that switch off, in a copy of the application's
	// database, what reaches out to the world: jobs, mail, billing. They hold
	// no database name, and may run more than once.
	Quiet(prefix string) []Statement
	// PostSteps lists the commands that make the application work after the
	// restore, in their order; none: it does.
	PostSteps(r Restored) []PostStep
	// URL is where the application answers, "" when that is not known. What
	// backstay.yaml says wins.
	URL(app App, found *core.Application) string
	// Check asks the restored database whether it is what r says. Findings are
	// core.FindingFine for what is as it should be, and core.FindingDecision
	// for what is not and somebody must look at.
	Check(ctx context.Context, q Querier, found *core.Application, r Restored) []core.Finding
	// Partly says of a restore of some of the application what that depends on
	// and what does not come back with it: core.FindingFine, named FindingDepends.
	Partly(p Part) []core.Finding
	// AfterRestore says what a person still has to do, in this order, for the
	// application to work as it did; none: it does. What PostSteps did is not in
	// it. Commands in it MUST be whole, to be typed as they are by the user of
	// this process.
	AfterRestore(r Restored) []string
}

// Names of findings and of what `--force` takes.
const (
	FindingCronRunning    = "cron-running"     // the application's jobs did not end in time
	FindingNewerBackup    = "newer-backup"     // the backup is of a newer version than the code
	FindingOlderBackup    = "older-backup"     // and must be brought up to the code
	FindingVersion        = "version"          // of the application
	FindingModules        = "modules"          // that the backup's data and the code do not share
	FindingEncryption     = "encryption"       // of fields: library and key
	FindingPHP            = "php"              // and its extensions
	FindingConnection     = "connection"       // where the configuration says that the database is
	FindingQuiet          = "quiet"            // what is switched off in a copy
	FindingSchemaVersion  = "schema-version"   // of the database
	FindingAdministrators = "administrators"   // whether anybody can log in and manage the application
	FindingMaintenance    = "maintenance-mode" // whether users are kept out during the switch
	FindingNoCode         = "no-code"          // the application's code is neither here nor restored
)

// MaintenanceOptions say how Maintenance goes about it.
type MaintenanceOptions struct {
	// WithoutCron goes on though the application's jobs still run: the decision
	// FindingCronRunning.
	WithoutCron bool
}

// Comparison is a backup and the machine that it is to be restored on.
type Comparison struct {
	App      App
	Live     *core.Application    // what is there now, with what its database says; nil: nothing, or nothing that could be understood
	Manifest *core.Manifest       // of the backup
	Target   *core.DatabaseSource // how the application is to reach its database (see Configuration); nil: no database is restored
	Root     string               // where the application will lie; "" for none
	Code     bool                 // the code is restored too
	Files    bool                 // what users put in is restored too
	Settings bool                 // the configuration is restored too
	// Config and LiveConfig are the contents of the configuration file in the
	// backup and in the live application; nil: there is none.
	Config, LiveConfig []byte
	// List returns the paths, relative to the application's root, of all files
	// below dir that the restore will bring from the backup; nil: unknown. It may
	// be called several times.
	List func(ctx context.Context, dir string) ([]string, error)
}

// Configuration is what a configuration file is to say. What is nil, "" or
// false stays.
type Configuration struct {
	App   string // the app's name, for messages
	Root  string // where the application will lie, for settings that depend on it
	Path  string // where the file will lie, for messages
	URL   string // where it answers: http(s)://host/path
	Quiet bool   // it is a copy: mail and jobs off, as far as the file can say so
	// Database is how the application is to reach its database: what its own
	// configuration says now (Discover without the database of backstay.yaml,
	// whose account may be another), and where there is none, what was given.
	Database *core.DatabaseSource
	// Live is the content of the file that is there now, where Database came
	// from it; nil: there is none. A connection setting that is not plain text,
	// and in the same words in both, stays: the web server knows what it means.
	// Without Live, encryption of the connection changes only when Database says
	// how it is to be.
	Live []byte
}

// Change is a setting that was changed. From and To are "*****" for secrets.
type Change struct {
	Setting string `json:"setting"` // as it is called in the file
	From    string `json:"from"`
	To      string `json:"to"`
}

// Statement is an SQL statement, and what it does in words.
type Statement struct {
	SQL string
	// Table is the table it needs, with its prefix, and Columns what it names of
	// it: where one of them is missing, as in older versions, the statement has
	// nothing to do and is left out.
	Table   string
	Columns []string
	Does    string // "stop ITFlow's cron"
}
