package check

import (
	"math"
	"slices"
	"time"
)

// What falls and rises that come by and by are judged by; docs/check.md says why.
const (
	slowDays    = 45   // a number is compared with what it was in so many days
	slowValues  = 12   // and at least in so many backups
	slowHistory = 180  // so many days before it began to fall say whether it was steady
	slowNeeded  = 10   // and so many usual values at least
	slowSwings  = 2    // what fell so often is not steady, though it came back
	stillWhole  = 0.9  // of what it was, from where on a number counts as whole
	noiseDays   = 90   // noise is compared with what there was in so many days
	noiseStill  = 10   // the median of so many successive samples
	noiseWhole  = 0.25 // of a rise, from where on a share counts as risen
	day         = 24 * time.Hour
)

// fellSlowly says whether a number fell much further by and by than it may at
// once, though it was steady or grew before, and from what. k is the last usual
// value from before it began to fall.
func (s *series) fellSlowly(v usual) (from float64, k int, fell bool) {
	allowed := 2 * (1 - s.drop) / 3
	if len(s.depth) >= slowSwings || s.drop < 0 || s.drop >= 1 || len(s.usual) < slowNeeded || s.top < s.least || v.value >= allowed*s.top {
		return 0, 0, false
	}
	from = s.slowBaseline()
	if from < s.least || v.value >= allowed*from {
		return from, 0, false
	}
	k = len(s.usual) - 1
	for k >= 0 && s.usual[k].value < stillWhole*from {
		k--
	}
	if k+1 < slowNeeded {
		return from, k, false
	}
	// The deepest fall of its history, from the most that there was before.
	n, most, deepest := 0, 0.0, 0.0
	for _, u := range s.usual[:k+1] {
		if s.usual[k].at.Sub(u.at) > slowHistory*day {
			continue
		}
		if n++; u.value > most {
			most = u.value
		}
		deepest = max(deepest, -logRatio(u.value, most))
	}
	return from, k, n >= slowNeeded && -logRatio(v.value, from) > (3+40/float64(n))*deepest
}

// slowBaseline is the upper quartile of the most of each of the last days.
func (s *series) slowBaseline() float64 {
	last := s.usual[len(s.usual)-1].at
	var most []float64
	var of time.Time
	for i, u := range slices.Backward(s.usual) {
		if last.Sub(u.at) > slowDays*day && len(s.usual)-i > slowValues {
			break
		}
		if d := u.at.Truncate(day); len(most) == 0 || !d.Equal(of) {
			most, of = append(most, u.value), d
		} else {
			most[len(most)-1] = max(most[len(most)-1], u.value)
		}
	}
	return quantile(most, 0.75)
}

// beginSlowly begins a fall that began after usual value k.
func (s *series) beginSlowly(v usual, from float64, k int) *fall {
	whole := &series{usual: s.usual[:k+1]}
	first := v
	if k+1 < len(s.usual) {
		first = s.usual[k+1]
	}
	s.falls++
	f := whole.begin(first)
	f.slow, f.expected = from, from
	return f
}

// noted is a share of noise that was usual.
type noted struct {
	backup string
	at     time.Time
	share  float64
}

// lowest is the least median of successive shares in the last days, and how far
// these are from it; found says whether there are so many.
func (n *noise) lowest() (expected, spread float64, found bool) {
	window := n.window()
	for i := range len(window) - noiseStill + 1 {
		v := make([]float64, 0, noiseStill)
		for _, u := range window[i : i+noiseStill] {
			v = append(v, u.share)
		}
		m := median(v)
		if found && m >= expected {
			continue
		}
		for i, x := range v {
			v[i] = math.Abs(x - m)
		}
		expected, spread, found = m, median(v), true
	}
	return expected, spread, found
}

// window are the usual shares of the last days.
func (n *noise) window() []noted {
	first := len(n.usual)
	for first > 0 && n.usual[len(n.usual)-1].at.Sub(n.usual[first-1].at) <= noiseDays*day {
		first--
	}
	return n.usual[first:]
}
