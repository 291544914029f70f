package sqlfile

import (
	"bufio"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

// maxWindow is the most memory that a zstd frame may ask for: what zstd --long
// takes without being told to read it.
const maxWindow = 128 << 20

// unpacker reads what is packed.
type unpacker struct {
	io.Reader
	close func()
}

// unpack begins to unpack r. An error is one of the packed bytes.
func unpack(p packing, r io.Reader) (*unpacker, error) {
	in := bufio.NewReaderSize(r, 256<<10)
	switch p {
	case gzipped:
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		return &unpacker{z, func() { _ = z.Close() }}, nil // it has no error of its own
	case zstandard:
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		return &unpacker{z, z.Close}, nil
	case bzipped:
		return &unpacker{bzip2.NewReader(in), func() {}}, nil
	}
	return &unpacker{in, func() {}}, nil
}

// dump is the text as it comes out of the file: unpacked and counted. Damage
// is an error with core.CodeDamage.
type dump struct {
	source *archive.Source
	ctx    context.Context
	in     *unpacker // nil: it could not be begun
	meter  *archive.Meter
	err    error // how it ended
}

func (a *opened) stream(ctx context.Context, progress core.Progress) *dump {
	d := &dump{
		source: archive.NewSource(ctx, io.NewSectionReader(a.file, 0, a.size), progress),
		ctx:    ctx,
		meter:  archive.NewMeter(a.opt.Limits, a.size),
	}
	var err error
	if d.in, err = unpack(a.packing, d.source); err != nil {
		d.err = d.says(err)
	}
	return d
}

// Read implements io.Reader.
func (d *dump) Read(p []byte) (int, error) {
	if d.err == nil {
		d.err = d.ctx.Err()
	}
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.in.Read(p)
	if merr := d.meter.Add(int64(n)); merr != nil {
		d.err = merr
		return n, merr
	}
	if err != nil && err != io.EOF {
		err = d.says(err)
	}
	d.err = err
	return n, err
}

// Close ends the reading.
func (d *dump) Close() error {
	if d.in != nil {
		d.in.close()
		d.in = nil
	}
	if d.err == nil {
		d.err = os.ErrClosed
	}
	return nil
}

// damage is what is wrong with the packed bytes.
type damage struct{ message string }

func (d *damage) Error() string { return d.message }

// says tells the failure of the file from the damage of its bytes, and puts
// that into words.
func (d *dump) says(err error) error {
	if failed := d.source.Failed(); failed != nil {
		return fmt.Errorf("read dump: %w", failed)
	}
	message := "it cannot be unpacked on: " + err.Error()
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		message = "it ends too early: the packed file was cut short"
	case errors.Is(err, gzip.ErrChecksum):
		message = "gzip's checksum or length is wrong: it was changed"
	case errors.Is(err, gzip.ErrHeader):
		message = "something that is not gzip follows the dump, or its beginning was changed"
	case errors.Is(err, zstd.ErrCRCMismatch):
		message = "zstd's checksum is wrong: it was changed"
	case errors.Is(err, zstd.ErrMagicMismatch):
		message = "something that is not zstd follows the dump"
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		message = "its zstd window is over 128 MiB: pack it without --long or --ultra"
	case strings.Contains(err.Error(), "bzip2"):
		message = "bzip2 says: " + err.Error()
	}
	return &core.Error{
		Code: core.CodeDamage, Op: "read dump", Err: &damage{message},
		Hint: "take another copy of the file; nothing of this one was loaded",
	}
}
