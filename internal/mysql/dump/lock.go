package dump

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// errBusy says that a lock was not granted in time: others could use the
// database no longer than that.
var errBusy = errors.New("the lock was not granted in time")

// rung is one method. prepare makes no writer wait, lock does until unlock.
// lock waits for others no longer than limit.
type rung struct {
	method  string
	usable  func() bool
	prepare []string
	lock    func(ctx context.Context, limit time.Duration) error
	unlock  string
	// harmless says that lock never waits, so that it may be tried often.
	harmless bool
}

func (s *Snapshot) ladder() []rung {
	tableLocks := rung{
		method:   MethodTableLocks,
		usable:   func() bool { return len(s.names(true)) > 0 },
		lock:     s.lockAtOnce,
		unlock:   "UNLOCK TABLES",
		harmless: true,
	}
	if s.locker != nil {
		// A writer that waits for a table that the locker holds would keep
		// every lock on the whole server waiting in turn.
		return []rung{tableLocks}
	}
	return []rung{
		{
			method:  MethodBackupStage,
			usable:  func() bool { return s.Server.MariaDB() && s.Server.VersionNumber >= 100401 },
			prepare: []string{"BACKUP STAGE START", "BACKUP STAGE FLUSH", "BACKUP STAGE BLOCK_DDL"},
			lock: func(ctx context.Context, limit time.Duration) error {
				return s.within(ctx, limit, "BACKUP STAGE BLOCK_COMMIT")
			},
			unlock: "BACKUP STAGE END",
		},
		{
			method: MethodGlobalReadLock,
			usable: func() bool { return true },
			lock: func(ctx context.Context, limit time.Duration) error {
				if err := s.mayFlush(ctx); err != nil {
					return err
				}
				return s.within(ctx, limit, "FLUSH TABLES WITH READ LOCK")
			},
			unlock: "UNLOCK TABLES",
		},
		tableLocks,
	}
}

// lockAtOnce locks all tables with transactions, if no transaction that has
// written to one of them is open, or gives up. To wait for the last of several
// tables would be to make writers wait for the first ones, for as long as
// somebody's transaction takes; and where one of them has written to the last
// and now wants the first, the server ends that transaction, not the backup: a
// user of the app would see an error.
func (s *Snapshot) lockAtOnce(ctx context.Context, limit time.Duration) error {
	statement := lockTables(s.names(true))
	if s.Server.MariaDB() {
		if _, err := s.control.Exec(ctx, "SET SESSION lock_wait_timeout=0"); err != nil {
			return err
		}
		_, err := s.control.Exec(ctx, statement)
		return err
	}
	// MySQL cannot be told not to wait. Where rows are being written at all, it
	// is not tried.
	before, err := s.rowsWritten(ctx)
	if err != nil {
		return err
	}
	if err := s.pause(ctx, quietTime); err != nil {
		return err
	}
	after, err := s.rowsWritten(ctx)
	if err != nil {
		return err
	}
	if before != after {
		return errBusy
	}
	return s.within(ctx, min(limit, quietTime), statement)
}

// quietTime is how long nobody writes before MySQL is asked for table locks.
const quietTime = 20 * time.Millisecond

// rowsWritten tells two moments apart between which rows were written.
func (s *Snapshot) rowsWritten(ctx context.Context) (string, error) {
	rows, err := s.control.Query(ctx, "SHOW GLOBAL STATUS WHERE Variable_name IN ('Innodb_rows_inserted','Innodb_rows_updated','Innodb_rows_deleted')")
	if err != nil {
		return "", fmt.Errorf("ask whether rows are being written: %w", err)
	}
	var text strings.Builder
	for _, r := range rows {
		text.WriteString(r[len(r)-1].Text + " ")
	}
	return text.String(), nil
}

// within runs a statement over control that makes others wait while it waits,
// and gives it up after limit, which may be less than the whole seconds that
// the server can be told.
func (s *Snapshot) within(ctx context.Context, limit time.Duration, statement string) error {
	killed := make(chan error, 1)
	timer := time.AfterFunc(limit, func() {
		_, err := s.raw.Exec(ctx, fmt.Sprintf("KILL QUERY %d", s.control.ID()))
		killed <- err
	})
	_, err := s.control.Exec(ctx, statement)
	if timer.Stop() {
		return err
	}
	if kerr := <-killed; kerr != nil {
		return errors.Join(err, fmt.Errorf("give up waiting for a lock: %w", kerr))
	}
	if err == nil {
		// It was granted at the last moment. The kill may yet meet the next statement.
		for range 2 {
			if _, err = s.control.Exec(ctx, "DO 0"); err == nil || !mysql.Interrupted(err) {
				return err
			}
		}
	}
	if mysql.Interrupted(err) {
		return errBusy
	}
	return err
}

// names lists the tables with, or without, transactions.
func (s *Snapshot) names(transactional bool) []string {
	var names []string
	for _, t := range s.tables {
		if t.transactional == transactional && !t.elsewhere {
			names = append(names, t.name)
		}
	}
	return names
}

func lockTables(names []string) string {
	locks := make([]string, len(names))
	for i, n := range names {
		locks[i] = mysql.QuoteName(n) + " READ"
	}
	return "LOCK TABLES " + strings.Join(locks, ", ")
}

// attempts is how often a busy lock is asked for before the next method.
const attempts = 5

// takeInstant climbs down the ladder until a method works.
func (s *Snapshot) takeInstant(ctx context.Context) error {
	var why []string
	if err := s.lockNonTransactional(ctx); err != nil {
		return err
	}
	if s.locker != nil && len(s.readers) > 1 {
		why = append(why, "some tables have no transactions, and only table locks can hold them still")
	}
	if len(s.readers) > 1 {
		for _, r := range s.ladder() {
			if !r.usable() {
				continue
			}
			err := s.takeWith(ctx, r)
			switch {
			case err == nil:
				s.Consistency.Why = strings.Join(why, "; ")
				return nil
			case mysql.AccessDenied(err):
				why = append(why, fmt.Sprintf("%s: the account lacks the right (%s)", r.method, mysql.ServerText(err)))
			case errors.Is(err, errBusy), errors.Is(err, errLongStatement):
				why = append(why, fmt.Sprintf("%s: %s", r.method, err))
			case mysql.NotUnderstood(err):
				why = append(why, fmt.Sprintf("%s: not known to this server", r.method))
			default:
				return fmt.Errorf("take consistency point by %s: %w", r.method, err)
			}
		}
		for _, c := range s.readers[1:] {
			if err := c.Close(); err != nil {
				return err
			}
		}
		s.readers = s.readers[:1]
	} else {
		why = append(why, "one connection was asked for")
	}
	if err := s.startTransactions(ctx); err != nil {
		return fmt.Errorf("take consistency point: %w", err)
	}
	s.Time = s.opt.Clock.Now()
	s.Consistency = core.Consistency{Method: MethodSingle, Connections: 1, Why: strings.Join(why, "; ")}
	return nil
}

// lockedIdle is after how many seconds of silence the server ends the session
// that holds up all writers, should the network or this machine be gone.
const lockedIdle = 10

// takeWith takes the instant by one method, or gives up when the lock is busy.
func (s *Snapshot) takeWith(ctx context.Context, r rung) (err error) {
	defer func() {
		if err == nil || mysql.Number(err) != 0 || errors.Is(err, errBusy) || errors.Is(err, errLongStatement) {
			err = errors.Join(err, s.execAll(ctx, "SET SESSION lock_wait_timeout=300, SESSION wait_timeout=86400"))
		}
	}()
	if err := s.execAll(ctx, fmt.Sprintf("SET SESSION lock_wait_timeout=%d, SESSION wait_timeout=%d", max(1, int(s.opt.LockWait/time.Second)), lockedIdle)); err != nil {
		return err
	}
	begun := s.opt.Clock.Now()
	for n := 1; ; n++ {
		// What a failed attempt left behind must go before the next, or the next method.
		err := s.execAll(ctx, r.prepare...)
		start := s.opt.Clock.Now()
		if err == nil {
			err = r.lock(ctx, s.opt.LockWait>>max(1, 6-n))
		}
		tried := s.opt.Clock.Now().Sub(start)
		if err == nil {
			return s.underLock(ctx, r, start)
		}
		if _, uerr := s.control.Exec(ctx, r.unlock); uerr != nil && mysql.Number(uerr) == 0 {
			return errors.Join(err, uerr)
		}
		if !errors.Is(err, errBusy) && mysql.Number(err) != mysql.ErLockWaitTimeout && mysql.Number(err) != mysql.ErDeadlock {
			return err
		}
		// Others were made to wait behind this lock; let them go on first.
		wait := s.opt.LockWait / 2
		over := n >= s.opt.attempts
		if r.harmless {
			wait = max(2*time.Millisecond, 4*tried) + time.Duration(n%7)*time.Millisecond // out of step with the writers
			over = s.opt.Clock.Now().Sub(begun) >= s.opt.LockWait
		}
		if over {
			return errBusy
		}
		if err := s.pause(ctx, wait); err != nil {
			return err
		}
	}
}

var errLongStatement = errors.New("a statement has been running for long, and all who use its tables would have to wait until it ends")

// mayFlush says whether all tables can be flushed soon. A flush that waits for
// a long statement cannot be taken back: when it is given up, the statement's
// tables stay marked, and whoever opens one waits for the statement to end.
// The account may see its own sessions only; then nothing is known.
func (s *Snapshot) mayFlush(ctx context.Context) error {
	rows, err := s.control.Query(ctx, "SHOW PROCESSLIST") // Id, User, Host, db, Command, Time, State, Info
	if err != nil {
		return err
	}
	for _, r := range rows {
		if len(r) < 8 || r[0].Text == strconv.FormatUint(uint64(s.control.ID()), 10) {
			continue
		}
		seconds, err := strconv.ParseFloat(r[5].Text, 64)
		if (r[4].Text == "Query" || r[4].Text == "Execute") && err == nil && seconds >= 1 {
			return errLongStatement
		}
	}
	return nil
}

// underLock opens the readers' views and always unlocks.
func (s *Snapshot) underLock(ctx context.Context, r rung, start time.Time) (err error) {
	defer func() {
		// The lock goes even when ctx is over; if not, closing the connection drops it.
		uctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockedIdle*time.Second)
		defer cancel()
		_, uerr := s.control.Exec(uctx, r.unlock)
		s.Consistency.FreezeMS = s.opt.Clock.Now().Sub(start).Milliseconds()
		if ctx.Err() != nil && uctx.Err() != nil {
			uerr = nil // ctx's end is the reason, and is told
		}
		err = errors.Join(err, uerr)
	}()
	if err := s.startTransactions(ctx); err != nil {
		return err
	}
	s.Time = s.opt.Clock.Now()
	s.Consistency.Method, s.Consistency.Connections = r.method, len(s.readers)
	s.Server.BinlogPosition = s.binlogPosition(ctx)
	return nil
}

func (s *Snapshot) startTransactions(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, c := range s.readers {
		g.Go(func() error {
			_, err := c.Exec(ctx, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
			return err
		})
	}
	return g.Wait()
}

// lockNonTransactional keeps writers off the tables whose engine has no
// snapshots until they are copied. Where that cannot be, a warning names them.
func (s *Snapshot) lockNonTransactional(ctx context.Context) error {
	names := s.names(false)
	if len(names) == 0 {
		return nil
	}
	locker, err := mysql.Connect(ctx, s.opt.Config)
	if err != nil {
		return err
	}
	_, err = locker.Exec(ctx, fmt.Sprintf("SET character_set_results=NULL, SESSION lock_wait_timeout=%d", max(1, int(s.opt.LockWait/time.Second))))
	if err == nil {
		err = s.tryLock(ctx, locker, lockTables(names))
	}
	if err == nil {
		s.locker = locker
		return nil
	}
	cerr := locker.Close()
	if !mysql.AccessDenied(err) && mysql.Number(err) != mysql.ErLockWaitTimeout {
		return errors.Join(fmt.Errorf("lock tables without transactions: %w", err), cerr)
	}
	for _, n := range names {
		s.Warnings = append(s.Warnings, core.Warning{
			Code: "not-locked", Object: "table " + n,
			Message: "its engine has no transactions and it could not be locked (" + mysql.ServerText(err) + "); rows written during the backup may be missing or half there",
		})
	}
	return cerr
}

// tryLock asks a few times for a lock that others wait behind.
func (s *Snapshot) tryLock(ctx context.Context, c *mysql.Conn, statement string) (err error) {
	for range s.opt.attempts {
		if _, err = c.Exec(ctx, statement); mysql.Number(err) != mysql.ErLockWaitTimeout {
			return err
		}
		if err := s.pause(ctx, s.opt.LockWait/2); err != nil {
			return err
		}
	}
	return err
}

// pause lets go on who was made to wait.
func (s *Snapshot) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// binlogPosition is worth having and not worth failing for: most accounts may
// not ask.
func (s *Snapshot) binlogPosition(ctx context.Context) string {
	for _, q := range []string{"SELECT @@global.gtid_binlog_pos", "SELECT @@global.gtid_executed"} {
		if rows, err := s.control.Query(ctx, q); err == nil && len(rows) == 1 && rows[0][0].Text != "" {
			return rows[0][0].Text
		}
	}
	return ""
}

func (s *Snapshot) execAll(ctx context.Context, statements ...string) error {
	for _, st := range statements {
		if _, err := s.control.Exec(ctx, st); err != nil {
			return err
		}
	}
	return nil
}
