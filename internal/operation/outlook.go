package operation

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/retention"
	"github.com/backstay/backstay/internal/schedule"
)

// Outlook is what retention does with an app's backups, now and later.
type Outlook struct {
	Decisions []retention.Decision
	// Until is when those that are kept now will be removed, if backups go on as
	// they are scheduled; those that stay longer than was looked ahead are not in it.
	Until map[string]time.Time
	// Unknown says why Until is not known; "": it is.
	Unknown string
}

// Outlook decides what retention keeps and removes of an app, now and until
// horizon, and changes nothing.
func (c *Caretaker) Outlook(ctx context.Context, a App, horizon time.Time) (Outlook, error) {
	report := c.look(ctx, []string{a.Name}, true)
	decisions, err := c.Plan(ctx, a, report)
	if err != nil {
		return Outlook{}, err
	}
	o := Outlook{Decisions: decisions}
	want := c.wanted(ctx, a)
	if o.Unknown = c.hold(a, want, report); o.Unknown != "" {
		o.Unknown = "nothing is removed at present: " + o.Unknown
		return o, nil
	}
	o.Until = map[string]time.Time{}
	bySet := map[string][]core.Backup{}
	for _, b := range backups(c.byApp[a.Name]) {
		set := setOf(slices.Collect(maps.Keys(b.Components)))
		bySet[set] = append(bySet[set], b)
	}
	for set, own := range bySet {
		maps.Copy(o.Until, retention.Until(own, want.Retention, nextOf(a.Name, want.Schedules, set), retention.Options{Now: c.now(), Location: location(want)}, horizon))
	}
	return o, nil
}

// setOf names a set of components.
func setOf(components []core.Component) string {
	names := make([]string, len(components))
	for i, c := range components {
		names[i] = string(c)
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// nextOf says when the next backup is made, after a time, of a set of
// components: by the schedules that ask for just these, or where none does by
// those that ask for all.
func nextOf(app string, specs []schedule.Spec, set string) func(after time.Time) time.Time {
	var own, whole []*schedule.Schedule
	for _, spec := range specs {
		s, err := schedule.Compile(spec, "")
		if err != nil || spec.Off {
			continue
		}
		s = s.Keyed(JobKey(core.RunBackup, app, spec.Name))
		switch {
		case len(spec.Only) == 0:
			whole = append(whole, s)
		case setOf(spec.Only) == set:
			own = append(own, s)
		}
	}
	if len(own) == 0 {
		own = whole
	}
	return func(after time.Time) (first time.Time) {
		for _, s := range own {
			if t := s.Next(after); !t.IsZero() && (first.IsZero() || t.Before(first)) {
				first = t
			}
		}
		return first
	}
}
