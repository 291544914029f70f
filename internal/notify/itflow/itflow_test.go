package itflow_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify/itflow"
	"github.com/backstay/backstay/internal/notify/notifytest"
)

const key = "k3y_0123456789abcdefghijklmnop\"<"

// fake answers as ITFlow 26.08 was seen to.
type fake struct {
	*httptest.Server
	mu        sync.Mutex
	rows      []map[string]any
	replies   map[int][]string
	addresses []string
	requests  int
	answer    http.HandlerFunc
	bodyless  bool // something on the way takes the bodies of GETs away
	old       bool // a version without replies by API
	closed    chan struct{}
}

func newFake(t *testing.T, tickets int) *fake {
	f := &fake{closed: make(chan struct{}), replies: map[int][]string{}}
	for range tickets {
		f.add(map[string]any{"ticket_details": "<p>somebody's</p>", "ticket_client_id": "1", "ticket_subject": "x"})
	}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	t.Cleanup(func() { close(f.closed) })
	return f
}

func (f *fake) add(row map[string]any) int {
	id := len(f.rows) + 1
	row["ticket_id"], row["ticket_status"], row["ticket_resolved_at"], row["ticket_closed_at"], row["ticket_archived_at"] = fmt.Sprint(id), "1", nil, nil, nil
	f.rows = append(f.rows, row)
	return id
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.answer != nil {
		f.answer(w, r)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.addresses = append(f.addresses, r.URL.String())
	f.requests++
	var q struct {
		Key     string `json:"api_key"`
		Client  int    `json:"client_id"`
		Ticket  int    `json:"ticket_id"`
		Subject string `json:"ticket_subject"`
		Details string `json:"ticket_details"`
		Reply   string `json:"ticket_reply"`
		Type    string `json:"ticket_reply_type"`
		Limit   *int
		Offset  int
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	if len(body) > 0 && (r.Method == http.MethodPost || !f.bodyless) {
		if err := json.Unmarshal(body, &q); err != nil {
			panic(err)
		}
	}
	if v := r.URL.Query().Get("api_key"); v != "" {
		q.Key = v
		n, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		q.Limit = &n
		q.Offset, _ = strconv.Atoi(r.URL.Query().Get("offset"))
	}
	say := func(status int, said map[string]any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(said); err != nil {
			panic(err)
		}
	}
	switch {
	case q.Key == "":
		w.WriteHeader(http.StatusUnauthorized)
		return
	case q.Key != key:
		say(http.StatusUnauthorized, map[string]any{"success": "False", "message": "Authentication failed. API key is invalid or has expired."})
		return
	}
	row := func() map[string]any {
		if q.Ticket < 1 || q.Ticket > len(f.rows) || f.rows[q.Ticket-1]["ticket_client_id"] != fmt.Sprint(q.Client) {
			return nil
		}
		return f.rows[q.Ticket-1]
	}()
	failed := func(what string) {
		say(200, map[string]any{"success": "False", "message": "Auth success but " + what + " query failed"})
	}
	switch r.URL.Path {
	case "/desk/api/v1/tickets/create.php":
		if q.Subject == "" {
			failed("insert")
			return
		}
		id := f.add(map[string]any{"ticket_details": q.Details + "<br>", "ticket_client_id": fmt.Sprint(q.Client), "ticket_subject": q.Subject})
		say(200, map[string]any{"success": "True", "count": "1", "data": []any{map[string]any{"insert_id": id}}})
	case "/desk/api/v1/ticket_replies/create.php":
		if f.old {
			http.NotFound(w, r)
			return
		}
		if row == nil || q.Reply == "" {
			failed("insert")
			return
		}
		f.replies[q.Ticket] = append(f.replies[q.Ticket], q.Type+": "+q.Reply)
		say(200, map[string]any{"success": "True", "count": "1", "data": []any{map[string]any{"insert_id": 9}}})
	case "/desk/api/v1/tickets/resolve.php":
		if row == nil || row["ticket_resolved_at"] != nil {
			failed("update")
			return
		}
		row["ticket_resolved_at"], row["ticket_status"] = "2026-11-23 18:00:00", "4"
		say(200, map[string]any{"success": "True", "count": 1})
	case "/desk/api/v1/tickets/read.php":
		found := []map[string]any{}
		if id := r.URL.Query().Get("ticket_id"); id != "" {
			if n, _ := strconv.Atoi(id); n >= 1 && n <= len(f.rows) {
				found = append(found, f.rows[n-1])
			}
		} else {
			limit := 50
			if q.Limit != nil {
				limit = *q.Limit
			}
			from := min(q.Offset, len(f.rows))
			found = f.rows[from:min(len(f.rows), from+limit)]
		}
		if len(found) == 0 {
			say(200, map[string]any{"success": "False", "message": "No resource (for this client and company) with the specified parameter(s)."})
			return
		}
		say(200, map[string]any{"success": "True", "count": len(found), "data": found})
	default:
		http.NotFound(w, r)
	}
}

func (f *fake) open() (open int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, row := range f.rows {
		if row["ticket_resolved_at"] == nil && strings.Contains(fmt.Sprint(row["ticket_details"]), "backstay-") {
			open++
		}
	}
	return open
}

func destination(t *testing.T, f *fake) *itflow.Destination {
	t.Helper()
	d, err := itflow.New(itflow.Options{URL: f.URL + "/desk/", Key: core.NewSecret(key), ClientID: 3, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func harness(t *testing.T, change func(*fake)) notifytest.Harness {
	f := newFake(t, 150)
	if change != nil {
		change(f)
	}
	says := func(status int, body string) func() {
		return func() {
			f.answer = func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(status)
				_, _ = io.WriteString(w, body)
			}
		}
	}
	return notifytest.Harness{
		Destination: destination(t, f),
		Secrets:     []string{key, "k3y_0123456789abcdefghijklmnop"},
		Open:        f.open,
		Taken: func() (taken []string) {
			f.mu.Lock()
			defer f.mu.Unlock()
			for i, row := range f.rows[150:] {
				taken = append(taken, fmt.Sprint(row["ticket_subject"], "\n", row["ticket_details"]))
				taken = append(taken, f.replies[151+i]...)
			}
			return taken
		},
		Hang: func() {
			f.answer = func(_ http.ResponseWriter, r *http.Request) {
				select {
				case <-r.Context().Done():
				case <-f.closed:
				}
			}
		},
		Faults: map[string]func(){
			"gone":           f.Server.Close,
			"no key":         says(401, ""),
			"wrong key":      says(401, `{"success":"False","message":"Authentication failed. API key `+strings.ReplaceAll(key, `"`, `\"`)+` is invalid or has expired."}`),
			"no right":       says(403, `{"success":"False","message":"The user linked to this API key does not have permission for this action."}`),
			"wrong method":   says(405, `string(3) "GET"`),
			"error at 200":   says(200, `{"success":"False","message":"Auth success but insert query failed"}`),
			"false at 200":   says(200, `{"success":false}`),
			"not success":    says(200, `{"count":"1"}`),
			"page":           says(200, "<!DOCTYPE html><html>Login k3y_0123456789abcdefghijklmnop</html>"),
			"PHP's warning":  says(200, "<br />\n<b>Warning</b>: mysqli_connect() {}"),
			"nothing":        says(200, ""),
			"half a JSON":    says(200, `{"success":"True","count":"1","data":[{"ins`),
			"data of others": says(200, `{"success":"True","data":"none"}`),
			"no database":    says(500, ""),
			"huge": func() {
				f.answer = func(w http.ResponseWriter, _ *http.Request) {
					for range 3000 {
						_, _ = io.WriteString(w, strings.Repeat(" ", 1024))
					}
				}
			},
			"endless list": says(200, `{"success":"True","count":1,"data":[{"ticket_id":"1","ticket_details":"x"}]}`),
			"broken off": func() {
				f.answer = func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Length", "1000")
					_, _ = io.WriteString(w, `{"success":"True"}`)
				}
			},
			"redirect": func() {
				f.answer = func(w http.ResponseWriter, r *http.Request) {
					http.Redirect(w, r, "https://elsewhere.example.org/?api_key=k3y_0123456789abcdefghijklmnop", http.StatusMovedPermanently)
				}
			},
		},
	}
}

func TestITFlow(t *testing.T) {
	notifytest.Run(t, func(t *testing.T) notifytest.Harness { return harness(t, nil) })
}

// TestBodyless: where the bodies of GETs do not arrive, the key has to be in
// the address.
func TestBodyless(t *testing.T) {
	notifytest.Run(t, func(t *testing.T) notifytest.Harness {
		return harness(t, func(f *fake) { f.bodyless = true })
	})
}

// TestKeyInNoAddress: servers write addresses to their logs.
func TestKeyInNoAddress(t *testing.T) {
	f := newFake(t, 5)
	d := destination(t, f)
	ref, err := d.Deliver(t.Context(), "", notifytest.Message(core.AlarmOpened, "helpdesk"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Deliver(t.Context(), ref, notifytest.Message(core.AlarmClosed, "helpdesk")); err != nil {
		t.Fatal(err)
	}
	if len(f.addresses) == 0 || slices.ContainsFunc(f.addresses, func(a string) bool { return strings.Contains(a, "key") }) {
		t.Errorf("%q", f.addresses)
	}
}

// TestOld: a version that takes no replies still opens and resolves.
func TestOld(t *testing.T) {
	f := newFake(t, 5)
	f.old = true
	d := destination(t, f)
	ref, err := d.Deliver(t.Context(), "", notifytest.Message(core.AlarmOpened, "helpdesk"))
	if err != nil || f.open() != 1 {
		t.Fatalf("%v", err)
	}
	if _, err := d.Deliver(t.Context(), ref, notifytest.Message(core.AlarmUpdated, "helpdesk")); core.CodeOf(err) != core.CodeUnsupported {
		t.Errorf("update: %v", err)
	}
	if _, err := d.Deliver(t.Context(), ref, notifytest.Message(core.AlarmClosed, "helpdesk")); err != nil || f.open() != 0 {
		t.Errorf("%d open, %v", f.open(), err)
	}
}

// TestResolvedByHand: the API cannot open a ticket again.
func TestResolvedByHand(t *testing.T) {
	f := newFake(t, 5)
	d := destination(t, f)
	ref, err := d.Deliver(t.Context(), "", notifytest.Message(core.AlarmOpened, "helpdesk"))
	if err != nil {
		t.Fatal(err)
	}
	f.rows[5]["ticket_resolved_at"] = "2026-11-23 18:00:00"
	next, err := d.Deliver(t.Context(), ref, notifytest.Message(core.AlarmUpdated, "helpdesk"))
	if err != nil || next == ref || f.open() != 1 {
		t.Errorf("%q after %q, %v", next, ref, err)
	}
	// After a restore of ITFlow the number is another ticket's.
	f.rows[6]["ticket_details"] = "somebody's"
	last, err := d.Deliver(t.Context(), next, notifytest.Message(core.AlarmUpdated, "helpdesk"))
	if err != nil || last == next || len(f.replies[7]) > 0 {
		t.Errorf("%q after %q, %v", last, next, err)
	}
}

// TestManyTickets: a ticket is found among many, with few requests, and long
// ones of others do not hide it.
func TestManyTickets(t *testing.T) {
	for _, n := range []int{0, 1, 19, 20, 21, 63, 64, 65, 256, 5000} {
		f := newFake(t, n)
		d := destination(t, f)
		ref, err := d.Deliver(t.Context(), "", notifytest.Message(core.AlarmOpened, "helpdesk"))
		if err != nil || ref != fmt.Sprint(n+1) {
			t.Fatalf("%d tickets: %q, %v", n, ref, err)
		}
		for range 30 {
			f.add(map[string]any{"ticket_details": "x", "ticket_client_id": "1"})
		}
		f.rows[n+3]["ticket_details"] = strings.Repeat("picture", 200_000)
		f.requests = 0
		again, err := d.Deliver(t.Context(), "", notifytest.Message(core.AlarmOpened, "helpdesk"))
		if err != nil || again != ref {
			t.Errorf("%d tickets: %q after %q, %v", n, again, ref, err)
		}
		if f.requests > 60 {
			t.Errorf("%d tickets: %d requests", n, f.requests)
		}
	}
}

func TestOptions(t *testing.T) {
	good := itflow.Options{URL: "https://itflow.example.org", Key: core.NewSecret(key)}
	if _, err := itflow.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*itflow.Options){
		"no address": func(o *itflow.Options) { o.URL = "" },
		"key in it":  func(o *itflow.Options) { o.URL += "/?api_key=k3y_0123456789" },
		"user in it": func(o *itflow.Options) { o.URL = "https://bob:k3y_0123456789@itflow.example.org" },
		"no key":     func(o *itflow.Options) { o.Key = core.Secret{} },
		"priority":   func(o *itflow.Options) { o.Priority = "high" },
		"client":     func(o *itflow.Options) { o.ClientID = -1 },
	} {
		opt := good
		change(&opt)
		_, err := itflow.New(opt)
		if core.CodeOf(err) != core.CodeConfig || core.HintOf(err) == "" || strings.Contains(fmt.Sprint(err), "k3y_") {
			t.Errorf("%s: %v (%s)", name, err, core.HintOf(err))
		}
	}
}
