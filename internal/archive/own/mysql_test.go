package own

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/repository/memory"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

// TestTableByHand loads a table with the specification's commands.
func TestTableByHand(t *testing.T) {
	needs(t, "zstd", "tar", "bash", "mysql")
	config := mysqltest.Config(t, "")
	home := t.TempDir()
	account := fmt.Sprintf("[client]\nsocket=%s\nuser=%s\npassword=%s\n", config.Socket, config.User, config.Password.Reveal())
	if err := os.WriteFile(filepath.Join(home, ".my.cnf"), []byte(account), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	database := mysqltest.Database(t)

	chunks := []string{"1\tplain\n2\t\\N\n", "3\ttab \\t newline \\n backslash \\\\ NUL \x00 ünï 漢\n"}
	index := core.DatabaseIndex{Tables: []core.Table{{
		Name: "ticket", Schema: "database/schema/table/ticket.sql", Columns: []core.Column{{Name: "id"}, {Name: "title"}}, Rows: 3,
	}}}
	parts := []part{aDir("database"), {}, aDir("database/data"), aDir("database/data/ticket")}
	for n, c := range chunks {
		name := fmt.Sprintf("database/data/ticket/0000-%05d.tsv", n)
		index.Tables[0].Chunks = append(index.Tables[0].Chunks, core.Chunk{File: name, Bytes: int64(len(c))})
		parts = append(parts, textFile(name, c))
	}
	parts = append(parts, aDir("database/schema"), aDir("database/schema/table"),
		textFile("database/schema/table/ticket.sql", "CREATE TABLE `ticket` (`id` int NOT NULL, `title` varchar(200) CHARACTER SET utf8mb4 DEFAULT NULL, PRIMARY KEY (`id`))"))
	b, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	parts[1] = textFile(indexName, string(b))
	sum := sha256.Sum256(b)
	m, err := json.Marshal(core.Manifest{Schema: 1, ID: "b", App: "a", Database: &core.Database{Index: indexName, Checksum: fmt.Sprintf("%x", sum)}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	archived := build(t, append([]part{textFile(readmeName, readmeTitle), textFile(manifestName, string(m))}, parts...))
	if err := os.WriteFile(filepath.Join(dir, "NAME.tar.zst"), archived, 0o600); err != nil {
		t.Fatal(err)
	}
	load := specified(t, "mysql restored <", "done")
	load = strings.NewReplacer("restored", database).Replace(load)
	if out, err := shell(t, dir, "tar -x --no-same-owner -f NAME.tar.zst\n"+load); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got []string
	for _, row := range mysqltest.Query(t, database, "SELECT CONCAT(id, ' ', IFNULL(HEX(title), 'NULL')) FROM ticket ORDER BY id") {
		got = append(got, row[0].Text)
	}
	want := []string{"1 " + fmt.Sprintf("%X", "plain"), "2 NULL", "3 " + fmt.Sprintf("%X", "tab \t newline \n backslash \\ NUL \x00 ünï 漢")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestCaptureComesBackTheSame: what a capture of a database stored has the same
// ids in another repository, entry by entry.
func TestCaptureComesBackTheSame(t *testing.T) {
	database := mysqltest.Database(t)
	mysqltest.ExecIn(t, database,
		"CREATE TABLE empty (id int)", "CREATE TABLE `odd name/ü` (id int PRIMARY KEY, b blob)",
		"INSERT INTO `odd name/ü` SELECT seq, REPEAT(MD5(seq), 200) FROM (SELECT a.n * 50 + b.n AS seq FROM "+numbers("a")+" JOIN "+numbers("b")+") s",
		"CREATE VIEW v AS SELECT * FROM empty",
	)
	snapshot, err := dump.Open(t.Context(), dump.Options{Config: mysqltest.Config(t, database), Clock: core.SystemClock{}})
	if err != nil {
		t.Fatal(err)
	}
	origin := memory.New()
	from, err := origin.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer from.Abort()
	dumped, err := snapshot.Write(t.Context(), from, core.NoProgress{})
	if err != nil {
		t.Fatal(err)
	}
	if err := snapshot.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(core.Manifest{Schema: 1, ID: "b", App: "a", Database: &dumped.Database})
	if err != nil {
		t.Fatal(err)
	}
	f, err := from.Create(t.Context(), manifestName)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	manifest, err := f.Finish()
	if err != nil {
		t.Fatal(err)
	}
	root, err := from.WriteDir(t.Context(), []core.Entry{dumped.Entry, {Name: manifestName, Type: core.TypeFile, Object: manifest}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := from.Commit(t.Context(), root, core.Backup{ID: "b", App: "a", Time: snapshot.Time}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	content := archive.Content{Tree: origin, Root: core.Entry{Object: root}}
	if _, err := New().Write(t.Context(), &out, content, archive.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	a, err := New().Open(t.Context(), onDisk(t, out.Bytes()), archive.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if flaws, err := a.Check(t.Context()); err != nil || len(flaws) > 0 {
		t.Fatal(err, flaws)
	}
	to, err := memory.New().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer to.Abort()
	entries, err := a.(archive.Native).Copy(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]core.Entry{dumped.Entry}, entries); diff != "" {
		t.Errorf("database (-captured +copied):\n%s", diff)
	}
}

// numbers is a table of the numbers 0 to 49.
func numbers(name string) string {
	all := []string{"SELECT 0 AS n"}
	for n := 1; n < 50; n++ {
		all = append(all, fmt.Sprintf("SELECT %d", n))
	}
	return "(" + strings.Join(all, " UNION ALL ") + ") " + name
}
