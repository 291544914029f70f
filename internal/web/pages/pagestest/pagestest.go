// Package pagestest asks pages of the console as a person of each role would, on
// the filled console of package consoletest. It is for the tests of the packages
// below pages.
package pagestest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/console/consoletest"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/web/page"
)

// Origin is where the site is.
const Origin = "http://127.0.0.1:8484"

const address = "127.0.0.1:40000"

// Site is a part of the console's pages, with a person of each role, whose name
// is NameOf it.
type Site struct {
	*consoletest.World
	// Noted are the entries of the audit log: action, object and outcome.
	Noted []string

	store    *access.Store
	handler  http.Handler
	sessions map[access.Role]session
	texts    string // what keys of the part's texts begin with
}

// session is a login, which is renewed before a password would be asked for.
type session struct {
	cookie string
	began  time.Time
}

// New makes a site of the pages that of returns. texts is what the keys of their
// texts begin with: "records".
func New(t *testing.T, texts string, of func(w *consoletest.World) page.Pages) *Site {
	t.Helper()
	s := &Site{World: consoletest.New(t), sessions: map[access.Role]session{}, texts: texts}
	var err error
	if s.store, err = access.Open(t.Context(), t.TempDir(), s.Clock); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	})
	g := gate.New(gate.Options{Store: s.store, Settings: func() gate.Settings { return gate.Settings{} }, Clock: s.Clock, Log: s.Engine.Log})
	pages, err := page.New(page.Options{
		Gate: g, Pages: []page.Pages{of(s.World)}, Version: "test", Clock: s.Clock, Log: s.Engine.Log,
		Audit: func(_ *page.Request, action, object, outcome, _ string) {
			s.Noted = append(s.Noted, action+" "+object+" "+outcome)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.handler = g.Wrap(pages)
	return s
}

// NameOf is the name of the person of a role.
func NameOf(role access.Role) string { return "the-" + string(role) }

// cookie is that of a session that was proved a moment ago, however far the
// clock was moved.
func (s *Site) cookie(t *testing.T, role access.Role) string {
	t.Helper()
	known, now := s.sessions[role], s.Clock.Now()
	if known.cookie != "" && now.Sub(known.began) < access.FreshFor/2 {
		return known.cookie
	}
	name := NameOf(role)
	// By a provider: no password is hashed for it.
	secret, _, err := s.store.Enter(t.Context(), "https://id.example.org", name, name, role, access.Credentials{Address: netip.MustParseAddrPort(address).Addr()}, access.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	s.sessions[role] = session{secret.Reveal(), now}
	return secret.Reveal()
}

// Ask sends a request as somebody of a role; form nil is a GET. header are pairs.
func (s *Site) Ask(t *testing.T, role access.Role, target string, form url.Values, header ...string) *http.Response {
	t.Helper()
	if form == nil {
		return s.send(t, role, http.MethodGet, target, "", header)
	}
	return s.send(t, role, http.MethodPost, target, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...))
}

// Post sends a body of any kind.
func (s *Site) Post(t *testing.T, role access.Role, target, kind, body string) *http.Response {
	t.Helper()
	return s.send(t, role, http.MethodPost, target, body, []string{"Content-Type", kind})
}

func (s *Site) send(t *testing.T, role access.Role, method, target, body string, header []string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, Origin+target, strings.NewReader(body))
	if err != nil { // not an address, and to be refused as that
		r = httptest.NewRequestWithContext(t.Context(), method, Origin+"/", strings.NewReader(body))
		r.URL = &url.URL{Scheme: "http", Host: strings.TrimPrefix(Origin, "http://"), Path: target}
	}
	r.RemoteAddr, r.RequestURI = address, target
	if method == http.MethodPost {
		r.Header.Set("Origin", Origin)
	}
	if role != access.Anyone {
		r.AddCookie(&http.Cookie{Name: "backstay", Value: s.cookie(t, role)})
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w.Result()
}

// Text is the body of an answer.
func Text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Page asks for a page that is to be there, and has all its texts.
func (s *Site) Page(t *testing.T, role access.Role, target string) string {
	t.Helper()
	r := s.Ask(t, role, target, nil)
	content := Text(t, r)
	if r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %s", target, r.Status, content)
	}
	if at := strings.Index(content, ">"+s.texts+"."); at >= 0 {
		t.Errorf("%s: a text is missing: %.60s", target, content[at:])
	}
	return content
}

// Holds checks that a page has parts.
func Holds(t *testing.T, content string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(content, p) {
			_, main, _ := strings.Cut(content, "<main")
			t.Errorf("%q is missing in\n%.3000s", p, main)
		}
	}
}
