package own

import (
	"encoding/binary"
	"io"
)

// frames passes zstd frames on and notes whether there are skippable ones,
// which decoders pass over: something could be in an archive that nobody looks at.
// What is no zstd at all it leaves to the decoder.
// https://www.rfc-editor.org/rfc/rfc8878#section-3.1
type frames struct {
	r         io.Reader
	skippable bool
	lost      bool   // it is no zstd; nothing is followed any more
	head      []byte // what came of a header
	need      int    // bytes that it has, as far as is known
	pass      int64  // bytes of a body before the next header
	state     frameState
	checksum  bool
}

type frameState uint8

const (
	atFrame frameState = iota
	atDescriptor
	atBlock
)

// Read implements io.Reader.
func (f *frames) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	f.follow(p[:n])
	return n, err
}

func (f *frames) follow(p []byte) {
	for len(p) > 0 && !f.lost {
		if f.pass > 0 {
			n := min(f.pass, int64(len(p)))
			f.pass -= n
			p = p[n:]
			continue
		}
		if f.need == 0 {
			f.need = 4
		}
		n := min(f.need-len(f.head), len(p))
		f.head = append(f.head, p[:n]...)
		p = p[n:]
		if len(f.head) == f.need {
			f.header()
		}
	}
}

// header takes a header that is there as far as need says.
func (f *frames) header() {
	next := func(state frameState, need int) { f.state, f.need, f.head = state, need, f.head[:0] }
	switch f.state {
	case atFrame:
		switch magic := binary.LittleEndian.Uint32(f.head); {
		case magic&0xFFFFFFF0 == 0x184D2A50:
			f.skippable, f.lost = true, true
		case magic != 0xFD2FB528:
			f.lost = true
		}
		next(atDescriptor, 1)
	case atDescriptor:
		d := f.head[0]
		single := d&0x20 != 0
		f.checksum = d&0x04 != 0
		size := []int64{0, 1, 2, 4}[d&3] + []int64{0, 2, 4, 8}[d>>6]
		if single && d>>6 == 0 || !single {
			size++ // the content's size, or the window's
		}
		f.pass = size
		next(atBlock, 3)
	case atBlock:
		h := uint32(f.head[0]) | uint32(f.head[1])<<8 | uint32(f.head[2])<<16
		f.pass = int64(h >> 3)
		if h>>1&3 == 1 { // one byte, many times
			f.pass = 1
		}
		next(atBlock, 3)
		if h&1 != 0 {
			if f.checksum {
				f.pass += 4
			}
			next(atFrame, 4)
		}
	}
}
