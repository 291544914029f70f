package retention_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/retention"
)

// every is due so often, whatever it is asked from.
func every(step time.Duration) func(time.Time) time.Time {
	return func(after time.Time) time.Time { return after.Truncate(step).Add(step) }
}

// watch makes one backup after the other, asks Decide after each, and says when
// each was removed that was kept at first.
func (w world) watch(next func(time.Time) time.Time, horizon time.Time) map[string]time.Time {
	out := map[string]time.Time{}
	first := w.decide()
	backups := append([]core.Backup(nil), w.backups...)
	sets := []core.ComponentSizes{{core.ComponentDatabase: {}}, {core.ComponentDatabase: {}, core.ComponentFiles: {}}}
	for at := next(w.opt.Now); !at.IsZero() && !at.After(horizon); at = next(at) {
		for i, set := range sets {
			backups = append(backups, core.Backup{ID: fmt.Sprint(" made ", i, at.Unix()), Time: at, Components: set})
		}
		w.opt.Now = at
		var left []core.Backup
		for _, d := range retention.Decide(backups, w.policies, w.opt) {
			if d.Keep {
				left = append(left, d.Backup)
			} else if first[d.ID].Keep {
				out[d.ID] = at
			}
		}
		backups = left
	}
	return out
}

// TestUntilAsDecide: what is foreseen is what comes.
func TestUntilAsDecide(t *testing.T) {
	removed := 0
	for seed := range uint64(200) {
		w := newWorld(seed)
		r := rand.New(rand.NewPCG(seed, 3))
		step := []time.Duration{35 * time.Minute, 7 * time.Hour, 24 * time.Hour, 50 * time.Hour, 8 * 24 * time.Hour}[r.IntN(5)]
		horizon := w.opt.Now.Add(time.Duration(1+r.IntN(100)) * step)
		want := w.watch(every(step), horizon)
		got := retention.Until(w.backups, w.policies, every(step), w.opt, horizon)
		removed += len(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d, every %s, %d backups at %s in %s, %+v: foreseen is (+) what did not come (-):\n%s",
				seed, step, len(w.backups), w.opt.Now, w.opt.Location, w.policies, diff)
		}
	}
	if removed < 500 {
		t.Errorf("only %d were ever removed, which shows little", removed)
	}
}

func TestUntilSays(t *testing.T) {
	daily := every(24 * time.Hour)
	backups := []core.Backup{backup("2026-11-23 00:00"), backup("2026-11-22 00:00"), backup("2026-11-21 00:00"), backup("2026-11-20 00:00", pinned)}
	opt := retention.Options{Now: now}
	horizon := now.AddDate(1, 0, 0)
	day := func(n int) time.Time { return time.Date(2026, 11, n, 0, 0, 0, 0, time.UTC) }
	never := func(time.Time) time.Time { return time.Time{} }
	for _, c := range []struct {
		name     string
		policies []retention.Policy
		next     func(time.Time) time.Time
		opt      retention.Options
		horizon  time.Time
		want     map[string]time.Time
	}{
		{"the newest three", []retention.Policy{{Count: 3}}, daily, opt, horizon,
			map[string]time.Time{"2026-11-23 00:00": day(26), "2026-11-22 00:00": day(25), "2026-11-21 00:00": day(24)}},
		{"what is removed now already", []retention.Policy{{Count: 2}}, daily, opt, horizon,
			map[string]time.Time{"2026-11-23 00:00": day(25), "2026-11-22 00:00": day(24)}},
		{"beyond the horizon", []retention.Policy{{Count: 3}}, daily, opt, day(25), map[string]time.Time{"2026-11-22 00:00": day(25), "2026-11-21 00:00": day(24)}},
		{"none are made", []retention.Policy{{Count: 3}}, never, opt, horizon, map[string]time.Time{}},
		{"a clock that stands still", []retention.Policy{{Count: 3}}, func(after time.Time) time.Time { return after }, opt, horizon, map[string]time.Time{}},
		{"a hold", []retention.Policy{{Count: 3}}, daily, retention.Options{Now: now, Hold: "an anomaly"}, horizon, map[string]time.Time{}},
		{"a hold of the configuration", []retention.Policy{{Count: 3, Hold: true}}, daily, opt, horizon, map[string]time.Time{}},
		{"a policy that is not known", []retention.Policy{{Count: 3, FromApp: true}}, daily, opt, horizon, map[string]time.Time{}},
		{"no rule", []retention.Policy{{}}, daily, opt, horizon, map[string]time.Time{}},
		{"no policy", nil, daily, opt, horizon, map[string]time.Time{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, retention.Until(backups, c.policies, c.next, c.opt, c.horizon)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestUntilOfMany: lists of backups wait for it.
func TestUntilOfMany(t *testing.T) {
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	var backups []core.Backup
	for i := range 5000 {
		b := backup("2026-11-23 00:00")
		b.ID, b.Time = fmt.Sprintf("%05d", i), b.Time.Add(-time.Duration(i)*time.Hour)
		backups = append(backups, b)
	}
	policies := []retention.Policy{{Count: 5000, Days: 60, Hourly: 72, Daily: 14, Weekly: 8, Monthly: 24, Yearly: 3}}
	calls := 0
	next := func(after time.Time) time.Time { calls++; return every(5 * time.Minute)(after) }
	got := retention.Until(backups, policies, next, retention.Options{Now: now, Location: paris}, now.AddDate(5, 0, 0))
	if calls > 10_000 { // and not the 525,000 backups of five years
		t.Errorf("asked %d times when the next is due", calls)
	}
	// The newest is the newest of 2026 until the first of 2027 comes to be the newest
	// of it, but is of the last 60 days that have one, and the 5,000th is made after
	// 17 days: the first of its 61st day afterwards.
	if want := time.Date(2027, 1, 22, 0, 0, 0, 0, paris); !got["00000"].Equal(want) {
		t.Errorf("the newest is kept until %s, not %s", got["00000"], want)
	}
	if len(got) != len(backups) {
		t.Errorf("of %d backups %d are ever removed", len(backups), len(got))
	}
}
