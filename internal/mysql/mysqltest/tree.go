package mysqltest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/backstay/backstay/internal/core"
)

// Tree keeps in memory what a dump writes, by path, and gives it to a load. It
// is safe for concurrent use.
type Tree struct {
	mu    sync.Mutex
	files map[string][]byte
}

var _ core.TreeWriter = (*Tree)(nil)

// NewTree returns an empty tree.
func NewTree() *Tree { return &Tree{files: map[string][]byte{}} }

// File returns a file's content; nil when there is none.
func (t *Tree) File(path string) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.files[path]
}

// SetFile changes a file, as damage would.
func (t *Tree) SetFile(path string, data []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.files[path] = data
}

type treeFile struct {
	t    *Tree
	path string
	buf  bytes.Buffer
}

// Create begins a file; hint is its path.
func (t *Tree) Create(_ context.Context, hint string) (core.FileWriter, error) {
	return &treeFile{t: t, path: hint}, nil
}

// CreateBlocks begins a file as Create does.
func (t *Tree) CreateBlocks(ctx context.Context, hint string) (core.FileWriter, error) {
	return t.Create(ctx, hint)
}

// WriteDir refuses entries that no folder can hold, and forgets the others.
func (t *Tree) WriteDir(_ context.Context, entries []core.Entry) (core.Object, error) {
	seen := map[string]bool{}
	for _, e := range entries {
		if seen[e.Name] || strings.Contains(e.Name, "/") {
			return core.Object{}, fmt.Errorf("bad entry %q", e.Name)
		}
		seen[e.Name] = true
	}
	return core.Object{}, nil
}

func (f *treeFile) Write(p []byte) (int, error) { return f.buf.Write(p) }
func (f *treeFile) Close() error                { return nil }
func (f *treeFile) Finish() (core.Object, error) {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	f.t.files[f.path] = f.buf.Bytes()
	return core.Object{ID: core.ObjectID(f.path), Size: int64(f.buf.Len())}, nil
}

// Open opens a file by its path.
func (t *Tree) Open(_ context.Context, path string) (io.ReadCloser, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	data, ok := t.files[path]
	if !ok {
		return nil, fmt.Errorf("%s: not in the backup", path)
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}
