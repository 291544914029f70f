package preflight

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/backstay/backstay/internal/mysql"
)

// Count is how many rows a table has.
type Count struct {
	Rows  int64
	Exact bool // counted; otherwise the server's estimate
}

// LiveCounts says how many rows tables of cfg.Database have now, by name;
// names that are no tables there are left out. It counts, the smallest first,
// until the budget is used up, and takes the server's estimates for the others.
// It may take twice the budget when the server is slow to say what it has.
func LiveCounts(ctx context.Context, cfg mysql.Config, names []string, budget time.Duration) (_ map[string]Count, err error) {
	name := cfg.Database
	cfg.Database = ""
	c, err := mysql.Connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	set := func(settings ...string) error {
		for _, s := range settings {
			if _, err := c.Exec(ctx, "SET SESSION "+s); err != nil && mysql.Number(err) == 0 {
				return err
			}
		}
		return nil
	}
	if err := set("information_schema_stats_expiry=0", "lock_wait_timeout=1"); err != nil {
		return nil, err
	}
	rows, err := c.Query(ctx, "SELECT TABLE_NAME, ENGINE, TABLE_ROWS, COALESCE(DATA_LENGTH,0) FROM information_schema.TABLES WHERE TABLE_TYPE IN ('BASE TABLE','SYSTEM VERSIONED') AND TABLE_SCHEMA="+mysql.QuoteText(name))
	if err != nil {
		return nil, fmt.Errorf("list tables of database %s: %w", name, err)
	}
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[n] = true
	}
	counts := map[string]Count{}
	type table struct {
		name  string
		bytes int64
	}
	var todo []table
	for _, r := range rows {
		if !wanted[r[0].Text] {
			continue
		}
		exact := countsRows(r[1].Text) && !r[2].Null
		counts[r[0].Text] = Count{parse(r[2].Text), exact}
		if !exact {
			todo = append(todo, table{r[0].Text, parse(r[3].Text)})
		}
	}
	slices.SortFunc(todo, func(a, b table) int { return cmp.Or(cmp.Compare(a.bytes, b.bytes), cmp.Compare(a.name, b.name)) })
	// A statement that is given up goes on on the server until it notices.
	if err := set(fmt.Sprintf("max_statement_time=%f", budget.Seconds()), fmt.Sprintf("max_execution_time=%d", max(budget.Milliseconds(), 1))); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	for _, t := range todo {
		rows, err := c.Query(limited, "SELECT COUNT(*) FROM "+mysql.QuoteName(name)+"."+mysql.QuoteName(t.name))
		switch {
		case limited.Err() != nil:
			return counts, ctx.Err()
		case mysql.Number(err) != 0:
			continue // locked, gone, or broken: the estimate stays
		case err != nil:
			return nil, fmt.Errorf("count rows of table %s: %w", t.name, err)
		}
		counts[t.name] = Count{parse(rows[0][0].Text), true}
	}
	return counts, nil
}
