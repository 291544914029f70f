package schedule_test

import (
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/schedule"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at
		}
	}
	t.Fatalf("%q is not a time", text)
	return time.Time{}
}

func compile(t testing.TB, s schedule.Spec) *schedule.Schedule {
	t.Helper()
	c, err := schedule.Compile(s, "")
	if err != nil {
		t.Fatalf("%+v: %v", s, err)
	}
	return c
}

func weekly(t testing.TB, days, clock, zone string) schedule.Spec {
	t.Helper()
	at, err := schedule.ParseClockTime(clock)
	if err != nil {
		t.Fatal(err)
	}
	w := &schedule.Weekly{At: at}
	if days != "" {
		if w.Days, err = schedule.ParseDays(days); err != nil {
			t.Fatal(err)
		}
	}
	return schedule.Spec{Weekly: w, TimeZone: zone}
}

// TestITopVectors: the schedule of iTop's own scheduler, and the day of the year
// on which its time does not exist.
func TestITopVectors(t *testing.T) {
	const workdays = "monday, tuesday, wednesday, thursday, friday"
	for _, c := range []struct{ days, clock, after, want string }{
		{workdays, "23:30", "2027-03-01T23:29:59+01:00", "2027-03-01T23:30:00+01:00"},
		{workdays, "23:30", "2027-03-01T23:30:00+01:00", "2027-03-02T23:30:00+01:00"},
		{workdays, "23:30", "2027-03-05T23:31:00+01:00", "2027-03-08T23:30:00+01:00"},
		{"", "02:30", "2027-03-27T12:00:00+01:00", "2027-03-28T03:30:00+02:00"},
		{"sunday", "02:30", "2027-03-28T01:59:59+01:00", "2027-03-28T03:30:00+02:00"},
		{"sunday", "02:30", "2027-03-28T03:30:00+02:00", "2027-04-04T02:30:00+02:00"},
	} {
		s := compile(t, weekly(t, c.days, c.clock, "Europe/Paris"))
		if got := s.Next(at(t, c.after)).Format(time.RFC3339); got != c.want {
			t.Errorf("%s after %s: %s, want %s", s.Describe(), c.after, got, c.want)
		}
	}
}

// TestHourThatComesTwice: what is due by the hour goes on, and all else is due
// once, as the package says.
func TestHourThatComesTwice(t *testing.T) {
	for expr, want := range map[string]string{
		"30 2 * * *":     "02:30+02",
		"0,30 2 * * *":   "02:00+02 02:30+02",
		"0 */2 * * *":    "00:00+02 02:00+02 04:00+01",
		"0 1,2 * * *":    "01:00+02 02:00+02 02:00+01",
		"0 2,3 * * *":    "02:00+02 02:00+01 03:00+01",
		"0 0-4 * * *":    "00:00+02 01:00+02 02:00+02 02:00+01 03:00+01 04:00+01",
		"*/30 2-3 * * *": "02:00+02 02:30+02 02:00+01 02:30+01 03:00+01 03:30+01",
	} {
		s := compile(t, schedule.Spec{Cron: expr, TimeZone: "Europe/Paris"})
		var got []string
		for due := s.Next(at(t, "2027-10-30T23:59:59+02:00")); due.Before(at(t, "2027-10-31T05:00:00+01:00")); due = s.Next(due) {
			got = append(got, due.Format("15:04-07"))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s, want %s", expr, got, want)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	s := compile(b, schedule.Spec{Cron: "* * * * *", TimeZone: "Europe/Paris"})
	now := time.Unix(1800000000, 0)
	b.ReportAllocs()
	for b.Loop() {
		now = s.Next(now)
	}
}

func BenchmarkInterval(b *testing.B) {
	s := compile(b, schedule.Spec{Cron: "* * * * *", TimeZone: "Europe/Paris"})
	for b.Loop() {
		s.Interval(time.Unix(1800000000, 0))
	}
}

func BenchmarkDueTenYears(b *testing.B) {
	s := compile(b, schedule.Spec{Cron: "* * * * *", TimeZone: "Europe/Paris"})
	for b.Loop() {
		s.Due(time.Time{}, time.Unix(1800000000, 0))
	}
}
