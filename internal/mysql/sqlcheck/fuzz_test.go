package sqlcheck_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/mysql/sqlcheck"
	"github.com/backstay/backstay/internal/mysql/sqlread"
)

// FuzzCheck: whatever a dump is, it is checked to its end, and what is called
// whole has nothing wrong with it but statements that are refused.
func FuzzCheck(f *testing.F) {
	dumps, err := filepath.Glob("testdata/*.sql")
	if err != nil || len(dumps) == 0 {
		f.Fatalf("%d dumps: %v", len(dumps), err)
	}
	for _, name := range dumps {
		dump, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(dump)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 1<<16 {
			t.Skip("long text only costs time")
		}
		report := check(t, string(text))
		if report.Bytes > int64(len(text)) || report.Rows > int64(len(text)) || len(report.Problems) > 102 {
			t.Errorf("%d bytes with %d rows and %d problems, of %d", report.Bytes, report.Rows, len(report.Problems), len(text))
		}
		for _, p := range report.Problems {
			if report.Whole != sqlcheck.WholeNo && !p.Refused || p.Message == "" || p.Line < 0 {
				t.Errorf("whole is %s, with %+v", report.Whole, p)
			}
		}
	})
}

// BenchmarkCheck reads a dump of rows as applications have them.
func BenchmarkCheck(b *testing.B) {
	var dump strings.Builder
	dump.WriteString("CREATE TABLE t (a int, b text, c datetime, d text);\nINSERT INTO t VALUES ")
	for i := range 200_000 {
		if i > 0 {
			dump.WriteString(",\n")
		}
		dump.WriteString("(12345,'active','2026-11-23 05:08:51',NULL,1.5,'It\\'s a text of an ordinary length, as tickets have them, with \\\"quotes\\\" and\\r\\nlines.','')")
	}
	dump.WriteString(";\n")
	b.SetBytes(int64(dump.Len()))
	for b.Loop() {
		if _, err := sqlcheck.Check(b.Context(), strings.NewReader(dump.String()), sqlread.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
