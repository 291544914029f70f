// Package schedule says when an app's backups and checks are due: on week days
// at a time as iTop's settings say it, by a cron expression, or every so often.
// It is for the configuration, which reads schedules, and for package agenda,
// which keeps to them. It is pure: it reads no clock.
//
// It promises that a schedule that cannot be understood is an error and never a
// schedule that is always due, and this of the days on which clocks are changed:
//
//   - A time that the clocks skip is due as long after the change as it lies
//     after the beginning of what is skipped: 02:30 on a day on which 02:00
//     becomes 03:00 is due at 03:30. Where something is due then anyway it is due
//     once.
//   - A time that the clocks show twice is due once, the first time. Only a cron
//     expression that is due by the hour, in that hour and in the one before or
//     after it, is due both times: it goes on at its pace, with no hour without
//     it. So "*/5 * * * *" and "0 1-5 * * *" go on through the hour that comes
//     twice, and "30 2 * * *", "*/10 2 * * *" and "0 */2 * * *" do not repeat.
//   - What is due every so often is counted in time that passes, whatever the
//     clocks show.
package schedule

import (
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Spec is a schedule as it is written. Exactly one of Weekly, Cron, Every and
// FromApp says when; where it is Off, none may. Such a schedule is never due.
type Spec struct {
	Name     string // tells an app's schedules apart; "" for the only one
	Off      bool   // enabled: false
	Weekly   *Weekly
	Cron     string        // five fields, or @daily and the like
	Every    time.Duration // whole seconds, a minute or more; counted from midnight of 1970-01-01 in the time zone on, so that it stands still over restarts
	FromApp  bool          // as the application's own settings say
	TimeZone string        // "Europe/Paris"; "": the application's where it has one, else the machine's
	Jitter   time.Duration // due times are put off by up to this, each by the same amount whenever it is asked for, and never as far as the next; a day at most
	NoCatch  bool          // a run that was missed while nothing ran is not caught up
	Pauses   []Pause       // windows in which nothing begins
	Only     []core.Component
	// Broken says why what is written cannot be read; "" it can. Nothing is due by
	// such a schedule.
	Broken string
}

// Weekly is iTop's schedule. No days are all days.
type Weekly struct {
	Days []time.Weekday
	At   ClockTime
}

// ClockTime is a time of day.
type ClockTime struct{ Hour, Minute int }

// Pause is a window of the day, in the schedule's time zone. From after To goes
// over midnight. To may be 24:00. No days are all days; the day is that of From.
type Pause struct {
	Days     []time.Weekday
	From, To ClockTime
}
