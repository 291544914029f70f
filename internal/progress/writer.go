package progress

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/core"
)

const (
	interval  = 500 * time.Millisecond // between writes, but for those at a stage's beginning
	patience  = 2 * time.Second        // for a write under way, at the end
	maxText   = 1 << 10                // bytes of a name
	maxStages = 100                    // that are remembered, the last ones
)

// Writer writes the progress of one run. A disk that is slow or full keeps the
// run from nothing: a goroutine writes, and what it cannot write is left out.
// All methods are safe for concurrent use and return at once, but for Close.
type Writer struct {
	path  string
	clock core.Clock
	log   *slog.Logger

	kick chan struct{} // a stage has begun
	stop chan struct{}
	done chan struct{} // closed when the goroutine has returned

	mu     sync.Mutex // guards what follows
	p      Progress
	dirty  bool
	closed bool
}

// NewWriter begins to write the progress of a run. Close must be called. log is
// told once when nothing can be written.
func NewWriter(stateDir string, run int64, clock core.Clock, log *slog.Logger) *Writer {
	w := &Writer{
		path: pathOf(stateDir, run), clock: clock, log: log, p: Progress{Run: run, Stages: []Stage{}},
		kick: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	go w.run()
	return w
}

var _ core.Progress = (*Writer)(nil)

// Stage ends the stage before and begins the next.
func (w *Writer) Stage(name string, total int64) {
	now := w.clock.Now().UTC()
	w.mu.Lock()
	if p := &w.p; p.Stage != "" {
		p.Stages = append(p.Stages, Stage{Name: p.Stage, Done: p.Done, DurationMS: now.Sub(p.Began).Milliseconds()})
		p.Stages = p.Stages[max(0, len(p.Stages)-maxStages):]
	}
	w.p.Stage, w.p.Item, w.p.Done, w.p.Total, w.p.Began, w.dirty = bounded(name), "", 0, max(total, 0), now, true
	w.mu.Unlock()
	select {
	case w.kick <- struct{}{}:
	default: // it is about to write anyway
	}
}

// Item says what is being worked on now.
func (w *Writer) Item(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.p.Item, w.dirty = name, true
}

// Add says that n more bytes of the stage are done.
func (w *Writer) Add(n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.p.Done, w.dirty = w.p.Done+n, true
}

// Close ends the writing and removes the file. A second Close does nothing.
func (w *Writer) Close() {
	w.mu.Lock()
	first := !w.closed
	w.closed = true
	w.mu.Unlock()
	if !first {
		return
	}
	close(w.stop)
	select {
	case <-w.done:
	case <-time.After(patience): // the disk hangs, and the run has ended
	}
}

// bounded cuts a text to what a file may hold.
func bounded(text string) string { return text[:min(len(text), maxText)] }

func (w *Writer) run() {
	defer close(w.done)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-w.stop:
			// There may be none, and who could not write cannot remove.
			_ = os.Remove(w.path)
			return
		case <-w.kick:
		case <-tick.C:
		}
		if err := w.write(); err != nil && !failed {
			failed = true
			w.log.Warn("how far the run is cannot be shown elsewhere; it goes on", "err", err)
		}
	}
}

// write writes what is new. A crash of the machine may lose it: so does the run.
func (w *Writer) write() (err error) {
	w.mu.Lock()
	fresh, p := w.dirty, w.p
	w.dirty = false
	p.Stages = append([]Stage{}, p.Stages...)
	w.mu.Unlock()
	if !fresh {
		return nil
	}
	p.Item, p.Updated = bounded(p.Item), w.clock.Now().UTC()
	b, err := encode(p)
	if err != nil {
		return err
	}
	// The folder may be removed while the run goes on.
	if err := os.MkdirAll(filepath.Dir(w.path), 0o700); err != nil {
		return err
	}
	temporary := w.path + ".new"
	if err := os.WriteFile(temporary, b, 0o600); err != nil {
		_ = os.Remove(temporary) // that it could not be written is what counts
		return err
	}
	return os.Rename(temporary, w.path)
}

// encode gives a file that is read whole: control characters of names take six
// bytes each.
func encode(p Progress) ([]byte, error) {
	b, err := json.Marshal(p)
	for err == nil && len(b) > maxFile && len(p.Stages) > 0 {
		p.Stages = p.Stages[(len(p.Stages)+1)/2:]
		b, err = json.Marshal(p)
	}
	return b, err
}
