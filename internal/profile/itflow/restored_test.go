package itflow

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/profile"
)

func TestAfterRestore(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "admin/database_updates"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "admin/database_updates/2.6.10.php"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for schema, want := range map[string]string{
		"2.6.10": "", "": "",
		"2.6.9":  "of version 2.6.9 and the code here expects 2.6.10: cd " + root + " && php scripts/update_cli.php --update_db",
		"2.6.11": "of version 2.6.11 and the code here knows only 2.6.10: restore the code too",
	} {
		got := Profile{}.AfterRestore(profile.Restored{Root: root, Versions: map[string]string{VersionSchema: schema}})
		if (want == "") != (len(got) == 0) || !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("database %q: got %q, want %q", schema, got, want)
		}
	}
}
