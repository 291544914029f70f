package restore_test

import (
	"context"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/engine/restore"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/memory"
)

// lost is a store of which some objects are damaged.
type lost struct {
	repository.Store
	objects map[core.ObjectID]bool
}

func (l lost) Open(ctx context.Context, id core.ObjectID) (io.ReadSeekCloser, error) {
	if l.objects[id] {
		return nil, &core.Error{Code: core.CodeDamage, Message: "a block is damaged"}
	}
	return l.Store.Open(ctx, id)
}

// TestDamageWhereThereIsNothing: an empty folder is filled with all that is
// whole, and what is damaged is named.
func TestDamageWhereThereIsNothing(t *testing.T) {
	a := enginetest.NewApp(t)
	store := memory.New()
	e := enginetest.New(t, store)
	rec := enginetest.Find(t, e, enginetest.Backup(t, e, a.Target).ID)
	l := lost{Store: store, objects: map[core.ObjectID]bool{}}
	err := files.Walk(t.Context(), store, core.Entry{Type: core.TypeDir, Object: rec.Root}, func(p string, entry core.Entry) error {
		if strings.HasPrefix(p, "files/") && (path.Base(p) == "a.txt" || path.Base(p) == "b.txt") {
			l.objects[entry.Object.ID] = true
		}
		return nil
	})
	if err != nil || len(l.objects) != 2 {
		t.Fatal(l.objects, err)
	}
	broken := enginetest.New(t, l)
	restoreTo := func(dir string) error {
		r, err := restore.Make(t.Context(), broken, restore.Request{Target: a.Target, Record: rec, Only: []core.Component{core.ComponentFiles}, ToDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Run(t.Context())
		return err
	}
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "missing")} {
		enginetest.WantError(t, restoreTo(dir), core.CodeDamage, "1 files were written to "+dir+" and 2 are missing", "uploads/a.txt", "uploads/deep/b.txt", "restore another backup")
		if got, err := filepath.Glob(dir + "/uploads/*.txt"); err != nil || len(got) != 1 || filepath.Base(got[0]) != "c.txt" {
			t.Errorf("restored: %v, %v", got, err)
		}
	}
	used := t.TempDir()
	if err := os.WriteFile(filepath.Join(used, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	enginetest.WantError(t, restoreTo(used), core.CodeDamage, "nothing was changed", "uploads/a.txt", "uploads/deep/b.txt")
	if entries, err := os.ReadDir(used); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}
