package coverage

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/repository/memory"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

// TestRows: rows that are not those that were captured, and an index that is not
// the manifest's, are damage though the store holds what was written to it.
func TestRows(t *testing.T) {
	a := enginetest.NewApp(t)
	store := memory.New()
	e := enginetest.New(t, store)
	rec := enginetest.Find(t, e, enginetest.Backup(t, e, a.Target).ID)
	if r, err := Run(t.Context(), e, Plan{Share: 1}); err != nil || len(r.Damaged) > 0 || r.Unread > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	o, err := e.OpenBackup(t.Context(), rec)
	if err != nil {
		t.Fatal(err)
	}
	chunk := ""
	for _, tb := range o.Index.Tables {
		if tb.Name == "b" {
			chunk = tb.Chunks[0].File
		}
	}
	for _, tt := range []struct{ path, table, message string }{
		{chunk, "b", "not those that were written"}, {o.Manifest.Database.Index, "", "not the one that the manifest names"},
	} {
		tampered := enginetest.Tampered(t, store, rec, enginetest.Tamper{Change: func(p string, data []byte) []byte {
			if p == tt.path {
				return append(bytes.Clone(data[:len(data)-2]), '0', '\n')
			}
			return data
		}})
		e := enginetest.New(t, tampered)
		r, err := Run(t.Context(), e, Plan{Share: 1})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Damaged) != 1 || len(r.Damaged[0].In) != 1 || !strings.Contains(r.Damaged[0].Message, tt.message) {
			t.Fatalf("%s: %+v", tt.path, r.Damaged)
		}
		if in := r.Damaged[0].In[0]; in.Path != tt.path || in.Table != tt.table {
			t.Errorf("%s is named as %+v", tt.path, in)
		}
	}
}
