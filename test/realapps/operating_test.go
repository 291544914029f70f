package realapps

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/mysql"
)

// operated are both applications, running, and one backstay that looks after
// them.
type operated struct {
	t      *testing.T
	itop   *running
	itflow *running
}

func newOperated(t *testing.T) *operated {
	t.Helper()
	itop, itflow, scripts := checkoutOf(t, "BACKSTAY_TEST_ITOP"), checkoutOf(t, "BACKSTAY_TEST_ITFLOW"), helpers(t)
	o := &operated{t, newRunning(t, "itop", itop, "itop", "itop-Pw_1"), newRunning(t, "itflow", itflow, "itflow", "itflow-Pw_1")}
	o.itop.installITop(scripts)
	o.itflow.installITFlow()
	t.Log("seed:", strings.TrimSpace(o.itflow.runPHP(filepath.Join(scripts, "itflow-seed.php"), o.itflow.root)))
	o.itflow.runPHP("cron/cron.php") // it writes down its jobs
	o.itop.serve()
	o.itflow.serve()
	o.itop.write(filepath.Join(o.itop.folder, "rest.pw"), "Rest-Pw_1x\n", 0o600)
	o.itop.write(filepath.Join(o.itop.folder, "itflow.key"), o.itflow.one("SELECT api_key_secret FROM api_keys LIMIT 1")+"\n", 0o600)
	return o
}

// run runs a part of the test.
func (o *operated) run(name string, test func()) {
	whole := o.t
	defer func() { o.t, o.itop.t, o.itflow.t = whole, whole, whole }()
	whole.Run(name, func(t *testing.T) {
		o.t, o.itop.t, o.itflow.t = t, t, t
		test()
	})
}

// configure writes the configuration with a repository and a state of its own.
func (o *operated) configure(name, apps string) {
	o.t.Helper()
	dir := o.itop.folder
	o.itop.write(filepath.Join(dir, "backstay.yaml"), "repository: {url: \"file://"+dir+"/"+name+"/repository\", password_file: "+dir+"/repository.key}\n"+
		"state_dir: "+dir+"/"+name+"/state\napps:\n"+strings.NewReplacer(
		"ITOP_ROOT", o.itop.root, "ITFLOW_ROOT", o.itflow.root,
		"ITOP_TICKETS", `type: itop, url: "`+o.itop.address("/")+`", user: rest, password_file: `+dir+`/rest.pw, customer: Demo, title: Nightly, `+
			`service: Computers and peripherals, service_subcategory: Troubleshooting, workgroup: Helpdesk, impacted_server: Server1`,
		"ITFLOW_TICKETS", `type: itflow, url: "`+o.itflow.address("/")+`", api_key_file: `+dir+`/itflow.key, client_id: 3`,
	).Replace(apps), 0o600)
}

// incident is a ticket in iTop, as far as backstay fills it in.
type incident struct {
	Ref          string
	Status       string
	Title        string
	Organization string
	Service      string
	Subcategory  string
	Team         string
	Impact       string
	Urgency      string
	Server       bool // Server1 is impacted
	Log          int  // entries
}

// incidents returns the tickets that the query finds, the oldest first.
func (r *running) incidents(query string) (found []incident) {
	r.t.Helper()
	request, err := json.Marshal(map[string]any{"operation": "core/get", "class": "Incident", "key": query,
		"output_fields": "ref,status,title,org_name,service_name,servicesubcategory_name,team_name,impact,urgency,functionalcis_list,private_log"})
	r.ok(err)
	res, err := http.PostForm(r.address("/webservices/rest.php?version=1.3"), url.Values{"auth_user": {"rest"}, "auth_pwd": {"Rest-Pw_1x"}, "json_data": {string(request)}})
	r.ok(err)
	body, err := io.ReadAll(res.Body)
	r.ok(err)
	r.ok(res.Body.Close())
	var answer struct {
		Code    *int
		Objects map[string]struct {
			Fields struct {
				Ref, Status, Title, Impact, Urgency string
				OrgName                             string                  `json:"org_name"`
				ServiceName                         string                  `json:"service_name"`
				SubcategoryName                     string                  `json:"servicesubcategory_name"`
				TeamName                            string                  `json:"team_name"`
				Log                                 struct{ Entries []any } `json:"private_log"`
				Items                               []struct {
					Name string `json:"functionalci_name"`
				} `json:"functionalcis_list"`
			}
		}
	}
	if err := json.Unmarshal(bytes.Replace(body, []byte(`"objects":[]`), []byte(`"objects":{}`), 1), &answer); err != nil || answer.Code == nil || *answer.Code != 0 {
		r.t.Fatalf("iTop answers %v: %.1000s", err, body)
	}
	for _, o := range answer.Objects {
		f := o.Fields
		i := incident{f.Ref, f.Status, f.Title, f.OrgName, f.ServiceName, f.SubcategoryName, f.TeamName, f.Impact, f.Urgency, false, len(f.Log.Entries)}
		for _, item := range f.Items {
			i.Server = i.Server || item.Name == "Server1"
		}
		found = append(found, i)
	}
	sortBy(found, func(i incident) string { return i.Ref })
	return found
}

// ours finds backstay's tickets.
const ours = "SELECT Incident WHERE description LIKE '%backstay-%'"

// statuses shows tickets in short: whose, their state and how often they were
// written to.
func statuses(list []incident) (out []string) {
	for _, i := range list {
		out = append(out, fmt.Sprintf("%s %s %d", appOf(i.Title), i.Status, i.Log))
	}
	return out
}

// appOf is the app that a title is about.
func appOf(title string) string {
	title = strings.TrimPrefix(strings.TrimPrefix(title, "Nightly: "), "backstay: ")
	app, _, _ := strings.Cut(title, ":")
	return app
}

// flowTickets shows backstay's tickets in ITFlow: whose, their state, and how
// often they were replied to.
func (r *running) flowTickets() (out []string) {
	r.t.Helper()
	c, err := mysql.Connect(r.t.Context(), r.config(r.name))
	r.ok(err)
	rows, err := c.Query(r.t.Context(), "SELECT ticket_subject, IF(ticket_resolved_at IS NULL, 'open', 'resolved'), (SELECT COUNT(*) FROM ticket_replies WHERE ticket_reply_ticket_id = ticket_id), ticket_client_id "+
		"FROM tickets WHERE ticket_details LIKE '%backstay-%' ORDER BY ticket_id")
	r.ok(err)
	r.ok(c.Close())
	for _, row := range rows {
		if row[3].Text != "3" {
			r.t.Errorf("ticket %q is of client %s", row[0].Text, row[3].Text)
		}
		out = append(out, appOf(row[0].Text)+" "+row[1].Text+" "+row[2].Text)
	}
	return out
}

// wantTickets compares the tickets in both applications with what is to be there.
func (o *operated) wantTickets(when string, itop, itflow []string) {
	o.t.Helper()
	if diff := cmp.Diff(itop, statuses(o.itop.incidents(ours))); diff != "" {
		o.t.Errorf("%s, tickets in iTop, wanted (-) and there (+):\n%s", when, diff)
	}
	if diff := cmp.Diff(itflow, o.itflow.flowTickets()); diff != "" {
		o.t.Errorf("%s, tickets in ITFlow, wanted (-) and there (+):\n%s", when, diff)
	}
}

// TestOperatingRunningApps looks after an iTop and an ITFlow that run, as people
// have it: tickets in both, parameter files of iTop's scripts, the applications'
// own schedules, and their own backups beside ours.
func TestOperatingRunningApps(t *testing.T) {
	o := newOperated(t)
	o.run("tickets", o.tickets)
	o.run("taken over", o.takenOver)
	o.run("parameters", o.parameters)
	o.run("schedules", o.schedules)
	o.run("locks", o.locks)
}

// tickets: what fails is one ticket, written to when it changes and resolved
// when it is over; and one elsewhere where iTop does not take it.
func (o *operated) tickets() {
	configure := func(more map[string]string) {
		o.t.Helper()
		var apps strings.Builder
		for _, app := range [][3]string{
			{"rest", "profile: itop\n    root: ITOP_ROOT", "{name: tickets, ITOP_TICKETS}\n      - {name: spare, fallback: true, ITFLOW_TICKETS}"},
			{"soap", "profile: itop\n    root: ITOP_ROOT", "{name: tickets, soap: true, ITOP_TICKETS}"},
			{"flow", "profile: itflow\n    root: ITFLOW_ROOT", "{name: tickets, ITFLOW_TICKETS}"},
		} {
			fmt.Fprintf(&apps, "  - name: %s\n    %s\n    notify:\n      - %s\n%s", app[0], app[1], app[2], more[app[0]])
		}
		o.configure("tickets", apps.String())
	}
	broken := "    database: {password: wrong}\n"
	all := func(text string) map[string]string {
		return map[string]string{"rest": text, "soap": text, "flow": text}
	}

	configure(nil)
	o.itop.backstay(0, nil, "init")
	o.itop.backstay(0, nil, "backup")
	o.itop.backstay(0, nil, "check")
	o.wantTickets("while all is well", nil, nil)

	configure(all(broken))
	o.itop.backstay(1, nil, "backup")
	for range 2 {
		o.itop.backstay(4, nil, "check")
	}
	o.wantTickets("while backups fail", []string{"rest new 0", "soap new 0"}, []string{"flow open 0"})
	for _, i := range o.itop.incidents(ours) {
		want := incident{i.Ref, "new", i.Title, "Demo", "Computers and peripherals", "Troubleshooting", "Helpdesk", "1", "1", true, 0}
		if diff := cmp.Diff(want, i); diff != "" {
			o.t.Errorf("ticket %s, wanted (-) and there (+):\n%s", i.Ref, diff)
		}
	}
	configure(all(broken + "    check: {size_min: 1TB}\n"))
	for range 2 {
		o.itop.backstay(4, nil, "check")
	}
	o.wantTickets("when more is wrong", []string{"rest new 1", "soap new 1"}, []string{"flow open 1"})

	configure(nil)
	o.itop.backstay(0, nil, "backup")
	o.itop.backstay(0, nil, "check")
	o.wantTickets("when it is over", []string{"rest resolved 2", "soap resolved 2"}, []string{"flow resolved 2"})

	maintenance := filepath.Join(o.itop.root, "data/.maintenance")
	o.itop.writeAs("data/.maintenance", "")
	configure(map[string]string{"rest": broken})
	o.itop.backstay(1, nil, "backup", "rest")
	o.itop.backstay(4, nil, "check", "rest")
	o.itop.ok(os.Remove(maintenance))
	past := []string{"rest resolved 2", "soap resolved 2"}
	o.wantTickets("while iTop takes no ticket", past, []string{"flow resolved 2", "rest open 0"})
	o.itop.backstay(4, nil, "check", "rest")
	o.itop.backstay(4, nil, "check", "rest")
	o.wantTickets("when iTop takes tickets again", append(past, "rest new 0"), []string{"flow resolved 2", "rest open 0"})
	configure(nil)
	o.itop.backstay(0, nil, "backup", "rest")
	o.wantTickets("when that is over too", append(past, "rest resolved 1"), []string{"flow resolved 2", "rest resolved 1"})
}

func sortBy[T any](list []T, key func(T) string) {
	slices.SortFunc(list, func(a, b T) int { return strings.Compare(key(a), key(b)) })
}
