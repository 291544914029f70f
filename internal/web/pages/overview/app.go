package overview

import (
	"html/template"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/web/page"
	"github.com/backstay/backstay/internal/web/picture"
)

// section is the settings of one kind.
type section struct {
	Name     string
	Settings []console.Setting
}

// appView is an app's page.
type appView struct {
	Row        row
	App        console.App
	Name       string
	Backups    console.Backups
	Pager      page.Pager
	Timeline   template.HTML
	Failed     int // runs in it
	Sections   []section
	NoSettings string // why they are not known
	Components []core.Component
	Form       console.BackupOrder
	Chosen     map[core.Component]bool
	Problems   []page.Problem
	Compare    bool
	Links      []string // settings that have a page of their own
}

func (p pages) app(q *page.Request) error { return p.showApp(q, 200, console.BackupOrder{}, nil) }

// timelineDays is what the picture of an app shows; of more backups than
// timelineBackups the newest.
const (
	timelineDays    = 42
	timelineBackups = 1000
)

func (p pages) showApp(q *page.Request, status int, form console.BackupOrder, problems []page.Problem) error {
	name := q.PathValue("app")
	a, err := p.c.App(q.Context(), name)
	if err != nil {
		return err
	}
	v := appView{App: a, Name: name, Row: rowOf(q, a, false), Form: form, Problems: problems, Chosen: map[core.Component]bool{}, Components: core.Components(), Links: []string{"schedule", "retention", "check", "notify"}}
	for _, c := range form.Only {
		v.Chosen[c] = true
	}
	v.Row.Findings, v.Row.More = a.Problems, 0
	v.Row.Trend = p.trend(q, a)
	list, err := p.c.Backups(q.Context(), console.BackupQuery{App: name, Page: console.Page{Offset: q.Offset(), Limit: backupsPerPage}})
	if err != nil { // the rest of the page is worth as much without
		list = console.Backups{Unlisted: err.Error()}
	}
	v.Backups, v.Compare = list, len(list.Backups) > 1
	v.Pager = page.PagerOf(list.Offset, list.Limit, len(list.Backups), list.Total, func(at int) string {
		return q.Path("/apps/{app}?offset={offset}", name, strconv.Itoa(at)) + "#backups"
	})
	v.Timeline, v.Failed = p.timeline(q, name)
	settings, err := p.c.Settings(q.Context(), name)
	if err != nil {
		v.NoSettings = err.Error()
	}
	for _, s := range settings {
		i := slices.IndexFunc(v.Sections, func(known section) bool { return known.Name == s.Section })
		if i < 0 {
			i, v.Sections = len(v.Sections), append(v.Sections, section{Name: s.Section})
		}
		v.Sections[i].Settings = append(v.Sections[i].Settings, s)
	}
	running, err := p.c.Runs(q.Context(), console.RunQuery{App: name, Outcome: core.OutcomeRunning, Page: console.Page{Limit: 1}})
	if err == nil && len(running) > 0 {
		if run, err := p.c.Run(q.Context(), running[0].ID); err == nil {
			v.Row.Run = &run
		}
	}
	return q.RenderStatus(status, "app.html", v)
}

// timeline draws an app's last weeks: its backups, and the runs that failed.
func (p pages) timeline(q *page.Request, app string) (_ template.HTML, failed int) {
	to := q.Now
	from := to.AddDate(0, 0, 1-timelineDays)
	var marks []picture.Mark
	mark := func(at time.Time, class, what string) {
		marks = append(marks, picture.Mark{Time: at, Class: class, Title: q.Text.Time(at, q.Zone) + ": " + what})
	}
	list, err := p.c.Backups(q.Context(), console.BackupQuery{App: app, Page: console.Page{Limit: timelineBackups}})
	if err != nil {
		return "", 0 // the list says why
	}
	shown := 0
	for _, b := range list.Backups {
		if b.Time.Before(from.AddDate(0, 0, -1)) {
			break
		}
		shown++
		switch {
		case b.Damaged != nil:
			mark(b.Time, "bad", q.Text.T("overview.backup.damaged"))
		case len(b.Warnings) > 0:
			mark(b.Time, "warn", q.Text.N("overview.backup.warnings", int64(len(b.Warnings))))
		default:
			mark(b.Time, "ok", q.Text.Size(b.LogicalBytes))
		}
	}
	runs, err := p.c.Runs(q.Context(), console.RunQuery{App: app, Kind: core.RunBackup, Since: from, Page: console.Page{Limit: 500}})
	if err != nil {
		runs = nil // there may be no records; the backups are shown all the same
	}
	for _, r := range runs {
		switch r.Outcome {
		case core.OutcomeFailed, core.OutcomeMissed:
			failed++
			mark(r.Started, "bad", q.Text.T("overview.run."+string(r.Outcome)))
		}
	}
	return picture.Timeline(marks, from, to, q.Zone, picture.Words{
		Title: q.Text.T("overview.timeline", timelineDays),
		Text:  q.Text.T("overview.timeline.text", q.Text.N("overview.backups", int64(shown)), q.Text.N("overview.failures", int64(failed))),
	}), failed
}

// health shows whether an app can be backed up and restored, as of now.
func (p pages) health(q *page.Request) error {
	name := q.PathValue("app")
	checks, err := p.c.Doctor(q.Context(), name)
	if err != nil {
		return err
	}
	view := struct {
		Name          string
		Checks        []console.Check
		Failed, Warns int
	}{Name: name, Checks: checks}
	for _, c := range checks {
		switch c.Health {
		case "failed":
			view.Failed++
		case "warning":
			view.Warns++
		}
	}
	return q.Render("health.html", view)
}

// longest note that a backup can be given here, in characters.
const longestNote = 500

func (p pages) backup(q *page.Request) error {
	name := q.PathValue("app")
	order := console.BackupOrder{Note: q.Field("note"), Pin: q.Field("pin") != ""}
	var problems []page.Problem
	for _, text := range q.Fields("only") {
		c, err := core.ParseComponent(text)
		if err != nil {
			problems = append(problems, page.Problem{Text: q.Text.T("overview.problem.component")})
			continue
		}
		if !slices.Contains(order.Only, c) {
			order.Only = append(order.Only, c)
		}
	}
	if len(order.Only) == len(core.Components()) {
		order.Only = nil // all there are: an app may not have each
	}
	if n := utf8.RuneCountInString(order.Note); n > longestNote {
		problems = append(problems, page.Problem{Field: "note", Text: q.Text.T("overview.problem.note", longestNote)})
	}
	if len(problems) > 0 {
		return p.showApp(q, 422, order, problems)
	}
	run, err := p.c.StartBackup(q.Context(), name, order, who(q))
	return watch(q, run, err)
}

// watch sends the browser to a run that was begun.
func watch(q *page.Request, run int64, err error) error {
	if err != nil {
		return err
	}
	return q.Go("/runs/{id}", strconv.FormatInt(run, 10))
}

// verify reads back the newest backup.
func (p pages) verify(q *page.Request) error {
	a, err := p.c.App(q.Context(), q.PathValue("app"))
	if err != nil {
		return err
	}
	if a.Last == nil {
		return &core.Error{Code: core.CodeNotFound, Op: "verify app " + a.AppStatus.App, Message: "it has no backup", Hint: "make one first"}
	}
	run, err := p.c.StartVerify(q.Context(), a.Last.ID, who(q))
	return watch(q, run, err)
}

func (p pages) askPrune(q *page.Request) error {
	name := q.PathValue("app")
	if _, err := p.c.App(q.Context(), name); err != nil {
		return err
	}
	list, err := p.c.Backups(q.Context(), console.BackupQuery{App: name, Page: console.Page{Limit: 1000}})
	if err != nil {
		return err
	}
	view := struct {
		Name  string
		Gone  []console.Backup
		More  int
		Total int
	}{Name: name, Total: list.Total}
	for at := len(list.Backups); ; {
		for _, b := range list.Backups {
			switch {
			case b.Keep:
			case len(view.Gone) == 100:
				view.More++
			default:
				view.Gone = append(view.Gone, b)
			}
		}
		if at >= list.Total || len(list.Backups) == 0 {
			break
		}
		if list, err = p.c.Backups(q.Context(), console.BackupQuery{App: name, Page: console.Page{Offset: at, Limit: 1000}}); err != nil {
			return err
		}
		at += len(list.Backups)
	}
	return q.Render("prune.html", view)
}

func (p pages) accept(q *page.Request) error {
	name := q.PathValue("app")
	if err := p.c.Accept(q.Context(), name); err != nil {
		return err
	}
	q.Say("overview.accepted", name)
	return q.Go("/apps/{app}", name)
}
