package consistency

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// change alters the schema in a way that a backup must see, or not mind.
type change struct {
	name string
	do   []string
	trap bool // the server shows other rows, or none, and no error
}

// subjects are the tables and objects that changes are made to: t in the first
// place. a comes before it, z after it.
func subjects() []string {
	table := "(id INT PRIMARY KEY, v VARCHAR(20), w VARCHAR(20)) ENGINE=InnoDB"
	ranges := " PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (2), PARTITION p1 VALUES LESS THAN (100))"
	return []string{
		"CREATE TABLE t " + table, "INSERT INTO t VALUES (1,'one','w1'),(2,'two','w2'),(3,'three','w3')",
		"CREATE TABLE twin " + table, "INSERT INTO twin VALUES (1,'twin','w')",
		"CREATE TABLE p " + table + ranges, "INSERT INTO p VALUES (1,'one','w1'),(2,'two','w2'),(3,'three','w3')",
		"CREATE TABLE pair " + table, "INSERT INTO pair VALUES (9,'pair','w')",
		"CREATE TABLE a (id INT PRIMARY KEY) ENGINE=InnoDB", "INSERT INTO a VALUES (1),(2)",
		"CREATE TABLE z (id INT PRIMARY KEY) ENGINE=InnoDB", "INSERT INTO z VALUES (1),(2)",
		"CREATE TABLE vacant (id INT PRIMARY KEY) ENGINE=InnoDB",
		"CREATE VIEW view1 AS SELECT id, v FROM t",
		"CREATE TRIGGER trigger1 BEFORE UPDATE ON z FOR EACH ROW SET NEW.id=NEW.id",
		"CREATE PROCEDURE procedure1() SELECT 1",
		"CREATE EVENT event1 ON SCHEDULE EVERY 1 DAY STARTS '2020-01-01 00:00:00' DISABLE DO SELECT 1",
	}
}

func changes() []change {
	later := "INSERT INTO t VALUES (9,'later','x')"
	return []change{
		{name: "add column", do: []string{"ALTER TABLE t ADD n INT DEFAULT 7, ALGORITHM=INSTANT", "UPDATE t SET n=8, v='later'"}},
		{name: "add column, copying", do: []string{"ALTER TABLE t ADD n INT DEFAULT 7, ALGORITHM=COPY", "UPDATE t SET n=8, v='later'"}},
		{name: "drop column", do: []string{"ALTER TABLE t DROP w"}},
		{name: "drop and add column", do: []string{"ALTER TABLE t DROP w", "ALTER TABLE t ADD w VARCHAR(20)"}},
		{name: "swap columns", trap: true, do: []string{"ALTER TABLE t CHANGE v w VARCHAR(20), CHANGE w v VARCHAR(20)"}},
		{name: "add index", do: []string{"ALTER TABLE t ADD KEY (v)"}},
		{name: "add and drop index", do: []string{"ALTER TABLE t ADD KEY k (v)", "ALTER TABLE t DROP KEY k"}},
		{name: "force", do: []string{"ALTER TABLE t FORCE"}},
		{name: "optimize", do: []string{"OPTIMIZE TABLE t"}},
		{name: "truncate", do: []string{"TRUNCATE TABLE t"}},
		{name: "truncate and fill", do: []string{"TRUNCATE TABLE t", later}},
		{name: "truncate what is empty", do: []string{"TRUNCATE TABLE vacant", "INSERT INTO vacant VALUES (1)"}},
		{name: "drop", do: []string{"DROP TABLE t"}},
		{name: "drop and create", do: []string{"DROP TABLE t", "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20), w VARCHAR(20)) ENGINE=InnoDB", later}},
		{name: "rename away", do: []string{"RENAME TABLE t TO elsewhere"}},
		{name: "swap", trap: true, do: []string{"RENAME TABLE t TO tmp, twin TO t, tmp TO twin"}},
		{name: "swap twice", do: []string{"RENAME TABLE t TO tmp, twin TO t, tmp TO twin", "RENAME TABLE t TO tmp, twin TO t, tmp TO twin"}},
		{name: "replace by a new one", do: []string{"CREATE TABLE n LIKE t", "INSERT INTO n VALUES (9,'later','x')", "RENAME TABLE t TO o, n TO t", "DROP TABLE o"}},
		{name: "other engine", do: []string{"ALTER TABLE t ENGINE=MyISAM", "UPDATE t SET v='later'"}},
		{name: "new table", do: []string{"CREATE TABLE fresh (id INT)", "INSERT INTO fresh VALUES (1)"}},
		{name: "partition away", do: []string{"ALTER TABLE p REMOVE PARTITIONING"}},
		{name: "truncate partition", trap: true, do: []string{"ALTER TABLE p TRUNCATE PARTITION p1"}},
		{name: "drop partition", do: []string{"ALTER TABLE p DROP PARTITION p1"}},
		{name: "exchange partition", trap: true, do: []string{"ALTER TABLE p EXCHANGE PARTITION p1 WITH TABLE pair"}},
		{name: "rebuild partition", do: []string{"ALTER TABLE p REBUILD PARTITION p1"}},
		{name: "reorganize partition", do: []string{"ALTER TABLE p REORGANIZE PARTITION p1 INTO (PARTITION p1 VALUES LESS THAN (3), PARTITION p2 VALUES LESS THAN (100))"}},
		{name: "other view", do: []string{"CREATE OR REPLACE VIEW view1 AS SELECT id FROM t"}},
		{name: "view gone", do: []string{"DROP VIEW view1"}},
		{name: "new view", do: []string{"CREATE VIEW view2 AS SELECT 1 AS one"}},
		{name: "other trigger", do: []string{"DROP TRIGGER trigger1", "CREATE TRIGGER trigger1 BEFORE UPDATE ON z FOR EACH ROW SET NEW.id=NEW.id+1"}},
		{name: "new trigger", do: []string{"CREATE TRIGGER trigger2 BEFORE INSERT ON t FOR EACH ROW SET NEW.v='triggered'"}},
		{name: "other procedure", do: []string{"DROP PROCEDURE procedure1", "CREATE PROCEDURE procedure1() SELECT 2"}},
		{name: "other event", do: []string{"ALTER EVENT event1 DO SELECT 2"}},
		{name: "new table in place of view", do: []string{"DROP VIEW view1", "CREATE TABLE view1 (id INT)"}},
	}
}

// moments are when a change is begun: after the instant, and when the file of a
// table is begun.
var moments = []string{"", "database/data/a/", "database/data/t/", "database/data/z/"}

// TestChanges makes every change at every moment. The backup is the database of
// the instant, before the change, or it fails and says so.
func TestChanges(t *testing.T) {
	type run struct {
		r        rank
		c        change
		moment   string
		database string
	}
	var runs []run
	for i, r := range ranks(t) {
		for k, c := range changes() {
			for j, moment := range moments {
				// The traps with every account, of the others a fourth, which is another
				// one for each account and moment.
				if os.Getenv(long) == "" && !(c.trap && moment == "") && (i+j+k)%4 != 0 {
					continue
				}
				runs = append(runs, run{r: r, c: c, moment: moment, database: mysqltest.Database(t)})
			}
		}
	}
	t.Run("make", func(t *testing.T) {
		for _, r := range runs {
			t.Run(r.database, func(t *testing.T) {
				t.Parallel()
				mysqltest.ExecIn(t, r.database, subjects()...)
			})
		}
	})
	mysqltest.Exec(t, "SELECT SLEEP(1.1)") // the server tells the age of a table in seconds
	t.Run("all", func(t *testing.T) {
		for _, r := range runs {
			t.Run(fmt.Sprintf("%s/%s/%s", r.r.name, r.c.name, r.moment), func(t *testing.T) {
				t.Parallel()
				changeDuring(t, r.database, as(t, r.database, r.r.grants...), r.c, r.moment)
			})
		}
	})
}

// TestChangesOfFreshTables makes changes in the second in which the tables were made.
func TestChangesOfFreshTables(t *testing.T) {
	for _, name := range []string{"swap", "drop and add column", "exchange partition", "truncate partition", "add and drop index", "truncate and fill"} {
		for _, c := range changes() {
			if c.name == name {
				for _, r := range ranks(t) {
					t.Run(r.name+"/"+name, func(t *testing.T) {
						t.Parallel()
						database := mysqltest.Database(t)
						mysqltest.ExecIn(t, database, subjects()...)
						changeDuring(t, database, as(t, database, r.grants...), c, "")
					})
				}
			}
		}
	}
}

func changeDuring(t *testing.T, database string, config mysql.Config, c change, moment string) {
	want := contents(t, database)
	var changed chan error
	begin := func() {
		if changed == nil {
			changed = make(chan error, 1)
			apply(t, database, c.do, changed)
		}
	}
	opened := func(*dump.Snapshot) {
		if moment == "" {
			begin()
		}
	}
	tree, d, _, err := backup(t, dump.Options{Config: config, Connections: 2}, opened, func(path string) {
		if moment != "" && strings.HasPrefix(path, moment) {
			begin()
		}
	})
	if changed == nil {
		t.Fatalf("the moment did not come: %v", err)
	}
	if err := <-changed; err != nil {
		t.Fatalf("change: %v", err)
	}
	if err != nil {
		if !errors.Is(err, dump.ErrChanged) {
			t.Fatal(err)
		}
		clear(t, err)
		return
	}
	for _, warning := range d.Warnings { // what the account may not read is not in the backup, which says so
		if warning.Code == "unreadable" {
			delete(want, warning.Object)
		}
	}
	if diff := cmp.Diff(want, contents(t, restore(t, tree, d))); diff != "" {
		t.Errorf("the backup is not what was there at its instant (-was +restored):\n%s", diff)
	}
}

// apply runs statements in a session of their own, and returns when they are
// done or wait for a table that the backup has open.
func apply(t *testing.T, database string, statements []string, done chan<- error) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	c, err := mysql.Connect(ctx, mysqltest.Config(t, database))
	if err != nil {
		t.Error(err)
		done <- err
		return
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, s := range append([]string{"SET SESSION lock_wait_timeout=30"}, statements...) {
			if _, err := c.Exec(ctx, s); err != nil {
				done <- errors.Join(fmt.Errorf("%s: %w", s, err), c.Close())
				return
			}
		}
		done <- c.Close()
	}()
	deadline := time.After(limit)
	for {
		select {
		case <-ended:
			return
		case <-deadline:
			t.Error("the change neither ends nor waits")
			return
		default:
		}
		rows := mysqltest.Query(t, "", fmt.Sprintf("SELECT 1 FROM information_schema.PROCESSLIST WHERE ID=%d AND STATE LIKE 'Waiting for%%'", c.ID()))
		if len(rows) > 0 {
			return
		}
	}
}

// contents is what a database holds, by the server's own word.
func contents(t *testing.T, database string) map[string]string {
	t.Helper()
	all := mysqltest.ShowCreate(t, database)
	for table, sum := range mysqltest.Checksum(t, database) {
		all["rows of "+table] = sum
	}
	for name, text := range all {
		all[name] = strings.ReplaceAll(text, "`"+database+"`.", "")
	}
	return all
}

// TestTruncatedAndForgotten truncates tables, and waits until the server has
// forgotten that they are new: MariaDB then shows them as empty to a view that
// is older, without an error.
func TestTruncatedAndForgotten(t *testing.T) {
	if os.Getenv(long) == "" {
		t.Skip("the server takes over a minute to forget a table: make test-consistency")
	}
	s := mysqltest.Start(t, localserver.Options{Name: "forgets", Args: []string{"--table-definition-cache=400", "--table-open-cache=400"}})
	config := mysqltest.ConfigOf(s, "")
	mysqltest.ExecOn(t, config, "CREATE DATABASE forgets", "CREATE DATABASE others")
	others := config
	others.Database = "others"
	config.Database = "forgets"
	var many, look []string
	for i := range 1200 {
		many = append(many, fmt.Sprintf("CREATE TABLE x%d (id INT PRIMARY KEY) ENGINE=InnoDB", i))
		look = append(look, fmt.Sprintf("SELECT * FROM x%d", i))
	}
	mysqltest.ExecOn(t, others, many...)
	look = append(look, "FLUSH TABLES")
	for _, grants := range []string{"ALL ON *.*", "ALL ON forgets.*"} {
		t.Run(grants, func(t *testing.T) {
			mysqltest.ExecOn(t, config, append([]string{"DROP DATABASE forgets", "CREATE DATABASE forgets", "USE forgets"}, subjects()...)...)
			account := config
			account.User = fmt.Sprintf("account%d", len(grants))
			mysqltest.ExecOn(t, config, "CREATE USER "+account.User+"@'%'", "GRANT "+grants+" TO "+account.User+"@'%'", "SELECT SLEEP(1.1)")
			// The tables are seen before, and read after, the change.
			planned := false
			_, d, _, err := backup(t, dump.Options{Config: account, Connections: 1}, nil, func(path string) {
				if planned || !strings.HasPrefix(path, "database/data/") || strings.HasPrefix(path, "database/data/z/") {
					return
				}
				planned = true
				mysqltest.ExecOn(t, config, "TRUNCATE TABLE z", "INSERT INTO z VALUES (9)") // which nothing holds
				for end := time.Now().Add(100 * time.Second); time.Now().Before(end); {
					mysqltest.ExecOn(t, others, look...)
				}
			})
			if !planned {
				t.Fatal("z was read first")
			}
			if err == nil {
				t.Errorf("the backup holds %+v", d.Index.Tables)
			} else if clear(t, err); !errors.Is(err, dump.ErrChanged) {
				t.Error(err)
			}
		})
	}
}
