package operation

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/backstay/backstay/internal/check"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/schedule"
	"github.com/backstay/backstay/internal/state"
)

// expect says what the schedules ask for. The one that asks most often is for
// any backup; each further one, and where they are for different components
// each, for what it is for.
func (c *Caretaker) expect(in *check.Input, want Wanted) {
	in.Off = len(want.Schedules) > 0
	var asked []check.Expected
	apart := false
	for _, spec := range want.Schedules {
		if spec.Off {
			continue
		}
		in.Off = false
		s, err := schedule.Compile(spec, "")
		if err != nil {
			continue // Unusable says it
		}
		asked = append(asked, check.Expected{Name: spec.Name, Only: spec.Only, Interval: s.Interval(in.Now), Last: s.Last(in.Now)})
		apart = apart || !sameComponents(spec.Only, asked[0].Only)
	}
	if len(asked) == 0 {
		return
	}
	slices.SortStableFunc(asked, func(a, b check.Expected) int { return cmp.Compare(a.Interval, b.Interval) })
	in.Scheduled, in.Interval, in.Expected, in.Others = true, asked[0].Interval, asked[0].Last, asked[1:]
	if apart {
		in.Others = asked
	}
}

func sameComponents(a, b []core.Component) bool {
	sorted := func(list []core.Component) []core.Component {
		list = slices.Clone(list)
		slices.Sort(list)
		return slices.Compact(list)
	}
	return slices.Equal(sorted(a), sorted(b))
}

// So many of an app's newest runs are looked through for the last one of each
// schedule, and more of them where one is not among these.
const (
	runsSeen = 50
	runsAll  = 2000
)

// lastRuns are of each schedule of an app, and of those by hand, the newest run
// that is finished and was not missed. Those of a schedule that is no longer
// there count only where none of the others ended well since. newest is that of
// all, which State may not have.
func (c *Caretaker) lastRuns(ctx context.Context, app string, want Wanted, newest *core.Run) ([]check.LastRun, error) {
	var found []check.LastRun
	for _, limit := range []int{runsSeen, runsAll} {
		runs, err := c.State.Runs(ctx, state.RunFilter{App: app, Kind: core.RunBackup, Limit: limit})
		c.stateFailed(ctx, "read the last runs", err)
		if err != nil && newest == nil {
			return nil, fmt.Errorf("read the last runs: %w", err)
		}
		found = lastOfEach(runs, want, newest)
		if err != nil || len(runs) < limit || all(found, want) {
			return found, err
		}
	}
	return found, nil
}

// all says whether there is a run of each schedule.
func all(found []check.LastRun, want Wanted) bool {
	return !slices.ContainsFunc(want.Schedules, func(s schedule.Spec) bool {
		return !s.Off && !slices.ContainsFunc(found, func(r check.LastRun) bool { return !byHand(r.Run) && r.Schedule == s.Name })
	})
}

func byHand(r core.Run) bool { return r.Trigger == "manual" }

func lastOfEach(runs []core.Run, want Wanted, newest *core.Run) []check.LastRun {
	// By when they were recorded, whatever the clock said then.
	slices.SortFunc(runs, func(a, b core.Run) int { return cmp.Compare(b.ID, a.ID) })
	if newest != nil {
		runs = slices.Insert(runs, 0, *newest)
	}
	var found []check.LastRun
	well := false // a newer one ended well
	for _, r := range runs {
		if r.Outcome == core.OutcomeRunning || r.Outcome == core.OutcomeMissed {
			continue
		}
		i := slices.IndexFunc(want.Schedules, func(s schedule.Spec) bool { return s.Name == r.Schedule })
		known := slices.ContainsFunc(found, func(f check.LastRun) bool {
			return byHand(f.Run) == byHand(r) && f.Schedule == r.Schedule
		})
		if !known && (i >= 0 || byHand(r) || !well) {
			last := check.LastRun{Run: r}
			if i >= 0 && !byHand(r) {
				last.Only = want.Schedules[i].Only
			}
			found = append(found, last)
		}
		well = well || r.Outcome == core.OutcomeOK || r.Outcome == core.OutcomeWarnings
	}
	return found
}
