package itop

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

// plainTarget is what plainConfig says.
func plainTarget() core.DatabaseSource {
	return core.DatabaseSource{Host: "127.0.0.1", Port: 3307, User: "itop-user", Password: core.NewSecret(`pa'ss\w"ö%d$x`), Name: "itop"}
}

func configuration(to *core.DatabaseSource) profile.Configuration {
	return profile.Configuration{App: "desk", Root: "/srv/itop", Path: "/srv/itop/" + settingsFile, Database: to}
}

func TestConfigure(t *testing.T) {
	to := func(change func(*core.DatabaseSource)) *core.DatabaseSource {
		d := plainTarget()
		change(&d)
		return &d
	}
	line := func(old, now string) string { return strings.Replace(plainConfig, old, now, 1) }
	for name, c := range map[string]struct {
		do   profile.Configuration
		want string
		says []profile.Change
	}{
		"as it is": {configuration(to(func(*core.DatabaseSource) {})), plainConfig, nil},
		"name":     {configuration(to(func(d *core.DatabaseSource) { d.Name = "copy" })), line(`'itop',`, `'copy',`), []profile.Change{{Setting: "db_name", From: "itop", To: "copy"}}},
		"password": {configuration(to(func(d *core.DatabaseSource) { d.Password = core.NewSecret(`n'\ew`) })), line(`'pa\'ss\\w"ö%d$x'`, `'n\'\\ew'`),
			[]profile.Change{{Setting: "db_pwd", From: "*****", To: "*****"}}},
		"socket":  {configuration(to(func(d *core.DatabaseSource) { d.Host, d.Port, d.Socket = "", 0, "/run/x.sock" })), line(`'127.0.0.1:3307'`, `'localhost'`), []profile.Change{{Setting: "db_host", From: "127.0.0.1:3307", To: "localhost"}}},
		"prefix":  {configuration(to(func(d *core.DatabaseSource) { d.Prefix = "x_" })), line(`'db_subname' => ''`, `'db_subname' => 'x_'`), []profile.Change{{Setting: "db_subname", To: "x_"}}},
		"encrypt": {configuration(to(func(d *core.DatabaseSource) { d.TLS = core.DatabaseTLS{Mode: "verify-full", CA: "/ca.pem"} })), line("array(\n", "array(\n\t'db_tls.enabled' => true,\n\t'db_tls.ca' => '/ca.pem',\n"), []profile.Change{{Setting: "db_tls.enabled", From: "false", To: "true"}, {Setting: "db_tls.ca", To: "/ca.pem"}}},
		"address": {profile.Configuration{Path: "/x", URL: "http://copy.example.org/itop"}, line(`https://desk.example.org/`, `http://copy.example.org/itop/`), []profile.Change{{Setting: "app_root_url", From: "https://desk.example.org/", To: "http://copy.example.org/itop/"}}},
		"copy": {profile.Configuration{Path: "/x", Quiet: true},
			strings.NewReplacer(`'access_mode' => 3`, `'access_mode' => 2`, `https://desk.example.org/`, ``, `=> 30,`, `=> 0,`, "$MySettings = array(\n", "$MySettings = array(\n\t'email_transport' => 'LogFile',\n").Replace(plainConfig),
			[]profile.Change{
				{Setting: "app_root_url", From: "https://desk.example.org/"}, {Setting: "access_mode", From: "3", To: "2"},
				{Setting: "cron_max_execution_time", From: "30", To: "0"}, {Setting: "email_transport", To: "LogFile"},
			}},
	} {
		out, changes, err := Profile{Sockets: []string{}}.Configure(t.Context(), []byte(plainConfig), c.do)
		if diff := cmp.Diff(c.want, string(out)); err != nil || diff != "" {
			t.Errorf("%s: %v (hint %q) %s", name, err, core.HintOf(err), diff)
		}
		if diff := cmp.Diff(c.says, changes); diff != "" {
			t.Errorf("%s: changes %s", name, diff)
		}
		again, changes, err := Profile{Sockets: []string{}}.Configure(t.Context(), out, c.do)
		if err != nil || len(changes) > 0 || string(again) != string(out) {
			t.Errorf("%s, again: %v %+v", name, err, changes)
		}
	}
}

// TestConfigureRefuses: what iTop would not read as it is to be read, and what
// was meant to come from elsewhere.
func TestConfigureRefuses(t *testing.T) {
	password := func(p string) *core.DatabaseSource {
		d := plainTarget()
		d.Password = core.NewSecret(p)
		return &d
	}
	v6 := plainTarget()
	v6.Host = "2001:db8::1"
	for name, c := range map[string]struct {
		config string
		do     profile.Configuration
		part   string
	}{
		"blanks at the end":   {plainConfig, configuration(password("secret-word ")), "db_pwd"},
		"NUL at the end":      {plainConfig, configuration(password("secret-word\x00")), "db_pwd"},
		"a placeholder":       {plainConfig, configuration(password("secret-word%env(HOME)%")), "db_pwd"},
		"IPv6":                {plainConfig, configuration(&v6), "2001:db8::1"},
		"no address":          {plainConfig, profile.Configuration{Path: "/x", URL: "desk.example.org"}, "desk.example.org"},
		"address with a user": {plainConfig, profile.Configuration{Path: "/x", URL: "https://u:secret-word@desk/"}, "more than host and path"},
		"by a condition":      {strings.Replace(plainConfig, "?>", "if (1) { $MySettings['db_pwd'] = 'secret-word'; }", 1), configuration(password("x")), "/srv/itop/" + settingsFile},
		"no settings":         {"<?php $x = 1;", configuration(password("secret-word")), "db_"},
	} {
		out, _, err := Profile{PHP: "/no/php"}.Configure(t.Context(), []byte(c.config), c.do)
		if err == nil || out != nil {
			t.Errorf("%s: %s", name, out)
			continue
		}
		if all := err.Error() + " " + core.HintOf(err); core.HintOf(err) == "" || !strings.Contains(all, c.part) || strings.Contains(all, "secret-word") {
			t.Errorf("%s: %s", name, all)
		}
	}
}

// TestConfigureFromElsewhere: a setting that only PHP can tell stays when it
// comes out right, and is an error when not.
func TestConfigureFromElsewhere(t *testing.T) {
	if _, err := exec.LookPath("php"); err != nil {
		t.Skip("the settings are ones that only PHP can tell, and there is no php:", err)
	}
	config := strings.Replace(plainConfig, `'pa\'ss\\w"ö%d$x'`, `getenv('DESK_PW')`, 1)
	to := plainTarget()
	right, wrong := Profile{Env: []string{"DESK_PW=" + to.Password.Reveal()}}, Profile{Env: []string{"DESK_PW=other"}}
	to.Name = "copy"
	out, changes, err := right.Configure(t.Context(), []byte(config), configuration(&to))
	if want := strings.Replace(config, `'itop',`, `'copy',`, 1); err != nil || string(out) != want || len(changes) != 1 {
		t.Errorf("right: %v %+v\n%s", err, changes, out)
	}
	_, _, err = wrong.Configure(t.Context(), []byte(config), configuration(&to))
	if err == nil || !strings.Contains(err.Error(), "db_pwd (line 8) is not plain text (it calls getenv())") || core.HintOf(err) == "" {
		t.Errorf("wrong: %v (hint %q)", err, core.HintOf(err))
	}
	// The live file has it in the same words: what they mean is the web server's business.
	c := configuration(&to)
	c.Live = []byte(config)
	for name, p := range map[string]Profile{"another environment": wrong, "no PHP": {PHP: "/no/php"}} {
		if out, changes, err := p.Configure(t.Context(), []byte(config), c); err != nil || len(changes) != 1 || !strings.Contains(string(out), "getenv('DESK_PW')") {
			t.Errorf("%s: %v %+v", name, err, changes)
		}
	}
	// The live file has it from the environment, the backup in plain text.
	if out, changes, err := right.Configure(t.Context(), []byte(plainConfig), c); err != nil || len(changes) != 1 || !strings.Contains(string(out), `'copy'`) {
		t.Errorf("%v %+v", err, changes)
	}
}

// TestConfigureEncryption: a connection becomes one in the clear only where the
// live application's is.
func TestConfigureEncryption(t *testing.T) {
	encrypted := strings.Replace(plainConfig, "array(\n", "array(\n\t'db_tls.enabled' => true,\n", 1)
	to := plainTarget()
	c := configuration(&to)
	if out, changes, err := (Profile{}).Configure(t.Context(), []byte(encrypted), c); err != nil || len(changes) > 0 || string(out) != encrypted {
		t.Errorf("nobody said how: %v %+v", err, changes)
	}
	c.Live = []byte(plainConfig)
	out, changes, err := Profile{}.Configure(t.Context(), []byte(encrypted), c)
	if want := strings.Replace(encrypted, "=> true", "=> false", 1); err != nil || len(changes) != 1 || string(out) != want {
		t.Errorf("the live one is in the clear: %v %+v", err, changes)
	}
}

// TestConfigureForPHP has PHP load the result the way iTop does.
func TestConfigureForPHP(t *testing.T) {
	if _, err := exec.LookPath("php"); err != nil {
		t.Skip("PHP is to read the result, and there is no php:", err)
	}
	for _, password := range []string{`n'\ew`, `\`, `\'`, "a\x00b", "line\nbreak", "a?>b<?php", "// # /*", "$x{$y}", "\xff\xfe", `";phpinfo();//`} {
		to := plainTarget()
		to.Password, to.TLS = core.NewSecret(password), core.DatabaseTLS{Mode: "required"}
		out, _, err := Profile{}.Configure(t.Context(), []byte(plainConfig), configuration(&to))
		if err != nil {
			t.Errorf("%q: %v", password, err)
			continue
		}
		path := filepath.Join(t.TempDir(), "config.php")
		if err := os.WriteFile(path, out, 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := exec.CommandContext(t.Context(), "php", "-n", "-r", `eval('?'.'>'.trim(file_get_contents($argv[1]))); echo trim($MySettings['db_pwd']), "|", var_export($MySettings['db_tls.enabled'], true), "|", count($MySettings), "|", $MyModules['addons']['user rights'];`, path).Output()
		if want := password + "|true|11|addons/x.php"; err != nil || string(got) != want {
			t.Errorf("%q: PHP reads %q, %v", password, got, err)
		}
	}
}

func TestURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://desk.example.org/": "https://desk.example.org/", "http://$SERVER_NAME$/itop/": "", "": "", "desk": "",
	} {
		if got := (Profile{}).URL(profile.App{}, &core.Application{Settings: map[string]string{SettingURL: in}}); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestCompare(t *testing.T) {
	root := install(t, plainConfig)
	write(t, root, map[string]string{
		"datamodels/2.x/itop-tickets/module.itop-tickets.php": "<?php", "extensions/mine/module.mine.php": "<?php", "data/production-modules/hub/module.hub.php": "<?php",
	})
	app := profile.App{Name: "desk", Root: root}
	live, err := Profile{}.Discover(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	modules := func(names ...string) []core.Module {
		out := []core.Module{{Name: "label", Source: "extension:remote"}}
		for _, n := range names {
			out = append(out, core.Module{Name: n})
		}
		return out
	}
	live.Modules = modules("itop-tickets", "mine")
	otherKey := strings.Replace(plainConfig, "not-for-anyone", "another", 1)
	base := func(change func(c *profile.Comparison)) profile.Comparison {
		c := profile.Comparison{
			App: app, Live: live, Target: live.Database, Root: root, Files: true, Settings: true, Config: []byte(plainConfig), LiveConfig: []byte(plainConfig),
			Manifest: &core.Manifest{
				Versions: map[string]string{VersionApplication: "3.2.1-1", VersionRevision: "16749", VersionSchema: "3.2.1-1-16749"},
				Settings: map[string]string{SettingLibrary: "Sodium", SettingURL: "https://desk.example.org/"}, Modules: modules("itop-tickets", "mine"),
			},
		}
		change(&c)
		return c
	}
	schema := func(v string) func(*profile.Comparison) {
		return func(c *profile.Comparison) { c.Manifest.Versions[VersionSchema] = v }
	}
	for name, c := range map[string]struct {
		c    profile.Comparison
		want string // kind and name of what is not plainly fine
	}{
		"same":  {base(func(*profile.Comparison) {}), ""},
		"older": {base(schema("3.1.0-16000")), "fine older-backup"},
		"newer": {base(schema("3.2.2-1")), "decision newer-backup"},
		"newer with its code": {base(func(c *profile.Comparison) {
			c.Manifest.Versions = map[string]string{VersionApplication: "3.3.0", VersionSchema: "3.3.0"}
			c.Code = true
		}), ""},
		"files alone": {base(func(c *profile.Comparison) { c.Target = nil; c.Manifest.Versions[VersionSchema] = "9" }), ""},
		"no code": {base(func(c *profile.Comparison) {
			c.Root = filepath.Join(root, "missing")
			c.Live = nil
			c.Manifest.Modules = nil
		}), "decision no-code " + filepath.Join(root, "missing")},
		"module missing": {base(func(c *profile.Comparison) { c.Manifest.Modules = modules("itop-tickets", "gone") }), "decision modules gone fine modules mine"},
		"module comes back": {base(func(c *profile.Comparison) {
			c.Manifest.Modules = modules("mine", "itop-tickets", "gone")
			c.List = func(_ context.Context, dir string) ([]string, error) {
				return []string{dir + "/gone/module.gone.php"}, nil
			}
		}), ""},
		"module of the hub":          {base(func(c *profile.Comparison) { c.Manifest.Modules = modules("mine", "itop-tickets", "hub") }), ""},
		"installed since":            {base(func(c *profile.Comparison) { c.Manifest.Modules = modules("itop-tickets") }), "fine modules mine"},
		"another key, comes back":    {base(func(c *profile.Comparison) { c.LiveConfig = []byte(otherKey) }), "fine encryption encryption_key"},
		"another key stays":          {base(func(c *profile.Comparison) { c.LiveConfig, c.Settings = []byte(otherKey), false }), "decision encryption encryption_key"},
		"no key":                     {base(func(c *profile.Comparison) { c.Config = []byte(strings.Replace(plainConfig, "not-for-anyone", "", 1)) }), "decision encryption encryption_key"},
		"another address":            {base(func(c *profile.Comparison) { c.Manifest.Settings[SettingURL] = "http://old/" }), "fine url app_root_url"},
		"library that PHP has not":   {base(func(c *profile.Comparison) { c.Live = nil; c.Manifest.Settings[SettingLibrary] = "Sodium" }), "decision encryption Sodium decision php"},
		"library that runs here now": {base(func(*profile.Comparison) {}), "fine encryption Sodium fine php"},
	} {
		p := Profile{PHP: "/no/php", Sockets: []string{}}
		if strings.HasPrefix(name, "library") {
			p.PHP = filepath.Join(t.TempDir(), "php")
			if err := os.WriteFile(p.PHP, []byte("#!/bin/sh\nprintf '8.2.1\\nmysqli\\n'\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for _, f := range p.Compare(t.Context(), c.c) {
			if f.Kind == core.FindingFine && f.Object == "" && f.Name != profile.FindingOlderBackup && (f.Name != profile.FindingPHP || p.PHP == "/no/php") {
				continue
			}
			got = append(got, strings.TrimSpace(string(f.Kind)+" "+f.Name+" "+f.Object))
		}
		if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestCheckRefused(t *testing.T) {
	q := queryRefusing{}
	for _, f := range (Profile{}).Check(t.Context(), q, nil, profile.Restored{}) {
		if f.Kind != core.FindingDecision || !strings.Contains(f.Message, "gone") {
			t.Errorf("%+v", f)
		}
	}
}

type queryRefusing struct{}

func (queryRefusing) Query(context.Context, string) ([][]*string, error) {
	return nil, errors.New("the server is gone")
}
