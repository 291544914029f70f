package load

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
)

// What the server computes of the rows that come in: generated columns, which
// nobody can write, and keys on them.

// originMode returns the sql_mode under which rows come in: rowMode, and those
// of the origin's modes that decide what an expression gives, as far as this
// server has them. It leaves the control session with rowMode.
func (l *loader) originMode(ctx context.Context) (string, error) {
	mode := rowMode
	for _, m := range expressionModes(l.opt.Origin, l.server.MariaDB()) {
		_, err := l.control.Exec(ctx, "SET sql_mode="+mysql.QuoteText(mode+","+m))
		if err == nil {
			mode += "," + m
		} else if mysql.Number(err) == 0 {
			return "", err
		}
	}
	if mode == rowMode {
		return mode, nil
	}
	_, err := l.control.Exec(ctx, "SET sql_mode="+mysql.QuoteText(rowMode))
	return mode, err
}

// expressionModes lists the modes under which expressions give here what they
// gave at the origin.
func expressionModes(origin core.DatabaseServer, mariaDB bool) []string {
	if origin.Vendor == "" {
		return nil
	}
	has := strings.Split(origin.SQLMode, ",")
	var modes []string
	for _, m := range []string{"NO_UNSIGNED_SUBTRACTION", "PAD_CHAR_TO_FULL_LENGTH"} {
		if slices.Contains(has, m) {
			modes = append(modes, m)
		}
	}
	// MariaDB cuts parts of a second unless it is told to round, MySQL rounds
	// them unless it is told to cut.
	rounds := !slices.Contains(has, "TIME_TRUNCATE_FRACTIONAL")
	if origin.Vendor == mysql.MariaDB {
		rounds = slices.Contains(has, "TIME_ROUND_FRACTIONAL")
	}
	switch {
	case mariaDB && rounds:
		modes = append(modes, "TIME_ROUND_FRACTIONAL")
	case !mariaDB && !rounds:
		modes = append(modes, "TIME_TRUNCATE_FRACTIONAL")
	}
	return modes
}

// enterMode readies a session for a step: tables are made and filled under the
// origin's modes, and rows are compared under those that they were read with.
func (l *loader) enterMode(ctx context.Context, c *mysql.Conn, at step) error {
	if l.sqlMode == rowMode {
		return nil
	}
	mode := l.sqlMode
	if at == stepCheck {
		mode = rowMode
	}
	_, err := c.Exec(ctx, "SET sql_mode="+mysql.QuoteText(mode))
	return err
}

// compareGenerated warns of stored generated columns that hold other values
// than at the origin.
func (l *loader) compareGenerated(ctx context.Context, c *mysql.Conn, t *tableLoad) error {
	same, err := dump.SameGenerated(ctx, c, l.here(t.Table))
	if err != nil || same {
		return err
	}
	var names []string
	for _, col := range t.Generated.Columns {
		if !slices.Contains(t.Columns, col) { // those are of the key
			names = append(names, col.Name)
		}
	}
	which := "the generated column "
	if len(names) > 1 {
		which = "one of the generated columns "
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.warnOnce(core.Warning{
		Code: "generated", Object: "table " + t.Name,
		Message: fmt.Sprintf("the server computed other values for %s%s than the origin had stored; all columns that these are computed from are exact", which, strings.Join(names, ", ")),
	})
	return nil
}
