package load

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// tableLoad is a table on its way in: its rows slice by slice, then the keys
// that were taken off, then its rows are read back and compared.
type tableLoad struct {
	core.Table
	slices []slice
	later  []key  // taken off, to be put back after the rows
	whole  string // the definition with them; "" when it was not asked for
	// disabled says that the table's keys are not kept up while rows come in.
	disabled bool
	// ranges says that the key's first column is a whole number, by which the
	// slices can be told apart.
	ranges bool
	// alone says that the server lets in one LOAD DATA at a time, because each
	// holds the lock of the AUTO_INCREMENT counter to its end.
	alone bool

	// Of the schedule.
	step    step
	started int // parts of the step that were begun
	running int
	total   int64 // remaining at the start
}

// slice is chunks that follow each other in the key's order.
type slice struct {
	chunks []core.Chunk
	rows   int64
	bytes  int64
	first  string // the first row's value of the key's first column, where it is a number
}

// step of a table.
type step int

const (
	stepRows step = iota
	stepKeys
	stepCheck
	stepDone
)

func newTableLoad(t core.Table) *tableLoad {
	w := &tableLoad{Table: t}
	last := ""
	for _, c := range t.Chunks {
		name, _, _ := strings.Cut(c.File[strings.LastIndexByte(c.File, '/')+1:], "-")
		if name != last || len(w.slices) == 0 {
			w.slices = append(w.slices, slice{})
		}
		last = name
		s := &w.slices[len(w.slices)-1]
		s.chunks = append(s.chunks, c)
		s.rows += c.Rows
		s.bytes += c.Bytes
	}
	return w
}

// parts is how many parts a step has, which may be done at once.
func (t *tableLoad) parts(s step) int {
	switch s {
	case stepRows:
		return len(t.slices)
	case stepKeys:
		if len(t.later) > 0 || t.disabled {
			return 1
		}
	case stepCheck:
		if t.ranges {
			return len(t.slices)
		}
		return 1
	}
	return 0
}

// remaining estimates what is not begun of a table, in units of what a server
// spends on loading a byte of a long row: as measured, MariaDB 10.11.
func (t *tableLoad) remaining() int64 {
	const (
		perRow  = 200
		perKey  = 100 // a row of a key
		perWord = 400 // a row of a full-text key
	)
	var n int64
	if t.step == stepRows {
		for _, s := range t.slices[t.started:] {
			n += s.bytes + perRow*s.rows
		}
	}
	if t.step < stepKeys || t.step == stepKeys && t.started == 0 {
		for _, k := range t.later {
			if k.fullText {
				n += perWord * t.Rows
			} else {
				n += perKey * t.Rows
			}
		}
	}
	if t.step <= stepCheck {
		n += (t.Bytes + perRow*t.Rows) / 4
	}
	return n
}

// schedule hands the parts of all tables' steps to the connections: of the
// table of which most is left, so that no connection is left alone with a
// large one at the end.
type schedule struct {
	mu      sync.Mutex
	changed *sync.Cond
	tables  []*tableLoad // that are not done, largest first
}

func newSchedule(tables []*tableLoad) *schedule {
	s := &schedule{}
	s.changed = sync.NewCond(&s.mu)
	for _, t := range tables {
		t.advance()
		if t.step == stepDone {
			continue
		}
		t.total = t.remaining()
		s.tables = append(s.tables, t)
	}
	slices.SortStableFunc(s.tables, func(a, b *tableLoad) int { return cmp.Compare(b.total, a.total) })
	return s
}

// advance goes to the next step that has a part to do, when the present one is done.
func (t *tableLoad) advance() {
	for t.step != stepDone && t.running == 0 && t.started == t.parts(t.step) {
		t.step++
		t.started = 0
	}
}

// next waits for a part that can be done now; nil when all is done. The
// caller calls finish when it has done it.
func (s *schedule) next(ctx context.Context) (*tableLoad, step, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if err := ctx.Err(); err != nil {
			return nil, 0, 0, err
		}
		if len(s.tables) == 0 {
			return nil, stepDone, 0, nil
		}
		var best *tableLoad
		var most int64
		for _, t := range s.tables {
			if best != nil && t.total <= most {
				break // nor has any of the others more
			}
			if t.started == t.parts(t.step) || t.alone && t.step == stepRows && t.running > 0 {
				continue
			}
			if n := t.remaining(); best == nil || n > most {
				best, most = t, n
			}
		}
		if best != nil {
			part := best.started
			best.started++
			best.running++
			return best, best.step, part, nil
		}
		s.changed.Wait()
	}
}

// finish tells that a part of the table's step is done.
func (s *schedule) finish(t *tableLoad) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.running--
	t.advance()
	if t.step == stepDone {
		s.tables = slices.DeleteFunc(s.tables, func(o *tableLoad) bool { return o == t })
	}
	s.changed.Broadcast()
}

// run does all parts of all tables over the connections; the first error ends it.
func (s *schedule) run(ctx context.Context, conns []*mysql.Conn, do func(ctx context.Context, c *mysql.Conn, t *tableLoad, at step, part int) error) error {
	return mysql.Share(ctx, conns, len(conns), func(ctx context.Context, c *mysql.Conn, _ int) error {
		stop := context.AfterFunc(ctx, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.changed.Broadcast()
		})
		defer stop()
		for {
			t, at, part, err := s.next(ctx)
			if err != nil || t == nil {
				return err
			}
			if err := do(ctx, c, t, at, part); err != nil {
				return err
			}
			s.finish(t)
		}
	})
}
