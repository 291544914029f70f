package sqlfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

// opened is an open dump. Each use of it reads the file from its begin.
type opened struct {
	file    *os.File
	size    int64
	info    archive.Info
	packing packing
	opt     archive.OpenOptions
}

var _ archive.Archive = (*opened)(nil)

func open(ctx context.Context, f *os.File, opt archive.OpenOptions) (*opened, error) {
	if opt.Progress == nil {
		opt.Progress = core.NoProgress{}
	}
	stat, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open dump: %w", err)
	}
	a := &opened{file: f, size: stat.Size(), opt: opt}
	if a.size == 0 {
		return nil, &core.Error{Code: core.CodeDamage, Op: "open dump", Message: "the file is empty", Hint: "the program that wrote it failed before it began: see its messages"}
	}
	head := make([]byte, 32)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("open dump: %w", err)
	}
	if a.packing, err = packed(head[:n]); err != nil {
		return nil, err
	}
	d := a.stream(ctx, core.NoProgress{})
	begin, err := io.ReadAll(io.LimitReader(d, sniffed))
	if err := errors.Join(err, d.Close()); err != nil && (!isDamage(err) || len(begin) == 0) {
		return nil, err
	}
	if len(begin) == 0 {
		return nil, &core.Error{Code: core.CodeDamage, Op: "open dump", Message: "the dump in the file is empty", Hint: "the program that wrote it failed before it began: see its messages"}
	}
	if !looksLikeSQL(begin) {
		return nil, &core.Error{
			Code: core.CodeUnsupported, Op: "open dump", Message: "it does not begin as SQL text does",
			Hint: "a dump is what mysqldump, mariadb-dump or phpMyAdmin write, plain or packed with gzip, zstd or bzip2",
		}
	}
	a.info = archive.Info{Format: "sql", Kind: "database", Time: stat.ModTime().UTC(), TimeSays: "the file"}
	if a.packing != plain {
		a.info.Notes = []string{"packed with " + string(a.packing)}
	}
	return a, nil
}

func isDamage(err error) bool {
	var d *damage
	return errors.As(err, &d)
}

// Info implements archive.Archive.
func (a *opened) Info() archive.Info { return a.info }

// Check implements archive.Archive: it unpacks to the last byte. Where the
// text has to end, its readers know.
func (a *opened) Check(ctx context.Context) ([]archive.Flaw, error) {
	a.opt.Progress.Stage("read dump", a.size)
	d := a.stream(ctx, a.opt.Progress)
	_, err := io.Copy(io.Discard, struct{ io.Reader }{d})
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	var broken *damage
	switch {
	case errors.As(err, &broken):
		return []archive.Flaw{{Where: "the dump", Message: broken.message}}, nil
	default:
		return nil, err
	}
}

// Files implements archive.Archive. There are none.
func (*opened) Files(context.Context, func(archive.Entry, io.Reader) error) error { return nil }

// OpenDump implements archive.Archive.
func (a *opened) OpenDump(ctx context.Context) (io.ReadCloser, error) {
	return a.stream(ctx, core.NoProgress{}), nil
}

// Close implements archive.Archive.
func (*opened) Close() error { return nil }
