package sqlwrite_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/mysql/sqlwrite"
)

// TestDefiners: of a dump of others' objects a warning says who can load it;
// without definers an ordinary account can, to the end, and is the definer.
func TestDefiners(t *testing.T) {
	from := mysqltest.Database(t)
	mysqltest.ExecIn(t, from, "CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)", "CREATE DEFINER=`a b`@`%` VIEW v AS SELECT id, 'DEFINER=`root`@`localhost`' AS who FROM t",
		"CREATE DEFINER=`a b`@`%` TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.id=NEW.id+100", "CREATE DEFINER=root@localhost PROCEDURE p() SELECT 'DEFINER=`root`@`localhost`'",
		"CREATE DEFINER=`o'dd`@`%` EVENT e ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1",
		"SET SESSION sql_mode='ANSI_QUOTES'", `CREATE DEFINER="x""y`+"`"+`z"@"%" FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1`)
	in, _ := stored(t, mysqltest.Config(t, from))
	text, warnings := written(t, in, sqlwrite.DialectMySQL)
	var got []string
	for _, w := range warnings {
		objects, _, _ := strings.Cut(w.Message, " run as")
		got = append(got, w.Code+" "+w.Object+": "+objects)
	}
	want := []string{"definer account a b@%: view v, trigger tr", "definer account o'dd@%: event e", "definer account root@localhost: procedure p", "definer account x\"y`z@%: function f"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}

	to := mysqltest.Database(t)
	ordinary := mysqltest.User(t, "ALL ON "+mysql.QuoteName(to)+".*")
	ordinary.Database = to
	if out, err := clientOutput(t, ordinary, text, "--comments"); err == nil || !strings.Contains(out, "ERROR 1227") {
		t.Errorf("an ordinary account loads it as it is (%v): the warnings are for nothing\n%s", err, out)
	}
	for _, dialect := range []sqlwrite.Dialect{sqlwrite.DialectMySQL, sqlwrite.DialectITop, sqlwrite.DialectITFlow} {
		opt := options(dialect)
		opt.NoDefiner = true
		var plain bytes.Buffer
		warnings, err := sqlwrite.Write(t.Context(), &plain, in, opt)
		if err != nil || len(warnings) > 0 {
			t.Fatalf("%s: %v, %v", dialect, warnings, err)
		}
		if size, err := sqlwrite.Size(t.Context(), in, opt); err != nil || size != int64(plain.Len()) {
			t.Errorf("%s: Size says %d, Write wrote %d (%v)", dialect, size, plain.Len(), err)
		}
		if dialect == sqlwrite.DialectITFlow {
			viaLines(t, ordinary, plain.Bytes())
		} else {
			viaClient(t, ordinary, plain.Bytes(), "--comments")
		}
		in, _ := stored(t, mysqltest.Config(t, to))
		for _, o := range in.Index.Objects {
			if !strings.HasPrefix(o.Definer, ordinary.User+"@") {
				t.Errorf("%s: %s %s runs as %s", dialect, o.Kind, o.Name, o.Definer)
			}
		}
		if len(in.Index.Objects) != 5 {
			t.Errorf("%s: %d objects", dialect, len(in.Index.Objects))
		}
		if text := mysqltest.ShowCreate(t, to)["procedure p"]; !strings.Contains(text, "SELECT 'DEFINER=`root`@`localhost`'") {
			t.Errorf("%s: the procedure's own text was changed: %s", dialect, text)
		}
	}
}

// TestDefinerOfMany: a warning does not grow with the number of objects.
func TestDefinerOfMany(t *testing.T) {
	var index core.DatabaseIndex
	for i := range 100 {
		index.Objects = append(index.Objects, core.SchemaObject{Kind: "view", Name: strings.Repeat("v", i+1), Definer: "root@localhost", File: "v"})
	}
	tree := mysqltest.NewTree()
	tree.SetFile("v", []byte("CREATE DEFINER=`root`@`localhost` VIEW `v` AS SELECT 1"))
	warnings, err := sqlwrite.Write(t.Context(), &bytes.Buffer{}, sqlwrite.Input{Index: index, Source: tree}, options(sqlwrite.DialectMySQL))
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Message, " and 90 more") {
		t.Errorf("%v, %v", warnings, err)
	}
}
