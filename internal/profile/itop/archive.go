package itop

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/phpconf"
	"github.com/backstay/backstay/internal/profile"
)

var _ profile.Archiver = Profile{}

// ArchiveFormat returns "itop".
func (Profile) ArchiveFormat() string { return "itop" }

// defaultNaming is the default of itop-backup's setting file_name_format.
const defaultNaming = profile.NamingDB + "-%Y-%m-%d_%H_%M"

// ArchiveNaming is how iTop calls the archives that it makes by its schedule:
// DBBackup::MakeName with the module's setting.
func (p Profile) ArchiveNaming(ctx context.Context, app profile.App) (profile.Naming, error) {
	naming := profile.Naming{Format: defaultNaming, Host: app.Database.Host, Database: app.Database.Name, Subname: app.Database.Prefix}
	environment := app.Environment
	if environment == "" {
		environment = defaultEnvironment
	}
	if err := check(app, environment); err != nil {
		return naming, err
	}
	root := filepath.Clean(app.Root)
	path := filepath.Join(root, configPath(environment))
	parsed, err := phpconf.ReadFile(path)
	if err != nil {
		return naming, err
	}
	s := &settings{profile: p, app: app, root: root, path: path, parsed: parsed}
	var problem error
	note := func(err error) {
		if problem == nil {
			problem = err
		}
	}
	for name, into := range map[string]*string{"db_host": &naming.Host, "db_name": &naming.Database, "db_subname": &naming.Subname, "timezone": &naming.TimeZone} {
		text, ok, err := s.text(ctx, name, "")
		note(err)
		switch {
		case err == nil && ok:
			*into = text
		case err == nil && name == "timezone":
			*into = defaultTimeZone
		}
	}
	naming.Host = hostAlone(naming.Host)
	v, ok, err := s.value(ctx, "MyModuleSettings", "itop-backup", "file_name_format")
	if err != nil {
		note(s.unreadable("file_name_format", "", v, err))
	} else if ok && v.Text() != "" {
		naming.Format = v.Text()
	}
	return naming, problem
}

// hostAlone returns what __HOST__ stands for: db_host without its port, with the
// p of a connection that stays (CMDBSource::InitServerAndPort).
func hostAlone(host string) string {
	parts := strings.Split(host, ":")
	if len(parts) > 1 && strings.EqualFold(parts[0], "p") {
		return parts[0] + ":" + parts[1]
	}
	return parts[0]
}

// library is what SimpleCrypt's engines are called: Sodium, OpenSSL, OpenSSLMcryptCompatibility, Mcrypt, Simple.
var library = regexp.MustCompile(`^[A-Za-z0-9_]{1,64}$`)

// FromConfig reads config-itop.php of an archive. Placeholders stay unread: what
// they stand for is this machine's and none of the archive's business.
func (Profile) FromConfig(content []byte, environment string) (profile.Configured, error) {
	if environment == "" {
		environment = defaultEnvironment
	}
	c := profile.Configured{Settings: map[string]string{}}
	if !isEnvironment(environment) {
		return c, &core.Error{
			Code: core.CodeUsage, Op: "read the configuration in the archive", Message: fmt.Sprintf("%q is no name of an environment", environment),
			Hint: "iTop's own is production",
		}
	}
	c.Settings[SettingEnvironment], c.Settings[SettingConfig] = environment, configPath(environment)
	parsed, err := phpconf.Parse(content)
	if err != nil {
		return c, err
	}
	read := func(name string) (string, bool) {
		v, ok := find(parsed, "MySettings", []string{name})
		text, ok := c.Setting(v, ok, name)
		if ok && placeholder.MatchString(text) {
			c.Problems = append(c.Problems, core.Warning{
				Code: "setting", Object: name, Message: "it holds a placeholder in the configuration in the archive, so its value is not known",
			})
			return "", false
		}
		return text, ok
	}
	name, _ := read("db_name")
	prefix, _ := read("db_subname")
	c.SetDatabase(name, prefix)
	if c.Database != "" {
		locks := locksOf(environment, &core.DatabaseSource{Name: c.Database, Prefix: c.Prefix})
		c.Settings[SettingCronLock], c.Settings[SettingBackupLock], c.Settings[SettingRestoreLock] = locks.cron, locks.backup, locks.restore
	}
	c.Settings[SettingCronLimit] = "600"
	if text, ok := read("cron_max_execution_time"); ok {
		if n, err := strconv.Atoi(text); err == nil && n >= 0 {
			c.Settings[SettingCronLimit] = strconv.Itoa(n)
		}
	}
	if text, ok := read("encryption_library"); ok && library.MatchString(text) {
		c.Settings[SettingLibrary] = text
	}
	if text, ok := read("app_root_url"); ok && profile.CheckURL(text) == nil {
		c.Settings[SettingURL] = text
	}
	return c, nil
}
