package realapps

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
)

// TestITop restores an iTop from the data of the archive that iTop 3.3 wrote.
func TestITop(t *testing.T) {
	archive := filepath.Join(fixtures(t, "itop"), "itop-backup-made-by-itop.tar.gz")
	a := newApp(t, "itop", "itop", "itop-Pw_1")
	dump := a.unpackITop(archive)
	a.loadSQL(dump)
	for path, text := range map[string]string{
		// As much of the code as says that this is iTop, and which one.
		"approot.inc.php":                         "<?php define('ITOP_CORE_VERSION', '3.3.0');\n",
		"core/config.class.inc.php":               "<?php define('ITOP_VERSION', '3.3.0-dev');\ndefine('ITOP_REVISION', 'svn');\n",
		"env-production/core/main.php":            "<?php // compiled\n",
		"data/instance.txt":                       "{CD3B5D33-1F9A-4F7C-8F0E-000000000001}",
		"data/.htaccess":                          "deny from all\n",
		"extensions/my-extension/module.my.php":   "<?php // mine\n",
		"log/.htaccess":                           "deny from all\n",
		"log/error.log":                           "passing\n",
		"data/cache-production/symfony/x.php":     "passing",
		"data/datamodel-production.xml":           "passing",
		"data/backups/auto/itop-2026-11-22.tgz":   "iTop's own backups",
		"env-production-build/core/main.php":      "passing",
		"conf/production-build/config-itop.php":   "passing",
		"data/production-build.delta.xml":         "passing",
		"data/rig-extra/dir/line\nbreak \xff.txt": "a name of any bytes",
	} {
		a.write(filepath.Join(a.root, path), text, 0o644)
	}
	for link, target := range map[string]string{
		"data/rig-extra/absolute": "/etc/hosts", "data/rig-extra/relative": "dir/run.sh", "data/rig-extra/dangling": "nowhere",
	} {
		if err := os.Symlink(target, filepath.Join(a.root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(a.root, "data/production-modules/empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	makeOdd(t, a.root)

	// The configuration names an extra file that is not there: exit code 3.
	backup := a.roundTrip(3, "log/error.log", "data/cache-production", "data/datamodel-production.xml", "data/backups",
		"env-production-build", "conf/production-build", "data/production-build.delta.xml")
	if len(backup.Warnings) != 1 || backup.Warnings[0].Object != "does/not/exist.txt" {
		t.Errorf("warnings: %v, want one about the extra file does/not/exist.txt", backup.Warnings)
	}
	database := backup.Components[core.ComponentDatabase]
	if database.Tables != 219 || database.Rows == 0 {
		t.Errorf("%d tables with %d rows, want iTop's 219 tables with rows", database.Tables, database.Rows)
	}
}

// unpackITop puts the files of an archive to where iTop has them and returns
// the dump. The configuration is pointed to the test's server.
func (a *app) unpackITop(archive string) (dump []byte) {
	a.t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // read only
	gz, err := gzip.NewReader(f)
	if err != nil {
		a.t.Fatal(err)
	}
	for r := tar.NewReader(gz); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			a.t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			a.t.Fatal(err)
		}
		name := h.Name
		switch {
		case name == "itop-dump.sql":
			dump = data
			continue
		case name == "config-itop.php":
			name, data = "conf/production/config-itop.php", []byte(a.pointITop(string(data)))
		case name == "delta.xml":
			name = "data/production.delta.xml"
		case name == "production-modules" || strings.HasPrefix(name, "production-modules/"):
			name = "data/" + name
		}
		if h.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(filepath.Join(a.root, name), 0o755); err != nil {
				a.t.Fatal(err)
			}
			continue
		}
		a.write(filepath.Join(a.root, name), string(data), 0o644)
	}
	if len(dump) == 0 {
		a.t.Fatalf("%s holds no itop-dump.sql", archive)
	}
	return dump
}

// pointITop changes the database's address in iTop's configuration and checks
// that it names the account that the test made.
func (a *app) pointITop(config string) string {
	a.t.Helper()
	for _, want := range []string{"'db_user' => '" + a.user + "'", "'db_pwd' => '" + a.password + "'", "'db_name' => '" + a.name + "'"} {
		if !strings.Contains(config, want) {
			a.t.Fatalf("the archive's configuration lacks %s", want)
		}
	}
	host := regexp.MustCompile(`'db_host' => '[^']*'`)
	if n := len(host.FindAllString(config, -1)); n != 1 {
		a.t.Fatalf("the archive's configuration has db_host %d times", n)
	}
	return host.ReplaceAllLiteralString(config, "'db_host' => '"+serverAddress(a.t)+"'")
}
