package load_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/backstay/backstay/internal/core"
)

// tree keeps what a dump writes, by path.
type tree struct {
	mu    sync.Mutex
	files map[string][]byte
}

func newTree() *tree { return &tree{files: map[string][]byte{}} }

type treeFile struct {
	t    *tree
	path string
	buf  bytes.Buffer
}

func (t *tree) Create(_ context.Context, hint string) (core.FileWriter, error) {
	return &treeFile{t: t, path: hint}, nil
}

func (t *tree) WriteDir(_ context.Context, entries []core.Entry) (core.Object, error) {
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

// Open makes a tree a load.Source.
func (t *tree) Open(_ context.Context, path string) (io.ReadCloser, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	data, ok := t.files[path]
	if !ok {
		return nil, fmt.Errorf("%s: not in the backup", path)
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}
