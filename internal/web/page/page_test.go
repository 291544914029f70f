package page

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
)

// world is a site behind its gate, asked over a network.
type world struct {
	t       *testing.T
	url     string
	clock   *clock
	cookies map[access.Role]*http.Cookie
	log     bytes.Buffer
	noted   []string
}

type clock struct{ ahead time.Duration }

func (c *clock) Now() time.Time { return time.Now().Add(c.ahead) }

func newWorld(t *testing.T, base string, pages ...Pages) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{}, cookies: map[access.Role]*http.Cookie{}}
	store, err := access.Open(t.Context(), t.TempDir(), w.clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	external, err := url.Parse("http://127.0.0.1" + base)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(&w.log, nil))
	settings := func() gate.Settings {
		if base == "" {
			return gate.Settings{}
		}
		return gate.Settings{External: external}
	}
	g := gate.New(gate.Options{Store: store, Settings: settings, Clock: w.clock, Log: log})
	site, err := New(Options{Gate: g, Pages: pages, Version: "1.2.3", Clock: w.clock, Log: log,
		Audit: func(q *Request, action, object, outcome, detail string) {
			w.noted = append(w.noted, fmt.Sprintf("%s: %s %s: %s %s", q.Who.User.Name, action, object, outcome, detail))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(g.Wrap(site))
	t.Cleanup(server.Close)
	w.url = server.URL + base
	secret := core.NewSecret("seven ships on the sea")
	for _, role := range access.Roles() {
		if _, err := store.AddUser(t.Context(), string(role), role, secret); err != nil {
			t.Fatal(err)
		}
		cookie, _, err := store.Login(t.Context(), access.Credentials{Name: string(role), Password: secret, Address: netip.MustParseAddr("127.0.0.1")}, access.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		w.cookies[role] = &http.Cookie{Name: "backstay", Value: cookie.Reveal()}
	}
	return w
}

// answer is what came back.
type answer struct {
	*http.Response
	body string
}

// ask sends a request as somebody of a role; headers are "Name: value".
func (w *world) ask(role access.Role, method, path, form string, headers ...string) answer {
	w.t.Helper()
	got, err := w.try(role, method, path, form, headers...)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	return got
}

func (w *world) try(role access.Role, method, path, form string, headers ...string) (answer, error) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(form))
	if err != nil {
		w.t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	if cookie := w.cookies[role]; cookie != nil {
		r.AddCookie(cookie)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(response.Body)
	if closed := response.Body.Close(); closed != nil {
		w.t.Error(closed)
	}
	return answer{response, string(body)}, err
}

func (w *world) holds(a answer, status int, parts ...string) {
	w.t.Helper()
	if a.StatusCode != status {
		w.t.Errorf("%s answers %d, want %d:\n%s", a.Request.URL, a.StatusCode, status, a.body)
	}
	for _, part := range parts {
		if !strings.Contains(a.body, part) {
			w.t.Errorf("%s does not have %q:\n%s", a.Request.URL, part, a.body)
		}
	}
}

func templates(content string) fstest.MapFS {
	return fstest.MapFS{
		"a.html":     {Data: []byte(`{{define "title"}}A{{end}}{{define "content"}}` + content + `{{end}}`)},
		"parts.html": {Data: []byte(`{{define "shared"}}[shared {{.}}]{{end}}`)},
	}
}

func shows(data any) func(q *Request) error {
	return func(q *Request) error { return q.Render("a.html", data) }
}

var viewer = gate.Need{Role: access.Viewer}

func TestMistakesAreFoundAtTheStart(t *testing.T) {
	route := func(method, pattern string) Route {
		return Route{Method: method, Pattern: pattern, Handle: shows(nil)}
	}
	for name, c := range map[string]struct {
		pages []Pages
		want  string
	}{
		"method":        {[]Pages{{Routes: []Route{route("PUT", "/a")}}}, "GET and POST only"},
		"no slash":      {[]Pages{{Routes: []Route{route("GET", "a")}}}, "does not begin with a slash"},
		"subtree":       {[]Pages{{Routes: []Route{route("GET", "/a/")}}}, "ends with a slash"},
		"no handle":     {[]Pages{{Routes: []Route{{Method: "GET", Pattern: "/a"}}}}, "no Handle"},
		"twice":         {[]Pages{{Routes: []Route{route("GET", "/a")}}, {Routes: []Route{route("GET", "/a")}}}, "add the route GET /a"},
		"same by name":  {[]Pages{{Routes: []Route{route("GET", "/a/{b}"), route("GET", "/a/{c}")}}}, "add the route GET /a/{c}"},
		"syntax":        {[]Pages{{Templates: templates(`{{if}}`)}}, "missing value for if"},
		"no function":   {[]Pages{{Templates: templates(`{{frobnicate}}`)}}, "frobnicate"},
		"no template":   {[]Pages{{Templates: templates(`{{template "nowhere"}}`)}}, "nowhere"},
		"unsafe":        {[]Pages{{Templates: templates(`<a href={{if true}}"x{{end}}>`)}}, "a.html"},
		"without title": {[]Pages{{Templates: fstest.MapFS{"b.html": {Data: []byte(`{{define "content"}}{{end}}`)}}}}, "no \"title\""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(Options{Pages: c.pages})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("New: %v, want %q", err, c.want)
			}
		})
	}
}

func TestPageHasLayoutAndEscapes(t *testing.T) {
	at := time.Date(2026, 11, 23, 13, 5, 0, 0, time.UTC)
	w := newWorld(t, "/sub", Pages{
		Routes:    []Route{{Method: "GET", Pattern: "/apps/{app}", Need: viewer, Handle: shows(map[string]any{"Text": `<script>"x"</script>`, "Size": int64(1_310_000_000), "At": &at, "No": (*time.Time)(nil)})}},
		Templates: templates(`<p title="{{.Text}}">{{.Text}}</p>{{template "shared" 1}} <a href="{{path "/runs/{id}?x={y}" 7 "a&b"}}">{{size .Size}}</a> {{time .At}} {{ago .No}}{{if may "admin"}}ADMIN{{end}}`),
	})
	got := w.ask(access.Viewer, "GET", "/apps/helpdesk", "", "Accept-Language: de")
	w.holds(got, 200, `<html lang="de" data-base="/sub">`, `<title>A - backstay</title>`, `&lt;script&gt;`, `[shared 1]`, `href="/sub/runs/7?x=a%26b"`,
		`<span class="size" title="1.310.000.000 B">1,3 GB</span>`, `<time datetime="2026-11-23T13:05:00Z"`, `<span class="muted">nie</span>`, `href="/sub/assets/app.`, `action="/sub/logout"`)
	if strings.Contains(got.body, "ADMIN") || strings.Contains(got.body, "<script>") {
		t.Errorf("it has what it must not have:\n%s", got.body)
	}
	if head := w.ask(access.Viewer, "HEAD", "/apps/helpdesk", "", "Accept-Language: de"); head.StatusCode != 200 || head.body != "" || head.Header.Get("Content-Length") == "0" {
		t.Errorf("HEAD answers %d, %q", head.StatusCode, head.body)
	}
}

func TestWhoMayNotIsToldWhatToDo(t *testing.T) {
	did := 0
	do := func(q *Request) error { did++; return q.Go("/") }
	w := newWorld(t, "/sub", Pages{Routes: []Route{
		{Method: "GET", Pattern: "/admin", Need: gate.Need{Role: access.Admin}, Handle: do},
		{Method: "POST", Pattern: "/apps/{app}/restore", Need: gate.Need{Role: access.Admin, Fresh: true}, Action: "restore", Handle: do},
	}})
	location := func(a answer, want string) {
		t.Helper()
		if got := a.Header.Get("Location"); a.StatusCode != 303 || got != want {
			t.Errorf("%s answers %d and leads to %q, want %q", a.Request.URL, a.StatusCode, got, want)
		}
	}
	location(w.ask(access.Anyone, "GET", "/admin?x=%2F", ""), "/sub/login?next="+url.QueryEscape("/admin?x=%2F"))
	from := "Referer: " + w.url + "/apps/helpdesk?step=2"
	location(w.ask(access.Anyone, "POST", "/apps/helpdesk/restore", "", from), "/sub/login?next="+url.QueryEscape("/apps/helpdesk?step=2"))
	w.holds(w.ask(access.Operator, "GET", "/admin", ""), 403, "You may not do this", "role “admin”")
	w.holds(w.ask(access.Operator, "POST", "/apps/helpdesk/restore", ""), 403)
	if did != 0 {
		t.Fatalf("%d were done", did)
	}
	location(w.ask(access.Admin, "POST", "/apps/helpdesk/restore", ""), "/sub/")
	w.clock.ahead = 6 * time.Minute
	location(w.ask(access.Admin, "POST", "/apps/helpdesk/restore", "", from), "/sub/prove?next="+url.QueryEscape("/apps/helpdesk?step=2"))
	location(w.ask(access.Admin, "POST", "/apps/helpdesk/restore", "", "Referer: https://elsewhere.example//evil.example/x"), "/sub/prove")
	if did != 1 {
		t.Errorf("%d were done, want 1", did)
	}
	want := []string{"operator: restore helpdesk: forbidden ", "admin: restore helpdesk: ok "}
	if strings.Join(w.noted, "\n") != strings.Join(want, "\n") {
		t.Errorf("noted: %q, want %q", w.noted, want)
	}
}

func TestErrorsAreShownWithTheirHint(t *testing.T) {
	var fails error
	w := newWorld(t, "", Pages{
		Routes: []Route{
			{Method: "POST", Pattern: "/do/{id}", Need: viewer, Action: "do", Handle: func(q *Request) error {
				q.Concerns("the <thing>")
				return fails
			}},
			{Method: "GET", Pattern: "/panic", Need: viewer, Handle: func(*Request) error { panic("a mistake") }},
			{Method: "GET", Pattern: "/half", Need: viewer, Patient: true, Handle: func(q *Request) error {
				q.Header().Set("Content-Length", "100")
				if _, err := q.Write([]byte("half of it")); err != nil {
					return err
				}
				return errors.New("the rest is lost")
			}},
			{Method: "GET", Pattern: "/broken", Need: viewer, Handle: shows(map[string]any{"X": map[string]any{"Y": 1}})},
			{Method: "POST", Pattern: "/again", Need: viewer, Action: "again", Handle: func(q *Request) error {
				return q.RenderStatus(422, "a.html", map[string]any{"X": map[string]any{"Y": 1}})
			}},
		},
		Templates: templates(`BEGIN {{.X.Y.Z}}`),
	})
	for _, c := range []struct {
		err    error
		status int
		parts  []string
	}{
		{&core.Error{Code: core.CodeNotFound, Op: "show", Message: "no such <backup>", Hint: "list them"}, 404, []string{"This was not found", "no such &lt;backup&gt;", "list them"}},
		{fmt.Errorf("do: %w", &core.Error{Code: core.CodeLocked, Message: "busy"}), 409, []string{"Another operation is under way", "busy"}},
		{&core.Error{Code: core.CodeDisk, Message: "disk full"}, 507, []string{"disk full", "Number of this error"}},
		{&core.Error{Message: "it did not work"}, 500, []string{"This did not work", "it did not work"}},
		{&access.RetryAfter{Wait: 30 * time.Second}, 429, []string{"Too many attempts"}},
		{access.ErrLastAdmin, 409, []string{"the last admin must remain"}},
		{errors.New("secret internals"), 500, []string{"Something went wrong here", "Number of this error"}},
		{context.DeadlineExceeded, 503, []string{"Something went wrong here"}},
	} {
		fails = c.err
		got := w.ask(access.Viewer, "POST", "/do/7", "")
		w.holds(got, c.status, c.parts...)
		if strings.Contains(got.body, "secret internals") {
			t.Errorf("internals are shown:\n%s", got.body)
		}
		if !errors.Is(c.err, access.ErrSlowDown) == (got.Header.Get("Retry-After") != "") {
			t.Errorf("%v: Retry-After is %q", c.err, got.Header.Get("Retry-After"))
		}
	}
	if !strings.Contains(w.log.String(), "secret internals") {
		t.Errorf("the log does not have the internals:\n%s", &w.log)
	}
	if len(w.noted) != 8 || w.noted[0] != "viewer: do the <thing>: not_found show: no such <backup>" {
		t.Errorf("noted: %q", w.noted)
	}
	w.holds(w.ask(access.Viewer, "GET", "/panic", ""), 500, "Something went wrong here")
	if got := w.ask(access.Viewer, "GET", "/broken", ""); got.StatusCode != 500 || strings.Contains(got.body, "BEGIN") {
		t.Errorf("a template that breaks: %d\n%s", got.StatusCode, got.body)
	}
	if got, err := w.try(access.Viewer, "GET", "/half", ""); err == nil {
		t.Errorf("half an answer looks whole: %q", got.body)
	}
	w.noted = nil
	if got := w.ask(access.Viewer, "POST", "/again", ""); got.StatusCode != 500 || len(w.noted) != 1 || !strings.HasPrefix(w.noted[0], "viewer: again : failed") {
		t.Errorf("%d, noted %q", got.StatusCode, w.noted)
	}
	w.holds(w.ask(access.Viewer, "GET", "/nowhere", ""), 404, "There is no such page")
	w.holds(w.ask(access.Viewer, "GET", "/do//7", ""), 404)
	w.holds(w.ask(access.Viewer, "GET", "/do/%2e%2e/7", ""), 404)
	if got := w.ask(access.Viewer, "GET", "/do/7", ""); got.StatusCode != 405 || got.Header.Get("Allow") != "POST" {
		t.Errorf("GET of a form: %d, Allow %q", got.StatusCode, got.Header.Get("Allow"))
	}
}

func TestForms(t *testing.T) {
	var field, next string
	var fields []string
	w := newWorld(t, "", Pages{Routes: []Route{
		{Method: "POST", Pattern: "/form", Need: viewer, Handle: func(q *Request) error {
			field, fields, next = q.Field("a"), q.Fields("b"), q.Next()
			q.Say("page.pager.range", 1, "<2>", 3)
			return q.Go("/page")
		}},
		{Method: "POST", Pattern: "/large", Need: viewer, Body: 3 << 20, Handle: func(q *Request) error { return q.Go("/") }},
		{Method: "POST", Pattern: "/stream", Need: viewer, Body: -1, Handle: func(q *Request) error {
			n, err := io.Copy(io.Discard, q.Body)
			if err != nil || n != 5<<20 {
				return fmt.Errorf("read %d: %w", n, err)
			}
			return q.Go("/")
		}},
		{Method: "GET", Pattern: "/page", Need: viewer, Handle: shows(nil)},
	}, Templates: templates("page")})

	got := w.ask(access.Viewer, "POST", "/form", "a=+x+&b=1&b=2&next=/apps/x")
	if got.StatusCode != 303 || field != "x" || len(fields) != 2 || next != "/apps/x" {
		t.Errorf("%d, %q, %q, %q", got.StatusCode, field, fields, next)
	}
	cookies := got.Cookies()
	if len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].MaxAge <= 0 {
		t.Fatalf("cookies: %v", cookies)
	}
	session := w.cookies[access.Viewer].Value
	note := cookies[0].Name + "=" + cookies[0].Value
	shown := w.ask(access.Anyone, "GET", "/page", "", "Cookie: backstay="+session+"; "+note)
	w.holds(shown, 200, "1 to &lt;2&gt; of 3")
	if back := shown.Cookies(); len(back) != 1 || back[0].MaxAge >= 0 {
		t.Errorf("the note is not taken back: %v", back)
	}
	forged := w.ask(access.Anyone, "GET", "/page", "", "Cookie: backstay="+session+"; "+cookies[0].Name+"="+strings.Repeat("A", 100))
	if strings.Contains(forged.body, `role="status"`) {
		t.Errorf("a note of nobody is shown:\n%s", forged.body)
	}
	for _, hostile := range []string{"//evil.example", "https://evil.example", "/\\evil.example", "/\tx", "javascript:x", "", "/{x}", "/" + strings.Repeat("a", 3000)} {
		if w.ask(access.Viewer, "POST", "/form", "next="+url.QueryEscape(hostile)); next != "/" {
			t.Errorf("next=%q leads to %q", hostile, next)
		}
	}
	w.holds(w.ask(access.Viewer, "POST", "/form", "a=%zz"), 400, "The form cannot be read")
	w.holds(w.ask(access.Viewer, "POST", "/form", "a=%00"), 400)
	w.holds(w.ask(access.Viewer, "POST", "/form", "a=%ff"), 400)
	w.holds(w.ask(access.Viewer, "POST", "/form", "x", "Content-Type: multipart/form-data; boundary=x"), 400)
	w.holds(w.ask(access.Viewer, "POST", "/form", "a="+strings.Repeat("x", 2<<20)), 413, "That is too large")
	w.holds(w.ask(access.Viewer, "POST", "/large", "a="+strings.Repeat("x", 2<<20)), 303)
	w.holds(w.ask(access.Viewer, "POST", "/stream", strings.Repeat("x", 5<<20)), 303)
	w.holds(w.ask(access.Viewer, "POST", "/form", "a=x", "Sec-Fetch-Site: cross-site"), 403)
}

func TestDisplayIsKept(t *testing.T) {
	w := newWorld(t, "", Pages{Routes: []Route{{Method: "GET", Pattern: "/", Handle: shows(nil)}}, Templates: templates("page")})
	got := w.ask(access.Anyone, "POST", "/display", "language=fr&theme=dark", "Referer: "+w.url+"/runs?x=1")
	if got.StatusCode != 303 || got.Header.Get("Location") != "/runs?x=1" || len(got.Cookies()) != 2 {
		t.Fatalf("%d, %v", got.StatusCode, got.Header)
	}
	var cookies []string
	for _, c := range got.Cookies() {
		cookies = append(cookies, c.Name+"="+c.Value)
	}
	w.holds(w.ask(access.Anyone, "GET", "/", "", "Cookie: "+strings.Join(cookies, "; ")), 200, `lang="fr"`, `data-theme="dark"`)
	w.holds(w.ask(access.Anyone, "POST", "/display", "language=xx"), 400)
	w.holds(w.ask(access.Anyone, "POST", "/display", "theme=pink"), 400)
}

func TestAssets(t *testing.T) {
	w := newWorld(t, "/sub")
	page := w.ask(access.Anyone, "GET", "/nowhere", "")
	_, rest, _ := strings.Cut(page.body, `href="/sub/assets/app.`)
	name, _, _ := strings.Cut(rest, `"`)
	plain := w.ask(access.Anyone, "GET", "/assets/app."+name, "", "Accept-Encoding: identity")
	w.holds(plain, 200, ":root")
	if plain.Header.Get("Content-Type") != "text/css; charset=utf-8" || !strings.Contains(plain.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("%v", plain.Header)
	}
	packed := w.ask(access.Anyone, "GET", "/assets/app."+name, "", "Accept-Encoding: br, gzip")
	if packed.Header.Get("Content-Encoding") != "gzip" || len(packed.body) >= len(plain.body) {
		t.Errorf("%d bytes, %v", len(packed.body), packed.Header)
	}
	if none := w.ask(access.Anyone, "GET", "/assets/app."+name, "", "Accept-Encoding: gzip;q=0"); none.body != plain.body {
		t.Error("gzip was not wanted")
	}
	w.holds(w.ask(access.Anyone, "GET", "/assets/../page.go", ""), 404)
	w.holds(w.ask(access.Anyone, "GET", "/assets/app.css", ""), 404)
}

func TestPagesAreWrittenAtOnce(t *testing.T) {
	w := newWorld(t, "", Pages{
		Routes: []Route{{Method: "GET", Pattern: "/{x}", Need: viewer, Handle: func(q *Request) error { return q.Render("a.html", q.PathValue("x")) }}}, Templates: templates("it is {{.}} on {{path `/`}}"),
	})
	failed := make(chan string, 8)
	for i := range 8 {
		go func() {
			for n := range 20 {
				text := fmt.Sprintf("p%d-%d", i, n)
				got, err := w.try(access.Viewer, "GET", "/"+text, "")
				if err != nil || !strings.Contains(got.body, "it is "+text+" on") {
					failed <- fmt.Sprintf("%s: %v\n%s", text, err, got.body)
					return
				}
			}
			failed <- ""
		}()
	}
	for range 8 {
		if problem := <-failed; problem != "" {
			t.Error(problem)
		}
	}
}
