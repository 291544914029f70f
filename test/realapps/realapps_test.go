// Package realapps backs up and restores what iTop and ITFlow really keep:
// archives that the applications wrote themselves are loaded into a database
// and a folder, backed up with the command line, wiped and restored, and every
// table and file is compared.
package realapps

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/cli"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/profile"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

// fixtures returns the folder of the archives that an application wrote. They
// are kept beside the project, not in it.
func fixtures(t *testing.T, application string) string {
	t.Helper()
	dir, err := filepath.Abs("../../../shared/fixtures/" + application)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the archives that %s wrote lie in shared/fixtures beside the project, and are not here: %v", application, err)
	}
	return dir
}

// app is an application that is protected with a configuration, repository
// and state of its own.
type app struct {
	t        *testing.T
	name     string // of the app, and of its database
	profile  string
	root     string
	folder   string // of backstay
	user     string // of the database
	password string
}

// newApp makes an empty folder and database, and the account that owns it.
func newApp(t *testing.T, profile, user, password string) *app {
	t.Helper()
	dir := t.TempDir()
	a := &app{t: t, name: profile, profile: profile, root: filepath.Join(dir, "www"), folder: filepath.Join(dir, "backstay"), user: user, password: password}
	for _, d := range []string{a.root, a.folder} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	database, account := mysql.QuoteName(a.name), quoted(user)+"@'%'"
	mysqltest.Exec(t,
		"CREATE DATABASE "+database+" CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
		"CREATE USER "+account+" IDENTIFIED BY "+quoted(password),
		// What the applications' manuals ask for: no global right, such as RELOAD.
		"GRANT ALL ON "+database+".* TO "+account,
	)
	runLater(t, "DROP DATABASE IF EXISTS "+database, "DROP USER "+account)
	a.write(filepath.Join(a.folder, "repository.key"), strings.Repeat("5", 64)+"\n", 0o600)
	a.write(filepath.Join(a.folder, "backstay.yaml"), "repository:\n  url: file://"+a.folder+"/repository\n  password_file: "+a.folder+"/repository.key\n"+
		"state_dir: "+a.folder+"/state\napps:\n  - name: "+a.name+"\n    profile: "+profile+"\n    root: "+a.root+"\n", 0o600)
	return a
}

// runLater runs statements as root when the test has ended.
func runLater(t *testing.T, statements ...string) {
	t.Helper()
	server := mysqltest.Config(t, "")
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context()) // which has ended by now
		conn, err := mysql.Connect(ctx, server)
		if err != nil {
			t.Error(err)
			return
		}
		for _, statement := range statements {
			if _, err := conn.Exec(ctx, statement); err != nil {
				t.Error(err)
			}
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
}

// quoted is a plain literal: CREATE USER takes no expression.
func quoted(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(text) + "'"
}

func (a *app) write(path, text string, mode os.FileMode) {
	a.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		a.t.Fatal(err)
	}
}

// loadSQL loads a dump the way a person would, with the server's client.
func (a *app) loadSQL(dump []byte) {
	a.t.Helper()
	client, err := exec.LookPath("mariadb")
	if err != nil {
		if client, err = exec.LookPath("mysql"); err != nil {
			a.t.Fatal("the test loads a dump with the client mariadb or mysql, and neither is installed")
		}
	}
	cmd := exec.CommandContext(a.t.Context(), client, "--no-defaults", "--user=root", "--socket="+mysqltest.Server(a.t).Socket,
		"--default-character-set=utf8mb4", "--binary-mode", a.name)
	cmd.Stdin = bytes.NewReader(dump)
	if out, err := cmd.CombinedOutput(); err != nil {
		a.t.Fatalf("load the dump: %v\n%s", err, out)
	}
}

// backstay runs a command and decodes its JSON result into result.
func (a *app) backstay(want int, result any, args ...string) {
	a.t.Helper()
	var stdout, stderr bytes.Buffer
	args = append(args, "--json", "--config", filepath.Join(a.folder, "backstay.yaml"))
	code := cli.Main(a.t.Context(), args, cli.Environment{
		Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, Getenv: func(string) string { return "" },
		Clock: core.SystemClock{}, Version: "test",
	})
	if code != want {
		a.t.Fatalf("backstay %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, stdout.String(), stderr.String())
	}
	if result == nil {
		return
	}
	if err := json.Unmarshal(stdout.Bytes(), result); err != nil {
		a.t.Fatalf("backstay %s: %v\n%s", strings.Join(args, " "), err, stdout.String())
	}
}

// state is all that a restore must bring back.
type state struct {
	Checksums map[string]string // of tables, by the server
	Objects   map[string]string // SHOW CREATE
	Files     map[string]string // attributes and content by path
}

func (a *app) state() state {
	a.t.Helper()
	return state{mysqltest.Checksum(a.t, a.name), mysqltest.ShowCreate(a.t, a.name), treeState(a.t, a.root)}
}

// wipe drops the database and empties the folder.
func (a *app) wipe() {
	a.t.Helper()
	mysqltest.Exec(a.t, "DROP DATABASE "+mysql.QuoteName(a.name))
	entries, err := os.ReadDir(a.root)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(a.root, e.Name())); err != nil {
			a.t.Fatal(err)
		}
	}
}

type backups struct {
	Backups []core.Backup `json:"backups"`
}

// roundTrip backs up twice, wipes, restores and compares. What transient names
// are the paths, with what is below them, that a backup leaves out. It returns
// the first backup.
func (a *app) roundTrip(exit int, transient ...string) core.Backup {
	a.t.Helper()
	before := a.state()
	maps.DeleteFunc(before.Files, func(path, _ string) bool {
		return slices.ContainsFunc(transient, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") })
	})
	a.backstay(0, nil, "init")
	var first, second backups
	a.backstay(exit, &first, "backup", a.name)
	a.backstay(exit, &second, "backup", a.name)
	stored, again := first.Backups[0].StoredBytes, second.Backups[0].StoredBytes
	a.t.Logf("%s: first backup %d bytes, %d stored; second without changes %d stored (%.2f %%)",
		a.name, first.Backups[0].LogicalBytes, stored, again, 100*float64(again)/float64(stored))
	// The manifest, the root folder and the repository's own lists are new in
	// every backup, however small, in blocks of 4 KiB: 9 to 18 kB were seen.
	const fixed = 24 << 10
	if again > max(stored/100, fixed) {
		a.t.Errorf("a second backup without changes stores %d bytes, over 1 %% of the first one's %d", again, stored)
	}
	a.backstay(0, nil, "verify", a.name, "--all")
	// The older of the two, so that nothing can come from elsewhere.
	a.wipe()
	// Only as much of iTop's code is here as says what it is.
	a.backstay(0, nil, "restore", a.name, first.Backups[0].ID, "--yes", "--force", profile.FindingModules)
	if diff := cmp.Diff(before, a.state()); diff != "" {
		a.t.Errorf("before the backup (-) and after the restore (+):\n%s", diff)
	}
	return first.Backups[0]
}

// serverAddress is where PHP would look for the server.
func serverAddress(t *testing.T) string {
	return "127.0.0.1:" + strconv.Itoa(mysqltest.Server(t).Port)
}
