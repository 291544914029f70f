package itop_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify/itop"
	"github.com/backstay/backstay/internal/notify/notifytest"
)

func options(f *fake) itop.Options {
	return itop.Options{
		URL: f.URL + "/itop/", User: "rest", Password: core.NewSecret(password), Organization: "Demo", Service: "Computers and peripherals", Subcategory: "Repair", Team: "Helpdesk", Server: "Server1",
		Timeout: 5 * time.Second,
	}
}

func harness(t *testing.T, protocol itop.Protocol) (notifytest.Harness, *fake) {
	f := newFake(t)
	opt := options(f)
	opt.Protocol = protocol
	d, err := itop.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	says := func(status int, contentType, body string) func() {
		return func() {
			f.answer = func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", contentType)
				w.WriteHeader(status)
				_, _ = io.WriteString(w, body)
			}
		}
	}
	h := notifytest.Harness{
		Destination: d,
		Secrets:     []string{password, "s3cret-Pw"},
		Taken: func() (taken []string) {
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, i := range f.tickets {
				taken = append(taken, i.title+"\n"+i.description)
				taken = append(taken, i.log...)
				if i.reply != "" {
					taken = append(taken, i.reply)
				}
			}
			return taken
		},
		Open: func() (open int) {
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, i := range f.tickets {
				if i.status != "resolved" && i.status != "closed" {
					open++
				}
			}
			return open
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
			"gone":               f.Server.Close,
			"wrong login":        says(200, "application/json", `{"code":1,"message":"Error: Invalid login `+strings.ReplaceAll(password, `"`, `\"`)+`"}`),
			"error at 200":       says(200, "application/json", `{"code":100,"message":"Error: SELECT: Unknown class \"Incident\"`+strings.Repeat(" x", 5000)+`"}`),
			"login page":         says(200, "text/html", "<!DOCTYPE html>\n<html><title>iTop login</title>s3cret-Pw</html>"),
			"PHP's complaint":    says(200, "text/html", "<br />\n<b>Fatal error</b>: Uncaught Error in /var/www"),
			"nothing":            says(200, "application/json", ""),
			"JSON of another":    says(200, "application/json", `{"objects":{}}`),
			"half a JSON":        says(200, "application/json", `{"code":0,"message":null,"objects":{"Incid`),
			"a list":             says(200, "application/json", `[]`),
			"maintenance":        says(503, "application/json", `{"data":[{"code":100,"message":"This application is currently under maintenance."}],"scripts":[]}`),
			"read-only mode":     says(200, "application/json", `{"code":1,"message":"The current user does not have enough permissions for creating data of class Incident","objects":null}`),
			"not found":          says(404, "text/html", "<html>s3cret-Pw</html>"),
			"another's XML":      says(200, "text/xml", `<?xml version="1.0"?><rss><channel/></rss>`),
			"object refused":     says(200, "application/json", `{"code":0,"message":null,"objects":{"Incident::1":{"code":100,"message":"stopped by a trigger","fields":{}}}}`),
			"objects of no kind": says(200, "application/json", `{"code":0,"message":null,"objects":{"Incident::1":7}}`),
			"huge": func() {
				f.answer = func(w http.ResponseWriter, _ *http.Request) {
					for range 3000 {
						_, _ = io.WriteString(w, strings.Repeat(" ", 1024))
					}
				}
			},
			"redirect to the login": func() {
				f.answer = func(w http.ResponseWriter, r *http.Request) {
					http.Redirect(w, r, "/pages/UI.php?auth_pwd="+password, http.StatusFound)
				}
			},
			"broken off": func() {
				f.answer = func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Length", "1000")
					_, _ = io.WriteString(w, `{"code":0,"message":null,"objects":null}`)
				}
			},
		},
	}
	return h, f
}

func TestREST(t *testing.T) {
	notifytest.Run(t, func(t *testing.T) notifytest.Harness { h, _ := harness(t, itop.REST); return h })
}

func TestSOAP(t *testing.T) {
	notifytest.Run(t, func(t *testing.T) notifytest.Harness { h, _ := harness(t, itop.SOAP); return h })
}

// TestSOAPOnly: tickets are opened, once, and say that the rest is for people.
func TestSOAPOnly(t *testing.T) {
	h, f := harness(t, itop.SOAPOnly)
	f.noREST = true
	var refs []string
	for _, part := range []core.AlarmPart{core.AlarmOpened, core.AlarmOpened, core.AlarmUpdated, core.AlarmClosed} {
		ref := ""
		if part != core.AlarmOpened {
			ref = refs[0]
		}
		got, err := h.Destination.Deliver(t.Context(), ref, notifytest.Message(part, "helpdesk"))
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, got)
	}
	if diff := cmp.Diff([]string{"I-000011", "I-000011", "I-000011", "I-000011"}, refs); diff != "" {
		t.Error(diff)
	}
	if len(f.tickets) != 1 || !strings.Contains(f.tickets[0].description, "neither updates nor resolves it") {
		t.Errorf("%v", h.Taken())
	}
}

// TestStates: from every state of a ticket its end is found.
func TestStates(t *testing.T) {
	for status, want := range map[string]string{
		"new":           "core/apply_stimulus ev_resolve, core/apply_stimulus ev_autoresolve",
		"assigned":      "core/apply_stimulus ev_resolve",
		"escalated_ttr": "core/apply_stimulus ev_resolve",
		"pending":       "core/apply_stimulus ev_resolve, core/apply_stimulus ev_autoresolve",
		"escalated_tto": "core/apply_stimulus ev_resolve, core/apply_stimulus ev_autoresolve, core/apply_stimulus ev_assign, core/apply_stimulus ev_resolve",
		"resolved":      "core/get",
		"closed":        "core/get",
	} {
		t.Run(status, func(t *testing.T) {
			h, f := harness(t, itop.REST)
			ref, err := h.Destination.Deliver(t.Context(), "", notifytest.Message(core.AlarmOpened, "helpdesk"))
			if err != nil {
				t.Fatal(err)
			}
			f.tickets[0].status = status
			f.requests = nil
			if _, err := h.Destination.Deliver(t.Context(), ref, notifytest.Message(core.AlarmClosed, "helpdesk")); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(f.requests[1:], ", "); got != want {
				t.Errorf("it did %s, want %s", got, want)
			}
			if h.Open() > 0 {
				t.Errorf("it is %s", f.tickets[0].status)
			}
		})
	}
}

// TestTakenUpAgain: a ticket that somebody resolved while the alarm lasts.
func TestTakenUpAgain(t *testing.T) {
	h, f := harness(t, itop.REST)
	deliver := func(ref string, part core.AlarmPart) string {
		t.Helper()
		got, err := h.Destination.Deliver(t.Context(), ref, notifytest.Message(part, "helpdesk"))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	ref := deliver("", core.AlarmOpened)
	f.tickets[0].status, f.tickets[0].agent = "resolved", "somebody"
	if got := deliver(ref, core.AlarmUpdated); got != ref || f.tickets[0].status != "assigned" {
		t.Errorf("%s is %s", got, f.tickets[0].status)
	}
	f.tickets[0].status = "closed" // no way leads back from there
	next := deliver(ref, core.AlarmUpdated)
	if next == ref || len(f.tickets) != 2 {
		t.Errorf("%s after %s", next, ref)
	}
	if got := deliver(ref, core.AlarmUpdated); got != next || len(f.tickets) != 2 {
		t.Errorf("the old number leads to %s, and not to %s", got, next)
	}
}

// TestAdopted: a ticket that is open from the alarm before is written to when
// it is taken for the next one.
func TestAdopted(t *testing.T) {
	h, f := harness(t, itop.REST)
	m := notifytest.Message(core.AlarmOpened, "helpdesk")
	if _, err := h.Destination.Deliver(t.Context(), "", m); err != nil {
		t.Fatal(err)
	}
	m.Marker += "x"
	m.HTML += "<p>" + m.Marker + "</p>"
	for range 2 {
		if _, err := h.Destination.Deliver(t.Context(), "", m); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.tickets) != 1 || len(f.tickets[0].log) != 1 {
		t.Errorf("%d tickets, log %v", len(f.tickets), f.tickets[0].log)
	}
}

// TestUnknownNames: an alarm is worth more than a complete form.
func TestUnknownNames(t *testing.T) {
	h, f := harness(t, itop.REST)
	f.unknown = "Repair"
	ref, err := h.Destination.Deliver(t.Context(), "", notifytest.Message(core.AlarmOpened, "helpdesk"))
	if err != nil || ref == "" {
		t.Fatalf("%q, %v", ref, err)
	}
	if got := f.tickets[0].description; !strings.Contains(got, "iTop refused some fields of this ticket: servicesubcategory_id: No item found with criteria: name:Repair") {
		t.Errorf("the ticket does not say what was left out: %s", got)
	}
	// Resolving needs the service, which is given again.
	if _, err := h.Destination.Deliver(t.Context(), ref, notifytest.Message(core.AlarmClosed, "helpdesk")); err != nil || h.Open() > 0 {
		t.Errorf("%v, %s", err, f.tickets[0].status)
	}
	f.unknown = "Demo"
	_, err = h.Destination.Deliver(t.Context(), "", notifytest.Message(core.AlarmOpened, "helpdesk"))
	if err == nil || !strings.Contains(core.HintOf(err), "organization") {
		t.Errorf("%v (%s)", err, core.HintOf(err))
	}
}

func TestHints(t *testing.T) {
	open := notifytest.Message(core.AlarmOpened, "helpdesk")
	for name, test := range map[string]struct {
		change         func(*itop.Options, *fake)
		part           core.AlarmPart
		err, hint      string
		protocol       itop.Protocol
		ticketsAllowed int
	}{
		"wrong password":      {change: func(o *itop.Options, _ *fake) { o.Password = core.NewSecret("another-one") }, err: "iTop refused (code 1): Invalid login", hint: "user and password"},
		"no profile":          {change: func(_ *itop.Options, f *fake) { f.noREST = true }, err: "not authorized to use the web services", hint: `give the account rest the profile "REST Services User"`},
		"SOAP, no profile":    {protocol: itop.SOAP, change: func(_ *itop.Options, f *fake) { f.noREST = true }, part: core.AlarmClosed, err: "not authorized to use the web services", hint: "soap-only", ticketsAllowed: 1},
		"SOAP fault":          {protocol: itop.SOAPOnly, change: func(_ *itop.Options, f *fake) { f.noSOAP = true }, err: "SOAP-ERROR: Parsing WSDL", hint: "extension soap"},
		"SOAP wrong password": {protocol: itop.SOAPOnly, change: func(o *itop.Options, _ *fake) { o.Password = core.NewSecret("another-one") }, err: "iTop refused by SOAP: Wrong credentials: 'rest'", hint: "user and password"},
		"SOAP unknown org":    {protocol: itop.SOAPOnly, change: func(o *itop.Options, _ *fake) { o.Organization = "Nobody" }, err: "iTop refused by SOAP: Parameter customer: no match", hint: "organization"},
		"no service":          {change: func(o *itop.Options, _ *fake) { o.Service = "" }, part: core.AlarmClosed, err: "Missing mandatory attribute(s) for applying the stimulus: service_id", hint: "give service", ticketsAllowed: 1},
		"class of another":    {change: func(o *itop.Options, _ *fake) { o.Class = "Alarm" }, err: "Unknown class 'Alarm'", hint: "is the name of one object"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			opt := options(f)
			opt.Protocol = test.protocol
			test.change(&opt, f)
			d, err := itop.New(opt)
			if err != nil {
				t.Fatal(err)
			}
			ref, err := d.Deliver(t.Context(), "", open)
			if test.part != "" {
				if err != nil {
					t.Fatal(err)
				}
				_, err = d.Deliver(t.Context(), ref, notifytest.Message(test.part, "helpdesk"))
			}
			if err == nil || !strings.Contains(err.Error(), test.err) || !strings.Contains(core.HintOf(err), test.hint) {
				t.Errorf("%v (%s)", err, core.HintOf(err))
			}
			if len(f.tickets) > test.ticketsAllowed {
				t.Errorf("%d tickets were opened", len(f.tickets))
			}
		})
	}
}

// TestFields: what is asked for is what iTop is told.
func TestFields(t *testing.T) {
	f := newFake(t)
	opt := options(f)
	opt.Title, opt.Caller, opt.Team = "Backup's state", "O'Brien", "SELECT Team WHERE id = 3"
	opt.Fields = map[string]any{"origin": "monitoring", "urgency": "2"}
	d, err := itop.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Deliver(t.Context(), "", notifytest.Message(core.AlarmOpened, "helpdesk")); err != nil {
		t.Fatal(err)
	}
	got := f.tickets[0].fields
	delete(got, "description")
	want := map[string]any{
		"org_id": map[string]any{"name": "Demo"}, "title": "Backup's state: helpdesk: backups need attention, found 2026-11-20 23:30 (1 problem)", "impact": "1", "urgency": "2", "origin": "monitoring",
		"caller_id":  `SELECT Person WHERE friendlyname = 'O\'Brien' OR name = 'O\'Brien'`,
		"service_id": map[string]any{"name": "Computers and peripherals"}, "servicesubcategory_id": map[string]any{"name": "Repair", "service_name": "Computers and peripherals"},
		"team_id": "SELECT Team WHERE id = 3", "functionalcis_list": []any{map[string]any{"functionalci_id": map[string]any{"finalclass": "Server", "name": "Server1"}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestOptions(t *testing.T) {
	good := itop.Options{URL: "https://itop.example.org", User: "rest", Password: core.NewSecret(password), Organization: "Demo"}
	if _, err := itop.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*itop.Options){
		"no address":         func(o *itop.Options) { o.URL = "" },
		"user in address":    func(o *itop.Options) { o.URL = "https://bob:" + "s3cret-Pw" + "@itop.example.org" },
		"query in address":   func(o *itop.Options) { o.URL = "https://itop.example.org/?auth_pwd=s3cret-Pw" },
		"no user":            func(o *itop.Options) { o.User = "" },
		"no password":        func(o *itop.Options) { o.Password = core.Secret{} },
		"no organization":    func(o *itop.Options) { o.Organization = "" },
		"protocol":           func(o *itop.Options) { o.Protocol = "xmlrpc" },
		"log":                func(o *itop.Options) { o.Log = "log" },
		"class":              func(o *itop.Options) { o.Class = "Incident WHERE 1" },
		"query by SOAP":      func(o *itop.Options) { o.Protocol, o.Team = itop.SOAP, "select Team" },
		"class by SOAP":      func(o *itop.Options) { o.Protocol, o.Class = itop.SOAP, "Problem" },
		"authorities":        func(o *itop.Options) { o.CA = "/nonexistent" },
		"address of no kind": func(o *itop.Options) { o.URL = "ftp://itop.example.org" },
	} {
		opt := good
		change(&opt)
		_, err := itop.New(opt)
		if core.CodeOf(err) != core.CodeConfig || core.HintOf(err) == "" || strings.Contains(fmt.Sprint(err), "s3cret-Pw") {
			t.Errorf("%s: %v (%s)", name, err, core.HintOf(err))
		}
	}
}

// TestCredentials: they are in the body, and in no address.
func TestCredentials(t *testing.T) {
	f := newFake(t)
	var addresses []string
	handler := f.Config.Handler
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		addresses = append(addresses, r.URL.String()+fmt.Sprint(r.Header))
		handler.ServeHTTP(w, r)
	})
	d, err := itop.New(options(f))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Deliver(t.Context(), "", notifytest.Message(core.AlarmOpened, "helpdesk")); err != nil {
		t.Fatal(err)
	}
	if len(addresses) == 0 || slices.ContainsFunc(addresses, func(a string) bool { return strings.Contains(a, "s3cret") || strings.Contains(a, "auth_") }) {
		t.Errorf("%q", addresses)
	}
}
