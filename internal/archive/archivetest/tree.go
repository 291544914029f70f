package archivetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
)

// tree is a repository's trees in memory. Equal content has equal ids.
type tree struct {
	mu    sync.Mutex
	files map[core.ObjectID][]byte
	dirs  map[core.ObjectID][]core.Entry
	// made are files that are computed when they are read.
	made map[core.ObjectID]func() io.ReadSeeker
	// fault, when it is not nil, is asked before each reading; what it returns
	// is the reading's error.
	fault func(op string) error
}

var (
	_ core.TreeReader = (*tree)(nil)
	_ core.TreeWriter = (*tree)(nil)
)

func newTree() *tree {
	return &tree{
		files: map[core.ObjectID][]byte{}, dirs: map[core.ObjectID][]core.Entry{},
		made: map[core.ObjectID]func() io.ReadSeeker{},
	}
}

func (s *tree) failing(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.fault != nil {
		return s.fault(op)
	}
	return nil
}

// ReadDir implements core.TreeReader.
func (s *tree) ReadDir(ctx context.Context, id core.ObjectID) ([]core.Entry, error) {
	if err := s.failing(ctx, "folder"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	entries, ok := s.dirs[id]
	if !ok {
		return nil, &core.Error{Code: core.CodeDamage, Op: "read folder", Message: "there is none called " + string(id)}
	}
	return slices.Clone(entries), nil
}

// Open implements core.TreeReader.
func (s *tree) Open(ctx context.Context, id core.ObjectID) (io.ReadSeekCloser, error) {
	if err := s.failing(ctx, "open"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if make, ok := s.made[id]; ok {
		return &treeFile{ctx, s, make()}, nil
	}
	data, ok := s.files[id]
	if !ok {
		return nil, &core.Error{Code: core.CodeDamage, Op: "read file", Message: "there is none called " + string(id)}
	}
	return &treeFile{ctx, s, bytes.NewReader(data)}, nil
}

type treeFile struct {
	ctx context.Context
	s   *tree
	io.ReadSeeker
}

func (f *treeFile) Read(p []byte) (int, error) {
	if err := f.s.failing(f.ctx, "read"); err != nil {
		return 0, err
	}
	return f.ReadSeeker.Read(p)
}

func (f *treeFile) Close() error { return nil }

// Create implements core.TreeWriter.
func (s *tree) Create(ctx context.Context, _ string) (core.FileWriter, error) {
	return &treeWriter{s: s}, ctx.Err()
}

// CreateBlocks implements core.TreeWriter.
func (s *tree) CreateBlocks(ctx context.Context, hint string) (core.FileWriter, error) {
	return s.Create(ctx, hint)
}

type treeWriter struct {
	bytes.Buffer
	s *tree
}

func (w *treeWriter) Finish() (core.Object, error) { return w.s.file(w.Bytes()), nil }
func (w *treeWriter) Close() error                 { return nil }

// file stores data.
func (s *tree) file(data []byte) core.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := core.ObjectID(fmt.Sprintf("f%x", sha256.Sum256(data)))
	s.files[id] = bytes.Clone(data)
	return core.Object{ID: id, Size: int64(len(data))}
}

// WriteDir implements core.TreeWriter.
func (s *tree) WriteDir(ctx context.Context, entries []core.Entry) (core.Object, error) {
	if err := ctx.Err(); err != nil {
		return core.Object{}, err
	}
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b core.Entry) int { return strings.Compare(a.Name, b.Name) })
	h, size := sha256.New(), int64(0)
	for i, e := range entries {
		if i > 0 && entries[i-1].Name == e.Name {
			return core.Object{}, fmt.Errorf("two entries are named %q", e.Name)
		}
		if e.Type != core.TypeSymlink {
			size += e.Object.Size
		}
		fmt.Fprintf(h, "%q %s %o %d %d %d %s\n", e.Name, e.Type, e.Mode, e.UID, e.GID, e.ModTime.UnixNano(), e.Object.ID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := core.ObjectID(fmt.Sprintf("d%x", h.Sum(nil)))
	s.dirs[id] = entries
	return core.Object{ID: id, Size: size}, nil
}

// node is one path of a tree to plant. Folders above it that are no nodes are
// made as well.
type node struct {
	path   string // with its component and place; real names
	typ    core.EntryType
	body   []byte
	made   func() io.ReadSeeker // instead of body, of size bytes
	size   int64
	link   string
	mode   uint32
	uid    uint32
	gid    uint32
	time   time.Time
	xattrs map[string][]byte
	hard   string // the path, in the component, of the file that this one is another name of
}

// plant stores nodes and returns the entry of their root folder and the extra
// lines by component. more are entries of the root folder.
func (s *tree) plant(t testing.TB, nodes []node, more ...core.Entry) core.Entry {
	t.Helper()
	children := map[string]map[string]*node{}
	var add func(n *node)
	add = func(n *node) {
		dir, name := path.Split(n.path)
		dir = strings.TrimSuffix(dir, "/")
		if children[dir] == nil {
			children[dir] = map[string]*node{}
			if dir != "" {
				add(&node{path: dir, typ: core.TypeDir, mode: 0o755, time: fixedTime})
			}
		}
		if old := children[dir][name]; old == nil || old.typ == core.TypeDir && n.typ == core.TypeDir && n.mode != 0o755 {
			children[dir][name] = n
		}
	}
	for i := range nodes {
		add(&nodes[i])
	}
	extras := map[string][]byte{}
	var build func(dir, stored string) core.Object
	build = func(dir, stored string) core.Object {
		var names []string
		for name := range children[dir] {
			names = append(names, name)
		}
		slices.Sort(names)
		escaped := files.EscapeNames(names)
		var entries []core.Entry
		for _, name := range names {
			n := children[dir][name]
			e := core.Entry{Name: name, Type: n.typ, Mode: modeOf(n.mode), UID: n.uid, GID: n.gid, ModTime: n.time}
			x := files.Extra{Xattrs: n.xattrs, Link: n.hard}
			if stands, ok := escaped[name]; ok {
				e.Name, x.Name = stands, []byte(name)
			}
			at := path.Join(stored, e.Name)
			switch {
			case n.typ == core.TypeDir:
				e.Object = build(n.path, at)
				for _, below := range nodes {
					if below.typ == core.TypeFile && strings.HasPrefix(below.path, n.path+"/") {
						e.Files++
					}
				}
			case n.typ == core.TypeSymlink:
				e.Object = s.file([]byte(n.link))
			case n.made != nil:
				id := core.ObjectID("m" + n.path)
				s.made[id] = n.made
				e.Object = core.Object{ID: id, Size: n.size}
			default:
				e.Object = s.file(n.body)
			}
			if !x.Empty() {
				component, below, _ := strings.Cut(at, "/")
				x.Path = below
				line, err := x.Encode()
				if err != nil {
					t.Fatal(err)
				}
				extras[component] = append(extras[component], line...)
			}
			entries = append(entries, e)
		}
		if dir == "" {
			for component, lines := range extras {
				entries = append(entries, core.Entry{
					Name: files.ExtraName(core.Component(component)), Type: core.TypeFile, Mode: 0o600,
					ModTime: fixedTime, Object: s.file(lines),
				})
			}
			entries = append(entries, more...)
		}
		o, err := s.WriteDir(context.Background(), entries)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	return core.Entry{Type: core.TypeDir, Mode: modeOf(0o755), ModTime: fixedTime, Object: build("", "")}
}

var errEndOfReader = errors.New("seek before the start")

// pattern is size bytes that compress well, made as they are read.
type pattern struct{ at, size int64 }

func (p *pattern) Read(b []byte) (int, error) {
	if p.at >= p.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), p.size-p.at))
	for i := range n {
		b[i] = byte((p.at + int64(i)) >> 12)
	}
	p.at += int64(n)
	return n, nil
}

func (p *pattern) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += p.at
	case io.SeekEnd:
		offset += p.size
	}
	if offset < 0 {
		return 0, errEndOfReader
	}
	p.at = offset
	return offset, nil
}
