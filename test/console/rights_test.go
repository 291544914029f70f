package console

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
)

// Who may do what. "fresh": the password was given a moment ago.
const (
	anyone      = "anyone"
	viewer      = "viewer"
	viewerFresh = "viewer, fresh"
	operator    = "operator"
	admin       = "admin"
	adminFresh  = "admin, fresh"
)

// decided says by hand who may use each route. What a viewer sees are states,
// names and numbers; what an operator does harms nothing and shows no content;
// the rest is admin's, and what destroys, replaces or hands out needs the password.
func decided() map[string]string {
	return map[string]string{
		// before the login, and one's own account
		"POST /display": anyone, "GET /setup": anyone, "POST /setup": anyone, "GET /login": anyone, "POST /login": anyone, "POST /logout": anyone,
		"GET /oidc/start": anyone, "GET /oidc/callback": anyone, "GET /prove": viewer, "POST /prove": viewer,
		"GET /account": viewer, "POST /account/display": viewer, "POST /account/sessions/end": viewer, "POST /account/tokens/remove": viewer,
		"POST /account/password": viewerFresh, "POST /account/second": viewerFresh, "POST /account/second/confirm": viewerFresh, "POST /account/second/drop": viewerFresh,
		"POST /account/tokens": viewerFresh,

		// people
		"GET /users": admin, "GET /users/{name}": admin, "POST /users": adminFresh, "POST /users/{name}/role": adminFresh, "POST /users/{name}/disable": adminFresh,
		"POST /users/{name}/enable": adminFresh, "POST /users/{name}/unlock": adminFresh, "POST /users/{name}/password": adminFresh,
		"POST /users/{name}/second/drop": adminFresh, "POST /users/{name}/sessions/end": adminFresh, "POST /users/{name}/tokens/remove": adminFresh,
		"POST /users/{name}/remove": adminFresh,

		// apps
		"GET /{$}": viewer, "GET /": viewer, "GET /apps/{app}": viewer, "GET /apps/{app}/health": operator, "POST /apps/{app}/backup": operator,
		"POST /apps/{app}/verify": operator, "POST /apps/{app}/check": operator, "POST /apps/{app}/notify-test": operator,
		"GET /apps/{app}/prune": adminFresh, "POST /apps/{app}/prune": adminFresh, "POST /apps/{app}/accept": admin,

		// backups: names and numbers, then content
		"GET /backups/{id}": viewer, "GET /backups/{id}/tables": viewer, "GET /backups/{id}/files/{path...}": viewer, "GET /backups/compare": viewer,
		"POST /backups/{id}/pin": operator, "POST /backups/{id}/unpin": operator, "POST /backups/{id}/verify": operator,
		"GET /backups/{id}/download/{path...}": adminFresh, "GET /backups/{id}/delete": adminFresh, "POST /backups/{id}/delete": adminFresh,
		"GET /backups/{id}/export": adminFresh, "POST /backups/{id}/export": adminFresh, "GET /downloads": admin, "GET /downloads/{run}/{name}": adminFresh,
		"POST /downloads/{run}/remove": admin,

		// recovery
		"GET /apps/{app}/restore": admin, "POST /apps/{app}/restore/plan": admin, "GET /apps/{app}/restore/plan/{run}": admin,
		"POST /apps/{app}/restore/plan/{run}/again":  admin,
		"GET /apps/{app}/restore/plan/{run}/confirm": adminFresh, "POST /apps/{app}/restore/plan/{run}/confirm": adminFresh,
		"POST /apps/{app}/restore/resume": adminFresh, "GET /apps/{app}/undo": adminFresh, "POST /apps/{app}/undo": adminFresh, "POST /apps/{app}/undo/drop": adminFresh,
		"GET /import": admin, "GET /apps/{app}/import": admin, "POST /apps/{app}/import": admin, "POST /apps/{app}/import/start": admin, "POST /apps/{app}/import/remove": admin,

		// records and the repository
		"GET /runs": viewer, "GET /runs/{id}": viewer, "GET /runs/{id}/live": viewer, "POST /runs/{id}/cancel": operator, "GET /audit": admin, "GET /alarms": viewer,
		"POST /alarms/test": operator, "POST /alarms/check": operator, "GET /repository": viewer, "POST /repository/maintain": admin, "POST /repository/key": adminFresh,

		// proofs: outcomes and times, then what was looked at, which names files and credentials
		"GET /proof": viewer, "GET /apps/{app}/drills": viewer, "POST /apps/{app}/drill": operator, "GET /drills/{id}": operator, "GET /drills/{id}/{file}": admin,
		"GET /api/v1/drills": viewer, "GET /api/v1/drills/{id}": operator, "POST /api/v1/apps/{app}/drills": operator,

		// settings
		"GET /settings": admin, "GET /settings/{scope}/{section}": admin, "POST /settings/{scope}/{section}": admin, "POST /settings/{scope}/{section}/apply": admin,
		"POST /settings/{scope}/notify-test": operator, "GET /versions/{id}": admin, "POST /versions/{id}": admin,

		// the API: state
		"GET /api/v1/version": viewer, "GET /api/v1/me": viewer, "GET /api/v1/overview": viewer, "GET /api/v1/alarms": viewer, "GET /api/v1/repository": viewer,
		"GET /api/v1/openapi.json": viewer, "GET /api/v1/openapi.yaml": viewer, "GET /api/v1/audit": admin, "POST /api/v1/repository/maintain": admin,

		// the API: apps
		"GET /api/v1/apps": viewer, "GET /api/v1/apps/{app}": viewer, "GET /api/v1/apps/{app}/settings": viewer, "GET /api/v1/apps/{app}/health": operator,
		"POST /api/v1/apps/{app}/backups": operator, "POST /api/v1/apps/{app}/check": operator, "POST /api/v1/apps/{app}/notify-test": operator,
		"POST /api/v1/apps/{app}/accept": admin, "POST /api/v1/apps/{app}/prune": adminFresh, "POST /api/v1/apps/{app}/plans": admin, "POST /api/v1/apps/{app}/imports": admin,
		"POST /api/v1/apps/{app}/restores": adminFresh, "POST /api/v1/apps/{app}/resume": adminFresh, "POST /api/v1/apps/{app}/undo": adminFresh, "POST /api/v1/apps/{app}/drop": adminFresh,

		// the API: backups and runs
		"GET /api/v1/backups": viewer, "GET /api/v1/backups/{id}": viewer, "GET /api/v1/backups/{id}/tables": viewer, "GET /api/v1/backups/{id}/files": viewer,
		"GET /api/v1/backups/{id}/compare": viewer, "POST /api/v1/backups/{id}/pin": operator, "POST /api/v1/backups/{id}/unpin": operator,
		"POST /api/v1/backups/{id}/verify": operator, "GET /api/v1/backups/{id}/content": adminFresh, "POST /api/v1/backups/{id}/exports": adminFresh,
		"DELETE /api/v1/backups/{id}": adminFresh, "GET /api/v1/runs": viewer, "GET /api/v1/runs/{id}": viewer, "GET /api/v1/runs/{id}/events": viewer,
		"POST /api/v1/runs/{id}/cancel": operator,

		// the API: files on their way out and in
		"GET /api/v1/downloads": admin, "GET /api/v1/downloads/{run}": adminFresh, "DELETE /api/v1/downloads/{run}": admin,
		"GET /api/v1/uploads": admin, "GET /api/v1/uploads/{id}": admin, "POST /api/v1/uploads": admin, "PATCH /api/v1/uploads/{id}": admin, "DELETE /api/v1/uploads/{id}": admin,
	}
}

func inWords(n gate.Need) string {
	role := string(n.Role)
	if n.Role == access.Anyone {
		role = anyone
	}
	if n.Fresh {
		return role + ", fresh"
	}
	return role
}

func TestEveryRouteHasTheRightThatWasDecided(t *testing.T) {
	w := newWorld(t, nil)
	decided := decided()
	seen := map[string]bool{}
	for _, r := range w.routes() {
		want, known := decided[r.String()]
		switch {
		case !known:
			t.Errorf("%s: nobody has decided who may use it; it asks for %q. Decide, and write that down here", r, inWords(r.Need))
		case want != inWords(r.Need):
			t.Errorf("%s asks for %q; decided is %q", r, inWords(r.Need), want)
		}
		seen[r.String()] = true
		if r.changes() && r.Need.Role != access.Anyone && r.Action == "" && !unnoted()[r.String()] {
			t.Errorf("%s changes something and has no name in the audit log", r)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(decided)) {
		if !seen[name] && name != "GET /{$}" {
			t.Errorf("%s is decided and there is no such route", name)
		}
	}
}

// unnoted are the routes whose changes are not in the audit log, by themselves.
func unnoted() map[string]bool {
	return map[string]bool{
		"PATCH /api/v1/uploads/{id}":       true, // a part; that the upload began is noted
		"POST /api/v1/apps/{app}/plans":    true, // it finds out what would be
		"POST /settings/{scope}/{section}": true, // it shows what would be
	}
}

// outcome is what becomes of a request: "in", "login", "prove", "forbidden", "token".
func expected(r route, a *asker) string {
	switch {
	case a.wrong:
		return "token"
	case r.Need.Role == access.Anyone:
		return "in"
	case !a.known():
		return "login"
	case !a.role.May(r.Need.Role):
		return "forbidden"
	case a.token && ofPersons(r):
		return "forbidden"
	case r.Need.Fresh && !a.fresh:
		return "prove"
	}
	return "in"
}

// ofPersons says whether a route is for people only: a token is as fresh as it
// ever will be, and pages show and change what needs a password.
func ofPersons(r route) bool { return !strings.HasPrefix(r.Pattern, "/api/") }

// judge says whether an answer is the one to be had. HEAD has no body.
func judge(r route, want string, method string, a answer) error {
	location, code := a.header.Get("Location"), ""
	if strings.Contains(a.header.Get("Content-Type"), "application/json") && method != http.MethodHead {
		code = codeOf(a.body)
	}
	is := func(status int, apiCode, redirect string) error {
		switch {
		case r.api && a.status == status && (code == apiCode || method == http.MethodHead):
			return nil
		case !r.api && redirect != "" && a.status == http.StatusSeeOther && (location == redirect || strings.HasPrefix(location, redirect+"?next=%2F")):
			return nil
		case !r.api && redirect == "" && a.status == status:
			return nil
		}
		return fmt.Errorf("want %s, got %d %s %s: %.300s", want, a.status, location, code, a.body)
	}
	switch want {
	case "token":
		if a.status == http.StatusTooManyRequests && a.header.Get("Retry-After") != "" {
			return nil // it was tried often by now
		}
		if a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") == "" {
			return fmt.Errorf("a token that is none got %d", a.status)
		}
		return nil
	case "login":
		return is(http.StatusUnauthorized, "unauthenticated", "/login")
	case "prove":
		return is(http.StatusForbidden, "password_needed", "/prove")
	case "forbidden":
		return is(http.StatusForbidden, "forbidden", "")
	}
	refused := a.status == http.StatusUnauthorized || a.status == http.StatusForbidden
	if r.Need.Role != access.Anyone && a.status == http.StatusSeeOther {
		refused = strings.HasPrefix(location, "/login") || strings.HasPrefix(location, "/prove")
	}
	if refused || a.status >= 500 || a.broken {
		return fmt.Errorf("it may, and got %d %s: %.300s", a.status, location, a.body)
	}
	return nil
}

// TestMatrix asks for every route in every way in which one can be somebody, or
// nobody. What is refused changes nothing.
func TestMatrix(t *testing.T) {
	w := newWorld(t, nil)
	allowed, refused := 0, 0
	for _, r := range w.routes() {
		methods := []string{r.Method}
		if r.Method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
		w.everybody(t)
		v := w.things(t)
		target := v.fill(r.Pattern, nil) + v.queryOf(r)
		all := w.everybody(t)
		before := w.snapshot(t)
		for _, in := range []bool{false, true} { // while what the path names is still there
			for _, a := range all {
				want := expected(r, a)
				if (want == "in") != in {
					continue
				}
				for _, method := range methods {
					what := fmt.Sprintf("%s %s as %s", method, r.Pattern, a.name)
					q := request{method: method, target: target}
					if r.changes() {
						q.body, q.kind = v.body(r)
						if in && !r.api { // what is let through need not be done
							q.body = ""
						}
					}
					if in {
						allowed++
						if r.changes() { // whoever may can end the very session
							a = w.again(t, a)
						}
						got := w.ask(t, a, q)
						if err := judge(r, want, method, got); err != nil {
							t.Errorf("%s: %v", what, err)
						}
						securityHeaders(t, what, got)
						continue
					}
					refused++
					noted := w.lastAudited(t)
					got := w.ask(t, a, q)
					if err := judge(r, want, method, got); err != nil {
						t.Errorf("%s: %v", what, err)
					}
					securityHeaders(t, what, got)
					entries := w.auditedSince(t, noted)
					tried := want == "forbidden" && r.Action != "" && method != http.MethodHead
					switch {
					case tried && (len(entries) != 1 || entries[0].Outcome != "forbidden" || !strings.HasPrefix(entries[0].Who, a.user) || entries[0].Action != r.Action):
						t.Errorf("%s: it was tried, and the audit log says %v", what, entries)
					case !tried && want != "forbidden" && len(entries) > 0:
						t.Errorf("%s: the audit log says %v", what, entries)
					}
				}
			}
			if after := w.snapshot(t); (!in || !r.changes()) && after != before {
				t.Errorf("%s: it was refused, or is only looked at, and changed something:\n%s", r, difference(before, after))
			}
		}
		if text := w.log.take(); text != "" {
			t.Errorf("%s: errors were logged:\n%.2000s", r, text)
		}
	}
	t.Logf("%d requests were let in, %d refused", allowed, refused)
}

// again is the same asker, alive.
func (w *world) again(t *testing.T, a *asker) *asker {
	t.Helper()
	switch {
	case a.token:
		return w.token(t, a.role)
	case a.known():
		return w.session(t, a.role, a.fresh)
	}
	return a
}

func difference(before, after string) string {
	had := map[string]bool{}
	for line := range strings.Lines(before) {
		had[line] = true
	}
	var out strings.Builder
	for line := range strings.Lines(after) {
		if !had[line] {
			fmt.Fprintf(&out, "+ %.300s\n", line)
		}
		delete(had, line)
	}
	for line := range had {
		fmt.Fprintf(&out, "- %.300s\n", line)
	}
	return out.String()
}

// TestOtherMethods asks every path by methods that it does not know.
func TestOtherMethods(t *testing.T) {
	w := newWorld(t, nil)
	known := map[string]map[string]bool{}
	for _, r := range w.routes() {
		if known[r.Pattern] == nil {
			known[r.Pattern] = map[string]bool{}
		}
		known[r.Pattern][r.Method] = true
		if r.Method == http.MethodGet {
			known[r.Pattern][http.MethodHead] = true
		}
	}
	w.everybody(t)
	v := w.things(t)
	who := w.session(t, access.Admin, true)
	before, noted := w.snapshot(t), w.lastAudited(t)
	for _, pattern := range slices.Sorted(maps.Keys(known)) {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "post"} {
			if slices.ContainsFunc(slices.Collect(maps.Keys(known)), func(other string) bool { return known[other][method] && covers(other, pattern) }) {
				continue
			}
			what := method + " " + pattern
			got := w.ask(t, who, request{method: method, target: v.fill(pattern, nil)})
			if got.status != http.StatusMethodNotAllowed && got.status != http.StatusNotFound {
				t.Errorf("%s: %d %s: %.200s", what, got.status, got.header.Get("Location"), got.body)
			}
			if got.status == http.StatusMethodNotAllowed && got.header.Get("Allow") == "" {
				t.Errorf("%s: it does not say which methods there are", what)
			}
			securityHeaders(t, what, got)
		}
	}
	if after := w.snapshot(t); after != before {
		t.Errorf("something changed:\n%s", difference(before, after))
	}
	if entries := w.auditedSince(t, noted); len(entries) > 0 {
		t.Errorf("the audit log says %v", entries)
	}
	if text := w.log.take(); text != "" {
		t.Errorf("errors were logged:\n%.2000s", text)
	}
}

// covers says whether what pattern is filled to can be a path of other too.
func covers(other, pattern string) bool {
	theirs, ours := strings.Split(other, "/"), strings.Split(pattern, "/")
	for i, part := range theirs {
		switch {
		case strings.HasSuffix(part, "...}"):
			return true
		case i >= len(ours) || part != ours[i] && !strings.HasPrefix(part, "{") && !strings.HasPrefix(ours[i], "{"):
			return false
		}
	}
	return len(theirs) == len(ours)
}

// TestOtherSites has another site's page use a person's session.
func TestOtherSites(t *testing.T) {
	w := newWorld(t, nil)
	for _, r := range w.routes() {
		if !r.changes() {
			continue
		}
		w.everybody(t)
		v := w.things(t)
		who := w.session(t, access.Admin, true)
		before, noted := w.snapshot(t), w.lastAudited(t)
		for _, header := range []http.Header{
			{"Sec-Fetch-Site": {"cross-site"}}, {"Sec-Fetch-Site": {"same-site"}}, {"Origin": {"https://evil.example"}}, {"Origin": {"null"}},
			{"Origin": {"http://127.0.0.1:9999"}}, {"Origin": {"http://127.0.0.1:8484.evil.example"}}, {"Sec-Fetch-Site": {"cross-site"}, "Origin": {"http://127.0.0.1:8484"}},
		} {
			for _, kind := range []string{"application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", "application/json"} {
				what := fmt.Sprintf("%s as %s with %v", r, kind, header)
				got := w.ask(t, who, request{method: r.Method, target: v.fill(r.Pattern, nil), kind: kind, header: header.Clone()})
				if got.status != http.StatusForbidden || r.api && codeOf(got.body) != "cross_site" {
					t.Errorf("%s: %d %s", what, got.status, got.header.Get("Location"))
				}
				securityHeaders(t, what, got)
			}
		}
		if after := w.snapshot(t); after != before {
			t.Errorf("%s: something changed:\n%s", r, difference(before, after))
		}
		if entries := w.auditedSince(t, noted); len(entries) > 0 {
			t.Errorf("%s: the audit log says %v", r, entries)
		}
	}
}

// TestOperatorsCancelWhatIsTheirs: backups come again, another's restore does not.
func TestOperatorsCancelWhatIsTheirs(t *testing.T) {
	w := newWorld(t, nil)
	who := w.session(t, access.Operator, true)
	for _, c := range []struct {
		kind, by string
		may      bool
	}{
		{core.RunBackup, "somebody else", true}, {core.RunRestore, "somebody else", false}, {core.RunUndo, "", false}, {core.RunVerify, "somebody else", false},
		{core.RunVerify, who.user, true}, {core.RunVerify, who.user + " (token script)", true}, {core.RunVerify, who.user + "x", false},
	} {
		run, err := w.State.BeginRun(t.Context(), core.Run{App: "helpdesk", Kind: c.kind, Trigger: "manual", Started: w.Clock.Now(), By: c.by})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range w.routes() {
			if !strings.HasSuffix(r.Pattern, "/cancel") {
				continue
			}
			was := len(w.Launcher.Cancelled())
			target := values{"run": fmt.Sprint(run)}.fill(r.Pattern, nil)
			got := w.ask(t, who, request{method: r.Method, target: target, kind: "application/x-www-form-urlencoded", header: http.Header{}})
			if did := len(w.Launcher.Cancelled()) > was; did != c.may || (got.status == http.StatusForbidden) == c.may {
				t.Errorf("%s of a %s by %q: cancelled is %v, status %d", r, c.kind, c.by, did, got.status)
			}
		}
	}
}

// form is a form's body.
func form(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v.Encode()
}
