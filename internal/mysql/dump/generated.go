package dump

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// generated is how the stored generated columns of a table are read. A server
// lets nobody write them, so that they are not stored; but what it computes
// depends on its version and on the settings of the session that writes a row,
// and a restore must be able to tell.
type generated struct {
	columns []core.Column
	selects []string
}

// generatedOf returns how a table's stored generated columns are read, each
// row with its key before them; nil when there are none.
func generatedOf(cols []columnInfo, key []string) *generated {
	g := &generated{}
	add := func(c columnInfo) {
		form, expr := c.read()
		g.columns = append(g.columns, core.Column{Name: c.name, Form: form})
		g.selects = append(g.selects, expr)
	}
	for _, name := range key {
		if i := slices.IndexFunc(cols, func(c columnInfo) bool { return c.name == name }); i >= 0 && !cols[i].stored {
			add(cols[i])
		}
	}
	keys := len(g.columns)
	for _, c := range cols {
		if c.stored {
			add(c)
		}
	}
	if len(g.columns) == keys {
		return nil
	}
	return g
}

// sumGenerated sums the stored generated columns of a slice whose rows were
// just read over c.
func (t *tableWork) sumGenerated(ctx context.Context, c *mysql.Conn, i int) error {
	g := t.def.generated
	if g == nil || t.slices[i].versions {
		return nil
	}
	read := tableWork{info: t.info, def: &definition{selects: g.selects, key: t.def.key}, slices: t.slices}
	unread := &comparer{progress: core.NoProgress{}}
	unread.enc.Sink, unread.enc.Columns = unread, len(g.selects)
	if err := c.Stream(ctx, read.selectRows(i), len(g.selects), &unread.enc); err != nil {
		return fmt.Errorf("read generated columns: %w", err)
	}
	t.slices[i].generated = unread.enc.Sum
	return nil
}

// sums returns what the index says of the stored generated columns; nil where
// there are none or the rows are not the table's own.
func (t *tableWork) sums(rows int64) *core.Generated {
	if t.def.generated == nil || t.info.elsewhere {
		return nil
	}
	var sum mysql.RowSum
	for _, s := range t.slices {
		sum.Add(s.generated)
	}
	return &core.Generated{Columns: t.def.generated.columns, Rows: rows, Checksum: sum.String()}
}

// SameGenerated reads the stored generated columns of a table over c, whose
// character_set_results is NULL, and says whether they hold what they held at
// the origin. Without t.Generated nothing is known, and it says that they do.
func SameGenerated(ctx context.Context, c *mysql.Conn, t core.Table) (bool, error) {
	g := t.Generated
	if g == nil {
		return true, nil
	}
	err := Compare(ctx, c, core.Table{Name: t.Name, Columns: g.Columns, Rows: g.Rows, Checksum: g.Checksum}, core.NoProgress{})
	var differs *DifferenceError
	if errors.As(err, &differs) {
		return false, nil
	}
	return err == nil, err
}
