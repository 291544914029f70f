package winzip

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the format's choice
	"errors"
	"hash"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"
)

// Open returns the plain bytes of an entry; key is nil for one that is not
// encrypted. The caller has called Verify before. At their end their number,
// their checksum and once more the authentication code are compared, so that
// what changed in between is not taken for whole: only who reads until io.EOF
// knows that it is. The reader is used by one goroutine.
func (z *Zip) Open(ctx context.Context, e *Entry, key *Key) io.ReadCloser {
	b := &body{z: z, e: e, ctx: ctx}
	b.packed = io.NewSectionReader(z.r, e.data, e.Packed)
	if key != nil {
		b.packed = io.NewSectionReader(z.r, e.data+saltLen(e.AES)+lenCheck, e.Packed-e.overhead())
		b.mac = hmac.New(sha1.New, key.mac)
		b.ctr = &ctr{block: key.block}
	}
	b.buffered = bufio.NewReaderSize((*opener)(b), int(min(max(e.Packed, 512), 64<<10)))
	b.plain = b.buffered
	if e.Method == Deflate {
		b.inflate = z.inflater(b.buffered)
		b.plain = b.inflate
	}
	return b
}

func (z *Zip) inflater(r io.Reader) io.ReadCloser {
	if f, ok := z.inflaters.Get().(io.ReadCloser); ok {
		if err := f.(flate.Resetter).Reset(r, nil); err == nil {
			return f
		}
	}
	return flate.NewReader(r)
}

// body is an entry that is read.
type body struct {
	ctx      context.Context
	z        *Zip
	e        *Entry
	packed   io.Reader
	mac      hash.Hash // nil: not encrypted
	ctr      *ctr
	buffered *bufio.Reader
	inflate  io.ReadCloser // nil: not compressed
	plain    io.Reader
	size     int64
	crc      uint32
	err      error
}

// opener decrypts.
type opener body

func (o *opener) Read(p []byte) (int, error) {
	if err := o.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := o.packed.Read(p)
	if o.mac != nil {
		o.mac.Write(p[:n])
		o.ctr.xor(p[:n])
	}
	return n, err
}

// Read reads plain bytes. No more of them than the entry claims are given.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.plain.Read(p)
	if int64(n) > b.e.Size-b.size {
		n = int(b.e.Size - b.size)
		err = Damaged("%s is longer than it says", quote(b.e.Name))
	}
	b.size += int64(n)
	b.crc = crc32.Update(b.crc, crc32.IEEETable, p[:n])
	if err == io.EOF {
		err = b.whole()
	} else if _, ok := err.(flate.CorruptInputError); ok || err == io.ErrUnexpectedEOF {
		err = Damaged("%s does not unpack", quote(b.e.Name))
	}
	b.err = err
	return n, err
}

// whole says io.EOF when all that was to be read was read.
func (b *body) whole() error {
	if _, err := b.buffered.ReadByte(); err == nil {
		return Damaged("there is something behind the end of %s", quote(b.e.Name))
	} else if err != io.EOF {
		return err
	}
	if b.size != b.e.Size {
		return Damaged("%s is shorter than it says: %d bytes instead of %d", quote(b.e.Name), b.size, b.e.Size)
	}
	unchecked := b.mac != nil && b.e.CRC32 == 0 && (b.e.vendor == 2 || b.e.Size < 20)
	if b.crc != b.e.CRC32 && !unchecked {
		return Damaged("%s does not match its checksum", quote(b.e.Name))
	}
	if b.mac != nil {
		if err := b.z.compareMAC(b.e, b.mac); err != nil {
			return err
		}
	}
	return io.EOF
}

// Close ends the reading. Nothing may be read after it.
func (b *body) Close() error {
	if b.inflate == nil {
		return nil
	}
	err := b.inflate.Close()
	b.z.inflaters.Put(b.inflate)
	b.inflate, b.err = nil, errClosed
	if _, damaged := err.(flate.CorruptInputError); damaged || err == io.ErrUnexpectedEOF {
		return nil // Read said so
	}
	return err
}

var errClosed = errors.New("read zip entry: it is closed")
