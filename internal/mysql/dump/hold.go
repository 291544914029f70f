package dump

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// What tells that a table was altered or replaced after the instant, none of
// which is enough alone (all tried on MariaDB 10.11, 11.8 and MySQL 9):
//
//   - The server's error 1412, which comes when InnoDB knows a table to be newer
//     than the reader's view. MariaDB forgets that when the table leaves its
//     cache: a truncated table is then empty, with no error. It never comes for
//     a partition that was exchanged, nor on MySQL for one that was truncated.
//   - CREATE_TIME, in whole seconds. It tells nothing of a second change in one
//     second, of TRUNCATE and of EXCHANGE PARTITION, nor on MySQL of a rename.
//   - A row that was there, and is not in the same view.
//   - InnoDB's number of the table, which takes the right PROCESS to see.
//   - That the table was open since before the instant: nothing could alter it,
//     and whoever tried waits. For what nothing else tells.

// settleMargin is by how much a file's time may lag behind the clock.
const settleMargin = 50 * time.Millisecond

// listSettled lists the tables, such that every later change of one shows: it
// waits until no table is of the present second, and holds open what would
// change unseen all the same.
func (s *Snapshot) listSettled(ctx context.Context) error {
	for n := 1; ; n++ {
		if err := s.letGo(ctx); err != nil {
			return err
		}
		if err := s.listTables(ctx); err != nil {
			return err
		}
		young, wait, err := s.young(ctx)
		if err != nil {
			return err
		}
		if n == 1 && len(young) > 0 {
			if err := s.pause(ctx, wait); err != nil {
				return err
			}
			continue
		}
		if s.ids, err = s.readIDs(ctx, s.control); err != nil {
			return err
		}
		if s.watched, err = s.unseen(ctx); err != nil {
			return err
		}
		for _, t := range s.tables {
			if t.transactional && !t.elsewhere && (young[t.name] || s.watched[t.name] && s.ids.of(s.database, t.name) == "") {
				if err := s.hold(ctx, t.name); err != nil {
					return err
				}
			}
		}
		if s.holder == nil {
			return nil
		}
		name, err := s.listAgain(ctx, s.tables) // which may have changed before they were held
		if err != nil {
			return err
		}
		if name == "" {
			return nil
		}
		if n > s.opt.attempts {
			return changed(name, errors.New("it was made, dropped or altered while the backup began, and others before it"))
		}
	}
}

// listAgain lists the tables while some may be held, and names one that is not
// as before. It does not wait for one whose change waits for the holder: that
// would be for each other.
func (s *Snapshot) listAgain(ctx context.Context, before []tableInfo) (string, error) {
	if _, err := s.control.Exec(ctx, waitLess); err != nil {
		return "", err
	}
	err := s.listTables(ctx)
	if _, werr := s.control.Exec(ctx, waitLong); werr != nil {
		return "", errors.Join(err, werr)
	}
	var closed *closedError
	if s.holder != nil && errors.As(err, &closed) { // a table that is broken was told of before any was held
		return closed.table, nil
	}
	return differs(before, s.tables), err
}

// young names the tables that were made or altered so lately that another
// change would have the same time, and says how long to wait until it has not.
func (s *Snapshot) young(ctx context.Context) (map[string]bool, time.Duration, error) {
	rows, err := s.control.Query(ctx, "SELECT SYSDATE(6)")
	if err != nil || len(rows) != 1 {
		return nil, 0, errors.Join(err, errors.New("ask the server for the time"))
	}
	now, err := time.Parse("2006-01-02 15:04:05.999999", rows[0][0].Text)
	if err != nil {
		return nil, 0, fmt.Errorf("read the server's time: %w", err)
	}
	young := map[string]bool{}
	var wait time.Duration
	for _, t := range s.tables {
		if !t.transactional || t.elsewhere || t.created == "" {
			continue
		}
		created, err := time.Parse(time.DateTime, t.created)
		if err != nil {
			return nil, 0, fmt.Errorf("time of table %s: %w", t.name, err)
		}
		if left := created.Add(time.Second + settleMargin).Sub(now); left > 0 {
			young[t.name] = true
			wait = max(wait, left)
		}
	}
	return young, min(wait, time.Second+settleMargin), nil // a clock that was put back must not make us wait for it
}

// unseen names the tables that can change without another CREATE_TIME and
// without an error: partitioned ones and those that could be exchanged with a
// partition of them, those of engines that do not know of reading what is gone,
// and on MySQL those that could be renamed to each other.
func (s *Snapshot) unseen(ctx context.Context) (map[string]bool, error) {
	unseen := map[string]bool{}
	partitioned := false
	byTime := map[string][]string{}
	for _, t := range s.tables {
		partitioned = partitioned || t.partitioned
		if t.partitioned || !strings.EqualFold(t.engine, "InnoDB") {
			unseen[t.name] = true
		}
		byTime[t.created] = append(byTime[t.created], t.name)
	}
	renames := !s.Server.MariaDB() && len(byTime) < len(s.tables)
	if !partitioned && !renames {
		return unseen, nil
	}
	rows, err := s.control.Query(ctx, "SELECT TABLE_NAME, SHA2(GROUP_CONCAT(CONCAT_WS(' ', COLUMN_NAME, COLUMN_TYPE) ORDER BY ORDINAL_POSITION), 256) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA="+
		mysql.QuoteText(s.database)+" GROUP BY TABLE_NAME")
	if err != nil {
		return nil, fmt.Errorf("compare the tables' columns: %w", err)
	}
	columns := map[string]string{}
	for _, r := range rows {
		columns[r[0].Text] = r[1].Text
	}
	for _, p := range s.tables {
		for _, t := range s.tables {
			if p.partitioned && columns[t.name] == columns[p.name] {
				unseen[t.name] = true
			}
		}
	}
	if !renames {
		return unseen, nil
	}
	for _, names := range byTime {
		like := map[string][]string{}
		for _, n := range names {
			like[columns[n]] = append(like[columns[n]], n)
		}
		for _, twins := range like {
			for _, n := range twins {
				unseen[n] = unseen[n] || len(twins) > 1
			}
		}
	}
	return unseen, nil
}

// hold keeps a table as it is until letGo.
func (s *Snapshot) hold(ctx context.Context, table string) (err error) {
	if s.holder == nil {
		if s.holder, err = mysql.Connect(ctx, s.opt.Config); err != nil {
			return err
		}
		s.held = map[string]bool{}
		if err := keepIdle(ctx, s.holder); err != nil {
			return err
		}
		if _, err := s.holder.Exec(ctx, "START TRANSACTION"); err != nil {
			return err
		}
	}
	_, err = s.holder.Exec(ctx, "SELECT 1 FROM "+mysql.QuoteName(table)+" LIMIT 0")
	switch {
	case mysql.AccessDenied(err): // told when it is read
		return nil
	case mysql.Number(err) == mysql.ErNoSuchTable:
		return nil // the next list is without it
	case err != nil:
		return fmt.Errorf("hold table %s: %w", table, err)
	}
	s.held[table] = true
	return nil
}

// letGo ends the holding of all tables. An error says that they may not have
// been held until now.
func (s *Snapshot) letGo(ctx context.Context) error {
	if s.holder == nil {
		s.held = nil
		return nil
	}
	_, err := s.holder.Exec(ctx, "ROLLBACK")
	err = errors.Join(err, s.holder.Close())
	s.holder, s.held = nil, nil
	return err
}

// handOver has every reader hold what the holder holds, which is not needed
// then: whoever waits to alter a table makes wait whoever opens it after. It
// returns false when somebody waits already.
func (s *Snapshot) handOver(ctx context.Context) (bool, error) {
	if s.holder == nil {
		if s.Server.MariaDB() || len(s.watched) == 0 {
			return true, nil
		}
		// MySQL opens tables to tell their numbers: it may wait for one whose
		// change waits for one that a reader reads.
		s.holds = map[*mysql.Conn]bool{}
		_, err := s.control.Exec(ctx, waitLess)
		return err == nil, err
	}
	statements := []string{"SET SESSION lock_wait_timeout=1", "SAVEPOINT held"}
	for name := range s.held {
		statements = append(statements, "SELECT 1 FROM "+mysql.QuoteName(name)+" LIMIT 0")
	}
	// Whoever waits for what they hold may keep from them what they still need.
	statements = append(statements, waitLess)
	var g errgroup.Group // a context that ends would end the sessions with it
	for _, c := range s.readers {
		g.Go(func() error {
			for _, statement := range statements {
				if _, err := c.Exec(ctx, statement); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := g.Wait()
	switch mysql.Number(err) {
	case mysql.ErLockWaitTimeout, mysql.ErDeadlock, mysql.ErTableDefChanged, mysql.ErNoSuchTable:
		for _, c := range s.readers { // what they hold already makes the others wait
			for _, statement := range []string{"ROLLBACK", waitLong} {
				if _, err := c.Exec(ctx, statement); err != nil {
					return false, err
				}
			}
		}
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("hold tables: %w", err)
	}
	for _, c := range []*mysql.Conn{s.control, s.raw} {
		if _, err := c.Exec(ctx, waitLess); err != nil {
			return false, err
		}
	}
	held := s.held
	err = s.letGo(ctx)
	s.held = held
	s.holds = map[*mysql.Conn]bool{}
	for _, c := range s.readers {
		s.holds[c] = true
	}
	return true, err
}

const (
	waitLess = "SET SESSION lock_wait_timeout=1"
	waitLong = "SET SESSION lock_wait_timeout=300"
)

// closedError says that the server could not open a table to describe it.
type closedError struct{ table, why string }

func (e *closedError) Error() string { return e.why }

// wasRead notes that a table was read to its end.
func (s *Snapshot) wasRead(table string) {
	s.holding.Lock()
	defer s.holding.Unlock()
	delete(s.held, table)
}

// release lets a reader let go of what it holds when all of that was read.
func (s *Snapshot) release(ctx context.Context, c *mysql.Conn) error {
	s.holding.Lock()
	due := s.holds[c] && len(s.held) == 0
	if due {
		delete(s.holds, c)
	}
	s.holding.Unlock()
	if !due {
		return nil
	}
	_, err := c.Exec(ctx, "ROLLBACK TO SAVEPOINT held")
	return err
}

// keepIdle tells the server not to end a session that waits within a
// transaction while others work. Only MariaDB knows such a limit.
func keepIdle(ctx context.Context, c *mysql.Conn) error {
	_, err := c.Exec(ctx, "SET SESSION idle_transaction_timeout=0, SESSION idle_readonly_transaction_timeout=0, SESSION idle_write_transaction_timeout=0")
	if mysql.NotUnderstood(err) {
		return nil
	}
	return err
}

// tableIDs are InnoDB's numbers of a database's tables and partitions, by their
// files' names. It is nil where the account may not see them.
type tableIDs map[string]string

func (s *Snapshot) readIDs(ctx context.Context, c *mysql.Conn) (tableIDs, error) {
	table := "INNODB_TABLES"
	if s.Server.MariaDB() {
		table = "INNODB_SYS_TABLES"
	}
	rows, err := c.Query(ctx, "SELECT NAME, TABLE_ID FROM information_schema."+table+" WHERE SUBSTRING_INDEX(NAME,'/',1)="+mysql.QuoteText(mysql.DiskName(s.database)))
	if mysql.Number(err) != 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the tables' numbers: %w", err)
	}
	ids := tableIDs{}
	for _, r := range rows {
		ids[r[0].Text] = r[1].Text
	}
	return ids, nil
}

// of returns what identifies a table with its partitions; "" when it is not known.
func (ids tableIDs) of(database, table string) string {
	path := mysql.DiskName(database) + "/" + mysql.DiskName(table)
	if id, ok := ids[path]; ok {
		return id
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(ids)) {
		if strings.HasPrefix(name, path+"#") {
			parts = append(parts, name[len(path):]+"="+ids[name])
		}
	}
	return strings.Join(parts, " ")
}

// same says whether a table that c holds open is the one of the instant, as far
// as InnoDB's number and c's view tell.
func (s *Snapshot) same(ctx context.Context, c *mysql.Conn, t *tableWork) error {
	if c == s.locker { // it was locked before the instant
		return nil
	}
	name := t.info.name
	s.holding.Lock()
	held := s.held[name]
	s.holding.Unlock()
	if want := s.ids.of(s.database, name); s.watched[name] && !held && want != "" {
		var now tableIDs
		if err := s.present(c, func(present *mysql.Conn) (err error) {
			now, err = s.readIDs(ctx, present)
			return err
		}); err != nil {
			return err
		}
		if now.of(s.database, name) != want {
			return changed(name, errors.New("it, or a partition of it, is another table now"))
		}
	}
	rows, err := c.Query(ctx, "SELECT 1 FROM "+mysql.QuoteName(name)+" LIMIT 1")
	if err != nil {
		return err
	}
	if had := t.hasRows.Swap(len(rows) > 0); had && len(rows) == 0 {
		return changed(name, errTruncated)
	}
	return nil
}

var errTruncated = errors.New("it was truncated")

// trulyEmpty looks whether the tables that were read as empty are still those
// of the instant.
func (s *Snapshot) trulyEmpty(ctx context.Context, tables []core.Table) error {
	if s.ids == nil {
		return nil
	}
	var now tableIDs
	for _, t := range tables {
		if t.Rows > 0 || s.locker != nil && !strings.EqualFold(t.Engine, "InnoDB") {
			continue
		}
		if now == nil {
			var err error
			if now, err = s.readIDs(ctx, s.control); err != nil {
				return err
			}
		}
		if want := s.ids.of(s.database, t.Name); want != "" && want != now.of(s.database, t.Name) {
			return changed(t.Name, errTruncated)
		}
	}
	return nil
}

// objectState tells two moments apart between which an object that is not a
// table was made, dropped or changed.
func (s *Snapshot) objectState(ctx context.Context) (string, error) {
	db := mysql.QuoteText(s.database)
	sum := sha256.New()
	for _, q := range []string{
		"SELECT TABLE_NAME, t.* FROM information_schema.VIEWS t WHERE TABLE_SCHEMA=" + db,
		"SELECT EVENT_OBJECT_TABLE, t.* FROM information_schema.TRIGGERS t WHERE TRIGGER_SCHEMA=" + db,
		"SELECT ROUTINE_NAME, t.* FROM information_schema.ROUTINES t WHERE ROUTINE_SCHEMA=" + db,
		// Without STATUS and what else running an event changes.
		"SELECT EVENT_NAME, DEFINER, TIME_ZONE, EVENT_DEFINITION, EVENT_TYPE, EXECUTE_AT, INTERVAL_VALUE, INTERVAL_FIELD, SQL_MODE, STARTS, ENDS, ON_COMPLETION, LAST_ALTERED FROM information_schema.EVENTS WHERE EVENT_SCHEMA=" + db,
	} {
		rows, err := s.control.Query(ctx, q)
		if err != nil {
			return "", fmt.Errorf("list objects: %w", err)
		}
		var lines []string
		for _, r := range rows {
			if !s.owns(r[0].Text) {
				continue
			}
			var line strings.Builder
			for _, v := range r {
				line.WriteString(strconv.Quote(v.Text) + strconv.FormatBool(v.Null))
			}
			lines = append(lines, line.String())
		}
		slices.Sort(lines)
		fmt.Fprintf(sum, "%d %q\n", len(lines), lines)
	}
	return fmt.Sprintf("%x", sum.Sum(nil)), nil
}
