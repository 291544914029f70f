package unchanged_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// trick changes tables in a way that might not be seen.
type trick struct {
	name  string
	setup []string
	do    []string
	read  []string // tables that must be read; those that it makes need not be listed
	maria bool     // only MariaDB can
}

func tricks() []trick {
	one := func(name string, do ...string) trick {
		for i := range do {
			do[i] = strings.ReplaceAll(do[i], "$", name)
		}
		return trick{name: name, setup: plain(name), do: do, read: []string{name}}
	}
	maria := func(t trick) trick { t.maria = true; return t }
	with := func(t trick, setup ...string) trick {
		for _, s := range setup {
			t.setup = append(t.setup, strings.ReplaceAll(s, "$", t.name))
		}
		return t
	}
	reads := func(t trick, tables ...string) trick { t.read = tables; return t }
	return []trick{
		one("t_insert", "INSERT INTO $ VALUES (4,'d')"),
		one("t_update", "UPDATE $ SET v='z' WHERE id=2"),
		one("t_delete", "DELETE FROM $ WHERE id=2"),
		reads(one("t_replace_same", "REPLACE INTO $ VALUES (1,'a'),(2,'b')")), // no change to some servers
		reads(one("t_update_same", "UPDATE $ SET v=v")),
		one("t_there_and_back", "UPDATE $ SET v='z' WHERE id=1", "UPDATE $ SET v='a' WHERE id=1"),
		one("t_insert_delete", "INSERT INTO $ VALUES (4,'d')", "DELETE FROM $ WHERE id=4"),
		one("t_past", "SET timestamp=86400*365", "UPDATE $ SET v='z'", "SET timestamp=DEFAULT"),
		one("t_truncate", "TRUNCATE $"),
		one("t_truncate_refill", "TRUNCATE $", "INSERT INTO $ VALUES (1,'a'),(2,'b'),(3,'d')"),
		with(one("t_truncate_empty", "TRUNCATE $"), "DELETE FROM $"),
		one("t_delete_all", "DELETE FROM $"),
		one("t_alter", "ALTER TABLE $ ADD c INT DEFAULT 3"),
		one("t_alter_back", "ALTER TABLE $ ADD c INT DEFAULT 3", "ALTER TABLE $ DROP c"),
		// The values go, the definition comes back.
		one("t_instant", "ALTER TABLE $ DROP v, ALGORITHM=INSTANT", "ALTER TABLE $ ADD v VARCHAR(40), ALGORITHM=INSTANT"),
		one("t_instant_default", "ALTER TABLE $ DROP v", "ALTER TABLE $ ADD v VARCHAR(40) DEFAULT 'q'", "ALTER TABLE $ MODIFY v VARCHAR(40)"),
		one("t_modify", "ALTER TABLE $ MODIFY v VARCHAR(1)"),
		one("t_charset", "ALTER TABLE $ CONVERT TO CHARACTER SET latin1"),
		one("t_optimize", "OPTIMIZE TABLE $"),
		one("t_drop_create", append([]string{"DROP TABLE $"}, "CREATE TABLE $ (id INT PRIMARY KEY, v VARCHAR(40)) ENGINE=InnoDB", "INSERT INTO $ VALUES (1,'a'),(2,'b'),(3,'x')")...),
		one("t_create_like", "CREATE TABLE $_n LIKE $", "INSERT INTO $_n VALUES (1,'a'),(2,'b'),(3,'y')", "RENAME TABLE $ TO $_o, $_n TO $"),
		with(reads(one("t_swap", "RENAME TABLE $ TO $_t, $_2 TO $, $_t TO $_2"), "t_swap", "t_swap_2"),
			"CREATE TABLE $_2 LIKE $", "INSERT INTO $_2 VALUES (1,'other')"),
		with(reads(one("t_swap_back", "RENAME TABLE $ TO $_t, $_2 TO $", "UPDATE $ SET v='w'", "RENAME TABLE $ TO $_2, $_t TO $"), "t_swap_back_2"),
			"CREATE TABLE $_2 LIKE $", "INSERT INTO $_2 VALUES (1,'other')"),
		maria(one("t_or_replace", "CREATE OR REPLACE TABLE $ (id INT PRIMARY KEY, v VARCHAR(40)) ENGINE=InnoDB AS SELECT 1 id, 'z' v")),
		with(reads(one("t_cascade", "DELETE FROM $ WHERE id=1", "UPDATE $ SET id=20 WHERE id=2"), "t_cascade", "t_cascade_child"),
			"CREATE TABLE $_child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES $ (id) ON DELETE CASCADE ON UPDATE CASCADE) ENGINE=InnoDB", "INSERT INTO $_child VALUES (1,1),(2,2)"),
		with(reads(one("t_set_null", "DELETE FROM $ WHERE id=1"), "t_set_null", "t_set_null_child"),
			"CREATE TABLE $_child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES $ (id) ON DELETE SET NULL) ENGINE=InnoDB", "INSERT INTO $_child VALUES (1,1),(2,2)"),
		with(reads(one("t_trigger", "UPDATE $ SET v='z' WHERE id=1"), "t_trigger", "t_trigger_log"),
			"CREATE TABLE $_log (v VARCHAR(40)) ENGINE=InnoDB", "INSERT INTO $_log VALUES ('first')", "CREATE TRIGGER $_x AFTER UPDATE ON $ FOR EACH ROW INSERT INTO $_log VALUES (NEW.v)"),
		with(one("t_view", "UPDATE $_view SET v='z' WHERE id=1"), "CREATE VIEW $_view AS SELECT * FROM $"),
		with(one("t_procedure", "CALL $_p()"), "CREATE PROCEDURE $_p() UPDATE $ SET v='z' WHERE id=3"),
		with(reads(one("t_multi", "UPDATE $ JOIN $_2 USING (id) SET $.v='z', $_2.v='y'"), "t_multi", "t_multi_2"), "CREATE TABLE $_2 LIKE $", "INSERT INTO $_2 SELECT * FROM $"),
		one("t_savepoint", "START TRANSACTION", "UPDATE $ SET v='keep' WHERE id=1", "SAVEPOINT s", "UPDATE $ SET v='undo' WHERE id=2", "ROLLBACK TO SAVEPOINT s", "COMMIT"),
		one("t_xa", "XA START 't'", "UPDATE $ SET v='xa'", "XA END 't'", "XA PREPARE 't'", "XA COMMIT 't'"),
		one("t_flush", "FLUSH TABLES", "UPDATE $ SET v='z'", "FLUSH TABLES"),
		one("t_locked", "LOCK TABLES $ WRITE", "INSERT INTO $ VALUES (9,'locked')", "UNLOCK TABLES"),
		one("t_select", "INSERT INTO $ SELECT id+10, v FROM $"),
		one("t_dumped_over", "SET foreign_key_checks=0, unique_checks=0", "START TRANSACTION", "DELETE FROM $", "INSERT INTO $ VALUES (1,'a'),(2,'b'),(3,'older')", "COMMIT"),
		one("t_bulk", "SET foreign_key_checks=0, unique_checks=0", "TRUNCATE $", "INSERT INTO $ VALUES (1,'a'),(2,'b'),(3,'bulk')"),
		one("t_analyze", "UPDATE $ SET v='z'", "ANALYZE TABLE $"),
		with(reads(one("t_exchange", "ALTER TABLE $_p EXCHANGE PARTITION p0 WITH TABLE $"), "t_exchange", "t_exchange_p"),
			"CREATE TABLE $_p (id INT PRIMARY KEY, v VARCHAR(40)) ENGINE=InnoDB PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (100))", "INSERT INTO $_p VALUES (50,'p')"),
		{
			name: "t_partitioned", read: []string{"t_partitioned"},
			setup: []string{
				"CREATE TABLE t_partitioned (id INT PRIMARY KEY) ENGINE=InnoDB PARTITION BY HASH (id) PARTITIONS 3", "INSERT INTO t_partitioned VALUES (1),(2)",
			},
		},
		with(one("t_fulltext", "INSERT INTO $ VALUES (4,'more words')"), "ALTER TABLE $ ADD FULLTEXT (v)"),
		with(one("t_fulltext_update", "UPDATE $ SET v='other' WHERE id=1", "SET GLOBAL innodb_optimize_fulltext_only=ON", "OPTIMIZE TABLE $", "SET GLOBAL innodb_optimize_fulltext_only=OFF"), "ALTER TABLE $ ADD FULLTEXT (v)"),
		with(one("t_fulltext_delete", "DELETE FROM $ WHERE id=1"), "ALTER TABLE $ ADD FULLTEXT (v)"),
		maria(trick{
			name: "t_versioned", read: []string{"t_versioned"},
			setup: []string{"CREATE TABLE t_versioned (id INT PRIMARY KEY) ENGINE=InnoDB WITH SYSTEM VERSIONING", "INSERT INTO t_versioned VALUES (1)"},
		}),
	}
}

// TestTricks changes tables in every way that we know, each so that it might
// look unchanged. Tables that nothing touches show that the proof proves
// something all the while.
func TestTricks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	all := slices.DeleteFunc(tricks(), func(k trick) bool { return k.maria && !r.onMariaDB() })
	for _, k := range all {
		r.exec(t, k.setup...)
	}
	r.exec(t, plain("still_1", "still_2", "`still of-an odd Name`", "t_import")...)
	r.exec(t, plain("still_fulltext")...)
	r.exec(t, "ALTER TABLE still_fulltext ADD FULLTEXT (v)", "INSERT INTO still_fulltext VALUES (9,'many a word')")
	r.exec(t, "CREATE TABLE still_empty (id INT) ENGINE=InnoDB", "INSERT INTO still_empty VALUES (1)", "DELETE FROM still_empty")
	still := []string{"still_1", "still_2", "still of-an odd Name", "still_empty", "still_fulltext"}
	copyTablespace(t, r, "t_import")
	r.settle(t)
	a := r.try(t, r.config, nil)
	if a.Evidence.Horizon == 0 {
		t.Fatalf("no horizon: %s", a.Evidence.Why)
	}
	r.exec(t, "INSERT INTO other.t SELECT 1") // so that the whole server does not stand still
	none := r.next(t, a)
	none.mustReuse(t, append(still, "t_import", "t_update", "t_cascade_child")...)
	if why := none.why("t_partitioned"); !strings.Contains(why, "partition") {
		t.Errorf("a partitioned table was read because %q", why)
	}
	var read []string
	for _, k := range all {
		r.exec(t, k.do...)
		read = append(read, k.read...)
	}
	importTablespace(t, r, "t_import")
	// From both, so that a chain of backups is as good as one step.
	for _, former := range []backup{a, none} {
		b := r.next(t, former)
		b.mustReuse(t, still...)
		b.mustRead(t, read...)
		b.mustRead(t, "t_import")
	}
	r.settle(t)
	after := r.next(t, r.try(t, r.config, nil))
	after.mustReuse(t, "t_update", "t_truncate_refill", "t_swap", "t_import", "t_cascade_child", "t_exchange")
}

// copyTablespace keeps a copy of a table's file, changes the table, and
// importTablespace puts the copy in its place.
func copyTablespace(t *testing.T, r *rig, table string) {
	t.Helper()
	config := r.root
	config.Database = "shop"
	c := mysqltest.Connect(t, config)
	run := func(statement string) {
		t.Helper()
		if _, err := c.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	run("FLUSH TABLES " + table + " FOR EXPORT")
	for _, ext := range []string{".ibd", ".cfg"} {
		copyFile(t, filepath.Join(r.server.Dir, "data", "shop", table+ext), filepath.Join(r.server.Dir, table+ext))
	}
	run("UNLOCK TABLES")
	run("UPDATE " + table + " SET v='since'")
}

func importTablespace(t *testing.T, r *rig, table string) {
	t.Helper()
	r.exec(t, "ALTER TABLE "+table+" DISCARD TABLESPACE")
	for _, ext := range []string{".ibd", ".cfg"} {
		copyFile(t, filepath.Join(r.server.Dir, table+ext), filepath.Join(r.server.Dir, "data", "shop", table+ext))
	}
	r.exec(t, "ALTER TABLE "+table+" IMPORT TABLESPACE")
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOpenTransactions holds transactions open across an instant that change
// tables and end after it: the server gives the tables the time of the
// transaction's beginning, before the instant.
func TestOpenTransactions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	names := []string{"wrote_before", "writes_after", "reads_then_writes", "prepared", "detached", "newer", "untouched"}
	r.exec(t, plain(names...)...)
	r.settle(t)
	first := r.try(t, r.config, nil)
	r.exec(t, "INSERT INTO other.t SELECT 1")
	config := r.root
	config.Database = "shop"
	session := func(statements ...string) *mysql.Conn {
		t.Helper()
		c, err := mysql.Connect(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() }) // some are closed already
		run(t, c, statements...)
		return c
	}
	before := session("START TRANSACTION", "UPDATE wrote_before SET v='late'")
	after := session("START TRANSACTION WITH CONSISTENT SNAPSHOT")
	reads := session("START TRANSACTION", "SELECT * FROM untouched LIMIT 0", "SELECT * FROM reads_then_writes FOR UPDATE")
	prepared := session("XA START 'p'", "UPDATE prepared SET v='late'", "XA END 'p'", "XA PREPARE 'p'")
	r.settle(t)
	// The instant between: all is still as it was, and the first can tell.
	a := r.next(t, first)
	a.mustReuse(t, "writes_after", "reads_then_writes", "newer", "untouched")
	r.exec(t, "UPDATE newer SET v='newer'") // is overtaken by an older time
	run(t, before, "UPDATE newer SET v='late' WHERE id=1", "COMMIT")
	run(t, after, "UPDATE writes_after SET v='late'", "COMMIT")
	run(t, reads, "UPDATE reads_then_writes SET v='late'", "COMMIT")
	run(t, prepared, "XA COMMIT 'p'")
	for _, former := range []backup{first, a} {
		b := r.next(t, former)
		b.mustRead(t, "wrote_before", "writes_after", "reads_then_writes", "prepared", "newer")
	}
	// A prepared transaction without a session: nothing can be proven then.
	leave := session("XA START 'd'", "UPDATE detached SET v='late'", "XA END 'd'", "XA PREPARE 'd'")
	if err := leave.Close(); err != nil {
		t.Fatal(err)
	}
	r.settle(t)
	waitDetached(t, r)
	d := r.try(t, r.config, nil)
	if d.Evidence.Horizon != 0 {
		t.Errorf("a horizon of %d while a prepared transaction waits", d.Evidence.Horizon)
	}
	r.exec(t, "XA COMMIT 'd'")
	r.next(t, d).mustRead(t, names...)
	r.settle(t)
	r.next(t, r.try(t, r.config, nil)).mustReuse(t, names...)
}

func run(t *testing.T, c *mysql.Conn, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := c.Query(t.Context(), s); err != nil {
			if _, eerr := c.Exec(t.Context(), s); eerr != nil {
				t.Fatalf("%s: %v", s, eerr)
			}
		}
	}
}

// waitDetached waits until the server has noticed that a session is gone.
func waitDetached(t *testing.T, r *rig) {
	t.Helper()
	for len(r.query(t, "SELECT 1 FROM information_schema.INNODB_TRX WHERE trx_mysql_thread_id=0 AND SLEEP(0.1)=0")) == 0 {
		if t.Context().Err() != nil {
			t.Fatal("the transaction was not left")
		}
	}
}

// TestRestart restarts the server between backups: what it knew of the tables
// is gone, and what it would say must not be taken for what it said.
func TestRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	names := []string{"same", "changed", "recovered", "forgotten"}
	r.exec(t, plain(names...)...)
	r.settle(t)
	a := r.try(t, r.config, nil)
	r.exec(t, "UPDATE changed SET v='z'")
	if err := r.server.Restart(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	b := r.next(t, a)
	b.mustRead(t, names...)
	// Even a server that passes for the same one has forgotten.
	disguised := a
	former := *a.former
	former.Evidence.Server = b.Evidence.Server
	former.Evidence.Server.Connection--
	former.Evidence.Counters = nil
	disguised.former = &former
	r.next(t, disguised).mustRead(t, names...)
	// What is forgotten is no proof even while the server runs: a table whose
	// ALTER failed is forgotten too, and so is a change before that.
	r.settle(t)
	b = r.try(t, r.config, nil)
	r.exec(t, "UPDATE forgotten SET v='z'")
	if err := execute(t, r, "ALTER TABLE forgotten ADD UNIQUE KEY (v), ALGORITHM=INPLACE"); err == nil {
		t.Error("a unique key on equal values was made")
	}
	r.next(t, b).mustRead(t, names...)
	// A transaction that a restart recovers and somebody ends later.
	r.exec(t, "XA START 'r'", "UPDATE recovered SET v='late' WHERE id=1", "XA END 'r'", "XA PREPARE 'r'")
	if err := r.server.Restart(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	r.exec(t, "UPDATE recovered SET v='now' WHERE id=2", "UPDATE same SET v='now' WHERE id=2", "UPDATE changed SET v='now'")
	r.settle(t)
	c := r.try(t, r.config, nil)
	r.exec(t, "XA COMMIT 'r'")
	r.next(t, c).mustRead(t, "recovered")
}

func execute(t *testing.T, r *rig, statement string) error {
	config := r.root
	config.Database = "shop"
	_, err := mysqltest.Connect(t, config).Exec(t.Context(), statement)
	return err
}

// TestAddress: what is reached at another address may be a clone.
func TestAddress(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(t, plain("x")...)
	r.settle(t)
	a := r.try(t, r.config, nil)
	other := r.config
	other.Socket = filepath.Join(t.TempDir(), "s")
	if err := os.Symlink(r.config.Socket, other.Socket); err != nil {
		t.Fatal(err)
	}
	b := r.nextAs(t, other, a)
	b.mustRead(t, "x")
	r.nextAs(t, other, b).mustReuse(t, "x")
}

// TestRights backs up with accounts that may see less.
func TestRights(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(t, plain("x", "y")...)
	r.exec(t, "CREATE TABLE without (id INT) ENGINE=MyISAM", "INSERT INTO without VALUES (1)")
	r.exec(t, "CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES x (id) ON DELETE CASCADE) ENGINE=InnoDB", "INSERT INTO child VALUES (1,1)")
	account := func(name string, grants ...string) mysql.Config {
		statements := []string{"CREATE USER " + name + "@'%' IDENTIFIED BY 'pw-of-a-test'"}
		for _, g := range grants {
			statements = append(statements, "GRANT "+g+" TO "+name+"@'%'")
		}
		mysqltest.ExecOn(t, r.root, statements...)
		c := r.config
		c.User, c.Password = name, secret
		return c
	}
	app := account("app", "SELECT, LOCK TABLES, TRIGGER, SHOW VIEW, EVENT, EXECUTE ON shop.*")
	sees := account("sees", "SELECT, LOCK TABLES ON shop.*", "PROCESS ON *.*")
	reader := account("reader", "SELECT ON shop.*")
	r.settle(t)
	forApp, forSees, forReader := r.try(t, app, nil), r.try(t, sees, nil), r.try(t, reader, nil)
	for _, b := range []backup{forApp, forSees} {
		if b.method != "table-locks" {
			t.Fatalf("consistency by %s", b.method)
		}
	}
	// Nobody writes: the whole server stands still.
	b := r.nextAs(t, app, forApp)
	if r.onMariaDB() {
		b.mustReuse(t, "x", "y")
	} else {
		b.mustRead(t, "x", "y")
	}
	b.mustRead(t, "without")
	b.mustRead(t, "child") // not every server locks the children of what is locked
	b = r.nextAs(t, reader, forReader)
	b.mustRead(t, "x", "y", "child")
	// Somebody writes elsewhere.
	r.exec(t, "INSERT INTO other.t SELECT 1")
	b = r.nextAs(t, app, forApp)
	b.mustRead(t, "x", "y", "child")
	if !strings.Contains(b.why("x"), "PROCESS") {
		t.Errorf("the reason is %q", b.why("x"))
	}
	b = r.nextAs(t, sees, forSees)
	b.mustReuse(t, "x", "y")
	r.exec(t, "UPDATE y SET v='z'")
	b = r.nextAs(t, sees, forSees)
	b.mustReuse(t, "x")
	b.mustRead(t, "y")
}
