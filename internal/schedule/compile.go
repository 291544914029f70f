package schedule

import (
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Schedule is a compiled schedule. It never changes and may be used by several
// goroutines at once. Its times are whole seconds, in its time zone.
type Schedule struct {
	spec Spec
	zone *time.Location

	every, anchor int64 // seconds; every is 0 when pattern says what is due
	pattern       pattern
	ongoing       uint32 // the pattern's hours that go on in an hour that is shown twice
	expression    string // cron

	jitter int64 // seconds
	seed   uint64
}

// Compile makes a schedule ready to be asked. Its time zone is the one it names,
// else appZone, else, when that is "", the machine's. The errors are those of
// Check, and one for a schedule that is the application's: Resolve it first.
func Compile(s Spec, appZone string) (*Schedule, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if s.FromApp {
		return nil, &core.Error{Code: core.CodeConfig, Op: s.op(), Message: "it is the application's own, which was not read",
			Hint: "see what backstay doctor says of the application's settings, or give week_days and time, cron or every"}
	}
	name := s.TimeZone
	if name == "" {
		name = appZone
	}
	zone, err := loadZone(name)
	if err != nil {
		return nil, s.fail(err)
	}
	c := &Schedule{spec: s, zone: zone, jitter: int64(s.Jitter / time.Second), seed: seedOf("")}
	switch {
	case s.Weekly != nil:
		c.pattern = pattern{minutes: 1 << s.Weekly.At.Minute, hours: 1 << s.Weekly.At.Hour,
			dates: allDates, months: allMonths, days: dayMask(s.Weekly.Days)}
	case s.Cron != "":
		if c.pattern, c.expression, err = parseCron(s.Cron); err != nil {
			return nil, s.fail(err)
		}
	case s.Every != 0:
		c.every = int64(s.Every / time.Second)
		c.anchor = instantOf(zone, 0)
	}
	c.ongoing = c.pattern.ongoing()
	return c, nil
}

// Keyed returns the schedule with its jitter drawn for key, so that jobs that
// are due together do not begin together. Package agenda keys schedules by their
// jobs' keys; who wants to know what it will do has to use the same.
func (s *Schedule) Keyed(key string) *Schedule {
	keyed := *s
	keyed.seed = seedOf(key)
	return &keyed
}

// Spec returns the schedule as it was written.
func (s *Schedule) Spec() Spec { return s.spec }

// Zone returns the time zone that it goes by.
func (s *Schedule) Zone() *time.Location { return s.zone }

// Fingerprint changes when the due times change. Two schedules with the same
// fingerprint and key have the same due times.
func (s *Schedule) Fingerprint() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s jitter=%ds", s.rule(), s.zone, s.jitter))
}

// Describe returns the schedule for people: "Mon-Fri 23:30 Europe/Paris"; ""
// for one that is off and does not say when.
func (s *Schedule) Describe() string {
	var b strings.Builder
	if s.never() {
		return ""
	}
	b.WriteString(s.rule())
	if s.every == 0 || s.every%3600 != 0 {
		b.WriteByte(' ')
		b.WriteString(zoneName(s.zone))
	}
	if s.jitter > 0 {
		fmt.Fprintf(&b, ", up to %s later", formatDuration(s.spec.Jitter))
	}
	for i, p := range s.spec.Pauses {
		if i == 0 {
			b.WriteString(", not")
		} else {
			b.WriteString(" or")
		}
		if mask := dayMask(p.Days); mask != allDays {
			b.WriteByte(' ')
			b.WriteString(formatDays(mask))
		}
		fmt.Fprintf(&b, " %s-%s", p.From, p.To)
	}
	return b.String()
}

// never says that there are no due times: it is off and does not say when.
func (s *Schedule) never() bool { return s.every == 0 && s.pattern.hours == 0 }

// rule says when, without the zone.
func (s *Schedule) rule() string {
	switch {
	case s.never():
		return "never"
	case s.spec.Weekly != nil:
		return formatDays(dayMask(s.spec.Weekly.Days)) + " " + s.spec.Weekly.At.String()
	case s.every > 0:
		return "every " + formatDuration(s.spec.Every)
	}
	return "cron " + s.expression
}

// String returns "23:30".
func (c ClockTime) String() string { return fmt.Sprintf("%02d:%02d", c.Hour, c.Minute) }

// formatDays returns days as ParseDays reads them, in short: "Mon-Fri",
// "Mon, Wed", and "daily" for all.
func formatDays(mask uint8) string {
	if mask == allDays {
		return "daily"
	}
	var parts []string
	for i := 0; i < 7; i++ {
		if mask&(1<<weekOrder(i)) == 0 {
			continue
		}
		j := i
		for j+1 < 7 && mask&(1<<weekOrder(j+1)) != 0 {
			j++
		}
		first, last := weekOrder(i).String()[:3], weekOrder(j).String()[:3]
		switch j - i {
		case 0:
			parts = append(parts, first)
		case 1:
			parts = append(parts, first, last)
		default:
			parts = append(parts, first+"-"+last)
		}
		i = j
	}
	return strings.Join(parts, ", ")
}

// weekOrder returns the days from Monday (0) to Sunday (6).
func weekOrder(i int) time.Weekday { return time.Weekday((i + 1) % 7) }

// formatDuration returns "6h", "1h30m", "90s" without the zeroes that String has.
func formatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func zoneName(zone *time.Location) string {
	if zone == time.Local && zone.String() == "Local" {
		return "local time"
	}
	return zone.String()
}
