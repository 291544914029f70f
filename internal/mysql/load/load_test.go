package load_test

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/corpus"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/load"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

func dumpDatabase(t *testing.T, cfg mysql.Config, prefix string) (*mysqltest.Tree, *dump.Dumped, *dump.Snapshot) {
	t.Helper()
	s, err := dump.Open(t.Context(), dump.Options{Config: cfg, Prefix: prefix, Clock: core.SystemClock{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	tr := mysqltest.NewTree()
	d, err := s.Write(t.Context(), tr, core.NoProgress{})
	if err != nil {
		t.Fatal(err)
	}
	return tr, d, s
}

// roundTrip dumps a database, loads it into another one and compares the two
// with the server's own means.
func roundTrip(t *testing.T, from string, keysAfter bool) string {
	t.Helper()
	tr, d, _ := dumpDatabase(t, mysqltest.Config(t, from), "")
	if len(d.Warnings) > 0 {
		t.Errorf("warnings of the dump: %v", d.Warnings)
	}
	to := mysqltest.Database(t)
	options := load.Options{Config: mysqltest.Config(t, to), Progress: core.NoProgress{}}
	if keysAfter {
		options = options.KeysAfterRows()
	}
	loaded, err := load.Load(t.Context(), d.Index, tr, options)
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded.Warnings) > 0 {
		t.Errorf("warnings of the load: %v", loaded.Warnings)
	}
	if diff := cmp.Diff(mysqltest.Checksum(t, from), mysqltest.Checksum(t, to)); diff != "" {
		t.Errorf("CHECKSUM TABLE EXTENDED differs (-origin +restored):\n%s", diff)
	}
	if diff := cmp.Diff(mysqltest.ShowCreate(t, from), mysqltest.ShowCreate(t, to)); diff != "" {
		t.Errorf("SHOW CREATE differs (-origin +restored):\n%s", diff)
	}
	return to
}

// TestCorpusWithKeysAfterRows loads the hostile databases with every key built
// after the rows that can be. Package corpus has the other ways to load them.
func TestCorpusWithKeysAfterRows(t *testing.T) {
	server, err := mysqltest.Connect(t, mysqltest.Config(t, "")).Server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cases := slices.DeleteFunc(corpus.Cases(), func(c corpus.Case) bool {
		return c.Slow || len(c.Warnings) > 0 || c.Unfit != nil && c.Unfit(server) != ""
	})
	// All are made first: a dump waits for tables that are younger than a second.
	origins := make([]string, len(cases))
	for i, c := range cases {
		origins[i] = mysqltest.Database(t)
		mysqltest.ExecIn(t, origins[i], c.Statements(server)...)
	}
	for i, c := range cases {
		t.Run(c.Name, func(t *testing.T) { roundTrip(t, origins[i], true) })
	}
}

func TestPrefixIsNotAPattern(t *testing.T) {
	from := mysqltest.Database(t)
	mysqltest.ExecIn(t, from, "CREATE TABLE a_mine (id INT)", "CREATE TABLE abmine (id INT)", "CREATE TABLE a_ (id INT)", "CREATE TABLE other (id INT)",
		"CREATE TRIGGER x1 BEFORE INSERT ON a_mine FOR EACH ROW SET NEW.id=1", "CREATE TRIGGER x2 BEFORE INSERT ON abmine FOR EACH ROW SET NEW.id=1")
	_, d, _ := dumpDatabase(t, mysqltest.Config(t, from), "a_")
	var got []string
	for _, tb := range d.Index.Tables {
		got = append(got, tb.Name)
	}
	for _, o := range d.Index.Objects {
		got = append(got, o.Kind+" "+o.Name)
	}
	if diff := cmp.Diff([]string{"a_", "a_mine", "trigger x1"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestDifferenceNamesTableAndChunk(t *testing.T) {
	from := mysqltest.Database(t)
	mysqltest.ExecIn(t, from, "CREATE TABLE x (id INT PRIMARY KEY, v VARCHAR(10))", "INSERT INTO x VALUES (1,'a'),(2,'b')")
	tr, d, _ := dumpDatabase(t, mysqltest.Config(t, from), "")
	chunk := d.Index.Tables[0].Chunks[0].File
	tr.SetFile(chunk, bytes.Replace(tr.File(chunk), []byte("b"), []byte("c"), 1))
	to := mysqltest.Database(t)
	_, err := load.Load(t.Context(), d.Index, tr, load.Options{Config: mysqltest.Config(t, to), Progress: core.NoProgress{}})
	if core.CodeOf(err) != core.CodeDamage || !strings.Contains(err.Error(), "table x") || !strings.Contains(err.Error(), chunk) {
		t.Errorf("got %v", err)
	}
}

func TestEventsOfACopyAreDisabled(t *testing.T) {
	from, to := mysqltest.Database(t), mysqltest.Database(t)
	mysqltest.ExecIn(t, from, "CREATE TABLE base (id INT)", "CREATE EVENT ev ON SCHEDULE EVERY 1 DAY ENABLE COMMENT 'ON COMPLETION PRESERVE ENABLE' DO DELETE FROM base")
	tr, d, _ := dumpDatabase(t, mysqltest.Config(t, from), "")
	if _, err := load.Load(t.Context(), d.Index, tr, load.Options{Config: mysqltest.Config(t, to), Progress: core.NoProgress{}, DisableEvents: true}); err != nil {
		t.Fatal(err)
	}
	rows := mysqltest.Query(t, to, "SELECT STATUS, EVENT_COMMENT FROM information_schema.EVENTS WHERE EVENT_SCHEMA=DATABASE()")
	if len(rows) != 1 || rows[0][0].Text != "DISABLED" || rows[0][1].Text != "ON COMPLETION PRESERVE ENABLE" {
		t.Errorf("got %v", rows)
	}
}
