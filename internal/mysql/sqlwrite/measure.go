package sqlwrite

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// measure returns the length of the text of in[from:to], a row or a piece of
// one, and where it stands then. It is convert without the text: what it must
// look at is only what makes the text longer or shorter than the line. Errors are left
// to convert. in has slack bytes behind to.
func (x *tableText) measure(in []byte, from, to int, at *place) (n int64) {
	n = int64(to - from)
	counted := from // tabs before it are counted in at.column
	if at.column == 0 && !at.open {
		at.open = true
		n += x.fixed
	}
	for i := from; i < to; {
		w := binary.LittleEndian.Uint64(in[i : i+8])
		z, r, e, s, q, b := w, w^'\r'*ones, w^0x1a*ones, w^'\''*ones, w^'"'*ones, w^'\\'*ones
		m := ((z-ones)&^z | (r-ones)&^r | (e-ones)&^e | (s-ones)&^s | (q-ones)&^q | (b-ones)&^b) & highs
		if m == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(m) >> 3
		if i >= to {
			break
		}
		if in[i] != '\\' {
			n++
			i++
			continue
		}
		switch in[i+1] {
		case 't':
			n--
		case 'N':
			at.column += bytes.Count(in[counted:i], tab)
			counted = i
			if at.column < len(x.columns) {
				n += int64(len("NULL") - len(`\N`) - x.columns[at.column].quoted)
			}
		}
		i += 2
	}
	if in[to-1] != '\n' && len(x.columns) > 1 { // the row goes on
		at.column += bytes.Count(in[counted:to], tab)
	}
	return n
}

var tab = []byte{'\t'}
