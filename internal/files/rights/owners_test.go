package rights

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/files/restore"
)

// TestOwnerCommands: a folder is given away as a whole only where all in it is
// to have the new owner.
func TestOwnerCommands(t *testing.T) {
	root := t.TempDir()
	var denied []restore.Denied
	for path, uid := range map[string]uint32{
		"whole/a": 54, "whole/sub/b": 54, "whole": 54, "whole/sub": 54, "mixed/mine": 0, "mixed/theirs": 54, "mixed/it's": 55, "single": 54,
	} {
		full := filepath.Join(root, path)
		if !strings.HasSuffix(path, "whole") && !strings.HasSuffix(path, "sub") {
			if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(full, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if uid != 0 {
			denied = append(denied, restore.Denied{Path: full, UID: uid, GID: 7})
		}
	}
	denied = append(denied, restore.Denied{Path: "/etc/elsewhere", UID: 54, GID: 7, Mode: 0o4755})
	got, err := OwnerCommands([]string{root, root + "/mixed", "/"}, denied)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		fmt.Sprintf("chown -hR 54:7 -- %s/whole", root),
		fmt.Sprintf("chown -h 54:7 -- %[1]s/mixed/theirs %[1]s/single /etc/elsewhere", root),
		fmt.Sprintf("chown -h 55:7 -- '%s/mixed/it'\\''s'", root),
		"chmod 4755 -- /etc/elsewhere",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
