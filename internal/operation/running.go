package operation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/state"
)

// A run goes on for too long when it takes several times what runs of the app
// took, and long at that.
const (
	longTimes = 4
	longAtAll = time.Hour
	longFirst = 12 * time.Hour // where no run ended yet
)

// running says that a backup of an app goes on for far longer than usual: it may
// hang, and keep others waiting.
func (c *Caretaker) running(ctx context.Context, a App) []core.Problem {
	now := c.now()
	runs, err := c.State.Runs(ctx, state.RunFilter{App: a.Name, Kind: core.RunBackup, Limit: 20})
	c.stateFailed(ctx, "read what runs", err)
	var took []time.Duration
	for _, r := range runs {
		if r.Finished != nil && (r.Outcome == core.OutcomeOK || r.Outcome == core.OutcomeWarnings) {
			took = append(took, r.Finished.Sub(r.Started))
		}
	}
	limit, usual := longFirst, "no run of it has ended yet"
	if len(took) > 0 {
		slices.Sort(took)
		median := took[len(took)/2]
		limit, usual = max(longAtAll, longTimes*median), fmt.Sprintf("usual are %s", median.Round(time.Second))
	}
	for _, r := range runs {
		if r.Outcome != core.OutcomeRunning || now.Sub(r.Started) <= limit {
			continue
		}
		return []core.Problem{{
			App: a.Name, Topic: core.TopicBackup, Name: "hangs", Level: core.LevelAlarm,
			Message: fmt.Sprintf("its backup goes on since %s; %s, and others may be waiting for it", r.Started.UTC().Format("2006-01-02 15:04 MST"), usual),
			Hint:    "see what it waits for: journalctl -u backstay, SHOW PROCESSLIST on its database server; service.timeout ends it in the end",
		}}
	}
	return nil
}
