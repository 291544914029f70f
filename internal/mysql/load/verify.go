package load

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
)

// verify reads a part of a loaded table back and compares its rows with what
// was dumped.
func (l *loader) verify(ctx context.Context, c *mysql.Conn, t *tableLoad, part int) error {
	if dump.RowsElsewhere(t.Engine) {
		return nil
	}
	l.opt.Progress.Item("check of table " + t.Name)
	want, where, err := t.expected(part)
	if err != nil {
		return fmt.Errorf("verify restored table %s: %w", t.Name, err)
	}
	if where == "" {
		return nil
	}
	if want, err = l.changed(want); err != nil {
		return fmt.Errorf("verify restored table %s: %w", t.Name, err)
	}
	err = dump.CompareRange(ctx, c, l.here(want), where, l.opt.Progress)
	var differs *dump.DifferenceError
	if errors.As(err, &differs) {
		return &core.Error{
			Code: core.CodeDamage, Op: "verify restored table " + t.Name,
			Message: differs.Error() + l.remarks(t.Name),
			Hint:    "this server does not keep these values as they were; compare the sql_mode, version and character sets of both servers (backstay show)",
		}
	}
	if err != nil {
		return fmt.Errorf("verify restored table %s: %w", t.Name, err)
	}
	if part > 0 {
		return nil
	}
	if err := l.compareGenerated(ctx, c, t); err != nil {
		return fmt.Errorf("verify generated columns of table %s: %w", t.Name, err)
	}
	return nil
}

// expected returns what a part of the table should hold, and the condition
// that selects it. All parts' conditions together select every row once. An
// empty condition means that another part has these rows too.
func (t *tableLoad) expected(part int) (core.Table, string, error) {
	if !t.ranges {
		return t.Table, "TRUE", nil
	}
	if !t.ascending() {
		if part > 0 {
			return t.Table, "", nil
		}
		return t.Table, "TRUE", nil
	}
	s, key, where := t.slices[part], mysql.QuoteName(t.Key[0]), "TRUE"
	if part > 0 {
		where += " AND " + key + " >= " + s.first
	}
	if part+1 < len(t.slices) { // the first and the last are open: no row may lie outside
		where += " AND " + key + " < " + t.slices[part+1].first
	}
	want := t.Table
	want.Chunks, want.Rows = s.chunks, s.rows
	var sum mysql.RowSum
	for _, c := range s.chunks {
		one, err := mysql.ParseRowSum(c.Checksum)
		if err != nil {
			return want, "", err
		}
		sum.Add(one)
	}
	want.Checksum = sum.String()
	return want, where, nil
}

// ascending says whether every slice begins behind the one before it, so that
// their beginnings tell them apart. A backup that says otherwise is compared
// as a whole.
func (t *tableLoad) ascending() bool {
	var last *big.Int
	for _, s := range t.slices {
		n, ok := new(big.Int).SetString(s.first, 10)
		if !ok || last != nil && last.Cmp(n) >= 0 {
			return false
		}
		last = n
	}
	return true
}
