package load_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/load"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// TestGeneratedColumnsAreCompared: rows that were written under settings that
// nobody knows any more give a warning that names their columns; ordinary ones
// give none.
func TestGeneratedColumnsAreCompared(t *testing.T) {
	from := mysqltest.Database(t)
	mysqltest.ExecIn(t, from, "SET SESSION div_precision_increment=12",
		"CREATE TABLE other (id INT PRIMARY KEY, a INT, plain INT AS (a+1) STORED, q DECIMAL(30,15) AS (a/7) STORED, v DECIMAL(30,15) AS (a/7) VIRTUAL)",
		"INSERT INTO other (id,a) VALUES (1,1),(2,22)",
		"CREATE TABLE keyless (a INT, q DECIMAL(30,15) AS (a/7) STORED)", "INSERT INTO keyless (a) VALUES (1),(1),(NULL)",
		"CREATE TABLE same (id INT, k INT, name VARCHAR(20), f FLOAT AS (id/3e0) STORED, upper_name VARCHAR(20) AS (UPPER(name)) STORED, e ENUM('a','b') AS (IF(id=1,'a','b')) STORED, PRIMARY KEY (k, id))",
		"INSERT INTO same (id,k,name) VALUES (1,2,'ä\t'),(2,1,NULL)",
		"CREATE TABLE none (id INT PRIMARY KEY, v INT AS (id+1) VIRTUAL)", "INSERT INTO none (id) VALUES (1)")
	tree, d, _ := dumpDatabase(t, mysqltest.Config(t, from), "")
	for _, table := range d.Index.Tables {
		if has := table.Generated != nil; has != (table.Name != "none") {
			t.Errorf("table %s: generated %+v", table.Name, table.Generated)
		}
	}
	for _, keysAfter := range []bool{false, true} {
		options := into(mysqltest.Config(t, mysqltest.Database(t)))
		options.Origin = d.Database.Server
		if keysAfter {
			options = options.KeysAfterRows()
		}
		loaded, err := load.Load(t.Context(), d.Index, tree, options)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, w := range loaded.Warnings {
			got = append(got, w.Code+" "+w.Object)
			if w.Object == "table other" && !strings.Contains(w.Message, "columns plain, q than") {
				t.Errorf("the columns are not named: %s", w.Message)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff([]string{"generated table keyless", "generated table other"}, got); diff != "" {
			t.Errorf("warnings, keys after rows %v:\n%s", keysAfter, diff)
		}
	}
}

// TestGeneratedColumnsUnderOriginModes: what an expression gives may depend on
// the sql_mode, so that rows come in under the origin's.
func TestGeneratedColumnsUnderOriginModes(t *testing.T) {
	modes, columns := "NO_UNSIGNED_SUBTRACTION", ""
	if !mysqltest.OnMariaDB(t) { // MariaDB lets no stored column depend on the others
		modes = "NO_UNSIGNED_SUBTRACTION,TIME_TRUNCATE_FRACTIONAL,PAD_CHAR_TO_FULL_LENGTH"
		columns = ", n INT AS (CHAR_LENGTH(c)) STORED, s DATETIME AS (d) STORED, vn INT AS (CHAR_LENGTH(c)) VIRTUAL, KEY (vn)"
	}
	mode := mysqltest.Query(t, "", "SELECT @@global.sql_mode")[0][0].Text
	mysqltest.Exec(t, fmt.Sprintf("SET GLOBAL sql_mode='%s'", modes))
	defer mysqltest.Exec(t, fmt.Sprintf("SET GLOBAL sql_mode='%s'", mode))
	from := mysqltest.Database(t)
	mysqltest.ExecIn(t, from, "SET SESSION sql_mode='"+modes+"'",
		"CREATE TABLE x (id INT PRIMARY KEY, a INT UNSIGNED, b INT UNSIGNED, c CHAR(10), d DATETIME(6), diff BIGINT AS (a-b) STORED"+columns+")",
		"INSERT INTO x (id,a,b,c,d) VALUES (1,1,2,'abc','2026-01-01 10:00:00.9'),(2,5,3,'','2026-01-01 10:00:00.1'),(3,0,4294967295,NULL,NULL)")
	tree, d, _ := dumpDatabase(t, mysqltest.Config(t, from), "")
	for _, insert := range []bool{false, true} {
		for _, keysAfter := range []bool{false, true} {
			t.Run(fmt.Sprintf("by INSERT %v, keys after rows %v", insert, keysAfter), func(t *testing.T) {
				if insert {
					localInfile(t, false)
				}
				to := mysqltest.Database(t)
				options := load.Options{Config: mysqltest.Config(t, to), Origin: d.Database.Server, Progress: core.NoProgress{}}
				if keysAfter {
					options = options.KeysAfterRows()
				}
				loaded, err := load.Load(t.Context(), d.Index, tree, options)
				if err != nil {
					t.Fatal(err)
				}
				if len(loaded.Warnings) > 0 {
					t.Errorf("warnings: %v", loaded.Warnings)
				}
				if diff := cmp.Diff(mysqltest.Checksum(t, from), mysqltest.Checksum(t, to)); diff != "" {
					t.Errorf("values differ (-origin +restored):\n%s", diff)
				}
			})
		}
	}
}
