// Package recovery is the pages by which an administrator brings an app back:
// the restore's steps from the choice of a backup to its undoing, and the
// import of archives. It is for package web. It promises that nothing live is
// changed before somebody has seen the plan, agreed to what it asks, given
// their password and typed the app's name.
package recovery

import (
	"embed"
	"io/fs"
	"net/http"
	"strconv"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/web/page"
)

//go:embed templates/*.html
var templates embed.FS

type pages struct{ c *console.Console }

// Pages are the pages about restores and imports, on what c knows.
func Pages(c *console.Console) page.Pages {
	p := pages{c}
	own, err := fs.Sub(templates, "templates")
	if err != nil {
		panic(err) // the folder is built in
	}
	admin := gate.Need{Role: access.Admin}
	fresh := gate.Need{Role: access.Admin, Fresh: true}
	return page.Pages{Templates: own, Routes: []page.Route{
		{Method: http.MethodGet, Pattern: "/apps/{app}/restore", Need: admin, Handle: p.choose},
		{Method: http.MethodPost, Pattern: "/apps/{app}/restore/plan", Need: admin, Action: "plan restore", Handle: p.startPlan},
		{Method: http.MethodGet, Pattern: "/apps/{app}/restore/plan/{run}", Need: admin, Handle: p.plan},
		{Method: http.MethodPost, Pattern: "/apps/{app}/restore/plan/{run}/again", Need: admin, Action: "plan restore", Handle: p.planAgain},
		{Method: http.MethodGet, Pattern: "/apps/{app}/restore/plan/{run}/confirm", Need: fresh, Handle: p.confirm},
		{Method: http.MethodPost, Pattern: "/apps/{app}/restore/plan/{run}/confirm", Need: fresh, Action: "restore", Handle: p.restore},
		{Method: http.MethodPost, Pattern: "/apps/{app}/restore/resume", Need: fresh, Action: "resume restore", Handle: p.resume},
		{Method: http.MethodGet, Pattern: "/apps/{app}/undo", Need: fresh, Handle: p.askUndo},
		{Method: http.MethodPost, Pattern: "/apps/{app}/undo", Need: fresh, Action: "undo", Handle: p.undo},
		{Method: http.MethodPost, Pattern: "/apps/{app}/undo/drop", Need: fresh, Action: "drop undo", Handle: p.undo},
		{Method: http.MethodGet, Pattern: "/import", Need: admin, Handle: p.imports},
		{Method: http.MethodGet, Pattern: "/apps/{app}/import", Need: admin, Handle: p.askImport},
		{Method: http.MethodPost, Pattern: "/apps/{app}/import", Need: admin, Action: "upload", Body: -1, Patient: true, Handle: p.upload},
		{Method: http.MethodPost, Pattern: "/apps/{app}/import/start", Need: admin, Action: "import", Handle: p.startImport},
		{Method: http.MethodPost, Pattern: "/apps/{app}/import/remove", Need: admin, Action: "remove upload", Handle: p.removeUpload},
	}}
}

func who(q *page.Request) console.Who { return console.Who{By: q.Who.By(), Via: "console"} }

func toRun(q *page.Request, run int64) error {
	return q.Go("/runs/{id}", strconv.FormatInt(run, 10))
}

// mistyped is the problem of a name that is not the app's.
func mistyped(q *page.Request, app string) []page.Problem {
	return []page.Problem{{Field: "confirm", Text: q.Text.T("recovery.confirm.mismatch", app)}}
}
