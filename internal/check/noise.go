package check

import (
	"fmt"
	"math"
	"slices"

	"github.com/backstay/backstay/internal/core"
)

const (
	noiseFiles   = 20 // fewer files say nothing
	noiseSamples = 2  // usual ones, before a rise can be told
)

// noise is the share of the users' files that look like noise, backup by backup.
type noise struct {
	rise       float64 // percentage points; negative: nothing is judged
	deviations float64

	usual []noted
	risen *rise // nil: the last share is usual
}

// rise is the share being more than usual, for as long as it is.
type rise struct {
	first, last moment
	before      string // the last backup from before it rose
	expected    float64
}

func share(s *core.Sample) float64 { return float64(s.Noise) / float64(s.Files) }

// add takes the next sample. One of few files is passed over.
func (n *noise) add(m moment) {
	if n.rise < 0 || m.sample.Files < noiseFiles {
		return
	}
	now := share(m.sample)
	if len(n.usual) >= noiseSamples {
		last := n.last()
		expected := median(last)
		for i, u := range last {
			last[i] = math.Abs(u - expected)
		}
		if n.more(now, expected, median(last), m.sample.Files) {
			if n.risen == nil {
				n.risen = &rise{first: m, before: n.usual[len(n.usual)-1].backup}
			}
			n.risen.last, n.risen.expected = m, expected
			return
		}
		// By and by it can rise without ever being far above the last.
		if low, spread, found := n.lowest(); found && n.more(now, low, spread, m.sample.Files) {
			if n.risen == nil {
				n.risen = n.began(m, low)
			}
			n.risen.last, n.risen.expected = m, low
			return
		}
	}
	n.usual, n.risen = append(n.usual, noted{m.backup, m.at, now}), nil
}

// last are the last usual shares.
func (n *noise) last() []float64 {
	var out []float64
	for _, u := range n.usual[max(0, len(n.usual)-memory):] {
		out = append(out, u.share)
	}
	return out
}

// more says whether a share is more than is expected by more than chance is.
func (n *noise) more(now, expected, spread float64, files int) bool {
	// The share in few files is off by chance alone.
	p := max(expected, 1/float64(files))
	chance := 3 * math.Sqrt(p*(1-p)/float64(files))
	return now-expected >= max(n.rise/100, n.deviations*logToSpread*spread, chance)
}

// began is a rise that is found in m, from when it left what there was.
func (n *noise) began(m moment, low float64) *rise {
	out := &rise{first: m}
	for _, u := range slices.Backward(n.usual) {
		if u.share <= low+noiseWhole*n.rise/100 {
			out.before = u.backup
			break
		}
		out.first = moment{backup: u.backup, at: u.at}
	}
	return out
}

// accept makes the present share the usual one, where it is not.
func (n *noise) accept() {
	if n.risen == nil {
		return
	}
	last := n.risen.last
	now := noted{last.backup, last.at, share(last.sample)}
	n.usual, n.risen = []noted{now, now}, nil
}

func (r report) noise(c *content) {
	n := c.noise.risen
	if n == nil {
		return
	}
	s := n.last.sample
	message := fmt.Sprintf("%d of %d files that were looked into look like noise, as encrypted files do; usual are %.0f %%; %s", s.Noise, s.Files, 100*n.expected, r.since(n.first.backup, n.first.at))
	if len(s.Noisy) > 0 {
		message += ": " + core.Some(s.Noisy, 3)
	}
	hint := "look at these files on the server before anything else"
	if r.there[n.before] {
		hint += fmt.Sprintf("; if they cannot be read, cut it off from the network; backup %s is from before", brief(n.before))
	}
	r.add(core.TopicContent, core.LevelAlarm, "noise", string(core.ComponentFiles), message, hint+"; "+r.lookAt(n.before, n.last.backup, ""))
}
