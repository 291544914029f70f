package itop

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

// Signatures of the records of a zip (APPNOTE.TXT, 4.3).
const (
	localSignature      = "PK\x03\x04"
	centralSignature    = "PK\x01\x02"
	descriptorSignature = "PK\x07\x08"
	endSignature        = "PK\x05\x06"
	end64Signature      = "PK\x06\x06"
	locator64Signature  = "PK\x06\x07"
)

// Bits of an entry's flags.
const (
	flagEncrypted  = 1 << 0
	flagDescriptor = 1 << 3
	flagsKnown     = flagDescriptor | 1<<1 | 1<<2 | 1<<11 // how well it is compressed, and UTF-8
)

// maxDirectory bounds a zip's directory: it is kept in memory.
const maxDirectory = 256 << 20

// zipEntry is an entry of a zip's directory.
type zipEntry struct {
	name         string
	need, method uint16
	flags        uint16
	stamp        uint32 // MS-DOS date and time
	crc          uint32
	packed, size int64
	offset       int64 // of the local header
	data         int64 // where the packed bytes begin
	dir          bool
}

// zipDamage is the error for a zip whose structure is not that of a whole one.
func zipDamage(where, format string, args ...any) error {
	return damaged(archive.Flaw{Where: where, Message: fmt.Sprintf(format, args...)})
}

// readDirectory reads the directory of the zip r of size bytes, by the order of
// the entries' bodies, and sees to it that entries, directory and end fill the
// whole file: what stands elsewhere is read by other programs in another way.
func readDirectory(r io.ReaderAt, size int64, meter *archive.Meter) ([]zipEntry, error) {
	start, length, count, err := readEnd(r, size)
	if err != nil {
		return nil, err
	}
	if length > maxDirectory {
		return nil, &core.Error{Code: core.CodeUnsupported, Op: "read archive", Message: fmt.Sprintf("its directory has %d bytes, more than %d", length, maxDirectory)}
	}
	dir := make([]byte, length)
	if _, err := r.ReadAt(dir, start); err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	var entries []zipEntry
	for len(dir) > 0 {
		if err := meter.Entry(); err != nil {
			return nil, err
		}
		e, rest, err := parseCentral(dir)
		if err != nil {
			return nil, err
		}
		entries, dir = append(entries, e), rest
	}
	if int64(len(entries)) != count {
		return nil, zipDamage("the archive", "its directory has %d entries, its end says %d", len(entries), count)
	}
	slices.SortFunc(entries, func(a, b zipEntry) int { return int(max(-1, min(1, a.offset-b.offset))) })
	at := int64(0)
	for i := range entries {
		e := &entries[i]
		next := start
		if i+1 < len(entries) {
			next = entries[i+1].offset
		}
		if e.offset != at {
			return nil, zipDamage(e.name, "it does not begin where the bytes before it end")
		}
		if err := readLocal(r, e, next); err != nil {
			return nil, err
		}
		at = next
	}
	if at != start {
		return nil, zipDamage("the archive", "its directory does not begin where its entries end")
	}
	return entries, nil
}

// readEnd returns where the directory begins, its length and its entries.
func readEnd(r io.ReaderAt, size int64) (start, length, count int64, err error) {
	cut := zipDamage("the archive", "its end is missing: it was cut short, or something follows it")
	const endSize, locatorSize, end64Size = 22, 20, 56
	var end [endSize]byte
	if size < endSize {
		return 0, 0, 0, cut
	}
	if _, err := r.ReadAt(end[:], size-endSize); err != nil {
		return 0, 0, 0, fmt.Errorf("read archive: %w", err)
	}
	le := binary.LittleEndian
	if string(end[:4]) != endSignature || le.Uint16(end[20:]) != 0 {
		return 0, 0, 0, cut
	}
	if le.Uint16(end[4:]) != 0 || le.Uint16(end[6:]) != 0 || le.Uint16(end[8:]) != le.Uint16(end[10:]) {
		return 0, 0, 0, zipDamage("the archive", "it is one of several parts")
	}
	count, length, start = int64(le.Uint16(end[10:])), int64(le.Uint32(end[12:])), int64(le.Uint32(end[16:]))
	stop := size - endSize
	if count == math.MaxUint16 || length == math.MaxUint32 || start == math.MaxUint32 {
		var locator [locatorSize]byte
		var end64 [end64Size]byte
		stop -= locatorSize + end64Size
		if stop < 0 {
			return 0, 0, 0, cut
		}
		if _, err := r.ReadAt(end64[:], stop); err != nil {
			return 0, 0, 0, fmt.Errorf("read archive: %w", err)
		}
		if _, err := r.ReadAt(locator[:], stop+end64Size); err != nil {
			return 0, 0, 0, fmt.Errorf("read archive: %w", err)
		}
		if string(locator[:4]) != locator64Signature || string(end64[:4]) != end64Signature || le.Uint64(locator[8:]) != uint64(stop) ||
			le.Uint64(end64[4:]) != end64Size-12 || le.Uint64(end64[24:]) != le.Uint64(end64[32:]) {
			return 0, 0, 0, zipDamage("the archive", "its zip64 end is not whole")
		}
		count, length, start = int64(le.Uint64(end64[32:])), int64(le.Uint64(end64[40:])), int64(le.Uint64(end64[48:]))
	}
	if start < 0 || length < 0 || start > stop || length != stop-start {
		return 0, 0, 0, zipDamage("the archive", "its directory is not where its end says: something stands before it or is missing")
	}
	return start, length, count, nil
}

// parseCentral reads the first entry of a directory.
func parseCentral(dir []byte) (e zipEntry, rest []byte, err error) {
	le := binary.LittleEndian
	const fixed = 46
	if len(dir) < fixed || string(dir[:4]) != centralSignature {
		return e, nil, zipDamage("the archive", "its directory is damaged")
	}
	nameLen, extraLen, commentLen := int(le.Uint16(dir[28:])), int(le.Uint16(dir[30:])), int(le.Uint16(dir[32:]))
	if len(dir) < fixed+nameLen+extraLen+commentLen {
		return e, nil, zipDamage("the archive", "its directory is damaged")
	}
	e = zipEntry{
		name: string(dir[fixed : fixed+nameLen]), need: le.Uint16(dir[6:]), flags: le.Uint16(dir[8:]), method: le.Uint16(dir[10:]),
		stamp: le.Uint32(dir[12:]), crc: le.Uint32(dir[16:]), packed: int64(le.Uint32(dir[20:])), size: int64(le.Uint32(dir[24:])),
		offset: int64(le.Uint32(dir[42:])),
	}
	e.dir = len(e.name) > 0 && e.name[len(e.name)-1] == '/'
	wide := wideFields(dir[fixed+nameLen : fixed+nameLen+extraLen])
	for _, field := range []*int64{&e.size, &e.packed, &e.offset} {
		if *field == math.MaxUint32 {
			if len(wide) < 8 || int64(le.Uint64(wide)) < 0 {
				return e, nil, zipDamage(e.name, "its size or place is missing")
			}
			*field, wide = int64(le.Uint64(wide)), wide[8:]
		}
	}
	if err := e.check(dir[5], le.Uint32(dir[38:])>>16); err != nil {
		return e, nil, err
	}
	return e, dir[fixed+nameLen+extraLen+commentLen:], nil
}

// wideFields returns the zip64 field of an extra field.
func wideFields(extra []byte) []byte {
	for len(extra) >= 4 {
		id, n := binary.LittleEndian.Uint16(extra), int(binary.LittleEndian.Uint16(extra[2:]))
		if len(extra) < 4+n {
			return nil
		}
		if id == 1 {
			return extra[4 : 4+n]
		}
		extra = extra[4+n:]
	}
	return nil
}

// check refuses what iTop's backup does not write. system and mode are where
// the entry was made, and its mode there.
func (e *zipEntry) check(system byte, mode uint32) error {
	const unix, fileType, regular, folder = 3, 0o170000, 0o100000, 0o040000
	switch {
	case e.flags&flagEncrypted != 0:
		return &core.Error{Code: core.CodeUnsupported, Op: "read archive", Message: fmt.Sprintf("the entry %q is encrypted, and iTop's backups are not", e.name)}
	case e.flags&^flagsKnown != 0:
		return archive.Hostile(e.name, fmt.Sprintf("it has the flags %#x", e.flags))
	case e.method != 0 && e.method != 8:
		return archive.Hostile(e.name, fmt.Sprintf("it is compressed by the method %d", e.method))
	case e.method == 0 && e.packed != e.size:
		return archive.Hostile(e.name, "it is not compressed and has two sizes")
	case e.dir && e.size != 0:
		return archive.Hostile(e.name, "it is a folder with a size")
	}
	if system != unix || mode&fileType == 0 {
		return nil
	}
	if kind := mode & fileType; kind != regular && !e.dir || kind != folder && e.dir {
		return archive.Hostile(e.name, "it is neither a file nor a folder, or is named as the other")
	}
	return nil
}

// readLocal compares the header before an entry's body with the directory, and
// what is behind the body with where the next entry begins.
func readLocal(r io.ReaderAt, e *zipEntry, next int64) error {
	le := binary.LittleEndian
	const fixed = 30
	head := make([]byte, fixed+len(e.name))
	if e.offset+int64(len(head)) > next {
		return zipDamage(e.name, "there is no room for it")
	}
	if _, err := r.ReadAt(head, e.offset); err != nil {
		return fmt.Errorf("read archive: %w", err)
	}
	extraLen := int64(le.Uint16(head[28:]))
	differs := string(head[:4]) != localSignature || le.Uint16(head[4:]) != e.need || le.Uint16(head[6:]) != e.flags || le.Uint16(head[8:]) != e.method ||
		le.Uint32(head[10:]) != e.stamp || int(le.Uint16(head[26:])) != len(e.name) || string(head[fixed:]) != e.name
	if differs {
		return zipDamage(e.name, "its header and the archive's directory differ")
	}
	e.data = e.offset + int64(len(head)) + extraLen
	if e.data > next || e.packed > next-e.data {
		return zipDamage(e.name, "it is larger than the room for it")
	}
	extra := make([]byte, extraLen)
	if _, err := r.ReadAt(extra, e.data-extraLen); err != nil {
		return fmt.Errorf("read archive: %w", err)
	}
	crc, packed, size := le.Uint32(head[14:]), int64(le.Uint32(head[18:])), int64(le.Uint32(head[22:]))
	wide := wideFields(extra)
	for _, field := range []*int64{&size, &packed} {
		if *field == math.MaxUint32 && len(wide) >= 8 {
			*field, wide = int64(le.Uint64(wide)), wide[8:]
		}
	}
	behind := make([]byte, min(next-e.data-e.packed, 25))
	if _, err := r.ReadAt(behind, e.data+e.packed); err != nil && len(behind) > 0 {
		return fmt.Errorf("read archive: %w", err)
	}
	if e.flags&flagDescriptor != 0 {
		if !e.describes(behind) || crc != 0 && crc != e.crc || size != 0 && size != e.size || packed != 0 && packed != e.packed {
			return zipDamage(e.name, "what is said behind it and the archive's directory differ")
		}
		return nil
	}
	if crc != e.crc || packed != e.packed || size != e.size {
		return zipDamage(e.name, "its header and the archive's directory differ")
	}
	if len(behind) != 0 {
		return zipDamage(e.name, "something stands between it and the next entry")
	}
	return nil
}

// describes says whether d, the bytes behind a body, are its descriptor.
func (e *zipEntry) describes(d []byte) bool {
	le := binary.LittleEndian
	if len(d) == 16 || len(d) == 24 {
		if string(d[:4]) != descriptorSignature {
			return false
		}
		d = d[4:]
	}
	switch len(d) {
	case 12:
		return le.Uint32(d) == e.crc && int64(le.Uint32(d[4:])) == e.packed && int64(le.Uint32(d[8:])) == e.size
	case 20:
		return le.Uint32(d) == e.crc && int64(le.Uint64(d[4:])) == e.packed && int64(le.Uint64(d[12:])) == e.size
	}
	return false
}
