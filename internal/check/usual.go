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
	earlySpread  = 0.03 // below Limits.MinBackups only what deviates by no more is judged
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
	top   float64   // the largest of them
	depth []float64 // of falls that ended by themselves: the least, as a fraction of what was expected
	fall  *fall     // nil: the last value is usual
	falls int       // that ever began
}

// usual is a value that was usual.
type usual struct {
	backup string
	at     time.Time
	value  float64
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
	of       int     // how many these are
	slow     float64 // what it fell from by and by; 0: it fell at once
	worst    float64
}

// add takes the next value.
func (s *series) add(backup string, at time.Time, value float64) {
	v := usual{backup, at, value}
	if s.fall != nil && s.fall.slow > 0 && value < (1-s.drop)*s.fall.slow {
		s.fall.last, s.fall.worst = v, min(s.fall.worst, logRatio(value, s.fall.slow))
		return
	}
	expected, fell := s.fell(v)
	if depth := logRatio(value, expected); fell && !s.swung(depth) {
		if s.fall == nil {
			s.fall = s.begin(v)
		}
		s.fall.last, s.fall.expected = v, expected
		s.fall.worst = min(s.fall.worst, depth)
		return
	}
	if s.fall == nil {
		if from, k, fell := s.fellSlowly(v); fell && !s.swung(logRatio(value, from)) {
			s.fall = s.beginSlowly(v, from, k)
			s.fall.last, s.fall.worst = v, logRatio(value, from)
			return
		}
	} else {
		s.depth = append(s.depth, s.fall.worst)
		s.fall = nil
	}
	s.usual, s.top = append(s.usual, v), max(s.top, value)
}

func (s *series) begin(v usual) *fall {
	s.falls++
	f := &fall{backup: v.backup, since: v.at, before: s.usual[len(s.usual)-1]}
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
	s.usual, s.top, s.depth, s.fall = []usual{v}, v.value, append(s.depth, s.fall.worst), nil
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
func (s *series) fell(v usual) (expected float64, fell bool) {
	n := len(s.usual)
	if s.drop < 0 || n == 0 || v.value >= (1-s.drop)*s.top {
		return v.value, false
	}
	byRecent := s.expectRecent(n)
	byWeek, found := s.expectWeek(n, v.at)
	if found < weeksNeeded {
		byWeek = -1
	}
	if v.value >= (1-s.drop)*max(byRecent, byWeek) {
		return byRecent, false
	}
	expected = byRecent
	misses := s.misses(func(i int) (float64, bool) { return s.expectRecent(i), true })
	if byWeek >= 0 && n >= s.enough {
		inWeek := s.misses(func(i int) (float64, bool) {
			was, found := s.expectWeek(i, s.usual[i].at)
			return was, found > 0
		})
		if len(inWeek) >= weekMisses && mostly(inWeek) < mostly(misses) {
			expected, misses = byWeek, inWeek
		}
	}
	if s.emptied && v.value == 0 && expected > 0 && n >= 2 && s.neverEmpty() {
		return expected, true
	}
	if expected < s.least || v.value >= (1-s.drop)*expected || n < earlyValues {
		return expected, false
	}
	if n < s.enough {
		return expected, !slices.ContainsFunc(misses, func(m float64) bool { return math.Abs(m) > earlySpread })
	}
	if s.fall == nil && expected == byRecent && v.value >= (1-s.drop/2)*s.usual[n-1].value {
		return expected, false // it goes down by and by
	}
	spread := s.spread(misses)
	return expected, spread < erratic && -logRatio(v.value, expected) > spread
}

// spread is how far a value may be below what is expected, as a logarithm, going
// by how far others were.
func (s *series) spread(misses []float64) float64 {
	// A number that grows is always above what was expected, and one that
	// shrinks below.
	drift := median(misses)
	var off []float64
	deepest := 0.0
	for _, m := range misses {
		off = append(off, math.Abs(m-drift))
		deepest = max(deepest, drift-m)
	}
	// Few deviations are a poor guess, and of many some may be exceptions.
	factor, most := 2+40/float64(len(off)), 0.9
	if len(off) >= 15 {
		most = 0.8
	}
	return max(s.deviations*logToSpread*median(off), factor*quantile(off, most), 1.25*deepest) - min(drift, 0)
}

func (s *series) neverEmpty() bool {
	return !slices.ContainsFunc(s.usual[max(0, len(s.usual)-shown):], func(u usual) bool { return u.value == 0 })
}

// expected is the median of the last usual values, 0: there are none.
func (s *series) expected() float64 {
	if len(s.usual) == 0 {
		return 0
	}
	return s.expectRecent(len(s.usual))
}

// expectRecent is the median of the last of the first n usual values. There
// must be one.
func (s *series) expectRecent(n int) float64 {
	var v [recent]float64
	last := s.usual[max(0, n-recent):n]
	for i, u := range last {
		v[i] = u.value
	}
	return median(v[:len(last)])
}

// expectWeek is the median of those of the first n usual values that are of the
// same hour in the weeks before, and of how many weeks there is one.
func (s *series) expectWeek(n int, at time.Time) (expected float64, found int) {
	var v [weeks]float64
	for k := range weeks {
		want := at.Add(-time.Duration(k+1) * week)
		i, _ := slices.BinarySearchFunc(s.usual[:n], want, func(u usual, t time.Time) int { return u.at.Compare(t) })
		best := sameHour + 1
		for _, j := range []int{i - 1, i} {
			if j < 0 || j >= n {
				continue
			}
			if d := s.usual[j].at.Sub(want).Abs(); d < best {
				best, v[found] = d, s.usual[j].value
			}
		}
		if best <= sameHour {
			found++
		}
	}
	return median(v[:found]), found
}

// misses are by how much the last usual values were missed: the logarithms of
// what they were against what was expected of each, where anything was.
func (s *series) misses(expected func(i int) (float64, bool)) []float64 {
	var out []float64
	for i := len(s.usual) - 1; i > 0 && len(out) < memory; i-- {
		if was, known := expected(i); known {
			out = append(out, logRatio(s.usual[i].value, was))
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
