package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// memStore is a repository in memory that can be made to fail, and that calls
// a test back when it is used, so that a test can act in the middle of things.
type memStore struct {
	mu      sync.Mutex
	files   map[core.ObjectID][]byte
	dirs    map[core.ObjectID][]core.Entry
	creates []string

	onCreate func(hint string) error
	onWrite  func(hint string, sofar int) error
	onDir    func(entries []core.Entry) error
	onOpen   func(id core.ObjectID) error
}

var (
	_ core.TreeWriter = (*memStore)(nil)
	_ core.TreeReader = (*memStore)(nil)
)

func newMemStore() *memStore {
	return &memStore{files: map[core.ObjectID][]byte{}, dirs: map[core.ObjectID][]core.Entry{}}
}

func (m *memStore) Create(ctx context.Context, hint string) (core.FileWriter, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if m.onCreate != nil {
		if err := m.onCreate(hint); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	m.creates = append(m.creates, hint)
	m.mu.Unlock()
	return &memFile{m: m, hint: hint}, nil
}

type memFile struct {
	m    *memStore
	hint string
	buf  bytes.Buffer
}

func (f *memFile) Write(b []byte) (int, error) {
	if f.m.onWrite != nil {
		if err := f.m.onWrite(f.hint, f.buf.Len()); err != nil {
			return 0, err
		}
	}
	return f.buf.Write(b)
}

func (f *memFile) Finish() (core.Object, error) {
	sum := sha256.Sum256(f.buf.Bytes())
	id := core.ObjectID(hex.EncodeToString(sum[:]))
	f.m.mu.Lock()
	f.m.files[id] = bytes.Clone(f.buf.Bytes())
	f.m.mu.Unlock()
	return core.Object{ID: id, Size: int64(f.buf.Len())}, nil
}

func (f *memFile) Close() error { return nil }

func (m *memStore) WriteDir(ctx context.Context, entries []core.Entry) (core.Object, error) {
	if err := ctx.Err(); err != nil {
		return core.Object{}, err
	}
	if m.onDir != nil {
		if err := m.onDir(entries); err != nil {
			return core.Object{}, err
		}
	}
	var size int64
	seen := map[string]bool{}
	for _, e := range entries {
		if seen[e.Name] {
			return core.Object{}, fmt.Errorf("name %q twice", e.Name)
		}
		seen[e.Name] = true
		size += e.Object.Size
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	id := core.ObjectID(fmt.Sprintf("k%d", len(m.dirs)))
	m.dirs[id] = append([]core.Entry(nil), entries...)
	return core.Object{ID: id, Size: size}, nil
}

func (m *memStore) ReadDir(_ context.Context, id core.ObjectID) ([]core.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	entries, ok := m.dirs[id]
	if !ok {
		return nil, &core.Error{Code: core.CodeDamage, Message: "object " + string(id) + " is missing"}
	}
	return append([]core.Entry(nil), entries...), nil
}

type memReader struct{ *bytes.Reader }

func (memReader) Close() error { return nil }

func (m *memStore) Open(_ context.Context, id core.ObjectID) (io.ReadSeekCloser, error) {
	if m.onOpen != nil {
		if err := m.onOpen(id); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.files[id]
	if !ok {
		return nil, &core.Error{Code: core.CodeDamage, Message: "object " + string(id) + " is missing"}
	}
	return memReader{bytes.NewReader(b)}, nil
}

// read returns a stored file's bytes.
func (m *memStore) read(t *testing.T, id core.ObjectID) string {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.files[id]
	if !ok {
		t.Fatalf("no object %s", id)
	}
	return string(b)
}

func (m *memStore) created() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.creates...)
}

// laterClock is far enough ahead that every file counts as settled.
type laterClock struct{}

func (laterClock) Now() time.Time { return time.Now().Add(time.Hour) }

// appSet takes everything below root.
func appSet(root string, exclude ...string) core.FileSet {
	return core.FileSet{
		Component: core.ComponentFiles, Place: "app", Root: root,
		Include: []core.Path{{Path: "."}}, Exclude: exclude,
	}
}

func capture1(t *testing.T, m *memStore, opt CaptureOptions, sets ...core.FileSet) *Captured {
	t.Helper()
	c, err := Capture(t.Context(), sets, m, opt)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func extraOf(c *Captured) core.ObjectID {
	if c.Extra == nil {
		return ""
	}
	return c.Extra.ID
}

// stored lists what a capture stored: path → entry.
func stored(t *testing.T, m *memStore, c *Captured) map[string]core.Entry {
	t.Helper()
	all := map[string]core.Entry{}
	err := Walk(t.Context(), m, c.Entry, func(path string, e core.Entry) error {
		all[path] = e
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
