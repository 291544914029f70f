// Package wiretest is a web server for tests of destinations that are reached
// by HTTP. It keeps what it took, and fails in the ways in which such servers
// do.
package wiretest

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
)

// Request is one that the site took.
type Request struct {
	Path   string // as it was sent, with its query
	Header http.Header
	Body   string
}

// Site is the server. It is safe for concurrent use.
type Site struct {
	URL    string
	server *httptest.Server
	ended  chan struct{}
	mu     sync.Mutex
	taken  []Request
	kind   string
	body   string
	fault  http.HandlerFunc // nil: it takes what comes
}

// New starts a site that answers 200 with body, of the content type kind, until
// the test ends.
func New(t *testing.T, kind, body string) *Site {
	t.Helper()
	s := &Site{kind: kind, body: body, ended: make(chan struct{})}
	s.server = httptest.NewServer(s)
	s.URL = s.server.URL
	t.Cleanup(func() {
		close(s.ended)
		s.server.Close()
	})
	return s
}

// Taken returns what the site took, oldest first.
func (s *Site) Taken() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.taken)
}

// Bodies returns the bodies of Taken.
func (s *Site) Bodies() []string {
	var all []string
	for _, r := range s.Taken() {
		all = append(all, r.Body)
	}
	return all
}

// ServeHTTP takes a request, or fails as it was told.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	fault := s.fault
	if fault == nil {
		s.taken = append(s.taken, Request{r.RequestURI, r.Header.Clone(), string(body)})
	}
	s.mu.Unlock()
	if fault != nil {
		fault(w, r)
		return
	}
	if s.kind != "" {
		w.Header().Set("Content-Type", s.kind)
	}
	_, _ = io.WriteString(w, s.body) // a client that is gone has its own test
}

// Fail makes the site answer with handle in place of taking what comes.
func (s *Site) Fail(handle http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = handle
}

// Answer makes the site answer so, and take nothing.
func (s *Site) Answer(status int, kind, body string) {
	s.Fail(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

// Hang makes the site take connections and requests, and answer nothing.
func (s *Site) Hang() {
	s.Fail(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-s.ended:
		}
	})
}

// Faults are the ways in which the site can fail whatever speaks to it, by
// name. What it answers holds the path and headers that it was asked with, as
// some servers' do.
func (s *Site) Faults() map[string]func() {
	echo := func(status int) func() {
		return func() {
			s.Fail(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				w.WriteHeader(status)
				_, _ = io.WriteString(w, "not so:\n\x1b[2J "+r.RequestURI)
				for _, values := range r.Header {
					for _, v := range values {
						_, _ = io.WriteString(w, " "+v)
					}
				}
			})
		}
	}
	return map[string]func(){
		"refuses":         echo(http.StatusForbidden),
		"does not know":   echo(http.StatusNotFound),
		"is overloaded":   echo(http.StatusTooManyRequests),
		"is down":         echo(http.StatusServiceUnavailable),
		"is gone":         func() { s.server.Close() },
		"breaks off":      func() { s.Fail(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }) },
		"its proxy fails": func() { s.Answer(http.StatusBadGateway, "text/html", "<h1>bad gateway</h1>") },
	}
}

// SaysNo are Faults, and those in which an answer with status 200, or one that
// leads elsewhere, is none that takes the message.
func (s *Site) SaysNo() map[string]func() {
	all := map[string]func(){
		"says not ok":     func() { s.Answer(http.StatusOK, "application/json", `{"ok":false,"error":"no such channel"}`) },
		"says no success": func() { s.Answer(http.StatusOK, "text/html", `{"success":"False","message":"wrong key"}`) },
		"says error":      func() { s.Answer(http.StatusOK, "application/json", `{"error":{"code":1}}`) },
		"asks to log in":  func() { s.Fail(http.RedirectHandler("/login", http.StatusFound).ServeHTTP) },
		"sends elsewhere": func() {
			s.Fail(http.RedirectHandler("http://example.invalid/", http.StatusTemporaryRedirect).ServeHTTP)
		},
		"answers for hours": func() { s.Answer(http.StatusOK, "text/plain", string(make([]byte, 2<<20))) },
	}
	maps.Copy(all, s.Faults())
	return all
}
