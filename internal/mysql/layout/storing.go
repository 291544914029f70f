package layout

import (
	"context"
	"fmt"

	"github.com/backstay/backstay/internal/core"
)

// chunkWriter stores the chunks of a slice in a goroutine of its own, so that
// rows are read and encoded while the block before them is hashed, compressed
// and written. finish or abandon must be called.
type chunkWriter struct {
	ctx      context.Context
	w        core.TreeWriter
	folder   string // path in the backup
	slice    int
	progress core.Progress

	jobs   chan chunkJob
	empty  chan []byte   // buffers to fill
	failed chan struct{} // closed when err is set
	over   chan struct{} // closed when the goroutine has ended
	closed bool          // jobs

	// The goroutine's, until over or failed is closed.
	err    error
	file   core.FileWriter
	chunks []core.Chunk
	names  []core.Entry
}

// chunkJob is a block to write, or the end of the chunk.
type chunkJob struct {
	block []byte
	end   *core.Chunk // without its file
}

func newChunkWriter(ctx context.Context, w core.TreeWriter, folder string, slice int, p core.Progress) *chunkWriter {
	c := &chunkWriter{
		ctx: ctx, w: w, folder: folder, slice: slice, progress: p,
		jobs: make(chan chunkJob), empty: make(chan []byte, 2), failed: make(chan struct{}), over: make(chan struct{}),
	}
	c.empty <- nil // grows as it is filled: most tables are small
	c.empty <- nil
	go c.run()
	return c
}

func (c *chunkWriter) run() {
	defer close(c.over)
	for j := range c.jobs {
		if c.err == nil {
			if c.err = c.do(j); c.err != nil {
				close(c.failed)
			}
		}
		if j.end == nil {
			c.empty <- j.block[:0] // there is room: it came from there
		}
	}
	if c.file != nil {
		_ = c.file.Close() // it was not ended: nothing of it is wanted
	}
}

func (c *chunkWriter) do(j chunkJob) (err error) {
	path := fmt.Sprintf("%s/%04d-%05d.tsv", c.folder, c.slice, len(c.chunks))
	if j.end == nil {
		if c.file == nil {
			if c.file, err = c.w.CreateBlocks(c.ctx, path); err != nil {
				return err
			}
		}
		if _, err := c.file.Write(j.block); err != nil {
			return err
		}
		c.progress.Add(int64(len(j.block)))
		return nil
	}
	obj, err := c.file.Finish()
	if cerr := c.file.Close(); err == nil {
		err = cerr
	}
	c.file = nil
	if err != nil {
		return err
	}
	c.names = append(c.names, FileEntry(path[len(c.folder)+1:], obj))
	j.end.File = path
	c.chunks = append(c.chunks, *j.end)
	return nil
}

// send hands a job over, or returns why an earlier one failed.
func (c *chunkWriter) send(j chunkJob) error {
	select {
	case c.jobs <- j:
		return nil
	case <-c.failed:
		return c.err
	}
}

// buffer returns an empty buffer to fill.
func (c *chunkWriter) buffer() []byte { return <-c.empty }

// block writes a block, which must have come from buffer.
func (c *chunkWriter) block(b []byte) error { return c.send(chunkJob{block: b}) }

// end ends the chunk.
func (c *chunkWriter) end(chunk core.Chunk) error { return c.send(chunkJob{end: &chunk}) }

// finish waits until all is written and returns it.
func (c *chunkWriter) finish() ([]core.Chunk, []core.Entry, error) {
	c.abandon()
	return c.chunks, c.names, c.err
}

// abandon ends the goroutine and throws an unfinished chunk away.
func (c *chunkWriter) abandon() {
	if !c.closed {
		c.closed = true
		close(c.jobs)
	}
	<-c.over
}
