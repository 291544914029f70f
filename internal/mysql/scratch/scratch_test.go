package scratch

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

func query(t *testing.T, c *mysql.Conn, q string) string {
	t.Helper()
	rows, err := c.Query(t.Context(), q)
	if err != nil {
		t.Fatalf("%s: %v", q, err)
	}
	var lines []string
	for _, r := range rows {
		lines = append(lines, r[0].Text)
	}
	return strings.Join(lines, ",")
}

func TestPrivate(t *testing.T) {
	dir := t.TempDir()
	d, err := Private(t.Context(), Options{Dir: dir, Name: "it_op", Binary: os.Getenv(mysqltest.BinaryVariable)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	load := mysqltest.Connect(t, d.Config)
	source := mysqltest.Connect(t, mysql.ConfigOf(d.Source))
	if got := query(t, load, "SELECT DATABASE()"); got != "it_op" {
		t.Errorf("the loading account is in database %q", got)
	}
	if got := query(t, source, "SELECT COUNT(*) FROM mysql.user WHERE User='root' OR User=''"); got != "0" {
		t.Errorf("%s accounts that a dump may know are there", got)
	}
	if got := query(t, source, "SELECT COUNT(*) FROM mysql.user WHERE User='mariadb.sys'"); got != "0" {
		t.Error("the server's own account is there")
	}
	for _, user := range []string{d.Config.User, d.Source.User, "mariadb.sys", "mysql.sys", "MySQL.session"} {
		if err := d.MakeDefiner(t.Context(), user, "localhost"); core.CodeOf(err) != core.CodeUnsupported {
			t.Errorf("definer %s: %v", user, err)
		}
	}
	for _, allowed := range []string{
		"CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)",
		"CREATE DEFINER=`somebody`@`elsewhere` TRIGGER r BEFORE INSERT ON t FOR EACH ROW SET NEW.v=1",
		"CREATE DEFINER=`somebody`@`elsewhere` FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1",
		"CREATE DEFINER=`somebody`@`elsewhere` EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM t",
		"CREATE DEFINER=`somebody`@`elsewhere` VIEW w AS SELECT 1",
	} {
		if _, err := load.Exec(t.Context(), allowed); err != nil {
			t.Errorf("%s: %v", allowed, err)
		}
	}
	file := dir + "/out"
	for _, refused := range []string{
		"CREATE DATABASE other", "CREATE DATABASE itxop", "CREATE USER u", "GRANT ALL ON *.* TO u", "SET GLOBAL max_connections=7", "SELECT 1 INTO OUTFILE '" + file + "'",
		"SELECT * FROM mysql.user", "INSTALL PLUGIN x SONAME 'x.so'", "DROP TABLE mysql.user", "CREATE FUNCTION u RETURNS STRING SONAME 'u.so'",
		"LOAD DATA INFILE '/etc/passwd' INTO TABLE t", "SHUTDOWN", "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE t",
	} {
		if _, err := load.Exec(t.Context(), refused); mysql.Number(err) == 0 {
			t.Errorf("%s: got error %v", refused, err)
		}
	}
	if got := query(t, load, "SELECT LOAD_FILE('/etc/passwd') IS NULL"); got != "1" {
		t.Error("a file of the machine can be read")
	}
	// Not even the account that captures reaches files.
	if _, err := source.Exec(t.Context(), "SELECT 1 INTO OUTFILE '"+file+"'"); mysql.Number(err) == 0 {
		t.Errorf("a file was written: %v", err)
	}
	if got := query(t, source, "SELECT @@max_allowed_packet"); got != "1073741824" {
		t.Errorf("max_allowed_packet is %s", got)
	}
	if err := d.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestPrivateLacksCollation(t *testing.T) {
	dir := t.TempDir()
	_, err := Private(t.Context(), Options{
		Dir: dir, Binary: os.Getenv(mysqltest.BinaryVariable), Vendor: mysql.MySQL, Version: "8.0.36",
		Collations: []string{"utf8mb4_general_ci", "utf8mb4_of_nobody_ci"},
	})
	if core.CodeOf(err) != core.CodeUnsupported || !strings.Contains(err.Error(), "utf8mb4_of_nobody_ci") || strings.Contains(err.Error(), "utf8mb4_general_ci") {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRanked(t *testing.T) {
	all := []localserver.Program{
		{Path: "a", Vendor: mysql.MariaDB, Version: "mariadbd  Ver 10.11.6-MariaDB for Linux"},
		{Path: "b", Vendor: mysql.MariaDB, Version: "mariadbd  Ver 11.8.2-MariaDB for Linux"},
		{Path: "c", Vendor: mysql.MySQL, Version: "/x/mysqld  Ver 8.4.1 for Linux"},
	}
	for _, c := range []struct{ vendor, version, want string }{
		{"", "", "abc"},
		{mysql.MariaDB, "10.5.29-MariaDB-log", "abc"},
		{mysql.MariaDB, "10.11.99-MariaDB", "abc"}, // a patch level changes nothing
		{mysql.MariaDB, "11.4.2-MariaDB", "bac"},
		{mysql.MySQL, "8.0.36", "cab"},
		{mysql.MySQL, "9.1.0", "cab"},
	} {
		got := ""
		for _, p := range ranked(all, c.vendor, c.version) {
			got += p.Path
		}
		if got != c.want {
			t.Errorf("for %s %s: %s, want %s", c.vendor, c.version, got, c.want)
		}
	}
}

func TestOnServer(t *testing.T) {
	config := mysqltest.Config(t, "")
	root := mysqltest.Connect(t, config)
	databases := "SELECT GROUP_CONCAT(SCHEMA_NAME ORDER BY SCHEMA_NAME) FROM information_schema.SCHEMATA"
	before := query(t, root, databases)
	// Of the shape of our names, but somebody else's.
	theirs := mysql.ImportName("aaaaaaaaaa")
	mysqltest.Exec(t, "CREATE DATABASE "+theirs, "CREATE TABLE "+theirs+".t (id INT)")
	a, err := OnServer(t.Context(), config, Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := OnServer(t.Context(), config, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if a.Config.Database == b.Config.Database {
		t.Errorf("two imports use %s", a.Config.Database)
	}
	mysqltest.ExecOn(t, a.Config, "CREATE TABLE t (id INT)")
	// c is killed: its session ends and nobody drops what it made.
	c, err := OnServer(t.Context(), config, Options{})
	if err != nil {
		t.Fatal(err)
	}
	mysqltest.ExecOn(t, c.Config, "CREATE TABLE t (id INT)")
	id := query(t, root, "SELECT IS_USED_LOCK('"+lockName(mysql.ImportRun(c.Config.Database))+"')")
	mysqltest.Exec(t, "KILL "+id)
	empty := mysql.ImportName("bbbbbbbbbb") // killed before its mark
	mysqltest.Exec(t, "CREATE DATABASE "+empty)
	for query(t, root, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID="+id) != "0" {
		if t.Context().Err() != nil {
			t.Fatal("the session does not end")
		}
	}
	d, err := OnServer(t.Context(), config, Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := query(t, root, databases)
	for name, want := range map[string]bool{
		theirs: true, a.Config.Database: true, b.Config.Database: true, d.Config.Database: true, c.Config.Database: false, empty: false,
	} {
		if strings.Contains(now, name) != want {
			t.Errorf("database %s is there: %v", name, !want)
		}
	}
	for _, x := range []*Database{a, b, c, d} {
		if err := x.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	mysqltest.Exec(t, "DROP DATABASE "+theirs)
	if after := query(t, root, databases); after != before {
		t.Errorf("databases before: %s; after: %s", before, after)
	}
}

// A database stays neither when the import is cancelled nor when the server
// has ended its session.
func TestOnServerCloses(t *testing.T) {
	config := mysqltest.Config(t, "")
	root := mysqltest.Connect(t, config)
	for name, harm := range map[string]func(d *Database){
		"session lost": func(d *Database) {
			mysqltest.Exec(t, "KILL "+query(t, root, "SELECT IS_USED_LOCK('"+lockName(mysql.ImportRun(d.Config.Database))+"')"))
		},
		"nothing": func(*Database) {},
	} {
		d, err := OnServer(t.Context(), config, Options{})
		if err != nil {
			t.Fatal(err)
		}
		harm(d)
		if err := d.Close(cancelled(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := query(t, root, "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME='"+d.Config.Database+"'"); got != "0" {
			t.Errorf("%s: the database stays", name)
		}
	}
}

func TestOnServerWithoutRights(t *testing.T) {
	name := mysqltest.Database(t)
	config := mysqltest.User(t, "ALL PRIVILEGES ON `"+name+"`.*")
	_, err := OnServer(t.Context(), config, Options{})
	if core.CodeOf(err) != core.CodeDatabase || !strings.Contains(core.HintOf(err), "GRANT ALL PRIVILEGES ON `\\_backstay\\_%`.* TO") {
		t.Fatalf("got %v", err)
	}
	// What the hint says is enough.
	d, err := OnServer(t.Context(), mysqltest.User(t, "ALL PRIVILEGES ON `\\_backstay\\_%`.*"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	mysqltest.ExecOn(t, d.Config, "CREATE TABLE t (id INT)")
	if err := d.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNamed(t *testing.T) {
	config := mysqltest.Config(t, "")
	used, empty, fresh := mysqltest.Database(t), mysqltest.Database(t), mysqltest.Database(t)+"_new"
	mysqltest.ExecIn(t, used, "CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1")
	for _, name := range []string{empty, fresh} {
		d, err := Named(t.Context(), config, name)
		if err != nil {
			t.Fatal(err)
		}
		mysqltest.ExecOn(t, d.Config, "CREATE TABLE t (id INT)")
		if err := d.Close(t.Context()); err != nil {
			t.Error(err)
		}
		mysqltest.ExecOn(t, d.Config, "INSERT INTO t VALUES (1)") // it stays
		if _, err := Named(t.Context(), config, name); err == nil || !strings.Contains(err.Error(), "table t") {
			t.Errorf("a database that is in use: got %v", err)
		}
	}
	mysqltest.Exec(t, "DROP DATABASE "+fresh)
	for _, name := range []string{used, "mysql", "INFORMATION_SCHEMA", mysql.ImportName("aaaaaaaaaa")} {
		if _, err := Named(t.Context(), config, name); core.CodeOf(err) != core.CodeUsage {
			t.Errorf("%s: got %v", name, err)
		}
	}
	weak := mysqltest.User(t, "ALL PRIVILEGES ON `"+empty+"`.*")
	if _, err := Named(t.Context(), weak, "not_mine"); core.CodeOf(err) != core.CodeDatabase || !strings.Contains(core.HintOf(err), "GRANT") {
		t.Errorf("without rights: got %v", err)
	}
	mysqltest.ExecIn(t, empty, "DROP TABLE t")
	d, err := Named(t.Context(), weak, empty)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func cancelled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
