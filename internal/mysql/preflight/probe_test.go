package preflight_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/mysql/preflight"
)

// TestLockedServer has somebody hold the lock on the whole server for which a
// probe must wait.
func TestLockedServer(t *testing.T) {
	cfg, in := of(t, everything...)
	c := mysqltest.Connect(t, mysqltest.Config(t, ""))
	if _, err := c.Exec(t.Context(), "FLUSH TABLES WITH READ LOCK"); err != nil {
		t.Fatal(err)
	}
	r := ask(t, cfg, in)
	if _, err := c.Exec(t.Context(), "UNLOCK TABLES"); err != nil {
		t.Fatal(err)
	}
	wants(t, r, core.FindingImpossible, "server-locked", "")
	clean(t)
}

// waitsForLock returns the id of the session that waits to make a probe.
func waitsForLock(t *testing.T, c *mysql.Conn) string {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		rows, err := c.Query(t.Context(), "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE 'DROP % IF EXISTS `backstay%' AND STATE LIKE 'Waiting%'")
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) > 0 {
			return rows[0][0].Text
		}
	}
	t.Fatal("no probe waits")
	return ""
}

// TestEndedProbe ends a pre-flight in the middle of a probe: nothing is left.
func TestEndedProbe(t *testing.T) {
	cfg, in := of(t, everything...)
	lock := "LOCK TABLES mysql.proc READ" // lets the tables' probes through
	if !mysqltest.OnMariaDB(t) {
		lock = "FLUSH TABLES WITH READ LOCK"
	}
	for name, end := range map[string]func(c *mysql.Conn, cancel func(), id string) error{
		"cancelled": func(_ *mysql.Conn, cancel func(), _ string) error { cancel(); return nil },
		"killed":    func(c *mysql.Conn, _ func(), id string) error { _, err := c.Exec(t.Context(), "KILL "+id); return err },
	} {
		t.Run(name, func(t *testing.T) {
			c := mysqltest.Connect(t, mysqltest.Config(t, ""))
			if _, err := c.Exec(t.Context(), lock); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() {
				_, err := preflight.Ask(ctx, cfg, in)
				ended <- err
			}()
			if err := end(c, cancel, waitsForLock(t, c)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Exec(t.Context(), "UNLOCK TABLES"); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; err == nil {
				t.Error("a pre-flight that was ended gives a report")
			}
			clean(t)
		})
	}
}

// TestAbandonedProbes removes what a killed process left, and nothing else.
func TestAbandonedProbes(t *testing.T) {
	cfg, in := of(t, "CREATE TABLE t (id INT PRIMARY KEY)")
	now := mysqltest.Query(t, "", "SELECT CONV(UNIX_TIMESTAMP()-60,10,16), CONV(UNIX_TIMESTAMP()-7200,10,16)")[0]
	young, old := strings.ToLower(now[0].Text), strings.ToLower(now[1].Text)
	table := func(at string) string { return preflight.ProbePrefix + at + "_abc" }
	mysqltest.ExecOn(t, cfg, "CREATE TABLE "+table(young)+" (id INT)", "CREATE TABLE "+table(old)+" (id INT)", "CREATE TRIGGER "+table(old)+" BEFORE INSERT ON "+table(old)+" FOR EACH ROW SET @x=1",
		"CREATE VIEW "+table(old)+"_v AS SELECT 1", "CREATE PROCEDURE "+table(old)+"() SELECT 1", "CREATE EVENT "+table(old)+" ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1",
		"CREATE DATABASE "+table(old), "CREATE TABLE "+preflight.ProbePrefix+"mine (id INT)")
	r := ask(t, cfg, in)
	onlyFine(t, r)
	if len(r.Extra) > 0 || len(r.Live) != 1 {
		t.Errorf("probes are taken for the app's: %v %v", r.Extra, r.Live)
	}
	left := mysqltest.Query(t, cfg.Database, "SHOW TABLES LIKE 'backstay%'")
	if len(left) != 2 || left[0][0].Text != table(young) || left[1][0].Text != preflight.ProbePrefix+"mine" {
		t.Errorf("left: %v", left)
	}
	mysqltest.ExecOn(t, cfg, "DROP TABLE "+table(young)+", "+preflight.ProbePrefix+"mine")
	clean(t)
}

// TestRefusedDefinition rehearses a definition that the rules let through.
func TestRefusedDefinition(t *testing.T) {
	cfg := mysqltest.Config(t, mysqltest.Database(t))
	mysqltest.ExecOn(t, cfg, "CREATE TABLE t (id INT PRIMARY KEY)")
	in, tree := backup(t, cfg)
	other := mysql.MySQL
	if !mysqltest.OnMariaDB(t) {
		other = mysql.MariaDB
	}
	in.Database.Server.Vendor, in.Database.Server.Version = other, "11.0.1"
	defined(&in, tree, "t", "CREATE TABLE `t` (\n  `id` int NOT NULL,\n  `j` json,\n  `k` nosuchtype,\n  `x` int DEFAULT (1+1)\n) ENGINE=Aria")
	plan, target := planOf(t, cfg, in)
	in.Plan, in.Target = plan, target
	wants(t, ask(t, cfg, in), core.FindingImpossible, "definition-refused", "table t")
	clean(t)
	cfg.Database = "not_there"
	wants(t, ask(t, cfg, in), core.FindingImpossible, "definition-refused", "table t")
	clean(t)
}

// TestManyTables: what is asked takes no longer for being asked of many tables.
func TestManyTables(t *testing.T) {
	cfg := mysqltest.Config(t, mysqltest.Database(t))
	const tables = 1000
	var statements []string
	for i := range tables {
		statements = append(statements, fmt.Sprintf("CREATE TABLE t%d (id INT PRIMARY KEY) ENGINE=MyISAM", i))
	}
	mysqltest.ExecOn(t, cfg, statements...)
	in := preflight.Input{Read: func(context.Context, string) ([]byte, error) { return []byte("CREATE TABLE `x` (`id` int)"), nil }}
	for i := range tables {
		in.Index.Tables = append(in.Index.Tables, core.Table{Name: fmt.Sprintf("t%d", i), Engine: "MyISAM", Schema: fmt.Sprintf("database/schema/t%d", i)})
	}
	begin := time.Now()
	r := ask(t, cfg, in)
	took := time.Since(begin)
	t.Logf("%d tables: %s", tables, took)
	onlyFine(t, r)
	if len(r.Live) != tables {
		t.Errorf("%d tables are live", len(r.Live))
	}
	if took > 10*time.Second { // 0.3 s on two processors of their own
		t.Errorf("it took %s", took)
	}
}

func TestServerThatIsNotThere(t *testing.T) {
	cfg := mysql.Config{Socket: "/nonexistent/socket", User: "u", Database: "d"}
	if _, err := preflight.Ask(t.Context(), cfg, preflight.Input{}); core.CodeOf(err) != core.CodeDatabase || core.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	if _, err := preflight.LiveCounts(t.Context(), cfg, nil, time.Second); core.CodeOf(err) != core.CodeDatabase {
		t.Errorf("%v", err)
	}
}

// TestUnreadableBackup: what cannot be read is an error, not a guess.
func TestUnreadableBackup(t *testing.T) {
	cfg, in := of(t, "CREATE TABLE t (id INT PRIMARY KEY)")
	in.Read = func(_ context.Context, path string) ([]byte, error) {
		return nil, &core.Error{Code: core.CodeDamage, Op: "read " + path, Message: "damaged"}
	}
	if _, err := preflight.Ask(t.Context(), cfg, in); core.CodeOf(err) != core.CodeDamage {
		t.Errorf("%v", err)
	}
}

func TestMasked(t *testing.T) {
	for statement, want := range map[string]string{
		"a 'b' `c``d` \"e\"": "a \x010\x01 \x011\x01\x012\x01 \x013\x01",
		`'it''s' x`:          "\x010\x01\x011\x01 x",
		`'a\'b' x`:           "\x010\x01 x",
		"`a\\` x":            "\x010\x01 x",
		"'open":              "\x010\x01",
		`'open\`:             "\x010\x01",
		"":                   "",
	} {
		got, quoted := preflight.Quoted(statement)
		if got != want {
			t.Errorf("%s becomes %q (%q)", statement, got, quoted)
		}
	}
}

// TestRefusingServer makes an engine of all tables that takes no keys.
func TestRefusingServer(t *testing.T) {
	cfg, in := of(t, "CREATE TABLE t (id INT PRIMARY KEY)")
	if mysqltest.OnMariaDB(t) {
		setGlobal(t, "enforce_storage_engine", "CSV")
	} else {
		setGlobal(t, "default_storage_engine", "CSV")
	}
	r := ask(t, cfg, in)
	wants(t, r, core.FindingImpossible, "server-refuses", "CREATE")
	clean(t)
}

// TestSlowCatalogue has the server not say in time what is in the database.
func TestSlowCatalogue(t *testing.T) {
	onlyOn(t, true) // MySQL lets nobody hold its dictionary
	cfg, in := of(t, everything...)
	c := mysqltest.Connect(t, mysqltest.Config(t, ""))
	if _, err := c.Exec(t.Context(), "LOCK TABLES mysql.proc WRITE"); err != nil {
		t.Fatal(err)
	}
	in.DryRun = true
	r := ask(t, cfg, in)
	onlyFine(t, r)
	wants(t, r, core.FindingFine, "live-size", cfg.Database, "not wholly known")
}
