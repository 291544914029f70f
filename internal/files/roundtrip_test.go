package files

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
)

func TestRoundTripOfHostileTree(t *testing.T) {
	root := t.TempDir() + "/tree"
	hostileTree(t, root)
	m := newMemStore()
	c := capture1(t, m, CaptureOptions{}, appSet(root))
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
	want := describe(t, root)
	for _, verify := range []bool{false, true} {
		target := t.TempDir() + "/not/there/yet"
		got, err := Restore(t.Context(), m, c.Entry, extraOf(c), RestoreOptions{
			Targets: map[string]string{"app": target}, Owners: c.Owners, Trees: c.Trees, Verify: verify,
		})
		ok(t, err)
		if len(got.Warnings) > 0 {
			t.Errorf("warnings: %v", got.Warnings)
		}
		if diff := cmp.Diff(want, describe(t, target)); diff != "" {
			t.Errorf("verify %v: restored tree differs (-captured +restored):\n%s", verify, diff)
		}
		tree := c.Trees[0]
		if got.Files != tree.Files || got.Dirs != tree.Dirs || got.Symlinks != tree.Symlinks || got.Bytes != tree.Bytes {
			t.Errorf("restored %+v, captured %+v", got, tree)
		}
		if n := int64(len(want)); tree.Files+tree.Dirs+tree.Symlinks != n {
			t.Errorf("captured %+v, which is not %d paths", tree, n)
		}
		if b := blocks(t, target+"/sparse.img"); b > 1<<20 {
			t.Errorf("sparse.img takes %d bytes", b)
		}
	}
	if c.Entry.Files != c.Trees[0].Files || c.Entry.Object.Size != c.Trees[0].Bytes+linkBytes(t, m, c) {
		t.Errorf("entry %+v does not agree with %+v", c.Entry, c.Trees[0])
	}
}

func linkBytes(t *testing.T, m *memStore, c *Captured) (n int64) {
	t.Helper()
	for _, e := range stored(t, m, c) {
		if e.Type == core.TypeSymlink {
			n += e.Object.Size
		}
	}
	return n
}
