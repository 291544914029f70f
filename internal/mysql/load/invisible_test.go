package load_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/load"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// TestHiddenPrimaryKeys: a primary key that MySQL made by itself comes along
// though the server hides it, for an ordinary account too, and a table that has
// none gets none.
func TestHiddenPrimaryKeys(t *testing.T) {
	if mysqltest.OnMariaDB(t) {
		t.Skip("MariaDB makes no primary keys by itself")
	}
	s := mysqltest.Start(t, localserver.Options{Name: "hidden", Args: []string{
		"--loose-local-infile=1", "--loose-sql-generate-invisible-primary-key=1", "--loose-show-gipk-in-create-table-and-information-schema=0",
	}})
	root := mysqltest.ConfigOf(s, "")
	if known, err := mysqltest.Connect(t, root).Query(t.Context(), "SHOW VARIABLES LIKE 'sql_generate_invisible_primary_key'"); err != nil || len(known) == 0 {
		t.Skipf("the server makes no primary keys by itself (%v)", err)
	}
	from, to := mysqltest.ConfigOf(s, "origin"), mysqltest.ConfigOf(s, "copy")
	mysqltest.ExecOn(t, root, "CREATE DATABASE origin", "CREATE DATABASE copy", "CREATE USER app@'%' IDENTIFIED BY 'pw-of-a-test'",
		"GRANT SELECT, LOCK TABLES, SHOW VIEW, TRIGGER, EVENT ON origin.* TO app@'%'")
	mysqltest.ExecOn(t, from, "CREATE TABLE parent (v INT)", "INSERT INTO parent VALUES (3),(1),(2)", "DELETE FROM parent WHERE v=1",
		"CREATE TABLE child (p BIGINT UNSIGNED, CONSTRAINT fk FOREIGN KEY (p) REFERENCES parent (my_row_id))", "INSERT INTO child VALUES (3)",
		"SET SESSION sql_generate_invisible_primary_key=0", "CREATE TABLE without (v INT)", "INSERT INTO without VALUES (1)")
	from.User, from.Password = "app", core.NewSecret("pw-of-a-test")
	tree, d, _ := dumpDatabase(t, from, "")
	if _, err := load.Load(t.Context(), d.Index, tree, into(to)); err != nil {
		t.Fatal(err)
	}
	from = mysqltest.ConfigOf(s, "origin")
	if diff := mysqltest.Diff(t, from, to); diff != "" {
		t.Error(diff)
	}
	made, err := mysqltest.ShowCreateOf(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	var keyed []string
	for name, definition := range made {
		if strings.Contains(definition, "PRIMARY KEY (`my_row_id`)") {
			keyed = append(keyed, name)
		}
	}
	if len(keyed) != 2 {
		t.Errorf("%q have the key, want parent and child: %v", keyed, made)
	}
	rows, err := mysqltest.Connect(t, to).Query(t.Context(), "SELECT CONCAT(my_row_id,' ',v) FROM parent ORDER BY my_row_id")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, r := range rows {
		found = append(found, r[0].Text)
	}
	if diff := cmp.Diff([]string{"1 3", "3 2"}, found); diff != "" {
		t.Errorf("the keys' values (-origin +restored):\n%s", diff)
	}
}
