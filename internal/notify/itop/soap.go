package itop

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"html"
	"net/http"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/notify/wire"
)

const envelopeStart = `<?xml version="1.0" encoding="UTF-8"?>
<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/" xmlns:ns1="urn:ITop" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:SOAP-ENC="http://schemas.xmlsoap.org/soap/encoding/" SOAP-ENV:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><SOAP-ENV:Body>`

const envelopeEnd = `</SOAP-ENV:Body></SOAP-ENV:Envelope>`

// soapWriter writes the arguments of a call.
type soapWriter struct{ bytes.Buffer }

func (w *soapWriter) text(name, value string) {
	fmt.Fprintf(w, `<%s xsi:type="xsd:string">`, name)
	_ = xml.EscapeText(w, []byte(value)) // a buffer takes everything
	fmt.Fprintf(w, `</%s>`, name)
}

// search writes how iTop finds an object: by an attribute. "" is none.
func (w *soapWriter) search(name, attribute, value string) {
	if value == "" {
		fmt.Fprintf(w, `<%s xsi:nil="true"/>`, name)
		return
	}
	fmt.Fprintf(w, `<%s xsi:type="ns1:ExternalKeySearch">`, name)
	w.condition(attribute, value)
	fmt.Fprintf(w, `</%s>`, name)
}

func (w *soapWriter) condition(attribute, value string) {
	w.WriteString(`<conditions SOAP-ENC:arrayType="ns1:SearchCondition[1]" xsi:type="ns1:ArrayOfSearchCondition"><item xsi:type="ns1:SearchCondition">`)
	w.text("attcode", attribute)
	w.text("value", value)
	w.WriteString(`</item></conditions>`)
}

// server writes the list of impacted items.
func (w *soapWriter) server(name string) {
	if name == "" {
		w.WriteString(`<impacted_cis SOAP-ENC:arrayType="ns1:LinkCreationSpec[0]" xsi:type="ns1:ArrayOfLinkCreationSpec"/>`)
		return
	}
	w.WriteString(`<impacted_cis SOAP-ENC:arrayType="ns1:LinkCreationSpec[1]" xsi:type="ns1:ArrayOfLinkCreationSpec"><item xsi:type="ns1:LinkCreationSpec">`)
	w.text("class", "Server")
	w.condition("name", name)
	w.WriteString(`<attributes SOAP-ENC:arrayType="ns1:AttributeValue[0]" xsi:type="ns1:ArrayOfAttributeValue"/></item></impacted_cis>`)
}

// soapAnswer is an answer of any call.
type soapAnswer struct {
	Fault *struct {
		Code string `xml:"faultcode"`
		Text string `xml:"faultstring"`
	} `xml:"Body>Fault"`
	Incident *soapResult `xml:"Body>CreateIncidentTicketResponse>CreateIncidentTicketReturn"`
	Request  *soapResult `xml:"Body>CreateRequestTicketResponse>CreateRequestTicketReturn"`
	Search   *soapResult `xml:"Body>SearchObjectsResponse>SearchObjectsReturn"`
}

type soapResult struct {
	Status string    `xml:"status"`
	Items  []soapRow `xml:"result>item"`
	Errors []string  `xml:"errors>messages>item>text"`
}

type soapRow struct {
	Label  string `xml:"label"`
	Values []struct {
		Key   string `xml:"key"`
		Value string `xml:"value"`
	} `xml:"values>item"`
}

func (r soapRow) value(key string) string {
	for _, v := range r.Values {
		if v.Key == key {
			return v.Value
		}
	}
	return ""
}

// soapCall makes a call and returns what it came to.
func (d *Destination) soapCall(ctx context.Context, method string, arguments []byte) (*soapResult, error) {
	var body bytes.Buffer
	body.WriteString(envelopeStart)
	fmt.Fprintf(&body, `<ns1:%s>%s</ns1:%s>`, method, arguments, method)
	body.WriteString(envelopeEnd)
	header := http.Header{"Content-Type": {"text/xml; charset=utf-8"}, "SOAPAction": {`"urn:WebServiceAction"`}}
	answer, failed := wire.Post(ctx, d.client, d.soap, header, body.Bytes(), d.opt.Timeout, d.veil)
	var said soapAnswer
	err := xml.Unmarshal(answer.Body, &said)
	if err == nil && said.Fault != nil { // with status 500
		return nil, &core.Error{
			Code: core.CodeFailed, Op: "open tickets at " + d.soap.Host,
			Message: "iTop's SOAP server failed: " + notify.Line(d.veil.Cover(said.Fault.Text), 300), Hint: "look at iTop's log/error.log; its PHP needs the extension soap, and must reach its own address",
		}
	}
	if failed != nil {
		return nil, failed
	}
	result := said.Incident
	switch {
	case said.Request != nil:
		result = said.Request
	case said.Search != nil:
		result = said.Search
	}
	if err != nil || result == nil {
		return nil, d.notITop(answer)
	}
	if s := strings.TrimSpace(result.Status); s != "true" && s != "1" {
		message := notify.Line(d.veil.Cover(strings.Join(result.Errors, "; ")), 400)
		if message == "" {
			message = "it did not say why"
		}
		hint := "look at organization, service and team: each is the name of one object in iTop"
		if strings.HasPrefix(message, "Wrong credentials") {
			hint = "look at user and password"
		}
		return nil, &core.Error{Code: core.CodeFailed, Op: "open tickets at " + d.soap.Host, Message: "iTop refused by SOAP: " + message, Hint: hint}
	}
	return result, nil
}

// openBySOAP opens a ticket, or returns the one that is open for the matter.
func (d *Destination) openBySOAP(ctx context.Context, m notify.Message) (string, error) {
	var ask soapWriter
	ask.text("login", d.opt.User)
	ask.text("password", d.opt.Password.Reveal())
	ask.text("oql", fmt.Sprintf("SELECT %s WHERE %s", d.opt.Class, openOf(m.Matter)))
	found, err := d.soapCall(ctx, "SearchObjects", ask.Bytes())
	if err != nil {
		return "", err
	}
	for _, row := range found.Items {
		if ref := row.reference(); ref != "" {
			return ref, nil
		}
	}
	// iTop adds what it does not know of the impacted server to the description
	// by itself. Of the others it refuses the ticket.
	description := m.HTML
	if d.opt.Protocol == SOAPOnly {
		description += "<p>" + html.EscapeString("backstay opened this ticket by SOAP. It neither updates nor resolves it: see to that by hand.") + "</p>"
	}
	method := "CreateIncidentTicket"
	if d.opt.Class == "UserRequest" {
		method = "CreateRequestTicket"
	}
	create := func(opt Options, description string) (*soapResult, error) {
		var w soapWriter
		w.text("login", opt.User)
		w.text("password", opt.Password.Reveal())
		w.text("title", d.title(m))
		w.text("description", description)
		w.search("caller", "friendlyname", opt.Caller)
		w.search("customer", "name", opt.Organization)
		w.search("service", "name", opt.Service)
		w.search("service_subcategory", "name", opt.Subcategory)
		w.text("product", "")
		w.search("workgroup", "name", opt.Team)
		w.server(opt.Server)
		w.text("impact", opt.Impact)
		w.text("urgency", opt.Urgency)
		return d.soapCall(ctx, method, w.Bytes())
	}
	made, err := create(d.opt, description)
	if err != nil {
		return "", err
	}
	for _, row := range made.Items {
		if ref := row.reference(); ref != "" {
			return ref, nil
		}
	}
	return "", d.notITop(wire.Answer{Status: http.StatusOK, Body: []byte("no ticket")})
}

// reference returns the number of the ticket that a row is about. A created one
// has id, name and url; one that was found has its attributes.
func (r soapRow) reference() string {
	for _, key := range []string{"ref", "Incident.ref", "UserRequest.ref", "name", "id"} {
		if ref := strings.TrimSpace(r.value(key)); isRef(ref) {
			return ref
		}
	}
	return ""
}
