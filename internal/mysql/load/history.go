package load

import (
	"context"
	"fmt"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// withHistory has the tables that are system-versioned loaded with all versions
// of their rows, where the server lets them in. Elsewhere the present ones are
// loaded, and a warning says so.
func (l *loader) withHistory(ctx context.Context, tables []core.Table) ([]core.Table, error) {
	var versioned int
	for _, t := range tables {
		if t.History != nil {
			versioned++
		}
	}
	if versioned == 0 {
		return tables, nil
	}
	refused, err := l.allowHistory(ctx)
	if err != nil {
		return nil, fmt.Errorf("prepare to load the history of tables: %w", err)
	}
	chosen := make([]core.Table, len(tables))
	for i, t := range tables {
		chosen[i] = t
		switch {
		case t.History == nil:
		case refused == "":
			chosen[i] = t.Versions()
		case t.History.Rows > t.Rows:
			l.result.Warnings = append(l.result.Warnings, core.Warning{
				Code: "history", Object: "table " + t.Name,
				Message: fmt.Sprintf("its present rows are restored, its %d former ones are not: %s", t.History.Rows-t.Rows, refused),
			})
		}
	}
	return chosen, nil
}

// allowHistory lets the sessions of this load write former rows. It returns why
// the server does not, "" when it does.
func (l *loader) allowHistory(ctx context.Context) (refused string, err error) {
	if !l.server.MariaDB() || l.server.VersionNumber < 101100 {
		return "only MariaDB from 10.11 on can load them", nil
	}
	for _, c := range append([]*mysql.Conn{l.control}, l.workers...) {
		// Who may not choose the time (secure_timestamp) may not write former rows.
		for _, set := range []string{"system_versioning_insert_history=1", "timestamp=1", "timestamp=DEFAULT"} {
			_, err := c.Exec(ctx, "SET SESSION "+set)
			if mysql.Number(err) != 0 {
				return "the server does not let them in (" + mysql.ServerText(err) + ")", nil
			}
			if err != nil {
				return "", err
			}
		}
	}
	// The last instant that the server can hold, in UTC: from 11.5 on it is in 2106.
	rows, err := l.control.Query(ctx, "SELECT COALESCE(FROM_UNIXTIME(4294967295.999999), FROM_UNIXTIME(2147483647.999999))")
	if err != nil {
		return "", err
	}
	if len(rows) != 1 || rows[0][0].Null {
		return "", fmt.Errorf("the server does not tell its last instant")
	}
	l.lastInstant = rows[0][0].Text
	return "", nil
}
