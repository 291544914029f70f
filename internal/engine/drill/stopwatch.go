package drill

import (
	"sync"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/evidence"
)

// stopwatch measures the steps of a drill. It is the restore's progress too,
// whose stages are steps. The zero step is none.
type stopwatch struct {
	core.Progress
	clock core.Clock

	mu    sync.Mutex
	steps []evidence.Step
	began time.Time // of the stage under way
	stage string    // "": none is
	bytes int64
}

func newStopwatch(e *engine.Engine) *stopwatch {
	return &stopwatch{Progress: e.Progress, clock: e.Clock, steps: []evidence.Step{}}
}

// begin begins a step, which ends when end is called.
func (w *stopwatch) begin(name string, recovery bool) (end func()) {
	w.endStage()
	w.Progress.Stage(name, 0)
	began := w.clock.Now()
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.steps = append(w.steps, evidence.Step{Name: name, DurationMS: w.clock.Now().Sub(began).Milliseconds(), Recovery: recovery})
	}
}

// Stage ends the restore's stage before and begins another.
func (w *stopwatch) Stage(name string, total int64) {
	w.endStage()
	w.mu.Lock()
	w.stage, w.began, w.bytes = name, w.clock.Now(), 0
	w.mu.Unlock()
	w.Progress.Stage(name, total)
}

// Add counts bytes of the stage.
func (w *stopwatch) Add(n int64) {
	w.mu.Lock()
	w.bytes += n
	w.mu.Unlock()
	w.Progress.Add(n)
}

// endStage ends the restore's stage under way.
func (w *stopwatch) endStage() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stage == "" {
		return
	}
	w.steps = append(w.steps, evidence.Step{Name: w.stage, DurationMS: w.clock.Now().Sub(w.began).Milliseconds(), Bytes: w.bytes, Recovery: true})
	w.stage = ""
}
