package schedule_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/schedule"
	"github.com/backstay/backstay/internal/schedule/scheduletest"
)

// TestYear: a year of every policy, forwards, backwards and counted, against an
// independent calculation.
func TestYear(t *testing.T) {
	begin, end := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2028, 1, 2, 0, 0, 0, 0, time.UTC)
	for _, p := range scheduletest.Policies() {
		t.Run(p.Name, func(t *testing.T) { checkDues(t, p, begin, end) })
	}
}

// TestOddChanges: days on which much of the clock or of the calendar is missing.
func TestOddChanges(t *testing.T) {
	weekly := func(zone string, hour, minute int) scheduletest.Policy {
		return scheduletest.Policy{Name: zone,
			Spec: schedule.Spec{TimeZone: zone, Weekly: &schedule.Weekly{At: schedule.ClockTime{Hour: hour, Minute: minute}}},
			Fits: func(m scheduletest.Minute) bool { return m.Hour == hour && m.Minute == minute }}
	}
	hourly := func(zone string) scheduletest.Policy {
		return scheduletest.Policy{Name: "hourly " + zone, Spec: schedule.Spec{TimeZone: zone, Cron: "@hourly"},
			Fits: func(m scheduletest.Minute) bool { return m.Minute == 0 }, Repeats: func(int) bool { return true }}
	}
	for _, c := range []struct {
		policy scheduletest.Policy
		year   int
	}{
		{weekly("Pacific/Apia", 23, 30), 2011},      // without the 30th of December
		{hourly("Pacific/Apia"), 2011},              //
		{weekly("America/Sao_Paulo", 0, 0), 2018},   // without midnight on one day, with two on another
		{weekly("America/Sao_Paulo", 23, 30), 2018}, //
		{weekly("Asia/Pyongyang", 23, 45), 2018},    // moved by half an hour for good
		{weekly("Europe/Paris", 2, 30), 2040},       // beyond what the zone's file lists, in a leap year
		{hourly("America/New_York"), 2040},
		{weekly("Africa/Casablanca", 2, 30), 2040},
		{weekly("Antarctica/Troll", 1, 30), 2027}, // by two hours
		{hourly("Antarctica/Troll"), 2027},
	} {
		t.Run(c.policy.Name, func(t *testing.T) {
			checkDues(t, c.policy, time.Date(c.year, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(c.year+1, 1, 10, 0, 0, 0, 0, time.UTC))
		})
	}
}

func checkDues(t *testing.T, p scheduletest.Policy, begin, end time.Time) {
	t.Helper()
	want := p.Dues(begin, end)
	if len(want) < 5 {
		t.Fatalf("only %d due times to compare with", len(want))
	}
	s := compile(t, p.Spec)
	var forwards []time.Time
	for at := s.Next(begin.Add(-time.Second)); !at.IsZero() && at.Before(end); at = s.Next(at) {
		forwards = append(forwards, at.UTC())
		if len(forwards) > 1 && !at.After(forwards[len(forwards)-2]) {
			t.Fatalf("due %s is not after the one before", at)
		}
	}
	if diff := cmp.Diff(want, forwards); diff != "" {
		t.Fatalf("next (-want +got):\n%.2000s", diff)
	}
	i := len(want)
	for at := s.Last(end.Add(-time.Second)); !at.Before(begin); at = s.Last(at.Add(-time.Second)) {
		i--
		if i < 0 || !want[i].Equal(at) {
			t.Fatalf("last gives %s at place %d", at, i)
		}
	}
	if i != 0 {
		t.Fatalf("last stops %d early", i)
	}
	// Between every so many due times, and a second to either side of them.
	step := max(len(want)/300, 1)
	for from := 0; from < len(want); from += step {
		to := min(from+step*7, len(want)-1)
		for _, c := range []struct {
			since, now time.Time
			count      int
		}{
			{want[from], want[to], to - from},
			{want[from].Add(-time.Second), want[to], to - from + 1},
			{want[from], want[to].Add(-time.Nanosecond), max(to-from-1, 0)},
			{want[0].Add(-time.Second), want[to], to + 1},
		} {
			latest, count := s.Due(c.since, c.now)
			if count != c.count || (count > 0 && latest.After(c.now)) || (c.now.Equal(want[to]) && count > 0 && !latest.Equal(want[to])) {
				t.Fatalf("due in (%s, %s]: %d, latest %s; want %d", c.since, c.now, count, latest, c.count)
			}
		}
	}
}
