package shadow

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/ddl"
)

// noteKeys keeps the keys of a table that foreign keys are about to be taken
// off; home is what it is called while it is live.
func (l *look) noteKeys(ctx context.Context, p, home place, x side) error {
	stays := l.stand(p).standing == elsewhere
	k := Keys{Schema: home.schema, Table: home.name, New: bool(x) && !stays, Stays: stays}
	if slices.ContainsFunc(l.s.Keys, func(o Keys) bool {
		return o.Schema == k.Schema && o.Table == k.Table && o.New == k.New && o.Stays == k.Stays
	}) {
		return nil
	}
	printed, err := l.showCreate(ctx, p)
	if err != nil {
		return err
	}
	if k.Lines = ddl.KeyLines(printed); len(k.Lines) > 0 {
		l.s.Keys = append(l.s.Keys, k)
	}
	return nil
}

// mendKeys gives tables the keys that they had before foreign keys were taken
// off them and given back.
func (x *exchange) mendKeys(ctx context.Context) error {
	for _, k := range x.s.Keys {
		p := place{k.Schema, k.Table}
		if kind, there := x.at(p); !k.Stays && k.New != bool(x.to) || there && kind != "table" || !there && slices.Contains(x.s.schemas(), k.Schema) {
			continue
		}
		printed, err := x.showCreate(ctx, p)
		if mysql.Number(err) == mysql.ErNoSuchTable {
			continue
		}
		if err != nil {
			return err
		}
		if err := x.mendTable(ctx, p, ddl.KeyLines(printed), k.Lines); err != nil {
			return err
		}
	}
	return nil
}

func (x *exchange) mendTable(ctx context.Context, p place, have, want []string) error {
	same := 0
	for same < len(have) && same < len(want) && have[same] == want[same] {
		same++
	}
	have, want = have[same:], want[same:]
	if len(have) == 0 && len(want) == 0 {
		return nil
	}
	var parts []string
	plain := true
	for _, line := range have {
		plain = plain && ddl.KeyName(line) != ""
		parts = append(parts, "DROP KEY "+mysql.QuoteName(ddl.KeyName(line)))
	}
	for _, line := range want {
		plain = plain && ddl.KeyName(line) != ""
		parts = append(parts, "ADD "+line)
	}
	statement := "ALTER TABLE " + p.String() + " " + commas(parts)
	rows, err := x.control.Query(ctx, "SELECT COALESCE(MAX(DATA_LENGTH+INDEX_LENGTH),0) FROM information_schema.TABLES WHERE TABLE_SCHEMA="+mysql.QuoteText(p.schema)+" AND TABLE_NAME="+mysql.QuoteText(p.name))
	if err != nil {
		return fmt.Errorf("size of table %s: %w", p.name, err)
	}
	size, err := strconv.ParseInt(rows[0][0].Text, 10, 64)
	if err != nil {
		return fmt.Errorf("size of table %s: %w", p.name, err)
	}
	if plain && size <= copyLimit && len(want) > 0 {
		err := x.exec(ctx, "put the keys of table "+p.name+" in order", statement)
		if mysql.Number(err) == 0 {
			return err
		}
	}
	x.warnings = append(x.warnings, core.Warning{
		Code: "keys", Object: "table " + p.name,
		Message: "keys that the server made for its foreign keys have other names, or stand in another order, than before; to change that: " + statement,
	})
	return nil
}
