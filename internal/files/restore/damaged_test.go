package restore

import (
	"context"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files/treetest"
)

// lossy is a store of which some objects are damaged.
type lossy struct {
	*treetest.Store
	objects map[core.ObjectID]bool
}

var errLost = &core.Error{Code: core.CodeDamage, Message: "a block is damaged"}

func (l lossy) ReadDir(ctx context.Context, id core.ObjectID) ([]core.Entry, error) {
	if l.objects[id] {
		return nil, errLost
	}
	return l.Store.ReadDir(ctx, id)
}

// TestPastDamage restores what is whole, when it is told to, and names the rest.
func TestPastDamage(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"a", "b", "sub/c", "sub/d", "lost/e", "lost/deep/f", "x"} {
		treetest.Write(t, root+"/"+name, "content of "+name)
	}
	treetest.OK(t, os.Link(root+"/x", root+"/y"))
	treetest.Symlink(t, "a", root+"/link")
	treetest.Symlink(t, "b", root+"/other")
	m := treetest.NewStore()
	c := captured(t, m, treetest.AppSet(root))
	all := treetest.Stored(t, m, c.Entry)
	want := treetest.Describe(t, root)
	for _, left := range []string{"b", "sub/c", "lost/e", "lost/deep", "lost/deep/f", "x", "y", "link"} {
		delete(want, left)
	}
	lost := lossy{m, map[core.ObjectID]bool{all["app/lost"].Object.ID: true}}
	n := treetest.NewStore()
	n.Dirs = m.Dirs
	for id, b := range m.Files {
		n.Files[id] = b
	}
	for _, p := range []string{"app/x", "app/link", "app/sub/c"} {
		delete(n.Files, all[p].Object.ID) // which a store says is damage
	}
	lost.Store = n
	n.Files[all["app/b"].Object.ID] = []byte("cut")

	for _, batch := range []int{0, 1} {
		target := t.TempDir()
		before := treetest.OpenFiles(t)
		got := &Damaged{}
		result, err := restoreTo(t, lost, c, target, func(o *Options) { o.Damaged, o.batch, o.Verify = got, batch, true })
		treetest.OK(t, err)
		if diff := cmp.Diff([]string{"files/app/b", "files/app/link", "files/app/lost", "files/app/sub/c", "files/app/x", "files/app/y"}, got.Paths); diff != "" {
			t.Error(diff)
		}
		if got.Files != 7 || result.Files != 2 || result.Symlinks != 1 {
			t.Errorf("%d left out, %+v restored", got.Files, result)
		}
		if diff := cmp.Diff(want, treetest.Describe(t, target)); diff != "" {
			t.Errorf("-whole +restored:\n%s", diff)
		}
		noTempFiles(t, target)
		if after := treetest.OpenFiles(t); after != before {
			t.Errorf("%d open files before, %d after", before, after)
		}
	}
	if _, err := restoreTo(t, lost, c, t.TempDir()); core.CodeOf(err) != core.CodeDamage {
		t.Errorf("without being told to: %v", err)
	}
	if _, err := restoreTo(t, m, c, t.TempDir(), func(o *Options) { o.Damaged, o.Delete = &Damaged{}, true }); err == nil {
		t.Error("what a damaged backup does not show may be deleted")
	}
	// Other errors end the restore as ever.
	broken := failing{m, all["app/b"].Object.ID, os.ErrPermission}
	if _, err := restoreTo(t, broken, c, t.TempDir(), func(o *Options) { o.Damaged = &Damaged{} }); err == nil {
		t.Error("a read error is taken for damage")
	}
	// Nothing can be read but which component it is.
	top := lossy{m, map[core.ObjectID]bool{c.Entry.Object.ID: true}}
	got := &Damaged{}
	result, err := restoreTo(t, top, c, t.TempDir(), func(o *Options) { o.Damaged = got })
	if err != nil || result.Files != 0 || len(got.Paths) != 1 || got.Paths[0] != "files" || got.Files != 8 {
		t.Errorf("%v, %+v, %+v", err, result, got)
	}
}
