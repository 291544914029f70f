package recovery

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine/restore"
	"github.com/backstay/backstay/internal/engine/switchover"
	"github.com/backstay/backstay/internal/files/exchange"
)

// tablesShown is how many tables a printed plan lists: those that change most.
const tablesShown = 12

func (s commands) printPlan(r *restore.Restore, b core.Backup) {
	p := s.Printer
	p.Printf("restore app %s from backup %s of %s:\n", r.Plan.App, ui.ShortID(b.ID), p.Time(b.Time))
	for i, st := range r.Plan.Steps {
		p.Printf("  %-9s %s (%s) into %s\n", string(st.Component), st.What, ui.Size(st.Bytes), st.Into)
		if st.Replaces != "" {
			p.Printf("  %-9s replaces %s\n", "", st.Replaces)
		}
		if last := i+1 == len(r.Plan.Steps) || r.Plan.Steps[i+1].Component != st.Component; last && r.Plan.Live { // where nothing is, all is new
			s.printChanges(r.Plan, st.Component)
		}
	}
	for _, c := range r.Plan.Config {
		p.Printf("  %s will differ:\n", c.Path)
		for _, l := range c.Lines {
			p.Printf("    %s\n", l)
		}
		if c.More > 0 {
			p.Printf("    and %d more lines\n", c.More)
		}
	}
	if r.Plan.EstimateMS > 0 {
		p.Printf("  takes about %s to build beside what is live", ui.Duration(time.Duration(r.Plan.EstimateMS)*time.Millisecond))
		needs := spaceNeeded(r.Plan.Space)
		if r.Plan.DatabaseBytes > 0 {
			needs = append(needs, ui.Size(r.Plan.DatabaseBytes)+" on the database server")
		}
		if len(needs) > 0 {
			p.Printf(", and needs %s", strings.Join(needs, ", "))
		}
		p.Printf("\n")
	}
	passed := 0
	for _, f := range r.Plan.Findings {
		if !restore.Notable(f) && !s.Verbose {
			passed++
			continue
		}
		s.printFinding(f)
	}
	if passed > 0 {
		p.Printf("  %d more checks found nothing in the way (--verbose lists them)\n", passed)
	}
}

// spaceNeeded says how much room is needed on each file system: a component
// may have a need of its own on one that others need room on too.
func spaceNeeded(space []exchange.Space) []string {
	var sum []exchange.Space
	for _, sp := range space {
		if i := slices.IndexFunc(sum, func(have exchange.Space) bool { return have.Path == sp.Path }); i >= 0 {
			sum[i].Bytes += sp.Bytes
		} else if sp.Bytes > 0 {
			sum = append(sum, sp)
		}
	}
	var out []string
	for _, sp := range sum {
		out = append(out, fmt.Sprintf("%s on %s (%s free)", ui.Size(sp.Bytes), sp.Path, ui.Size(sp.Free)))
	}
	return out
}

// printChanges says what a component changes in the live app.
func (s commands) printChanges(plan restore.Plan, c core.Component) {
	if c == core.ComponentDatabase {
		s.printTables(plan.Tables)
		return
	}
	for _, f := range plan.Files {
		if f.Component != c {
			continue
		}
		s.Printer.Printf("            %s added, %s changed, %s removed, %s unchanged\n", ui.Count(f.Added.Files), ui.Count(f.Changed.Files), ui.Count(f.Removed.Files), ui.Count(f.Unchanged))
		for _, list := range []struct {
			word string
			list exchange.List
		}{{"added", f.Added}, {"changed", f.Changed}, {"removed", f.Removed}, {"stays, not in the backup", f.Extra}} {
			if len(list.list.Paths) > 0 {
				s.Printer.Printf("            %s: %s\n", list.word, core.Some(list.list.Paths, 3))
			}
		}
	}
}

func (s commands) printFinding(f core.Finding) {
	word := map[core.FindingKind]string{
		core.FindingFine: "note", core.FindingRewrite: "rewrite", core.FindingDecision: "needs your decision", core.FindingImpossible: "impossible",
	}[f.Kind]
	text := f.Message
	if f.Object != "" {
		text = f.Object + ": " + text
	}
	if f.Kind == core.FindingDecision {
		text += " (--force " + f.Name + ")"
	}
	s.Printer.Printf("  %s: %s\n", word, text)
	if f.Hint != "" && f.Kind != core.FindingFine {
		s.Printer.Printf("    %s\n", f.Hint)
	}
}

// printTables lists the tables whose number of rows changes.
func (s commands) printTables(tables []restore.TableChange) {
	shown, more := 0, 0
	rows := func(n *int64, exact bool) string {
		switch {
		case n == nil:
			return "no rows"
		case exact:
			return ui.Counted(*n, "row")
		}
		return "about " + ui.Counted(*n, "row")
	}
	for _, t := range tables {
		if t.Fate == "replaced" && t.Exact && t.Then != nil && *t.Now == *t.Then || t.Fate == "added" && len(tables) > tablesShown {
			continue
		}
		if shown++; shown > tablesShown {
			more++
			continue
		}
		switch t.Fate {
		case "kept":
			s.Printer.Printf("            table %s: %s, not in the backup, stays\n", t.Name, rows(t.Now, t.Exact))
		case "removed":
			s.Printer.Printf("            table %s: %s, not in the backup, is taken away\n", t.Name, rows(t.Now, t.Exact))
		default:
			s.Printer.Printf("            table %s: %s now, %s in the backup\n", t.Name, rows(t.Now, t.Exact), rows(t.Then, true))
		}
	}
	if more > 0 {
		s.Printer.Printf("            and %d more tables (--json lists them)\n", more)
	}
}

func (s commands) printRestored(r *restore.Restored) {
	var parts []string
	if r.Tables > 0 {
		parts = append(parts, ui.Counted(int64(r.Tables), "table")+" with "+ui.Counted(r.Rows, "row"))
	}
	if r.Files > 0 || r.Tables == 0 {
		parts = append(parts, ui.Counted(r.Files, "file"))
	}
	s.Printer.Printf("restored %s: %s, %s; all compared with the backup\n", r.App, strings.Join(parts, " and "), ui.Size(r.Bytes))
	if r.Safety != "" {
		s.Printer.Printf("  what was live before is backup %s\n", ui.ShortID(r.Safety))
	}
	s.printSwitched(&r.Outcome)
	if r.KeptTill != nil {
		s.Printer.Printf("  the way back: backstay undo %s (kept until %s, %s)\n", r.App, s.Printer.Time(*r.KeptTill), ui.Size(r.KeptBytes))
	}
	s.printOutcome(&r.Outcome)
}

// How much of a step's output is printed; the journal has more.
const (
	outputShown     = 15  // lines, the last ones
	outputLineShown = 500 // bytes of a line
)

// printSwitched says how long the app was switched, and what was run.
func (s commands) printSwitched(r *switchover.Outcome) {
	if r.Run == "" || r.UnavailableMS == 0 && len(r.Steps) == 0 { // it had been switched before
		return
	}
	s.Printer.Printf("  switched in %s\n", ui.Duration(time.Duration(r.UnavailableMS)*time.Millisecond))
	for _, st := range r.Steps {
		how := "worked"
		if st.Error != "" {
			how = "failed"
		}
		s.Printer.Printf("  %s: %s, in %s\n", st.Name, how, ui.Duration(time.Duration(st.DurationMS)*time.Millisecond))
		lines := strings.Split(strings.TrimSpace(st.Output), "\n")
		for _, l := range lines[max(0, len(lines)-outputShown):] {
			if l = strings.TrimSpace(l); len(l) > outputLineShown {
				l = strings.ToValidUTF8(l[:outputLineShown], "") + " …"
			}
			if l != "" {
				s.Printer.Printf("    | %s\n", l)
			}
		}
	}
}

func (s commands) printOutcome(r *switchover.Outcome) {
	for _, n := range r.Notes {
		s.Printer.Printf("  note: %s\n", n)
	}
	for _, w := range r.Warnings {
		s.Printer.Warn(w)
	}
	for _, n := range r.Next {
		s.Printer.Printf("next: %s\n", n)
	}
}
