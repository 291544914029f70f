package text

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// style is how people of a language write numbers and times.
type style struct {
	decimal  string
	thousand string
	one      func(n int64) bool // whether n things are one thing to the grammar
	units    []string           // of bytes, by powers of 1000
	layout   string             // of a date and time, as package time has it
	zones    map[string]string  // names of zones that are others in this language
	now      string
	ago      [2]string // around a time that has passed
	until    [2]string // around one that comes
	spans    spans
}

// spans are words for spans of time: one, and several.
type spans struct{ second, minute, hour, day, month, year [2]string }

func english() style {
	return style{
		decimal: ".", thousand: ",",
		one:    func(n int64) bool { return n == 1 },
		units:  []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"},
		layout: "2006-01-02 15:04",
		now:    "just now", ago: [2]string{"", " ago"}, until: [2]string{"in ", ""},
		spans: spans{
			second: [2]string{"s", "s"}, minute: [2]string{"min", "min"}, hour: [2]string{"h", "h"},
			day: [2]string{"day", "days"}, month: [2]string{"month", "months"}, year: [2]string{"year", "years"},
		},
	}
}

func german() style {
	return style{
		decimal: ",", thousand: ".",
		one:    func(n int64) bool { return n == 1 },
		units:  []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"},
		layout: "02.01.2006 15:04",
		zones:  map[string]string{"CET": "MEZ", "CEST": "MESZ", "WET": "WEZ", "WEST": "WESZ", "EET": "OEZ", "EEST": "OESZ"},
		now:    "gerade eben", ago: [2]string{"vor ", ""}, until: [2]string{"in ", ""},
		// Both "vor" and "in" ask for the dative.
		spans: spans{
			second: [2]string{"Sek.", "Sek."}, minute: [2]string{"Min.", "Min."}, hour: [2]string{"Std.", "Std."},
			day: [2]string{"Tag", "Tagen"}, month: [2]string{"Monat", "Monaten"}, year: [2]string{"Jahr", "Jahren"},
		},
	}
}

func french() style {
	return style{
		decimal: ",", thousand: "\u202f",
		one:    func(n int64) bool { return n == 0 || n == 1 },
		units:  []string{"o", "ko", "Mo", "Go", "To", "Po", "Eo"},
		layout: "02/01/2006 15:04",
		now:    "à l’instant", ago: [2]string{"il y a ", ""}, until: [2]string{"dans ", ""},
		spans: spans{
			second: [2]string{"s", "s"}, minute: [2]string{"min", "min"}, hour: [2]string{"h", "h"},
			day: [2]string{"jour", "jours"}, month: [2]string{"mois", "mois"}, year: [2]string{"an", "ans"},
		},
	}
}

// Size writes bytes: "1.3 GB" (powers of 1000).
func (l *Language) Size(n int64) string {
	if n < 0 {
		return "-" + l.Size(-max(n, -math.MaxInt64))
	}
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " " + l.style.units[0]
	}
	value := float64(n)
	last := len(l.style.units) - 1
	for i := 1; ; i++ {
		value /= 1000
		// What would round to 1000 is 1.0 of the next unit.
		if value < 999.5 || i == last {
			digits := 0
			if value < 99.95 {
				digits = 1
			}
			return l.number(value, digits) + " " + l.style.units[i]
		}
	}
}

func (l *Language) number(value float64, digits int) string {
	return strings.Replace(strconv.FormatFloat(value, 'f', digits, 64), ".", l.style.decimal, 1)
}

// Count writes a number with its thousands apart.
func (l *Language) Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	first := 0
	if n < 0 {
		first = 1
	}
	for i := len(s) - 3; i > first; i -= 3 {
		s = s[:i] + l.style.thousand + s[i:]
	}
	return s
}

// Bytes writes bytes to the last one: "1,300,000,000 B".
func (l *Language) Bytes(n int64) string { return l.Count(n) + " " + l.style.units[0] }

// Duration writes how long something took: "340 ms", "2.3 s", "4 min 10 s",
// "3 h 4 min", "2 d 3 h".
func (l *Language) Duration(d time.Duration) string {
	day := " d "
	switch l.Tag {
	case "de":
		day = " T "
	case "fr":
		day = " j "
	}
	two := func(large, small time.Duration, between, end string) string {
		d = d.Round(small)
		return strconv.Itoa(int(d/large)) + between + strconv.Itoa(int(d%large/small)) + end
	}
	switch {
	case d < 0:
		return "-" + l.Duration(-max(d, -math.MaxInt64))
	case d < time.Second:
		return strconv.Itoa(int(d/time.Millisecond)) + " ms"
	case d < 59950*time.Millisecond:
		return l.number(d.Seconds(), 1) + " s"
	case d.Round(time.Second) < time.Hour:
		return two(time.Minute, time.Second, " min ", " s")
	case d.Round(time.Minute) < 24*time.Hour:
		return two(time.Hour, time.Minute, " h ", " min")
	default:
		return two(24*time.Hour, time.Hour, day, " h")
	}
}

// Ago writes how long ago t was, or how long it is until then: "3 h ago", "in 2 days".
func (l *Language) Ago(t, now time.Time) string {
	around, d := l.style.ago, now.Sub(t)
	if d < 0 {
		around, d = l.style.until, -max(d, -math.MaxInt64)
	}
	const day = 24 * time.Hour
	s := l.style.spans
	var (
		n    int64
		word [2]string
	)
	switch {
	case d < 10*time.Second:
		return l.style.now
	case d < time.Minute:
		n, word = int64(d/time.Second), s.second
	case d < time.Hour:
		n, word = int64(d/time.Minute), s.minute
	case d < 2*day: // "30 h" says more than "1 day"
		n, word = int64(d/time.Hour), s.hour
	case d < 60*day:
		n, word = int64(d/day), s.day
	case d < 2*365*day:
		n, word = int64(d/(30*day)), s.month
	default:
		n, word = int64(d/(365*day)), s.year
	}
	form := word[1]
	if n == 1 {
		form = word[0]
	}
	return around[0] + l.Count(n) + " " + form + around[1]
}

// Time writes a date and time of day to the minute with the zone: "2026-11-23 14:05 CET".
func (l *Language) Time(t time.Time, zone *time.Location) string {
	t = t.In(zone)
	return t.Format(l.style.layout) + " " + l.zone(t)
}

// Exactly is Time to the second.
func (l *Language) Exactly(t time.Time, zone *time.Location) string {
	t = t.In(zone)
	return t.Format(l.style.layout+":05") + " " + l.zone(t)
}

// Date writes a day: "2026-11-23".
func (l *Language) Date(t time.Time, zone *time.Location) string {
	layout, _, _ := strings.Cut(l.style.layout, " ")
	return t.In(zone).Format(layout)
}

// zone names t's zone. Many have no name but their distance from UTC.
func (l *Language) zone(t time.Time) string {
	name, _ := t.Zone()
	if strings.HasPrefix(name, "+") || strings.HasPrefix(name, "-") {
		return "UTC" + name
	}
	if other, ok := l.style.zones[name]; ok {
		return other
	}
	return name
}

// Spans are what Ago is made of, for a script that lets times grow old: one and
// several of each span, from seconds to years, as "s|s;min|min;…"; now; the
// texts around a span, as "{0} ago"; and the units of bytes.
func (l *Language) Spans() (spans, now, ago, until, units string) {
	s := l.style.spans
	var pairs []string
	for _, pair := range [][2]string{s.second, s.minute, s.hour, s.day, s.month, s.year} {
		pairs = append(pairs, pair[0]+"|"+pair[1])
	}
	around := func(a [2]string) string { return a[0] + "{0}" + a[1] }
	return strings.Join(pairs, ";"), l.style.now, around(l.style.ago), around(l.style.until), strings.Join(l.style.units, " ")
}
