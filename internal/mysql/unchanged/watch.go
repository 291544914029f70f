package unchanged

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// The server gives the beginning of transactions in the local time of its
// machine. Where the clocks are put forward or back in that time, an age is
// wrong by at most shiftMargin; steadyFor is how far back it is known whether
// they were.
const (
	shiftMargin = 2 * time.Hour
	steadyFor   = 23 * time.Hour
)

// Watch gathers the evidence of one instant.
type Watch struct {
	evidence Evidence
	after    *Counters
	mariaDB  bool
	harmless map[string]bool // numbers of connections
	process  bool            // the account has the right PROCESS
}

// Before gathers what must be known from before the instant. c has no
// transaction open, and time_zone +00:00. What the server does not tell is
// missing in the evidence; an error means that the connection is of no more use.
// harmless are connections whose transactions write nothing.
func Before(ctx context.Context, c *mysql.Conn, mariaDB bool, clock core.Clock, harmless ...*mysql.Conn) (*Watch, error) {
	w := &Watch{mariaDB: mariaDB, harmless: map[string]bool{}, evidence: Evidence{Version: Version, Clock: clock.Now().Unix(), Tables: []Table{}}}
	e := &w.evidence
	for _, h := range harmless {
		if h != nil {
			w.harmless[strconv.FormatUint(uint64(h.ID()), 10)] = true
		}
	}
	if !mariaDB {
		// The server would tell times that it remembers from up to a day ago.
		if _, err := c.Exec(ctx, "SET SESSION information_schema_stats_expiry=0"); mysql.Number(err) != 0 {
			e.Why = "the server may tell old update times: " + mysql.ServerText(err)
			return w, nil
		} else if err != nil {
			return nil, err
		}
	}
	err := w.askServer(ctx, c)
	if err == nil {
		err = w.askHorizon(ctx, c)
	}
	if mysql.Number(err) != 0 {
		e.Why = err.Error()
		if mysql.AccessDenied(err) {
			e.Why = "the account lacks the right PROCESS, so it does not see which transactions are open"
		}
		err = nil
	}
	return w, err
}

// askServer reads who the server is and what it counted. It is asked first:
// counters and time are of before everything else.
func (w *Watch) askServer(ctx context.Context, c *mysql.Conn) error {
	e := &w.evidence
	status, now, err := w.status(ctx, c)
	if err != nil {
		return err
	}
	e.Time, e.Counters = now, counters(status)
	uptime, err := strconv.ParseInt(status["UPTIME"], 10, 64)
	if err != nil {
		return fmt.Errorf("read the server's uptime: %w", err)
	}
	rows, err := c.Query(ctx, "SELECT @@version, @@hostname, @@port, @@datadir, @@server_id, CONNECTION_ID()")
	if err != nil {
		return err
	}
	if len(rows) != 1 || len(rows[0]) != 6 {
		return fmt.Errorf("ask the server who it is: unexpected answer")
	}
	r := rows[0]
	connection, err := strconv.ParseUint(r[5].Text, 10, 64)
	if err != nil {
		return fmt.Errorf("read the connection's number: %w", err)
	}
	uid, err := w.uid(ctx, c)
	if err != nil {
		return err
	}
	e.Server = Server{
		Version: r[0].Text, Host: r[1].Text, Port: r[2].Text, Folder: r[3].Text, ID: r[4].Text, UID: uid,
		Started: now - uptime, Address: c.Address(), Connection: connection,
	}
	return nil
}

// uid returns the server's own unique name. Not all versions have one.
func (w *Watch) uid(ctx context.Context, c *mysql.Conn) (string, error) {
	name := "@@server_uuid"
	if w.mariaDB {
		name = "@@server_uid"
	}
	rows, err := c.Query(ctx, "SELECT "+name)
	if mysql.NotUnderstood(err) {
		return "", nil
	}
	if err != nil || len(rows) != 1 {
		return "", err
	}
	return rows[0][0].Text, nil
}

// status returns what the server counts, by upper-case name, and its clock at
// the start of the statement, by which it computes the uptime too.
func (w *Watch) status(ctx context.Context, c *mysql.Conn) (map[string]string, int64, error) {
	from := "performance_schema.global_status"
	if w.mariaDB {
		from = "information_schema.GLOBAL_STATUS"
	}
	rows, err := c.Query(ctx, "SELECT VARIABLE_NAME, VARIABLE_VALUE, CAST(UNIX_TIMESTAMP() AS UNSIGNED) FROM "+from+
		" WHERE VARIABLE_NAME IN ('UPTIME','INNODB_MAX_TRX_ID','INNODB_LSN_CURRENT')")
	if err != nil {
		return nil, 0, err
	}
	status := map[string]string{}
	var now int64
	for _, r := range rows {
		status[strings.ToUpper(r[0].Text)] = r[1].Text
		if now, err = strconv.ParseInt(r[2].Text, 10, 64); err != nil {
			return nil, 0, fmt.Errorf("read the server's clock: %w", err)
		}
	}
	return status, now, nil
}

// counters is nil where one of them is missing: MySQL shows none of them.
func counters(status map[string]string) *Counters {
	var c Counters
	for name, to := range map[string]*uint64{
		"INNODB_MAX_TRX_ID": &c.Transactions, "INNODB_LSN_CURRENT": &c.Log,
	} {
		n, err := strconv.ParseUint(status[name], 10, 64)
		if err != nil {
			return nil
		}
		*to = n
	}
	return &c
}

// staleFor is how long the server goes on showing the list of transactions that
// it has, counted from when somebody last looked at it, and a little more.
const staleFor = 120 * time.Millisecond

// askHorizon asks again where the server shows an old list, and where others
// have transactions open, which are mostly short. Every answer is true; the
// latest horizon is the most useful.
func (w *Watch) askHorizon(ctx context.Context, c *mysql.Conn) error {
	steady, err := w.askSteady(ctx, c)
	if err != nil {
		return err
	}
	e := &w.evidence
	for n := 1; ; n++ {
		at, why, err := w.askTransactions(ctx, c, steady)
		if err != nil {
			return err
		}
		w.process = true
		if at > e.Horizon || n == 1 {
			e.Horizon, e.Why = at, why
		}
		if e.Horizon == e.Time || n == 3 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(staleFor):
		}
	}
}

const oldList = "the server shows an old list of open transactions"

// askSteady says whether the local time of the server's machine runs without a
// jump from a day ago until an hour from now.
func (w *Watch) askSteady(ctx context.Context, c *mysql.Conn) (bool, error) {
	rows, err := c.Query(ctx, "SELECT TIMESTAMPDIFF(SECOND, CONVERT_TZ(UTC_TIMESTAMP()-INTERVAL 1 DAY,'+00:00','SYSTEM'), CONVERT_TZ(UTC_TIMESTAMP()+INTERVAL 1 HOUR,'+00:00','SYSTEM'))=25*3600")
	if err != nil {
		return false, err
	}
	return len(rows) == 1 && rows[0][0].Text == "1", nil
}

// askTransactions finds the horizon: when the oldest open transaction began.
// The server shows a copy of its list, which may be old while others look at it
// too; a copy in which our own transaction runs this very statement is not.
func (w *Watch) askTransactions(ctx context.Context, c *mysql.Conn, steady bool) (at int64, why string, err error) {
	if _, err := c.Exec(ctx, "START TRANSACTION WITH CONSISTENT SNAPSHOT"); err != nil {
		return 0, "", err
	}
	mark := rand.Text()
	rows, qerr := c.Query(ctx, "SELECT trx_mysql_thread_id, trx_started, trx_rows_modified, trx_query FROM information_schema.INNODB_TRX WHERE '"+mark+"'<>''")
	cut, cerr := c.Query(ctx, "SHOW COUNT(*) WARNINGS")
	if _, err := c.Exec(ctx, "ROLLBACK"); err != nil {
		return 0, "", err
	}
	if qerr != nil {
		return 0, "", qerr
	}
	if cerr != nil {
		return 0, "", cerr
	}
	if len(cut) != 1 || cut[0][0].Text != "0" {
		return 0, "the server does not show all open transactions", nil
	}
	rows = slices.DeleteFunc(rows, func(r mysql.Row) bool { return w.harmless[r[0].Text] })
	at, why = horizon(rows, strconv.FormatUint(w.evidence.Server.Connection, 10), mark, w.evidence.Time, steady)
	return at, why, nil
}

// horizon returns the time, by the server's clock, at or after which every
// transaction began that is open or still to come, or says why it is not known.
// rows have the number of the connection, the time of the beginning, the
// number of modified rows, and the statement under way; own is our connection,
// whose transaction began at now or later and whose statement has mark in it;
// steady says that no clock was put forward or back of late.
func horizon(rows []mysql.Row, own, mark string, now int64, steady bool) (int64, string) {
	var ownStart time.Time
	var starts []time.Time
	for _, r := range rows {
		at, err := time.Parse(time.DateTime, r[1].Text)
		if err != nil {
			return 0, "the beginning of a transaction, " + r[1].Text + ", cannot be read"
		}
		if r[0].Text == own {
			if strings.Contains(r[3].Text, mark) {
				ownStart = at
			}
			continue
		}
		if r[0].Text == "0" && r[2].Text != "0" {
			// Prepared, and left by its session or by a server that is gone.
			return 0, "a prepared transaction is waiting for its end"
		}
		starts = append(starts, at)
	}
	if ownStart.IsZero() {
		return 0, oldList
	}
	if len(starts) == 0 {
		return now, ""
	}
	var age time.Duration
	for _, at := range starts {
		age = max(age, ownStart.Sub(at))
	}
	if !steady || age > steadyFor {
		age += shiftMargin
	}
	return now - int64(age/time.Second), ""
}

// After gathers what must be known from after the instant, which was taken by
// method. c sees the present.
func (w *Watch) After(ctx context.Context, c *mysql.Conn, database, method string) error {
	e := &w.evidence
	e.Method = method
	status, _, err := w.status(ctx, c)
	if err == nil {
		w.after = counters(status)
		err = w.askTables(ctx, c, database)
	}
	if err == nil && w.process {
		err = w.askInnoDB(ctx, c, database)
	}
	if mysql.Number(err) != 0 { // what was not told is missing, and proves nothing
		err = nil
	}
	return err
}

func (w *Watch) askTables(ctx context.Context, c *mysql.Conn, database string) error {
	rows, err := c.Query(ctx, "SELECT TABLE_NAME, ENGINE, TABLE_TYPE, CREATE_OPTIONS, CREATE_TIME, UPDATE_TIME FROM information_schema.TABLES WHERE TABLE_SCHEMA="+
		mysql.QuoteText(database)+" AND ENGINE IS NOT NULL ORDER BY TABLE_NAME")
	if err != nil {
		return err
	}
	for _, r := range rows {
		w.evidence.Tables = append(w.evidence.Tables, Table{
			Name: r[0].Text, Engine: r[1].Text, Kind: r[2].Text, Options: r[3].Text, Created: r[4].Text, Updated: r[5].Text,
		})
	}
	return nil
}

// askInnoDB reads InnoDB's own view of the tables, which takes the right PROCESS.
func (w *Watch) askInnoDB(ctx context.Context, c *mysql.Conn, database string) error {
	tables, stats := "INNODB_TABLES", "INNODB_TABLESTATS"
	if w.mariaDB {
		tables, stats = "INNODB_SYS_TABLES", "INNODB_SYS_TABLESTATS"
	}
	folder := mysql.QuoteText(mysql.DiskName(database))
	ids, err := c.Query(ctx, "SELECT NAME, t.* FROM information_schema."+tables+" t WHERE SUBSTRING_INDEX(NAME,'/',1)="+folder)
	if err != nil {
		return err
	}
	counts, err := c.Query(ctx, "SELECT NAME, MODIFIED_COUNTER, NUM_ROWS FROM information_schema."+stats+" WHERE SUBSTRING_INDEX(NAME,'/',1)="+folder)
	if err != nil {
		return err
	}
	byName := func(rows []mysql.Row) map[string]string {
		m := make(map[string]string, len(rows))
		for _, r := range rows {
			var fields []string
			for _, f := range r[1:] {
				fields = append(fields, f.Text)
			}
			m[r[0].Text] = strings.Join(fields, " ")
		}
		return m
	}
	idOf, countOf := byName(ids), byName(counts)
	for i := range w.evidence.Tables {
		t := &w.evidence.Tables[i]
		name := mysql.DiskName(database) + "/" + mysql.DiskName(t.Name)
		t.ID, t.Stats = idOf[name], countOf[name]
	}
	return nil
}

// Evidence returns the evidence, to be completed by Read and Reused.
func (w *Watch) Evidence() *Evidence { return &w.evidence }

// Prove compares with the evidence of an earlier instant, which may be nil.
func (w *Watch) Prove(former *Evidence) *Proof { return Prove(former, &w.evidence, w.after) }
