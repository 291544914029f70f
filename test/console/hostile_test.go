package console

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/access"
)

const script = `"'><script>alert(1)</script>`

// hostile are values that nobody means well with.
func hostile() map[string]string {
	return map[string]string{
		"empty": "", "space": " ", "NUL": "a\x00b", "line ends": "a\r\nSet-Cookie: x=y", "traversal": "../../../../etc/passwd", "escaped traversal": "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
		"absolute": "/etc/passwd", "script": script, "attribute": `" onmouseover="alert(1)`, "template": "{{.}}{{printf}}", "long number": strings.Repeat("9", 400),
		"negative": "-1", "lowest": "-9223372036854775808", "float": "1e400", "bidi": "a\u202egpj.exe\u2066", "invalid UTF-8": "a\xff\xfeb", "elsewhere": "https://evil.example/",
		"no scheme": "//evil.example/", "backslash": `/\evil.example/`, "tab": "/\t/evil.example/", "code": "javascript:alert(1)", "flag": "--config=/etc/passwd", "percent": "%zz%", "dots": "..", "long": strings.Repeat("x", 20_000),
	}
}

// harmless says whether an answer does no harm: it says what is wrong, or does
// what was asked, and carries nothing of what was sent as markup.
func (w *world) harmless(t *testing.T, what string, a answer) {
	t.Helper()
	if a.status >= 500 || a.status < 200 || a.broken {
		t.Errorf("%s: %d (broken off: %v): %.600s", what, a.status, a.broken, mainOf(a.body))
	}
	if text := w.log.take(); text != "" {
		t.Errorf("%s: errors were logged: %.1000s", what, text)
	}
	securityHeaders(t, what, a)
	kind := a.header.Get("Content-Type")
	if strings.HasPrefix(kind, "text/html") {
		page := string(a.body)
		for _, raw := range []string{"<script>alert", `" onmouseover="alert`, "<img src=x", `href="javascript:`, `href="//evil`, `href="https://evil`, `href="/\evil`} {
			if strings.Contains(page, raw) {
				t.Errorf("%s: the page has %s as it was sent", what, raw)
			}
		}
		if strings.Contains(page, "#ZgotmplZ") {
			t.Errorf("%s: something on the page could not be escaped", what)
		}
	} else if len(a.body) > 0 && !strings.HasPrefix(kind, "application/") && !strings.HasPrefix(kind, "text/event-stream") && a.status != http.StatusSeeOther {
		t.Errorf("%s: the answer is %q", what, kind)
	}
	for _, location := range a.header.Values("Location") {
		u, err := url.Parse(location)
		if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(location, "/") || strings.HasPrefix(location, "//") || strings.ContainsAny(location, "\\\t\r\n\x00") {
			t.Errorf("%s: it sends the browser to %q", what, location)
		}
	}
	if strings.Contains(string(a.body), "root:x:0:0") {
		t.Errorf("%s: it shows a file of the machine", what)
	}
	if slices.Contains(a.header.Values("Set-Cookie"), "x=y") {
		t.Errorf("%s: a cookie was smuggled in", what)
	}
}

// hostileWorld is one whose admin may do everything, with what paths name.
func hostileWorld(t *testing.T) (*world, values) {
	t.Helper()
	w := newWorld(t, nil)
	w.everybody(t)
	return w, w.things(t)
}

func TestHostilePaths(t *testing.T) {
	w, v := hostileWorld(t)
	for _, r := range w.routes() {
		for _, name := range named(r.Pattern) {
			for _, kind := range slices.Sorted(maps.Keys(hostile())) {
				value := hostile()[kind]
				for _, sent := range []string{url.PathEscape(value), value} { // as a browser sends it, and as a person with netcat does
					body, contentType := v.body(r)
					target := v.fill(r.Pattern, values{name: sent}) + v.queryOf(r)
					what := fmt.Sprintf("%s with %s as %s", r, kind, name)
					w.harmless(t, what, w.ask(t, w.session(t, access.Admin, true), request{method: r.Method, target: target, body: body, kind: contentType}))
				}
			}
		}
	}
	// One that names nothing is not all that there is.
	for _, l := range w.Launcher.Launched() {
		for _, arg := range l.Args {
			if strings.HasPrefix(arg, "--config") || strings.Contains(arg, "..") {
				t.Errorf("a command was begun with %q", l.Args)
			}
		}
	}
}

var asked = regexp.MustCompile(`q\.(?:Field|Fields|Secret|PostForm\.Get|Form\.Get)\("([^"]+)"\)|newForm\(q, ("[^)]+)\)`)

var inQuotes = regexp.MustCompile(`"([^"]+)"|name="([a-z_]+)"`)

// fieldsOf are the names of all form fields and query values that the pages ask for.
func fieldsOf(t *testing.T) []string {
	t.Helper()
	found := map[string]bool{}
	for _, pattern := range []string{"../../internal/web/pages/*/*.go", "../../internal/web/page/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range asked.FindAllStringSubmatch(string(text), -1) {
				if m[1] != "" {
					found[m[1]] = true
				}
				for _, name := range inQuotes.FindAllStringSubmatch(m[2], -1) {
					found[name[1]] = true
				}
			}
		}
	}
	templates, err := filepath.Glob("../../internal/web/pages/*/templates/*.html")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`name="([a-z_]+)"`)
	for _, file := range templates {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			found[m[1]] = true
		}
	}
	if len(found) < 20 {
		t.Fatalf("there are %d fields: the search for them no longer finds them", len(found))
	}
	return slices.Sorted(maps.Keys(found))
}

// TestHostileForms sends each value in every field at once, and in each field of
// a form that is right otherwise.
func TestHostileForms(t *testing.T) {
	w, v := hostileWorld(t)
	all := fieldsOf(t)
	for _, r := range w.routes() {
		if r.api {
			continue
		}
		if r.Pattern == "/login" || r.Pattern == "/setup" || r.Pattern == "/account/password" || r.Pattern == "/users/{name}/password" {
			continue // each costs a password's computation: see TestHostileLogins
		}
		right := v.fields()[r.String()]
		for _, kind := range slices.Sorted(maps.Keys(hostile())) {
			value := hostile()[kind]
			send := func(what string, fields url.Values) {
				q := request{method: r.Method, target: v.fill(r.Pattern, nil)}
				if r.changes() {
					q.body, q.kind = fields.Encode(), formType
				} else {
					q.target += "?" + fields.Encode()
				}
				w.harmless(t, fmt.Sprintf("%s with %s %s", r, kind, what), w.ask(t, w.session(t, access.Admin, true), q))
			}
			everywhere := url.Values{}
			for _, name := range all {
				everywhere.Add(name, value)
				everywhere.Add(name, value) // twice
			}
			send("everywhere", everywhere)
			for i := 0; i < len(right); i += 2 {
				fields := url.Values{}
				for j := 0; j < len(right); j += 2 {
					fields.Add(right[j], right[j+1])
				}
				fields.Set(right[i], value)
				send("as "+right[i], fields)
			}
		}
	}
}

// TestHostileBodies sends what is no form, to every route.
func TestHostileBodies(t *testing.T) {
	w, v := hostileWorld(t)
	big := strings.Repeat("x", 5<<20)
	deep := strings.Repeat(`{"only":[`, 20_000)
	for _, r := range w.routes() {
		if !r.changes() {
			continue
		}
		for _, c := range []struct{ what, kind, body string }{
			{"a large field", formType, "note=" + big}, {"many fields", formType, strings.Repeat("a=b&", 100_000)}, {"broken escapes", formType, "note=%zz&%=%"},
			{"semicolons", formType, "a;b=c;;"}, {"JSON for a form", "application/json", `{"confirm":"helpdesk"}`}, {"no type", "", "confirm=helpdesk"}, {"no such type", "nonsense/;;", "x"},
			{"multipart without a boundary", "multipart/form-data", "x"}, {"multipart cut short", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"../../x\"\r\n\r\nabc"},
			{"multipart of nonsense", "multipart/form-data; boundary=b", "--b\r\n\x00\xff\r\n--b--"}, {"multipart with a hostile name", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"<script>alert(1)</script>\"\r\n\r\nabc\r\n--b--\r\n"},
			{"deep JSON", "application/json", deep}, {"deep lists", "application/json", strings.Repeat("[", 60_000)}, {"half JSON", "application/json", `{"backup":`}, {"JSON of another kind", "application/json", `[1,"a",null]`},
			{"twice", "application/json", `{"confirm":"x","confirm":"helpdesk","backup":"a","backup":"b"}`}, {"invalid UTF-8", "application/json", "{\"note\":\"\xff\xfe\"}"}, {"null", "application/json", "null"}, {"a huge number", "application/json", `{"size":1e999,"name":"x"}`},
		} {
			q := request{method: r.Method, target: v.fill(r.Pattern, nil), body: c.body, kind: c.kind}
			w.harmless(t, fmt.Sprintf("%s with %s", r, c.what), w.ask(t, w.session(t, access.Admin, true), q))
		}
	}
}

// described is the part of the API's description that says what operations take.
type described struct {
	Paths map[string]map[string]struct {
		Parameters  []struct{ Name, In string }
		RequestBody struct {
			Content map[string]struct{ Schema ref }
		}
	}
	Components struct {
		Schemas map[string]struct{ Properties map[string]any }
	}
}

type ref struct {
	Ref string `json:"$ref"`
}

// TestHostileCalls takes each parameter and each property from the description
// that the API gives of itself.
func TestHostileCalls(t *testing.T) {
	w, v := hostileWorld(t)
	var d described
	text := w.ask(t, w.token(t, access.Viewer), request{method: "GET", target: "/api/v1/openapi.json"})
	if err := json.Unmarshal(text.body, &d); err != nil || len(d.Paths) < 20 {
		t.Fatalf("%d paths: %v", len(d.Paths), err)
	}
	values := []any{nil, "", true, -1, 0, 1.5, 1e300, []any{}, map[string]any{}, []any{nil, 1, map[string]any{"a": []any{}}}, []string{"", "\x00", "--force", "../.."}, map[string]any{"a": 1}}
	for _, kind := range slices.Sorted(maps.Keys(hostile())) {
		values = append(values, hostile()[kind], []string{hostile()[kind]})
	}
	tried := 0
	for _, r := range w.routes() {
		if !r.api {
			continue
		}
		op := d.Paths[strings.TrimPrefix(r.Pattern, "/api/v1")][strings.ToLower(r.Method)]
		body, kind := v.body(r)
		for _, p := range op.Parameters {
			for _, name := range slices.Sorted(maps.Keys(hostile())) {
				value := hostile()[name]
				q := request{method: r.Method, target: v.fill(r.Pattern, nil) + v.queryOf(r), body: body, kind: kind, header: http.Header{}}
				switch p.In {
				case "query":
					q.target = v.fill(r.Pattern, nil) + "?" + url.Values{p.Name: {value}}.Encode()
				case "header":
					q.header.Set(p.Name, value)
				default:
					continue // TestHostilePaths
				}
				tried++
				w.harmless(t, fmt.Sprintf("%s with %s in %s %s", r, name, p.In, p.Name), w.ask(t, w.session(t, access.Admin, true), q))
			}
		}
		if len(op.RequestBody.Content) == 0 || r.Method == http.MethodPatch {
			continue
		}
		schema := strings.TrimPrefix(op.RequestBody.Content["application/json"].Schema.Ref, "#/components/schemas/")
		for _, property := range slices.Sorted(maps.Keys(d.Components.Schemas[schema].Properties)) {
			for _, value := range values {
				object := maps.Clone(v.objects()[r.String()])
				if object == nil {
					object = map[string]any{}
				}
				object[property] = value
				text, err := json.Marshal(object)
				if err != nil {
					t.Fatal(err)
				}
				tried++
				got := w.ask(t, w.session(t, access.Admin, true), request{method: r.Method, target: v.fill(r.Pattern, nil), body: string(text), kind: "application/json"})
				w.harmless(t, fmt.Sprintf("%s with %s = %.60v", r, property, value), got)
			}
		}
	}
	if tried < 500 {
		t.Errorf("only %d calls were tried", tried)
	}
}

// TestHostileLogins tries the forms whose answers cost a password's computation,
// few times.
func TestHostileLogins(t *testing.T) {
	w := newWorld(t, nil)
	for _, target := range []string{"/login", "/setup"} {
		for _, kind := range slices.Sorted(maps.Keys(hostile())) {
			value := hostile()[kind]
			for _, fields := range []string{
				form("name", value, "next", value), form("name", value, "password", "", "next", value), form("name", "", "password", value, "pass", value, "code", value), form("key", value, "name", value, "password", "short", "again", "other"),
			} {
				w.harmless(t, fmt.Sprintf("POST %s with %s", target, kind), w.ask(t, &asker{}, request{method: "POST", target: target, body: fields, kind: formType}))
			}
			w.harmless(t, fmt.Sprintf("GET %s with %s", target, kind), w.ask(t, &asker{}, request{method: "GET", target: target + "?" + form("next", value, "key", value)}))
		}
	}
	for _, kind := range []string{"script", "NUL", "long", "invalid UTF-8"} {
		value := hostile()[kind]
		w.harmless(t, "a login with "+kind, w.ask(t, &asker{}, request{method: "POST", target: "/login", body: form("name", value, "password", value, "next", "//evil.example"), kind: formType}))
	}
}

// TestHostileHeaders: what a browser never sends.
func TestHostileHeaders(t *testing.T) {
	w, v := hostileWorld(t)
	for _, kind := range slices.Sorted(maps.Keys(hostile())) {
		value := hostile()[kind]
		for _, name := range []string{"Accept-Language", "Referer", "User-Agent", "Cookie", "Range", "If-Range", "If-None-Match", "If-Modified-Since", "Accept", "Accept-Encoding", "X-Http-Method-Override", "Last-Event-Id", "Authorization"} {
			for _, target := range []string{"GET /account", "POST /display", "GET /nowhere", "GET /api/v1/backups", "GET /api/v1/backups/" + v["backup"] + "/content?path=files/uploads/a.txt", "GET /api/v1/runs/" + v["run"] + "/events"} {
				method, path, _ := strings.Cut(target, " ")
				q := request{method: method, target: path, header: http.Header{name: {value}}}
				if method == "POST" {
					q.body, q.kind = "theme=dark", formType
				}
				w.harmless(t, fmt.Sprintf("%s with %s in %s", target, kind, name), w.ask(t, w.session(t, access.Admin, true), q))
			}
		}
	}
}
