package schedule_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
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

// TestRandom: expressions that nobody would write, in zones whose clocks are
// changed in odd ways, around every change of two years.
func TestRandom(t *testing.T) {
	zones := []string{"Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "America/Santiago", "America/Havana",
		"Antarctica/Troll", "Asia/Kathmandu", "Atlantic/Azores", "Pacific/Chatham", "Asia/Gaza", "America/Sao_Paulo", "America/St_Johns"}
	r := rand.New(rand.NewPCG(7, 8))
	some := func(from, to, n int) []int {
		set := map[int]bool{}
		for range 1 + r.IntN(n) {
			set[from+r.IntN(to-from+1)] = true
		}
		return slices.Sorted(maps.Keys(set))
	}
	list := func(values []int) string {
		return strings.Join(strings.Fields(strings.Trim(fmt.Sprint(values), "[]")), ",")
	}
	for i := range 900 {
		zone := zones[i%len(zones)]
		location, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		minutes, hours, days := some(0, 59, 4), some(0, 23, 4), some(0, 6, 7)
		if i%2 == 0 { // the hours at which clocks are changed
			hours = some(0, 4, 4)
		}
		spec := schedule.Spec{TimeZone: zone, Cron: fmt.Sprintf("%s %s * * %s", list(minutes), list(hours), list(days))}
		in := func(values []int, v int) bool { return slices.Contains(values, v) }
		p := scheduletest.Policy{Name: spec.Cron, Spec: spec,
			Fits: func(m scheduletest.Minute) bool {
				return in(minutes, m.Minute) && in(hours, m.Hour) && in(days, int(m.Day))
			},
			Repeats: func(h int) bool { return in(hours, (h+1)%24) || in(hours, (h+23)%24) }}
		s := compile(t, spec)
		year := []int{2018, 2027, 2040}[i%3]
		for at := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() < year+1; at = at.Add(time.Hour) {
			_, before := at.In(location).Zone()
			_, after := at.Add(time.Hour).In(location).Zone()
			if before == after {
				continue
			}
			begin, end := at.Add(-50*time.Hour), at.Add(50*time.Hour)
			want := p.Dues(begin, end)
			var got []time.Time
			for due := s.Next(begin.Add(-time.Second)); due.Before(end); due = s.Next(due) {
				got = append(got, due.UTC())
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s around %s (-want +got):\n%s", s.Describe(), at, diff)
			}
			var back []time.Time
			for due := s.Last(end.Add(-time.Second)); !due.Before(begin); due = s.Last(due.Add(-time.Second)) {
				back = append(back, due.UTC())
			}
			slices.Reverse(back)
			if _, count := s.Due(begin.Add(-time.Second), end.Add(-time.Second)); count != len(want) || !cmp.Equal(want, back) {
				t.Fatalf("%s around %s: %d due, not %d; backwards %v", s.Describe(), at, count, len(want), back)
			}
		}
	}
}
