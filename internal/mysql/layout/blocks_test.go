package layout

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/backstay/backstay/internal/core"
)

// blocks takes files in blocks and remembers them.
type blocks struct {
	core.TreeWriter
	written [][]byte
}

func (b *blocks) CreateBlocks(context.Context, string) (core.FileWriter, error) {
	return &blockFile{b: b}, nil
}

type blockFile struct {
	b    *blocks
	size int64
}

func (f *blockFile) Write(p []byte) (int, error) {
	f.b.written = append(f.b.written, bytes.Clone(p))
	f.size += int64(len(p))
	return len(p), nil
}
func (f *blockFile) Finish() (core.Object, error) { return core.Object{Size: f.size}, nil }
func (f *blockFile) Close() error                 { return nil }

// TestBlocksKeepTheirEnds: one row more, less or changed costs a block or two,
// wherever it is, for short rows, long ones, and ones that come in pieces.
func TestBlocksKeepTheirEnds(t *testing.T) {
	for name, rowBytes := range map[string]int{"short": 60, "long": 165_000, "longer than a piece": 3 << 20} {
		t.Run(name, func(t *testing.T) {
			total := 40 << 20
			if rowBytes > 1<<20 {
				total = 80 << 20
			}
			random := rand.NewChaCha8([32]byte{1})
			noise := make([]byte, total)
			_, _ = random.Read(noise) // never fails
			rows := make([][]byte, total/rowBytes)
			for i := range rows {
				rows[i] = noise[i*rowBytes : (i+1)*rowBytes]
			}
			before := cutRows(t, rows)
			known := map[string]bool{}
			for _, b := range before {
				known[string(b)] = true
			}
			if mean := total / len(before); mean < 600<<10 || mean > 3<<20 {
				t.Errorf("%d blocks of %d bytes", len(before), mean)
			}
			middle := len(rows) / 2
			for change, rows := range map[string][][]byte{
				"in front":       append([][]byte{[]byte("new")}, rows...),
				"in the middle":  append(append(append([][]byte{}, rows[:middle]...), []byte("new")), rows[middle:]...),
				"one less":       append(append([][]byte{}, rows[:middle]...), rows[middle+1:]...),
				"first replaced": append([][]byte{[]byte("changed")}, rows[1:]...),
			} {
				var fresh, size int
				for _, b := range cutRows(t, rows) {
					if !known[string(b)] {
						fresh++
						size += len(b)
					}
				}
				if fresh > 6 || size > max(4<<20, 2*rowBytes) {
					t.Errorf("%s: %d of %d blocks are new, %d bytes", change, fresh, len(before), size)
				}
			}
		})
	}
}

// cutRows passes rows of one value through a chunker and returns its blocks.
func cutRows(t *testing.T, rows [][]byte) [][]byte {
	t.Helper()
	w := &blocks{}
	c := NewRows(t.Context(), w, "table", 0, core.NoProgress{})
	defer c.Abandon()
	var whole []byte
	for _, row := range rows {
		payload := binary.LittleEndian.AppendUint64([]byte{0xfe}, uint64(len(row)))
		payload = append(payload, row...)
		if len(payload) > 1<<20 {
			// As a row that came over the wire: in pieces.
			for piece := row; len(piece) > 0; {
				n := min(len(piece), 256<<10)
				if err := c.WriteRow(piece[:n], false); err != nil {
					t.Fatal(err)
				}
				piece = piece[n:]
			}
			c.Encoder.Rows++
			c.Encoder.Last = binary.LittleEndian.Uint64(row)
			if err := c.WriteRow([]byte("\n"), true); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := c.Encoder.Row(payload); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.Finish()
	if err != nil {
		t.Fatal(err)
	}
	var size, stored int64
	for _, b := range w.written {
		if len(b) == 0 || len(b) > core.MaxBlock {
			t.Fatalf("a block of %d bytes", len(b))
		}
		size += int64(len(b))
		whole = append(whole, b...)
	}
	for _, chunk := range got.Chunks {
		stored += chunk.Bytes
	}
	if size != stored || bytes.Count(whole, []byte("\n")) < len(rows) {
		t.Fatal(fmt.Errorf("%d bytes in blocks, %d in chunks", size, stored))
	}
	return w.written
}
