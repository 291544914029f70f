package own

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

// opened is an open archive. Each use of it reads the file from its begin.
type opened struct {
	file     *os.File
	size     int64
	key      age.Identity // nil: not sealed
	opt      archive.OpenOptions
	manifest core.Manifest
	flawed   bool // Check found a flaw
	watch    func(e archive.Stored, body []byte) error
}

var _ archive.Native = (*opened)(nil)

func open(ctx context.Context, f *os.File, opt archive.OpenOptions) (*opened, error) {
	if opt.Progress == nil {
		opt.Progress = core.NoProgress{}
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	a := &opened{file: f, size: info.Size(), opt: opt}
	head := make([]byte, len(ageMagic))
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	switch head := string(head[:n]); {
	case n == 0:
		return nil, damaged("open archive", "the file is empty", nil)
	case head == ageMagic:
		if a.key, err = unseal(io.NewSectionReader(f, 0, a.size), opt.Passwords); err != nil {
			return nil, err
		}
	case n < len(zstdMagic) || head[:len(zstdMagic)] != zstdMagic:
		return nil, notOurs()
	}
	err = a.read(ctx, core.NoProgress{}, func(r *reader) error {
		if err := r.next(ctx); err != nil && err != io.EOF {
			return err
		}
		if r.manifest == nil {
			return damaged("open archive", r.flaws[0].Where+": "+r.flaws[0].Message, nil)
		}
		a.manifest = *r.manifest
		return nil
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// read reads the archive with use.
func (a *opened) read(ctx context.Context, progress core.Progress, use func(r *reader) error) error {
	in, err := unpack(ctx, a.file, a.size, a.key, a.opt.Limits, progress)
	if err != nil {
		return err
	}
	defer in.close()
	return use(newReader(in))
}

// walk reads the whole archive and calls fn for each entry of the backup but
// its manifest, and returns the flaws.
func (a *opened) walk(ctx context.Context, progress core.Progress, fn func(i item, body io.Reader) error) (flaws []archive.Flaw, err error) {
	err = a.read(ctx, progress, func(r *reader) error {
		defer func() { flaws = r.flaws }()
		for {
			if err := r.next(ctx); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if r.item.path == manifestName {
				continue
			}
			var body io.Reader
			if r.item.entry.Type == core.TypeFile {
				body = r.body()
			}
			if err := fn(r.item, body); err != nil {
				return err
			}
		}
	})
	return flaws, err
}

// Info implements archive.Archive.
func (a *opened) Info() archive.Info {
	kind := "full"
	if len(a.manifest.Trees) == 0 {
		kind = "database"
	}
	return archive.Info{
		Format: "backstay", Kind: kind, Time: a.manifest.Time, TimeSays: "the backup",
		Host: a.manifest.Host, Versions: a.manifest.Versions, Encrypted: a.key != nil,
	}
}

// Manifest implements archive.Native.
func (a *opened) Manifest() core.Manifest { return a.manifest }

// Watch implements archive.Native.
func (a *opened) Watch(fn func(e archive.Stored, body []byte) error) { a.watch = fn }

// watched reads the archive as walk does, and has it watched.
func (a *opened) watched(ctx context.Context, progress core.Progress, fn func(i item, body io.Reader) error) ([]archive.Flaw, error) {
	if a.watch == nil {
		return a.walk(ctx, progress, fn)
	}
	return a.walk(ctx, progress, func(i item, body io.Reader) error {
		var whole []byte
		if body != nil && readWhole(i.path) {
			limit := int64(maxIndex)
			if (*extras)(nil).is(i.path) {
				limit = maxExtra
			}
			var err error
			if whole, err = io.ReadAll(io.LimitReader(body, limit+1)); core.CodeOf(err) == core.CodeDamage {
				return fn(i, body) // whoever reads on meets it again
			} else if err != nil {
				return err
			}
			if int64(len(whole)) > limit {
				return archive.Hostile(i.path, fmt.Sprintf("it has %d bytes, more than %d", i.entry.Object.Size, limit))
			}
			body = bytes.NewReader(whole)
		}
		if err := a.watch(archive.Stored{Entry: i.entry, Path: i.path, Link: i.link}, whole); err != nil {
			return err
		}
		return fn(i, body)
	})
}

// readWhole says whether who watches gets the body.
func readWhole(p string) bool {
	return p == indexName || strings.HasPrefix(p, databaseDir+"/schema/") || (*extras)(nil).is(p)
}

// Check implements archive.Archive.
func (a *opened) Check(ctx context.Context) ([]archive.Flaw, error) {
	a.opt.Progress.Stage("read archive", a.size)
	flaws, err := a.watched(ctx, a.opt.Progress, func(item, io.Reader) error { return nil })
	a.flawed = len(flaws) > 0
	return flaws, err
}

// Files implements archive.Archive. Of names that archive.CheckPath refuses and
// Linux takes (a backslash) only Copy has the entries.
func (a *opened) Files(ctx context.Context, fn func(e archive.Entry, body io.Reader) error) error {
	var extras extras
	flaws, err := a.walk(ctx, core.NoProgress{}, func(i item, body io.Reader) error {
		component := core.Component(top(i.path))
		switch {
		case extras.is(i.path):
			return extras.read(ctx, body)
		case !isTree(string(component)) || i.path == string(component):
			return nil
		}
		e, err := a.entry(component, i, extras.names)
		if err != nil {
			return err
		}
		if _, err := archive.CheckPath(e.Path); err != nil {
			return nil
		}
		return fn(e, body)
	})
	if err == nil && len(flaws) > 0 && !a.flawed {
		return damaged("read archive", flaws[0].Where+": "+flaws[0].Message, nil)
	}
	return err
}
