package operation

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
)

func TestChooseDrill(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) *time.Time { at := now.Add(-d); return &at }
	backup := func(id string, age time.Duration, drilled *time.Time) core.Backup {
		return core.Backup{ID: id, Time: now.Add(-age), Drilled: drilled}
	}
	damaged := backup("bad", day, nil)
	damaged.Damaged = ago(time.Hour)
	aside := backup("aside", time.Hour, nil)
	aside.Trigger = core.TriggerBeforeRestore
	policy := DrillPolicy{Newest: 7 * day, Last: 3, Each: 30 * day}
	for name, c := range map[string]struct {
		backups []core.Backup
		policy  DrillPolicy
		drilled time.Time
		want    []string // one of these; none: no backup
	}{
		"none":                         {nil, policy, time.Time{}, nil},
		"only damaged ones":            {[]core.Backup{damaged}, policy, time.Time{}, nil},
		"the first":                    {[]core.Backup{backup("a", 2*day, nil), damaged, aside}, policy, time.Time{}, []string{"a"}},
		"the newest weekly":            {[]core.Backup{backup("a", 9*day, ago(8*day)), backup("b", day, nil)}, policy, time.Time{}, []string{"b"}},
		"a newest one not long ago":    {[]core.Backup{backup("a", 3*day, ago(2*day)), backup("b", day, nil)}, DrillPolicy{Newest: 7 * day}, time.Time{}, nil},
		"of one that is gone":          {[]core.Backup{backup("b", day, nil)}, DrillPolicy{Newest: 7 * day}, now.Add(-2 * day), nil},
		"the same newest, again":       {[]core.Backup{backup("a", 9*day, ago(8*day))}, policy, time.Time{}, []string{"a"}},
		"each of the last":             {[]core.Backup{backup("z", 60*day, nil), backup("a", 5*day, ago(31*day)), backup("b", 4*day, nil), backup("c", 3*day, ago(2*day))}, policy, time.Time{}, []string{"a", "b"}},
		"each of the last was, lately": {[]core.Backup{backup("z", 60*day, nil), backup("a", 5*day, ago(4*day)), backup("b", 4*day, ago(3*day)), backup("c", 3*day, ago(2*day))}, policy, time.Time{}, nil},
		"whenever it is asked":         {[]core.Backup{backup("a", 2*day, ago(time.Hour)), backup("b", day, nil)}, DrillPolicy{}, time.Time{}, []string{"b"}},
	} {
		t.Run(name, func(t *testing.T) {
			seen := map[string]bool{}
			for seed := range uint64(50) {
				got, why, ok := ChooseDrill(c.backups, c.policy, c.drilled, now, rand.New(rand.NewPCG(seed, 1)))
				if ok != (len(c.want) > 0) || why == "" {
					t.Fatalf("got %v, %q", ok, why)
				}
				seen[got.ID] = ok
			}
			for _, id := range c.want {
				if !seen[id] {
					t.Errorf("%s was never chosen: %v", id, seen)
				}
			}
			if len(c.want) > 0 && len(seen) != len(c.want) {
				t.Errorf("chosen were %v, not %v", seen, c.want)
			}
		})
	}
}
