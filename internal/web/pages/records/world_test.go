package records_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/console/consoletest"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/web/page"
	"github.com/backstay/backstay/internal/web/pages/records"
)

// site is a console's pages of this part, with a person of each role.
type site struct {
	*consoletest.World
	handler http.Handler
	tokens  map[access.Role]string
	noted   []string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{World: consoletest.New(t), tokens: map[access.Role]string{}}
	store, err := access.Open(t.Context(), t.TempDir(), s.Clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, role := range access.Roles() {
		name := "the-" + string(role)
		if _, err := store.AddUser(t.Context(), name, role, core.NewSecret("correct horse battery staple "+name)); err != nil {
			t.Fatal(err)
		}
		token, _, err := store.AddToken(t.Context(), name, "test", role, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		s.tokens[role] = token.Reveal()
	}
	g := gate.New(gate.Options{Store: store, Settings: func() gate.Settings { return gate.Settings{} }, Clock: s.Clock, Log: s.Engine.Log})
	pages, err := page.New(page.Options{
		Gate: g, Pages: []page.Pages{records.Pages(s.Console)}, Version: "test", Clock: s.Clock, Log: s.Engine.Log,
		Audit: func(_ *page.Request, action, object, outcome, _ string) {
			s.noted = append(s.noted, action+" "+object+" "+outcome)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.handler = g.Wrap(pages)
	return s
}

// ask sends a request as somebody of a role; form nil is a GET. header are pairs.
func (s *site) ask(t *testing.T, role access.Role, target string, form url.Values, header ...string) *http.Response {
	t.Helper()
	method, body := http.MethodGet, ""
	if form != nil {
		method, body = http.MethodPost, form.Encode()
	}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:8484"+target, strings.NewReader(body))
	if err != nil {
		r = httptest.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:8484/", strings.NewReader(body))
		r.URL = &url.URL{Scheme: "http", Host: "127.0.0.1:8484", Path: target}
	}
	r.RemoteAddr, r.RequestURI = "127.0.0.1:40000", target
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if role != access.Anyone {
		r.Header.Set("Authorization", "Bearer "+s.tokens[role])
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// page asks for a page that is to be there.
func (s *site) page(t *testing.T, role access.Role, target string) string {
	t.Helper()
	r := s.ask(t, role, target, nil)
	content := text(t, r)
	if r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %s", target, r.Status, content)
	}
	if strings.Contains(content, "records.") && strings.Contains(content, ">records.") {
		t.Errorf("%s: a text is missing: %s", target, content[strings.Index(content, ">records."):][:60])
	}
	return content
}

func holds(t *testing.T, content string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(content, p) {
			_, main, _ := strings.Cut(content, "<main")
			t.Errorf("%q is missing in\n%.3000s", p, main)
		}
	}
}
