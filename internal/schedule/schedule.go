// Package schedule says when an app's backups and checks are due: on week days
// at a time as iTop's settings say it, by a cron expression, or every so often.
// It is for the configuration, which reads schedules, and for package agenda,
// which keeps to them. It is pure: it reads no clock. It promises that a time
// that a change of the clocks skips is due right after the gap, that a time
// that comes twice is due once, and that a schedule that cannot be understood
// is an error and never a schedule that is always due.
package schedule

import (
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Spec is a schedule as it is written. Exactly one of Weekly, Cron, Every and
// FromApp says when.
type Spec struct {
	Name     string // tells an app's schedules apart; "" for the only one
	Off      bool   // enabled: false
	Weekly   *Weekly
	Cron     string        // five fields, or @daily and the like
	Every    time.Duration // from midnight of 1970-01-01 in the time zone on, so that it stands still over restarts
	FromApp  bool          // as the application's own settings say
	TimeZone string        // "Europe/Paris"; "": the application's where it has one, else the machine's
	Jitter   time.Duration // due times are put off by up to this, each by the same amount whenever it is asked for
	NoCatch  bool          // a run that was missed while nothing ran is not caught up
	Pauses   []Pause       // windows in which nothing begins
	Only     []core.Component
}

// Weekly is iTop's schedule. No days are all days.
type Weekly struct {
	Days []time.Weekday
	At   ClockTime
}

// ClockTime is a time of day.
type ClockTime struct{ Hour, Minute int }

// Pause is a window of the day, in the schedule's time zone. From after To goes
// over midnight. No days are all days; the day is that of From.
type Pause struct {
	Days     []time.Weekday
	From, To ClockTime
}
