package sqlcheck_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/sqlcheck"
	"github.com/backstay/backstay/internal/mysql/sqlread"
)

// A dump of several databases has one problem, and not one with each of its statements.
func TestSeveralDatabases(t *testing.T) {
	dump, err := os.ReadFile("testdata/several_databases.sql")
	if err != nil {
		t.Fatal(err)
	}
	report := check(t, string(dump))
	for i, p := range report.Problems {
		if i == 0 && p.Message != "a dump of several databases (x1, mysql, x2)" || !p.Refused {
			t.Errorf("problem %d: %+v", i, p)
		}
	}
	if len(report.Problems) == 0 || len(report.Problems) > 3 {
		t.Errorf("problems %+v", report.Problems)
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
	report, err := sqlcheck.Check(t.Context(), damaging{plain}, sqlread.Options{})
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
