package profiletest_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/capture"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/itflow"
	"github.com/backstay/backstay/internal/profile/itop"
	"github.com/backstay/backstay/internal/profile/profiletest"
	"github.com/backstay/backstay/internal/repository/memory"
)

// captured captures what a profile found and returns the paths stored, by
// component, without the folders on the way to them.
func captured(t *testing.T, found *core.Application) map[core.Component][]string {
	t.Helper()
	sets := map[core.Component][]core.FileSet{}
	for _, s := range found.FileSets {
		sets[s.Component] = append(sets[s.Component], s)
	}
	store := memory.New()
	session, err := store.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Abort()
	var entries []core.Entry
	for component, own := range sets {
		got, err := capture.Files(t.Context(), own, session, capture.Options{})
		if err != nil {
			t.Fatalf("capture %s: %v", component, err)
		}
		for _, w := range got.Warnings {
			t.Errorf("%s: %s", component, w)
		}
		entries = append(entries, got.Entry)
	}
	root, err := session.WriteDir(t.Context(), entries)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := session.Commit(t.Context(), root, core.Backup{ID: "one", App: "app"}); err != nil {
		t.Fatal(err)
	}
	out := map[core.Component][]string{}
	for _, e := range entries {
		component := core.Component(e.Name)
		err := files.Walk(t.Context(), store, e, func(path string, e core.Entry) error {
			if e.Type != core.TypeDir {
				out[component] = append(out[component], strings.TrimPrefix(path, "app/"))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		sort.Strings(out[component])
	}
	return out
}

// TestDivideIsWhatCaptureTakes: the conformance tests use a model of what a
// capture takes; here it stands against captures of whole installations.
func TestDivideIsWhatCaptureTakes(t *testing.T) {
	for name, c := range map[string]struct {
		profile profile.Profile
		files   map[string]string
	}{
		"itop": {itop.Profile{Sockets: []string{}}, map[string]string{
			"approot.inc.php": "<?php", "core/config.class.inc.php": "<?php define('ITOP_VERSION', '3.2');",
			"conf/production/config-itop.php": "<?php $MySettings = array('db_host' => 'db', 'db_user' => 'u', 'db_name' => 'n');" +
				"$MyModuleSettings = array('itop-backup' => array('extra_files' => array('data/backups/keep/me', 'x[1]{2}*?.txt', 'conf/a-build/keep', 'web')));",
			"conf/a-build/drop": "x", "conf/a-build/keep": "x", "data/backups/keep/me": "x", "data/backups/keep/not-me": "x", "data/instance.txt": "x",
			"x[1]{2}*?.txt": "x", "web/a": "x", "web/b/c": "x", "extensions/x/y": "x", "log/error.log": "x", "log/.htaccess": "x", "env-production/x": "x",
		}},
		"itflow": {itflow.Profile{Sockets: []string{}}, map[string]string{
			"config.php": "<?php $dbhost='db';$dbusername='u';$dbpassword='p';$database='d';", "functions.php": "x", "login.php": "x",
			"uploads/tmp/.htaccess": "x", "uploads/tmp/x": "x", "uploads/backups/index.php": "x", "uploads/backups/itflow_a.zip": "x",
			"uploads/clients/1/a": "x", "agent/custom/x": "x", "agent/index.php": "x", ".git/HEAD": strings.Repeat("a", 40),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			profiletest.Write(t, root, c.files)
			found, err := c.profile.Discover(t.Context(), profile.App{Name: "app", Root: root})
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range found.Warnings {
				t.Error(w)
			}
			want := map[core.Component][]string{}
			for path, component := range profiletest.Divide(t, root, found.FileSets) {
				if info, err := os.Lstat(filepath.Join(root, path)); err == nil && info.Mode()&fs.ModeDir == 0 {
					want[component] = append(want[component], path)
				}
			}
			for _, paths := range want {
				sort.Strings(paths)
			}
			if diff := cmp.Diff(want, captured(t, found)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestCaptureThroughLinks: configuration and users' files that lie elsewhere,
// behind links, are in the backup.
func TestCaptureThroughLinks(t *testing.T) {
	root, elsewhere := t.TempDir(), t.TempDir()
	profiletest.Write(t, root, map[string]string{"functions.php": "x", "login.php": "x", "agent/custom/": ""})
	profiletest.Write(t, elsewhere, map[string]string{
		"etc/config.php": "<?php $dbhost='db';$dbusername='u';$dbpassword='p';$database='d';", "up/clients/1/a": "x", "up/tmp/x": "x", "up/tmp/.htaccess": "x", "big/b": "x",
	})
	for link, target := range map[string]string{
		root + "/config.php": elsewhere + "/etc/config.php", root + "/uploads": elsewhere + "/up", elsewhere + "/up/clients/2": elsewhere + "/big",
	} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	found, err := itflow.Profile{Sockets: []string{}}.Discover(t.Context(), profile.App{Name: "app", Root: root})
	if err != nil {
		t.Fatal(err)
	}
	want := map[core.Component][]string{
		core.ComponentConfig: {"config.php"},
		core.ComponentFiles:  {"uploads/clients/1/a", "uploads/clients/2/b", "uploads/tmp/.htaccess"},
		core.ComponentCode:   {"functions.php", "login.php"},
	}
	if diff := cmp.Diff(want, captured(t, found)); diff != "" {
		t.Error(diff)
	}
}
