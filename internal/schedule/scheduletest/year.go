// Package scheduletest works out when schedules are due in another way than
// package schedule does: it looks at every minute of the calendar and searches
// for the instants at which clocks show it. It is for the tests of schedule and
// of agenda. It promises to share no code with what it checks.
package scheduletest

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/schedule"
)

// Policy is a schedule and its rule in plain words.
type Policy struct {
	Name string
	Spec schedule.Spec
	// Fits says of a minute of the calendar whether it is due. nil: Step.
	Fits func(m Minute) bool
	// Repeats are the hours that are due again when they come twice.
	Repeats func(hour int) bool
	// Step is the time between due times from Anchor on.
	Step   time.Duration
	Anchor time.Time
}

// Minute is a minute of the calendar.
type Minute struct {
	Month, Date, Hour, Minute int
	Day                       time.Weekday
}

// Dues returns all due times from begin on and before end.
func (p Policy) Dues(begin, end time.Time) []time.Time {
	var dues []time.Time
	if p.Step > 0 {
		at := p.Anchor
		for !at.After(end) {
			if !at.Before(begin) && at.Before(end) {
				dues = append(dues, at.UTC())
			}
			at = at.Add(p.Step)
		}
		return dues
	}
	zone, err := time.LoadLocation(p.Spec.TimeZone)
	if err != nil {
		panic(err)
	}
	offsets := offsetsOf(zone, begin.AddDate(0, 0, -3), end.AddDate(0, 0, 3))
	// The calendar is walked in UTC, whose days all have 24 hours: what its
	// clock shows stands for what the zone's clocks show.
	for shown := begin.Add(-48 * time.Hour).Truncate(time.Minute); shown.Before(end.Add(48 * time.Hour)); shown = shown.Add(time.Minute) {
		m := Minute{int(shown.Month()), shown.Day(), shown.Hour(), shown.Minute(), shown.Weekday()}
		if !p.Fits(m) {
			continue
		}
		instants := showing(zone, offsets, shown)
		switch {
		case len(instants) == 0:
			instants = []time.Time{skipped(zone, offsets, shown)}
		case len(instants) > 1 && (p.Repeats == nil || !p.Repeats(m.Hour)):
			instants = instants[:1]
		}
		for _, at := range instants {
			if !at.Before(begin) && at.Before(end) {
				dues = append(dues, at)
			}
		}
	}
	slices.SortFunc(dues, time.Time.Compare)
	return slices.CompactFunc(dues, time.Time.Equal)
}

// offsetsOf collects the offsets that the zone has at any time of the stretch.
func offsetsOf(zone *time.Location, begin, end time.Time) []int {
	var offsets []int
	for at := begin; at.Before(end); at = at.Add(30 * time.Minute) {
		_, offset := at.In(zone).Zone()
		if !slices.Contains(offsets, offset) {
			offsets = append(offsets, offset)
		}
	}
	return offsets
}

// showing returns the instants at which the zone's clocks show what UTC's show
// at shown.
func showing(zone *time.Location, offsets []int, shown time.Time) []time.Time {
	var instants []time.Time
	for _, offset := range offsets {
		at := shown.Add(-time.Duration(offset) * time.Second)
		if _, there := at.In(zone).Zone(); there == offset {
			instants = append(instants, at)
		}
	}
	slices.SortFunc(instants, time.Time.Compare)
	return instants
}

// skipped walks back from a minute that is not shown to the last one that is,
// and lets the same time pass again from there: clocks that had not been changed
// would show it then.
func skipped(zone *time.Location, offsets []int, shown time.Time) time.Time {
	for back := time.Minute; ; back += time.Minute {
		if before := showing(zone, offsets, shown.Add(-back)); len(before) > 0 {
			return before[len(before)-1].Add(back)
		}
	}
}

// Policies returns twenty-odd schedules of many kinds.
func Policies() []Policy {
	clock := func(text string) schedule.ClockTime {
		hour, minute, _ := strings.Cut(text, ":")
		h, _ := strconv.Atoi(hour)
		m, _ := strconv.Atoi(minute)
		return schedule.ClockTime{Hour: h, Minute: m}
	}
	weekly := func(zone, at string, days ...time.Weekday) Policy {
		c := clock(at)
		return Policy{
			Name: "weekly " + at + " " + zone,
			Spec: schedule.Spec{TimeZone: zone, Weekly: &schedule.Weekly{Days: days, At: c}},
			Fits: func(m Minute) bool {
				return m.Hour == c.Hour && m.Minute == c.Minute && (len(days) == 0 || slices.Contains(days, m.Day))
			},
		}
	}
	cron := func(zone, expr string, fits func(m Minute) bool, repeats func(hour int) bool) Policy {
		return Policy{Name: expr + " " + zone, Spec: schedule.Spec{TimeZone: zone, Cron: expr}, Fits: fits, Repeats: repeats}
	}
	every := func(zone string, step time.Duration, anchor string) Policy {
		at, err := time.Parse(time.RFC3339, anchor)
		if err != nil {
			panic(err)
		}
		return Policy{Name: "every " + step.String() + " " + zone, Spec: schedule.Spec{TimeZone: zone, Every: step}, Step: step, Anchor: at}
	}
	always := func(int) bool { return true }
	work := []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday}
	return []Policy{
		weekly("Europe/Paris", "23:30", work...),
		weekly("Europe/Paris", "02:30"),
		weekly("Europe/London", "01:15", time.Sunday),
		weekly("America/New_York", "02:00"),
		weekly("America/Santiago", "00:00"), // its clocks are changed at midnight
		weekly("America/Havana", "00:30"),
		weekly("Australia/Lord_Howe", "02:10"), // by half an hour
		weekly("Australia/Lord_Howe", "01:45"),
		weekly("Africa/Casablanca", "02:45"), // around Ramadan
		weekly("Asia/Kathmandu", "05:45", time.Saturday, time.Wednesday),
		cron("Europe/Paris", "*/5 * * * *", func(m Minute) bool { return m.Minute%5 == 0 }, always),
		cron("Australia/Lord_Howe", "*/20 * * * *", func(m Minute) bool { return m.Minute%20 == 0 }, always),
		cron("Europe/Paris", "*/10 2 * * *", func(m Minute) bool { return m.Hour == 2 && m.Minute%10 == 0 }, nil),
		cron("Europe/Paris", "0 */2 * * *", func(m Minute) bool { return m.Hour%2 == 0 && m.Minute == 0 }, nil),
		cron("America/New_York", "15,45 1-5 * * *", func(m Minute) bool {
			return m.Hour >= 1 && m.Hour <= 5 && (m.Minute == 15 || m.Minute == 45)
		}, func(h int) bool { return h >= 1 && h <= 5 }),
		cron("Pacific/Auckland", "30 2 1,15 * 7", func(m Minute) bool { // either is enough
			return m.Hour == 2 && m.Minute == 30 && (m.Date == 1 || m.Date == 15 || m.Day == time.Sunday)
		}, nil),
		cron("Europe/Berlin", "0 3 */2 * mon", func(m Minute) bool { // both are needed
			return m.Hour == 3 && m.Minute == 0 && m.Date%2 == 1 && m.Day == time.Monday
		}, nil),
		cron("Atlantic/Azores", "0 0 31 * *", func(m Minute) bool { return m.Hour == 0 && m.Minute == 0 && m.Date == 31 }, nil),
		cron("America/Sao_Paulo", "@monthly", func(m Minute) bool { return m.Hour == 0 && m.Minute == 0 && m.Date == 1 }, nil),
		cron("UTC", "7 23,0 * * fri-sun", func(m Minute) bool {
			return m.Minute == 7 && (m.Hour == 23 || m.Hour == 0) && (m.Day == time.Sunday || m.Day >= time.Friday)
		}, always),
		every("Europe/Paris", 6*time.Hour, "1970-01-01T00:00:00+01:00"),
		every("Asia/Kathmandu", 7*time.Hour, "1970-01-01T00:00:00+05:30"), // its offset then
		every("UTC", 36*time.Hour, "1970-01-01T00:00:00Z"),
	}
}
