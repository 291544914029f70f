package recovery

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/web/page"
)

// Of what is long the page offers the first: the rest can be typed.
const (
	shownBackups = 50
	shownTables  = 300
)

// choose is the first step, the choice of a backup, or with one the second, of
// its parts.
func (p pages) choose(q *page.Request) error {
	a, err := p.c.App(q.Context(), q.PathValue("app"))
	if err != nil {
		return err
	}
	if id := q.Field("backup"); id != "" {
		return p.parts(q, http.StatusOK, a, id, nil)
	}
	found, err := p.c.Backups(q.Context(), console.BackupQuery{App: a.App, Page: console.Page{Offset: q.Offset(), Limit: shownBackups}})
	if err != nil {
		return err
	}
	link := func(at int) string { return q.Path("/apps/{app}/restore?offset={at}", a.App, strconv.Itoa(at)) }
	return q.Render("choose.html", struct {
		A     console.App
		Found console.Backups
		Pager page.Pager
	}{a, found, page.PagerOf(found.Offset, found.Limit, len(found.Backups), found.Total, link)})
}

// parts is the second step, of the backup id.
func (p pages) parts(q *page.Request, status int, a console.App, id string, problems []page.Problem) error {
	d, err := p.c.Backup(q.Context(), id)
	if err != nil {
		return err
	}
	if d.App != a.App {
		return &core.Error{Code: core.CodeNotFound, Op: "restore", Message: "the backup is of " + d.App + ", not of " + a.App, Hint: "choose one of the app's own backups"}
	}
	data := struct {
		A        console.App
		D        console.Detail
		What     string
		Only     map[core.Component]bool
		Tables   []console.Table
		Chosen   map[string]bool // tables
		Typed    []string        // tables and
		Paths    []string        // files that were chosen elsewhere
		More     int             // tables that are not listed
		Problems []page.Problem
	}{A: a, D: d, What: q.Field("what"), Only: map[core.Component]bool{}, Chosen: map[string]bool{}, Paths: named(q, "path", "paths"), Problems: problems}
	if !slices.Contains([]string{"all", "components", "tables", "paths"}, data.What) {
		data.What = "all"
		if len(data.Paths) > 0 {
			data.What = "paths"
		}
	}
	for _, c := range q.Fields("only") {
		data.Only[core.Component(c)] = true
	}
	if d.Manifest.Database != nil {
		tables, err := p.c.Tables(q.Context(), id, console.TableQuery{Page: console.Page{Limit: shownTables}})
		if err != nil && core.CodeOf(err) != core.CodeDamage {
			return err
		}
		data.Tables, data.More = tables.Tables, tables.Total-len(tables.Tables)
		for _, name := range named(q, "table", "tables") {
			data.Chosen[name] = true
			if !slices.ContainsFunc(data.Tables, func(t console.Table) bool { return t.Name == name }) {
				data.Typed = append(data.Typed, name)
			}
		}
	}
	return q.RenderStatus(status, "parts.html", data)
}

// named are the names that were ticked, and those that were typed one a line.
func named(q *page.Request, ticked, typed string) []string {
	var out []string
	add := func(name string) {
		if name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for _, name := range q.Fields(ticked) {
		add(name)
	}
	for line := range strings.SplitSeq(q.Field(typed), "\n") {
		add(strings.TrimSuffix(line, "\r"))
	}
	return out
}

// order is what the second step's form asks for.
func order(q *page.Request, app string) (console.RestoreOrder, *page.Problem) {
	o := console.RestoreOrder{App: app, Backup: q.Field("backup")}
	wrong := func(field, key string) (console.RestoreOrder, *page.Problem) {
		return o, &page.Problem{Field: field, Text: q.Text.T(key)}
	}
	switch q.Field("what") {
	case "all":
	case "components":
		for _, c := range q.Fields("only") {
			o.Only = append(o.Only, core.Component(c))
		}
		if len(o.Only) == 0 {
			return wrong("what-components", "recovery.parts.components.none")
		}
	case "tables":
		if o.Tables = named(q, "table", "tables"); len(o.Tables) == 0 {
			return wrong("tables", "recovery.parts.tables.none")
		}
	case "paths":
		if o.Paths = named(q, "path", "paths"); len(o.Paths) == 0 {
			return wrong("paths", "recovery.parts.paths.none")
		}
		for _, p := range o.Paths {
			if slices.Contains(strings.Split(p, "/"), "..") || strings.HasPrefix(p, "/") {
				return wrong("paths", "recovery.parts.paths.wrong")
			}
		}
	default:
		return wrong("what-all", "recovery.parts.none")
	}
	return o, nil
}

// startPlan has the plan made of what was chosen.
func (p pages) startPlan(q *page.Request) error {
	a, err := p.c.App(q.Context(), q.PathValue("app"))
	if err != nil {
		return err
	}
	o, problem := order(q, a.App)
	if problem == nil {
		run, err := p.c.StartPlan(q.Context(), o, who(q))
		if err == nil {
			return q.Go("/apps/{app}/restore/plan/{run}", a.App, strconv.FormatInt(run, 10))
		}
		if core.CodeOf(err) != core.CodeUsage {
			return err
		}
		problem = &page.Problem{Text: err.Error()}
	}
	return p.parts(q, http.StatusBadRequest, a, o.Backup, []page.Problem{*problem})
}

// resume has a restore finished that was cut short.
func (p pages) resume(q *page.Request) error {
	run, err := p.c.StartResume(q.Context(), q.PathValue("app"), who(q))
	if err != nil {
		return err
	}
	return toRun(q, run)
}
