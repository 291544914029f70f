package sqlwrite_test

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"regexp"
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
	"github.com/backstay/backstay/internal/mysql/sqlcheck"
	"github.com/backstay/backstay/internal/mysql/sqlread"
	"github.com/backstay/backstay/internal/mysql/sqlwrite"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

// stored dumps a database into memory.
func stored(t testing.TB, from mysql.Config) (sqlwrite.Input, *mysqltest.Tree) {
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
	return sqlwrite.Input{Index: d.Index, Database: core.Database{Name: from.Database, Server: s.Server.DatabaseServer}, Source: tree, Warnings: d.Warnings}, tree
}

func options(d sqlwrite.Dialect) sqlwrite.Options {
	return sqlwrite.Options{Dialect: d, Version: "1.2.3", Time: time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)}
}

// written writes twice, with another number of workers, and measures.
func written(t testing.TB, in sqlwrite.Input, d sqlwrite.Dialect) ([]byte, []core.Warning) {
	t.Helper()
	opt := options(d)
	var texts [2]bytes.Buffer
	var warnings []core.Warning
	for i := range texts {
		opt.Workers = 3 - 2*i
		var err error
		if warnings, err = sqlwrite.Write(t.Context(), &texts[i], in, opt); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(texts[0].Bytes(), texts[1].Bytes()) {
		t.Error("two calls wrote different bytes")
	}
	size, err := sqlwrite.Size(t.Context(), in, opt)
	if err != nil {
		t.Fatal(err)
	}
	if size != int64(texts[0].Len()) {
		t.Errorf("Size says %d, Write writes %d", size, texts[0].Len())
	}
	return texts[0].Bytes(), warnings
}

// viaClient feeds a dump to the installed client.
func viaClient(t testing.TB, to mysql.Config, text []byte, args ...string) {
	t.Helper()
	if out, err := clientOutput(t, to, text, args...); err != nil || out != "" {
		t.Fatalf("the client: %v\n%s", err, out)
	}
}

func clientOutput(t testing.TB, to mysql.Config, text []byte, args ...string) (string, error) {
	t.Helper()
	client, err := exec.LookPath("mariadb")
	if err != nil {
		if client, err = exec.LookPath("mysql"); err != nil {
			t.Skip("there is no mariadb or mysql client")
		}
	}
	args = append([]string{"--no-defaults", "--socket=" + to.Socket, "--user=" + to.User, "--default-character-set=utf8mb4"}, append(args, to.Database)...)
	cmd := exec.CommandContext(t.Context(), client, args...)
	cmd.Env = append(os.Environ(), "MYSQL_PWD="+to.Password.Reveal())
	cmd.Stdin = bytes.NewReader(text)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

var delimiterLine = regexp.MustCompile(`(?i)^DELIMITER\s+(.+)$`)

// viaLines feeds a dump to the server as ITFlow's importer does
// (backupImportSql): line by line, over one connection.
func viaLines(t testing.TB, to mysql.Config, text []byte) {
	t.Helper()
	const space = " \t\n\r\x00\x0b"
	conn := mysqltest.Connect(t, to)
	delimiter, statement := ";", ""
	lines := bufio.NewReader(bytes.NewReader(text))
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF && line == "" {
			break
		}
		trimmed := strings.Trim(line, space)
		if trimmed == "" || strings.HasPrefix(trimmed, "--") || strings.HasPrefix(trimmed, "#") {
			continue
		}
		if m := delimiterLine.FindStringSubmatch(trimmed); m != nil {
			delimiter = strings.Trim(m[1], space)
			continue
		}
		if statement == "" {
			statement = line
		} else {
			statement += line
		}
		whole := strings.TrimRight(statement, space)
		if !strings.HasSuffix(whole, delimiter) {
			continue
		}
		if _, err := conn.Exec(t.Context(), strings.TrimSuffix(whole, delimiter)); err != nil {
			t.Fatalf("%v in %.300s", err, whole)
		}
		statement = ""
	}
	if statement != "" {
		t.Fatalf("the dump ends within a statement: %.300s", statement)
	}
}

// each runs a test for each case that means something to the server. All
// databases are made before the first test: a dump waits for tables that are
// younger than a second.
func each(t *testing.T, test func(t *testing.T, c corpus.Case, database string)) {
	server, err := mysqltest.Connect(t, mysqltest.Config(t, "")).Server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mysqltest.Exec(t, "SET GLOBAL max_allowed_packet=1073741824")
	databases := map[string]string{}
	for _, c := range corpus.Cases() {
		if c.Slow || c.Unfit != nil && c.Unfit(server) != "" {
			continue
		}
		databases[c.Name] = mysqltest.Database(t)
		mysqltest.ExecIn(t, databases[c.Name], c.Statements(server)...)
	}
	for _, c := range corpus.Cases() {
		if databases[c.Name] != "" {
			t.Run(c.Name, func(t *testing.T) { test(t, c, databases[c.Name]) })
		}
	}
}

// expected are the warnings of each dialect, "code object", by case.
var expected = map[string]map[string][]string{
	"comments with anything": {
		"mysql":  {"not-carried database"},
		"itop":   {"not-carried database", "comments procedure p", "comments event e"},
		"itflow": {"not-carried database", "not-carried procedure p"},
	},
	"system-versioned tables with their history":  {"": {"not-carried table az", "not-carried table ex", "not-carried table gone", "not-carried table nk", "not-carried table sv"}},
	"system-versioned tables by partitions":       {"": {"not-carried table pi", "not-carried table pt"}},
	"views in a set that lacks letters of theirs": {"": {"not-carried view lacking"}},
	"invalid views": {"": {"not-carried view no_column", "not-carried view no_function", "not-carried view no_table", "not-carried view on_it"}},
	"triggers":      {"itop": {"comments trigger zz"}},
	"routines": {
		"mysql":  {"comments procedure p5"},
		"itop":   {"comments procedure p5", "comments procedure pr"},
		"itflow": {"not-carried procedure pr"},
	},
	"events": {"itop": {"comments event en"}},
	"names and comments in other character sets": {
		"mysql": {"not-carried procedure s\u30bd"},
		"itop":  {"not-carried procedure s\u30bd"},
	},
	"all bytes in blobs of every size": {"": {"large-row table bytes"}},
	"rows larger than a packet":        {"": {"large-row table large"}},
}

func TestCorpus(t *testing.T) {
	each(t, func(t *testing.T, c corpus.Case, database string) {
		from := mysqltest.Config(t, database)
		in, _ := stored(t, from)
		var aside []string
		for _, dialect := range []sqlwrite.Dialect{sqlwrite.DialectMySQL, sqlwrite.DialectITop, sqlwrite.DialectITFlow} {
			if dialect == sqlwrite.DialectITop && len(in.Index.Objects) == 0 {
				continue // the text is DialectMySQL's
			}
			if dialect == sqlwrite.DialectITFlow && c.Packets {
				continue // they take long, and TestMemoryIsBounded knows of pieces
			}
			t.Run(string(dialect), func(t *testing.T) {
				text, warnings := written(t, in, dialect)
				report, err := sqlcheck.Check(t.Context(), bytes.NewReader(text), sqlread.Options{MariaDB: in.Database.Server.Vendor == mysql.MariaDB, ServerVersion: mysql.VersionNumber(in.Database.Server.Version)})
				if err == nil { // the corpus has objects that were made under sjis
					report.Problems = slices.DeleteFunc(report.Problems, func(p sqlcheck.Problem) bool {
						return p.Refused && strings.Contains(p.Message, "of which only ASCII is read")
					})
				}
				if err != nil || report.Whole != sqlcheck.WholeYes || len(report.Problems) > 0 {
					t.Errorf("our own reader: %v, whole %s, %v", err, report.Whole, report.Problems)
				}
				to := mysqltest.Config(t, mysqltest.Database(t))
				switch dialect {
				case sqlwrite.DialectMySQL:
					viaClient(t, to, text, "--comments", "--max-allowed-packet=1G")
				case sqlwrite.DialectITop: // as its restore does, but for the packets
					viaClient(t, to, text, "--max-allowed-packet=1G")
				default:
					viaLines(t, to, text)
				}
				want := expected[c.Name][string(dialect)]
				if want == nil {
					want = expected[c.Name][""]
				}
				if in.Index.Comment == "" && len(want) > 0 && want[0] == "not-carried database" {
					want = append([]string(nil), want[1:]...) // MySQL's have none
				}
				if diff := cmp.Diff(want, setAside(t, warnings, &aside)); diff != "" {
					t.Errorf("warnings (-want +got):\n%s%v", diff, warnings)
				}
				mysqltest.ExecOn(t, from, aside...)
				mysqltest.ExecOn(t, to, aside...)
				sameRows(t, in, to)
				if strings.HasPrefix(c.Name, "system-versioned") {
					return // their former rows are what is missing
				}
				if diff := mysqltest.Diff(t, from, to); diff != "" {
					t.Errorf("the copy differs (-origin +copy):\n%s", diff)
				}
			})
		}
	})
}

// setAside names what warnings are about, and adds what removes it from a database.
func setAside(t *testing.T, warnings []core.Warning, aside *[]string) []string {
	t.Helper()
	var got []string
	for _, w := range warnings {
		if w.Code == sqlwrite.CodeDefiner {
			continue // everything has one; see TestDefiners
		}
		kind, name, _ := strings.Cut(w.Object, " ")
		switch {
		case kind == "database":
			w.Object = kind
			*aside = append(*aside, "ALTER DATABASE COMMENT ''")
		case kind != "table":
			*aside = append(*aside, "DROP "+kind+" IF EXISTS "+mysql.QuoteName(name))
		}
		got = append(got, w.Code+" "+w.Object)
	}
	return got
}

// sameRows compares rows with the checksums of the backup.
func sameRows(t *testing.T, in sqlwrite.Input, to mysql.Config) {
	t.Helper()
	conn := mysqltest.Connect(t, to)
	if _, err := conn.Exec(t.Context(), "SET character_set_results=NULL"); err != nil {
		t.Fatal(err)
	}
	for _, table := range in.Index.Tables {
		if strings.EqualFold(table.Engine, "MRG_MyISAM") {
			continue // it shows the rows of others
		}
		if err := dump.Compare(t.Context(), conn, table, core.NoProgress{}); err != nil {
			t.Errorf("table %s: %v", table.Name, err)
		}
	}
}
