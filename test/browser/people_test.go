package browser

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/test/browser/chrome"
)

func logIn(b *chrome.Browser, m *machine, name string) {
	b.Go(m.url + "/login")
	b.Fill("input[name=name]", name)
	b.Fill("input[name=password]", password)
	b.Press("main form button.primary")
	b.Shows("h1", "Overview")
}

// TestOthersAreRefused lets a viewer and an operator look for what is not theirs.
func TestOthersAreRefused(t *testing.T) {
	m := newMachine(t)
	m.run("backup", "helpdesk")
	m.serve("127.0.0.1:0")
	m.link()
	m.write("password", password+"\n")
	admins := []string{"/settings", "/settings/helpdesk/schedule", "/users", "/audit", "/import", "/downloads", "/apps/helpdesk/restore", "/apps/helpdesk/undo", "/apps/helpdesk/import", "/apps/helpdesk/prune"}
	for _, role := range []string{"viewer", "operator"} {
		t.Run(role, func(t *testing.T) {
			m.run("user", "add", "a-"+role, "--role", role, "--password-file", filepath.Join(m.dir, "password"))
			b := chrome.Open(t, artifacts())
			b.Forgive("403 (Forbidden)")
			logIn(b, m, "a-"+role)
			b.Look("overview-" + role)
			for _, path := range admins {
				if status := b.Go(m.url + path); status != 403 {
					t.Errorf("%s gets %d for %s", role, status, path)
				}
			}
			b.Look("refused-" + role)
			b.Go(m.url + "/")
			b.Press("main table a[href$='/apps/helpdesk']")
			b.Look("app-" + role)
			offered := b.Find(`Array.from(document.querySelectorAll("a[href], main form, header form")).map((e) => new URL(e.href || e.action).pathname)`)
			b.Press("main table a[href*='/backups/']")
			b.Look("backup-" + role)
			backup := b.Address()
			offered = append(offered, b.Find(`Array.from(document.querySelectorAll("a[href], main form, header form")).map((e) => new URL(e.href || e.action).pathname)`)...)
			backs := false
			for _, path := range offered {
				for _, not := range []string{"/restore", "/undo", "/settings", "/users", "/audit", "/import", "/downloads", "/download/", "/export", "/delete"} {
					if strings.Contains(path, not) {
						t.Errorf("%s is offered %s", role, path)
					}
				}
				backs = backs || strings.HasSuffix(path, "/backup")
			}
			if backs != (role == "operator") {
				t.Errorf("%s is offered a backup: %t", role, backs)
			}
			for _, path := range []string{"/download/files/app/uploads/notes/readme.txt", "/export", "/delete"} {
				if status := b.Go(backup + path); status != 403 {
					t.Errorf("%s gets %d for a backup's %s", role, status, path)
				}
			}
		})
	}
}

// TestScriptIsNotNeeded goes without any.
func TestScriptIsNotNeeded(t *testing.T) {
	m := newMachine(t)
	m.serve("127.0.0.1:0")
	b := setUp(t, m)
	b.Shows("h1", "Overview")
	b.Script(false)
	b.Go(m.url + "/apps/helpdesk")
	m.write("hold", "")
	b.Press("main form[action$='/backup'] button.primary")
	b.Shows("main .badge", "running")
	m.remove("hold")
	b.Shows("main .badge", "ok") // the page comes again by itself
	b.Press("main a[href*='/backups/']")
	b.Shows("h1", "helpdesk")
	b.Go(m.url + "/apps/helpdesk/restore")
	b.Press("main table a[href*='backup=']")
	b.Press("main form[action$='/plan'] button.primary")
	b.Shows("main h2", "What happens")
	b.Script(true)
}

// TestAnybodyReads switches the theme and the language.
func TestAnybodyReads(t *testing.T) {
	m := newMachine(t)
	m.run("backup", "helpdesk")
	m.serve("127.0.0.1:0")
	b := setUp(t, m)
	b.Shows("h1", "Overview")
	b.Prefer("light")
	was := b.Find(`[getComputedStyle(document.body).backgroundColor]`)[0]
	b.Click("form[data-theme-switch] button")
	b.Until(`document.documentElement.dataset.theme === "dark"`)
	if now := b.Find(`[getComputedStyle(document.body).backgroundColor]`)[0]; now == was {
		t.Errorf("dark is %s, as light", now)
	}
	b.Until(`fetch(location.href).then((r) => r.text()).then((text) => { window.kept = text.includes('data-theme="dark"') }) && window.kept === true`)
	b.Go(m.url + "/apps/helpdesk")
	if !b.Is(`document.documentElement.dataset.theme === "dark"`) {
		t.Error("the theme is forgotten")
	}
	for language, says := range map[string]string{"de": "Sicherung", "fr": "auvegarde"} {
		b.Press("footer button[lang=" + language + "]")
		b.Shows("main", says)
		if !b.Is(`document.documentElement.lang === "` + language + `"`) {
			t.Errorf("the page is not said to be %s", language)
		}
		b.Picture("app-" + language)
		b.Accessible("app-" + language)
	}
}

// TestSettingsAreChanged edits a schedule, and the service takes it.
func TestSettingsAreChanged(t *testing.T) {
	m := newMachine(t)
	m.serve("127.0.0.1:0")
	b := setUp(t, m)
	b.Shows("h1", "Overview")
	b.Go(m.url + "/settings/helpdesk/schedule")
	b.Fill("#f-time", "03:30")
	b.Press("main form button.primary")
	b.Shows("table.diff", "03:30")
	b.Look("settings-review")
	b.Press("form[action$='/apply'] button.primary")
	b.Shows("main .notice", "written")
	b.Comes(m.url+"/settings/helpdesk/schedule", `/works by the file/.test(document.querySelector("main").textContent)`)
	b.Look("settings-applied")
	text, err := os.ReadFile(filepath.Join(m.dir, "backstay.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"03:30", "# every night", "# asked for by everybody", "# The helpdesk's backups."} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%q is not in the configuration:\n%s", part, text)
		}
	}
	b.Comes(m.url+"/apps/helpdesk", `/03:30/.test(document.querySelector("main dl").textContent)`)
	b.Go(m.url + "/settings")
	b.Press("a[href*='/versions/']")
	b.Look("settings-version")
}
