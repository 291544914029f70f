package schedule_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/schedule"
)

func pause(t testing.TB, text string) schedule.Pause {
	t.Helper()
	p, err := schedule.ParsePause(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCheck: what cannot be is refused, with what to do, and never compiled.
func TestCheck(t *testing.T) {
	clock := schedule.Weekly{At: schedule.ClockTime{Hour: 23, Minute: 30}}
	for want, s := range map[string]schedule.Spec{
		"does not say when":                  {},
		"more than once: cron, every":        {Cron: "0 0 * * *", Every: time.Hour},
		"more than once: week_days and time": {Weekly: &clock, FromApp: true},
		"cron expression":                    {Cron: "mon"},
		"never be due":                       {Cron: "0 0 30 2 *"},
		`time zone "Europe/Pariss"`:          {Weekly: &clock, TimeZone: "Europe/Pariss"},
		`time zone "Local"`:                  {Weekly: &clock, TimeZone: "Local"},
		`time zone "../../etc/passwd"`:       {Weekly: &clock, TimeZone: "../../etc/passwd"},
		"jitter -1s is negative":             {Weekly: &clock, Jitter: -time.Second},
		"longer than a day":                  {Weekly: &clock, Jitter: 25 * time.Hour},
		"jitter 1.5s":                        {Weekly: &clock, Jitter: 1500 * time.Millisecond},
		"every 59s is too often":             {Every: 59 * time.Second},
		"every -1h is too often":             {Every: -time.Hour},
		"whole seconds":                      {Every: time.Hour + time.Millisecond},
		"no day 7":                           {Weekly: &schedule.Weekly{Days: []time.Weekday{7}}},
		"no time 24:00":                      {Weekly: &schedule.Weekly{At: schedule.ClockTime{Hour: 24}}},
		"the pause 08:00-08:00 is empty":     {Weekly: &clock, Pauses: []schedule.Pause{{From: schedule.ClockTime{Hour: 8}, To: schedule.ClockTime{Hour: 8}}}},
		"no time 24:01":                      {Weekly: &clock, Pauses: []schedule.Pause{{To: schedule.ClockTime{Hour: 24, Minute: 1}}}},
		"no minute of the week":              {Weekly: &clock, Pauses: []schedule.Pause{pause(t, "08:00-20:00"), pause(t, "20:00-08:00")}},
		"read schedule nightly: it does":     {Name: "nightly"},
	} {
		err := s.Check()
		if err == nil {
			t.Errorf("%s: no error", want)
			continue
		}
		wantInvalid(t, err, want)
		if c, err := schedule.Compile(s, "UTC"); err == nil || c != nil {
			t.Errorf("%s: compiled", want)
		}
	}
	for _, s := range []schedule.Spec{
		{Weekly: &clock}, {Cron: "@hourly"}, {Every: time.Minute}, {FromApp: true}, {Off: true, FromApp: true, Jitter: 24 * time.Hour}, {Off: true},
		{Weekly: &clock, Pauses: []schedule.Pause{pause(t, "00:00-12:00"), pause(t, "mon-sat 12:00-24:00")}},
	} {
		if err := s.Check(); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
	}
	_, err := schedule.Compile(schedule.Spec{FromApp: true}, "UTC")
	wantInvalid(t, err, "application's own")
	_, err = schedule.Compile(schedule.Spec{Weekly: &clock}, "Mars/Olympus")
	wantInvalid(t, err, "Mars/Olympus")
}

// TestResolve: an application's settings take the place of from_app, and are
// checked as what is written here is.
func TestResolve(t *testing.T) {
	s := schedule.Spec{Name: "app", FromApp: true, Jitter: time.Minute, TimeZone: "UTC"}
	told := schedule.Told{Weekly: &schedule.Weekly{At: schedule.ClockTime{Hour: 23, Minute: 30}}, TimeZone: "Europe/Paris", Only: []core.Component{core.ComponentDatabase}}
	r := s.Resolve(told)
	if c := compile(t, r); c.Describe() != "daily 23:30 UTC, up to 1m later" || r.Off || len(r.Only) != 1 {
		t.Errorf("%s: %+v", c.Describe(), r)
	}
	s.TimeZone = ""
	if c := compile(t, s.Resolve(told)); c.Describe() != "daily 23:30 Europe/Paris, up to 1m later" {
		t.Error(c.Describe())
	}
	if !s.Resolve(schedule.Told{Off: true, Every: time.Hour}).Off {
		t.Error("what the application has switched off is on")
	}
	if err := s.Resolve(schedule.Told{}).Check(); err == nil {
		t.Error("an application that says nothing is due")
	}
}

// TestOffWithoutTime: what is off and does not say when is never due.
func TestOffWithoutTime(t *testing.T) {
	s := compile(t, schedule.Spec{Off: true, Jitter: time.Minute, TimeZone: "UTC", Pauses: []schedule.Pause{pause(t, "08:00-18:00")}})
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	if next, last := s.Next(now), s.Last(now); !next.IsZero() || !last.IsZero() || s.Interval(now) != 0 || s.Describe() != "" {
		t.Errorf("next %s, last %s, interval %s, %q", next, last, s.Interval(now), s.Describe())
	}
	if latest, n := s.Due(now.AddDate(-20, 0, 0), now); n != 0 || !latest.IsZero() {
		t.Errorf("due %d, %s", n, latest)
	}
	if begins := s.Begins(now); !begins.IsZero() {
		t.Errorf("begins %s", begins)
	}
}

func TestDescribe(t *testing.T) {
	for want, s := range map[string]schedule.Spec{
		"Mon-Fri 23:30 Europe/Paris":       weekly(t, "mon-fri", "23:30", "Europe/Paris"),
		"daily 07:05 UTC":                  weekly(t, "", "7:05", "UTC"),
		"Mon, Wed, Sat, Sun 00:00 UTC":     weekly(t, "sun,sat,wed,mon", "00:00", "UTC"),
		"cron 0 3 * * 1-5 Asia/Kathmandu":  {Cron: "0  3 * * 1-5", TimeZone: "Asia/Kathmandu"},
		"every 6h":                         {Every: 6 * time.Hour, TimeZone: "UTC"},
		"every 1h30m UTC, up to 10m later": {Every: 90 * time.Minute, TimeZone: "UTC", Jitter: 10 * time.Minute},
		"every 24h, not Mon-Fri 08:00-18:00 or 22:00-24:00": {Every: 24 * time.Hour, TimeZone: "UTC",
			Pauses: []schedule.Pause{pause(t, "mon-fri 8:00-18:00"), pause(t, "22:00-24:00")}},
	} {
		if got := compile(t, s).Describe(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestInterval: how old the newest backup may be.
func TestInterval(t *testing.T) {
	jitter := weekly(t, "mon-fri", "23:30", "UTC")
	jitter.Jitter = 30 * time.Minute
	for _, c := range []struct {
		spec schedule.Spec
		from string
		want time.Duration
	}{
		{weekly(t, "mon-fri", "23:30", "Europe/Paris"), "2027-01-13 12:00:00", 72 * time.Hour},
		{weekly(t, "mon-fri", "23:30", "Europe/Paris"), "2027-10-27 12:00:00", 73 * time.Hour}, // the clocks go back on Sunday
		{weekly(t, "mon-fri", "23:30", "Europe/Paris"), "2027-01-16 12:00:00", 72 * time.Hour},
		{jitter, "2027-01-13 12:00:00", 72*time.Hour + 30*time.Minute},
		{weekly(t, "", "02:00", "UTC"), "2027-01-13 12:00:00", 24 * time.Hour},
		{schedule.Spec{Every: 7 * time.Hour, TimeZone: "UTC"}, "2027-01-13 12:00:00", 7 * time.Hour},
		{schedule.Spec{Cron: "*/5 * * * *", TimeZone: "UTC"}, "2027-01-13 12:00:00", 5 * time.Minute},
		{schedule.Spec{Cron: "*/5 8-17 * * 1-5", TimeZone: "UTC"}, "2027-01-13 12:00:00", 62*time.Hour + 5*time.Minute},
		{schedule.Spec{Cron: "@monthly", TimeZone: "UTC"}, "2027-02-13 12:00:00", 31 * 24 * time.Hour},
		{schedule.Spec{Cron: "@yearly", TimeZone: "UTC"}, "2027-02-13 12:00:00", 366 * 24 * time.Hour},
	} {
		s := compile(t, c.spec)
		if got := s.Interval(at(t, c.from)); got != c.want {
			t.Errorf("%s from %s: %s, want %s", s.Describe(), c.from, got, c.want)
		}
	}
}

// TestPausedUntil: when a pause ends, over midnight, over other pauses, and on
// days on which the clocks are changed.
func TestPausedUntil(t *testing.T) {
	for _, c := range []struct{ pauses, at, want string }{
		{"08:00-18:00", "2027-01-04T07:59:59+01:00", ""},
		{"08:00-18:00", "2027-01-04T08:00:00+01:00", "2027-01-04T18:00:00+01:00"},
		{"08:00-18:00", "2027-01-04T18:00:00+01:00", ""},
		{"fri 22:00-06:00", "2027-01-08T23:00:00+01:00", "2027-01-09T06:00:00+01:00"},
		{"fri 22:00-06:00", "2027-01-09T05:59:59+01:00", "2027-01-09T06:00:00+01:00"},
		{"fri 22:00-06:00", "2027-01-08T05:00:00+01:00", ""}, // the night before is Thursday's
		{"sat 00:00-24:00;sun 00:00-24:00;mon 00:00-07:00", "2027-01-09T12:00:00+01:00", "2027-01-11T07:00:00+01:00"},
		{"22:00-03:30", "2027-03-28T01:00:00+01:00", "2027-03-28T03:30:00+02:00"},
		{"22:00-02:30", "2027-03-28T01:00:00+01:00", "2027-03-28T03:30:00+02:00"}, // skipped
		{"02:15-02:45", "2027-10-31T02:20:00+02:00", "2027-10-31T02:45:00+02:00"}, // comes twice
	} {
		s := schedule.Spec{Every: time.Hour, TimeZone: "Europe/Paris"}
		for p := range strings.SplitSeq(c.pauses, ";") {
			s.Pauses = append(s.Pauses, pause(t, p))
		}
		got := ""
		if until := compile(t, s).PausedUntil(at(t, c.at)); !until.IsZero() {
			got = until.Format(time.RFC3339)
		}
		if got != c.want {
			t.Errorf("%s at %s: %q, want %q", c.pauses, c.at, got, c.want)
		}
	}
}

// TestBegins: what is due in a pause begins at its end, also when that is now;
// what was due before it has begun.
func TestBegins(t *testing.T) {
	for _, c := range []struct{ clock, pauses, at, want string }{
		{"02:00", "", "2027-01-04T01:00:00+01:00", "2027-01-04T02:00:00+01:00"},
		{"02:00", "", "2027-01-04T02:00:00+01:00", "2027-01-05T02:00:00+01:00"},
		{"09:00", "08:00-18:00", "2027-01-04T07:00:00+01:00", "2027-01-04T18:00:00+01:00"}, // before the pause
		{"09:00", "08:00-18:00", "2027-01-04T08:30:00+01:00", "2027-01-04T18:00:00+01:00"}, // in it, and not due yet
		{"09:00", "08:00-18:00", "2027-01-04T09:00:00+01:00", "2027-01-04T18:00:00+01:00"}, // due, and waits
		{"09:00", "08:00-18:00", "2027-01-04T17:59:59+01:00", "2027-01-04T18:00:00+01:00"},
		{"09:00", "08:00-18:00", "2027-01-04T18:00:00+01:00", "2027-01-05T18:00:00+01:00"}, // begun
		{"07:00", "08:00-18:00", "2027-01-04T12:00:00+01:00", "2027-01-05T07:00:00+01:00"}, // was due before it
		{"09:00", "mon 08:00-18:00", "2027-01-04T12:00:00+01:00", "2027-01-04T18:00:00+01:00"},
		{"09:00", "mon 08:00-18:00", "2027-01-04T19:00:00+01:00", "2027-01-05T09:00:00+01:00"},
		{"23:30", "22:00-24:00;00:00-06:00", "2027-01-05T01:00:00+01:00", "2027-01-05T06:00:00+01:00"}, // two that are one
		{"02:30", "22:00-05:00", "2027-03-28T04:00:00+02:00", "2027-03-28T05:00:00+02:00"},             // skipped, due at 03:30
	} {
		s := weekly(t, "", c.clock, "Europe/Paris")
		for p := range strings.SplitSeq(c.pauses, ";") {
			if p != "" {
				s.Pauses = append(s.Pauses, pause(t, p))
			}
		}
		if got := compile(t, s).Begins(at(t, c.at)).Format(time.RFC3339); got != c.want {
			t.Errorf("%s, not %s, at %s: %s, want %s", c.clock, c.pauses, c.at, got, c.want)
		}
	}
	jitter := weekly(t, "", "09:00", "UTC")
	jitter.Jitter, jitter.Pauses = 3*time.Hour, []schedule.Pause{pause(t, "08:00-10:00")}
	s := compile(t, jitter).Keyed("a")
	for now := at(t, "2027-01-01T00:00:00Z"); now.Before(at(t, "2027-01-20T00:00:00Z")); now = now.Add(13 * time.Minute) {
		if got := s.Begins(now); !got.After(now) || !s.PausedUntil(got).IsZero() {
			t.Fatalf("at %s it begins at %s", now, got)
		}
	}
}

// TestJitter: due times are put off, by the same whenever and wherever they are
// asked for, within bounds, in order, and differently by key.
func TestJitter(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	begin := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, s := range []schedule.Spec{
		weekly(t, "mon-fri", "23:30", "Europe/Paris"),
		{Every: 10 * time.Minute, TimeZone: "UTC"},
		{Cron: "*/7 2,5 * * *", TimeZone: "America/New_York"},
	} {
		plain := compile(t, s)
		s.Jitter = 45 * time.Minute // more than lies between some
		jittered := compile(t, s).Keyed("helpdesk")
		var dues []time.Time
		moved := 0
		for base := plain.Next(begin); len(dues) < 1000; base = plain.Next(base) {
			previous := base.Add(-time.Second) // before it, and after the one before it
			if len(dues) > 0 {
				previous = dues[len(dues)-1]
			}
			due := jittered.Next(previous)
			if due.Before(base) || due.Sub(base) > s.Jitter || !due.Before(plain.Next(base)) {
				t.Fatalf("%s: %s is put off until %s", s.Cron, base, due)
			}
			if !due.Equal(base) {
				moved++
			}
			dues = append(dues, due)
		}
		if moved < 900 {
			t.Errorf("%d of 1000 are put off", moved)
		}
		for range 2000 {
			i, j := r.IntN(1000), r.IntN(1000)
			i, j = min(i, j), max(i, j)
			latest, count := jittered.Due(dues[i], dues[j])
			if count != j-i || count > 0 && !latest.Equal(dues[j]) || !jittered.Last(dues[j].Add(time.Millisecond)).Equal(dues[j]) {
				t.Fatalf("due after %s until %s: %s, %d, not %d", dues[i], dues[j], latest, count, j-i)
			}
			if i > 0 && !jittered.Last(dues[i].Add(-time.Second)).Equal(dues[i-1]) {
				t.Fatalf("last before %s is not %s", dues[i], dues[i-1])
			}
		}
		offsets := map[time.Duration]bool{}
		base := plain.Next(begin)
		for i := range 200 {
			offsets[compile(t, s).Keyed(fmt.Sprint("app", i)).Next(base.Add(-time.Second)).Sub(base)] = true
		}
		if len(offsets) < 100 {
			t.Errorf("200 jobs are put off by %d different times", len(offsets))
		}
	}
	// A schedule that is read by another release must not move.
	s := weekly(t, "", "02:00", "UTC")
	s.Jitter = time.Hour
	if got := compile(t, s).Keyed("helpdesk").Next(begin).Format(time.TimeOnly); got != "02:57:43" {
		t.Errorf("helpdesk is due at %s", got)
	}
}

// TestFingerprint: it changes with the due times, and only with them.
func TestFingerprint(t *testing.T) {
	base := weekly(t, "mon-fri", "23:30", "Europe/Paris")
	same := weekly(t, "friday, mon,tue,wed,thu", "23:30", "Europe/Paris")
	same.NoCatch, same.Name, same.Pauses, same.Off = true, "nightly", []schedule.Pause{pause(t, "08:00-09:00")}, true
	if a, b := compile(t, base).Fingerprint(), compile(t, same).Fingerprint(); a != b {
		t.Errorf("%q and %q", a, b)
	}
	jitter := base
	jitter.Jitter = time.Minute
	var all []string
	for _, s := range []schedule.Spec{base, jitter, weekly(t, "mon-fri", "23:31", "Europe/Paris"), weekly(t, "mon-thu", "23:30", "Europe/Paris"), weekly(t, "mon-fri", "23:30", "UTC"),
		{Cron: "30 23 * * 1-5", TimeZone: "Europe/Paris"}, {Every: time.Hour, TimeZone: "UTC"}, {Every: time.Hour, TimeZone: "Europe/Paris"}, {Every: 2 * time.Hour, TimeZone: "UTC"}} {
		print := compile(t, s).Fingerprint()
		if slices.Contains(all, print) {
			t.Errorf("%q is not its own", print)
		}
		all = append(all, print)
	}
}

// TestFarAway: times at the ends of the calendar end, and do not hang.
func TestFarAway(t *testing.T) {
	for _, s := range []schedule.Spec{weekly(t, "", "02:30", "Europe/Paris"), {Every: time.Hour, TimeZone: "Europe/Paris"}, {Cron: "0 0 29 2 */7", TimeZone: "UTC"}} {
		c := compile(t, s)
		if next := c.Next(time.Date(9999, 12, 31, 23, 30, 0, 0, time.UTC)); !next.IsZero() {
			t.Errorf("%s: next is %s", c.Describe(), next)
		}
		if next := c.Next(time.Time{}); next.IsZero() || next.Year() > 41 {
			t.Errorf("%s: next of the year 1 is %s", c.Describe(), next)
		}
		if last := c.Last(time.Time{}.Add(-time.Hour)); !last.IsZero() {
			t.Errorf("%s: last is %s", c.Describe(), last)
		}
		if latest, count := c.Due(at(t, "2027-01-01 00:00:00"), at(t, "2026-01-01 00:00:00")); !latest.IsZero() || count != 0 {
			t.Errorf("%s: due backwards: %s, %d", c.Describe(), latest, count)
		}
		_, ten := c.Due(at(t, "2017-01-01 12:00:00"), at(t, "2027-01-01 12:00:00"))
		if _, all := c.Due(time.Time{}, at(t, "2027-01-01 12:00:00")); all < ten || all > ten+48 {
			t.Errorf("%s: %d in all years, %d in ten", c.Describe(), all, ten)
		}
	}
	leap := compile(t, schedule.Spec{Cron: "0 0 29 2 */7", TimeZone: "UTC"}) // a Sunday
	if got := leap.Next(at(t, "2080-01-01 00:00:00")).Format(time.DateOnly); got != "2088-02-29" {
		t.Errorf("next is %s", got)
	}
	if got := leap.Next(at(t, "2088-03-01 00:00:00")).Format(time.DateOnly); got != "2128-02-29" { // 2100 is none
		t.Errorf("next is %s", got)
	}
}
