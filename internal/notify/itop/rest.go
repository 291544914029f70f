package itop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/notify/wire"
)

// ticket is a ticket as REST shows it.
type ticket struct {
	ID          string `json:"id"`
	Ref         string `json:"ref"`
	Status      string `json:"status"`
	Description string `json:"description"`
	Log         text   `json:"private_log"`
	PublicLog   text   `json:"public_log"`
}

// text is what an answer holds in any form: logs are objects.
type text string

func (t *text) UnmarshalJSON(raw []byte) error {
	*t = text(raw)
	return nil
}

const ticketFields = "id,ref,status"

// over says whether nobody works on the ticket any more.
func (t *ticket) over() bool {
	switch t.Status {
	case "resolved", "closed", "rejected":
		return true
	}
	return false
}

// says says whether a text stands in the ticket.
func (t *ticket) says(marker string) bool {
	return strings.Contains(t.Description, marker) || strings.Contains(string(t.Log), marker) || strings.Contains(string(t.PublicLog), marker)
}

func (t *ticket) ref() string {
	if t.Ref != "" {
		return t.Ref
	}
	return t.ID
}

// refusal is iTop's no: status 200 with a code.
type refusal struct {
	Code    int
	Message string
}

func (r *refusal) Error() string { return fmt.Sprintf("iTop refused (code %d): %s", r.Code, r.Message) }

// Codes of iTop's class RestResult.
const (
	restUnauthorized = 1
	restMissingUser  = 3
	restMissingPwd   = 4
	restUnknownVerb  = 11
	restInternal     = 100
)

// aboutFields says whether another choice of fields may help.
func (r *refusal) aboutFields() bool { return r.Code == restInternal }

func asRefusal(err error) (*refusal, bool) {
	var no *refusal
	return no, errors.As(err, &no)
}

// call makes one request and returns the tickets in the answer.
func (d *Destination) call(ctx context.Context, request map[string]any) ([]ticket, error) {
	data, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("write request: %w", err)
	}
	form := url.Values{"auth_user": {d.opt.User}, "auth_pwd": {d.opt.Password.Reveal()}, "json_data": {string(data)}}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}
	answer, err := wire.Post(ctx, d.client, d.rest, header, []byte(form.Encode()), d.opt.Timeout, d.veil)
	if err != nil {
		return nil, err
	}
	var result struct {
		Code    *int    `json:"code"`
		Message *string `json:"message"`
		Objects json.RawMessage
	}
	if err := json.Unmarshal(answer.Body, &result); err != nil || result.Code == nil {
		return nil, d.notITop(answer)
	}
	if *result.Code != 0 {
		no := &refusal{Code: *result.Code}
		if result.Message != nil {
			no.Message = notify.Line(d.veil.Cover(strings.TrimPrefix(*result.Message, "Error: ")), 300)
		}
		return nil, no
	}
	// PHP writes an empty list for no objects, and null.
	if list := bytes.TrimSpace(result.Objects); len(list) == 0 || list[0] != '{' {
		return nil, nil
	}
	var objects map[string]struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Key     any    `json:"key"`
		Fields  ticket `json:"fields"`
	}
	if err := json.Unmarshal(result.Objects, &objects); err != nil {
		return nil, d.notITop(answer)
	}
	var found []ticket
	for _, o := range objects {
		if o.Code != 0 {
			return nil, &refusal{Code: o.Code, Message: notify.Line(d.veil.Cover(o.Message), 300)}
		}
		if o.Fields.ID == "" {
			o.Fields.ID = fmt.Sprint(o.Key)
		}
		found = append(found, o.Fields)
	}
	return found, nil
}

// notITop is the error of an answer that is not one of iTop's REST service: a
// login page, a proxy's page, half an answer.
func (d *Destination) notITop(answer wire.Answer) error {
	e := &core.Error{
		Code: core.CodeFailed, Op: "open tickets at " + d.rest.Host, Message: fmt.Sprintf("it answered %d with something that is no answer of iTop's web service", answer.Status),
		Hint: "look at the address: it is the one that iTop is opened with; and at iTop's log/error.log",
	}
	switch start := bytes.ToLower(bytes.TrimSpace(answer.Body)); {
	case len(start) == 0:
		e.Message = fmt.Sprintf("it answered %d with nothing", answer.Status)
	case bytes.HasPrefix(start, []byte("<!doctype html")), bytes.HasPrefix(start, []byte("<html")):
		e.Message = fmt.Sprintf("it answered %d with a page for people", answer.Status)
		e.Hint = "look at the address; iTop answers so too when a login page, a setup or an update is in the way"
	}
	return e
}

// find returns the ticket that is called ref, or the newest open one of a
// matter; nil when there is none.
func (d *Destination) find(ctx context.Context, ref, matter string) (*ticket, error) {
	if d.opt.Protocol == SOAPOnly {
		return nil, nil
	}
	get := func(where, fields string) (*ticket, error) {
		found, err := d.call(ctx, map[string]any{
			"operation": "core/get", "class": d.opt.Class, "key": fmt.Sprintf("SELECT %s WHERE %s", d.opt.Class, where), "output_fields": fields,
		})
		if err != nil || len(found) == 0 {
			return nil, err
		}
		newest := &found[0]
		for i := range found {
			if number(found[i].ID) > number(newest.ID) {
				newest = &found[i]
			}
		}
		return newest, nil
	}
	if isRef(ref) {
		where := fmt.Sprintf("ref = '%s'", ref)
		if number(ref) > 0 {
			where = "id = " + ref
		}
		t, err := get(where, ticketFields)
		if err != nil || t != nil && !t.over() {
			return t, err
		}
		if t != nil {
			// It was resolved by hand. Another may have been opened since.
			if other, err := get(openOf(matter), ticketFields); err != nil || other != nil {
				return other, err
			}
			return t, nil
		}
	}
	return get(openOf(matter), ticketFields+",description,private_log,public_log")
}

// openOf is the condition for the open tickets of a matter, which consists of
// letters, digits and dashes.
func openOf(matter string) string {
	return fmt.Sprintf("description LIKE '%%%s%%' AND status NOT IN ('resolved', 'closed', 'rejected')", matter)
}

// isRef says whether ref can stand in a query.
func isRef(ref string) bool {
	return ref != "" && len(ref) < 64 && strings.IndexFunc(ref, func(r rune) bool {
		return r != '-' && r != '_' && r != '.' && r != '/' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0
}

func number(id string) int {
	n, err := strconv.Atoi(id)
	if err != nil {
		return -1
	}
	return n
}

// fields are the fields of a new ticket. note is added to its description.
func (d *Destination) fields(m notify.Message, note string) map[string]any {
	all := d.needed(m, note)
	all["impact"], all["urgency"] = d.opt.Impact, d.opt.Urgency
	set := func(code, name string, more map[string]any) {
		switch {
		case name == "":
		case isQuery(name):
			all[code] = name
		default:
			criteria := map[string]any{"name": name}
			maps.Copy(criteria, more)
			all[code] = criteria
		}
	}
	set("caller_id", d.opt.Caller, nil)
	if d.opt.Caller != "" && !isQuery(d.opt.Caller) {
		// A person's name is the last name; people give the whole one.
		all["caller_id"] = "SELECT Person WHERE friendlyname = " + quote(d.opt.Caller) + " OR name = " + quote(d.opt.Caller)
	}
	set("service_id", d.opt.Service, nil)
	if d.opt.Service != "" && !isQuery(d.opt.Service) {
		set("servicesubcategory_id", d.opt.Subcategory, map[string]any{"service_name": d.opt.Service})
	} else {
		set("servicesubcategory_id", d.opt.Subcategory, nil)
	}
	set("team_id", d.opt.Team, nil)
	if d.opt.Server != "" {
		key := any(map[string]any{"finalclass": "Server", "name": d.opt.Server})
		if isQuery(d.opt.Server) {
			key = d.opt.Server
		}
		all["functionalcis_list"] = []any{map[string]any{"functionalci_id": key}}
	}
	maps.Copy(all, d.opt.Fields)
	return all
}

// needed are the fields without which there is no ticket.
func (d *Destination) needed(m notify.Message, note string) map[string]any {
	organization := any(map[string]any{"name": d.opt.Organization})
	if isQuery(d.opt.Organization) {
		organization = d.opt.Organization
	}
	description := m.HTML
	if note != "" {
		description += "<p>" + html.EscapeString(note) + "</p>"
	}
	return map[string]any{"org_id": organization, "title": d.title(m), "description": description}
}

// quote returns text as a string of OQL.
func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

func (d *Destination) create(ctx context.Context, fields map[string]any) (*ticket, error) {
	made, err := d.call(ctx, map[string]any{
		"operation": "core/create", "comment": "backstay", "class": d.opt.Class, "output_fields": ticketFields, "fields": fields,
	})
	if err != nil {
		return nil, err
	}
	if len(made) != 1 {
		return nil, errors.New("iTop said that it took the ticket, and named none")
	}
	return &made[0], nil
}

// write writes to the log of a ticket, and sets other fields with it.
func (d *Destination) write(ctx context.Context, t *ticket, m notify.Message) error {
	_, err := d.call(ctx, map[string]any{
		"operation": "core/update", "comment": "backstay", "class": d.opt.Class, "key": number(t.ID), "output_fields": ticketFields,
		"fields": map[string]any{d.opt.Log: entry(m)},
	})
	return err
}

// entry is what is added to a log.
func entry(m notify.Message) any {
	return map[string]any{"add_item": map[string]any{"message": m.HTML, "format": "html"}}
}

// stimulate makes a ticket go on to another state.
func (d *Destination) stimulate(ctx context.Context, t *ticket, stimulus string, fields map[string]any) error {
	changed, err := d.call(ctx, map[string]any{
		"operation": "core/apply_stimulus", "comment": "backstay", "class": d.opt.Class, "key": number(t.ID), "stimulus": stimulus,
		"output_fields": ticketFields, "fields": fields,
	})
	if err != nil {
		return err
	}
	if len(changed) != 1 { // what iTop says when a trigger or an extension stops it
		return &refusal{Code: restInternal, Message: "the ticket did not change by " + stimulus}
	}
	t.Status = changed[0].Status
	return nil
}

// resolve resolves a ticket. Where its state is not one that leads there, iTop
// may do it by itself (ev_autoresolve), or it has to be assigned first.
func (d *Destination) resolve(ctx context.Context, t *ticket, m notify.Message) error {
	solution := map[string]any{"solution": notify.Line(m.Subject, 250) + "\n" + m.Text, "resolution_code": d.opt.ResolutionCode, d.opt.Log: entry(m)}
	if d.opt.Service != "" { // iTop resolves no ticket without a service, and this may be one that lacks it
		for code, value := range d.fields(m, "") {
			if code == "service_id" {
				solution[code] = value
			}
		}
	}
	first := d.stimulate(ctx, t, "ev_resolve", solution)
	if !wrongState(first) {
		return first
	}
	if err := d.stimulate(ctx, t, "ev_autoresolve", solution); !wrongState(err) {
		return err
	}
	if err := d.assign(ctx, t); err != nil {
		return fmt.Errorf("assign ticket %s, which has to be before it is resolved: %w", t.ref(), err)
	}
	return d.stimulate(ctx, t, "ev_resolve", solution)
}

func (d *Destination) assign(ctx context.Context, t *ticket) error {
	agent := any("SELECT Person WHERE id = :current_contact_id")
	switch {
	case isQuery(d.opt.Agent):
		agent = d.opt.Agent
	case d.opt.Agent != "":
		agent = "SELECT Person WHERE friendlyname = " + quote(d.opt.Agent) + " OR name = " + quote(d.opt.Agent)
	}
	fields := map[string]any{"agent_id": agent}
	if team, ok := d.fields(notify.Message{}, "")["team_id"]; ok {
		fields["team_id"] = team
	}
	return d.stimulate(ctx, t, "ev_assign", fields)
}

// reopen says whether a ticket that was resolved by hand could be taken up
// again. A closed one cannot.
func (d *Destination) reopen(ctx context.Context, t *ticket, m notify.Message) bool {
	return t.Status == "resolved" && d.stimulate(ctx, t, "ev_reopen", map[string]any{d.opt.Log: entry(m)}) == nil
}

// wrongState says whether iTop refused a stimulus because of the ticket's state.
func wrongState(err error) bool {
	no, ok := asRefusal(err)
	return ok && strings.HasPrefix(no.Message, "Invalid stimulus")
}

// noREST says whether iTop refused because the account may not use REST at all.
func noREST(err error) bool {
	no, ok := asRefusal(err)
	return ok && no.Code == restUnauthorized && strings.Contains(no.Message, "not authorized to use the web services")
}

// explain returns an error that says what to do about iTop's no.
func (d *Destination) explain(err error) error {
	no, ok := asRefusal(err)
	if !ok {
		return err
	}
	e := &core.Error{Code: core.CodeFailed, Op: "open tickets at " + d.rest.Host, Err: err}
	switch {
	case noREST(err):
		e.Hint = fmt.Sprintf("give the account %s the profile \"REST Services User\" in iTop", d.opt.User)
		if d.opt.Protocol == SOAP {
			e.Hint += ", or choose protocol soap-only: tickets are opened then, and neither updated nor resolved"
		}
	case no.Code == restUnauthorized && strings.Contains(no.Message, "enough permissions"):
		e.Hint = "see what the account may do in iTop; iTop says so to everybody, too, while it is in read-only mode"
	case no.Code == restUnauthorized, no.Code == restMissingUser, no.Code == restMissingPwd:
		e.Hint = "look at user and password, and at what the account may do in iTop"
	case no.Code == restUnknownVerb:
		e.Hint = "this iTop is too old for version 1.3 of its web service"
	case strings.Contains(no.Message, "Missing mandatory attribute"):
		e.Hint = "iTop resolves a ticket only when it has a service, and assigns one only to a team and a person: give service, team and agent"
	default:
		e.Hint = "look at organization, service, team and server: each is the name of one object in iTop"
	}
	return e
}
