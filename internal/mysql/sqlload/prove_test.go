package sqlload

import (
	"os"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/mysql/sqlread"
)

// proving returns a loader that is connected and has read nothing.
func proving(t *testing.T) *loader {
	t.Helper()
	l := &loader{opt: Options{Config: mysqltest.Config(t, mysqltest.Database(t))}, tables: map[string]*table{}}
	t.Cleanup(func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
	if err := l.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.reader = sqlread.New(strings.NewReader(""), sqlread.Options{})
	return l
}

// TestProveTables: were the reader wrong about a table, the load would end.
func TestProveTables(t *testing.T) {
	dir := t.TempDir()
	for _, sql := range []string{
		"CREATE TABLE t (a int) ENGINE=MyISAM DATA DIRECTORY='" + dir + "'",
		"CREATE TABLE t (a int) ENGINE=InnoDB DATA DIRECTORY='" + dir + "'",
		"CREATE TABLE t (a int) PARTITION BY HASH (a) (PARTITION p DATA DIRECTORY='" + dir + "')",
		"CREATE TABLE t (a int) SELECT 1 AS a",
		"CREATE TABLE t (a int) CONNECTION='x'",
		"CREATE TABLE t (a int DEFAULT (sleep(1)))",
	} {
		l := proving(t)
		err := l.statement(t.Context(), &sqlread.Statement{Kind: sqlread.KindCreate, Object: sqlread.ObjectTable, Name: "t", Text: sql, Line: 7})
		switch {
		case err == nil && strings.Contains(sql, "PARTITION"): // the place is left out without a remark
		case core.CodeOf(err) != core.CodeUnsupported && core.CodeOf(err) != core.CodeDamage:
			t.Errorf("%s: %v", sql, err)
		}
		if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
			t.Errorf("%s: files in another place: %v (%v)", sql, files, err)
		}
	}
	l := proving(t)
	for _, sql := range []string{"CREATE TABLE t (a int DEFAULT 1 COMMENT 'DATA DIRECTORY') ENGINE=MyISAM", "ALTER TABLE t ADD KEY (a)"} {
		kind := sqlread.KindCreate
		if strings.HasPrefix(sql, "ALTER") {
			kind = sqlread.KindAlter
		}
		if err := l.statement(t.Context(), &sqlread.Statement{Kind: kind, Object: sqlread.ObjectTable, Name: "t", Text: sql, Line: 7}); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// TestProveSettings: were the reader wrong about the session, the load would end.
func TestProveSettings(t *testing.T) {
	for _, sql := range []string{"SET sql_mode='ANSI'", "SET sql_mode='NO_BACKSLASH_ESCAPES'", "SET NAMES latin1", "SET character_set_client=gbk"} {
		for _, salvage := range []bool{false, true} {
			l := proving(t)
			l.opt.Salvage = salvage
			if err := l.set(t.Context(), &sqlread.Statement{Kind: sqlread.KindSet, Text: sql}); core.CodeOf(err) != core.CodeUnsupported {
				t.Errorf("%s: %v", sql, err)
			}
		}
	}
	l := proving(t)
	for _, sql := range []string{"SET NAMES utf8", "SET sql_mode='TRADITIONAL'", "SET collation_connection=latin1_bin"} {
		if err := l.set(t.Context(), &sqlread.Statement{Kind: sqlread.KindSet, Text: sql}); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// TestProveInSalvage: a SET that the server does not take is no reason to go on
// as if it had.
func TestProveInSalvage(t *testing.T) {
	config := mysqltest.Config(t, mysqltest.Database(t))
	// Each of the two other modes is one that the other vendor does not know.
	dump := "CREATE TABLE a (b text);\nSET sql_mode='NO_BACKSLASH_ESCAPES,EMPTY_STRING_IS_NULL,TIME_TRUNCATE_FRACTIONAL';\nINSERT INTO a VALUES ('\\',1)-- ');\n"
	_, err := Load(t.Context(), strings.NewReader(dump), Options{Config: config, Salvage: true})
	if core.CodeOf(err) != core.CodeUnsupported {
		t.Error(err)
	}
}
