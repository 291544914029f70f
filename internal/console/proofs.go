package console

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/evidence"
	"github.com/backstay/backstay/internal/operation"
)

// DrillSummary is a drill in a list.
type DrillSummary struct {
	ID         string             `json:"id"`
	App        string             `json:"app"`
	Run        int64              `json:"run,omitempty"`
	Backup     string             `json:"backup"`
	BackupTime time.Time          `json:"backup_time"`
	Started    time.Time          `json:"started"`
	DurationMS int64              `json:"duration_ms"`
	Mode       string             `json:"mode"`
	Passed     bool               `json:"passed"`
	Bytes      int64              `json:"bytes"` // of the backup
	RPO        evidence.Objective `json:"rpo"`
	RTO        evidence.Objective `json:"rto"`
	Proven     int                `json:"proven"` // how many proofs were made
	Failed     int                `json:"failed"`
	Skipped    int                `json:"skipped"` // could not be looked at
}

// Drills are a part of a list of drills, the newest first.
type Drills struct {
	Page
	Drills []DrillSummary `json:"drills"`
	Unread string         `json:"unread,omitempty"` // which reports cannot be relied on, and why
}

// Proven says what was shown of an app.
type Proven struct {
	App      string                 `json:"app"`
	Last     *operation.DrillRecord `json:"last_drill"` // nil: there was none
	Verified *time.Time             `json:"verified"`   // when a backup was last read back
	Drills   []DrillSummary         `json:"drills"`     // the newest ones, newest first
}

// Proof says what was shown, and what is to be done about it.
type Proof struct {
	Apps     []Proven       `json:"apps"`
	Problems []core.Problem `json:"problems"` // about drills, verifications and recovery kits
	Unread   string         `json:"unread,omitempty"`
}

// shownDrills is how many drills of an app the list of all apps draws.
const shownDrills = 40

func (c *Console) reports() evidence.Store {
	return evidence.Store{Dir: filepath.Join(c.o.StateDir, "evidence")}
}

func summaryOf(d evidence.Drill) DrillSummary {
	s := DrillSummary{
		ID: d.ID, App: d.App, Run: d.Run, Backup: d.Backup.ID, BackupTime: d.Backup.Time, Started: d.Started, DurationMS: d.Finished.Sub(d.Started).Milliseconds(),
		Mode: d.Mode, Passed: d.Passed, Bytes: d.Backup.Bytes, RPO: d.RPO, RTO: d.RTO,
	}
	for _, p := range d.Proofs {
		switch p.Outcome {
		case core.ProofOK:
			s.Proven++
		case core.ProofFailed:
			s.Failed++
		case core.ProofSkipped:
			s.Skipped++
		}
	}
	return s
}

// summaries are the drills of an app, or of all, the newest first.
func (c *Console) summaries(app string) ([]DrillSummary, string, error) {
	all, err := c.reports().Drills(app)
	unread := ""
	if core.CodeOf(err) == core.CodeDamage {
		unread, err = err.Error(), nil
	}
	list := make([]DrillSummary, 0, len(all))
	for _, d := range slices.Backward(all) {
		list = append(list, summaryOf(d))
	}
	return list, unread, err
}

// Drills lists drills of an app, or with "" of all.
func (c *Console) Drills(_ context.Context, app string, p Page) (Drills, error) {
	if app != "" {
		if err := c.known(app); err != nil {
			return Drills{}, err
		}
	}
	list, unread, err := c.summaries(app)
	if err != nil {
		return Drills{}, err
	}
	shown, p := part(list, p)
	return Drills{Page: p, Drills: shown, Unread: unread}, nil
}

// Drill is the report of one; CodeNotFound, and CodeDamage when it is not as it
// was signed.
func (c *Console) Drill(_ context.Context, id string) (evidence.Drill, error) {
	r, err := c.reports().Report(id)
	return r.Drill, err
}

// DrillFile is a file of a report as it was signed: kind is "html", "json", or
// one of these with ".sig" for its signature.
func (c *Console) DrillFile(_ context.Context, id, kind string) (name string, content []byte, err error) {
	r, err := c.reports().Report(id)
	if err != nil {
		return "", nil, err
	}
	files := map[string][]byte{"html": r.HTML, "html.sig": r.HTMLSignature, "json": r.JSON, "json.sig": r.JSONSignature}
	content, ok := files[kind]
	if !ok {
		return "", nil, &core.Error{Code: core.CodeNotFound, Op: "read report " + id, Message: "there is no such file", Hint: "it is html, json, html.sig or json.sig"}
	}
	return id + "." + kind, content, nil
}

// StartDrill begins to drill a backup of an app; "" is the newest.
func (c *Console) StartDrill(ctx context.Context, app, backup string, w Who) (int64, error) {
	if err := c.known(app); err != nil {
		return 0, err
	}
	args := []string{"drill", app}
	if backup != "" {
		rec, err := c.find(ctx, backup)
		if err != nil {
			return 0, err
		}
		if rec.App != app {
			return 0, usage("drill", "choose a backup of "+app, "backup %s is of %s", backup, rec.App)
		}
		args = append(args, backup)
	}
	return c.launch(ctx, w, Launch{Kind: core.RunDrill, App: app, Backup: backup, Args: args})
}

// Proof looks at what was shown of all apps.
func (c *Console) Proof(ctx context.Context) (Proof, error) {
	o, err := c.Overview(ctx)
	if err != nil {
		return Proof{}, err
	}
	list, unread, err := c.summaries("")
	if err != nil {
		return Proof{}, err
	}
	out := Proof{Apps: []Proven{}, Problems: []core.Problem{}, Unread: unread}
	db := c.o.State(ctx)
	for _, a := range o.Apps {
		p := Proven{App: a.AppStatus.App, Verified: a.Verified, Drills: []DrillSummary{}}
		var last operation.DrillRecord
		found, err := db.Value(ctx, operation.DrillKey(p.App), &last)
		if err != nil {
			c.o.Log.Debug("read of the last drill", "app", p.App, "err", err) // the reports are there all the same
		}
		if found {
			p.Last = &last
		}
		for _, d := range list {
			if d.App == p.App && len(p.Drills) < shownDrills {
				p.Drills = append(p.Drills, d)
			}
		}
		out.Apps = append(out.Apps, p)
		out.Problems = append(out.Problems, proofs(a.Problems)...)
	}
	out.Problems = append(out.Problems, proofs(o.Problems)...)
	return out, ctx.Err()
}

// proofs are those of the problems that are about proofs and recovery kits.
func proofs(all []core.Problem) (some []core.Problem) {
	for _, p := range all {
		if p.Topic == core.TopicProof || strings.HasPrefix(p.Name, "kit-") || strings.HasPrefix(p.Name, "verify-") {
			some = append(some, p)
		}
	}
	return some
}
