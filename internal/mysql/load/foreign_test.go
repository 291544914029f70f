package load

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// TestZeros: negative zeros of FLOAT and DOUBLE columns, and nothing else, are
// read as 0, and the change of the sum is that of the rows.
func TestZeros(t *testing.T) {
	table := core.Table{Columns: []core.Column{{Name: "a", Form: core.FormFloat}, {Name: "b"}, {Name: "c", Form: core.FormFloat}}}
	long := strings.Repeat("-0x", 1<<20)
	in := "-0\t-0\t1\n0\t-0\t0\n1\t" + long + "\t-0\n-0.5\t\\N\t\\N\n\\N\tx\t-0\n"
	want := "0\t-0\t1\n0\t-0\t0\n1\t" + long + "\t0\n-0.5\t\\N\t\\N\n\\N\tx\t0\n"
	z := newZeros(iotest.HalfReader(strings.NewReader(in)), table)
	got, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("read %.80q, want %.80q", got, want)
	}
	if z.rows != 3 {
		t.Errorf("%d rows changed, want 3", z.rows)
	}
	sum := func(text string) (s mysql.RowSum) {
		for line := range strings.Lines(text) {
			s.AddRow([]byte(line))
		}
		return s
	}
	have := sum(in)
	have.Add(z.change)
	if have != sum(want) {
		t.Errorf("the sum is %s, want %s", have, sum(want))
	}
	cut, err := io.ReadAll(newZeros(strings.NewReader("-0\t1\t-0"), table))
	if err != nil || string(cut) != "-0\t1\t-0" {
		t.Errorf("a chunk that is cut short is read as %q, %v", cut, err)
	}
}
