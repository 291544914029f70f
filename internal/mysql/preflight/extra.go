package preflight

import (
	"context"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
)

func (o Object) String() string { return o.Kind + " " + o.Name }

// findExtra says what becomes of what the app has in the database and the
// backup does not. What is taken away is named to the last object: nobody else
// says what it was.
func (a *asker) findExtra(context.Context) error {
	if a.in.Copy {
		return nil
	}
	taken := slices.Clone(a.orphans)
	var extra []string
	for _, o := range a.r.Extra {
		if slices.Contains(a.orphans, o) { // named already
			continue
		}
		extra = append(extra, o.String())
		if a.in.Clean {
			taken = append(taken, o)
		}
	}
	kept := "and kept for undo"
	if !a.in.Keep {
		kept = "and not kept"
	}
	switch {
	case len(extra) == 0:
	case a.in.Clean:
		a.fine("extra-objects", "", "the backup does not have %s: they are taken away, %s", strings.Join(extra, ", "), kept)
	default:
		a.fine("extra-objects", "", "the backup does not have %s: they stay; --clean takes them away", core.Some(extra, 2*shown))
	}
	var missed []string
	for _, o := range taken {
		if slices.ContainsFunc(a.in.Warnings, func(w core.Warning) bool { return misses(w, o) }) {
			missed = append(missed, o.String())
		}
	}
	if len(missed) == 0 {
		return nil
	}
	hint := "restore a backup that was made with an account that may read them (backstay show lists a backup's warnings)"
	if a.in.Clean {
		hint = "leave --clean out, or " + hint
	}
	a.find(core.FindingDecision, "incomplete-backup", strings.Join(missed, ", "), hint,
		"the backup warns that it could not hold everything, and so may lack these although they were there; they would be taken away, %s", kept)
	return nil
}

// misses says whether a backup with this warning may lack an object that was
// there when it was made.
func misses(w core.Warning, o Object) bool {
	switch w.Code {
	case "unreadable", "new-table":
		return strings.EqualFold(w.Object, o.String())
	case "not-visible":
		kind := o.Kind
		switch kind {
		case "view", "sequence":
			kind = "table"
		case "package", "package body":
			kind = "procedure"
		}
		return w.Object == kind+"s"
	case "empty":
		return strings.HasPrefix(w.Object, "database ")
	}
	return false
}
