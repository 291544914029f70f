package evidence

import (
	_ "embed" // the page
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/evidence/page"
)

//go:embed drill.html
var drillPage string

// Page returns a drill's report as a page of HTML that needs nothing else.
func Page(d Drill) ([]byte, error) {
	t, err := page.New("drill", drillPage)
	if err != nil {
		return nil, err
	}
	return page.Execute(t, sheetOf(d))
}

// sheet is a drill as its page shows it.
type sheet struct {
	Drill
	Head        page.Head
	Verdict     string
	Objectives  []objectiveRow
	Components  []componentRow
	Counts      string
	Groups      []group
	NotLooked   []string
	Differences []string
	Chart       chart
}

type objectiveRow struct{ Name, Meaning, Measured, Target, Result, Class string }

type componentRow struct{ Name, Text string }

// group has the proofs of one outcome.
type group struct {
	Title, Class string
	Proofs       []core.Proof
}

// outcomes are the groups, in the order in which a reader needs them.
func outcomes() []struct {
	outcome      core.ProofOutcome
	title, class string
} {
	return []struct {
		outcome      core.ProofOutcome
		title, class string
	}{
		{core.ProofFailed, "Failed", "bad"},
		{core.ProofSkipped, "Not looked at", "note"},
		{core.ProofOK, "As captured, and working", "good"},
		{core.ProofNote, "Good to know", "none"},
	}
}

func sheetOf(d Drill) sheet {
	s := sheet{Drill: d, Head: page.Head{Title: "Drill of " + d.App + ", " + page.Day(d.Started), What: "drill " + d.ID, Time: d.Finished}}
	s.Verdict = "FAILED"
	if d.Passed {
		s.Verdict = "Passed"
		if d.Mode == DrillSample {
			s.Verdict = "Passed, of a sample"
		}
	}
	s.Objectives = []objectiveRow{
		objectiveRowOf("RPO", "age of the newest backup when the drill began: what a loss at that moment would have cost", d.RPO, true),
		objectiveRowOf("RTO", "the steps that bring the application back, together", d.RTO, d.Passed),
	}
	for _, c := range core.Components() {
		if size, ok := d.Backup.Components[c]; ok {
			s.Components = append(s.Components, componentRow{page.Sentence(string(c)), sizeText(c, size)})
		}
	}
	known := map[core.ProofOutcome]bool{}
	var counts []string
	for _, o := range outcomes() {
		known[o.outcome] = true
		g := group{Title: o.title, Class: o.class}
		for _, p := range d.Proofs {
			if p.Outcome == o.outcome {
				g.Proofs = append(g.Proofs, p)
			}
		}
		counts = append(counts, fmt.Sprintf("%s: %d", strings.ToLower(o.title[:1])+o.title[1:], len(g.Proofs)))
		if len(g.Proofs) > 0 {
			s.Groups = append(s.Groups, g)
		}
	}
	other := group{Title: "Of an outcome that is not known here", Class: "bad"}
	for _, p := range d.Proofs {
		if !known[p.Outcome] {
			other.Proofs = append(other.Proofs, p)
		}
	}
	if len(other.Proofs) > 0 {
		s.Groups = append(s.Groups, other)
	}
	s.Counts = page.Sentence(strings.Join(counts, ", ")) + "."
	s.NotLooked = notLooked(d)
	for _, p := range d.Failed() {
		s.Differences = append(s.Differences, said(p))
	}
	s.Chart = chartOf(d.Steps)
	return s
}

func said(p core.Proof) string {
	text := p.Message
	if p.Object != "" {
		text = p.Object + ": " + text
	}
	return text
}

// notLooked says what a reader must not believe to be proven.
func notLooked(d Drill) []string {
	var out []string
	for _, p := range d.Proofs {
		if p.Outcome == core.ProofSkipped {
			out = append(out, p.Name+": "+said(p))
		}
	}
	if d.Sampled != nil {
		out = append(out, fmt.Sprintf("%s of %s rows and %s of %s files: the drill looked at a sample",
			page.Count(d.Sampled.RowsOf-d.Sampled.Rows), page.Count(d.Sampled.RowsOf), page.Count(d.Sampled.FilesOf-d.Sampled.Files), page.Count(d.Sampled.FilesOf)))
	}
	if d.Place.PHP == "" {
		out = append(out, "the application itself: it was not started")
	}
	if d.Failure != "" {
		out = append(out, "whatever would have come after the step at which the drill ended")
	}
	return append(out, "whether another machine can take over: this shows what "+d.Host+" can do")
}

func objectiveRowOf(name, meaning string, o Objective, reached bool) objectiveRow {
	row := objectiveRow{Name: name, Meaning: meaning, Measured: spanMS(o.MeasuredMS), Target: "none set", Result: "no target to compare with", Class: "none"}
	if o.TargetMS > 0 {
		row.Target, row.Result, row.Class = spanMS(o.TargetMS), "met", "good"
		if o.Missed {
			row.Result, row.Class = "NOT MET, by "+spanMS(o.MeasuredMS-o.TargetMS), "bad"
		}
	}
	if !reached {
		row.Measured, row.Result, row.Class = "", "not measured: the drill did not pass", "bad"
	}
	return row
}

func spanMS(ms int64) string { return page.Span(time.Duration(ms) * time.Millisecond) }

func sizeText(c core.Component, size core.ComponentSize) string {
	if c == core.ComponentDatabase {
		return fmt.Sprintf("%s tables, %s rows, %s", page.Count(int64(size.Tables)), page.Count(size.Rows), page.Bytes(size.Bytes))
	}
	return fmt.Sprintf("%s files, %s", page.Count(size.Files), page.Bytes(size.Bytes))
}

// chart is a picture of the steps: bars, one below the other.
type chart struct {
	Width, Height int
	Bars          []bar
}

type bar struct {
	Name, Label              string
	X, Y, Width, Text, After int
	Recovery                 bool
}

// Measures of the chart, in its own units.
const (
	chartWidth = 900
	chartNames = 230 // left of the bars
	chartLabel = 170 // right of the longest
	chartRow   = 22
)

func chartOf(steps []Step) chart {
	var longest int64 = 1
	for _, s := range steps {
		longest = max(longest, s.DurationMS)
	}
	c := chart{Width: chartWidth, Height: len(steps)*chartRow + 4}
	for i, s := range steps {
		width := int(float64(max(0, s.DurationMS)) / float64(longest) * (chartWidth - chartNames - chartLabel))
		b := bar{Name: clip(s.Name, 34), Label: spanMS(s.DurationMS), X: chartNames, Y: i*chartRow + 3, Width: max(1, width), Recovery: s.Recovery}
		if s.Bytes > 0 {
			b.Label += ", " + page.Bytes(s.Bytes)
		}
		b.Text, b.After = b.Y+12, b.X+b.Width+8
		c.Bars = append(c.Bars, b)
	}
	return c
}

// clip shortens a text to so many characters.
func clip(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}
