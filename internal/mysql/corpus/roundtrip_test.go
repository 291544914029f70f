package corpus_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/corpus"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/load"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// slowVariable names the environment variable that lets slow cases run.
const slowVariable = "BACKSTAY_TEST_SLOW"

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

// each runs a test for each case that means something to the server. All
// databases are made before the first test: a dump waits for tables that are
// younger than a second.
func each(t *testing.T, slow bool, test func(t *testing.T, c corpus.Case, database string)) {
	conn := mysqltest.Connect(t, mysqltest.Config(t, ""))
	server, err := conn.Server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unfit, databases := map[string]string{}, map[string]string{}
	for _, c := range corpus.Cases() {
		switch {
		case c.Unfit != nil && c.Unfit(server) != "":
			unfit[c.Name] = c.Unfit(server)
		case c.Slow && !slow:
			unfit[c.Name] = "it is slow, and loaded in one way only"
		case c.Slow && os.Getenv(slowVariable) == "":
			unfit[c.Name] = "it is slow; " + slowVariable + "=1 runs it, and so does make test-matrix"
		default:
			databases[c.Name] = mysqltest.Database(t)
			mysqltest.ExecIn(t, databases[c.Name], c.Statements(server)...)
		}
	}
	for _, c := range corpus.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if why := unfit[c.Name]; why != "" {
				t.Skip(why)
			}
			test(t, c, databases[c.Name])
		})
	}
}

// dumped dumps a database.
func dumped(t *testing.T, from mysql.Config) (*mysqltest.Tree, *dump.Dumped) {
	t.Helper()
	s, err := dump.Open(t.Context(), dump.Options{Config: from, Clock: core.SystemClock{}})
	if err != nil {
		t.Fatal(err)
	}
	tree := mysqltest.NewTree()
	d, err := s.Write(t.Context(), tree, core.NoProgress{})
	if closeErr := s.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		t.Fatal(err)
	}
	return tree, d
}

// carry dumps a database and loads it into another one.
func carry(t *testing.T, c corpus.Case, from, to mysql.Config) {
	t.Helper()
	tree, d := dumped(t, from)
	var codes []string
	for _, w := range d.Warnings {
		codes = append(codes, w.Code)
	}
	if diff := cmp.Diff(c.Warnings, codes); diff != "" {
		t.Errorf("warnings of the dump (-want +got):\n%s%v", diff, d.Warnings)
	}
	loaded, err := load.Load(t.Context(), d.Index, tree, load.Options{Config: to, Connections: 2, Progress: core.NoProgress{}})
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, core.HintOf(err))
	}
	var lost []string
	for _, w := range loaded.Warnings {
		lost = append(lost, w.Code+" "+w.Object)
	}
	var want []string
	for _, view := range c.Lost {
		want = append(want, "invalid-view view "+view)
		mysqltest.ExecOn(t, from, "DROP VIEW "+mysql.QuoteName(view))
	}
	if diff := cmp.Diff(want, lost); diff != "" {
		t.Errorf("warnings of the load (-want +got):\n%s%v", diff, loaded.Warnings)
	}
}

func same(t *testing.T, from, to mysql.Config) {
	t.Helper()
	if diff := mysqltest.Diff(t, from, to); diff != "" {
		t.Errorf("the copy differs (-origin +copy):\n%s", diff)
	}
}

func TestRoundTrip(t *testing.T) {
	each(t, true, func(t *testing.T, c corpus.Case, database string) {
		from, to := mysqltest.Config(t, database), mysqltest.Config(t, mysqltest.Database(t))
		carry(t, c, from, to)
		same(t, from, to)
	})
}

func TestRoundTripByInsert(t *testing.T) {
	server := mysqltest.Connect(t, mysqltest.Config(t, ""))
	if _, err := server.Exec(t.Context(), "SET GLOBAL local_infile=0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := server.Exec(context.WithoutCancel(t.Context()), "SET GLOBAL local_infile=1"); err != nil {
			t.Error(err)
		}
	})
	each(t, false, func(t *testing.T, c corpus.Case, database string) {
		if c.Packets {
			t.Skip("an INSERT must fit into max_allowed_packet")
		}
		from, to := mysqltest.Config(t, database), mysqltest.Config(t, mysqltest.Database(t))
		carry(t, c, from, to)
		same(t, from, to)
	})
}

// TestRoundTripElsewhere goes to a server with adverse defaults, and back.
func TestRoundTripElsewhere(t *testing.T) {
	t.Setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
	args := []string{
		"--sql-mode=ANSI_QUOTES,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,PIPES_AS_CONCAT",
		"--character-set-server=ucs2", "--collation-server=ucs2_bin", "--default-storage-engine=MyISAM", "--explicit-defaults-for-timestamp=OFF", "--auto-increment-increment=7",
		"--init-connect=SET NAMES sjis", "--default-time-zone=SYSTEM", "--event-scheduler=ON",
	}
	elsewhere := mysqltest.Start(t, localserver.Options{Name: "elsewhere", Args: args})
	type way struct {
		c           corpus.Case
		from, there mysql.Config
	}
	var ways []way
	each(t, false, func(t *testing.T, c corpus.Case, database string) {
		mysqltest.ExecOn(t, mysqltest.ConfigOf(elsewhere, ""), "CREATE DATABASE "+database)
		w := way{c, mysqltest.Config(t, database), mysqltest.ConfigOf(elsewhere, database)}
		carry(t, c, w.from, w.there)
		same(t, w.from, w.there)
		if c.Lost != nil {
			w.c.Lost, w.c.Warnings = nil, nil // they are lost already
		}
		ways = append(ways, w)
	})
	for _, w := range ways {
		t.Run(w.c.Name, func(t *testing.T) {
			back := mysqltest.Config(t, mysqltest.Database(t))
			carry(t, w.c, w.there, back)
			same(t, w.from, back)
		})
	}
}

// TestVersionsOfNoInstant: a row that was changed twice within a microsecond
// leaves a version that no server lets anybody write.
func TestVersionsOfNoInstant(t *testing.T) {
	if !mysqltest.OnMariaDB(t) {
		t.Skip("it has no system-versioned tables")
	}
	from, to := mysqltest.Config(t, mysqltest.Database(t)), mysqltest.Config(t, mysqltest.Database(t))
	mysqltest.ExecOn(t, from, "SET SESSION timestamp=1700000000.5", "CREATE TABLE t (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING",
		"INSERT INTO t VALUES (1,1),(2,2)", "DELETE FROM t WHERE id=2", "SET SESSION timestamp=1700000001.5", "UPDATE t SET v=2")
	if all := len(versions(t, from)); all != 3 {
		t.Fatalf("the table has %d versions of rows, want 3", all)
	}
	carry(t, corpus.Case{Warnings: []string{"history"}}, from, to)
	if diff := cmp.Diff([]string{"1 1", "1 2"}, versions(t, to)); diff != "" {
		t.Error(diff)
	}
}

func versions(t *testing.T, config mysql.Config) []string {
	t.Helper()
	rows, err := mysqltest.Connect(t, config).Query(t.Context(), "SELECT id, v FROM t FOR SYSTEM_TIME ALL ORDER BY id, v")
	if err != nil {
		t.Fatal(err)
	}
	texts := make([]string, len(rows))
	for i, r := range rows {
		texts[i] = r[0].Text + " " + r[1].Text
	}
	return texts
}

// TestHistoryStaysBehindWithWords: a server that lets nobody write former rows
// gets the present ones, and a warning.
func TestHistoryStaysBehindWithWords(t *testing.T) {
	if !mysqltest.OnMariaDB(t) {
		t.Skip("it has no system-versioned tables")
	}
	strict := mysqltest.Start(t, localserver.Options{Name: "strict", Args: []string{"--secure-timestamp=YES"}})
	mysqltest.ExecOn(t, mysqltest.ConfigOf(strict, ""), "CREATE DATABASE there")
	from, there := mysqltest.Config(t, mysqltest.Database(t)), mysqltest.ConfigOf(strict, "there")
	mysqltest.ExecOn(t, from, "CREATE TABLE t (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING", "INSERT INTO t VALUES (1,1),(2,2)", "UPDATE t SET v=3 WHERE id=2")
	tree, d := dumped(t, from)
	loaded, err := load.Load(t.Context(), d.Index, tree, load.Options{Config: there, Progress: core.NoProgress{}})
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded.Warnings) != 1 || loaded.Warnings[0].Code != "history" || !strings.Contains(loaded.Warnings[0].Message, "1 former") {
		t.Errorf("warnings: %v", loaded.Warnings)
	}
	if diff := cmp.Diff([]string{"1 1", "2 3"}, versions(t, there)); diff != "" {
		t.Error(diff)
	}
}

// TestRowLargerThanThePacket: a server that cannot take a row says which, and
// what would help.
func TestRowLargerThanThePacket(t *testing.T) {
	small := mysqltest.Start(t, localserver.Options{Name: "small", Args: []string{"--max-allowed-packet=1M"}})
	mysqltest.ExecOn(t, mysqltest.ConfigOf(small, ""), "CREATE DATABASE there", "SET GLOBAL local_infile=0")
	from, there := mysqltest.Config(t, mysqltest.Database(t)), mysqltest.ConfigOf(small, "there")
	mysqltest.ExecOn(t, from, "CREATE TABLE t (id INT PRIMARY KEY, v LONGBLOB)", "INSERT INTO t VALUES (1,'x'),(2,REPEAT('y',3*1024*1024))")
	tree, d := dumped(t, from)
	_, err := load.Load(t.Context(), d.Index, tree, load.Options{Config: there, Progress: core.NoProgress{}})
	if core.CodeOf(err) != core.CodeDatabase || !strings.Contains(err.Error(), "table t") || !strings.Contains(core.HintOf(err), "max_allowed_packet") {
		t.Errorf("got %v (hint: %s)", err, core.HintOf(err))
	}
	// By LOAD DATA it goes in all the same.
	mysqltest.ExecOn(t, mysqltest.ConfigOf(small, ""), "SET GLOBAL local_infile=1")
	if _, err := load.Load(t.Context(), d.Index, tree, load.Options{Config: there, Progress: core.NoProgress{}}); err != nil {
		t.Fatal(err)
	}
	same(t, from, there)
}
