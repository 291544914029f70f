package operation

import (
	"context"
	"time"

	"github.com/backstay/backstay/internal/check"
	"github.com/backstay/backstay/internal/schedule"
)

// Drills is what an app's configuration asks of its drills.
type Drills struct {
	Scheduled bool // Schedule is given
	Schedule  schedule.Spec
	Newest    time.Duration // the newest backup is drilled at least so often; 0: once
}

// drillPolicy says how old the last drill of an app may be, going by its
// schedule: a day late is no alarm.
func (c *Caretaker) drillPolicy(ctx context.Context, a App, in *check.Input) {
	d := a.Drills
	if !d.Scheduled || d.Schedule.Off {
		return
	}
	if n := len(in.Backups); d.Newest <= 0 && n > 0 && in.Backups[n-1].Drilled != nil {
		return // there is nothing to drill until the next backup
	}
	s, err := schedule.Compile(d.Schedule, "")
	if err != nil {
		return // the service says so
	}
	interval := s.Interval(in.Now)
	in.DrillPolicy.Within = d.Newest + interval + max(24*time.Hour, interval/10)
	key := "drills-asked/" + a.Name
	_, err = c.State.Value(ctx, key, &in.DrillPolicy.Since)
	c.stateFailed(ctx, "read since when drills are asked for", err)
	if err == nil && in.DrillPolicy.Since.IsZero() {
		in.DrillPolicy.Since = in.Now
		c.stateFailed(ctx, "remember since when drills are asked for", c.State.SetDefault(ctx, key, in.Now))
	}
}
