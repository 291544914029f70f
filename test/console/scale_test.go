package console

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/console/consoletest"
	"github.com/backstay/backstay/internal/core"
)

// mostPage is how large a page may be without its pictures.
const mostPage = 100_000

var pictures = regexp.MustCompile(`(?s)<svg.*?</svg>`)

// TestScale fills a console as far as one may ever be filled, and sees that its
// pages stay small, and that looking again asks the repository for nothing.
func TestScale(t *testing.T) {
	began := time.Now()
	c := consoletest.New(t)
	manyApps(t, c, 200)
	small := map[string]string{"uploads/a.txt": "x"}
	for i := range 4_990 {
		c.AddBackup(t, "helpdesk", time.Duration(i+100)*time.Hour, small, nil)
	}
	for i := range 200 {
		c.AddBackup(t, fmt.Sprintf("app-%03d", i), time.Hour, small, consoletest.Tables(2))
	}
	files := map[string]string{}
	for i := range 100_000 {
		files[fmt.Sprintf("uploads/%05d-a-document-with-a-usual-name.pdf", i)] = ""
	}
	files["uploads/below/one.txt"] = "one"
	large := c.AddBackup(t, "helpdesk", 2*time.Minute, files, consoletest.Tables(5_000))
	c.AddBackup(t, "helpdesk", time.Minute, small, consoletest.Tables(4_000))
	w := newWorld(t, c)
	for i := range 2_000 {
		at := w.Clock.Now().Add(-time.Duration(i) * time.Hour)
		r := core.Run{App: "helpdesk", Kind: core.RunBackup, Trigger: "schedule", Started: at, Finished: &at, Outcome: core.OutcomeFailed, Code: core.CodeDatabase, Message: "the database server went away in the middle", Hint: "look at its log"}
		if _, err := w.State.AddRun(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10_000 {
		if err := w.Console.Note(t.Context(), core.Audited{Who: "somebody from 192.0.2.1", Via: "console", Action: "backup", Object: fmt.Sprintf("helpdesk %d", i), Outcome: "ok"}); err != nil {
			t.Fatal(err)
		}
	}
	who := w.session(t, access.Admin, true)
	v := w.things(t)
	v["backup"] = large
	t.Logf("filled in %s", time.Since(began).Round(time.Millisecond))

	targets := []string{"/?search=app", "/?offset=100", "/backups/" + large + "/files/files/uploads?offset=50000", "/backups/" + large + "/files/files/uploads?name=4999", "/backups/" + large + "/tables?offset=2500&sort=bytes", "/runs?offset=1000", "/runs?app=helpdesk&outcome=failed", "/audit?offset=5000", "/apps/helpdesk?offset=2500"}
	for _, r := range w.routes() {
		// What is one request's own work each time: a backup's health is looked at now, a file is sent.
		if r.Method != http.MethodGet || strings.HasSuffix(r.Pattern, "/health") || strings.Contains(r.Pattern, "/download") || strings.HasSuffix(r.Pattern, "/content") {
			continue
		}
		targets = append(targets, v.fill(r.Pattern, nil)+v.queryOf(r))
	}
	for _, target := range targets {
		var took [3]time.Duration
		var calls [3]int
		var got answer
		for i := range took {
			before, start := w.asked.total(), time.Now()
			got = w.ask(t, who, request{method: "GET", target: target})
			took[i], calls[i] = time.Since(start), w.asked.total()-before
		}
		all := strings.HasPrefix(target, "/?") || target == "/api/v1/backups"
		if all && calls[0] > 10*200 {
			t.Errorf("%s: the first look asks the repository %d times for 200 apps", target, calls[0])
		}
		page := len(pictures.ReplaceAll(got.body, nil))
		t.Logf("%-60.60s %d: %7d bytes (%7d with pictures); first %8s, then %8s, %8s; asked %d, %d, %d", strings.ReplaceAll(target, large, "ID"), got.status, page, len(got.body),
			took[0].Round(10*time.Microsecond), took[1].Round(10*time.Microsecond), took[2].Round(10*time.Microsecond), calls[0], calls[1], calls[2])
		if got.status >= 500 {
			t.Errorf("%s: %d", target, got.status)
		}
		if strings.HasPrefix(got.header.Get("Content-Type"), "text/html") && page > mostPage {
			t.Errorf("%s: the page has %d bytes, more than %d", target, page, mostPage)
		}
		// All apps' newest backups are looked at, and what is compared is read.
		if calls[0] > 20 && !all && !strings.Contains(target, "compare") {
			t.Errorf("%s: the first look asks the repository %d times", target, calls[0])
		}
		// Large folders below the one that is shown are read ahead, whenever that ends.
		if calls[1]+calls[2] > 4 {
			t.Errorf("%s: looking again asks the repository %d and %d times: %v", target, calls[1], calls[2], w.asked)
		}
	}
	if text := w.log.take(); text != "" {
		t.Errorf("errors were logged:\n%.2000s", text)
	}
}

// manyApps configures apps beside those that there are.
func manyApps(t *testing.T, c *consoletest.World, n int) {
	t.Helper()
	w := world{World: c}
	text, err := os.ReadFile(w.config())
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		text = fmt.Appendf(text, "  - {name: app-%03d, profile: generic, root: %s, files: [{path: %s}], schedule: {time: \"03:00\"}, retention: {daily: 7}}\n", i, c.Root, c.Root)
	}
	if err := os.WriteFile(w.config(), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if c.Config, err = config.Load(w.config()); err != nil {
		t.Fatal(err)
	}
}
