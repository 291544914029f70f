// Package holders finds out who keeps tables from being locked, for the error
// of a statement that waited in vain. It is for package shadow. It promises to
// change nothing and to wait no longer than about a second for each of a few tables.
package holders

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/load"
)

// Wait is a statement that waited in vain.
type Wait struct {
	Doing   string
	Cause   error
	Seconds int      // for how long it waited
	Tables  []string // of the database of the configuration: any that it may have waited for
	Own     []uint32 // sessions that are its own
}

// Explain makes the error of a wait: which tables are in use, and by whom where
// that may be seen. c is a session that has nothing under way.
func Explain(ctx context.Context, c *mysql.Conn, config mysql.Config, w Wait) error {
	e := &core.Error{
		Code: core.CodeLocked, Op: w.Doing, Err: w.Cause, Message: fmt.Sprintf("others use what it needs, and did not let go within %d seconds", w.Seconds),
		Hint: "end the sessions that hold them (SHOW FULL PROCESSLIST), or try again when they are done; nothing is lost",
	}
	tables, err := locked(ctx, config, w.Tables)
	if err != nil || len(tables) == 0 {
		return e
	}
	e.Message = fmt.Sprintf("table %s is in use, and was not let go within %d seconds", tables[0], w.Seconds)
	if len(tables) > 1 {
		e.Message = fmt.Sprintf("tables %s are in use, and were not let go within %d seconds", core.Some(tables, 3), w.Seconds)
	}
	if found := sessions(ctx, c, config.Database, tables, w.Own); len(found) > 0 {
		e.Message += ": " + core.Some(found, 3)
	}
	return e
}

// locked finds tables that cannot be locked now: a few, since each may take a
// second.
func locked(ctx context.Context, config mysql.Config, tables []string) (_ []string, err error) {
	c, err := load.Session(ctx, config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if _, err := c.Exec(ctx, "SET SESSION lock_wait_timeout=0"); err != nil { // MySQL makes it 1
		return nil, err
	}
	const few = 3
	var found []string
	for _, table := range tables {
		_, err := c.Exec(ctx, "LOCK TABLES "+mysql.QuoteName(table)+" WRITE")
		switch {
		case mysql.Number(err) == mysql.ErLockWaitTimeout:
			if found = append(found, table); len(found) == few {
				return found, nil
			}
		case err != nil:
			return found, err
		}
		if _, err := c.Exec(ctx, "UNLOCK TABLES"); err != nil {
			return found, err
		}
	}
	return found, nil
}

// sessions describes who holds the tables. Servers tell it in different ways,
// and not everybody.
func sessions(ctx context.Context, c *mysql.Conn, database string, tables []string, mine []uint32) []string {
	const who = "SELECT DISTINCT p.ID, p.USER, p.HOST, p.COMMAND, p.TIME FROM information_schema.PROCESSLIST p "
	own := ""
	for _, id := range mine {
		own += fmt.Sprintf(" AND p.ID<>%d", id)
	}
	quoted := make([]string, len(tables))
	for i, t := range tables {
		quoted[i] = mysql.QuoteText(t)
	}
	db, names := mysql.QuoteText(database), strings.Join(quoted, ",")
	for _, query := range []string{
		who + "JOIN performance_schema.threads t ON t.PROCESSLIST_ID=p.ID JOIN performance_schema.metadata_locks m ON m.OWNER_THREAD_ID=t.THREAD_ID" +
			" WHERE m.LOCK_STATUS='GRANTED' AND m.OBJECT_TYPE='TABLE' AND m.OBJECT_SCHEMA=" + db + " AND m.OBJECT_NAME IN (" + names + ")" + own,
		who + "JOIN information_schema.METADATA_LOCK_INFO m ON m.THREAD_ID=p.ID WHERE m.TABLE_SCHEMA=" + db + " AND m.TABLE_NAME IN (" + names + ")" + own,
		who + "JOIN information_schema.INNODB_TRX t ON t.trx_mysql_thread_id=p.ID WHERE p.DB=" + db + own,
		who + "WHERE p.DB=" + db + own,
	} {
		rows, err := c.Query(ctx, query+" ORDER BY p.TIME DESC, p.ID LIMIT 10")
		if err != nil || len(rows) == 0 {
			continue
		}
		var out []string
		for _, r := range rows {
			out = append(out, fmt.Sprintf("session %s of %s@%s (%s for %s s)", r[0].Text, r[1].Text, r[2].Text, strings.ToLower(r[3].Text), r[4].Text))
		}
		return out
	}
	return nil
}
