// Package itop is the profile of Combodo iTop: where it keeps its
// configuration, database account, files, modes and locks. Facts come from the
// sources of iTop 2.7 to 3.3 and cite its symbols. It promises what
// profile.Profile promises.
package itop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/phpconf"
	"github.com/backstay/backstay/internal/profile"
)

// Name is the profile's name in backstay.yaml.
const Name = "itop"

const defaultEnvironment = "production"

// Profile is iTop's profile. The zero value is ready for use.
type Profile struct {
	// Sockets are the places to look for the server's socket; nil: the usual.
	Sockets []string
	// PHP is asked for settings that are not literal; "": php from PATH.
	PHP string
	// Env is the environment that placeholders and PHP see; nil: this process's.
	Env []string
	// Poll is how often ReadOnly looks whether cron has ended; 0: each second,
	// as iTop does.
	Poll time.Duration
	// BackupWait is how long Maintenance waits for a backup that iTop makes
	// itself; 0: five seconds. It may take hours.
	BackupWait time.Duration
}

var _ profile.Profile = Profile{}

// Name returns "itop".
func (Profile) Name() string { return Name }

// Settings of core.Application, for restore.
const (
	SettingEnvironment = "environment"    // of the configuration in use
	SettingConfig      = "config"         // its file, relative to the root
	SettingCronLock    = "lock_cron"      // named locks
	SettingBackupLock  = "lock_backup"    //
	SettingRestoreLock = "lock_restore"   //
	SettingCronLimit   = "cron_limit_s"   // how long cron may run, in seconds
	SettingLibrary     = "encryption_lib" // what encrypted fields need: Sodium, OpenSSL, …
	SettingURL         = "app_root_url"   //
)

// Detect looks for approot.inc.php, the core, and a configuration.
func (Profile) Detect(root string) (profile.Installation, bool) {
	for _, marker := range []string{"approot.inc.php", "core/config.class.inc.php"} {
		if info, err := os.Stat(filepath.Join(root, marker)); err != nil || !info.Mode().IsRegular() {
			return profile.Installation{}, false
		}
	}
	environment := ""
	for _, e := range environments(root) {
		if environment == "" || e == defaultEnvironment {
			environment = e
		}
	}
	if environment == "" {
		return profile.Installation{}, false // unpacked, not installed
	}
	version, _ := codeVersions(root)
	in := profile.Installation{Profile: Name, Root: root, Version: version["application"]}
	if environment != defaultEnvironment {
		in.Environment = environment
	}
	return in, true
}

// environments lists the folders of conf/ that hold a configuration, without
// those that the setup works in.
func environments(root string) []string {
	entries, err := os.ReadDir(filepath.Join(root, "conf"))
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), "-build") {
			continue
		}
		if _, err := os.Stat(filepath.Join(root, configPath(e.Name()))); err == nil {
			names = append(names, e.Name())
		}
	}
	return names
}

func configPath(environment string) string { return "conf/" + environment + "/config-itop.php" }

// Discover reads the installation's configuration and divides its files.
func (p Profile) Discover(ctx context.Context, app profile.App) (*core.Application, error) {
	environment := app.Environment
	if environment == "" {
		environment = defaultEnvironment
	}
	if err := check(app, environment); err != nil {
		return nil, err
	}
	app.Root = filepath.Clean(app.Root)
	config, err := phpconf.ReadFile(filepath.Join(app.Root, configPath(environment)))
	if err != nil {
		return nil, err
	}
	found := &core.Application{
		Name: app.Name, Profile: Name, Root: app.Root,
		Settings: map[string]string{SettingEnvironment: environment, SettingConfig: configPath(environment)},
	}
	s := &settings{profile: p, app: app, root: app.Root, path: filepath.Join(app.Root, configPath(environment)), parsed: config}
	if found.Database, err = p.database(ctx, app, found, s); err != nil {
		return nil, err
	}
	locks := locksOf(environment, found.Database)
	found.Database.Locks = []string{locks.backup}
	found.Settings[SettingCronLock] = locks.cron
	found.Settings[SettingBackupLock] = locks.backup
	found.Settings[SettingRestoreLock] = locks.restore
	found.Settings[SettingCronLimit] = s.optional(ctx, "cron_max_execution_time", "600")
	found.Settings[SettingLibrary] = s.optional(ctx, "encryption_library", "")
	found.Settings[SettingURL] = s.optional(ctx, "app_root_url", "")
	found.Warnings = append(found.Warnings, s.warnings...)

	versions, warnings := codeVersions(app.Root)
	found.Versions = versions
	found.Warnings = append(found.Warnings, warnings...)
	if found.FileSets, err = fileSets(ctx, app, environment, s, found); err != nil {
		return nil, err
	}
	return found, nil
}

// check says whether an iTop with a configuration is at the app's root.
func check(app profile.App, environment string) error {
	if err := profile.CheckRoot(app); err != nil {
		return err
	}
	op := "look for iTop in " + app.Root
	if !isEnvironment(environment) {
		return &core.Error{
			Code: core.CodeConfig, Op: op, Message: fmt.Sprintf("%q is no name of an environment", environment),
			Hint: "correct environment: of app " + app.Name + " in backstay.yaml; iTop's own is production",
		}
	}
	if _, err := os.Stat(filepath.Join(app.Root, "approot.inc.php")); err != nil {
		return &core.Error{
			Code: core.CodeApplication, Op: op, Message: "there is no approot.inc.php, so this is not iTop's folder", Err: unlessMissing(err),
			Hint: "correct root: of app " + app.Name + " in backstay.yaml, or its profile:; `backstay detect` lists what is installed here",
		}
	}
	if _, err := os.Stat(filepath.Join(app.Root, configPath(environment))); err != nil {
		hint := "finish iTop's setup in the browser first; nothing is installed yet"
		if others := environments(app.Root); len(others) > 0 {
			hint = "write environment: " + strings.Join(others, " or environment: ") + " for app " + app.Name + " in backstay.yaml"
		}
		if os.IsPermission(err) {
			hint = "run backstay as root or as the web server's user"
		}
		return &core.Error{
			Code: core.CodeApplication, Op: op, Message: "there is no " + configPath(environment), Err: unlessMissing(err), Hint: hint,
		}
	}
	return nil
}

// isEnvironment says whether it can be the name of an environment's folder.
func isEnvironment(name string) bool {
	return !strings.ContainsAny(name, "/\\\x00") && name != "." && name != ".."
}

func unlessMissing(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
