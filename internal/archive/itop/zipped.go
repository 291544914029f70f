package itop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/flate"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

// zipped is an open .zip, as iTop wrote its backups before version 2.5.
type zipped struct {
	f       *os.File
	opt     archive.OpenOptions
	size    int64
	info    archive.Info
	entries []zippedEntry // in the order of their bodies
}

type zippedEntry struct {
	zipEntry
	archive.Entry
	dump bool
}

var _ archive.Archive = (*zipped)(nil)

func openZip(ctx context.Context, f *os.File, size int64, opt archive.OpenOptions) (*zipped, error) {
	meter := archive.NewMeter(opt.Limits, size)
	directory, err := readDirectory(f, size, meter)
	if err != nil {
		return nil, err
	}
	a := &zipped{f: f, size: size, opt: opt}
	names := newNames(archive.NewMeter(opt.Limits, size))
	for _, z := range directory {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("open archive: %w", err)
		}
		e := zippedEntry{zipEntry: z}
		if e.Entry, e.dump, err = place(opt.Environment, z.name, z.dir); err != nil {
			return nil, err
		}
		e.Size = z.size
		path := e.Path
		if e.dump {
			path = "\x00"
		}
		again, err := names.add(path, z.name, z.dir)
		if err != nil {
			return nil, err
		}
		switch {
		case again && !z.dir:
			return nil, archive.Hostile(z.name, "it is there twice")
		case !again:
			a.entries = append(a.entries, e)
		}
	}
	return a, nil
}

// Info says when the dump was made, as the clock of the machine showed it.
func (a *zipped) Info() archive.Info { return a.info }

// Close does nothing: nothing was unpacked.
func (a *zipped) Close() error { return nil }

// Check reads every entry and compares its checksum.
func (a *zipped) Check(ctx context.Context) ([]archive.Flaw, error) {
	a.info = archive.Info{Format: Format{}.Name(), Kind: "full"}
	var flaws []archive.Flaw
	add := func(where, message string) { flaws = append(flaws, archive.Flaw{Where: where, Message: message}) }
	meter := archive.NewMeter(a.opt.Limits, a.size)
	config, dump := int64(-1), int64(-1)
	for _, e := range a.entries {
		a.opt.Progress.Item(e.name)
		switch {
		case e.dump:
			dump = e.Size
			a.info.Time, a.info.TimeSays = dosTime(e.stamp), "the dump's entry, in the time of the machine"
		case e.Component == core.ComponentConfig:
			config = e.Size
		}
		body := a.open(ctx, e, meter, a.opt.Progress)
		_, err := io.Copy(io.Discard, body)
		var damage *flaw
		switch {
		case err == nil:
		case errors.As(err, &damage):
			flaws = append(flaws, archive.Flaw(*damage))
		default:
			return flaws, fmt.Errorf("check archive: %w", err)
		}
	}
	for _, want := range []struct {
		name string
		size int64
	}{{configName, config}, {dumpName, dump}} {
		switch want.size {
		case -1:
			add(want.name, "it is missing")
		case 0:
			add(want.name, "it is empty")
		}
	}
	return flaws, nil
}

// Files gives the configuration, delta, modules and extra files.
func (a *zipped) Files(ctx context.Context, fn func(e archive.Entry, body io.Reader) error) error {
	meter := archive.NewMeter(a.opt.Limits, a.size)
	for _, e := range a.entries {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if e.dump {
			continue
		}
		var body io.Reader
		if !e.zipEntry.dir {
			body = errorReader{a.open(ctx, e, meter, nil)}
		}
		if err := fn(e.Entry, body); err != nil {
			return err
		}
	}
	return nil
}

// OpenDump opens itop-dump.sql.
func (a *zipped) OpenDump(ctx context.Context) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	for _, e := range a.entries {
		if e.dump {
			return io.NopCloser(errorReader{a.open(ctx, e, archive.NewMeter(a.opt.Limits, a.size), nil)}), nil
		}
	}
	return nil, nil
}

// open returns the body of an entry, which fails at its end where it is not
// what the directory says.
func (a *zipped) open(ctx context.Context, e zippedEntry, meter *archive.Meter, progress core.Progress) io.Reader {
	src := archive.NewSource(ctx, io.NewSectionReader(a.f, e.data, e.packed), progress)
	b := &zipBody{name: e.name, left: e.size, crc: e.crc, src: src, packed: bufio.NewReader(src), sum: crc32.NewIEEE()}
	b.r = b.packed
	if e.method != 0 {
		b.r = flate.NewReader(b.packed)
	}
	b.r = meter.Reader(b.r)
	return b
}

// zipBody is the body of a zip's entry.
type zipBody struct {
	name   string
	left   int64
	crc    uint32
	src    *archive.Source
	packed *bufio.Reader
	r      io.Reader
	sum    hash.Hash32
}

func (b *zipBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.left -= int64(n)
	b.sum.Write(p[:n]) // a hash never fails
	var limit *core.Error
	switch {
	case b.src.Failed() != nil:
		return n, b.src.Failed()
	case b.left < 0:
		return n, &flaw{Where: b.name, Message: "it is larger than the archive says"}
	case err == nil || errors.As(err, &limit):
		return n, err
	case err != io.EOF:
		return n, &flaw{Where: b.name, Message: "its compressed data are damaged: " + err.Error()}
	case b.left > 0:
		return n, &flaw{Where: b.name, Message: "it is smaller than the archive says"}
	case b.sum.Sum32() != b.crc:
		return n, &flaw{Where: b.name, Message: "its checksum is not the one in the archive"}
	}
	if _, err := b.packed.ReadByte(); err != io.EOF {
		return n, &flaw{Where: b.name, Message: "something follows its compressed data"}
	}
	return n, io.EOF
}

// dosTime reads a time of a zip, which has no zone.
func dosTime(stamp uint32) time.Time {
	clock, day := int(stamp&0xffff), int(stamp>>16)
	return time.Date(day>>9+1980, time.Month(day>>5&15), day&31, clock>>11, clock>>5&63, clock&31*2, 0, time.UTC)
}
