package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/retention"
	"github.com/backstay/backstay/internal/schedule"
)

// parsed reads a configuration with a repository.
func parsed(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("f", []byte(repositoryYAML+text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return c
}

func weekly(hour, minute int, days ...time.Weekday) *schedule.Weekly {
	return &schedule.Weekly{Days: days, At: schedule.ClockTime{Hour: hour, Minute: minute}}
}

func TestSchedules(t *testing.T) {
	c := parsed(t, `
apps:
  - {name: none, profile: itop, root: /a}
  - name: itop
    profile: itop
    root: /a
    schedule: {week_days: "monday, tuesday", time: 23:30, timezone: Europe/Paris}
  - name: all
    profile: itop
    root: /a
    schedule:
      - {name: nightly, time: "02:00", week_days: [mon-fri, sunday], jitter: 30m, catch_up: false, enabled: false}
      - cron: "*/15 8-18 * * 1-5"
        only: [files, database]
        pause:
          - {days: [saturday, sunday], from: 22:00, to: 24:00}
          - {from: 18:00, to: 06:00}
          - mon-tue 06:00-07:00
      - {every: 6h}
  - {name: own, profile: itflow, root: /b, schedule: {from_app: true}}
  - {name: off, profile: itop, root: /c, schedule: {enabled: false}}
`)
	want := [][]schedule.Spec{
		nil,
		{{Weekly: weekly(23, 30, time.Monday, time.Tuesday), TimeZone: "Europe/Paris"}},
		{
			{Name: "nightly", Off: true, Weekly: weekly(2, 0, time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday, time.Sunday), Jitter: 30 * time.Minute, NoCatch: true},
			{
				Name: "database-files", Cron: "*/15 8-18 * * 1-5", Only: []core.Component{core.ComponentDatabase, core.ComponentFiles},
				Pauses: []schedule.Pause{
					{Days: []time.Weekday{time.Saturday, time.Sunday}, From: schedule.ClockTime{Hour: 22}, To: schedule.ClockTime{Hour: 24}},
					{From: schedule.ClockTime{Hour: 18}, To: schedule.ClockTime{Hour: 6}},
					{Days: []time.Weekday{time.Monday, time.Tuesday}, From: schedule.ClockTime{Hour: 6}, To: schedule.ClockTime{Hour: 7}},
				},
			},
			{Every: 6 * time.Hour},
		},
		{{FromApp: true}},
		{{Off: true}},
	}
	for i, a := range c.Apps {
		if diff := cmp.Diff(want[i], a.Schedules); diff != "" {
			t.Errorf("%s: %s", a.Name, diff)
		}
		if diff := cmp.Diff(DefaultCheckSchedule(), a.CheckSchedule); diff != "" {
			t.Errorf("%s: %s", a.Name, diff)
		}
	}
}

// TestSchedulesOverDefaults: one schedule changes the default's field by field,
// another way to say when replaces it, and a list replaces all.
func TestSchedulesOverDefaults(t *testing.T) {
	c := parsed(t, `
defaults:
  schedule: {week_days: mon-fri, time: 23:30, timezone: Europe/Paris, jitter: 10m}
  retention: {count: 5, monthly: 12}
apps:
  - {name: same, profile: itop, root: /a}
  - {name: later, profile: itop, root: /a, schedule: {time: "23:45"}, retention: {count: 7}}
  - {name: often, profile: itop, root: /a, schedule: {every: 6h}, retention: [{daily: 7}]}
  - {name: off, profile: itop, root: /a, schedule: {enabled: false}, retention: {monthly: 0}}
  - {name: list, profile: itop, root: /a, schedule: [{from_app: true}], retention: {from_app: true, components: [database]}}
  - {name: never, profile: itop, root: /a, schedule: [], retention: []}
`)
	workdays := []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday}
	spec := schedule.Spec{Weekly: weekly(23, 30, workdays...), TimeZone: "Europe/Paris", Jitter: 10 * time.Minute}
	later, often, off := spec, spec, spec
	later.Weekly = weekly(23, 45, workdays...)
	often.Weekly, often.Every = nil, 6*time.Hour
	off.Off = true
	want := map[string][]schedule.Spec{"same": {spec}, "later": {later}, "often": {often}, "off": {off}, "list": {{FromApp: true}}, "never": nil}
	kept := map[string][]retention.Policy{
		"same": {{Count: 5, Monthly: 12}}, "later": {{Count: 7, Monthly: 12}}, "often": {{Daily: 7}}, "off": {{Count: 5}},
		"list": {{Count: 5, Monthly: 12, FromApp: true, Components: []core.Component{core.ComponentDatabase}}}, "never": nil,
	}
	for _, a := range c.Apps {
		if diff := cmp.Diff(want[a.Name], a.Schedules); diff != "" {
			t.Errorf("%s: %s", a.Name, diff)
		}
		if diff := cmp.Diff(kept[a.Name], a.Retention); diff != "" {
			t.Errorf("%s: %s", a.Name, diff)
		}
	}
	c = parsed(t, `
defaults:
  schedule: [{name: a, time: 23:30}, {name: b, every: 1h}]
apps:
  - {name: off, profile: itop, root: /a, schedule: {enabled: false}}
  - {name: one, profile: itop, root: /a, schedule: {every: 2h}}
  - {name: same, profile: itop, root: /a}
`)
	a, b := schedule.Spec{Name: "a", Weekly: weekly(23, 30)}, schedule.Spec{Name: "b", Every: time.Hour}
	offA, offB := a, b
	offA.Off, offB.Off = true, true
	for i, want := range [][]schedule.Spec{{offA, offB}, {{Every: 2 * time.Hour}}, {a, b}} {
		if diff := cmp.Diff(want, c.Apps[i].Schedules); diff != "" {
			t.Errorf("%s: %s", c.Apps[i].Name, diff)
		}
	}
}

func TestRetention(t *testing.T) {
	c := parsed(t, `
apps:
  - name: a
    profile: itflow
    root: /a
    retention:
      - {count: 3, days: 30, hourly: 24, daily: 7, weekly: 4, monthly: 12, yearly: 10}
      - {components: [files, database], from_app: true}
      - {components: [database], hold: true}
`)
	want := []retention.Policy{
		{Count: 3, Days: 30, Hourly: 24, Daily: 7, Weekly: 4, Monthly: 12, Yearly: 10},
		{Components: []core.Component{core.ComponentDatabase, core.ComponentFiles}, FromApp: true},
		{Components: []core.Component{core.ComponentDatabase}, Hold: true},
	}
	if diff := cmp.Diff(want, c.Apps[0].Retention); diff != "" {
		t.Error(diff)
	}
}

func TestScheduleErrors(t *testing.T) {
	const days = `write days as "monday, tuesday", "mon, tue" or "mon-fri"; leave week_days out for all seven`
	const times = `write a time as "23:30", from 00:00 to 23:59`
	checkErrors(t, [][3]string{
		{"schedule: 23:30", `f:7:15: "schedule" must hold keys and values, not text`, "write it as schedule: {time: 23:30}"},
		{"schedule:", `f:7:14: "schedule" has no value`, "write schedule: [] for none, or remove the key"},
		{"schedule: {}", `f:7:5: "schedule" does not say when`, "add time:, cron:, every: or from_app: true; no schedule at all is schedule: []"},
		{"schedule: {enabled: true}", `f:7:5: "schedule" does not say when`, "add time:, cron:, every: or from_app: true; no schedule at all is schedule: []"},
		{"schedule: {enabled: false, week_days: monday}", `f:7:32: "schedule" has "week_days" and no "time"`, "add time:, such as time: 23:30"},
		{"schedule: {time: 25:00}", `f:7:22: "time": "25:00" is not a time of day`, times},
		{"schedule: {time: 2330}", `f:7:22: "time" must be text, not a number`, "put it in quotes if it is meant as text"},
		{`schedule: {tiem: "23:30"}`, `f:7:16: "schedule" has no key "tiem"`, `did you mean "time"?`},
		{"schedule: {week_days: monday}", `f:7:16: "schedule" has "week_days" and no "time"`, "add time:, such as time: 23:30"},
		{"schedule: {time: 23:30, week_days: mercredi}", `f:7:40: "week_days": "mercredi" is not a day of the week`, days},
		{"schedule: {time: 23:30, week_days: [monday, tusday]}", `f:7:49: "week_days": "tusday" is not a day of the week: is it tuesday?`, days},
		{"schedule: {time: 23:30, week_days: []}", `f:7:40: "week_days": no day is named`, days},
		{"schedule: {time: 23:30, every: 1h}", `f:7:29: "schedule" says twice when: by "time" and by "every"`, "keep one of the two"},
		{`schedule: {from_app: true, cron: "0 * * * *"}`, `f:7:16: "schedule" says twice when: by "cron" and by "from_app"`, "keep one of the two"},
		{`schedule: {cron: "61 * * * *"}`, `f:7:22: "cron": cron expression "61 * * * *": "61" is not a minute (0 to 59)`, `write minute, hour, day of the month, month and day of the week: "30 23 * * 1-5", or @hourly, @daily, @weekly, @monthly, @yearly`},
		{"schedule: {cron: */5 * * * *}", "f:7:26: this is not YAML: ',' or '}' must be specified", "put a value that begins with * into quotes"},
		{"schedule: {every: 0}", `f:7:23: "every" cannot be "0"`, "write a minute or more, with w, d, h or m: 6h, 30m, 1d"},
		{"schedule: {every: 30}", `f:7:23: "every" cannot be "30"`, "write a minute or more, with w, d, h or m: 6h, 30m, 1d"},
		{"schedule: {every: 6}", `f:7:23: "every" cannot be "6"`, "write a minute or more, with w, d, h or m: 6h, 30m, 1d"},
		{"schedule: {every: 30s}", `f:7:23: "every" cannot be "30s"`, "write a minute or more, with w, d, h or m: 6h, 30m, 1d"},
		{"schedule: {every: 0h}", `f:7:23: "every" cannot be "0h"`, "write a minute or more, with w, d, h or m: 6h, 30m, 1d"},
		{"schedule: {every: 99999w}", `f:7:23: "every" cannot be "99999w"`, "write a minute or more, with w, d, h or m: 6h, 30m, 1d"},
		{"schedule: {time: 23:30, timezone: Paris}", `f:7:39: "timezone" is not a time zone: "Paris"`, "such as Europe/Paris, America/New_York or UTC"},
		{"schedule: {time: 23:30, timezone: Local}", `f:7:39: "timezone" is not a time zone: "Local"`, "such as Europe/Paris, America/New_York or UTC"},
		{"schedule: {time: 23:30, pause: [{from: 22:00, to: 26:00}]}", `f:7:51: "to": "26:00" is not a time of day`, times},
		{"schedule: {time: 23:30, pause: [{from: 22:00}]}", `f:7:37: a pause needs "from" and "to"`, `such as {from: "08:00", to: "18:00"}`},
		{"schedule: {time: 23:30, pause: [{from: 08:00, to: 08:00}]}", `f:7:51: "to": the pause 08:00-08:00 is empty`, `give its first minute and the one after its last: {from: "08:00", to: "18:00"}`},
		{"schedule: {time: 23:30, pause: [\"mon-fri 08:00-08:00\"]}", `f:7:37: "pause": the pause 08:00-08:00 is empty`, `give its first minute and the one after its last: {from: "08:00", to: "18:00"}`},
		{"schedule: {time: 23:30, pause: [always]}", `f:7:37: "pause": "always" is not a pause`, `write a pause as "08:00-18:00" or "mon-fri 08:00-18:00"`},
		{"schedule: {time: 23:30, pause: [{from: 00:00, to: 24:00}]}", `f:7:29: "schedule": its pauses leave no minute of the week`, "leave time between them, or set enabled: false"},
		{"schedule: {time: 23:30, pause: {from: 22:00, to: 24:00}}", `f:7:36: "pause" must be a list, not keys and values`, "write it as pause: [{from: 08:00, to: 18:00}]"},
		{"schedule: {time: 23:30, only: [databse]}", `f:7:36: an entry of "only" cannot be "databse"`, "components are config, database, files and code"},
		{"schedule: {time: 23:30, only: [database, database]}", `f:7:46: "only" has "database" twice`, "keep one of the two"},
		{"schedule: {time: 23:30, enabled: no}", `f:7:38: "enabled" must be true or false, not text`, "write false"},
		{"schedule: [{time: 23:30}, {every: 1h}]", "f:7:31: there are two schedules, the first on line 7", "give each a name of its own, with name:"},
		{"schedule: [{time: 23:30, name: a}, {every: 1h, name: a}]", `f:7:52: there are two schedules "a", the first on line 7`, "give each a name of its own, with name:"},
		{"schedule: [{time: 23:30, only: [files]}, {every: 1h, only: [files]}]", `f:7:46: there are two schedules "files", the first on line 7`, "give each a name of its own, with name:"},
		{"schedule: [{time: 23:30, name: A B}]", `f:7:36: "name" cannot be "A B"`, "a name has lower-case letters, digits and dashes, at most 63, and begins with a letter or digit"},
	})
}

func TestRetentionErrors(t *testing.T) {
	const rule = "add a rule, such as daily: 7; or hold: true to keep everything"
	checkErrors(t, [][3]string{
		{"retention: 5", `f:7:16: "retention" must hold keys and values, not a number`, "write it as retention: {count: 5}"},
		{"retention:", `f:7:15: "retention" has no value`, "write retention: [] for none, or remove the key"},
		{"retention: {}", `f:7:5: "retention" has no rule`, rule},
		{"retention: {count: 0}", `f:7:5: "retention" has no rule`, rule},
		{"retention: {components: [database]}", `f:7:5: "retention" has no rule`, rule},
		{"retention: {count: -1}", `f:7:24: "count" must be a number from 0 to 10000, not -1`, ""},
		{"retention: {conut: 5}", `f:7:17: "retention" has no key "conut"`, `did you mean "count"?`},
		{"retention: [{count: 5}, {days: 5}]", "f:7:29: there are two policies for the backups that no other is for, the first on line 7", "keep one of the two"},
		{"retention: [{count: 5, components: [files, database]}, {days: 5, components: [database, files]}]", "f:7:70: there are two policies for database, files, the first on line 7", "keep one of the two"},
	})
	_, err := Parse("f", []byte(repositoryYAML+"defaults:\n  retention: {from_app: true}\napps:\n  - {name: w, profile: generic, root: /w}\n  - {name: v, profile: generic, root: /v, retention: [], schedule: {from_app: true}}\n"))
	want := "f:7:5: a generic app has no settings for \"from_app\"\nf:8:58: a generic app has no settings for \"from_app\""
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

// checkErrors reads an app with each text, which begins at 7:5, and compares
// message and hint.
func checkErrors(t *testing.T, tests [][3]string) {
	t.Helper()
	for _, tt := range tests {
		_, err := Parse("f", []byte(repositoryYAML+"apps:\n  - name: one\n    profile: itop\n    "+tt[0]+"\n    root: /one\n"))
		if err == nil {
			t.Errorf("%s: no error", tt[0])
			continue
		}
		if diff := cmp.Diff([2]string{tt[1], tt[2]}, [2]string{err.Error(), core.HintOf(err)}); diff != "" {
			t.Errorf("%s: %s", tt[0], diff)
		}
		if core.CodeOf(err) != core.CodeConfig || strings.Contains(err.Error()+core.HintOf(err), "hunter2") {
			t.Errorf("%s: code %q, message %v", tt[0], core.CodeOf(err), err)
		}
	}
}
