package generic

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

func TestDiscover(t *testing.T) {
	root := t.TempDir()
	for _, f := range []string{"images/a.png", "images/thumb/a.png", "LocalSettings.php"} {
		path := filepath.Join(root, f)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(f), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := Profile{Sockets: []string{}}
	found, err := p.Discover(t.Context(), profile.App{
		Name:     "wiki",
		Root:     root,
		Database: profile.Database{Host: "127.0.0.1", Port: 3307, User: "wiki", Password: core.NewSecret("pw"), Name: "wiki", Prefix: "w_"},
		Files:    []profile.Files{{Path: root + "/images", Exclude: []string{"thumb/**"}}, {Path: "/srv/wiki"}},
		Config:   []string{"LocalSettings.php"},
		Exclude:  []string{"**/*.bak"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &core.Application{
		Name: "wiki", Profile: "generic", Root: root,
		Database: &core.DatabaseSource{Host: "127.0.0.1", Port: 3307, User: "wiki", Password: core.NewSecret("pw"), Name: "wiki", Prefix: "w_"},
		FileSets: []core.FileSet{
			{Component: core.ComponentConfig, Place: "app", Root: root, Include: []core.Path{{Path: "LocalSettings.php", Follow: true}}, Exclude: []string{"**/*.bak"}},
			{Component: core.ComponentFiles, Place: "app", Root: root, Include: []core.Path{{Path: "images", Follow: true}}, Exclude: []string{"images/thumb/**", "**/*.bak"}},
			{Component: core.ComponentFiles, Place: "system", Root: "/", Include: []core.Path{{Path: "srv/wiki", Follow: true}}},
		},
	}
	if diff := cmp.Diff(want, found, cmpopts.EquateEmpty(), cmp.AllowUnexported(core.Secret{})); diff != "" {
		t.Error(diff)
	}
}

func TestNothingDeclared(t *testing.T) {
	_, err := Profile{}.Discover(t.Context(), profile.App{Name: "wiki"})
	if core.CodeOf(err) != core.CodeConfig || core.HintOf(err) == "" {
		t.Errorf("got %v (hint %q)", err, core.HintOf(err))
	}
	_, err = Profile{}.Discover(t.Context(), profile.App{Name: "wiki", Database: profile.Database{Host: "db", Name: "wiki"}})
	if core.CodeOf(err) != core.CodeConfig || core.HintOf(err) == "" {
		t.Errorf("got %v (hint %q)", err, core.HintOf(err))
	}
}
