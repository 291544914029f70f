package sqlwrite

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/backstay/backstay/internal/core"
)

// aheadBytes is about how much text waits, of all workers together, for the
// chunk before it to be written.
const aheadBytes = 40 << 20

// job is a chunk of rows on its way to text.
type job struct {
	table *tableText
	chunk core.Chunk
	out   chan []byte // closed after err is set
	err   error
}

// item is a part of the dump: a text, or a chunk's rows.
type item struct {
	text string
	rows *job
}

// pipeline converts chunks at the same time and writes them in order. Its
// memory is bounded: each job's text waits in blocks, of which there are so many.
type pipeline struct {
	w      io.Writer
	source Source
	opt    Options
	blocks chan []byte // to use again
}

func (p *pipeline) run(ctx context.Context, items []item) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	var busy sync.WaitGroup
	defer busy.Wait()
	defer cancel()
	p.blocks = make(chan []byte, aheadBytes/outBytes+p.opt.Workers)
	// A worker that is done with a job takes the next one, whether or not anybody
	// has written the text: only so many jobs are begun and not yet written.
	begun := make(chan struct{}, 2*p.opt.Workers)
	waiting := max(aheadBytes/outBytes/cap(begun), 1)
	jobs := make(chan *job)
	for i := range items {
		if items[i].rows != nil {
			items[i].rows.out = make(chan []byte, waiting)
		}
	}
	busy.Go(func() {
		defer close(jobs)
		for _, it := range items {
			if it.rows == nil {
				continue
			}
			select {
			case begun <- struct{}{}:
			case <-ctx.Done():
				return
			}
			select {
			case jobs <- it.rows:
			case <-ctx.Done():
				return
			}
		}
	})
	for range p.opt.Workers {
		busy.Go(func() {
			r := newChunkReader(p.source, p.opt.Progress)
			// Jobs are taken in order, so that the one that is written next is
			// always under way, and none waits for a worker that waits for it.
			for j := range jobs {
				j.err = p.convert(ctx, r, j)
				close(j.out)
			}
		})
	}
	for _, it := range items {
		if it.rows == nil {
			if _, err := io.WriteString(p.w, it.text); err != nil {
				return err
			}
			continue
		}
		p.opt.Progress.Item("table " + it.rows.table.name)
		if err := p.drain(ctx, it.rows); err != nil {
			return err
		}
		<-begun
	}
	return nil
}

// drain writes the text of a chunk as it comes.
func (p *pipeline) drain(ctx context.Context, j *job) error {
	for {
		select {
		case block, ok := <-j.out:
			if !ok {
				return j.err
			}
			if _, err := p.w.Write(block); err != nil {
				return err
			}
			p.reuse(block)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *pipeline) reuse(block []byte) {
	if cap(block) > outBytes {
		return
	}
	select {
	case p.blocks <- block[:0]:
	default:
	}
}

func (p *pipeline) block() []byte {
	select {
	case b := <-p.blocks:
		return b
	default:
		return make([]byte, 0, outBytes)
	}
}

func (p *pipeline) convert(ctx context.Context, r *chunkReader, j *job) error {
	send := func(block []byte) error {
		select {
		case j.out <- block:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c := converter{x: j.table, emit: func(full []byte) ([]byte, error) {
		if len(full) > 0 {
			if err := send(full); err != nil {
				return nil, err
			}
		}
		return p.block(), nil
	}}
	if err := r.write(ctx, j.table, j.chunk, &c); err != nil {
		return err
	}
	if sum := c.sum.Sum().String(); sum != j.chunk.Checksum {
		return damaged(j.table, j.chunk, "their checksum is "+sum+", the index says "+j.chunk.Checksum)
	}
	return send(c.out)
}

// measureAll adds up the lengths of the items' texts.
func measureAll(ctx context.Context, source Source, opt Options, items []item) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var size int64
	var chunks []*job
	for _, it := range items {
		if it.rows == nil {
			size += int64(len(it.text))
		} else {
			chunks = append(chunks, it.rows)
		}
	}
	var next, total atomic.Int64
	failures := make([]error, opt.Workers)
	var busy sync.WaitGroup
	for i := range opt.Workers {
		busy.Go(func() {
			r := newChunkReader(source, opt.Progress)
			for {
				n := next.Add(1) - 1
				if n >= int64(len(chunks)) {
					return
				}
				m := measurer{x: chunks[n].table}
				if err := r.write(ctx, m.x, chunks[n].chunk, &m); err != nil {
					failures[i] = err
					cancel()
					return
				}
				total.Add(m.size)
			}
		})
	}
	busy.Wait()
	return size + total.Load(), firstOf(failures)
}

// firstOf returns the error that made the others, which were cancelled by it.
func firstOf(failures []error) error {
	var cancelled error
	for _, err := range failures {
		switch {
		case errors.Is(err, context.Canceled):
			cancelled = err
		case err != nil:
			return err
		}
	}
	return cancelled
}
