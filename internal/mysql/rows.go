package mysql

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// RowSum is the checksum of a set of rows: the sum modulo 2^128 of their
// XXH3-128 hashes (docs/spec/backup-layout.md). The zero value is the sum of
// no rows. It depends neither on order nor on where chunks end.
type RowSum struct{ hi, lo uint64 }

// AddRow adds a row, given as its line in a chunk with the final newline.
func (s *RowSum) AddRow(line []byte) {
	s.addHash(xxh3.Hash128(line))
}

func (s *RowSum) addHash(h xxh3.Uint128) {
	s.Add(RowSum{h.Hi, h.Lo})
}

// Add adds another set of rows.
func (s *RowSum) Add(o RowSum) {
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, o.lo, 0)
	s.hi, _ = bits.Add64(s.hi, o.hi, carry)
}

// Sub takes a set of rows out that is in it.
func (s *RowSum) Sub(o RowSum) {
	var borrow uint64
	s.lo, borrow = bits.Sub64(s.lo, o.lo, 0)
	s.hi, _ = bits.Sub64(s.hi, o.hi, borrow)
}

// String returns the sum as 32 hex digits.
func (s RowSum) String() string { return fmt.Sprintf("%016x%016x", s.hi, s.lo) }

// ParseRowSum reads what String wrote.
func ParseRowSum(text string) (RowSum, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != 16 {
		return RowSum{}, fmt.Errorf("%q is not a row checksum", text)
	}
	var s RowSum
	for i := range 8 {
		s.hi = s.hi<<8 | uint64(b[i])
		s.lo = s.lo<<8 | uint64(b[i+8])
	}
	return s, nil
}

// RowSummer sums the rows of a chunk that is read back. Its zero value is
// ready.
type RowSummer struct {
	sum  RowSum
	rows int64
	open *xxh3.Hasher // the row that is under way
	busy bool
}

// Write takes the next piece of a chunk; end is true when it ends a row.
func (s *RowSummer) Write(piece []byte, end bool) {
	if end && !s.busy {
		s.sum.AddRow(piece)
		s.rows++
		return
	}
	if s.open == nil {
		s.open = xxh3.New()
	}
	if !s.busy {
		s.open.Reset()
	}
	s.busy = !end
	_, _ = s.open.Write(piece) // a hash takes everything
	if end {
		s.sum.addHash(s.open.Sum128())
		s.rows++
	}
}

// Rows returns how many rows have ended. A row that has not ended counts in
// neither Rows nor Sum.
func (s *RowSummer) Rows() int64 { return s.rows }

// Sum returns the checksum of the rows that have ended.
func (s *RowSummer) Sum() RowSum { return s.sum }

// RowSink takes encoded rows. Lines come whole but for large rows, which come
// in pieces; end is true for the piece that ends a row, which the Encoder has
// counted by then.
type RowSink interface {
	WriteRow(piece []byte, end bool) error
}

// Encoder is a RowHandler that turns rows of the text protocol into the lines
// of a chunk, sums them, and hands them to a sink.
type Encoder struct {
	Sink    RowSink
	Columns int // values that every row must have; 0: any number
	Rows    int64
	Sum     RowSum
	Last    uint64 // low half of the last row's hash: as good as random, and the same in every backup

	line  []byte
	large *xxh3.Hasher
}

var _ RowHandler = (*Encoder)(nil)

const (
	escape  = '\\'
	columnS = '\t'
	lineS   = '\n'
)

// Row encodes one row.
func (e *Encoder) Row(payload []byte) error {
	line := e.line[:0]
	columns := 0
	for ; len(payload) > 0; columns++ {
		if columns > 0 {
			line = append(line, columnS)
		}
		v, null, rest, err := NextValue(payload)
		if err != nil {
			return err
		}
		payload = rest
		if null {
			line = append(line, escape, 'N')
			continue
		}
		line = appendEscaped(line, v)
	}
	if err := e.checkColumns(columns); err != nil {
		return err
	}
	line = append(line, lineS)
	e.line = line
	e.Rows++
	h := xxh3.Hash128(line)
	e.Last = h.Lo
	e.Sum.addHash(h)
	return e.Sink.WriteRow(line, true)
}

func (e *Encoder) checkColumns(n int) error {
	if e.Columns > 0 && n != e.Columns {
		return fmt.Errorf("%w: %d values, expected %d", errMalformedRow, n, e.Columns)
	}
	return nil
}

// LargeRow encodes a row piece by piece.
func (e *Encoder) LargeRow(r *RowReader) error {
	if e.large == nil {
		e.large = xxh3.New()
	}
	e.large.Reset()
	emit := func(piece []byte) error {
		if _, err := e.large.Write(piece); err != nil {
			return err
		}
		return e.Sink.WriteRow(piece, false)
	}
	in := make([]byte, 256<<10)
	columns := 0
	for ; ; columns++ {
		size, null, err := r.Next()
		if isEOF(err) {
			break
		}
		if err != nil {
			return err
		}
		line := e.line[:0]
		if columns > 0 {
			line = append(line, columnS)
		}
		if null {
			line = append(line, escape, 'N')
		}
		for size > 0 {
			n, err := r.Read(in[:min(size, int64(len(in)))])
			if isEOF(err) && r.err == nil {
				return errMalformedRow // it is shorter than it says
			}
			if err != nil {
				return err
			}
			line = appendEscaped(line, in[:n])
			size -= int64(n)
			if err := emit(line); err != nil {
				return err
			}
			e.line, line = line, line[:0]
		}
		if err := emit(line); err != nil {
			return err
		}
	}
	if err := e.checkColumns(columns); err != nil {
		return err
	}
	end := []byte{lineS}
	if _, err := e.large.Write(end); err != nil {
		return err
	}
	h := e.large.Sum128()
	e.Rows++
	e.Last = h.Lo
	e.Sum.addHash(h)
	return e.Sink.WriteRow(end, true)
}

// appendEscaped appends v with tab, newline and backslash escaped. Most values
// have none of them, which is found out many bytes at a time.
func appendEscaped(dst, v []byte) []byte {
	if len(v) < 32 {
		if plain(v) {
			return append(dst, v...)
		}
		for _, b := range v {
			switch b {
			case escape:
				dst = append(dst, escape, escape)
			case columnS:
				dst = append(dst, escape, 't')
			case lineS:
				dst = append(dst, escape, 'n')
			default:
				dst = append(dst, b)
			}
		}
		return dst
	}
	nextEscape, nextColumn, nextLine := -1, -1, -1
	at := 0
	for {
		nextEscape = nextByte(v, escape, at, nextEscape)
		nextColumn = nextByte(v, columnS, at, nextColumn)
		nextLine = nextByte(v, lineS, at, nextLine)
		n := min(nextEscape, nextColumn, nextLine)
		dst = append(dst, v[at:n]...)
		if n == len(v) {
			return dst
		}
		switch n {
		case nextEscape:
			dst = append(dst, escape, escape)
		case nextColumn:
			dst = append(dst, escape, 't')
		case nextLine:
			dst = append(dst, escape, 'n')
		}
		at = n + 1
	}
}

// plain says whether nothing in v is escaped, by looking at eight bytes at a
// time: a byte of a word is zero exactly where the high bit of
// (word-0x01…)&^word is the lowest one set, and a word xor eight times a
// character has a zero byte where that character was.
func plain(v []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	special := func(w uint64) bool {
		e, c, l := w^escape*ones, w^columnS*ones, w^lineS*ones
		return ((e-ones)&^e|(c-ones)&^c|(l-ones)&^l)&highs != 0
	}
	for len(v) >= 8 {
		if special(binary.LittleEndian.Uint64(v)) {
			return false
		}
		v = v[8:]
	}
	for _, b := range v {
		if b == escape || b == columnS || b == lineS {
			return false
		}
	}
	return true
}

// nextByte returns the place of the first b in v at or after from, or len(v).
// known is its last answer, which still holds when it is not before from.
func nextByte(v []byte, b byte, from, known int) int {
	if known >= from {
		return known
	}
	if i := bytes.IndexByte(v[from:], b); i >= 0 {
		return from + i
	}
	return len(v)
}

// NextField takes the first value off a line of a chunk (without its newline)
// and undoes the escaping into dst. more is false for the last value.
func NextField(dst, line []byte) (value []byte, null bool, rest []byte, more bool, err error) {
	end := bytes.IndexByte(line, columnS)
	field := line
	if end >= 0 {
		field, rest, more = line[:end], line[end+1:], true
	}
	if len(field) == 2 && field[0] == escape && field[1] == 'N' {
		return nil, true, rest, more, nil
	}
	for {
		i := bytes.IndexByte(field, escape)
		if i < 0 {
			return append(dst, field...), false, rest, more, nil
		}
		if i+1 == len(field) {
			return nil, false, nil, false, fmt.Errorf("escape at the end of a value")
		}
		dst = append(dst, field[:i]...)
		switch field[i+1] {
		case 't':
			dst = append(dst, columnS)
		case 'n':
			dst = append(dst, lineS)
		case escape:
			dst = append(dst, escape)
		default:
			return nil, false, nil, false, fmt.Errorf("unknown escape \\%c", field[i+1])
		}
		field = field[i+2:]
	}
}

// appendLiteral appends v as a literal of an INSERT: a quoted string while it
// is plain, hexadecimal when it has a byte that quoting would have to explain.
func appendLiteral(dst, v []byte) []byte {
	for _, b := range v {
		if b < 0x20 || b > 0x7e || b == '\'' || b == escape {
			dst = append(dst, 'x', '\'')
			dst = hex.AppendEncode(dst, v)
			return append(dst, '\'')
		}
	}
	dst = append(dst, '\'')
	dst = append(dst, v...)
	return append(dst, '\'')
}

// AppendRowLiteral appends a line of a chunk (without its newline) as the
// parenthesised list of an INSERT. wrap makes the expression for the i-th
// value of its literal where the literal alone would not do; it may be nil.
func AppendRowLiteral(dst, line []byte, columns int, wrap func(i int) (before, after string)) ([]byte, error) {
	var value []byte
	dst = append(dst, '(')
	n := 0
	for more := true; more; n++ {
		var null bool
		var err error
		if value, null, line, more, err = NextField(value[:0], line); err != nil {
			return nil, err
		}
		if n > 0 {
			dst = append(dst, ',')
		}
		if null {
			dst = append(dst, "NULL"...)
			continue
		}
		before, after := "", ""
		if wrap != nil {
			before, after = wrap(n)
		}
		dst = append(dst, before...)
		dst = appendLiteral(dst, value)
		dst = append(dst, after...)
	}
	if n != columns {
		return nil, fmt.Errorf("row has %d values, expected %d", n, columns)
	}
	return append(dst, ')'), nil
}
