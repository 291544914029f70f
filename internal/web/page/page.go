// Package page is what all pages of the console share: routes with the right
// that each needs, the layout, forms, errors. It is for package web, which
// serves the pages, and the packages below pages, which fill them. It promises
// that a page works without script, that what it shows is escaped, and that
// nothing is changed by a GET.
package page

import (
	"html/template"
	"io/fs"
	"net/http"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/web/text"
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
	// Body is the most bytes of a body: 0 is 1 MiB, -1 any size.
	Body    int64
	Patient bool // the answer may take long: downloads, event streams
	Handle  func(q *Request) error
}

// Pages are a part of the console: its routes and the templates that they use.
type Pages struct {
	Routes    []Route
	Templates fs.FS // *.html at its root: each fills the layout's "title" and "content" (see templates/layout.html)
}

// Request is a request under way. It is used by one goroutine.
type Request struct {
	http.ResponseWriter
	*http.Request
	Who      access.Identity // the zero value for nobody
	Text     *text.Language
	Zone     *time.Location
	Now      time.Time
	site     *Site
	concerns string
}

// Render writes a page: name is the template's file, data what it is about.
// Nothing is sent before the page is whole.
func (q *Request) Render(name string, data any) error {
	return q.site.render(q, http.StatusOK, name, data)
}

// RenderStatus is Render with another status.
func (q *Request) RenderStatus(status int, name string, data any) error {
	return q.site.render(q, status, name, data)
}

// Path is a path of the console as a link needs it: the base path, and values
// escaped. Path("/apps/{app}/backups/{id}", "helpdesk", id).
func (q *Request) Path(pattern string, values ...string) string { return "" }

// Go sends the browser to another page after a form (303).
func (q *Request) Go(pattern string, values ...string) error { return nil }

// Say has the next page that this person sees begin with a line: key is of the
// catalogue.
func (q *Request) Say(key string, args ...any) {}

// Concerns says what the audit log is to name as the object, and what as the detail.
func (q *Request) Concerns(object string) { q.concerns = object }

// Field is a value of the form, trimmed; "" when it is missing.
func (q *Request) Field(name string) string { return "" }

// Fields are all values of one name.
func (q *Request) Fields(name string) []string { return nil }

// Problem is a form that was filled in wrong: the page is shown again with it.
type Problem struct {
	Field string // the form's field; "": the form as a whole
	Text  string // in the person's language
}

// Site is the console's pages put together.
type Site struct{}

// Options are what a Site is made of.
type Options struct {
	Gate    *gate.Gate
	Pages   []Pages
	Version string
	// Audit notes what a route with an Action did: outcome is "ok" or an error's code.
	Audit func(q *Request, action, object, outcome, detail string)
}

// New puts the pages together; an error is a mistake in them.
func New(o Options) (*Site, error) { return nil, nil }

// Routes lists all routes, for the matrix of rights.
func (s *Site) Routes() []Route { return nil }

// ServeHTTP answers; it must stand behind the gate's Wrap.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {}

func (s *Site) render(q *Request, status int, name string, data any) error { return nil }

// Functions are what templates can call beside the built-in ones; values are
// bound to the request:
//
//	t KEY ARGS…      the catalogue's text        n KEY NUMBER ARGS…  of a number of things
//	path PATTERN V…  a link                      asset NAME          the address of an asset
//	size N           <span title="exact">1.3 GB  count N             1 234
//	ago T            <time …>3 h ago             time T              <time …>2026-11-23 14:05 CET
//	duration MS      2.3 s                       dict K V …          a map for sub-templates
//	may ROLE         whether this person may     who                 the identity
//	active PATTERN   whether this is the page of the navigation
func Functions(q *Request) template.FuncMap { return nil }
