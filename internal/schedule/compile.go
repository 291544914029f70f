package schedule

import (
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Told is what an application's own settings say of when to back it up.
type Told struct {
	Off      bool
	Weekly   *Weekly // nil: by Every
	Every    time.Duration
	TimeZone string // "": the machine's
	Only     []core.Component
}

// Resolve returns s with the application's own settings in the place of
// from_app. What s itself says of time zone and components wins.
func (s Spec) Resolve(t Told) Spec {
	s.FromApp = false
	s.Off = s.Off || t.Off
	s.Weekly, s.Every, s.Cron = t.Weekly, t.Every, ""
	if s.TimeZone == "" {
		s.TimeZone = t.TimeZone
	}
	if len(s.Only) == 0 {
		s.Only = t.Only
	}
	return s
}

// Check says why a schedule cannot be, as a core.Error with CodeConfig and a
// hint, or nil. A schedule that is the application's is checked as far as it is
// known.
func (s Spec) Check() error { return unfinished() }

// Schedule is a compiled schedule. It never changes and may be used by several
// goroutines.
type Schedule struct{ spec Spec }

// Compile makes a schedule ready to be asked. Its time zone is the one it names,
// else appZone, else, when that is "", the machine's. The errors are those of
// Check, and one for a schedule that is the application's: Resolve it first.
func Compile(s Spec, appZone string) (*Schedule, error) { return nil, unfinished() }

// Keyed returns the schedule with its jitter drawn for key, so that jobs that
// are due together do not begin together. Package agenda keys schedules by their
// job's key.
func (s *Schedule) Keyed(key string) *Schedule { return s }

// Next returns the first due time after after, or the zero time when there is none.
func (s *Schedule) Next(after time.Time) time.Time { return time.Time{} }

// Last returns the last due time at or before now, or the zero time when there is none.
func (s *Schedule) Last(now time.Time) time.Time { return time.Time{} }

// Due returns the latest due time after since and not after now, and how many
// there are. It looks back ten years at most.
func (s *Schedule) Due(since, now time.Time) (latest time.Time, count int) { return time.Time{}, 0 }

// Interval returns the longest time between two due times in the weeks from
// from on, with the jitter: a backup is overdue when the newest is older than
// this and the time that a run takes. 0: never due.
func (s *Schedule) Interval(from time.Time) time.Duration { return 0 }

// PausedUntil returns the end of the pause in which now lies, or the zero time.
// Pauses that touch are one.
func (s *Schedule) PausedUntil(now time.Time) time.Time { return time.Time{} }

// Describe returns the schedule for people: "Mon-Fri 23:30 Europe/Paris".
func (s *Schedule) Describe() string { return "" }

// Fingerprint changes when the due times change.
func (s *Schedule) Fingerprint() string { return "" }

// Spec returns the schedule as it was written.
func (s *Schedule) Spec() Spec { return s.spec }

// ParseDays reads days of the week as iTop's settings have them: English names
// in any case with commas between them. It also takes the first three letters,
// and ranges: "mon-fri". The days come without repetition, Monday first. An
// empty text is an error: no days, which mean all, are not written at all.
func ParseDays(text string) ([]time.Weekday, error) { return nil, unfinished() }

// ParseDayList is ParseDays for a list.
func ParseDayList(names []string) ([]time.Weekday, error) { return nil, unfinished() }

// ParseClockTime reads a time of day, "23:30" or "7:05".
func ParseClockTime(text string) (ClockTime, error) { return ClockTime{}, unfinished() }

// ParsePause reads a pause: "08:00-18:00", "mon-fri 08:00-18:00",
// "saturday, sunday 22:00-24:00".
func ParsePause(text string) (Pause, error) { return Pause{}, unfinished() }

// ParseCron checks a cron expression and returns it with single blanks between
// its fields.
func ParseCron(expr string) (string, error) { return "", unfinished() }

func unfinished() error {
	return &core.Error{Code: core.CodeUnsupported, Message: "schedules are not finished"}
}
