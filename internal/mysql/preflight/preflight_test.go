package preflight_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/corpus"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/mysql/portable"
	"github.com/backstay/backstay/internal/mysql/preflight"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

// backup dumps a database and returns what a pre-flight is asked of it, with
// the files that it is in.
func backup(t *testing.T, cfg mysql.Config) (preflight.Input, *mysqltest.Tree) {
	t.Helper()
	s, err := dump.Open(t.Context(), dump.Options{Config: cfg, Clock: core.SystemClock{}})
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
	return preflight.Input{Database: d.Database, Index: d.Index, Read: reads(tree)}, tree
}

func reads(tree *mysqltest.Tree) func(context.Context, string) ([]byte, error) {
	return func(_ context.Context, path string) ([]byte, error) { return tree.File(path), nil }
}

// backups keeps what of made, by the statements: a dump waits for tables that
// are younger than a second.
var backups = map[string]preflight.Input{}

// of makes a database by statements and returns its backup.
func of(t *testing.T, statements ...string) (cfg mysql.Config, in preflight.Input) {
	t.Helper()
	cfg = mysqltest.Config(t, mysqltest.Database(t))
	mysqltest.ExecOn(t, cfg, statements...)
	key := strings.Join(statements, ";")
	in, ok := backups[key]
	if !ok {
		in, _ = backup(t, cfg)
		backups[key] = in
	}
	in.Index.Tables = slices.Clone(in.Index.Tables)
	return cfg, in
}

func ask(t *testing.T, cfg mysql.Config, in preflight.Input) *preflight.Report {
	t.Helper()
	r, err := preflight.Ask(t.Context(), cfg, in)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, core.HintOf(err))
	}
	return r
}

// plain says which findings are not fine, as "kind name object".
func plain(r *preflight.Report) []string {
	var out []string
	for _, f := range r.Findings {
		if f.Kind != core.FindingFine {
			out = append(out, string(f.Kind)+" "+f.Name+" "+f.Object)
		}
	}
	return out
}

// wants fails unless the report has this finding, in words.
func wants(t *testing.T, r *preflight.Report, kind core.FindingKind, name, object string, words ...string) {
	t.Helper()
	for _, f := range r.Findings {
		if f.Kind != kind || f.Name != name || object != "" && f.Object != object {
			continue
		}
		for _, w := range words {
			if !strings.Contains(f.Message, w) {
				t.Errorf("%q is not in: %s", w, f.Message)
			}
		}
		if f.Hint == "" && (kind == core.FindingDecision || kind == core.FindingImpossible) {
			t.Errorf("%s %s gives no hint", kind, name)
		}
		return
	}
	t.Errorf("there is no finding %s %s %s among %+v", kind, name, object, r.Findings)
}

// onlyFine fails when the report has a finding that is not fine.
func onlyFine(t *testing.T, r *preflight.Report) {
	t.Helper()
	if diff := cmp.Diff([]string(nil), plain(r)); diff != "" {
		t.Errorf("what is in no way in the way (+): %s%+v", diff, r.Findings)
	}
}

// clean fails when a probe object is left on the shared server.
func clean(t *testing.T) {
	t.Helper()
	for _, query := range []string{
		"SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_NAME LIKE 'backstay|_probe%' ESCAPE '|'",
		"SELECT ROUTINE_SCHEMA, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_NAME LIKE 'backstay|_probe%' ESCAPE '|'",
		"SELECT EVENT_SCHEMA, EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_NAME LIKE 'backstay|_probe%' ESCAPE '|'",
		"SELECT TRIGGER_SCHEMA, TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_NAME LIKE 'backstay|_probe%' ESCAPE '|'",
		"SELECT '', SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'backstay|_probe%' ESCAPE '|'",
	} {
		if left := mysqltest.Query(t, "", query); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// everything has one object of each kind that a right is for.
var everything = []string{
	"CREATE TABLE t (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES t (id))", "INSERT INTO t VALUES (1, NULL)", "CREATE VIEW v AS SELECT id FROM t",
	"CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET @x=1", "CREATE PROCEDURE p() SELECT 1", "CREATE FUNCTION f() RETURNS INT DETERMINISTIC NO SQL RETURN 1",
	"CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' DO SET @x=1",
}

// TestNoFalseAlarm asks of every database of the corpus, but for those that are
// about values, whether it can be restored where it came from.
func TestNoFalseAlarm(t *testing.T) {
	server, err := mysqltest.Connect(t, mysqltest.Config(t, "")).Server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	databases := map[string]string{}
	var cases []corpus.Case
	for _, group := range corpus.Groups() {
		if group.Name != "Values" { // rows are large there, and not asked for
			cases = append(cases, group.Cases...)
		}
	}
	for _, c := range cases {
		if c.Slow || c.Unfit != nil && c.Unfit(server) != "" {
			continue
		}
		databases[c.Name] = mysqltest.Database(t)
		mysqltest.ExecIn(t, databases[c.Name], c.Statements(server)...)
	}
	t.Run("corpus", func(t *testing.T) { // ends when all of it has
		for _, c := range cases {
			name, ok := databases[c.Name]
			if !ok {
				continue
			}
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				cfg := mysqltest.Config(t, name)
				in, _ := backup(t, cfg)
				r := ask(t, cfg, in)
				onlyFine(t, r)
				live := 0
				for _, table := range r.Live {
					if !table.InBackup {
						t.Errorf("table %s is said not to be in the backup", table.Name)
					}
					live++
				}
				if live != len(in.Index.Tables) || !r.Exists {
					t.Errorf("%d tables are live, %d in the backup", live, len(in.Index.Tables))
				}
				var lost []preflight.Object
				for _, view := range c.Lost {
					lost = append(lost, preflight.Object{Kind: "view", Name: view})
				}
				if len(r.Extra) > 0 && !cmp.Equal(lost, r.Extra) {
					t.Errorf("not in the backup: %v", r.Extra)
				}
				in.DryRun, in.Read = true, nil
				onlyFine(t, ask(t, cfg, in))
			})
		}
	})
	clean(t)
}

func TestEverythingIsFine(t *testing.T) {
	cfg, in := of(t, everything...)
	r := ask(t, cfg, in)
	onlyFine(t, r)
	wants(t, r, core.FindingFine, "server-version", "", "as the backup's")
	wants(t, r, core.FindingFine, "rights", cfg.Database, "each was tried")
	wants(t, r, core.FindingFine, "database", cfg.Database, "1 tables")
	wants(t, r, core.FindingFine, "packet-size", "")
	wants(t, r, core.FindingFine, "read-only-server", "")
	wants(t, r, core.FindingFine, "disk-space", "")
	wants(t, r, core.FindingFine, "sessions", cfg.Database)
	wants(t, r, core.FindingFine, "server-mode", "")
	wants(t, r, core.FindingFine, "name-case", "")
	if r.FreeBytes <= 0 || r.NeedsBytes <= 0 || !r.MakesDatabases {
		t.Errorf("free %d, needs %d, makes databases: %v", r.FreeBytes, r.NeedsBytes, r.MakesDatabases)
	}
	clean(t)
	in.DryRun = true
	r = ask(t, cfg, in)
	onlyFine(t, r)
	wants(t, r, core.FindingFine, "rights", cfg.Database, "not tried")
}

func TestDatabaseThatIsNotThere(t *testing.T) {
	cfg, in := of(t, everything...)
	cfg.Database = "not_there"
	r := ask(t, cfg, in)
	onlyFine(t, r)
	wants(t, r, core.FindingFine, "database", "not_there", "will be made")
	wants(t, r, core.FindingFine, "rights", "not_there", "each was tried")
	if r.Exists || len(r.Live) > 0 {
		t.Errorf("exists: %v %v", r.Exists, r.Live)
	}
	account := mysqltest.User(t, "ALL ON not_there.*")
	account.Database = "not_there"
	r = ask(t, account, in)
	wants(t, r, core.FindingRewrite, "definer", "")
	wants(t, r, core.FindingFine, "rights", "not_there", "by its grants")
	account = mysqltest.User(t, "SELECT ON not_there.*")
	account.Database = "not_there"
	wants(t, ask(t, account, in), core.FindingImpossible, "missing-right", "CREATE", "in database not_there")
	clean(t)
}

// TestTakenAway: each object that goes is named, and what the backup may lack
// although it was there is asked about.
func TestTakenAway(t *testing.T) {
	cfg, in := of(t, everything...)
	mysqltest.ExecOn(t, cfg, "CREATE TABLE later (id INT PRIMARY KEY)", "CREATE VIEW w AS SELECT 1", "CREATE PROCEDURE q() SELECT 1", "CREATE FUNCTION g() RETURNS INT RETURN 1",
		"CREATE EVENT later ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1", "CREATE TRIGGER other AFTER INSERT ON t FOR EACH ROW SET @y=1", "CREATE TRIGGER third AFTER INSERT ON later FOR EACH ROW SET @y=1")
	const names = "the backup does not have event later, function g, procedure q, table later, trigger third, view w: they "
	wants(t, ask(t, cfg, in), core.FindingFine, "extra-objects", "", names+"stay; --clean takes them away")
	in.Clean = true
	wants(t, ask(t, cfg, in), core.FindingFine, "extra-objects", "", names+"are taken away, and not kept")
	in.Keep = true
	r := ask(t, cfg, in)
	wants(t, r, core.FindingFine, "extra-objects", "", names+"are taken away, and kept for undo")
	wants(t, r, core.FindingFine, "extra-trigger", "trigger other", "goes with the table t")
	onlyFine(t, r)
	for _, c := range []struct {
		warning core.Warning
		clean   bool
		missed  string // "": nobody needs to be asked
	}{
		{core.Warning{Code: "unreadable", Object: "procedure q"}, true, "procedure q"},
		{core.Warning{Code: "unreadable", Object: "procedure q"}, false, ""},
		{core.Warning{Code: "unreadable", Object: "procedure another"}, true, ""},
		{core.Warning{Code: "unreadable", Object: "function q"}, true, ""},
		{core.Warning{Code: "new-table", Object: "table later"}, true, "table later"},
		{core.Warning{Code: "not-visible", Object: "events"}, true, "event later"},
		{core.Warning{Code: "not-visible", Object: "tables"}, true, "table later, view w"},
		{core.Warning{Code: "not-visible", Object: "triggers"}, true, "trigger other, trigger third"},
		{core.Warning{Code: "not-visible", Object: "triggers"}, false, "trigger other"}, // it goes with its table
		{core.Warning{Code: "empty", Object: "database wiki"}, true, "trigger other, event later, function g, procedure q, table later, trigger third, view w"},
		{core.Warning{Code: "empty", Object: "files"}, true, ""},
		{core.Warning{Code: "unreadable", Object: "/srv/wiki/uploads/a.txt"}, true, ""},
		{core.Warning{Code: "history", Object: "table later"}, true, ""},
	} {
		in.Warnings, in.Clean = []core.Warning{c.warning}, c.clean
		r := ask(t, cfg, in)
		if c.missed == "" {
			onlyFine(t, r)
			continue
		}
		wants(t, r, core.FindingDecision, "incomplete-backup", c.missed, "could not hold everything")
		for _, f := range r.Findings {
			if f.Name == "incomplete-backup" && f.Object != c.missed {
				t.Errorf("%+v: asks about %s, want %s", c.warning, f.Object, c.missed)
			}
		}
	}
	in.Copy, in.Clean = true, true
	for _, f := range ask(t, cfg, in).Findings {
		if f.Name == "extra-objects" || f.Name == "incomplete-backup" {
			t.Errorf("a copy takes nothing away: %+v", f)
		}
	}
}

func TestLiveAndExtra(t *testing.T) {
	cfg, in := of(t, everything...)
	mysqltest.ExecOn(t, cfg, "CREATE TABLE later (id INT PRIMARY KEY) ENGINE=MyISAM", "INSERT INTO later VALUES (1),(2)", "CREATE VIEW w AS SELECT 1", "CREATE PROCEDURE q() SELECT 1",
		"CREATE TRIGGER other AFTER INSERT ON t FOR EACH ROW SET @y=1", "DROP VIEW v", "CREATE TABLE v (id INT PRIMARY KEY)")
	r := ask(t, cfg, in)
	onlyFine(t, r)
	wants(t, r, core.FindingFine, "extra-trigger", "trigger other", "goes with the table t")
	want := []preflight.Object{{Kind: "procedure", Name: "q"}, {Kind: "table", Name: "later"}, {Kind: "trigger", Name: "other"}, {Kind: "view", Name: "w"}}
	if diff := cmp.Diff(want, r.Extra); diff != "" {
		t.Error(diff)
	}
	if len(r.Live) != 3 || r.Live[0].Name != "later" || r.Live[0].InBackup || !r.Live[0].Exact || r.Live[0].Rows != 2 || !r.Live[1].InBackup || r.Live[1].Engine != "InnoDB" || r.Live[1].Bytes == 0 {
		t.Errorf("%+v", r.Live)
	}
	mysqltest.ExecOn(t, cfg, "CREATE TABLE "+mysql.ReservedName("abcdefgh27", "k0001")+" (id INT PRIMARY KEY)")
	if again := ask(t, cfg, in); len(again.Live) != 3 || len(again.Extra) != 4 {
		t.Errorf("what a restore keeps is taken for the app's: %+v", again)
	}
	in.Database.Prefix = "t"
	if r = ask(t, cfg, in); slices.Contains(r.Extra, preflight.Object{Kind: "table", Name: "later"}) {
		t.Error("what is not the app's is said not to be in the backup")
	}
	if slices.Contains(r.Extra, preflight.Object{Kind: "procedure", Name: "q"}) || !slices.Contains(r.Extra, preflight.Object{Kind: "trigger", Name: "other"}) {
		t.Errorf("a routine is the app's by its name, a trigger by its table's: %+v", r.Extra)
	}
	in.Tables = []string{"t"}
	if r = ask(t, cfg, in); r.Extra != nil || len(r.Live) != 3 {
		t.Errorf("%+v", r)
	}
}

func TestLiveCounts(t *testing.T) {
	cfg := mysqltest.Config(t, mysqltest.Database(t))
	mysqltest.ExecOn(t, cfg, "CREATE TABLE a (id INT PRIMARY KEY AUTO_INCREMENT)", "INSERT INTO a VALUES (NULL),(NULL),(NULL)", "INSERT INTO a SELECT NULL FROM a x, a y, a z",
		"CREATE TABLE m (id INT) ENGINE=MyISAM", "INSERT INTO m VALUES (1)", "CREATE VIEW v AS SELECT * FROM a", "CREATE TABLE unasked (id INT)")
	got, err := preflight.LiveCounts(t.Context(), cfg, []string{"a", "m", "v", "gone"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]preflight.Count{"a": {Rows: 30, Exact: true}, "m": {Rows: 1, Exact: true}}, got); diff != "" {
		t.Error(diff)
	}
	got, err = preflight.LiveCounts(t.Context(), cfg, []string{"a", "m"}, time.Nanosecond)
	if err != nil {
		t.Fatal(err)
	}
	if got["a"].Exact || !got["m"].Exact || len(got) != 2 {
		t.Errorf("without time: %v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := preflight.LiveCounts(ctx, cfg, []string{"a"}, time.Minute); core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("cancelled: %v", err)
	}
	cfg.Database = "not_there"
	if got, err := preflight.LiveCounts(t.Context(), cfg, []string{"a"}, time.Minute); err != nil || len(got) > 0 {
		t.Errorf("%v %v", got, err)
	}
}

// planOf makes the plan for the server behind cfg.
func planOf(t *testing.T, cfg mysql.Config, in preflight.Input) (*portable.Plan, *portable.Target) {
	t.Helper()
	cfg.Database = ""
	target, err := portable.Ask(t.Context(), mysqltest.Connect(t, cfg), in.Index)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := portable.Make(t.Context(), portable.Input{Origin: in.Database.Server, Index: in.Index, Tables: in.Tables, Read: in.Read}, target)
	if err != nil {
		t.Fatal(err)
	}
	return plan, &target
}
