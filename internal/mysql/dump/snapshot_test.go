package dump_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/load"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

func options(config mysql.Config) dump.Options {
	return dump.Options{Config: config, Clock: core.SystemClock{}}
}

func open(t *testing.T, opt dump.Options) *dump.Snapshot {
	t.Helper()
	s, err := dump.Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func write(t *testing.T, s *dump.Snapshot) (*mysqltest.Tree, *dump.Dumped) {
	t.Helper()
	tree := mysqltest.NewTree()
	d, err := s.Write(t.Context(), tree, core.NoProgress{})
	if err != nil {
		t.Fatal(err)
	}
	return tree, d
}

// restore loads a dump into a new database and returns its name.
func restore(t *testing.T, tree *mysqltest.Tree, d *dump.Dumped) string {
	t.Helper()
	to := mysqltest.Database(t)
	if _, err := load.Load(t.Context(), d.Index, tree, load.Options{Config: mysqltest.Config(t, to), Progress: core.NoProgress{}}); err != nil {
		t.Fatal(err)
	}
	return to
}

// as gives an account with these rights, connected to the database.
func as(t *testing.T, database string, grants ...string) mysql.Config {
	t.Helper()
	for i := range grants {
		grants[i] = strings.ReplaceAll(grants[i], "DB", mysql.QuoteName(database))
	}
	c := mysqltest.User(t, grants...)
	c.Database = database
	return c
}

// busy writes transactions whose tables must agree, on several connections, until the test ends.
func busy(t *testing.T, database string) {
	t.Helper()
	mysqltest.ExecIn(t, database,
		"CREATE TABLE parent (id INT PRIMARY KEY, children INT NOT NULL)", "INSERT INTO parent VALUES (1,0),(2,0),(3,0)",
		"CREATE TABLE child (id INT AUTO_INCREMENT PRIMARY KEY, parent INT NOT NULL, KEY(parent))",
		"CREATE TABLE a (id INT PRIMARY KEY, n INT NOT NULL)", "INSERT INTO a VALUES (1,1000),(2,1000),(3,1000)",
		"CREATE TABLE calm (id INT PRIMARY KEY)", // that nobody writes
		"CREATE TABLE z (id INT PRIMARY KEY, n INT NOT NULL)", "INSERT INTO z VALUES (1,1000),(2,1000),(3,1000)",
	)
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for i := 1; i <= 3; i++ {
		c := mysqltest.Connect(t, mysqltest.Config(t, database))
		writers.Go(func() {
			for ctx.Err() == nil {
				for _, s := range []string{
					"START TRANSACTION",
					fmt.Sprintf("UPDATE a SET n=n-1 WHERE id=%d", i),
					fmt.Sprintf("INSERT INTO child(parent) VALUES (%d),(%d)", i, i),
					fmt.Sprintf("UPDATE z SET n=n+1 WHERE id=%d", i),
					fmt.Sprintf("UPDATE parent SET children=children+2 WHERE id=%d", i),
					"COMMIT",
				} {
					if _, err := c.Exec(ctx, s); err != nil {
						if mysql.Number(err) == 1213 { // against a change of the table; all is undone
							break
						}
						if ctx.Err() == nil {
							t.Errorf("writer: %v", err)
						}
						return
					}
				}
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		writers.Wait()
	})
}

// agree fails the test when a copy of busy's tables is not of one instant.
func agree(t *testing.T, database string) {
	t.Helper()
	for _, r := range mysqltest.Query(t, database, "SELECT p.id, p.children, (SELECT COUNT(*) FROM child WHERE parent=p.id), a.n, z.n FROM parent p JOIN a USING (id) JOIN z USING (id)") {
		var id, children, counted, a, z int
		for i, p := range []*int{&id, &children, &counted, &a, &z} {
			if _, err := fmt.Sscan(r[i].Text, p); err != nil {
				t.Fatal(err)
			}
		}
		if children != counted || a+z != 2000 || children != 2*(z-1000) {
			t.Errorf("parent %d: %d children said, %d there; a %d, z %d", id, children, counted, a, z)
		}
	}
}

// free fails the test when a writer or a change of a table has to wait.
func free(t *testing.T, database string) {
	t.Helper()
	c := mysqltest.Connect(t, mysqltest.Config(t, database))
	for _, q := range []string{
		"SET SESSION lock_wait_timeout=10, innodb_lock_wait_timeout=10",
		"UPDATE a SET n=n WHERE id=1", "ALTER TABLE calm ADD COLUMN added INT", "ALTER TABLE calm DROP COLUMN added",
		"CREATE TABLE made (id INT)", "DROP TABLE made",
	} {
		_, err := c.Exec(t.Context(), q)
		for mysql.Number(err) == 1213 { // MariaDB 11's word for a backup that began meanwhile
			_, err = c.Exec(t.Context(), q)
		}
		if err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

type rung struct {
	name        string
	grants      []string
	method      string
	connections int
	why         []string
}

func rungs(mariaDB bool) []rung {
	best, bestWhy := dump.MethodGlobalReadLock, []string(nil)
	lacking := []string{"global-read-lock: the account lacks the right"}
	if mariaDB {
		best = dump.MethodBackupStage
		lacking = append(lacking, "backup-stage: the account lacks the right")
	}
	everyKind := ", SHOW VIEW, TRIGGER, EVENT, EXECUTE ON DB.*"
	return []rung{
		{"all rights", []string{"ALL ON *.*"}, best, 4, bestWhy},
		{"RELOAD", []string{"RELOAD ON *.*", "SELECT" + everyKind}, best, 4, bestWhy},
		{"LOCK TABLES", []string{"SELECT, LOCK TABLES" + everyKind}, dump.MethodTableLocks, 4, lacking},
		{"SELECT", []string{"SELECT" + everyKind}, dump.MethodSingle, 1, append([]string{"table-locks: the account lacks the right"}, lacking...)},
	}
}

func TestEveryRungShowsOneInstant(t *testing.T) {
	for _, r := range rungs(mysqltest.OnMariaDB(t)) {
		t.Run(r.name, func(t *testing.T) {
			from := mysqltest.Database(t)
			busy(t, from)
			config := as(t, from, r.grants...)
			for range 3 {
				s := open(t, options(config))
				if r.method == dump.MethodTableLocks && s.Consistency.Method == dump.MethodSingle {
					// The writers left no moment for locks that must not make them wait.
					if why := "table-locks: the lock was not granted in time"; !strings.Contains(s.Consistency.Why, why) {
						t.Errorf("%q is not in %q", why, s.Consistency.Why)
					}
				} else if s.Consistency.Method != r.method || s.Consistency.Connections != r.connections {
					t.Fatalf("method %s on %d connections (%s), want %s on %d", s.Consistency.Method, s.Consistency.Connections, s.Consistency.Why, r.method, r.connections)
				}
				for _, why := range r.why {
					if !strings.Contains(s.Consistency.Why, why) {
						t.Errorf("%q is not in %q", why, s.Consistency.Why)
					}
				}
				if r.why == nil && s.Consistency.Why != "" {
					t.Errorf("the best method has a reason: %q", s.Consistency.Why)
				}
				if s.Consistency.FreezeMS > 2000 {
					t.Errorf("writers waited %d ms", s.Consistency.FreezeMS)
				}
				tree, d := write(t, s)
				if len(d.Warnings) > 0 {
					t.Errorf("warnings: %v", d.Warnings)
				}
				agree(t, restore(t, tree, d))
			}
			free(t, from)
		})
	}
}

func TestOneConnectionNeedsNoLock(t *testing.T) {
	from := mysqltest.Database(t)
	busy(t, from)
	opt := options(mysqltest.Config(t, from))
	opt.Connections = 1
	s := open(t, opt)
	if diff := gocmp.Diff(core.Consistency{Method: dump.MethodSingle, Connections: 1, Why: "one connection was asked for"}, s.Consistency); diff != "" {
		t.Error(diff)
	}
	tree, d := write(t, s)
	agree(t, restore(t, tree, d))
}

// TestLocksAreReleased ends snapshots at many points; nobody waits for one after.
func TestLocksAreReleased(t *testing.T) {
	for _, r := range rungs(mysqltest.OnMariaDB(t)) {
		t.Run(r.name, func(t *testing.T) {
			from := mysqltest.Database(t)
			busy(t, from)
			mysqltest.ExecIn(t, from, "CREATE TABLE my (id INT) ENGINE=MyISAM", "INSERT INTO my VALUES (1)")
			config := as(t, from, append(r.grants, "LOCK TABLES ON DB.*")...)
			if r.method == dump.MethodSingle {
				config = as(t, from, r.grants...)
			}
			for _, after := range []time.Duration{0, time.Millisecond, 2 * time.Millisecond, 4 * time.Millisecond, 6 * time.Millisecond, 10 * time.Millisecond, 15 * time.Millisecond, 25 * time.Millisecond} {
				ctx, cancel := context.WithTimeout(t.Context(), after)
				s, err := dump.Open(ctx, options(config))
				if err == nil {
					_, err = s.Write(ctx, mysqltest.NewTree(), core.NoProgress{})
					err = errors.Join(err, s.Close())
				}
				cancel()
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("ended after %s: %v", after, err)
				}
				free(t, from)
				mysqltest.ExecIn(t, from, "SET SESSION lock_wait_timeout=10", "INSERT INTO my VALUES (2)")
			}
			t.Run("while it is open", func(t *testing.T) {
				s := open(t, options(config))
				mysqltest.ExecIn(t, from, "SET SESSION lock_wait_timeout=10", "UPDATE a SET n=n WHERE id=1", "ALTER TABLE calm COMMENT 'x'")
				_ = s
			})
			t.Run("after an error", func(t *testing.T) {
				s := open(t, options(config))
				full := errors.New("the disk is full")
				if _, err := s.Write(t.Context(), fullTree{full}, core.NoProgress{}); !errors.Is(err, full) {
					t.Errorf("got %v", err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				free(t, from)
				mysqltest.ExecIn(t, from, "SET SESSION lock_wait_timeout=10", "INSERT INTO my VALUES (2)")
			})
		})
	}
}

// fullTree takes nothing.
type fullTree struct{ err error }

func (f fullTree) Create(context.Context, string) (core.FileWriter, error)       { return nil, f.err }
func (f fullTree) CreateBlocks(context.Context, string) (core.FileWriter, error) { return nil, f.err }
func (f fullTree) WriteDir(context.Context, []core.Entry) (core.Object, error) {
	return core.Object{}, f.err
}

// TestBusyLocksFallToTheNextRung has somebody hold what a lock must wait for.
// Others wait no longer than LockWait, and the backup goes on in the end.
func TestBusyLocksFallToTheNextRung(t *testing.T) {
	for name, c := range map[string]struct {
		hold    []string // statements of a session that then does nothing
		long    string   // a statement of another session that goes on
		state   string   // which shows as this in the process list
		user    string   // what others do meanwhile
		methods []string // that may come of it
	}{
		"open transaction that has written": {
			hold:    []string{"START TRANSACTION", "UPDATE big SET n=n+1"},
			methods: []string{dump.MethodBackupStage, dump.MethodGlobalReadLock},
		},
		"long SELECT": {
			long:    "SELECT SLEEP(100) FROM big LIMIT 1",
			state:   "User sleep",
			user:    "SELECT COUNT(*) FROM big",
			methods: []string{dump.MethodBackupStage, dump.MethodTableLocks},
		},
		"ALTER that waits": {
			hold:    []string{"START TRANSACTION", "SELECT * FROM big"},
			long:    "ALTER TABLE big ADD COLUMN m INT",
			state:   "Waiting for table metadata lock",
			methods: []string{dump.MethodBackupStage, dump.MethodSingle},
		},
		"table locked for writing": {
			hold:    []string{"LOCK TABLES big WRITE"},
			methods: []string{dump.MethodBackupStage, dump.MethodSingle},
		},
	} {
		t.Run(name, func(t *testing.T) {
			from := mysqltest.Database(t)
			mysqltest.ExecIn(t, from, "CREATE TABLE big (id INT PRIMARY KEY, n INT)", "INSERT INTO big VALUES (1,1),(2,2),(3,3),(4,4),(5,5),(6,6),(7,7),(8,8),(9,9),(10,10),(11,11),(12,12),(13,13),(14,14),(15,15)",
				"CREATE TABLE other (id INT PRIMARY KEY, n INT)", "INSERT INTO other VALUES (1,1)")
			holder, err := mysql.Connect(t.Context(), mysqltest.Config(t, from))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var going sync.WaitGroup
			defer going.Wait()
			defer cancel()
			for _, s := range c.hold {
				if _, err := holder.Exec(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
			kill := []*mysql.Conn{holder}
			if c.long != "" {
				other, err := mysql.Connect(t.Context(), mysqltest.Config(t, from))
				if err != nil {
					t.Fatal(err)
				}
				kill = append(kill, other)
				going.Go(func() { _, _ = other.Exec(ctx, c.long) }) // ends with the test
				waitFor(t, fmt.Sprintf("SELECT 1 FROM information_schema.PROCESSLIST WHERE ID=%d AND STATE=%s AND (TIME >= 1 OR COMMAND <> 'Query')", other.ID(), mysql.QuoteText(c.state)))
			}
			defer func() {
				for _, k := range kill {
					mysqltest.Exec(t, fmt.Sprintf("KILL %d", k.ID()))
				}
				_ = holder.Close()
			}()

			user := mysqltest.Connect(t, mysqltest.Config(t, from))
			var longest atomic.Int64
			going.Go(func() {
				for ctx.Err() == nil {
					start := time.Now()
					if _, err := user.Exec(ctx, cmp.Or(c.user, "UPDATE other SET n=n+1")); err != nil {
						return
					}
					longest.Store(max(longest.Load(), int64(time.Since(start))))
				}
			})
			opt := options(mysqltest.Config(t, from)).WithAttempts(1)
			opt.LockWait = time.Second
			start := time.Now()
			s := open(t, opt)
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("the snapshot took %s", took)
			}
			t.Logf("%s: %s %q, others waited up to %s, in all %s", name, s.Consistency.Method, s.Consistency.Why, time.Duration(longest.Load()), time.Since(start))
			if !strings.Contains(strings.Join(c.methods, " "), s.Consistency.Method) {
				t.Errorf("method %s, want one of %v", s.Consistency.Method, c.methods)
			}
			if s.Consistency.Method == dump.MethodSingle && !strings.Contains(s.Consistency.Why, "not granted in time") {
				t.Errorf("why: %q", s.Consistency.Why)
			}
			start = time.Now()
			if _, err := mysqltest.Connect(t, mysqltest.Config(t, from)).Exec(t.Context(), cmp.Or(c.user, "UPDATE other SET n=n+1")); err != nil {
				t.Error(err)
			}
			longest.Store(max(longest.Load(), int64(time.Since(start))))
			if waited := time.Duration(longest.Load()); waited > opt.LockWait+time.Second {
				t.Errorf("others waited %s", waited)
			}
		})
	}
}

// waitFor waits until a query gives a row.
func waitFor(t *testing.T, query string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c := mysqltest.Connect(t, mysqltest.Config(t, ""))
	for {
		rows, err := c.Query(ctx, query)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) > 0 {
			return
		}
	}
}
