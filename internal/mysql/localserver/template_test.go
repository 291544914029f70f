package localserver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
)

func TestFailedInitializerIsQuoted(t *testing.T) {
	for name, c := range map[string]struct{ script, want string }{
		"standard output": {"echo; echo the reason; echo more; exit 1", ": exit status 1; it said: the reason\nmore"},
		"standard error":  {"echo the reason >&2; exit 1", ": exit status 1; it said: the reason"},
		"nothing":         {"exit 3", ": exit status 3"},
		"full disk":       {"echo 'No space left on device'; exit 1", "it said: No space left on device"},
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			if err := os.Mkdir(filepath.Join(base, "bin"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(base, "bin", "mariadb-install-db"), []byte("#!/bin/sh\n"+c.script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			err := initialize(t.Context(), binary{baseDir: base, vendor: "mariadb"}, filepath.Join(base, "data"))
			if err == nil || !strings.HasSuffix(err.Error(), c.want) {
				t.Errorf("got %v, want …%s", err, c.want)
			}
			full := core.CodeOf(diskError("start", base, err)) == core.CodeDisk
			if full != (name == "full disk") {
				t.Errorf("taken for a full disk: %v", full)
			}
		})
	}
}
