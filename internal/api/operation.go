package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
)

// operation is a row of the table: what is asked, by whom, and how it is told of.
type operation struct {
	method, path string // the path is below Prefix
	id           string // of OpenAPI: "list-backups"
	summary      string
	text         string // more than the summary says; may be empty
	tag          string
	need         gate.Need
	action       string // of the audit log
	status       int    // of success; 0: 200, or 204 when there is no body
	stream       bool   // the handler reads the body and gives the answer itself
	hidden       bool   // it is not described
	request      *huma.RequestBody
	responses    map[string]*huma.Response
}

// The rights that operations need.
var (
	viewer   = gate.Need{Role: access.Viewer}
	operator = gate.Need{Role: access.Operator}
	admin    = gate.Need{Role: access.Admin}
	afresh   = gate.Need{Role: access.Admin, Fresh: true}
)

// call is a request under way.
type call struct {
	op      *operation
	w       http.ResponseWriter // the gate's own
	r       *http.Request
	who     access.Identity
	object  string // what the audit log says that it is about
	detail  string
	begun   bool  // a run began, which tells its outcome itself
	noted   bool  // it is in the audit log, and so is only what goes wrong after that
	outcome error // of a handler that gives the answer itself
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// asker is who asks, as runs and the audit log name them.
func asker(ctx context.Context) console.Who {
	c := callOf(ctx)
	via := "api"
	if c.who.Session != nil {
		via = "console"
	}
	return console.Who{By: c.who.By(), Via: via}
}

// add puts an operation into the mux, the description and the table.
func add[I, O any](a *API, op operation, handle func(ctx context.Context, in *I) (*O, error)) {
	a.operations = append(a.operations, &op)
	a.byPattern[op.method+" "+Prefix+op.path] = &op
	described := huma.Operation{
		Method: op.method, Path: op.path, OperationID: op.id, Summary: op.summary, Description: op.describe(), Tags: []string{op.tag},
		DefaultStatus: op.status, Hidden: op.hidden, MaxBodyBytes: -1, // serve limits bodies
		RequestBody: op.request, Responses: op.responses, SkipValidateBody: op.stream,
		Extensions: map[string]any{"x-backstay-role": string(op.need.Role)},
	}
	if described.Responses == nil {
		described.Responses = map[string]*huma.Response{}
	}
	described.Responses["default"] = a.errorResponse()
	huma.Register(a.huma, described, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			callOf(ctx).outcome = err
			return nil, a.problem(ctx, err)
		}
		return out, nil
	})
}

// describe is the text of an operation with the right that it needs.
func (op *operation) describe() string {
	var s []string
	if op.text != "" {
		s = append(s, op.text)
	}
	s = append(s, "Needs the role "+string(op.need.Role)+".")
	if op.need.Fresh {
		s = append(s, "A session must have given the password in the last five minutes; a token need not.")
	}
	return strings.Join(s, "\n\n")
}

// note adds what was done, or was refused, to the audit log.
func (a *API) note(c *call, err error) {
	if c.op.action == "" || c.r.Method == http.MethodHead || c.noted && err == nil {
		return
	}
	c.noted = true
	by := asker(context.WithValue(c.r.Context(), callKey{}, c))
	entry := core.Audited{Who: by.By, Via: by.Via, Action: c.op.action, Object: c.object, Outcome: "ok", Detail: c.detail}
	switch {
	case err != nil:
		p := a.classify(err)
		entry.Outcome = p.errorBody.Error.Code
		if entry.Detail == "" {
			entry.Detail = p.errorBody.Error.Message
		}
	case c.begun:
		entry.Outcome = "begun"
	}
	if entry.Object == "" {
		entry.Object = objectOf(c.r)
	}
	// Who goes away in the middle did what they did.
	if err := a.o.Console.Note(context.WithoutCancel(c.r.Context()), entry); err != nil {
		a.o.Log.Error("this is not in the audit log", "action", entry.Action, "object", entry.Object, "who", entry.Who, "outcome", entry.Outcome, "err", err)
	}
}

// objectOf is what the path names.
func objectOf(r *http.Request) string {
	var parts []string
	for _, name := range []string{"app", "id", "run"} {
		if v := r.PathValue(name); v != "" {
			parts = append(parts, v)
		}
	}
	const most = 200 // it is whatever somebody typed
	s := strings.Join(parts, " ")
	return s[:min(len(s), most)]
}

// newDescription makes what huma needs. Nothing of it is served from elsewhere,
// and its pages of documentation, which load scripts from other sites, are off.
func newDescription(mux *http.ServeMux) huma.API {
	formats := map[string]huma.Format{"application/json": jsonFormat(), "json": jsonFormat()}
	return humago.NewWithPrefix(mux, Prefix, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI:    "3.1.0",
			Info:       &huma.Info{Title: "backstay", Version: "1", Description: description},
			Servers:    []*huma.Server{{URL: Prefix}},
			Components: components(),
			Security:   []map[string][]string{{"token": {}}, {"session": {}}},
			Tags:       tags(),
		},
		Formats: formats, DefaultFormat: "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{oneForm},
	})
}
