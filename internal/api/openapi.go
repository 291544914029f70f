package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/backstay/backstay/internal/gate"
)

const description = "The use cases of backstay's commands, for scripts. Work that takes long is a run: what begins it answers 202 with the run, " +
	"whose progress is at /runs/{id}/events. Times are RFC 3339 in UTC, sizes bytes, durations milliseconds. Every object has \"schema\": 1; " +
	"fields may be added to it without another version, so ignore those that you do not know. docs/api.md shows each use with curl."

func tags() []*huma.Tag {
	return []*huma.Tag{
		{Name: "state", Description: "What is, and who did what"},
		{Name: "apps", Description: "Applications"},
		{Name: "backups", Description: "Backups and what is in them"},
		{Name: "runs", Description: "Work, under way and done"},
		{Name: "downloads", Description: "Archives made of backups"},
		{Name: "uploads", Description: "Archives to become backups"},
		{Name: "repository", Description: "Where backups are stored"},
	}
}

func components() *huma.Components {
	return &huma.Components{
		Schemas: huma.NewMapRegistry("#/components/schemas/", schemaName),
		SecuritySchemes: map[string]*huma.SecurityScheme{
			"token":   {Type: "http", Scheme: "bearer", Description: "`backstay token add` makes one."},
			"session": {Type: "apiKey", In: "cookie", Name: "backstay", Description: "The console's own pages."},
		},
	}
}

// schemaName names a type as the description does: those of the console and the
// API by their own names, others with their package's before it.
func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := huma.DefaultSchemaNamer(t, hint)
	pkg := t.PkgPath()[strings.LastIndex(t.PkgPath(), "/")+1:]
	switch {
	case t.Name() == "" || pkg == "" || pkg == "api" || pkg == "console":
		return name
	case strings.EqualFold(pkg, name):
		return name
	}
	return strings.ToUpper(pkg[:1]) + pkg[1:] + name
}

// errorResponse describes the one form of errors.
func (a *API) errorResponse() *huma.Response {
	schema := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[errorBody](), true, "Error")
	return &huma.Response{Description: "Error", Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}
}

// jsonFormat leaves text as it is: what is JSON is not HTML, and says so.
func jsonFormat() huma.Format {
	return huma.Format{
		Marshal: func(w io.Writer, v any) error {
			e := json.NewEncoder(w)
			e.SetEscapeHTML(false)
			return e.Encode(v)
		},
		Unmarshal: json.Unmarshal,
	}
}

// Description is the description of the API as OpenAPI 3.1, in YAML, the same in
// every service.
func (a *API) Description() ([]byte, error) {
	text, err := a.described("").YAML()
	if err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	return text, nil
}

// described is the description for who reaches the API below a base path.
func (a *API) described(base string) *huma.OpenAPI {
	o := *a.huma.OpenAPI()
	o.Servers = []*huma.Server{{URL: base + Prefix}}
	return &o
}

func (a *API) registerDescription() {
	serve := func(path, kind string, make func(*huma.OpenAPI) ([]byte, error)) {
		add(a, operation{method: http.MethodGet, path: path, id: "get-openapi" + strings.ReplaceAll(path[len("/openapi"):], ".", "-"), tag: "state", need: viewer, hidden: true, summary: "This description"},
			func(ctx context.Context, _ *none) (*struct {
				ContentType string `header:"Content-Type"`
				Body        []byte
			}, error) {
				text, err := make(a.described(gate.BasePath(ctx)))
				if err != nil {
					return nil, fmt.Errorf("describe the API: %w", err)
				}
				return &struct {
					ContentType string `header:"Content-Type"`
					Body        []byte
				}{kind, text}, nil
			})
	}
	serve("/openapi.json", "application/openapi+json", func(o *huma.OpenAPI) ([]byte, error) { return json.Marshal(o) })
	serve("/openapi.yaml", "application/openapi+yaml", func(o *huma.OpenAPI) ([]byte, error) { return o.YAML() })
}

// loosen makes the description of answers true: they may have more fields one
// day, and what is a pointer may be null. Requests stay strict.
func (a *API) loosen() {
	registry := a.huma.OpenAPI().Components.Schemas
	strict := map[string]bool{}
	for _, item := range a.huma.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Post, item.Patch, item.Delete} {
			if op == nil || op.RequestBody == nil {
				continue
			}
			for _, content := range op.RequestBody.Content {
				strict[content.Schema.Ref] = true
			}
		}
	}
	const prefix = "#/components/schemas/"
	for name, s := range registry.Map() {
		t := registry.TypeFromRef(prefix + name)
		if strict[prefix+name] || s.Type != huma.TypeObject || t == nil || t.Kind() != reflect.Struct {
			continue
		}
		s.AdditionalProperties = nil
		for _, field := range reflect.VisibleFields(t) {
			tag, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			p := s.Properties[tag]
			if p == nil || p.Ref == "" || field.Type.Kind() != reflect.Pointer || strings.Contains(options, "omitempty") {
				continue
			}
			s.Properties[tag] = &huma.Schema{Description: p.Description, AnyOf: []*huma.Schema{{Ref: p.Ref}, {Type: "null"}}}
		}
	}
}
