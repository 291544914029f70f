package own

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
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
