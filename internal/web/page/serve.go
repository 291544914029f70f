package page

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // people choose their zone; not every machine has them
	"unicode/utf8"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/web/text"
)

// served is a route in the mux. It is called by Site.ServeHTTP only.
type served struct {
	site  *Site
	part  int
	route Route
}

// ServeHTTP answers a request of the route.
func (h *served) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.site.answer(h, w, r)
}

// The cookies with which a browser remembers what was chosen on it.
const (
	languageCookie = "language"
	themeCookie    = "theme"
)

// ServeHTTP answers; it must stand behind the gate's Wrap.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.assets.serve(w, r) {
		return
	}
	// The mux would send the browser to the path made clean, and knows nothing
	// of the base path.
	if clean(r.URL.EscapedPath()) {
		if _, pattern := s.mux.Handler(r); pattern != "" && pattern != "/" {
			s.mux.ServeHTTP(w, r)
			return
		}
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			other := r.Clone(r.Context())
			other.Method = method
			if _, pattern := s.mux.Handler(other); pattern != "" && pattern != "/" {
				w.Header().Add("Allow", method)
			}
		}
		if w.Header().Get("Allow") != "" {
			s.answer(&served{site: s, part: s.own, route: Route{Handle: func(*Request) error { return errMethod }}}, w, r)
			return
		}
	}
	s.answer(&served{site: s, part: s.own, route: Route{Handle: func(*Request) error { return errMissing }}}, w, r)
}

func clean(p string) bool {
	cleaned := path.Clean(p)
	return p == cleaned || p == cleaned+"/"
}

// answer is what happens around every Handle.
func (s *Site) answer(h *served, w http.ResponseWriter, r *http.Request) {
	tracked := &tracked{ResponseWriter: w}
	q := s.request(tracked, r)
	q.part = h.part
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if p == http.ErrAbortHandler {
			panic(p)
		}
		id := q.logged("a page panicked", "panic", p, "stack", string(debug.Stack()))
		if tracked.status != 0 {
			panic(http.ErrAbortHandler)
		}
		s.sorry(q, failure{status: http.StatusInternalServerError, title: "page.error.unknown", text: "page.error.unknown.text", id: id})
	}()

	err := s.o.Gate.Check(r, h.route.Need)
	if err == nil && h.route.Need.Role != access.Anyone && q.Who.Session == nil {
		err = errScript
	}
	if err == nil {
		if h.route.Body != 0 {
			gate.AllowBody(w, r, h.route.Body)
		}
		if h.route.Patient {
			gate.Patient(w)
		}
		if err = q.readForm(h.route.Body); err == nil {
			err = h.route.Handle(q)
		}
	}
	if q.MultipartForm != nil {
		if removed := q.MultipartForm.RemoveAll(); removed != nil {
			s.o.Log.Warn("parts of a form cannot be removed", "error", removed)
		}
	}
	s.audit(q, h.route, tracked.status, err)
	if err != nil {
		s.fail(q, tracked, h.route, err)
	}
}

// audit notes what was done, or tried by somebody who is known.
func (s *Site) audit(q *Request, route Route, status int, err error) {
	if route.Action == "" || s.o.Audit == nil || q.unnoted || errors.Is(err, access.ErrNobody) || errors.Is(err, gate.ErrStale) {
		return
	}
	outcome, detail := "ok", q.detail
	switch {
	case errors.Is(err, gate.ErrForbidden):
		outcome = "forbidden"
	case err != nil:
		outcome = string(core.CodeOf(err))
		if detail == "" {
			detail = err.Error()
		}
	case status >= 400:
		outcome = "invalid"
	}
	object := q.concerns
	if object == "" {
		var values []string
		for _, name := range names(route.Pattern) {
			values = append(values, q.PathValue(name))
		}
		object = strings.Join(values, " ")
	}
	s.o.Audit(q, route.Action, object, outcome, detail)
}

// names are those of the values in a pattern.
func names(pattern string) []string {
	var found []string
	for {
		_, after, ok := strings.Cut(pattern, "{")
		if !ok {
			return found
		}
		name, rest, _ := strings.Cut(after, "}")
		if name = strings.TrimSuffix(name, "..."); name != "$" {
			found = append(found, name)
		}
		pattern = rest
	}
}

// request finds out for whom an answer is, and in what form they like it.
func (s *Site) request(w http.ResponseWriter, r *http.Request) *Request {
	q := &Request{ResponseWriter: w, Request: r, Now: s.o.Clock.Now(), Zone: time.Local, site: s}
	if who, ok := gate.Identity(r.Context()); ok {
		q.Who = who
	}
	language := q.Who.User.Language
	if language == "" {
		language = gate.KeptCookie(r, languageCookie)
	}
	if language == "" && s.o.Language != nil {
		language = s.o.Language()
	}
	q.Text = text.Choose(language, r.Header.Get("Accept-Language"))
	q.Theme = q.Who.User.Theme
	if q.Theme == "" {
		q.Theme = gate.KeptCookie(r, themeCookie)
	}
	if q.Theme != "light" && q.Theme != "dark" {
		q.Theme = ""
	}
	if q.Who.User.Zone != "" {
		zone, err := time.LoadLocation(q.Who.User.Zone)
		if err != nil {
			s.o.Log.Warn("the zone of a user is not known", "user", q.Who.User.Name, "zone", q.Who.User.Zone)
		} else {
			q.Zone = zone
		}
	}
	return q
}

// readForm reads what the address and a form of up to most bytes say.
func (q *Request) readForm(most int64) error {
	if most < 0 {
		values, err := url.ParseQuery(q.URL.RawQuery)
		if err != nil {
			return errForm
		}
		q.Form, q.PostForm = values, url.Values{}
		return nil
	}
	err := q.ParseForm()
	if err == nil && strings.HasPrefix(q.Request.Header.Get("Content-Type"), "multipart/form-data") && q.Method == http.MethodPost {
		err = q.ParseMultipartForm(1 << 20)
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return large
	case err != nil:
		return errForm
	}
	for name, values := range q.PostForm {
		for _, value := range append(slices.Clone(values), name) {
			if strings.ContainsRune(value, 0) || !utf8.ValidString(value) {
				return errForm // no browser sends such
			}
		}
	}
	return nil
}

// display keeps the language and the theme that somebody chose on a page.
func (s *Site) display(q *Request) error {
	language, theme := q.Field("language"), q.Field("theme")
	if language != "" {
		if text.Choose(language, "").Tag != language {
			return &core.Error{Code: core.CodeUsage, Message: "no such language"}
		}
		gate.KeepCookie(q, q.Request, languageCookie, language, 365*24*3600)
	}
	if theme != "" {
		if theme != "light" && theme != "dark" {
			return &core.Error{Code: core.CodeUsage, Message: "no such theme"}
		}
		gate.KeepCookie(q, q.Request, themeCookie, theme, 365*24*3600)
	}
	if q.Who.User.ID != 0 && s.o.Prefer != nil {
		if err := s.o.Prefer(q, language, theme); err != nil {
			return err
		}
	}
	return q.Go(q.back())
}

// back is the page that a form was sent from, "/" when the browser does not say.
func (q *Request) back() string {
	from, err := url.Parse(q.Referer())
	if err != nil {
		return "/"
	}
	from.Scheme, from.Host, from.User, from.Fragment = "", "", nil, ""
	path, below := strings.CutPrefix(from.String(), gate.BasePath(q.Context()))
	if !below || !local(path) {
		return "/"
	}
	return path
}

// tracked knows what was sent already.
type tracked struct {
	http.ResponseWriter
	status int // 0: nothing was sent
}

// WriteHeader sends the status.
func (t *tracked) WriteHeader(status int) {
	if t.status == 0 && status >= 200 {
		t.status = status
	}
	t.ResponseWriter.WriteHeader(status)
}

// Write sends a part of the body.
func (t *tracked) Write(p []byte) (int, error) {
	if t.status == 0 {
		t.status = http.StatusOK
	}
	return t.ResponseWriter.Write(p)
}

// ReadFrom sends all of r, by the shortest way that there is.
func (t *tracked) ReadFrom(r io.Reader) (int64, error) {
	if t.status == 0 {
		t.status = http.StatusOK
	}
	return io.Copy(t.ResponseWriter, r)
}

// Unwrap is for http.ResponseController.
func (t *tracked) Unwrap() http.ResponseWriter { return t.ResponseWriter }
