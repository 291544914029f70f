package layout

import (
	"context"

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

// Rows writes the rows of one slice of a table: it is the sink of its Encoder,
// to which the rows are given, and cuts them into chunks and blocks. Finish or
// Abandon must be called.
type Rows struct {
	Encoder mysql.Encoder

	out   *chunkWriter
	buf   []byte
	bytes int64 // of the chunk under way

	row, longest int64 // bytes of the row under way, and of the longest one
	inLarge      bool  // a row that comes in pieces is under way
}

var _ mysql.RowSink = (*Rows)(nil)

// NewRows begins a slice; its chunks become files of folder, a path in the
// backup. Memory does not depend on the size of the table or of a row.
func NewRows(ctx context.Context, w core.TreeWriter, folder string, slice int, p core.Progress) *Rows {
	r := &Rows{out: newChunkWriter(ctx, w, folder, slice, p)}
	r.buf = r.out.buffer()
	r.Encoder.Sink = r
	return r
}

// Stored is a slice as stored.
type Stored struct {
	Chunks  []core.Chunk
	Entries []core.Entry // the chunks' files
	Longest int64        // bytes of the longest row
}

// Finish ends the slice and waits until it is stored.
func (r *Rows) Finish() (Stored, error) {
	if err := r.cut(); err != nil {
		return Stored{}, err
	}
	chunks, entries, err := r.out.finish()
	return Stored{chunks, entries, r.longest}, err
}

// Abandon throws away what is not finished. After Finish it does nothing.
func (r *Rows) Abandon() { r.out.abandon() }

// WriteRow takes a row, or a piece of one, and ends the chunk where it should end.
func (r *Rows) WriteRow(piece []byte, end bool) error {
	r.bytes += int64(len(piece))
	r.row += int64(len(piece))
	if end {
		r.longest, r.row = max(r.longest, r.row), 0
	}
	large := !end || r.inLarge
	if large && !r.inLarge {
		// What comes before a large row must not decide where that is cut.
		if err := r.flush(); err != nil {
			return err
		}
	}
	r.inLarge = !end
	r.buf = append(r.buf, piece...)
	switch {
	case end && endsHere(r.bytes, int64(len(piece)), r.Encoder.Last>>32, chunkMin, chunkMean, chunkMax):
		return r.cut()
	case end && endsHere(int64(len(r.buf)), int64(len(piece)), r.Encoder.Last&(1<<32-1), blockMin, blockMean, blockMax), large && len(r.buf) >= blockMin+blockMean:
		return r.flush()
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
func (r *Rows) flush() error {
	if len(r.buf) == 0 {
		return nil
	}
	if err := r.out.block(r.buf); err != nil {
		return err
	}
	r.buf = r.out.buffer()
	return nil
}

// cut ends the chunk, if there is one.
func (r *Rows) cut() error {
	if r.bytes == 0 {
		return nil
	}
	if err := r.flush(); err != nil {
		return err
	}
	if err := r.out.end(core.Chunk{Rows: r.Encoder.Rows, Bytes: r.bytes, Checksum: r.Encoder.Sum.String()}); err != nil {
		return err
	}
	r.Encoder.Rows, r.Encoder.Sum, r.bytes = 0, mysql.RowSum{}, 0
	return nil
}
