package sqlread_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/corpus"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/mysql/sqlcheck"
	"github.com/backstay/backstay/internal/mysql/sqlread"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

// TestLimits: rows and statements that are too long end the reading; long INSERTs of short rows do not.
func TestLimits(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for _, sql := range []string{"INSERT INTO t VALUES (1),('" + long + "');", "CREATE TABLE t (a int COMMENT '" + long + "');"} {
		_, err := everything(strings.NewReader(sql), sqlread.Options{MaxRow: 1 << 16, MaxStatement: 1 << 16})
		if core.CodeOf(err) != core.CodeUnsupported || !strings.Contains(err.Error(), "longer than") {
			t.Errorf("got %v", err)
		}
	}
	var many bytes.Buffer
	many.WriteString("INSERT INTO t VALUES ('x')")
	for range 1 << 18 {
		many.WriteString(",('it\\'s')")
	}
	many.WriteString(";")
	r := sqlread.New(&many, sqlread.Options{MaxRow: 100, MaxStatement: 100})
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	rows := 0
	for {
		if _, err := r.NextRow(); err != nil {
			break
		}
		rows++
	}
	if rows != 1<<18+1 {
		t.Errorf("%d rows", rows)
	}
}

// everything reads a dump into one text: statements and rows, or the error.
func everything(r io.Reader, opt sqlread.Options) (string, error) {
	reader := sqlread.New(r, opt)
	var b strings.Builder
	for {
		st, err := reader.Next()
		if err == io.EOF {
			return b.String(), nil
		}
		if err != nil && hidesQuotes(err.Error()) {
			fmt.Fprintf(&b, "%v\n", err)
			continue
		}
		if err != nil {
			return b.String(), err
		}
		fmt.Fprintf(&b, "%d %d %s %s %s %s %v %q\n", st.Line, st.Offset, st.Kind, st.Object, st.Name, st.Table, st.Columns, st.Text)
		for st.Kind == sqlread.KindInsert {
			row, err := reader.NextRow()
			if err == io.EOF {
				break
			}
			if err != nil {
				return b.String(), err
			}
			fmt.Fprintf(&b, "  %q\n", row)
		}
	}
}

// hidesQuotes says whether text is refused because quotes can hide in it: some
// objects of the corpus are made under such character sets.
func hidesQuotes(message string) bool {
	return strings.Contains(message, "of which only ASCII is read")
}

// chunks reads a few bytes at a time.
type chunks struct {
	r   io.Reader
	rng *rand.Rand
	max int
}

func (c chunks) Read(p []byte) (int, error) {
	return c.r.Read(p[:min(len(p), 1+c.rng.IntN(c.max))])
}

// TestRealDumps: whatever the dump program writes of hostile databases is
// taken, whole, and read the same in any portions; and what the reader gives
// back makes the same database.
func TestRealDumps(t *testing.T) {
	conn := mysqltest.Connect(t, mysqltest.Config(t, ""))
	server, err := conn.Server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for n, c := range cases() {
		t.Run(c.Name, func(t *testing.T) {
			if c.Unfit != nil && c.Unfit(server) != "" {
				t.Skip(c.Unfit(server))
			}
			if c.Slow || c.Packets || len(c.Lost) > 0 {
				t.Skip("it is slow, or no dump program can carry it")
			}
			database := mysqltest.Database(t)
			mysqltest.ExecIn(t, database, c.Statements(server)...)
			for i, options := range variants {
				if (i+n)%3 != 0 && !c.objects {
					continue
				}
				compact := slices.Contains(options, "--compact")
				if compact && len(c.Statements(server)) == 0 {
					continue // there is no statement in such a dump, which may be one that was cut off
				}
				dump := mysqltest.Dump(t, database, options...)
				opt := sqlread.Options{MariaDB: server.Vendor == "mariadb", ServerVersion: server.VersionNumber, Database: database}
				report, err := sqlcheck.Check(t.Context(), bytes.NewReader(dump), opt)
				if err != nil {
					t.Fatal(err)
				}
				report.Problems = slices.DeleteFunc(report.Problems, func(p sqlcheck.Problem) bool { return p.Refused && hidesQuotes(p.Message) })
				want := sqlcheck.WholeYes
				if compact {
					want = sqlcheck.WholeUnknown
				}
				if report.Whole != want || len(report.Problems) > 0 {
					t.Errorf("%v: whole is %s, problems %+v", options, report.Whole, report.Problems)
				}
				at, err := everything(bytes.NewReader(dump), opt)
				if err != nil {
					t.Errorf("%v: %v", options, err)
				}
				if len(dump) > 1<<20 {
					continue
				}
				for name, r := range map[string]io.Reader{
					"1 byte":  iotest.OneByteReader(bytes.NewReader(dump)),
					"chunks":  chunks{bytes.NewReader(dump), rand.New(rand.NewPCG(1, uint64(len(dump)))), 100},
					"DataErr": iotest.DataErrReader(bytes.NewReader(dump)),
				} {
					if got, err := everything(r, opt); err != nil || got != at {
						t.Errorf("%v by %s: %v\n%s", options, name, err, cmp.Diff(at, got))
					}
				}
			}
			if !c.objects {
				return
			}
			dump := mysqltest.Dump(t, database, variants[0]...)
			copied, oracle := mysqltest.Database(t), mysqltest.Database(t)
			byClient(t, oracle, dump)
			load(t, copied, dump, database)
			if diff := cmp.Diff(mysqltest.Checksum(t, oracle), mysqltest.Checksum(t, copied)); diff != "" {
				t.Errorf("what was read makes another database than what the client reads (-client +reader):\n%s", diff)
			}
			if diff := cmp.Diff(mysqltest.ShowCreate(t, oracle), mysqltest.ShowCreate(t, copied)); diff != "" {
				t.Errorf("what was read makes another database than what the client reads (-client +reader):\n%s", diff)
			}
		})
	}
}

// byClient loads a dump with the client that it is meant for.
func byClient(t *testing.T, database string, dump []byte) {
	t.Helper()
	config := mysqltest.Config(t, "")
	cmd := exec.CommandContext(t.Context(), "mariadb", "--no-defaults", "--socket="+config.Socket, "--user="+config.User, "--default-character-set=utf8mb4", "--comments", database)
	cmd.Stdin = bytes.NewReader(dump)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("the client does not load what the dump program wrote: %v: %s", err, out)
	}
}

var variants = [][]string{
	{"--opt", "--routines", "--events", "--triggers"},
	{"--skip-extended-insert", "--hex-blob", "--complete-insert", "--routines", "--events"},
	{"--skip-opt", "--single-transaction", "--no-tablespaces", "--routines"},
	{"--databases", "--add-drop-database", "--routines", "--skip-comments"},
	{"--compact", "--replace", "--insert-ignore", "--routines"},
	{"--no-create-info", "--skip-triggers"},
}

type hostile struct {
	corpus.Case
	objects bool // more than tables: read in all ways, and loaded
}

func cases() []hostile {
	var all []hostile
	for i, g := range corpus.Groups() {
		for _, c := range g.Cases {
			all = append(all, hostile{c, i >= len(corpus.Groups())-2})
		}
	}
	return all
}

// load runs what is read of a dump in a database.
func load(t *testing.T, database string, dump []byte, of string) {
	t.Helper()
	conn := mysqltest.Connect(t, mysqltest.Config(t, database))
	server, err := conn.Server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := sqlread.New(bytes.NewReader(dump), sqlread.Options{MariaDB: server.Vendor == "mariadb", ServerVersion: server.VersionNumber, Database: of})
	run := func(sql string) {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%v\n%.500s", err, sql)
		}
	}
	for {
		st, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		switch st.Kind {
		case sqlread.KindUse, sqlread.KindSkip:
		case sqlread.KindSetSequence:
			if _, err := conn.Query(t.Context(), strings.Replace(st.Text, "DO ", "SELECT ", 1)); err != nil {
				t.Fatal(err)
			}
		case sqlread.KindInsert:
			for {
				row, err := r.NextRow()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				run(st.Text + string(row))
			}
		default:
			run(st.Text)
		}
	}
}
