package repair_test

import (
	"os"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/repository/memory"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

// TestRows: rows and the definition of a table are damaged. The table that is as
// it was comes back in older backups too; of the one that changed, they are lost.
func TestRows(t *testing.T) {
	a := enginetest.NewApp(t)
	store := memory.New()
	s := &site{App: a, store: store, engine: enginetest.New(t, store), target: a.Target}
	first, second := s.backup(t), s.backup(t)
	o, err := s.engine.OpenBackup(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	var spoiled []string
	for _, tb := range o.Index.Tables {
		if tb.Name == "a" || tb.Name == "b" {
			spoiled = append(spoiled, tb.Chunks[0].File)
		}
		if tb.Name == "bag" {
			spoiled = append(spoiled, tb.Schema)
		}
	}
	s.spoil(t, second, spoiled...)
	mysqltest.ExecIn(t, a.DB, "UPDATE b SET v = 'changed' WHERE id = 1")
	r := s.repair(t)
	if r.Backup == nil || r.Parts != 2 || len(r.Damaged) != 3 {
		t.Fatalf("%+v", r)
	}
	enginetest.Whole(t, s.engine, r.Backup.ID)
	for _, v := range r.Older {
		if len(v.Damaged) != 1 || v.Damaged[0].Table != "b" || !strings.HasPrefix(v.Damaged[0].Path, "database/") {
			t.Errorf("backup %s lost %+v", v.ID, v.Damaged)
		}
	}
	if len(r.Older) != 2 || r.Older[0].ID != first.ID || r.Lost() != 2 {
		t.Errorf("%+v", r.Older)
	}
}
