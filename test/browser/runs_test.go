package browser

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// TestRunsEnd shows one that fails in the middle and one that is cancelled.
func TestRunsEnd(t *testing.T) {
	m := newMachine(t)
	m.serve("127.0.0.1:0")
	b := setUp(t, m)
	b.Shows("h1", "Overview")
	m.write("broken", "")
	b.Press("main td form[action$='/backup'] button")
	b.Shows("main .badge", "failed")
	b.Shows("main .notice.bad", "mail queue cannot be stopped")
	b.Shows("main .notice.bad", "What to do")
	b.Look("run-failed")
	m.remove("broken")

	m.write("hold", "")
	b.Go(m.url + "/apps/helpdesk")
	b.Press("main form[action$='/backup'] button.primary")
	b.Shows("main button.danger", "Cancel")
	b.Press("form[action$='/cancel'] button")
	b.Shows("main .badge", "cancelled")
	b.Look("run-cancelled")
	m.remove("hold")
	b.Go(m.url + "/runs")
	b.Look("runs-filled")
	if n := len(mysqltest.Query(t, m.database, "SELECT id FROM tickets LIMIT 5")); n != 5 {
		t.Errorf("the app has %d tickets left of 5", n)
	}
}

// TestServiceRestartsMeanwhile has a page open all the time.
func TestServiceRestartsMeanwhile(t *testing.T) {
	m := newMachine(t)
	m.serve("127.0.0.1:0")
	b := setUp(t, m)
	b.Forgive("ERR_CONNECTION_REFUSED")
	b.Forgive("ERR_INCOMPLETE_CHUNKED_ENCODING")
	b.Forgive("ERR_EMPTY_RESPONSE")
	b.Forgive("ERR_CONNECTION_RESET")
	b.Forgive("503")
	b.Shows("h1", "Overview")
	m.write("hold", "")
	backup := m.command("backup", "helpdesk") // in a shell
	if err := backup.Start(); err != nil {
		t.Fatal(err)
	}
	// Of backups only: the check that the service begins with may run as well.
	b.Until(`fetch("/runs?kind=backup").then((r) => r.text()).then((text) => { window.begun = /running/.test(text.split("<tbody>")[1] || "") }) && window.begun === true`)
	b.Go(m.url + "/runs?kind=backup")
	b.Press("main tbody a[href*='/runs/']")
	b.Shows("main .badge", "running")
	address := strings.TrimPrefix(m.url, "http://")
	m.stop()
	b.Until(`(() => { const lost = document.querySelector(".lost"); return lost !== null && !lost.hidden && lost.textContent !== ""; })()`)
	b.Picture("run-lost")
	m.serve(address)
	b.Until(`document.querySelector(".lost").hidden`)
	m.remove("hold")
	b.Shows("main .badge", "ok")
	if err := backup.Wait(); err != nil {
		t.Error(err)
	}
}

// TestUploadGoesOn breaks an upload off by leaving its page.
func TestUploadGoesOn(t *testing.T) {
	m := newMachine(t)
	m.random("www/uploads/video.bin", 24<<20)
	m.run("backup", "helpdesk")
	archive := filepath.Join(m.dir, "helpdesk.tar.zst")
	m.run("export", "helpdesk@latest", archive)
	m.serve("127.0.0.1:0")
	b := setUp(t, m)
	b.Forgive("409")
	b.Shows("h1", "Overview")
	b.Go(m.url + "/apps/helpdesk/import")
	b.Choose("#file", archive)
	b.Slow(8 << 20)
	b.Click("form[data-upload] button.primary")
	b.Until(`document.querySelector("form[data-upload] progress")?.value > 0`)
	b.Go(m.url + "/apps/helpdesk/import") // in the middle
	b.Slow(0)
	b.Shows("main table", "helpdesk.tar.zst")
	begun := b.Text("main tbody td.num")
	b.Look("import-broken-off")
	b.Choose("#file", archive)
	b.Click("form[data-upload] button.primary")
	b.Until(`/[?&]upload=/.test(location.search) && document.readyState === "complete"`)
	if !regexp.MustCompile(`MB`).MatchString(begun) {
		t.Errorf("of the first try there is %q", begun)
	}
	b.Look("import-whole")
	b.Press("form[action$='/import/start'] button.primary")
	b.Until(`document.querySelector("[data-over]") !== null`)
	b.Shows("main .badge", "ok")
	b.Look("run-import-over")
}

// TestProgressMoves watches a backup that takes a moment.
func TestProgressMoves(t *testing.T) {
	m := newMachine(t)
	m.random("www/uploads/video.bin", 600<<20)
	m.serve("127.0.0.1:0")
	b := setUp(t, m)
	b.Shows("h1", "Overview")
	m.write("hold", "")
	b.Press("main td form[action$='/backup'] button")
	b.Shows("main .badge", "running")
	b.Until(`(document.querySelector("form[action$='/cancel'] button").focus(), true)`)
	b.Until(`window.seen = new Set(), new MutationObserver(() => {
		const bytes = document.querySelector("main .size");
		if (bytes && !document.querySelector("[data-over]")) { window.seen.add(bytes.title || bytes.textContent); sessionStorage.focus = document.activeElement.tagName; sessionStorage.seen = Array.from(window.seen).join("|"); }
	}).observe(document.getElementById("run"), { childList: true, subtree: true, characterData: true, attributes: true }), true`)
	m.remove("hold")
	b.Until(`(sessionStorage.seen || "").split("|").length > 1`)
	b.Picture("run-progress-light")
	b.Shows("main .badge", "ok")
	if at := b.Find(`[sessionStorage.focus]`)[0]; at != "BUTTON" {
		t.Errorf("the keyboard's focus went from the button to %s", at)
	}
	t.Logf("the page showed %q", b.Find(`sessionStorage.seen.split("|")`))
}
