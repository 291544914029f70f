package itflow

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

const plainConfig = `<?php

$dbhost = 'db.example.org:3307';
$dbusername = 'itflow';
$dbpassword = 'It\'s a \\ "pa$$"; //w?>d';
$database = 'itflow';
$mysqli = mysqli_connect($dbhost, $dbusername, $dbpassword, $database) or die('no');
$config_app_name = 'ITFlow';
$config_base_url = 'desk.example.org';
$config_https_only = TRUE;
$repo_branch = 'master';
$config_enable_setup = 0;
`

const commit = "0262707ef029aaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// write makes files below root; a name that ends in "/" is a folder.
func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(root, name)
		dir := filepath.Dir(path)
		if strings.HasSuffix(name, "/") {
			dir = path
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if dir == path {
			continue
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func install(t *testing.T, config string) string {
	t.Helper()
	root := t.TempDir()
	write(t, root, map[string]string{
		"config.php": config, "functions.php": "<?php", "login.php": "<?php", "uploads/clients/": "",
		"db.sql":                                     "CREATE TABLE `clients` (\nCREATE TABLE `invoices` (\nCREATE TABLE `tickets` (\nCREATE TABLE `users` (\n",
		"includes/app_version.php":                   "<?php\nDEFINE(\"APP_VERSION\", \"26.08.2\");\n",
		"admin/database_updates/2.6.7.php":           "<?php",
		"admin/database_updates/2.6.10.php":          "<?php",
		"admin/database_updates/2.6.9.1.php":         "<?php",
		"admin/database_updates/index.php":           "<?php",
		".git/HEAD":                                  "ref: refs/heads/master\n",
		".git/refs/heads/master":                     commit + "\n",
		"agent/custom/index.php":                     "<?php",
		"functions/custom/custom_action_handler.php": "<?php",
	})
	return root
}

func newProfile() Profile { return Profile{Sockets: []string{}} }

func discover(t *testing.T, app profile.App) *core.Application {
	t.Helper()
	found, err := newProfile().Discover(t.Context(), app)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, core.HintOf(err))
	}
	return found
}

func TestDiscover(t *testing.T) {
	root := install(t, plainConfig)
	found := discover(t, profile.App{Name: "docs", Root: root})
	want := &core.Application{
		Name: "docs", Profile: "itflow", Root: root,
		Database: &core.DatabaseSource{Host: "db.example.org", Port: 3307, User: "itflow", Password: core.NewSecret(`It's a \ "pa$$"; //w?>d`), Name: "itflow"},
		Settings: map[string]string{SettingConfig: "config.php", SettingURL: "desk.example.org", SettingBranch: "master"},
		Versions: map[string]string{VersionApplication: "26.08.2", VersionCodeSchema: "2.6.10", VersionCommit: commit, VersionBranch: "master"},
	}
	want.FileSets = found.FileSets
	if diff := cmp.Diff(want, found, cmp.AllowUnexported(core.Secret{})); diff != "" {
		t.Error(diff)
	}
	var got []string
	for _, s := range found.FileSets {
		for _, p := range s.Include {
			got = append(got, string(s.Component)+" "+p.Path)
		}
	}
	for _, path := range []string{"config config.php", "files uploads", "files agent/custom", "files functions/custom", "files uploads/tmp/.htaccess", "code ."} {
		if !slices.Contains(got, path) {
			t.Errorf("%s is not in %v", path, got)
		}
	}
}

// TestConfigByEra: the quoting that setup.php and its successors used.
func TestConfigByEra(t *testing.T) {
	for name, c := range map[string]struct{ config, want string }{
		"2020": {"<?php\n\n$dbhost = \"localhost\";\n$dbusername = \"u\";\n$dbpassword = \"p;//w\";\n$database = \"d\";\n" +
			"$mysqli = mysqli_connect($dbhost, $dbusername, $dbpassword, $database);\n$config_app_name = 'x';\n?>\n", "p;//w"},
		"2022":     {`<?php $dbhost = 'localhost'; $dbusername = 'u'; $dbpassword = 'a\"b\0c\\d\'e'; $database = 'd';`, `a\"b\0c\d'e`},
		"2025":     {"<?php $dbhost = 'localhost'; $dbusername = 'u'; $dbpassword = 'é' . \"\\0\" . 'b\nc?>'; $database = 'd';", "é\x00b\nc?>"},
		"constant": {"<?php define(\"CONST_GET_IP_METHOD\", \"HTTP_X\"); $dbhost='localhost'; $dbusername='u'; $dbpassword='p'; $database='d';", "p"},
	} {
		t.Run(name, func(t *testing.T) {
			found := discover(t, profile.App{Name: "docs", Root: install(t, c.config)})
			if db := found.Database; db.Password.Reveal() != c.want || db.User != "u" || db.Name != "d" || db.Host != "127.0.0.1" {
				t.Errorf("got %+v with %q", db, db.Password.Reveal())
			}
			if len(found.Notes) != 1 || !strings.Contains(found.Notes[0], "socket") {
				t.Errorf("nothing is said of the missing socket: %v", found.Notes)
			}
		})
	}
}

func TestSettingThatIsNotLiteral(t *testing.T) {
	root := install(t, "<?php $dbhost = 'db'; $dbusername = 'u'; $database = 'd';\n$dbpassword = file_get_contents('/nowhere/secret');")
	p := newProfile()
	p.PHP = filepath.Join(root, "no-php")
	_, err := p.Discover(t.Context(), profile.App{Name: "docs", Root: root})
	for _, part := range []string{"config.php", "$dbpassword", "line 2"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
	if hint := core.HintOf(err); !strings.Contains(hint, "password_file") {
		t.Errorf("hint %q", hint)
	}
	found, err := p.Discover(t.Context(), profile.App{Name: "docs", Root: root, Database: profile.Database{Password: core.NewSecret("given")}})
	if err != nil || found.Database.Password.Reveal() != "given" {
		t.Errorf("backstay.yaml does not win: %v", err)
	}
}

func TestNotITFlow(t *testing.T) {
	root := install(t, plainConfig)
	if err := os.Remove(filepath.Join(root, "config.php")); err != nil {
		t.Fatal(err)
	}
	_, err := newProfile().Discover(t.Context(), profile.App{Name: "docs", Root: root})
	if core.CodeOf(err) != core.CodeApplication || !strings.Contains(core.HintOf(err), "setup") {
		t.Errorf("got %v (hint %q)", err, core.HintOf(err))
	}
	if _, ok := (Profile{}).Detect(root); ok {
		t.Error("detected what is not installed")
	}
}

func TestDetect(t *testing.T) {
	root := install(t, plainConfig)
	got, ok := Profile{}.Detect(root)
	if want := (profile.Installation{Profile: "itflow", Root: root, Version: "26.08.2"}); !ok || got != want {
		t.Errorf("got %+v, %v", got, ok)
	}
	write(t, root, map[string]string{"db.sql": "CREATE TABLE `clients` ("})
	if _, ok := (Profile{}).Detect(root); ok {
		t.Error("took another application for ITFlow")
	}
}

func TestLinkedUploads(t *testing.T) {
	root := install(t, plainConfig)
	elsewhere := t.TempDir()
	write(t, elsewhere, map[string]string{"clients/1/a": "x", "photos/b": "x", "clients/backups/": ""})
	if err := os.RemoveAll(filepath.Join(root, "uploads")); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{
		filepath.Join(root, "uploads"): elsewhere, filepath.Join(elsewhere, "clients/2"): filepath.Join(elsewhere, "photos"),
		filepath.Join(elsewhere, "loop"): elsewhere, filepath.Join(elsewhere, "up"): "/",
	} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	write(t, root, map[string]string{"config.php": plainConfig + "$config_backup_path = '" + elsewhere + "/clients/backups/';\n"})
	found := discover(t, profile.App{Name: "docs", Root: root})
	follow := map[string]bool{}
	excluded := false
	for _, s := range found.FileSets {
		for _, p := range s.Include {
			follow[p.Path] = follow[p.Path] || p.Follow
		}
		excluded = excluded || slices.Contains(s.Exclude, "uploads/clients/backups/**")
	}
	if !follow["uploads"] || !follow["uploads/clients/2"] || follow["uploads/loop"] || follow["uploads/up"] {
		t.Errorf("followed: %v", follow)
	}
	var warned []string
	for _, w := range found.Warnings {
		warned = append(warned, w.Object)
	}
	if diff := cmp.Diff([]string{"uploads/loop", "uploads/up"}, warned); diff != "" {
		t.Error(diff)
	}
	if !excluded {
		t.Error("the backups behind the link are taken")
	}
}

// TestUploadsLinkedByAnother: what the web server's user linked must not make
// backstay, as root, read what that user may not.
func TestUploadsLinkedByAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	root, elsewhere := install(t, plainConfig), t.TempDir()
	if err := os.RemoveAll(filepath.Join(root, "uploads")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(root, "uploads")); err != nil {
		t.Fatal(err)
	}
	if err := os.Lchown(filepath.Join(root, "uploads"), 12345, 12345); err != nil {
		t.Fatal(err)
	}
	found := discover(t, profile.App{Name: "docs", Root: root})
	for _, s := range found.FileSets {
		for _, p := range s.Include {
			if strings.HasPrefix(p.Path, "uploads") && p.Follow {
				t.Errorf("%s is followed", p.Path)
			}
		}
	}
	if len(found.Warnings) != 1 || found.Warnings[0].Object != "uploads" {
		t.Errorf("warnings %v", found.Warnings)
	}
	found = discover(t, profile.App{Name: "docs", Root: root, Files: []profile.Files{{Path: "uploads"}}})
	followed := false
	for _, s := range found.FileSets {
		for _, p := range s.Include {
			followed = followed || p.Path == "uploads" && p.Follow
		}
	}
	if !followed || len(found.Warnings) > 0 {
		t.Errorf("files: in backstay.yaml does not help: %v", found.Warnings)
	}
}

func TestBackupPath(t *testing.T) {
	for name, c := range map[string]struct {
		path    string // below the root unless it is absolute
		exclude string
		warns   bool
	}{
		"own folder": {"old [1]/", `old \[1\]/**`, false},
		"in uploads": {"uploads/archives", "uploads/archives/**", false},
		"uploads":    {"uploads", "uploads/itflow_*.zip", true},
		"the root":   {".", "itflow_*.zip", true},
		"holds more": {"agent", "agent/itflow_*.zip", true},
		"elsewhere":  {"/var/backups/itflow", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			root := install(t, plainConfig)
			path := c.path
			if !filepath.IsAbs(path) {
				path = root + "/" + path
			}
			write(t, root, map[string]string{"config.php": plainConfig + "$config_backup_path = '" + path + "';\n"})
			found := discover(t, profile.App{Name: "docs", Root: root})
			plain := discover(t, profile.App{Name: "docs", Root: install(t, plainConfig)})
			more := slices.DeleteFunc(slices.Clone(found.FileSets[0].Exclude), func(g string) bool { return slices.Contains(plain.FileSets[0].Exclude, g) })
			if diff := cmp.Diff(c.exclude, strings.Join(more, " ")); diff != "" {
				t.Error(diff)
			}
			if (len(found.Warnings) > 0) != c.warns {
				t.Errorf("warnings: %v", found.Warnings)
			}
		})
	}
}

func TestGitHead(t *testing.T) {
	other := strings.Repeat("b", 40)
	for name, c := range map[string]struct {
		files                  map[string]string
		wantCommit, wantBranch string
		fails                  bool
	}{
		"none":     {},
		"loose":    {map[string]string{".git/HEAD": "ref: refs/heads/a/b\n", ".git/refs/heads/a/b": commit}, commit, "a/b", false},
		"packed":   {map[string]string{".git/HEAD": "ref: refs/heads/m", ".git/packed-refs": "# pack-refs with: peeled\n" + other + " refs/heads/mm\n" + commit + " refs/heads/m\n^" + other + "\n"}, commit, "m", false},
		"detached": {map[string]string{".git/HEAD": commit + "\n"}, commit, "", false},
		"unborn":   {map[string]string{".git/HEAD": "ref: refs/heads/m"}, "", "m", false},
		"hostile":  {map[string]string{".git/HEAD": "ref: refs/../../../etc/passwd"}, "", "", true},
		"absolute": {map[string]string{".git/HEAD": "ref: /etc/passwd"}, "", "", true},
		"garbage":  {map[string]string{".git/HEAD": "\x00\x01"}, "", "", true},
		"a file":   {map[string]string{".git": "gitdir: /etc"}, "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, root, c.files)
			gotCommit, gotBranch, err := gitHead(root)
			if gotCommit != c.wantCommit || gotBranch != c.wantBranch || (err != nil) != c.fails {
				t.Errorf("got %q, %q, %v", gotCommit, gotBranch, err)
			}
		})
	}
}

func TestCodeSchemaOfOlderCode(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{"database_version.php": "<?php\nDEFINE(\"LATEST_DATABASE_VERSION\", \"0.1.5\");"})
	if got := codeSchema(root); got != "0.1.5" {
		t.Errorf("got %q", got)
	}
}

func TestCompareVersions(t *testing.T) {
	ascending := []string{"0.9", "2.0", "2.0.0", "2.6.7", "2.6.9", "2.6.9.1", "2.6.10", "2.10.0", "10.0"}
	for i, a := range ascending {
		for j, b := range ascending {
			if got := compareVersions(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%s against %s: %d", a, b, got)
			}
		}
	}
}

type queryFunc func(statement string) ([][]*string, error)

func (f queryFunc) Query(_ context.Context, statement string) ([][]*string, error) {
	return f(statement)
}

func TestVersions(t *testing.T) {
	version := "2.6.7"
	for name, c := range map[string]struct {
		rows     [][]*string
		err      error
		want     string
		warnings int
		notes    int
	}{
		"older": {rows: [][]*string{{&version}}, want: "2.6.7", notes: 1},
		"null":  {rows: [][]*string{{nil}}, warnings: 1},
		"empty": {warnings: 1},
		"other": {err: errors.New("no such table"), warnings: 1},
	} {
		t.Run(name, func(t *testing.T) {
			found := &core.Application{Database: &core.DatabaseSource{Name: "d"}, Versions: map[string]string{VersionCodeSchema: "2.6.10"}}
			q := queryFunc(func(statement string) ([][]*string, error) {
				if statement != "SELECT config_current_database_version FROM `settings` WHERE company_id = 1" {
					t.Errorf("asked %s", statement)
				}
				return c.rows, c.err
			})
			if err := (Profile{}).Versions(t.Context(), q, found); err != nil {
				t.Fatal(err)
			}
			if found.Versions[VersionSchema] != c.want || len(found.Warnings) != c.warnings || len(found.Notes) != c.notes {
				t.Errorf("%+v", found)
			}
		})
	}
}

func TestReadOnly(t *testing.T) {
	leave, err := Profile{}.ReadOnly(t.Context(), nil, profile.App{Name: "docs"}, nil)
	if core.CodeOf(err) != core.CodeUnsupported || core.HintOf(err) == "" || leave == nil {
		t.Errorf("got %v", err)
	}
}
