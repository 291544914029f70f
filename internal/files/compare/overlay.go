package compare

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
)

// Overlay is a repository with some folders and files that are made up: folders of which
// only some is wanted, and files that are changed on the way. It is safe for concurrent use.
type Overlay struct {
	under core.TreeReader

	mu    sync.Mutex
	dirs  map[core.ObjectID][]core.Entry
	blobs map[core.ObjectID][]byte
}

var _ core.TreeReader = (*Overlay)(nil)

// madeUp begins the ids of what is not in the repository.
const madeUp = "exchange:"

func newOverlay(under core.TreeReader) *Overlay {
	return &Overlay{under: under, dirs: map[core.ObjectID][]core.Entry{}, blobs: map[core.ObjectID][]byte{}}
}

// ReadDir reads a folder.
func (o *Overlay) ReadDir(ctx context.Context, id core.ObjectID) ([]core.Entry, error) {
	if !strings.HasPrefix(string(id), madeUp) {
		return o.under.ReadDir(ctx, id)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]core.Entry(nil), o.dirs[id]...), nil
}

type blob struct{ *bytes.Reader }

func (blob) Close() error { return nil }

// Open opens a file.
func (o *Overlay) Open(ctx context.Context, id core.ObjectID) (io.ReadSeekCloser, error) {
	if !strings.HasPrefix(string(id), madeUp) {
		return o.under.Open(ctx, id)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return blob{bytes.NewReader(o.blobs[id])}, nil
}

// Folder makes a folder up.
func (o *Overlay) Folder(name string, entries []core.Entry) core.Entry {
	e := core.Entry{Name: name, Type: core.TypeDir, Mode: 0o700}
	for _, in := range entries {
		e.Object.Size += in.Object.Size
		if in.Type == core.TypeDir {
			e.Files += in.Files
		} else {
			e.Files++
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	e.Object.ID = core.ObjectID(fmt.Sprintf("%sfolder-%d", madeUp, len(o.dirs)))
	o.dirs[e.Object.ID] = entries
	return e
}

// File makes a file up.
func (o *Overlay) File(content []byte) core.Object {
	o.mu.Lock()
	defer o.mu.Unlock()
	id := core.ObjectID(fmt.Sprintf("%sfile-%d", madeUp, len(o.blobs)))
	o.blobs[id] = content
	return core.Object{ID: id, Size: int64(len(content))}
}

// transform returns the entry of a file with its content changed.
func (o *Overlay) transform(ctx context.Context, path string, e core.Entry, change func([]byte) ([]byte, error)) (core.Entry, error) {
	if strings.HasPrefix(string(e.Object.ID), madeUp) {
		return e, nil
	}
	src, err := o.under.Open(ctx, e.Object.ID)
	if err != nil {
		return e, fmt.Errorf("restore %s: %w", files.Quote(path), err)
	}
	content, err := io.ReadAll(io.LimitReader(src, maxTransformed+1))
	if cerr := src.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return e, fmt.Errorf("restore %s: %w", files.Quote(path), err)
	}
	if int64(len(content)) != e.Object.Size {
		if len(content) > maxTransformed {
			return e, fmt.Errorf("change %s for this machine: it has more than %d MB", files.Quote(path), maxTransformed>>20)
		}
		return e, files.Damage("restore "+files.Quote(path), fmt.Sprintf("the backup has %d bytes of it where there should be %d", len(content), e.Object.Size))
	}
	if content, err = change(content); err != nil {
		return e, fmt.Errorf("change %s for this machine: %w", files.Quote(path), err)
	}
	e.Object = o.File(content)
	return e, nil
}

// prune returns the entry of a folder with only what is selected in it, and with files
// changed that are to be: the entry itself when that is all of it.
func (o *Overlay) prune(c *Result, path string, e core.Entry) (core.Entry, error) {
	whole, _ := c.selection.At(path)
	changes := false
	for p := range c.opt.Transform {
		changes = changes || strings.HasPrefix(p, path+"/")
	}
	if whole && !changes {
		return e, nil
	}
	entries, err := files.ReadDir(c.ctx, o.under, path, e)
	if err != nil {
		return e, err
	}
	var some []core.Entry
	for _, in := range entries {
		at := filepath.Join(path, in.Name)
		whole, way := c.selection.At(at)
		change := c.opt.Transform[at]
		switch {
		case in.Type == core.TypeDir && (whole || way):
			in, err = o.prune(c, at, in)
		case !whole:
			continue
		case change != nil && in.Type == core.TypeFile:
			in, err = o.transform(c.ctx, at, in, change)
		}
		if err != nil {
			return e, err
		}
		some = append(some, in)
	}
	made := o.Folder(e.Name, some)
	e.Object, e.Files = made.Object, made.Files
	return e, nil
}
