package load

import (
	"context"
	"errors"
	"fmt"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
)

// verify reads every loaded table back and compares its rows with what was
// dumped.
func (l *loader) verify(ctx context.Context, tables []core.Table) error {
	var total int64
	for _, t := range tables {
		total += t.Bytes
	}
	l.opt.Progress.Stage("verify database", total)
	for _, c := range l.workers {
		// Values must come as they are stored, as in a dump.
		if _, err := c.Exec(ctx, "SET character_set_results=NULL"); err != nil {
			return err
		}
	}
	return mysql.Share(ctx, l.workers, len(tables), func(ctx context.Context, c *mysql.Conn, i int) error {
		if dump.RowsElsewhere(tables[i].Engine) {
			return nil
		}
		l.opt.Progress.Item("table " + tables[i].Name)
		err := dump.Compare(ctx, c, tables[i], l.opt.Progress)
		var differs *dump.DifferenceError
		if errors.As(err, &differs) {
			return &core.Error{
				Code: core.CodeDamage, Op: "verify restored table " + tables[i].Name,
				Message: differs.Error() + l.remarks(tables[i].Name),
				Hint:    "this server does not keep these values as they were; compare the sql_mode, version and character sets of both servers (backstay show)",
			}
		}
		if err != nil {
			return fmt.Errorf("verify restored table %s: %w", tables[i].Name, err)
		}
		return nil
	})
}
