package dump_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// TestWhatARestorePutBeside: tables, triggers and views that a restore built or
// kept beside the live ones are no part of the app.
func TestWhatARestorePutBeside(t *testing.T) {
	db := mysqltest.Database(t)
	kept, view := mysql.ReservedName("abcdefgh27", "k0001"), mysql.ReservedName("abcdefgh27", "n0002")
	mysqltest.ExecIn(t, db, "CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)",
		"CREATE TABLE "+kept+" (id INT PRIMARY KEY)", "INSERT INTO "+kept+" VALUES (1),(2)",
		"CREATE TABLE _backstay_plans (id INT PRIMARY KEY)", "CREATE TABLE _BACKSTAY_abcdefgh27_k0003 (id INT PRIMARY KEY)", "CREATE TRIGGER tr BEFORE INSERT ON "+kept+" FOR EACH ROW SET @x = 1", "CREATE VIEW "+view+" AS SELECT * FROM "+kept, "CREATE VIEW v AS SELECT id FROM t")
	_, d := write(t, open(t, options(mysqltest.Config(t, db))))
	var names []string
	for _, table := range d.Index.Tables {
		names = append(names, "table "+table.Name)
	}
	for _, o := range d.Index.Objects {
		names = append(names, o.Kind+" "+o.Name)
	}
	if diff := cmp.Diff([]string{"table _BACKSTAY_abcdefgh27_k0003", "table _backstay_plans", "table t", "view v"}, names); diff != "" {
		t.Errorf("in the backup (-want +got):\n%s", diff)
	}
	if d.Database.Tables != 3 || d.Database.Rows != 1 {
		t.Errorf("the backup has %d tables with %d rows, want 3 with 1", d.Database.Tables, d.Database.Rows)
	}
	if len(d.Notes) != 1 || !strings.Contains(d.Notes[0], "restore abcdefgh27") || !strings.Contains(d.Notes[0], "backstay undo") {
		t.Errorf("of what is left out the backup says %q", d.Notes)
	}
}
