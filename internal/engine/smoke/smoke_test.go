package smoke_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/engine/smoke"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/generic"
	"github.com/backstay/backstay/internal/repository/memory"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

func look(t *testing.T, e *engine.Engine, target engine.Target, patience time.Duration) *smoke.Seen {
	t.Helper()
	s, err := smoke.Look(t.Context(), e, target, patience)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func names(problems []smoke.Problem) []string {
	out := []string{}
	for _, p := range problems {
		out = append(out, p.Name)
	}
	return out
}

// TestLook breaks an application in one way after the other.
func TestLook(t *testing.T) {
	t.Parallel()
	a := enginetest.NewApp(t)
	e := enginetest.New(t, memory.New())
	status := http.StatusNotFound // a page that is not there is an answer
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer server.Close()
	target := a.Target
	target.App.URL = server.URL

	whole := look(t, e, target, 0)
	if diff := cmp.Diff(&smoke.Seen{Checked: []string{"its configuration", "database " + a.DB, server.URL}, Problems: []smoke.Problem{}}, whole); diff != "" {
		t.Errorf("an application that works (-want +got):\n%s", diff)
	}
	for _, c := range []struct {
		name  string
		want  []string
		text  string
		given func(*engine.Target)
	}{
		{"an answer that says it is broken", []string{smoke.Answer}, "it answers 503 Service Unavailable", func(*engine.Target) { status = 503 }},
		{"nothing answers", []string{smoke.Unreachable}, "connection refused", func(t *engine.Target) { t.App.URL = "http://127.0.0.1:1/" }},
		{"no such database", []string{smoke.Database}, "nowhere", func(t *engine.Target) { t.App.Database.Name = "nowhere_at_all" }},
		{"no such folder", []string{smoke.Configuration}, "gone", func(t *engine.Target) { t.App.Root = filepath.Join(a.Root, "gone") }},
	} {
		broken := target
		status = http.StatusOK
		c.given(&broken)
		got := look(t, e, broken, 0)
		if diff := cmp.Diff(c.want, names(got.Problems)); diff != "" {
			t.Fatalf("%s (-want +got):\n%s\n%+v", c.name, diff, got.Problems)
		}
		if !strings.Contains(got.Problems[0].Message, c.text) {
			t.Errorf("%s: %q does not say %q", c.name, got.Problems[0].Message, c.text)
		}
		if want := c.want[0] == smoke.Answer || c.want[0] == smoke.Unreachable; got.Silent() != want {
			t.Errorf("%s: silent %t, want %t", c.name, !want, want)
		}
		if since := got.Since(whole); len(since) != 1 {
			t.Errorf("%s: %d problems since it worked, want 1", c.name, len(since))
		}
		// It is no news the second time.
		if since := look(t, e, broken, 0).Since(got); len(since) != 0 {
			t.Errorf("%s: again seen as new: %+v", c.name, since)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := smoke.Look(ctx, e, target, time.Hour); err == nil {
		t.Error("a cancelled look gives no error")
	}
}

// TestPatience asks again while a server starts.
func TestPatience(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer server.Close()
	a := enginetest.NewApp(t)
	target := a.FilesOnly()
	target.App.URL = server.URL
	if got := look(t, enginetest.New(t, memory.New()), target, time.Minute); len(got.Problems) != 0 || asked.Load() != 3 {
		t.Errorf("asked %d times: %+v", asked.Load(), got.Problems)
	}
}

// versioned is an application whose code expects a version of its database.
type versioned struct {
	generic.Profile
	want, is string
}

func (v *versioned) ExpectedSchema(*core.Application) (want, is string) { return v.want, v.is }

func (v *versioned) Check(context.Context, profile.Querier, *core.Application, profile.Restored) []core.Finding {
	return []core.Finding{{Kind: core.FindingFine, Name: "fine"}, {Kind: core.FindingDecision, Name: profile.FindingAdministrators, Message: "there are no users"}}
}

// TestVersions compares what code and database are for, and says that of an
// update that changed one of them once more.
func TestVersions(t *testing.T) {
	t.Parallel()
	a := enginetest.NewApp(t)
	e := enginetest.New(t, memory.New())
	v := &versioned{want: "2.6.7", is: "2.6.6"}
	e.Profiles = profile.NewRegistry(v)
	first := look(t, e, a.Target, 0)
	if diff := cmp.Diff([]string{profile.FindingSchemaVersion, profile.FindingAdministrators}, names(first.Problems)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	v.want = "2.6.8"
	if diff := cmp.Diff([]string{profile.FindingSchemaVersion}, names(look(t, e, a.Target, 0).Since(first))); diff != "" {
		t.Errorf("after an update of the code alone (-want +got):\n%s", diff)
	}
	if first.Silent() {
		t.Error("an application without an address is held to be silent")
	}
	v.is = "2.6.8"
	if since := look(t, e, a.Target, 0).Since(first); len(since) != 0 {
		t.Errorf("after the update of the database: %+v", since)
	}
}
