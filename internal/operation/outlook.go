package operation

import (
	"context"
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
	var schedules []*schedule.Schedule
	for _, spec := range want.Schedules {
		if s, err := schedule.Compile(spec, ""); err == nil && !spec.Off {
			schedules = append(schedules, s.Keyed(JobKey(core.RunBackup, a.Name, spec.Name)))
		}
	}
	next := func(after time.Time) (first time.Time) {
		for _, s := range schedules {
			if t := s.Next(after); !t.IsZero() && (first.IsZero() || t.Before(first)) {
				first = t
			}
		}
		return first
	}
	o.Until = retention.Until(backups(c.byApp[a.Name]), want.Retention, next, retention.Options{Now: c.now(), Location: location(want)}, horizon)
	return o, nil
}
