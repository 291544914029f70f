package ui

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// plainInterval is how often a plain line tells of progress.
const plainInterval = 10 * time.Second

// Progress shows how long work goes on: bars that move on a terminal, a line
// now and then elsewhere, nothing with --quiet and --no-progress, or with
// --json where no person looks. Close must be called.
type Progress struct {
	printer *Printer
	clock   core.Clock
	plain   bool
	bars    *mpb.Progress // nil unless live

	mu     sync.Mutex
	stage  *stage   // nil before the first and after Close
	bar    *mpb.Bar // of the stage
	said   time.Time
	closed bool
}

// stage is one stage of the work. Progress.mu guards it.
type stage struct {
	name, item  string
	total, done int64
	began       time.Time
	ended       time.Time // zero while it goes on
}

var _ core.Progress = (*Progress)(nil)

// Progress begins to show progress. Only one may be shown at a time.
func (p *Printer) Progress() *Progress {
	o := p.options
	terminal := o.IsTerminal(o.Stderr)
	g := &Progress{printer: p, clock: o.Clock}
	p.mu.Lock()
	p.progress = g
	p.mu.Unlock()
	switch {
	case o.Quiet || o.NoProgress || o.JSON && !terminal:
	case terminal:
		g.bars = mpb.New(mpb.WithOutput(o.Stderr), mpb.WithAutoRefresh())
		// Other lines go above the bars, not through them.
		p.mu.Lock()
		p.stderr = g.bars
		p.mu.Unlock()
	default:
		g.plain = true
	}
	return g
}

// Stage ends the stage before and begins the next.
func (g *Progress) Stage(name string, total int64) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return
	}
	line, bar := g.end(true)
	s := &stage{name: Clean(name), total: max(total, 0), began: g.clock.Now()}
	g.stage, g.said = s, s.began
	g.mu.Unlock()
	g.finish(line, bar, true)
	if g.bars == nil {
		return
	}
	// No bar is touched while mu is held: it takes mu to draw itself. The total
	// is set later, because a bar made with one ends when it is reached, and
	// only then; totals are estimates.
	next := g.bars.New(0, mpb.BarStyle().Rbound("] "),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return s.name + " " })),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.describe(s)
		})),
	)
	next.SetTotal(s.total, false)
	g.mu.Lock()
	superseded := g.stage != s
	done := s.done
	if !superseded {
		g.bar = next
	}
	g.mu.Unlock()
	next.IncrInt64(done)
	if superseded {
		g.finish("", next, true)
	}
}

// Item says what is being worked on now.
func (g *Progress) Item(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stage == nil {
		return
	}
	g.stage.item = name
	g.say()
}

// Add says that n more bytes are done.
func (g *Progress) Add(n int64) {
	g.mu.Lock()
	var bar *mpb.Bar
	if g.stage != nil {
		g.stage.done += n
		bar = g.bar
		g.say()
	}
	g.mu.Unlock()
	if bar != nil {
		bar.IncrInt64(n)
	}
}

// EndStage ends the stage that goes on, so that what became of it can be
// printed; complete says whether it was finished.
func (g *Progress) EndStage(complete bool) {
	g.mu.Lock()
	line, bar := g.end(complete)
	g.stage = nil
	g.mu.Unlock()
	g.finish(line, bar, complete)
}

// Close ends the last stage and the display; complete says whether the work
// was finished. A second Close does nothing.
func (g *Progress) Close(complete bool) {
	g.mu.Lock()
	line, bar := g.end(complete)
	g.stage = nil
	first := !g.closed
	g.closed = true
	g.mu.Unlock()
	g.finish(line, bar, complete)
	if g.bars == nil || !first {
		return
	}
	g.bars.Wait()
	g.printer.mu.Lock()
	g.printer.stderr = g.printer.options.Stderr
	g.printer.mu.Unlock()
}

// end marks the stage that goes on as ended and returns what is left to be
// shown of it. The caller holds mu.
func (g *Progress) end(complete bool) (line string, bar *mpb.Bar) {
	s := g.stage
	if s == nil {
		return "", nil
	}
	s.ended = g.clock.Now()
	bar, g.bar = g.bar, nil
	if g.plain && complete {
		line = "backstay: " + s.name + ": " + g.describe(s) + "\n"
	}
	return line, bar
}

func (g *Progress) finish(line string, bar *mpb.Bar, complete bool) {
	if line != "" {
		g.printer.note(line)
	}
	switch {
	case bar == nil:
	case complete:
		bar.SetTotal(-1, true)
	default:
		bar.Abort(false)
	}
}

// say writes a plain line when the last one is old. The caller holds mu.
func (g *Progress) say() {
	if !g.plain {
		return
	}
	now := g.clock.Now()
	if now.Sub(g.said) < plainInterval {
		return
	}
	g.said = now
	g.printer.note("backstay: " + g.stage.name + ": " + g.describe(g.stage) + "\n")
}

// describe says how far a stage is: how much of how much, how fast, how long
// still, and what is being read. The caller holds mu.
func (g *Progress) describe(s *stage) string {
	if !s.ended.IsZero() {
		took := s.ended.Sub(s.began)
		text := "done in " + Duration(took)
		if s.done > 0 {
			text = Size(s.done) + " in " + Duration(took)
		}
		if rate := Rate(s.done, took); rate != "" && s.done > 0 {
			text += " (" + rate + ")"
		}
		return text
	}
	parts := []string{Size(s.done)}
	if s.total > 0 {
		parts[0] += " of " + Size(s.total)
	}
	elapsed := g.clock.Now().Sub(s.began)
	if s.done > 0 && elapsed > 0 {
		parts = append(parts, Rate(s.done, elapsed))
		if s.total > s.done {
			left := time.Duration(float64(elapsed) * float64(s.total-s.done) / float64(s.done))
			parts = append(parts, "ETA "+eta(left))
		}
	}
	if s.item != "" {
		parts = append(parts, shorten(Clean(s.item), 40))
	}
	return strings.Join(parts, ", ")
}

// eta writes a time that is only estimated: whole seconds are exact enough.
func eta(left time.Duration) string {
	if left = left.Round(time.Second); left < time.Minute {
		return fmt.Sprintf("%d s", left/time.Second)
	}
	return Duration(left)
}

// shorten keeps the end of a long name, which tells more than its beginning.
func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return "…" + string(r[len(r)-most+1:])
	}
	return s
}
