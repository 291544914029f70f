package realapps

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine/restore"
	"github.com/backstay/backstay/internal/engine/switchover"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// smallITFlow is an install with one table, whose uploads/clients lies on
// another disk, and a backup of it.
func smallITFlow(t *testing.T) (a *app, otherDisk string) {
	t.Helper()
	a = newApp(t, "itflow", "itflow", "secret")
	mysqltest.ExecIn(t, a.name, "CREATE TABLE clients (client_id INT PRIMARY KEY)", "INSERT INTO clients VALUES (1)",
		"CREATE TABLE users (user_id INT PRIMARY KEY, user_password VARCHAR(200), user_archived_at DATETIME)", "INSERT INTO users VALUES (1, 'hash', NULL)",
		"CREATE TABLE settings (company_id INT PRIMARY KEY, config_current_database_version VARCHAR(10))", "INSERT INTO settings VALUES (1, '2.6.7')")
	a.writeITFlow("<?php\n$dbhost = '127.0.0.1';\n$dbusername = 'itflow';\n$dbpassword = 'secret';\n$database = 'itflow';\n", nil)
	otherDisk = filepath.Join(t.TempDir(), "clients")
	a.write(filepath.Join(otherDisk, "1/contract.pdf"), "x", 0o644)
	if err := os.Symlink(otherDisk, filepath.Join(a.root, "uploads/clients")); err != nil {
		t.Fatal(err)
	}
	a.backstay(0, nil, "init")
	a.backstay(0, nil, "backup", a.name)
	return a, otherDisk
}

type planned struct {
	Plan restore.Plan `json:"plan"`
}

func messages(findings []core.Finding) []string {
	var out []string
	for _, f := range findings {
		out = append(out, f.Message)
	}
	return out
}

// one returns the text that contains part; there must be exactly one.
func one(t *testing.T, texts []string, part string) string {
	t.Helper()
	var found []string
	for _, text := range texts {
		if strings.Contains(text, part) {
			found = append(found, text)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d texts with %q in %q, want one", len(found), part, texts)
	}
	return found[0]
}

// TestPlanOfLinksAndCode: a link that is gone and code that stays are said
// before anything is changed.
func TestPlanOfLinksAndCode(t *testing.T) {
	a, otherDisk := smallITFlow(t)
	var shown struct {
		Manifest struct {
			Notes []string `json:"notes"`
		} `json:"manifest"`
	}
	a.backstay(0, &shown, "show", a.name+"@latest")
	one(t, shown.Manifest.Notes, otherDisk)

	var kept, gone, empty planned
	a.backstay(0, &kept, "restore", a.name, "latest", "--dry-run")
	one(t, messages(kept.Plan.Findings), "--only code,config,database,files")
	if !kept.Plan.Live || kept.Plan.Steps[0].Replaces == "" {
		t.Errorf("the plan does not say that it changes a live app: %+v", kept.Plan)
	}
	if err := os.Remove(filepath.Join(a.root, "uploads/clients")); err != nil {
		t.Fatal(err)
	}
	a.backstay(0, &gone, "restore", a.name, "latest", "--dry-run")
	one(t, messages(gone.Plan.Findings), "uploads/clients was a link to another place")

	a.wipe()
	a.backstay(0, &empty, "restore", a.name, "latest", "--dry-run")
	for _, step := range empty.Plan.Steps {
		if step.Replaces != "" {
			t.Errorf("in an empty folder and no database, %s replaces %q", step.Component, step.Replaces)
		}
	}
	if empty.Plan.Live {
		t.Error("where nothing is, the plan says that a live app is changed")
	}
	// The link that was made again stays, and its folder is filled.
	if err := os.Mkdir(filepath.Join(a.root, "uploads"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(otherDisk, "1")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(otherDisk, filepath.Join(a.root, "uploads/clients")); err != nil {
		t.Fatal(err)
	}
	a.backstay(0, nil, "restore", a.name, "latest", "--yes", "--only", "code,config,database,files")
	if _, err := os.Stat(filepath.Join(otherDisk, "1/contract.pdf")); err != nil {
		t.Error(err)
	}
	if target, err := os.Readlink(filepath.Join(a.root, "uploads/clients")); err != nil || target != otherDisk {
		t.Errorf("the link leads to %q (%v)", target, err)
	}
}

// TestRestoreOnBareMachine: the restored configuration still names the former
// database, which may be somebody's live one.
func TestRestoreOnBareMachine(t *testing.T) {
	a, _ := smallITFlow(t)
	rescue := mysqltest.User(t, "ALL ON `rescue`.*", "ALL ON `itflow`.*")
	runLater(t, "DROP DATABASE IF EXISTS rescue")
	a.write(filepath.Join(a.folder, "rescue.password"), rescue.Password.Reveal(), 0o600)
	restoreInto := func(database string) []string {
		t.Helper()
		var done switchover.Outcome
		a.backstay(0, &done, "restore", a.name, "latest", "--yes",
			"--repository", "file://"+a.folder+"/repository", "--password-file", a.folder+"/repository.key", "--state-dir", t.TempDir(),
			"--root", filepath.Join(t.TempDir(), "www"), "--database-host", "127.0.0.1", "--database-port", strconv.Itoa(mysqltest.Server(t).Port),
			"--database-user", rescue.User, "--database-password-file", a.folder+"/rescue.password", "--database-name", database)
		return done.Next
	}
	step := one(t, restoreInto("rescue"), "cannot log in")
	if !strings.Contains(step, `may not use database "rescue"`) || !strings.Contains(step, "GRANT ALL ON `rescue`.*") {
		t.Errorf("it does not say what the account that the configuration names lacks: %s", step)
	}
	if next := restoreInto("itflow"); len(next) != 0 {
		t.Errorf("into the database that the configuration names: %q, want nothing left to do", next)
	}
	mysqltest.Exec(t, "ALTER USER "+quoted(a.user)+"@'%' IDENTIFIED BY 'another'")
	step = one(t, restoreInto("itflow"), "cannot log in")
	if strings.Contains(step, a.password) {
		t.Errorf("the password is in: %s", step)
	}
	if rows := mysqltest.Query(t, "rescue", "SELECT client_id FROM "+mysql.QuoteName("clients")); len(rows) != 1 {
		t.Errorf("the rescue database has %d clients, want 1", len(rows))
	}
}
