package config

import (
	"fmt"
	"net/mail"
	"net/url"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/config/strict"
	"github.com/backstay/backstay/internal/core"
	"github.com/goccy/go-yaml/ast"
)

// Destination is an entry of `notify`: where people are told of an app's
// alarms. Which fields it has depends on its type.
type Destination struct {
	Name     string // unique in an app; the type where the file gives none
	Type     string // one of DestinationTypes
	Fallback bool   // only told of what none of those before it took
	URL      string // of itop and itflow; holds no password
	// Address is where webhook, chat and ping send to. It is a secret: most such
	// addresses hold one.
	Address SecretSource
	CA      string // of all but chat: PEM file with the authorities to trust, absolute
	User    string // of itop and mail
	// Secret is the password of itop and mail, the API key of itflow, and what
	// webhook signs with.
	Secret  SecretSource
	ITop    ITopTicket
	ITFlow  ITFlowTicket
	Mail    Mail
	Headers map[string]core.Secret // of webhook
}

// The types of destinations.
const (
	NotifyITop    = "itop"
	NotifyITFlow  = "itflow"
	NotifyMail    = "mail"
	NotifyWebhook = "webhook"
	NotifyChat    = "chat"
	NotifyPing    = "ping"
)

// DestinationTypes lists the types that a destination can have.
func DestinationTypes() []string {
	return []string{NotifyITop, NotifyITFlow, NotifyMail, NotifyWebhook, NotifyChat, NotifyPing}
}

// ITopTicket says what an Incident in iTop is given. Fields are names, as
// iTop's check_ticket_* settings are; "" is not given.
type ITopTicket struct {
	SOAP               bool   // as iTop's own check-backup.php does, in place of REST
	Title              string // "": the alarm's own
	Customer           string // organization
	Service            string
	ServiceSubcategory string
	Workgroup          string // team
	ImpactedServer     string
	Caller             string // "first name last name"
	Agent              string // who gets a ticket that must be assigned to be resolved; "": the account's own person
}

// ITFlowTicket says what a ticket in ITFlow is given; 0 and "" are not given.
type ITFlowTicket struct {
	ClientID   int
	ContactID  int
	Priority   string // "Low", "Medium", "High"
	AssignedTo int    // a user's id
}

// Mail says how mail is sent.
type Mail struct {
	Host string
	Port int    // never 0
	TLS  string // one of MailTLS
	From string // an address, with a name or without
	To   []string
}

// MailTLS lists how a connection to a mail server can be protected.
func MailTLS() []string { return []string{"starttls", "implicit", "none"} }

// destinationFields are those of one type.
func destinationFields(d *Destination, kind string) []strict.Field {
	name := strict.TextField("name", &d.Name, func(s string) (wrong, hint string) {
		if !core.ValidAppName(s) {
			return fmt.Sprintf("cannot be %q", strict.Shown(s)), "a name has lower-case letters, digits and dashes, at most 63, and begins with a letter or digit"
		}
		return "", ""
	})
	fixed := strict.OneOf("type", &d.Type, "types", DestinationTypes()...)
	fixed.Schema = map[string]any{"const": kind}
	fields := []strict.Field{
		name.Describe("what the destination is called; its type when not given"),
		fixed.Describe("the kind of destination"),
		strict.BoolField("fallback", &d.Fallback).Describe("only told of what none of those before it took"),
	}
	text := func(key string, into *string, doc string) strict.Field {
		return strict.TextField(key, into, strict.NotEmpty).Describe(doc)
	}
	number := func(key string, into *int, doc string) strict.Field {
		return strict.NumberField(key, into, 1, 1<<31-1).Describe(doc)
	}
	ca := strict.PathField("ca", &d.CA, false).Describe("PEM file with the authorities to trust; the system's when not given")
	switch kind {
	case NotifyITop:
		fields = append(fields, strict.TextField("url", &d.URL, neededAddress).Describe("where the iTop answers: https://itop.example.org/"), ca,
			text("user", &d.User, "an account that may use the web services"))
		fields = append(fields, secretFields(&d.Secret, "password", "the password", nil)...)
		fields = append(fields,
			strict.BoolField("soap", &d.ITop.SOAP).Describe("open tickets by SOAP, as iTop's check-backup.php does, in place of REST"),
			text("title", &d.ITop.Title, "title of the ticket; that of the alarm when not given"),
			text("customer", &d.ITop.Customer, "name of the organization that the ticket is for"),
			text("service", &d.ITop.Service, "name of the service"),
			text("service_subcategory", &d.ITop.ServiceSubcategory, "name of the service subcategory"),
			text("workgroup", &d.ITop.Workgroup, "name of the team"),
			text("impacted_server", &d.ITop.ImpactedServer, "name of the server that the ticket is about"),
			text("caller", &d.ITop.Caller, "full name of the person who reports it"),
			text("agent", &d.ITop.Agent, "full name of the person who gets a ticket that must be assigned to be resolved; the account's own when not given"))
	case NotifyITFlow:
		fields = append(fields, strict.TextField("url", &d.URL, neededAddress).Describe("where the ITFlow answers: https://itflow.example.org/"), ca)
		fields = append(fields, secretFields(&d.Secret, "api_key", "the API key", nil)...)
		fields = append(fields,
			number("client_id", &d.ITFlow.ClientID, "the client that the ticket is for"),
			number("contact_id", &d.ITFlow.ContactID, "the contact that it is for"),
			strict.OneOf("priority", &d.ITFlow.Priority, "priorities", "Low", "Medium", "High").Describe("priority of the ticket"),
			number("assigned_to", &d.ITFlow.AssignedTo, "the user that it is assigned to"))
	case NotifyMail:
		fields = append(fields,
			text("host", &d.Mail.Host, "the mail server's name or address"),
			strict.NumberField("port", &d.Mail.Port, 1, 65535).Describe("its port; 587 for starttls, 465 for implicit and 25 for none when not given"),
			strict.OneOf("tls", &d.Mail.TLS, "values", MailTLS()...).Describe("how the connection is encrypted; starttls when not given"), ca,
			text("user", &d.User, "the account, where the server wants one"))
		fields = append(fields, secretFields(&d.Secret, "password", "the password", nil)...)
		fields = append(fields,
			strict.TextField("from", &d.Mail.From, mailAddress).Describe("the sender's address"),
			strict.ListField("to", &d.Mail.To, false, mailAddress).Describe("who gets it"))
	case NotifyWebhook:
		fields = append(fields, secretFields(&d.Address, "url", "the address", secretWebAddress)...)
		fields = append(fields, secretFields(&d.Secret, "secret", "the secret", nil)...)
		fields = append(fields, headersField(&d.Headers).Describe("headers of the request"), ca)
	case NotifyChat:
		fields = append(fields, secretFields(&d.Address, "url", "the address", chatAddress)...)
	case NotifyPing:
		fields = append(append(fields, secretFields(&d.Address, "url", "the address", secretWebAddress)...), ca)
	}
	return fields
}

// neededKeys are those that a destination cannot do without, beside its secrets.
func neededKeys(kind string) []string {
	return map[string][]string{
		NotifyITop: {"url", "user", "customer"}, NotifyITFlow: {"url"}, NotifyMail: {"host", "from", "to"},
	}[kind]
}

func notifyField(into *[]Destination) strict.Field {
	return strict.Field{
		Key: "notify", Nested: func() map[string]any {
			var kinds []any
			for _, kind := range DestinationTypes() {
				one := strict.ObjectSchema(destinationFields(&Destination{}, kind))
				one["required"] = append([]string{"type"}, neededKeys(kind)...)
				kinds = append(kinds, one)
			}
			return map[string]any{"type": "array", "items": map[string]any{"anyOf": kinds}}
		},
		Read: func(r *strict.Reader, own strict.Position, n ast.Node) {
			if _, null := r.Resolve(n).(*ast.NullNode); null {
				r.Problem(own, "write notify: [] for none, or remove the key", "%q has no value", "notify")
				return
			}
			var list []Destination
			for _, item := range r.Items(n, "notify") {
				before := r.Problems()
				d, at := readDestination(r, item)
				if r.Problems() > before {
					continue
				}
				if slices.ContainsFunc(list, func(e Destination) bool { return e.Name == d.Name }) {
					r.Problem(at, "give each a name of its own, with name:", "there are two destinations called %q", d.Name)
					continue
				}
				list = append(list, d)
			}
			*into = list
		},
	}
}

// readDestination reads an entry of `notify`, and returns where its name stands.
func readDestination(r *strict.Reader, n ast.Node) (Destination, strict.Position) {
	var d Destination
	start := r.StartOf(n)
	entries, ok := r.Entries(n, "notify")
	if !ok {
		return d, start
	}
	i := slices.IndexFunc(entries, func(e strict.Entry) bool { return e.Key == "type" })
	if i < 0 {
		r.Problem(start, "add type: "+strings.Join(DestinationTypes(), ", "), "an entry of %q has no %q", "notify", "type")
		return d, start
	}
	strict.OneOf("type", &d.Type, "types", DestinationTypes()...).Read(r, entries[i].At, entries[i].Value)
	if d.Type == "" {
		return d, start
	}
	at, _ := r.Section(n, "notify", destinationFields(&d, d.Type))
	for _, key := range neededKeys(d.Type) {
		if _, given := at[key]; !given {
			r.Problem(start, "add "+key+":", "a destination of the type %s has no %q", d.Type, key)
		}
	}
	checkDestination(r, &d, start, at)
	if d.Name == "" {
		d.Name = d.Type
	}
	if named, given := at["name"]; given {
		start = named
	}
	return d, start
}

// checkDestination reports what does not go together, and fills in what
// follows from the rest.
func checkDestination(r *strict.Reader, d *Destination, start strict.Position, at map[string]strict.Position) {
	if u, err := url.Parse(d.URL); err == nil && u.Scheme == "http" && !loopback(u.Hostname()) {
		r.Warn(at["url"], "unencrypted", "the password for "+d.URL+" crosses the network without encryption; use https")
	}
	switch d.Type {
	case NotifyITop:
		oneSecret(r, start, at, "password", "the password of a destination", "add password_file:, or password_env:")
	case NotifyITFlow:
		oneSecret(r, start, at, "api_key", "the API key of a destination", "add api_key_file:, or api_key_env:")
	case NotifyWebhook, NotifyChat, NotifyPing:
		oneSecret(r, start, at, "url", "the address of a destination", "add url:, url_file: or url_env:")
		oneSecret(r, start, at, "secret", "the secret of a destination", "")
	case NotifyMail:
		oneSecret(r, start, at, "password", "the password of a destination", "")
		if to, given := at["to"]; given && len(d.Mail.To) == 0 {
			r.Problem(to, "name who gets the mail: to: [admin@example.org]", "%q is empty", "to")
		}
		userAt, given := at["user"]
		if given != d.Secret.Given() {
			if !given {
				userAt = start
			}
			r.Problem(userAt, "give both, or none of them", "a user and a password go together")
		}
		if d.Mail.TLS == "" {
			d.Mail.TLS = "starttls"
		}
		if d.Mail.Port == 0 {
			d.Mail.Port = map[string]int{"starttls": 587, "implicit": 465, "none": 25}[d.Mail.TLS]
		}
		if d.Mail.TLS == "none" && d.Secret.Given() && !loopback(d.Mail.Host) {
			r.Problem(at["tls"], "use tls: starttls or tls: implicit", "the password would be sent to another machine without encryption")
		}
	}
}

func neededAddress(s string) (wrong, hint string) {
	if s == "" {
		return strict.NotEmpty(s)
	}
	return webAddress(s)
}

// secretWebAddress is an address that is not shown.
func secretWebAddress(s string) (wrong, hint string) {
	if u, err := url.Parse(s); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "must be a web address", "such as https://hooks.example.org/backups"
	}
	return "", ""
}

func chatAddress(s string) (wrong, hint string) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || scheme == "" || rest == "" || strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+") != "" || strings.ContainsAny(s, " \n\r\x00") {
		return "must be an address of a chat service", "such as slack://…, teams://…, telegram://… or matrix://…"
	}
	return "", ""
}

func mailAddress(s string) (wrong, hint string) {
	if _, err := mail.ParseAddress(s); err != nil || strings.ContainsAny(s, "\r\n") {
		return fmt.Sprintf("must be an address of mail, not %q", strict.Shown(s)), "such as admin@example.org"
	}
	return "", ""
}

// headersField reads names and values. Values are taken for secrets.
func headersField(into *map[string]core.Secret) strict.Field {
	const key = "headers"
	return strict.Field{
		Key: key, Schema: map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "string"}},
		Read: func(r *strict.Reader, own strict.Position, n ast.Node) {
			entries, _ := r.Entries(n, key)
			headers := make(map[string]core.Secret, len(entries))
			for _, e := range entries {
				value, ok := r.Text(e.Value, e.Key)
				switch {
				case !ok:
				case e.Key == "" || strings.ContainsFunc(e.Key, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c) }):
					r.Problem(e.At, "such as X-Origin or Authorization", "%q cannot be the name of a header", strict.Shown(e.Key))
				case strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }):
					r.Problem(e.At, "write it on one line", "the value of the header %q holds a line end or another control character", strict.Shown(e.Key))
				default:
					headers[e.Key] = core.NewSecret(value)
				}
			}
			*into = headers
			if len(headers) > 0 && r.InlineSecret == nil {
				r.InlineSecret = &own
			}
		},
	}
}
