package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
)

// TestExcusing: a schedule with a mistake keeps nobody from a restore, and is
// nothing that anything could run by; any other mistake is an error as ever.
func TestExcusing(t *testing.T) {
	with := func(schedule, more string) string {
		path := filepath.Join(t.TempDir(), "backstay.yaml")
		text := "repository: {url: file:///r, password_file: /k}\napps:\n  - name: wiki\n    profile: generic\n    root: /w\n    schedule: " + schedule + "\n" + more +
			"  - name: docs\n    profile: generic\n    root: /d\n    schedule: {time: 03:00}\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, schedule := range map[string]string{
		"a day": "{week_days: mondey, time: 02:00}", "a cron": "{cron: '* * * * 9'}", "a key": "{tyme: 02:00}", "not when": "{enabled: true}", "a zone": "{time: 02:00, timezone: Europe/Pari}",
		"in a list": "[{name: a, time: 02:00}, {name: b, every: 1x}]",
	} {
		path := with(schedule, "")
		if _, err := Load(path); core.CodeOf(err) != core.CodeConfig {
			t.Errorf("%s: Load: %v", name, err)
		}
		c, err := LoadExcusing(path)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		last := c.Apps[0].Schedules[len(c.Apps[0].Schedules)-1]
		if last.Broken == "" || last.Check() == nil {
			t.Errorf("%s: the schedule can be used: %+v", name, last)
		}
		if len(c.Warnings) == 0 || !strings.Contains(c.Warnings[0].Object, path+":6:") {
			t.Errorf("%s: warnings %v", name, c.Warnings)
		}
		if err := c.Apps[1].Schedules[0].Check(); err != nil {
			t.Errorf("%s: the other app's schedule: %v", name, err)
		}
		if _, err := c.Standalone(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := LoadExcusing(with("{time: 02:00}", "    exclud: [x]\n")); core.CodeOf(err) != core.CodeConfig {
		t.Errorf("another mistake: %v", err)
	}
}
