package sqlwrite

import (
	"bytes"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
)

// threeColumns is a table with a column of each literal, in an order that the
// fuzzer chooses.
func threeColumns(order byte) (*tableText, []literal) {
	types := []string{"int(11)", "varchar(20)", "blob"}
	create := "CREATE TABLE `t` ("
	var columns []core.Column
	for i := range 3 {
		name := string(rune('a' + i))
		create += "\n  `" + name + "` " + types[(int(order)+i)%3] + ","
		columns = append(columns, core.Column{Name: name})
	}
	create = strings.TrimSuffix(create, ",") + "\n) DEFAULT CHARSET=utf8mb4"
	t := core.Table{Name: "t", Columns: columns}
	return newTableText(t, create, DialectMySQL), literals(t, create, DialectMySQL)
}

var (
	inChunk = strings.NewReplacer("\\", `\\`, "\t", `\t`, "\n", `\n`)
	inSQL   = strings.NewReplacer("\\", `\\`, "\n", `\n`, "\r", `\r`, "\x00", `\0`, "\x1a", `\Z`, "'", `\'`, `"`, `\"`)
)

// FuzzConvert compares the conversion of a row, whole and in two pieces, and
// its measure with what the rules say.
func FuzzConvert(f *testing.F) {
	f.Add("1", "it's", []byte{0, 1, 2}, byte(0), uint16(3))
	f.Add("NULL", "NULL", []byte("NULL"), byte(1), uint16(5))
	f.Add("-1.5", "\\N\t\n\r\x1a\"'\\", []byte("\\\\\t\tN"), byte(2), uint16(9))
	f.Add("123456789012345678901234567890", strings.Repeat("é'", 40), bytes.Repeat([]byte{'\\'}, 33), byte(0), uint16(70))
	f.Fuzz(func(t *testing.T, digits, text string, blob []byte, order byte, cut uint16) {
		x, kinds := threeColumns(order)
		line, want := "", "("
		for i, kind := range kinds {
			value := string(blob)
			switch kind {
			case number:
				value = strings.Map(func(r rune) rune {
					if r >= '-' && r <= '9' {
						return r
					}
					return '7'
				}, digits)
			case plainText:
				value = text
			}
			if i > 0 {
				line, want = line+"\t", want+","
			}
			if value == "NULL" || kind == number && digits == "NULL" {
				line, want = line+`\N`, want+"NULL"
				continue
			}
			line += inChunk.Replace(value)
			want += kind.opening() + inSQL.Replace(value)
			if kind != number {
				want += "'"
			}
		}
		line, want = line+"\n", want+")"
		in := append([]byte(line), make([]byte, slack)...)
		out, err := x.convert(make([]byte, 0, x.widest(len(line))), in, 0, len(line), &place{})
		if err != nil || string(out) != want {
			t.Fatalf("%q becomes %q, want %q (%v)", line, out, want, err)
		}
		if n := x.measure(in, 0, len(line), &place{}); n != int64(len(want)) {
			t.Fatalf("%q is measured as %d, want %d", line, n, len(want))
		}
		end := pieceEnd(in[:2+int(cut)%max(len(line)-2, 1)])
		if end < 2 || end >= len(line) { // pieces are longer than any beginning of a row
			return
		}
		var write, size place
		n := x.measure(in, 0, end, &size) + x.measure(in, end, len(line), &size)
		kept := in[end]
		in[end] = '\n'
		first, err := x.convert(make([]byte, 0, x.widest(end)), in, 0, end, &write)
		if err != nil {
			t.Fatal(err)
		}
		in[end] = kept
		rest, err := x.convert(make([]byte, 0, x.widest(len(line)-end)), in, end, len(line), &write)
		if got := string(first) + string(rest); err != nil || got != want || n != int64(len(want)) {
			t.Fatalf("%q cut at %d becomes %q of %d bytes, want %q (%v)", line, end, got, n, want, err)
		}
	})
}

// FuzzHostileRow: whatever stands in a damaged chunk is an error or text of
// the length that was measured, and never something outside of quotes.
func FuzzHostileRow(f *testing.F) {
	f.Add([]byte("1\tx\ty\n"), byte(0))
	f.Add([]byte("1); DROP TABLE t; -- \tx\ty\n"), byte(0))
	f.Add([]byte("\\N\\N\t\\x\t\\"), byte(1))
	f.Fuzz(func(t *testing.T, line []byte, order byte) {
		line = append(bytes.ReplaceAll(line, []byte("\n"), nil), '\n')
		x, _ := threeColumns(order)
		in := append(bytes.Clone(line), make([]byte, slack)...)
		out, err := x.convert(make([]byte, 0, x.widest(len(line))), in, 0, len(line), &place{})
		n := x.measure(in, 0, len(line), &place{})
		if err != nil {
			return
		}
		if n != int64(len(out)) {
			t.Errorf("%q becomes %q of %d bytes, measured as %d", line, out, len(out), n)
		}
		if quote, ok := clientReads(string(out), true); quote != 0 || !ok || bytes.Count(line, []byte("\t")) != 2 {
			t.Errorf("%q becomes %q", line, out)
		}
	})
}
