package itop

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

func TestArchiveNaming(t *testing.T) {
	p := newProfile()
	root := install(t, strings.Replace(plainConfig, "'week_days'", "'file_name_format' => '__HOST__-__DB__-__SUBNAME__-%Y%m%d',\n\t\t'week_days'", 1))
	got, err := p.ArchiveNaming(t.Context(), profile.App{Name: "desk", Root: root})
	want := profile.Naming{Format: "__HOST__-__DB__-__SUBNAME__-%Y%m%d", Host: "127.0.0.1", Database: "itop", TimeZone: "Europe/Paris"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v: %s", err, diff)
	}
	root = install(t, strings.Replace(plainConfig, "'db_subname' => ''", "'db_subname' => 'p_', 'timezone' => 'Asia/Tokyo'", 1))
	got, err = p.ArchiveNaming(t.Context(), profile.App{Name: "desk", Root: root})
	want = profile.Naming{Format: "__DB__-%Y-%m-%d_%H_%M", Host: "127.0.0.1", Database: "itop", Subname: "p_", TimeZone: "Asia/Tokyo"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v: %s", err, diff)
	}
	// One setting that cannot be read leaves the others, and what is given.
	p.PHP = "/nonexistent/php"
	root = install(t, strings.Replace(plainConfig, "'db_name' => 'itop'", "'db_name' => getenv('X')", 1))
	got, err = p.ArchiveNaming(t.Context(), profile.App{Name: "desk", Root: root, Database: profile.Database{Name: "given"}})
	want = profile.Naming{Format: "__DB__-%Y-%m-%d_%H_%M", Host: "127.0.0.1", Database: "given", TimeZone: "Europe/Paris"}
	if diff := cmp.Diff(want, got); diff != "" || err == nil || core.HintOf(err) == "" {
		t.Errorf("%v: %s", err, diff)
	}
}

// TestHostInNames: as iTop's own archives are called.
func TestHostInNames(t *testing.T) {
	for host, want := range map[string]string{
		"db1": "db1", "db1:3307": "db1", "p:db1": "p:db1", "P:db1:3307": "P:db1", "localhost": "localhost", "": "",
	} {
		if got := hostAlone(host); got != want {
			t.Errorf("of %q it is %q, want %q", host, got, want)
		}
	}
}

// TestFromConfig: settings that stand in the file, one by one.
func TestFromConfig(t *testing.T) {
	get := func(settings, environment string) profile.Configured {
		t.Helper()
		c, err := Profile{}.FromConfig([]byte("<?php $MySettings = array("+settings+");"), environment)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := get(`'db_name' => ' itop ', 'cron_max_execution_time' => 30, 'encryption_library' => 'OpenSSL', 'app_root_url' => 'https://x/itop/'`, "")
	want := profile.Configured{Database: "itop", Settings: map[string]string{
		SettingEnvironment: "production", SettingConfig: settingsFile, SettingCronLock: "itop.0bb534e2892192951d51666b25d8de4b",
		SettingBackupLock: "itop.478b587bc40df5e6e933c1ed1f6f288e", SettingRestoreLock: "itop.eba75cc9031811205f4a3ab659a97c48",
		SettingCronLimit: "30", SettingLibrary: "OpenSSL", SettingURL: "https://x/itop/",
	}}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	for settings, missing := range map[string]string{
		`'app_root_url' => 'javascript:alert(1)'`: SettingURL, `'app_root_url' => 'http://user:pw@x/'`: SettingURL,
		`'encryption_library' => '../../x'`: SettingLibrary, `'db_name' => array('x')`: SettingCronLock, `'db_name' => null`: SettingBackupLock,
	} {
		if c := get(settings, ""); c.Settings[missing] != "" || c.Settings[SettingCronLimit] != "600" {
			t.Errorf("%s: %+v", settings, c)
		}
	}
	for settings, problems := range map[string]int{
		`'app_root_url' => '%server(HTTP_HOST)%'`: 1, `'db_name' => array('x')`: 1, `'cron_max_execution_time' => 'soon', 'other' => getenv('X')`: 0, `'db_subname' => "a\nb"`: 1,
	} {
		if c := get(settings, ""); len(c.Problems) != problems {
			t.Errorf("%s: %+v", settings, c.Problems)
		}
	}
	if c := get("", "test"); c.Settings[SettingConfig] != "conf/test/config-itop.php" || c.Settings[SettingEnvironment] != "test" {
		t.Errorf("%+v", c)
	}
	for _, environment := range []string{"..", "a/b", "."} {
		if _, err := (Profile{}).FromConfig([]byte(plainConfig), environment); core.CodeOf(err) != core.CodeUsage {
			t.Errorf("%s: %v", environment, err)
		}
	}
}
