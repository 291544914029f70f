package restore_test

import (
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/engine/restore"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/repository/memory"
)

// TestPlanCountsTables: views and sequences are no tables, versioned tables are.
func TestPlanCountsTables(t *testing.T) {
	t.Parallel()
	a := enginetest.NewApp(t) // three tables and a view
	mysqltest.ExecIn(t, a.DB, "CREATE SEQUENCE s", "CREATE TABLE versioned (id INT) WITH SYSTEM VERSIONING")
	e := enginetest.New(t, memory.New())
	b, err := e.Backup(t.Context(), a.Target, engine.BackupOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := restore.Make(t.Context(), e, restore.Request{Target: a.Target, Record: enginetest.Find(t, e, b.ID)})
	if err != nil {
		t.Fatal(err)
	}
	var replaces []string
	for _, s := range r.Plan.Steps {
		replaces = append(replaces, s.Replaces)
	}
	if text := strings.Join(replaces, "\n"); !strings.Contains(text, " 4 tables are there now") {
		t.Errorf("the plan says:\n%s", text)
	}
}
