package sqlload

import (
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/mysql/sqlread"
)

// On a server of the import's own no statement runs for ever.
func TestLimit(t *testing.T) {
	if !mysqltest.OnMariaDB(t) {
		t.Skip("MySQL has no limit for statements that write")
	}
	l := &loader{
		opt: Options{Config: mysqltest.Config(t, mysqltest.Database(t)), Dir: t.TempDir()}, limit: 500 * time.Millisecond, tables: map[string]*table{},
	}
	t.Cleanup(func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
	if err := l.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.reader = sqlread.New(strings.NewReader(""), sqlread.Options{})
	create := func(sql string) error {
		return l.statement(t.Context(), &sqlread.Statement{Kind: sqlread.KindCreate, Object: sqlread.ObjectTable, Name: "t", Text: sql, Line: 7})
	}
	err := l.explainLimit(create("CREATE TABLE t AS SELECT SUM(LENGTH(CONCAT(a.ID, b.ID, c.ID, d.ID, e.ID))) AS a FROM information_schema.COLLATIONS a, information_schema.COLLATIONS b, information_schema.COLLATIONS c, information_schema.COLLATIONS d, information_schema.COLLATIONS e"))
	if core.CodeOf(err) != core.CodeUnsupported || !strings.Contains(err.Error(), "500ms") || !strings.Contains(err.Error(), "line 7") {
		t.Errorf("got %v", err)
	}
	if err := create("CREATE TABLE t (a INT)"); err != nil {
		t.Errorf("after it: %v", err)
	}
	if err := l.statement(t.Context(), &sqlread.Statement{Kind: sqlread.KindAlter, Object: sqlread.ObjectTable, Name: "t", Text: "ALTER TABLE t ADD KEY (a)", Line: 8}); err != nil || l.hands[0].limit != l.limit {
		t.Errorf("a limit of %s stays: %v", l.hands[0].limit, err)
	}
}
