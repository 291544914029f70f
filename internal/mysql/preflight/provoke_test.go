package preflight_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/mysql/preflight"
)

// setGlobal sets a variable of the shared server until the test's end.
func setGlobal(t *testing.T, name, value string) {
	t.Helper()
	c, err := mysql.Connect(t.Context(), mysqltest.Config(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := c.Query(t.Context(), "SELECT @@GLOBAL."+name)
	if err == nil {
		_, err = c.Exec(t.Context(), "SET GLOBAL "+name+"="+value)
	}
	if err != nil {
		t.Fatal(err)
	}
	before := rows[0][0].Text
	if rows[0][0].Null {
		before = "NULL"
	} else if strings.Trim(before, "0123456789") != "" {
		before = mysql.QuoteText(before)
	}
	t.Cleanup(func() {
		if _, err := c.Exec(context.WithoutCancel(t.Context()), "SET GLOBAL "+name+"="+before); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// as makes an account with rights on DB and returns how it connects.
func as(t *testing.T, cfg mysql.Config, grants ...string) mysql.Config {
	t.Helper()
	for i := range grants {
		grants[i] = strings.ReplaceAll(grants[i], "DB", mysql.QuoteName(cfg.Database))
	}
	account := mysqltest.User(t, grants...)
	account.Database = cfg.Database
	return account
}

// onlyOn skips a test that one vendor's servers have nothing for.
func onlyOn(t *testing.T, mariaDB bool) {
	t.Helper()
	if mysqltest.OnMariaDB(t) != mariaDB {
		t.Skip("only the other vendor's servers have this")
	}
}

func TestReadOnlyServer(t *testing.T) {
	cfg, in := of(t, everything...)
	account := as(t, cfg, "ALL ON DB.*")
	setGlobal(t, "read_only", "1")
	r := ask(t, account, in)
	wants(t, r, core.FindingImpossible, "read-only-server", "read_only", "is read-only")
	wants(t, r, core.FindingFine, "rights", cfg.Database, "were not tried")
	r = ask(t, cfg, in)
	if diff := cmp.Diff([]string{"decision read-only-server read_only"}, plain(r)); diff != "" {
		t.Error(diff)
	}
	for _, variable := range []string{"innodb_read_only", "super_read_only"} {
		r, err := preflight.AskPretending(t.Context(), cfg, in, map[string]string{variable: "ON"})
		if err != nil {
			t.Fatal(err)
		}
		wants(t, r, core.FindingImpossible, "read-only-server", variable)
	}
	clean(t)
}

func TestReadOnlyTransactions(t *testing.T) {
	cfg, in := of(t, everything...)
	name := "transaction_read_only"
	if mysqltest.OnMariaDB(t) {
		name = "tx_read_only"
	}
	setGlobal(t, name, "1")
	wants(t, ask(t, cfg, in), core.FindingImpossible, "read-only-server", "transaction_read_only")
}

func TestForcedRecovery(t *testing.T) {
	server := mysqltest.Start(t, localserver.Options{Args: []string{"--innodb-force-recovery=1"}})
	_, in := of(t, everything...)
	r := ask(t, mysqltest.ConfigOf(server, "not_there"), in)
	if mysqltest.OnMariaDB(t) {
		wants(t, r, core.FindingDecision, "forced-recovery", "innodb_force_recovery", "innodb_force_recovery=1")
		wants(t, r, core.FindingFine, "rights", "", "each was tried")
		return
	}
	wants(t, r, core.FindingImpossible, "forced-recovery", "innodb_force_recovery", "innodb_force_recovery=1")
	wants(t, r, core.FindingFine, "rights", "", "were not tried")
}

// TestBinaryLog has a server with a binary log, which distrusts those who make
// triggers, does not let the time be chosen, and is a replica.
func TestBinaryLog(t *testing.T) {
	args := []string{"--log-bin=log", "--server-id=7"}
	mariaDB := mysqltest.OnMariaDB(t)
	if mariaDB {
		args = append(args, "--secure-timestamp=YES", "--lower-case-table-names=1")
	}
	server := mysqltest.Start(t, localserver.Options{Args: args})
	cfg := mysqltest.ConfigOf(server, "")
	mysqltest.ExecOn(t, cfg, "CREATE DATABASE d", "CREATE USER u IDENTIFIED BY 'p'", "GRANT ALL ON d.* TO u")
	cfg.Database = "d"
	statements := everything
	if mariaDB {
		statements = append(statements, "CREATE TABLE `Upper` (id INT PRIMARY KEY)", "CREATE TABLE h (id INT PRIMARY KEY) WITH SYSTEM VERSIONING", "INSERT INTO h VALUES (1)", "DELETE FROM h")
	}
	_, in := of(t, statements...)
	account := cfg
	account.User, account.Password = "u", core.NewSecret("p")
	r := ask(t, cfg, in)
	wants(t, r, core.FindingFine, "binary-log", "")
	if mariaDB {
		wants(t, r, core.FindingDecision, "history", "h", "the 1 former ones")
		mysqltest.ExecOn(t, cfg, "CREATE TABLE UPPER (id INT)")
		if r = ask(t, cfg, in); len(r.Live) != 1 || !r.Live[0].InBackup || r.Live[0].BackupName != "Upper" || len(r.Extra) > 0 {
			t.Errorf("names that differ in case only: %+v %+v", r.Live, r.Extra)
		}
	}
	r = ask(t, account, in)
	wants(t, r, core.FindingImpossible, "function-creators", "trigger")
	wants(t, r, core.FindingImpossible, "function-creators", "function")
	in.DryRun = true
	r = ask(t, account, in)
	wants(t, r, core.FindingImpossible, "function-creators", "trigger")
	wants(t, r, core.FindingImpossible, "function-creators", "function")
	in.DryRun = false
	for i := range in.Index.Tables {
		in.Index.Tables[i].Chunks = append(in.Index.Tables[i].Chunks, core.Chunk{Bytes: 1 << 20})
	}
	mysqltest.ExecOn(t, cfg, "SET GLOBAL max_binlog_cache_size=65536")
	wants(t, ask(t, cfg, in), core.FindingImpossible, "transaction-size", "max_binlog_cache_size", "1.0 MiB")
	change := "CHANGE REPLICATION SOURCE TO SOURCE_HOST='nowhere.example'"
	if mariaDB {
		change = "CHANGE MASTER TO MASTER_HOST='nowhere.example'"
	}
	mysqltest.ExecOn(t, cfg, change)
	wants(t, ask(t, cfg, in), core.FindingDecision, "replica", "")
	if !mariaDB {
		wants(t, ask(t, account, in), core.FindingFine, "replica", "", "not known")
	}
}

func TestHistory(t *testing.T) {
	onlyOn(t, true)
	cfg, in := of(t, "CREATE TABLE h (id INT PRIMARY KEY) WITH SYSTEM VERSIONING", "INSERT INTO h VALUES (1)", "DELETE FROM h")
	wants(t, ask(t, cfg, in), core.FindingFine, "history", "h", "1 former rows can be restored")
}

func TestLongDefinition(t *testing.T) {
	cfg, in := of(t, "CREATE TABLE t (id INT PRIMARY KEY)", "CREATE PROCEDURE p() SELECT '"+strings.Repeat("x", 20000)+"'")
	setGlobal(t, "max_allowed_packet", "16384")
	r := ask(t, cfg, in)
	if diff := cmp.Diff([]string{"impossible packet-size procedure p"}, plain(r)); diff != "" {
		t.Error(diff)
	}
}

func TestEngines(t *testing.T) {
	if !mysqltest.OnMariaDB(t) {
		server := mysqltest.Start(t, localserver.Options{Args: []string{"--disabled-storage-engines=MyISAM,Archive"}})
		mysqltest.ExecOn(t, mysqltest.ConfigOf(server, ""), "CREATE DATABASE d")
		_, in := of(t, "CREATE TABLE t (id INT PRIMARY KEY) ENGINE=MyISAM", "CREATE TABLE i (id INT PRIMARY KEY)")
		wants(t, ask(t, mysqltest.ConfigOf(server, "d"), in), core.FindingImpossible, "disabled-engine", "t")
		return
	}
	cfg, in := of(t, "CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TABLE a (id INT PRIMARY KEY) ENGINE=Aria")
	setGlobal(t, "enforce_storage_engine", "Aria")
	wants(t, ask(t, cfg, in), core.FindingRewrite, "enforced-engine", "t", "Aria")
}

func TestTablesWithoutKey(t *testing.T) {
	cfg, in := of(t, "CREATE TABLE keyless (a INT COMMENT 'PRIMARY KEY')", "CREATE TABLE t (id INT PRIMARY KEY)")
	if mysqltest.OnMariaDB(t) {
		setGlobal(t, "innodb_force_primary_key", "1")
	} else {
		setGlobal(t, "sql_require_primary_key", "1")
		onlyFine(t, ask(t, cfg, in)) // root may do without
		cfg = as(t, cfg, "ALL ON DB.*")
	}
	wants(t, ask(t, cfg, in), core.FindingImpossible, "primary-key-required", "keyless")
}

func TestCompressedTables(t *testing.T) {
	onlyOn(t, true)
	cfg, in := of(t, "CREATE TABLE c (id INT PRIMARY KEY) ROW_FORMAT=COMPRESSED", "CREATE TABLE t (id INT PRIMARY KEY COMMENT 'ROW_FORMAT=COMPRESSED')")
	onlyFine(t, ask(t, cfg, in))
	setGlobal(t, "innodb_read_only_compressed", "1")
	wants(t, ask(t, cfg, in), core.FindingImpossible, "compressed-tables", "c")
}

func TestPageSize(t *testing.T) {
	cfg, in := of(t, "CREATE TABLE t (id INT PRIMARY KEY)")
	r, err := preflight.AskPretending(t.Context(), cfg, in, map[string]string{"innodb_page_size": "4096"})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, r, core.FindingFine, "page-size", "innodb_page_size", "4096")
}

func TestEventScheduler(t *testing.T) {
	cfg, in := of(t, everything...)
	setGlobal(t, "event_scheduler", "OFF")
	wants(t, ask(t, cfg, in), core.FindingFine, "event-scheduler", "event_scheduler")
	setGlobal(t, "event_scheduler", "ON")
	for _, f := range ask(t, cfg, in).Findings {
		if f.Name == "event-scheduler" {
			t.Errorf("%+v", f)
		}
	}
}

func TestConnections(t *testing.T) {
	cfg, in := of(t, "CREATE TABLE t (id INT PRIMARY KEY)")
	account := as(t, cfg, "ALL ON DB.*")
	mysqltest.Exec(t, "ALTER USER '"+account.User+"'@'%' WITH MAX_USER_CONNECTIONS 5")
	wants(t, ask(t, account, in), core.FindingDecision, "connections", "", "than the 11")
	in.Connections = 1
	for _, f := range ask(t, account, in).Findings {
		if f.Name == "connections" {
			t.Errorf("%+v", f)
		}
	}
}

func TestMissingRights(t *testing.T) {
	cfg, in := of(t, everything...)
	all := []string{"SELECT", "INSERT", "CREATE", "DROP", "ALTER", "INDEX", "LOCK TABLES", "REFERENCES", "CREATE VIEW", "SHOW VIEW", "TRIGGER", "CREATE ROUTINE", "ALTER ROUTINE", "EVENT"}
	// Routines that are there must be read, for which each server has a right of its own.
	mysqltest.ExecOn(t, cfg, "DROP PROCEDURE p", "DROP FUNCTION f")
	plainAccount := as(t, cfg, strings.Join(all, ", ")+" ON DB.*")
	if got := plain(ask(t, plainAccount, in)); len(got) != 2 || !strings.HasPrefix(got[0], "rewrite definer ") || got[1] != "decision definer-lost live trigger tr" {
		t.Errorf("with all rights: %v", got)
	}
	for _, missing := range all {
		t.Run(missing, func(t *testing.T) {
			var rights []string
			for _, r := range all {
				if r != missing {
					rights = append(rights, r)
				}
			}
			account := as(t, cfg, strings.Join(rights, ", ")+" ON DB.*")
			kind, name := core.FindingImpossible, "missing-right"
			dry := in
			dry.DryRun = true
			if missing == "REFERENCES" && mysqltest.OnMariaDB(t) { // which asks for no such right
				for _, r := range []*preflight.Report{ask(t, account, dry), ask(t, account, in)} {
					wants(t, r, core.FindingFine, "rights", cfg.Database, "may do all")
				}
				return
			}
			wants(t, ask(t, account, dry), kind, name, missing)
			wants(t, ask(t, account, in), kind, name, missing)
		})
	}
	t.Run("wanted", func(t *testing.T) {
		cfg, in := of(t, "CREATE TABLE t (id INT PRIMARY KEY)", "CREATE VIEW v AS SELECT 1 AS a")
		mysqltest.ExecOn(t, cfg, "DROP VIEW v") // one that is there must be read
		account := as(t, cfg, "SELECT, INSERT, CREATE, DROP, ALTER, INDEX, CREATE VIEW ON DB.*")
		for _, in.DryRun = range []bool{true, false} {
			r := ask(t, account, in)
			wants(t, r, core.FindingDecision, "wanted-right", "SHOW VIEW")
			wants(t, r, core.FindingFine, "wanted-right", "LOCK TABLES")
			in.Copy = true
			for _, f := range ask(t, account, in).Findings {
				if f.Name == "wanted-right" || f.Kind != core.FindingFine && f.Name != "definer" {
					t.Errorf("of a copy: %+v", f)
				}
			}
			in.Copy = false
		}
	})
	t.Run("none", func(t *testing.T) {
		wants(t, ask(t, as(t, cfg), in), core.FindingImpossible, "missing-right", "")
	})
	t.Run("by a role", func(t *testing.T) {
		account := as(t, cfg)
		role := "role_of_" + account.User
		mysqltest.Exec(t, "CREATE ROLE "+role, "GRANT ALL ON "+mysql.QuoteName(cfg.Database)+".* TO "+role, "GRANT "+role+" TO '"+account.User+"'@'%'")
		t.Cleanup(func() { drop(t, "DROP ROLE "+role) })
		// A role that is not active gives nothing.
		wants(t, ask(t, account, in), core.FindingImpossible, "missing-right", "")
		if mysqltest.OnMariaDB(t) {
			mysqltest.Exec(t, "SET DEFAULT ROLE "+role+" FOR '"+account.User+"'@'%'")
		} else {
			mysqltest.Exec(t, "SET DEFAULT ROLE "+role+" TO '"+account.User+"'@'%'")
		}
		for _, dryRun := range []bool{true, false} {
			in.DryRun = dryRun
			for _, f := range ask(t, account, in).Findings {
				if f.Kind == core.FindingImpossible || f.Kind == core.FindingDecision && f.Name != "missing-definer" {
					t.Errorf("%+v", f)
				}
			}
		}
	})
	clean(t)
}

func drop(t *testing.T, statement string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	c, err := mysql.Connect(ctx, mysqltest.Config(t, ""))
	if err == nil {
		_, err = c.Exec(ctx, statement)
		_ = c.Close()
	}
	if err != nil {
		t.Error(err)
	}
}

func TestUnreadableRoutines(t *testing.T) {
	cfg, in := of(t, everything...)
	server, err := mysqltest.Connect(t, cfg).Server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rights, right := "ALL", "SELECT ON mysql.proc"
	switch {
	case !server.MariaDB():
		right = "SHOW_ROUTINE ON *.*"
	case server.VersionNumber >= 110301: // where ALL includes it
		rights, right = "SELECT, INSERT, CREATE, DROP, ALTER, INDEX, LOCK TABLES, CREATE VIEW, SHOW VIEW, TRIGGER, EVENT, CREATE ROUTINE, ALTER ROUTINE", "SHOW CREATE ROUTINE ON DB.*"
	}
	account := as(t, cfg, rights+" ON DB.*")
	wants(t, ask(t, account, in), core.FindingImpossible, "unreadable-object", "function f, procedure p")
	for _, f := range ask(t, as(t, cfg, rights+" ON DB.*", right), in).Findings {
		if f.Name == "unreadable-object" {
			t.Errorf("with the right: %+v", f)
		}
	}
	mysqltest.ExecOn(t, cfg, "CREATE PROCEDURE other() SELECT 1", "DROP PROCEDURE p", "DROP FUNCTION f")
	for _, f := range ask(t, account, in).Findings {
		if f.Name == "unreadable-object" {
			t.Errorf("what stays: %+v", f)
		}
	}
	in.Clean = true
	wants(t, ask(t, account, in), core.FindingImpossible, "unreadable-object", "procedure other")
}

func TestDefiners(t *testing.T) {
	const nobody = "DEFINER=`no body`@`where.example`"
	cfg, in := of(t, "CREATE TABLE t (id INT PRIMARY KEY)", "CREATE "+nobody+" TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET @x=1",
		"CREATE "+nobody+" PROCEDURE p() SELECT 1", "CREATE "+nobody+" SQL SECURITY INVOKER VIEW v AS SELECT 1 AS a", "CREATE "+nobody+" VIEW w AS SELECT 1 AS a")
	r := ask(t, cfg, in)
	onlyFine(t, r)
	wants(t, r, core.FindingFine, "missing-definer", "", "do not work now")
	mysqltest.ExecOn(t, cfg, "DROP PROCEDURE p", "DROP VIEW v", "DROP VIEW w")
	r = ask(t, cfg, in)
	wants(t, r, core.FindingFine, "missing-definer", "trigger tr")
	wants(t, r, core.FindingDecision, "missing-definer", "view w, procedure p", "no body@where.example")
	account := as(t, cfg, "ALL ON DB.*")
	wants(t, ask(t, account, in), core.FindingRewrite, "definer", "", "they will run as "+account.User+"@%")
	right := "SET USER ON *.*"
	if !mysqltest.OnMariaDB(t) {
		right = "SET_ANY_DEFINER ON *.*"
	}
	account = as(t, cfg, "ALL ON DB.*", right)
	if mysqltest.OnMariaDB(t) {
		wants(t, ask(t, account, in), core.FindingFine, "missing-definer", "", "not known")
	} else {
		// Those that do not exist need another right.
		mysqltest.Exec(t, "GRANT SELECT ON mysql.user TO '"+account.User+"'@'%'")
		wants(t, ask(t, account, in), core.FindingRewrite, "definer", "")
	}
	mysqltest.Exec(t, "CREATE USER `no body`@`where.example`")
	t.Cleanup(func() { drop(t, "DROP USER `no body`@`where.example`") })
	onlyFine(t, ask(t, cfg, in))
	in.Imported = true
	onlyFine(t, ask(t, cfg, in)) // nobody may do more than root
	// The trigger that is there runs as that account already.
	wants(t, ask(t, account, in), core.FindingDecision, "foreign-definer", "view w, procedure p", "the archive says")
}

func TestFolders(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "placed")
	if err := os.Mkdir(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	if !mysqltest.OnMariaDB(t) { // which wants to know them when it starts
		cfg, in := of(t, "CREATE TABLE t (id INT PRIMARY KEY)")
		in.Read = func(context.Context, string) ([]byte, error) {
			return []byte("CREATE TABLE `t` (\n  `id` int NOT NULL,\n  PRIMARY KEY (`id`)\n) /*!50100 TABLESPACE `innodb_file_per_table` */ ENGINE=InnoDB DATA DIRECTORY='" + folder + "/'"), nil
		}
		wants(t, ask(t, cfg, in), core.FindingFine, "data-directory", "t", "is there")
		account := as(t, cfg, "ALL ON DB.*")
		wants(t, ask(t, account, in), core.FindingImpossible, "data-directory", "t", "FILE")
		_, err := mysqltest.Connect(t, account).Exec(t.Context(), "CREATE TABLE x (id INT PRIMARY KEY) ENGINE=InnoDB DATA DIRECTORY='"+folder+"'")
		if !mysql.AccessDenied(err) {
			t.Errorf("the server says: %v", err)
		}
		return
	}
	cfg, in := of(t, "CREATE TABLE t (id INT PRIMARY KEY COMMENT 'DATA DIRECTORY=''/x''') DATA DIRECTORY='"+folder+"'",
		"CREATE TABLE p (id INT PRIMARY KEY) PARTITION BY HASH (id) (PARTITION a DATA DIRECTORY='"+folder+"', PARTITION b)")
	r := ask(t, cfg, in)
	onlyFine(t, r)
	wants(t, r, core.FindingFine, "data-directory", "p, t", "is there")
	mysqltest.ExecOn(t, cfg, "DROP TABLE t, p")
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	wants(t, ask(t, cfg, in), core.FindingDecision, "data-directory", "p, t", "not there")
	r, err := preflight.AskPretending(t.Context(), cfg, in, map[string]string{"hostname": "elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, r, core.FindingFine, "data-directory", "p, t", "not known")
	wants(t, r, core.FindingFine, "disk-space", "", "not known")
	if r.FreeBytes != -1 {
		t.Errorf("free on another machine: %d", r.FreeBytes)
	}
}

// defined replaces a table's definition in the backup.
func defined(in *preflight.Input, tree *mysqltest.Tree, table, statement string) {
	for _, t := range in.Index.Tables {
		if t.Name == table {
			tree.SetFile(t.Schema, []byte(statement))
		}
	}
}

func TestPlugins(t *testing.T) {
	cfg := mysqltest.Config(t, mysqltest.Database(t))
	mysqltest.ExecOn(t, cfg, "CREATE TABLE t (id INT PRIMARY KEY, x TEXT)")
	in, tree := backup(t, cfg)
	defined(&in, tree, "t", "CREATE TABLE `t` (\n `id` int NOT NULL,\n `x` text,\n PRIMARY KEY (`id`),\n FULLTEXT KEY `x` (`x`) /*!50100 WITH PARSER `no_such` */ \n) ENGINE=InnoDB")
	wants(t, ask(t, cfg, in), core.FindingImpossible, "fulltext-parser", "t", "no_such")
	for _, option := range []string{"`ENCRYPTED`=YES", "ENCRYPTED=YES", "`encrypted`='yes'"} {
		if !mysqltest.OnMariaDB(t) {
			option = "/*!80016 ENCRYPTION='Y' */"
		}
		defined(&in, tree, "t", "CREATE TABLE `t` (\n `id` int NOT NULL COMMENT 'ENCRYPTED=NO',\n PRIMARY KEY (`id`)\n) ENGINE=InnoDB "+option)
		wants(t, ask(t, cfg, in), core.FindingImpossible, "encryption", "t", "no keys")
	}
	defined(&in, tree, "t", "CREATE TABLE `t` (\n `id` int NOT NULL COMMENT '`ENCRYPTED`=YES ENCRYPTION=''Y''',\n PRIMARY KEY (`id`)\n) ENGINE=InnoDB `ENCRYPTED`=NO /*!80016 ENCRYPTION='N' */")
	onlyFine(t, ask(t, cfg, in))
}

func TestTablespace(t *testing.T) {
	onlyOn(t, false)
	mysqltest.Exec(t, "CREATE TABLESPACE `a space` ADD DATAFILE 'a_space.ibd'")
	t.Cleanup(func() { drop(t, "DROP TABLESPACE `a space`") })
	cfg, in := of(t, "CREATE TABLE t (id INT PRIMARY KEY) TABLESPACE `a space`", "CREATE TABLE own (id INT PRIMARY KEY) TABLESPACE innodb_file_per_table")
	r := ask(t, cfg, in)
	onlyFine(t, r)
	wants(t, r, core.FindingFine, "tablespace", "t", "which the server has")
	mysqltest.ExecOn(t, cfg, "DROP TABLE t")
	read := in.Read
	in.Read = func(ctx context.Context, path string) ([]byte, error) {
		text, err := read(ctx, path)
		return []byte(strings.ReplaceAll(string(text), "a space", "another")), err
	}
	wants(t, ask(t, cfg, in), core.FindingImpossible, "tablespace", "t", "does not have")
}

func TestReferencedFromElsewhere(t *testing.T) {
	cfg, in := of(t, "CREATE TABLE `par ent` (id INT PRIMARY KEY)", "CREATE TABLE own (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES `par ent` (id))")
	onlyFine(t, ask(t, cfg, in))
	other := mysqltest.Config(t, mysqltest.Database(t))
	mysqltest.ExecOn(t, other, "CREATE TABLE child (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES "+mysql.QuoteName(cfg.Database)+".`par ent` (id))")
	t.Cleanup(func() { drop(t, "DROP TABLE "+mysql.QuoteName(other.Database)+".child") })
	r := ask(t, cfg, in)
	onlyFine(t, r)
	wants(t, r, core.FindingFine, "referenced-from-elsewhere", "table par ent", other.Database+".child")
	account := as(t, cfg, "ALL ON DB.*", "PROCESS ON *.*")
	wants(t, ask(t, account, in), core.FindingDecision, "referenced-from-elsewhere", "table par ent", other.Database+".child")
	if mysqltest.OnMariaDB(t) { // MySQL tells everybody of keys that he may know of
		wants(t, ask(t, as(t, cfg, "ALL ON DB.*"), in), core.FindingFine, "referenced-from-elsewhere", cfg.Database, "is not known")
	}
	in.Copy = true
	onlyFine(t, ask(t, cfg, in))
	in.Copy, in.Index.Tables = false, in.Index.Tables[:1]
	for _, f := range ask(t, account, in).Findings { // the other table is not replaced
		if f.Name == "referenced-from-elsewhere" {
			t.Errorf("%+v", f)
		}
	}
}

// TestDefinerLost: what is live runs as root, and the account that restores
// could not make it so again.
func TestDefinerLost(t *testing.T) {
	cfg, in := of(t, "CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TABLE u (id INT PRIMARY KEY)", "CREATE VIEW v AS SELECT 1 AS one", "CREATE EVENT same ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' DO SELECT 1",
		"CREATE EVENT ev ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' DO SELECT 1")
	mysqltest.ExecOn(t, cfg, "ALTER EVENT ev DO SELECT 2", "CREATE TRIGGER audit AFTER INSERT ON t FOR EACH ROW SET @x = 1", "CREATE EVENT extra ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' DO SELECT 1",
		"CREATE TABLE stays (id INT)", "CREATE TRIGGER stays AFTER INSERT ON stays FOR EACH ROW SET @x = 1")
	in.Database.Prefix = ""
	account := as(t, cfg, "ALL ON DB.*")
	wants(t, ask(t, account, in), core.FindingDecision, "definer-lost", "live trigger audit, event ev", "run as root@localhost", "neither undo")
	in.Clean = true
	wants(t, ask(t, account, in), core.FindingDecision, "definer-lost", "", "run as root@localhost")
	in.Clean, in.Tables = false, []string{"u"}
	for _, r := range []*preflight.Report{ask(t, account, in), ask(t, cfg, in)} {
		for _, f := range r.Findings {
			if f.Name == "definer-lost" {
				t.Errorf("%+v", f)
			}
		}
	}
}

func TestHeldTables(t *testing.T) {
	cfg, in := of(t, "CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
	c := mysqltest.Connect(t, cfg)
	for _, s := range []string{"BEGIN", "UPDATE t SET id=2"} {
		if _, err := c.Exec(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	// The server lists transactions as they were when somebody asked within 0.1 s.
	if _, err := c.Query(t.Context(), "SELECT SLEEP(0.2)"); err != nil {
		t.Fatal(err)
	}
	r, err := preflight.AskAtOnce(t.Context(), cfg, in)
	if err != nil {
		t.Fatal(err)
	}
	onlyFine(t, r)
	wants(t, r, core.FindingFine, "held-tables", "", fmt.Sprintf("session %d of root@localhost", c.ID()))
	wants(t, r, core.FindingFine, "sessions", cfg.Database, "1 other sessions are")
	if r.OtherSessions != 1 {
		t.Errorf("%d other sessions", r.OtherSessions)
	}
	account := as(t, cfg, "ALL ON DB.*")
	wants(t, ask(t, account, in), core.FindingFine, "sessions", cfg.Database, "0 other sessions of this account")
	// Short ones are none.
	for _, f := range ask(t, cfg, in).Findings {
		if f.Name == "held-tables" {
			t.Errorf("%+v", f)
		}
	}
}

func TestDiskSpace(t *testing.T) {
	cfg, in := of(t, "CREATE TABLE t (id INT PRIMARY KEY)")
	in.Index.Tables[0].Bytes = 1 << 55
	wants(t, ask(t, cfg, in), core.FindingDecision, "disk-space", "", "64.0 PiB")
	in.Index.Tables[0].Bytes = 1 << 20
	// A file system of no size.
	r, err := preflight.AskPretending(t.Context(), cfg, in, map[string]string{"innodb_tmpdir": "/proc"})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, r, core.FindingDecision, "temporary-space", "/proc", "1.0 MiB")
}

func TestServerVersion(t *testing.T) {
	cfg, in := of(t, "CREATE TABLE t (id INT PRIMARY KEY)")
	server := in.Database.Server
	in.Database.Server.Version = "99.1.2"
	wants(t, ask(t, cfg, in), core.FindingRewrite, "server-version", "", "older than")
	in.Database.Server.Version = "5.5.2"
	wants(t, ask(t, cfg, in), core.FindingFine, "server-version", "", "newer than")
	in.Database.Server.Vendor = map[string]string{mysql.MariaDB: mysql.MySQL, mysql.MySQL: mysql.MariaDB}[server.Vendor]
	wants(t, ask(t, cfg, in), core.FindingRewrite, "server-version", "", "cross-restore")
	in.Database.Server = core.DatabaseServer{}
	wants(t, ask(t, cfg, in), core.FindingFine, "server-version", "", "does not say")
}

// TestClusters: no such server is at hand; what its variables mean is known.
func TestClusters(t *testing.T) {
	for _, c := range []struct {
		findings []core.Finding
		want     string
	}{
		{preflight.Galera(map[string]string{"wsrep_on": "OFF"}), ""},
		{preflight.Galera(map[string]string{"wsrep_on": "ON", "wsrep_ready": "ON", "wsrep_cluster_status": "Primary", "wsrep_cluster_size": "3"}), "decision cluster"},
		{preflight.Galera(map[string]string{"wsrep_on": "ON", "wsrep_ready": "OFF", "wsrep_cluster_status": "Primary"}), "impossible cluster-not-ready"},
		{preflight.Galera(map[string]string{"wsrep_on": "ON", "wsrep_ready": "ON", "wsrep_cluster_status": "non-Primary"}), "impossible cluster-not-ready"},
		{preflight.GroupMember(true, "", "", ""), ""},
		{preflight.GroupMember(true, "OFFLINE", "", "0"), ""},
		{preflight.GroupMember(true, "ONLINE", "PRIMARY", "3"), "decision cluster"},
		{preflight.GroupMember(true, "ONLINE", "SECONDARY", "3"), "impossible cluster-not-ready"},
		{preflight.GroupMember(true, "RECOVERING", "SECONDARY", "3"), "impossible cluster-not-ready"},
		{preflight.GroupMember(false, "", "", ""), "decision cluster"},
	} {
		got := ""
		for _, f := range c.findings {
			got += string(f.Kind) + " " + f.Name
			if f.Hint == "" || f.Message == "" {
				t.Errorf("%+v", f)
			}
		}
		if got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}
