package altered

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
)

// stored is a tree in memory: folders by id, all else by its bytes.
type stored map[core.ObjectID][]core.Entry

func (s stored) ReadDir(_ context.Context, dir core.ObjectID) ([]core.Entry, error) {
	entries, ok := s[dir]
	if !ok {
		return nil, fmt.Errorf("no folder %s", dir)
	}
	return entries, nil
}

func (s stored) Open(_ context.Context, id core.ObjectID) (io.ReadSeekCloser, error) {
	return reader{bytes.NewReader([]byte(id))}, nil
}

func entry(name string, kind core.EntryType, content string) core.Entry {
	return core.Entry{Name: name, Type: kind, Object: core.Object{ID: core.ObjectID(content), Size: int64(len(content))}}
}

// contents reads a tree as a restore does.
func contents(t *testing.T, r core.TreeReader, dir core.ObjectID, at string) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := r.ReadDir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Type == core.TypeDir {
			for p, c := range contents(t, r, e.Object.ID, at+e.Name+"/") {
				out[p] = c
			}
			continue
		}
		f, err := r.Open(t.Context(), e.Object.ID)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(b)) != e.Object.Size {
			t.Errorf("%s has %d bytes and says %d", at+e.Name, len(b), e.Object.Size)
		}
		out[at+e.Name] = string(b)
	}
	return out
}

func tree() stored {
	return stored{
		"top": {entry("in", core.TypeSymlink, "/old/app/x"), entry("root", core.TypeSymlink, "/old/app"), entry("slash", core.TypeSymlink, "/old/app/"), entry("sub", core.TypeDir, "sub")},
		"sub": {
			entry("beside", core.TypeSymlink, "/old/application"), entry("relative", core.TypeSymlink, "../x"), entry("again", core.TypeSymlink, "/old/app/x"),
			entry("file", core.TypeFile, "/old/app/x"), entry("config", core.TypeFile, "a=1"), entry("copy", core.TypeFile, "a=1"),
		},
	}
}

func TestLinks(t *testing.T) {
	l := NewLinks(tree(), "/old/app", "/srv/new")
	want := map[string]string{
		"in": "/srv/new/x", "root": "/srv/new", "slash": "/srv/new", "sub/beside": "/old/application", "sub/relative": "../x", "sub/again": "/srv/new/x",
		"sub/file": "/old/app/x", "sub/config": "a=1", "sub/copy": "a=1",
	}
	if diff := cmp.Diff(want, contents(t, l, "top", "")); diff != "" {
		t.Error(diff)
	}
	n, err := l.Count(t.Context(), "top", func(p string) bool { return p != "in" })
	if err != nil || n != 3 {
		t.Errorf("%d links (%v), want 3", n, err)
	}
	if tree()["top"][0].Object.ID != "/old/app/x" {
		t.Error("the tree itself was changed")
	}
}

func TestContent(t *testing.T) {
	before := tree()
	got := contents(t, Content(before, "a=1", []byte("a=12345")), "top", "")
	if got["sub/config"] != "a=12345" || got["sub/copy"] != "a=12345" || got["sub/file"] != "/old/app/x" {
		t.Errorf("got %q", got)
	}
	if before["sub"][4].Object.Size != 3 {
		t.Error("the tree itself was changed")
	}
}
