package sqlread_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/sqlread"
)

const severalDatabases = `-- MariaDB dump 10.19
CREATE DATABASE ` + "`mysql`" + `;
USE ` + "`mysql`" + `;
CREATE TABLE user (a int);
INSERT INTO user VALUES (1);
CREATE DATABASE ` + "`x1`" + `;
USE ` + "`x1`" + `;
DROP TABLE IF EXISTS t;
CREATE TABLE t (a int);
INSERT INTO t VALUES (1),(2);
CREATE DATABASE ` + "`x2`" + `;
USE ` + "`x2`" + `;
-- Table structure for table ` + "`other`" + `
DROP TABLE IF EXISTS t;
CREATE TABLE t (a int);
INSERT INTO t VALUES (77);
SET NAMES utf8mb4;
USE x1;
CREATE TABLE u (a int);
-- Dump completed on 2024-07-01 12:00:00
`

// Of a dump of several databases only the first one's statements come out.
func TestSeveralDatabases(t *testing.T) {
	for database, want := range map[string]string{
		"":   "use x1, drop t, create t, insert t, set , use x1, create u",
		"x2": "use x2, drop t, create t, insert t, set ",
	} {
		r := sqlread.New(strings.NewReader(severalDatabases), sqlread.Options{Database: database})
		var got []string
		for {
			st, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				if core.CodeOf(err) != core.CodeUnsupported {
					t.Fatal(err)
				}
				continue
			}
			if st.Kind == sqlread.KindUse && len(got) > 0 && got[len(got)-1] == "use "+st.Name {
				continue
			}
			got = append(got, string(st.Kind)+" "+st.Name)
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("database %q: %s", database, text)
		}
	}
	report, err := sqlread.Check(t.Context(), strings.NewReader(severalDatabases), sqlread.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range report.Problems {
		if i == 0 && p.Message != "a dump of several databases (x1, mysql, x2)" || !p.Refused {
			t.Errorf("problem %d: %+v", i, p)
		}
	}
	if len(report.Problems) == 0 || len(report.Problems) > 3 {
		t.Errorf("problems %+v", report.Problems)
	}
}

// No dump is of a database that belongs to the server.
func TestSystemDatabases(t *testing.T) {
	for _, statement := range []string{"DROP DATABASE mysql", "USE Mysql", "CREATE DATABASE sys", "USE performance_schema", "DROP DATABASE IF EXISTS information_schema"} {
		r := sqlread.New(strings.NewReader(statement+";"), sqlread.Options{})
		if st, err := r.Next(); core.CodeOf(err) != core.CodeUnsupported {
			t.Errorf("%s: %+v, %v", statement, st, err)
		}
	}
}

// MySQL up to 5.0 wrote an engine as TYPE.
func TestEngineAsType(t *testing.T) {
	r := sqlread.New(strings.NewReader("CREATE TABLE a (type int) TYPE=MyISAM DEFAULT CHARSET=latin1;"), sqlread.Options{})
	st, err := r.Next()
	if err != nil || st.Text != "CREATE TABLE a (type int) ENGINE=MyISAM DEFAULT CHARSET=latin1" || st.Engine != "MyISAM" {
		t.Errorf("%+v, %v", st, err)
	}
}

// What is wrong with the file is said in its own words.
func TestDamagedBelow(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := io.WriteString(z, "CREATE TABLE a (a int);\nINSERT INTO a VALUES "+strings.Repeat("(1),", 100000)+"(1);\n"); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	plain, err := gzip.NewReader(bytes.NewReader(packed.Bytes()[:packed.Len()/2]))
	if err != nil {
		t.Fatal(err)
	}
	report, err := sqlread.Check(t.Context(), damaging{plain}, sqlread.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Problems) == 0 || !strings.Contains(report.Problems[0].Message, "unexpected EOF") || strings.Contains(report.Problems[0].Message, "begins at line") {
		t.Errorf("problems %+v", report.Problems)
	}
}

type damaging struct{ r io.Reader }

func (d damaging) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil && err != io.EOF {
		err = &core.Error{Code: core.CodeDamage, Op: "unpack dump.sql.gz", Err: err}
	}
	return n, err
}
