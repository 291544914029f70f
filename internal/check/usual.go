package check

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// What the statistics go by; docs/check.md says why.
const (
	recent       = 5    // so many of the last usual values say what is to be expected
	memory       = 60   // so many of the last usual deviations say how far it is usually missed
	shown        = 9    // so many of the last usual values are named in a message
	earlySpread  = 0.05 // below Limits.MinBackups only what deviates by no more is judged
	earlyValues  = 3    // and not before there are so many
	weeks        = 5    // so many weeks are looked back for values of the same hour of the week
	weeksNeeded  = 3    // so many of them must have one
	weekMisses   = 14   // and so many deviations must be known
	swings       = 3    // a value that fell and came back by itself so often is taken for one that does so
	erratic      = 3    // a number that is missed by so much (20 times) is not judged
	logToSpread  = 1.4826
	week         = 7 * 24 * time.Hour
	sameHour     = 12 * time.Hour
	asDeepAsThat = 0.8 // of the depth of earlier falls
)

// series is one number in backups, oldest first: the rows of a table, the bytes
// of a component. It knows what is usual from those values that were.
type series struct {
	drop       float64 // a fraction; negative: nothing is judged
	deviations float64
	enough     int     // usual values, below which only what is very steady is judged
	least      float64 // what is usually less is not judged
	emptied    bool    // judge also what is usually less, when nothing is left

	usual []usual
	depth []float64 // of falls that ended by themselves: the least, as a fraction of what was expected
	fall  *fall     // nil: the last value is usual
	falls int       // that ever began
}

// usual is a value that was usual, and by how much it was missed: the logarithm
// of what it was against what was expected, NaN where nothing was.
type usual struct {
	backup         string
	at             time.Time
	value          float64
	miss, missWeek float64
}

// fall is a value being less than usual, for as long as it is.
type fall struct {
	backup   string // the first
	since    time.Time
	last     usual // the latest value
	before   usual // the last usual one
	expected float64
	low      float64 // of the last usual values
	high     float64
	of       int // how many these are
	worst    float64
}

// add takes the next value.
func (s *series) add(backup string, at time.Time, value float64) {
	v := usual{backup: backup, at: at, value: value, miss: math.NaN(), missWeek: math.NaN()}
	byRecent := s.expectRecent()
	byWeek, weeksBack := s.expectWeek(at)
	if byRecent >= 0 {
		v.miss = logRatio(value, byRecent)
	}
	if weeksBack > 0 {
		v.missWeek = logRatio(value, byWeek)
	}
	if weeksBack < weeksNeeded {
		byWeek = -1
	}
	expected, fell := s.fell(v, byRecent, byWeek)
	if depth := logRatio(value, expected); fell && !s.swung(depth) {
		if s.fall == nil {
			s.fall = s.begin(v, expected)
		}
		s.fall.last, s.fall.expected = v, expected
		s.fall.worst = min(s.fall.worst, depth)
		return
	}
	if s.fall != nil {
		s.depth = append(s.depth, s.fall.worst)
		s.fall = nil
	}
	s.usual = append(s.usual, v)
}

func (s *series) begin(v usual, expected float64) *fall {
	s.falls++
	f := &fall{backup: v.backup, since: v.at, before: s.usual[len(s.usual)-1], expected: expected}
	last := s.usual[max(0, len(s.usual)-shown):]
	f.of, f.low, f.high = len(last), last[0].value, last[0].value
	for _, u := range last {
		f.low, f.high = min(f.low, u.value), max(f.high, u.value)
	}
	return f
}

// accept makes what there is now the usual, where it is not.
func (s *series) accept() {
	if s.fall == nil {
		return
	}
	v := s.fall.last
	v.miss, v.missWeek = math.NaN(), math.NaN()
	s.usual, s.depth, s.fall = []usual{v}, append(s.depth, s.fall.worst), nil
}

// swung says whether the number fell so deep often enough, and came back by
// itself.
func (s *series) swung(depth float64) bool {
	n := 0
	for _, d := range s.depth {
		if d <= depth || math.Exp(depth) >= asDeepAsThat*math.Exp(d) {
			n++
		}
	}
	return n >= swings
}

// fell says whether a value is less than it can be by chance, and than what.
// What is expected is -1 where it is not known.
func (s *series) fell(v usual, byRecent, byWeek float64) (expected float64, fell bool) {
	if s.drop < 0 || byRecent < 0 {
		return byRecent, false
	}
	if v.value >= (1-s.drop)*max(byRecent, byWeek) {
		return byRecent, false
	}
	expected = byRecent
	misses := s.misses(func(u usual) float64 { return u.miss })
	if byWeek >= 0 && len(s.usual) >= s.enough {
		inWeek := s.misses(func(u usual) float64 { return u.missWeek })
		if len(inWeek) >= weekMisses && mostly(inWeek) < mostly(misses) {
			expected, misses = byWeek, inWeek
		}
	}
	if s.emptied && v.value == 0 && expected > 0 && len(s.usual) >= 2 && s.neverEmpty() {
		return expected, true
	}
	if expected < s.least || v.value >= (1-s.drop)*expected || len(s.usual) < earlyValues {
		return expected, false
	}
	if len(s.usual) < s.enough {
		return expected, !slices.ContainsFunc(misses, func(m float64) bool { return math.Abs(m) > earlySpread })
	}
	if expected == byRecent && v.value >= (1-s.drop/2)*s.usual[len(s.usual)-1].value {
		return expected, false // it goes down by and by
	}
	spread := s.spread(misses)
	return expected, spread < erratic && -logRatio(v.value, expected) > spread
}

// spread is how far a value may be below what is expected, as a logarithm, going
// by how far others were.
func (s *series) spread(misses []float64) float64 {
	// A number that grows is always above what was. A fall is counted from there.
	drift := median(misses)
	var off []float64
	deepest := 0.0
	for _, m := range misses {
		off = append(off, math.Abs(m-drift))
		deepest = max(deepest, drift-m)
	}
	// Few deviations are a poor guess, and of many some may be exceptions.
	factor, most := 2+24/float64(len(off)), 0.9
	if len(off) >= 15 {
		most = 0.8
	}
	return max(s.deviations*logToSpread*median(off), factor*quantile(off, most), 1.25*deepest) - drift
}

func (s *series) neverEmpty() bool {
	return !slices.ContainsFunc(s.usual[max(0, len(s.usual)-shown):], func(u usual) bool { return u.value == 0 })
}

// expectRecent is the median of the last usual values, -1: there are none.
func (s *series) expectRecent() float64 {
	if len(s.usual) == 0 {
		return -1
	}
	var v [recent]float64
	n := 0
	for _, u := range s.usual[max(0, len(s.usual)-recent):] {
		v[n], n = u.value, n+1
	}
	return median(v[:n])
}

// expectWeek is the median of the usual values of the same hour of the last
// weeks, and of how many weeks there is one.
func (s *series) expectWeek(at time.Time) (expected float64, n int) {
	var v [weeks]float64
	for k := range weeks {
		want := at.Add(-time.Duration(k+1) * week)
		i, _ := slices.BinarySearchFunc(s.usual, want, func(u usual, t time.Time) int { return u.at.Compare(t) })
		best := sameHour + 1
		for _, j := range []int{i - 1, i} {
			if j < 0 || j >= len(s.usual) {
				continue
			}
			if d := s.usual[j].at.Sub(want).Abs(); d < best {
				best, v[n] = d, s.usual[j].value
			}
		}
		if best <= sameHour {
			n++
		}
	}
	return median(v[:n]), n
}

// misses are the last known deviations.
func (s *series) misses(of func(usual) float64) []float64 {
	var out []float64
	for _, u := range slices.Backward(s.usual) {
		if m := of(u); !math.IsNaN(m) {
			out = append(out, m)
		}
		if len(out) == memory {
			break
		}
	}
	return out
}

// mostly is how large deviations mostly are at most.
func mostly(misses []float64) float64 {
	off := make([]float64, len(misses))
	for i, m := range misses {
		off[i] = math.Abs(m)
	}
	return quantile(off, 0.8)
}

// logRatio is the logarithm of value against expected. Nothing counts as a half,
// so that it has one.
func logRatio(value, expected float64) float64 {
	return math.Log(max(value, 0.5) / max(expected, 0.5))
}

// median sorts v. That of nothing is 0.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	if m := len(v) / 2; len(v)%2 == 1 {
		return v[m]
	}
	m := len(v) / 2
	return (v[m-1] + v[m]) / 2
}

// quantile returns the value that at least the fraction q of v is not above. It
// sorts v. That of nothing is 0.
func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.SortFunc(v, cmp.Compare[float64])
	return v[max(0, int(math.Ceil(q*float64(len(v))))-1)]
}
