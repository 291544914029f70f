// Package console tests the whole console as it is served: the gate, the API
// and the pages together, on real users and sessions, with a repository in
// memory and runs that are only recorded. What it asks for it finds in their
// own tables of routes, so that a new route is tested without a word here - and
// fails until somebody has decided who may use it.
package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/access/oidc"
	"github.com/backstay/backstay/internal/api"
	"github.com/backstay/backstay/internal/config/edit"
	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/console/consoletest"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/web"
	"github.com/backstay/backstay/internal/web/page"
	"github.com/backstay/backstay/internal/web/pages/people"
)

// world is a console as `backstay serve` puts it together.
type world struct {
	*consoletest.World
	access  *access.Store
	site    *page.Site
	api     *api.API
	handler http.Handler
	log     *errorLog
	asked   *counted
	askers  map[string]*asker
	made    int // backups, whose times differ
}

// counted counts what the repository is asked.
type counted struct {
	repository.Store
	mu    sync.Mutex
	calls map[string]int
}

func (c *counted) count(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[what]++
}

// total is how often the repository was asked for anything.
func (c *counted) total() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, calls := range c.calls {
		n += calls
	}
	return n
}

func (c *counted) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprint(c.calls)
}

func (c *counted) List(ctx context.Context) ([]repository.Record, error) {
	c.count("List")
	return c.Store.List(ctx)
}

func (c *counted) ReadDir(ctx context.Context, id core.ObjectID) ([]core.Entry, error) {
	c.count("ReadDir")
	return c.Store.ReadDir(ctx, id)
}

func (c *counted) Open(ctx context.Context, id core.ObjectID) (io.ReadSeekCloser, error) {
	c.count("Open")
	return c.Store.Open(ctx, id)
}

func (c *counted) Space(ctx context.Context) (core.Space, error) {
	c.count("Space")
	return c.Store.Space(ctx)
}

// errorLog keeps what is logged as an error: what nobody foresaw.
type errorLog struct {
	mu   sync.Mutex
	text bytes.Buffer
	slog.Handler
}

func newErrorLog() *errorLog {
	l := &errorLog{}
	l.Handler = slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelError})
	return l
}

func (l *errorLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// take returns what was logged since the last call.
func (l *errorLog) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// newWorld serves what of has made of a console; nil: as it is.
func newWorld(t *testing.T, of *consoletest.World) *world {
	t.Helper()
	if of == nil {
		of = consoletest.New(t)
	}
	w := &world{World: of, log: newErrorLog(), askers: map[string]*asker{}}
	w.asked = &counted{Store: w.Store, calls: map[string]int{}}
	w.Engine.Store = w.asked
	log := slog.New(w.log)
	var err error
	if w.access, err = access.Open(t.Context(), w.StateDir, w.Clock); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.access.Close(); err != nil {
			t.Error(err)
		}
	})
	g := gate.New(gate.Options{Store: w.access, Settings: func() gate.Settings { return gate.Settings{} }, Clock: w.Clock, Log: log, Refuse: people.Refuse})
	w.site, err = web.New(web.Options{
		Console: w.Console, Access: w.access, Gate: g, OIDC: oidc.New(oidc.Options{Settings: func() oidc.Settings { return oidc.Settings{} }, Clock: w.Clock}),
		Label: func() string { return "" }, ConfigPath: w.config(), StateDir: w.StateDir, Effective: func() (*edit.Config, error) { return w.Config, nil }, Version: "test", Clock: w.Clock, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.api = api.New(api.Options{Console: w.Console, Gate: g, Version: "test", Clock: w.Clock, Log: log})
	mux := http.NewServeMux()
	mux.Handle("/api/", w.api.Handler())
	mux.Handle("/", w.site)
	w.handler = g.Wrap(mux)
	return w
}

// route is a page's or the API's.
type route struct {
	Method, Pattern string
	Need            gate.Need
	Action          string
	api             bool
}

func (r route) String() string { return r.Method + " " + r.Pattern }

// changes says whether a route may change something.
func (r route) changes() bool { return r.Method != http.MethodGet }

// routes are all that the console answers.
func (w *world) routes() []route {
	var all []route
	for _, r := range w.site.Routes() {
		all = append(all, route{Method: r.Method, Pattern: r.Pattern, Need: r.Need, Action: r.Action})
	}
	for _, o := range w.api.Operations() {
		all = append(all, route{Method: o.Method, Pattern: o.Path, Need: o.Need, Action: o.Action, api: true})
	}
	return all
}

// asker is somebody who asks, in one of the ways in which one can.
type asker struct {
	name   string
	user   string
	role   access.Role
	fresh  bool // a session that has just begun, or a token
	token  bool
	cookie string
	bearer string
	wrong  bool // a token that is none: it is refused everywhere
}

// known says whether the console knows who it is.
func (a *asker) known() bool { return a.role != access.Anyone }

// begin begins a session of somebody of a role, without the cost of a password.
func (w *world) begin(t *testing.T, user string, role access.Role) (cookie string, who access.Identity) {
	t.Helper()
	secret, who, err := w.access.Enter(t.Context(), "https://login.example", user, user, role, access.Credentials{Address: netip.MustParseAddr("127.0.0.1")}, access.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return secret.Reveal(), who
}

// session is somebody who is logged in. What others did to the session meanwhile
// is made good.
func (w *world) session(t *testing.T, role access.Role, fresh bool) *asker {
	t.Helper()
	name := string(role) + " with an old password"
	user := "old-" + string(role)
	if fresh {
		name, user = string(role)+" with a fresh password", "new-"+string(role)
	}
	a := w.askers[name]
	if a != nil {
		who, err := w.access.BySession(t.Context(), core.NewSecret(a.cookie), access.Limits{})
		if err == nil && who.Role == role && who.Fresh(w.Clock.Now()) == fresh {
			return a
		}
	}
	a = &asker{name: name, user: user, role: role, fresh: fresh}
	if a.cookie, _ = w.begin(t, user, role); !fresh {
		w.Clock.Pass(access.FreshFor + time.Second)
	}
	w.askers[name] = a
	return a
}

// token is a script with a token of a role.
func (w *world) token(t *testing.T, role access.Role) *asker {
	t.Helper()
	name := "token of " + string(role)
	if a := w.askers[name]; a != nil {
		if _, err := w.access.ByToken(t.Context(), core.NewSecret(a.bearer), netip.MustParseAddr("127.0.0.1")); err == nil {
			return a
		}
	}
	user := "script-of-" + string(role)
	w.begin(t, user, access.Admin) // a token has less than its user
	secret, _, err := w.access.AddToken(t.Context(), user, "script", role, 0)
	if err != nil {
		t.Fatal(err)
	}
	a := &asker{name: name, user: user, role: role, fresh: true, token: true, bearer: secret.Reveal()}
	w.askers[name] = a
	return a
}

// strangers are those whom the console must not know.
func (w *world) strangers(t *testing.T) []*asker {
	t.Helper()
	if a := w.askers["nobody"]; a == nil {
		w.askers["nobody"] = &asker{name: "nobody"}
		w.session(t, access.Admin, true) // one must remain

		cookie, _ := w.begin(t, "disabled", access.Admin)
		off := true
		if _, err := w.access.ChangeUser(t.Context(), "disabled", access.Change{Disabled: &off}); err != nil {
			t.Fatal(err)
		}
		w.askers["disabled"] = &asker{name: "the session of a disabled admin", cookie: cookie}

		cookie, who := w.begin(t, "ended", access.Admin)
		if err := w.access.Logout(t.Context(), who.User.ID, who.Session.ID, 0); err != nil {
			t.Fatal(err)
		}
		w.askers["ended"] = &asker{name: "a session that was ended", cookie: cookie}

		last := "A"
		if strings.HasSuffix(w.session(t, access.Admin, true).cookie, last) {
			last = "B"
		}
		whole := w.session(t, access.Admin, true).cookie
		w.askers["mangled"] = &asker{name: "another's cookie with another letter", cookie: whole[:len(whole)-1] + last}
		w.askers["cut"] = &asker{name: "another's cookie cut short", cookie: whole[:len(whole)-1]}

		secret, token, err := w.access.AddToken(t.Context(), "new-admin", "removed", access.Admin, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.access.RemoveToken(t.Context(), "new-admin", token.ID); err != nil {
			t.Fatal(err)
		}
		w.askers["removed"] = &asker{name: "a token that was removed", bearer: secret.Reveal(), wrong: true}
	}
	var all []*asker
	for _, name := range []string{"nobody", "disabled", "ended", "mangled", "cut", "removed"} {
		all = append(all, w.askers[name])
	}
	return all
}

// everybody asks in every way.
func (w *world) everybody(t *testing.T) []*asker {
	t.Helper()
	all := w.strangers(t)
	for _, role := range access.Roles() {
		w.session(t, role, false) // the time that this takes is not that of the others
	}
	for _, role := range access.Roles() {
		all = append(all, w.session(t, role, false), w.session(t, role, true), w.token(t, role))
	}
	return all
}

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   []byte
	broken bool // it was broken off
}

// request is one to be made.
type request struct {
	method, target string
	body           string
	kind           string // its Content-Type
	header         http.Header
}

// ask makes a request as somebody.
func (w *world) ask(t *testing.T, who *asker, q request) (a answer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, "GET", "http://127.0.0.1:8484/", strings.NewReader(q.body))
	r.Method, r.RemoteAddr, r.RequestURI = q.method, "127.0.0.1:40000", q.target
	if u, err := url.ParseRequestURI(q.target); err == nil {
		r.URL = u
	} else {
		path, query, _ := strings.Cut(q.target, "?")
		r.URL = &url.URL{Path: path, RawQuery: query}
	}
	if q.kind != "" {
		r.Header.Set("Content-Type", q.kind)
	}
	for name, values := range q.header {
		r.Header[name] = values
	}
	if who.bearer != "" {
		r.Header.Set("Authorization", "Bearer "+who.bearer)
	}
	if who.cookie != "" {
		r.AddCookie(&http.Cookie{Name: "backstay", Value: who.cookie})
	}
	out := httptest.NewRecorder()
	func() {
		defer func() {
			if p := recover(); p != nil {
				a.broken = true
				if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
					t.Errorf("%s %.200s: panic that the gate let through: %v", q.method, q.target, p)
				}
			}
		}()
		w.handler.ServeHTTP(out, r)
	}()
	a.status, a.header, a.body = out.Code, out.Result().Header, out.Body.Bytes()
	return a
}

// values are of things that there are, by the names that patterns have for them.
type values map[string]string

// things sees to it that there is one of everything that a path can name.
func (w *world) things(t *testing.T) values {
	t.Helper()
	ctx := t.Context()
	found, err := w.Console.Backups(ctx, console.BackupQuery{App: "helpdesk"})
	if err != nil {
		t.Fatal(err)
	}
	v := values{"app": "helpdesk", "name": "somebody"}
	for _, b := range found.Backups {
		if !b.Pinned {
			v["backup"] = b.ID
			break
		}
	}
	if v["backup"] == "" || len(found.Backups) < 2 {
		w.made++
		v["backup"] = w.AddBackup(t, "helpdesk", time.Duration(w.made)*time.Minute, consoletest.Uploads(), consoletest.Tables(3))
		w.note(t)
	}
	on := false
	if _, err := w.access.ChangeUser(ctx, "somebody", access.Change{Disabled: &on}); err != nil && !errors.Is(err, access.ErrNoSuchUser) {
		t.Fatal(err)
	}
	w.begin(t, "somebody", access.Viewer)
	run, err := w.State.BeginRun(ctx, core.Run{App: "helpdesk", Kind: core.RunBackup, Trigger: "manual", Started: w.Clock.Now(), By: "somebody else"})
	if err != nil {
		t.Fatal(err)
	}
	w.Finish(t, run, core.OutcomeOK, "", "", `{"schema":1}`)
	v["run"] = strconv.FormatInt(run, 10)
	folder := filepath.Join(w.StateDir, "console", "downloads", v["run"])
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "helpdesk.backstay"), []byte("archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	uploads, err := w.Console.Uploads(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(uploads) == 0 {
		u, err := w.Console.BeginUpload(ctx, "archive.sql", 10, console.Who{By: "somebody else", Via: "api"})
		if err != nil {
			t.Fatal(err)
		}
		uploads = append(uploads, u)
	}
	v["upload"] = uploads[0].ID
	return v
}

// note has the console see what was put into the repository behind its back.
func (w *world) note(t *testing.T) {
	t.Helper()
	run, err := w.State.BeginRun(t.Context(), core.Run{App: "helpdesk", Kind: core.RunBackup, Trigger: "manual", Started: w.Clock.Now()})
	if err != nil {
		t.Fatal(err)
	}
	w.Finish(t, run, core.OutcomeOK, "", "", "")
	w.Clock.Pass(10 * time.Minute)
	if _, err := w.Console.Backups(t.Context(), console.BackupQuery{}); err != nil {
		t.Fatal(err)
	}
}

var inBraces = regexp.MustCompile(`\{([^}]*)\}`)

// named are the names of a pattern's values.
func named(pattern string) (names []string) {
	for _, m := range inBraces.FindAllStringSubmatch(pattern, -1) {
		if m[1] != "$" {
			names = append(names, m[1])
		}
	}
	return names
}

// valueOf is what stands for a name in a pattern: id is of what the path is about.
func (v values) valueOf(pattern, name string) string {
	switch {
	case name == "id" && strings.Contains(pattern, "/runs/"):
		name = "run"
	case name == "id" && strings.Contains(pattern, "/uploads/"):
		name = "upload"
	case name == "id" && strings.HasPrefix(pattern, "/versions/"):
		name = "version"
	case name == "id":
		name = "backup"
	case name == "scope":
		return "helpdesk"
	case name == "section":
		return "schedule"
	case name == "name" && strings.Contains(pattern, "/downloads/"):
		return "helpdesk.backstay"
	case name == "path..." && strings.Contains(pattern, "/download/"):
		return "files/uploads/a.txt"
	case name == "path...":
		return "files/uploads"
	}
	if value, ok := v[name]; ok {
		return value
	}
	return "1"
}

// fill makes a path of a pattern. instead replaces values, which are as they are sent.
func (v values) fill(pattern string, instead values) string {
	return inBraces.ReplaceAllStringFunc(strings.TrimSuffix(pattern, "{$}"), func(s string) string {
		name := strings.Trim(s, "{}")
		if value, ok := instead[name]; ok {
			return value
		}
		return v.valueOf(pattern, name)
	})
}

// queryOf is what a route cannot do without.
func (v values) queryOf(r route) string {
	switch r.Pattern {
	case "/api/v1/backups/{id}/content":
		return "?path=files%2Fuploads%2Fa.txt"
	case "/api/v1/backups/{id}/compare":
		return "?former=" + url.QueryEscape(v["backup"])
	case "/backups/compare":
		return "?backup=" + url.QueryEscape(v["backup"]) + "&former=" + url.QueryEscape(v["backup"])
	case "/apps/{app}/restore":
		return "?backup=" + url.QueryEscape(v["backup"])
	}
	return ""
}

// snapshot is everything that a request that is refused must leave as it is.
func (w *world) snapshot(t *testing.T) string {
	t.Helper()
	ctx := t.Context()
	var out strings.Builder
	add := func(what string, value any, err error) {
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s %s\n", what, text)
	}
	var launched []string
	for _, l := range w.Launcher.Launched() {
		launched = append(launched, fmt.Sprint(l.Kind, l.App, l.Backup, l.Args, l.By))
	}
	add("launched", launched, nil)
	add("cancelled", w.Launcher.Cancelled(), nil)
	records, err := w.Store.List(ctx)
	add("backups", records, err)
	users, err := w.access.Users(ctx)
	for i := range users {
		sessions, err := w.access.Sessions(ctx, users[i].ID)
		add("sessions of "+users[i].Name, len(sessions), err)
	}
	add("users", users, err)
	tokens, err := w.access.Tokens(ctx, "")
	for i := range tokens {
		tokens[i].Used = nil
	}
	add("tokens", tokens, err)
	config, err := os.ReadFile(w.config())
	add("config", string(config), err)
	facts, err := w.State.Facts(ctx, "")
	add("facts", facts, err)
	err = filepath.WalkDir(filepath.Join(w.StateDir, "console"), func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(p)
		fmt.Fprintf(&out, "file %s %x\n", p, sha256.Sum256(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func (w *world) config() string { return filepath.Join(filepath.Dir(w.StateDir), "backstay.yaml") }

// lastAudited is the number of the newest entry of the audit log.
func (w *world) lastAudited(t *testing.T) int64 {
	t.Helper()
	found, err := w.Console.Audit(t.Context(), console.AuditQuery{Page: console.Page{Limit: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		return 0
	}
	return found[0].ID
}

// auditedSince are the newest entries after one, the newest first.
func (w *world) auditedSince(t *testing.T, last int64) (entries []core.Audited) {
	t.Helper()
	found, err := w.Console.Audit(t.Context(), console.AuditQuery{Page: console.Page{Limit: 5}})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range found {
		if e.ID > last {
			entries = append(entries, e)
		}
	}
	return entries
}

// securityHeaders are on every answer.
func securityHeaders(t *testing.T, what string, a answer) {
	t.Helper()
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin",
		"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Permissions-Policy": "camera=()", "X-Request-Id": "",
	} {
		got, ok := a.header[http.CanonicalHeaderKey(name)]
		if !ok || len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%s: %s is %q", what, name, got)
		}
	}
	if policy := a.header.Get("Content-Security-Policy"); strings.Contains(policy, "unsafe") {
		t.Errorf("%s: policy %s", what, policy)
	}
	if a.header.Get("Cache-Control") == "" {
		t.Errorf("%s: it says nothing of caches", what)
	}
}
