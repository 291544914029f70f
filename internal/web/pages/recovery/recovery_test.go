package recovery_test

import (
	"bytes"
	"encoding/json"
	"github.com/backstay/backstay/internal/web/pages/pagestest"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/core"
)

// planned starts a plan of what form says, and ends it with one that the real
// command printed, as a plan of this backup.
func planned(t *testing.T, s *pagestest.Site, form url.Values, file string) (run string) {
	t.Helper()
	r := s.Ask(t, access.Admin, "/apps/helpdesk/restore/plan", form)
	location := r.Header.Get("Location")
	if r.StatusCode != http.StatusSeeOther || !strings.HasPrefix(location, "/apps/helpdesk/restore/plan/") {
		t.Fatalf("%s %s", r.Status, pagestest.Text(t, r))
	}
	run = location[strings.LastIndexByte(location, '/')+1:]
	pagestest.Holds(t, s.Page(t, access.Admin, location), `data-run="`+run+`"`, `http-equiv="refresh"`)
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var printed map[string]any
	if err := json.Unmarshal(b, &printed); err != nil {
		t.Fatal(err)
	}
	printed["plan"].(map[string]any)["backup"] = form.Get("backup")
	if b, err = json.Marshal(printed); err != nil {
		t.Fatal(err)
	}
	id, err := strconv.ParseInt(run, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	outcome := core.OutcomeOK
	if file == "plan-refused.json" {
		outcome = core.OutcomeFailed
	}
	s.Finish(t, id, outcome, "", "", string(b))
	return run
}

func TestRestore(t *testing.T) {
	s := newSite(t)
	id := ids(t, s)[1]
	pagestest.Holds(t, s.Page(t, access.Admin, "/apps/helpdesk/restore"), "/apps/helpdesk/restore?backup="+id)
	pagestest.Holds(t, s.Page(t, access.Admin, "/apps/helpdesk/restore?backup="+id+"&path=files/uploads/a.txt&path=files/%3Cb%3E"), "table_001", "files/uploads/a.txt\nfiles/&lt;b&gt;", `value="paths" checked`, "--to-dir")
	run := planned(t, s, url.Values{"backup": {id}, "what": {"tables"}, "table": {"table_001"}, "tables": {"table_002\r\n\r\ntable_001"}}, "plan.json")
	plan := "/apps/helpdesk/restore/plan/" + run
	pagestest.Holds(t, s.Page(t, access.Admin, plan), "/var/www/helpdesk/uploads/new.txt", "tickets", "5,133", "x=changed", "208 MB", "table_001, table_002", "confirm")
	pagestest.Holds(t, s.Page(t, access.Admin, plan+"/confirm"), "table_001, table_002", `data-confirm="helpdesk"`)
	for _, wrong := range []string{"", "Helpdesk", " helpdesk", "helpdesk\n", "wiki"} {
		if r := s.Ask(t, access.Admin, plan+"/confirm", url.Values{"confirm": {wrong}}); r.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: %s", wrong, r.Status)
		}
	}
	for _, role := range []access.Role{access.Viewer, access.Operator} {
		if r := s.Ask(t, role, plan+"/confirm", url.Values{"confirm": {"helpdesk"}}); r.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", role, r.Status)
		}
	}
	if n := len(s.Launcher.Launched()); n != 1 {
		t.Fatalf("%d commands", n)
	}
	// What the plan did not ask, nobody can agree to.
	r := s.Ask(t, access.Admin, plan+"/confirm", url.Values{"confirm": {"helpdesk"}, "force": {"damaged"}})
	if r.StatusCode != http.StatusSeeOther || !strings.HasPrefix(r.Header.Get("Location"), "/runs/") {
		t.Fatalf("%s", r.Status)
	}
	got := s.Launcher.Launched()[1]
	if want := []string{"restore", "helpdesk", id, "--table=table_001", "--table=table_002", "--yes"}; !slices.Equal(got.Args, want) || got.Kind != core.RunRestore {
		t.Errorf("%+v", got)
	}
	pagestest.Holds(t, strings.Join(s.Noted, "\n"), "restore helpdesk "+id+" ok", "restore helpdesk "+id+" invalid")
}

func TestOldPlanIsMadeAnew(t *testing.T) {
	s := newSite(t)
	id := ids(t, s)[1]
	run := planned(t, s, url.Values{"backup": {id}, "what": {"all"}}, "plan.json")
	s.Clock.Pass(16 * time.Minute)
	plan := "/apps/helpdesk/restore/plan/" + run
	if r := s.Ask(t, access.Admin, plan+"/confirm", nil); r.Header.Get("Location") != plan || len(s.Launcher.Launched()) != 1 {
		t.Errorf("a GET with an old plan: %s to %s, launched %+v", r.Status, r.Header.Get("Location"), s.Launcher.Launched())
	}
	pagestest.Holds(t, s.Page(t, access.Admin, plan), plan+"/again", "Make the plan anew")
	r := s.Ask(t, access.Admin, "/apps/helpdesk/restore/plan/"+run+"/confirm", url.Values{"confirm": {"helpdesk"}})
	launched := s.Launcher.Launched()
	if location := r.Header.Get("Location"); r.StatusCode != http.StatusSeeOther || location == "/apps/helpdesk/restore/plan/"+run || len(launched) != 2 || launched[1].Kind != core.RunPlan {
		t.Errorf("%s %s %+v", r.Status, location, launched)
	}
	if r := s.Ask(t, access.Admin, plan+"/again", url.Values{}); r.StatusCode != http.StatusSeeOther || len(s.Launcher.Launched()) != 3 {
		t.Errorf("%s %+v", r.Status, s.Launcher.Launched())
	}
}

func TestDecisionsAndRefusals(t *testing.T) {
	s := newSite(t)
	id := ids(t, s)[1]
	run := planned(t, s, url.Values{"backup": {id}, "what": {"all"}}, "plan-refused.json")
	plan := "/apps/helpdesk/restore/plan/" + run
	content := s.Page(t, access.Admin, plan)
	pagestest.Holds(t, content, "This cannot be done", "CREATE VIEW", `name="force" value="wanted-right"`, "view open_tickets", "may not make objects")
	if strings.Contains(content, ">Continue<") {
		t.Error("an impossible restore can go on")
	}
	if r := s.Ask(t, access.Admin, plan+"/confirm", url.Values{"confirm": {"helpdesk"}, "force": {"wanted-right", "missing-right"}}); r.StatusCode != http.StatusConflict {
		t.Errorf("%s", r.Status)
	}

	// The same without what is impossible: only the decision is open.
	run = planned(t, s, url.Values{"backup": {id}, "what": {"all"}}, "plan.json")
	n, err := strconv.ParseInt(run, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	s.Finish(t, n, core.OutcomeOK, "", "", `{"schema":1,"plan":{"app":"helpdesk","backup":"`+id+`","live":true,"findings":[{"kind":"decision","name":"newer-backup","message":"a"},{"kind":"decision","name":"newer-backup","message":"b"}],"undecided":["newer-backup"]}}`)
	plan = "/apps/helpdesk/restore/plan/" + run
	if content := s.Page(t, access.Admin, plan); strings.Count(content, `value="newer-backup"`) != 1 {
		t.Errorf("one agreement is not asked for once: %s", content)
	}
	for _, target := range []string{plan + "/confirm", plan + "/confirm?force=other"} {
		if r := s.Ask(t, access.Admin, target, nil); r.StatusCode != http.StatusConflict {
			t.Errorf("%s: %s", target, r.Status)
		}
	}
	if r := s.Ask(t, access.Admin, plan+"/confirm", url.Values{"confirm": {"helpdesk"}}); r.StatusCode != http.StatusConflict {
		t.Errorf("without the agreement: %s", r.Status)
	}
	pagestest.Holds(t, s.Page(t, access.Admin, plan+"/confirm?force=newer-backup"), `type="hidden" name="force" value="newer-backup"`)
	before := len(s.Launcher.Launched())
	if r := s.Ask(t, access.Admin, plan+"/confirm", url.Values{"confirm": {"helpdesk"}, "force": {"newer-backup"}}); r.StatusCode != http.StatusSeeOther {
		t.Errorf("%s", r.Status)
	}
	if l := s.Launcher.Launched(); len(l) != before+1 || !slices.Contains(l[before].Args, "--force=newer-backup") {
		t.Errorf("%+v", l[before:])
	}
}

func TestPlansThatAreNone(t *testing.T) {
	s := newSite(t)
	id := ids(t, s)[1]
	run := planned(t, s, url.Values{"backup": {id}, "what": {"all"}}, "plan.json")
	for _, target := range []string{"/apps/wiki/restore/plan/" + run, "/apps/helpdesk/restore/plan/0", "/apps/helpdesk/restore/plan/-1", "/apps/helpdesk/restore/plan/x", "/apps/helpdesk/restore/plan/999", "/apps/nobody/restore", "/apps/..%2f/restore", "/apps/helpdesk/restore?backup=..", "/apps/wiki/restore?backup=" + id} {
		if r := s.Ask(t, access.Admin, target, nil); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", target, r.Status)
		}
	}
	r := s.Ask(t, access.Admin, "/apps/helpdesk/restore/plan", url.Values{"backup": {id}, "what": {"all"}})
	n, err := strconv.ParseInt(strings.TrimPrefix(r.Header.Get("Location"), "/apps/helpdesk/restore/plan/"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	s.Finish(t, n, core.OutcomeFailed, "the server has gone", "start it again", "")
	pagestest.Holds(t, s.Page(t, access.Admin, r.Header.Get("Location")), "the server has gone", "start it again")
	for name, form := range map[string]url.Values{
		"nothing":      {"backup": {id}},
		"no component": {"backup": {id}, "what": {"components"}},
		"bad one":      {"backup": {id}, "what": {"components"}, "only": {"--yes"}},
		"no table":     {"backup": {id}, "what": {"tables"}, "tables": {"\n \n"}},
		"no path":      {"backup": {id}, "what": {"paths"}},
		"out":          {"backup": {id}, "what": {"paths"}, "path": {"files/../../etc/passwd"}},
		"absolute":     {"backup": {id}, "what": {"paths"}, "paths": {"/etc/passwd"}},
		"nul":          {"backup": {id}, "what": {"paths"}, "path": {"a\x00b"}},
		"too long":     {"backup": {id}, "what": {"paths"}, "path": {strings.Repeat("a", 10_000)}},
	} {
		if r := s.Ask(t, access.Admin, "/apps/helpdesk/restore/plan", form); r.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", name, r.Status)
		}
	}
	if n := len(s.Launcher.Launched()); n != 2 {
		t.Errorf("%d commands", n)
	}
}

func TestNothingToUndo(t *testing.T) {
	s := newSite(t)
	pagestest.Holds(t, s.Page(t, access.Admin, "/apps/helpdesk/undo"), "no restore of this app that can be undone")
	for _, target := range []string{"/apps/helpdesk/undo", "/apps/helpdesk/undo/drop"} {
		if r := s.Ask(t, access.Admin, target, url.Values{"confirm": {"helpdesk"}}); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", target, r.Status)
		}
		if r := s.Ask(t, access.Operator, target, url.Values{"confirm": {"helpdesk"}}); r.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", target, r.Status)
		}
	}
	if r := s.Ask(t, access.Admin, "/apps/helpdesk/restore/resume", url.Values{}); r.StatusCode != http.StatusSeeOther || !slices.Contains(s.Launcher.Launched()[0].Args, "--resume") {
		t.Errorf("%s", r.Status)
	}
}

// send posts a file as a browser without script does.
func send(t *testing.T, s *pagestest.Site, role access.Role, name, content string, cut int) *http.Response {
	t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	part, err := w.CreateFormFile("file", name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return s.Post(t, role, "/apps/helpdesk/import", w.FormDataContentType(), body.String()[:body.Len()-cut])
}

func TestImport(t *testing.T) {
	s := newSite(t)
	pagestest.Holds(t, s.Page(t, access.Admin, "/import"), "/apps/wiki/import")
	pagestest.Holds(t, s.Page(t, access.Admin, "/apps/helpdesk/import"), "data-upload", "multipart/form-data")
	want := strings.Repeat("INSERT;", 300_000) // more than a form may have
	r := send(t, s, access.Admin, `C:\backups\dump ä.sql`, want, 0)
	if r.StatusCode != http.StatusSeeOther {
		t.Fatalf("%s %s", r.Status, pagestest.Text(t, r))
	}
	location := r.Header.Get("Location")
	upload := location[strings.LastIndexByte(location, '=')+1:]
	pagestest.Holds(t, s.Page(t, access.Admin, location), "dump ä.sql", upload, "the-admin")
	for _, form := range []url.Values{{}, {"upload": {"../x"}}, {"upload": {upload}, "format": {"tar"}}, {"upload": {strings.Repeat("0", 32)}}} {
		if r := s.Ask(t, access.Admin, "/apps/helpdesk/import/start", form); r.StatusCode != http.StatusBadRequest {
			t.Errorf("%v: %s", form, r.Status)
		}
	}
	if r := s.Ask(t, access.Admin, "/apps/helpdesk/import/start", url.Values{"upload": {upload}, "format": {"sql"}, "password": {"secret"}}); r.StatusCode != http.StatusSeeOther {
		t.Fatalf("%s", r.Status)
	}
	l := s.Launcher.Launched()
	if len(l) != 1 || l[0].Kind != core.RunImport || l[0].Secret.Reveal() != "secret" || strings.Contains(strings.Join(l[0].Args, " "), "secret") {
		t.Fatalf("%+v", l)
	}
	if got, err := os.ReadFile(l[0].Args[2]); err != nil || string(got) != want || !strings.HasSuffix(l[0].Args[2], "/dump ä.sql") {
		t.Errorf("%s: %d bytes of %d, %v", l[0].Args[2], len(got), len(want), err)
	}
	if r := s.Ask(t, access.Admin, "/apps/helpdesk/import/remove", url.Values{"upload": {upload}}); r.StatusCode != http.StatusSeeOther {
		t.Errorf("%s", r.Status)
	}
}

func TestUploadsThatAreNone(t *testing.T) {
	s := newSite(t)
	for name, r := range map[string]*http.Response{
		"no form":  s.Post(t, access.Admin, "/apps/helpdesk/import", "application/x-www-form-urlencoded", "file=x"),
		"no file":  s.Post(t, access.Admin, "/apps/helpdesk/import", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\nx\r\n--b--\r\n"),
		"no name":  send(t, s, access.Admin, "", "x", 0),
		"dots":     send(t, s, access.Admin, "..", "x", 0),
		"too long": send(t, s, access.Admin, strings.Repeat("a", 300), "x", 0),
	} {
		if r.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", name, r.Status)
		}
	}
	if r := send(t, s, access.Admin, "a.zip", "content", 30); r.StatusCode < 400 {
		t.Errorf("a broken upload: %s", r.Status)
	}
	if r := send(t, s, access.Operator, "a.zip", "content", 0); r.StatusCode != http.StatusForbidden {
		t.Errorf("an operator: %s", r.Status)
	}
	if left, err := s.Console.Uploads(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("left: %+v, %v", left, err)
	}
}
