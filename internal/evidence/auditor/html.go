package auditor

import (
	_ "embed" // the page
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/evidence/page"
)

//go:embed auditor.html
var auditorPage string

// Page returns the document as a page of HTML that needs nothing else.
func Page(d Document) ([]byte, error) {
	t, err := page.New("auditor", auditorPage)
	if err != nil {
		return nil, err
	}
	return page.Execute(t, sheet{Document: d, Head: page.Head{Title: "Backups " + page.Day(d.From) + " to " + page.Day(d.To) + ", " + d.Host, What: d.What, Time: d.Generated}})
}

// sheet is a document as its page shows it.
type sheet struct {
	Document
	Head page.Head
}

// Span writes what was measured.
func (t Target) Span() string {
	if !t.Known {
		return "not measured"
	}
	return page.Span(time.Duration(t.MeasuredMS) * time.Millisecond)
}

// Promise writes the target.
func (t Target) Promise() string {
	if t.TargetMS == 0 {
		return "none set"
	}
	return page.Span(time.Duration(t.TargetMS) * time.Millisecond)
}

// Result says how the two compare.
func (t Target) Result() string {
	switch {
	case t.TargetMS == 0:
		return "no target to compare with"
	case !t.Known:
		return "not known"
	case t.Missed:
		return "NOT MET"
	}
	return "met"
}

// Class is the result's colour.
func (t Target) Class() string {
	return map[string]string{"met": "good", "NOT MET": "bad", "not known": "note"}[t.Result()]
}

// Class is the status's colour.
func (s Status) Class() string {
	return map[Status]string{Met: "good", Partly: "note", NotMet: "bad", Unknown: "none"}[s]
}

// Counts sums up a document in a line.
func (d Document) Counts() string {
	due, ran, drills, passed := 0, 0, 0, 0
	for _, a := range d.Apps {
		for _, s := range a.Schedules {
			if s.Kind == "backup" {
				due, ran = due+s.Due, ran+s.Ran()+s.CaughtUp
			}
		}
		for _, x := range a.Drills {
			drills++
			passed += one(x.Passed)
		}
	}
	return strings.Join([]string{fmt.Sprintf("%d apps", len(d.Apps)), fmt.Sprintf("%d of %d planned backups made", ran, due), fmt.Sprintf("%d of %d drills passed", passed, drills), fmt.Sprintf("%d exceptions", len(d.Exceptions)+d.Unlisted)}, ", ")
}

// Size writes a size that may not be known.
func (r RepoFacts) Size(n int64) string {
	if n < 0 {
		return NotKnown
	}
	return page.Bytes(n)
}
