package treetest

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
	"github.com/backstay/backstay/internal/files"
)

// Store is a repository in memory that can be made to fail, and that calls
// a test back when it is used, so that a test can act in the middle of things.
type Store struct {
	mu      sync.Mutex
	Files   map[core.ObjectID][]byte
	Dirs    map[core.ObjectID][]core.Entry
	creates []string

	OnCreate func(hint string) error
	OnWrite  func(hint string, sofar int) error
	OnDir    func(entries []core.Entry) error
	OnOpen   func(id core.ObjectID) error
}

var (
	_ core.TreeWriter = (*Store)(nil)
	_ core.TreeReader = (*Store)(nil)
)

func NewStore() *Store {
	return &Store{Files: map[core.ObjectID][]byte{}, Dirs: map[core.ObjectID][]core.Entry{}}
}

func (m *Store) Create(ctx context.Context, hint string) (core.FileWriter, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if m.OnCreate != nil {
		if err := m.OnCreate(hint); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	m.creates = append(m.creates, hint)
	m.mu.Unlock()
	return &storeWriter{m: m, hint: hint}, nil
}

func (m *Store) CreateBlocks(ctx context.Context, hint string) (core.FileWriter, error) {
	return m.Create(ctx, hint)
}

type storeWriter struct {
	m    *Store
	hint string
	buf  bytes.Buffer
}

func (f *storeWriter) Write(b []byte) (int, error) {
	if f.m.OnWrite != nil {
		if err := f.m.OnWrite(f.hint, f.buf.Len()); err != nil {
			return 0, err
		}
	}
	return f.buf.Write(b)
}

func (f *storeWriter) Finish() (core.Object, error) {
	sum := sha256.Sum256(f.buf.Bytes())
	id := core.ObjectID(hex.EncodeToString(sum[:]))
	f.m.mu.Lock()
	f.m.Files[id] = bytes.Clone(f.buf.Bytes())
	f.m.mu.Unlock()
	return core.Object{ID: id, Size: int64(f.buf.Len())}, nil
}

func (f *storeWriter) Close() error { return nil }

func (m *Store) WriteDir(ctx context.Context, entries []core.Entry) (core.Object, error) {
	if err := ctx.Err(); err != nil {
		return core.Object{}, err
	}
	if m.OnDir != nil {
		if err := m.OnDir(entries); err != nil {
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
	id := core.ObjectID(fmt.Sprintf("k%d", len(m.Dirs)))
	m.Dirs[id] = append([]core.Entry(nil), entries...)
	return core.Object{ID: id, Size: size}, nil
}

func (m *Store) ReadDir(_ context.Context, id core.ObjectID) ([]core.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	entries, ok := m.Dirs[id]
	if !ok {
		return nil, &core.Error{Code: core.CodeDamage, Message: "object " + string(id) + " is missing"}
	}
	return append([]core.Entry(nil), entries...), nil
}

type storeReader struct{ *bytes.Reader }

func (storeReader) Close() error { return nil }

func (m *Store) Open(_ context.Context, id core.ObjectID) (io.ReadSeekCloser, error) {
	if m.OnOpen != nil {
		if err := m.OnOpen(id); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.Files[id]
	if !ok {
		return nil, &core.Error{Code: core.CodeDamage, Message: "object " + string(id) + " is missing"}
	}
	return storeReader{bytes.NewReader(b)}, nil
}

// Read returns a stored file's bytes.
func (m *Store) Read(t *testing.T, id core.ObjectID) string {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.Files[id]
	if !ok {
		t.Fatalf("no object %s", id)
	}
	return string(b)
}

// Created lists the hints of the files that were begun since the last Forget.
func (m *Store) Created() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.creates...)
}

// Forget empties what Created lists.
func (m *Store) Forget() {
	m.mu.Lock()
	m.creates = nil
	m.mu.Unlock()
}

// LaterClock is far enough ahead that every file counts as settled.
type LaterClock struct{}

func (LaterClock) Now() time.Time { return time.Now().Add(time.Hour) }

// AppSet takes everything below root.
func AppSet(root string, exclude ...string) core.FileSet {
	return core.FileSet{
		Component: core.ComponentFiles, Place: "app", Root: root,
		Include: []core.Path{{Path: "."}}, Exclude: exclude,
	}
}

// Stored lists what is in a stored folder: path → entry.
func Stored(t *testing.T, m core.TreeReader, dir core.Entry) map[string]core.Entry {
	t.Helper()
	all := map[string]core.Entry{}
	err := files.Walk(t.Context(), m, dir, func(path string, e core.Entry) error {
		all[path] = e
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
