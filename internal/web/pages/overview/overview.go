// Package overview is the pages that administrators look at every morning: all
// apps at a glance, and one app with its backups, what is to be done about it
// and what it needs. It is for package web. It promises that what is wrong
// stands first and in so many words, and that every page stays small however
// many apps and backups there are.
package overview

import (
	"context"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/web/page"
	"github.com/backstay/backstay/internal/web/picture"
)

//go:embed templates/*.html
var templates embed.FS

type pages struct{ c *console.Console }

// Pages are the overview, and the pages of apps, on what c knows.
func Pages(c *console.Console) page.Pages {
	p := pages{c}
	own, err := fs.Sub(templates, "templates")
	if err != nil {
		panic(err) // the folder is built in
	}
	viewer, operator, admin := gate.Need{Role: access.Viewer}, gate.Need{Role: access.Operator}, gate.Need{Role: access.Admin}
	fresh := gate.Need{Role: access.Admin, Fresh: true}
	return page.Pages{Templates: own, Routes: []page.Route{
		{Method: http.MethodGet, Pattern: "/", Need: viewer, Handle: p.overview},
		{Method: http.MethodGet, Pattern: "/apps/{app}", Need: viewer, Handle: p.app},
		{Method: http.MethodGet, Pattern: "/apps/{app}/health", Need: operator, Patient: true, Handle: p.health},
		{Method: http.MethodPost, Pattern: "/apps/{app}/backup", Need: operator, Action: "backup", Handle: p.backup},
		{Method: http.MethodPost, Pattern: "/apps/{app}/verify", Need: operator, Action: "verify", Handle: p.verify},
		{Method: http.MethodPost, Pattern: "/apps/{app}/check", Need: operator, Action: "check", Handle: p.starts(c.StartCheck)},
		{Method: http.MethodPost, Pattern: "/apps/{app}/notify-test", Need: operator, Action: "notify test", Handle: p.starts(c.StartNotifyTest)},
		// What retention lets go of is deleted: it needs what deleting needs.
		{Method: http.MethodGet, Pattern: "/apps/{app}/prune", Need: fresh, Handle: p.askPrune},
		{Method: http.MethodPost, Pattern: "/apps/{app}/prune", Need: fresh, Action: "prune", Handle: p.starts(c.StartPrune)},
		// An accepted backup lifts the hold that an implausible one puts on retention.
		{Method: http.MethodPost, Pattern: "/apps/{app}/accept", Need: admin, Action: "accept", Handle: p.accept},
	}}
}

func who(q *page.Request) console.Who { return console.Who{By: q.Who.By(), Via: "console"} }

const (
	appsPerPage    = 50
	backupsPerPage = 50
)

// row is an app on the overview.
type row struct {
	console.App
	State    string     // "ok", "warn", "bad": the badge
	Word     string     // of the catalogue: overview.state.…
	Disabled string     // of the catalogue; "": something backs it up by itself
	Due      *time.Time // when its next backup is; nil: none is
	Findings []core.Problem
	More     int // findings that are not among Findings
	Trend    template.HTML
	Run      *console.Run // under way; nil: none
}

func (p pages) overview(q *page.Request) error {
	o, err := p.c.Overview(q.Context())
	if err != nil {
		return err
	}
	view := struct {
		console.Overview
		Rows        []row
		Pager       page.Pager
		Search      string
		Bad, Warned int
		Bar         bool // of the repository's space: how full it is can be said
		Percent     int64
		Live        bool
		Service     []console.Run // under way, of no app that is shown
	}{Overview: o, Search: q.Field("search"), Live: len(o.Running) > 0}
	var all []row
	for _, a := range o.Apps {
		r := rowOf(q, a, o.Unlisted)
		switch r.State {
		case "bad":
			view.Bad++
		case "warn":
			view.Warned++
		}
		if strings.Contains(a.AppStatus.App, strings.ToLower(view.Search)) {
			all = append(all, r)
		}
	}
	rank := map[string]int{"bad": 0, "warn": 1}
	slices.SortStableFunc(all, func(a, b row) int {
		of := func(r row) int {
			if n, known := rank[r.State]; known {
				return n
			}
			return 2
		}
		return of(a) - of(b)
	})
	part := console.Page{Offset: min(q.Offset(), len(all)), Limit: appsPerPage, Total: len(all)}
	view.Rows = all[part.Offset:min(part.Offset+part.Limit, len(all))]
	shown := map[string]*row{}
	for i := range view.Rows {
		r := &view.Rows[i]
		shown[r.AppStatus.App] = r
		r.Trend = p.trend(q, r.App)
	}
	for _, run := range o.Running {
		known, err := p.c.Run(q.Context(), run.ID)
		if err != nil { // it may be gone by now; that it ran is known all the same
			known = console.Run{Run: run}
		}
		if r := shown[run.App]; r != nil && r.Run == nil {
			r.Run = &known
		} else if run.App == "" {
			view.Service = append(view.Service, known)
		}
	}
	view.Pager = page.PagerOf(part.Offset, part.Limit, len(view.Rows), part.Total, func(at int) string {
		return q.Path("/?search={search}&offset={offset}", view.Search, strconv.Itoa(at))
	})
	if s := o.Repository; s != nil && s.Free >= 0 && s.Total > 0 {
		view.Bar, view.Percent = true, min(100, max(0, 100-s.Free/max(1, s.Total/100)))
	}
	return q.Render("overview.html", view)
}

// most problems that the overview shows of an app; its page has all.
const most = 2

func rowOf(q *page.Request, a console.App, unlisted bool) row {
	r := row{App: a, State: "ok", Word: "overview.state.ok", Disabled: disabled(a)}
	for _, s := range a.Schedules {
		if s.Next != nil && !s.Off && (r.Due == nil || s.Next.Before(*r.Due)) {
			r.Due = s.Next
		}
	}
	r.Findings = slices.Clone(a.Problems)
	slices.SortStableFunc(r.Findings, func(a, b core.Problem) int { return level(a) - level(b) })
	alarming := len(r.Findings) > 0 && r.Findings[0].Level == core.LevelAlarm
	if r.More = len(r.Findings) - most; r.More > 0 {
		r.Findings = r.Findings[:most]
	}
	switch {
	case a.Unfinished != "":
		r.State, r.Word = "bad", "overview.state.unfinished"
	case a.Last == nil && !unlisted:
		r.State, r.Word = "warn", "overview.state.none"
		if alarming {
			r.State = "bad"
		}
	case a.Overdue:
		r.State, r.Word = "bad", "overview.state.overdue"
	case alarming:
		r.State, r.Word = "bad", "overview.state.alarm"
	case a.Disabled != "":
		r.State, r.Word = "warn", "overview.state.disabled"
	case len(a.Problems) > 0:
		r.State, r.Word = "warn", "overview.state.notice"
	case unlisted:
		r.State, r.Word = "quiet", "overview.state.unknown"
	}
	return r
}

func level(p core.Problem) int {
	if p.Level == core.LevelAlarm {
		return 0
	}
	return 1
}

// disabled is the text that says why nothing backs an app up by itself.
func disabled(a console.App) string {
	switch {
	case a.Disabled == "":
		return ""
	case len(a.Schedules) == 0:
		return "overview.disabled.none"
	}
	for _, s := range a.Schedules {
		if !s.Off {
			return "overview.disabled.never"
		}
	}
	return "overview.disabled.off"
}

func (p pages) trend(q *page.Request, a console.App) template.HTML {
	if len(a.Trend) == 0 {
		return ""
	}
	var sizes []picture.Size
	for _, point := range a.Trend {
		sizes = append(sizes, picture.Size{Logical: point.Logical, Stored: point.Stored})
	}
	first, last := a.Trend[0], a.Trend[len(a.Trend)-1]
	return picture.Trend(sizes, picture.Words{
		Title: q.Text.N("overview.trend", int64(len(a.Trend))),
		Text:  q.Text.T("overview.trend.text", q.Text.Size(first.Logical), q.Text.Size(last.Logical), q.Text.Size(last.Stored)),
	})
}

// starts begins what an app is the only thing to be said of.
func (p pages) starts(start func(context.Context, string, console.Who) (int64, error)) func(*page.Request) error {
	return func(q *page.Request) error {
		run, err := start(q.Context(), q.PathValue("app"), who(q))
		return watch(q, run, err)
	}
}
