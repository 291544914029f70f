package files

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository/kopia"
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

// The real repository keeps all of it too: names, times before 1970 and after
// 2038, owners, and ids for the cache.
func TestRoundTripThroughKopia(t *testing.T) {
	root := t.TempDir() + "/tree"
	hostileTree(t, root)
	opts := kopia.Options{URL: "file://" + t.TempDir() + "/repository", Password: core.NewSecret("correct horse"), StateDir: t.TempDir()}
	ok(t, kopia.Create(t.Context(), opts))
	s, err := kopia.Open(t.Context(), opts)
	ok(t, err)
	defer func() { ok(t, s.Close(context.WithoutCancel(t.Context()))) }()
	var cache *Cache
	for _, id := range []string{"first", "second"} {
		session, err := s.Begin(t.Context())
		ok(t, err)
		defer session.Abort()
		c, err := Capture(t.Context(), []core.FileSet{appSet(root)}, session, CaptureOptions{Clock: laterClock{}, Cache: cache})
		ok(t, err)
		top, err := session.WriteDir(t.Context(), []core.Entry{c.Entry})
		ok(t, err)
		_, err = session.Commit(t.Context(), top, core.Backup{ID: id, App: "app", Time: time.Unix(1_700_000_000, 0).UTC()})
		ok(t, err)
		if (c.Trees[0].Reused > 0) != (cache != nil) {
			t.Errorf("%s: %d files reused", id, c.Trees[0].Reused)
		}
		cache = saved(t, c.Cache)
		target := t.TempDir() + "/target"
		_, err = restoreTo(t, s, c, target)
		ok(t, err)
		if diff := cmp.Diff(describe(t, root), describe(t, target)); diff != "" {
			t.Errorf("%s (-captured +restored):\n%s", id, diff)
		}
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
