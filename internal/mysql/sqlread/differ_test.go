package sqlread_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/mysql/sqlread"
)

// textsVariable is how many texts by chance are tried, and says that all others are.
const textsVariable = "BACKSTAY_TEST_TEXTS"

// bait is what no statement may get to see: each text below tries to have the
// server run what the reader takes for a literal, a name or a comment.
const bait = "SEEN-BY-THE-SERVER"

// settingsOf are how a session may read text.
func settingsOf(charsets []string) []string {
	var all []string
	for _, mode := range []string{"", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES", "IGNORE_SPACE", "ANSI", "TRADITIONAL", "ORACLE", "MSSQL"} {
		for _, charset := range charsets {
			if mode == "" || charset == "utf8mb4" || charset == "latin1" || strings.Contains(mode, "QUOTES") && charset == "gbk" {
				all = append(all, "SET sql_mode='"+mode+"', character_set_client="+charset+";\n")
			}
		}
	}
	return all
}

func clientCharsets(t *testing.T, conn *mysql.Conn) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), "SHOW CHARACTER SET")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range rows {
		if name := r[0].Text; !strings.HasPrefix(name, "utf16") && name != "utf32" && name != "ucs2" {
			names = append(names, name)
		}
	}
	return names
}

// differ runs what the reader takes of a dump and says whether the server saw
// more in it: the bait in a row or a definition, or rows that are none.
func differ(t *testing.T, conn *mysql.Conn, server mysql.Server, dump string) (taken bool) {
	t.Helper()
	reset(t, conn)
	r := sqlread.New(strings.NewReader(dump), sqlread.Options{MariaDB: server.Vendor == mysql.MariaDB, ServerVersion: server.VersionNumber, Database: "app"})
	run := func(sql string) bool {
		_, err := conn.Exec(t.Context(), sql)
		if err != nil && mysql.Number(err) == 0 {
			t.Fatalf("%q: %v", sql, err)
		}
		return err == nil
	}
	for range 100 {
		st, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			if _, again := r.Next(); again != nil && again.Error() == err.Error() || errors.Is(err, io.EOF) {
				break
			}
			continue
		}
		switch st.Kind {
		case sqlread.KindSet:
			if !run(st.Text) {
				return false // this server does not know the setting
			}
		case sqlread.KindCreate, sqlread.KindAlter:
			if st.Object == sqlread.ObjectTable {
				taken = run(st.Text) || taken
			}
		case sqlread.KindInsert:
			for {
				row, err := r.NextRow()
				if err != nil {
					break
				}
				taken = run(st.Text+string(row)) || taken
			}
		}
	}
	if !taken {
		return false
	}
	if _, err := conn.Exec(t.Context(), "SET NAMES utf8mb4"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "SET sql_mode=''"); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"d", "n"} {
		rows, err := conn.Query(t.Context(), "SELECT * FROM "+table)
		if err != nil && mysql.Number(err) == 0 {
			t.Fatal(err)
		}
		for _, row := range rows {
			for _, v := range row {
				if strings.Contains(v.Text, bait) {
					t.Errorf("the server saw what was taken for something else: %q", dump)
				}
			}
		}
		if table == "n" && len(rows) > 0 {
			t.Errorf("a table with rows was made: %q", dump)
		}
	}
	rows, err := conn.Query(t.Context(), "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME='n' AND COLUMN_NAME='injected'")
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) > 0 {
		t.Errorf("the server saw another definition: %q", dump)
	}
	return true
}

func reset(t *testing.T, conn *mysql.Conn) {
	t.Helper()
	for _, sql := range []string{"SET NAMES utf8mb4", "SET sql_mode=''", "DELETE FROM d", "DROP TABLE IF EXISTS n"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
}

func baited(t *testing.T) (*mysql.Conn, mysql.Server) {
	t.Helper()
	conn := mysqltest.Connect(t, mysqltest.Config(t, mysqltest.Database(t)))
	server, err := conn.Server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"CREATE TABLE secret (s text) CHARACTER SET utf8mb4", "INSERT INTO secret VALUES ('" + bait + "')",
		"CREATE TABLE d (a mediumblob, b mediumblob)", "CREATE FUNCTION f() RETURNS text CHARACTER SET utf8mb4 DETERMINISTIC RETURN '" + bait + "'",
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	return conn, server
}

// hidings are texts that hide something from one who reads them otherwise. %s
// is where the hidden thing goes.
var hidings = []string{
	`'\',%s)-- '`, `'\\',%s)-- '`, `'\\\',%s)-- '`, `'''',%s)-- ''`, `'\'',%s)-- '`, `"\",%s)-- "`, `"'",%s)-- '`, `'"',%s)-- "`, `'',%s)-- '`, `"",%s)-- "`,
	"'`',%s)-- `'", "'a' 'b',%s)-- '", "'a'\n'\\',%s)-- '", "N'\\',%s)-- '", "n'\\',%s)-- '", "_gbk'\xbf\\',%s)-- '", "_sjis'\x83\\',%s)-- '", "_latin1'\xbf\\',%s)-- '", "_utf8mb4'\\',%s)-- '", "_binary'\\',%s)-- '",
	"_gbk'\xbf',%s)-- '", "_big5 '\xa5\\',%s)-- '", "x'41',%s)-- '", "x'4\\',%s)-- '", "b'1',%s)-- '", "0x41'\\',%s)-- '",
	"'\xbf\\',%s)-- '", "'\xbf'',%s)-- '", "'\xbf\\\\',%s)-- '", "'\x83\\',%s)-- '", "'\xa5\\',%s)-- '", "'\x8e\\',%s)-- '", "'\x8f\xa1\\',%s)-- '", "'\xe3\\',%s)-- '", "'\xe3\x81\\',%s)-- '", "'\xf0\x9f\\',%s)-- '", "'\xf0\x9f\x90\\',%s)-- '", "'\xc3',%s)-- '", "'\xff\\',%s)-- '", "'\x81\x30\x81\\',%s)-- '",
	"1 --\xa0'\n,%s)#'", "1 --\xa0',%s)\n#'", "1 --\x7f'\n,%s)#'", "1 --\x01'\n,%s)#'", "1 --\x0b'\n,%s)#'", "1 --\r'\n,%s)#'", "1 -- '\r,%s)#'", "1 --\xff'\n,%s)#'", "1 --\x80'\n,%s)#'", "1 --\xc2\xa0'\n,%s)#'", "1--'\n,%s)#'", "1 --\t'\n,%s)#'", "1 --'\n,%s)#'", "1 --\x00'\n,%s)#'",
	"1 #'\n,%s)#'", "1 #'\r,%s)#'", "1 #\x0b',%s)#'", "1 /*'*/,%s)#'", "1 /* /* */,%s) /* */", "1 /*/,%s) /*/*/", "1 /*!99999 '*/,%s)#'", "1 /*M!'*/,%s)#'", "1 /*+'*/,%s)#'", "1 /*!'*/,%s)#'", "1 /**/,%s)#'", "1 /*'\n,%s)#'*/",
	"1\xa0,%s)#'", "'a'\xa0,'\\',%s)#'", "1\x0b,'\\',%s)#'", "'\x00\\',%s)#'", "'\x1a\\',%s)#'", "1e5f(),2)#'", "1.f(),2)#'", "1.5f(),2)#'", ".5f(),2)#'", "1e+5f(),2)#'", "1e5,f())#", "-f(),2)#", "(%s),2)#", "DEFAULT(f()),1)#",
	"@'\\',%s)-- '", "@`\\',%s)-- `", "@@'\\',%s)-- '", "a:='\\',%s)-- '", "{d '\\',%s)-- '}", "$$'$$,%s)-- '", "$a$'$a$,%s)-- '", "q'[\\',%s)-- ]'", "u&'\\',%s)-- '", "e'\\',%s)-- '", "\\N,%s)#", "'a'COLLATE utf8mb4_bin'\\',%s)#'",
}

// TestSameAsServer: what the reader takes for text is text for the server, under
// every setting of the session that a dump can have.
func TestSameAsServer(t *testing.T) {
	conn, server := baited(t)
	all := settingsOf(clientCharsets(t, conn))
	texts, taken, every := 0, 0, 5
	if os.Getenv(textsVariable) != "" {
		every = 1
	}
	try := func(dump string) {
		texts++
		if differ(t, conn, server, dump) {
			taken++
		}
	}
	for i, set := range all {
		for k, hiding := range hidings {
			if (i+k)%every > 0 {
				continue
			}
			hidden := "(SELECT s FROM secret)"
			if (i+k)%2 == 1 {
				hidden = "f()"
			}
			text := strings.Replace(hiding, "%s", hidden, 1)
			try(set + "INSERT INTO d VALUES (" + text + ");\n")
			try(set + "INSERT INTO d VALUES (" + text + ");\n'\n")
			if k%3 > 0 && every > 1 {
				continue
			}
			// The same where a definition is: behind a comment, as a name, as an option.
			table := strings.Replace(hiding, "%s)", "injected int DEFAULT (sleep(0)))", 1)
			try(set + "CREATE TABLE n (a int COMMENT " + table + ");\n")
			try(set + "CREATE TABLE n (a int " + strings.TrimLeft(table, "1") + "\n);\n")
			rows := strings.Replace(hiding, ",%s)", ") SELECT s AS a FROM secret ", 1)
			try(set + "CREATE TABLE n (a text COMMENT " + rows + ");\n")
			try(set + "CREATE TABLE n (a text, `" + strings.Trim(rows, "'\"1") + "` int);\n")
		}
	}
	t.Logf("%d texts, of which the server took %d", texts, taken)
	if taken < 50 {
		t.Errorf("only %d texts came to the server", taken)
	}
}

// pieces are what random texts are made of.
var fragments = []string{
	"'", "'", "'", `"`, `"`, "`", `\`, `\`, "--", "-- ", "#", "\n", "\r", " ", "/*", "*/", "/*!", "/*!50000 ", "/*!99999 ", "/*M!100000 ", "/*!500001", "/*+", ",", ",", "(", ")", "1", "1e5", ".", "e", "+", "-", "x", "N", "b", "_gbk", "_latin1",
	"\xa0", "\xbf", "\x5c", "\x83", "\xe3", "\x81", "\xff", "\x7f", "\x01", "\x0b", "\x1a", "\xc2", "0x4", "NULL", "a", "@", "$$", "(SELECT s FROM secret)", "f()", "(SELECT s FROM secret)", "f()", "f())-- ", "f())#", ",f())/*",
}

// TestRandomSameAsServer is TestSameAsServer with texts by chance.
func TestRandomSameAsServer(t *testing.T) {
	conn, server := baited(t)
	n, seed := 2000, uint64(1)
	if text := os.Getenv(textsVariable); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
		seed = rand.Uint64()
	}
	all := settingsOf(clientCharsets(t, conn))
	rng := rand.New(rand.NewPCG(seed, 5))
	taken := 0
	for range n {
		var b strings.Builder
		for range 2 + rng.IntN(10) {
			b.WriteString(fragments[rng.IntN(len(fragments))])
		}
		form := []string{"INSERT INTO d VALUES ('%s',1);\n", "INSERT INTO d VALUES (%s);\n", "INSERT INTO d VALUES (1,\"%s\");\n", "CREATE TABLE n (a text COMMENT '%s');\n", "CREATE TABLE n (a text) COMMENT='%s' %s;\n", "INSERT INTO d VALUES (1,'%s'),('%s',2);\n"}[rng.IntN(6)]
		if differ(t, conn, server, all[rng.IntN(len(all))]+strings.ReplaceAll(form, "%s", b.String())) {
			taken++
		}
	}
	t.Logf("%d texts with seed %d, of which the server took %d", n, seed, taken)
}
