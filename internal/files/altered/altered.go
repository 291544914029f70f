// Package altered shows stored file trees with something in them changed, for
// a restore that puts an application into another place than it had. It
// promises that all else is as it was stored.
package altered

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/backstay/backstay/internal/core"
)

// Content is r with other content in every file that is stored as id.
func Content(r core.TreeReader, id core.ObjectID, content []byte) core.TreeReader {
	return file{TreeReader: r, id: id, content: content}
}

type file struct {
	core.TreeReader
	id      core.ObjectID
	content []byte
}

func (f file) ReadDir(ctx context.Context, dir core.ObjectID) ([]core.Entry, error) {
	entries, err := f.TreeReader.ReadDir(ctx, dir)
	if err != nil {
		return nil, err
	}
	entries = slices.Clone(entries)
	for i, e := range entries {
		if e.Type == core.TypeFile && e.Object.ID == f.id {
			entries[i].Object.Size = int64(len(f.content))
		}
	}
	return entries, nil
}

func (f file) Open(ctx context.Context, id core.ObjectID) (io.ReadSeekCloser, error) {
	if id == f.id {
		return reader{bytes.NewReader(f.content)}, nil
	}
	return f.TreeReader.Open(ctx, id)
}

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

// maxTarget is how long the target of a symbolic link can be.
const maxTarget = 4096

// Links shows symbolic links that lead to one absolute folder, or into it, as
// leading to another. It is safe for concurrent use.
type Links struct {
	core.TreeReader
	from, to string

	mu      sync.Mutex
	targets map[core.ObjectID]string // by ids of their own
}

var _ core.TreeReader = (*Links)(nil)

// NewLinks returns r with the links that lead into from leading into to. Both
// are clean absolute paths.
func NewLinks(r core.TreeReader, from, to string) *Links {
	return &Links{TreeReader: r, from: from, to: to, targets: map[core.ObjectID]string{}}
}

// mark begins the ids of links that are shown otherwise: a file may be stored
// under the id of a link that has the same bytes.
const mark = "altered "

// ReadDir lists a folder.
func (l *Links) ReadDir(ctx context.Context, dir core.ObjectID) ([]core.Entry, error) {
	entries, err := l.TreeReader.ReadDir(ctx, dir)
	if err != nil {
		return nil, err
	}
	entries = slices.Clone(entries)
	for i, e := range entries {
		if e.Type != core.TypeSymlink || e.Object.Size > maxTarget {
			continue
		}
		target, err := l.read(ctx, e.Object.ID)
		if err != nil {
			return nil, err
		}
		rest, ok := strings.CutPrefix(target+"/", l.from+"/")
		if !ok {
			continue
		}
		moved := path.Join(l.to, rest)
		id := mark + e.Object.ID
		l.mu.Lock()
		l.targets[id] = moved
		l.mu.Unlock()
		entries[i].Object = core.Object{ID: id, Size: int64(len(moved))}
	}
	return entries, nil
}

func (l *Links) read(ctx context.Context, id core.ObjectID) (_ string, err error) {
	f, err := l.TreeReader.Open(ctx, id)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err := io.ReadAll(io.LimitReader(f, maxTarget+1))
	return string(b), err
}

// Open opens a file, or a link for its target.
func (l *Links) Open(ctx context.Context, id core.ObjectID) (io.ReadSeekCloser, error) {
	l.mu.Lock()
	target, ok := l.targets[id]
	l.mu.Unlock()
	if ok {
		return reader{bytes.NewReader([]byte(target))}, nil
	}
	return l.TreeReader.Open(ctx, id)
}

// Count counts the links below a folder that are shown otherwise; wanted says
// of a path relative to it whether it counts.
func (l *Links) Count(ctx context.Context, dir core.ObjectID, wanted func(path string) bool) (int64, error) {
	return l.count(ctx, dir, "", wanted)
}

func (l *Links) count(ctx context.Context, dir core.ObjectID, at string, wanted func(string) bool) (n int64, err error) {
	entries, err := l.ReadDir(ctx, dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		p := path.Join(at, e.Name)
		if e.Type == core.TypeDir {
			below, err := l.count(ctx, e.Object.ID, p, wanted)
			if err != nil {
				return 0, err
			}
			n += below
		} else if strings.HasPrefix(string(e.Object.ID), mark) && wanted(p) {
			n++
		}
	}
	return n, nil
}
