package itop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/archive"
)

const blockSize = 512

// Type flags of tar that iTop's backup writes.
const (
	typeFile     = '0'
	typeOldFile  = 0 // as some write it
	typeDir      = '5'
	typeLongName = 'L'
)

// header is a tar entry's.
type header struct {
	name string
	dir  bool
	mode int64
	size int64
	time time.Time
}

// tarReader reads a tar as iTop's php-tar writes it and GNU tar in its own
// format. Unlike archive/tar it takes no extension that readers understand
// differently, and it knows whether the end is there.
type tarReader struct {
	r     io.Reader
	at    string // the entry that is being read, for messages
	left  int64  // of the body
	pad   int64  // after the body
	block [blockSize]byte
}

func newTarReader(r io.Reader) *tarReader { return &tarReader{r: r, at: "the archive"} }

// full reads exactly len(p) bytes.
func (t *tarReader) full(p []byte) error {
	_, err := io.ReadFull(t.r, p)
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return &flaw{Where: t.at, Message: "the archive breaks off here: it was cut short"}
	}
	return err
}

// next goes to the next entry. io.EOF: the end that a whole archive has.
func (t *tarReader) next() (header, error) {
	long := ""
	for {
		if _, err := io.Copy(io.Discard, t); err != nil {
			return header{}, err
		}
		if err := t.full(t.block[:]); err != nil {
			return header{}, err
		}
		if zero(t.block[:]) {
			if long != "" {
				return header{}, &flaw{Where: long, Message: "its entry is missing"}
			}
			if err := t.full(t.block[:]); err != nil {
				return header{}, err
			}
			if !zero(t.block[:]) {
				return header{}, &flaw{Where: t.at, Message: "an end mark and then more follow it"}
			}
			return header{}, t.end()
		}
		h, kind, err := t.parse(long)
		if err != nil {
			return header{}, err
		}
		if kind != typeLongName {
			return h, nil
		}
		if long, err = t.longName(h.size, long); err != nil {
			return header{}, err
		}
	}
}

// longName reads a name that did not fit into its header.
func (t *tarReader) longName(size int64, before string) (string, error) {
	if before != "" {
		return "", archive.Hostile(before, "it has two names")
	}
	if size > archive.MaxPath+1 {
		return "", archive.Hostile(t.at, fmt.Sprintf("its name is longer than %d bytes", archive.MaxPath))
	}
	name := make([]byte, size)
	if err := t.full(name); err != nil {
		return "", err
	}
	if err := t.full(make([]byte, padding(size))); err != nil {
		return "", err
	}
	t.left, t.pad = 0, 0
	long := strings.TrimRight(string(name), "\x00")
	if long == "" {
		return "", archive.Hostile("", "its name is empty")
	}
	return long, nil
}

// end sees to it that nothing but zeros follows.
func (t *tarReader) end() error {
	buf := make([]byte, 32<<10)
	for {
		n, err := t.r.Read(buf)
		if !zero(buf[:n]) {
			return &flaw{Where: "the archive", Message: "something follows its end mark"}
		}
		if err != nil {
			return err // io.EOF too
		}
	}
}

// parse reads the header in the block. long is the name that came before it.
func (t *tarReader) parse(long string) (header, byte, error) {
	b := t.block[:]
	name := cstring(b[:100])
	magic := string(b[257:265])
	if magic == "ustar\x0000" && b[345] != 0 {
		name = cstring(b[345:500]) + "/" + name
	}
	if long != "" {
		name = long
	}
	if sum, ok := octal(b[148:156]); !ok || sum != checksum(b) {
		return header{}, 0, &flaw{Where: t.at, Message: "what follows it is no entry: the archive is damaged here"}
	}
	if magic != "ustar  \x00" && magic != "ustar\x0000" {
		return header{}, 0, archive.Hostile(name, "it is not of the kind of tar that iTop writes")
	}
	if magic == "ustar  \x00" && b[345] != 0 {
		// GNU tar has times here, php-tar reads the beginning of the name.
		return header{}, 0, archive.Hostile(name, "readers would disagree about its name")
	}
	size, ok := number(b[124:136])
	if !ok {
		return header{}, 0, archive.Hostile(name, "its size is none")
	}
	h := header{name: name, size: size}
	h.mode, _ = octal(b[100:108])
	if seconds, ok := octal(b[136:148]); ok {
		h.time = time.Unix(seconds, 0).UTC()
	}
	kind := b[156]
	switch kind {
	case typeFile, typeOldFile:
	case typeLongName:
	case typeDir:
		h.dir = true
		if size != 0 {
			return header{}, 0, archive.Hostile(name, "it is a folder with a size")
		}
	case '1', '2', 'K':
		return header{}, 0, archive.Hostile(name, "it is a link, and iTop's backup has none")
	case '3', '4', '6':
		return header{}, 0, archive.Hostile(name, "it is a device or FIFO")
	case 'x', 'g':
		return header{}, 0, archive.Hostile(name, "it is of the pax format, which iTop's restore cannot read; pack it anew with tar --format=gnu")
	default:
		return header{}, 0, archive.Hostile(name, fmt.Sprintf("it is of the type %q", kind))
	}
	t.at, t.left, t.pad = name, size, padding(size)
	return h, kind, nil
}

// Read reads the body of the entry.
func (t *tarReader) Read(p []byte) (int, error) {
	if t.left == 0 {
		if t.pad > 0 {
			pad := t.block[:t.pad]
			if err := t.full(pad); err != nil {
				return 0, err
			}
			t.pad = 0
		}
		return 0, io.EOF
	}
	if int64(len(p)) > t.left {
		p = p[:t.left]
	}
	n, err := t.r.Read(p)
	t.left -= int64(n)
	if err == io.EOF && t.left > 0 {
		return n, &flaw{Where: t.at, Message: "the archive breaks off here: it was cut short"}
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}

func zero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

func padding(size int64) int64 { return -size & (blockSize - 1) }

func cstring(b []byte) string {
	if n := bytes.IndexByte(b, 0); n >= 0 {
		b = b[:n]
	}
	return string(b)
}

// octal reads a number in octal digits, with spaces and NULs around it.
func octal(b []byte) (int64, bool) {
	digits := bytes.Trim(b, " \x00")
	var n int64
	for _, d := range digits {
		if d < '0' || d > '7' || n > 1<<60 {
			return 0, false
		}
		n = n<<3 | int64(d-'0')
	}
	return n, true
}

// number reads a size: octal digits, or the base-256 form of GNU tar.
func number(b []byte) (int64, bool) {
	if b[0]&0x80 == 0 {
		return octal(b)
	}
	if b[0] != 0x80 { // negative, or far too large
		return 0, false
	}
	var n int64
	for _, d := range b[1:] {
		if n > 1<<53 {
			return 0, false
		}
		n = n<<8 | int64(d)
	}
	return n, true
}

// checksum is the sum of a header's bytes, with its own as spaces.
func checksum(b []byte) int64 {
	sum := int64(8 * ' ')
	for i, c := range b {
		if i < 148 || i >= 156 {
			sum += int64(c)
		}
	}
	return sum
}
