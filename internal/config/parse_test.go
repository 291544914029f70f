package config

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/config/proving"
	"github.com/backstay/backstay/internal/config/strict"
	"github.com/backstay/backstay/internal/core"
	"github.com/google/go-cmp/cmp"
)

const repositoryYAML = `repository:
  url: file:///var/lib/backstay/repository
  password_file: /etc/backstay/repository.key
`

// compareSecrets lets cmp see into core.Secret.
var compareSecrets = cmp.Comparer(func(a, b core.Secret) bool { return a.Reveal() == b.Reveal() })

// unsaid fills in what holds where a file says nothing.
func unsaid(a App) App {
	a.Restore, a.CheckSchedule = DefaultRestore(), DefaultCheckSchedule()
	a.Drill.Drill = proving.DefaultDrill()
	return a
}

func TestParseContract(t *testing.T) {
	got, err := Parse("backstay.yaml", []byte(`
repository:
  url: file:///var/lib/backstay/repository      # also s3:// sftp://
  password_file: /etc/backstay/repository.key
state_dir: /srv/backstay/
apps:
  - name: helpdesk                # [a-z0-9][a-z0-9-]{0,62}
    profile: itop
    root: /var/www/itop
    environment: production       # iTop's; default production
  - name: docs
    profile: itflow
    root: /var/www/itflow
  - name: wiki
    profile: generic
    database: {host: 127.0.0.1, port: 3306, socket: "", user: wiki, password_file: /etc/backstay/wiki.pw, name: wiki, prefix: "", tls: {mode: "", ca: ""}}
    files:
      - {path: /var/www/wiki/images, exclude: ["thumb/**"]}
    config: [/var/www/wiki/LocalSettings.php]
    consistency: online           # or readonly
    hooks: {before: [], after: [], readonly_on: [], readonly_off: []}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Repository: Repository{
			URL:          "file:///var/lib/backstay/repository",
			SecretSource: SecretSource{PasswordFile: "/etc/backstay/repository.key"},
		},
		StateDir: "/srv/backstay",
		Service:  DefaultService(),
		Console:  DefaultConsole(),
		Verify:   proving.DefaultVerify(),
		Kit:      proving.DefaultKit(),
		Apps: []App{
			{Name: "helpdesk", Profile: "itop", Root: "/var/www/itop", Environment: "production", Consistency: Online},
			{Name: "docs", Profile: "itflow", Root: "/var/www/itflow", Consistency: Online},
			{
				Name: "wiki", Profile: "generic",
				Database: Database{
					Host: "127.0.0.1", Port: 3306, User: "wiki", Name: "wiki",
					SecretSource: SecretSource{PasswordFile: "/etc/backstay/wiki.pw"},
				},
				Files:       []Files{{Path: "/var/www/wiki/images", Exclude: []string{"thumb/**"}}},
				Config:      []string{"/var/www/wiki/LocalSettings.php"},
				Consistency: Online,
			},
		},
	}
	want.Defaults = unsaid(App{})
	for i := range want.Apps {
		want.Apps[i] = unsaid(want.Apps[i])
	}
	if diff := cmp.Diff(want, got, compareSecrets, cmp.AllowUnexported(Config{})); diff != "" {
		t.Error(diff)
	}
}

func TestDefaultsMergeUnderEachApp(t *testing.T) {
	got, err := Parse("backstay.yaml", []byte(repositoryYAML+`
apps:
  - {name: one, profile: itop, root: /one}
  - name: two
    profile: itop
    root: /two
    database: {password_env: TWO, port: 3308}
    files: [{path: /two/extra}]
    exclude: ["b/**"]
    consistency: online
    hooks: {before: [own]}
# Where it stands in the file does not matter.
defaults:
  environment: test
  database: {user: backup, port: 3307, password_file: /etc/backstay/db.pw, tls: {mode: required}, connections: 2}
  files: [{path: /srv/shared, exclude: ["*.tmp"]}]
  exclude: ["a/**"]
  consistency: readonly
  hooks: {before: [common], after: [done]}
`))
	if err != nil {
		t.Fatal(err)
	}
	shared := Files{Path: "/srv/shared", Exclude: []string{"*.tmp"}}
	database := Database{
		User: "backup", Port: 3307, SecretSource: SecretSource{PasswordFile: "/etc/backstay/db.pw"},
		TLS: core.DatabaseTLS{Mode: "required"}, Connections: 2,
	}
	own := database
	own.Port, own.SecretSource = 3308, SecretSource{PasswordEnv: "TWO"}
	want := []App{
		{
			Name: "one", Profile: "itop", Root: "/one", Environment: "test", Database: database, Files: []Files{shared},
			Exclude: []string{"a/**"}, Consistency: Readonly, Hooks: Hooks{Before: []string{"common"}, After: []string{"done"}},
		},
		{
			Name: "two", Profile: "itop", Root: "/two", Environment: "test", Database: own, Files: []Files{shared, {Path: "/two/extra"}},
			Exclude: []string{"a/**", "b/**"}, Consistency: Online, Hooks: Hooks{Before: []string{"own"}, After: []string{"done"}},
		},
	}
	for i := range want {
		want[i] = unsaid(want[i])
	}
	if diff := cmp.Diff(want, got.Apps, compareSecrets); diff != "" {
		t.Error(diff)
	}
}

func TestAnchorsAndMergeKeys(t *testing.T) {
	got, err := Parse("backstay.yaml", []byte(repositoryYAML+`
apps:
  - &first
    name: one
    profile: itop
    root: /one
    database: &db {user: backup}
  - <<: *first
    name: two
    database: {<<: *db, port: 3307}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []App{
		{Name: "one", Profile: "itop", Root: "/one", Database: Database{User: "backup"}, Consistency: Online},
		{Name: "two", Profile: "itop", Root: "/one", Database: Database{User: "backup", Port: 3307}, Consistency: Online},
	}
	for i := range want {
		want[i] = unsaid(want[i])
	}
	if diff := cmp.Diff(want, got.Apps, compareSecrets); diff != "" {
		t.Error(diff)
	}
}

func TestParseErrors(t *testing.T) {
	app := func(lines ...string) string {
		return repositoryYAML + "apps:\n  - name: one\n    profile: itop\n    root: /one\n    " + strings.Join(lines, "\n    ") + "\n"
	}
	generic := func(lines ...string) string {
		return repositoryYAML + "apps:\n  - name: one\n    profile: generic\n    " + strings.Join(lines, "\n    ") + "\n"
	}
	tests := []struct {
		name, in, message, hint string
	}{
		{"empty", "", `f:1:1: the section "repository" is missing`, "add it, or let `backstay init` write a configuration"},
		{"only comments", "# nothing\n", `f:1:1: the section "repository" is missing`, "add it, or let `backstay init` write a configuration"},
		{"not a mapping", "- a\n", "f:1:1: the configuration must hold keys and values, not a list\nf:1:1: the section \"repository\" is missing", "line 1: write the keys on lines of their own: key: value\nline 1: add it, or let `backstay init` write a configuration"},
		{"unknown key", repositoryYAML + "app: []\n", `f:4:1: the configuration has no key "app"`, `did you mean "apps"?`},
		{"unknown key, nothing near", repositoryYAML + "colour: red\n", `f:4:1: the configuration has no key "colour"`, "keys here are repository, state_dir, archives, scratch, service, console, verify, secrets, kit, defaults, apps"},
		{"unknown key in a section", app("database: {pasword: x}"), `f:8:16: "database" has no key "pasword"`, `did you mean "password"?`},
		{"unknown key in a list", app("files:", "  - path: /a", "    excludes: [b]"), `f:10:9: "files" has no key "excludes"`, `did you mean "exclude"?`},
		{"key of an app in capitals", app("Exclude: [a]"), `f:8:5: "apps" has no key "Exclude"`, `did you mean "exclude"?`},
		{"duplicate key", app("root: /two"), `f:8:5: the key "root" is here twice, first on line 7`, "keep one of the two"},
		{"number for text", app("environment: 12"), `f:8:18: "environment" must be text, not a number`, "put it in quotes if it is meant as text"},
		{"text for number", app(`database: {port: "3306"}`), `f:8:22: "port" must be a number from 1 to 65535, not the text "3306"`, ""},
		{"number too large", app("database: {port: 65536}"), `f:8:22: "port" must be a number from 1 to 65535, not 65536`, ""},
		{"negative number", app("database: {port: -1}"), `f:8:22: "port" must be a number from 1 to 65535, not -1`, ""},
		{"huge number", app("database: {port: 99999999999999999999999}"), `f:8:22: "port" must be a number from 1 to 65535, not the text "99999999999999999999999"`, ""},
		{"list for text", app("environment: [a]"), `f:8:18: "environment" must be text, not a list`, ""},
		{"text for list", app("exclude: a"), `f:8:14: "exclude" must be a list, not text`, "write it as exclude: [one, two], or with a dash before each"},
		{"text for section", app("database: wiki"), `f:8:15: "database" must hold keys and values, not text`, "write it as database: {key: value}, or the keys on lines of their own below it"},
		{"text for an entry of files", app("files: [/a]"), `f:8:13: "files" must hold keys and values, not text`, "write it as files: [{path: /path}]"},
		{"text for files", app("files: /a"), `f:8:12: "files" must be a list, not text`, "write it as files: [{path: /path}]"},
		{"nothing for text", app("environment:"), `f:8:18: "environment" has no value`, "give it a value, or remove the key"},
		{"duplicate app", repositoryYAML + "apps:\n  - {name: a, profile: itop, root: /a}\n  - {name: a, profile: itop, root: /b}\n", `f:6:6: there are two apps called "a", the first on line 5`, "give each app a name of its own"},
		{"invalid app name", repositoryYAML + "apps:\n  - {name: Help Desk, profile: itop, root: /a}\n", `f:5:12: "name" cannot be "Help Desk"`, `did you mean "help-desk"?`},
		{"hopeless app name", repositoryYAML + "apps:\n  - {name: \"…\", profile: itop, root: /a}\n", `f:5:12: "name" cannot be "…"`, "a name has lower-case letters, digits and dashes, at most 63, and begins with a letter or digit"},
		{"no app name", repositoryYAML + "apps:\n  - profile: itop\n    root: /a\n", `f:5:5: the app has no "name"`, "add name: with lower-case letters, digits and dashes"},
		{"no profile", repositoryYAML + "apps:\n  - name: one\n", `f:5:5: the app "one" has no "profile"`, "add profile: itop, itflow or generic"},
		{"unknown profile", repositoryYAML + "apps:\n  - {name: one, profile: itopp, root: /a}\n", `f:5:26: "profile" cannot be "itopp"`, `did you mean "itop"?`},
		{"no root", repositoryYAML + "apps:\n  - {name: one, profile: itflow}\n", `f:5:5: the app "one" has no "root"`, "add root: with the folder that the application is installed in"},
		{"relative root", repositoryYAML + "apps:\n  - {name: one, profile: itop, root: www}\n", `f:5:38: "root" must be an absolute path, not "www"`, "begin it with /"},
		{"home folder", repositoryYAML + "state_dir: ~/state\n", `f:4:12: "state_dir" must be an absolute path, not "~/state"`, "write the home folder out; ~ is not expanded here"},
		{"dots in a path", app("config: [/etc/../x]"), `f:8:14: an entry of "config" must not hold .., as "/etc/../x" does`, `did you mean "/x"?`},
		{"environment with a path", app("environment: a/b"), `f:8:18: "environment" cannot be "a/b"`, "it is the name of a folder below conf/, such as production"},
		{"environment of another profile", repositoryYAML + "apps:\n  - name: one\n    profile: itflow\n    root: /a\n    environment: test\n", `f:8:5: an app with the profile itflow has no "environment"`, "remove it; only iTop has environments"},
		{"consistency", app("consistency: read-only"), `f:8:18: "consistency" cannot be "read-only"`, `did you mean "readonly"?`},
		{"tls mode", app("database: {tls: {mode: on}}"), `f:8:28: "mode" cannot be "on"`, "modes are preferred, required, verify-ca, verify-full"},
		{"half of the read-only hooks", app("hooks: {readonly_on: [a]}"), `f:8:5: the hooks have one of "readonly_on" and "readonly_off"; they go together`, "an application that is made read-only must be made writable again"},
		{"empty hook", app(`hooks: {before: [" "]}`), `f:8:22: an entry of "before" is empty`, "give it a value, or remove the key"},
		{"host and socket", app("database: {host: db, socket: /run/s}"), `f:8:26: "host" and "socket" are both given`, "keep host and port, or socket"},
		{"two passwords", app("database: {password_env: A, password_file: /a}"), `f:8:33: the password is given twice, by "password_env" and by "password_file"`, "keep one of the two"},
		{"password as number", app("database: {password: 123456}"), `f:8:26: "password" must be text, not a number`, "put it in quotes if it is meant as text"},
		{"password in place of a variable", app("database: {password_env: 'hunter2!'}"), `f:8:30: "password_env" must be the name of an environment variable`, "give the name, such as BACKSTAY_PASSWORD, not the password"},
		{"password in place of a file", app("database: {password_file: hunter2}"), `f:8:31: "password_file" must be an absolute path`, "give the path of the file that holds the password, beginning with /"},
		{"absolute exclusion", app("exclude: [/one/cache]"), `f:8:15: an entry of "exclude" must be relative, not "/one/cache"`, "write it relative to the folder that it is for, without the / in front"},
		{"broken glob", app("exclude: ['a[']"), `f:8:15: an entry of "exclude" is not a pattern: "a["`, `* is anything in a name, ** crosses folders; a bracket itself is written \[`},
		{"file without path", app("files:", "  - exclude: [a]"), `f:9:9: an entry of "files" has no "path"`, "add path: with an absolute path"},
		{"file twice", app("files:", "  - path: /a", "  - path: /a/"), `f:10:9: the path "/a" is listed twice`, "keep one of the two"},
		{"generic app with nothing", repositoryYAML + "apps:\n  - {name: one, profile: generic}\n", `f:5:5: there is nothing to back up in the app "one"`, "add database:, files: or root:"},
		{"generic database without name", generic("database: {user: u}"), `f:7:5: "database" has no "name"`, "add name: with the name of the database"},
		{"generic database without user", generic("database: {name: n}"), `f:7:5: "database" has no "user"`, "add user: with the account to log in with"},
		{"generic readonly without hooks", generic("root: /a", "consistency: readonly"), `f:8:5: a generic app cannot be made read-only without hooks`, "add hooks: {readonly_on: [command], readonly_off: [command]}"},
		{"generic exclusions without root", generic("files: [{path: /a}]", "exclude: [b]"), `f:8:5: "exclude" is relative to "root", which is missing`, "add root:, or put the exclusions below files:"},
		{"no url", "repository: {password_env: K}\n", `f:1:1: "repository" has no "url"`, "add url: file:///var/lib/backstay/repository, or where the backups are to live"},
		{"no repository password", "repository: {url: 'file:///a'}\n", `f:1:1: the repository's password is missing`, "add password_file: with the absolute path of the key that `backstay init` made"},
		{"path for url", "repository: {url: /a, password_env: K}\n", `f:1:19: "url" must be an address, not "/a"`, `did you mean "file:///a"?`},
		{"two slashes", "repository: {url: 'file://srv/a', password_env: K}\n", `f:1:19: "url" must have three slashes for a folder, not "file://srv/a"`, `did you mean "file:///srv/a"?`},
		{"unknown scheme", "repository: {url: 'sfpt://h/a', password_env: K}\n", `f:1:19: "url" has the unknown scheme "sfpt"`, `did you mean "sftp"?`},
		{"password in the url", "repository: {url: 'sftp://u:hunter2@h/a', password_env: K}\n", `f:1:19: "url" holds a password`, "take it out of the address: addresses are shown in messages and logs"},
		{"tab", "repository:\n\turl: x\n", "f:2:1: this is not YAML: found character '\t' that cannot start any token", "check the indentation (spaces, not tabs), colons and quotes there"},
		{"unclosed quote", "repository: {url: \"file:///a}\n", "f:1:19: this is not YAML: could not find end character of double-quoted text", "check the indentation (spaces, not tabs), colons and quotes there"},
		{"not UTF-8", "repository:\n  url: \xff\n", "f:2:8: this is not UTF-8 text", "save the file as UTF-8"},
		{"two documents", repositoryYAML + "---\nstate_dir: /a\n", "f:5:10: there is a second document in the file", "remove the line with ---"},
		{"tag", "repository: !!binary aGk=\n", `f:1:13: a configuration has no tags like "!!binary"`, "remove the tag; write the value by itself"},
		{"unknown alias", repositoryYAML + "apps: *nothing\n", `f:4:7: there is no anchor "nothing"`, ""},
		{"alias of itself", repositoryYAML + "apps: &a [*a]\n", `f:4:11: "apps" must hold keys and values, not a list`, "write it as apps: {key: value}, or the keys on lines of their own below it"},
		{"merge of itself", repositoryYAML + "defaults: &a\n  <<: *a\n", "f:5:3: this alias stands for itself", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("f", []byte(tt.in))
			if err == nil {
				t.Fatal("no error")
			}
			if code := core.CodeOf(err); code != core.CodeConfig {
				t.Errorf("code is %q", code)
			}
			if diff := cmp.Diff(tt.message, err.Error()); diff != "" {
				t.Errorf("message: %s\nin:\n%s", diff, tt.in)
			}
			if diff := cmp.Diff(tt.hint, core.HintOf(err)); diff != "" {
				t.Errorf("hint: %s", diff)
			}
			if strings.Contains(err.Error()+core.HintOf(err), "hunter2") {
				t.Error("the error holds the password")
			}
		})
	}
}

func TestSeveralErrorsAreListedInOrder(t *testing.T) {
	_, err := Parse("f", []byte("state_dir: here\nrepository: {url: 'file:///a', pasword_env: K}\n"))
	want := "f:1:12: \"state_dir\" must be an absolute path, not \"here\"\n" +
		"f:2:1: the repository's password is missing\n" +
		"f:2:32: \"repository\" has no key \"pasword_env\""
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	wantHint := "line 1: begin it with /\nline 2: add password_file: with the absolute path of the key that `backstay init` made\nline 2: did you mean \"password_env\"?"
	if diff := cmp.Diff(wantHint, core.HintOf(err)); diff != "" {
		t.Error(diff)
	}
	many := "x: 1\na: 1\nb: 1\nc: 1\nd: 1\ne: 1\ng: 1\nh: 1\ni: 1\nj: 1\nk: 1\n"
	_, err = Parse("f", []byte(repositoryYAML+many))
	if err == nil || !strings.HasSuffix(err.Error(), "\nf: and 1 more") || strings.Count(err.Error(), "\n") != strict.MaxProblems {
		t.Errorf("got %v", err)
	}
}

func TestBombsAreBounded(t *testing.T) {
	laughs := "defaults:\n  exclude: [&e x" + strings.Repeat(", *e", 60_000) + "]\n"
	merges := "{min_backups: 3}"
	for i := range 20 {
		merges = fmt.Sprintf("{<<: &m%d %s, <<: *m%d}", i, merges, i)
	}
	tests := map[string]struct{ in, message string }{
		"laughs":       {repositoryYAML + laughs, "the aliases make this too large"},
		"merges":       {repositoryYAML + "defaults:\n  check: " + merges + "\n", "the aliases make this too large"},
		"itself":       {repositoryYAML + "defaults:\n  exclude: &a [*a, *a]\n", `"exclude" must be text, not a list`},
		"brackets":     {repositoryYAML + "apps: " + strings.Repeat("[", 100_000), "nested deeper than 32 levels"},
		"braces":       {repositoryYAML + "apps: " + strings.Repeat("{a: ", 50_000), "nested deeper than 32 levels"},
		"dashes":       {strings.Repeat("- ", 100_000), "nested deeper than 32 levels"},
		"questions":    {strings.Repeat("? ", 100_000), "nested deeper than 32 levels"},
		"anchors":      {repositoryYAML + "apps: " + strings.Repeat("&a ", 50_000) + "x", ""},
		"large":        {repositoryYAML + strings.Repeat("#", strict.MaxFileBytes), "more than the 262144 that a configuration may have"},
		"indentation":  {indented(600), ""},
		"long unknown": {repositoryYAML + strings.Repeat("k", 100_000) + ": 1\n", `has no key "kkk`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("f", []byte(tt.in))
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tt.message) {
				t.Errorf("got %.300s", err)
			}
			if len(err.Error()) > 20_000 {
				t.Errorf("the message has %d bytes", len(err.Error()))
			}
		})
	}
}

func indented(depth int) string {
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestAppByName(t *testing.T) {
	c := &Config{Apps: []App{{Name: "helpdesk"}, {Name: "docs"}}}
	app, err := c.App("docs")
	if err != nil || app != &c.Apps[1] {
		t.Errorf("got %v, %v", app, err)
	}
	_, err = c.App("helpdsk")
	if core.CodeOf(err) != core.CodeUsage || core.HintOf(err) != `did you mean "helpdesk"?` {
		t.Errorf("got %v, hint %q", err, core.HintOf(err))
	}
}

var update = flag.Bool("update", false, "write the generated files anew")

func TestSchemaFileIsCurrent(t *testing.T) {
	const file = "../../docs/backstay.schema.json"
	want, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("run go generate ./internal/config: %s", diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(repositoryYAML))
	f.Add([]byte(repositoryYAML + "apps:\n  - {name: a, profile: generic, database: {user: u, name: n}, files: [{path: /a}]}\n"))
	f.Add([]byte(repositoryYAML + `
console: {tls: {certificate: /c, key: /k}, proxies: [10.0.0.0/8], headers: {proto: X}, oidc: {issuer: x}}
service: {listen: off, upload_limit: 20MB/s, maintenance: {cron: "@daily"}}
defaults: {schedule: [{time: 23:30, week_days: mon-fri, pause: [{days: [sunday], from: 22:00, to: 24:00}]}, {every: 1h, only: [files]}], retention: {count: 5}}
apps:
  - {name: a, profile: itop, root: /a, schedule: {enabled: false}, check: {free_min: 10%, max_age: off}, notify: [{type: mail, host: localhost, from: a@b, to: [a@b]}]}
`))
	f.Add([]byte("a: &a [*a]\n<<: *a\n"))
	f.Add([]byte("? [a]\n: - b\n--- |\n x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f", data)
		if err != nil {
			if core.CodeOf(err) != core.CodeConfig || !strings.HasPrefix(err.Error(), "f:") {
				t.Errorf("got %v", err)
			}
			return
		}
		if c.Repository.URL == "" || !c.Repository.Given() || !strings.HasPrefix(c.StateDir, "/") {
			t.Errorf("incomplete: %+v", c)
		}
		for _, app := range c.Apps {
			if !core.ValidAppName(app.Name) || app.Profile == "" {
				t.Errorf("incomplete: %+v", app)
			}
			for _, s := range append(slices.Clone(app.Schedules), app.CheckSchedule, c.Service.Maintenance) {
				if err := s.Check(); err != nil {
					t.Errorf("a schedule that cannot be: %v", err)
				}
			}
			for _, d := range app.Notify {
				if d.Name == "" || d.Type == NotifyMail && (d.Mail.Port == 0 || len(d.Mail.To) == 0) {
					t.Errorf("incomplete: %+v", d)
				}
			}
		}
	})
}

// TestPasswordEnv: all variables that hold passwords are known, each once.
func TestPasswordEnv(t *testing.T) {
	app := func(name string) App {
		return App{Database: Database{SecretSource: SecretSource{PasswordEnv: name}}}
	}
	c := Config{
		Repository: Repository{SecretSource: SecretSource{PasswordEnv: "REPO_PW"}}, Defaults: app("DB_PW"),
		Apps: []App{app("DB_PW"), app("OTHER_PW"), app("")},
	}
	if diff := cmp.Diff([]string{"REPO_PW", "DB_PW", "OTHER_PW"}, c.PasswordEnv()); diff != "" {
		t.Error(diff)
	}
}
