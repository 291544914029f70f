package gate

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// stall is how long a peer may take nothing of what is sent to it, or send
// nothing of what it has announced, before it counts as gone.
const stall = 2 * time.Minute

// body is a request's body with its limit.
type body struct {
	raw     io.ReadCloser
	limited io.ReadCloser
	out     http.ResponseWriter // net/http's own, which ends the connection of who sends too much
	patient bool
}

func newBody(out http.ResponseWriter, r *http.Request) *body {
	raw := r.Body
	if raw == nil {
		raw = http.NoBody
	}
	return &body{raw: raw, limited: http.MaxBytesReader(out, raw, MaxBody), out: out}
}

// Read gives a patient body's peer time anew each time.
func (b *body) Read(p []byte) (int, error) {
	if !b.patient {
		return b.limited.Read(p)
	}
	control := http.NewResponseController(b.out)
	deadline := core.SystemClock{}.Now().Add(stall) // of a connection, which knows no other clock
	if err := setDeadlines(control, deadline, deadline); err != nil {
		return 0, err
	}
	n, err := b.limited.Read(p)
	if clear := setDeadlines(control, time.Time{}, deadline); err == nil && clear != nil {
		err = clear
	}
	return n, err
}

func (b *body) Close() error { return b.limited.Close() }

func setDeadlines(control *http.ResponseController, read, write time.Time) error {
	for _, err := range []error{control.SetReadDeadline(read), control.SetWriteDeadline(write)} {
		if err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
	}
	return nil
}

// AllowBody lets a request have a body of most bytes, -1 for any size, and gives
// it time: as long as something of it comes every two minutes. It must be called
// before the body is read, by somebody who knows that the request is allowed.
// Reading beyond it is an *http.MaxBytesError.
func AllowBody(_ http.ResponseWriter, r *http.Request, most int64) {
	b := visitOf(r.Context()).body
	if b == nil {
		return
	}
	b.patient = true
	b.limited = b.raw
	if most >= 0 {
		b.limited = http.MaxBytesReader(b.out, b.raw, most)
	}
}

// writer is the answer to a request.
type writer struct {
	http.ResponseWriter
	base    string
	patient bool
	began   bool
}

// Patient lets an answer take as long as it takes: downloads and event streams.
// Only a peer that takes nothing for two minutes is given up.
func Patient(w http.ResponseWriter) {
	for w != nil {
		if own, ok := w.(*writer); ok {
			own.patient = true
			own.deadline(false)
			return
		}
		inner, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return
		}
		w = inner.Unwrap()
	}
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader puts the base path before the address of a redirection by
// net/http's mux, which knows only of the path below it.
func (w *writer) WriteHeader(status int) {
	if status >= 200 {
		w.began = true
	}
	location := w.Header().Get("Location")
	if w.base != "" && status >= 300 && status < 400 && strings.HasPrefix(location, "/") && !strings.HasPrefix(location, "//") &&
		location != w.base && !strings.HasPrefix(location, w.base+"/") {
		w.Header().Set("Location", w.base+location)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(p []byte) (int, error) {
	w.began = true
	if !w.patient {
		return w.ResponseWriter.Write(p)
	}
	w.deadline(true)
	defer w.deadline(false)
	return w.ResponseWriter.Write(p)
}

// Flush sends what was written.
func (w *writer) Flush() { _ = w.FlushError() } // the next write meets the same error

// FlushError is for http.ResponseController.
func (w *writer) FlushError() error {
	w.began = true
	if w.patient {
		w.deadline(true)
		defer w.deadline(false)
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// deadline sets the time for one write. Between writes there is none: HTTP/2 ends
// streams whose deadline passes though nothing is being written.
func (w *writer) deadline(writing bool) {
	var until time.Time
	if writing {
		until = core.SystemClock{}.Now().Add(stall)
	}
	// A connection that takes no deadline has no other that could cut it off.
	_ = setDeadlines(http.NewResponseController(w.ResponseWriter), time.Time{}, until)
}

// finish gives what is still to be sent after the handler its time.
func (w *writer) finish() {
	if w.patient {
		w.deadline(true)
	}
}

var (
	_ http.Flusher = (*writer)(nil)
	_ io.Reader    = (*body)(nil)
)
