package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/check"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/retention"
	"github.com/backstay/backstay/internal/schedule"
)

func TestCheck(t *testing.T) {
	const day = 24 * time.Hour
	c := parsed(t, `
defaults:
  check: {rows_drop: 30, verify_age: 30d, ignore_tables: [sessions]}
apps:
  - {name: same, profile: itop, root: /a}
  - name: all
    profile: itop
    root: /a
    check:
      schedule: {time: 06:00, week_days: mon-fri}
      size_min: 10MB
      size_reduction_max: 12.5%
      max_age: 1d2h
      min_backups: 7
      deviations: 4.5
      rows_drop: 50
      rows_min: 1_000
      size_drop: 20%
      noise_rise: 10
      verify_age: 0
      drill_age: 13w
      free_min: 50GB
      full_within: 30d
      maintenance_age: 2d
      ignore_tables: ["log_*", cache]
  - name: off
    profile: itop
    root: /a
    check: {enabled: false, size_min: 0, size_reduction_max: off, max_age: off, min_backups: off, deviations: 0, rows_drop: off, rows_min: off, size_drop: off, noise_rise: off, verify_age: off, drill_age: off, free_min: off, full_within: 0h, maintenance_age: off, schedule: {enabled: false}}
  - {name: share, profile: itop, root: /a, check: {free_min: 7.5%}}
`)
	off := DefaultCheckSchedule()
	off.Off = true
	want := []check.Limits{
		{RowsDrop: 30, VerifyAge: 30 * day, IgnoreTables: []string{"sessions"}},
		{
			SizeMin: 10e6, SizeReductionMax: 12.5, MaxAge: 26 * time.Hour, MinBackups: 7, Deviations: 4.5, RowsDrop: 50, RowsMin: 1000, SizeDrop: 20, NoiseRise: 10,
			DrillAge: 91 * day, FreeMin: -1, FreeMinBytes: 50e9, FullWithin: 30 * day, MaintenanceAge: 2 * day, IgnoreTables: []string{"log_*", "cache"},
		},
		{
			Off: true, SizeMin: -1, MaxAge: -1, MinBackups: -1, Deviations: -1, RowsDrop: -1, RowsMin: -1, SizeDrop: -1, NoiseRise: -1, FreeMin: -1, FreeMinBytes: -1,
			DrillAge: -1, FullWithin: -1, MaintenanceAge: -1, IgnoreTables: []string{"sessions"},
		},
		{RowsDrop: 30, VerifyAge: 30 * day, IgnoreTables: []string{"sessions"}, FreeMin: 7.5, FreeMinBytes: -1},
	}
	when := []schedule.Spec{
		DefaultCheckSchedule(),
		{Name: "check", Weekly: weekly(6, 0, time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday)},
		off, DefaultCheckSchedule(),
	}
	for i, a := range c.Apps {
		if diff := cmp.Diff(want[i], a.Check); diff != "" {
			t.Errorf("%s: %s", a.Name, diff)
		}
		if diff := cmp.Diff(when[i], a.CheckSchedule); diff != "" {
			t.Errorf("%s: %s", a.Name, diff)
		}
	}
}

func TestCheckErrors(t *testing.T) {
	checkErrors(t, [][3]string{
		{"check: {size_min: 10 apples}", `f:7:23: "size_min" cannot be "10 apples"`, "write a whole number with B, kB, MB, GB, TB, KiB, MiB, GiB or TiB: 500GB, 1TiB"},
		{"check: {size_reduction_max: 120}", `f:7:33: "size_reduction_max" cannot be "120"`, "write a number up to 100, or off"},
		{"check: {rows_drop: -1}", `f:7:24: "rows_drop" cannot be "-1"`, "write a number up to 100, or off"},
		{"check: {max_age: 26}", `f:7:22: "max_age" cannot be "26"`, "write a number with w, d, h or m: 7d, 36h, 1w2d; or off"},
		{"check: {free_min: 10}", `f:7:23: "free_min" cannot be "10"`, "write 10% for a share of the storage, or a size such as 50GB"},
		{"check: {free_min: 200%}", `f:7:23: "free_min" cannot be "200"`, "write a number up to 100, or off"},
		{"check: {free_min: much}", `f:7:23: "free_min" cannot be "much"`, "write a share of the storage, such as 10%, or a size, such as 50GB; or off"},
		{"check: {deviations: 1e9}", `f:7:25: "deviations" cannot be "1e9"`, "write a number up to 1000, or off"},
		{"check: {rows_min: 1.5}", `f:7:23: "rows_min" cannot be "1.5"`, "write a whole number up to 1099511627776, or off"},
		{"check: {ignore_tables: [/a]}", `f:7:29: an entry of "ignore_tables" cannot be "/a"`, "write the name of a table: * is anything in it"},
		{"check: {schedule: {from_app: true}}", `f:7:24: "schedule" has no key "from_app"`, "keys here are enabled, week_days, time, cron, every, timezone, jitter, catch_up, pause"},
		{"check: {schedule: {time: 99:00}}", `f:7:30: "time": "99:00" is not a time of day`, `write a time as "23:30", from 00:00 to 23:59`},
		{"check: off", `f:7:12: "check" must hold keys and values, not text`, "write it as check: {max_age: 26h}; to switch checks off: {enabled: false}"},
	})
}

func TestNotify(t *testing.T) {
	c := parsed(t, `
defaults:
  notify: [{type: chat, url_env: CHAT}]
apps:
  - {name: same, profile: itop, root: /a}
  - {name: none, profile: itop, root: /a, notify: []}
  - name: all
    profile: itop
    root: /a
    notify:
      - {type: itop, url: "https://itop/", user: robot, password_env: ITOP, customer: Demo, soap: true, title: T, service: S, service_subcategory: SS, workgroup: W, impacted_server: srv, caller: Me Too, ca: /ca.pem}
      - {name: other, type: itflow, fallback: true, url: "http://127.0.0.1:8080/", api_key_file: /key, client_id: 3, contact_id: 4, priority: High, assigned_to: 5}
      - {type: mail, host: smtp.example.org, from: Backup <b@example.org>, to: [a@example.org, c@example.org], user: u, password_env: MAIL}
      - {name: direct, type: mail, host: localhost, tls: none, from: b@example.org, to: [a@example.org]}
      - {name: tls, type: mail, host: smtp.example.org, tls: implicit, port: 4650, from: b@example.org, to: [a@example.org]}
      - {type: webhook, url: "https://hooks/x?token=hunter2", secret_env: HOOK, headers: {Authorization: Bearer hunter2}}
      - {type: chat, url: "slack://hunter2"}
      - {type: ping, url_file: /ping, ca: /ca.pem}
`)
	env := func(name string) SecretSource { return SecretSource{PasswordEnv: name} }
	chat := []Destination{{Name: "chat", Type: NotifyChat, Address: env("CHAT")}}
	want := [][]Destination{chat, nil, {
		{
			Name: "itop", Type: NotifyITop, URL: "https://itop/", User: "robot", Secret: env("ITOP"), CA: "/ca.pem",
			ITop: ITopTicket{SOAP: true, Title: "T", Customer: "Demo", Service: "S", ServiceSubcategory: "SS", Workgroup: "W", ImpactedServer: "srv", Caller: "Me Too"},
		},
		{Name: "other", Type: NotifyITFlow, Fallback: true, URL: "http://127.0.0.1:8080/", Secret: SecretSource{PasswordFile: "/key"}, ITFlow: ITFlowTicket{ClientID: 3, ContactID: 4, Priority: "High", AssignedTo: 5}},
		{Name: "mail", Type: NotifyMail, User: "u", Secret: env("MAIL"), Mail: Mail{Host: "smtp.example.org", Port: 587, TLS: "starttls", From: "Backup <b@example.org>", To: []string{"a@example.org", "c@example.org"}}},
		{Name: "direct", Type: NotifyMail, Mail: Mail{Host: "localhost", Port: 25, TLS: "none", From: "b@example.org", To: []string{"a@example.org"}}},
		{Name: "tls", Type: NotifyMail, Mail: Mail{Host: "smtp.example.org", Port: 4650, TLS: "implicit", From: "b@example.org", To: []string{"a@example.org"}}},
		{
			Name: "webhook", Type: NotifyWebhook, Address: SecretSource{Password: core.NewSecret("https://hooks/x?token=hunter2")}, Secret: env("HOOK"),
			Headers: map[string]core.Secret{"Authorization": core.NewSecret("Bearer hunter2")},
		},
		{Name: "chat", Type: NotifyChat, Address: SecretSource{Password: core.NewSecret("slack://hunter2")}},
		{Name: "ping", Type: NotifyPing, Address: SecretSource{PasswordFile: "/ping"}, CA: "/ca.pem"},
	}}
	for i, a := range c.Apps {
		if diff := cmp.Diff(want[i], a.Notify, compareSecrets); diff != "" {
			t.Errorf("%s: %s", a.Name, diff)
		}
	}
	if diff := cmp.Diff([]string{"CHAT", "ITOP", "MAIL", "HOOK"}, c.PasswordEnv()); diff != "" {
		t.Error(diff)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
}

// TestSecretsOfDestinationsNeedAPrivateFile: an address or a header can open
// doors as a password does.
func TestSecretsOfDestinationsNeedAPrivateFile(t *testing.T) {
	for destination, open := range map[string]bool{
		"{type: chat, url: 'slack://hunter2'}":                      false,
		"{type: ping, url: 'https://hunter2/'}":                     false,
		"{type: webhook, url_file: /a, secret: hunter2}":            false,
		"{type: webhook, url_file: /a, headers: {X-Key: hunter2}}":  false,
		"{type: itflow, url: 'https://a/', api_key: hunter2}":       false,
		"{type: webhook, url_file: /a, secret_env: S, headers: {}}": true,
	} {
		path := filepath.Join(t.TempDir(), "backstay.yaml")
		text := repositoryYAML + "defaults:\n  notify: [" + destination + "]\n"
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path)
		if (err == nil) != open {
			t.Errorf("%s in a file that all can read: %v", destination, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "holds a password") || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: %v", destination, err)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err != nil {
			t.Errorf("%s in a private file: %v", destination, err)
		}
	}
}

func TestNotifyErrors(t *testing.T) {
	checkErrors(t, [][3]string{
		{"notify: mail", `f:7:13: "notify" must be a list, not text`, "write it as notify: [{type: mail, …}]"},
		{"notify:", `f:7:5: "notify" has no value`, "write notify: [] for none, or remove the key"},
		{"notify: [mail]", `f:7:14: "notify" must hold keys and values, not text`, "write it as notify: [{type: mail, …}]"},
		{"notify: [{name: x}]", `f:7:14: an entry of "notify" has no "type"`, "add type: itop, itflow, mail, webhook, chat, ping"},
		{"notify: [{type: email}]", `f:7:21: "type" cannot be "email"`, `did you mean "mail"?`},
		{"notify: [{type: chat}]", "f:7:14: the address of a destination is missing", "add url:, url_file: or url_env:"},
		{"notify: [{type: chat, url: hunter2}]", `f:7:32: "url" must be an address of a chat service`, "such as slack://…, teams://…, telegram://… or matrix://…"},
		{`notify: [{type: chat, url: "slack://hunter2", url_env: A}]`, `f:7:51: the address of a destination is given twice, by "url" and by "url_env"`, "keep one of the two"},
		{`notify: [{type: chat, url: "slack://hunter2", host: a}]`, `f:7:51: "notify" has no key "host"`, "keys here are name, type, fallback, url, url_file, url_env"},
		{`notify: [{type: ping, url: "slack://hunter2"}]`, `f:7:32: "url" must be a web address`, "such as https://hooks.example.org/backups"},
		{"notify: [{type: ping, url_file: hunter2}]", `f:7:37: "url_file" must be an absolute path`, "give the path of the file that holds the address, beginning with /"},
		{`notify: [{type: itop, url: "https://user:hunter2@a/", user: a, password_file: /a, customer: Demo}]`, `f:7:32: "url" holds a name or password`, "take it out of the address: addresses are shown in messages and logs"},
		{`notify: [{type: itop, url: "https://a/"}]`, "f:7:14: a destination of the type itop has no \"user\"\nf:7:14: a destination of the type itop has no \"customer\"\nf:7:14: the password of a destination is missing", "line 7: add user:\nline 7: add customer:\nline 7: add password_file:, or password_env:"},
		{`notify: [{type: itflow, url: "https://a/", api_key_env: A, priority: high}]`, `f:7:74: "priority" cannot be "high"`, `did you mean "High"?`},
		{`notify: [{type: itflow, url: "https://a/", api_key_env: "hunter2!"}]`, `f:7:61: "api_key_env" must be the name of an environment variable`, "give the name, such as BACKSTAY_PASSWORD, not the API key"},
		{"notify: [{type: mail, host: a, from: b, to: [c@d]}]", `f:7:42: "from" must be an address of mail, not "b"`, "such as admin@example.org"},
		{"notify: [{type: mail, host: a, from: b@c, to: []}]", `f:7:47: "to" is empty`, "name who gets the mail: to: [admin@example.org]"},
		{"notify: [{type: mail, host: a, from: b@c, to: [c@d], user: x}]", "f:7:58: a user and a password go together", "give both, or none of them"},
		{"notify: [{type: mail, host: a, from: b@c, to: [c@d], user: x, password: hunter2, tls: none}]", "f:7:86: the password would be sent to another machine without encryption", "use tls: starttls or tls: implicit"},
		{`notify: [{type: webhook, url_file: /a, headers: {"A B": hunter2}}]`, `f:7:54: "A B" cannot be the name of a header`, "such as X-Origin or Authorization"},
		{`notify: [{type: webhook, url_file: /a, headers: {A: "hunter2\nX: y"}}]`, `f:7:54: the value of the header "A" holds a line end or another control character`, "write it on one line"},
		{"notify: [{type: ping, url_file: /a}, {type: ping, url_file: /b}]", `f:7:42: there are two destinations called "ping"`, "give each a name of its own, with name:"},
	})
}

func TestService(t *testing.T) {
	c := parsed(t, `
service:
  listen: off
  parallel: 3
  nice: 0
  ionice: idle
  upload_limit: 20MB/s
  download_limit: 1GiB
  log: json
  stop: finish
  maintenance: {week_days: sunday}
`)
	want := Service{
		Parallel: 3, IONice: "idle", UploadLimit: 20e6, DownloadLimit: 1 << 30, Log: "json", Stop: StopFinish, StopTimeout: 30 * time.Minute, Timeout: 24 * time.Hour,
		Maintenance: schedule.Spec{Name: "maintenance", Weekly: weekly(4, 30, time.Sunday)},
	}
	if diff := cmp.Diff(want, c.Service); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(DefaultService(), parsed(t, "").Service); diff != "" {
		t.Error(diff)
	}
	for in, want := range map[string][2]string{
		"listen: 8484":             {`f:5:11: "listen" cannot be "8484"`, "write host:port, such as 127.0.0.1:8484; or off"},
		"listen: 127.0.0.1:http":   {`f:5:11: "listen" cannot be "127.0.0.1:http"`, "write host:port, such as 127.0.0.1:8484; or off"},
		"parallel: 0":              {`f:5:13: "parallel" must be a number from 1 to 64, not 0`, ""},
		"nice: -5":                 {`f:5:9: "nice" must be a number from 0 to 19, not -5`, ""},
		"upload_limit: fast":       {`f:5:17: "upload_limit" cannot be "fast"`, "write a whole number with B, kB, MB, GB, KiB, MiB or GiB a second: 20MB/s; or off"},
		"stop: wait":               {`f:5:9: "stop" cannot be "wait"`, "values are finish, cancel"},
		"maintenance: {only: [a]}": {`f:5:17: "maintenance" has no key "only"`, "keys here are enabled, week_days, time, cron, every, timezone, jitter, catch_up, pause"},
	} {
		_, err := Parse("f", []byte(repositoryYAML+"service:\n  "+in+"\n"))
		if err == nil {
			t.Errorf("%s: no error", in)
			continue
		}
		if diff := cmp.Diff(want, [2]string{err.Error(), core.HintOf(err)}); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
}

// TestUnwise: what can be meant so is a warning.
func TestUnwise(t *testing.T) {
	c := parsed(t, `
service: {listen: "0.0.0.0:8484"}
defaults:
  notify: [{type: itflow, url: "http://itflow.example.org/", api_key_env: K}]
`)
	want := []core.Warning{
		{Code: "unencrypted", Object: "f:7:27", Message: "the password for http://itflow.example.org/ crosses the network without encryption; use https"},
		{Code: "exposed", Object: "f:5:11", Message: "metrics and health are shown to every machine that reaches 0.0.0.0:8484, without a password"},
		{Code: "exposed", Object: "f:5:11", Message: "nobody can log in to the console from other machines without TLS; add tls: to console:, or proxies: and headers:"},
	}
	if diff := cmp.Diff(want, c.Warnings); diff != "" {
		t.Error(diff)
	}
}

// TestStandaloneReadsBackSchedules: schedules and retention are written as they
// are read.
func TestStandaloneReadsBackSchedules(t *testing.T) {
	want := Config{Repository: Repository{URL: "file:///r", SecretSource: SecretSource{PasswordFile: "/k"}}, StateDir: "/s", Apps: []App{
		{
			Name: "a", Profile: "itop", Root: "/a", Consistency: Online,
			Schedules: []schedule.Spec{
				{
					Name: "nightly", Weekly: weekly(7, 5, time.Monday, time.Sunday), TimeZone: "Europe/Paris", Jitter: 90 * time.Minute, NoCatch: true, Off: true,
					Pauses: []schedule.Pause{{From: schedule.ClockTime{Hour: 22}, To: schedule.ClockTime{Hour: 24}}, {Days: []time.Weekday{time.Friday}, From: schedule.ClockTime{Hour: 1}, To: schedule.ClockTime{Minute: 30}}},
				},
				{Name: "true", Cron: "*/5 * * * 1-5", Only: []core.Component{core.ComponentDatabase}},
				{Name: "often", Every: 26*time.Hour + 30*time.Minute},
				{Name: "own", FromApp: true},
				{Name: "off", Off: true},
			},
			Retention: []retention.Policy{
				{Count: 1, Days: 2, Hourly: 3, Daily: 4, Weekly: 5, Monthly: 6, Yearly: 7},
				{Components: []core.Component{core.ComponentDatabase}, FromApp: true},
				{Components: []core.Component{core.ComponentConfig, core.ComponentFiles}, Hold: true},
			},
		},
		{Name: "b", Profile: "itop", Root: "/b", Consistency: Online, Schedules: []schedule.Spec{{Weekly: weekly(23, 30)}}, Retention: []retention.Policy{{Count: 5}}},
	}}
	text, err := want.Standalone()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse("f", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for i := range want.Apps {
		want.Apps[i] = unsaid(want.Apps[i])
	}
	if diff := cmp.Diff(want.Apps, got.Apps, compareSecrets); diff != "" {
		t.Errorf("%s\n%s", diff, text)
	}
	// And of a template, which an application's settings are written into.
	template, err := Template(TemplateInput{RepositoryURL: "file:///r", KeyFile: "/k", StateDir: "/s", Installs: []Install{
		{Profile: "itop", Root: "/a", Schedules: want.Apps[0].Schedules, Retention: want.Apps[0].Retention}, {Profile: "itop", Root: "/b"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err = Parse("f", template); err != nil {
		t.Fatalf("%v\n%s", err, template)
	}
	if diff := cmp.Diff(want.Apps[0].Schedules, got.Apps[0].Schedules); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want.Apps[0].Retention, got.Apps[0].Retention); diff != "" {
		t.Error(diff)
	}
}

// TestDocumentedExamples: what docs/configuration.md shows can be written so.
func TestDocumentedExamples(t *testing.T) {
	data, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(data), "```")
	n := 0
	for i, block := range slices.All(blocks) {
		text, ok := strings.CutPrefix(block, "yaml\n")
		if i%2 == 0 || !ok {
			continue
		}
		n++
		if !strings.HasPrefix(text, "repository:") {
			text = repositoryYAML + text
		}
		if _, err := Parse("example", []byte(text)); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
	if n < 2 {
		t.Errorf("found %d examples", n)
	}
}
