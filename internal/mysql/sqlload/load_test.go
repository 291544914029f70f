package sqlload_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/mysql/scratch"
	"github.com/backstay/backstay/internal/mysql/sqlload"
)

// into makes an empty database on the shared server.
func into(t *testing.T) mysql.Config {
	t.Helper()
	return mysqltest.Config(t, mysqltest.Database(t))
}

func load(t *testing.T, config mysql.Config, text string) (*sqlload.Loaded, error) {
	t.Helper()
	return sqlload.Load(t.Context(), strings.NewReader(text), sqlload.Options{Config: config})
}

func mustLoad(t *testing.T, config mysql.Config, text string) *sqlload.Loaded {
	t.Helper()
	loaded, err := load(t, config, text)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

func salvage(t *testing.T, config mysql.Config, text string) *sqlload.Loaded {
	t.Helper()
	loaded, err := sqlload.Load(t.Context(), strings.NewReader(text), sqlload.Options{Config: config, Salvage: true})
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// values returns a query's first column.
func values(t *testing.T, config mysql.Config, query string) []string {
	t.Helper()
	rows, err := mysqltest.Connect(t, config).Query(t.Context(), query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	var found []string
	for _, r := range rows {
		found = append(found, r[0].Text)
	}
	return found
}

func TestVariants(t *testing.T) {
	to := other(t)
	from := into(t)
	mysqltest.ExecOn(t, from,
		"CREATE TABLE parent (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50) NOT NULL, UNIQUE (name)) ENGINE=InnoDB",
		"CREATE TABLE child (id INT PRIMARY KEY, parent INT, b LONGBLOB, d DOUBLE, at TIMESTAMP NULL, t TEXT, j JSON, FOREIGN KEY (parent) REFERENCES parent (id))",
		"CREATE TABLE alone (v INT, w VARCHAR(10)) ENGINE=MyISAM",
		"INSERT INTO parent VALUES (1, 'a'), (2, 'it''s'), (3, '\\\\'), (4, 'x\\ny;--'), (5, '/* c */')",
		"INSERT INTO child SELECT seq.n, 1 + seq.n % 5, CONCAT(UNHEX(SHA2(seq.n, 256)), UNHEX('00275C0A0D1A22')), RAND(seq.n), FROM_UNIXTIME(86400 * (seq.n + 1)), REPEAT('ü', seq.n), '[1]'"+
			" FROM (SELECT a.n + 10 * b.n AS n FROM (SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) a,"+
			" (SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) b) seq",
		"INSERT INTO alone VALUES (1, 'x'), (NULL, NULL), (1, 'x')",
		"CREATE FUNCTION f(a INT) RETURNS INT DETERMINISTIC RETURN a + 1",
		"CREATE VIEW b_view AS SELECT id, name FROM parent",
		"CREATE VIEW a_view AS SELECT f(id) AS n FROM b_view",
		"CREATE TRIGGER tr BEFORE INSERT ON parent FOR EACH ROW SET NEW.name=CONCAT(NEW.name, '!')",
	)
	objects := []string{"--routines", "--triggers"}
	for _, v := range []struct {
		options []string
		salvage bool
	}{
		{options: nil},
		{options: []string{"--hex-blob"}},
		{options: []string{"--complete-insert", "--skip-add-drop-table"}},
		{options: []string{"--skip-extended-insert"}},
		{options: []string{"--skip-opt", "--create-options", "--quick"}},
		{options: []string{"--no-autocommit", "--skip-disable-keys", "--skip-add-locks"}},
		{options: []string{"--replace"}},
		{options: []string{"--insert-ignore"}},
		{options: []string{"--net-buffer-length=4096"}},
		{options: []string{"--databases", "--add-drop-database"}},
		{options: []string{"--compact"}, salvage: true},
		{options: []string{"--skip-comments"}, salvage: true}, // no marker at its end
	} {
		t.Run(strings.Join(v.options, " "), func(t *testing.T) {
			text := dumpText(t, from, append(objects, v.options...)...)
			config := target(t, to, from.Database)
			defer mysqltest.ExecOn(t, mysqltest.ConfigOf(to, ""), "DROP DATABASE "+from.Database)
			loaded, err := sqlload.Load(t.Context(), bytes.NewReader(text), sqlload.Options{Config: config, Salvage: v.salvage})
			if err != nil {
				t.Fatal(err)
			}
			// Without its comments' SETs a dump does not say what its times are.
			zone := slices.Contains(v.options, "--compact") && len(loaded.Warnings) == 1 && loaded.Warnings[0].Code == "time-zone"
			if len(loaded.Flaws) > 0 || len(loaded.Warnings) > 0 && !zone {
				t.Errorf("flaws %v, warnings %v", loaded.Flaws, loaded.Warnings)
			}
			want := []sqlload.Table{{Name: "alone", Read: 3, Rows: 3}, {Name: "child", Read: 100, Rows: 100}, {Name: "parent", Read: 5, Rows: 5}}
			if diff := cmp.Diff(want, loaded.Tables); diff != "" || loaded.Rows != 108 || loaded.Views != 2 || loaded.Objects != 2 {
				t.Errorf("%d rows, %d views, %d objects (-want +got):\n%s", loaded.Rows, loaded.Views, loaded.Objects, diff)
			}
			if diff := mysqltest.Diff(t, from, config); diff != "" {
				t.Errorf("the copy differs (-original +copy):\n%s", diff)
			}
		})
	}
}

const phpMyAdmin = `-- phpMyAdmin SQL Dump
-- version 5.2.1
-- https://www.phpmyadmin.net/
SET SQL_MODE = "NO_AUTO_VALUE_ON_ZERO";
START TRANSACTION;
SET time_zone = "+00:00";

/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!40101 SET NAMES utf8mb4 */;

DELIMITER $$
CREATE DEFINER=` + "`root`@`localhost`" + ` FUNCTION ` + "`twice`" + ` (` + "`n`" + ` INT) RETURNS INT(11) DETERMINISTIC BEGIN
  RETURN 2 * n; -- done; really
END$$
DELIMITER ;

CREATE TABLE ` + "`a`" + ` (
  ` + "`id`" + ` int(11) NOT NULL,
  ` + "`name`" + ` varchar(20) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

INSERT INTO ` + "`a` (`id`, `name`)" + ` VALUES
(0, 'zero'),
(1, 'it''s'),
(7, 'a\'b\\');

--
-- Triggers ` + "`a`" + `
--
DELIMITER $$
CREATE TRIGGER ` + "`loud`" + ` BEFORE INSERT ON ` + "`a`" + ` FOR EACH ROW SET NEW.name = UPPER(NEW.name)
$$
DELIMITER ;

CREATE TABLE ` + "`b`" + ` (` + "`id`" + ` int(11) NOT NULL, ` + "`a_id`" + ` int(11) NOT NULL) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO ` + "`b` (`id`, `a_id`)" + ` VALUES (1, 7), (2, 0);
INSERT INTO ` + "`a` (`id`, `name`)" + ` VALUES (9, 'quiet');

ALTER TABLE ` + "`a`" + `
  ADD PRIMARY KEY (` + "`id`" + `),
  ADD UNIQUE KEY ` + "`name` (`name`)" + `;
ALTER TABLE ` + "`a`" + `
  MODIFY ` + "`id`" + ` int(11) NOT NULL AUTO_INCREMENT, AUTO_INCREMENT=10;
ALTER TABLE ` + "`b`" + `
  ADD PRIMARY KEY (` + "`id`" + `),
  ADD KEY ` + "`a_id` (`a_id`)" + `;
ALTER TABLE ` + "`b`" + `
  ADD CONSTRAINT ` + "`b_a` FOREIGN KEY (`a_id`) REFERENCES `a` (`id`)" + ` ON DELETE CASCADE;
COMMIT;

/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;
`

func TestPHPMyAdmin(t *testing.T) {
	config := into(t)
	loaded := mustLoad(t, config, phpMyAdmin)
	if got, want := values(t, config, "SELECT CONCAT(id, name) FROM a ORDER BY id"), []string{"0zero", "1it's", `7a'b\`, "9quiet"}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q: a trigger ran, or a 0 became a number", got, want)
	}
	if loaded.Rows != 6 || loaded.Objects != 2 || len(loaded.Warnings) > 0 {
		t.Errorf("loaded %+v", loaded)
	}
	if got := values(t, config, "SELECT twice(21)"); got[0] != "42" {
		t.Errorf("twice(21) is %v", got)
	}
	if got := values(t, config, "SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE()"); got[0] != "1" {
		t.Error("the trigger is missing")
	}
}

// ITFlow writes one INSERT a row, with every value quoted and no time zone.
func TestITFlow(t *testing.T) {
	var text strings.Builder
	text.WriteString("-- ITFlow Backup\nSET NAMES 'utf8mb4';\nSET FOREIGN_KEY_CHECKS = 0;\nSET UNIQUE_CHECKS = 0;\n\nDROP TABLE IF EXISTS `clients`;\n" +
		"CREATE TABLE `clients` (\n  `client_id` int(11) NOT NULL AUTO_INCREMENT,\n  `client_name` varchar(200) NOT NULL,\n  `client_at` timestamp NULL DEFAULT NULL,\n  PRIMARY KEY (`client_id`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;\n\n")
	for i := range 25_000 {
		fmt.Fprintf(&text, "INSERT INTO `clients` (`client_id`,`client_name`,`client_at`) VALUES ('%d','Müller \\'%d\\'\\n; -- x',%s);\n", i+1, i, []string{"NULL", "'2026-01-02 03:04:05'"}[i%2])
	}
	text.WriteString("SET FOREIGN_KEY_CHECKS = 1;\n")
	config := into(t)
	loaded := mustLoad(t, config, text.String())
	if diff := cmp.Diff([]sqlload.Table{{Name: "clients", Read: 25_000, Rows: 25_000}}, loaded.Tables); diff != "" {
		t.Error(diff)
	}
	if got := values(t, config, "SELECT client_name FROM clients WHERE client_id=7"); got[0] != "Müller '6'\n; -- x" {
		t.Errorf("got %q", got)
	}
	if len(loaded.Warnings) != 1 || loaded.Warnings[0].Code != "time-zone" || !strings.Contains(loaded.Warnings[0].Message, "tables clients") {
		t.Errorf("warnings %v: nothing is said of the time zone", loaded.Warnings)
	}
	if loaded.Bytes != int64(text.Len()) {
		t.Errorf("%d of %d bytes", loaded.Bytes, text.Len())
	}
}

// Old data came in under laxer rules; it is right as it is.
func TestOldData(t *testing.T) {
	config := into(t)
	loaded := mustLoad(t, config, `SET NAMES utf8mb4;
SET sql_mode='STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE';
CREATE TABLE t (id INT NOT NULL AUTO_INCREMENT, d DATE NOT NULL DEFAULT '0000-00-00', dt DATETIME NOT NULL, e ENUM('a','b') NOT NULL, n VARCHAR(9), PRIMARY KEY (id)) ENGINE=InnoDB;
INSERT INTO t VALUES (0,'0000-00-00','2023-02-31 00:00:00','','a,(''b'),(1,'2020-00-00','0000-00-00 00:00:00','a','');
INSERT INTO t (n, e, dt, id, d) VALUES ('x','','2020-01-01 00:00:00',5,'2020-01-01');
`)
	if len(loaded.Warnings) > 0 || loaded.Rows != 3 {
		t.Errorf("loaded %+v", loaded)
	}
	got := values(t, config, "SELECT CONCAT_WS('|', id, d, dt, e, e+0) FROM t ORDER BY id")
	want := []string{"0|0000-00-00|2023-02-31 00:00:00||0", "1|2020-00-00|0000-00-00 00:00:00|a|1", "5|2020-01-01|2020-01-01 00:00:00||0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What the server changes is found, whatever the dump says of warnings.
func TestChangedValues(t *testing.T) {
	for name, c := range map[string]struct{ column, good, bad string }{
		"text too long":         {"VARCHAR(3)", "'abc'", "'abcd'"},
		"bytes too long":        {"BINARY(2)", "'ab'", "'abc'"},
		"number out of range":   {"TINYINT", "127", "128"},
		"negative":              {"INT UNSIGNED", "0", "-1"},
		"digits cut off":        {"DECIMAL(4,1)", "1.5", "1.55"},
		"NULL":                  {"INT NOT NULL", "1", "null"},
		"no number":             {"INT", "'1'", "'1x'"},
		"no date":               {"DATE", "'2020-01-01'", "'2020-13-01'"},
		"no member":             {"ENUM('a','b')", "'a'", "'c'"},
		"no member of a set":    {"SET('a','b')", "'a,b'", "'a,c'"},
		"no text of its set":    {"VARCHAR(9) CHARACTER SET latin1", "'ü'", "'語'"},
		"no text":               {"VARCHAR(9) CHARACTER SET utf8mb4", "'a'", "_binary 'a\xffb'"},
		"time out of its range": {"TIMESTAMP NULL", "'2020-01-01 00:00:00'", "'1800-01-01 00:00:00'"},
	} {
		t.Run(name, func(t *testing.T) {
			config := into(t)
			text := "SET NAMES utf8mb4;\nSET time_zone='+00:00';\nSET sql_notes=0, sql_mode='';\nCREATE TABLE t (id INT PRIMARY KEY, v " + c.column + ") ENGINE=InnoDB;\n" +
				"INSERT INTO t VALUES (1," + c.good + "),(2," + c.good + ");\nINSERT INTO t VALUES (3," + c.good + "),\n(4," + c.bad + ");\nINSERT INTO t VALUES (5," + c.good + ");\n"
			loaded, err := load(t, config, text)
			if core.CodeOf(err) != core.CodeDamage || !strings.Contains(err.Error(), "table t") {
				t.Fatalf("error %v, loaded %+v", err, loaded)
			}
			if loaded.Tables[0].Read == 5 && loaded.Tables[0].Changed == 0 && loaded.Tables[0].Rows == 5 {
				t.Errorf("loaded %+v", loaded)
			}
			if len(loaded.Flaws) == 0 && loaded.Tables[0].Changed > 0 {
				t.Error("no flaw")
			}
			for _, f := range loaded.Flaws {
				if f.Line != 0 && f.Line != 6 && name != "NULL" { // of which the server names no row
					t.Errorf("flaw at line %d: %v", f.Line, f)
				}
			}
			other := salvage(t, into(t), strings.ReplaceAll(text, c.bad, c.good))
			if len(other.Flaws) > 0 || other.Rows != 5 {
				t.Errorf("without it: %+v", other)
			}
		})
	}
}

// Rows that INSERT IGNORE and REPLACE lose are told.
func TestLostRows(t *testing.T) {
	for statement, want := range map[string]string{"INSERT IGNORE": "2 of the 3", "REPLACE": "2 of the 3"} {
		config := into(t)
		_, err := load(t, config, "CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB;\n"+statement+" INTO t VALUES (1),(2),(1);\n")
		if core.CodeOf(err) != core.CodeDamage || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", statement, err)
		}
	}
	_, err := load(t, into(t), "CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB;\nINSERT INTO t VALUES (1),(2),(1);\n")
	if core.CodeOf(err) != core.CodeDamage || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), "Duplicate") {
		t.Errorf("INSERT: %v", err)
	}
}

func TestDefiner(t *testing.T) {
	config := into(t)
	text := "SET NAMES utf8mb4;\nCREATE TABLE t (id INT) ENGINE=InnoDB;\n" +
		"CREATE DEFINER=`boss`@`%` VIEW v AS SELECT id FROM t;\nCREATE DEFINER=`boss`@`%` TRIGGER r BEFORE INSERT ON t FOR EACH ROW SET NEW.id=1;\n" +
		"CREATE DEFINER=`boss`@`%` PROCEDURE p() SELECT 1;\nCREATE DEFINER=`boss`@`%` EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM t;\n"
	definers := "SELECT DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA=DATABASE() UNION ALL SELECT DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE()" +
		" UNION ALL SELECT DEFINER FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA=DATABASE() UNION ALL SELECT DEFINER FROM information_schema.EVENTS WHERE EVENT_SCHEMA=DATABASE()"
	off := func(c mysql.Config) { // MySQL's is on
		mysqltest.Exec(t, "SET GLOBAL event_scheduler=OFF")
		_ = c
	}
	off(config)
	// root keeps them, though boss is nobody here.
	if loaded := mustLoad(t, config, text); len(loaded.Warnings) > 0 || loaded.Views != 1 || loaded.Objects != 3 {
		t.Errorf("loaded %+v", loaded)
	}
	if got := values(t, config, definers); !slices.Equal(got, []string{"boss@%", "boss@%", "boss@%", "boss@%"}) {
		t.Errorf("definers %v", got)
	}
	weak := into(t).Database
	config = mysqltest.User(t, "ALL PRIVILEGES ON `"+weak+"`.*")
	config.Database = weak
	loaded := mustLoad(t, config, text)
	var told []string
	for _, w := range loaded.Warnings {
		if w.Code != "definer" || !strings.Contains(w.Message, "boss@%") {
			t.Errorf("warning %v", w)
		}
		told = append(told, w.Object)
	}
	slices.Sort(told)
	if diff := cmp.Diff([]string{"event e", "procedure p", "trigger r", "view v"}, told); diff != "" {
		t.Error(diff)
	}
	for _, d := range values(t, config, definers) {
		if !strings.HasPrefix(d, config.User+"@") {
			t.Errorf("definer %s", d)
		}
	}
}

// Triggers and events wait for the end, views for what they need; each keeps
// the settings of its place.
func TestOrder(t *testing.T) {
	config := into(t)
	mysqltest.Exec(t, "SET GLOBAL event_scheduler=OFF")
	loaded := mustLoad(t, config, `SET NAMES utf8mb4;
CREATE TABLE t (id INT, v VARCHAR(20)) ENGINE=InnoDB;
SET sql_mode='ANSI_QUOTES';
CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW SET NEW."v"='fired';
SET sql_mode='';
CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO DELETE FROM t;
CREATE VIEW v1 AS SELECT * FROM v2;
CREATE VIEW v2 AS SELECT f(id) AS n FROM u;
CREATE VIEW gone AS SELECT * FROM nowhere;
DELIMITER //
CREATE FUNCTION f(a INT) RETURNS INT DETERMINISTIC BEGIN RETURN a * 2; END//
DELIMITER ;
CREATE TABLE u (id INT) ENGINE=InnoDB;
INSERT INTO t VALUES (1, 'kept');
INSERT INTO u VALUES (4);
`)
	if got := values(t, config, "SELECT v FROM t"); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("rows %v", got)
	}
	if got := values(t, config, "SELECT n FROM v1"); !slices.Equal(got, []string{"8"}) {
		t.Errorf("view %v", got)
	}
	if got := values(t, config, "SELECT SQL_MODE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE()"); got[0] != "ANSI_QUOTES" {
		t.Errorf("the trigger's sql_mode is %q", got)
	}
	if len(loaded.Warnings) != 1 || loaded.Warnings[0].Code != "invalid-view" || loaded.Warnings[0].Object != "view gone" {
		t.Errorf("warnings %v", loaded.Warnings)
	}
}

func TestServerThatRunsEvents(t *testing.T) {
	config := into(t)
	mysqltest.Exec(t, "SET GLOBAL event_scheduler=ON")
	text := "CREATE TABLE t (id INT);\nCREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO DELETE FROM t;\n"
	_, err := load(t, config, text)
	saved := salvage(t, into(t), text)
	mysqltest.Exec(t, "SET GLOBAL event_scheduler=OFF")
	if core.CodeOf(err) != core.CodeUnsupported || !strings.Contains(err.Error(), "event_scheduler") {
		t.Errorf("got %v", err)
	}
	if len(saved.Flaws) != 1 || !saved.Flaws[0].Refused || saved.Flaws[0].Line != 2 {
		t.Errorf("salvaged %+v", saved)
	}
}

// A dump may name its own database; on a server that has it, alive, that would
// be the wrong one.
func TestNamesOfOthers(t *testing.T) {
	live, config := into(t), into(t)
	mysqltest.ExecOn(t, live, "CREATE TABLE t (id INT)")
	text := "CREATE TABLE t (id INT) ENGINE=InnoDB;\nCREATE VIEW v AS SELECT `" + live.Database + "`.`t`.`id` FROM `" + live.Database + "`.`t`;\n"
	_, err := sqlload.Load(t.Context(), strings.NewReader(text), sqlload.Options{Config: config, Database: live.Database})
	if core.CodeOf(err) != core.CodeUnsupported || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("got %v", err)
	}
}

func TestRowLargerThanAPacket(t *testing.T) {
	s := mysqltest.Start(t, localserver.Options{Name: "small", Args: []string{"--max-allowed-packet=1M"}})
	text := "CREATE TABLE t (id INT, b LONGTEXT) ENGINE=InnoDB;\nINSERT INTO t VALUES (1,'a'),(2,'" + strings.Repeat("x", 2<<20) + "'),(3,'" + strings.Repeat("y", 1000_000) + "');\n"
	_, err := sqlload.Load(t.Context(), strings.NewReader(text), sqlload.Options{Config: target(t, s, "a")})
	if core.CodeOf(err) != core.CodeDatabase || !strings.Contains(err.Error(), "line 2: table t: row 2") || !strings.Contains(core.HintOf(err), "max_allowed_packet above 2097") {
		t.Errorf("got %v (%s)", err, core.HintOf(err))
	}
	loaded, err := sqlload.Load(t.Context(), strings.NewReader(text), sqlload.Options{Config: target(t, s, "b"), Salvage: true})
	if err != nil || loaded.Rows != 2 || len(loaded.Flaws) != 2 {
		t.Errorf("salvaged %+v, %v", loaded, err)
	}
}

func TestLargeRows(t *testing.T) {
	config := target(t, other(t), "large")
	var text bytes.Buffer
	text.WriteString("CREATE TABLE t (id INT PRIMARY KEY, b LONGBLOB) ENGINE=InnoDB;\n")
	for i := range 4 {
		fmt.Fprintf(&text, "INSERT INTO t VALUES (%d,'%s');\n", i, bytes.Repeat([]byte{'a' + byte(i)}, 20<<20))
	}
	loaded, err := sqlload.Load(t.Context(), &text, sqlload.Options{Config: config, Connections: 2})
	if err != nil || loaded.Rows != 4 {
		t.Fatalf("loaded %+v, %v", loaded, err)
	}
	if got := values(t, config, "SELECT COUNT(*) FROM t WHERE LENGTH(b)=20*1024*1024 AND b=REPEAT(CHAR(97+id), 20*1024*1024)"); got[0] != "4" {
		t.Errorf("%s rows are right", got)
	}
}

func TestSalvage(t *testing.T) {
	for _, engine := range []string{"InnoDB", "MyISAM"} {
		t.Run(engine, func(t *testing.T) {
			config := into(t)
			loaded := salvage(t, config, "SET NAMES utf8mb4;\nCREATE TABLE a (id INT PRIMARY KEY, v TINYINT) ENGINE="+engine+";\n"+
				"INSERT INTO a VALUES (1,1),(2,2),(1,3),(4,400),(5,5,5),(6,6);\n"+
				"SET GLOBAL max_connections=1;\n"+
				"CREATE TABLE b (id INT) ENGINE="+engine+";\nINSERT INTO missing VALUES (1);\nINSERT INTO b VALUES (1),(2);\nCREATE USER x;\n"+
				"INSERT INTO b VALUES (3),(4),(5,'cut in the mid")
			if got := values(t, config, "SELECT CONCAT(id, ':', v) FROM a ORDER BY id"); !slices.Equal(got, []string{"1:1", "2:2", "4:127", "6:6"}) {
				t.Errorf("a has %v", got)
			}
			if got := values(t, config, "SELECT id FROM b ORDER BY id"); !slices.Equal(got, []string{"1", "2", "3", "4"}) {
				t.Errorf("b has %v", got)
			}
			var told []string
			refused := 0
			for _, f := range loaded.Flaws {
				told = append(told, f.String())
				if f.Refused {
					refused++
				}
			}
			all := strings.Join(told, "\n")
			for _, want := range []string{"line 3: table a: the server refused a row: Duplicate entry", "doesn't match value count", "the server changed a value", "table a: it has 4 of the 6 rows", "table missing: it has 0 of the 1 rows"} {
				if !strings.Contains(all, want) {
					t.Errorf("%q is missing in\n%s", want, all)
				}
			}
			if refused != 2 {
				t.Errorf("%d statements were refused:\n%s", refused, all)
			}
		})
	}
}

// hostile are statements that no dump has, or that would reach out of the
// scratch database.
func hostile(file string) []string {
	return []string{
		"CREATE USER evil", "GRANT ALL ON *.* TO evil", "SET GLOBAL max_connections=7",
		"SET PERSIST max_connections=7", "SET @@global.max_connections=7", "SET PASSWORD='x'", "INSERT INTO mysql.user VALUES (1)", "DROP TABLE mysql.user", "CREATE TABLE mysql.evil (a INT)",
		"SELECT 1 INTO OUTFILE '" + file + "'", "SELECT * FROM mysql.user", "LOAD DATA INFILE '/etc/passwd' INTO TABLE t", "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE t",
		"INSERT INTO t VALUES (LOAD_FILE('/etc/passwd'))", "INSERT INTO t VALUES ((SELECT 1))", "INSERT INTO t VALUES (SLEEP(1))", "INSERT INTO t SELECT 1",
		"INSTALL PLUGIN evil SONAME 'evil.so'", "CREATE FUNCTION evil RETURNS STRING SONAME 'evil.so'", "KILL 1", "SHUTDOWN", "RESET MASTER",
		"CREATE TABLE evil (a INT) ENGINE=FEDERATED CONNECTION='mysql://root@localhost/mysql/user'", "CREATE TABLE evil (a INT) DATA DIRECTORY='/tmp'", "CREATE TABLE evil SELECT * FROM mysql.user",
		"CREATE SERVER evil FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'x')", "CALL evil()", "DO SLEEP(1)", "PREPARE s FROM 'DROP DATABASE mysql'", "EXECUTE IMMEDIATE 'DROP DATABASE mysql'",
		"RENAME TABLE t TO mysql.t", "ALTER TABLE t RENAME TO mysql.t", "UPDATE t SET a=1", "DELETE FROM t", "TRUNCATE t", "\\! touch " + file, "source /etc/passwd", "system touch " + file,
		"BEGIN NOT ATOMIC DROP DATABASE mysql; END", "ALTER USER root IDENTIFIED BY 'x'", "HANDLER mysql.user OPEN", "XA START 'x'",
	}
}

// ignored are statements that dumps may have, or that name a database that is
// taken for the dump's own: they do nothing.
func ignored() []string {
	return []string{
		"CREATE DATABASE evil", "DROP DATABASE mysql", "USE mysql", "FLUSH TABLES WITH READ LOCK", "CHANGE MASTER TO MASTER_HOST='x'",
		"/*!50000 CREATE DATABASE evil */", "/*!99999 x */ DROP DATABASE mysql", "SET @@session.sql_log_bin=0, @@global.max_connections=7",
	}
}

// outside is what a dump must not change.
func outside(t *testing.T, config mysql.Config) string {
	t.Helper()
	config.Database = ""
	var found []string
	for _, q := range []string{
		"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA ORDER BY 1",
		"SELECT CONCAT(User, '@', Host) FROM mysql.user ORDER BY 1",
		"SELECT @@global.max_connections",
		"SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES WHERE TABLE_SCHEMA='mysql' ORDER BY 1",
	} {
		found = append(found, strings.Join(values(t, config, q), " "))
	}
	return strings.Join(found, "\n")
}

func TestHostile(t *testing.T) {
	file := t.TempDir() + "/evil"
	private, err := scratch.Private(t.Context(), scratch.Options{Dir: t.TempDir(), Binary: os.Getenv(mysqltest.BinaryVariable)})
	if err != nil {
		t.Fatal(err)
	}
	shared, err := scratch.OnServer(t.Context(), mysqltest.Config(t, ""), scratch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]*scratch.Database{"private": private, "shared": shared} {
		admin := mysql.ConfigOf(d.Source)
		before := outside(t, admin)
		for _, s := range append(ignored(), hostile(file)...) {
			text := "CREATE TABLE IF NOT EXISTS t (a INT) ENGINE=InnoDB;\n" + s + ";\nINSERT INTO t VALUES (1);\n"
			if _, err := load(t, d.Config, text); err == nil && !slices.Contains(ignored(), s) {
				t.Errorf("%s: %s: it was taken", name, s)
			}
			if loaded, err := sqlload.Load(t.Context(), strings.NewReader(text), sqlload.Options{Config: d.Config, Salvage: true}); err == nil && loaded.Rows > 1 {
				t.Errorf("%s: %s: %d rows", name, s, loaded.Rows)
			}
			mysqltest.ExecOn(t, d.Config, "DROP TABLE IF EXISTS t")
		}
		if after := outside(t, admin); after != before {
			t.Errorf("%s: before:\n%s\nafter:\n%s", name, before, after)
		}
		if err := d.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a file was written")
	}
}

// endless is a dump without an end; after n reads it does something.
type endless struct {
	n    int
	do   func()
	size int // of a row; 0: 2000
	id   int
	left string
}

func (e *endless) Read(p []byte) (int, error) {
	if e.n--; e.n == 0 {
		e.do()
	}
	switch {
	case e.left != "":
	case e.id == 0:
		e.left = "CREATE TABLE t (id INT, v TEXT) ENGINE=InnoDB;\n"
		e.id++
	default:
		e.left = fmt.Sprintf("INSERT INTO t VALUES (%d,'%s');\n", e.id, strings.Repeat("x", 2000))
		e.id++
	}
	n := copy(p, e.left)
	e.left = e.left[n:]
	return n, nil
}

var _ io.Reader = (*endless)(nil)

func TestServerGone(t *testing.T) {
	for _, salvage := range []bool{false, true} {
		s := mysqltest.Start(t, localserver.Options{Name: "gone"})
		r := &endless{n: 3000, do: func() {
			if err := s.Kill(); err != nil {
				t.Error(err)
			}
		}}
		_, err := sqlload.Load(t.Context(), r, sqlload.Options{Config: target(t, s, "a"), Connections: 2, Salvage: salvage})
		if core.CodeOf(err) != core.CodeDatabase {
			t.Errorf("salvage %v: got %v", salvage, err)
		}
	}
}

func TestCancelled(t *testing.T) {
	for _, salvage := range []bool{false, true} {
		d, err := scratch.OnServer(t.Context(), mysqltest.Config(t, ""), scratch.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, err = sqlload.Load(ctx, &endless{n: 3000, do: cancel}, sqlload.Options{Config: d.Config, Salvage: salvage})
		if core.CodeOf(err) != core.CodeCancelled {
			t.Errorf("salvage %v: got %v", salvage, err)
		}
		if err := d.Close(ctx); err != nil {
			t.Error(err)
		}
		if got := values(t, mysqltest.Config(t, ""), "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME='"+d.Config.Database+"'"); got[0] != "0" {
			t.Error("the scratch database stays")
		}
	}
}

func TestBroken(t *testing.T) {
	// A reader that fails is not a dump that ends.
	r := io.MultiReader(strings.NewReader("CREATE TABLE t (id INT) ENGINE=InnoDB;\nINSERT INTO t VALUES (1);\n"), &failing{})
	if _, err := sqlload.Load(t.Context(), r, sqlload.Options{Config: into(t)}); err == nil || !strings.Contains(err.Error(), "no more tape") {
		t.Errorf("got %v", err)
	}
}

type failing struct{}

func (*failing) Read([]byte) (int, error) { return 0, fmt.Errorf("no more tape") }

func TestTwoAtOnce(t *testing.T) {
	type outcome struct {
		rows int64
		err  error
	}
	done := make(chan outcome)
	for range 2 {
		go func() {
			d, err := scratch.OnServer(t.Context(), mysqltest.Config(t, ""), scratch.Options{})
			if err != nil {
				done <- outcome{0, err}
				return
			}
			loaded, err := sqlload.Load(t.Context(), strings.NewReader(phpMyAdmin), sqlload.Options{Config: d.Config})
			if cerr := d.Close(t.Context()); err == nil {
				err = cerr
			}
			if err != nil {
				done <- outcome{0, err}
				return
			}
			done <- outcome{loaded.Rows, nil}
		}()
	}
	for range 2 {
		select {
		case o := <-done:
			if o.err != nil || o.rows != 6 {
				t.Errorf("%d rows, %v", o.rows, o.err)
			}
		case <-time.After(time.Minute):
			t.Fatal("they wait for each other")
		}
	}
}

// A server whose disk is full says so; it must not look like a bad dump.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may mount a small file system")
	}
	disk := t.TempDir()
	if !mysqltest.OnMariaDB(t) {
		t.Skip("MySQL's own files take long to fill a small disk; what is tested does not depend on the vendor")
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=120m"); err != nil {
		t.Skipf("mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	for _, salvage := range []bool{false, true} {
		s, err := localserver.Start(t.Context(), localserver.Options{Name: "full", Dir: disk, Binary: os.Getenv(mysqltest.BinaryVariable)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = sqlload.Load(t.Context(), &endless{n: 1_000_000, size: 60_000, do: func() { t.Error("the disk does not fill") }}, sqlload.Options{Config: target(t, s, "a"), Connections: 2, Salvage: salvage, Dir: disk})
		if cerr := s.Close(); cerr != nil {
			t.Error(cerr)
		}
		if code := core.CodeOf(err); code != core.CodeDatabase {
			t.Errorf("salvage %v: code %s: %v", salvage, code, err)
		}
		if err != nil && (!strings.Contains(err.Error(), disk) || !strings.Contains(core.HintOf(err), "state_dir")) {
			t.Errorf("whose disk is it: %v (%s)", err, core.HintOf(err))
		}
	}
}
