package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
)

// OfRun is a request about a run.
type OfRun struct {
	ID int64 `path:"id" minimum:"1" doc:"Its number."`
}

type ofRunOnly struct {
	OfRun
	Empty
}

type runsAnswer struct {
	Schema int        `json:"schema"`
	Offset int        `json:"offset"`
	Limit  int        `json:"limit"`
	Runs   []core.Run `json:"runs" doc:"The newest first. There is more while there are as many as limit."`
}

type runAnswer struct {
	Schema int         `json:"schema"`
	Run    console.Run `json:"run"`
}

// started is the answer to what begins a run.
type started struct {
	Location string `header:"Location" doc:"Of the run."`
	Body     runAnswer
}

// begun answers with the run that began.
func (a *API) begun(ctx context.Context, id int64, err error) (*started, error) {
	if err != nil {
		return nil, err
	}
	c := callOf(ctx)
	c.begun, c.detail = true, "as run "+strconv.FormatInt(id, 10)
	run, err := a.o.Console.Run(ctx, id)
	if err != nil { // it runs all the same, and whoever asked must hear its number
		a.o.Log.Warn("look at a run that just began", "run", id, "err", err)
		run = console.Run{Run: core.Run{ID: id, Started: a.o.Clock.Now().UTC(), Outcome: core.OutcomeRunning, By: c.who.By()}}
	}
	return &started{Location: gate.BasePath(ctx) + Prefix + "/runs/" + strconv.FormatInt(id, 10), Body: runAnswer{Schema, run}}, nil
}

func (a *API) registerRuns() {
	add(a, operation{method: http.MethodGet, path: "/runs", id: "list-runs", tag: "runs", need: viewer, summary: "Runs, the newest first"}, a.runs)
	add(a, operation{method: http.MethodGet, path: "/runs/{id}", id: "get-run", tag: "runs", need: viewer, summary: "A run with its progress, its result or its error"}, a.run)
	add(a, operation{method: http.MethodPost, path: "/runs/{id}/cancel", id: "cancel-run", tag: "runs", need: operator, action: "cancel", status: http.StatusAccepted,
		summary: "Ask a run to end", text: "It ends cleanly, and soon: wait for it. An operator may cancel backups and their own runs, an admin all."}, a.cancel)
	add(a, operation{method: http.MethodGet, path: "/runs/{id}/events", id: "watch-run", tag: "runs", need: viewer, stream: true, summary: "Hear how a run goes on",
		text:      "Server-sent events. Each event `run` has the whole state of the run, so that nothing is missed by connecting again. The event `end` is the last, with the run that is over. A stream ends after an hour without it: connect again.",
		responses: eventStream()}, a.events)
}

func (a *API) runs(ctx context.Context, in *struct {
	Paging
	App     string       `query:"app" maxLength:"63"`
	Kind    string       `query:"kind" enum:"backup,check,prune,maintain,verify,restore,undo,export,import,plan,notify-test"`
	Outcome core.Outcome `query:"outcome" enum:"running,ok,warnings,failed,cancelled,missed"`
	Since   time.Time    `query:"since" doc:"RFC 3339."`
	Plans   bool         `query:"plans" doc:"Those too that only found out what a restore would do."`
}) (*body[runsAnswer], error) {
	found, err := a.o.Console.Runs(ctx, console.RunQuery{App: in.App, Kind: in.Kind, Outcome: in.Outcome, Since: in.Since, Plans: in.Plans, Page: in.page()})
	return answerOf(runsAnswer{Schema, in.Offset, in.Limit, found}), err
}

func (a *API) run(ctx context.Context, in *OfRun) (*body[runAnswer], error) {
	run, err := a.o.Console.Run(ctx, in.ID)
	return answerOf(runAnswer{Schema, run}), err
}

func (a *API) cancel(ctx context.Context, in *ofRunOnly) (*started, error) {
	run, err := a.o.Console.Run(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if !mayCancel(callOf(ctx).who, run.Run) {
		return nil, gate.ErrForbidden
	}
	if run.Outcome != core.OutcomeRunning {
		return nil, newProblem(http.StatusConflict, codeOver, "this run is over", "")
	}
	if err := a.o.Console.Cancel(ctx, in.ID, asker(ctx)); err != nil {
		return nil, err
	}
	out, err := a.begun(ctx, in.ID, nil)
	callOf(ctx).begun, callOf(ctx).detail = false, ""
	return out, err
}

// mayCancel says whether somebody may end a run: an operator backups, which
// come again, and what is their own, with whichever token.
func mayCancel(who access.Identity, run core.Run) bool {
	owner, _, _ := strings.Cut(run.By, " (token ")
	return who.Role.May(access.Admin) || run.Kind == core.RunBackup || who.User.Name != "" && owner == who.User.Name
}
