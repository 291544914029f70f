package sqlcheck_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/mysql/sqlcheck"
	"github.com/backstay/backstay/internal/mysql/sqlread"
	"github.com/backstay/backstay/internal/mysql/sqlread/remarks"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

func check(t *testing.T, dump string) *sqlcheck.Report {
	t.Helper()
	report, err := sqlcheck.Check(t.Context(), strings.NewReader(dump), sqlread.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// dialects are dumps as programs write them, by the program's name.
func dialects(t *testing.T) map[remarks.Dialect]string {
	t.Helper()
	all := map[remarks.Dialect]string{}
	for _, d := range []remarks.Dialect{
		remarks.DialectITFlow, remarks.DialectPHPMyAdmin, remarks.DialectHeidiSQL,
		remarks.DialectAdminer, remarks.DialectMySQLPump, remarks.DialectMySQLDump,
	} {
		text, err := os.ReadFile(filepath.Join("testdata", string(d)+".sql"))
		if err != nil {
			t.Fatal(err)
		}
		all[d] = string(text)
	}
	return all
}

// TestDialects: dumps of each program are known, whole, and described.
func TestDialects(t *testing.T) {
	for dialect, dump := range dialects(t) {
		t.Run(string(dialect), func(t *testing.T) {
			r := check(t, dump)
			if r.Dialect != dialect || r.Whole != sqlcheck.WholeYes || len(r.Problems) > 0 {
				t.Errorf("%s, whole is %s, problems %+v", r.Dialect, r.Whole, r.Problems)
			}
			if len(r.Tables) != 1 || r.Tables[0].Name != "a" || r.Tables[0].Rows != 2 || !r.Tables[0].Created || r.Rows != 2 {
				t.Errorf("tables: %+v", r.Tables)
			}
			if dialect != remarks.DialectHeidiSQL && r.Time.Format(time.DateOnly) != "2026-11-23" {
				t.Errorf("made at %s (%s)", r.Time, r.TimeText)
			}
			if dialect != remarks.DialectITFlow && r.VersionNumber == 0 {
				t.Error("the server's version is not known")
			}
			if dialect == remarks.DialectITFlow && (r.Objects["view"] != 1 || len(r.Definers) != 1 || r.Definers[0] != "r@h") {
				t.Errorf("objects %v of %v", r.Objects, r.Definers)
			}
		})
	}
}

// TestCutDialects: wherever a dump is cut off before its last statement or
// mark has ended, it is not whole.
func TestCutDialects(t *testing.T) {
	for dialect, dump := range dialects(t) {
		end := len(strings.TrimRight(dump, "\n"))
		if at := strings.Index(dump, "-- Dump end time: "); at >= 0 {
			end = at + len("-- Dump end time:") // the rest is the time
		}
		if at := strings.Index(dump, "-- Dump completed"); at >= 0 {
			end = at + len("-- Dump completed")
		}
		for n := range end {
			r := check(t, dump[:n])
			// Before the head there is nothing to know it by, and older versions of Adminer write no end.
			if r.Whole == sqlcheck.WholeYes || r.Whole == sqlcheck.WholeUnknown && r.Dialect != remarks.DialectUnknown && r.Dialect != remarks.DialectAdminer && strings.Contains(dump[:n], "CREATE TABLE") {
				t.Errorf("%s cut at %d: whole is %s: …%q", dialect, n, r.Whole, dump[max(0, n-60):n])
			}
		}
	}
}

// TestCutRealDump: a dump of the dump program that is cut off anywhere is not whole.
func TestCutRealDump(t *testing.T) {
	database := mysqltest.Database(t)
	mysqltest.ExecIn(t, database,
		"CREATE TABLE a (id int PRIMARY KEY, x text)", "CREATE TABLE b (id int PRIMARY KEY)", "CREATE VIEW v AS SELECT * FROM a",
		"INSERT INTO a VALUES (1,'it''s; -- \\\\'),(2,'/* '),(3,REPEAT('x\\n',1000))",
		"CREATE TRIGGER g BEFORE INSERT ON b FOR EACH ROW BEGIN SET NEW.id = 1; END", "CREATE PROCEDURE p () BEGIN SELECT 1; END")
	for _, options := range [][]string{{"--opt", "--routines"}, {"--opt", "--routines", "--skip-comments"}, {"--skip-opt", "--no-create-info"}} {
		dump := string(mysqltest.Dump(t, database, options...))
		end := len(strings.TrimRight(dump, "\n"))
		if at := strings.LastIndex(dump, "-- Dump completed"); at >= 0 {
			end = at + len("-- Dump completed") // the rest is the time
		}
		places := []int{}
		for i := range end {
			if dump[i] == ';' || dump[i] == '\n' {
				places = append(places, i, i+1)
			}
		}
		rng := rand.New(rand.NewPCG(5, 5))
		for range 300 {
			places = append(places, rng.IntN(end))
		}
		for _, n := range places {
			if n >= end {
				continue
			}
			if r := check(t, dump[:n]); r.Whole == sqlcheck.WholeYes || r.Whole == sqlcheck.WholeUnknown && n > 500 {
				t.Errorf("%v cut at %d of %d: whole is %s: …%q", options, n, len(dump), r.Whole, dump[max(0, n-60):n])
			}
		}
		if r := check(t, dump); r.Whole != sqlcheck.WholeYes || len(r.Problems) > 0 {
			t.Errorf("%v: whole is %s, %+v", options, r.Whole, r.Problems)
		}
	}
}

// TestProblems: what is missing or does not belong there is named, with its line.
func TestProblems(t *testing.T) {
	begin := "-- MariaDB dump 10.19  Distrib 10.11.6-MariaDB\n-- Server version\t10.11.6-MariaDB\nCREATE TABLE a (x int);\n"
	end := "-- Dump completed on 2026-11-23  4:16:20\n"
	for _, c := range []struct {
		dump, want string
		line       int64
	}{
		{begin + "INSERT INTO b VALUES (1);\n" + end, "never created before them", 4},
		{begin + "DROP TABLE IF EXISTS b;\n" + end, "table b is dropped and never created", 4},
		{begin + "-- Table structure for table `b`\n" + end, "table b is announced and never created", 4},
		{begin + "/*!50001 CREATE VIEW `v` AS SELECT\n 1 AS `a` */;\n" + end, "view v has a stand-in", 4},
		{begin + "LOCK TABLES a WRITE;\n" + end, "tables are locked", 4},
		{begin + "START TRANSACTION;\n" + end, "is not committed", 4},
		{begin + "INSERT INTO a VALUES (1);\nDROP TABLE a;\n" + end, "dropped after it was filled", 5},
		{begin + "mysqldump: Error 2013: Lost connection to MySQL server during query when dumping table `b` at row: 5\n" + end, "a message of the program that wrote the dump", 4},
		{begin + "<br />\n<b>Fatal error</b>: Allowed memory size exhausted\n", "text of a web page", 4},
		{begin + end + "\x00\x00\x00\x00", "zero bytes", 5},
		{begin + end + "DROP TABLE IF EXISTS a;\nCREATE TABLE a (x int);\n", "more after the end", 5},
		{begin + "INSERT INTO a VALUES ('x", "ends inside a text", 4},
		{begin + "INSERT INTO a VALUES ('x'", "ends inside an INSERT", 4},
		{begin + "INSERT INTO a VALUES ('x')", "ends inside an INSERT", 4},
		{begin + "INSERT INTO a VALUES ('x'),", "ends inside an INSERT", 4},
		{begin + "INSERT INTO a VALUES", "ends inside", 4},
		{begin + "CREATE TABLE `b", "ends inside a quoted name", 4},
		{begin + "CREATE TABLE b (y int)", "ends inside a statement", 4},
		{begin + "/*!50001 CREATE TABLE b (y int)", "ends inside a versioned comment", 4},
		{begin + "/* x", "ends inside a comment", 4},
		{begin + "CREATE PROCEDURE p () BEGIN SELECT 1;\n", "ends inside a statement", 4},
		{begin, "the end of the dump is missing", 0},
		{"", "there is no statement", 0},
		{begin + "GRANT ALL ON *.* TO x;\n" + end, "a statement that dumps do not have: GRANT ALL ON", 4},
	} {
		r := check(t, c.dump)
		found := false
		for _, p := range r.Problems {
			found = found || strings.Contains(p.Message, c.want) && (p.Line == c.line || strings.Contains(p.Message, fmt.Sprintf("line %d", c.line)))
		}
		if !found || r.Whole == sqlcheck.WholeYes && !r.Problems[0].Refused {
			t.Errorf("%q: whole is %s, problems %+v, want %q at line %d", c.dump[max(0, len(c.dump)-80):], r.Whole, r.Problems, c.want, c.line)
		}
	}
}

// TestCheckEndsWithItsContext: a cancelled check ends with that, and an error of reading is no damage.
func TestCheckEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dump := dialects(t)[remarks.DialectITFlow]
	if _, err := sqlcheck.Check(ctx, strings.NewReader(dump), sqlread.Options{}); core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("got %v", err)
	}
	broken := errors.New("the disk is gone")
	_, err := sqlcheck.Check(t.Context(), &failing{[]byte(dump[:len(dump)/2]), broken}, sqlread.Options{})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

type failing struct {
	data []byte
	err  error
}

func (f *failing) Read(p []byte) (int, error) {
	if len(f.data) == 0 {
		return 0, f.err
	}
	n := copy(p, f.data)
	f.data = f.data[n:]
	return n, nil
}
