package proof_test

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/console/consoletest"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/evidence"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/web/page"
	"github.com/backstay/backstay/internal/web/pages/pagestest"
	"github.com/backstay/backstay/internal/web/pages/proof"
)

func newSite(t *testing.T) *pagestest.Site {
	return pagestest.New(t, "proof", func(w *consoletest.World) page.Pages { return proof.Pages(w.Console) })
}

// addDrill writes the report of a drill of helpdesk.
func addDrill(t *testing.T, s *pagestest.Site, id string, ago time.Duration, proofs ...core.Proof) evidence.Drill {
	t.Helper()
	began := s.Clock.Now().Add(-ago)
	d := evidence.Drill{
		Schema: evidence.DrillSchema, ID: id, App: "helpdesk", Profile: "generic", Backstay: "test", Host: "web", Trigger: "manual", Started: began, Finished: began.Add(90 * time.Second), Mode: evidence.DrillFull,
		Backup: evidence.DrilledBackup{ID: "0123456789abcdef", Time: began.Add(-time.Hour), Bytes: 123_000_000}, Steps: []evidence.Step{{Name: "restore files", DurationMS: 61_000, Recovery: true}},
		Proofs: proofs, RTO: evidence.Objective{MeasuredMS: 61_000, TargetMS: 60_000, Missed: true}, RPO: evidence.Objective{MeasuredMS: 3_600_000},
	}
	d.Passed = len(d.Failed()) == 0
	if err := (evidence.Store{Dir: filepath.Join(s.StateDir, "evidence")}).Save(d); err != nil {
		t.Fatal(err)
	}
	at := d.Finished
	err := s.State.SetValue(t.Context(), operation.DrillKey("helpdesk"), operation.DrillRecord{ID: id, Backup: d.Backup.ID, Time: at, Mode: d.Mode, Passed: d.Passed, Passes: &at, RTOMS: 61_000, RTOTargetMS: 60_000, RPOMS: 3_600_000})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestNothingYet(t *testing.T) {
	s := newSite(t)
	pagestest.Holds(t, s.Page(t, access.Viewer, "/proof"), "helpdesk", "wiki", "never")
	pagestest.Holds(t, s.Page(t, access.Viewer, "/apps/helpdesk/drills"), "No drill yet")
}

func TestDrills(t *testing.T) {
	s := newSite(t)
	addDrill(t, s, "helpdesk-1", 48*time.Hour, core.Proof{Name: "rows", Outcome: core.ProofOK, Message: "12 rows are as captured", Count: 12})
	addDrill(t, s, "helpdesk-2", time.Hour, core.Proof{Name: "stored-data", Outcome: core.ProofFailed, Object: "table <b>tickets</b>", Message: "it is missing", Hint: "backstay verify"},
		core.Proof{Name: "credentials", Outcome: core.ProofSkipped, Message: "no account is given"})
	list := s.Page(t, access.Viewer, "/apps/helpdesk/drills")
	pagestest.Holds(t, list, "1 ok, 0 failed, 0 not looked at", "0 ok, 1 failed, 1 not looked at", "target missed", "<svg")
	if strings.Contains(list, "/drills/helpdesk-2") {
		t.Error("a viewer is led to a report that only operators may see")
	}
	if !strings.Contains(s.Page(t, access.Operator, "/apps/helpdesk/drills"), "/drills/helpdesk-2") {
		t.Error("an operator is not led to the report")
	}
	report := s.Page(t, access.Operator, "/drills/helpdesk-2")
	pagestest.Holds(t, report, "failed", "table &lt;b&gt;tickets&lt;/b&gt;", "it is missing", "no account is given", "restore files")
	if strings.Contains(report, "json.sig") {
		t.Error("an operator is offered files that are an admin's")
	}
	pagestest.Holds(t, s.Page(t, access.Viewer, "/proof"), "failed", "helpdesk")
	r := s.Ask(t, access.Viewer, "/drills/helpdesk-2", nil)
	if r.StatusCode != http.StatusForbidden {
		t.Errorf("a viewer got %s", r.Status)
	}
}

func TestFiles(t *testing.T) {
	s := newSite(t)
	addDrill(t, s, "helpdesk-1", time.Hour)
	for _, kind := range []string{"html", "json", "html.sig", "json.sig"} {
		r := s.Ask(t, access.Admin, "/drills/helpdesk-1/"+kind, nil)
		if r.StatusCode != http.StatusOK || r.Header.Get("Content-Disposition") != `attachment; filename="helpdesk-1.`+kind+`"` {
			t.Errorf("%s: %s, %v", kind, r.Status, r.Header)
		}
		if text := pagestest.Text(t, r); strings.HasSuffix(kind, ".sig") && len(text) != 64 {
			t.Errorf("the signature has %d bytes", len(text))
		}
	}
	for _, target := range []string{"/drills/helpdesk-1/key", "/drills/helpdesk-9/json", "/drills/helpdesk-9", "/drills/..%2f..%2finstance/json"} {
		if r := s.Ask(t, access.Admin, target, nil); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", target, r.Status)
		}
	}
}

func TestStart(t *testing.T) {
	s := newSite(t)
	r := s.Ask(t, access.Operator, "/apps/helpdesk/drill", url.Values{})
	if r.StatusCode != http.StatusSeeOther {
		t.Fatal(r.Status)
	}
	got := s.Launcher.Launched()
	if len(got) != 1 || got[0].Kind != core.RunDrill || strings.Join(got[0].Args, " ") != "drill helpdesk" {
		t.Errorf("launched %+v", got)
	}
	for role, want := range map[access.Role]int{access.Viewer: http.StatusForbidden} {
		if r := s.Ask(t, role, "/apps/helpdesk/drill", url.Values{}); r.StatusCode != want {
			t.Errorf("%s: %s", role, r.Status)
		}
	}
	if r := s.Ask(t, access.Operator, "/apps/nobody/drill", url.Values{}); r.StatusCode != http.StatusNotFound {
		t.Errorf("an app that is not there: %s", r.Status)
	}
}
