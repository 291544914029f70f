// Package itflow tells of alarms by tickets in ITFlow: one is opened, replied
// to while the alarm lasts, and resolved. It is for those who look there first.
// It promises that an alarm is one ticket, that ITFlow's no is heard although
// ITFlow says it with status 200, and that its API key is in no address, unless
// there is no other way, and in no error.
package itflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/notify/wire"
)

// Options say where tickets are opened, with which key, and for whom.
type Options struct {
	URL        string // that ITFlow is opened with
	Key        core.Secret
	ClientID   int    // whose tickets they are; 0: nobody's
	ContactID  int    // 0: the client's primary contact
	AssignedTo int    // the agent; 0: nobody
	Priority   string // Low, Medium or High; "": High
	Public     bool   // updates are sent to the contact by mail, and not only kept

	CA      string        // PEM file with the authorities to trust; "": the system's
	Timeout time.Duration // of one request; 0: wire.Timeout
}

// Destination opens tickets in one ITFlow.
type Destination struct {
	opt    Options
	client *http.Client
	veil   wire.Veil
	api    *url.URL
}

var _ notify.Destination = (*Destination)(nil)

// New returns a destination. It asks nothing of the network.
func New(opt Options) (*Destination, error) {
	bad := func(message, hint string) error {
		return &core.Error{Code: core.CodeConfig, Op: "tickets in ITFlow", Message: message, Hint: hint}
	}
	root, err := wire.ParseURL("tickets in ITFlow", core.NewSecret(opt.URL))
	if err != nil {
		return nil, err
	}
	if opt.Priority == "" {
		opt.Priority = "High"
	}
	switch {
	case root.User != nil || root.RawQuery != "":
		return nil, bad("the address holds a user or a query", "give the address that ITFlow is opened with, and the API key beside it")
	case opt.Key.Empty():
		return nil, bad("there is no API key", "make one in ITFlow, under Admin > API keys, for an agent that may write tickets")
	case opt.Priority != "Low" && opt.Priority != "Medium" && opt.Priority != "High":
		return nil, bad(fmt.Sprintf("there is no priority %q", opt.Priority), "priority is Low, Medium or High")
	case opt.ClientID < 0 || opt.ContactID < 0 || opt.AssignedTo < 0:
		return nil, bad("a number of the client, the contact or the agent is negative", "give the numbers that ITFlow shows in its addresses, as client_id=3")
	}
	d := &Destination{opt: opt, veil: wire.NewVeil(opt.Key), api: root.JoinPath("api/v1")}
	if d.client, err = wire.Client(opt.CA); err != nil {
		return nil, err
	}
	return d, nil
}

// Deliver opens, replies to or resolves a ticket. ref is ITFlow's ticket_id.
func (d *Destination) Deliver(ctx context.Context, ref string, m notify.Message) (string, error) {
	if m.Part == core.AlarmTest {
		opened := m
		opened.Part = core.AlarmOpened
		ref, err := d.Deliver(ctx, ref, opened)
		if err != nil {
			return ref, err
		}
		m.Part = core.AlarmClosed
		return d.Deliver(ctx, ref, m)
	}
	t, err := d.find(ctx, ref, m)
	if err != nil {
		return ref, err
	}
	switch m.Part {
	case core.AlarmOpened, core.AlarmUpdated:
		switch {
		case t == nil || t.over():
			// One that was resolved cannot be opened again by the API.
			ref, err = d.create(ctx, m)
		case m.Part == core.AlarmUpdated || !strings.Contains(string(t.Details), m.Marker):
			ref, err = string(t.ID), d.reply(ctx, t, m)
		default:
			ref = string(t.ID)
		}
	case core.AlarmClosed:
		if t != nil {
			ref = string(t.ID)
		}
		if t != nil && !t.over() {
			err = d.resolve(ctx, t, m)
		}
	default:
		err = fmt.Errorf("deliver a part of an alarm that is %q", m.Part)
	}
	return ref, err
}

func (d *Destination) create(ctx context.Context, m notify.Message) (string, error) {
	fields := map[string]any{
		"ticket_subject": m.Subject, "ticket_details": m.HTML, "ticket_priority": d.opt.Priority, "ticket_assigned_to": d.opt.AssignedTo, "ticket_contact_id": d.opt.ContactID,
		"client_id": d.opt.ClientID,
	}
	said, _, err := d.call(ctx, http.MethodPost, "tickets/create.php", nil, fields)
	if err != nil {
		return "", err
	}
	var made []struct {
		ID text `json:"insert_id"`
	}
	if err := json.Unmarshal(said.Data, &made); err != nil || len(made) != 1 || number(made[0].ID) <= 0 {
		return "", d.refused("ITFlow said that it took the ticket, and named none", "look at the tickets in ITFlow")
	}
	return string(made[0].ID), nil
}

func (d *Destination) reply(ctx context.Context, t *ticket, m notify.Message) error {
	kind := "Internal"
	if d.opt.Public {
		kind = "Public"
	}
	_, status, err := d.call(ctx, http.MethodPost, "ticket_replies/create.php", nil, map[string]any{
		"client_id": number(t.Client), "ticket_id": number(t.ID), "ticket_reply": m.HTML, "ticket_reply_type": kind,
	})
	if status == http.StatusNotFound {
		return &core.Error{
			Code: core.CodeUnsupported, Op: "reply to ticket " + string(t.ID), Message: "this ITFlow takes no replies by its API", Hint: "update ITFlow; tickets are opened and resolved all the same",
		}
	}
	return err
}

func (d *Destination) resolve(ctx context.Context, t *ticket, m notify.Message) error {
	if err := d.reply(ctx, t, m); err != nil && core.CodeOf(err) != core.CodeUnsupported {
		return err
	}
	_, _, err := d.call(ctx, http.MethodPost, "tickets/resolve.php", nil, map[string]any{"client_id": number(t.Client), "ticket_id": number(t.ID)})
	return err
}

// answer is what ITFlow says. Success is a text.
type answer struct {
	Success text            `json:"success"`
	Message text            `json:"message"`
	Data    json.RawMessage `json:"data"`
}

// text is a text, a number or null in an answer.
type text string

func (t *text) UnmarshalJSON(raw []byte) error {
	var s *string
	if json.Unmarshal(raw, &s) == nil {
		*t = ""
		if s != nil {
			*t = text(*s)
		}
		return nil
	}
	*t = text(raw)
	return nil
}

func number(t text) int {
	n, err := strconv.Atoi(string(t))
	if err != nil {
		return -1
	}
	return n
}

// nothing is how ITFlow says that it found nothing: as an error.
const nothing = "No resource"

// call makes a request of the API. The status is 0 where there was no answer.
// query is what ITFlow reads from the address only.
func (d *Destination) call(ctx context.Context, method, path string, query url.Values, fields map[string]any) (said answer, status int, err error) {
	body := map[string]any{"api_key": d.opt.Key.Reveal()}
	for k, v := range fields {
		body[k] = v
	}
	data, err := json.Marshal(body)
	if err != nil {
		return answer{}, 0, fmt.Errorf("write request: %w", err)
	}
	header := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}}
	to := d.api.JoinPath(path)
	to.RawQuery = query.Encode()
	got, failed := wire.Send(ctx, d.client, method, to, header, data, d.opt.Timeout, d.veil)
	if method == http.MethodGet && got.Status == http.StatusUnauthorized && len(got.Body) == 0 {
		// Something on the way took the body of a GET away. ITFlow saw no key.
		all := url.Values{}
		maps.Copy(all, query)
		for k, v := range body {
			all.Set(k, fmt.Sprint(v))
		}
		to.RawQuery = all.Encode()
		got, failed = wire.Send(ctx, d.client, method, to, header, nil, d.opt.Timeout, d.veil)
	}
	err = json.Unmarshal(got.Body, &said)
	if failed != nil {
		if err == nil && strings.HasPrefix(string(said.Message), nothing) && method == http.MethodGet {
			return answer{}, got.Status, nil
		}
		return said, got.Status, failed
	}
	switch {
	case err != nil && len(got.Body) == 0:
		return said, got.Status, d.refused(fmt.Sprintf("it answered %d with nothing", got.Status), "look at the error log of the web server that ITFlow runs on")
	case err != nil:
		return said, got.Status, d.refused(fmt.Sprintf("it answered %d with something that is no answer of ITFlow's API", got.Status), "look at the address: it is the one that ITFlow is opened with")
	case !strings.EqualFold(string(said.Success), "true"):
		message := notify.Line(d.veil.Cover(string(said.Message)), 300)
		if message == "" {
			message = "it did not say why"
		}
		return said, got.Status, d.refused("ITFlow refused: "+message, "look at client, contact and agent, and at what the key's agent may do")
	}
	return said, got.Status, nil
}

func (d *Destination) refused(message, hint string) error {
	return &core.Error{Code: core.CodeFailed, Op: "open tickets at " + d.api.Host, Message: message, Hint: hint}
}

// tooLong says whether an answer was not read because it was too long.
func tooLong(err error, status int) bool {
	var e *core.Error
	return status == http.StatusOK && errors.As(err, &e) && strings.Contains(e.Message, "longer than")
}
