package itop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

// tarball is an open .tar.gz. Each of its methods reads the file anew: there is
// no other way to what is in it, and it is small but for the dump.
type tarball struct {
	f    *os.File
	size int64
	opt  archive.OpenOptions
	info archive.Info
	last bool // the dump is known to be the last entry
}

var _ archive.Archive = (*tarball)(nil)

// Info says when the dump was made.
func (a *tarball) Info() archive.Info { return a.info }

// Close does nothing: nothing was unpacked.
func (a *tarball) Close() error { return nil }

// pass is one reading of a tarball.
type pass struct {
	ctx   context.Context
	a     *tarball
	z     *gunzip
	tar   *tarReader
	names *names
}

func (a *tarball) begin(ctx context.Context, progress core.Progress) (*pass, error) {
	src := archive.NewSource(ctx, io.NewSectionReader(a.f, 0, a.size), progress)
	z, err := newGunzip(src)
	if err != nil {
		return nil, err
	}
	meter := archive.NewMeter(a.opt.Limits, a.size)
	return &pass{ctx: ctx, a: a, z: z, tar: newTarReader(bufio.NewReaderSize(meter.Reader(z), 128<<10)), names: newNames(meter)}, nil
}

// entry is one of a pass.
type entry struct {
	header
	archive.Entry
	dump  bool
	again bool // it was there before
}

// next returns the next entry; io.EOF at the archive's end.
func (p *pass) next() (e entry, err error) {
	if err := p.ctx.Err(); err != nil {
		return e, err
	}
	if e.header, err = p.tar.next(); err != nil {
		return e, err
	}
	if e.Entry, e.dump, err = place(p.a.opt.Environment, e.name, e.dir); err != nil {
		return e, err
	}
	if e.dump {
		e.Path = dumpName
	}
	e.Size, e.ModTime = e.header.size, e.header.time
	// iTop archives copies that it makes for the purpose, so that their modes
	// are its umask's. An execute bit is none of these.
	if !e.HasMode && !e.dir && e.mode&0o111 != 0 {
		e.Mode, e.HasMode = fs.FileMode(e.mode&0o777), true
	}
	path := e.Path
	if e.dump {
		path = "\x00" // no file of the application has this name
	}
	e.again, err = p.names.add(path, e.name, e.dir)
	if err == nil && e.dump && e.again {
		err = archive.Hostile(e.name, "it is there twice")
	}
	return e, err
}

// Check reads the archive to its end.
func (a *tarball) Check(ctx context.Context) ([]archive.Flaw, error) {
	a.info = archive.Info{Format: Format{}.Name(), Kind: "full"}
	var flaws []archive.Flaw
	add := func(where, message string) { flaws = append(flaws, archive.Flaw{Where: where, Message: message}) }
	seen, err := a.check(ctx)
	var damage *flaw
	switch {
	case err == nil:
	case errors.As(err, &damage):
		flaws = append(flaws, archive.Flaw(*damage))
	default:
		return flaws, fmt.Errorf("check archive: %w", err)
	}
	switch {
	case !seen.config:
		add(configName, "it is missing")
	case seen.first != configName:
		add(configName, "it is not the first entry, as iTop's backup has it")
	case seen.configSize == 0:
		add(configName, "it is empty")
	}
	switch {
	case !seen.dump:
		add(dumpName, "it is missing: the archive was cut short, or the database was never in it")
	case seen.dumpSize == 0:
		add(dumpName, "it is empty")
	case seen.lastName != dumpName:
		add(dumpName, "it is not the last entry, as iTop's backup has it")
	}
	a.last = len(flaws) == 0
	a.info.Time, a.info.TimeSays = seen.dumpTime, "the dump's entry"
	if seen.dumpTime.IsZero() {
		a.info.Time, a.info.TimeSays = seen.newest, "the newest entry"
	}
	if a.info.Time.IsZero() {
		a.info.TimeSays = ""
	}
	if seen.repeated > 0 {
		a.info.Notes = append(a.info.Notes, fmt.Sprintf("%d entries are there twice with the same bytes, as iTop writes them when extra_files overlap", seen.repeated))
	}
	if seen.members > 1 {
		a.info.Notes = append(a.info.Notes, fmt.Sprintf("it is compressed in %d parts", seen.members))
	}
	return flaws, nil
}

// seen is what a Check saw.
type seen struct {
	config, dump         bool
	configSize, dumpSize int64
	first, lastName      string
	dumpTime, newest     time.Time
	repeated, members    int
}

func (a *tarball) check(ctx context.Context) (s seen, err error) {
	p, err := a.begin(ctx, a.opt.Progress)
	if err != nil {
		return s, err
	}
	defer func() { s.members = p.z.members }()
	var sum maphash.Hash
	for {
		e, err := p.next()
		if err == io.EOF {
			return s, nil
		}
		if err != nil {
			return s, err
		}
		a.opt.Progress.Item(e.name)
		if s.first == "" {
			s.first = e.name
		}
		s.lastName = e.name
		if e.time.After(s.newest) {
			s.newest = e.time
		}
		switch {
		case e.dump:
			s.dump, s.dumpSize, s.dumpTime = true, e.Size, e.time
		case e.Component == core.ComponentConfig:
			s.config, s.configSize = true, e.Size
		}
		sum.Reset()
		if _, err := io.Copy(&sum, p.tar); err != nil {
			return s, err
		}
		if e.again {
			s.repeated++
		}
		if !e.dir && !e.dump && !p.names.content(e.Path, sum.Sum64(), e.again) {
			return s, archive.Hostile(e.name, "it is there twice with different bytes")
		}
	}
}

// Files gives the configuration, delta, modules and extra files.
func (a *tarball) Files(ctx context.Context, fn func(e archive.Entry, body io.Reader) error) error {
	p, err := a.begin(ctx, nil)
	if err != nil {
		return asError(err)
	}
	for {
		e, err := p.next()
		if err == io.EOF || err == nil && e.dump && a.last {
			return nil
		}
		if err != nil {
			return asError(err)
		}
		if e.dump || e.again {
			continue
		}
		var body io.Reader
		if !e.dir {
			body = errorReader{p.tar}
		}
		if err := fn(e.Entry, body); err != nil {
			return err
		}
	}
}

// OpenDump opens itop-dump.sql.
func (a *tarball) OpenDump(ctx context.Context) (io.ReadCloser, error) {
	p, err := a.begin(ctx, nil)
	if err != nil {
		return nil, asError(err)
	}
	for {
		e, err := p.next()
		if err == io.EOF {
			return nil, nil
		}
		if err != nil {
			return nil, asError(err)
		}
		if e.dump {
			return io.NopCloser(errorReader{p.tar}), nil
		}
	}
}

// asError turns damage into an error with a code.
func asError(err error) error {
	var damage *flaw
	if errors.As(err, &damage) {
		return damaged(archive.Flaw(*damage))
	}
	return err
}

// errorReader gives damage its code.
type errorReader struct{ r io.Reader }

func (r errorReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		err = asError(err)
	}
	return n, err
}
