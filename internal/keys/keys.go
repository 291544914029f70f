// Package keys says how those who open what applications encrypt are given the
// rows that hold it, from a live database, a restored copy or a backup. The
// packages below it open and seal. It promises to need no more memory than a
// page of rows.
package keys

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Rows calls each for every row of a table, with the values of columns, nil for
// NULL; the first column is the table's whole-number key. row is valid until
// each returns; each's error ends the reading and is returned. Where the table
// or a column is not there, the error is ErrAbsent.
type Rows func(ctx context.Context, table string, columns []string, each func(row []*string) error) error

// ErrAbsent says that there is no such table, or no such column in it.
var ErrAbsent = errors.New("there is no such table or column")

// Columns returns the columns of all tables whose type is kind, "tinyblob", by
// table and in the table's order. Tables whose rows Rows cannot read, because
// they have no key of one column, are among them, with Key "".
type Columns func(ctx context.Context, kind string) ([]Column, error)

// Column is a column of a table.
type Column struct {
	Table, Key, Name string // Key: the table's primary key
}

// Asker runs a query on a database, as profile.Querier does.
type Asker interface {
	Query(ctx context.Context, statement string) ([][]*string, error)
}

const pageRows = 500

// Ask reads rows with queries, a page at a time.
func Ask(q Asker) Rows {
	return func(ctx context.Context, table string, columns []string, each func(row []*string) error) error {
		if err := present(ctx, q, table, columns); err != nil {
			return err
		}
		quoted := make([]string, len(columns))
		for i, c := range columns {
			quoted[i] = quoteName(c)
		}
		for after := ""; ; {
			rows, err := q.Query(ctx, fmt.Sprintf("SELECT %s FROM %s%s ORDER BY %s LIMIT %d", strings.Join(quoted, ", "), quoteName(table), after, quoted[0], pageRows))
			if err != nil {
				return fmt.Errorf("read table %s: %w", table, err)
			}
			for _, row := range rows {
				if len(row) != len(columns) || row[0] == nil || !wholeNumber(*row[0]) {
					return fmt.Errorf("read table %s: a row without its number", table)
				}
				if err := each(row); err != nil {
					return err
				}
			}
			if len(rows) < pageRows {
				return nil
			}
			after = fmt.Sprintf(" WHERE %s > %s", quoted[0], *rows[len(rows)-1][0])
		}
	}
}

// present says whether table has the columns.
func present(ctx context.Context, q Asker, table string, columns []string) error {
	rows, err := q.Query(ctx, "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = "+literal(table))
	if err != nil {
		return fmt.Errorf("look for table %s: %w", table, err)
	}
	there := map[string]bool{}
	for _, r := range rows {
		if len(r) == 1 && r[0] != nil {
			there[strings.ToLower(*r[0])] = true
		}
	}
	for _, c := range columns {
		if !there[strings.ToLower(c)] {
			return fmt.Errorf("read %s.%s: %w", table, c, ErrAbsent)
		}
	}
	return nil
}

func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// literal is text in hexadecimal, which means the same in every sql_mode.
func literal(text string) string { return "_utf8mb4 x'" + hex.EncodeToString([]byte(text)) + "'" }

func wholeNumber(s string) bool {
	digits := strings.TrimPrefix(s, "-")
	return digits != "" && strings.Trim(digits, "0123456789") == ""
}

// AskColumns looks for columns with queries, among the tables whose names begin
// with prefix.
func AskColumns(q Asker, prefix string) Columns {
	return func(ctx context.Context, kind string) ([]Column, error) {
		rows, err := q.Query(ctx, "SELECT c.table_name, c.column_name, (SELECT IF(COUNT(*) = 1, MIN(k.column_name), '') FROM information_schema.columns k"+
			" WHERE k.table_schema = c.table_schema AND k.table_name = c.table_name AND k.column_key = 'PRI')"+
			" FROM information_schema.columns c JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name"+
			" WHERE c.table_schema = DATABASE() AND t.table_type = 'BASE TABLE' AND c.data_type = "+literal(kind)+" ORDER BY c.table_name, c.ordinal_position")
		if err != nil {
			return nil, fmt.Errorf("look for columns of type %s: %w", kind, err)
		}
		var out []Column
		for _, r := range rows {
			if len(r) != 3 || r[0] == nil || r[1] == nil || r[2] == nil {
				return nil, fmt.Errorf("look for columns of type %s: the server's answer is not understood", kind)
			}
			if strings.HasPrefix(*r[0], prefix) {
				out = append(out, Column{Table: *r[0], Name: *r[1], Key: *r[2]})
			}
		}
		return out, nil
	}
}
