package sqlread_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/backstay/backstay/internal/mysql/sqlread"
)

// walk reads to the end, over refused statements, as salvage does.
func walk(t *testing.T, r *sqlread.Reader, length int) string {
	t.Helper()
	var b strings.Builder
	steps := 0
	step := func() {
		if steps++; steps > 10*length+100 {
			t.Fatal("it does not come to an end")
		}
	}
	for {
		step()
		st, err := r.Next()
		for err == nil && st.Kind == sqlread.KindInsert {
			step()
			var row []byte
			if row, err = r.NextRow(); err != nil {
				if err.Error() == "EOF" {
					err = nil
				}
				break
			}
			b.WriteString("  " + string(row) + "\n")
		}
		if err == nil {
			b.WriteString(string(st.Kind) + " " + st.Name + " " + st.Text + "\n")
			continue
		}
		text := err.Error()
		b.WriteString(text + "\n")
		if _, again := r.Next(); again != nil && again.Error() == text {
			return b.String()
		} else if again != nil {
			b.WriteString(again.Error() + "\n")
		}
	}
}

// stable reads again what came out: it has to be taken, and to be the same text,
// so that nothing in it comes to be that was not judged.
func stable(t *testing.T, dump string) {
	t.Helper()
	r := sqlread.New(strings.NewReader(dump), sqlread.Options{MariaDB: true, ServerVersion: 101106, Database: "app"})
	for range 1000 {
		st, err := r.Next()
		if err != nil {
			if _, again := r.Next(); again != nil && again.Error() == err.Error() {
				return
			}
			continue
		}
		const end = "|~|"
		if st.Kind != sqlread.KindCreate && st.Kind != sqlread.KindAlter && st.Kind != sqlread.KindDrop || strings.Contains(st.Text, end) || st.Object == sqlread.ObjectDatabase {
			continue
		}
		s := r.Session()
		var modes []string
		if s.ANSIQuotes {
			modes = append(modes, "ANSI_QUOTES")
		}
		if s.NoBackslash {
			modes = append(modes, "NO_BACKSLASH_ESCAPES")
		}
		again := sqlread.New(strings.NewReader("SET sql_mode='"+strings.Join(modes, ",")+"', character_set_client="+s.Charset+";\nDELIMITER "+end+"\n"+st.Text+"\n"+end),
			sqlread.Options{MariaDB: true, ServerVersion: 101106, Database: "app"})
		if _, err := again.Next(); err != nil {
			t.Fatal(err)
		}
		same, err := again.Next()
		if err != nil || strings.TrimSpace(same.Text) != strings.TrimSpace(st.Text) || same.Name != st.Name || same.Engine != st.Engine {
			t.Errorf("%q is read again as %+v: %v", st.Text, same, err)
		}
	}
}

// FuzzReader: no text makes the reader panic or run for ever, it reads the same
// in whatever portions the text comes, and what comes out is what was judged.
func FuzzReader(f *testing.F) {
	dumps, err := filepath.Glob("../sqlcheck/testdata/*.sql")
	if err != nil || len(dumps) == 0 {
		f.Fatalf("%d dumps: %v", len(dumps), err)
	}
	for _, name := range dumps {
		dump, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(dump, uint64(1))
	}
	for _, seed := range []string{
		"/*!50003 CREATE*/ /*!50017 DEFINER=`a`@`b`*/ /*!50003 TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.a=1 */;;",
		"DELIMITER $$\nCREATE PROCEDURE p () BEGIN END$$\nDELIMITER ;\n", "SET NAMES gbk; INSERT INTO t VALUES ('\xbf\\','\\'');",
		"SET sql_mode='ANSI_QUOTES,NO_BACKSLASH_ESCAPES'; INSERT INTO \"t\" VALUES ('\\'),(-1.5e3,0x00,_binary'x');",
		"INSERT INTO t VALUES (1),('a\\'b'),(/* c */2 -- d\n);", "/*M!999999\\- enable the sandbox mode */ \n", "CREATE TABLE t (a int, CHECK (a > 1)) ENGINE=InnoDB;", "\\! id\n;", "\x00\x00",
	} {
		f.Add([]byte(seed), uint64(2))
	}
	for i, hiding := range hidings {
		set := []string{"", "SET NAMES latin1;\n", "SET sql_mode='ANSI_QUOTES';\n", "SET sql_mode='NO_BACKSLASH_ESCAPES';\n", "SET NAMES gbk;\n"}[i%5]
		f.Add([]byte(set+"INSERT INTO d VALUES ("+strings.Replace(hiding, "%s", "f()", 1)+");\n"), uint64(i))
		f.Add([]byte(set+"CREATE TABLE app.n (a text COMMENT "+strings.Replace(hiding, ",%s)", ") SELECT 1 ", 1)+", b int REFERENCES`app`.u (a));\n"), uint64(i))
	}
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		if len(text) > 1<<16 {
			t.Skip("long text only costs time")
		}
		whole := walk(t, sqlread.New(strings.NewReader(string(text)), sqlread.Options{}), len(text))
		if by1 := walk(t, sqlread.New(iotest.OneByteReader(strings.NewReader(string(text))), sqlread.Options{}), len(text)); by1 != whole {
			t.Errorf("byte by byte:\n%q\nat once:\n%q", by1, whole)
		}
		some := chunks{strings.NewReader(string(text)), rand.New(rand.NewPCG(seed, 1)), 20}
		if got := walk(t, sqlread.New(some, sqlread.Options{}), len(text)); got != whole {
			t.Errorf("in portions:\n%q\nat once:\n%q", got, whole)
		}
		stable(t, string(text))
	})
}
