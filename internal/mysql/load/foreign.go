package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// What a server of another vendor makes of rows that the origin held: what of
// it is known and can be told is told, and does not fail the restore.

// zeros reads a chunk with the negative zeros of its FLOAT and DOUBLE columns
// as 0, because MariaDB has none: 0 is what it would make of them. change is
// by how much that changes the sum of the rows.
type zeros struct {
	in     *bufio.Reader
	floats []bool // by column
	change mysql.RowSum
	rows   int64 // that were changed

	rest []byte
	err  error
}

var negativeZero = []byte("-0")

func newZeros(r io.Reader, t core.Table) *zeros {
	z := &zeros{in: bufio.NewReaderSize(r, 1<<20), floats: make([]bool, len(t.Columns))}
	for i, c := range t.Columns {
		z.floats[i] = c.Form == core.FormFloat
	}
	return z
}

// Read gives the chunk's next bytes.
func (z *zeros) Read(p []byte) (int, error) {
	for len(z.rest) == 0 {
		if z.err != nil {
			return 0, z.err
		}
		line, err := z.in.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			line = bytes.Clone(line)
			var tail []byte
			tail, err = z.in.ReadBytes('\n')
			line = append(line, tail...)
		}
		z.err = err // of a chunk that was cut short; what came of it is handed on
		z.rest = z.fold(line)
	}
	n := copy(p, z.rest)
	z.rest = z.rest[n:]
	return n, nil
}

func (z *zeros) fold(line []byte) []byte {
	if !bytes.Contains(line, negativeZero) || !bytes.HasSuffix(line, []byte("\n")) {
		return line
	}
	values := bytes.Split(line[:len(line)-1], []byte("\t")) // a tab in a value is written otherwise
	changed := false
	for i, v := range values {
		if i < len(z.floats) && z.floats[i] && bytes.Equal(v, negativeZero) {
			values[i], changed = []byte("0"), true
		}
	}
	if !changed {
		return line
	}
	folded := append(bytes.Join(values, []byte("\t")), '\n')
	var now, was mysql.RowSum
	now.AddRow(folded)
	was.AddRow(line)
	z.change.Add(now)
	z.change.Sub(was)
	z.rows++
	return folded
}

// foldsZeros says whether rows of a table are read through zeros.
func (l *loader) foldsZeros(t core.Table) bool {
	return l.opt.Plan.NoNegativeZeros() && slices.ContainsFunc(t.Columns, func(c core.Column) bool { return c.Form == core.FormFloat })
}

// noteZeros keeps what zeros changed of a chunk, for the comparison.
func (l *loader) noteZeros(t core.Table, chunk core.Chunk, z *zeros) {
	if z == nil || z.rows == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changes == nil {
		l.changes = map[string]mysql.RowSum{}
	}
	l.changes[chunk.File] = z.change
	l.warnOnce(core.Warning{Code: "negative-zero", Object: "table " + t.Name, Message: "it has negative zeros, which are 0 here: MariaDB has none. They are equal in every comparison"})
}

// warnOnce adds a warning that is not there yet. l.mu is held.
func (l *loader) warnOnce(w core.Warning) {
	if !slices.Contains(l.result.Warnings, w) {
		l.result.Warnings = append(l.result.Warnings, w)
	}
}

// changed returns the table with the sums that its rows must have here.
func (l *loader) changed(t core.Table) (core.Table, error) {
	l.mu.Lock()
	changes := maps.Clone(l.changes)
	l.mu.Unlock()
	if len(changes) == 0 {
		return t, nil
	}
	total, err := mysql.ParseRowSum(t.Checksum)
	if err != nil {
		return t, err
	}
	t.Chunks = slices.Clone(t.Chunks)
	for i, c := range t.Chunks {
		change, ok := changes[c.File]
		if !ok {
			continue
		}
		sum, err := mysql.ParseRowSum(c.Checksum)
		if err != nil {
			return t, err
		}
		sum.Add(change)
		total.Add(change)
		t.Chunks[i].Checksum = sum.String()
	}
	t.Checksum = total.String()
	return t, nil
}

// erCheckViolated is MySQL's. Where LOAD DATA LOCAL meets such a row it leaves
// it out and warns.
const erCheckViolated = 3819

// relax ends the enforcement of a table's CHECKs: the origin has rows that
// break them, as MariaDB may have.
func (l *loader) relax(ctx context.Context, c *mysql.Conn, t core.Table) error {
	rows, err := c.Query(ctx, "SELECT CONSTRAINT_NAME FROM information_schema.TABLE_CONSTRAINTS WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME="+
		mysql.QuoteText(l.at(t.Name))+" AND CONSTRAINT_TYPE='CHECK' AND ENFORCED='YES'")
	if err != nil {
		return err
	}
	for _, r := range rows {
		if _, err := c.Exec(ctx, "ALTER TABLE "+l.quoted(t.Name)+" ALTER CHECK "+mysql.QuoteName(r[0].Text)+" NOT ENFORCED"); err != nil {
			return err
		}
	}
	if len(rows) > 0 {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.hints, t.Name)
		l.warnOnce(core.Warning{Code: "check", Object: "table " + t.Name, Message: fmt.Sprintf("rows of it break its CHECKs, as they did at the origin; its %d CHECKs are NOT ENFORCED now, so that the rows are kept", len(rows))})
	}
	return nil
}

// endChunk ends the transaction of a chunk, whose rows are kept when all came in.
func (l *loader) endChunk(ctx context.Context, c *mysql.Conn, whole bool, err error) error {
	if err != nil && mysql.Number(err) == 0 {
		return err // the session is lost, and with it the transaction
	}
	end := "COMMIT"
	if err != nil || !whole {
		end = "ROLLBACK"
	}
	_, endErr := c.Exec(ctx, end)
	return errors.Join(err, endErr)
}
