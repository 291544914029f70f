package sqlwrite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

const (
	// statementBytes is about how long an INSERT gets: a server takes 16 MiB
	// where nothing else is set, and ITFlow's importer has each of its lines
	// some six times in PHP's memory, of which there may be 128 MB.
	statementBytes = 1 << 20
	// A row that is longer than the buffer for rows comes in pieces, in a
	// statement of its own.
	inBytes  = 512 << 10
	outBytes = 2*inBytes + 64<<10 // what a row of inBytes may become, of the 4,096 columns that a table can have
)

// sink takes the text of a chunk's rows, in order.
type sink interface {
	// row takes in[from:to], a row or, where it does not begin or does not end
	// one, a piece of one, and returns the length of its text.
	row(in []byte, from, to int, at *place) (int64, error)
	// text takes what stands between rows.
	text(s string) error
}

// chunkReader reads the rows of chunks. Its buffer is used again.
type chunkReader struct {
	source   Source
	progress core.Progress
	in       []byte
}

func newChunkReader(s Source, p core.Progress) *chunkReader {
	return &chunkReader{source: s, progress: p, in: make([]byte, inBytes+slack)}
}

// write passes the rows of a chunk to a sink, in statements.
func (r *chunkReader) write(ctx context.Context, x *tableText, c core.Chunk, s sink) (err error) {
	file, err := r.source.Open(ctx, c.File)
	if err != nil {
		return fmt.Errorf("write table %s: %w", x.name, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	var rows, size int64
	n := 0         // bytes in the buffer
	var open int64 // bytes of the statement under way; 0: none is
	var at place
	inLarge := false
	begin := func(row int) error {
		switch {
		case open == 0:
			open = int64(len(x.head))
			return s.text(x.head)
		case open+int64(row) > statementBytes:
			open = int64(len(x.head))
			return errors.Join(s.text(";\n"), s.text(x.head))
		}
		open += int64(len(x.between))
		return s.text(x.between)
	}
	take := func(from, to int) error {
		length, err := s.row(r.in, from, to, &at)
		open += length
		if err != nil {
			return damaged(x, c, err.Error())
		}
		return nil
	}
	for {
		got, err := io.ReadFull(file, r.in[n:inBytes])
		n += got
		size += int64(got)
		r.progress.Add(int64(got))
		if err := ctx.Err(); err != nil {
			return err
		}
		last := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !last {
			return fmt.Errorf("write table %s, chunk %s: %w", x.name, c.File, err)
		}
		i := 0
		for i < n {
			end := bytes.IndexByte(r.in[i:n], '\n') + 1
			if end == 0 {
				break
			}
			if !inLarge {
				if err := begin(end); err != nil {
					return err
				}
				at = place{}
			}
			if err := take(i, i+end); err != nil {
				return err
			}
			rows++
			i += end
			if inLarge {
				inLarge = false
				open = statementBytes // the next row begins another one
			}
		}
		if i < n && last {
			return damaged(x, c, "it ends within a row")
		}
		if last {
			break
		}
		if i == 0 { // the buffer is full of one row
			end := pieceEnd(r.in[:n])
			if end == 0 {
				return damaged(x, c, errColumns.Error())
			}
			if !inLarge {
				if err := begin(statementBytes); err != nil {
					return err
				}
				inLarge, at = true, place{}
			}
			kept := r.in[end]
			r.in[end] = '\n' // where the piece ends
			err := take(0, end)
			r.in[end] = kept
			if err != nil {
				return err
			}
			i = end
		}
		n = copy(r.in, r.in[i:n])
	}
	if rows != c.Rows || size != c.Bytes {
		return damaged(x, c, fmt.Sprintf("it has %d rows in %d bytes, the index says %d in %d", rows, size, c.Rows, c.Bytes))
	}
	if open > 0 {
		return s.text(";\n")
	}
	return nil
}

// pieceEnd returns where the last piece of a row in a buffer may end: neither
// in a tab, behind which a NULL may stand, nor within an escape.
func pieceEnd(in []byte) int {
	end := len(in)
	escapes := 0
	for end-escapes > 0 && in[end-escapes-1] == '\\' {
		escapes++
	}
	end -= escapes % 2
	for end > 0 && in[end-1] == '\t' {
		end--
	}
	return end
}

func damaged(x *tableText, c core.Chunk, what string) error {
	return &core.Error{
		Code: core.CodeDamage, Op: "write table " + x.name, Message: "the stored rows of " + c.File + " are damaged: " + what,
		Hint: "backstay verify says what else of the backup is damaged; export another one",
	}
}

// measurer is a sink that adds up lengths.
type measurer struct {
	x    *tableText
	size int64
}

func (m *measurer) row(in []byte, from, to int, at *place) (int64, error) {
	n := m.x.measure(in, from, to, at)
	m.size += n
	return n, nil
}

func (m *measurer) text(s string) error {
	m.size += int64(len(s))
	return nil
}

// converter is a sink that makes the text in blocks, and sums the rows.
type converter struct {
	x    *tableText
	out  []byte // the block under way
	emit func(full []byte) (empty []byte, err error)
	sum  mysql.RowSummer
}

func (c *converter) row(in []byte, from, to int, at *place) (int64, error) {
	end := in[to-1] == '\n'
	c.sum.Write(in[from:to], end)
	if err := c.room(c.x.widest(to - from)); err != nil {
		return 0, err
	}
	before := len(c.out)
	out, err := c.x.convert(c.out, in, from, to, at)
	if err != nil {
		return 0, err
	}
	c.out = out
	return int64(len(out) - before), nil
}

func (c *converter) text(s string) error {
	if err := c.room(len(s)); err != nil {
		return err
	}
	c.out = append(c.out, s...)
	return nil
}

// room makes the block under way one that n more bytes go into.
func (c *converter) room(n int) (err error) {
	if cap(c.out)-len(c.out) >= n {
		return nil
	}
	if c.out, err = c.emit(c.out); err != nil {
		return err
	}
	if cap(c.out) < n {
		c.out = make([]byte, 0, n)
	}
	return nil
}
