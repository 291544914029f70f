package operations

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// receiver is who is told of alarms, at /main and /spare.
type receiver struct {
	server *httptest.Server

	mu   sync.Mutex // guards what follows
	down map[string]bool
	got  []delivery
}

// delivery is what was told once.
type delivery struct {
	to      string
	Part    string
	Subject string
	Text    string
	Ref     string
	Marker  string
	Alarm   struct {
		App, Topic string
		Problems   []struct{ Name, Object string }
	}
}

func (d delivery) about() string { return strings.TrimSpace(d.Alarm.App + " " + d.Alarm.Topic) }

func newReceiver(t *testing.T) *receiver {
	r := &receiver{down: map[string]bool{}}
	r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		d := delivery{to: strings.TrimPrefix(req.URL.Path, "/")}
		if r.down[d.to] {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if err := json.NewDecoder(req.Body).Decode(&d); err != nil {
			t.Errorf("what was told cannot be read: %v", err)
		}
		r.got = append(r.got, d)
		if err := json.NewEncoder(w).Encode(map[string]string{"ref": ticket(d)}); err != nil {
			t.Errorf("answer: %v", err)
		}
	}))
	t.Cleanup(r.server.Close)
	return r
}

// ticket is what the receiver calls an alarm.
func ticket(d delivery) string { return "T-" + d.Marker }

// switchOff has a destination fail, or work again.
func (r *receiver) switchOff(name string, down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down[name] = down
}

// heard returns what a destination was told.
func (r *receiver) heard(name string) []delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.got), func(d delivery) bool { return d.to != name })
}

// want compares the lives of alarms that a destination was told of, each as
// "app topic: opened closed", in the order of their beginning. How often
// something was updated in between is left out, and all parts must go to the
// ticket that was opened.
func (r *receiver) want(t *testing.T, name string, want ...string) {
	t.Helper()
	var order []string
	lives := map[string]string{}
	var said strings.Builder
	for _, d := range r.heard(name) {
		fmt.Fprintf(&said, "  %s %s: %s %v\n", d.Part, d.about(), d.Subject, d.Alarm.Problems)
		if _, known := lives[d.Marker]; !known {
			order, lives[d.Marker] = append(order, d.Marker), d.about()+":"
		}
		if d.Part != "updated" {
			lives[d.Marker] += " " + d.Part
		}
		if d.Part != "opened" && d.Ref != ticket(d) {
			t.Errorf("%s of %s is about ticket %q, want %q", d.Part, d.about(), d.Ref, ticket(d))
		}
	}
	got := []string{}
	for _, marker := range order {
		got = append(got, lives[marker])
	}
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		t.Fatalf("what %s was told (-want +got):\n%s%s", name, diff, &said)
	}
}
