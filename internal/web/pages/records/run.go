package records

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/web/page"
)

// runView is a run's page.
type runView struct {
	Run     console.Run
	Running bool
	Cancel  bool  // this person may
	Percent int64 // of the stage; -1: not known
	Rate    int64 // bytes in a second; 0: not known
	Left    time.Duration
	Silent  time.Duration // since it last said something, when that is long
	Took    time.Duration
	Result  result
}

// result is what a command printed, as far as the page shows it. All of it comes
// from a file: what does not fit is left out.
type result struct {
	Backups  []core.Backup
	Verified []verified
	Problems []core.Problem
	Checked  bool // Problems are all there are
	Pruned   []pruned
	Removed  int
	Tried    []tried
	Damages  int // that are shown nowhere
	Restored *restored
}

// restored is how a restore or its undoing ended.
type restored struct {
	Tables        int            `json:"tables"`
	Rows          int64          `json:"rows"`
	Files         int64          `json:"files"`
	Bytes         int64          `json:"bytes"`
	Warnings      []core.Warning `json:"warnings"`
	Notes         []string       `json:"notes"`
	Next          []string       `json:"next"`
	Safety        string         `json:"safety_backup"`
	UnavailableMS int64          `json:"unavailable_ms"`
	KeptTill      *time.Time     `json:"kept_till"`
	Steps         []struct {
		Name   string `json:"name"`
		Error  string `json:"error"`
		Output string `json:"output"`
	} `json:"steps"`
}

type verified struct {
	ID      string   `json:"id"`
	Files   int64    `json:"files"`
	Rows    int64    `json:"rows"`
	Bytes   int64    `json:"bytes"`
	Damaged []damage `json:"damaged"`
}

type damage struct {
	Path    string `json:"path"`
	Table   string `json:"table"`
	Message string `json:"message"`
}

type pruned struct {
	App       string `json:"app"`
	Decisions []struct {
		ID      string    `json:"id"`
		Time    time.Time `json:"time"`
		Keep    bool      `json:"keep"`
		Reasons []string  `json:"reasons"`
	} `json:"decisions"`
	Removed int `json:"removed"`
}

type tried struct {
	App         string `json:"app"`
	Destination string `json:"destination"`
	Part        string `json:"part"`
	TookMS      int64  `json:"took_ms"`
	Error       string `json:"error"`
}

// most of one kind that the page of a run shows.
const most = 100

func resultOf(run console.Run) result {
	var out result
	var common struct {
		Backups  []core.Backup   `json:"backups"`
		Verified []verified      `json:"verified"`
		Problems []core.Problem  `json:"problems"`
		Tried    []tried         `json:"tried"`
		Apps     json.RawMessage `json:"apps"`
	}
	if len(run.Result) == 0 || json.Unmarshal(run.Result, &common) != nil {
		return out
	}
	out.Backups, out.Verified = common.Backups[:min(most, len(common.Backups))], common.Verified[:min(most, len(common.Verified))]
	out.Tried = common.Tried[:min(most, len(common.Tried))]
	out.Problems, out.Checked = common.Problems[:min(most, len(common.Problems))], run.Kind == core.RunCheck
	shown := 0
	for i := range out.Verified {
		v := &out.Verified[i]
		all := len(v.Damaged)
		v.Damaged = v.Damaged[:min(all, most-shown)]
		shown, out.Damages = shown+len(v.Damaged), out.Damages+all-len(v.Damaged)
	}
	if run.Kind == core.RunRestore || run.Kind == core.RunUndo {
		var ended restored
		if run.Code == "" && json.Unmarshal(run.Result, &ended) == nil {
			ended.Warnings, ended.Notes, ended.Next = ended.Warnings[:min(most, len(ended.Warnings))], ended.Notes[:min(most, len(ended.Notes))], ended.Next[:min(most, len(ended.Next))]
			out.Restored = &ended
		}
	}
	if run.Kind == core.RunPrune && json.Unmarshal(common.Apps, &out.Pruned) == nil {
		left := most
		for i := range out.Pruned {
			a := &out.Pruned[i]
			out.Removed += a.Removed
			kept := a.Decisions[:0]
			for _, d := range a.Decisions {
				if !d.Keep && left > 0 {
					kept, left = append(kept, d), left-1
				}
			}
			a.Decisions = kept
		}
	}
	return out
}

// find returns the run that the address names.
func (p pages) find(q *page.Request) (console.Run, error) {
	id, err := strconv.ParseInt(q.PathValue("id"), 10, 64)
	if err != nil || id <= 0 {
		return console.Run{}, &core.Error{Code: core.CodeNotFound, Op: "find run", Message: "there is no such run"}
	}
	return p.c.Run(q.Context(), id)
}

// silentFor is how long a run may say nothing before the page says so.
const silentFor = time.Minute

func (p pages) view(q *page.Request) (runView, error) {
	run, err := p.find(q)
	if err != nil {
		return runView{}, err
	}
	v := runView{Run: run, Running: run.Outcome == core.OutcomeRunning, Percent: -1, Result: resultOf(run)}
	v.Cancel = v.Running && mayCancel(q, run.Run)
	switch {
	case run.Finished != nil:
		v.Took = run.Finished.Sub(run.Started)
	case v.Running:
		v.Took = max(0, q.Now.Sub(run.Started))
	}
	if at := run.Progress; at != nil {
		if at.Total > 0 {
			v.Percent = min(100, max(0, int64(float64(at.Done)/float64(at.Total)*100)))
		}
		// Of the first moments a rate says nothing of the rest.
		if busy := at.Updated.Sub(at.Began); busy >= 3*time.Second && at.Done > 0 {
			v.Rate = int64(float64(at.Done) / busy.Seconds())
			if at.Total > at.Done && v.Rate > 0 {
				v.Left = time.Duration(float64(at.Total-at.Done) / float64(v.Rate) * float64(time.Second)).Round(time.Second)
			}
		}
		if silent := q.Now.Sub(at.Updated); silent > silentFor {
			v.Silent = silent.Round(time.Second)
		}
	}
	return v, nil
}

func (p pages) run(q *page.Request) error {
	v, err := p.view(q)
	if err != nil {
		return err
	}
	return q.Render("run.html", v)
}

// live is the part of the page that changes while a run goes on.
func (p pages) live(q *page.Request) error {
	v, err := p.view(q)
	if err != nil {
		return err
	}
	return q.RenderPart("run.html", "live", v)
}

// mayCancel says whether a person may end a run: an operator their own, and
// backups; an admin all.
func mayCancel(q *page.Request, run core.Run) bool {
	owner, _, _ := strings.Cut(run.By, " (token ") // what a person's token began is theirs
	return q.May(access.Admin) || q.May(access.Operator) && (run.Kind == core.RunBackup || owner == q.Who.User.Name)
}

func (p pages) cancel(q *page.Request) error {
	run, err := p.find(q)
	if err != nil {
		return err
	}
	if !mayCancel(q, run.Run) {
		return gate.ErrForbidden
	}
	id := strconv.FormatInt(run.ID, 10)
	err = p.c.Cancel(q.Context(), run.ID, who(q))
	switch {
	case core.CodeOf(err) == core.CodeNotFound: // it was over by then, which its page says
		q.Unnoted()
		q.Say("records.cancel.over")
	case err != nil:
		return err
	default:
		q.Say("records.cancel.asked")
	}
	return q.Go("/runs/{id}", id)
}

func (p pages) maintain(q *page.Request) error {
	q.Concerns("repository")
	run, err := p.c.StartMaintain(q.Context(), who(q))
	return watch(q, run, err)
}

func (p pages) key(q *page.Request) error {
	q.Concerns("repository")
	key, err := p.c.ShowKey(q.Context())
	if err != nil {
		return err
	}
	// Render keeps it from every cache; nothing but this page has it.
	return q.RenderStatus(http.StatusOK, "key.html", struct{ Key string }{key.Reveal()})
}
