package browser

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// TestAnAdministratorRecovers goes the whole way, and no shell is opened.
func TestAnAdministratorRecovers(t *testing.T) {
	m := newMachine(t)
	m.serve("127.0.0.1:0")
	b := setUp(t, m)
	b.Shows("h1", "Overview")
	b.Click("details.menu summary")
	b.Press("form[action$='/logout'] button")
	b.Go(m.url + "/login")
	b.Look("login")
	b.Fill("input[name=name]", "anna")
	b.Fill("input[name=password]", password)
	b.Press("main form button.primary")
	b.Shows("h1", "Overview")

	// A backup, whose page shows how far it is and changes by itself.
	m.write("hold", "")
	b.Press("main td form[action$='/backup'] button")
	b.Until(`document.querySelector("main progress.bar") !== null`)
	b.Look("run-backup")
	m.remove("hold")
	b.Shows("main .badge", "ok")
	b.Look("run-backup-over")

	// What is in it.
	b.Press("main a[href*='/backups/']")
	b.Shows("h1", "helpdesk")
	b.Look("backup")
	backup := b.Address()
	id := regexp.MustCompile(`[0-9a-f]{16}`).FindString(backup)
	b.Go(backup + "/tables")
	b.Shows("main table", "tickets")
	b.Shows("main table", "2,000")
	b.Go(backup + "/files/files/app/uploads/2026")
	b.Shows("main table", "photo-07.bin")

	// A file, and an archive of all, which is what the app has.
	saved := t.TempDir()
	b.SaveTo(saved)
	b.Click("a[href$='/photo-07.bin']")
	same(t, filepath.Join(saved, "photo-07.bin"), filepath.Join(m.dir, "www/uploads/2026/photo-07.bin"))
	b.Go(backup + "/export")
	b.Click("input[name=format][value=backstay]")
	b.Press("main form button.primary")
	b.Until(`document.querySelector("main a[href*='/downloads/']") !== null && document.readyState === "complete"`)
	if strings.Contains(b.Address(), "/runs/") {
		b.Look("run-export-over")
	}
	b.Go(m.url + "/downloads")
	b.Look("downloads")
	name := b.Find(`[document.querySelector("main a[href*='/downloads/']").textContent.trim()]`)[0]
	b.Click("main a[href*='/downloads/']")
	kept, err := filepath.Glob(filepath.Join(m.dir, "state/console/downloads/*", name))
	if err != nil || len(kept) != 1 {
		t.Fatalf("the service keeps %v of %s: %v", kept, name, err)
	}
	same(t, filepath.Join(saved, name), kept[0])

	// The app is damaged.
	before := mysqltest.Checksum(t, m.database)
	mysqltest.ExecIn(t, m.database, "DROP TABLE people", "DELETE FROM tickets WHERE id <= 900", "UPDATE settings SET value = 'broken' WHERE name = 'title'")
	m.write("www/uploads/notes/readme.txt", "nothing\n")
	m.remove("www/uploads/2026/photo-07.bin")
	damaged := mysqltest.Checksum(t, m.database)

	// It is restored: parts, plan, decisions, the typed name, the password.
	b.Go(m.url + "/apps/helpdesk/restore")
	b.Look("restore-choose")
	b.Press("main table a[href*='backup=" + id + "']")
	b.Look("restore-parts")
	b.Press("main form[action$='/plan'] button.primary")
	b.Until(`document.querySelector("main form[action$='/confirm']") !== null && document.readyState === "complete"`)
	b.Look("restore-plan")
	for _, name := range b.Find(`Array.from(document.querySelectorAll("input[name=force]")).map((e) => e.value)`) {
		b.Click(fmt.Sprintf("input[name=force][value=%q]", name))
	}
	m.write("ahead", "6m") // so long the password was given ago
	b.Press("main form[action$='/confirm'] button.primary")
	b.Shows("h1", "password")
	b.Look("prove")
	b.Fill("input[name=password]", password)
	b.Press("main form button.primary")
	b.Until(`document.querySelector("input[data-confirm]") !== null && document.readyState === "complete"`)
	if !b.Is(`document.querySelector("main button.danger").disabled`) {
		t.Error("a restore can be begun without the app's name")
	}
	b.Fill("#confirm", "helpdesk")
	b.Look("restore-confirm")
	b.Press("main button.danger")
	b.Until(`document.querySelector("[data-over]") !== null`)
	b.Shows("main .badge", "ok")
	b.Look("run-restore-over")
	if diff := cmp.Diff(before, mysqltest.Checksum(t, m.database)); diff != "" {
		t.Errorf("the rows are not back: %s", diff)
	}
	if text := m.read("www/uploads/notes/readme.txt"); text != "what the helpdesk knows\n" {
		t.Errorf("the file has %q", text)
	}
	if _, err := os.Stat(filepath.Join(m.dir, "www/uploads/2026/photo-07.bin")); err != nil {
		t.Error(err)
	}

	// And that is undone.
	b.Go(m.url + "/apps/helpdesk/undo")
	b.Look("undo")
	b.Fill("#confirm", "helpdesk")
	b.Press("form[action$='/undo'] button.danger")
	b.Until(`document.querySelector("[data-over]") !== null`)
	b.Shows("main .badge", "ok")
	if diff := cmp.Diff(damaged, mysqltest.Checksum(t, m.database)); diff != "" {
		t.Errorf("the rows are not as before the restore: %s", diff)
	}
	if text := m.read("www/uploads/notes/readme.txt"); text != "nothing\n" {
		t.Errorf("the file has %q", text)
	}
	b.Go(m.url + "/audit")
	b.Shows("main table", "restore")
	b.Look("audit-filled")
	b.Go(m.url + "/")
	b.Look("overview-filled")
}

// same waits for a download to be there, and compares it.
func same(t *testing.T, got, want string) {
	t.Helper()
	expected, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for range 400 {
		if saved, err := os.ReadFile(got); err == nil && bytes.Equal(saved, expected) {
			return
		}
		<-again.C
	}
	t.Fatalf("%s is not what %s is", got, want)
}
