package realapps

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// The folders of iTop that its own archive can bring back, and what in them
// passes.
var (
	itopArchived  = []string{"conf/production", "data/production.delta.xml", "data/production-modules", "data/rig extra", "data/één.txt"}
	itopTransient = []string{"conf/production-build"}
)

// itopToArchive is an iTop with something of everything that its own backup
// takes.
func itopToArchive(t *testing.T) (r *running, scripts string) {
	t.Helper()
	checkout, scripts := checkoutOf(t, "BACKSTAY_TEST_ITOP"), helpers(t)
	r = newRunning(t, "itop", checkout, "itop", "itop-Pw_1")
	r.installITop(scripts)
	r.makeAwkward(true)
	config := filepath.Join(r.root, "conf/production/config-itop.php")
	text, err := os.ReadFile(config)
	r.ok(err)
	section := regexp.MustCompile(`'itop-backup' => array\s*\(`)
	if !section.Match(text) {
		t.Fatal("iTop's configuration has no section of its backup")
	}
	text = section.ReplaceAll(text, []byte("${0}\n\t\t'extra_files' => array ('data/rig extra', 'data/één.txt'),"))
	r.ok(os.WriteFile(config, text, 0o440))
	for path, content := range map[string]string{
		"data/production.delta.xml":                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<itop_design xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" version=\"3.2\"><!-- ünï 🔥 --></itop_design>\n",
		"data/production-modules/mine/läsmich.txt": "a module's file\n", "data/production-modules/mine/deep/" + strings.Repeat("long-", 40) + "name.bin": strings.Repeat("\x00\xff", 5000),
		"data/één.txt": "één", "data/rig extra/中文/👩‍👩‍👧‍👦.bin": "\x00\x01", "data/rig extra/empty": "", "data/rig extra/a/b/c/d/" + strings.Repeat("n", 200): strings.Repeat("x", 100_000),
	} {
		r.writeAs(path, content)
	}
	return r, scripts
}

// writeAs writes a file below the root as the web server's user would.
func (r *running) writeAs(path, content string) {
	r.t.Helper()
	full := filepath.Join(r.root, path)
	r.write(full, content, 0o644)
	for ; r.who != nil && full != r.root; full = filepath.Dir(full) {
		r.ok(os.Lchown(full, int(r.who.Uid), int(r.who.Gid)))
	}
}

// damageITop damages what an archive can bring back.
func (r *running) damageITop() {
	r.t.Helper()
	mysqltest.ExecOn(r.t, r.config(r.name), "DELETE FROM ticket WHERE id % 2", "DELETE FROM attachment", "UPDATE organization SET name = CONCAT(name, ' !')", "DROP TABLE IF EXISTS rig_awkward", "CREATE TABLE IF NOT EXISTS later (id INT PRIMARY KEY)")
	for _, path := range []string{"data/production.delta.xml", "data/production-modules/mine/läsmich.txt", "data/rig extra/中文", "data/één.txt"} {
		r.ok(os.RemoveAll(filepath.Join(r.root, path)))
	}
	config := filepath.Join(r.root, "conf/production/config-itop.php")
	text, err := os.ReadFile(config)
	r.ok(err)
	r.ok(os.WriteFile(config, regexp.MustCompile(`'cron_max_execution_time' => \d+`).ReplaceAll(text, []byte("'cron_max_execution_time' => 601")), 0o440))
	r.writeAs("data/rig extra/empty", "it is not")
	r.writeAs("data/production-modules/later/later.txt", "later")
}

// itopWorks asks for the login page and over REST.
func (r *running) itopWorks(when string) {
	r.t.Helper()
	for name, page := range map[string]func() (*http.Request, func(int, []byte) string){"login": get(r.address("/pages/UI.php"), "auth_pwd"), "REST": r.restGet} {
		if what := ask(r.t.Context(), page); what != "" {
			r.t.Errorf("%s, %s: %s", when, name, what)
		}
	}
}

// backUpITop has iTop's own script make an archive.
func (r *running) backUpITop(file string) {
	r.t.Helper()
	began := time.Now()
	out := r.runPHP("env-production/itop-backup/backup.php", "--auth_user=admin", "--auth_pwd=Admin-Pw_1x", "--backup_file="+strings.TrimSuffix(file, ".tar.gz"))
	info, err := os.Stat(file)
	if err != nil {
		r.t.Fatalf("iTop made no archive: %v\n%s", err, out)
	}
	r.t.Logf("iTop's backup.php: %v, %d bytes", time.Since(began).Round(time.Millisecond), info.Size())
}

// restoreITop has iTop's own script restore an archive.
func (r *running) restoreITop(file string) {
	r.t.Helper()
	began := time.Now()
	out := r.runPHP("env-production/itop-backup/restore.php", "--auth_user=admin", "--auth_pwd=Admin-Pw_1x", "--backup_file="+file)
	r.t.Logf("iTop's restore.php: %v", time.Since(began).Round(time.Millisecond))
	if strings.Contains(out, "Error") || strings.Contains(out, "rror:") {
		r.t.Errorf("iTop's restore.php says:\n%s", out)
	}
}

// readTar reads a .tar.gz into its files, and lists all its names.
func readTar(t *testing.T, file string) (entries map[string]string, names []string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // read only
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	entries = map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return entries, names
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if h.Typeflag != tar.TypeDir {
			entries[h.Name] = string(data)
		}
	}
}

// TestArchivesOfRunningITop: what iTop's own backup makes becomes a backup and
// is restored, and what is exported is restored by iTop's own restore.
func TestArchivesOfRunningITop(t *testing.T) {
	r, scripts := itopToArchive(t)
	r.serve()
	r.itopWorks("before")
	r.backstay(0, nil, "init")
	hand := filepath.Join(filepath.Dir(r.root), "hand")
	r.ok(os.Mkdir(hand, 0o777))
	r.ok(os.Chmod(hand, 0o777))

	whole := r.picture(itopTransient...)
	own := filepath.Join(hand, "itop-own.tar.gz")
	r.backUpITop(own)
	r.same("the database while iTop backs up", whole.Checksums, r.sums(r.name))
	r.backstay(0, nil, "backup", r.name)

	r.run("exported", func(t *testing.T) {
		made := filepath.Join(r.folder, "made.tar.gz")
		warnings := r.export(0, made, "--format", "itop", "--check")
		for _, w := range warnings {
			if w.Code != archive.NeverCarried {
				t.Errorf("it warns: %v", w)
			}
		}
		list, err := exec.CommandContext(t.Context(), "tar", "--list", "--gzip", "--quoting-style=literal", "--file", made).CombinedOutput()
		if err != nil {
			t.Fatalf("GNU tar: %v\n%s", err, list)
		}
		entries, names := readTar(t, made)
		if !slices.Equal(names, strings.Split(strings.TrimSuffix(string(list), "\n"), "\n")) {
			t.Errorf("GNU tar lists\n%s\nand Go reads\n%s", list, strings.Join(names, "\n"))
		}
		ownEntries, ownNames := readTar(t, own)
		for name, text := range ownEntries {
			if got, ok := entries[name]; !ok || got != text && name != "itop-dump.sql" {
				t.Errorf("%s of iTop's own archive is missing or another", name)
			}
		}
		if names[0] != ownNames[0] || names[len(names)-1] != ownNames[len(ownNames)-1] {
			t.Errorf("it begins with %s and ends with %s, iTop's with %s and %s", names[0], names[len(names)-1], ownNames[0], ownNames[len(ownNames)-1])
		}
		r.same("the dump by the server's client", whole.Checksums, r.reference(entries["itop-dump.sql"]))

		handed := r.passTo(made)
		for _, place := range []string{"damaged", "new"} {
			switch place {
			case "damaged":
				r.damageITop()
			case "new":
				r.freshITop(scripts)
			}
			r.restoreITop(handed)
			r.itopWorks("after iTop's restore, " + place)
			now := r.picture(itopTransient...)
			delete(now.Checksums, "later") // iTop's restore leaves what the dump does not name
			r.same("restored by iTop, "+place, whole.Checksums, now.Checksums)
			r.sameFiles("restored by iTop, "+place, contents(inFolders(whole.Files, nil, itopArchived...)), contents(inFolders(now.Files, nil, itopArchived...)))
			for name, created := range whole.Objects {
				if got := now.Objects[name]; got != created {
					t.Errorf("%s is\n%s\nwas\n%s", name, got, created)
				}
			}
			mysqltest.ExecOn(t, r.config(r.name), "DROP TABLE IF EXISTS later")
		}
	})

	r.run("imported", func(t *testing.T) {
		entries, _ := readTar(t, own)
		instant := r.reference(entries["itop-dump.sql"])
		t.Logf("iTop's own archive differs from the database in %v", unlike(whole.Checksums, instant))
		backup := r.imported(own)
		if backup.Origin == nil || backup.Origin.Format != "itop" {
			t.Errorf("its origin is %+v", backup.Origin)
		}
		r.damageITop()
		r.restoreArchive(own)
		r.itopWorks("after the restore of iTop's archive")
		now := r.picture(itopTransient...)
		r.same("restored from iTop's archive", instant, now.Checksums, "later")
		for _, path := range []string{"data/production-modules/later", "data/production-modules/later/later.txt"} {
			delete(now.Files, path) // a restore leaves what no backup has
		}
		r.sameFiles("restored from iTop's archive", contents(inFolders(whole.Files, nil, itopArchived...)), contents(inFolders(now.Files, nil, itopArchived...)))
		r.sameFiles("owners after the restore of iTop's archive", owners(inFolders(whole.Files, nil, itopArchived...)), owners(inFolders(now.Files, nil, itopArchived...)))
		if _, err := os.Lstat(filepath.Join(r.root, "data/instance.txt")); err != nil {
			t.Errorf("what iTop's archive does not have is gone: %v", err)
		}
	})

	r.run("by hand", func(*testing.T) { r.byHand(r.damageITop, r.itopWorks) })
}

// freshITop replaces the application by one that was just installed, with the
// same address and an empty database of the same name.
func (r *running) freshITop(scripts string) {
	r.t.Helper()
	name := mysql.QuoteName(r.name)
	mysqltest.ExecOn(r.t, r.config(""), "DROP DATABASE "+name, "CREATE DATABASE "+name+" CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
	for _, dir := range []string{"conf/production", "data", "env-production", "log"} {
		r.ok(os.RemoveAll(filepath.Join(r.root, dir)))
		out, err := r.command("cp", "-a", filepath.Join(os.Getenv("BACKSTAY_TEST_ITOP"), dir), filepath.Join(r.root, dir)).CombinedOutput()
		if err != nil && !strings.Contains(string(out), "No such file") {
			r.t.Fatalf("%v\n%s", err, out)
		}
	}
	r.installITop(scripts)
}
