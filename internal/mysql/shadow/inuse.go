package shadow

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/load"
)

// inUse makes the error of a switch that waited too long: which tables are in
// use, and by whom where that may be seen.
func (l *look) inUse(ctx context.Context, doing string, cause error) error {
	e := &core.Error{
		Code: core.CodeLocked, Op: doing, Err: cause, Message: fmt.Sprintf("others use what it needs, and did not let go within %d seconds", l.s.LockWait),
		Hint: "end the sessions that hold them (SHOW FULL PROCESSLIST), or try again when they are done; nothing is lost",
	}
	tables, err := l.lockedTables(ctx)
	if err != nil || len(tables) == 0 {
		return e
	}
	e.Message = fmt.Sprintf("table %s is in use, and was not let go within %d seconds", tables[0], l.s.LockWait)
	if len(tables) > 1 {
		e.Message = fmt.Sprintf("tables %s are in use, and were not let go within %d seconds", core.Some(tables, 3), l.s.LockWait)
	}
	if sessions := l.sessions(ctx, tables); len(sessions) > 0 {
		e.Message += ": " + core.Some(sessions, 3)
	}
	return e
}

// lockedTables finds tables that cannot be locked now: a few, since each may
// take a second.
func (l *look) lockedTables(ctx context.Context) (_ []string, err error) {
	c, err := load.Session(ctx, l.config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if _, err := c.Exec(ctx, "SET SESSION lock_wait_timeout=0"); err != nil { // MySQL makes it 1
		return nil, err
	}
	const few = 3
	var found []string
	for i := range l.s.Tables {
		t := &l.s.Tables[i]
		if kind, _ := l.at(l.s.live(t)); kind != "table" {
			continue
		}
		_, err := c.Exec(ctx, "LOCK TABLES "+mysql.QuoteName(t.Name)+" WRITE")
		switch {
		case mysql.Number(err) == mysql.ErLockWaitTimeout:
			if found = append(found, t.Name); len(found) == few {
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
func (l *look) sessions(ctx context.Context, tables []string) []string {
	const who = "SELECT DISTINCT p.ID, p.USER, p.HOST, p.COMMAND, p.TIME FROM information_schema.PROCESSLIST p "
	own := fmt.Sprintf(" AND p.ID<>%d AND p.ID<>%d", l.control.ID(), l.raw.ID())
	db, names := mysql.QuoteText(l.s.Live), quoteTexts(tables)
	for _, query := range []string{
		who + "JOIN performance_schema.threads t ON t.PROCESSLIST_ID=p.ID JOIN performance_schema.metadata_locks m ON m.OWNER_THREAD_ID=t.THREAD_ID" +
			" WHERE m.LOCK_STATUS='GRANTED' AND m.OBJECT_TYPE='TABLE' AND m.OBJECT_SCHEMA=" + db + " AND m.OBJECT_NAME IN (" + names + ")" + own,
		who + "JOIN information_schema.METADATA_LOCK_INFO m ON m.THREAD_ID=p.ID WHERE m.TABLE_SCHEMA=" + db + " AND m.TABLE_NAME IN (" + names + ")" + own,
		who + "JOIN information_schema.INNODB_TRX t ON t.trx_mysql_thread_id=p.ID WHERE p.DB=" + db + own,
		who + "WHERE p.DB=" + db + own,
	} {
		rows, err := l.control.Query(ctx, query+" ORDER BY p.TIME DESC, p.ID LIMIT 10")
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
