package own

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

// maxWindow is what zstd -d reads without being told to.
const maxWindow = 8 << 20

// unpacked is the tar in the archive: opened, unpacked and counted.
type unpacked struct {
	source *archive.Source
	ctx    context.Context
	zstd   *zstd.Decoder
	frames *frames // may be looked at after the end
	meter  *archive.Meter
	limit  error // of the meter
	offset int64 // bytes read
	end    bool
}

// unpack begins to read the archive. key is nil where it is not sealed.
func unpack(ctx context.Context, f *os.File, size int64, key age.Identity, limits archive.Limits, progress core.Progress) (*unpacked, error) {
	u := &unpacked{
		source: archive.NewSource(ctx, io.NewSectionReader(f, 0, size), progress),
		ctx:    ctx,
		meter:  archive.NewMeter(limits, size),
	}
	var r io.Reader = bufio.NewReaderSize(u.source, 256<<10)
	if key != nil {
		opened, err := age.Decrypt(r, key)
		if err != nil {
			if failed := u.source.Failed(); failed != nil {
				return nil, fmt.Errorf("read archive: %w", failed)
			}
			return nil, damaged("open archive", "the seal is damaged", err)
		}
		r = opened
	}
	var err error
	u.frames = &frames{r: r}
	if u.zstd, err = zstd.NewReader(u.frames, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true)); err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	return u, nil
}

func (u *unpacked) close() { u.zstd.Close() }

// Read implements io.Reader.
func (u *unpacked) Read(p []byte) (int, error) {
	if u.limit != nil {
		return 0, u.limit
	}
	n, err := u.zstd.Read(p)
	u.offset += int64(n)
	if u.limit = u.meter.Add(int64(n)); u.limit != nil {
		return n, u.limit
	}
	u.end = u.end || err == io.EOF
	return n, err
}

// cause tells what an error of reading is: the reader's own (a disk, an end
// that was asked for, a limit), or, nil, the archive's damage.
func (u *unpacked) cause() error {
	if u.limit != nil {
		return u.limit
	}
	if err := u.source.Failed(); err != nil {
		return fmt.Errorf("read archive: %w", err)
	}
	return u.ctx.Err()
}

// says puts the error of a layer into words.
func says(err error) string {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "it ends too early"
	case errors.Is(err, zstd.ErrCRCMismatch):
		return "zstd's checksum is wrong: it was changed"
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return "zstd's window is over 8 MiB: backstay did not write this, or it was changed"
	case errors.Is(err, zstd.ErrMagicMismatch):
		return "something that is not zstd follows"
	}
	return "it cannot be read on: " + err.Error()
}

func damaged(op, message string, err error) error {
	return &core.Error{
		Code: core.CodeDamage, Op: op, Message: message, Err: err,
		Hint: "take another copy of the archive; nothing of this one was used",
	}
}
