package operation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// DrillPolicy says which backups are drilled how often.
type DrillPolicy struct {
	Newest time.Duration // the newest at least so often; 0: whenever it is asked
	Last   int           // so many of the newest are drilled in turn; 0: only the newest
	Each   time.Duration // each of them at least so often
}

// ChooseDrill chooses the backup whose turn it is to be drilled: the newest,
// when no drill of a newest one was long enough ago, else by chance one of the
// last that were not drilled for too long. backups are those of one app, oldest
// first; drilled is when any of them, perhaps one that is gone, was last drilled;
// zero: never. Why says in words why it is chosen, or, with ok false, why none is.
func ChooseDrill(backups []core.Backup, p DrillPolicy, drilled, now time.Time, random *rand.Rand) (chosen core.Backup, why string, ok bool) {
	fit := slices.DeleteFunc(slices.Clone(backups), func(b core.Backup) bool { return b.Aside() || b.Damaged != nil })
	if len(fit) == 0 {
		if len(backups) > 0 {
			return chosen, fmt.Sprintf("none of its %d backups can be drilled: they are damaged, or of states that somebody wanted to leave", len(backups)), false
		}
		return chosen, "it has no backup", false
	}
	newest := fit[len(fit)-1]
	for _, b := range fit {
		if b.Drilled != nil && b.Drilled.After(drilled) {
			drilled = *b.Drilled
		}
	}
	if newest.Drilled == nil && (drilled.IsZero() || p.Newest <= 0 || now.Sub(drilled) >= p.Newest) {
		return newest, "it is the newest", true
	}
	if newest.Drilled != nil && p.Newest > 0 && now.Sub(*newest.Drilled) >= p.Newest {
		return newest, "it is the newest, and was drilled too long ago", true
	}
	last := fit[max(0, len(fit)-p.Last):]
	if p.Last <= 0 {
		last = nil
	}
	due := slices.DeleteFunc(slices.Clone(last), func(b core.Backup) bool { return b.Drilled != nil && now.Sub(*b.Drilled) < p.Each })
	if len(due) == 0 {
		return chosen, "no backup's turn it is: the newest was drilled not long ago" + map[bool]string{true: "", false: fmt.Sprintf(", and so was each of the last %d", len(last))}[p.Last <= 0], false
	}
	return due[random.IntN(len(due))], fmt.Sprintf("it was chosen by chance among %d of the last %d that were not drilled for too long", len(due), len(last)), true
}
