package itop_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify/itop"
	"github.com/backstay/backstay/internal/notify/notifytest"
)

// realITop is an iTop with its demo data that may be written to, and an
// account that may do anything there by REST.
type realITop struct{ url, user, password string }

func givenITop(t *testing.T) realITop {
	t.Helper()
	at := realITop{os.Getenv("BACKSTAY_TEST_ITOP_URL"), os.Getenv("BACKSTAY_TEST_ITOP_USER"), os.Getenv("BACKSTAY_TEST_ITOP_PASSWORD")}
	if at.url == "" {
		t.Skip("BACKSTAY_TEST_ITOP_URL, _USER and _PASSWORD name no iTop to open tickets in")
	}
	return at
}

// do makes a request as iTop's documentation has it.
func (at realITop) do(t *testing.T, request string) map[string]map[string]any {
	t.Helper()
	res, err := http.PostForm(at.url+"/webservices/rest.php?version=1.3", url.Values{"auth_user": {at.user}, "auth_pwd": {at.password}, "json_data": {request}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Code    int
		Message string
		Objects map[string]struct{ Fields map[string]any }
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Code != 0 {
		t.Fatalf("%s: %v: %.2000s", request, err, body)
	}
	objects := map[string]map[string]any{}
	for key, o := range answer.Objects {
		objects[key] = o.Fields
	}
	return objects
}

const ours = `SELECT Incident WHERE description LIKE '%backstay-%'`

func (at realITop) tickets(t *testing.T) map[string]map[string]any {
	t.Helper()
	return at.do(t, fmt.Sprintf(`{"operation":"core/get","class":"Incident","key":%q,"output_fields":"id,ref,status,title,description,public_log,private_log,solution,service_name,servicesubcategory_name,team_name,org_name,functionalcis_list,impact,agent_id_friendlyname"}`, ours))
}

func (at realITop) harness(t *testing.T, change func(*itop.Options)) notifytest.Harness {
	t.Helper()
	if len(at.tickets(t)) > 0 {
		at.do(t, fmt.Sprintf(`{"operation":"core/delete","comment":"test","class":"Incident","key":%q,"simulate":false}`, ours))
	}
	opt := itop.Options{
		URL: at.url, User: at.user, Password: core.NewSecret(at.password), Title: "Backup", Organization: "Demo", Caller: "Agatha Christie",
		Service: "Computers and peripherals", Subcategory: "Troubleshooting", Team: "Helpdesk", Agent: "Agatha Christie", Server: "Server1",
	}
	if change != nil {
		change(&opt)
	}
	d, err := itop.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	return notifytest.Harness{
		Destination: d,
		Secrets:     []string{at.password},
		Taken: func() (taken []string) {
			found := at.tickets(t)
			keys := make([]string, 0, len(found))
			for key := range found {
				keys = append(keys, key)
			}
			sort.Strings(keys)
			for _, key := range keys {
				f := found[key]
				taken = append(taken, fmt.Sprint(f["title"], "\n", f["description"]))
				for _, log := range []string{"public_log", "private_log"} {
					for _, e := range f[log].(map[string]any)["entries"].([]any) {
						taken = append(taken, fmt.Sprint(e.(map[string]any)["message"]))
					}
				}
				if f["solution"] != "" {
					taken = append(taken, fmt.Sprint(f["solution"]))
				}
			}
			return taken
		},
		Open: func() (open int) {
			for _, f := range at.tickets(t) {
				if f["status"] != "resolved" && f["status"] != "closed" {
					open++
				}
			}
			return open
		},
		Faults: map[string]func(){},
	}
}

func TestRealITop(t *testing.T) {
	at := givenITop(t)
	t.Run("REST", func(t *testing.T) {
		notifytest.Run(t, func(t *testing.T) notifytest.Harness { return at.harness(t, nil) })
	})
	t.Run("SOAP", func(t *testing.T) {
		notifytest.Run(t, func(t *testing.T) notifytest.Harness {
			return at.harness(t, func(o *itop.Options) { o.Protocol = itop.SOAP })
		})
	})
	t.Run("fields", func(t *testing.T) {
		for _, protocol := range []itop.Protocol{itop.REST, itop.SOAP} {
			h := at.harness(t, func(o *itop.Options) { o.Protocol = protocol })
			ref, err := h.Destination.Deliver(t.Context(), "", notifytest.Message(core.AlarmOpened, "helpdesk"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range at.tickets(t) {
				text, err := json.MarshalIndent(f, "", " ")
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s %s: %s", protocol, ref, text)
				if f["ref"] != ref || f["org_name"] != "Demo" || f["service_name"] != "Computers and peripherals" || f["team_name"] != "Helpdesk" || f["impact"] != "1" ||
					!strings.Contains(string(text), "Server1") || !strings.HasPrefix(fmt.Sprint(f["title"]), "Backup: helpdesk: backups need attention, found") {
					t.Errorf("%s: the ticket is %s", protocol, text)
				}
			}
		}
	})
	t.Run("situations", func(t *testing.T) { at.situations(t) })
}

// situations are what happens to tickets and accounts in the course of time.
func (at realITop) situations(t *testing.T) {
	status := func(ref string) any {
		for _, f := range at.tickets(t) {
			if f["ref"] == ref {
				return f["status"]
			}
		}
		return "gone"
	}
	account := func(login, secret, profiles string) {
		if len(at.do(t, fmt.Sprintf(`{"operation":"core/get","class":"UserLocal","key":"SELECT UserLocal WHERE login='%s'","output_fields":"login"}`, login))) == 0 {
			at.do(t, fmt.Sprintf(`{"operation":"core/create","comment":"test","class":"UserLocal","output_fields":"login","fields":{"login":%q,"password":%q,"language":"EN US","profile_list":[%s]}}`, login, secret, profiles))
		}
	}
	const agent = `{"profileid":"SELECT URP_Profiles WHERE name='Support Agent'"}`
	account("soap", "Soap-Pw_1x", agent)
	account("agent", "Agent-Pw_1x", agent+`,{"profileid":"SELECT URP_Profiles WHERE name='REST Services User'"}`)
	for _, test := range []struct {
		name   string
		change func(*itop.Options)
		byHand []string // stimuli that people give between the opening and the part
		part   core.AlarmPart
		same   bool   // it stays the same ticket
		status string // of the ticket in the end
	}{
		{name: "resolved by hand", byHand: []string{"ev_assign", "ev_resolve"}, part: core.AlarmUpdated, same: true, status: "assigned"},
		{name: "closed by hand", byHand: []string{"ev_assign", "ev_resolve", "ev_close"}, part: core.AlarmUpdated, status: "new"},
		{name: "resolved by hand, then over", byHand: []string{"ev_assign", "ev_resolve"}, part: core.AlarmClosed, same: true, status: "resolved"},
		{name: "assigned", byHand: []string{"ev_assign"}, part: core.AlarmClosed, same: true, status: "resolved"},
		{name: "pending", byHand: []string{"ev_assign", "ev_pending"}, part: core.AlarmClosed, same: true, status: "resolved"},
		{name: "late", byHand: []string{"ev_timeout"}, part: core.AlarmClosed, same: true, status: "resolved"},
		{name: "unknown subcategory", change: func(o *itop.Options) { o.Subcategory = "Nothing of the kind" }, part: core.AlarmClosed, same: true, status: "resolved"},
		{name: "unknown server", change: func(o *itop.Options) { o.Server = "Server99" }, part: core.AlarmClosed, same: true, status: "resolved"},
		{name: "unknown server by SOAP", change: func(o *itop.Options) { o.Protocol, o.Server = itop.SOAP, "Server99" }, part: core.AlarmClosed, same: true, status: "resolved"},
		{name: "least fields", change: func(o *itop.Options) {
			*o = itop.Options{URL: o.URL, User: o.User, Password: o.Password, Organization: "Demo"}
		}, part: core.AlarmUpdated, same: true, status: "new"},
		{name: "no service", change: func(o *itop.Options) { o.Service, o.Subcategory = "", "" }, part: core.AlarmClosed, same: true, status: "resolved"}, // with PHP 8; with 7 it is refused
		{name: "public log", change: func(o *itop.Options) { o.Log = "public_log" }, part: core.AlarmUpdated, same: true, status: "new"},
		{name: "user request", change: func(o *itop.Options) { o.Class, o.Subcategory = "UserRequest", "" }, part: core.AlarmClosed, same: true, status: "gone"},
		{name: "a support agent", change: func(o *itop.Options) { o.User, o.Password = "agent", core.NewSecret("Agent-Pw_1x") }, part: core.AlarmClosed, same: true, status: "resolved"},
		{name: "queries", change: func(o *itop.Options) {
			o.Organization, o.Service, o.Subcategory, o.Team = `SELECT Organization WHERE name = "Demo"`, `SELECT Service WHERE name = "Software"`, `SELECT ServiceSubcategory WHERE name = "Troubleshooting" AND service_name = "Software"`, `SELECT Team WHERE name = "Helpdesk"`
		}, part: core.AlarmClosed, same: true, status: "resolved"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := at.harness(t, test.change)
			ref, err := h.Destination.Deliver(t.Context(), "", notifytest.Message(core.AlarmOpened, "helpdesk"))
			if err != nil {
				t.Fatal(err)
			}
			for _, stimulus := range test.byHand {
				at.do(t, fmt.Sprintf(`{"operation":"core/apply_stimulus","comment":"by hand","class":"Incident","key":"SELECT Incident WHERE ref='%s'","stimulus":%q,"output_fields":"status","fields":{
					"agent_id":"SELECT Person WHERE friendlyname='Agatha Christie'","solution":"x","pending_reason":"x","resolution_code":"other"}}`, ref, stimulus))
			}
			got, err := h.Destination.Deliver(t.Context(), ref, notifytest.Message(test.part, "helpdesk"))
			t.Logf("%s -> %s is %v: %v (%s)", ref, got, status(got), err, core.HintOf(err))
			if err != nil || (got == ref) != test.same || status(got) != test.status {
				t.Errorf("%s -> %s is %v: %v", ref, got, status(got), err)
			}
		})
	}

	for _, test := range []struct {
		name   string
		change func(*itop.Options)
		part   core.AlarmPart
		err    string
	}{
		{"wrong password", func(o *itop.Options) { o.Password = core.NewSecret("wrong-password") }, core.AlarmOpened, "code 1"},
		{"wrong password by SOAP", func(o *itop.Options) { o.Protocol, o.Password = itop.SOAPOnly, core.NewSecret("wrong-password") }, core.AlarmOpened, "Wrong credentials"},
		{"unknown organization", func(o *itop.Options) { o.Organization = "Nobody" }, core.AlarmOpened, "org_id"},
		{"unknown organization by SOAP", func(o *itop.Options) { o.Protocol, o.Organization = itop.SOAP, "Nobody" }, core.AlarmOpened, "customer"},
		{"wrong address", func(o *itop.Options) { o.URL += "/pages" }, core.AlarmOpened, "404"},
		{"no REST profile", func(o *itop.Options) { o.User, o.Password = "soap", core.NewSecret("Soap-Pw_1x") }, core.AlarmOpened, "not authorized to use the web services"},
		{"SOAP without REST profile, over", func(o *itop.Options) {
			o.User, o.Password, o.Protocol = "soap", core.NewSecret("Soap-Pw_1x"), itop.SOAP
		}, core.AlarmClosed, "not authorized to use the web services"},
		{"SOAP without REST profile, open", func(o *itop.Options) {
			o.User, o.Password, o.Protocol = "soap", core.NewSecret("Soap-Pw_1x"), itop.SOAP
		}, core.AlarmOpened, ""},
		{"SOAP only, without REST profile", func(o *itop.Options) {
			o.User, o.Password, o.Protocol = "soap", core.NewSecret("Soap-Pw_1x"), itop.SOAPOnly
		}, core.AlarmOpened, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := at.harness(t, test.change)
			ref, err := h.Destination.Deliver(t.Context(), "", notifytest.Message(test.part, "helpdesk"))
			t.Logf("%q %v (%s)", ref, err, core.HintOf(err))
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("%v", err)
			}
			if err != nil {
				notifytest.Discreet(t, err, append(h.Secrets, "wrong-password", "Soap-Pw_1x"))
			}
		})
	}
}
