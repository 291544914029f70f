// Package config reads backstay.yaml: where the repository is, which apps are
// protected, and how each is reached. It is for the commands, which turn what
// it returns into profiles and stores. It promises that nothing in the file is
// silently ignored: a key it does not know, a value of the wrong type and a
// value that cannot be are errors with file, line and column. It reads passwords only when
// asked to (ResolveSecret), and never from a file that others can read.
package config

import (
	"slices"
	"strconv"
	"time"

	"github.com/backstay/backstay/internal/check"
	"github.com/backstay/backstay/internal/config/proving"
	"github.com/backstay/backstay/internal/config/strict"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/retention"
	"github.com/backstay/backstay/internal/schedule"
)

// Config is what backstay.yaml says. It is not changed after Load, and so safe
// to share.
type Config struct {
	Repository Repository
	StateDir   string // absolute; locks, caches and the run history
	Apps       []App  // in the order of the file, with `defaults` merged in
	Archives   Archives
	Service    Service
	Console    Console
	Scratch    Database // a server on which imports may make databases; no name, prefix or connections
	Verify     Verify
	Secrets    Secrets
	Kit        Kit
	// Defaults is the `defaults` section by itself; its Name and Profile are
	// empty. Apps already hold it.
	Defaults App
	// Warnings names what the file asks for and is unwise, with its place.
	Warnings []core.Warning

	listenAt     strict.Position  // of service.listen
	inlineSecret *strict.Position // the first `password` written in the file itself
}

// App returns the app called name. The error lists the apps there are.
func (c *Config) App(name string) (*App, error) {
	names := make([]string, len(c.Apps))
	for i := range c.Apps {
		if c.Apps[i].Name == name {
			return &c.Apps[i], nil
		}
		names[i] = c.Apps[i].Name
	}
	return nil, &core.Error{
		Code: core.CodeUsage, Message: "there is no app " + strconv.Quote(name) + " in the configuration",
		Hint: strict.NearestHint(name, names, "apps"),
	}
}

// HoldsSecret says whether a secret is written in the file itself, which only
// its owner may read then.
func (c *Config) HoldsSecret() bool { return c.inlineSecret != nil }

// SecretSource says where a password is. At most one of the three is set.
type SecretSource struct {
	Password     core.Secret // written in the configuration itself
	PasswordFile string      // absolute path of a file that holds nothing else
	PasswordEnv  string      // name of an environment variable
}

// Given says whether the configuration names a secret.
func (s SecretSource) Given() bool {
	return !s.Password.Empty() || s.PasswordFile != "" || s.PasswordEnv != ""
}

// PasswordEnv names the environment variables that hold passwords of the
// configuration, each once, in the order of the file.
func (c *Config) PasswordEnv() []string {
	var names []string
	add := func(s SecretSource) {
		if s.PasswordEnv != "" && !slices.Contains(names, s.PasswordEnv) {
			names = append(names, s.PasswordEnv)
		}
	}
	add(c.Repository.SecretSource)
	add(c.Scratch.SecretSource)
	add(c.Console.OIDC.Secret)
	add(c.Defaults.Database.SecretSource)
	add(c.Defaults.Drill.Login)
	for _, a := range c.Apps {
		add(a.Drill.Login)
	}
	addAll := func(list []Destination) {
		for _, d := range list {
			add(d.Address)
			add(d.Secret)
		}
	}
	addAll(c.Defaults.Notify)
	for _, a := range c.Apps {
		add(a.Database.SecretSource)
		addAll(a.Notify)
	}
	return names
}

// Repository is the `repository` section.
type Repository struct {
	URL string // with one of the schemes in Schemes; holds no password
	SecretSource
}

// Profiles lists the kinds of application that an app can have.
func Profiles() []string { return []string{"itop", "itflow", "generic"} }

// Schemes lists the schemes that a repository's URL can have. Whether one is
// built is the repository's business.
func Schemes() []string {
	return []string{"file", "s3", "sftp", "webdav", "azure", "gcs", "b2", "rclone"}
}

// App is one entry of `apps`.
type App struct {
	Name        string
	Profile     string // one of Profiles
	Root        string // absolute; "" only for a generic app
	Environment string // iTop's; "" means the profile's default
	Database    Database
	Files       []Files  // beyond what the profile takes; all there is for a generic app
	Config      []string // absolute paths of configuration files beyond those the profile knows
	Exclude     []string // globs relative to Root
	Consistency string   // "online" or "readonly"
	Hooks       Hooks
	URL         string  // where the application answers; "": what the profile finds
	Restore     Restore // filled in by Load: DefaultRestore where the file says nothing
	Export      Export

	Schedules     []schedule.Spec    // when backups are made; none: only by hand. Names differ, or Only does
	Retention     []retention.Policy // none: everything is kept. Components differ
	Check         check.Limits
	CheckSchedule schedule.Spec // DefaultCheckSchedule where the file says nothing
	Notify        []Destination // in the order in which they are told; names differ
	Drill         Drill
	Targets       Targets
}

// Database is the `database` section: for a generic app all that is known of
// it; for others each field that is set wins over what the profile finds.
type Database struct {
	Host   string
	Port   int    // 0: not given
	Socket string // absolute path
	User   string
	SecretSource
	Name        string
	Prefix      string
	TLS         core.DatabaseTLS
	Connections int // how many connections read at once; 0: chosen by backstay
}

// Given says whether anything of the database is configured.
func (d Database) Given() bool { return d != Database{} }

// Files is a folder or file to take in the files component.
type Files struct {
	Path    string   // absolute
	Exclude []string // globs relative to Path
}

// Hooks are command lines for /bin/sh.
type Hooks struct {
	Before      []string // before the backup
	After       []string // after it, whatever its outcome
	ReadonlyOn  []string // makes the application read-only
	ReadonlyOff []string // undoes ReadonlyOn

	MaintenanceOn  []string // keeps users out during the switch of a restore
	MaintenanceOff []string // undoes MaintenanceOn
	AfterRestore   []string // makes the application work after a restore
}

// Restore says how a restore of the app goes about it.
type Restore struct {
	Keep         time.Duration // how long what was replaced is kept; 0: it is dropped at once
	SafetyBackup bool          // back the app up before its data is replaced
}

// DefaultRestore is what holds where the file says nothing.
func DefaultRestore() Restore { return Restore{Keep: 7 * 24 * time.Hour, SafetyBackup: true} }

// Consistency modes.
const (
	Online   = "online"
	Readonly = "readonly"
)

// Nearest returns the entry of valid that was probably meant by got, "" when
// none is near.
func Nearest(got string, valid []string) string { return strict.Nearest(got, valid) }

// Drill is the `drill` section of an app.
type Drill struct {
	proving.Drill
	Login SecretSource // the password of LoginUser
}

// The other sections about proofs.
type (
	Targets = proving.Targets
	Verify  = proving.Verify
	Secrets = proving.Secrets
	Kit     = proving.Kit
)
