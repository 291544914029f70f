// Package winzip reads and writes zip files, plain and with WinZip's AES
// encryption. It is for archive formats that are zip files inside. It promises
// that every byte of a file that it opens is accounted for: the entries follow
// one another without a gap from the first byte to the directory, nothing
// stands behind it, and what an entry's two headers say agrees. Readers of zip
// files disagree about files that break these rules, so those are refused.
//
// Memory does not depend on the number of entries.
package winzip

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// The methods of compression.
const (
	Store   = 0
	Deflate = 8

	methodAES = 99
)

// General purpose flags.
const (
	flagEncrypted  = 1 << 0
	flagLevel      = 3 << 1 // how hard it was compressed; nothing depends on it
	flagDescriptor = 1 << 3
	flagUTF8       = 1 << 11
)

// Extra fields.
const (
	extraZip64 = 0x0001
	extraAES   = 0x9901
)

const (
	sigLocal      = "PK\x03\x04"
	sigCentral    = "PK\x01\x02"
	sigDescriptor = "PK\x07\x08"
	sigEnd        = "PK\x05\x06"
	sigEnd64      = "PK\x06\x06"
	sigLocator    = "PK\x06\x07"

	lenLocal   = 30
	lenCentral = 46
	lenEnd     = 22
	lenEnd64   = 56
	lenLocator = 20

	max16 = 0xffff
	max32 = 0xffffffff
)

// Systems on which an entry's attributes mean something.
const unix = 3

// Zip is a zip file, open for reading. It is safe for concurrent use.
type Zip struct {
	r       io.ReaderAt
	count   int64
	dir     int64 // where the directory begins
	dirSize int64

	inflaters sync.Pool // of io.ReadCloser, which are flate.Resetter: each is 40 KiB
}

// Entry is one entry of a zip file.
type Entry struct {
	Name     string // as it is in the file, whatever its bytes
	Method   uint16 // Store or Deflate, of the plain bytes
	AES      int    // bits of the key: 128, 192 or 256; 0: not encrypted
	Size     int64  // of the plain bytes
	Packed   int64  // bytes in the file, of the data alone
	CRC32    uint32 // of the plain bytes; 0 says nothing in an encrypted entry
	System   uint8  // where Attributes come from: 3 is Unix
	Needs    uint16 // the version that a reader must have, times ten
	MadeBy   uint8  // the version of the writer, times ten
	Internal uint16 // attributes: 1 for text
	External uint32 // attributes: on Unix the mode in the upper half

	flags, dosTime, dosDate uint16
	vendor                  uint16 // of AES: 1 or 2
	descriptor, zip64       bool
	header, data, end       int64 // offsets in the file
}

// Dir says whether the entry is a folder.
func (e *Entry) Dir() bool { return len(e.Name) > 0 && e.Name[len(e.Name)-1] == '/' }

// Mode returns type and permissions; ok is false where the entry has none.
func (e *Entry) Mode() (mode fs.FileMode, ok bool) {
	m := e.External >> 16
	if e.System != unix || m == 0 {
		return 0, false
	}
	mode = fs.FileMode(m & 0o777)
	switch m & 0o170000 {
	case 0, 0o100000:
	case 0o040000:
		mode |= fs.ModeDir
	case 0o120000:
		mode |= fs.ModeSymlink
	default:
		mode |= fs.ModeIrregular
	}
	return mode, true
}

// Modified returns the time of the last change, to two seconds. Zip files hold
// it as a clock on the wall shows it; loc is where the wall is. It is zero
// where there is no such time.
func (e *Entry) Modified(loc *time.Location) time.Time {
	year, month, day := int(e.dosDate>>9)+1980, time.Month(e.dosDate>>5&15), int(e.dosDate&31)
	t := time.Date(year, month, day, int(e.dosTime>>11), int(e.dosTime>>5&63), int(e.dosTime&31)*2, 0, loc)
	if t.Month() != month || t.Day() != day {
		return time.Time{}
	}
	return t
}

// Damaged returns the error for a zip file that is not as it was written.
func Damaged(format string, args ...any) error {
	return &core.Error{
		Code: core.CodeDamage, Op: "read zip file", Message: fmt.Sprintf(format, args...),
		Hint: "the file is not as it was written: get another copy of it",
	}
}

// Open finds the directory of a zip file. What is no zip file, is cut short or
// has something in front of it or behind it is damaged.
func Open(r io.ReaderAt, size int64) (*Zip, error) {
	if size < lenEnd {
		return nil, Damaged("it is too short for a zip file")
	}
	var end [lenEnd]byte
	if err := readAt(r, end[:], size-lenEnd); err != nil {
		return nil, err
	}
	if string(end[:4]) != sigEnd {
		return nil, noEnd(r, size)
	}
	le := binary.LittleEndian
	z := &Zip{
		r: r, count: int64(le.Uint16(end[10:])),
		dirSize: int64(le.Uint32(end[12:])), dir: int64(le.Uint32(end[16:])),
	}
	if le.Uint16(end[20:]) != 0 {
		return nil, Damaged("it claims a comment that is not there")
	}
	if le.Uint16(end[4:]) != 0 || le.Uint16(end[6:]) != 0 || le.Uint16(end[8:]) != le.Uint16(end[10:]) {
		return nil, Damaged("it claims to be one of several disks")
	}
	behind := size - lenEnd
	// libzip writes the records of a large file when one entry is large, even
	// where the plain ones would do.
	spare := behind-z.dir-z.dirSize == lenEnd64+lenLocator
	if z.count == max16 || z.dirSize == max32 || z.dir == max32 || spare {
		if err := z.end64(&behind); err != nil {
			return nil, err
		}
	}
	if z.dir < 0 || z.dirSize < 0 || z.dir > behind || z.dirSize > behind-z.dir {
		return nil, Damaged("its directory does not fit into it: it is cut short, or something was taken out")
	}
	if over := behind - z.dir - z.dirSize; over > 0 {
		return nil, Damaged("%d bytes stand in front of it or within it that are not its own", over)
	}
	if z.count > z.dirSize/lenCentral {
		return nil, Damaged("it claims more entries than its directory holds")
	}
	return z, nil
}

// end64 reads the end records of large files, which stand before behind.
func (z *Zip) end64(behind *int64) error {
	le := binary.LittleEndian
	var b [lenEnd64 + lenLocator]byte
	if *behind < int64(len(b)) {
		return Damaged("it is cut short before its directory")
	}
	at := *behind - int64(len(b))
	if err := readAt(z.r, b[:], at); err != nil {
		return err
	}
	end, locator := b[:lenEnd64], b[lenEnd64:]
	if string(locator[:4]) != sigLocator {
		// A plain file may have 65535 entries.
		if z.dirSize != max32 && z.dir != max32 {
			return nil
		}
		return Damaged("it lacks the end record of a large zip file")
	}
	if string(end[:4]) != sigEnd64 || le.Uint64(end[4:]) != lenEnd64-12 || le.Uint16(end[12:]) != 45 || le.Uint16(end[14:]) != 45 {
		return Damaged("its end record is not one of a large zip file")
	}
	if le.Uint32(end[16:]) != 0 || le.Uint32(end[20:]) != 0 || le.Uint64(end[24:]) != le.Uint64(end[32:]) ||
		le.Uint32(locator[4:]) != 0 || le.Uint32(locator[16:]) != 1 {
		return Damaged("it claims to be one of several disks")
	}
	if le.Uint64(locator[8:]) != uint64(at) {
		return Damaged("something stands in front of it or within it that is not its own: its end record is not where it says")
	}
	for _, v := range []struct {
		small *int64
		mark  int64
		large uint64
	}{
		{&z.count, max16, le.Uint64(end[32:])}, {&z.dirSize, max32, le.Uint64(end[40:])}, {&z.dir, max32, le.Uint64(end[48:])},
	} {
		if v.large > 1<<62 || *v.small != v.mark && uint64(*v.small) != v.large {
			return Damaged("its end records contradict each other")
		}
		*v.small = int64(v.large)
	}
	*behind = at
	return nil
}

// noEnd says what is wrong with a file that does not end as a zip file does.
func noEnd(r io.ReaderAt, size int64) error {
	n := min(size, 1<<20)
	tail := make([]byte, n)
	if err := readAt(r, tail, size-n); err != nil {
		return err
	}
	if i := bytes.LastIndex(tail, []byte(sigEnd)); i >= 0 && len(tail)-i > lenEnd {
		return Damaged("%d bytes stand behind it that are not its own", len(tail)-i-lenEnd)
	}
	return Damaged("it does not end as a zip file does: it is cut short, something was appended, or it is no zip file")
}

// Len returns the number of entries.
func (z *Zip) Len() int64 { return z.count }

// Each reads the directory and the entries' own headers, compares them, and
// calls fn for each entry in order. An error of fn ends it and is returned. A
// caller that acts on entries before Each returned without an error must bear
// that a later one is damaged.
func (z *Zip) Each(ctx context.Context, fn func(e *Entry) error) error {
	dir := bufio.NewReaderSize(io.NewSectionReader(z.r, z.dir, z.dirSize), 64<<10)
	var at, read int64
	for i := range z.count {
		if i%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		e, n, err := readCentral(dir)
		if err != nil {
			return err
		}
		read += n
		if e.header != at {
			return Damaged("%s does not stand where the entry before it ends", quote(e.Name))
		}
		if err := z.local(e); err != nil {
			return err
		}
		if at = e.end; at > z.dir {
			return Damaged("%s reaches into the directory", quote(e.Name))
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	if at != z.dir {
		return Damaged("there is something between the last entry and the directory")
	}
	if read != z.dirSize {
		return Damaged("there is something behind the directory's last entry")
	}
	return nil
}

// readCentral reads one entry of the directory and returns its length.
func readCentral(r io.Reader) (*Entry, int64, error) {
	var b [lenCentral]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return nil, 0, short(err, "its directory")
	}
	if string(b[:4]) != sigCentral {
		return nil, 0, Damaged("its directory is damaged")
	}
	le := binary.LittleEndian
	e := &Entry{
		MadeBy: b[4], System: b[5], Needs: le.Uint16(b[6:]), flags: le.Uint16(b[8:]), Method: le.Uint16(b[10:]),
		dosTime: le.Uint16(b[12:]), dosDate: le.Uint16(b[14:]), CRC32: le.Uint32(b[16:]),
		Packed: int64(le.Uint32(b[20:])), Size: int64(le.Uint32(b[24:])),
		Internal: le.Uint16(b[36:]), External: le.Uint32(b[38:]), header: int64(le.Uint32(b[42:])),
	}
	nameLen, extraLen, commentLen := le.Uint16(b[28:]), le.Uint16(b[30:]), le.Uint16(b[32:])
	rest := make([]byte, int(nameLen)+int(extraLen))
	if _, err := io.ReadFull(r, rest); err != nil {
		return nil, 0, short(err, "its directory")
	}
	e.Name = string(rest[:nameLen])
	switch {
	case commentLen != 0:
		return nil, 0, Damaged("%s has a comment", quote(e.Name))
	case le.Uint16(b[34:]) != 0:
		return nil, 0, Damaged("%s claims to be on another disk", quote(e.Name))
	case e.flags&^(flagEncrypted|flagLevel|flagDescriptor|flagUTF8) != 0:
		return nil, 0, Damaged("%s has the unknown flags %#x", quote(e.Name), e.flags)
	}
	e.descriptor = e.flags&flagDescriptor != 0
	err := eachExtra(e.Name, rest[nameLen:], func(id uint16, v []byte) error {
		switch id {
		case extraZip64:
			return e.large(v)
		case extraAES:
			return e.aes(v)
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	switch {
	case e.flags&flagEncrypted != 0 != (e.AES != 0):
		return nil, 0, Damaged("%s is encrypted in another way than with AES", quote(e.Name))
	case e.Method != Store && e.Method != Deflate:
		return nil, 0, Damaged("%s is compressed with the unknown method %d", quote(e.Name), e.Method)
	case e.Packed < e.overhead() || e.Method == Store && e.Packed-e.overhead() != e.Size:
		return nil, 0, Damaged("the sizes of %s contradict each other", quote(e.Name))
	}
	return e, lenCentral + int64(len(rest)), nil
}

// large reads the extra field with the numbers that are too large for their
// places in the directory.
func (e *Entry) large(v []byte) error {
	for _, n := range []*int64{&e.Size, &e.Packed, &e.header} {
		if *n != max32 {
			continue
		}
		if len(v) < 8 || binary.LittleEndian.Uint64(v) > 1<<62 {
			return Damaged("the sizes of %s are damaged", quote(e.Name))
		}
		*n, v = int64(binary.LittleEndian.Uint64(v)), v[8:]
	}
	if len(v) != 0 {
		return Damaged("the sizes of %s are damaged", quote(e.Name))
	}
	return nil
}

// aes reads the extra field of an encrypted entry.
func (e *Entry) aes(v []byte) error {
	le := binary.LittleEndian
	if len(v) != 7 || e.Method != methodAES || string(v[2:4]) != "AE" || v[4] < 1 || v[4] > 3 {
		return Damaged("the encryption of %s is described wrongly", quote(e.Name))
	}
	e.vendor, e.AES, e.Method = le.Uint16(v), 64+64*int(v[4]), le.Uint16(v[5:])
	if e.vendor != 1 && e.vendor != 2 {
		return Damaged("%s is encrypted with the unknown version %d of WinZip's AES", quote(e.Name), e.vendor)
	}
	return nil
}

// local reads the entry's own header and the descriptor behind its data, and
// compares them with the directory.
func (z *Zip) local(e *Entry) error {
	var fixed [lenLocal]byte
	if e.header > z.dir-lenLocal {
		return Damaged("%s reaches into the directory", quote(e.Name))
	}
	if err := readAt(z.r, fixed[:], e.header); err != nil {
		return err
	}
	le := binary.LittleEndian
	nameLen, extraLen := int64(le.Uint16(fixed[26:])), int64(le.Uint16(fixed[28:]))
	e.data = e.header + lenLocal + nameLen + extraLen
	if string(fixed[:4]) != sigLocal || nameLen != int64(len(e.Name)) || e.data > z.dir || e.Packed > z.dir-e.data {
		return Damaged("%s is not where the directory says, or is longer than the file", quote(e.Name))
	}
	rest := make([]byte, nameLen+extraLen)
	if err := readAt(z.r, rest, e.header+lenLocal); err != nil {
		return err
	}
	l := &Entry{Name: e.Name, Method: le.Uint16(fixed[8:]), CRC32: le.Uint32(fixed[14:]), Packed: int64(le.Uint32(fixed[18:])), Size: int64(le.Uint32(fixed[22:]))}
	method := l.Method
	err := eachExtra(e.Name, rest[nameLen:], func(id uint16, v []byte) error {
		switch id {
		case extraZip64:
			if len(v) != 16 {
				return Damaged("the sizes of %s are damaged", quote(e.Name))
			}
			e.zip64 = true
			for i, n := range []*int64{&l.Size, &l.Packed} {
				if large := le.Uint64(v[i*8:]); *n == max32 {
					*n = int64(large) // compared below
				} else if large != uint64(*n) {
					return Damaged("the sizes of %s contradict each other", quote(e.Name))
				}
			}
		case extraAES:
			return l.aes(v)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if string(rest[:nameLen]) != e.Name || le.Uint16(fixed[4:]) != e.Needs || le.Uint16(fixed[6:]) != e.flags ||
		le.Uint16(fixed[10:]) != e.dosTime || le.Uint16(fixed[12:]) != e.dosDate ||
		l.Method != e.Method || l.AES != e.AES || l.vendor != e.vendor || (method == methodAES) != (e.AES != 0) {
		return Damaged("the header of %s and the directory contradict each other", quote(e.Name))
	}
	e.end = e.data + e.Packed
	if !e.descriptor {
		if l.CRC32 != e.CRC32 || l.Size != e.Size || l.Packed != e.Packed {
			return Damaged("the header of %s and the directory contradict each other", quote(e.Name))
		}
		return nil
	}
	if l.CRC32 != 0 || l.Size != 0 || l.Packed != 0 {
		return Damaged("the header of %s has sizes, which stand behind its data", quote(e.Name))
	}
	return z.descriptor(e)
}

// descriptor reads what stands behind the data of an entry whose sizes were
// not known before it.
func (z *Zip) descriptor(e *Entry) error {
	b := make([]byte, 16, 24)
	if e.zip64 {
		b = b[:24]
	}
	if e.end > z.dir-int64(len(b)) {
		return Damaged("%s reaches into the directory", quote(e.Name))
	}
	if err := readAt(z.r, b, e.end); err != nil {
		return err
	}
	e.end += int64(len(b))
	le := binary.LittleEndian
	packed, size := uint64(le.Uint32(b[8:])), uint64(le.Uint32(b[12:]))
	if e.zip64 {
		packed, size = le.Uint64(b[8:]), le.Uint64(b[16:])
	}
	if string(b[:4]) != sigDescriptor || le.Uint32(b[4:]) != e.CRC32 || packed != uint64(e.Packed) || size != uint64(e.Size) {
		return Damaged("what stands behind %s and the directory contradict each other", quote(e.Name))
	}
	return nil
}

// eachExtra calls fn for each extra field. A field that stands there twice, or
// that is unknown, is refused.
func eachExtra(name string, extra []byte, fn func(id uint16, value []byte) error) error {
	var seen []uint16
	le := binary.LittleEndian
	for len(extra) > 0 {
		if len(extra) < 4 || int(le.Uint16(extra[2:])) > len(extra)-4 {
			return Damaged("the extra fields of %s are damaged", quote(name))
		}
		id, n := le.Uint16(extra), int(le.Uint16(extra[2:]))
		for _, s := range seen {
			if s == id {
				return Damaged("%s has the extra field %#04x twice", quote(name), id)
			}
		}
		switch seen = append(seen, id); id {
		case extraZip64, extraAES:
		default:
			return Damaged("%s has the unknown extra field %#04x", quote(name), id)
		}
		if err := fn(id, extra[4:4+n]); err != nil {
			return err
		}
		extra = extra[4+n:]
	}
	return nil
}

func quote(name string) string {
	if len(name) > 100 {
		name = name[:100] + "…"
	}
	return fmt.Sprintf("%q", name)
}

// readAt fills p. That the file ends before it is damage: it was longer when
// it was opened.
func readAt(r io.ReaderAt, p []byte, at int64) error {
	if n, err := r.ReadAt(p, at); n < len(p) {
		return short(err, "the file")
	}
	return nil
}

func short(err error, what string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return Damaged("%s ends too early", what)
	}
	return fmt.Errorf("read zip file: %w", err)
}
