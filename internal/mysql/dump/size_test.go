package dump_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// TestSlices reads a table in many slices, with keys at the edges of their type.
func TestSlices(t *testing.T) {
	for name, c := range map[string]struct{ kind, keys string }{
		"signed":          {"BIGINT", "(-9223372036854775808,''),(9223372036854775807,''),(0,''),(-1,'')"},
		"unsigned":        {"BIGINT UNSIGNED", "(0,''),(18446744073709551615,''),(9223372036854775808,''),(9223372036854775807,'')"},
		"ordinary":        {"INT AUTO_INCREMENT", "(1,'')"},
		"one key":         {"INT", "(5,'')"},
		"composite":       {"INT, k2 INT NOT NULL DEFAULT 3", "(1,'')"},
		"small and zerof": {"TINYINT UNSIGNED ZEROFILL", "(0,''),(255,''),(7,'')"},
		"far away":        {"BIGINT", "(1,''),(9223372036854775807,'')"},
		"decimal":         {"DECIMAL(20,5)", "(-1000000.5,''),(3.14159,''),(0,''),(-7.5,''),(100.001,''),(2000000,'')"},
		"binary":          {"BINARY(20)", "('','')"},
		"hash":            {"CHAR(40) CHARACTER SET utf8mb4", "('00','')"},
		"upper case hash": {"VARCHAR(64) CHARACTER SET latin1 COLLATE latin1_bin", "('00','')"},
		"text":            {"VARCHAR(64)", "('Zürich',''),('été',''),('',''),('0','')"},
	} {
		t.Run(name, func(t *testing.T) {
			from := mysqltest.Database(t)
			key := "id"
			if name == "composite" {
				key = "id, k2"
			}
			mysqltest.ExecIn(t, from, "CREATE TABLE t (id "+c.kind+", v VARCHAR(100), PRIMARY KEY ("+key+"))", "INSERT INTO t(id,v) VALUES "+c.keys)
			for i := range 10 {
				switch name {
				case "ordinary", "composite":
					mysqltest.ExecIn(t, from, "INSERT INTO t(id,v) SELECT (SELECT MAX(id) FROM t)+id, REPEAT(id,9) FROM t")
				case "far away": // all but one in the lowest 2^-53 of the range
					mysqltest.ExecIn(t, from, "INSERT INTO t(id,v) SELECT "+strconv.Itoa(1<<i)+"+id, REPEAT(id,9) FROM t WHERE id < 2000")
				case "binary":
					mysqltest.ExecIn(t, from, "INSERT INTO t(id,v) SELECT LEFT(UNHEX(SHA2(CONCAT(id,"+strconv.Itoa(i)+"),256)),20), 'some text' FROM t")
				case "hash":
					mysqltest.ExecIn(t, from, "INSERT INTO t(id,v) SELECT LEFT(SHA2(CONCAT(id,"+strconv.Itoa(i)+"),256),40), 'some text' FROM t")
				case "upper case hash":
					mysqltest.ExecIn(t, from, "INSERT INTO t(id,v) SELECT UPPER(SHA2(CONCAT(id,"+strconv.Itoa(i)+"),256)), 'some text' FROM t")
				}
			}
			mysqltest.ExecIn(t, from, "ANALYZE TABLE t")
			s := open(t, options(mysqltest.Config(t, from)).WithSliceBytes(4096))
			tree, d := write(t, s)
			slices := map[string]bool{}
			for _, chunk := range d.Index.Tables[0].Chunks {
				slices[chunk.File[:strings.LastIndexByte(chunk.File, '-')]] = true
			}
			want := 2
			switch name {
			case "one key", "text":
				want = 1
			case "far away", "ordinary", "binary", "hash":
				want = 8 // about 100 kB
			}
			if len(slices) < want {
				t.Errorf("%d slices, want at least %d", len(slices), want)
			}
			to := restore(t, tree, d)
			if a, b := mysqltest.Checksum(t, from)["t"], mysqltest.Checksum(t, to)["t"]; a != b {
				t.Errorf("checksum %s, was %s", b, a)
			}
		})
	}
}

// TestChunksKeepTheirEnds: rows that come in front leave later chunks as they
// were, byte for byte.
func TestChunksKeepTheirEnds(t *testing.T) {
	from := mysqltest.Database(t)
	mysqltest.ExecIn(t, from, "CREATE TABLE t (id INT PRIMARY KEY, v MEDIUMTEXT)")
	var values []string
	for i := range 500 {
		values = append(values, fmt.Sprintf("(%d, REPEAT(SHA2(%d,256), 1560))", 1000+i, i)) // 100 kB
	}
	mysqltest.ExecIn(t, from, "INSERT INTO t VALUES "+strings.Join(values, ","))
	opt := options(mysqltest.Config(t, from)).WithSliceBytes(1 << 40)
	before, d := write(t, open(t, opt))
	mysqltest.ExecIn(t, from, "INSERT INTO t VALUES (1,'new'),(2,'newer'),(3,'newest')", "UPDATE t SET v='changed' WHERE id=1001")
	after, e := write(t, open(t, opt))
	same := map[string]bool{}
	for _, c := range d.Index.Tables[0].Chunks {
		same[string(before.File(c.File))] = true
	}
	equal := 0
	for _, c := range e.Index.Tables[0].Chunks {
		if same[string(after.File(c.File))] {
			equal++
		}
	}
	if n := len(e.Index.Tables[0].Chunks); n < 3 || equal < n-1 {
		t.Errorf("%d of %d chunks are as they were", equal, n)
	}
	for _, c := range d.Index.Tables[0].Chunks {
		if c.Bytes > 33<<20 || int64(len(before.File(c.File))) != c.Bytes || int64(bytes.Count(before.File(c.File), []byte("\n"))) != c.Rows {
			t.Errorf("chunk %+v has %d bytes", c, len(before.File(c.File)))
		}
	}
}

// TestLongestRow: the index tells how long the longest line is, whether it came
// whole or in pieces.
func TestLongestRow(t *testing.T) {
	from := mysqltest.Database(t)
	mysqltest.ExecIn(t, from, "CREATE TABLE big (id INT PRIMARY KEY, v MEDIUMTEXT)", "INSERT INTO big VALUES (1,'x'),(2,REPEAT('\t',3000000)),(3,REPEAT('y',100))",
		"CREATE TABLE small (id INT PRIMARY KEY, v TEXT)", "INSERT INTO small VALUES (1,'x'),(22,'\\\\')", "CREATE TABLE without (id INT)")
	_, d := write(t, open(t, options(mysqltest.Config(t, from))))
	want := map[string]int64{"big": 6000003, "small": 6, "without": 0}
	for _, table := range d.Index.Tables {
		if table.LongestRow != want[table.Name] {
			t.Errorf("longest row of %s is %d, want %d", table.Name, table.LongestRow, want[table.Name])
		}
	}
}

// nowhere takes files, forgets their bytes and remembers how much memory was
// in use at most.
type nowhere struct {
	peak  atomic.Uint64
	bytes atomic.Int64
}

func (n *nowhere) Create(context.Context, string) (core.FileWriter, error) { return &sunk{n: n}, nil }
func (n *nowhere) CreateBlocks(ctx context.Context, hint string) (core.FileWriter, error) {
	return n.Create(ctx, hint)
}
func (n *nowhere) WriteDir(context.Context, []core.Entry) (core.Object, error) {
	return core.Object{}, nil
}

type sunk struct {
	n    *nowhere
	size int64
}

func (s *sunk) Write(p []byte) (int, error) {
	s.size += int64(len(p))
	if s.n.bytes.Add(int64(len(p)))%(8<<20) < int64(len(p)) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		s.n.peak.Store(max(s.n.peak.Load(), m.HeapAlloc))
	}
	return len(p), nil
}
func (s *sunk) Finish() (core.Object, error) { return core.Object{Size: s.size}, nil }
func (s *sunk) Close() error                 { return nil }

func TestMemoryDoesNotDependOnRows(t *testing.T) {
	if testing.Short() {
		t.Skip("writes a row of 100 MB")
	}
	server := mysqltest.Start(t, localserver.Options{BufferPool: 64 << 20, LogFile: 512 << 20, Args: []string{"--max-allowed-packet=256M"}})
	config := mysqltest.ConfigOf(server, "")
	mysqltest.ExecOn(t, config, "CREATE DATABASE d")
	config.Database = "d"
	mysqltest.ExecOn(t, config, "CREATE TABLE t (id INT PRIMARY KEY, v LONGBLOB)", "INSERT INTO t VALUES (1, REPEAT('0123456\\n\\t\\\\', 10000000)), (2, REPEAT('x', 100000000))")
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var sink nowhere
	s := open(t, options(config))
	d, err := s.Write(t.Context(), &sink, core.NoProgress{})
	if err != nil {
		t.Fatal(err)
	}
	if d.Database.Rows != 2 || d.Database.Bytes < 200<<20 {
		t.Errorf("%d rows of %d bytes", d.Database.Rows, d.Database.Bytes)
	}
	if more := int64(sink.peak.Load()) - int64(m.HeapAlloc); more > 64<<20 {
		t.Errorf("%d MiB more than before", more>>20)
	}
}

func TestManyTables(t *testing.T) {
	if testing.Short() {
		t.Skip("makes many tables")
	}
	const n = 300
	server := mysqltest.Start(t, localserver.Options{})
	config := mysqltest.ConfigOf(server, "")
	mysqltest.ExecOn(t, config, "CREATE DATABASE d")
	config.Database = "d"
	var statements []string
	for i := range n {
		statements = append(statements, fmt.Sprintf("CREATE TABLE t%04d (id INT PRIMARY KEY, v INT)", i))
	}
	mysqltest.ExecOn(t, config, statements...)
	s := open(t, options(config))
	if s.Consistency.FreezeMS > 2000 {
		t.Errorf("writers waited %d ms", s.Consistency.FreezeMS)
	}
	var sink nowhere
	d, err := s.Write(t.Context(), &sink, core.NoProgress{})
	if err != nil {
		t.Fatal(err)
	}
	if d.Database.Tables != n || len(d.Index.Tables) != n {
		t.Errorf("%d tables", d.Database.Tables)
	}
}

// TestManyColumns has as many columns as the engines take.
func TestManyColumns(t *testing.T) {
	from := mysqltest.Database(t)
	for engine, n := range map[string]int{"InnoDB": 1017, "MyISAM": 2000} {
		var columns, values []string
		for i := range n {
			columns = append(columns, fmt.Sprintf("c%d SMALLINT", i))
			values = append(values, fmt.Sprint(i))
		}
		mysqltest.ExecIn(t, from, "CREATE TABLE "+engine+" ("+strings.Join(columns, ",")+") ENGINE="+engine, "INSERT INTO "+engine+" VALUES ("+strings.Join(values, ",")+")")
	}
	tree, d := write(t, open(t, options(mysqltest.Config(t, from))))
	to := restore(t, tree, d)
	for table, sum := range mysqltest.Checksum(t, from) {
		if got := mysqltest.Checksum(t, to)[table]; got != sum {
			t.Errorf("table %s: checksum %s, was %s", table, got, sum)
		}
	}
}

// FuzzFileName: names are safe, and two objects never share one, whatever the
// case that a file system ignores or the length that it allows.
func FuzzFileName(f *testing.F) {
	for _, s := range []string{"", "a", "A", "%41", ".", "..", "a/b", "ü", "a~b", strings.Repeat("a", 200), strings.Repeat("a", 201), strings.Repeat("ü", 64), strings.Repeat("🔐", 64), "\x00"} {
		f.Add(s, s+"x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		nameA, nameB := dump.FileName(a), dump.FileName(b)
		if (a == b) != (nameA == nameB) {
			t.Fatalf("%q and %q are both %q", a, b, nameA)
		}
		if len(nameA) > 200 || strings.Trim(nameA, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-%~") != "" {
			t.Fatalf("%q is %q", a, nameA)
		}
	})
}

// TestServerGoesAway kills the session, then the server, in the middle of a dump.
func TestServerGoesAway(t *testing.T) {
	server := mysqltest.Start(t, localserver.Options{})
	config := mysqltest.ConfigOf(server, "")
	mysqltest.ExecOn(t, config, "CREATE DATABASE d")
	config.Database = "d"
	mysqltest.ExecOn(t, config, "CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT)", "INSERT INTO t SELECT 1, REPEAT('x', 20000000) UNION SELECT 2, REPEAT('y', 20000000)",
		"CREATE TABLE u (id INT PRIMARY KEY)", "INSERT INTO u VALUES (1)")
	for name, end := range map[string]func(t *testing.T){
		"sessions": func(t *testing.T) {
			admin := mysqltest.Connect(t, mysqltest.ConfigOf(server, ""))
			rows, err := admin.Query(t.Context(), "SELECT ID FROM information_schema.PROCESSLIST WHERE DB='d'")
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				if _, err := admin.Exec(t.Context(), "KILL "+r[0].Text); err != nil && mysql.Number(err) != 1094 { // it is gone
					t.Error(err)
				}
			}
		},
		"server": func(t *testing.T) {
			if err := server.Kill(); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := server.Restart(t.Context()); err != nil { // it may have been killed
				t.Fatal(err)
			}
			s := open(t, options(config))
			done := false
			_, err := s.Write(t.Context(), mysqltest.NewTree(), &onItem{do: func(string) {
				if !done {
					done = true
					end(t)
				}
			}})
			wantHint(t, err)
		})
	}
}

// TestLimitsOfTheServer: a limit that the server's administrator set for all
// sessions leaves no row out.
func TestLimitsOfTheServer(t *testing.T) {
	from := mysqltest.Database(t)
	mysqltest.ExecIn(t, from, "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(100))", "INSERT INTO t VALUES (1,'a'),(2,'b'),(3,'c'),(4,'d')",
		"INSERT INTO t SELECT a.id*100+b.id*10+c.id, c.v FROM t a, t b, t c", "CREATE TABLE u LIKE t", "INSERT INTO u SELECT * FROM t")
	defer mysqltest.Exec(t, "SET GLOBAL sql_select_limit=DEFAULT, GLOBAL max_join_size=DEFAULT, GLOBAL sql_big_selects=1")
	mysqltest.Exec(t, "SET GLOBAL sql_select_limit=3, GLOBAL max_join_size=5, GLOBAL sql_big_selects=0")
	tree, d := write(t, open(t, options(mysqltest.Config(t, from))))
	if d.Database.Tables != 2 || d.Database.Rows != 2*(4+64) {
		t.Errorf("%d tables with %d rows", d.Database.Tables, d.Database.Rows)
	}
	to := restore(t, tree, d)
	if diff := cmp.Diff(mysqltest.Checksum(t, from), mysqltest.Checksum(t, to)); diff != "" {
		t.Error(diff)
	}
}

// TestServerThatShowsThePast is refused: its tables would not be of the instant.
func TestServerThatShowsThePast(t *testing.T) {
	if !mysqltest.OnMariaDB(t) {
		t.Skip("only MariaDB has system-versioned tables")
	}
	config := mysqltest.Config(t, mysqltest.Database(t))
	defer mysqltest.Exec(t, "SET GLOBAL system_versioning_asof=DEFAULT")
	mysqltest.Exec(t, "SET GLOBAL system_versioning_asof='2020-01-01 00:00:00'")
	s, err := dump.Open(t.Context(), options(config))
	if err == nil {
		t.Fatal("it was taken for the present", s.Close())
	}
	if core.HintOf(err) == "" || !strings.Contains(err.Error(), "2020-01-01") {
		t.Errorf("got %v", err)
	}
}
