// Package retention decides which backups of an app are kept, and says why of
// each. It is for pruning and for lists. It is pure. It promises that whatever
// the policy says it keeps the newest complete backup, the newest that was
// verified, every pinned one, and all while there is a hold.
package retention

import (
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Policy says how many backups of one set of components are kept. What any of
// the rules keeps is kept. A policy without rules keeps everything.
type Policy struct {
	// Components are the set that it is for; nil: all backups that no other
	// policy of the app is for.
	Components []core.Component
	Count      int // the newest so many
	Days       int // those younger than so many days
	// The newest of each of the last so many hours, days, ISO weeks, months and
	// years that have one.
	Hourly, Daily, Weekly, Monthly, Yearly int

	FromApp bool // as the application's own settings say
	Hold    bool // nothing is removed
}

// Decision is what becomes of one backup, and why.
type Decision struct {
	Backup  core.Backup `json:"-"`
	ID      string      `json:"id"`
	Time    time.Time   `json:"time"`
	Keep    bool        `json:"keep"`
	Reasons []string    `json:"reasons"` // "newest 3 of 5", "day 2026-11-20", "pinned", …; of one to remove: what would have kept it and no longer does
}
