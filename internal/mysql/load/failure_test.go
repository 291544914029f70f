package load_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/load"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// hooked calls do before a file is opened.
type hooked struct {
	load.Source
	do func(path string) error
}

func (h hooked) Open(ctx context.Context, path string) (io.ReadCloser, error) {
	if err := h.do(path); err != nil {
		return nil, err
	}
	return h.Source.Open(ctx, path)
}

func into(config mysql.Config, tables ...string) load.Options {
	return load.Options{Config: config, Tables: tables, Progress: core.NoProgress{}, Connections: 2}
}

func wantError(t *testing.T, err error, code core.Code, texts ...string) {
	t.Helper()
	if core.CodeOf(err) != code || core.HintOf(err) == "" {
		t.Errorf("code %q, want %q; hint %q: %v", core.CodeOf(err), code, core.HintOf(err), err)
	}
	for _, text := range texts {
		if !strings.Contains(fmt.Sprint(err), text) {
			t.Errorf("%q is not in: %v", text, err)
		}
	}
}

// small dumps a table x of four rows.
func small(t *testing.T) (*mysqltest.Tree, *dump.Dumped) {
	t.Helper()
	from := mysqltest.Database(t)
	mysqltest.ExecIn(t, from, "CREATE TABLE x (id INT PRIMARY KEY, v VARCHAR(10))", "INSERT INTO x VALUES (1,'a'),(2,'b'),(3,'c'),(4,'d')")
	tree, d, _ := dumpDatabase(t, mysqltest.Config(t, from), "")
	return tree, d
}

func TestDamagedChunks(t *testing.T) {
	for _, insert := range []bool{false, true} {
		for name, c := range map[string]struct {
			change func(chunk []byte) []byte
			want   string
		}{
			"a row is missing":   {func(b []byte) []byte { return b[:bytes.LastIndex(b[:len(b)-1], []byte("\n"))+1] }, "3 rows of 4"},
			"a key is twice":     {func(b []byte) []byte { return bytes.Replace(b, []byte("2\tb"), []byte("1\tb"), 1) }, ""},
			"the end is cut off": {func(b []byte) []byte { return b[:len(b)-2] }, ""},
			"it is empty":        {func([]byte) []byte { return nil }, "0 rows of 4"},
			"a byte is changed":  {func(b []byte) []byte { return bytes.Replace(b, []byte("2\tb"), []byte("2\tx"), 1) }, "first in the rows of chunk"},
			"a value too many":   {func(b []byte) []byte { return bytes.Replace(b, []byte("2\tb"), []byte("2\tb\tb"), 1) }, ""},
			"a value too few":    {func(b []byte) []byte { return bytes.Replace(b, []byte("2\tb"), []byte("2"), 1) }, ""},
			"a number is text":   {func(b []byte) []byte { return bytes.Replace(b, []byte("2\tb"), []byte("two\tb"), 1) }, ""},
			"a text is too long": {func(b []byte) []byte { return bytes.Replace(b, []byte("2\tb"), []byte("2\t12345678901"), 1) }, ""},
		} {
			t.Run(fmt.Sprintf("%s, by INSERT %v", name, insert), func(t *testing.T) {
				if name == "a value too many" && !insert {
					t.Skip("LOAD DATA leaves it out, and the rows are as they were")
				}
				if insert {
					localInfile(t, false)
				}
				tree, d := small(t)
				chunk := d.Index.Tables[0].Chunks[0].File
				tree.SetFile(chunk, c.change(tree.File(chunk)))
				_, err := load.Load(t.Context(), d.Index, tree, into(mysqltest.Config(t, mysqltest.Database(t))))
				if err == nil {
					t.Fatal("it was taken for whole")
				}
				for _, text := range []string{"table x", c.want} {
					if !strings.Contains(err.Error(), text) {
						t.Errorf("%q is not in: %v", text, err)
					}
				}
				if strings.HasPrefix(c.want, "first") {
					return
				}
				if !strings.Contains(err.Error(), chunk) {
					t.Errorf("the chunk is not named: %v", err)
				}
			})
		}
	}
	t.Run("it cannot be opened", func(t *testing.T) {
		tree, d := small(t)
		gone := errors.New("the repository is gone")
		_, err := load.Load(t.Context(), d.Index, hooked{tree, func(path string) error {
			if strings.HasSuffix(path, ".tsv") {
				return gone
			}
			return nil
		}}, into(mysqltest.Config(t, mysqltest.Database(t))))
		if !errors.Is(err, gone) || !strings.Contains(err.Error(), "table x") {
			t.Errorf("got %v", err)
		}
	})
}

// localInfile sets the server's switch for the test.
func localInfile(t *testing.T, on bool) {
	t.Helper()
	set := func(v bool) {
		c, err := mysql.Connect(context.WithoutCancel(t.Context()), mysqltest.Config(t, ""))
		if err == nil {
			_, err = c.Exec(context.WithoutCancel(t.Context()), fmt.Sprintf("SET GLOBAL local_infile=%v", v))
			err = errors.Join(err, c.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	set(on)
	t.Cleanup(func() { set(true) })
}

// TestLockedRowsAreTriedAgain has another session write the same key until the
// chunk is sent for the second time.
func TestLockedRowsAreTriedAgain(t *testing.T) {
	for _, insert := range []bool{false, true} {
		t.Run(fmt.Sprintf("by INSERT %v", insert), func(t *testing.T) {
			if insert {
				localInfile(t, false)
			}
			tree, d := small(t)
			to := mysqltest.Database(t)
			mysqltest.Exec(t, "SET GLOBAL innodb_lock_wait_timeout=1")
			defer mysqltest.Exec(t, "SET GLOBAL innodb_lock_wait_timeout=50")
			other := mysqltest.Connect(t, mysqltest.Config(t, to))
			opened := 0
			loaded, err := load.Load(t.Context(), d.Index, hooked{tree, func(path string) error {
				if !strings.HasSuffix(path, ".tsv") {
					return nil
				}
				opened++
				statements := []string{"START TRANSACTION", "INSERT INTO x VALUES (3,'other')"}
				if opened > 1 {
					statements = []string{"ROLLBACK"}
				}
				for _, s := range statements {
					if _, err := other.Exec(t.Context(), s); err != nil {
						return err
					}
				}
				return nil
			}}, into(mysqltest.Config(t, to)))
			if err != nil {
				t.Fatal(err)
			}
			if opened != 2 || loaded.Rows != 4 {
				t.Errorf("sent %d times, %d rows", opened, loaded.Rows)
			}
		})
	}
}

func TestRowLargerThanPacket(t *testing.T) {
	server := mysqltest.Start(t, localserver.Options{Args: []string{"--max-allowed-packet=1M"}})
	from := mysqltest.Database(t)
	mysqltest.ExecIn(t, from, "CREATE TABLE x (id INT PRIMARY KEY, v LONGBLOB)", "INSERT INTO x VALUES (1,'a'),(2,REPEAT('\\0',600000)),(3,'b')")
	tree, d, _ := dumpDatabase(t, mysqltest.Config(t, from), "")
	to := mysqltest.ConfigOf(server, "")
	mysqltest.ExecOn(t, to, "CREATE DATABASE d")
	to.Database = "d"
	if _, err := load.Load(t.Context(), d.Index, tree, into(to)); err != nil {
		t.Errorf("LOAD DATA: %v", err)
	}
	mysqltest.ExecOn(t, to, "SET GLOBAL local_infile=0")
	_, err := load.Load(t.Context(), d.Index, tree, into(to))
	wantError(t, err, core.CodeDatabase, "table x", "row 2 of it needs a statement of 12000")
}

func TestTargetWithoutRights(t *testing.T) {
	tree, d := small(t)
	to := mysqltest.Database(t)
	for _, grant := range []string{"SELECT", "SELECT, INSERT", "SELECT, INSERT, CREATE", "SELECT, CREATE, DROP"} {
		t.Run(grant, func(t *testing.T) {
			mysqltest.ExecIn(t, to, "DROP TABLE IF EXISTS x")
			config := mysqltest.User(t, grant+" ON "+mysql.QuoteName(to)+".*")
			config.Database = to
			_, err := load.Load(t.Context(), d.Index, tree, into(config))
			wantError(t, err, core.CodeDatabase, "table x", "denied")
		})
	}
}

// TestAccountThatMayNotNameDefiners restores as an account with all rights on
// the database and none beyond it.
func TestAccountThatMayNotNameDefiners(t *testing.T) {
	from := mysqltest.Database(t)
	mysqltest.ExecIn(t, from, "CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)",
		"CREATE VIEW v AS SELECT id FROM t", "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.id=NEW.id+100",
		"CREATE PROCEDURE p() SELECT 'DEFINER=`root`@`localhost`'", "SET SESSION sql_mode='ANSI_QUOTES'", `CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1`,
		`CREATE DEFINER="o'dd ""na`+"`"+`me"@"%" PROCEDURE q() SELECT 1`, "SET SESSION sql_mode=''", "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1")
	tree, d, _ := dumpDatabase(t, mysqltest.Config(t, from), "")
	to := mysqltest.Database(t)
	config := mysqltest.User(t, "ALL ON "+mysql.QuoteName(to)+".*")
	config.Database = to
	loaded, err := load.Load(t.Context(), d.Index, tree, into(config))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range loaded.Warnings {
		got = append(got, w.Code+" "+w.Object)
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"definer event e", "definer function f", "definer procedure p", "definer procedure q", "definer trigger tr", "definer view v"}, got); diff != "" {
		t.Error(diff)
	}
	if loaded.Objects != 6 {
		t.Errorf("%d objects", loaded.Objects)
	}
	if text := mysqltest.ShowCreate(t, to)["procedure p"]; !strings.Contains(text, "SELECT 'DEFINER=`root`@`localhost`'") {
		t.Errorf("the procedure's own text was changed: %s", text)
	}
	if rows := mysqltest.Query(t, to, "SELECT id FROM t"); len(rows) != 1 || rows[0][0].Text != "1" {
		t.Errorf("the trigger fired during the restore: %v", rows)
	}
}

func TestInvalidViewIsAWarning(t *testing.T) {
	from := mysqltest.Database(t)
	mysqltest.ExecIn(t, from, "CREATE TABLE gone (id INT)", "CREATE TABLE t (id INT)", "CREATE VIEW a_bad AS SELECT id FROM gone", "CREATE VIEW b_on_bad AS SELECT id FROM a_bad",
		"CREATE VIEW z AS SELECT id FROM t", "CREATE VIEW m AS SELECT id FROM z", "CREATE VIEW a AS SELECT m.id FROM m JOIN z USING (id)", "DROP TABLE gone",
		"CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.id=1")
	tree, d, _ := dumpDatabase(t, mysqltest.Config(t, from), "")
	to := mysqltest.Database(t)
	loaded, err := load.Load(t.Context(), d.Index, tree, into(mysqltest.Config(t, to)))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range loaded.Warnings {
		got = append(got, w.Code+" "+w.Object)
	}
	if diff := cmp.Diff([]string{"invalid-view view a_bad", "invalid-view view b_on_bad"}, got); diff != "" {
		t.Error(diff)
	}
	if n := len(mysqltest.Query(t, to, "SHOW TRIGGERS")); n != 1 {
		t.Errorf("%d triggers", n)
	}
	if n := len(mysqltest.Query(t, to, "SELECT 1 FROM information_schema.VIEWS WHERE TABLE_SCHEMA=DATABASE()")); n != 3 {
		t.Errorf("%d views, want 3", n)
	}
}

// TestOneTable restores one table of a live database: its triggers come back
// with it, and the keys of others still hold.
func TestOneTable(t *testing.T) {
	from := mysqltest.Database(t)
	mysqltest.ExecIn(t, from, "CREATE TABLE parent (id INT PRIMARY KEY, n INT)", "INSERT INTO parent VALUES (1,10),(2,20)",
		"CREATE TABLE child (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES parent(id))", "INSERT INTO child VALUES (1,1),(2,2)",
		"CREATE TRIGGER tr BEFORE INSERT ON parent FOR EACH ROW SET NEW.n=NEW.n+1", "CREATE TRIGGER other BEFORE INSERT ON child FOR EACH ROW SET NEW.id=NEW.id", "CREATE VIEW v AS SELECT * FROM parent")
	tree, d, _ := dumpDatabase(t, mysqltest.Config(t, from), "")
	mysqltest.ExecIn(t, from, "UPDATE parent SET n=0", "DROP TRIGGER tr", "INSERT INTO child VALUES (3,2)")
	loaded, err := load.Load(t.Context(), d.Index, tree, into(mysqltest.Config(t, from), "parent"))
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Tables != 1 || loaded.Rows != 2 || len(loaded.Warnings) > 0 {
		t.Errorf("%+v", loaded)
	}
	rows := mysqltest.Query(t, from, "SELECT SUM(n), (SELECT COUNT(*) FROM child), (SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE()) FROM v")
	if diff := cmp.Diff(mysql.Row{{Text: "30"}, {Text: "3"}, {Text: "2"}}, rows[0]); diff != "" {
		t.Error(diff)
	}
	c := mysqltest.Connect(t, mysqltest.Config(t, from))
	if _, err := c.Exec(t.Context(), "INSERT INTO child VALUES (4,99)"); mysql.Number(err) != 1452 {
		t.Errorf("the foreign key does not hold: %v", err)
	}
	_, err = load.Load(t.Context(), d.Index, tree, into(mysqltest.Config(t, from), "no_such"))
	wantError(t, err, core.CodeNotFound, "no_such")
}

// TestForeignKeyToElsewhere restores a table without the one it refers to.
func TestForeignKeyToElsewhere(t *testing.T) {
	from := mysqltest.Database(t)
	mysqltest.ExecIn(t, from, "CREATE TABLE base (id INT PRIMARY KEY)", "CREATE TABLE app_t (id INT PRIMARY KEY, b INT, CONSTRAINT k FOREIGN KEY (b) REFERENCES base(id))",
		"INSERT INTO base VALUES (1)", "INSERT INTO app_t VALUES (1,1)")
	tree, d, _ := dumpDatabase(t, mysqltest.Config(t, from), "app_")
	to := mysqltest.Database(t)
	if _, err := load.Load(t.Context(), d.Index, tree, into(mysqltest.Config(t, to))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(mysqltest.ShowCreate(t, from)["table app_t"], mysqltest.ShowCreate(t, to)["table app_t"]); diff != "" {
		t.Error(diff)
	}
}

// TestRestoreOverWhatIsThere has everything in the way: other kinds under the
// same names, other settings, rows and objects.
func TestRestoreOverWhatIsThere(t *testing.T) {
	from := mysqltest.Database(t)
	mysqltest.ExecIn(t, from, "CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)", "CREATE VIEW v AS SELECT id FROM t",
		"CREATE FUNCTION f(a VARCHAR(20)) RETURNS VARCHAR(20) DETERMINISTIC RETURN CONCAT(a,'x')", "CREATE PROCEDURE p() SELECT 1",
		"CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2031-01-01 00:00:00' ENABLE DO SELECT 1", "CREATE EVENT e2 ON SCHEDULE EVERY 1 DAY STARTS '2031-01-01 00:00:00' DISABLE DO SELECT 1")
	tree, d, _ := dumpDatabase(t, mysqltest.Config(t, from), "")
	to := mysqltest.Database(t)
	mysqltest.ExecIn(t, to, "ALTER DATABASE CHARACTER SET latin1 COLLATE latin1_bin", "CREATE TABLE v (id INT)", "CREATE VIEW t AS SELECT 1", "CREATE PROCEDURE f() SELECT 2", "CREATE FUNCTION p() RETURNS INT DETERMINISTIC RETURN 2",
		"CREATE EVENT e ON SCHEDULE EVERY 1 HOUR DISABLE DO SELECT 2", "CREATE TABLE stays (id INT)", "INSERT INTO stays VALUES (7)")
	loaded, err := load.Load(t.Context(), d.Index, tree, into(mysqltest.Config(t, to)))
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded.Warnings) > 0 {
		t.Errorf("warnings: %v", loaded.Warnings)
	}
	want, got := mysqltest.ShowCreate(t, from), mysqltest.ShowCreate(t, to)
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s is\n%s\nwas\n%s", name, got[name], text)
		}
	}
	if rows := mysqltest.Query(t, to, "SELECT id FROM stays"); len(rows) != 1 {
		t.Error("what is not in the backup did not stay")
	}
	const parameter = "SELECT CHARACTER_SET_NAME, COLLATION_NAME FROM information_schema.PARAMETERS WHERE SPECIFIC_SCHEMA=DATABASE() AND SPECIFIC_NAME='f' AND PARAMETER_NAME='a'"
	if diff := cmp.Diff(mysqltest.Query(t, from, parameter), mysqltest.Query(t, to, parameter)); diff != "" {
		t.Errorf("the parameter's collation: %s", diff)
	}
}

// TestHistoryComesAlong restores system-versioned tables with all versions of
// their rows and the instants of each.
func TestHistoryComesAlong(t *testing.T) {
	if !mysqltest.OnMariaDB(t) {
		t.Skip("only MariaDB has system-versioned tables")
	}
	from := mysqltest.Database(t)
	mysqltest.ExecIn(t, from, "CREATE TABLE h (id INT PRIMARY KEY, v INT, KEY v (v)) WITH SYSTEM VERSIONING", "INSERT INTO h VALUES (1,1),(2,2)", "UPDATE h SET v=3 WHERE id=1", "DELETE FROM h WHERE id=2",
		"CREATE TABLE explicit (id INT PRIMARY KEY, a TIMESTAMP(6) GENERATED ALWAYS AS ROW START, b TIMESTAMP(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME(a,b)) WITH SYSTEM VERSIONING", "INSERT INTO explicit(id) VALUES (5)")
	tree, d, _ := dumpDatabase(t, mysqltest.Config(t, from), "")
	if len(d.Warnings) > 0 {
		t.Errorf("warnings of the dump: %v", d.Warnings)
	}
	to := mysqltest.Database(t)
	loaded, err := load.Load(t.Context(), d.Index, tree, keysAfter(mysqltest.Config(t, to), core.NoProgress{}))
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded.Warnings) > 0 {
		t.Errorf("warnings of the load: %v", loaded.Warnings)
	}
	for query, rows := range map[string]int{
		"SELECT id, v FROM h": 1,
		"SELECT id, v, ROW_START, ROW_END FROM h FOR SYSTEM_TIME ALL ORDER BY id, ROW_START": 3,
		"SELECT id, a, b FROM explicit FOR SYSTEM_TIME ALL":                                  1,
	} {
		want := mysqltest.Query(t, from, query)
		if len(want) != rows {
			t.Errorf("%s: %d rows, want %d", query, len(want), rows)
		}
		if diff := cmp.Diff(want, mysqltest.Query(t, to, query)); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
}

func TestSequenceGoesOn(t *testing.T) {
	if !mysqltest.OnMariaDB(t) {
		t.Skip("only MariaDB has sequences")
	}
	from := mysqltest.Database(t)
	mysqltest.ExecIn(t, from, "CREATE SEQUENCE s START WITH 10 INCREMENT BY 5 NOCACHE", "CREATE SEQUENCE down START WITH -1 INCREMENT BY -1 MINVALUE -3 CYCLE NOCACHE",
		"SELECT NEXTVAL(s)", "SELECT NEXTVAL(s)", "SELECT NEXTVAL(down)", "SELECT NEXTVAL(down)", "SELECT NEXTVAL(down)", "SELECT NEXTVAL(down)")
	to := roundTrip(t, from, false)
	const next = "SELECT NEXTVAL(s), NEXTVAL(down)"
	if diff := cmp.Diff(mysqltest.Query(t, from, next), mysqltest.Query(t, to, next)); diff != "" {
		t.Errorf("next values differ: %s", diff)
	}
}

// TestEndInTheMiddle cancels, kills the sessions, and kills the server while
// rows are loaded.
func TestEndInTheMiddle(t *testing.T) {
	tree, d := small(t)
	server := mysqltest.Start(t, localserver.Options{})
	to := mysqltest.ConfigOf(server, "")
	mysqltest.ExecOn(t, to, "CREATE DATABASE d")
	to.Database = "d"
	atRows := func(do func()) load.Source {
		return hooked{tree, func(path string) error {
			if strings.HasSuffix(path, ".tsv") {
				do()
			}
			return nil
		}}
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := load.Load(ctx, d.Index, atRows(cancel), into(to))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	_, err = load.Load(t.Context(), d.Index, atRows(func() {
		admin := mysqltest.Connect(t, mysqltest.ConfigOf(server, ""))
		rows, err := admin.Query(t.Context(), "SELECT ID FROM information_schema.PROCESSLIST WHERE DB='d'")
		if err != nil {
			t.Error(err)
		}
		for _, r := range rows {
			if _, err := admin.Exec(t.Context(), "KILL "+r[0].Text); err != nil {
				t.Error(err)
			}
		}
	}), into(to))
	wantError(t, err, core.CodeDatabase, "table x")
	_, err = load.Load(t.Context(), d.Index, atRows(func() {
		if err := server.Kill(); err != nil {
			t.Error(err)
		}
	}), into(to))
	wantError(t, err, core.CodeDatabase, "table x")
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := load.Load(t.Context(), d.Index, tree, into(to)); err != nil {
		t.Errorf("the next load: %v", err)
	}
}
