package dump

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// A chunk ends at a row that the row's own hash chooses, so that the same rows
// make the same chunks whatever was inserted before them.
const (
	chunkMin  = 8 << 20
	chunkMax  = 32 << 20
	chunkMean = 8 << 20 // expected length after chunkMin

	// Within a chunk, blocks end the same way. They are what a later backup can
	// share: one changed row costs one block.
	blockMin  = 512 << 10
	blockMax  = 2 << 20
	blockMean = 512 << 10 // expected length after blockMin
)

// chunker is the sink of one slice of a table: it cuts the rows into chunks.
type chunker struct {
	enc   mysql.Encoder
	out   *chunkWriter
	buf   []byte
	bytes int64 // of the chunk under way

	row, longest int64 // bytes of the row under way, and of the longest one
	inLarge      bool  // a row that comes in pieces is under way
}

var _ mysql.RowSink = (*chunker)(nil)

func newChunker(out *chunkWriter) *chunker {
	c := &chunker{out: out, buf: out.buffer()}
	c.enc.Sink = c
	return c
}

// WriteRow takes a row, or a piece of one, and ends the chunk where it should end.
func (c *chunker) WriteRow(piece []byte, end bool) error {
	c.bytes += int64(len(piece))
	c.row += int64(len(piece))
	if end {
		c.longest, c.row = max(c.longest, c.row), 0
	}
	large := !end || c.inLarge
	if large && !c.inLarge {
		// What comes before a large row must not decide where that is cut.
		if err := c.flush(); err != nil {
			return err
		}
	}
	c.inLarge = !end
	c.buf = append(c.buf, piece...)
	switch {
	case end && endsHere(c.bytes, int64(len(piece)), c.enc.Last>>32, chunkMin, chunkMean, chunkMax):
		return c.cut()
	case end && endsHere(int64(len(c.buf)), int64(len(piece)), c.enc.Last&(1<<32-1), blockMin, blockMean, blockMax), large && len(c.buf) >= blockMin+blockMean:
		return c.flush()
	}
	return nil
}

// endsHere says whether a row of this length and hash, 32 bits of it, ends what
// has size bytes with it. It makes the expected length after low the same for
// short and long rows: a row is the end with a probability proportional to its
// length.
func endsHere(size, row int64, hash uint64, low, mean, high int64) bool {
	switch {
	case size < low:
		return false
	case size >= high, row >= mean:
		return true
	}
	return hash < uint64(row)*(1<<32/uint64(mean))
}

// flush writes the rows so far as a block.
func (c *chunker) flush() error {
	if len(c.buf) == 0 {
		return nil
	}
	if err := c.out.block(c.buf); err != nil {
		return err
	}
	c.buf = c.out.buffer()
	return nil
}

// cut ends the chunk, if there is one.
func (c *chunker) cut() error {
	if c.bytes == 0 {
		return nil
	}
	if err := c.flush(); err != nil {
		return err
	}
	if err := c.out.end(core.Chunk{Rows: c.enc.Rows, Bytes: c.bytes, Checksum: c.enc.Sum.String()}); err != nil {
		return err
	}
	c.enc.Rows, c.enc.Sum, c.bytes = 0, mysql.RowSum{}, 0
	return nil
}

// Entries below database/ look the same in every backup, so that equal data
// makes equal folders.
var sameTime = time.Unix(0, 0).UTC()

func fileEntry(name string, obj core.Object) core.Entry {
	return core.Entry{Name: name, Type: core.TypeFile, Mode: 0o600, ModTime: sameTime, Object: obj}
}

// writeDir stores a folder and returns its entry.
func writeDir(ctx context.Context, w core.TreeWriter, name string, entries []core.Entry) (core.Entry, error) {
	obj, err := w.WriteDir(ctx, entries)
	if err != nil {
		return core.Entry{}, err
	}
	e := core.Entry{Name: name, Type: core.TypeDir, Mode: 0o700, ModTime: sameTime, Object: obj}
	for _, c := range entries {
		if c.Type == core.TypeDir {
			e.Files += c.Files
		} else {
			e.Files++
		}
	}
	return e, nil
}

// writeFile stores a small file and returns its entry.
func writeFile(ctx context.Context, w core.TreeWriter, path, name string, data []byte) (_ core.Entry, err error) {
	f, err := w.Create(ctx, path)
	if err != nil {
		return core.Entry{}, err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	if _, err := f.Write(data); err != nil {
		return core.Entry{}, err
	}
	obj, err := f.Finish()
	if err != nil {
		return core.Entry{}, err
	}
	return fileEntry(name, obj), nil
}

// fileName turns an object's name into a file name: docs/spec/backup-layout.md.
func fileName(name string) string {
	out := make([]byte, 0, len(name))
	for i := range len(name) {
		b := name[i]
		if b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_' || b == '-' {
			out = append(out, b)
			continue
		}
		out = fmt.Appendf(out, "%%%02X", b)
	}
	if len(out) > 200 {
		sum := sha256.Sum256([]byte(name))
		out = fmt.Appendf(out[:180], "~%x", sum[:8])
	}
	return string(out)
}
