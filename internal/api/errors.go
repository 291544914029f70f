package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
)

// The codes of errors that only the API has; the others are core's.
const (
	codeUnauthenticated = "unauthenticated" // 401: no token or session, or one that has ended
	codeForbidden       = "forbidden"       // 403: the role is too low
	codePasswordNeeded  = "password_needed" // 403: the session gave its password too long ago
	codeSlowDown        = "slow_down"       // 429: too many attempts; Retry-After says how long to wait
	codeMethod          = "method"          // 405: the path knows other methods; Allow names them
	codeTooLarge        = "too_large"       // 413
	codeMediaType       = "media_type"      // 415: a body of another kind
	codeOffset          = "offset"          // 409: Upload-Offset is not what was received so far
	codeOver            = "over"            // 409: the run is over
	codeRange           = "range"           // 416: the file has no such part
	codeInternal        = "internal"        // 500: the log has the reason, under the number in the message
)

// errorBody is the form of all errors.
type errorBody struct {
	Schema int   `json:"schema" doc:"The version of this object: 1."`
	Error  fault `json:"error"`
}

type fault struct {
	Code    string `json:"code" doc:"For scripts: the codes are in docs/api.md." example:"not_found"`
	Message string `json:"message" doc:"What happened, for people."`
	Hint    string `json:"hint,omitempty" doc:"What to do."`
}

// problem is an error on its way to whoever asked.
type problem struct {
	errorBody
	status int
	header http.Header
}

// GetStatus is the status of HTTP.
func (p *problem) GetStatus() int { return p.status }

// GetHeaders are the answer's headers.
func (p *problem) GetHeaders() http.Header { return p.header }

// Error is the message.
func (p *problem) Error() string { return p.errorBody.Error.Message }

// MarshalJSON gives the body.
func (p *problem) MarshalJSON() ([]byte, error) { return json.Marshal(p.errorBody) }

var (
	_ huma.StatusError  = (*problem)(nil)
	_ huma.HeadersError = (*problem)(nil)
)

func newProblem(status int, code, message, hint string) *problem {
	return &problem{errorBody: errorBody{Schema: Schema, Error: fault{Code: code, Message: message, Hint: hint}}, status: status, header: http.Header{}}
}

// statuses are the statuses of core's codes. What is not the asker's doing, and
// may be over later, is 503.
func statuses() map[core.Code]int {
	return map[core.Code]int{
		core.CodeNotFound:     http.StatusNotFound,
		core.CodeUsage:        http.StatusUnprocessableEntity,
		core.CodeAmbiguous:    http.StatusConflict,
		core.CodeLocked:       http.StatusConflict,
		core.CodeDecision:     http.StatusConflict,
		core.CodeUnfinished:   http.StatusConflict,
		core.CodeNotPortable:  http.StatusConflict,
		core.CodeUnsupported:  http.StatusNotImplemented,
		core.CodeDisk:         http.StatusInsufficientStorage,
		core.CodeConfig:       http.StatusServiceUnavailable,
		core.CodeDatabase:     http.StatusServiceUnavailable,
		core.CodeApplication:  http.StatusServiceUnavailable,
		core.CodeNoRepository: http.StatusServiceUnavailable,
		core.CodeWrongKey:     http.StatusServiceUnavailable,
		core.CodeCancelled:    http.StatusServiceUnavailable,
	}
}

// classify turns an error into a problem. One that nobody foresaw says nothing
// of itself: its status is 500.
func (a *API) classify(err error) *problem {
	var (
		p        *problem
		wait     *access.RetryAfter
		tooLarge *http.MaxBytesError
		known    *core.Error
	)
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &wait):
		p = newProblem(http.StatusTooManyRequests, codeSlowDown, wait.Error(), "wait as long as Retry-After says")
		p.header.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(wait.Wait.Seconds())))))
		return p
	case errors.Is(err, access.ErrSlowDown):
		p = newProblem(http.StatusTooManyRequests, codeSlowDown, access.ErrSlowDown.Error(), "wait a minute")
		p.header.Set("Retry-After", "60")
		return p
	case errors.Is(err, access.ErrNobody):
		p = newProblem(http.StatusUnauthorized, codeUnauthenticated, access.ErrNobody.Error(), "send the header Authorization: Bearer TOKEN; `backstay token add` makes a token")
		p.header.Set("WWW-Authenticate", `Bearer realm="backstay"`)
		return p
	case errors.Is(err, gate.ErrForbidden):
		return newProblem(http.StatusForbidden, codeForbidden, "your role does not allow this", "ask somebody whose role does, or for a token with that role")
	case errors.Is(err, gate.ErrStale):
		return newProblem(http.StatusForbidden, codePasswordNeeded, "give your password again first", "log in anew, or use a token")
	case errors.As(err, &tooLarge):
		return newProblem(http.StatusRequestEntityTooLarge, codeTooLarge, fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit), "")
	case errors.As(err, &known):
		code := core.CodeOf(err)
		status, ok := statuses()[code]
		if !ok {
			status = http.StatusInternalServerError
		}
		p = newProblem(status, string(code), err.Error(), core.HintOf(err))
		if status == http.StatusServiceUnavailable {
			p.header.Set("Retry-After", "30")
		}
		return p
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		p = newProblem(http.StatusServiceUnavailable, string(core.CodeCancelled), "the service ends, or this took too long", "try again")
		p.header.Set("Retry-After", "30")
		return p
	}
	return newProblem(http.StatusInternalServerError, codeInternal, "something went wrong", "")
}

// problem is classify for an answer: what nobody foresaw is logged, under an id
// that the answer has.
func (a *API) problem(ctx context.Context, err error) *problem {
	p := a.classify(err)
	if p.errorBody.Error.Code == codeInternal {
		return a.unforeseen(callOf(ctx), err)
	}
	return p
}

// unforeseen logs an error, and is what is said of it.
func (a *API) unforeseen(c *call, err error) *problem {
	id := gate.RequestID(c.r.Context())
	a.o.Log.Error("answer a call", "request", id, "method", c.r.Method, "path", c.r.URL.Path, "who", c.who.By(), "err", err)
	return newProblem(http.StatusInternalServerError, codeInternal, "something went wrong (request "+id+")", "the service's log has the reason under this request's number (journalctl -u backstay)")
}

// oneForm gives huma's own errors the form that all have.
func oneForm(ctx huma.Context, _ string, v any) (any, error) {
	e, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	ctx.SetHeader("Content-Type", "application/json")
	code := string(core.CodeUsage)
	switch e.Status {
	case http.StatusUnsupportedMediaType:
		code = codeMediaType
	case http.StatusRequestEntityTooLarge:
		code = codeTooLarge
	}
	// Not the values: a password may be among them.
	var wrong []string
	for _, d := range e.Errors {
		s := d.Message
		if d.Location != "" {
			s = d.Location + ": " + s
		}
		wrong = append(wrong, s)
	}
	message := strings.ToLower(e.Detail)
	if len(wrong) > 0 {
		message = strings.Join(wrong, "; ")
	}
	if ctx.Operation() != nil {
		return errorBody{Schema: Schema, Error: fault{Code: code, Message: message, Hint: "docs/api.md and " + Prefix + "/openapi.yaml say what " + ctx.Operation().OperationID + " takes"}}, nil
	}
	return errorBody{Schema: Schema, Error: fault{Code: code, Message: message}}, nil
}

// write sends a problem that arose before an operation began.
func (p *problem) write(w http.ResponseWriter) {
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(p.status)
	text, err := json.Marshal(p)
	if err != nil {
		return // it is two numbers and three strings
	}
	_, _ = w.Write(append(text, '\n')) // whoever asked may have gone
}
