package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
)

// TestCheckFiles: a component has one line for each folder, however many sets
// of paths a profile makes of it, and one unreadable path is enough to fail it.
func TestCheckFiles(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set := func(c core.Component, place string, paths ...core.Path) core.FileSet {
		return core.FileSet{Component: c, Root: place, Include: paths}
	}
	checks := checkFiles(&core.Application{Name: "app", FileSets: []core.FileSet{
		set(core.ComponentFiles, root, core.Path{Path: "a"}),
		set(core.ComponentConfig, root, core.Path{Path: "c"}, core.Path{Path: "missing"}),
		set(core.ComponentFiles, root, core.Path{Path: "b"}, core.Path{Path: "gone", Optional: true}),
		set(core.ComponentFiles, "/", core.Path{Path: "."}),
	}})
	want := []struct {
		name    string
		health  Health
		message string
	}{
		{"files", Healthy, "2 path(s) below " + root + " can be read"},
		{"config", Broken, "1 path(s) cannot be read: [open " + root + "/missing"},
		{"files", Healthy, "1 path(s) below / can be read"},
	}
	if len(checks) != len(want) {
		t.Fatalf("got %+v", checks)
	}
	for i, w := range want {
		if c := checks[i]; c.Name != w.name || c.Health != w.health || !strings.HasPrefix(c.Message, w.message) || c.App != "app" {
			t.Errorf("check %d is %+v, want %+v", i, c, w)
		}
	}
}
