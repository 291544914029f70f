package itflow

import (
	"context"
	"path/filepath"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/phpconf"
	"github.com/backstay/backstay/internal/profile"
)

var (
	_ profile.Archiver      = Profile{}
	_ profile.ArchiveKeeper = Profile{}
)

// archiveKey is the variable of config.php with the password of the archives.
const archiveKey = "config_backup_key"

// ArchiveFormat returns "itflow".
func (Profile) ArchiveFormat() string { return "itflow" }

// ArchiveNaming is the same for every ITFlow, which reads no other name.
func (Profile) ArchiveNaming(context.Context, profile.App) (profile.Naming, error) {
	return profile.Naming{Format: "itflow_%Y%m%d-%H%M%S_" + profile.NamingKind + "_" + profile.NamingRandom}, nil
}

// FromConfig reads a config.php. ITFlow's own archives have none.
func (Profile) FromConfig(content []byte, _ string) (profile.Configured, error) {
	c := profile.Configured{Settings: map[string]string{SettingConfig: configFile}}
	if content == nil {
		return c, nil
	}
	parsed, err := phpconf.Parse(content)
	if err != nil {
		return c, err
	}
	read := func(name string) string {
		v, ok := parsed.Variable(name)
		text, _ := c.Setting(v, ok, "$"+name)
		return text
	}
	c.SetDatabase(read("database"), "")
	for setting, variable := range map[string]string{SettingURL: "config_base_url", SettingBranch: "repo_branch"} {
		if text := read(variable); text != "" {
			c.Settings[setting] = text
		}
	}
	if v, ok := parsed.Variable("config_https_only"); ok && v.IsLiteral() && !v.Bool() {
		c.Settings[SettingHTTPS] = "0"
	}
	return c, nil
}

// ArchivePassword returns $config_backup_key of the live config.php; PHP is
// asked where it is not plain text.
func (p Profile) ArchivePassword(ctx context.Context, app profile.App) (core.Secret, error) {
	if err := check(app); err != nil {
		return core.Secret{}, err
	}
	path := filepath.Join(filepath.Clean(app.Root), configFile)
	parsed, err := phpconf.ReadFile(path)
	if err != nil {
		return core.Secret{}, err
	}
	s := &settings{profile: p, app: app, path: path, parsed: parsed}
	text, err := s.text(ctx, archiveKey, "")
	return core.NewSecret(text), err
}

// ArchiveConfig is config.php.
func (Profile) ArchiveConfig() string { return configFile }

// ArchivePasswordIn returns $config_backup_key of the text of a config.php.
func (Profile) ArchivePasswordIn(config []byte) (core.Secret, bool) {
	parsed, err := phpconf.Parse(config)
	if err != nil {
		return core.Secret{}, false
	}
	v, ok := parsed.Variable(archiveKey)
	if !ok || !v.IsLiteral() || v.Text() == "" {
		return core.Secret{}, false
	}
	return core.NewSecret(v.Text()), true
}
