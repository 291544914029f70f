package overview_test

import (
	"fmt"
	"github.com/backstay/backstay/internal/web/pages/pagestest"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/console/consoletest"
	"github.com/backstay/backstay/internal/core"
)

const hostile = "<script>alert(1)</script>\"' \u202eevil"

var svg = regexp.MustCompile(`(?s)<svg.*?</svg>`)

// small says that a page is below 100 kB without its pictures, and has nothing
// that the policy refuses.
func small(t *testing.T, what, content string) {
	t.Helper()
	if n := len(svg.ReplaceAllString(content, "")); n > 100_000 {
		t.Errorf("%s has %d bytes", what, n)
	}
	if strings.Contains(content, "<script>alert") || strings.Contains(content, " style=") || strings.Contains(content, " onclick=") {
		t.Errorf("%s has what a form or a name put into it, or a style", what)
	}
}

func TestOverview(t *testing.T) {
	s := newSite(t)
	content := s.Page(t, access.Operator, "/")
	small(t, "the overview", content)
	pagestest.Holds(t, content, ">helpdesk<", ">wiki<", "Nobody backs this up: no schedule is configured.", "no backup yet", `class="picture trend"`, "never", "Backup now")
	if strings.Index(content, ">wiki<") > strings.Index(content, ">helpdesk<") && !strings.Contains(content, "overdue") {
		t.Error("what needs attention does not stand first")
	}
	for _, lang := range []string{"de", "fr"} {
		r := s.Ask(t, access.Viewer, "/", nil, "Accept-Language", lang)
		translated := pagestest.Text(t, r)
		if strings.Contains(translated, "Nobody backs") || strings.Contains(translated, ">overview.") {
			t.Errorf("%s is in English, or has no text", lang)
		}
	}
	if content := s.Page(t, access.Viewer, "/"); strings.Contains(content, "/apps/helpdesk/backup") {
		t.Error("a viewer is shown a button that they may not use")
	}
	pagestest.Holds(t, s.Page(t, access.Viewer, "/?search=nothing-is-called-so"), "No app has such a name.")
	small(t, "a hostile search", s.Page(t, access.Viewer, "/?offset=99999999999999&search="+url.QueryEscape(hostile)))
}

func TestEmpty(t *testing.T) {
	s := newSite(t)
	s.Config.Apps = nil
	pagestest.Holds(t, s.Page(t, access.Admin, "/"), "No app is configured yet", "backstay detect")
}

func TestManyApps(t *testing.T) {
	s := newSite(t)
	wiki := s.Config.Apps[1]
	for i := range 198 {
		app := wiki
		app.Name = fmt.Sprintf("%03d-%s", i, strings.Repeat("x", 59))
		s.Config.Apps = append(s.Config.Apps, app)
	}
	small(t, "the overview of 200 apps", s.Page(t, access.Admin, "/"))
	pagestest.Holds(t, s.Page(t, access.Admin, "/?offset=50"), "51", "200")
}

func TestApp(t *testing.T) {
	s := newSite(t)
	content := s.Page(t, access.Admin, "/apps/helpdesk")
	small(t, "the app's page", content)
	pagestest.Holds(t, content, "helpdesk 1.2", "/backups/compare", "newest", `class="picture timeline"`, "/apps/helpdesk/restore", "/apps/helpdesk/import", "/settings/helpdesk/schedule", "backstay.yaml:", "never", "7 ms")
	if n := strings.Count(content, `name="former"`); n != 3 {
		t.Errorf("%d backups are listed, not 3", n)
	}
	viewer := s.Page(t, access.Viewer, "/apps/helpdesk")
	for _, refused := range []string{"/restore\"", "/import\"", "/prune\"", "Backup now", "/verify\"", "/accept\"", "/settings/helpdesk"} {
		if strings.Contains(viewer, refused) {
			t.Errorf("a viewer is shown %s", refused)
		}
	}
	pagestest.Holds(t, s.Page(t, access.Operator, "/apps/wiki"), "There is no backup of this app yet.", "Make the first backup")
	for _, target := range []string{"/apps/nothing", "/apps/%3Cscript%3Ealert(1)", "/apps/" + strings.Repeat("x", 3000)} {
		if r := s.Ask(t, access.Admin, target, nil); r.StatusCode != http.StatusNotFound {
			t.Errorf("%.60s: %s", target, r.Status)
		}
	}
}

func TestManyBackups(t *testing.T) {
	s := newSite(t)
	for i := range 120 {
		s.AddBackup(t, "wiki", time.Duration(i)*time.Hour, map[string]string{"a": "1"}, consoletest.Tables(1))
	}
	content := s.Page(t, access.Admin, "/apps/wiki")
	small(t, "the page of an app with many backups", content)
	if n := strings.Count(content, `name="former"`); n != 50 {
		t.Errorf("%d backups on a page", n)
	}
	pagestest.Holds(t, content, "/apps/wiki?offset=50#backups")
	if n := strings.Count(s.Page(t, access.Admin, "/apps/wiki?offset=100"), `name="former"`); n != 20 {
		t.Errorf("%d backups on the last page", n)
	}
}

// TestOrders: what each form begins, and who may.
func TestOrders(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		target string
		form   url.Values
		role   access.Role // the lowest that may
		want   string      // the command
	}{
		{"/apps/helpdesk/backup", url.Values{"only": {"files", "database", "files"}, "note": {hostile}, "pin": {"1"}}, access.Operator, "backup helpdesk"},
		{"/apps/helpdesk/check", url.Values{}, access.Operator, "check helpdesk"},
		{"/apps/helpdesk/verify", url.Values{}, access.Operator, "verify "},
		{"/apps/helpdesk/notify-test", url.Values{}, access.Operator, "notify test"},
		{"/apps/helpdesk/prune", url.Values{}, access.Admin, "prune helpdesk"},
	} {
		for _, role := range append([]access.Role{access.Anyone}, access.Roles()...) {
			before := len(s.Launcher.Launched())
			r := s.Ask(t, role, c.target, c.form)
			launched := s.Launcher.Launched()[before:]
			if !role.May(c.role) {
				if len(launched) > 0 || r.StatusCode == http.StatusSeeOther && !strings.Contains(r.Header.Get("Location"), "/login") {
					t.Errorf("%q may %s: %s", role, c.target, r.Status)
				}
				continue
			}
			if r.StatusCode != http.StatusSeeOther || !strings.HasPrefix(r.Header.Get("Location"), "/runs/") || len(launched) != 1 {
				t.Fatalf("%s %s: %s, %d runs: %s", role, c.target, r.Status, len(launched), pagestest.Text(t, r))
			}
			if command := strings.Join(launched[0].Args, " "); !strings.HasPrefix(command, c.want) {
				t.Errorf("%s runs %q", c.target, command)
			}
			if launched[0].Via != "console" || !strings.HasPrefix(launched[0].By, "the-"+string(role)) {
				t.Errorf("%s is by %q via %q", c.target, launched[0].By, launched[0].Via)
			}
		}
	}
}

func TestWrongForms(t *testing.T) {
	s := newSite(t)
	for name, form := range map[string]url.Values{
		"a part that does not exist": {"only": {"secrets", hostile}, "note": {hostile}},
		"a note that is too long":    {"note": {strings.Repeat("ä", 501)}},
	} {
		r := s.Ask(t, access.Operator, "/apps/helpdesk/backup", form)
		content := pagestest.Text(t, r)
		if r.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(content, "Please look at these entries again") {
			t.Errorf("%s: %s", name, r.Status)
		}
		small(t, name, content)
	}
	if n := len(s.Launcher.Launched()); n > 0 {
		t.Errorf("%d runs began", n)
	}
	if r := s.Ask(t, access.Operator, "/apps/wiki/verify", url.Values{}); r.StatusCode != http.StatusNotFound {
		t.Errorf("verify what has no backup: %s", r.Status)
	}
}

// TestHostileRecords: what runs and their messages say is shown as text.
func TestHostileRecords(t *testing.T) {
	s := newSite(t)
	at := s.Clock.Now().Add(-time.Hour)
	done := at.Add(time.Minute)
	if _, err := s.State.AddRun(t.Context(), core.Run{App: "helpdesk", Kind: core.RunBackup, Trigger: "manual", Started: at, Finished: &done, Outcome: core.OutcomeFailed, Message: hostile, By: hostile}); err != nil {
		t.Fatal(err)
	}
	content := s.Page(t, access.Operator, "/apps/helpdesk")
	small(t, "the page", content)
	pagestest.Holds(t, content, "1 failed or missed run", `class="bad"`)
	if _, err := s.State.BeginRun(t.Context(), core.Run{App: "helpdesk", Kind: core.RunBackup, Trigger: "manual", Started: at, By: "x"}); err != nil {
		t.Fatal(err)
	}
	pagestest.Holds(t, s.Page(t, access.Viewer, "/apps/helpdesk"), "<progress", `<noscript><meta http-equiv="refresh"`, "data-run=")
	pagestest.Holds(t, s.Page(t, access.Viewer, "/"), "<progress", `<noscript><meta http-equiv="refresh"`)
}

func TestPruneAsks(t *testing.T) {
	s := newSite(t)
	pagestest.Holds(t, s.Page(t, access.Admin, "/apps/helpdesk/prune"), "There is nothing to remove.")
	if r := s.Ask(t, access.Operator, "/apps/helpdesk/prune", nil); r.StatusCode != http.StatusForbidden {
		t.Errorf("an operator: %s", r.Status)
	}
}
