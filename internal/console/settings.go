package console

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/check"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/config/edit"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/retention"
)

// Settings are an app's settings in effect.
func (c *Console) Settings(ctx context.Context, app string) ([]Setting, error) {
	cfg := c.o.Config()
	a, err := cfg.App(app)
	if err != nil {
		return nil, noApp(app)
	}
	s := &settings{from: c.sources(app), found: []Setting{}}
	s.schedules(c.schedules(ctx, app))
	s.retention(a)
	s.limits(a)
	s.destinations(a)
	s.application(a)
	return s.found, nil
}

// schedules are an app's, as the overview has them.
func (c *Console) schedules(ctx context.Context, app string) []operation.ScheduleStatus {
	o, err := c.Overview(ctx)
	if err != nil {
		return nil
	}
	for _, a := range o.Apps {
		if a.App == app {
			return a.Schedules
		}
	}
	return nil
}

// sources says where the sections of an app's settings come from.
func (c *Console) sources(app string) func(section string) string {
	file := filepath.Base(c.o.ConfigPath)
	d, err := edit.Read(c.o.ConfigPath)
	if err != nil { // the settings in effect are those from before somebody broke the file
		return func(string) string { return file + " as it was before it was broken" }
	}
	return func(section string) string {
		if own, err := d.Section(app, section); err != nil {
			return file
		} else if own.Set {
			return file + ":" + strconv.Itoa(own.Line)
		}
		if shared, err := d.Section("", section); err == nil && shared.Set {
			return "defaults (" + file + ":" + strconv.Itoa(shared.Line) + ")"
		}
		return "backstay's default"
	}
}

// settings gathers them.
type settings struct {
	from  func(section string) string
	found []Setting
}

func (s *settings) add(section, name, value, source string) {
	s.found = append(s.found, Setting{Section: section, Name: name, Value: value, Source: source})
}

func (s *settings) schedules(all []operation.ScheduleStatus) {
	source := s.from("schedule")
	if len(all) == 0 {
		s.add("schedule", "when", "by hand only", source)
	}
	for _, one := range all {
		name, value := one.Name, one.When
		if name == "" {
			name = "when"
		}
		if one.Off {
			value = strings.TrimSpace("off " + value)
		}
		if len(one.Only) > 0 {
			value += fmt.Sprintf(", only %v", one.Only)
		}
		from := source
		if one.Source != "" {
			from = "the application: " + one.Source
		}
		s.add("schedule", name, value, from)
	}
}

func (s *settings) retention(a *config.App) {
	source := s.from("retention")
	if len(a.Retention) == 0 {
		s.add("retention", "keep", "everything", source)
	}
	for _, p := range a.Retention {
		name := "keep"
		if len(p.Components) > 0 {
			name = fmt.Sprintf("keep of %v", p.Components)
		}
		s.add("retention", name, policy(p), source)
	}
}

// policy says in words what one keeps.
func policy(p retention.Policy) string {
	if p.Hold {
		return "everything: it is on hold"
	}
	var parts []string
	add := func(n int, text string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf(text, n))
		}
	}
	if p.FromApp {
		parts = append(parts, "what the application's settings keep")
	}
	add(p.Count, "the newest %d")
	add(p.Days, "all of the last %d days")
	add(p.Hourly, "one of each of %d hours")
	add(p.Daily, "one of each of %d days")
	add(p.Weekly, "one of each of %d weeks")
	add(p.Monthly, "one of each of %d months")
	add(p.Yearly, "one of each of %d years")
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, ", ")
}

func (s *settings) limits(a *config.App) {
	source, l := s.from("check"), a.Check
	if l.Off {
		s.add("check", "checks", "off", source)
		return
	}
	usual := check.Limits{}
	age := "what the schedule asks for"
	if l.MaxAge != usual.MaxAge {
		age = days(l.MaxAge)
	}
	s.add("check", "newest backup at most", age, source)
	s.add("check", "size may drop by", percent(l.SizeDrop), source)
	s.add("check", "a table's rows may drop by", percent(l.RowsDrop), source)
	if l.SizeMin > 0 {
		s.add("check", "size at least", strconv.FormatInt(l.SizeMin, 10)+" bytes", source)
	}
	s.add("check", "verified at most", aged(l.VerifyAge), source)
	s.add("check", "drilled at most", aged(l.DrillAge), source)
	if len(l.IgnoreTables) > 0 {
		s.add("check", "tables not judged", strings.Join(l.IgnoreTables, ", "), source)
	}
}

func (s *settings) destinations(a *config.App) {
	source := s.from("notify")
	if len(a.Notify) == 0 {
		s.add("notify", "alarms", "nobody is told", source)
	}
	for _, d := range a.Notify {
		value := d.Type
		if d.URL != "" {
			value += " at " + d.URL
		}
		if d.Fallback {
			value += ", only when those before it fail"
		}
		s.add("notify", d.Name, value, source)
	}
}

func (s *settings) application(a *config.App) {
	const source = "backstay.yaml"
	s.add("app", "profile", a.Profile, source)
	if a.Root != "" {
		s.add("app", "folder", a.Root, source)
	}
	if a.Environment != "" {
		s.add("app", "environment", a.Environment, source)
	}
	s.add("app", "consistency", a.Consistency, source)
	for _, f := range a.Files {
		value := f.Path
		if len(f.Exclude) > 0 {
			value += " without " + strings.Join(f.Exclude, ", ")
		}
		s.add("app", "files", value, source)
	}
	for _, f := range a.Config {
		s.add("app", "configuration", f, source)
	}
	if len(a.Exclude) > 0 {
		s.add("app", "left out", strings.Join(a.Exclude, ", "), source)
	}
	if d := a.Database; d.Given() {
		where := d.Socket
		if where == "" && d.Host != "" {
			where = d.Host + ":" + strconv.Itoa(d.Port)
		}
		s.add("database", "server", orElse(where, "as the application says"), source)
		s.add("database", "account", orElse(d.User, "as the application says"), source)
		s.add("database", "database", orElse(d.Name, "as the application says"), source)
	} else {
		s.add("database", "server", "as the application says", "the application's configuration")
	}
	from := s.from("restore")
	s.add("restore", "what was replaced is kept", days(a.Restore.Keep), from)
	s.add("restore", "backup before a restore", map[bool]string{true: "yes", false: "no"}[a.Restore.SafetyBackup], from)
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func percent(p float64) string {
	if p == 0 {
		return "not judged"
	}
	return strconv.FormatFloat(p, 'f', -1, 64) + " %"
}

func aged(d time.Duration) string {
	if d <= 0 {
		return "not asked for"
	}
	return days(d) + " ago"
}

// days writes a time that is set in days or hours.
func days(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == 0:
		return "not at all"
	case d%day == 0:
		return fmt.Sprintf("%d days", d/day)
	}
	return d.String()
}
