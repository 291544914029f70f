package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
)

// TestMatrix asks every operation as everybody: who may not is told so, before
// anything else is looked at, and nothing is done.
func TestMatrix(t *testing.T) {
	w := newWorld(t, gate.Settings{})
	id := w.backups(t)[0]
	seen := map[string]bool{}
	for _, op := range w.api.Operations() {
		seen[op.Method+" "+op.Path] = true
		path := strings.NewReplacer("{app}", "helpdesk", "{run}", "999", "{id}", id).Replace(op.Path)
		if strings.Contains(path, "/runs/") || strings.Contains(path, "/uploads/") {
			path = strings.Replace(path, id, "999", 1)
		}
		for _, role := range append([]access.Role{access.Anyone}, access.Roles()...) {
			if role.May(op.Need.Role) && op.Need.Role != access.Anyone {
				if strings.HasPrefix(op.Path, "/api/v1/backups/") && op.Method == http.MethodDelete {
					continue // the others need it
				}
				got := w.ask(t, role, op.Method, path, "")
				if got.status == http.StatusUnauthorized || got.status == http.StatusForbidden {
					t.Errorf("%s %s as %s: %d: %s", op.Method, op.Path, role, got.status, got.body)
				}
				continue
			}
			before := len(w.Launcher.Launched())
			got := w.ask(t, role, op.Method, path, "{broken")
			if role == access.Anyone {
				got.fault(t, http.StatusUnauthorized, "unauthenticated")
				if !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Bearer") {
					t.Errorf("%s %s: WWW-Authenticate is %q", op.Method, op.Path, got.header.Get("WWW-Authenticate"))
				}
			} else {
				got.fault(t, http.StatusForbidden, "forbidden")
			}
			if len(w.Launcher.Launched()) != before {
				t.Errorf("%s %s as %q began a run", op.Method, op.Path, role)
			}
		}
	}
	for _, want := range []string{"GET /api/v1/apps", "POST /api/v1/apps/{app}/restores", "DELETE /api/v1/backups/{id}", "GET /api/v1/openapi.json", "PATCH /api/v1/uploads/{id}"} {
		if !seen[want] {
			t.Errorf("%s is not among the operations", want)
		}
	}
	if len(w.backups(t)) != 3 {
		t.Error("backups are gone")
	}
}

// TestNeeds pins what nobody may loosen by accident.
func TestNeeds(t *testing.T) {
	w := newWorld(t, gate.Settings{})
	fresh := []string{"POST /api/v1/apps/{app}/restores", "POST /api/v1/apps/{app}/undo", "POST /api/v1/apps/{app}/drop", "POST /api/v1/apps/{app}/resume", "DELETE /api/v1/backups/{id}", "GET /api/v1/downloads/{run}",
		"GET /api/v1/backups/{id}/content", "POST /api/v1/apps/{app}/prune", "POST /api/v1/backups/{id}/exports"}
	operators := []string{
		"GET /api/v1/apps/{app}/health", "POST /api/v1/apps/{app}/backups", "POST /api/v1/apps/{app}/check", "POST /api/v1/apps/{app}/notify-test",
		"POST /api/v1/apps/{app}/drills", "GET /api/v1/drills/{id}", "POST /api/v1/backups/{id}/pin", "POST /api/v1/backups/{id}/unpin", "POST /api/v1/backups/{id}/verify", "POST /api/v1/runs/{id}/cancel",
	}
	content := []string{"GET /api/v1/backups/{id}/content", "GET /api/v1/downloads", "GET /api/v1/downloads/{run}", "GET /api/v1/uploads", "GET /api/v1/uploads/{id}", "GET /api/v1/audit"}
	for _, op := range w.api.Operations() {
		name := op.Method + " " + op.Path
		want := gate.Need{Role: access.Admin, Fresh: slices.Contains(fresh, name)}
		switch {
		case slices.Contains(operators, name):
			want.Role = access.Operator
		case op.Method == http.MethodGet && !slices.Contains(content, name):
			want.Role = access.Viewer
		}
		if op.Need != want {
			t.Errorf("%s needs %+v, not %+v", name, op.Need, want)
		}
		if changes := op.Method != http.MethodGet; changes && op.Action == "" && name != "POST /api/v1/apps/{app}/plans" && op.Method != http.MethodPatch {
			t.Errorf("%s changes something, and the audit log has no name for it", name)
		}
	}
}

// TestStale has a session whose password was given too long ago.
func TestStale(t *testing.T) {
	w := newWorld(t, gate.Settings{})
	cookie, _, err := w.store.Login(t.Context(), access.Credentials{Name: "the-admin", Password: core.NewSecret(password)}, access.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	id := w.backups(t)[0]
	var name string
	for _, candidate := range []string{"backstay", "backstay_session", "__Host-backstay"} {
		got := w.ask(t, access.Anyone, http.MethodGet, "/api/v1/me", "", "Cookie: "+candidate+"="+cookie.Reveal())
		if got.status == http.StatusOK {
			name = candidate
			var me struct {
				User, Role, By string
				Fresh          bool
			}
			got.into(t, http.StatusOK, &me)
			if me.User != "the-admin" || me.Role != "admin" || !me.Fresh {
				t.Errorf("me is %+v", me)
			}
		}
	}
	if name == "" {
		t.Fatal("no cookie logs in")
	}
	w.Clock.Pass(6 * time.Minute)
	header := "Cookie: " + name + "=" + cookie.Reveal()
	w.ask(t, access.Anyone, http.MethodDelete, "/api/v1/backups/"+id, "", header).fault(t, http.StatusForbidden, "password_needed")
	w.backups(t)
	if got := w.ask(t, access.Anyone, http.MethodPost, "/api/v1/backups/"+id+"/pin", "", header); got.status != http.StatusOK {
		t.Fatalf("pin: %d %s", got.status, got.body)
	}
	if log := w.audited(t, "pin"); len(log) != 1 || log[0].Via != "console" || log[0].Who != "the-admin" || log[0].Outcome != "ok" || log[0].Object != id {
		t.Errorf("audit log: %+v", log)
	}
	// Another site may not use the cookie.
	w.ask(t, access.Anyone, http.MethodPost, "/api/v1/backups/"+id+"/unpin", "", header, "Sec-Fetch-Site: cross-site", "Origin: https://evil.example").fault(t, http.StatusForbidden, "cross_site")
}

func TestErrorsHaveOneForm(t *testing.T) {
	w := newWorld(t, gate.Settings{})
	id := w.backups(t)[0]
	big := `{"note":"` + strings.Repeat("x", 70_000) + `"}`
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		code                     string
	}{
		{name: "path", method: "GET", path: "/api/v1/nothing", status: 404, code: "not_found"},
		{name: "prefix", method: "GET", path: "/api/v1", status: 404, code: "not_found"},
		{name: "slashes", method: "GET", path: "/api/v1//apps", status: 404, code: "not_found"},
		{name: "slash at the end", method: "GET", path: "/api/v1/apps/", status: 404, code: "not_found"},
		{name: "dots", method: "GET", path: "/api/v1/apps/../audit", status: 404, code: "not_found"},
		{name: "encoded dots", method: "GET", path: "/api/v1/apps/%2e%2e/settings", status: 404, code: "not_found"},
		{name: "encoded slash", method: "GET", path: "/api/v1/backups/..%2f..%2fetc", status: 404, code: "not_found"},
		{name: "method", method: "DELETE", path: "/api/v1/apps", status: 405, code: "method"},
		{name: "strange method", method: "BREW", path: "/api/v1/apps", status: 405, code: "method"},
		{name: "app", method: "GET", path: "/api/v1/apps/nobody", status: 404, code: "not_found"},
		{name: "long app", method: "GET", path: "/api/v1/apps/" + strings.Repeat("a", 64), status: 422, code: "usage"},
		{name: "begin with an app", method: "POST", path: "/api/v1/apps/nobody/check", status: 404, code: "not_found"},
		{name: "backup", method: "GET", path: "/api/v1/backups/0000000000000000", status: 404, code: "not_found"},
		{name: "run", method: "GET", path: "/api/v1/runs/999", status: 404, code: "not_found"},
		{name: "run of no number", method: "GET", path: "/api/v1/runs/x", status: 422, code: "usage"},
		{name: "negative run", method: "GET", path: "/api/v1/runs/-1", status: 422, code: "usage"},
		{name: "huge run", method: "GET", path: "/api/v1/runs/99999999999999999999", status: 422, code: "usage"},
		{name: "events of no run", method: "GET", path: "/api/v1/runs/999/events", status: 404, code: "not_found"},
		{name: "limit", method: "GET", path: "/api/v1/backups?limit=1001", status: 422, code: "usage"},
		{name: "offset", method: "GET", path: "/api/v1/backups?offset=-1", status: 422, code: "usage"},
		{name: "parameter", method: "GET", path: "/api/v1/backups?lmit=5", status: 422, code: "usage"},
		{name: "time", method: "GET", path: "/api/v1/runs?since=yesterday", status: 422, code: "usage"},
		{name: "outcome", method: "GET", path: "/api/v1/runs?outcome=great", status: 422, code: "usage"},
		{name: "broken JSON", method: "POST", path: "/api/v1/apps/helpdesk/backups", body: `{"note":`, status: 400, code: "usage"},
		{name: "two values", method: "POST", path: "/api/v1/apps/helpdesk/backups", body: `{} {}`, status: 400, code: "usage"},
		{name: "unknown field", method: "POST", path: "/api/v1/apps/helpdesk/backups", body: `{"nots":"x"}`, status: 422, code: "usage"},
		{name: "wrong type", method: "POST", path: "/api/v1/apps/helpdesk/backups", body: `{"pin":"yes"}`, status: 422, code: "usage"},
		{name: "list for an object", method: "POST", path: "/api/v1/apps/helpdesk/backups", body: `[]`, status: 422, code: "usage"},
		{name: "component", method: "POST", path: "/api/v1/apps/helpdesk/backups", body: `{"only":["etc"]}`, status: 422, code: "usage"},
		{name: "body that is not asked for", method: "POST", path: "/api/v1/apps/helpdesk/check", body: `{"x":1}`, status: 422, code: "usage"},
		{name: "too large", method: "POST", path: "/api/v1/apps/helpdesk/backups", body: big, status: 413, code: "too_large"},
		{name: "a form", method: "POST", path: "/api/v1/apps/helpdesk/backups", body: `note=x`, headers: []string{"Content-Type: application/x-www-form-urlencoded"}, status: 415, code: "media_type"},
		{name: "JSON as text", method: "POST", path: "/api/v1/apps/helpdesk/backups", body: `{}`, headers: []string{"Content-Type: text/plain"}, status: 415, code: "media_type"},
		{name: "no order", method: "POST", path: "/api/v1/apps/helpdesk/restores", status: 400, code: "usage"},
		{name: "nobody confirmed", method: "POST", path: "/api/v1/apps/helpdesk/restores", body: `{"backup":"` + id + `","confirm":"wiki"}`, status: 422, code: "usage"},
		{name: "confirm is missing", method: "POST", path: "/api/v1/apps/helpdesk/restores", body: `{"backup":"` + id + `"}`, status: 422, code: "usage"},
		{name: "format", method: "POST", path: "/api/v1/backups/" + id + "/exports", body: `{"format":"rar","password":"hunter2"}`, status: 422, code: "usage"},
		{name: "content of no path", method: "GET", path: "/api/v1/backups/" + id + "/content", status: 422, code: "usage"},
		{name: "content of a folder", method: "GET", path: "/api/v1/backups/" + id + "/content?path=files/uploads", status: 422, code: "usage"},
		{name: "content above", method: "GET", path: "/api/v1/backups/" + id + "/content?path=../../etc/passwd", status: 422, code: "usage"},
		{name: "content of nothing", method: "GET", path: "/api/v1/backups/" + id + "/content?path=files/none", status: 404, code: "not_found"},
		{name: "download", method: "GET", path: "/api/v1/downloads/999", status: 404, code: "not_found"},
		{name: "upload", method: "GET", path: "/api/v1/uploads/..%2f..%2fstate.db", status: 404, code: "not_found"},
		{name: "negative size", method: "POST", path: "/api/v1/uploads", body: `{"name":"a.zip","size":-5}`, status: 422, code: "usage"},
		{name: "part without offset", method: "PATCH", path: "/api/v1/uploads/x", body: "x", headers: []string{"Content-Type: application/offset+octet-stream"}, status: 422, code: "usage"},
		{name: "part as a form", method: "PATCH", path: "/api/v1/uploads/x", body: "x", headers: []string{"Content-Type: application/x-www-form-urlencoded", "Upload-Offset: 0"}, status: 415, code: "media_type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := w.ask(t, access.Admin, c.method, c.path, c.body, c.headers...)
			f := got.fault(t, c.status, c.code)
			if strings.Contains(string(got.body), "hunter2") {
				t.Errorf("a password comes back: %s", got.body)
			}
			if c.status == 405 && got.header.Get("Allow") == "" {
				t.Error("Allow is missing")
			}
			if c.status >= 500 {
				t.Errorf("%+v", f)
			}
		})
	}
	if n := len(w.Launcher.Launched()); n != 0 {
		t.Errorf("%d runs began", n)
	}
}

// TestCodes has runs that cannot begin for all kinds of reasons.
func TestCodes(t *testing.T) {
	w := newWorld(t, gate.Settings{})
	for code, status := range map[core.Code]int{
		core.CodeLocked: 409, core.CodeDecision: 409, core.CodeUnfinished: 409, core.CodeConfig: 503, core.CodeDatabase: 503, core.CodeNoRepository: 503,
		core.CodeWrongKey: 503, core.CodeDisk: 507, core.CodeUnsupported: 501, core.CodeNotFound: 404, core.CodeUsage: 422,
	} {
		w.Launcher.Fail(&core.Error{Code: code, Op: "begin", Message: "it is so", Hint: "do this"})
		f := w.ask(t, access.Operator, "POST", "/api/v1/apps/helpdesk/backups", "").fault(t, status, string(code))
		if f.Hint != "do this" || f.Message != "begin: it is so" {
			t.Errorf("%s: %+v", code, f)
		}
		if log := w.audited(t, "backup"); len(log) == 0 || log[0].Outcome != string(code) {
			t.Errorf("%s: audit log has %+v", code, log)
		}
	}
	w.Launcher.Fail(errors.New("secret /root/path"))
	f := w.ask(t, access.Operator, "POST", "/api/v1/apps/helpdesk/backups", "").fault(t, 500, "internal")
	if strings.Contains(f.Message+f.Hint, "/root/path") || !strings.Contains(w.log.String(), "/root/path") {
		t.Errorf("the answer is %+v, the log %s", f, w.log)
	}
	_, number, _ := strings.Cut(f.Message, "(request ")
	if number = strings.TrimSuffix(number, ")"); len(number) < 8 || !strings.Contains(w.log.String(), number) {
		t.Errorf("request %q is not in the log: %s", number, w.log)
	}
}

// TestBegins has every operation that begins a run begin one.
func TestBegins(t *testing.T) {
	w := newWorld(t, gate.Settings{})
	id := w.backups(t)[0]
	for _, c := range []struct{ path, body, kind, action string }{
		{"/api/v1/apps/helpdesk/backups", "", core.RunBackup, "backup"},
		{"/api/v1/apps/helpdesk/backups", `{"only":["files"],"note":"before the update","pin":true}`, core.RunBackup, "backup"},
		{"/api/v1/apps/helpdesk/check", "", core.RunCheck, "check"},
		{"/api/v1/apps/helpdesk/check", "{}", core.RunCheck, "check"},
		{"/api/v1/apps/helpdesk/prune", "", core.RunPrune, "prune"},
		{"/api/v1/apps/helpdesk/notify-test", "", core.RunNotify, "notify test"},
		{"/api/v1/apps/helpdesk/plans", `{"backup":"` + id + `","only":["database"],"tables":["table_001"]}`, core.RunPlan, ""},
		{"/api/v1/apps/helpdesk/restores", `{"backup":"` + id + `","force":["other-host"],"confirm":"helpdesk"}`, core.RunRestore, "restore"},
		{"/api/v1/backups/" + id + "/verify", "", core.RunVerify, "verify"},
		{"/api/v1/backups/" + id + "/exports", `{"format":"backstay","password":"hunter2"}`, core.RunExport, "export"},
		{"/api/v1/repository/maintain", "", core.RunMaintain, "maintain"},
	} {
		t.Run(c.path+c.body, func(t *testing.T) {
			got := w.ask(t, access.Admin, "POST", c.path, c.body)
			var v struct{ Run core.Run }
			got.into(t, http.StatusAccepted, &v)
			if v.Run.Kind != c.kind || v.Run.Outcome != core.OutcomeRunning || v.Run.By != "the-admin (token script)" {
				t.Errorf("run is %+v", v.Run)
			}
			if want := fmt.Sprintf("/api/v1/runs/%d", v.Run.ID); got.header.Get("Location") != want {
				t.Errorf("Location is %q, not %q", got.header.Get("Location"), want)
			}
			launched := w.Launcher.Launched()
			last := launched[len(launched)-1]
			if last.Via != "api" || last.Kind != c.kind {
				t.Errorf("launched %+v", last)
			}
			if strings.Contains(strings.Join(last.Args, " "), "hunter2") {
				t.Errorf("a password is among the arguments: %q", last.Args)
			}
			if c.action == "" {
				return
			}
			want := core.Audited{Who: "the-admin (token script)", Via: "api", Action: c.action, Outcome: "begun", Detail: fmt.Sprintf("as run %d", v.Run.ID)}
			log := w.audited(t, c.action)
			if len(log) == 0 {
				t.Fatal("it is not in the audit log")
			}
			have := log[0]
			have.ID, have.Time, have.Object = 0, want.Time, ""
			if diff := cmp.Diff(want, have); diff != "" {
				t.Error(diff)
			}
			// the launcher runs nothing: end it, so that the next may begin
			w.Finish(t, v.Run.ID, core.OutcomeOK, "", "", `{"schema":1}`)
		})
	}
}

// TestReads has what only reads answer, and answer what is described.
func TestReads(t *testing.T) {
	w := newWorld(t, gate.Settings{})
	ids := w.backups(t)
	var spec struct {
		Paths map[string]map[string]struct {
			Responses map[string]struct {
				Content map[string]struct{ Schema any }
			}
		}
		Components struct{ Schemas map[string]any }
	}
	got := w.ask(t, access.Viewer, "GET", "/api/v1/openapi.json", "")
	if err := json.Unmarshal(got.body, &spec); err != nil || got.status != 200 {
		t.Fatalf("%d: %v", got.status, err)
	}
	for _, c := range []struct{ path, pattern string }{
		{"/version", ""}, {"/me", ""}, {"/overview", ""}, {"/alarms", ""}, {"/repository", ""}, {"/apps", ""}, {"/runs", ""}, {"/uploads", ""}, {"/downloads", ""},
		{"/audit?verify=true", "/audit"}, {"/backups?app=helpdesk&limit=2", "/backups"},
		{"/apps/helpdesk", "/apps/{app}"}, {"/apps/helpdesk/settings", "/apps/{app}/settings"}, {"/apps/wiki/health", "/apps/{app}/health"},
		{"/backups/" + ids[0], "/backups/{id}"}, {"/backups/" + ids[0] + "/tables?sort=rows&limit=2", "/backups/{id}/tables"},
		{"/backups/" + ids[0] + "/files?path=files", "/backups/{id}/files"}, {"/backups/" + ids[0] + "/compare?former=" + ids[1], "/backups/{id}/compare"},
	} {
		t.Run(c.path, func(t *testing.T) {
			var v map[string]any
			w.ask(t, access.Admin, "GET", "/api/v1"+c.path, "").into(t, http.StatusOK, &v)
			pattern := c.pattern
			if pattern == "" {
				pattern = c.path
			}
			schema := spec.Paths[pattern]["get"].Responses["200"].Content["application/json"].Schema
			if schema == nil {
				t.Fatalf("%s is not described", pattern)
			}
			for _, wrong := range differs(spec.Components.Schemas, schema, v, "") {
				t.Error(wrong)
			}
		})
	}
}

// differs says where a value is not as its schema describes.
func differs(schemas map[string]any, schema, value any, at string) []string {
	s, _ := schema.(map[string]any)
	if ref, ok := s["$ref"].(string); ok {
		return differs(schemas, schemas[strings.TrimPrefix(ref, "#/components/schemas/")], value, at)
	}
	if any, ok := s["anyOf"].([]any); ok {
		if value == nil {
			return nil
		}
		return differs(schemas, any[0], value, at)
	}
	var out []string
	switch v := value.(type) {
	case map[string]any:
		if s["type"] != nil && fmt.Sprint(s["type"]) != "object" {
			return []string{at + " is an object"}
		}
		properties, _ := s["properties"].(map[string]any)
		if properties == nil {
			for name, member := range v {
				if s["additionalProperties"] != nil {
					out = append(out, differs(schemas, s["additionalProperties"], member, at+"."+name)...)
				}
			}
			return out
		}
		for name, member := range v {
			p, ok := properties[name]
			if !ok && at != ".components.database" && !strings.Contains(at, "components.") {
				out = append(out, at+"."+name+" is not described")
				continue
			}
			out = append(out, differs(schemas, p, member, at+"."+name)...)
		}
		required, _ := s["required"].([]any)
		for _, name := range required {
			if _, ok := v[name.(string)]; !ok {
				out = append(out, at+"."+name.(string)+" is missing")
			}
		}
	case []any:
		if !strings.Contains(fmt.Sprint(s["type"]), "array") && s["type"] != nil {
			return []string{at + " is a list"}
		}
		for i, member := range v {
			out = append(out, differs(schemas, s["items"], member, fmt.Sprintf("%s[%d]", at, i))...)
		}
	case nil:
		if s["type"] != nil && !strings.Contains(fmt.Sprint(s["type"]), "null") {
			out = append(out, at+" is null")
		}
	case string:
		if s["type"] != nil && !strings.Contains(fmt.Sprint(s["type"]), "string") {
			out = append(out, at+" is a string")
		}
	case float64:
		if s["type"] != nil && !strings.Contains(fmt.Sprint(s["type"]), "integer") && !strings.Contains(fmt.Sprint(s["type"]), "number") {
			out = append(out, at+" is a number")
		}
	}
	return out
}
