package auditor

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/evidence/page"
)

// appExceptions lists what did not go as it should with one app.
func appExceptions(a App, in Input) []Exception {
	out := runExceptions(a.Name, a.Runs, in)
	out = append(out, alarmExceptions(a.Name, a.Alarms, in)...)
	reported := map[int64]bool{}
	for _, d := range a.Drills {
		if d.Run != 0 {
			reported[d.Run] = true
		}
		if d.Passed || d.Started.Before(in.From) || d.Started.After(in.To) {
			continue
		}
		var items []string
		for _, p := range d.Failed() {
			items = append(items, sayProof(p))
		}
		out = append(out, Exception{Time: d.Started.UTC(), App: a.Name, Kind: "drill failed", What: cmp.Or(core.Some(items, 5), d.Failure, "it did not pass"), Source: "report " + d.ID})
	}
	for _, r := range a.Runs { // one without a backup found that none's turn it was
		if r.Kind == core.RunDrill && r.Backup != "" && done(r) && !reported[r.ID] && !r.Started.Before(in.From) && !r.Started.After(in.To) {
			out = append(out, Exception{Time: r.Started.UTC(), App: a.Name, Kind: "report missing", What: fmt.Sprintf("the drill of run %d passed by the records, and there is no report of it that can be relied on", r.ID), Source: "backstay runs " + a.Name})
		}
	}
	for _, b := range a.Backups {
		if b.Damaged != nil {
			out = append(out, Exception{Time: b.Damaged.UTC(), App: a.Name, Kind: "damage", What: "backup " + page.Short(b.ID) + " of " + page.When(b.Time) + " was found damaged, and not found whole since", Source: "backstay show " + page.Short(b.ID)})
		}
	}
	for _, p := range a.Problems {
		out = append(out, problemException(a.Name, p, in.Generated))
	}
	return out
}

// machineExceptions lists what is no single app's.
func machineExceptions(in Input) []Exception {
	out := runExceptions("", in.Runs, in)
	out = append(out, alarmExceptions("", in.Alarms, in)...)
	for _, p := range in.Problems {
		out = append(out, problemException("", p, in.Generated))
	}
	for _, e := range in.Audit.Entries {
		if e.Time.Before(in.From) || e.Time.After(in.To) {
			continue
		}
		what := strings.TrimSpace(e.Who + ": " + e.Action + " " + e.Object)
		switch {
		case strings.Contains(e.Object, "--force") && e.Outcome == "begun":
			out = append(out, Exception{Time: e.Time.UTC(), Kind: "forced", What: what, Source: "backstay audit"})
		case bad(e):
			out = append(out, Exception{Time: e.Time.UTC(), Kind: "action failed", What: what + ": " + strings.TrimSpace(e.Outcome+" "+e.Detail), Source: "backstay audit"})
		}
	}
	if in.Audit.Broken != 0 {
		out = append(out, Exception{Time: in.Generated.UTC(), Kind: "audit log", What: fmt.Sprintf("entry %d is not as it was written: %s", in.Audit.Broken, in.Audit.Reason), Source: "backstay audit"})
	}
	return out
}

func runExceptions(app string, runs []core.Run, in Input) []Exception {
	var out []Exception
	source := strings.TrimSpace("backstay runs " + app)
	for _, r := range runs {
		if r.Started.Before(in.From) || r.Started.After(in.To) {
			continue
		}
		kind, what := "", ""
		switch r.Outcome {
		case core.OutcomeFailed, core.OutcomeMissed, core.OutcomeCancelled:
			kind, what = r.Kind+" "+string(r.Outcome), cmp.Or(r.Message, "no reason is recorded")
		case core.OutcomeWarnings:
			kind, what = r.Kind+" with warnings", cmp.Or(r.Message, fmt.Sprintf("%d warnings", max(1, r.Warnings)))
			if r.Backup != "" {
				what, source = what+", backup "+page.Short(r.Backup), "backstay show "+page.Short(r.Backup)
			}
		case core.OutcomeRunning:
			if in.Generated.Sub(r.Started) < 24*time.Hour {
				continue
			}
			kind, what = r.Kind+" without an end", "it has been running since then by the records"
		default:
			continue
		}
		if r.Due != nil {
			what += " (due " + page.When(*r.Due) + ")"
		}
		out = append(out, Exception{Time: r.Started.UTC(), App: cmp.Or(app, r.App), Kind: kind, What: what, Source: source})
		source = strings.TrimSpace("backstay runs " + app)
	}
	return out
}

func alarmExceptions(app string, alarms []core.Alarm, in Input) []Exception {
	var out []Exception
	for _, a := range alarms {
		if a.Opened.After(in.To) || a.Closed != nil && a.Closed.Before(in.From) {
			continue
		}
		var texts []string
		for _, p := range a.Problems {
			texts = append(texts, sayProblem(p))
		}
		what := core.Some(texts, 3)
		if a.Closed == nil {
			what += "; open still"
		} else {
			what += "; over at " + page.When(*a.Closed) + ", after " + page.Span(a.Closed.Sub(a.Opened))
		}
		out = append(out, Exception{Time: a.Opened.UTC(), App: app, Kind: "alarm: " + string(a.Topic), What: what, Source: "backstay alarms"})
	}
	return out
}

func problemException(app string, p core.Problem, now time.Time) Exception {
	return Exception{Time: now.UTC(), App: app, Kind: string(p.Level) + " now: " + p.Name, What: sayProblem(p), Source: strings.TrimSpace("backstay check " + app)}
}

func sayProblem(p core.Problem) string {
	if p.Object == "" || strings.HasPrefix(p.Message, p.Object+" ") {
		return p.Message
	}
	return p.Object + ": " + p.Message
}
