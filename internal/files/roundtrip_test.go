package files_test

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/capture"
	"github.com/backstay/backstay/internal/files/restore"
	"github.com/backstay/backstay/internal/files/treetest"
	"github.com/backstay/backstay/internal/repository/kopia"
)

func captured(t *testing.T, m core.TreeWriter, sets ...core.FileSet) *capture.Result {
	t.Helper()
	c, err := capture.Files(t.Context(), sets, m, capture.Options{})
	treetest.OK(t, err)
	return c
}

func TestRoundTripOfHostileTree(t *testing.T) {
	root := t.TempDir() + "/tree"
	treetest.HostileTree(t, root)
	m := treetest.NewStore()
	c := captured(t, m, treetest.AppSet(root))
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
	want := treetest.Describe(t, root)
	for _, verify := range []bool{false, true} {
		target := t.TempDir() + "/not/there/yet"
		got, err := restore.Files(t.Context(), m, c.Entry, c.Extra.ID, restore.Options{
			Targets: map[string]string{"app": target}, Owners: c.Owners, Trees: c.Trees, Verify: verify,
		})
		treetest.OK(t, err)
		if len(got.Warnings) > 0 {
			t.Errorf("warnings: %v", got.Warnings)
		}
		if diff := cmp.Diff(want, treetest.Describe(t, target)); diff != "" {
			t.Errorf("verify %v: restored tree differs (-captured +restored):\n%s", verify, diff)
		}
		tree := c.Trees[0]
		if got.Files != tree.Files || got.Dirs != tree.Dirs || got.Symlinks != tree.Symlinks || got.Bytes != tree.Bytes {
			t.Errorf("restored %+v, captured %+v", got, tree)
		}
		if n := int64(len(want)); tree.Files+tree.Dirs+tree.Symlinks != n {
			t.Errorf("captured %+v, which is not %d paths", tree, n)
		}
		if b := treetest.Blocks(t, target+"/sparse.img"); b > 1<<20 {
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
	treetest.HostileTree(t, root)
	opts := kopia.Options{URL: "file://" + t.TempDir() + "/repository", Password: core.NewSecret("correct horse"), StateDir: t.TempDir()}
	treetest.OK(t, kopia.Create(t.Context(), opts))
	s, err := kopia.Open(t.Context(), opts)
	treetest.OK(t, err)
	defer func() { treetest.OK(t, s.Close(context.WithoutCancel(t.Context()))) }()
	var cache *capture.Cache
	for _, id := range []string{"first", "second"} {
		session, err := s.Begin(t.Context())
		treetest.OK(t, err)
		defer session.Abort()
		c, err := capture.Files(t.Context(), []core.FileSet{treetest.AppSet(root)}, session, capture.Options{Clock: treetest.LaterClock{}, Cache: cache})
		treetest.OK(t, err)
		top, err := session.WriteDir(t.Context(), []core.Entry{c.Entry})
		treetest.OK(t, err)
		_, err = session.Commit(t.Context(), top, core.Backup{ID: id, App: "app", Time: time.Unix(1_700_000_000, 0).UTC()})
		treetest.OK(t, err)
		if (c.Trees[0].Reused > 0) != (cache != nil) {
			t.Errorf("%s: %d files reused", id, c.Trees[0].Reused)
		}
		path := t.TempDir() + "/cache"
		treetest.OK(t, c.Cache.Save(path))
		cache, err = capture.LoadCache(path)
		treetest.OK(t, err)
		target := t.TempDir() + "/target"
		_, err = restore.Files(t.Context(), s, c.Entry, c.Extra.ID, restore.Options{Targets: map[string]string{"app": target}, Trees: c.Trees})
		treetest.OK(t, err)
		if diff := cmp.Diff(treetest.Describe(t, root), treetest.Describe(t, target)); diff != "" {
			t.Errorf("%s (-captured +restored):\n%s", id, diff)
		}
	}
}

func linkBytes(t *testing.T, m *treetest.Store, c *capture.Result) (n int64) {
	t.Helper()
	for _, e := range treetest.Stored(t, m, c.Entry) {
		if e.Type == core.TypeSymlink {
			n += e.Object.Size
		}
	}
	return n
}

func TestWalk(t *testing.T) {
	root := t.TempDir()
	for _, p := range []string{"a/1", "a/2", "b/1", "b/2", "c"} {
		treetest.Write(t, root+"/"+p, p)
	}
	m := treetest.NewStore()
	c := captured(t, m, treetest.AppSet(root))
	walk := func(fn func(path string) error) []string {
		var seen []string
		err := files.Walk(t.Context(), m, c.Entry, func(path string, _ core.Entry) error {
			seen = append(seen, path)
			return fn(path)
		})
		if err != nil {
			seen = append(seen, err.Error())
		}
		return seen
	}
	stop := errors.New("stop")
	for name, x := range map[string]struct {
		fn   func(string) error
		want []string
	}{
		"all":         {func(string) error { return nil }, []string{"app", "app/a", "app/a/1", "app/a/2", "app/b", "app/b/1", "app/b/2", "app/c"}},
		"skip folder": {func(p string) error { return when(p == "app/a", fs.SkipDir) }, []string{"app", "app/a", "app/b", "app/b/1", "app/b/2", "app/c"}},
		"skip rest":   {func(p string) error { return when(p == "app/a/1", fs.SkipDir) }, []string{"app", "app/a", "app/a/1", "app/b", "app/b/1", "app/b/2", "app/c"}},
		"error":       {func(p string) error { return when(p == "app/a", stop) }, []string{"app", "app/a", "stop"}},
	} {
		if diff := cmp.Diff(x.want, walk(x.fn)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if e, err := files.Lookup(t.Context(), m, c.Entry, "app/b/2"); err != nil || m.Read(t, e.Object.ID) != "b/2" {
		t.Errorf("%+v %v", e, err)
	}
	for _, p := range []string{"app/x", "app/c/d", "nope/c"} {
		if _, err := files.Lookup(t.Context(), m, c.Entry, p); core.CodeOf(err) != core.CodeNotFound || core.HintOf(err) == "" {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func when(now bool, err error) error {
	if now {
		return err
	}
	return nil
}
