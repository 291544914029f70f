package config

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/config/strict"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/schedule"
	"github.com/goccy/go-yaml/ast"
)

// whenKeys are the ways to say when, each with the keys that belong to it.
func whenKeys() [][]string {
	return [][]string{{"time", "week_days"}, {"cron"}, {"every"}, {"from_app"}}
}

// scheduleFields are those of a schedule of backups, or of something else that
// the application has no say in.
func scheduleFields(s *schedule.Spec, backups bool) []strict.Field {
	weekly := func() *schedule.Weekly {
		if s.Weekly == nil {
			s.Weekly = &schedule.Weekly{}
		}
		return s.Weekly
	}
	var fields []strict.Field
	if backups {
		name := strict.TextField("name", &s.Name, func(text string) (wrong, hint string) {
			if !core.ValidAppName(text) {
				return "cannot be " + strconv.Quote(strict.Shown(text)), "a name has lower-case letters, digits and dashes, at most 63, and begins with a letter or digit"
			}
			return "", ""
		})
		fields = append(fields, name.Describe("tells the schedules of an app apart"))
	}
	fields = append(fields,
		strict.NotField("enabled", &s.Off).Describe("false: nothing is due; true when not given"),
		daysField("week_days", func(days []time.Weekday) { weekly().Days = days }).Describe("the days for time: monday, tuesday or mon-fri; every day when not given"),
		parsedField("time", schedule.ParseClockTime, func(at schedule.ClockTime) { weekly().At = at }).Describe("time of day: 23:30"),
		parsedField("cron", schedule.ParseCron, func(expr string) { s.Cron = expr }).Describe(`five fields, as in "30 23 * * 1-5", or @daily and the like`),
		everyField("every", &s.Every).Describe("so often: 6h, 30m, 1d"),
	)
	if backups {
		fields = append(fields, strict.BoolField("from_app", &s.FromApp).Describe("as the application's own settings say"))
	}
	fields = append(fields,
		strict.TextField("timezone", &s.TimeZone, timeZone).Describe("whose time it is: Europe/Paris; that of the application or the machine when not given"),
		strict.DurationField("jitter", &s.Jitter).Describe("put off by up to so long, always by the same"),
		strict.NotField("catch_up", &s.NoCatch).Describe("whether a run that was missed while nothing ran is caught up; true when not given"),
		pausesField("pause", &s.Pauses).Describe("windows in which nothing begins"),
	)
	if backups {
		fields = append(fields, componentsField("only", &s.Only).Describe("just these components"))
	}
	return fields
}

// readSchedule reads one schedule over s, and returns where its keys stand. A way
// to say when that it gives replaces the one that s has.
func readSchedule(r *strict.Reader, n ast.Node, what string, own strict.Position, s schedule.Spec, backups bool) (schedule.Spec, map[string]strict.Position, bool) {
	timed := s.Weekly != nil
	if timed {
		w := *s.Weekly
		s.Weekly = &w
	}
	before := r.Problems()
	at, ok := r.Section(n, what, scheduleFields(&s, backups))
	if !ok || r.Problems() > before {
		return s, at, false
	}
	when, by := -1, own
	for i, keys := range whenKeys() {
		for _, key := range keys {
			given, ok := at[key]
			if !ok || key == "from_app" && !s.FromApp || when == i {
				continue
			}
			if when >= 0 {
				r.Problem(given, "keep one of the two", "%q says twice when: by %q and by %q", what, whenKeys()[when][0], key)
				return s, at, false
			}
			when, by = i, given
		}
	}
	if when >= 0 {
		kept := s
		s.Weekly, s.Cron, s.Every, s.FromApp = nil, "", 0, false
		switch when {
		case 0:
			s.Weekly = kept.Weekly
		case 1:
			s.Cron = kept.Cron
		case 2:
			s.Every = kept.Every
		case 3:
			s.FromApp = true
		}
	}
	_, hasTime := at["time"]
	switch {
	case when == 0 && !timed && !hasTime:
		r.Problem(by, "add time:, such as time: 23:30", "%q has %q and no %q", what, "week_days", "time")
		return s, at, false
	case when < 0 && s.Weekly == nil && s.Cron == "" && s.Every == 0 && !s.FromApp && !s.Off:
		hint := "add time:, cron: or every:"
		if backups {
			hint = "add time:, cron:, every: or from_app: true; no schedule at all is schedule: []"
		}
		r.Problem(own, hint, "%q does not say when", what)
		return s, at, false
	}
	if err := s.Check(); err != nil {
		hint := core.HintOf(err)
		if inner := errors.Unwrap(err); inner != nil { // without the operation: the place says which schedule it is
			err = inner
		}
		r.Problem(blamed(s, at, by), hint, "%q: %v", what, err)
		return s, at, false
	}
	return s, at, true
}

// blamed returns where the key stands without which the schedule would be
// right, and by where there is none.
func blamed(s schedule.Spec, at map[string]strict.Position, by strict.Position) strict.Position {
	for key, without := range map[string]func(s *schedule.Spec){
		"jitter": func(s *schedule.Spec) { s.Jitter = 0 },
		"pause":  func(s *schedule.Spec) { s.Pauses = nil },
	} {
		probe := s
		without(&probe)
		if given, ok := at[key]; ok && probe.Check() == nil {
			return given
		}
	}
	return by
}

// schedulesField reads one schedule or a list of them. One alone changes what
// `defaults` say field by field where they have one schedule, and switches all
// of them off or on where it says nothing else; a list replaces them.
func schedulesField(into *[]schedule.Spec) strict.Field {
	return strict.Field{
		Key: "schedule", Nested: func() map[string]any {
			return strict.OneOrManySchema(strict.ObjectSchema(scheduleFields(&schedule.Spec{}, true)))
		},
		Read: func(r *strict.Reader, own strict.Position, n ast.Node) {
			first := map[string]strict.Position{}
			var list []schedule.Spec
			for _, item := range r.OneOrMany(n, "schedule") {
				var s schedule.Spec
				start, before := own, r.Problems()
				switch {
				case item.Listed:
					start = r.StartOf(item.Value)
				case len(*into) == 1:
					s = (*into)[0]
				case len(*into) > 1 && switchSchedules(r, item.Value, *into):
					return
				}
				s, at, ok := readSchedule(r, item.Value, "schedule", start, s, true)
				if why := r.Excuse(before, "schedule"); why != "" {
					list = append(list, schedule.Spec{Broken: why})
					continue
				}
				if !ok {
					continue
				}
				if item.Listed && s.Name == "" {
					s.Name = strings.ReplaceAll(componentsText(s.Only), ", ", "-")
				}
				if named, given := at["name"]; given {
					start = named
				}
				if earlier, twice := first[s.Name]; twice {
					r.Problem(start, "give each a name of its own, with name:", "there are two schedules%s, the first on line %d", called(s.Name), earlier.Line)
					continue
				}
				first[s.Name] = start
				list = append(list, s)
			}
			*into = list
		},
	}
}

// switchSchedules changes all schedules where the mapping has no key but `enabled`.
func switchSchedules(r *strict.Reader, n ast.Node, list []schedule.Spec) bool {
	entries, ok := r.Entries(n, "schedule")
	if !ok || len(entries) != 1 || entries[0].Key != "enabled" {
		return false
	}
	if on, ok := r.Truth(entries[0].Value, "enabled"); ok {
		for i := range list {
			list[i].Off = !on
		}
	}
	return true
}

// oneScheduleField reads the schedule of something else than backups.
func oneScheduleField(key string, into *schedule.Spec) strict.Field {
	return strict.Field{
		Key: key, Nested: func() map[string]any { return strict.ObjectSchema(scheduleFields(&schedule.Spec{}, false)) },
		Read: func(r *strict.Reader, own strict.Position, n ast.Node) {
			if s, _, ok := readSchedule(r, n, key, own, *into, false); ok {
				*into = s
			}
		},
	}
}

// everyField is how often something is due.
func everyField(key string, into *time.Duration) strict.Field {
	f := strict.ScalarField(key, func(text string) (wrong, hint string) {
		d, wrong, _ := strict.ParseDuration(text)
		if wrong != "" || d < time.Minute {
			return "cannot be " + strconv.Quote(strict.Shown(text)), "write a minute or more, with w, d, h or m: 6h, 30m, 1d"
		}
		*into = d
		return "", ""
	})
	f.Schema = strict.DurationField(key, into).Schema
	f.Schema["type"] = "string"
	delete(f.Schema, "minimum")
	delete(f.Schema, "maximum")
	return f
}

// parsedField is a text that parse reads; its errors are core.Errors.
func parsedField[T any](key string, parse func(string) (T, error), set func(T)) strict.Field {
	return strict.Field{
		Key: key, Schema: map[string]any{"type": "string"},
		Read: func(r *strict.Reader, _ strict.Position, n ast.Node) {
			s, ok := r.Text(n, key)
			if !ok {
				return
			}
			v, err := parse(s)
			if err != nil {
				r.Problem(strict.PositionOf(n.GetToken()), core.HintOf(err), "%q: %v", key, err)
				return
			}
			set(v)
		},
	}
}

// daysField is a text or a list of days.
func daysField(key string, set func([]time.Weekday)) strict.Field {
	f := parsedField(key, schedule.ParseDays, set)
	text := f.Read
	f.Schema = map[string]any{"type": []string{"string", "array"}, "items": map[string]any{"type": "string"}}
	f.Read = func(r *strict.Reader, at strict.Position, n ast.Node) {
		list, ok := r.Resolve(n).(*ast.SequenceNode)
		if !ok {
			text(r, at, n)
			return
		}
		var names []string
		for _, item := range list.Values {
			name, ok := r.Text(item, key)
			if !ok {
				return
			}
			if _, err := schedule.ParseDays(name); err != nil {
				r.Problem(strict.PositionOf(item.GetToken()), core.HintOf(err), "%q: %v", key, err)
				return
			}
			names = append(names, name)
		}
		days, err := schedule.ParseDayList(names)
		if err != nil {
			r.Problem(strict.PositionOf(n.GetToken()), core.HintOf(err), "%q: %v", key, err)
			return
		}
		set(days)
	}
	return f
}

const pauseHint = `such as {from: "08:00", to: "18:00"}`

func pausesField(key string, into *[]schedule.Pause) strict.Field {
	fields := func(p *schedule.Pause, from, to *string) []strict.Field {
		return []strict.Field{
			daysField("days", func(days []time.Weekday) { p.Days = days }).Describe("the days on which it begins; every day when not given"),
			strict.TextField("from", from, strict.NotEmpty).Describe("time of day: 08:00"),
			strict.TextField("to", to, strict.NotEmpty).Describe("time of day; before from: of the next day"),
		}
	}
	return strict.Field{
		Key: key, Nested: func() map[string]any {
			one := strict.ObjectSchema(fields(&schedule.Pause{}, nil, nil))
			one["required"] = []string{"from", "to"}
			return map[string]any{"type": "array", "items": map[string]any{"anyOf": []any{map[string]any{"type": "string"}, one}}}
		},
		Read: func(r *strict.Reader, _ strict.Position, n ast.Node) {
			var list []schedule.Pause
			for _, item := range r.Items(n, key) {
				if text, ok := r.Resolve(item).(*ast.StringNode); ok {
					p, err := schedule.ParsePause(text.Value)
					if err != nil {
						r.Problem(strict.PositionOf(item.GetToken()), core.HintOf(err), "%q: %v", key, err)
						continue
					}
					list = append(list, p)
					continue
				}
				var p schedule.Pause
				var from, to string
				start := r.StartOf(item)
				before := r.Problems()
				at, ok := r.Section(item, key, fields(&p, &from, &to))
				if !ok || r.Problems() > before {
					continue
				}
				if from == "" || to == "" {
					r.Problem(start, pauseHint, "a pause needs %q and %q", "from", "to")
					continue
				}
				if _, err := schedule.ParseClockTime(from); err != nil {
					r.Problem(at["from"], core.HintOf(err), "%q: %v", "from", err)
					continue
				}
				window, err := schedule.ParsePause(from + "-" + to) // which knows of 24:00
				if err != nil {
					r.Problem(at["to"], core.HintOf(err), "%q: %v", "to", err)
					continue
				}
				p.From, p.To = window.From, window.To
				list = append(list, p)
			}
			*into = list
		},
	}
}

// componentsField is a set of components, which it puts into their order. None
// are all.
func componentsField(key string, into *[]core.Component) strict.Field {
	return strict.Field{
		Key: key, Schema: map[string]any{"type": "array", "items": map[string]any{"enum": core.Components()}},
		Read: func(r *strict.Reader, _ strict.Position, n ast.Node) {
			var list []core.Component
			for _, item := range r.Items(n, key) {
				s, ok := r.Text(item, key)
				if !ok {
					continue
				}
				c, err := core.ParseComponent(s)
				if err != nil {
					r.Problem(strict.PositionOf(item.GetToken()), core.HintOf(err), "an entry of %q cannot be %q", key, strict.Shown(s))
					continue
				}
				if slices.Contains(list, c) {
					r.Problem(strict.PositionOf(item.GetToken()), "keep one of the two", "%q has %q twice", key, s)
					continue
				}
				list = append(list, c)
			}
			slices.Sort(list)
			*into = list
		},
	}
}

// componentsText lists a set of components: "database, files".
func componentsText(list []core.Component) string { return strings.Join(componentNames(list), ", ") }

func timeZone(s string) (wrong, hint string) {
	if _, err := time.LoadLocation(s); err != nil || s == "" || s == "Local" {
		return "is not a time zone: " + strconv.Quote(strict.Shown(s)), "such as Europe/Paris, America/New_York or UTC"
	}
	return "", ""
}
