package page

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
)

var (
	errMissing = errors.New("no such page")
	errScript  = fmt.Errorf("%w: a token is for the API", gate.ErrForbidden) // it counts as fresh, and pages ask for passwords
	errMethod  = errors.New("no such method")
	errForm    = errors.New("not a form")
)

// failure is an error as a page shows it. title and text are of the catalogue.
type failure struct {
	status        int
	title, text   string
	args          []any
	message, hint string // as core.Error has them
	id            string // under which the log has more
}

// fail answers with an error.
func (s *Site) fail(q *Request, sent *tracked, route Route, err error) {
	if sent.status != 0 {
		// Half of something has gone: the browser must not take it for the whole.
		if q.Context().Err() == nil {
			s.o.Log.Error("an answer was broken off", "method", q.Method, "path", q.URL.Path, "error", err)
		}
		panic(http.ErrAbortHandler)
	}
	if q.Context().Err() != nil {
		return // nobody listens any more
	}
	next := func() string {
		if q.Method == http.MethodPost {
			return q.back()
		}
		return q.URL.RequestURI()
	}
	switch {
	case errors.Is(err, access.ErrNobody):
		s.away(q, "/login", next())
	case errors.Is(err, gate.ErrStale):
		s.away(q, "/prove", next())
	default:
		s.sorry(q, s.explain(q, route, err))
	}
}

// away sends a person to a page that asks them for something first.
func (s *Site) away(q *Request, page, next string) {
	if next != "/" && local(next) {
		page += "?next=" + url.QueryEscape(next)
	}
	if err := q.Go(page); err != nil {
		s.o.Log.Error("a browser cannot be sent away", "error", err)
	}
}

// explain turns an error into what a person can read.
func (s *Site) explain(q *Request, route Route, err error) failure {
	var (
		known *core.Error
		large *http.MaxBytesError
		wait  *access.RetryAfter
	)
	plain := func(status int, key string, args ...any) failure {
		return failure{status: status, title: "page.error." + key, text: "page.error." + key + ".text", args: args}
	}
	switch {
	case errors.Is(err, errMissing):
		return plain(http.StatusNotFound, "missing")
	case errors.Is(err, errMethod):
		return plain(http.StatusMethodNotAllowed, "method")
	case errors.Is(err, errForm):
		return plain(http.StatusBadRequest, "form")
	case errors.As(err, &large):
		return plain(http.StatusRequestEntityTooLarge, "large")
	case errors.Is(err, errScript):
		return plain(http.StatusForbidden, "script")
	case errors.Is(err, gate.ErrForbidden):
		return plain(http.StatusForbidden, "forbidden", q.Text.T("page.role."+string(route.Need.Role)))
	case errors.Is(err, access.ErrSlowDown):
		if errors.As(err, &wait) {
			q.Header().Set("Retry-After", strconv.Itoa(int(wait.Wait.Round(time.Second)/time.Second)+1))
		}
		return plain(http.StatusTooManyRequests, "slow")
	case errors.Is(err, access.ErrNoSuchUser), errors.Is(err, access.ErrNoSuchItem):
		return plain(http.StatusNotFound, "gone")
	case errors.As(err, &known):
		code := core.CodeOf(err)
		f := failure{status: status(code), title: "page.error." + string(code), message: err.Error(), hint: core.HintOf(err)}
		if f.status >= 500 {
			f.id = q.logged("a page failed", "error", err)
		}
		return f
	case errors.Is(err, access.ErrNameTaken), errors.Is(err, access.ErrLastAdmin), errors.Is(err, access.ErrWeak),
		errors.Is(err, access.ErrRefused), errors.Is(err, access.ErrSecond), errors.Is(err, access.ErrSetUpDone):
		return failure{status: http.StatusConflict, title: "page.error.refused", message: err.Error()}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		f := plain(http.StatusServiceUnavailable, "unknown")
		f.id = q.logged("a page was not ready in time", "error", err)
		return f
	}
	f := plain(http.StatusInternalServerError, "unknown")
	f.id = q.logged("a page failed", "error", err)
	return f
}

// status is HTTP's word for a code.
func status(code core.Code) int {
	switch code {
	case core.CodeNotFound:
		return http.StatusNotFound
	case core.CodeUsage:
		return http.StatusBadRequest
	case core.CodeAmbiguous, core.CodeLocked, core.CodeDecision, core.CodeUnfinished, core.CodeNotPortable:
		return http.StatusConflict
	case core.CodeConfig, core.CodeApplication:
		return http.StatusUnprocessableEntity
	case core.CodeUnsupported:
		return http.StatusNotImplemented
	case core.CodeDatabase:
		return http.StatusBadGateway
	case core.CodeDisk:
		return http.StatusInsufficientStorage
	case core.CodeNoRepository, core.CodeWrongKey, core.CodeCancelled:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// logged writes to the log what the page does not tell, and returns the id by
// which a person can find it there.
func (q *Request) logged(message string, args ...any) string {
	id := gate.RequestID(q.Context())
	args = append(args, "request", id, "method", q.Method, "path", q.URL.Path, "user", q.Who.User.Name)
	q.site.o.Log.Error(message, args...)
	return id
}

// sorry shows the page of an error.
func (s *Site) sorry(q *Request, f failure) {
	q.part = s.own
	data := struct {
		Status                         int
		Title, Text, Message, Hint, ID string
	}{f.status, q.Text.T(f.title), "", f.message, f.hint, f.id}
	if f.text != "" {
		data.Text = q.Text.T(f.text, f.args...)
	}
	if err := s.render(q, f.status, "error.html", data); err != nil {
		s.o.Log.Error("the page of an error cannot be written", "error", err)
		http.Error(q, http.StatusText(f.status), f.status)
	}
}

// Refuse shows why the gate lets a request not in; it is for gate.Options.
func (s *Site) Refuse(w http.ResponseWriter, r *http.Request, refusal gate.Refusal) {
	q := s.request(w, r)
	title := "page.error.refused"
	switch {
	case refusal.Code == "slow_down":
		title = "page.error.slow"
	case refusal.Status >= 500:
		title = "page.error.unknown"
	}
	s.sorry(q, failure{status: refusal.Status, title: title, message: refusal.Message, hint: refusal.Hint, id: refusal.ID})
}
