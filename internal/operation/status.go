package operation

import (
	"context"
	"slices"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/schedule"
)

// Status is the state of all apps at one moment.
type Status struct {
	Apps       []AppStatus    `json:"apps"`
	Repository *core.Space    `json:"repository"` // nil: it could not be asked
	Backups    int            `json:"backups"`
	Unlisted   bool           `json:"unlisted"` // the repository could not be read: last backups are those that are remembered here
	Problems   []core.Problem `json:"problems"` // of the repository and of backstay itself
}

// Alarming says whether there is anything that somebody must be called for.
func (s Status) Alarming() bool {
	alarming := func(problems []core.Problem) bool {
		return slices.ContainsFunc(problems, func(p core.Problem) bool { return p.Level == core.LevelAlarm })
	}
	return alarming(s.Problems) || slices.ContainsFunc(s.Apps, func(a AppStatus) bool { return alarming(a.Problems) })
}

// AppStatus is the state of an app.
type AppStatus struct {
	App       string           `json:"app"`
	Profile   string           `json:"profile"`
	Last      *core.Backup     `json:"last_backup"` // the newest; nil: there is none
	LastRun   *core.Run        `json:"last_run"`    // the newest that ended, by the records
	Doing     string           `json:"doing,omitempty"`
	Verified  *time.Time       `json:"verified"` // when a backup was last read back and found whole
	Drilled   *time.Time       `json:"drilled"`
	Schedules []ScheduleStatus `json:"schedules"`
	Problems  []core.Problem   `json:"problems"`
}

// ScheduleStatus is what a schedule asks for next.
type ScheduleStatus struct {
	Name   string           `json:"name,omitempty"`
	When   string           `json:"when"` // "": it is off, and does not say
	Off    bool             `json:"off"`
	Next   *time.Time       `json:"next"` // when it may begin next, pauses taken into account
	Only   []core.Component `json:"only,omitempty"`
	Source string           `json:"source,omitempty"` // where the application says so
}

// Status looks at the apps named, and changes and tells nothing.
func (c *Caretaker) Status(ctx context.Context, names []string) (Status, error) {
	report := c.look(ctx, names, true)
	if err := ctx.Err(); err != nil {
		return Status{}, err
	}
	s := Status{Apps: []AppStatus{}, Problems: problemsOf(report.Problems, ""), Backups: len(c.records), Unlisted: !c.listed, Repository: report.Space}
	for _, name := range names {
		a, ok := c.app(name)
		if !ok {
			continue
		}
		status := AppStatus{App: a.Name, Profile: a.Profile, Doing: engine.Holder(c.Engine.StateDir, a.Name), Problems: problemsOf(report.Problems, a.Name), LastRun: report.runs[a.Name]}
		for _, b := range backups(c.byApp[a.Name]) {
			if !b.Aside() { // those are of what somebody wanted to leave
				status.Last = &b
			}
			status.Verified = later(status.Verified, b.Verified)
			status.Drilled = later(status.Drilled, b.Drilled)
		}
		if !c.listed { // what was the last then is better than nothing
			var last core.Backup
			if known, err := c.State.Value(ctx, "last-backup/"+a.Name, &last); known && err == nil {
				status.Last = &last
			}
		}
		status.Schedules = c.scheduleStatus(a, report.wants[a.Name])
		s.Apps = append(s.Apps, status)
	}
	return s, nil
}

func (c *Caretaker) scheduleStatus(a App, w Wanted) []ScheduleStatus {
	out := []ScheduleStatus{}
	for _, spec := range w.Schedules {
		s := ScheduleStatus{Name: spec.Name, Off: spec.Off, Only: spec.Only}
		if slices.ContainsFunc(a.Schedules, func(own schedule.Spec) bool { return own.FromApp && own.Name == spec.Name }) {
			s.Source = w.Source
		}
		compiled, err := schedule.Compile(spec, "")
		if err != nil {
			s.When = "cannot be understood: " + err.Error()
		} else {
			s.When = compiled.Describe()
			compiled = compiled.Keyed(JobKey(core.RunBackup, a.Name, spec.Name)) // as the service has it
			if next := compiled.Begins(c.now()); !spec.Off && !next.IsZero() {
				next = next.UTC()
				s.Next = &next
			}
		}
		out = append(out, s)
	}
	if w.Unusable != nil && len(out) == 0 {
		out = append(out, ScheduleStatus{When: "cannot be understood: " + w.Unusable.Error()})
	}
	return out
}

func problemsOf(all []core.Problem, app string) []core.Problem {
	out := slices.DeleteFunc(slices.Clone(all), func(p core.Problem) bool { return p.App != app })
	if out == nil {
		return []core.Problem{}
	}
	return out
}

func later(a, b *time.Time) *time.Time {
	if a == nil || b != nil && b.After(*a) {
		return b
	}
	return a
}
