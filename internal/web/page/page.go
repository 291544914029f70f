// Package page is what all pages of the console share: routes with the right
// that each needs, the layout, forms, errors. It is for package web, which
// serves the pages, and the packages below pages, which fill them. It promises
// that a page works without script, that what it shows is escaped, and that
// nothing is changed by a GET.
package page

import (
	"crypto/rand"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
)

// Route is one thing that the console answers.
type Route struct {
	Method  string // GET or POST; forms know no others
	Pattern string // of net/http's mux, below the base path: "/apps/{app}"
	Need    gate.Need
	// Action is what the audit log calls it; "" for what changes nothing and
	// shows no content. Object is then the path's values, or what the handler
	// gives Request.Concerns.
	Action string
	// Body is the most bytes of a body: 0 is 1 MiB, -1 any size. A form is read
	// before Handle is called, but not with -1: Handle reads the body then.
	Body    int64
	Patient bool // the answer may take long: downloads, event streams
	Handle  func(q *Request) error
}

// Pages are a part of the console: its routes and the templates that they use.
type Pages struct {
	Routes []Route
	// Templates are *.html at its root. A page is a file that defines "title"
	// and "content", whose dot is the data given to Render. What files without
	// "content" define is there for all pages of this part. Every page can use
	// the templates of templates/parts.html: "problems", "pager".
	Templates fs.FS
}

// Problem is a form that was filled in wrong: the page is shown again with it.
type Problem struct {
	Field string // the form's field; "": the form as a whole
	Text  string // in the person's language
}

// Options are what a Site is made of.
type Options struct {
	Gate    *gate.Gate
	Pages   []Pages
	Version string
	// Audit notes what a route with an Action did: outcome is "ok", "invalid" for
	// a form that was shown again, "forbidden", or an error's code. nil: nothing is noted.
	Audit func(q *Request, action, object, outcome, detail string)
	// Prefer keeps the language or theme that a person who is logged in chose on
	// any page; "" is not chosen. nil: only their browser keeps it.
	Prefer func(q *Request, language, theme string) error
	// Language is that of people who have not chosen one; nil or "": as their
	// browser asks for.
	Language func() string
	Clock    core.Clock   // nil: the machine's
	Log      *slog.Logger // nil: nothing is logged
}

// Site is the console's pages put together. It is safe for concurrent use.
type Site struct {
	o      Options
	mux    *http.ServeMux
	routes []Route
	sheets map[sheetName]*sheet
	own    int // the part that pages of the site itself are of
	assets *assets
	key    []byte // signs notes that wait in a cookie, while this process lives
}

// sheetName is a page's file, and the part of Options.Pages that has it.
type sheetName struct {
	part int
	file string
}

// New puts the pages together; an error is a mistake in them.
func New(o Options) (*Site, error) {
	if o.Clock == nil {
		o.Clock = core.SystemClock{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Site{o: o, mux: http.NewServeMux(), sheets: map[sheetName]*sheet{}, own: len(o.Pages), key: make([]byte, 32)}
	rand.Read(s.key) // never fails
	var err error
	if s.assets, err = readAssets(files); err != nil {
		return nil, err
	}
	own, err := fs.Sub(files, "templates")
	if err != nil {
		return nil, fmt.Errorf("open the layout: %w", err)
	}
	for i, part := range append(slices.Clone(o.Pages), Pages{Routes: s.ownRoutes(), Templates: own}) {
		if err := s.parse(i, part.Templates, own); err != nil {
			return nil, err
		}
		for _, route := range part.Routes {
			if err := s.add(i, route); err != nil {
				return nil, err
			}
		}
	}
	s.mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) {}) // known by its pattern
	return s, nil
}

// add gives a route of a part to the mux.
func (s *Site) add(part int, r Route) (err error) {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodPost:
		return fmt.Errorf("add the route %s %s: a page knows GET and POST only", r.Method, r.Pattern)
	case !strings.HasPrefix(r.Pattern, "/"):
		return fmt.Errorf("add the route %s %s: it does not begin with a slash", r.Method, r.Pattern)
	case r.Pattern != "/" && strings.HasSuffix(r.Pattern, "/"):
		return fmt.Errorf("add the route %s %s: it ends with a slash and would be all that is below", r.Method, r.Pattern)
	case r.Handle == nil:
		return fmt.Errorf("add the route %s %s: it has no Handle", r.Method, r.Pattern)
	}
	pattern := r.Pattern
	if pattern == "/" {
		pattern = "/{$}"
	}
	defer func() { // how the mux says that two routes are one
		if p := recover(); p != nil {
			err = fmt.Errorf("add the route %s %s: %v", r.Method, r.Pattern, p)
		}
	}()
	s.mux.Handle(r.Method+" "+pattern, &served{site: s, part: part, route: r})
	s.routes = append(s.routes, r)
	return nil
}

// Routes lists all routes, for the matrix of rights.
func (s *Site) Routes() []Route { return slices.Clone(s.routes) }

// ownRoutes are those of the site itself.
func (s *Site) ownRoutes() []Route {
	return []Route{
		{Method: http.MethodPost, Pattern: "/display", Need: gate.Need{Role: access.Anyone}, Handle: s.display},
	}
}

// sheet is a page's file, ready to be written by several at once: a template's
// functions are bound to the request, so each use has a copy of its own.
type sheet struct {
	original *template.Template // never executed, so that it can be cloned
	copies   sync.Pool          // of *bound
}

type bound struct {
	template *template.Template
	request  *Request // what its functions read
}

// parse makes the pages of a part: each is a copy of the layout, with what the
// part's pages share, and the file's own.
func (s *Site) parse(part int, templates, own fs.FS) error {
	layout, err := template.New("layout").Funcs(s.functions(nil)).ParseFS(own, "layout.html", "parts.html")
	if err != nil {
		return fmt.Errorf("parse the layout: %w", err)
	}
	if templates == nil {
		return nil
	}
	names, err := fs.Glob(templates, "*.html")
	if err != nil {
		return fmt.Errorf("list templates: %w", err)
	}
	pages := map[string]string{}
	for _, name := range names {
		if templates == own && (name == "layout.html" || name == "parts.html") {
			continue
		}
		content, err := fs.ReadFile(templates, name)
		if err != nil {
			return fmt.Errorf("read the template %s: %w", name, err)
		}
		alone, err := template.New(name).Funcs(s.functions(nil)).Parse(string(content))
		if err != nil {
			return fmt.Errorf("parse a template: %w", err)
		}
		if alone.Lookup("content") != nil {
			if alone.Lookup("title") == nil {
				return fmt.Errorf("parse the template %s: it defines \"content\" and no \"title\"", name)
			}
			pages[name] = string(content)
			continue
		}
		if _, err := layout.New(name).Parse(string(content)); err != nil {
			return fmt.Errorf("parse a template: %w", err)
		}
	}
	for name, content := range pages {
		sheet := &sheet{}
		if sheet.original, err = layout.Clone(); err != nil {
			return fmt.Errorf("clone the layout: %w", err)
		}
		if _, err := sheet.original.New(name).Parse(content); err != nil {
			return fmt.Errorf("parse a template: %w", err)
		}
		// A template that does not exist, or cannot be escaped, is found by
		// running: better now than by the first who looks.
		if err := sheet.check(s); err != nil {
			return fmt.Errorf("check the template %s: %w", name, err)
		}
		s.sheets[sheetName{part, name}] = sheet
	}
	return nil
}

func (t *sheet) bind(s *Site) (*bound, error) {
	if b, ok := t.copies.Get().(*bound); ok {
		return b, nil
	}
	copied, err := t.original.Clone()
	if err != nil {
		return nil, fmt.Errorf("clone a template: %w", err)
	}
	b := &bound{template: copied, request: &Request{}}
	copied.Funcs(s.functions(b.request))
	return b, nil
}

// check finds templates that are wanted and not there, and what html/template
// refuses to escape.
func (t *sheet) check(s *Site) error {
	b, err := t.bind(s)
	if err != nil {
		return err
	}
	// The data is of no page, so that the run ends early; escaping comes first.
	err = b.template.ExecuteTemplate(discard{}, "layout", nil)
	var wrong *template.Error
	if errors.As(err, &wrong) {
		return wrong
	}
	return nil
}

// discard is a writer that wants nothing: the run ends at the first byte.
type discard struct{}

var errDiscard = errors.New("nothing is wanted")

func (discard) Write([]byte) (int, error) { return 0, errDiscard }
