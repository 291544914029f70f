// Package proof is the pages that show whether backups can be relied on: drills
// with their reports and how long recoveries take, recovery kits, and how far
// the repository was read back. It is for package web. It promises that what was
// not proven is shown as plainly as what was.
package proof

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"strconv"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/evidence"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/web/page"
	"github.com/backstay/backstay/internal/web/picture"
)

//go:embed templates/*.html
var templates embed.FS

type pages struct{ c *console.Console }

// Pages are the proofs, on what c knows. What a drill looked at names files,
// tables and credentials: viewers see outcomes and times, operators the rest.
func Pages(c *console.Console) page.Pages {
	p := pages{c}
	own, err := fs.Sub(templates, "templates")
	if err != nil {
		panic(err) // the folder is built in
	}
	viewer, operator, admin := gate.Need{Role: access.Viewer}, gate.Need{Role: access.Operator}, gate.Need{Role: access.Admin}
	return page.Pages{Templates: own, Routes: []page.Route{
		{Method: http.MethodGet, Pattern: "/proof", Need: viewer, Handle: p.proof},
		{Method: http.MethodGet, Pattern: "/apps/{app}/drills", Need: viewer, Handle: p.drills},
		{Method: http.MethodPost, Pattern: "/apps/{app}/drill", Need: operator, Action: "drill", Handle: p.start},
		{Method: http.MethodGet, Pattern: "/drills/{id}", Need: operator, Handle: p.drill},
		{Method: http.MethodGet, Pattern: "/drills/{id}/{file}", Need: admin, Action: "download report", Handle: p.download},
	}}
}

func who(q *page.Request) console.Who { return console.Who{By: q.Who.By(), Via: "console"} }

// perPage is how many drills a list shows.
const perPage = 50

// proven is an app in the list.
type proven struct {
	console.Proven
	Times template.HTML
}

func (p pages) proof(q *page.Request) error {
	o, err := p.c.Proof(q.Context())
	if err != nil {
		return err
	}
	view := struct {
		console.Proof
		Rows []proven
	}{Proof: o}
	for _, a := range o.Apps {
		view.Rows = append(view.Rows, proven{a, times(q, a.Drills)})
	}
	return q.Render("proof.html", view)
}

// times draws how long recoveries took.
func times(q *page.Request, drills []console.DrillSummary) template.HTML {
	if len(drills) == 0 {
		return ""
	}
	var bars []picture.Bar
	for i := len(drills) - 1; i >= 0; i-- { // the oldest first
		bars = append(bars, picture.Bar{Value: drills[i].RTO.MeasuredMS, Bad: !drills[i].Passed})
	}
	last := drills[0]
	said := q.Text.Duration(time.Duration(last.RTO.MeasuredMS) * time.Millisecond)
	if last.RTO.TargetMS > 0 {
		said += " / " + q.Text.Duration(time.Duration(last.RTO.TargetMS)*time.Millisecond)
	}
	return picture.Bars(bars, last.RTO.TargetMS, picture.Words{Title: q.Text.T("proof.times"), Text: said})
}

// sizes draws how large the drilled backups were.
func sizes(q *page.Request, drills []console.DrillSummary) template.HTML {
	var bars []picture.Bar
	for i := len(drills) - 1; i >= 0; i-- {
		bars = append(bars, picture.Bar{Value: drills[i].Bytes, Bad: !drills[i].Passed})
	}
	if len(bars) == 0 {
		return ""
	}
	return picture.Bars(bars, 0, picture.Words{Title: q.Text.T("proof.sizes"), Text: q.Text.Size(drills[0].Bytes)})
}

// lasted draws how long drills took in all.
func lasted(q *page.Request, drills []console.DrillSummary) template.HTML {
	var bars []picture.Bar
	for i := len(drills) - 1; i >= 0; i-- {
		bars = append(bars, picture.Bar{Value: drills[i].DurationMS, Bad: !drills[i].Passed})
	}
	if len(bars) == 0 {
		return ""
	}
	return picture.Bars(bars, 0, picture.Words{Title: q.Text.T("proof.durations"), Text: q.Text.Duration(time.Duration(drills[0].DurationMS) * time.Millisecond)})
}

func (p pages) drills(q *page.Request) error {
	app := q.PathValue("app")
	list, err := p.c.Drills(q.Context(), app, console.Page{Offset: q.Offset(), Limit: perPage})
	if err != nil {
		return err
	}
	view := struct {
		console.Drills
		Name                    string
		Pager                   page.Pager
		Times, Sizes, Durations template.HTML
	}{Drills: list, Name: app, Times: times(q, list.Drills), Sizes: sizes(q, list.Drills), Durations: lasted(q, list.Drills)}
	view.Pager = page.PagerOf(list.Offset, list.Limit, len(list.Drills), list.Total, func(at int) string {
		return q.Path("/apps/{app}/drills?offset={offset}", app, strconv.Itoa(at))
	})
	return q.Render("drills.html", view)
}

func (p pages) start(q *page.Request) error {
	run, err := p.c.StartDrill(q.Context(), q.PathValue("app"), q.Field("backup"), who(q))
	if err != nil {
		return err
	}
	return q.Go("/runs/{id}", strconv.FormatInt(run, 10))
}

// group is proofs of one outcome.
type group struct {
	Outcome core.ProofOutcome
	Proofs  []core.Proof
}

func (p pages) drill(q *page.Request) error {
	d, err := p.c.Drill(q.Context(), q.PathValue("id"))
	if err != nil {
		return err
	}
	view := struct {
		evidence.Drill
		Groups []group
	}{Drill: d}
	for _, outcome := range []core.ProofOutcome{core.ProofFailed, core.ProofSkipped, core.ProofNote, core.ProofOK} {
		g := group{Outcome: outcome}
		for _, x := range d.Proofs {
			if x.Outcome == outcome {
				g.Proofs = append(g.Proofs, x)
			}
		}
		if len(g.Proofs) > 0 {
			view.Groups = append(view.Groups, g)
		}
	}
	return q.Render("drill.html", view)
}

// download sends a report as it was signed, or its signature.
func (p pages) download(q *page.Request) error {
	name, content, err := p.c.DrillFile(q.Context(), q.PathValue("id"), q.PathValue("file"))
	if err != nil {
		return err
	}
	h := q.Header()
	h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	h.Set("Content-Type", "application/octet-stream")
	http.ServeContent(q, q.Request, name, time.Time{}, bytes.NewReader(content))
	return nil
}
