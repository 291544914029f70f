package mysqltest_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

func TestServerIsShared(t *testing.T) {
	if a, b := mysqltest.Server(t), mysqltest.Server(t); a != b {
		t.Errorf("two servers: %s and %s", a.Dir, b.Dir)
	}
}

func TestDatabaseIsFreshAndDropped(t *testing.T) {
	var name string
	t.Run("use", func(t *testing.T) {
		name = mysqltest.Database(t)
		if other := mysqltest.Database(t); other == name {
			t.Fatalf("two databases are called %s", name)
		}
		mysqltest.ExecIn(t, name, "CREATE TABLE t (a INT)", "INSERT INTO t VALUES (1),(2)")
		if rows := mysqltest.Query(t, name, "SELECT SUM(a) FROM t"); rows[0][0].Text != "3" {
			t.Errorf("sum is %s, want 3", rows[0][0].Text)
		}
	})
	if rows := mysqltest.Query(t, "", "SHOW DATABASES LIKE '"+name+"'"); len(rows) != 0 {
		t.Errorf("database %s is still there", name)
	}
}

func TestUserHasOnlyItsGrants(t *testing.T) {
	name := mysqltest.Database(t)
	mysqltest.ExecIn(t, name, "CREATE TABLE t (a INT)")
	for _, tcp := range []bool{false, true} {
		config := mysqltest.User(t, "SELECT ON "+mysql.QuoteName(name)+".*")
		config.Database = name
		if tcp {
			config.Socket, config.Host, config.Port = "", "127.0.0.1", mysqltest.Server(t).Port
		}
		conn := mysqltest.Connect(t, config)
		if _, err := conn.Query(t.Context(), "SELECT * FROM t"); err != nil {
			t.Errorf("tcp %v: select: %v", tcp, err)
		}
		if _, err := conn.Exec(t.Context(), "INSERT INTO t VALUES (1)"); !mysql.AccessDenied(err) {
			t.Errorf("tcp %v: insert gave %v, want access denied", tcp, err)
		}
	}
}

func TestChecksumSeesEveryChange(t *testing.T) {
	a, b := mysqltest.Database(t), mysqltest.Database(t)
	for _, name := range []string{a, b} {
		mysqltest.ExecIn(t, name, "CREATE TABLE t (a INT PRIMARY KEY, b LONGBLOB)", "INSERT INTO t VALUES (1,'x'),(2,NULL)",
			"CREATE TABLE `empty` (a INT)", "CREATE VIEW v AS SELECT 1")
	}
	if diff := cmp.Diff(mysqltest.Checksum(t, a), mysqltest.Checksum(t, b)); diff != "" {
		t.Errorf("equal databases differ (-a +b):\n%s", diff)
	}
	if sums := mysqltest.Checksum(t, a); len(sums) != 2 {
		t.Errorf("checksums of %v, want those of t and empty", sums)
	}
	mysqltest.ExecIn(t, b, "UPDATE t SET b = '' WHERE a = 2")
	if mysqltest.Checksum(t, a)["t"] == mysqltest.Checksum(t, b)["t"] {
		t.Error("an empty string and NULL have one checksum")
	}
}

func TestShowCreateListsEveryKind(t *testing.T) {
	name := mysqltest.Database(t)
	mysqltest.ExecIn(t, name,
		"CREATE TABLE t (a INT PRIMARY KEY)",
		"CREATE VIEW v AS SELECT a FROM t",
		"SET sql_mode='ANSI_QUOTES'",
		"CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET NEW.a = NEW.a + 1",
		"CREATE PROCEDURE p() SELECT 1",
		"CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1",
		"CREATE EVENT e ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1",
	)
	kinds := 6
	if mysqltest.OnMariaDB(t) {
		kinds = 7
		mysqltest.ExecIn(t, name, "CREATE SEQUENCE s")
	}
	objects := mysqltest.ShowCreate(t, name)
	for key, want := range map[string]string{
		"table t": "CREATE TABLE", "view v": "VIEW", "sequence s": "CREATE SEQUENCE", "trigger x": "TRIGGER",
		"procedure p": "PROCEDURE", "function f": "FUNCTION", "event e": "EVENT",
	} {
		if key == "sequence s" && kinds == 6 {
			continue // MySQL has none
		}
		if !strings.Contains(objects[key], want) {
			t.Errorf("%s is %q", key, objects[key])
		}
	}
	if len(objects) != kinds {
		t.Errorf("%d objects, want %d: %v", len(objects), kinds, objects)
	}
	if !strings.HasPrefix(objects["trigger x"], "ANSI_QUOTES\n") {
		t.Errorf("the trigger's sql_mode is missing: %q", objects["trigger x"])
	}
}
