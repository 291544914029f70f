package winzip

import (
	"bytes"
	"fmt"
	"io"
	"runtime"

	"github.com/klauspost/compress/flate"
)

// blockSize is how much of a stream one processor compresses at a time, and
// window how far back deflate looks.
const (
	blockSize = 1 << 20
	window    = 32 << 10
)

// parallel compresses one stream on all processors: in blocks, of which each
// knows the end of the one before it, so that little is lost. What it writes
// is one deflate stream. The goroutines end by themselves; nothing is left
// where a stream is given up.
type parallel struct {
	to      io.Writer
	level   int
	plain   []byte   // of the block that is being filled, behind what came before it
	before  int      // bytes of plain that are of the block before
	pending []*block // in order
	free    []*block
	most    int
	err     error
}

// block is a part of the stream.
type block struct {
	buf     []byte
	before  int
	last    bool
	deflate *flate.Writer
	packed  bytes.Buffer
	done    chan error
}

func newParallel(to io.Writer, n int) *parallel {
	return &parallel{to: to, level: level(n), most: min(runtime.GOMAXPROCS(0), 8)}
}

// reset begins another stream, with the buffers of the one before.
func (p *parallel) reset(to io.Writer) {
	p.to, p.plain, p.before, p.err = to, p.plain[:0], 0, nil
	p.pending = nil // Close has seen to it that there is none
}

// Write takes plain bytes.
func (p *parallel) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		if len(p.plain)-p.before == blockSize {
			if p.send(false); p.err != nil {
				return done, p.err
			}
		}
		n := min(len(b)-done, blockSize-(len(p.plain)-p.before))
		p.plain = append(p.plain, b[done:done+n]...)
		done += n
	}
	return done, p.err
}

// Close ends the stream.
func (p *parallel) Close() error {
	p.send(true)
	for len(p.pending) > 0 {
		p.receive()
	}
	return p.err
}

// send hands the block that is filled to a processor, and waits for the
// oldest one while all are busy.
func (p *parallel) send(last bool) {
	for len(p.pending) >= p.most {
		p.receive()
	}
	if p.err != nil {
		return
	}
	b := &block{done: make(chan error, 1)}
	if n := len(p.free); n > 0 {
		b, p.free = p.free[n-1], p.free[:n-1]
	}
	b.buf, p.plain = p.plain, b.buf[:0]
	b.before, b.last = p.before, last
	p.plain = append(p.plain, b.buf[max(0, len(b.buf)-window):]...)
	p.before = len(p.plain)
	p.pending = append(p.pending, b)
	go func() { b.done <- b.compress(p.level) }()
}

func (b *block) compress(level int) error {
	b.packed.Reset()
	if b.deflate == nil {
		w, err := flate.NewWriterDict(&b.packed, level, b.buf[:b.before])
		if err != nil {
			return fmt.Errorf("compress: %w", err)
		}
		b.deflate = w
	} else {
		b.deflate.ResetDict(&b.packed, b.buf[:b.before])
	}
	if _, err := b.deflate.Write(b.buf[b.before:]); err != nil {
		return fmt.Errorf("compress: %w", err)
	}
	if b.last {
		return b.deflate.Close()
	}
	return b.deflate.Flush() // at a byte's end, so that the next block fits on
}

// receive writes the oldest block.
func (p *parallel) receive() {
	b := p.pending[0]
	p.pending = p.pending[1:]
	if err := <-b.done; err != nil {
		p.err = err
	}
	if p.err == nil {
		_, p.err = p.to.Write(b.packed.Bytes())
	}
	p.free = append(p.free, b)
}
