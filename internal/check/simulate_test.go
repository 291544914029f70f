package check

import (
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// years is how many apps are simulated for a year each. docs/check.md has what
// 2000 give.
var years = flag.Int("years", 40, "simulated apps, a year of daily backups each")

var start = time.Date(2026, 1, 1, 23, 30, 0, 0, time.UTC) // a Thursday

// behaviour makes the rows of a table, day by day. day 0 is a Thursday.
type behaviour func(r *rand.Rand) func(day int) float64

func weekend(day int) bool { d := (day + 4) % 7; return d == 0 || d == 6 }

func logNormal(r *rand.Rand, mean, sigma float64) float64 {
	return mean * math.Exp(sigma*r.NormFloat64())
}

// scale is a number of rows, small and large ones equally likely.
func scale(r *rand.Rand, from, to float64) float64 {
	return math.Exp(math.Log(from) + r.Float64()*math.Log(to/from))
}

// stationary are behaviours that nothing is wrong with.
func stationary() map[string]behaviour {
	return map[string]behaviour{
		"constant": func(r *rand.Rand) func(int) float64 {
			n := scale(r, 1, 1e6)
			return func(int) float64 { return n }
		},
		"growing": func(r *rand.Rand) func(int) float64 {
			n, by := scale(r, 10, 1e6), scale(r, 0.0001, 0.02)
			daily := n * by
			return func(day int) float64 {
				if !weekend(day) {
					n += daily * r.ExpFloat64()
				}
				return n
			}
		},
		"new": func(r *rand.Rand) func(int) float64 {
			n, by := 0.0, scale(r, 1, 2000)
			return func(int) float64 { n += by * r.ExpFloat64(); return n }
		},
		"counted": func(r *rand.Rand) func(int) float64 { // independent events
			n := scale(r, 20, 20000)
			return func(int) float64 { return n + math.Sqrt(n)*r.NormFloat64() }
		},
		"varying": func(r *rand.Rand) func(int) float64 {
			n, sigma := scale(r, 50, 1e5), scale(r, 0.01, 1.2)
			return func(int) float64 { return logNormal(r, n, sigma) }
		},
		"sessions": func(r *rand.Rand) func(int) float64 { // each day like the one before, around a mean
			n, sigma, now := scale(r, 50, 1e4), scale(r, 0.05, 0.5), 0.0
			return func(int) float64 { now = 0.7*now + sigma*r.NormFloat64(); return n * math.Exp(now) }
		},
		"queue": func(r *rand.Rand) func(int) float64 {
			n := scale(r, 5, 5000)
			return func(int) float64 { return n * math.Pow(r.ExpFloat64(), 1.5) }
		},
		"log": func(r *rand.Rand) func(int) float64 { // of the last 30 days
			n := scale(r, 10, 1e4)
			var last []float64
			return func(day int) float64 {
				now := n * (r.ExpFloat64() + r.ExpFloat64() + r.ExpFloat64())
				if weekend(day) {
					now /= 5
				}
				last = append(last, now)
				last = last[max(0, len(last)-30):]
				sum := 0.0
				for _, x := range last {
					sum += x
				}
				return sum
			}
		},
		"seasonal": func(r *rand.Rand) func(int) float64 {
			n, at := scale(r, 100, 1e5), r.Float64()*365
			return func(day int) float64 {
				return logNormal(r, n, 0.03) * (1 + 0.6*math.Sin(2*math.Pi*(float64(day)+at)/365))
			}
		},
		"weekday": func(r *rand.Rand) func(int) float64 { // less at weekends, but not by so much
			n, less := scale(r, 100, 1e5), 0.65+0.3*r.Float64()
			return func(day int) float64 {
				if weekend(day) {
					return logNormal(r, n*less, 0.01)
				}
				return logNormal(r, n, 0.01)
			}
		},
	}
}

// swinging are behaviours that fall and come back by themselves: what they do
// has to be learned first.
func swinging() map[string]behaviour {
	return map[string]behaviour{
		"empty at weekends": func(r *rand.Rand) func(int) float64 {
			n, less := scale(r, 200, 1e5), 0.05+0.4*r.Float64()
			return func(day int) float64 {
				if weekend(day) {
					return logNormal(r, n*less, 0.03)
				}
				return logNormal(r, n, 0.03)
			}
		},
		"purged every month": func(r *rand.Rand) func(int) float64 {
			n, daily := 0.0, scale(r, 20, 1000)
			return func(day int) float64 {
				if n += daily * r.ExpFloat64(); day%30 == 29 {
					n = 0
				}
				return n
			}
		},
	}
}

// year gives how many falls there were in a year of daily backups of which
// some are missing.
func year(r *rand.Rand, rows func(day int) float64) int {
	s := newContent(Defaults()).series(Defaults().RowsDrop, float64(Defaults().RowsMin))
	for day := range 365 {
		n := max(0, math.Round(rows(day)))
		if r.IntN(50) > 0 {
			s.add("b", start.AddDate(0, 0, day), n)
		}
	}
	return s.falls
}

// TestStationary simulates years of apps that nothing is wrong with: each has
// three tables of each behaviour.
func TestStationary(t *testing.T) {
	t.Parallel()
	apps, falls := 0, map[string]int{}
	kinds := stationary()
	for seed := range *years {
		alarmed := false
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			for n := range 3 {
				r := rand.New(rand.NewPCG(uint64(seed), uint64(n)))
				if f := year(r, kinds[kind](r)); f > 0 {
					falls[kind] += f
					alarmed = true
				}
			}
		}
		if alarmed {
			apps++
		}
	}
	total := 0
	for _, n := range falls {
		total += n
	}
	t.Logf("%d apps, %d tables each, a year of daily backups: %d with an alarm, %d alarms: %v", *years, 3*len(kinds), apps, total, falls)
	if backups := *years * 365; float64(total) > 0.0005*float64(backups) {
		t.Errorf("%d alarms in %d backups", total, backups)
	}
}

// TestSwinging: what falls and comes back by itself is told three times, and
// then known.
func TestSwinging(t *testing.T) {
	t.Parallel()
	for kind, behave := range swinging() {
		count := map[int]int{}
		for seed := range *years {
			r := rand.New(rand.NewPCG(uint64(seed), 77))
			n := year(r, behave(r))
			count[n]++
			if n > 8 {
				t.Errorf("%s, seed %d: %d alarms in a year", kind, seed, n)
			}
		}
		t.Logf("%s: alarms in a year, and in how many years: %v", kind, count)
	}
}

// TestHalfLost loses half of a table that is steady: always found. Of tables
// that vary by some percent from day to day, most are.
func TestHalfLost(t *testing.T) {
	t.Parallel()
	kinds := stationary()
	found, of := map[string]int{}, map[string]int{}
	for _, kind := range []string{"constant", "growing", "counted", "log", "seasonal", "weekday"} {
		for seed := range 10 * *years {
			r := rand.New(rand.NewPCG(uint64(seed), 5))
			rows, day := kinds[kind](r), 40+r.IntN(300)
			if kind == "constant" {
				day = 3 + r.IntN(360)
			}
			s := newContent(Defaults()).series(40, 100)
			before := 0.0
			for d := range day {
				before = max(0, math.Round(rows(d)))
				s.add(fmt.Sprint(d), start.AddDate(0, 0, d), before)
			}
			if before < 400 || s.fall != nil {
				continue
			}
			s.add("half", start.AddDate(0, 0, day), math.Floor(max(0, rows(day))/2))
			of[kind]++
			if s.fall != nil {
				found[kind]++
			} else if kind != "log" {
				t.Errorf("%s, seed %d, day %d: half of %.0f rows lost and not found", kind, seed, day, before)
			}
		}
	}
	t.Logf("found: %v of %v", found, of)
}

// TestSlowlyLost takes a share of its rows from a table with each backup: most
// losses of 5 to 19 percent a day are found before a tenth is left.
func TestSlowlyLost(t *testing.T) {
	t.Parallel()
	kinds := stationary()
	found, of := map[string]int{}, map[string]int{}
	for _, kind := range []string{"constant", "growing", "counted", "log", "seasonal", "weekday"} {
		for seed := range 5 * *years {
			r := rand.New(rand.NewPCG(uint64(seed), 6))
			rows, day, lose := kinds[kind](r), 40+r.IntN(250), 0.05+0.14*r.Float64()
			s := newContent(Defaults()).series(40, 100)
			left, was := 1.0, 0.0
			for d := range day {
				was = max(0, math.Round(rows(d)))
				s.add(fmt.Sprint(d), start.AddDate(0, 0, d), was)
			}
			if was < 1000 || s.fall != nil {
				continue
			}
			of[kind]++
			for d := day; left > 0.1; d++ {
				left *= 1 - lose
				if s.add(fmt.Sprint(d), start.AddDate(0, 0, d), math.Round(rows(d)*left)); s.fall != nil {
					found[kind]++
					break
				}
			}
		}
	}
	t.Logf("lost slowly, found: %v of %v", found, of)
	for _, kind := range []string{"constant", "growing", "counted"} {
		if found[kind] < of[kind] {
			t.Errorf("%s: %d of %d found", kind, found[kind], of[kind])
		}
	}
}
