package realapps

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/itflow"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/engine/importing"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/profile"
	profileitflow "github.com/backstay/backstay/internal/profile/itflow"
	"github.com/backstay/backstay/internal/repository/memory"
)

// TestImportOfITop imports the archive that iTop wrote and restores it over an
// install that lost what the archive has.
func TestImportOfITop(t *testing.T) {
	archive := filepath.Join(fixtures(t, "itop"), "itop-backup-made-by-itop.tar.gz")
	a := newApp(t, "itop", "itop", "itop-Pw_1")
	a.loadSQL(a.unpackITop(archive))
	a.writeITop()
	a.backstay(0, nil, "init")
	before := a.state()
	backup := a.imported(archive)
	if backup.Origin == nil || backup.Origin.Format != "itop" || backup.Components[core.ComponentDatabase].Tables != 219 {
		t.Errorf("imported as %+v of %+v", backup.Components, backup.Origin)
	}
	entries, _ := readTar(t, archive)
	mysqltest.ExecIn(t, a.name, "DELETE FROM ticket", "DROP TABLE attachment", "UPDATE organization SET name = 'x'")
	for name := range entries {
		switch {
		case name == "config-itop.php" || name == "itop-dump.sql":
		case name == "delta.xml":
			a.remove("data/production.delta.xml")
		case strings.HasPrefix(name, "production-modules/"):
			a.remove("data/" + name)
		default:
			a.remove(name)
		}
	}
	a.restoreSilent(archive, "--force", profile.FindingModules)
	after := a.state()
	if diff := cmp.Diff(before.Checksums, after.Checksums); diff != "" {
		t.Errorf("tables (-) and restored (+):\n%s", diff)
	}
	if diff := cmp.Diff(before.Objects, after.Objects); diff != "" {
		t.Errorf("definitions (-) and restored (+):\n%s", diff)
	}
	if diff := cmp.Diff(contents(before.Files), contents(after.Files)); diff != "" {
		t.Errorf("files (-) and restored (+):\n%s", diff)
	}
}

// restoreSilent restores an archive of an application that does not answer,
// because its code is not here.
func (a *app) restoreSilent(file string, args ...string) {
	a.t.Helper()
	var done struct {
		Warnings []core.Warning `json:"warnings"`
	}
	a.backstay(3, &done, append([]string{"restore", a.name, "--from-archive", file, "--yes"}, args...)...)
	for _, w := range done.Warnings {
		if w.Code != "smoke" && w.Code != "post-step" {
			a.t.Errorf("the restore warns: %v", w)
		}
	}
}

// remove removes a file below the application's root.
func (a *app) remove(path string) {
	a.t.Helper()
	if err := os.Remove(filepath.Join(a.root, path)); err != nil {
		a.t.Fatal(err)
	}
}

// writeITop writes as much of iTop's code as says that it is iTop.
func (a *app) writeITop() {
	a.t.Helper()
	for path, text := range map[string]string{
		"approot.inc.php":              "<?php define('ITOP_CORE_VERSION', '3.3.0');\n",
		"core/config.class.inc.php":    "<?php define('ITOP_VERSION', '3.3.0-dev');\ndefine('ITOP_REVISION', 'svn');\n",
		"env-production/core/main.php": "<?php // compiled\n",
		"data/instance.txt":            "{CD3B5D33-1F9A-4F7C-8F0E-000000000001}",
	} {
		a.write(filepath.Join(a.root, path), text, 0o644)
	}
}

// TestImportOfITFlow imports each archive that ITFlow wrote and restores it over
// an install that lost what the archive has. The password is that of the live
// configuration.
func TestImportOfITFlow(t *testing.T) {
	dir := fixtures(t, "itflow")
	known, config := itflowFacts(t, dir)
	for _, kind := range []string{"full", "database"} {
		t.Run(kind, func(t *testing.T) {
			file := filepath.Join(dir, known.Archives[kind].File)
			a := newApp(t, "itflow", "itflow", known.DBPassword)
			entries := readEncryptedZip(t, file, known.BackupKey)
			a.loadSQL(entries["db.sql"])
			a.writeITFlow(config, entries["uploads.zip"])
			a.backstay(0, nil, "init")
			before := a.state()
			backup := a.imported(file)
			if backup.Origin == nil || backup.Origin.Format != "itflow" || backup.Components[core.ComponentDatabase].Tables != len(known.Archives[kind].RowCounts) {
				t.Errorf("imported as %+v of %+v", backup.Components, backup.Origin)
			}
			mysqltest.ExecIn(t, a.name, "DELETE FROM tickets", "UPDATE clients SET client_name = 'x'", "DELETE FROM credentials")
			for path := range known.Archives[kind].Uploads {
				a.remove(filepath.Join("uploads", path))
			}
			a.restoreSilent(file)
			after := a.state()
			if diff := cmp.Diff(before.Checksums, after.Checksums); diff != "" {
				t.Errorf("tables (-) and restored (+):\n%s", diff)
			}
			if diff := cmp.Diff(contents(before.Files), contents(after.Files)); diff != "" {
				t.Errorf("files (-) and restored (+):\n%s", diff)
			}
			if kind == "full" {
				compareChecksums(t, a.name, known.Checksums)
			}
		})
	}
}

// itflowFacts reads what is known of ITFlow's archives, and its configuration.
func itflowFacts(t *testing.T, dir string) (known facts, config string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "FACTS.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &known); err != nil {
		t.Fatal(err)
	}
	php, err := os.ReadFile(filepath.Join(dir, "config.php.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return known, string(php)
}

// TestTamperedITFlow: ITFlow restores archives of which a bit was changed
// without a word; no such archive becomes a backup.
func TestTamperedITFlow(t *testing.T) {
	dir := fixtures(t, "itflow")
	known, _ := itflowFacts(t, dir)
	password := []core.Secret{core.NewSecret(known.BackupKey)}
	whole, err := os.ReadFile(filepath.Join(dir, known.Archives["full"].File))
	if err != nil {
		t.Fatal(err)
	}
	e := enginetest.New(t, memory.New())
	e.Profiles = profile.NewRegistry(profileitflow.Profile{})
	target := engine.Target{Profile: "itflow", Consistency: "online", App: profile.App{Name: "itflow", Root: t.TempDir()}}
	file := filepath.Join(t.TempDir(), filepath.Base(known.Archives["full"].File))
	refused := func(what string, data []byte) {
		t.Helper()
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		done, err := importing.Import(t.Context(), e, importing.Request{Target: target, File: file, Format: "itflow", Formats: archive.Formats{itflow.New()}, Passwords: password})
		if err == nil {
			t.Errorf("%s: it was imported as %+v", what, done.Backup)
			return
		}
		if core.HintOf(err) == "" || len(err.Error()) > 500 || !regexp.MustCompile(`^[\x20-\x7e“”…]+$`).MatchString(err.Error()) {
			t.Errorf("%s: the error is no help: %v (hint: %s)", what, err, core.HintOf(err))
		}
	}
	began := time.Now()
	uploads := bytes.Index(whole, []byte("uploads.zip")) + 100_000
	three := bytes.Clone(whole)
	for n := range 3 {
		three[uploads+n]++
	}
	refused("three bytes within uploads.zip", three)
	const places = 200
	for n := range places {
		at := n * (len(whole) - 1) / (places - 1)
		one := bytes.Clone(whole)
		one[at] ^= 1 << (n % 8)
		refused(fmt.Sprintf("bit %d of byte %d", n%8, at), one)
	}
	t.Logf("%d archives refused in %v", places+1, time.Since(began).Round(time.Millisecond))
	if listed, err := e.List(t.Context(), ""); err != nil || len(listed) > 0 {
		t.Errorf("there are backups: %v (%v)", listed, err)
	}
}
