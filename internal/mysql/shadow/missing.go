package shadow

import (
	"fmt"
	"slices"

	"github.com/backstay/backstay/internal/core"
)

// lacks is the error of an exchange for which not all is there any more: kept
// or new tables were dropped by somebody else, or by another run that took its
// way back. It is asked before anything is touched; nil when nothing is missing.
func (l *look) lacks(to side) error {
	s := l.s
	if !s.Built || s.KeptDropped && to == old {
		return nil
	}
	var missing []string
	needed := 0
	for i := range s.Tables {
		t := &s.Tables[i]
		if t.Same {
			continue
		}
		_, shelved := l.shelved(t, to)
		need := t.Kind == "table" || t.Kind == "sequence"
		if to == old {
			need = t.Former && !slices.ContainsFunc(s.Was.Objects, func(o Object) bool { return o.Kind == "view" && s.fold(o.Name) == s.fold(t.Name) })
		}
		if s.Doing != "" && need { // each may be before or behind its change
			_, kept := l.shelved(t, old)
			_, waits := l.shelved(t, newest)
			_, live := l.at(s.live(t))
			need = t.Former && (t.Kind == "table" || t.Kind == "sequence")
			shelved = kept && waits || live && (kept || waits)
		}
		if !need {
			continue
		}
		if needed++; !shelved {
			missing = append(missing, fmt.Sprintf("%s (%s)", s.shelf(t, to, false).name, t.Name))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	e := &core.Error{
		Code: core.CodeNotFound, Op: "make the restored database live", Message: "what was built is not all there: " + core.Some(missing, 5) + "; nothing was changed",
		Hint: "restore anew",
	}
	if to == old {
		e.Op, e.Message = "go back to the former database", "kept tables are missing: "+core.Some(missing, 5)+"; they were dropped by another hand, and nothing was changed"
		if len(missing) == needed {
			e.Message = "what was kept is gone: it was dropped, or undone by another run; the live database is as it is, and nothing was changed"
		}
		e.Hint = "restore the safety backup that the restore made: backstay list shows it"
	}
	return e
}
