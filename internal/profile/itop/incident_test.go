package itop

import (
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

func TestIncidentURL(t *testing.T) {
	with := func(setting, root string) string {
		text := strings.Replace(plainConfig, "https://desk.example.org/", root, 1)
		if setting != "" {
			text = strings.Replace(text, "'week_days' => 'monday'", "'itop_backup_incident' => "+setting, 1)
		}
		return text
	}
	for name, c := range map[string]struct{ config, want string }{
		"itself":             {with("", "https://desk.example.org/"), "https://desk.example.org/"},
		"empty means itself": {with("''", "https://desk.example.org/"), "https://desk.example.org/"},
		"another iTop":       {with("'https://noc.example.org/itop'", "https://desk.example.org/"), "https://noc.example.org/itop"},
	} {
		got, err := Profile{}.IncidentURL(t.Context(), profile.App{Name: "desk", Root: install(t, c.config)})
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
	for name, config := range map[string]string{"none": with("", ""), "a script": with("'javascript:alert(1)'", "")} {
		if got, err := (Profile{}).IncidentURL(t.Context(), profile.App{Name: "desk", Root: install(t, config)}); err == nil || core.HintOf(err) == "" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
