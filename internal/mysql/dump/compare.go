package dump

import (
	"context"
	"fmt"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// DifferenceError says that a table's rows are not those of the backup.
type DifferenceError struct {
	Table      string
	Chunk      string // file of the first chunk that differs; "" when rows have no order
	Have, Want int64  // rows
}

// Error says what differs, and where the first difference is.
func (e *DifferenceError) Error() string {
	s := "its rows differ from the backup's"
	if e.Have != e.Want {
		s = fmt.Sprintf("it has %d rows, the backup %d", e.Have, e.Want)
	}
	if e.Chunk != "" {
		s += ", first in the rows of chunk " + e.Chunk
	}
	return s
}

// comparer sums rows chunk by chunk and remembers the first chunk that differs.
type comparer struct {
	enc      mysql.Encoder
	table    core.Table
	chunk    int
	first    string
	total    mysql.RowSum
	rows     int64
	progress core.Progress
}

var _ mysql.RowSink = (*comparer)(nil)

func (c *comparer) WriteRow(piece []byte, end bool) error {
	c.progress.Add(int64(len(piece)))
	if end && c.chunk < len(c.table.Chunks) && c.enc.Rows == c.table.Chunks[c.chunk].Rows {
		c.endChunk()
	}
	return nil
}

func (c *comparer) endChunk() {
	if c.first == "" && c.chunk < len(c.table.Chunks) && c.enc.Sum.String() != c.table.Chunks[c.chunk].Checksum {
		c.first = c.table.Chunks[c.chunk].File
	}
	c.chunk++
	c.total.Add(c.enc.Sum)
	c.rows += c.enc.Rows
	c.enc.Rows, c.enc.Sum = 0, mysql.RowSum{}
}

// Compare reads a table over c, whose character_set_results is NULL, and
// compares its rows with the checksums of t. A difference is a DifferenceError.
func Compare(ctx context.Context, c *mysql.Conn, t core.Table, progress core.Progress) error {
	return CompareRange(ctx, c, t, "TRUE", progress)
}

// CompareRange is Compare for the rows that the SQL condition where selects: t
// has their chunks, number and checksum.
func CompareRange(ctx context.Context, c *mysql.Conn, t core.Table, where string, progress core.Progress) error {
	work := tableWork{info: tableInfo{name: t.Name}, def: &definition{key: t.Key}, slices: []slice{{where: where, versions: t.AllVersions}}}
	found, err := readColumns(ctx, c, "DATABASE()", t.Name)
	if err != nil {
		return err
	}
	for _, col := range t.Columns {
		expr := mysql.QuoteName(col.Name)
		for _, f := range found {
			if f.name == col.Name {
				_, expr = f.read()
			}
		}
		if col.Form == core.FormEnd {
			expr = endExpression(expr)
		}
		work.def.columns = append(work.def.columns, col)
		work.def.selects = append(work.def.selects, expr)
	}
	work.history = &history{definition: *work.def}
	cmp := &comparer{table: t, progress: progress}
	cmp.enc.Sink, cmp.enc.Columns = cmp, len(t.Columns)
	if err := c.Stream(ctx, work.selectRows(0), len(t.Columns), &cmp.enc); err != nil {
		return err
	}
	cmp.endChunk()
	if cmp.rows == t.Rows && cmp.total.String() == t.Checksum {
		return nil
	}
	if len(t.Key) == 0 {
		cmp.first = ""
	}
	return &DifferenceError{Table: t.Name, Chunk: cmp.first, Have: cmp.rows, Want: t.Rows}
}
