// Package itop tells of alarms by tickets in iTop: one is opened, its log is
// written to while the alarm lasts, and it is resolved. It is for those who
// look there first. It promises that an alarm is one ticket, that iTop's no is
// heard although iTop says it with status 200, and that a ticket is opened
// although iTop does not know what its fields were to be: an alarm is worth more
// than a complete form.
package itop

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/notify/wire"
)

// Protocol is how iTop is spoken to.
type Protocol string

// The protocols.
const (
	REST Protocol = "rest"
	// SOAP opens and finds tickets as iTop's own check-backup.php does, and uses
	// REST for what SOAP cannot do: writing to tickets and resolving them.
	SOAP Protocol = "soap"
	// SOAPOnly opens tickets, says so in them, and leaves the rest to people.
	SOAPOnly Protocol = "soap-only"
)

// Options say where tickets are opened, by whom, and what stands in them. Those
// that name an object of iTop take its name, or for REST an OQL query that has
// one result and begins with SELECT.
type Options struct {
	URL      string // of iTop: itop_backup_incident, or app_root_url
	User     string // check_ticket_login; with the profile "REST Services User"
	Password core.Secret
	Protocol Protocol // "": REST

	Title        string // check_ticket_title: goes before what happened; may be ""
	Organization string // check_ticket_customer; needed
	Caller       string // a person's name; may be ""
	Service      string // check_ticket_service; may be "", but iTop resolves no ticket without one
	Subcategory  string // check_ticket_service_subcategory; may be ""
	Team         string // check_ticket_workgroup; may be ""
	Agent        string // who gets a ticket that must be assigned to be resolved; "": the account's own person
	Server       string // check_ticket_impacted_server; may be ""

	Class          string // "": Incident
	Impact         string // "": 1, the highest
	Urgency        string // "": 1
	Log            string // which log updates go to: public_log or private_log (the default)
	ResolutionCode string // "": other
	// Fields are more fields of the ticket, by attribute code, as REST takes them.
	Fields map[string]any

	CA      string        // PEM file with the authorities to trust; "": the system's
	Timeout time.Duration // of one request; 0: wire.Timeout
}

// Destination opens tickets in one iTop.
type Destination struct {
	opt    Options
	client *http.Client
	veil   wire.Veil
	rest   *url.URL
	soap   *url.URL
}

var _ notify.Destination = (*Destination)(nil)

// New returns a destination. It asks nothing of the network.
func New(opt Options) (*Destination, error) {
	bad := func(message, hint string) error {
		return &core.Error{Code: core.CodeConfig, Op: "tickets in iTop", Message: message, Hint: hint}
	}
	root, err := wire.ParseURL("tickets in iTop", core.NewSecret(opt.URL))
	if err != nil {
		return nil, err
	}
	if root.User != nil || root.RawQuery != "" {
		return nil, bad("the address holds a user or a query", "give the address that iTop is opened with, and the account in user and password")
	}
	opt.Protocol = orElse(opt.Protocol, REST)
	opt.Class, opt.Impact, opt.Urgency = orElse(opt.Class, "Incident"), orElse(opt.Impact, "1"), orElse(opt.Urgency, "1")
	opt.Log, opt.ResolutionCode = orElse(opt.Log, "private_log"), orElse(opt.ResolutionCode, "other")
	switch {
	case opt.User == "" || opt.Password.Empty():
		return nil, bad("there is no account", "give user and password of an account that may open tickets")
	case opt.Organization == "":
		return nil, bad("there is no organization", "give the name of the organization that tickets are for (check_ticket_customer)")
	case opt.Protocol != REST && opt.Protocol != SOAP && opt.Protocol != SOAPOnly:
		return nil, bad(fmt.Sprintf("there is no protocol %q", opt.Protocol), "protocol is rest, soap or soap-only")
	case opt.Log != "private_log" && opt.Log != "public_log":
		return nil, bad(fmt.Sprintf("there is no log %q", opt.Log), "log is public_log or private_log")
	case !isWord(opt.Class):
		return nil, bad(fmt.Sprintf("%q is no class", opt.Class), "class is Incident or UserRequest")
	case opt.Protocol != REST && opt.Class != "Incident" && opt.Class != "UserRequest":
		return nil, bad("by SOAP, iTop opens tickets of the classes Incident and UserRequest only", "use protocol rest")
	}
	if opt.Protocol != REST {
		for _, name := range []string{opt.Organization, opt.Caller, opt.Service, opt.Subcategory, opt.Team, opt.Server} {
			if isQuery(name) {
				return nil, bad("by SOAP, iTop finds objects by their names only", "give names, or use protocol rest")
			}
		}
	}
	d := &Destination{opt: opt, veil: wire.NewVeil(opt.Password)}
	if d.client, err = wire.Client(opt.CA); err != nil {
		return nil, err
	}
	d.rest = root.JoinPath("webservices/rest.php")
	d.rest.RawQuery = "version=1.3"
	d.soap = root.JoinPath("webservices/soapserver.php")
	return d, nil
}

// Deliver opens, writes to or resolves a ticket. ref is the ticket's number,
// such as I-000031.
func (d *Destination) Deliver(ctx context.Context, ref string, m notify.Message) (string, error) {
	if m.Part == core.AlarmTest {
		opened := m
		opened.Part = core.AlarmOpened
		ref, err := d.Deliver(ctx, ref, opened)
		if err != nil || d.opt.Protocol == SOAPOnly {
			return ref, err
		}
		m.Part = core.AlarmClosed
		return d.Deliver(ctx, ref, m)
	}
	if d.opt.Protocol == SOAPOnly {
		if m.Part == core.AlarmOpened {
			return d.openBySOAP(ctx, m)
		}
		return ref, nil
	}
	t, err := d.find(ctx, ref, m.Matter)
	if err != nil && d.opt.Protocol == SOAP && m.Part == core.AlarmOpened && noREST(err) {
		// The alarm is out at least. What comes later says what is missing.
		return d.openBySOAP(ctx, m)
	}
	if err != nil {
		return ref, d.explain(err)
	}
	switch m.Part {
	case core.AlarmOpened, core.AlarmUpdated:
		switch {
		case t == nil || t.over() && !d.reopen(ctx, t, m):
			t, err = d.open(ctx, m)
		case m.Part == core.AlarmUpdated || !t.says(m.Marker): // a ticket that was open says nothing of this alarm yet
			err = d.write(ctx, t, m)
		}
	case core.AlarmClosed:
		if t != nil && !t.over() {
			err = d.resolve(ctx, t, m)
		}
	default:
		err = fmt.Errorf("deliver a part of an alarm that is %q", m.Part)
	}
	if t != nil {
		ref = t.ref()
	}
	return ref, d.explain(err)
}

// open opens a ticket. Where iTop does not know what a field was to be, the
// ticket is opened without what is not needed, and says so.
func (d *Destination) open(ctx context.Context, m notify.Message) (*ticket, error) {
	if d.opt.Protocol == SOAP {
		ref, err := d.openBySOAP(ctx, m)
		if err != nil {
			return nil, err
		}
		return &ticket{Ref: ref}, nil
	}
	t, err := d.create(ctx, d.fields(m, ""))
	if no, ok := asRefusal(err); ok && no.aboutFields() {
		bare := d.needed(m, fmt.Sprintf("iTop refused some fields of this ticket: %s", notify.Line(no.Message, 300)))
		if t, again := d.create(ctx, bare); again == nil {
			return t, nil
		}
	}
	return t, err
}

// title is what a ticket is called. iTop's titles have 255 characters.
func (d *Destination) title(m notify.Message) string {
	subject := m.Subject
	if d.opt.Title != "" {
		subject = d.opt.Title + ": " + strings.TrimPrefix(subject, "backstay: ")
	}
	return notify.Line(subject, 250)
}

func orElse[T ~string](value, otherwise T) T {
	if value == "" {
		return otherwise
	}
	return value
}

func isQuery(name string) bool {
	return strings.HasPrefix(strings.ToUpper(strings.TrimSpace(name)), "SELECT ")
}

func isWord(text string) bool {
	return text != "" && strings.IndexFunc(text, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0
}
