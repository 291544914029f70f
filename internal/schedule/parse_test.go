package schedule_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/schedule"
)

// wantInvalid checks that err is one that a person can act on, and says text.
func wantInvalid(t *testing.T, err error, text string) {
	t.Helper()
	var e *core.Error
	if !errors.As(err, &e) || core.CodeOf(err) != core.CodeConfig || core.HintOf(err) == "" {
		t.Errorf("error %v: code %q, hint %q", err, core.CodeOf(err), core.HintOf(err))
		return
	}
	if !strings.Contains(err.Error(), text) {
		t.Errorf("error %q does not say %q", err, text)
	}
}

func TestParseDays(t *testing.T) {
	for text, want := range map[string]string{
		"monday, tuesday, wednesday, thursday, friday": "Monday Tuesday Wednesday Thursday Friday",
		"monday, Tuesday":        "Monday Tuesday",
		" SUNDAY ,monday,sunday": "Monday Sunday",
		"sat":                    "Saturday",
		"mon-Wed":                "Monday Tuesday Wednesday",
		"fri - mon":              "Monday Friday Saturday Sunday",
		"mon-sun":                "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
		"wed-wed":                "Wednesday",
	} {
		days, err := schedule.ParseDays(text)
		if got := strings.Trim(fmt.Sprint(days), "[]"); err != nil || got != want {
			t.Errorf("%q: %s, %v; want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"mondya":          "monday", // letters swapped
		"monday, tuseday": "is it tuesday?",
		"Wensday":         "is it wednesday?",
		"thirsday":        "is it thursday?",
		"freitag":         `"freitag" is not a day of the week`,
		"lundi":           `"lundi" is not`,
		"":                "no day is named",
		" ":               "no day is named",
		"monday,":         "between two commas",
		"monday,,friday":  "between two commas",
		"monday tuesday":  "is not a day",
		"monday;tuesday":  "is not a day",
		"mon-":            "is not a day",
		"mon-wed-fri":     "is not a day",
		"1":               "is not a day",
		"daily":           "is not a day",
	} {
		days, err := schedule.ParseDays(text)
		if err == nil {
			t.Errorf("%q: %v", text, days)
			continue
		}
		wantInvalid(t, err, want)
	}
	if _, err := schedule.ParseDayList(nil); err == nil {
		t.Error("an empty list is no error")
	}
	if days, err := schedule.ParseDayList([]string{"Friday", "mon"}); err != nil || len(days) != 2 || days[0] != time.Monday {
		t.Errorf("list: %v, %v", days, err)
	}
}

func TestParseClockTime(t *testing.T) {
	for text, want := range map[string]schedule.ClockTime{"23:30": {Hour: 23, Minute: 30}, "00:00": {}, "7:05": {Hour: 7, Minute: 5}, " 07:59 ": {Hour: 7, Minute: 59}} {
		if got, err := schedule.ParseClockTime(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "24:00", "23:60", "23", "23:5", "2330", "1410", "-1:30", "+1:30", "23:30:00", "11:30 pm", "٢٣:٣٠", "23 :30", "123:30", "a:b", ":", "0x1:00"} {
		if got, err := schedule.ParseClockTime(text); err == nil {
			t.Errorf("%q is %v", text, got)
		} else {
			wantInvalid(t, err, "is not a time of day")
		}
	}
}

func TestParsePause(t *testing.T) {
	clock := func(h, m int) schedule.ClockTime { return schedule.ClockTime{Hour: h, Minute: m} }
	for text, want := range map[string]schedule.Pause{
		"08:00-18:00":            {From: clock(8, 0), To: clock(18, 0)},
		"mon,tue 22:00-6:00":     {Days: []time.Weekday{time.Monday, time.Tuesday}, From: clock(22, 0), To: clock(6, 0)},
		"sat, sun 00:00-24:00":   {Days: []time.Weekday{time.Saturday, time.Sunday}, From: clock(0, 0), To: clock(24, 0)},
		" saturday  7:30-24:00 ": {Days: []time.Weekday{time.Saturday}, From: clock(7, 30), To: clock(24, 0)},
	} {
		got, err := schedule.ParsePause(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", text, err, diff)
		}
	}
	for _, text := range []string{"", "08:00", "08:00-08:00", "08:00-25:00", "mondy 08:00-18:00", "24:00-08:00", "08:00 - 18:00", "mon-fri"} {
		if got, err := schedule.ParsePause(text); err == nil {
			t.Errorf("%q is %v", text, got)
		} else {
			wantInvalid(t, err, "")
		}
	}
}

func TestParseCron(t *testing.T) {
	for text, want := range map[string]string{
		" 30  23 *\t* 1-5 ":           "30 23 * * 1-5",
		"@daily":                      "@daily",
		"*/15 8-18 * jan,DEC MON-fri": "*/15 8-18 * jan,DEC MON-fri",
		"0 0 29 2 *":                  "0 0 29 2 *", // every four years
		"0 0 31 2,3 *":                "0 0 31 2,3 *",
		"0 0 30 2 1":                  "0 0 30 2 1", // Mondays in February
		"0 */24 ? * 7":                "0 */24 ? * 7",
	} {
		if got, err := schedule.ParseCron(text); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":                          "0 fields",
		"* * * *":                   "4 fields",
		"0 0 * * * *":               "6 fields",
		"60 * * * *":                `"60" is not a minute`,
		"* 24 * * *":                `"24" is not a hour`,
		"* * 0 * *":                 "day of the month",
		"* * * 13 *":                "month",
		"* * * * 8":                 "day of the week",
		"5-1 * * * *":               "minute",
		"*/0 * * * *":               "minute",
		"*/90 * * * *":              "past the minute",
		"1,,2 * * * *":              "minute",
		", * * * *":                 "minute",
		"*-5 * * * *":               "minute",
		"1-2-3 * * * *":             "minute",
		"+5 * * * *":                "minute",
		"0 0 30 2 *":                "never be due",
		"0 0 31 4,6,9,11 *":         "never be due",
		"@reboot":                   "short forms",
		"@every 5m":                 "not a cron expression",
		"TZ=Europe/Paris 0 0 * * *": "names a time zone",
		"CRON_TZ=UTC":               "names a time zone",
		"TZ=":                       "names a time zone",
		"0 0 * * monday":            "day of the week",
		"0 0 L * *":                 "day of the month",
		"0 0 * * 1#2":               "day of the week",
	} {
		got, err := schedule.ParseCron(text)
		if err == nil {
			t.Errorf("%q is %q", text, got)
			continue
		}
		wantInvalid(t, err, want)
	}
}

// TestCronSundays: all the ways to write a Sunday.
func TestCronSundays(t *testing.T) {
	for expr, want := range map[string]string{
		"0 0 * * 7": "S", "0 0 * * 0": "S", "0 0 * * sun": "S", "0 0 * * 7-7": "S",
		"0 0 * * 5-7": "S56", "0 0 * * fri-sun": "S56", "0 0 * * 1-7": "S123456", "0 0 * * 1-7/2": "S135", "0 0 * * 2-7/2": "246",
		"0 0 * * 0-7": "S123456", "0 0 * * sun-tue": "S12", "0 0 * * 7,3": "S3", "0 0 * * */7": "S", "0 0 * * 0-3": "S123", "0 0 * * sat-7": "S6",
	} {
		s := compile(t, schedule.Spec{Cron: expr, TimeZone: "UTC"})
		got := ""
		for day := 3; day < 10; day++ { // 2027-01-03 is a Sunday
			if midnight := time.Date(2027, 1, day, 0, 0, 0, 0, time.UTC); s.Last(midnight).Equal(midnight) {
				got += strings.Replace(fmt.Sprint(day-3), "0", "S", 1)
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", expr, got, want)
		}
	}
}

func FuzzParseDays(f *testing.F) {
	for _, seed := range []string{"monday, Tuesday", "mon-fri", "mondya", ",", "sun-sat,wed"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		days, err := schedule.ParseDays(text)
		if err != nil {
			wantInvalid(t, err, "")
			return
		}
		names := make([]string, len(days))
		for i, d := range days {
			names[i] = d.String()
		}
		again, err := schedule.ParseDays(strings.Join(names, ", "))
		if diff := cmp.Diff(days, again); err != nil || diff != "" || len(days) == 0 || len(days) > 7 {
			t.Errorf("%q: %v, then %v %v", text, days, again, err)
		}
		s := compile(t, schedule.Spec{Weekly: &schedule.Weekly{Days: days}, TimeZone: "UTC"})
		short := strings.TrimSuffix(s.Describe(), " 00:00 UTC")
		if len(days) < 7 {
			if again, err := schedule.ParseDays(short); err != nil || !cmp.Equal(days, again) {
				t.Errorf("%v is described as %q: %v, %v", days, short, again, err)
			}
		} else if short != "daily" {
			t.Errorf("all days are described as %q", short)
		}
	})
}

func FuzzParseClockTime(f *testing.F) {
	for _, seed := range []string{"23:30", "7:05", "24:00", "", "1:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := schedule.ParseClockTime(text)
		if err != nil {
			wantInvalid(t, err, "")
			return
		}
		if again, err := schedule.ParseClockTime(c.String()); err != nil || again != c {
			t.Errorf("%q: %v, then %v %v", text, c, again, err)
		}
	})
}

func FuzzParsePause(f *testing.F) {
	for _, seed := range []string{"08:00-18:00", "mon-fri 22:00-24:00", "-", " - "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := schedule.ParsePause(text)
		if err != nil {
			wantInvalid(t, err, "")
			return
		}
		if err := (schedule.Spec{Every: time.Hour, Pauses: []schedule.Pause{p}}).Check(); err != nil && !strings.Contains(err.Error(), "no minute of the week") {
			t.Errorf("%q: %+v: %v", text, p, err)
		}
	})
}

// FuzzParseCron: whatever is accepted is due some day, reads the same when it is
// written again, and asked in two ways gives the same.
func FuzzParseCron(f *testing.F) {
	for _, seed := range []string{"30 23 * * 1-5", "*/5 * * * *", "0 0 29 2 */7", "@daily", "0 0 30 2 *", "TZ=x", "5-59/9 */3 1,31 jan-dec 5-7", "? ? ? ? ?", "0 2-3 * * *"} {
		f.Add(seed)
	}
	now := time.Date(2027, 3, 1, 12, 34, 56, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		normal, err := schedule.ParseCron(text)
		if err != nil {
			wantInvalid(t, err, "")
			return
		}
		if again, err := schedule.ParseCron(normal); err != nil || again != normal {
			t.Fatalf("%q: %q, then %q %v", text, normal, again, err)
		}
		s := compile(t, schedule.Spec{Cron: text, TimeZone: "Europe/Paris"})
		next := s.Next(now)
		if !next.After(now) || !s.Last(next).Equal(next) || !s.Last(next.Add(59*time.Second)).Equal(next) && !s.Next(next).Before(next.Add(time.Minute)) {
			t.Errorf("%q: next %s, last of it %s", text, next, s.Last(next))
		}
		if latest, count := s.Due(now, next); count != 1 && next.Sub(now) < 365*24*time.Hour || count == 1 && !latest.Equal(next) {
			t.Errorf("%q: due until %s: %s, %d", text, next, latest, count)
		}
	})
}
