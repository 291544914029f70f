package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"

	"github.com/backstay/backstay/internal/gate"
)

// most is the size that a body may have which is no upload.
const most = 64 << 10

// Handler answers what lies below Prefix. It must stand behind the gate's Wrap.
func (a *API) Handler() http.Handler { return http.HandlerFunc(a.serve) }

func (a *API) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	op, p := a.find(w, r)
	if p != nil {
		p.write(w)
		return
	}
	c := &call{op: op, w: w, r: r}
	c.who, _ = gate.Identity(r.Context())
	if err := a.o.Gate.Check(r, op.need); err != nil {
		p := a.classify(err)
		if p.errorBody.Error.Code == codeInternal {
			p = a.unforeseen(c, err)
		} else if errors.Is(err, gate.ErrForbidden) { // somebody who is known tries what they may not
			c.object = objectIn(op, r)
			a.note(c, err)
		}
		p.write(w)
		return
	}
	if !op.stream {
		if p := takeBody(r); p != nil {
			p.write(w)
			return
		}
	}
	out := &answer{ResponseWriter: w}
	r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
	c.r = r
	defer a.stumble(c)
	a.mux.ServeHTTP(out, r)
	c.r.Pattern = r.Pattern
	if !out.refused() || c.outcome != nil {
		a.note(c, c.outcome)
	}
}

// find finds the operation. The mux's own answers are of another form, and would
// redirect to paths that leave out the base path.
func (a *API) find(w http.ResponseWriter, r *http.Request) (*operation, *problem) {
	if p := r.URL.EscapedPath(); p == path.Clean(p) {
		h, pattern := a.mux.Handler(r)
		if op := a.byPattern[pattern]; op != nil {
			return op, nil
		}
		silent := &unheard{header: http.Header{}}
		h.ServeHTTP(silent, r)
		if allow := silent.header.Get("Allow"); silent.status == http.StatusMethodNotAllowed {
			p := newProblem(http.StatusMethodNotAllowed, codeMethod, "this path does not know "+shown(r.Method), "it knows "+allow)
			p.header.Set("Allow", allow)
			return nil, p
		}
	}
	return nil, newProblem(http.StatusNotFound, "not_found", "there is no such path in the API", Prefix+"/openapi.yaml and docs/api.md list them")
}

func shown(method string) string { return fmt.Sprintf("%.20q", method) }

// unheard takes an answer that nobody hears.
type unheard struct {
	header http.Header
	status int
}

func (u *unheard) Header() http.Header { return u.header }
func (u *unheard) WriteHeader(s int)   { u.status = s }
func (u *unheard) Write(b []byte) (int, error) {
	return len(b), nil
}

// takeBody reads a body that is not an upload, and sees that it says of itself
// that it is JSON: no form of another site can send that.
func takeBody(r *http.Request) *problem {
	if r.Body == nil {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	var tooLarge *http.MaxBytesError
	switch {
	case len(text) > most || errors.As(err, &tooLarge):
		return newProblem(http.StatusRequestEntityTooLarge, codeTooLarge, fmt.Sprintf("the body is larger than %d bytes", most), "files are sent as uploads")
	case err != nil:
		return newProblem(http.StatusBadRequest, "usage", "the body ended too early", "send it again")
	}
	r.Body = io.NopCloser(bytes.NewReader(text))
	if len(text) == 0 {
		return nil
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return newProblem(http.StatusUnsupportedMediaType, codeMediaType, "the body must be JSON", "send the header Content-Type: application/json")
	}
	return nil
}

// objectIn is what the path of a request names that no handler has seen.
func objectIn(op *operation, r *http.Request) string {
	mux := http.NewServeMux()
	var object string
	mux.HandleFunc(op.method+" "+Prefix+op.path, func(_ http.ResponseWriter, r *http.Request) { object = objectOf(r) })
	mux.ServeHTTP(&unheard{header: http.Header{}}, r.Clone(r.Context()))
	return object
}

// answer knows whether an answer has begun, and its status.
type answer struct {
	http.ResponseWriter
	status int
}

// Unwrap is for http.ResponseController.
func (w *answer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader begins the answer.
func (w *answer) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write begins it too.
func (w *answer) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// refused says that the call ended before an operation did anything, or with an error.
func (w *answer) refused() bool { return w.status >= http.StatusBadRequest }

// stumble notes what a panic interrupts; the gate answers it.
func (a *API) stumble(c *call) {
	v := recover()
	if v == nil {
		return
	}
	if c.outcome == nil {
		c.outcome = errors.New("panic")
	}
	a.note(c, c.outcome)
	panic(v)
}
