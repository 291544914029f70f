package recovery

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/web/page"
)

// planGood is how long a plan says what a restore would do: the app goes on.
const planGood = 15 * time.Minute

// plan is what `backstay restore --dry-run --json` prints of one.
type plan struct {
	App    string `json:"app"`
	Backup string `json:"backup"`
	Live   bool   `json:"live"`
	Steps  []struct {
		Component core.Component `json:"component"`
		What      string         `json:"what"`
		Into      string         `json:"into"`
		Replaces  string         `json:"replaces"`
		Bytes     int64          `json:"bytes"`
	} `json:"steps"`
	Tables []struct {
		Name  string `json:"name"`
		Now   *int64 `json:"now"`
		Then  *int64 `json:"then"`
		Exact bool   `json:"exact"`
		Fate  string `json:"fate"`
	} `json:"tables"`
	Files []struct {
		Component core.Component `json:"component"`
		Added     paths          `json:"added"`
		Changed   paths          `json:"changed"`
		Removed   paths          `json:"removed"`
		Extra     paths          `json:"extra"`
		Unchanged int64          `json:"unchanged"`
	} `json:"files"`
	Config []struct {
		Path  string   `json:"path"`
		Lines []string `json:"lines"`
		More  int      `json:"more"`
	} `json:"config"`
	Settings []struct {
		Setting string `json:"setting"`
		From    string `json:"from"`
		To      string `json:"to"`
	} `json:"settings"`
	Findings []core.Finding `json:"findings"`
	Space    []struct {
		Path       string `json:"path"`
		Bytes      int64  `json:"bytes"`
		Free       int64  `json:"free"`
		Inodes     int64  `json:"inodes"`
		FreeInodes int64  `json:"free_inodes"`
	} `json:"space"`
	DatabaseBytes int64    `json:"database_bytes"`
	EstimateMS    int64    `json:"estimate_ms"`
	Undecided     []string `json:"undecided"`
	Rewrites      []struct {
		Object string `json:"object"`
		Rule   string `json:"rule"`
		From   string `json:"from"`
		To     string `json:"to"`
		Why    string `json:"why"`
	} `json:"rewrites"`
	Refusals []struct {
		Object string `json:"object"`
		Rule   string `json:"rule"`
		Reason string `json:"reason"`
		Hint   string `json:"hint"`
	} `json:"refusals"`
}

// paths are files that something becomes of.
type paths struct {
	Files   int64    `json:"files"`
	Folders int64    `json:"folders"`
	Paths   []string `json:"paths"`
}

// readPlan reads the result of a plan's run; nil: there is no plan in it.
func readPlan(result json.RawMessage) (*plan, error) {
	var printed struct {
		Plan *plan `json:"plan"`
	}
	if len(result) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(result, &printed); err != nil {
		return nil, fmt.Errorf("read the plan of a restore: %w", err)
	}
	return printed.Plan, nil
}

// of are the findings of a kind.
func (p *plan) of(kind core.FindingKind) []core.Finding {
	var out []core.Finding
	for _, f := range p.Findings {
		if f.Kind == kind {
			out = append(out, f)
		}
	}
	return out
}

// Fine, Rewritten, Decisions and Impossible are the findings by what they mean.
func (p *plan) Fine() []core.Finding       { return p.of(core.FindingFine) }
func (p *plan) Rewritten() []core.Finding  { return p.of(core.FindingRewrite) }
func (p *plan) Impossible() []core.Finding { return p.of(core.FindingImpossible) }

// decision is what one agreement is about.
type decision struct {
	Name     string
	Findings []core.Finding
	Agreed   bool
}

// Decisions are what somebody must agree to: one agreement is to all findings of its name.
func (p *plan) Decisions(agreed []string) []decision {
	var out []decision
	for _, f := range p.of(core.FindingDecision) {
		at := slices.IndexFunc(out, func(d decision) bool { return d.Name == f.Name })
		if at < 0 {
			out, at = append(out, decision{Name: f.Name, Agreed: slices.Contains(agreed, f.Name)}), len(out)
		}
		out[at].Findings = append(out[at].Findings, f)
	}
	return out
}

// open says whether somebody must still agree to something.
func (p *plan) open(agreed []string) bool {
	return slices.ContainsFunc(p.Undecided, func(name string) bool { return !slices.Contains(agreed, name) }) ||
		slices.ContainsFunc(p.Decisions(agreed), func(d decision) bool { return !d.Agreed })
}

// planned is a plan's run, with what it is for.
type planned struct {
	A     console.App
	Run   console.Run
	Order console.RestoreOrder
	Plan  *plan // nil: it is not ready, or could not be made
	Old   bool
}

// find looks at the plan that the address names.
func (p pages) find(q *page.Request) (planned, error) {
	var found planned
	app := q.PathValue("app")
	run, err := strconv.ParseInt(q.PathValue("run"), 10, 64)
	if err != nil || run <= 0 {
		return found, noPlan()
	}
	if found.A, err = p.c.App(q.Context(), app); err != nil {
		return found, err
	}
	if found.Run, err = p.c.Run(q.Context(), run); err != nil {
		return found, err
	}
	if found.Run.Kind != core.RunPlan || found.Run.App != app {
		return found, noPlan()
	}
	if found.Order, err = p.c.Planned(q.Context(), run); err != nil {
		return found, err
	}
	if found.Order.App != app { // runs are counted anew after the records were lost
		return found, noPlan()
	}
	if found.Run.Outcome == core.OutcomeRunning {
		return found, nil
	}
	if found.Plan, err = readPlan(found.Run.Result); err != nil {
		return found, err
	}
	if found.Plan != nil && (found.Plan.App != app || found.Plan.Backup != found.Order.Backup) {
		return found, noPlan()
	}
	found.Old = found.Run.Finished == nil || q.Now.Sub(*found.Run.Finished) > planGood
	return found, nil
}

func noPlan() error {
	return &core.Error{Code: core.CodeNotFound, Op: "find plan", Message: "there is no such plan of this app", Hint: "choose again what to restore"}
}

// plan is the third step: what the restore will do.
func (p pages) plan(q *page.Request) error {
	found, err := p.find(q)
	if err != nil {
		return err
	}
	return p.planPage(q, http.StatusOK, found, nil)
}

func (p pages) planPage(q *page.Request, status int, found planned, problems []page.Problem) error {
	data := struct {
		planned
		Decisions []decision
		Problems  []page.Problem
		Running   bool
		Tables    int // that are listed
	}{planned: found, Problems: problems, Running: found.Run.Outcome == core.OutcomeRunning, Tables: shownTables}
	if found.Plan != nil {
		data.Decisions = found.Plan.Decisions(append(q.Fields("force"), found.Order.Force...))
	}
	return q.RenderStatus(status, "plan.html", data)
}

// planAgain makes a plan of the same order.
func (p pages) planAgain(q *page.Request) error {
	found, err := p.find(q)
	if err != nil {
		return err
	}
	q.Concerns(found.A.App + " " + found.Order.Backup)
	return p.startAgain(q, found)
}

func (p pages) startAgain(q *page.Request, found planned) error {
	run, err := p.c.StartPlan(q.Context(), found.Order, who(q))
	if err != nil {
		return err
	}
	q.Warn("recovery.plan.old.said")
	return q.Go("/apps/{app}/restore/plan/{run}", found.A.App, strconv.FormatInt(run, 10))
}

// ready says whether a restore can go by a plan; done says that it cannot, and
// that the person was sent to what is to be done first.
func (p pages) ready(q *page.Request, found planned) (done bool, err error) {
	problem := func(key string) (bool, error) {
		return true, p.planPage(q, http.StatusConflict, found, []page.Problem{{Text: q.Text.T(key)}})
	}
	switch {
	case found.Run.Outcome == core.OutcomeRunning || found.Plan == nil:
		return true, q.Go("/apps/{app}/restore/plan/{run}", found.A.App, strconv.FormatInt(found.Run.ID, 10))
	case found.Old && q.Method != http.MethodPost: // a GET starts nothing: the plan's page offers it
		return true, q.Go("/apps/{app}/restore/plan/{run}", found.A.App, strconv.FormatInt(found.Run.ID, 10))
	case found.Old:
		return true, p.startAgain(q, found)
	case len(found.Plan.Impossible()) > 0 || len(found.Plan.Refusals) > 0:
		return problem("recovery.plan.impossible.said")
	case found.Plan.open(append(q.Fields("force"), found.Order.Force...)):
		return problem("recovery.plan.open.said")
	}
	return false, nil
}

// confirm is the fourth step: the app's name.
func (p pages) confirm(q *page.Request) error {
	found, err := p.find(q)
	if err != nil {
		return err
	}
	if done, err := p.ready(q, found); done || err != nil {
		return err
	}
	return p.confirmPage(q, http.StatusOK, found, nil)
}

// agreed are the findings of the plan that the form agrees to, and no others:
// what the plan did not say, nobody can have agreed to.
func agreed(q *page.Request, found planned) []string {
	var out []string
	for _, d := range found.Plan.Decisions(append(q.Fields("force"), found.Order.Force...)) {
		if d.Agreed {
			out = append(out, d.Name)
		}
	}
	return out
}

func (p pages) confirmPage(q *page.Request, status int, found planned, problems []page.Problem) error {
	d, err := p.c.Backup(q.Context(), found.Order.Backup)
	if err != nil {
		return err
	}
	return q.RenderStatus(status, "confirm.html", struct {
		planned
		D        console.Detail
		Agreed   []string
		Problems []page.Problem
	}{found, d, agreed(q, found), problems})
}

// restore begins what the plan says.
func (p pages) restore(q *page.Request) error {
	found, err := p.find(q)
	if err != nil {
		return err
	}
	q.Concerns(found.A.App + " " + found.Order.Backup)
	if done, err := p.ready(q, found); done || err != nil {
		return err
	}
	if q.Form.Get("confirm") != found.A.App {
		return p.confirmPage(q, http.StatusBadRequest, found, mistyped(q, found.A.App))
	}
	o := found.Order
	o.Force = agreed(q, found)
	run, err := p.c.StartRestore(q.Context(), o, who(q))
	if err != nil {
		return err
	}
	return toRun(q, run)
}
