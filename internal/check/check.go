// Package check judges whether an app's newest backup is there, fresh, whole
// and of plausible size and content, from what is known of it and of those
// before it. It is for the check command and the service. It is pure: what it
// judges is handed to it. It promises that what is implausible once stays so
// until it is as before or somebody said that it is right: it does not become
// usual by lasting.
package check

import (
	"cmp"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Limits are the thresholds. Zero values mean the defaults (see Defaults);
// negative ones switch a rule off.
type Limits struct {
	Off              bool          // no check at all
	SizeMin          int64         // bytes; iTop's check_size_min
	SizeReductionMax float64       // percent, against the backup before; iTop's check_size_reduction_max; 0: off
	MaxAge           time.Duration // of the newest backup; 0: what the schedule asks for, and an hour or a tenth more
	MinBackups       int           // how many usual backups there must be before trends are judged
	Deviations       float64       // how many robust deviations from the median are too many
	RowsDrop         float64       // percent of its usual rows that a table may lose
	RowsMin          int64         // tables with fewer rows are not judged by RowsDrop
	SizeDrop         float64       // percent of its usual size that the backup, or a component, may lose
	NoiseRise        float64       // percentage points by which the share of noise in the files may rise
	VerifyAge        time.Duration // since the last verification; 0: not asked for
	DrillAge         time.Duration // since the last drill; 0: what DrillPolicy asks for
	FreeMin          float64       // percent of the repository's storage
	FreeMinBytes     int64
	FullWithin       time.Duration // the repository will be full so soon at the present growth
	MaintenanceAge   time.Duration // since maintenance last completed
	IgnoreTables     []string      // globs
}

// Accepted is a person's word that backups up to a time are right: what was
// usual before it counts no more.
type Accepted struct {
	Backup string    `json:"backup"` // the newest at that time
	Time   time.Time `json:"time"`
	By     string    `json:"by"`
}

// Input is what is known of one app.
type Input struct {
	App      string
	Now      time.Time
	Limits   Limits
	Location *time.Location
	Backups  []core.Backup // of the app, oldest first
	Facts    []core.Facts  // of some of the newest of them, oldest first; the last may be missing
	Accepted *Accepted
	// LastRuns are of each schedule, and of those that were started by hand, the
	// newest finished run of a backup that is not a missed one.
	LastRuns []LastRun
	// Scheduled says that a schedule asks for backups. Interval is the longest
	// time between two that it asks for, Expected when the last was due.
	Scheduled bool
	Off       bool // schedules are there, and all are switched off
	Interval  time.Duration
	Expected  time.Time
	// Others are further schedules of the app, for other components or at other
	// times: each asks for backups that hold what it is for. Where schedules are
	// for different components all are among them.
	Others   []Expected
	Unusable string    // why the schedule cannot be understood; "" it can
	Added    time.Time // when the app was first seen, or zero: a new app's first backup may still be to come
	// Verified and Drilled are when a backup of the app, perhaps one that is gone,
	// was last verified and drilled, or zero; the times in Backups count too.
	Verified, Drilled time.Time
	Drill             *Drill // the newest; nil: none is known
	DrillPolicy       DrillPolicy
}

// LastRun is how a schedule's last run ended, and what it was for.
type LastRun struct {
	core.Run
	Only []core.Component // none: the whole app
}

// Expected is what one more schedule asks for.
type Expected struct {
	Name     string
	Only     []core.Component // none: all that the app's backups have held
	Interval time.Duration
	Last     time.Time // when it was last due
}

// Repository is what is known of the repository.
type Repository struct {
	Now    time.Time
	Limits Limits
	Space  *core.Space // nil: it could not be asked
	Err    error       // why it cannot be used; nil: it can
	Stored []Stored    // what backups of all apps added, oldest first
	Used   []Stored    // how many bytes the repository had at earlier times, oldest first; nil: not known
	// Unread is when the object that was not read back for the longest time was
	// last read, or written; zero: not known. Cover is how often each is to be.
	Unread time.Time
	Cover  time.Duration // 0: nothing is asked
	Kits   *Kits         // nil: nobody is to be reminded
}

// Stored is how much a backup added, or how much there was.
type Stored struct {
	Time  time.Time
	Bytes int64
}

// Judge says what is wrong with an app's backups, by topic and name. It
// changes nothing in its input, and gives the same for the same.
func Judge(in Input) []core.Problem {
	problems, _ := Review(in)
	return problems
}

// Review is Judge, and says which backup a restore can be made of: the newest
// that is not damaged, not dated in the future, and from before the content
// became implausible, where it is. nil: there is none.
func Review(in Input) (problems []core.Problem, trusted *core.Backup) {
	j := &judge{in: in, limits: in.Limits.filled(), location: in.Location}
	if j.location == nil {
		j.location = time.UTC
	}
	if in.Limits.Off {
		j.in, _ = present(in)
		return nil, j.trusted(time.Time{})
	}
	j.future()
	j.backup()
	began := j.content()
	j.proof()
	return j.problems, j.trusted(began)
}

// trusted is the newest backup that is not damaged, and from before a time, if
// one is given.
func (j *judge) trusted(before time.Time) *core.Backup {
	var best *core.Backup
	for _, b := range j.in.Backups {
		if b.Damaged == nil && (before.IsZero() || b.Time.Before(before)) && (best == nil || !b.Time.Before(best.Time)) {
			best = &b
		}
	}
	return best
}

// Defaults are the limits that hold where nothing else is said. SizeMin,
// SizeReductionMax, MaxAge, VerifyAge, DrillAge and FreeMinBytes have none.
func Defaults() Limits {
	const day = 24 * time.Hour
	return Limits{
		MinBackups: 5, Deviations: 6, RowsDrop: 40, RowsMin: 100, SizeDrop: 40, NoiseRise: 25,
		FreeMin: 10, FullWithin: 14 * day, MaintenanceAge: 8 * day,
	}
}

// filled has the defaults in place of zeros.
func (l Limits) filled() Limits {
	d := Defaults()
	l.MinBackups = cmp.Or(l.MinBackups, d.MinBackups)
	l.Deviations = cmp.Or(l.Deviations, d.Deviations)
	l.RowsDrop = cmp.Or(l.RowsDrop, d.RowsDrop)
	l.RowsMin = cmp.Or(l.RowsMin, d.RowsMin)
	l.SizeDrop = cmp.Or(l.SizeDrop, d.SizeDrop)
	l.NoiseRise = cmp.Or(l.NoiseRise, d.NoiseRise)
	l.FreeMin = cmp.Or(l.FreeMin, d.FreeMin)
	l.FullWithin = cmp.Or(l.FullWithin, d.FullWithin)
	l.MaintenanceAge = cmp.Or(l.MaintenanceAge, d.MaintenanceAge)
	return l
}
