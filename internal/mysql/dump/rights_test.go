package dump_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// fullOfObjects makes one object of every kind in the database.
func fullOfObjects(t *testing.T, database string) {
	t.Helper()
	mysqltest.ExecIn(t, database, "CREATE TABLE t (id INT PRIMARY KEY, secret INT)", "INSERT INTO t VALUES (1,2)", "CREATE TABLE u (id INT)",
		"CREATE VIEW v AS SELECT id FROM t", "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.secret=1",
		"CREATE PROCEDURE p() SELECT 1", "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1")
}

func warned(d *dump.Dumped) []string {
	var got []string
	for _, w := range d.Warnings {
		got = append(got, w.Code+" "+w.Object)
	}
	slices.Sort(got)
	return slices.Compact(got)
}

func TestWhatTheAccountCannotSee(t *testing.T) {
	from := mysqltest.Database(t)
	fullOfObjects(t, from)
	sees := []string{"SELECT, SHOW VIEW, TRIGGER, EVENT, EXECUTE ON DB.*"}
	unreadable := []string{"unreadable procedure p"} // its body is for its definer and for those who may read mysql.proc
	all := unreadable
	server, err := mysqltest.Connect(t, mysqltest.Config(t, "")).Server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if server.MariaDB() && server.VersionNumber >= 110301 {
		all = nil // it has a right of its own for that, SHOW CREATE ROUTINE
	}
	underscore := strings.ReplaceAll(from, "_", `\_`)
	for name, c := range map[string]struct {
		grants []string
		want   []string
	}{
		"all":                    {[]string{"ALL ON *.*"}, nil},
		"all of the database":    {[]string{"ALL ON DB.*"}, all},
		"what is needed":         {sees, unreadable},
		"pattern with escapes":   {[]string{"SELECT, SHOW VIEW, TRIGGER, EVENT, EXECUTE ON `" + underscore + "`.*"}, unreadable},
		"pattern with wildcards": {[]string{"SELECT, SHOW VIEW, TRIGGER, EVENT, EXECUTE ON `test\\_%`.*"}, unreadable},
		"no EVENT":               {[]string{"SELECT, SHOW VIEW, TRIGGER, EXECUTE ON DB.*"}, append([]string{"not-visible events"}, unreadable...)},
		"no TRIGGER":             {[]string{"SELECT, SHOW VIEW, EVENT, EXECUTE ON DB.*"}, append([]string{"not-visible triggers"}, unreadable...)},
		"no SHOW VIEW":           {[]string{"SELECT, TRIGGER, EVENT, EXECUTE ON DB.*"}, append(slices.Clone(unreadable), "unreadable view v")},
		"only SELECT":            {[]string{"SELECT ON DB.*"}, []string{"not-visible events", "not-visible functions", "not-visible procedures", "not-visible triggers", "unreadable view v"}},
		"only one table":         {[]string{"SELECT ON DB.u"}, []string{"not-visible events", "not-visible functions", "not-visible procedures", "not-visible tables", "not-visible triggers"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, options(as(t, from, c.grants...)))
			_, d := write(t, s)
			if diff := cmp.Diff(c.want, warned(d)); diff != "" {
				t.Error(diff)
			}
			for _, w := range d.Warnings {
				if w.Message == "" || strings.Contains(w.Message, "\n") {
					t.Errorf("message %q", w.Message)
				}
			}
		})
	}
	t.Run("by a role", func(t *testing.T) {
		config := as(t, from)
		account := "'" + config.User + "'@'%'"
		role := "role_of_" + config.User
		mysqltest.Exec(t, "CREATE ROLE "+role, "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, EXECUTE ON "+from+".* TO "+role, "GRANT "+role+" TO "+account)
		t.Cleanup(func() {
			c, err := mysql.Connect(context.WithoutCancel(t.Context()), mysqltest.Config(t, ""))
			if err == nil {
				_, err = c.Exec(context.WithoutCancel(t.Context()), "DROP ROLE "+role)
				_ = c.Close()
			}
			if err != nil {
				t.Error(err)
			}
		})
		if mysqltest.OnMariaDB(t) {
			mysqltest.Exec(t, "SET DEFAULT ROLE "+role+" FOR "+account)
		} else {
			mysqltest.Exec(t, "SET DEFAULT ROLE "+role+" TO "+account)
		}
		_, d := write(t, open(t, options(config)))
		if diff := cmp.Diff(unreadable, warned(d)); diff != "" {
			t.Error(diff)
		}
	})
}

// TestTablesThatCannotBeRead: a table is whole in the backup, or there is none.
func TestTablesThatCannotBeRead(t *testing.T) {
	from := mysqltest.Database(t)
	fullOfObjects(t, from)
	for name, grants := range map[string][]string{
		"some columns only":  {"SELECT (id) ON DB.t", "SELECT ON DB.u"},
		"no SELECT":          {"INSERT ON DB.t", "SELECT ON DB.u"},
		"no SELECT, no lock": {"INSERT, LOCK TABLES ON DB.*"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := dump.Open(t.Context(), options(as(t, from, grants...)))
			if err == nil {
				_, err = s.Write(t.Context(), mysqltest.NewTree(), core.NoProgress{})
				_ = s.Close()
			}
			wantHint(t, err)
			if !strings.Contains(fmt.Sprint(err), "dump table ") || !strings.Contains(fmt.Sprint(err), "may not read it") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTableThatTheServerCannotOpen(t *testing.T) {
	if !mysqltest.OnMariaDB(t) {
		t.Skip("MySQL keeps definitions elsewhere")
	}
	server := mysqltest.Start(t, localserver.Options{})
	config := mysqltest.ConfigOf(server, "")
	mysqltest.ExecOn(t, config, "CREATE DATABASE d")
	config.Database = "d"
	mysqltest.ExecOn(t, config, "CREATE TABLE fine (id INT)", "CREATE TABLE broken (id INT) ENGINE=MyISAM", "FLUSH TABLES")
	index := filepath.Join(server.Dir, "data", "d", "broken.MYI")
	if err := os.WriteFile(index, []byte("this is no index"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := dump.Open(t.Context(), options(config))
	if err == nil {
		_, err = s.Write(t.Context(), mysqltest.NewTree(), core.NoProgress{})
		_ = s.Close()
	}
	wantHint(t, err)
	if !strings.Contains(fmt.Sprint(err), "broken") {
		t.Errorf("got %v", err)
	}
}

// TestTablesWithoutTransactions: nothing is written to them while they are
// copied, by any method, or a warning names them.
func TestTablesWithoutTransactions(t *testing.T) {
	mariaDB := mysqltest.OnMariaDB(t)
	engines := []string{"MyISAM"}
	if mariaDB {
		engines = append(engines, "Aria")
	}
	for _, r := range rungs(mariaDB) {
		t.Run(r.name, func(t *testing.T) {
			from := mysqltest.Database(t)
			busy(t, from)
			// Every statement of the writer adds a pair to each table.
			for _, e := range engines {
				mysqltest.ExecIn(t, from, "CREATE TABLE pairs_"+e+" (n INT) ENGINE="+e, "INSERT INTO pairs_"+e+" VALUES (0),(0)")
			}
			c := mysqltest.Connect(t, mysqltest.Config(t, from))
			ctx, cancel := context.WithCancel(t.Context())
			var writer sync.WaitGroup
			writer.Go(func() {
				for n := 1; ctx.Err() == nil; n++ {
					for _, e := range engines {
						_, _ = c.Exec(ctx, fmt.Sprintf("INSERT INTO pairs_%s VALUES (%d),(%d)", e, n, n))
					}
				}
			})
			defer writer.Wait()
			defer cancel()
			grants := append([]string{"LOCK TABLES ON DB.*"}, r.grants...)
			locked := r.method != dump.MethodSingle
			if !locked {
				grants = r.grants
			}
			s := open(t, options(as(t, from, grants...)))
			if want := dump.MethodTableLocks; locked && s.Consistency.Method != want {
				t.Errorf("method %s (%s), want %s", s.Consistency.Method, s.Consistency.Why, want)
			}
			tree, d := write(t, s)
			to := restore(t, tree, d)
			agree(t, to)
			if !locked {
				var want []string
				for _, e := range engines {
					want = append(want, "not-locked table pairs_"+e)
				}
				slices.Sort(want)
				if diff := cmp.Diff(want, warned(d)); diff != "" {
					t.Error(diff)
				}
				return
			}
			if len(d.Warnings) > 0 {
				t.Errorf("warnings: %v", d.Warnings)
			}
			if !strings.Contains(s.Consistency.Why, "waited up to") {
				t.Errorf("the wait of the writers is not told: %q", s.Consistency.Why)
			}
			for _, e := range engines {
				if odd := mysqltest.Query(t, to, "SELECT n, COUNT(*) FROM pairs_"+e+" GROUP BY n HAVING COUNT(*) <> 2"); len(odd) > 0 {
					t.Errorf("%s: half a statement: %v", e, odd)
				}
			}
			if len(engines) == 2 { // the writer fills one before the other
				rows := mysqltest.Query(t, to, "SELECT (SELECT COUNT(*) FROM pairs_MyISAM) - (SELECT COUNT(*) FROM pairs_Aria)")
				if diff := rows[0][0].Text; diff != "0" && diff != "2" {
					t.Errorf("the tables are of different moments: %s rows apart", diff)
				}
			}
		})
	}
}
