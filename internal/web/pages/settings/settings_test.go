package settings_test

import (
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/config/edit"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/web/page"
	"github.com/backstay/backstay/internal/web/pages/settings"
)

const file = `# the desk
repository: {url: "file:///r", password_file: /k}
defaults:
  retention: {daily: 7} # a week
apps:
  - name: desk
    profile: itop
    root: /a
    # at night
    schedule: {time: 23:30, pause: ["08:00-18:00"]}
    notify:
      - {type: ping, url: https://hc.example.org/hunter2}
`

type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

type site struct {
	handler     http.Handler
	path, state string
	store       *access.Store
	cookie      *http.Cookie // of a session that grows stale
	clock       *clock
	effective   *edit.Config
	noted       []string
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{path: filepath.Join(dir, "backstay.yaml"), state: filepath.Join(dir, "state"), clock: &clock{time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}}
	s.write(t, file)
	s.load(t)
	store, err := access.Open(t.Context(), t.TempDir(), s.clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	s.store = store
	if _, err := store.AddUser(t.Context(), "the-admin", access.Admin, core.NewSecret("correct horse battery staple the-admin")); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	g := gate.New(gate.Options{Store: store, Settings: func() gate.Settings { return gate.Settings{} }, Clock: s.clock, Log: log})
	pages, err := page.New(page.Options{
		Gate: g, Version: "test", Clock: s.clock, Log: log,
		Pages: []page.Pages{settings.Pages(settings.Options{Path: s.path, StateDir: s.state, Effective: func() (*edit.Config, error) { return s.effective, nil }})},
		Audit: func(_ *page.Request, action, object, outcome, _ string) {
			s.noted = append(s.noted, action+" "+object+" "+outcome)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.handler = g.Wrap(pages)
	cookie, _, err := store.Login(t.Context(), access.Credentials{
		Name: "the-admin", Password: core.NewSecret("correct horse battery staple the-admin"), Address: netip.MustParseAddr("127.0.0.1"),
	}, access.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	g.SetCookie(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:8484/", nil), cookie)
	s.cookie = w.Result().Cookies()[0]
	return s
}

func (s *site) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(s.path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// load has the service take the file over.
func (s *site) load(t *testing.T) {
	t.Helper()
	d, err := edit.Read(s.path)
	if err != nil {
		t.Fatal(err)
	}
	if s.effective, err = d.Config(); err != nil {
		t.Fatal(err)
	}
}

func (s *site) now(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// fresh is the session of somebody of a role, begun now.
func (s *site) fresh(t *testing.T, role access.Role) *http.Cookie {
	t.Helper()
	name := "new-" + string(role)
	secret, _, err := s.store.Enter(t.Context(), "https://id.example.org", name, name, role, access.Credentials{Address: netip.MustParseAddr("127.0.0.1")}, access.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return &http.Cookie{Name: s.cookie.Name, Value: secret.Reveal()}
}

// ask sends a request; role "" is the admin's session that grows stale. form nil
// is a GET.
func (s *site) ask(t *testing.T, role access.Role, target string, form url.Values) (int, string) {
	t.Helper()
	method, body := http.MethodGet, ""
	if form != nil {
		method, body = http.MethodPost, form.Encode()
	}
	r := httptest.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:8484"+target, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:40000"
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "http://127.0.0.1:8484")
	}
	if role == access.Anyone {
		r.AddCookie(s.cookie)
	} else {
		r.AddCookie(s.fresh(t, role))
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	content, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(content), "hunter2") {
		t.Errorf("%s shows a secret", target)
	}
	if m := regexp.MustCompile(`>\s*settings\.[a-z_.]+`).FindString(string(content)); m != "" {
		t.Errorf("%s: a text is missing: %s", target, m)
	}
	return w.Code, html.UnescapeString(string(content))
}

func holds(t *testing.T, content string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(content, p) {
			_, main, _ := strings.Cut(content, "<main")
			t.Errorf("%q is missing in\n%.4000s", p, main)
		}
	}
}

var hidden = regexp.MustCompile(`name="digest" value="([0-9a-f]+)"`)

func digestOf(t *testing.T, content string) string {
	t.Helper()
	m := hidden.FindStringSubmatch(content)
	if m == nil {
		t.Fatalf("there is no digest in %s", content)
	}
	return m[1]
}

func TestEditReviewApply(t *testing.T) {
	s := newSite(t)
	_, content := s.ask(t, access.Admin, "/settings", nil)
	holds(t, content, "/settings/desk/schedule", "/settings/-/service", "line 10", "as for all applications", "Nothing was changed here yet")
	_, content = s.ask(t, access.Admin, "/settings/desk/schedule", nil)
	holds(t, content, `value="23:30"`, `pause: ["08:00-18:00"]`, "works by the file")

	// By the form: what it does not show stays.
	code, content := s.ask(t, access.Admin, "/settings/desk/schedule", url.Values{"mode": {"form"}, "when": {"cron"}, "cron": {"*/30 * * * *"}, "time": {"23:30"}, "digest": {digestOf(t, content)}})
	holds(t, content, `cron: "*/30 * * * *"`, `pause: ["08:00-18:00"]`, "Apply")
	if code != http.StatusOK || s.now(t) != file {
		t.Fatalf("status %d, or the look changed the file", code)
	}
	typed := "pause: [\"08:00-18:00\"]\ncron: \"*/30 * * * *\""
	code, _ = s.ask(t, access.Admin, "/settings/desk/schedule/apply", url.Values{"text": {strings.ReplaceAll(typed, "\n", "\r\n")}, "digest": {digestOf(t, content)}})
	want := strings.Replace(file, "    schedule: {time: 23:30, pause: [\"08:00-18:00\"]}\n", "    schedule:\n      pause: [\"08:00-18:00\"]\n      cron: \"*/30 * * * *\"\n", 1)
	if code != http.StatusSeeOther || s.now(t) != want {
		t.Fatalf("status %d:\n%s", code, s.now(t))
	}
	if got := strings.Join(s.noted, ";"); got != "settings desk schedule ok" {
		t.Errorf("noted %q", got)
	}
	_, content = s.ask(t, access.Admin, "/settings/desk/schedule", nil)
	holds(t, content, "has not taken over")
	s.load(t)
	_, content = s.ask(t, access.Admin, "/settings/desk/schedule", nil)
	holds(t, content, "works by the file")

	// And back.
	_, content = s.ask(t, access.Admin, "/settings", nil)
	id := regexp.MustCompile(`/versions/([0-9A-Za-z.-]+)"`).FindStringSubmatch(content)
	if id == nil {
		t.Fatal("there is no former version")
	}
	_, content = s.ask(t, access.Admin, "/versions/"+id[1], nil)
	holds(t, content, "Put back", "schedule: {time: 23:30")
	if code, _ = s.ask(t, access.Admin, "/versions/"+id[1], url.Values{"digest": {digestOf(t, content)}}); code != http.StatusSeeOther || s.now(t) != file {
		t.Errorf("status %d: %s", code, s.now(t))
	}
}

func TestChangedMeanwhile(t *testing.T) {
	s := newSite(t)
	_, content := s.ask(t, access.Admin, "/settings/-/retention", url.Values{"mode": {"text"}, "text": {"{daily: 9}"}})
	old := digestOf(t, content)
	other := file + "# somebody was here\n"
	s.write(t, other)
	code, content := s.ask(t, access.Admin, "/settings/-/retention/apply", url.Values{"text": {"{daily: 9}"}, "digest": {old}})
	if code != http.StatusConflict || s.now(t) != other {
		t.Fatalf("status %d, or somebody's change is lost", code)
	}
	holds(t, content, "changed meanwhile", "+", "{daily: 9}")
	if code, _ = s.ask(t, access.Admin, "/settings/-/retention/apply", url.Values{"text": {"{daily: 9}"}, "digest": {digestOf(t, content)}}); code != http.StatusSeeOther {
		t.Errorf("status %d after the second look", code)
	}
	holds(t, s.now(t), "{daily: 9}", "somebody was here")
}

// TestStale: the password is asked for, and what was typed is not lost.
func TestStale(t *testing.T) {
	s := newSite(t)
	_, content := s.ask(t, access.Anyone, "/settings/-/retention", url.Values{"mode": {"text"}, "text": {"{daily: 9}"}})
	form := url.Values{"text": {"{daily: 9}"}, "digest": {digestOf(t, content)}}
	s.clock.now = s.clock.now.Add(access.FreshFor + time.Second)
	code, content := s.ask(t, access.Anyone, "/settings/-/retention/apply", form)
	if code != http.StatusForbidden || s.now(t) != file || len(s.noted) != 0 {
		t.Fatalf("status %d", code)
	}
	holds(t, content, "password is needed", "{daily: 9}", "/prove")
	s.clock.now = s.clock.now.Add(-access.FreshFor)
	if code, _ = s.ask(t, access.Anyone, "/settings/-/retention/apply", form); code != http.StatusSeeOther {
		t.Errorf("status %d", code)
	}
}

func TestNotify(t *testing.T) {
	s := newSite(t)
	_, content := s.ask(t, access.Admin, "/settings/desk/notify", nil)
	holds(t, content, "(secret 1 is kept)", "Add a destination")
	text := "- {type: ping, url: \"(secret 1 is kept)\"}"
	_, content = s.ask(t, access.Admin, "/settings/desk/notify", url.Values{"mode": {"add"}, "type": {"mail"}, "text": {text}})
	holds(t, content, text+"\n- type: mail")
	text = "- {type: ping, name: hc, url: \"(secret 1 is kept)\"}"
	_, content = s.ask(t, access.Admin, "/settings/desk/notify", url.Values{"mode": {"text"}, "text": {text}})
	if code, _ := s.ask(t, access.Admin, "/settings/desk/notify/apply", url.Values{"text": {text}, "digest": {digestOf(t, content)}}); code != http.StatusSeeOther {
		t.Fatalf("status %d", code)
	}
	holds(t, s.now(t), "name: hc, url: https://hc.example.org/hunter2")
}

func TestBadInput(t *testing.T) {
	s := newSite(t)
	for text, want := range map[string]string{
		"{dayly: 7}": "did you mean", "{daily: 7": "Line 1 of the text", "daily: x": "Line 1 of the text", "{daily: 1}\nschedule: []": "", "<script>alert(1)</script>": "",
	} {
		code, content := s.ask(t, access.Admin, "/settings/-/retention", url.Values{"mode": {"text"}, "text": {text}})
		holds(t, content, want, strings.Split(text, "\n")[0])
		if code != http.StatusUnprocessableEntity || strings.Contains(content, `class="primary">Apply`) {
			t.Errorf("%s: status %d, or it is offered to be applied", text, code)
		}
		d, err := edit.Read(s.path)
		if err != nil {
			t.Fatal(err)
		}
		if code, _ := s.ask(t, access.Admin, "/settings/-/retention/apply", url.Values{"text": {text}, "digest": {d.Digest()}}); code < 400 {
			t.Errorf("%s: status %d", text, code)
		}
	}
	for _, target := range []string{"/settings/none/check", "/settings/desk/service", "/settings/-/console", "/settings/-/apps", "/settings/-/repository", "/versions/x", "/versions/..%2f..%2fetc"} {
		if code, _ := s.ask(t, access.Admin, target, nil); code != http.StatusNotFound {
			t.Errorf("%s: status %d", target, code)
		}
	}
	for _, form := range []url.Values{{}, {"mode": {"x"}}, {"mode": {"form"}, "when": {"x"}}, {"mode": {"add"}, "type": {"x"}}, {"mode": {"form"}, "when": {"weekly"}, "time": {"1\n2"}}} {
		if code, _ := s.ask(t, access.Admin, "/settings/desk/schedule", form); code < 400 || code >= 500 {
			t.Errorf("%v: status %d", form, code)
		}
	}
	for _, role := range []access.Role{access.Viewer, access.Operator} {
		for _, target := range []string{"/settings", "/settings/desk/schedule", "/versions/x"} {
			if code, _ := s.ask(t, role, target, nil); code != http.StatusForbidden {
				t.Errorf("%s %s: status %d", role, target, code)
			}
		}
		if code, _ := s.ask(t, role, "/settings/desk/schedule/apply", url.Values{"text": {"[]"}}); code != http.StatusForbidden {
			t.Errorf("%s applies: status %d", role, code)
		}
	}
	if s.now(t) != file {
		t.Error("the file was changed")
	}
}

// TestSecretsOfTheService: no secret that the service can read is sent to an
// address that is typed here.
func TestSecretsOfTheService(t *testing.T) {
	s := newSite(t)
	for text, want := range map[string]string{
		`- {type: itop, url: "http://127.0.0.1:8799/", user: u, customer: c, password_file: /k}`:                      "with an editor, not here",
		`- {type: webhook, url: "http://127.0.0.1:8799/", headers: {X: "(secret 1 is kept)"}}`:                        "would go elsewhere",
		`- {type: itop, url: "http://127.0.0.1:8799/", user: u, customer: c, password: "(secret 1 is kept)"}`:         "would go elsewhere",
		"- {type: ping, url: \"(secret 1 is kept)\"}\n- {type: ping, name: b, url_env: BACKSTAY_PASSWORD} # not here": "Line 2 of the text",
	} {
		code, content := s.ask(t, access.Admin, "/settings/desk/notify", url.Values{"mode": {"text"}, "text": {text}})
		holds(t, content, want)
		if code != http.StatusUnprocessableEntity || strings.Contains(content, `class="primary">Apply`) {
			t.Errorf("%s: status %d, or it is offered to be applied", text, code)
		}
		if code, _ := s.ask(t, access.Admin, "/settings/desk/notify/apply", url.Values{"text": {text}, "digest": {digestOf(t, content)}}); code != http.StatusUnprocessableEntity {
			t.Errorf("%s: status %d", text, code)
		}
	}
	// What is offered for a new destination is not refused for its way to give a
	// secret.
	for _, kind := range edit.DestinationTypes() {
		_, content := s.ask(t, access.Admin, "/settings/desk/notify", url.Values{"mode": {"add"}, "type": {kind}, "text": {""}})
		if holds(t, content, "- type: "+kind); strings.Contains(content, "_file:") {
			t.Errorf("%s is offered with a file", kind)
		}
	}
	if s.now(t) != file {
		t.Error("the file was changed")
	}
}
