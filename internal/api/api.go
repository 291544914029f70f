// Package api is the JSON API under /api/v1: the use cases of the commands, for
// scripts and for the pages' own script. It is for the service, which hands it
// the requests that the gate let through. It promises that every operation asks
// for the right that its table names before it looks at anything else, that what
// changes something is in the audit log with its outcome, that every error has
// the same form, and that what is described in OpenAPI is what is served: one
// table makes both.
package api

import (
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
)

// Prefix is the path below which all operations lie, below the base path.
const Prefix = "/api/v1"

// Schema is the version of the objects that are sent.
const Schema = 1

// Options are what an API is made of.
type Options struct {
	Console *console.Console
	Gate    *gate.Gate
	Version string
	Clock   core.Clock
	Log     *slog.Logger
}

// API is safe for concurrent use.
type API struct {
	o          Options
	mux        *http.ServeMux
	huma       huma.API
	operations []*operation
	byPattern  map[string]*operation
}

// New makes an API.
func New(o Options) *API {
	a := &API{o: o, mux: http.NewServeMux(), byPattern: map[string]*operation{}}
	a.huma = newDescription(a.mux)
	a.registerState()
	a.registerApps()
	a.registerBackups()
	a.registerContent()
	a.registerRuns()
	a.registerDrills()
	a.registerDownloads()
	a.registerUploads()
	a.registerDescription()
	a.loosen()
	return a
}

// Operation is one thing that the API does.
type Operation struct {
	Method string
	Path   string // as a pattern of net/http's mux, below the base path
	Need   gate.Need
	Action string // what the audit log calls it; "": it changes nothing and shows no content
}

// Operations lists all operations, for the matrix of rights.
func (a *API) Operations() []Operation {
	var out []Operation
	for _, op := range a.operations {
		out = append(out, Operation{Method: op.method, Path: Prefix + op.path, Need: op.need, Action: op.action})
	}
	return out
}
