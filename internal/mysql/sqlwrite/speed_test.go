package sqlwrite

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// files is a source in memory.
type files map[string][]byte

func (f files) Open(_ context.Context, path string) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(f[path])), nil
}

// shapes are tables as applications have them: definition, columns, and a row.
var shapes = []struct {
	name, create string
	columns      int
	row          func(b []byte, r *rand.Rand, n int) []byte
}{
	{
		"numbers", "CREATE TABLE `t` (\n  `a` int(11) NOT NULL,\n  `b` bigint(20),\n  `c` int(11),\n  `d` decimal(10,2),\n  `e` datetime,\n  `f` tinyint(1)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4", 6,
		func(b []byte, r *rand.Rand, n int) []byte {
			return fmt.Appendf(b, "%d\t%d\t\\N\t%d.%02d\t2026-11-23 14:%02d:00\t1\n", n, r.Uint32(), r.IntN(1000), r.IntN(100), r.IntN(60))
		},
	},
	{
		"tickets", "CREATE TABLE `t` (\n  `a` int(11) NOT NULL,\n  `b` varchar(255),\n  `c` longtext,\n  `d` datetime\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4", 4,
		func(b []byte, r *rand.Rand, n int) []byte {
			text := strings.Repeat(`<p class="x">It's a sentence of usual length, with Zürich in it.</p>\n`, 1+r.IntN(12))
			return fmt.Appendf(b, "%d\tR-%06d a title of it\t%s\t2026-11-23 14:00:00\n", n, n, text)
		},
	},
	{
		"blobs", "CREATE TABLE `t` (\n  `a` int(11) NOT NULL,\n  `b` longblob\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4", 2,
		func(b []byte, r *rand.Rand, n int) []byte {
			b = fmt.Appendf(b, "%d\t", n)
			for range 40_000 {
				switch c := byte(r.Uint32()); c {
				case '\t':
					b = append(b, `\t`...)
				case '\n':
					b = append(b, `\n`...)
				case '\\':
					b = append(b, `\\`...)
				default:
					b = append(b, c)
				}
			}
			return append(b, '\n')
		},
	},
}

// made makes a table of about so many bytes, in chunks.
func made(shape, size int) (Input, int64) {
	s := shapes[shape]
	r := rand.New(rand.NewPCG(1, 2))
	source := files{"schema": []byte(s.create)}
	t := core.Table{Name: "t", Schema: "schema", LongestRow: 1}
	for i := range s.columns {
		t.Columns = append(t.Columns, core.Column{Name: string(rune('a' + i))})
	}
	n := 0
	for t.Bytes < int64(size) {
		var b []byte
		var sum mysql.RowSummer
		for len(b) < 12<<20 && t.Bytes+int64(len(b)) < int64(size) {
			before := len(b)
			b = s.row(b, r, n)
			sum.Write(b[before:], true)
			n++
		}
		c := core.Chunk{File: fmt.Sprint(len(t.Chunks)), Rows: sum.Rows(), Bytes: int64(len(b)), Checksum: sum.Sum().String()}
		source[c.File] = b
		t.Chunks = append(t.Chunks, c)
		t.Bytes += c.Bytes
	}
	return Input{Index: core.DatabaseIndex{Tables: []core.Table{t}}, Source: source}, t.Bytes
}

func BenchmarkWrite(b *testing.B) {
	for i, s := range shapes {
		in, size := made(i, 48<<20)
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/%d", s.name, workers), func(b *testing.B) {
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Write(b.Context(), io.Discard, in, Options{Dialect: DialectMySQL, Workers: workers}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkSize(b *testing.B) {
	for i, s := range shapes {
		in, size := made(i, 48<<20)
		b.Run(s.name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				if _, err := Size(b.Context(), in, Options{Dialect: DialectMySQL, Workers: 1}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
