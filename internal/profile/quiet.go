package profile

import (
	"context"
	"fmt"
	"strings"

	"github.com/backstay/backstay/internal/core"
)

// Applicable returns those of the statements that the current database has the
// tables and columns for.
func Applicable(ctx context.Context, q Querier, statements []Statement) ([]Statement, error) {
	rows, err := q.Query(ctx, "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()")
	if err != nil {
		return nil, &core.Error{Code: core.CodeDatabase, Op: "look for what is to be switched off", Err: err}
	}
	there := map[string]bool{}
	for _, r := range rows {
		// Windows' servers, and some on macOS, write tables in lower case.
		there[strings.ToLower(Text(r, 0)+"\x00"+Text(r, 1))] = true
	}
	var out []Statement
	for _, s := range statements {
		missing := len(s.Columns) == 0
		for _, c := range s.Columns {
			missing = missing || !there[strings.ToLower(s.Table+"\x00"+c)]
		}
		if !missing {
			out = append(out, s)
		}
	}
	return out, nil
}

// Set returns the statement that gives columns of a table a value where they
// have another; does says it in words. values are column names, each followed by
// an SQL literal.
func Set(table, does string, values ...string) Statement {
	s := Statement{Table: table, Does: does}
	var sets, differ []string
	for i := 0; i+1 < len(values); i += 2 {
		column := QuoteName(values[i])
		s.Columns = append(s.Columns, values[i])
		sets = append(sets, column+" = "+values[i+1])
		differ = append(differ, fmt.Sprintf("NOT (%s <=> %s)", column, values[i+1]))
	}
	s.SQL = "UPDATE " + QuoteName(table) + " SET " + strings.Join(sets, ", ") + " WHERE " + strings.Join(differ, " OR ")
	return s
}
