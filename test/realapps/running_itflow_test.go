package realapps

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// writerPassword is the one that itflow-writer.php logs in with.
const writerPassword = `It's a \ "pa$$"; //w?>d`

// TestRunningITFlow restores an ITFlow that people read, undoes that, restores it
// while it is written to, and restores an older version's backup.
func TestRunningITFlow(t *testing.T) {
	checkout, scripts := checkoutOf(t, "BACKSTAY_TEST_ITFLOW"), helpers(t)
	r := newRunning(t, "itflow", checkout, "itflow", writerPassword)
	r.installITFlow()
	t.Log("seed:", strings.TrimSpace(r.runPHP(filepath.Join(scripts, "itflow-seed.php"), r.root)))
	r.serve()
	pages := map[string]func() (*http.Request, func(int, []byte) string){
		"login": get(r.address("/login.php"), "password"), "client portal": get(r.address("/client/login.php"), ""), "guest": get(r.address("/guest/guest_view_ticket.php"), ""),
	}
	works := func(when string) {
		t.Helper()
		for name, page := range pages {
			if what := ask(t.Context(), page); what != "" {
				t.Errorf("%s, %s: %s", when, name, what)
			}
		}
	}
	for name, page := range pages { // pages that this version does not have
		if ask(t.Context(), page) != "" && name != "login" {
			delete(pages, name)
		}
	}
	works("before")
	r.backstay(0, nil, "init")
	r.backstay(0, nil, "backup", r.name)
	whole := r.picture("uploads/tmp")
	mysqltest.ExecOn(t, r.config(r.name), "DELETE FROM tickets WHERE ticket_id % 2", "UPDATE clients SET client_name = CONCAT(client_name, ' !')", "CREATE TABLE later (id INT PRIMARY KEY)")
	r.ok(os.RemoveAll(filepath.Join(r.root, "uploads/clients/1")))
	r.write(filepath.Join(r.root, "uploads/clients/later.txt"), "later", 0o644)
	damaged := r.picture("uploads/tmp")

	v := r.visit(pages)
	var done, undone outcome
	r.backstay(0, &done, "restore", r.name, "latest", "--yes")
	v.ends(t, "ITFlow, restore")
	r.switched("ITFlow, restore", done)
	now := r.picture("uploads/tmp")
	delete(now.Checksums, "later")
	delete(now.Objects, "table later")
	delete(now.Files, "uploads/clients/later.txt")
	if diff := cmp.Diff(whole, now); diff != "" {
		t.Errorf("backed up (-) and restored (+):\n%s", diff)
	}
	works("after the restore")
	v = r.visit(pages)
	r.backstay(0, &undone, "undo", r.name, "--yes")
	v.ends(t, "ITFlow, undo")
	r.switched("ITFlow, undo", undone)
	if diff := cmp.Diff(damaged, r.picture("uploads/tmp")); diff != "" {
		t.Errorf("before the restore (-) and after its undo (+):\n%s", diff)
	}
	works("after the undo")
	r.backstay(0, nil, "undo", r.name, "--drop", "--yes")
	r.nothingOfUs()

	// Now somebody writes all the time, and must not see an error.
	ready := filepath.Join(t.TempDir(), "ready")
	r.ok(os.Chmod(filepath.Dir(ready), 0o777))
	r.ok(os.Chmod(filepath.Dir(filepath.Dir(ready)), 0o755))
	writer := r.command("php", filepath.Join(scripts, "itflow-writer.php"), r.name, "8")
	writer.Env = append(writer.Env, "READY="+ready)
	var said bytes.Buffer
	writer.Stdout, writer.Stderr = &said, &said
	r.ok(writer.Start())
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(ready); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the writer does not begin: %s", &said)
		}
	}
	v = r.visit(pages)
	r.backstay(0, &done, "restore", r.name, "latest", "--yes", "--no-safety-backup")
	v.ends(t, "ITFlow, restore while it is written to")
	r.switched("ITFlow, restore while it is written to", done)
	err := writer.Wait()
	t.Logf("the writer: %v %s", err, strings.TrimSpace(said.String()))
	if err != nil {
		t.Errorf("somebody who writes saw an error: %v\n%s", err, &said)
	}
	for _, query := range []string{
		"SELECT COUNT(*) FROM ticket_replies LEFT JOIN tickets ON ticket_id = ticket_reply_ticket_id WHERE ticket_id IS NULL",
		"SELECT COUNT(*) FROM invoice_items LEFT JOIN invoices ON invoice_id = item_invoice_id WHERE item_invoice_id > 0 AND invoice_id IS NULL",
	} {
		if n := r.one(query); n != "0" {
			t.Logf("rows of transactions that were under way at the switch: %s by %s", n, query)
		}
	}
	works("after a restore that somebody wrote through")
	r.backstay(0, nil, "undo", r.name, "--yes")
	r.backstay(0, nil, "undo", r.name, "--drop", "--yes")
	r.nothingOfUs()
}

// TestRunningITFlowOlder restores a backup that an older ITFlow made.
func TestRunningITFlowOlder(t *testing.T) {
	older, newer := checkoutOf(t, "BACKSTAY_TEST_ITFLOW_OLDER"), checkoutOf(t, "BACKSTAY_TEST_ITFLOW")
	helpers(t)
	r := newRunning(t, "itflow", older, "itflow", writerPassword)
	r.installITFlow()
	r.serve()
	const version = "SELECT config_current_database_version FROM settings WHERE company_id = 1"
	was := r.one(version)
	r.backstay(0, nil, "init")
	r.backstay(0, nil, "backup", r.name)
	config, err := os.ReadFile(filepath.Join(r.root, "config.php"))
	r.ok(err)
	if out, err := r.command("cp", "-a", newer+"/.", r.root).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r.ok(os.WriteFile(filepath.Join(r.root, "config.php"), config, 0o644))
	t.Log("update:", strings.TrimSpace(r.runPHP("scripts/update_cli.php", "--update_db")))
	now := r.one(version)
	if was == now {
		t.Fatalf("the older version's database is of version %s too", was)
	}
	before := r.picture()
	var done outcome
	r.backstay(0, &done, "restore", r.name, "latest", "--yes")
	r.switched("ITFlow, restore of an older backup", done)
	if got := r.one(version); got != now || len(done.Steps) != 1 {
		t.Errorf("the database is of version %s after %+v, want %s", got, done.Steps, now)
	}
	r.backstay(0, nil, "undo", r.name, "--yes")
	after := r.picture()
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("before the restore (-) and after its undo (+):\n%s", diff)
	}
}

// one asks for one value.
func (r *running) one(query string) string {
	r.t.Helper()
	c, err := mysql.Connect(r.t.Context(), r.config(r.name))
	r.ok(err)
	rows, err := c.Query(r.t.Context(), query)
	r.ok(err)
	r.ok(c.Close())
	return rows[0][0].Text
}

// installITFlow sets ITFlow up with its own command.
func (r *running) installITFlow() {
	r.t.Helper()
	args := []string{"scripts/setup_cli.php", "--non-interactive"}
	for _, option := range [][2]string{
		{"host", "127.0.0.1"}, {"username", r.user}, {"password", r.password}, {"database", r.name}, {"base-url", fmt.Sprintf("127.0.0.1:%d", r.web)}, {"locale", "en_US"}, {"timezone", "Europe/Paris"},
		{"currency", "EUR"}, {"company-name", "Company"}, {"country", "France"}, {"user-name", "User"}, {"user-email", "user@example.test"}, {"user-password", "Corr3ct horse! batterie é"},
		{"address", "1"}, {"city", "Paris"}, {"state", "IdF"}, {"zip", "75001"}, {"phone", "1"}, {"company-email", "company@example.test"}, {"website", "example.test"}, {"repo-branch", "master"},
	} {
		args = append(args, "--"+option[0]+"="+option[1])
	}
	r.t.Log("setup:", strings.TrimSpace(r.runPHP(args...)))
	config := filepath.Join(r.root, "config.php")
	text, err := os.ReadFile(config)
	r.ok(err)
	text = bytes.Replace(text, []byte("'127.0.0.1'"), []byte(fmt.Sprintf("'127.0.0.1:%d'", r.server.Port)), 1)
	text = bytes.Replace(text, []byte("$config_https_only = TRUE;"), []byte("$config_https_only = FALSE;"), 1)
	text = bytes.Replace(text, []byte("$config_https_only = true;"), []byte("$config_https_only = false;"), 1)
	r.ok(os.WriteFile(config, text, 0o644))
}
