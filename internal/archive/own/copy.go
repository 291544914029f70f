package own

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

// Copy implements archive.Native. It holds the archive against its sums again:
// the file may have changed since Check.
func (a *opened) Copy(ctx context.Context, w core.TreeWriter) ([]core.Entry, error) {
	c := copier{w: w, open: []folder{{}}, buf: make([]byte, 256<<10)}
	flaws, err := a.watched(ctx, core.NoProgress{}, func(i item, body io.Reader) error { return c.add(ctx, i, body) })
	if err != nil {
		return nil, err
	}
	if len(flaws) > 0 {
		return nil, damaged("read archive", flaws[0].Where+": "+flaws[0].Message, nil)
	}
	if err := c.close(ctx, 1); err != nil {
		return nil, err
	}
	return c.open[0].entries, nil
}

// copier stores entries as they come, folders when they end.
type copier struct {
	w    core.TreeWriter
	open []folder // the root folder, and those that the last entry lies in or is
	buf  []byte
}

type folder struct {
	path    string
	entry   core.Entry
	entries []core.Entry
	files   int64 // below it
}

func (c *copier) add(ctx context.Context, i item, body io.Reader) error {
	dir, _ := split(i.path)
	depth := len(c.open)
	for depth > 1 && c.open[depth-1].path != dir {
		depth--
	}
	if err := c.close(ctx, depth); err != nil {
		return err
	}
	e := i.entry
	var err error
	switch e.Type {
	case core.TypeDir:
		c.open = append(c.open, folder{path: i.path, entry: e})
		return nil
	case core.TypeSymlink:
		e.Object, err = c.store(ctx, i, strings.NewReader(i.link))
	default:
		e.Object, err = c.store(ctx, i, body)
		c.open[depth-1].files++
	}
	if err != nil {
		return fmt.Errorf("store %s: %w", i.path, err)
	}
	c.open[depth-1].entries = append(c.open[depth-1].entries, e)
	return nil
}

// close stores open folders until there are depth of them.
func (c *copier) close(ctx context.Context, depth int) error {
	for len(c.open) > depth {
		f := c.open[len(c.open)-1]
		c.open = c.open[:len(c.open)-1]
		obj, err := c.w.WriteDir(ctx, f.entries)
		if err != nil {
			return fmt.Errorf("store folder %s: %w", f.path, err)
		}
		f.entry.Object, f.entry.Files = obj, f.files
		in := &c.open[len(c.open)-1]
		in.entries = append(in.entries, f.entry)
		in.files += f.files
	}
	return nil
}

// store stores a file, as a capture stores it.
func (c *copier) store(ctx context.Context, i item, body io.Reader) (obj core.Object, err error) {
	create, rows := c.w.Create, strings.HasPrefix(i.path, databaseDir+"/data/")
	if rows {
		create = c.w.CreateBlocks
	}
	f, err := create(ctx, i.path)
	if err != nil {
		return core.Object{}, err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	if rows {
		err = copyRows(f, body)
	} else {
		_, err = io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{body}, c.buf)
	}
	if err != nil {
		return core.Object{}, err
	}
	if obj, err = f.Finish(); err != nil {
		return core.Object{}, err
	}
	if obj.Size != i.entry.Object.Size {
		return core.Object{}, archive.Hostile(i.path, "its size changed while it was read")
	}
	return obj, nil
}
