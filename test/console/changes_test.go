package console

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/state"
)

const formType = "application/x-www-form-urlencoded"

// fields are forms that do what they are for.
func (v values) fields() map[string][]string {
	new := "four words nobody guesses"
	return map[string][]string{
		"POST /display":                  {"theme", "dark"},
		"POST /account/display":          {"language", "de", "theme", "dark", "zone", "Europe/Berlin"},
		"POST /account/tokens":           {"token", "nightly", "role", "viewer", "days", "30"},
		"POST /account/tokens/remove":    {"token", v["token"]},
		"POST /users":                    {"name", "newcomer", "role", "viewer", "password", new, "again", new},
		"POST /users/{name}/role":        {"role", "operator"},
		"POST /users/{name}/remove":      {"confirm", "somebody"},
		"POST /apps/{app}/backup":        {"only", "files", "note", "before the update", "pin", "yes"},
		"POST /backups/{id}/delete":      {"confirm", "helpdesk"},
		"POST /backups/{id}/export":      {"format", "backstay"},
		"POST /apps/{app}/restore/plan":  {"backup", v["backup"], "what", "all"},
		"POST /apps/{app}/undo":          {"confirm", "helpdesk"},
		"POST /apps/{app}/undo/drop":     {"confirm", "helpdesk"},
		"POST /apps/{app}/import/start":  {"upload", v["upload"], "format", "sql"},
		"POST /apps/{app}/import/remove": {"upload", v["upload"]},
	}
}

// objects are bodies of the API that do what they are for.
func (v values) objects() map[string]map[string]any {
	return map[string]map[string]any{
		"POST /api/v1/apps/{app}/backups":   {"only": []string{"files"}, "note": "before the update", "pin": true},
		"POST /api/v1/apps/{app}/plans":     {"backup": v["backup"], "only": []string{"files"}, "tables": []string{}, "paths": []string{"files/uploads/a.txt"}, "force": []string{}},
		"POST /api/v1/apps/{app}/restores":  {"backup": v["backup"], "confirm": "helpdesk", "only": []string{"files"}, "force": []string{}},
		"POST /api/v1/apps/{app}/imports":   {"upload": v["upload"], "format": "sql"},
		"POST /api/v1/backups/{id}/exports": {"format": "backstay"},
		"POST /api/v1/uploads":              {"name": "archive.sql", "size": 10},
	}
}

// body is what a route that changes something takes, and its type.
func (v values) body(r route) (body, kind string) {
	if !r.api {
		return form(v.fields()[r.String()]...), formType
	}
	if r.Method == http.MethodPatch {
		return "0123456789", "application/offset+octet-stream"
	}
	object := v.objects()[r.String()]
	if object == nil {
		return "", ""
	}
	text, err := json.Marshal(object)
	if err != nil {
		panic(err) // strings and lists
	}
	return string(text), "application/json"
}

// elsewhere are the routes whose success needs more than this console has, with
// where it is tested.
func elsewhere() map[string]string {
	return map[string]string{
		"POST /setup": "pages/people", "POST /login": "pages/people", "POST /prove": "pages/people", "POST /account/password": "pages/people",
		"POST /account/second": "pages/people", "POST /account/second/confirm": "pages/people", "POST /account/second/drop": "pages/people",
		"POST /users/{name}/password": "pages/people", "POST /users/{name}/role": "pages/people", "POST /users/{name}/second/drop": "pages/people", "POST /users/{name}/tokens/remove": "pages/people",
		"POST /apps/{app}/restore/plan/{run}/confirm": "pages/recovery", "POST /apps/{app}/restore/plan/{run}/again": "pages/recovery", "POST /apps/{app}/restore/resume": "pages/recovery", "POST /apps/{app}/undo": "pages/recovery",
		"POST /apps/{app}/undo/drop": "pages/recovery", "POST /apps/{app}/import": "pages/recovery",
		"POST /settings/{scope}/{section}": "pages/settings", "POST /settings/{scope}/{section}/apply": "pages/settings", "POST /versions/{id}": "pages/settings",
	}
}

// TestEveryChangeIsInTheAuditLog does everything that can be done, and looks who
// did it.
func TestEveryChangeIsInTheAuditLog(t *testing.T) {
	shared := newWorld(t, nil)
	for _, r := range shared.routes() {
		if !r.changes() {
			continue
		}
		w := shared
		if slices.Contains([]string{"POST /logout", "DELETE /api/v1/backups/{id}", "POST /backups/{id}/delete"}, r.String()) {
			w = newWorld(t, nil)
		}
		w.everybody(t)
		who := w.session(t, access.Admin, true)
		v := w.things(t)
		if strings.HasSuffix(r.Pattern, "/import/start") || strings.HasSuffix(r.Pattern, "/imports") {
			if u, err := w.Console.Upload(t.Context(), v["upload"]); err != nil {
				t.Fatal(err)
			} else if u.Received < u.Size {
				if _, err := w.Console.AppendUpload(t.Context(), u.ID, u.Received, strings.NewReader("0123456789"[u.Received:])); err != nil {
					t.Fatal(err)
				}
			}
		}
		if r.String() == "POST /account/tokens/remove" {
			_, token, err := w.access.AddToken(t.Context(), who.user, "spare", access.Viewer, 0)
			if err != nil {
				t.Fatal(err)
			}
			v["token"] = jsonOf(token.ID)
		}
		if strings.HasSuffix(r.Pattern, "/cancel") {
			run, err := w.State.BeginRun(t.Context(), core.Run{App: "helpdesk", Kind: core.RunBackup, Trigger: "manual", Started: w.Clock.Now()})
			if err != nil {
				t.Fatal(err)
			}
			v["run"] = jsonOf(run)
		}
		if strings.HasSuffix(r.Pattern, "/enable") {
			off := true
			if _, err := w.access.ChangeUser(t.Context(), "somebody", access.Change{Disabled: &off}); err != nil {
				t.Fatal(err)
			}
		}
		body, kind := v.body(r)
		header := http.Header{}
		if r.Method == http.MethodPatch {
			if u, err := w.Console.Upload(t.Context(), v["upload"]); err == nil && u.Received == u.Size {
				if err := w.Console.RemoveUpload(t.Context(), u.ID); err != nil {
					t.Fatal(err)
				}
				v = w.things(t)
			}
			header.Set("Upload-Offset", "0")
		}
		w.endRestores(t)
		before, noted := w.snapshot(t), w.lastAudited(t)
		got := w.ask(t, who, request{method: r.Method, target: v.fill(r.Pattern, nil), body: body, kind: kind, header: header})
		entries := w.auditedSince(t, noted)
		changed := w.snapshot(t) != before
		if where := elsewhere()[r.String()]; got.status >= 400 && where == "" {
			t.Errorf("%s: it cannot be done: %d %.1500s", r, got.status, mainOf(got.body))
			continue
		}
		if r.Action == "" {
			if changed && !unnoted()[r.String()] && r.Pattern != "/display" {
				t.Errorf("%s changed something that the audit log does not have", r)
			}
			continue
		}
		if !changed && got.status < 400 && len(entries) == 0 {
			continue // there was nothing to do
		}
		if changed && len(entries) != 1 {
			t.Errorf("%s: %d, and the audit log says %v", r, got.status, entries)
			continue
		}
		for _, e := range entries {
			via := "console"
			if e.Action != r.Action || !strings.HasPrefix(e.Who, who.user) || e.Via != via || changed && e.Outcome != "ok" && e.Outcome != "begun" || got.status < 400 && e.Object == "" && r.Pattern != "/api/v1/repository/maintain" {
				t.Errorf("%s: %d, changed %v, and the audit log says %+v", r, got.status, changed, e)
			}
		}
		if text := w.log.take(); text != "" {
			t.Errorf("%s: errors were logged:\n%.2000s", r, text)
		}
	}
	report, err := shared.Console.VerifyAudit(t.Context())
	if err != nil || report.Broken != 0 {
		t.Errorf("the audit log: %+v, %v", report, err)
	}
}

// TestRunsKnowWhoseTheyAre: what is launched carries the name and the way.
func TestRunsKnowWhoseTheyAre(t *testing.T) {
	w := newWorld(t, nil)
	for _, c := range []struct {
		who  *asker
		want console.Who
	}{
		{w.session(t, access.Operator, true), console.Who{By: "new-operator", Via: "console"}},
		{w.token(t, access.Operator), console.Who{By: "script-of-operator (token script)", Via: "api"}},
	} {
		got := w.ask(t, c.who, request{method: "POST", target: "/api/v1/apps/helpdesk/backups", kind: "application/json"})
		launched := w.Launcher.Launched()
		if got.status != http.StatusAccepted || len(launched) == 0 {
			t.Fatalf("%s: %d %s", c.who.name, got.status, got.body)
		}
		if l := launched[len(launched)-1]; l.By != c.want.By || l.Via != c.want.Via {
			t.Errorf("%s: launched by %q via %q", c.who.name, l.By, l.Via)
		}
	}
}

func jsonOf(n int64) string {
	b, _ := json.Marshal(n) // a number
	return string(b)
}

// mainOf is a page without its frame.
func mainOf(body []byte) string {
	_, main, found := strings.Cut(string(body), "<main")
	if !found {
		return string(body)
	}
	return main
}

// endRestores ends those under way, beside which no other can begin.
func (w *world) endRestores(t *testing.T) {
	t.Helper()
	runs, err := w.State.Runs(t.Context(), state.RunFilter{Outcome: core.OutcomeRunning})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range runs {
		if r.Kind == core.RunRestore || r.Kind == core.RunUndo {
			w.Finish(t, r.ID, core.OutcomeOK, "", "", "")
		}
	}
}
