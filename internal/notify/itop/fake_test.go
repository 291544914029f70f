package itop_test

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// fake answers as iTop 3.2 was seen to, with the states of its Incident.
type fake struct {
	*httptest.Server
	mu       sync.Mutex
	tickets  []*incident
	requests []string // operation, and what it was about
	answer   http.HandlerFunc
	unknown  string // a name that iTop does not know
	noREST   bool   // the account lacks the profile
	noSOAP   bool
	closed   chan struct{}
}

type incident struct {
	id, service, agent, status string
	title, description, reply  string
	log                        []string
	fields                     map[string]any
}

const password = "s3cret-Pw \"<&>"

func newFake(t *testing.T) *fake {
	f := &fake{closed: make(chan struct{})}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	t.Cleanup(func() { close(f.closed) }) // first: Close waits for the requests
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.answer != nil {
		f.answer(w, r)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch r.URL.RequestURI() {
	case "/itop/webservices/rest.php?version=1.3":
		w.Header().Set("Content-Type", "application/json")
		said, err := json.Marshal(f.rest(r))
		if err != nil {
			panic(err)
		}
		_, _ = w.Write(said)
	case "/itop/webservices/soapserver.php":
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(err)
		}
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		if f.noSOAP {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><SOAP-ENV:Envelope xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/"><SOAP-ENV:Body><SOAP-ENV:Fault><faultcode>WSDL</faultcode><faultstring>SOAP-ERROR: Parsing WSDL: Couldn't load from 'http://localhost/`+html.EscapeString(password)+`'</faultstring></SOAP-ENV:Fault></SOAP-ENV:Body></SOAP-ENV:Envelope>`)
			return
		}
		_, _ = io.WriteString(w, f.soap(string(body)))
	default:
		http.NotFound(w, r)
	}
}

type object map[string]any

func no(code int, message string) object { return object{"code": code, "message": message} }

var marker = regexp.MustCompile(`LIKE '%([a-z0-9-]+)%' AND status NOT IN \('resolved', 'closed', 'rejected'\)$`)

// selected returns the tickets that a key of a request is about.
func (f *fake) selected(key any) (found []*incident) {
	for _, i := range f.tickets {
		switch k := key.(type) {
		case float64:
			if fmt.Sprint(k) == i.id {
				found = append(found, i)
			}
		case string:
			if m := marker.FindStringSubmatch(k); m != nil && strings.Contains(i.description, m[1]) && i.status != "resolved" && i.status != "closed" ||
				strings.HasSuffix(k, "WHERE ref = '"+i.ref()+"'") || strings.HasSuffix(k, "WHERE id = "+i.id) {
				found = append(found, i)
			}
		}
	}
	return found
}

func (i *incident) ref() string { return "I-0000" + i.id }

func shown(message string, list ...*incident) object {
	objects := object{}
	for _, i := range list {
		entries := []any{}
		for _, e := range i.log {
			entries = append(entries, object{"message": e})
		}
		objects["Incident::"+i.id] = object{"code": 0, "message": "", "class": "Incident", "key": i.id, "fields": object{
			"id": i.id, "ref": i.ref(), "status": i.status, "description": i.description, "private_log": object{"entries": entries}, "public_log": object{"entries": []any{}},
		}}
	}
	if len(list) == 0 {
		return object{"code": 0, "message": message, "objects": nil}
	}
	return object{"code": 0, "message": message, "objects": objects}
}

func (f *fake) rest(r *http.Request) object {
	if r.Method != http.MethodPost || r.FormValue("auth_user") != "rest" || r.FormValue("auth_pwd") != password {
		return no(1, "Error: Invalid login")
	}
	if f.noREST {
		return no(1, "Error: This user is not authorized to use the web services. (The profile REST Services User is required to access the REST web services)")
	}
	var q struct {
		Operation, Class, Stimulus string
		Key                        any
		Fields                     map[string]any
	}
	if err := json.Unmarshal([]byte(r.FormValue("json_data")), &q); err != nil {
		return no(7, "Error: Parameter json_data is not a valid JSON structure")
	}
	f.requests = append(f.requests, strings.TrimSpace(q.Operation+" "+q.Stimulus))
	if q.Class != "Incident" {
		return no(100, "Error: class: Unknown class '"+q.Class+"'")
	}
	named := maps.Clone(q.Fields)
	delete(named, "description")
	if f.unknown != "" && strings.Contains(fmt.Sprint(named), f.unknown) {
		return no(100, "Error: servicesubcategory_id: No item found with criteria: name:"+f.unknown)
	}
	found := f.selected(q.Key)
	if q.Operation != "core/get" && q.Operation != "core/create" && len(found) != 1 {
		return no(100, "Error: Invalid key: no object found")
	}
	switch q.Operation {
	case "core/get":
		return shown(fmt.Sprintf("Found: %d", len(found)), found...)
	case "core/create":
		i := &incident{title: q.Fields["title"].(string), description: q.Fields["description"].(string), fields: q.Fields}
		f.add(i)
		if q.Fields["service_id"] != nil {
			i.service = "given"
		}
		return shown("", i)
	case "core/update":
		found[0].set(q.Fields)
		return shown("", found[0])
	case "core/apply_stimulus":
		i := found[0]
		target := map[string]string{
			"new ev_assign": "assigned", "new ev_autoresolve": "resolved", "escalated_tto ev_assign": "assigned", "assigned ev_resolve": "resolved", "assigned ev_autoresolve": "resolved",
			"escalated_ttr ev_resolve": "resolved", "pending ev_autoresolve": "resolved", "resolved ev_reopen": "assigned",
		}[i.status+" "+q.Stimulus]
		if target == "" {
			return no(100, fmt.Sprintf("Invalid stimulus: '%s' on the object %s in state '%s'", q.Stimulus, i.ref(), i.status))
		}
		service, agent := i.service, i.agent
		if q.Fields["service_id"] != nil {
			service = "given"
		}
		if q.Fields["agent_id"] != nil {
			agent = "given"
		}
		switch {
		case target == "resolved" && service == "":
			return no(100, "Missing mandatory attribute(s) for applying the stimulus: service_id.")
		case target == "assigned" && agent == "":
			return no(100, "Missing mandatory attribute(s) for applying the stimulus: agent_id.")
		}
		i.service, i.agent = service, agent
		i.set(q.Fields)
		i.status = target
		return shown("", i)
	}
	return no(11, "Error: Unknown verb '"+q.Operation+"' in version '1.3'")
}

func (f *fake) add(i *incident) {
	i.id, i.status = fmt.Sprint(len(f.tickets)+11), "new"
	f.tickets = append(f.tickets, i)
}

func (i *incident) set(fields map[string]any) {
	if log, ok := fields["private_log"].(map[string]any); ok {
		i.log = append(i.log, log["add_item"].(map[string]any)["message"].(string))
	}
	if s, ok := fields["solution"].(string); ok {
		i.reply = s
	}
}

func (f *fake) soap(body string) string {
	type named struct {
		Conditions []struct {
			Code  string `xml:"attcode"`
			Value string `xml:"value"`
		} `xml:"conditions>item"`
	}
	type call struct {
		Login       string `xml:"login"`
		Password    string `xml:"password"`
		OQL         string `xml:"oql"`
		Title       string `xml:"title"`
		Description string `xml:"description"`
		Customer    named  `xml:"customer"`
		Service     named  `xml:"service"`
	}
	var q struct {
		Create *call `xml:"Body>CreateIncidentTicket"`
		Search *call `xml:"Body>SearchObjects"`
	}
	if err := xml.Unmarshal([]byte(body), &q); err != nil {
		panic(err)
	}
	method, c := "SearchObjects", q.Search
	if q.Create != nil {
		method, c = "CreateIncidentTicket", q.Create
	}
	f.requests = append(f.requests, "SOAP "+method)
	items, status, errs := "", "true", ""
	refuse := func(text string) {
		status, errs = "false", `<item xsi:type="ns1:LogMessage"><text xsi:type="xsd:string">`+text+`</text></item>`
	}
	row := func(label string, pairs ...string) {
		items += `<item xsi:type="ns1:ResultMessage"><label xsi:type="xsd:string">` + label + `</label><values SOAP-ENC:arrayType="ns1:ResultData[3]" xsi:type="ns1:ArrayOfResultData">`
		for i := 0; i < len(pairs); i += 2 {
			items += `<item xsi:type="ns1:ResultData"><key xsi:type="xsd:string">` + pairs[i] + `</key><value xsi:type="xsd:string">` + pairs[i+1] + `</value></item>`
		}
		items += `</values></item>`
	}
	switch {
	case c.Login != "rest" || c.Password != password:
		refuse("Wrong credentials: '" + c.Login + "'")
	case q.Search != nil:
		for n, i := range f.selected(c.OQL) {
			row(fmt.Sprint("row_", n), "Incident.id", i.id, "Incident.ref", i.ref(), "Incident.title", "x")
		}
	case len(c.Customer.Conditions) != 1 || c.Customer.Conditions[0].Value != "Demo" || c.Customer.Conditions[0].Code != "name":
		refuse("Parameter customer: no match (searched: 'SELECT Organization')")
	default:
		i := &incident{title: c.Title, description: c.Description}
		f.add(i)
		if len(c.Service.Conditions) > 0 {
			i.service = "given"
		}
		row("created", "id", i.id, "name", i.ref(), "url", f.URL)
	}
	return `<?xml version="1.0" encoding="UTF-8"?>
<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/" xmlns:ns1="urn:ITop" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:SOAP-ENC="http://schemas.xmlsoap.org/soap/encoding/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><SOAP-ENV:Body><ns1:` + method + `Response><` + method + `Return xsi:type="ns1:Result"><status xsi:type="xsd:boolean">` + status + `</status><result xsi:type="ns1:ArrayOfResultMessage">` + items + `</result><errors xsi:type="ns1:ResultLog"><messages>` + errs + `</messages></errors></` + method + `Return></ns1:` + method + `Response></SOAP-ENV:Body></SOAP-ENV:Envelope>`
}
