package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
)

func TestRestoreKeys(t *testing.T) {
	const day = 24 * time.Hour
	c, err := Parse("f", []byte(repositoryYAML+`
defaults:
  restore: {keep: 2d}
apps:
  - {name: none, profile: itop, root: /one}
  - {name: zero, profile: itop, root: /one, restore: {keep: 0, safety_backup: false}}
  - {name: text, profile: itop, root: /one, restore: {keep: "0"}}
  - {name: parts, profile: itop, root: /one, restore: {keep: 1w2d12h30m, safety_backup: true}, url: "https://desk.example.org/itop/"}
  - {name: hooks, profile: itop, root: /one, hooks: {maintenance_on: [on], maintenance_off: [off], after_restore: [a, b]}}
`))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Restore{}
	for _, a := range c.Apps {
		got[a.Name] = a.Restore
	}
	want := map[string]Restore{
		"none": {Keep: 2 * day, SafetyBackup: true}, "zero": {}, "text": {SafetyBackup: true}, "hooks": {Keep: 2 * day, SafetyBackup: true},
		"parts": {Keep: 9*day + 12*time.Hour + 30*time.Minute, SafetyBackup: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if c.Apps[3].URL != "https://desk.example.org/itop/" {
		t.Errorf("url %q", c.Apps[3].URL)
	}
	hooks := Hooks{MaintenanceOn: []string{"on"}, MaintenanceOff: []string{"off"}, AfterRestore: []string{"a", "b"}}
	if diff := cmp.Diff(hooks, c.Apps[4].Hooks); diff != "" {
		t.Error(diff)
	}
	if plain, err := Parse("f", []byte(repositoryYAML+"apps: [{name: a, profile: itop, root: /one}]")); err != nil || plain.Apps[0].Restore != DefaultRestore() {
		t.Errorf("without any: %+v, %v", plain, err)
	}
}

func TestRestoreKeyErrors(t *testing.T) {
	for in, want := range map[string][2]string{
		"restore: {keep: 7}":              {`f:7:71: "keep" cannot be "7"`, "write a number with w, d, h or m: 7d, 36h, 1w2d; or 0"},
		"restore: {keep: soon}":           {`f:7:71: "keep" cannot be "soon"`, "write a number with w, d, h or m: 7d, 36h, 1w2d; or 0"},
		"restore: {keep: -1d}":            {`f:7:71: "keep" cannot be "-1d"`, "write a number with w, d, h or m: 7d, 36h, 1w2d; or 0"},
		"restore: {keep: 7.5d}":           {`f:7:71: "keep" cannot be "7.5d"`, "write a number with w, d, h or m: 7d, 36h, 1w2d; or 0"},
		"restore: {keep: 9999w}":          {`f:7:71: "keep" cannot be "9999w"`, "ten years are the most"},
		"restore: {keep: 999999m999999h}": {`f:7:71: "keep" cannot be "999999m999999h"`, "ten years are the most"},
		"restore: {keep: [7d]}":           {`f:7:71: "keep" must be text, not a list`, ""},
		"restore: {kept: 7d}":             {`f:7:65: "restore" has no key "kept"`, `did you mean "keep"?`},
		"restore: {safety_backup: yes}":   {`f:7:80: "safety_backup" must be true or false, not text`, "write true"},
		"url: desk.example.org":           {`f:7:60: "url" must be a web address, not "desk.example.org"`, "such as https://desk.example.org/"},
		"url: ftp://a/":                   {`f:7:60: "url" must be a web address, not "ftp://a/"`, "such as https://desk.example.org/"},
		"url: https://u:p@a/":             {`f:7:60: "url" holds a name or password`, "take it out of the address: addresses are shown in messages and logs"},
		"url: https://a/?x=1":             {`f:7:60: "url" must not hold ? or #, as "https://a/?x=1" does`, "give the address of the application's first page"},
		"hooks: {maintenance_on: [x]}":    {`f:7:55: the hooks have one of "maintenance_on" and "maintenance_off"; they go together`, "users that are kept out must be let in again"},
		"hooks: {after_restore: ['']}":    {`f:7:79: an entry of "after_restore" is empty`, "give it a value, or remove the key"},
	} {
		_, err := Parse("f", []byte(repositoryYAML+"\ndefaults:\n  restore: {}\napps: [{name: one, profile: itop, root: /one,         "+in+"}]\n"))
		if err == nil {
			t.Errorf("%s: no error", in)
			continue
		}
		if diff := cmp.Diff(want, [2]string{err.Error(), core.HintOf(err)}); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
}
