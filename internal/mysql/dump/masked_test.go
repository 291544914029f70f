package dump_test

import (
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// TestMembersThatAreNotPrinted: what the server prints as "?" is stored as rows
// and defaults have it; of a member that no row has a note says that it is not known.
func TestMembersThatAreNotPrinted(t *testing.T) {
	db := mysqltest.Database(t)
	mysqltest.ExecIn(t, db,
		"CREATE TABLE t (id INT PRIMARY KEY, e ENUM('x','😀','🔐') CHARACTER SET utf16 COLLATE utf16_bin DEFAULT '🔐' COMMENT '?', s SET('a','🔐','b?','😀') COLLATE utf8mb4_bin, v VARCHAR(9) CHARACTER SET utf32 NOT NULL DEFAULT '😀''?', q VARCHAR(9) DEFAULT '?', w VARCHAR(9) DEFAULT '🔐')",
		"INSERT INTO t (id,e,s) VALUES (1,'😀','a,b?,😀'),(2,'x','b?')",
		"CREATE TABLE none (v VARCHAR(9) CHARACTER SET utf32 DEFAULT '😀')", "CREATE TABLE plain (e ENUM('a','?') CHARACTER SET latin1)", "CREATE TABLE told (e ENUM('a','?'))", "INSERT INTO told VALUES ('?')")
	tree, d := write(t, open(t, options(mysqltest.Config(t, db))))
	stored := strings.ToLower(string(tree.File("database/schema/table/t.sql")) + string(tree.File("database/schema/table/none.sql")))
	wanted := []string{"enum('x','😀','?')", "set('a','?','b?','😀')", "default '🔐' comment '?'", "not null default '😀''?'", "default '😀'", "`q` varchar(9) default '?'", "`w` varchar(9) default '🔐'"}
	if !mysqltest.OnMariaDB(t) { // which prints such defaults as bytes
		wanted = append(wanted[:2], "default 0xd83ddd10 comment '?'", "default 0x0001f600000000270000003f", "default 0x0001f600", "`q` varchar(9) default '?'", "default 0xf09f9490")
	}
	for _, want := range wanted {
		if !strings.Contains(stored, want) {
			t.Errorf("%s is not in\n%s", want, stored)
		}
	}
	if len(d.Notes) != 1 || !strings.Contains(d.Notes[0], "table t: a member or the default of e, s, ") {
		t.Errorf("notes: %q", d.Notes)
	}
}
