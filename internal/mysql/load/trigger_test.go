package load_test

import (
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/load"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// TestTriggerOfAnotherDatabase: a trigger that was typed with its database is
// made where it is restored to, and not where it came from.
func TestTriggerOfAnotherDatabase(t *testing.T) {
	from, to := mysqltest.Database(t), mysqltest.Database(t)
	name := mysql.QuoteName(from)
	mysqltest.ExecIn(t, from, "CREATE TABLE item (id INT PRIMARY KEY)", "CREATE TRIGGER "+name+".tr BEFORE INSERT ON "+name+".item FOR EACH ROW SET @x=1")
	tree := mysqltest.NewTree()
	snapshot, err := dump.Open(t.Context(), dump.Options{Config: mysqltest.Config(t, from), Clock: core.SystemClock{}})
	if err != nil {
		t.Fatal(err)
	}
	dumped, err := snapshot.Write(t.Context(), tree, core.NoProgress{})
	if err != nil {
		t.Fatal(err)
	}
	if err := snapshot.Close(); err != nil {
		t.Fatal(err)
	}
	mysqltest.ExecIn(t, from, "DROP TRIGGER tr")
	if _, err := load.Load(t.Context(), dumped.Index, tree, load.Options{Config: mysqltest.Config(t, to), Progress: core.NoProgress{}}); err != nil {
		t.Fatal(err)
	}
	for database, want := range map[string]int{from: 0, to: 1} {
		if got := len(mysqltest.Query(t, database, "SHOW TRIGGERS")); got != want {
			t.Errorf("database %s has %d triggers, want %d", database, got, want)
		}
	}
}
