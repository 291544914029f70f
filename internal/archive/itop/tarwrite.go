package itop

import (
	"fmt"
	"io"

	"github.com/backstay/backstay/internal/archive"
)

// Largest sizes that the ways of writing one hold.
const (
	maxOctal11 = 1<<33 - 1 // 8 GiB: eleven octal digits and an end
	maxOctal12 = 1<<36 - 1 // 64 GiB: twelve without an end, which php-tar and GNU tar read
)

// tarWriter writes a tar as php-tar does and reads it.
type tarWriter struct {
	w     io.Writer
	block [blockSize]byte
}

// begin writes the header of an entry. The body follows, and end.
func (t *tarWriter) begin(h header) error {
	if len(h.name) > archive.MaxPath {
		return fmt.Errorf("write entry %q: its name is too long", h.name)
	}
	// php-tar has room for 99 bytes and a NUL.
	if len(h.name) > 99 {
		if err := t.put(header{name: "././@LongLink", size: int64(len(h.name)) + 1}, typeLongName); err != nil {
			return err
		}
		long := append([]byte(h.name), 0)
		if _, err := t.w.Write(append(long, make([]byte, padding(int64(len(long))))...)); err != nil {
			return err
		}
		h.name = h.name[:99]
	}
	kind := byte(typeFile)
	if h.dir {
		kind, h.size = typeDir, 0
	}
	return t.put(h, kind)
}

func (t *tarWriter) put(h header, kind byte) error {
	b := t.block[:]
	clear(b)
	copy(b, h.name)
	copy(b[100:], fmt.Sprintf("%07o", h.mode&0o777))
	copy(b[108:], "0000000")
	copy(b[116:], "0000000")
	putSize(b[124:136], h.size)
	seconds := int64(0)
	if !h.time.IsZero() {
		seconds = min(max(h.time.Unix(), 0), maxOctal11)
	}
	copy(b[136:], fmt.Sprintf("%011o", seconds))
	b[156] = kind
	copy(b[257:], "ustar  \x00")
	copy(b[148:], fmt.Sprintf("%06o\x00 ", checksum(b)))
	_, err := t.w.Write(b)
	return err
}

func putSize(b []byte, size int64) {
	switch {
	case size <= maxOctal11:
		copy(b, fmt.Sprintf("%011o", size))
	case size <= maxOctal12:
		copy(b, fmt.Sprintf("%012o", size))
	default:
		b[0] = 0x80
		for i := len(b) - 1; i > 0; i-- {
			b[i] = byte(size)
			size >>= 8
		}
	}
}

// end fills the last block of a body of size bytes.
func (t *tarWriter) end(size int64) error {
	_, err := t.w.Write(make([]byte, padding(size)))
	return err
}

// close writes the end mark.
func (t *tarWriter) close() error {
	_, err := t.w.Write(make([]byte, 2*blockSize))
	return err
}
