// Package report writes out, for people, what a check found, what changed between
// two backups and how a guarded command went. It is for the commands. It promises short lists:
// --json has the long ones.
package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/guard"
	"github.com/backstay/backstay/internal/engine/smoke"
)

// Problem writes what a check found wrong: a line, and one on what to do.
func Problem(p *ui.Printer, found core.Problem) {
	line := found.Name
	if found.App != "" {
		line = found.App + ": " + line
	}
	p.Printf("%-6s %s: %s\n", string(found.Level), line, Said(found))
	if found.Hint != "" {
		p.Printf("%-6s   %s\n", "", found.Hint)
	}
}

// Said is what a problem is about, which many messages begin with, and what is
// so.
func Said(found core.Problem) string {
	if found.Object == "" || strings.HasPrefix(found.Message, found.Object+" ") {
		return found.Message
	}
	return found.Object + ": " + found.Message
}

// Change writes a difference in one line.
func Change(c engine.Change) string {
	sign := map[string]string{"added": "+", "removed": "-", "changed": "~"}[c.Kind]
	switch {
	case c.Before == c.After:
		return sign + " " + c.Object
	case c.Before != "" && c.After != "":
		return fmt.Sprintf("%s %s (%s → %s)", sign, c.Object, c.Before, c.After)
	}
	return fmt.Sprintf("%s %s (%s)", sign, c.Object, c.Before+c.After)
}

// table writes in one line what became of a table.
func table(t engine.TableDiff) string {
	change := engine.Change{Kind: t.Kind, Object: "table " + t.Name}
	if t.RowsBefore != nil {
		change.Before = ui.Counted(*t.RowsBefore, "row")
	}
	if t.RowsAfter != nil {
		change.After = ui.Counted(*t.RowsAfter, "row")
	}
	text := Change(change)
	switch {
	case t.Kind != "changed":
	case t.Definition && t.Content:
		text += ", another definition"
	case t.Definition:
		text += ": another definition"
	case change.Before == change.After:
		text += ": other content, " + change.After
	}
	return text
}

// Guarded says what a command did, and whether the application works after it.
func Guarded(p *ui.Printer, r guard.Report) {
	how := fmt.Sprintf("ended with exit code %d", r.Command.Exit)
	if r.Command.Signal != "" {
		how = "was ended by " + r.Command.Signal
	}
	p.Printf("%s: %s %s after %s\n", r.App, r.Command.Program, how, ui.Duration(time.Duration(r.Command.DurationMS)*time.Millisecond))
	p.Printf("  before   backup %s of %s\n", ui.ShortID(r.Before.ID), p.Time(r.Before.Time))
	if r.After != nil {
		p.Printf("  after    backup %s of %s\n", ui.ShortID(r.After.ID), p.Time(r.After.Time))
	}
	changes(p, r.Changes)
	p.Printf("  looked   at %s\n", strings.Join(r.Smoke.Checked, ", "))
	for _, list := range []struct {
		word     string
		problems []smoke.Problem
	}{{"broken", r.Smoke.Problems}, {"as before", r.Smoke.Earlier}} {
		for _, problem := range list.problems {
			text := problem.Message
			if problem.Object != "" {
				text = problem.Object + ": " + text
			}
			p.Printf("    %s: %s\n", list.word, text)
		}
	}
	for _, w := range r.Warnings {
		p.Warn(w)
	}
}

// shown is how many of each kind of change are listed.
const shown = 12

func changes(p *ui.Printer, d *engine.Difference) {
	if d == nil {
		return
	}
	if d.Empty() {
		p.Printf("  changed  nothing\n")
		return
	}
	word := "changed"
	line := func(format string, args ...any) {
		p.Printf("  %-8s "+format+"\n", append([]any{word}, args...)...)
		word = ""
	}
	for _, list := range [][]engine.Change{d.Versions, d.Modules, d.Objects} {
		for i, c := range list {
			if i == shown {
				line("and %d more (--json lists them)", len(list)-shown)
				break
			}
			line("%s", Change(c))
		}
	}
	for i, t := range d.Tables {
		if i == shown {
			line("and %d more tables (--json lists them)", len(d.Tables)-shown)
			break
		}
		line("%s", table(t))
	}
	for _, f := range d.Files {
		line("%s: %s added, %s changed, %s removed", f.Component, ui.Counted(f.Added, "file"), ui.Count(f.Changed), ui.Count(f.Removed))
	}
}
