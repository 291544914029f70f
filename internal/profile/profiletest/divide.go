package profiletest

import (
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/backstay/backstay/internal/core"
)

// Divide says which component takes each path at and below root that one takes;
// paths are relative to root. It fails the test when two components take one
// path, and when a set is not of the form that core.FileSet asks for. Links are
// paths like any other.
func Divide(t *testing.T, root string, sets []core.FileSet) map[string]core.Component {
	t.Helper()
	for _, s := range sets {
		checkSet(t, s)
	}
	out := map[string]core.Component{}
	err := filepath.WalkDir(root, func(full string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, full)
		if err != nil {
			return err
		}
		for _, s := range sets {
			in, err := filepath.Rel(s.Root, full)
			if err != nil || in == ".." || strings.HasPrefix(in, "../") || !takes(s, in) {
				continue
			}
			if other, taken := out[rel]; taken && other != s.Component {
				t.Errorf("%s is in two components, %s and %s", rel, other, s.Component)
			}
			out[rel] = s.Component
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func checkSet(t *testing.T, s core.FileSet) {
	t.Helper()
	if (s.Place != "app" && s.Place != "system") || !filepath.IsAbs(s.Root) || (s.Place == "system") != (s.Root == "/") {
		t.Errorf("%s: place %q with root %q", s.Component, s.Place, s.Root)
	}
	if len(s.Include) == 0 {
		t.Errorf("%s takes nothing", s.Component)
	}
	for _, p := range s.Include {
		if p.Path != "." && !fs.ValidPath(p.Path) {
			t.Errorf("%s takes %q", s.Component, p.Path)
		}
	}
	for _, g := range s.Exclude {
		if g == "" || strings.HasPrefix(g, "/") || !doublestar.ValidatePattern(g) {
			t.Errorf("%s leaves out %q", s.Component, g)
		}
	}
}

// takes says whether s takes p: it lies in a path that is included, and neither
// it nor a folder on the way is excluded.
func takes(s core.FileSet, p string) bool {
	included := false
	for _, in := range s.Include {
		included = included || in.Path == "." || p == in.Path || strings.HasPrefix(p, in.Path+"/")
	}
	if !included {
		return false
	}
	for at := p; at != "."; at = path.Dir(at) {
		for _, g := range s.Exclude {
			if strings.HasSuffix(g, "/**") {
				g += "/*" // all below a folder, but not the folder
			}
			if doublestar.MatchUnvalidated(g, at) {
				return false
			}
		}
	}
	return true
}
