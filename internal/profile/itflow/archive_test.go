package itflow

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

const backupKey = `YdJd'\-4iR7AgEET`

// TestArchivePassword: from the live application, from its text, and never in
// words.
func TestArchivePassword(t *testing.T) {
	p := newProfile()
	config := plainConfig + "$config_backup_key = 'YdJd\\'\\\\-4iR7AgEET';\n"
	app := profile.App{Name: "docs", Root: install(t, config)}
	got, err := p.ArchivePassword(t.Context(), app)
	if err != nil || got.Reveal() != backupKey {
		t.Errorf("%v, %v", got, err)
	}
	if got, ok := p.ArchivePasswordIn([]byte(config)); !ok || got.Reveal() != backupKey {
		t.Errorf("%v, %v", got, ok)
	}
	if text := fmt.Sprintf("%v %+v %#v", got, got, got); text != "***** ***** *****" {
		t.Errorf("it says %s", text)
	}
	for name, config := range map[string]string{"none": plainConfig, "empty": plainConfig + "$config_backup_key = '';", "null": plainConfig + "$config_backup_key = null;"} {
		app.Root = install(t, config)
		if got, err := p.ArchivePassword(t.Context(), app); err != nil || !got.Empty() {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if _, ok := p.ArchivePasswordIn([]byte(config)); ok {
			t.Errorf("%s: it is there", name)
		}
	}
	for name, config := range map[string]string{
		"computed": plainConfig + "$config_backup_key = getenv('KEY');", "array": plainConfig + "$config_backup_key = array('x');", "broken": "<?php $config_backup_key = '", "included": "<?php include 'x.php';",
	} {
		if got, ok := p.ArchivePasswordIn([]byte(config)); ok || !got.Empty() {
			t.Errorf("%s: %v", name, got)
		}
	}
	// Without PHP, what only PHP knows is an error that says what to do.
	p.PHP = "/nonexistent/php"
	app.Root = install(t, plainConfig+"$config_backup_key = getenv('KEY');")
	if got, err := p.ArchivePassword(t.Context(), app); err == nil || core.HintOf(err) == "" || !got.Empty() {
		t.Errorf("%v, %v", got, err)
	}
	app.Root = t.TempDir()
	if _, err := p.ArchivePassword(t.Context(), app); core.HintOf(err) == "" {
		t.Error(err)
	}
}

func TestArchiveNaming(t *testing.T) {
	got, err := newProfile().ArchiveNaming(t.Context(), profile.App{})
	if diff := cmp.Diff(profile.Naming{Format: "itflow_%Y%m%d-%H%M%S___KIND_____RANDOM__"}, got); diff != "" || err != nil {
		t.Errorf("%v: %s", err, diff)
	}
	c, err := newProfile().FromConfig(nil, "")
	if diff := cmp.Diff(profile.Configured{Settings: map[string]string{SettingConfig: "config.php"}}, c); diff != "" || err != nil {
		t.Errorf("without a configuration: %v: %s", err, diff)
	}
}
