package winzip

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the format's choice
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/flate"

	"github.com/backstay/backstay/internal/core"
)

// Header describes an entry to write.
type Header struct {
	Name     string
	Method   uint16      // Store or Deflate
	Level    int         // of Deflate: 1 to 9; 0: 6
	Mode     fs.FileMode // permissions; a name that ends with a slash is a folder
	Modified time.Time   // written as the clock shows it in its location
	Password core.Secret // the entry is encrypted with AES-256 (AE-2); empty: it is not
}

// Packed is the data of an entry that was compressed before it is written.
type Packed struct {
	Data  []byte
	Size  int64 // of the plain bytes
	CRC32 uint32
}

// Writer writes a zip file, from begin to end. It keeps the directory,
// compressed, in memory: some 60 bytes for each entry. It is used by one
// goroutine.
type Writer struct {
	w       io.Writer
	at      int64
	count   int64
	dir     bytes.Buffer // the directory so far, deflated
	deflate *flate.Writer
	dirSize int64
	open    *EntryWriter
	err     error
	levels  map[int]*parallel
}

// NewWriter returns a writer to w.
func NewWriter(w io.Writer) *Writer {
	z := &Writer{w: w, levels: map[int]*parallel{}}
	z.deflate, z.err = flate.NewWriter(&z.dir, flate.BestSpeed)
	return z
}

// write writes bytes of the file itself.
func (z *Writer) write(p []byte) error {
	if z.err != nil {
		return z.err
	}
	n, err := z.w.Write(p)
	z.at += int64(n)
	z.err = err
	return err
}

// written is what the headers say of an entry.
type written struct {
	Header
	needs, flags, method uint16
	crc                  uint32
	size, packed, header int64
}

func (h Header) begin(at int64) (written, error) {
	e := written{Header: h, needs: 10, method: h.Method, header: at}
	if len(h.Name) == 0 || len(h.Name) > max16 {
		return e, fmt.Errorf("write zip entry: its name has %d bytes", len(h.Name))
	}
	if h.Method != Store && h.Method != Deflate {
		return e, fmt.Errorf("write zip entry: unknown method %d", h.Method)
	}
	if h.Method == Deflate || h.Name[len(h.Name)-1] == '/' {
		e.needs = 20
	}
	if !h.Password.Empty() {
		e.needs, e.method, e.flags = 51, methodAES, flagEncrypted
	}
	for i := range len(h.Name) {
		if h.Name[i] >= utf8.RuneSelf {
			if utf8.ValidString(h.Name) {
				e.flags |= flagUTF8
			}
			break
		}
	}
	return e, nil
}

func (e *written) encryption() []byte {
	if e.Password.Empty() {
		return nil
	}
	b := []byte{0, 0, 7, 0, 2, 0, 'A', 'E', 3, 0, 0}
	binary.LittleEndian.PutUint16(b, extraAES)
	binary.LittleEndian.PutUint16(b[9:], e.Method)
	return b
}

// local returns the header in front of the data. Where the sizes are not known
// yet, it promises a descriptor with large numbers, which any sizes fit into.
func (e *written) local() []byte {
	le := binary.LittleEndian
	b := make([]byte, lenLocal, lenLocal+len(e.Name)+32)
	copy(b, sigLocal)
	le.PutUint16(b[4:], e.needs)
	le.PutUint16(b[6:], e.flags)
	le.PutUint16(b[8:], e.method)
	t, d := dosTime(e.Modified)
	le.PutUint16(b[10:], t)
	le.PutUint16(b[12:], d)
	extra := e.encryption()
	if e.flags&flagDescriptor != 0 {
		le.PutUint32(b[18:], max32)
		le.PutUint32(b[22:], max32)
		extra = append(extra, extraZip64, 0, 16, 0)
		extra = append(extra, make([]byte, 16)...)
	} else {
		le.PutUint32(b[14:], e.crc)
		le.PutUint32(b[18:], uint32(e.packed))
		le.PutUint32(b[22:], uint32(e.size))
	}
	le.PutUint16(b[26:], uint16(len(e.Name)))
	le.PutUint16(b[28:], uint16(len(extra)))
	return append(append(b, e.Name...), extra...)
}

// central returns the entry of the directory.
func (e *written) central() []byte {
	le := binary.LittleEndian
	b := make([]byte, lenCentral, lenCentral+len(e.Name)+40)
	copy(b, sigCentral)
	le.PutUint16(b[4:], unix<<8|63)
	le.PutUint16(b[6:], e.needs)
	le.PutUint16(b[8:], e.flags)
	le.PutUint16(b[10:], e.method)
	t, d := dosTime(e.Modified)
	le.PutUint16(b[12:], t)
	le.PutUint16(b[14:], d)
	le.PutUint32(b[16:], e.crc)
	var large []byte
	for _, f := range []struct {
		at int
		n  int64
	}{{24, e.size}, {20, e.packed}, {42, e.header}} {
		if f.n >= max32 {
			large = le.AppendUint64(large, uint64(f.n))
			f.n = max32
		}
		le.PutUint32(b[f.at:], uint32(f.n))
	}
	extra := e.encryption()
	if large != nil {
		extra = append(extra, extraZip64, 0, byte(len(large)), 0)
		extra = append(extra, large...)
	}
	le.PutUint16(b[28:], uint16(len(e.Name)))
	le.PutUint16(b[30:], uint16(len(extra)))
	external := (0o100000 | uint32(e.Mode.Perm())) << 16
	if e.Name[len(e.Name)-1] == '/' {
		external = (0o040000|uint32(e.Mode.Perm()))<<16 | 0x10
	}
	le.PutUint32(b[38:], external)
	return append(append(b, e.Name...), extra...)
}

// dosTime returns a time as zip files hold it: a clock on the wall, from 1980
// to 2107, in steps of two seconds.
func dosTime(t time.Time) (uint16, uint16) {
	if t.Year() < 1980 {
		return 0, 1<<5 | 1
	}
	if t.Year() > 2107 {
		return 23<<11 | 59<<5 | 29, 127<<9 | 12<<5 | 31
	}
	return uint16(t.Hour()<<11 | t.Minute()<<5 | t.Second()/2), uint16((t.Year()-1980)<<9 | int(t.Month())<<5 | t.Day())
}

func (z *Writer) list(e *written) error {
	b := e.central()
	z.count++
	z.dirSize += int64(len(b))
	_, err := z.deflate.Write(b)
	return err
}

// Add writes an entry whose data is there already, compressed as h.Method says.
func (z *Writer) Add(h Header, p Packed) error {
	e, err := z.next(h)
	if err != nil {
		return err
	}
	e.size, e.packed, e.crc = p.Size, int64(len(p.Data)), p.CRC32
	if e.size >= max32 || e.packed >= max32-64 {
		return fmt.Errorf("write zip entry: %d bytes are too many for one piece", e.size)
	}
	if h.Password.Empty() {
		if err := z.write(e.local()); err != nil {
			return err
		}
		if err := z.write(p.Data); err != nil {
			return err
		}
		return z.list(&e)
	}
	s, err := newSealer(z, h.Password)
	if err != nil {
		return err
	}
	e.packed += int64(len(s.head)) + lenMAC
	e.crc = 0 // AE-2 tells nothing of the plain bytes
	if err := z.write(e.local()); err != nil {
		return err
	}
	if err := z.write(s.head); err != nil {
		return err
	}
	if _, err := s.Write(p.Data); err != nil {
		return err
	}
	if err := z.write(s.sum()); err != nil {
		return err
	}
	return z.list(&e)
}

func (z *Writer) next(h Header) (written, error) {
	if z.err != nil {
		return written{}, z.err
	}
	if z.open != nil {
		return written{}, errors.New("write zip entry: the one before it is not closed")
	}
	return h.begin(z.at)
}

// Create begins an entry whose size is not known. It must be closed before
// the next one begins.
func (z *Writer) Create(h Header) (*EntryWriter, error) {
	e, err := z.next(h)
	if err != nil {
		return nil, err
	}
	e.flags |= flagDescriptor
	e.needs = max(e.needs, 45)
	w := &EntryWriter{z: z, e: e}
	var packed io.Writer = &counted{z, &w.e.packed}
	if h.Password.Empty() {
		err = z.write(e.local())
	} else {
		if w.sealer, err = newSealer(z, h.Password); err != nil {
			return nil, err
		}
		w.sealer.n = &w.e.packed
		packed = w.sealer
		err = errors.Join(z.write(e.local()), z.write(w.sealer.head))
		w.e.packed = int64(len(w.sealer.head))
	}
	if err != nil {
		return nil, err
	}
	w.w = packed
	if h.Method == Deflate {
		w.deflate = z.deflater(h.Level, packed)
		w.w = w.deflate
	}
	z.open = w
	return w, nil
}

// deflater returns a compressor. They are large, so they are kept.
func (z *Writer) deflater(level int, to io.Writer) *parallel {
	if d := z.levels[level]; d != nil {
		d.reset(to)
		return d
	}
	d := newParallel(to, level)
	z.levels[level] = d
	return d
}

// EntryWriter takes the plain bytes of one entry.
type EntryWriter struct {
	z       *Writer
	e       written
	sealer  *sealer   // nil: not encrypted
	deflate *parallel // nil: not compressed
	w       io.Writer
}

// Write takes plain bytes.
func (w *EntryWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.e.size += int64(n)
	w.e.crc = crc32.Update(w.e.crc, crc32.IEEETable, p[:n])
	return n, err
}

// Close ends the entry.
func (w *EntryWriter) Close() error {
	w.z.open = nil
	if w.deflate != nil {
		if err := w.deflate.Close(); err != nil {
			return err
		}
	}
	if w.sealer != nil {
		w.e.crc = 0 // AE-2 tells nothing of the plain bytes
		w.e.packed += lenMAC
		if err := w.z.write(w.sealer.sum()); err != nil {
			return err
		}
	}
	le := binary.LittleEndian
	b := append(make([]byte, 0, 24), sigDescriptor...)
	b = le.AppendUint32(b, w.e.crc)
	b = le.AppendUint64(b, uint64(w.e.packed))
	b = le.AppendUint64(b, uint64(w.e.size))
	if err := w.z.write(b); err != nil {
		return err
	}
	return w.z.list(&w.e)
}

// Close writes the directory. It does not close the underlying writer.
func (z *Writer) Close() error {
	if z.err != nil {
		return z.err
	}
	if z.open != nil {
		return errors.New("write zip file: an entry is not closed")
	}
	if err := z.deflate.Close(); err != nil {
		return err
	}
	at := z.at
	n, err := io.Copy(writerFunc(z.write), flate.NewReader(&z.dir))
	if err != nil {
		return err
	}
	if n != z.dirSize {
		return fmt.Errorf("write zip file: the directory has %d bytes instead of %d", n, z.dirSize)
	}
	return z.write(endRecords(z.count, z.dirSize, at))
}

func endRecords(count, size, at int64) []byte {
	le := binary.LittleEndian
	var b []byte
	if count >= max16 || size >= max32 || at >= max32 {
		b = append(b, sigEnd64...)
		b = le.AppendUint64(b, lenEnd64-12)
		b = append(b, 45, 0, 45, 0)
		b = append(b, make([]byte, 8)...)
		for _, n := range []int64{count, count, size, at} {
			b = le.AppendUint64(b, uint64(n))
		}
		b = append(b, sigLocator...)
		b = append(b, make([]byte, 4)...)
		b = le.AppendUint64(b, uint64(at+size))
		b = le.AppendUint32(b, 1)
	}
	b = append(b, sigEnd...)
	b = append(b, make([]byte, 4)...)
	b = le.AppendUint16(b, uint16(min(count, max16)))
	b = le.AppendUint16(b, uint16(min(count, max16)))
	b = le.AppendUint32(b, uint32(min(size, max32)))
	b = le.AppendUint32(b, uint32(min(at, max32)))
	return append(b, 0, 0)
}

type writerFunc func(p []byte) error

func (f writerFunc) Write(p []byte) (int, error) {
	if err := f(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

type counted struct {
	z *Writer
	n *int64
}

func (c *counted) Write(p []byte) (int, error) {
	if err := c.z.write(p); err != nil {
		return 0, err
	}
	*c.n += int64(len(p))
	return len(p), nil
}

// sealer encrypts and authenticates what is written to it.
type sealer struct {
	z    *Writer
	head []byte // salt and check value, to be written first
	ctr  ctr
	mac  hash.Hash
	buf  []byte
	n    *int64 // counts what was written; nil: nobody wants to know
}

func newSealer(z *Writer, password core.Secret) (*sealer, error) {
	const bits = 256
	salt := make([]byte, saltLen(bits))
	if _, err := rand.Read(salt); err != nil {
		return nil, fmt.Errorf("make salt: %w", err)
	}
	key, check, err := newKey(password.Reveal(), salt, bits)
	if err != nil {
		return nil, err
	}
	return &sealer{z: z, head: append(salt, check...), ctr: ctr{block: key.block}, mac: hmac.New(sha1.New, key.mac)}, nil
}

func (s *sealer) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		part := p[done:min(len(p), done+64<<10)]
		s.buf = append(s.buf[:0], part...)
		s.ctr.xor(s.buf)
		s.mac.Write(s.buf)
		if err := s.z.write(s.buf); err != nil {
			return done, err
		}
		done += len(part)
		if s.n != nil {
			*s.n += int64(len(part))
		}
	}
	return done, nil
}

func (s *sealer) sum() []byte { return s.mac.Sum(nil)[:lenMAC] }

// Compressor compresses what fits into memory. It is used by one goroutine.
type Compressor struct {
	level   int
	deflate *flate.Writer
	packed  bytes.Buffer
}

// NewCompressor returns a compressor of level 1 to 9; 0: 6.
func NewCompressor(level int) *Compressor { return &Compressor{level: level} }

// Compress deflates plain for Add, or leaves it as it is where that is not
// larger; method says which. The result may share memory with plain.
func (c *Compressor) Compress(plain []byte) (method uint16, p Packed, err error) {
	p = Packed{Data: plain, Size: int64(len(plain)), CRC32: crc32.ChecksumIEEE(plain)}
	if len(plain) == 0 {
		return Store, p, nil
	}
	c.packed.Reset()
	if c.deflate == nil {
		if c.deflate, err = flate.NewWriter(&c.packed, level(c.level)); err != nil {
			return 0, p, fmt.Errorf("compress: %w", err)
		}
	} else {
		c.deflate.Reset(&c.packed)
	}
	if _, err := c.deflate.Write(plain); err != nil {
		return 0, p, fmt.Errorf("compress: %w", err)
	}
	if err := c.deflate.Close(); err != nil {
		return 0, p, fmt.Errorf("compress: %w", err)
	}
	if c.packed.Len() >= len(plain) {
		return Store, p, nil
	}
	p.Data = bytes.Clone(c.packed.Bytes())
	return Deflate, p, nil
}

func level(n int) int {
	if n == 0 {
		return 6
	}
	return n
}
