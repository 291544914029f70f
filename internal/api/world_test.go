package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/api"
	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/console/consoletest"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
)

// world is an API behind its gate, with a token of each role.
type world struct {
	*consoletest.World
	api    *api.API
	store  *access.Store
	server *httptest.Server
	tokens map[access.Role]string
	log    *logged
}

// logged is what was logged.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const password = "correct horse battery staple"

func newWorld(t *testing.T, settings gate.Settings) *world {
	t.Helper()
	w := &world{World: consoletest.New(t), tokens: map[access.Role]string{}, log: &logged{}}
	var err error
	if w.store, err = access.Open(t.Context(), w.StateDir, w.Clock); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, role := range access.Roles() {
		name := "the-" + string(role)
		if _, err := w.store.AddUser(t.Context(), name, role, core.NewSecret(password)); err != nil {
			t.Fatal(err)
		}
		token, _, err := w.store.AddToken(t.Context(), name, "script", role, 0)
		if err != nil {
			t.Fatal(err)
		}
		w.tokens[role] = token.Reveal()
	}
	log := slog.New(slog.NewTextHandler(w.log, nil))
	g := gate.New(gate.Options{Store: w.store, Settings: func() gate.Settings { return settings }, Clock: w.Clock, Log: log})
	w.api = api.New(api.Options{Console: w.Console, Gate: g, Version: "9.9.9", Clock: w.Clock, Log: log})
	w.server = httptest.NewServer(g.Wrap(w.api.Handler()))
	t.Cleanup(w.server.Close)
	return w
}

// answer is what a call got.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask makes a request with a token of a role, or of nobody. Headers are "Name: value".
func (w *world) ask(t *testing.T, role access.Role, method, path, body string, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if role != access.Anyone {
		r.Header.Set("Authorization", "Bearer "+w.tokens[role])
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := w.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, text}
}

// into reads a JSON answer that must have a status.
func (a answer) into(t *testing.T, status int, v any) {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, not %d: %s", a.status, status, a.body)
	}
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	var schema struct{ Schema int }
	if err := json.Unmarshal(a.body, &schema); err != nil || schema.Schema != 1 {
		t.Fatalf("schema is %d: %s", schema.Schema, a.body)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type is %q", got)
	}
}

type fault struct{ Code, Message, Hint string }

// fault reads an error that must have a status and a code.
func (a answer) fault(t *testing.T, status int, code string) fault {
	t.Helper()
	var v struct{ Error fault }
	a.into(t, status, &v)
	if v.Error.Code != code || v.Error.Message == "" {
		t.Fatalf("code %q, not %q: %s", v.Error.Code, code, a.body)
	}
	return v.Error
}

// backups are the ids of helpdesk's backups, the newest first.
func (w *world) backups(t *testing.T) []string {
	t.Helper()
	list, err := w.Console.Backups(t.Context(), console.BackupQuery{App: "helpdesk"})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, b := range list.Backups {
		ids = append(ids, b.ID)
	}
	if len(ids) != 3 {
		t.Fatalf("there are %d backups", len(ids))
	}
	return ids
}

// audited are the entries of the audit log about an action, the newest first.
func (w *world) audited(t *testing.T, action string) []core.Audited {
	t.Helper()
	found, err := w.Console.Audit(t.Context(), console.AuditQuery{Action: action})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func queried(path string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return path + "?" + q.Encode()
}

// within is a context for what must happen soon.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}
