// Package itflow is the profile of ITFlow: where it keeps its configuration,
// database account, uploads and custom code. Facts come from the sources of
// ITFlow from 2020 to 2026 and cite its functions. It promises what
// profile.Profile promises.
package itflow

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/phpconf"
	"github.com/backstay/backstay/internal/profile"
)

// Name is the profile's name in backstay.yaml.
const Name = "itflow"

const configFile = "config.php"

// Profile is ITFlow's profile. The zero value is ready for use.
type Profile struct {
	// Sockets are the places to look for the server's socket; nil: the usual.
	Sockets []string
	// PHP is asked for settings that are not literal; "": php from PATH.
	PHP string
	// Env is the environment that PHP sees; nil: this process's.
	Env []string
	// LockDir is where the locks of ITFlow's jobs lie; "": the folder for
	// temporary files.
	LockDir string
	// CronWait is how long Maintenance waits for jobs; 0: ten minutes.
	CronWait time.Duration
}

var _ profile.Profile = Profile{}

// Name returns "itflow".
func (Profile) Name() string { return Name }

// Settings of core.Application, for restore.
const (
	SettingConfig = "config"      // the configuration file, relative to the root
	SettingURL    = "base_url"    // $config_base_url: host and path, without scheme
	SettingBranch = "repo_branch" // $repo_branch: what its updater follows
	SettingHTTPS  = "https_only"  // "0" where $config_https_only lets people log in without
)

// markers are files that every ITFlow since 2020 has.
func markers() []string { return []string{configFile, "functions.php", "login.php"} }

// Detect looks for a configuration, and for files and tables with the names
// that ITFlow gives them.
func (Profile) Detect(root string) (profile.Installation, bool) {
	for _, marker := range append(markers(), "db.sql") {
		if info, err := os.Stat(filepath.Join(root, marker)); err != nil || !info.Mode().IsRegular() {
			return profile.Installation{}, false
		}
	}
	if info, err := os.Lstat(filepath.Join(root, "uploads")); err != nil || (!info.IsDir() && info.Mode()&os.ModeSymlink == 0) {
		return profile.Installation{}, false
	}
	if !hasSchema(filepath.Join(root, "db.sql")) {
		return profile.Installation{}, false
	}
	return profile.Installation{Profile: Name, Root: root, Version: appVersion(root)}, true
}

// maxSchema is how many bytes of db.sql are looked at; it has some 140,000.
const maxSchema = 1 << 20

// hasSchema says whether the file is the schema that ITFlow is set up with.
func hasSchema(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	schema, err := io.ReadAll(io.LimitReader(f, maxSchema))
	if closeErr := f.Close(); err != nil || closeErr != nil {
		return false
	}
	for _, table := range []string{"clients", "invoices", "tickets", "users"} {
		if !bytes.Contains(schema, []byte("CREATE TABLE `"+table+"`")) {
			return false
		}
	}
	return true
}

// Discover reads the installation's configuration and divides its files.
func (p Profile) Discover(ctx context.Context, app profile.App) (*core.Application, error) {
	if err := check(app); err != nil {
		return nil, err
	}
	app.Root = filepath.Clean(app.Root)
	path := filepath.Join(app.Root, configFile)
	config, err := phpconf.ReadFile(path)
	if err != nil {
		return nil, err
	}
	found := &core.Application{
		Name: app.Name, Profile: Name, Root: app.Root, Versions: map[string]string{}, Settings: map[string]string{SettingConfig: configFile},
	}
	s := &settings{profile: p, app: app, path: path, parsed: config}
	if found.Database, err = p.database(ctx, app, found, s); err != nil {
		return nil, err
	}
	for setting, variable := range map[string]string{SettingURL: "config_base_url", SettingBranch: "repo_branch"} {
		if v := s.optional(ctx, found, variable); v != "" {
			found.Settings[setting] = v
		}
	}
	if v, ok := config.Variable("config_https_only"); ok && v.IsLiteral() && !v.Bool() {
		found.Settings[SettingHTTPS] = "0"
	}
	codeVersions(app.Root, found)
	if found.FileSets, err = fileSets(ctx, app, s, found); err != nil {
		return nil, err
	}
	return found, nil
}

// check says whether an ITFlow with a configuration is at the app's root.
func check(app profile.App) error {
	if err := profile.CheckRoot(app); err != nil {
		return err
	}
	for _, marker := range markers() {
		_, err := os.Stat(filepath.Join(app.Root, marker))
		if err == nil {
			continue
		}
		problem := &core.Error{Code: core.CodeApplication, Op: "look for ITFlow in " + app.Root, Message: "there is no " + marker}
		switch {
		case !os.IsNotExist(err):
			problem.Message, problem.Err, problem.Hint = "", err, "run backstay as root or as the web server's user"
		case marker == configFile && isThere(app.Root, "functions.php") && isThere(app.Root, "login.php"):
			problem.Message += ", so nothing is installed yet"
			problem.Hint = "finish ITFlow's setup in the browser first, or correct root: of app " + app.Name + " in backstay.yaml"
		default:
			problem.Message += ", so this is not ITFlow's folder"
			problem.Hint = "correct root: of app " + app.Name + " in backstay.yaml, or its profile:; `backstay detect` lists what is installed here"
		}
		return problem
	}
	return nil
}

func isThere(root, name string) bool {
	_, err := os.Stat(filepath.Join(root, name))
	return err == nil
}

// Busy knows no lock of ITFlow's that tells.
func (Profile) Busy(context.Context, profile.Querier, *core.Application) error { return nil }

// ReadOnly runs the app's hooks readonly_on and, in leave, readonly_off: ITFlow
// has no read-only mode of its own.
func (Profile) ReadOnly(ctx context.Context, _ profile.Querier, app profile.App, _ *core.Application) (func() error, error) {
	return profile.ReadOnlyHooks(ctx, app)
}

// settings gives the variables of config.php.
type settings struct {
	profile Profile
	app     profile.App
	path    string
	parsed  *phpconf.File
	source  []byte        // what the file will hold; nil: what it holds
	asked   *phpconf.File // by PHP; nil: not asked yet
	askErr  error
}

// text returns a variable as text, "" when it is not set. yaml is the key in
// backstay.yaml that can give it instead, "" for none.
func (s *settings) text(ctx context.Context, name, yaml string) (string, error) {
	v, ok := s.parsed.Variable(name)
	if ok && !v.IsLiteral() {
		line := v
		if s.asked == nil && s.askErr == nil {
			s.asked, s.askErr = phpconf.AskPHP(ctx, phpconf.Question{
				File: s.path, Source: s.source, Variables: variables(), PHP: s.profile.PHP, Env: s.profile.Env,
			})
		}
		if s.askErr != nil {
			return "", s.unreadable(name, yaml, line, s.askErr)
		}
		v, ok = s.asked.Variable(name)
		if ok && !v.IsLiteral() {
			return "", s.unreadable(name, yaml, line, nil)
		}
	}
	if ok && v.Kind() == phpconf.Array {
		return "", s.unreadable(name, yaml, v, fmt.Errorf("it is an array"))
	}
	return v.Text(), nil
}

// variables are those of config.php that backstay reads.
func variables() []string {
	return []string{"dbhost", "dbusername", "dbpassword", "database", "config_base_url", "config_https_only", "repo_branch", "config_backup_path", "config_backup_key"}
}

// optional is text for what a backup can do without: a warning when it cannot
// be read.
func (s *settings) optional(ctx context.Context, found *core.Application, name string) string {
	text, err := s.text(ctx, name, "")
	if err != nil {
		profile.Warn(found, "setting", s.path, "%v", err)
	}
	return text
}

func (s *settings) unreadable(name, yaml string, v phpconf.Value, cause error) error {
	return profile.Unreadable(s.path, s.app.Name, "$"+name, yaml, v, cause)
}
