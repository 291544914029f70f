package sqlwrite

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// slack is how many bytes behind a row are read, and behind its text written,
// before it is known where they end: words of eight bytes, texts of sixteen.
const slack = 32

// widest returns a bound of the text of so many bytes of a row.
func (x *tableText) widest(n int) int { return 2*n + 12*len(x.columns) + slack }

// place is where in a row the conversion stands.
type place struct {
	column int
	open   bool // the value of the column has begun
	null   bool // it was NULL
}

var (
	errEscape  = errors.New("a value has an escape that none is written with")
	errNumber  = errors.New("a number is none")
	errColumns = errors.New("a row has another number of values than its table has columns")
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// convert appends the text of in[from:to], a row or a piece of one, to out and
// says where it stands then. A piece that does not end its row ends neither in
// a tab nor within an escape. in has slack bytes behind to, of which the first is
// a newline unless the row ends in one; out has the capacity that widest says.
//
// Bytes that stand for themselves are copied eight at a time: whole words are
// stored, and what was stored too much is overwritten. BenchmarkWrite tells
// whether another way is faster.
func (x *tableText) convert(out, in []byte, from, to int, at *place) ([]byte, error) {
	o, i := len(out), from
	out = out[:cap(out)]
	if at.column == 0 && !at.open && !at.null {
		out[o] = '('
		o++
		goto value
	}
	switch {
	case at.null:
		goto special
	case x.columns[at.column].number:
		goto digits
	}
	goto text

value: // of at.column begins
	if in[i] == '\\' && in[i+1] == 'N' {
		o += copy(out[o:], "NULL")
		i += 2
		at.null, at.open = true, false
		goto special
	}
	at.null, at.open = false, true
	*(*[16]byte)(out[o : o+16]) = x.columns[at.column].open.text
	o += x.columns[at.column].open.n
	if !x.columns[at.column].number {
		goto text
	}

digits: // of a number, up to what ends it
	for {
		w := binary.LittleEndian.Uint64(in[i : i+8])
		binary.LittleEndian.PutUint64(out[o:o+8], w)
		// The high bit of each byte that is not one of -./0123456789.
		m := (w | ^((w | highs) - 0x2d*ones) | ^(0xb9*ones - w&^highs)) & highs
		if m == 0 {
			i += 8
			o += 8
			continue
		}
		n := bits.TrailingZeros64(m) >> 3
		i += n
		o += n
		break
	}
	if in[i] != '\t' && in[i] != '\n' {
		return nil, errNumber
	}
	goto special

text:
	for {
		w := binary.LittleEndian.Uint64(in[i : i+8])
		binary.LittleEndian.PutUint64(out[o:o+8], w)
		s, q, b := w^'\''*ones, w^'"'*ones, w^'\\'*ones
		// The lowest high bit is that of the first byte that is a control
		// character, a quote or a backslash; those above it may be wrong.
		m := ((w-0x20*ones)&^w | (s-ones)&^s | (q-ones)&^q | (b-ones)&^b) & highs
		if m == 0 {
			i += 8
			o += 8
			continue
		}
		n := bits.TrailingZeros64(m) >> 3
		i += n
		o += n
		break
	}

special:
	switch c := in[i]; c {
	case '\t':
		if at.column+1 >= len(x.columns) {
			return nil, errColumns
		}
		column := &x.columns[at.column]
		i++
		at.column++
		if at.null || in[i] == '\\' && in[i+1] == 'N' {
			if !at.null {
				out[o] = '\''
				o += column.endText.n
			}
			out[o] = ','
			o++
			goto value
		}
		*(*[16]byte)(out[o : o+16]) = column.next.text
		o += column.next.n
		if x.columns[at.column].number {
			goto digits
		}
		goto text
	case '\n':
		if i == to { // the row goes on
			return out[:o], nil
		}
		if i != to-1 || at.column != len(x.columns)-1 {
			return nil, errColumns
		}
		if !at.null {
			out[o] = '\''
			o += x.columns[at.column].endText.n
		}
		out[o] = ')'
		return out[:o+1], nil
	case '\\':
		switch {
		case at.null:
			return nil, errEscape
		case in[i+1] == 't':
			out[o] = '\t'
			o++
		case in[i+1] == 'n', in[i+1] == '\\':
			out[o], out[o+1] = '\\', in[i+1]
			o += 2
		default:
			return nil, errEscape
		}
		i += 2
		goto text
	default:
		if at.null {
			return nil, errEscape // more after NULL
		}
		i++
		out[o] = '\\'
		switch c {
		case 0:
			out[o+1] = '0'
		case '\r':
			out[o+1] = 'r'
		case 0x1a:
			out[o+1] = 'Z'
		case '\'', '"':
			out[o+1] = c
		default: // a control character that stands for itself
			out[o] = c
			o--
		}
		o += 2
		goto text
	}
}
