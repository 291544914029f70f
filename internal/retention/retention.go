// Package retention decides which backups of an app are kept, and says why of
// each. It is for pruning and for lists. It is pure. It promises that whatever
// the policy says it keeps every pinned backup, the newest whole one of each set
// of components, the newest of those that were verified and that were drilled,
// all that were imported, and everything while there is a hold; and that a
// backup that is damaged, that was made of a state that somebody wanted to
// leave, or that is dated in the future never takes the place of a whole one.
package retention

import (
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Policy says how many backups of one set of components are kept. What any of
// the rules keeps is kept. A policy without rules keeps everything, and so does
// one that is FromApp still: FromSettings was not asked.
type Policy struct {
	// Components are the set that it is for; nil: all backups that no other
	// policy of the app is for.
	Components []core.Component
	Count      int // the newest so many
	Days       int // all of the last so many days that have one
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
	Reasons []string    `json:"reasons"` // "number 3 of the newest 5", "pinned", …; of one to remove: what would have kept it and no longer does
}

// FromSettings returns p with what the application's own settings keep beside
// what p's rules do: the newest count, and all of the last days that have a
// backup; 0 is not set. both says that days keep nothing where there is a count. That is how
// ITFlow reads config_backup_retention_count and config_backup_retention_days
// (backupRunRetention): a count removes all that it does not keep, however
// young, and days say something only where the count is 0. ITFlow counts these
// from now; here only days that have a backup count, which keeps no less. iTop has a count,
// retention_count, and no days.
func FromSettings(p Policy, count, days int, both bool) Policy {
	if both && count > 0 {
		days = 0
	}
	p.FromApp = false
	p.Count, p.Days = max(p.Count, count), max(p.Days, days)
	return p
}
