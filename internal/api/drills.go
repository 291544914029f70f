package api

import (
	"context"
	"net/http"

	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/evidence"
)

// OfDrill is a request about a drill's report.
type OfDrill struct {
	ID string `path:"id" minLength:"1" maxLength:"128" doc:"The report's id."`
}

// drillPart is a part of the list of drills.
type drillPart struct {
	App    string `query:"app" maxLength:"63" doc:"Only of this app."`
	Offset int    `query:"offset" minimum:"0" maximum:"1000000000" doc:"How many of the newest are left out."`
	Limit  int    `query:"limit" minimum:"0" maximum:"1000" doc:"0: 50."`
}

type drillsAnswer struct {
	Schema int `json:"schema"`
	console.Drills
}

type drillAnswer struct {
	Schema int            `json:"schema"`
	Drill  evidence.Drill `json:"drill"`
}

func (a *API) registerDrills() {
	add(a, operation{method: http.MethodGet, path: "/drills", id: "list-drills", tag: "drills", need: viewer, summary: "Drills, the newest first: what passed, and how long recoveries took"},
		func(ctx context.Context, in *drillPart) (*body[drillsAnswer], error) {
			found, err := a.o.Console.Drills(ctx, in.App, console.Page{Offset: in.Offset, Limit: in.Limit})
			return answerOf(drillsAnswer{Schema, found}), err
		})
	add(a, operation{method: http.MethodGet, path: "/drills/{id}", id: "get-drill", tag: "drills", need: operator, summary: "The report of a drill",
		text: "It names tables, files and credentials that were looked at, and none of their contents. A report that is not as it was signed is an error."},
		func(ctx context.Context, in *OfDrill) (*body[drillAnswer], error) {
			d, err := a.o.Console.Drill(ctx, in.ID)
			return answerOf(drillAnswer{Schema, d}), err
		})
	a.begins("/apps/{app}/drills", "drill-app", "drill", operator, "Begin to restore the newest backup into a scratch place and prove it",
		func(ctx context.Context, app string, w console.Who) (int64, error) {
			return a.o.Console.StartDrill(ctx, app, "", w)
		})
}
