package page

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/web/text"
)

//go:embed templates/*.html assets
var files embed.FS

// frame is the layout's dot.
type frame struct {
	Data      any
	Notes     []note
	Nav       []link
	Languages []*text.Language
	Home      string
	Here      string // the path that is shown
}

type link struct{ Path, Key string }

func (s *Site) render(q *Request, status int, name string, data any) error {
	return s.renderPart(q, status, name, "", data)
}

// renderPart writes the part of a page's file, or with "" the page in the layout.
func (s *Site) renderPart(q *Request, status int, name, part string, data any) error {
	sheet, ok := s.sheets[sheetName{q.part, name}]
	if !ok {
		return fmt.Errorf("render %s: there is no such page", name)
	}
	b, err := sheet.bind(s)
	if err != nil {
		return err
	}
	*b.request = *q
	var page bytes.Buffer
	if part == "" {
		err = b.template.ExecuteTemplate(&page, "layout", frame{
			Data: data, Notes: q.notes(), Nav: s.nav(q), Languages: text.Languages(),
			Home: q.Path("/"), Here: q.URL.Path,
		})
	} else {
		err = b.template.ExecuteTemplate(&page, part, data)
	}
	*b.request = Request{} // it must not outlive the request
	sheet.copies.Put(b)
	if err != nil {
		return fmt.Errorf("render %s: %w", name, err)
	}
	header := q.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(page.Len()))
	header.Set("Cache-Control", "no-store")
	header.Set("Vary", "Cookie, Accept-Language")
	q.WriteHeader(status)
	if q.Method == http.MethodHead {
		return nil
	}
	if _, err := q.Write(page.Bytes()); err != nil && q.Context().Err() == nil {
		s.o.Log.Debug("a page was not taken", "path", q.URL.Path, "error", err)
	}
	return nil
}

// nav is the way through the console for this person.
func (s *Site) nav(q *Request) []link {
	if q.Who.Role == access.Anyone {
		return nil
	}
	var shown []link
	for _, l := range []link{
		{"/", "overview"}, {"/proof", "proof"}, {"/runs", "runs"}, {"/alarms", "alarms"}, {"/repository", "repository"},
		{"/import", "import"}, {"/settings", "settings"}, {"/audit", "audit"}, {"/users", "users"},
	} {
		for _, route := range s.routes {
			if route.Method == http.MethodGet && route.Pattern == l.Path && q.May(route.Need.Role) {
				shown = append(shown, link{l.Path, "page.nav." + l.Key})
			}
		}
	}
	return shown
}

// Functions are what templates can call beside the built-in ones; values are
// bound to the request:
//
//	t KEY ARGS…      the catalogue's text        n KEY NUMBER ARGS…  of a number of things
//	path PATTERN V…  a link                      asset NAME          the address of an asset
//	size N           <span title="exact">1.3 GB  count N             1,234
//	ago T            <time …>3 h ago             time T              <time …>2026-11-23 14:05 CET
//	duration MS      2.3 s                       dict K V …          a map for sub-templates
//	may ROLE         whether this person may     who                 the identity
//	active PATTERN   whether this is the page of the navigation, or below it
//	lang, theme, zone, version                   base                the base path
//
// T is a time.Time or *time.Time; nil and the zero time are "never". MS are
// milliseconds or a time.Duration.
func Functions(q *Request) template.FuncMap { return (*Site)(nil).functions(q) }

// functions are Functions for the pages of s; q is nil for parsing.
func (s *Site) functions(q *Request) template.FuncMap {
	return template.FuncMap{
		"t": func(key string, args ...any) string { return q.Text.T(key, args...) },
		"n": func(key string, n any, args ...any) (string, error) {
			number, err := whole(n)
			return q.Text.N(key, number, args...), err
		},
		"path": func(pattern string, values ...any) (string, error) {
			texts := make([]string, len(values))
			for i, value := range values {
				texts[i] = fmt.Sprint(value)
			}
			path, err := fillPath(pattern, texts)
			return gate.BasePath(q.Context()) + path, err
		},
		"asset": func(name string) (string, error) {
			path, err := s.assets.path(name)
			return gate.BasePath(q.Context()) + path, err
		},
		"size": func(n any) (template.HTML, error) {
			number, err := whole(n)
			return span("size", q.Text.Bytes(number), q.Text.Size(number)), err
		},
		"count": func(n any) (string, error) {
			number, err := whole(n)
			return q.Text.Count(number), err
		},
		"ago": func(t any) (template.HTML, error) {
			return q.moment(t, func(at time.Time) (title, shown, attribute string) {
				return q.Text.Exactly(at, q.Zone), q.Text.Ago(at, q.Now), " data-ago"
			})
		},
		"time": func(t any) (template.HTML, error) {
			return q.moment(t, func(at time.Time) (title, shown, attribute string) {
				return q.Text.Exactly(at, q.Zone), q.Text.Time(at, q.Zone), ""
			})
		},
		"duration": func(ms any) (string, error) {
			if d, ok := ms.(time.Duration); ok {
				return q.Text.Duration(d), nil
			}
			number, err := whole(ms)
			return q.Text.Duration(time.Duration(number) * time.Millisecond), err
		},
		"say": func(n note) string {
			args := make([]any, len(n.Args))
			for i, arg := range n.Args {
				args[i] = arg
			}
			return q.Text.T(n.Key, args...)
		},
		"words":   func() (template.HTMLAttr, error) { return q.words() },
		"dict":    dict,
		"may":     func(role any) bool { return q.May(access.Role(fmt.Sprint(role))) },
		"who":     func() access.Identity { return q.Who },
		"active":  func(pattern string) bool { return active(pattern, q.URL.Path) },
		"lang":    func() string { return q.Text.Tag },
		"theme":   func() string { return q.Theme },
		"zone":    func() string { return q.zoneName() },
		"version": func() string { return s.o.Version },
		"base":    func() string { return gate.BasePath(q.Context()) },
	}
}

// zoneName says in which zone times are shown; the machine's may have no name.
func (q *Request) zoneName() string {
	if name := q.Zone.String(); name != "Local" {
		return name
	}
	name, _ := q.Now.In(q.Zone).Zone()
	return name
}

// moment writes a time for people, with the exact one beside it.
func (q *Request) moment(t any, write func(time.Time) (title, shown, attribute string)) (template.HTML, error) {
	var at time.Time
	switch t := t.(type) {
	case time.Time:
		at = t
	case *time.Time:
		if t != nil {
			at = *t
		}
	case nil:
	default:
		return "", fmt.Errorf("write a time: it is a %T", t)
	}
	if at.IsZero() {
		return template.HTML(`<span class="muted">` + template.HTMLEscapeString(q.Text.T("page.never")) + `</span>`), nil
	}
	title, shown, attribute := write(at)
	return template.HTML(`<time datetime="` + at.UTC().Format(time.RFC3339) + `" title="` + template.HTMLEscapeString(title) + `"` + attribute + `>` +
		template.HTMLEscapeString(shown) + `</time>`), nil
}

func span(class, title, shown string) template.HTML {
	return template.HTML(`<span class="` + class + `" title="` + template.HTMLEscapeString(title) + `">` + template.HTMLEscapeString(shown) + `</span>`)
}

// whole takes any kind of whole number.
func whole(n any) (int64, error) {
	v := reflect.Indirect(reflect.ValueOf(n))
	switch {
	case !v.IsValid():
		return 0, nil
	case v.CanInt():
		return v.Int(), nil
	case v.CanUint():
		return int64(min(v.Uint(), math.MaxInt64)), nil
	}
	return 0, fmt.Errorf("write a number: it is a %T", n)
}

// dict makes a map of names and values.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("make a dict: %d names and values", len(pairs))
	}
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("make a dict: the name %v is a %T", pairs[i], pairs[i])
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}

// active says whether path is pattern or below it. Apps and their backups are
// below the overview.
func active(pattern, path string) bool {
	if pattern == "/" {
		return path == "/" || strings.HasPrefix(path, "/apps") || strings.HasPrefix(path, "/backups")
	}
	return path == pattern || strings.HasPrefix(path, pattern+"/")
}
