package appkeys

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/keys"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/ddl"
)

const (
	// pieceBytes is how much of a row is looked at at a time.
	pieceBytes = 256 << 10
	// maxValue bounds a value that is wanted, as it is stored: names, hashes and
	// what is encrypted have some hundred bytes.
	maxValue = 1 << 20
	// maxDefinition bounds a CREATE TABLE.
	maxDefinition = 16 << 20
)

// stored reads the rows of a backup.
type stored struct {
	open  *engine.Open
	files interface {
		Open(ctx context.Context, path string) (io.ReadCloser, error)
	}
}

func (r *stored) table(name string) (core.Table, bool) {
	tables := r.open.Index.Tables
	i := slices.IndexFunc(tables, func(t core.Table) bool { return t.Name == name })
	if i < 0 { // some servers keep names in lower case
		i = slices.IndexFunc(tables, func(t core.Table) bool { return strings.EqualFold(t.Name, name) })
	}
	if i < 0 {
		return core.Table{}, false
	}
	return tables[i], true
}

func (r *stored) rows(ctx context.Context, name string, columns []string, each func(row []*string) error) error {
	t, ok := r.table(name)
	if !ok {
		return fmt.Errorf("read %s: %w", name, keys.ErrAbsent)
	}
	want := make([]int, len(t.Columns)) // where in the row, plus one
	for i, c := range columns {
		at := slices.IndexFunc(t.Columns, func(have core.Column) bool { return strings.EqualFold(have.Name, c) })
		if at < 0 {
			return fmt.Errorf("read %s.%s: %w", name, c, keys.ErrAbsent)
		}
		want[at] = i + 1
	}
	reader := &rowReader{want: want, row: make([]*string, len(columns)), each: each}
	for _, c := range t.Chunks {
		if err := r.chunk(ctx, t, c, reader); err != nil {
			return err
		}
	}
	return nil
}

// chunk reads the rows of a chunk, and compares them with what the index says.
func (r *stored) chunk(ctx context.Context, t core.Table, c core.Chunk, reader *rowReader) (err error) {
	file, err := r.files.Open(ctx, c.File)
	if err != nil {
		return fmt.Errorf("read table %s: %w", t.Name, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	in := bufio.NewReaderSize(file, pieceBytes)
	var sum mysql.RowSummer
	var size int64
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		piece, err := in.ReadSlice('\n')
		if err == io.EOF && len(piece) == 0 {
			break
		}
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return fmt.Errorf("read table %s, chunk %s: %w", t.Name, c.File, err)
		}
		if err == io.EOF {
			return damaged(t, c, "it ends within a row")
		}
		size += int64(len(piece))
		sum.Write(piece, err == nil)
		if err := reader.take(piece); err != nil {
			var bad badRow
			if errors.As(err, &bad) {
				return damaged(t, c, bad.Error())
			}
			return err
		}
	}
	if reader.column != 0 || len(reader.value) > 0 {
		return damaged(t, c, "it ends within a row")
	}
	if sum.Rows() != c.Rows || size != c.Bytes || sum.Sum().String() != c.Checksum {
		return damaged(t, c, "its rows are not those that the index says")
	}
	return nil
}

func damaged(t core.Table, c core.Chunk, what string) error {
	return &core.Error{
		Code: core.CodeDamage, Op: "read table " + t.Name, Message: "the stored rows of " + c.File + " are damaged: " + what,
		Hint: "backstay verify says what else of the backup is damaged; take another one",
	}
}

// badRow is damage to a row. It holds nothing of it.
type badRow string

func (b badRow) Error() string { return string(b) }

// rowReader takes rows apart as they come, in pieces where they are long.
type rowReader struct {
	want []int // for each column of the table its place in row, plus one; 0: not wanted
	row  []*string
	each func(row []*string) error

	column int
	value  []byte // of the column under way, as stored
	plain  []byte
}

// take takes the next piece, which ends at most one row. Tabs and newlines in
// values are escaped, so that all that are seen are ends.
func (r *rowReader) take(piece []byte) error {
	for len(piece) > 0 {
		end := bytes.IndexAny(piece, "\t\n")
		part := piece
		if end >= 0 {
			part = piece[:end]
		}
		if r.column >= len(r.want) {
			return badRow("a row has too many values")
		}
		if r.want[r.column] > 0 {
			if len(r.value)+len(part) > maxValue {
				return badRow(fmt.Sprintf("a value that is to be read is longer than %d bytes", maxValue))
			}
			r.value = append(r.value, part...)
		}
		if end < 0 {
			return nil
		}
		last := piece[end] == '\n'
		piece = piece[end+1:]
		if err := r.endValue(); err != nil {
			return err
		}
		if !last {
			continue
		}
		if r.column != len(r.want) {
			return badRow("a row has too few values")
		}
		r.column = 0
		if err := r.each(r.row); err != nil {
			return err
		}
	}
	return nil
}

func (r *rowReader) endValue() error {
	if at := r.want[r.column]; at > 0 {
		value, null, _, _, err := mysql.NextField(r.plain[:0], r.value)
		if err != nil {
			return badRow("a value is escaped as none is")
		}
		r.row[at-1] = nil
		if !null {
			text := string(value)
			r.row[at-1], r.plain = &text, value
		}
		r.value = r.value[:0]
	}
	r.column++
	return nil
}

// columns looks for columns of a type in the tables' definitions.
func (r *stored) columns(ctx context.Context, kind string) ([]keys.Column, error) {
	var out []keys.Column
	for _, t := range r.open.Index.Tables {
		create, err := r.definition(ctx, t)
		if err != nil {
			return nil, err
		}
		_, items, _, ok := ddl.Split(create)
		if !ok {
			return nil, &core.Error{Code: core.CodeDamage, Op: "read table " + t.Name, Message: "its definition is not understood", Hint: "backstay verify says what else of the backup is damaged"}
		}
		key := ""
		if len(t.Key) == 1 {
			key = t.Key[0]
		}
		for _, item := range items {
			name, definition, named := ddl.CutName(item)
			if !named {
				continue
			}
			word := strings.TrimLeft(definition, " ")
			if i := strings.IndexFunc(word, func(c rune) bool { return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') }); i >= 0 {
				word = word[:i]
			}
			if strings.EqualFold(word, kind) && slices.ContainsFunc(t.Columns, func(c core.Column) bool { return c.Name == name }) {
				out = append(out, keys.Column{Table: t.Name, Key: key, Name: name})
			}
		}
	}
	return out, nil
}

func (r *stored) definition(ctx context.Context, t core.Table) (_ string, err error) {
	file, err := r.files.Open(ctx, t.Schema)
	if err != nil {
		return "", fmt.Errorf("read the definition of table %s: %w", t.Name, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	text, err := io.ReadAll(io.LimitReader(file, maxDefinition))
	if err != nil {
		return "", fmt.Errorf("read the definition of table %s: %w", t.Name, err)
	}
	return string(text), nil
}
