package retention_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/retention"
)

// world is some backups and a policy, made of a seed.
type world struct {
	backups  []core.Backup
	policies []retention.Policy
	opt      retention.Options
}

var zones = func() []*time.Location {
	var out []*time.Location
	for _, name := range []string{"UTC", "Europe/Paris", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			panic(err)
		}
		out = append(out, zone)
	}
	return out
}()

func newWorld(seed uint64) world {
	r := rand.New(rand.NewPCG(seed, 1))
	w := world{opt: retention.Options{Now: now.Add(time.Duration(r.IntN(400*24*60)) * time.Minute), Location: zones[r.IntN(len(zones))]}}
	spacing := []time.Duration{20 * time.Minute, 5 * time.Hour, 26 * time.Hour, 9 * 24 * time.Hour}[r.IntN(4)]
	at := w.opt.Now
	if r.IntN(4) == 0 {
		at = at.Add(3 * spacing) // some are of the future
	}
	for i := range r.IntN(60) {
		w.backups = append(w.backups, anyBackup(r, fmt.Sprintf("%03d", i), at))
		if r.IntN(10) > 0 { // some are of the same instant
			at = at.Add(-time.Duration(r.Int64N(int64(spacing))))
		}
	}
	rule := func(most int) int { return max(0, r.IntN(2*most)-most) }
	policy := func() retention.Policy {
		return retention.Policy{Count: rule(9), Days: rule(40), Hourly: rule(30), Daily: rule(14), Weekly: rule(8), Monthly: rule(12), Yearly: rule(4)}
	}
	w.policies = []retention.Policy{policy()}
	if r.IntN(3) == 0 {
		own := policy()
		own.Components = []core.Component{core.ComponentFiles, core.ComponentDatabase}
		w.policies = append(w.policies, own)
	}
	return w
}

func anyBackup(r *rand.Rand, id string, at time.Time) core.Backup {
	b := core.Backup{ID: id, App: "a", Time: at, Trigger: "schedule", Components: core.ComponentSizes{core.ComponentDatabase: {}}}
	if r.IntN(3) > 0 {
		b.Components[core.ComponentFiles] = core.ComponentSize{}
	}
	for _, change := range []func(*core.Backup){pinned, verified, drilled, damaged, imported, failed, missing} {
		if r.IntN(12) == 0 {
			change(&b)
		}
	}
	return b
}

func (w world) decide() map[string]retention.Decision {
	out := map[string]retention.Decision{}
	for _, d := range retention.Decide(w.backups, w.policies, w.opt) {
		out[d.ID] = d
	}
	return out
}

func each(t *testing.T, check func(t *testing.T, w world, r *rand.Rand)) {
	for seed := range uint64(1000) {
		check(t, newWorld(seed), rand.New(rand.NewPCG(seed, 2)))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// counts says which backups rules count.
func (w world) counts(b core.Backup) bool {
	return b.Damaged == nil && !b.Aside() && b.Origin == nil && !b.Time.After(w.opt.Now)
}

func newer(a, b core.Backup) bool {
	return a.Time.After(b.Time) || a.Time.Equal(b.Time) && a.ID > b.ID
}

func components(b core.Backup) int { return len(b.Components) } // of the two sets there are

// TestProtected: whatever the policy says, some are never removed.
func TestProtected(t *testing.T) {
	each(t, func(t *testing.T, w world, _ *rand.Rand) {
		decided := w.decide()
		if len(decided) != len(w.backups) {
			t.Errorf("%d decisions on %d backups", len(decided), len(w.backups))
		}
		must := func(what string, b core.Backup) {
			if !decided[b.ID].Keep {
				t.Errorf("%s %s is removed: %v", what, b.ID, decided[b.ID].Reasons)
			}
		}
		newest := map[string]core.Backup{}
		of := func(what string, b core.Backup) {
			key := fmt.Sprint(what, " of ", components(b))
			if was, has := newest[key]; !has || newer(b, was) {
				newest[key] = b
			}
		}
		for _, b := range w.backups {
			if len(decided[b.ID].Reasons) == 0 {
				t.Errorf("no reason for %s", b.ID)
			}
			if b.Pinned || b.Origin != nil || b.Time.After(w.opt.Now) {
				must("pinned, imported or of the future", b)
			}
			if !w.counts(b) {
				continue
			}
			of("whole", b)
			if len(b.Warnings) == 0 {
				of("complete", b)
			}
			if b.Verified != nil {
				of("verified", b)
			}
			if b.Drilled != nil {
				of("drilled", b)
			}
		}
		for what, b := range newest {
			must(what, b)
		}
		if len(w.backups) > 0 && !slices.ContainsFunc(w.backups, func(b core.Backup) bool { return decided[b.ID].Keep }) {
			t.Error("nothing is left")
		}
		w.opt.Hold = "an anomaly"
		for id, d := range w.decide() {
			if !d.Keep {
				t.Errorf("%s is removed in spite of the hold", id)
			}
		}
	})
}

// TestRulesByAnotherWay decides on each backup by itself, in another way.
func TestRulesByAnotherWay(t *testing.T) {
	each(t, func(t *testing.T, w world, _ *rand.Rand) {
		for id, d := range w.decide() {
			b := d.Backup
			if !w.counts(b) {
				continue
			}
			p := w.policies[0]
			if components(b) == 2 && len(w.policies) == 2 {
				p = w.policies[1]
			}
			want := b.Pinned || p.Count+p.Days+p.Hourly+p.Daily+p.Weekly+p.Monthly+p.Yearly == 0
			var after []core.Backup
			for _, o := range w.backups {
				if components(o) == components(b) && w.counts(o) && newer(o, b) {
					after = append(after, o)
				}
			}
			none := func(is func(core.Backup) bool) bool { return is(b) && !slices.ContainsFunc(after, is) }
			want = want || len(after) == 0 || none(func(b core.Backup) bool { return len(b.Warnings) == 0 }) ||
				none(func(b core.Backup) bool { return b.Verified != nil }) || none(func(b core.Backup) bool { return b.Drilled != nil })
			want = want || len(after) < p.Count
			local := func(b core.Backup) time.Time { return b.Time.In(w.opt.Location) }
			days := map[string]bool{local(b).Format("20060102"): true} // of b and of those after it
			for _, o := range after {
				days[local(o).Format("20060102")] = true
			}
			want = want || len(days) <= p.Days
			bucket := func(n int, of func(core.Backup) [3]int) {
				buckets := map[[3]int]bool{}
				for _, o := range after {
					buckets[of(o)] = true
				}
				want = want || !buckets[of(b)] && len(buckets) < n
			}
			bucket(p.Hourly, func(b core.Backup) [3]int {
				_, offset := local(b).Zone()
				return [3]int{int((b.Time.Unix() + int64(offset)) / 3600), offset}
			})
			bucket(p.Daily, func(b core.Backup) [3]int { return [3]int{local(b).Year(), local(b).YearDay()} })
			bucket(p.Weekly, func(b core.Backup) [3]int { y, n := local(b).ISOWeek(); return [3]int{y, n} })
			bucket(p.Monthly, func(b core.Backup) [3]int { return [3]int{local(b).Year(), int(local(b).Month())} })
			bucket(p.Yearly, func(b core.Backup) [3]int { return [3]int{local(b).Year()} })
			if d.Keep != want {
				t.Errorf("%s at %s with %+v: keep is %t because of %q", id, local(b), p, d.Keep, d.Reasons)
			}
		}
	})
}

// TestOnceIsEnough: when what is to be removed was removed, nothing more is.
func TestOnceIsEnough(t *testing.T) {
	each(t, func(t *testing.T, w world, _ *rand.Rand) {
		decided := w.decide()
		w.backups = slices.DeleteFunc(w.backups, func(b core.Backup) bool { return !decided[b.ID].Keep })
		for id, d := range w.decide() {
			if !d.Keep {
				t.Errorf("%s is removed by the second go: %v; it was kept because of %v", id, d.Reasons, decided[id].Reasons)
			}
		}
	})
}

// TestOrderDoesNotMatter: nor does that of backups, nor that of policies.
func TestOrderDoesNotMatter(t *testing.T) {
	each(t, func(t *testing.T, w world, r *rand.Rand) {
		first := retention.Decide(w.backups, w.policies, w.opt)
		if !slices.IsSortedFunc(first, func(a, b retention.Decision) int { return b.Time.Compare(a.Time) }) {
			t.Error("not the newest first")
		}
		r.Shuffle(len(w.backups), func(i, j int) { w.backups[i], w.backups[j] = w.backups[j], w.backups[i] })
		slices.Reverse(w.policies)
		if diff := cmp.Diff(first, retention.Decide(w.backups, w.policies, w.opt)); diff != "" {
			t.Error(diff)
		}
	})
}

// TestWhatTakesNoPlace: a backup that is damaged, left aside, imported or of the
// future changes nothing for the others.
func TestWhatTakesNoPlace(t *testing.T) {
	each(t, func(t *testing.T, w world, r *rand.Rand) {
		before := w.decide()
		more := anyBackup(r, "more", w.opt.Now.Add(-time.Duration(r.IntN(1000))*time.Hour))
		[]func(*core.Backup){damaged, imported, failed, func(b *core.Backup) { b.Time = w.opt.Now.Add(time.Second) }}[r.IntN(4)](&more)
		w.backups = append(w.backups, more)
		after := w.decide()
		delete(after, "more")
		if diff := cmp.Diff(before, after); diff != "" {
			t.Error(diff)
		}
	})
}

// TestGoneStaysGone: a newer backup never makes an older one be kept that was
// to go, nor does time.
func TestGoneStaysGone(t *testing.T) {
	each(t, func(t *testing.T, w world, r *rand.Rand) {
		w.backups = slices.DeleteFunc(w.backups, func(b core.Backup) bool { return b.Time.After(w.opt.Now) })
		before := w.decide()
		w.opt.Now = w.opt.Now.Add(time.Duration(r.IntN(5000)) * time.Minute)
		w.backups = append(w.backups, anyBackup(r, "newer", w.opt.Now))
		for id, d := range w.decide() {
			if was, there := before[id]; there && !was.Keep && d.Keep {
				t.Errorf("%s is kept now: %v; it was to go because of %v", id, d.Reasons, was.Reasons)
			}
		}
	})
}

// TestMoreKeepsMore: a higher number of a rule never removes what a lower keeps.
func TestMoreKeepsMore(t *testing.T) {
	each(t, func(t *testing.T, w world, r *rand.Rand) {
		before := w.decide()
		for i := range w.policies {
			p := &w.policies[i]
			for _, n := range []*int{&p.Count, &p.Days, &p.Hourly, &p.Daily, &p.Weekly, &p.Monthly, &p.Yearly} {
				if *n > 0 {
					*n += r.IntN(3)
				}
			}
		}
		for id, d := range w.decide() {
			if before[id].Keep && !d.Keep {
				t.Errorf("%s is removed: %v; it was kept because of %v", id, d.Reasons, before[id].Reasons)
			}
		}
	})
}

// TestCountIsExact: count keeps just so many of those that take a place, beside
// what is protected.
func TestCountIsExact(t *testing.T) {
	for n := range 12 {
		for count := 1; count < 12; count++ {
			kept := 0
			for _, d := range retention.Decide(daily(n), []retention.Policy{{Count: count}}, retention.Options{Now: now}) {
				if d.Keep {
					kept++
				}
			}
			if kept != min(n, count) {
				t.Errorf("of %d with count %d: %d", n, count, kept)
			}
		}
	}
}
