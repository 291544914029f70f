package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/retention"
	"github.com/backstay/backstay/internal/schedule"
)

// items writes a list: the first line of each gets the dash.
func (w *entryWriter) items(key string, n int, write func(i int, in *entryWriter)) {
	if n == 0 {
		return
	}
	w.line("    " + key + ":")
	for i := range n {
		in := &entryWriter{}
		write(i, in)
		if in.err != nil && w.err == nil {
			w.err = in.err
		}
		lines := strings.TrimSuffix(in.b.String(), "\n")
		w.line("      - " + strings.ReplaceAll(lines, "\n", "\n        "))
	}
}

func (w *entryWriter) schedules(list []schedule.Spec) {
	list = slices.DeleteFunc(slices.Clone(list), func(s schedule.Spec) bool { return s.Broken != "" })
	w.items("schedule", len(list), func(i int, in *entryWriter) {
		s := list[i]
		switch {
		case s.Weekly != nil:
			in.clock("time: ", s.Weekly.At)
			in.list("week_days: ", dayNames(s.Weekly.Days))
		case s.Cron != "":
			in.line("cron: " + strconv.Quote(s.Cron))
		case s.Every != 0:
			in.line("every: " + durationText(s.Every))
		case s.FromApp:
			in.line("from_app: true")
		}
		if s.Off {
			in.line("enabled: false")
		}
		in.text("name: ", s.Name)
		in.text("timezone: ", s.TimeZone)
		if s.Jitter != 0 {
			in.line("jitter: " + durationText(s.Jitter))
		}
		if s.NoCatch {
			in.line("catch_up: false")
		}
		if len(s.Pauses) > 0 {
			in.line("pause:")
		}
		for _, p := range s.Pauses {
			in.clock("  - from: ", p.From)
			in.clock("    to: ", p.To)
			in.list("    days: ", dayNames(p.Days))
		}
		in.list("only: ", componentNames(s.Only))
	})
}

func (w *entryWriter) retention(list []retention.Policy) {
	w.items("retention", len(list), func(i int, in *entryWriter) {
		p := list[i]
		for _, rule := range []struct {
			key string
			n   int
		}{
			{"count", p.Count}, {"days", p.Days}, {"hourly", p.Hourly}, {"daily", p.Daily}, {"weekly", p.Weekly}, {"monthly", p.Monthly}, {"yearly", p.Yearly},
		} {
			if rule.n != 0 {
				in.line(rule.key + ": " + strconv.Itoa(rule.n))
			}
		}
		if p.FromApp {
			in.line("from_app: true")
		}
		if p.Hold {
			in.line("hold: true")
		}
		in.list("components: ", componentNames(p.Components))
	})
}

func (w *entryWriter) clock(key string, at schedule.ClockTime) {
	w.line(key + fmt.Sprintf(`"%02d:%02d"`, at.Hour, at.Minute))
}

func dayNames(days []time.Weekday) []string {
	names := make([]string, len(days))
	for i, d := range days {
		names[i] = strings.ToLower(d.String())
	}
	return names
}

func componentNames(list []core.Component) []string {
	names := make([]string, len(list))
	for i, c := range list {
		names[i] = string(c)
	}
	return names
}

// durationText writes what a duration is read from; less than a minute is lost.
func durationText(d time.Duration) string {
	text := ""
	for _, unit := range []struct {
		name string
		is   time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}} {
		if n := d / unit.is; n > 0 {
			text += strconv.Itoa(int(n)) + unit.name
			d -= n * unit.is
		}
	}
	if text == "" {
		return "0"
	}
	return text
}
