// Package records is the pages of what happened and of what is there for all
// apps: runs with their progress and outcome, the audit log, alarms, and the
// repository. It is for package web. It promises that a run that failed is shown
// with its message and what to do, and that a page of one that goes on keeps up
// with it, with script or without.
package records

import (
	"embed"
	"io/fs"
	"net/http"
	"strconv"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/web/page"
)

//go:embed templates/*.html
var templates embed.FS

type pages struct{ c *console.Console }

// Pages are the records and the repository, on what c knows.
func Pages(c *console.Console) page.Pages {
	p := pages{c}
	own, err := fs.Sub(templates, "templates")
	if err != nil {
		panic(err) // the folder is built in
	}
	viewer, operator, admin := gate.Need{Role: access.Viewer}, gate.Need{Role: access.Operator}, gate.Need{Role: access.Admin}
	fresh := gate.Need{Role: access.Admin, Fresh: true}
	return page.Pages{Templates: own, Routes: []page.Route{
		{Method: http.MethodGet, Pattern: "/runs", Need: viewer, Handle: p.runs},
		{Method: http.MethodGet, Pattern: "/runs/{id}", Need: viewer, Handle: p.run},
		{Method: http.MethodGet, Pattern: "/runs/{id}/live", Need: viewer, Handle: p.live},
		{Method: http.MethodPost, Pattern: "/runs/{id}/cancel", Need: operator, Action: "cancel", Handle: p.cancel},
		{Method: http.MethodGet, Pattern: "/audit", Need: admin, Handle: p.audit},
		{Method: http.MethodGet, Pattern: "/alarms", Need: viewer, Handle: p.alarms},
		{Method: http.MethodPost, Pattern: "/alarms/test", Need: operator, Action: "notify test", Handle: p.testAlarms},
		{Method: http.MethodPost, Pattern: "/alarms/check", Need: operator, Action: "check", Handle: p.checkAll},
		{Method: http.MethodGet, Pattern: "/repository", Need: viewer, Handle: p.repository},
		{Method: http.MethodPost, Pattern: "/repository/maintain", Need: admin, Action: "maintain", Handle: p.maintain},
		{Method: http.MethodPost, Pattern: "/repository/key", Need: fresh, Action: "show key", Handle: p.key},
	}}
}

func who(q *page.Request) console.Who { return console.Who{By: q.Who.By(), Via: "console"} }

// perPage is how many entries a list shows.
const perPage = 50

// since reads a day of the person's zone; problem says that it is none.
func since(q *page.Request) (_ time.Time, problem []page.Problem) {
	text := q.Field("since")
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.ParseInLocation(time.DateOnly, text, q.Zone)
	if err != nil {
		return time.Time{}, []page.Problem{{Field: "since", Text: q.Text.T("records.problem.since")}}
	}
	return at, nil
}

// kinds are those that runs can be of, in the order of the filter.
func kinds() []string {
	return []string{
		core.RunBackup, core.RunCheck, core.RunPrune, core.RunMaintain, core.RunVerify, core.RunRestore, core.RunUndo,
		core.RunExport, core.RunImport, core.RunPlan, core.RunNotify, core.RunDrill, core.RunReport,
	}
}

func outcomes() []core.Outcome {
	return []core.Outcome{core.OutcomeRunning, core.OutcomeOK, core.OutcomeWarnings, core.OutcomeFailed, core.OutcomeCancelled, core.OutcomeMissed}
}

func (p pages) runs(q *page.Request) error {
	from, problems := since(q)
	ask := console.RunQuery{
		App: q.Field("app"), Kind: q.Field("kind"), Outcome: core.Outcome(q.Field("outcome")), Since: from,
		Page: console.Page{Offset: q.Offset(), Limit: perPage},
	}
	list, err := p.c.Runs(q.Context(), ask)
	if err != nil {
		return err
	}
	view := struct {
		console.RunQuery
		Runs     []core.Run
		Pager    page.Pager
		Kinds    []string
		Outcomes []core.Outcome
		From     string
		Filtered bool
		Problems []page.Problem
		Live     bool
	}{
		RunQuery: ask, Runs: list, Kinds: kinds(), Outcomes: outcomes(), From: q.Field("since"), Problems: problems,
		Filtered: ask.App != "" || ask.Kind != "" || ask.Outcome != "" || q.Field("since") != "",
	}
	for _, r := range list {
		view.Live = view.Live || r.Outcome == core.OutcomeRunning
	}
	view.Pager = page.PagerOf(ask.Page.Offset, perPage, len(list), -1, func(at int) string {
		return q.Path("/runs?app={app}&kind={kind}&outcome={outcome}&since={since}&offset={offset}", ask.App, ask.Kind, string(ask.Outcome), view.From, strconv.Itoa(at))
	})
	return q.Render("runs.html", view)
}

func (p pages) audit(q *page.Request) error {
	from, problems := since(q)
	ask := console.AuditQuery{
		Who: q.Field("who"), Action: q.Field("action"), Object: q.Field("object"), Since: from,
		Page: console.Page{Offset: q.Offset(), Limit: perPage},
	}
	list, err := p.c.Audit(q.Context(), ask)
	if err != nil {
		return err
	}
	view := struct {
		console.AuditQuery
		Entries  []core.Audited
		Pager    page.Pager
		From     string
		Filtered bool
		Problems []page.Problem
		Checked  bool
		Whole    int64  // entries that are as they were written
		Broken   int64  // the first that is not
		Reason   string // why
	}{
		AuditQuery: ask, Entries: list, From: q.Field("since"), Problems: problems, Checked: q.Field("check") != "",
		Filtered: ask.Who != "" || ask.Action != "" || ask.Object != "" || q.Field("since") != "",
	}
	if view.Checked {
		report, err := p.c.VerifyAudit(q.Context())
		if err != nil {
			return err
		}
		view.Whole, view.Broken, view.Reason = report.Entries, report.Broken, report.Reason
	}
	view.Pager = page.PagerOf(ask.Page.Offset, perPage, len(list), -1, func(at int) string {
		return q.Path("/audit?who={who}&action={action}&object={object}&since={since}&offset={offset}", ask.Who, ask.Action, ask.Object, view.From, strconv.Itoa(at))
	})
	return q.Render("audit.html", view)
}

// most alarms that are shown, the newest.
const mostAlarms = 100

func (p pages) alarms(q *page.Request) error {
	all, err := p.c.Alarms(q.Context(), mostAlarms)
	if err != nil {
		return err
	}
	view := struct {
		Open, Closed []core.Alarm
		Most         int // 0: all are shown
	}{}
	if len(all) == mostAlarms {
		view.Most = mostAlarms
	}
	for _, a := range all {
		if a.Closed == nil {
			view.Open = append(view.Open, a)
		} else {
			view.Closed = append(view.Closed, a)
		}
	}
	return q.Render("alarms.html", view)
}

func (p pages) testAlarms(q *page.Request) error {
	q.Concerns("machine")
	run, err := p.c.StartNotifyTest(q.Context(), "", who(q))
	return watch(q, run, err)
}

func (p pages) checkAll(q *page.Request) error {
	q.Concerns("all apps")
	run, err := p.c.StartCheck(q.Context(), "", who(q))
	return watch(q, run, err)
}

func watch(q *page.Request, run int64, err error) error {
	if err != nil {
		return err
	}
	return q.Go("/runs/{id}", strconv.FormatInt(run, 10))
}
