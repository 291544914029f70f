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

	usual  []float64 // shares of 1
	before string    // the last backup whose share was usual
	risen  *rise     // nil: the last share is usual
}

// rise is the share being more than usual, for as long as it is.
type rise struct {
	first, last moment
	before      string // the last usual backup
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
		last := slices.Clone(n.usual[max(0, len(n.usual)-memory):])
		expected := median(last)
		for i, u := range last {
			last[i] = math.Abs(u - expected)
		}
		// The share in few files is off by chance alone.
		p := max(expected, 1/float64(m.sample.Files))
		chance := 3 * math.Sqrt(p*(1-p)/float64(m.sample.Files))
		if now-expected >= max(n.rise/100, n.deviations*logToSpread*median(last), chance) {
			if n.risen == nil {
				n.risen = &rise{first: m, before: n.before}
			}
			n.risen.last, n.risen.expected = m, expected
			return
		}
	}
	n.usual, n.before, n.risen = append(n.usual, now), m.backup, nil
}

// accept makes the present share the usual one, where it is not.
func (n *noise) accept() {
	if n.risen == nil {
		return
	}
	now := share(n.risen.last.sample)
	n.usual, n.before, n.risen = []float64{now, now}, n.risen.last.backup, nil
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
