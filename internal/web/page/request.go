package page

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/web/text"
)

// Request is a request under way. It is used by one goroutine.
type Request struct {
	http.ResponseWriter
	*http.Request
	Who      access.Identity // the zero value for nobody
	Text     *text.Language
	Zone     *time.Location
	Now      time.Time
	Theme    string // "light", "dark"; "": as the browser asks for
	site     *Site
	part     int
	concerns string
	detail   string
	unnoted  bool
	said     []note
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

// RenderPart writes what the template's file name defines as part, without the
// layout: a piece of a page that the script fetches anew.
func (q *Request) RenderPart(name, part string, data any) error {
	return q.site.renderPart(q, http.StatusOK, name, part, data)
}

// Path is a path of the console as a link needs it: the base path, and values
// escaped. Path("/apps/{app}/backups/{id}", "helpdesk", id). What stands for a
// value after a question mark is escaped for there: "/runs?app={app}". Without
// values the pattern is taken as it is.
func (q *Request) Path(pattern string, values ...string) string {
	path, err := fillPath(pattern, values)
	if err != nil {
		q.site.o.Log.Error("a link cannot be made", "pattern", pattern, "error", err)
	}
	return gate.BasePath(q.Context()) + path
}

// fillPath puts values in the place of {name}, in their order.
func fillPath(pattern string, values []string) (string, error) {
	pattern = strings.TrimSuffix(pattern, "{$}")
	if len(values) == 0 && !strings.Contains(pattern, "{") {
		return pattern, nil
	}
	var b strings.Builder
	rest, used, query := pattern, 0, false
	for {
		before, after, found := strings.Cut(rest, "{")
		b.WriteString(before)
		query = query || strings.Contains(before, "?")
		if !found {
			break
		}
		name, after, found := strings.Cut(after, "}")
		if !found || used == len(values) {
			return pattern, fmt.Errorf("make a link to %s: it has %d values", pattern, len(values))
		}
		value := values[used]
		used++
		switch {
		case query:
			b.WriteString(url.QueryEscape(value))
		case strings.HasSuffix(name, "..."):
			for i, segment := range strings.Split(value, "/") {
				if i > 0 {
					b.WriteByte('/')
				}
				b.WriteString(url.PathEscape(segment))
			}
		default:
			b.WriteString(url.PathEscape(value))
		}
		rest = after
	}
	if used < len(values) {
		return b.String(), fmt.Errorf("make a link to %s: it has %d values", pattern, len(values))
	}
	return b.String(), nil
}

// Go sends the browser to another page after a form (303). What was said with
// Say goes along.
func (q *Request) Go(pattern string, values ...string) error {
	q.keepNotes()
	q.Header().Set("Cache-Control", "no-store")
	q.Header().Set("Location", q.Path(pattern, values...))
	q.WriteHeader(http.StatusSeeOther)
	return nil
}

// Header is of the answer; the request's is q.Request.Header.
func (q *Request) Header() http.Header { return q.ResponseWriter.Header() }

// Write writes to the answer; what Render does not write for it.
func (q *Request) Write(p []byte) (int, error) { return q.ResponseWriter.Write(p) }

var _ http.ResponseWriter = (*Request)(nil)

// Next is where the person wanted to go before they were asked for something:
// the form's "next", when it is a path of this console, or else "/". It is
// without the base path: Go(q.Next()).
func (q *Request) Next() string {
	if next := q.Field("next"); local(next) {
		return next
	}
	return "/"
}

// local says whether a path leads to this console whatever a browser makes of it.
func local(path string) bool {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || len(path) > 2000 {
		return false
	}
	// Browsers take a backslash for a slash and leave out tabs and line ends.
	if strings.ContainsFunc(path, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '\\' }) {
		return false
	}
	u, err := url.Parse(path)
	return err == nil && u.Scheme == "" && u.Host == "" && !strings.Contains(path, "{")
}

// Concerns says what the audit log is to name as the object.
func (q *Request) Concerns(object string) { q.concerns = object }

// Detail says what the audit log is to have as the detail. Without it that is
// the error, if there is one.
func (q *Request) Detail(detail string) { q.detail = detail }

// Unnoted keeps this request out of the audit log: nothing was changed, or the
// same was noted a moment ago.
func (q *Request) Unnoted() { q.unnoted = true }

// Field is a value of the form, trimmed; "" when it is missing.
func (q *Request) Field(name string) string { return strings.TrimSpace(q.Form.Get(name)) }

// Fields are all values of one name, as they are.
func (q *Request) Fields(name string) []string { return slices.Clone(q.Form[name]) }

// Secret is a value of the form's body, never of the address, as it is.
func (q *Request) Secret(name string) core.Secret { return core.NewSecret(q.PostForm.Get(name)) }

// May says whether this person may do what needs the role.
func (q *Request) May(role access.Role) bool { return q.Who.Role.May(role) }
