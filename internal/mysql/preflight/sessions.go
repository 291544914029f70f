package preflight

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// session is another session in the database.
type session struct {
	id, who, command string
	seconds          int64 // since when it does what it does, or nothing
}

func (s session) String() string { return fmt.Sprintf("session %s of %s", s.id, s.who) }

// findSessions looks who is in the database, and who may hold the switch up.
func (a *asker) findSessions(ctx context.Context) error {
	if !a.r.Exists {
		return nil
	}
	others := map[string]session{}
	rows, ok, err := a.try(ctx, "SELECT ID, USER, SUBSTRING_INDEX(HOST,':',1), COMMAND, TIME, COALESCE(DB,'')="+mysql.QuoteText(a.name)+" FROM information_schema.PROCESSLIST WHERE ID<>CONNECTION_ID()")
	if err != nil {
		return err
	}
	if !ok {
		rows, ok, err = a.try(ctx, "SELECT ID, USER, SUBSTRING_INDEX(HOST,':',1), COMMAND, TIME, COALESCE(DB,'')="+mysql.QuoteText(a.name)+" FROM performance_schema.processlist WHERE ID<>CONNECTION_ID()")
		if err != nil || !ok {
			return err
		}
	}
	a.r.OtherSessions = 0
	inside := map[string]bool{}
	for _, r := range rows {
		others[r[0].Text] = session{r[0].Text, r[1].Text + "@" + r[2].Text, r[3].Text, parse(r[4].Text)}
		if r[5].Text == "1" {
			a.r.OtherSessions++
			inside[r[0].Text] = true
		}
	}
	whose := ""
	if !a.global("PROCESS") {
		whose = " of this account (those of others it may not see)"
	}
	a.fine("sessions", a.name, "%d other sessions%s are in the database now", a.r.OtherSessions, whose)
	if a.in.Copy {
		return nil
	}
	return a.findHolders(ctx, others, inside)
}

const holdsHint = "end the session before the restore, if it does not end by itself: KILL on the server"

// findHolders names sessions that hold tables for long: the switch waits for
// them.
func (a *asker) findHolders(ctx context.Context, others map[string]session, inside map[string]bool) error {
	schema := mysql.QuoteText(a.name)
	query := "SELECT DISTINCT THREAD_ID, TABLE_NAME FROM information_schema.METADATA_LOCK_INFO WHERE LOCK_TYPE='Table metadata lock' AND TABLE_SCHEMA=" + schema
	if !a.r.Server.MariaDB() {
		query = "SELECT DISTINCT PROCESSLIST_ID, OBJECT_NAME FROM performance_schema.metadata_locks JOIN performance_schema.threads ON OWNER_THREAD_ID=THREAD_ID" +
			" WHERE OBJECT_TYPE='TABLE' AND LOCK_STATUS='GRANTED' AND OBJECT_SCHEMA=" + schema
	}
	rows, ok, err := a.try(ctx, query)
	if err != nil {
		return err
	}
	held := map[string][]string{}
	for _, r := range rows {
		held[r[0].Text] = append(held[r[0].Text], r[1].Text)
	}
	if !ok || len(rows) == 0 {
		if rows, _, err = a.try(ctx, "SELECT trx_mysql_thread_id FROM information_schema.INNODB_TRX"); err != nil {
			return err
		}
		for _, r := range rows {
			if inside[r[0].Text] {
				held[r[0].Text] = nil
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(others)) {
		s := others[id]
		tables, holds := held[id]
		busy := inside[id] && !strings.EqualFold(s.command, "Sleep") && !strings.EqualFold(s.command, "Daemon")
		switch {
		case s.seconds < int64(a.held):
		case holds && len(tables) > 0:
			a.find(core.FindingFine, "held-tables", core.Some(tables, shown), holdsHint, "%s holds them, and has been at it for %d seconds: the switch waits for it", s, s.seconds)
		case holds:
			a.find(core.FindingFine, "held-tables", a.name, holdsHint, "%s has a transaction open and has done nothing for %d seconds: the switch waits for it", s, s.seconds)
		case busy:
			a.find(core.FindingFine, "held-tables", a.name, holdsHint, "%s runs a statement (%s) for %d seconds now: the switch may have to wait for it", s, s.command, s.seconds)
		}
	}
	return nil
}
