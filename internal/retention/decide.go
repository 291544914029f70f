package retention

import (
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Options is what Decide needs beyond backups and policies.
type Options struct {
	Now      time.Time
	Location *time.Location // whose hours, days, weeks, months and years are counted; nil: UTC
	Hold     string         // why nothing may be removed at present; "": no hold
}

// Decide says of each backup of one app whether it is kept, and why, newest
// first.
func Decide(backups []core.Backup, policies []Policy, opt Options) []Decision {
	out := make([]Decision, len(backups))
	for i, b := range backups {
		out[i] = Decision{Backup: b, ID: b.ID, Time: b.Time, Keep: true, Reasons: []string{"not decided yet"}}
	}
	return out
}
