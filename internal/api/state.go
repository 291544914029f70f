package api

import (
	"context"
	"net/http"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
)

// none is a request without a body and without parameters.
type none struct{}

// body is an answer with an object.
type body[T any] struct{ Body T }

func answerOf[T any](v T) *body[T] { return &body[T]{Body: v} }

type versionAnswer struct {
	Schema  int    `json:"schema"`
	Version string `json:"version" doc:"Of backstay."`
	API     string `json:"api" doc:"The version of the API." example:"v1"`
}

type meAnswer struct {
	Schema  int             `json:"schema"`
	User    string          `json:"user"`
	Role    access.Role     `json:"role" doc:"What counts: a token may have less than its user." enum:"viewer,operator,admin"`
	By      string          `json:"by" doc:"As runs and the audit log name whoever asks."`
	Token   *access.Token   `json:"token" doc:"Null for a session."`
	Session *access.Session `json:"session" doc:"Null for a token."`
	Fresh   bool            `json:"fresh" doc:"What needs a password that was given a moment ago is allowed now."`
}

type overviewAnswer struct {
	Schema int `json:"schema"`
	console.Overview
}

type alarmsAnswer struct {
	Schema int          `json:"schema"`
	Alarms []core.Alarm `json:"alarms" doc:"Open and closed, the newest first."`
}

type repositoryAnswer struct {
	Schema     int                    `json:"schema"`
	Repository console.RepositoryInfo `json:"repository"`
}

type auditAnswer struct {
	Schema int                  `json:"schema"`
	Offset int                  `json:"offset"`
	Limit  int                  `json:"limit"`
	Audit  []core.Audited       `json:"audit" doc:"The newest first. There is more while there are as many as limit."`
	Log    *console.AuditReport `json:"log" doc:"Whether the log is as it was written; null when it was not asked for."`
}

func (a *API) registerState() {
	add(a, operation{method: http.MethodGet, path: "/version", id: "get-version", tag: "state", need: viewer, summary: "The version of backstay"},
		func(context.Context, *none) (*body[versionAnswer], error) {
			return answerOf(versionAnswer{Schema, a.o.Version, "v1"}), nil
		})
	add(a, operation{method: http.MethodGet, path: "/me", id: "get-me", tag: "state", need: viewer, summary: "Who asks, and what they may do"}, a.me)
	add(a, operation{method: http.MethodGet, path: "/overview", id: "get-overview", tag: "state", need: viewer, summary: "All apps at one moment, with what is wrong",
		text: "What `backstay status` says, and more."}, a.overview)
	add(a, operation{method: http.MethodGet, path: "/alarms", id: "list-alarms", tag: "state", need: viewer, summary: "Alarms, open and closed"}, a.alarms)
	add(a, operation{method: http.MethodGet, path: "/repository", id: "get-repository", tag: "repository", need: viewer, summary: "The repository: space, growth, maintenance, key"}, a.repository)
	add(a, operation{method: http.MethodPost, path: "/repository/maintain", id: "maintain-repository", tag: "repository", need: admin, action: "maintain", status: http.StatusAccepted,
		summary: "Begin to give back space"},
		func(ctx context.Context, _ *Empty) (*started, error) {
			run, err := a.o.Console.StartMaintain(ctx, asker(ctx))
			return a.begun(ctx, run, err)
		})
	add(a, operation{method: http.MethodGet, path: "/audit", id: "list-audit", tag: "state", need: admin, summary: "The audit log"}, a.audit)
}

func (a *API) me(ctx context.Context, _ *none) (*body[meAnswer], error) {
	who := callOf(ctx).who
	return answerOf(meAnswer{
		Schema: Schema, User: who.User.Name, Role: who.Role, By: who.By(), Token: who.Token, Session: who.Session, Fresh: who.Fresh(a.o.Clock.Now()),
	}), nil
}

func (a *API) overview(ctx context.Context, _ *none) (*body[overviewAnswer], error) {
	o, err := a.o.Console.Overview(ctx)
	return answerOf(overviewAnswer{Schema, o}), err
}

func (a *API) alarms(ctx context.Context, in *struct {
	Limit int `query:"limit" default:"100" minimum:"1" maximum:"1000"`
}) (*body[alarmsAnswer], error) {
	found, err := a.o.Console.Alarms(ctx, in.Limit)
	return answerOf(alarmsAnswer{Schema, found}), err
}

func (a *API) repository(ctx context.Context, _ *none) (*body[repositoryAnswer], error) {
	info, err := a.o.Console.Repository(ctx)
	return answerOf(repositoryAnswer{Schema, info}), err
}

func (a *API) audit(ctx context.Context, in *struct {
	Paging
	Who    string    `query:"who" maxLength:"200"`
	Action string    `query:"action" maxLength:"200"`
	Object string    `query:"object" maxLength:"200"`
	Since  time.Time `query:"since" doc:"RFC 3339."`
	Verify bool      `query:"verify" doc:"Say too whether the whole log is as it was written."`
}) (*body[auditAnswer], error) {
	found, err := a.o.Console.Audit(ctx, console.AuditQuery{Who: in.Who, Action: in.Action, Object: in.Object, Since: in.Since, Page: in.page()})
	if err != nil {
		return nil, err
	}
	out := auditAnswer{Schema: Schema, Offset: in.Offset, Limit: in.Limit, Audit: found}
	if in.Verify {
		report, err := a.o.Console.VerifyAudit(ctx)
		if err != nil {
			return nil, err
		}
		out.Log = &report
	}
	return answerOf(out), nil
}
