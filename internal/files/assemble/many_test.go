package assemble_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/assemble"
	"github.com/backstay/backstay/internal/files/treetest"
)

// nowhere stores nothing and gives ids as long as real ones.
type nowhere struct{ folders *int }

func (n nowhere) Create(context.Context, string) (core.FileWriter, error) { return &nothing{}, nil }

func (n nowhere) CreateBlocks(context.Context, string) (core.FileWriter, error) {
	return &nothing{}, nil
}

func (n nowhere) WriteDir(_ context.Context, entries []core.Entry) (core.Object, error) {
	*n.folders += 1 + len(entries)
	return core.Object{ID: "k0123456789abcdef0123456789abcdef"}, nil
}

type nothing struct{ n int64 }

func (f *nothing) Write(p []byte) (int, error) {
	f.n += int64(len(p))
	return len(p), nil
}

func (f *nothing) Finish() (core.Object, error) {
	return core.Object{ID: core.ObjectID(strings.Clone("0123456789abcdef0123456789abcdef")), Size: f.n}, nil
}

func (f *nothing) Close() error { return nil }

// TestMemory: a million files would take some 200 MB; large ones no more than
// small ones.
func TestMemory(t *testing.T) {
	const entries = 200_000
	folders := 0
	for name, inFolder := range map[string]int{"few in a folder": 10, "many in a folder": entries} {
		t.Run(name, func(t *testing.T) {
			b := begin(t, nowhere{&folders}, options(func(o *assemble.Options) { o.FoldCase = true }))
			before := heap()
			for i := range entries {
				add(t, b, fmt.Sprintf("uploads/%05d/document-%06d.pdf", i/inFolder, i), "x")
			}
			each := (heap() - before) / entries
			runtime.KeepAlive(b)
			t.Logf("%d bytes an entry", each)
			if each > 300 {
				t.Errorf("%d bytes an entry", each)
			}
			if r := finish(t, b); r.Entry.Files != entries {
				t.Errorf("%+v", r.Entry)
			}
		})
	}
	b := begin(t, nowhere{&folders}, options())
	before := heap()
	f := assemble.File{Place: "app", Path: "large", Type: core.TypeFile, Size: 4 << 30}
	treetest.OK(t, b.Add(t.Context(), f, io.LimitReader(readerFunc(func(p []byte) (int, error) { return len(p), nil }), f.Size)))
	if grown := heap() - before; grown > 8<<20 {
		t.Errorf("%d bytes", grown)
	}
	if r := finish(t, b); r.Trees[0].Bytes != f.Size {
		t.Errorf("%+v", r)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// FuzzAdd: whatever comes is refused, or stored as it came and nothing else.
func FuzzAdd(f *testing.F) {
	f.Add("fa\nda/b\nfa/b/c\nla/l", true)
	f.Add("fa\nfA", true)
	f.Add("fa\xff\nfa\xfe\nfa%FF", false)
	f.Add("d\nf../x\nf/x\nfa//b", false)
	f.Add("fſ\nfs\nfK\nfk", true)
	f.Fuzz(func(t *testing.T, lines string, foldCase bool) {
		m := treetest.NewStore()
		b := begin(t, m, options(func(o *assemble.Options) { o.FoldCase = foldCase; o.MaxEntries = 10_000 }))
		want := map[string]core.EntryType{}
		warned := false
		for line := range strings.SplitSeq(lines, "\n") {
			if line == "" {
				continue
			}
			e := assemble.File{Place: "app", Path: line[1:], Type: core.EntryType(line[:1]), Link: "x"}
			if e.Type == "l" {
				e.Type = core.TypeSymlink
			}
			var body io.Reader
			if e.Type == core.TypeFile {
				body, e.Size = strings.NewReader(line), int64(len(line))
			}
			if b.Add(t.Context(), e, body) != nil {
				return
			}
			if _, twice := want[e.Path]; twice {
				t.Fatalf("%q twice", e.Path)
			}
			want[e.Path] = e.Type
			warned = warned || strings.Contains(e.Path, ".backstay-")
		}
		r := finish(t, b)
		if warned {
			return
		}
		extras, err := files.ReadExtra(t.Context(), m, idOf(r.Extra))
		treetest.OK(t, err)
		real := map[string]string{"app": ""}
		for path, e := range treetest.Stored(t, m, r.Entry) {
			if path == "app" {
				continue
			}
			name := e.Name
			if x, ok := extras[path]; ok {
				name = string(x.Name)
			}
			real[path] = name
		}
		seen := 0
		for path, e := range treetest.Stored(t, m, r.Entry) {
			was := ""
			for at := path; at != "app"; at = at[:strings.LastIndexByte(at, '/')] {
				was = strings.TrimSuffix(real[at]+"/"+was, "/")
			}
			kind, ok := want[was]
			if ok {
				seen++
			}
			if ok && kind != e.Type || !ok && e.Type != core.TypeDir {
				t.Errorf("%q is a %s, was %q %s", path, e.Type, was, kind)
			}
		}
		if seen != len(want) {
			t.Errorf("%d of %d are there", seen, len(want))
		}
	})
}

func idOf(o *core.Object) core.ObjectID {
	if o == nil {
		return ""
	}
	return o.ID
}
