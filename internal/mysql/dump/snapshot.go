// Package dump captures a database as one consistent whole: several
// connections that see the same instant, every table's rows in chunks, every
// object's definition. It is for the engine. It promises that what it returns
// without error is what the database held at one instant, or that a warning
// names what is not; and that memory does not depend on the size of the data.
package dump

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/unchanged"
)

// The methods by which connections come to share an instant, best first.
const (
	MethodBackupStage    = "backup-stage"       // MariaDB: BACKUP STAGE BLOCK_COMMIT
	MethodGlobalReadLock = "global-read-lock"   // FLUSH TABLES WITH READ LOCK
	MethodTableLocks     = "table-locks"        // LOCK TABLES … READ
	MethodSingle         = "single-transaction" // one connection, which needs no lock
)

// Options of a snapshot.
type Options struct {
	Config      mysql.Config
	Prefix      string // only tables that begin with it; compared literally
	Connections int    // 0: 4
	Clock       core.Clock
	// LockWait is how long a lock that makes writers wait behind it may take
	// to be granted before it is given up for a moment. 0: 2 s.
	LockWait time.Duration
	// Former is the backup whose rows may be taken over; nil: all rows are read.
	Former *Former

	sliceBytes int64 // 0: sliceBytes; tests take less
	attempts   int   // 0: attempts
}

// Snapshot is a set of connections that all see one instant of a database.
// Close must be called.
type Snapshot struct {
	Server      mysql.Server
	Time        time.Time
	Consistency core.Consistency
	Warnings    []core.Warning

	opt      Options
	control  *mysql.Conn   // sees the present, for definitions; utf8mb4
	raw      *mysql.Conn   // sees the present, for definitions in their own bytes
	readers  []*mysql.Conn // see the instant
	locker   *mysql.Conn   // holds the tables without transactions; nil when there are none
	tables   []tableInfo
	database string

	catalogue sync.Mutex // over control, while readers read tables

	watch  *unchanged.Watch
	proof  *unchanged.Proof
	known  map[string]*unchanged.Table // of watch, by name
	former map[string]core.Table       // of Options.Former, by name

	lockedNote string // how long the tables without transactions were locked
}

// tableInfo is what the server's catalogue says of a table.
type tableInfo struct {
	name   string
	engine string
	kind   string // TABLE_TYPE
	// created is CREATE_TIME, in whole seconds. MariaDB changes it with every
	// change of the definition and with a rename, MySQL not with a rename.
	created       string
	bytes         int64 // estimate
	transactional bool  // or nothing of it to lock
	elsewhere     bool  // its rows are in other tables
}

// Open takes a consistency point by the best method that the account may use.
func Open(ctx context.Context, opt Options) (_ *Snapshot, err error) {
	if opt.Connections <= 0 {
		opt.Connections = 4
	}
	if opt.LockWait == 0 {
		opt.LockWait = 2 * time.Second
	}
	if opt.sliceBytes == 0 {
		opt.sliceBytes = sliceBytes
	}
	if opt.attempts == 0 {
		opt.attempts = attempts
	}
	s := &Snapshot{opt: opt, database: opt.Config.Database}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.control, err = mysql.Connect(ctx, opt.Config); err != nil {
		return nil, err
	}
	if s.raw, err = mysql.Connect(ctx, opt.Config); err != nil {
		return nil, err
	}
	if _, err := s.raw.Exec(ctx, "SET character_set_results=NULL"); err != nil {
		return nil, err
	}
	if s.Server, err = s.control.Server(ctx); err != nil {
		return nil, err
	}
	if err := s.warnOfHidden(ctx); err != nil {
		return nil, err
	}
	if err := s.openReaders(ctx, opt.Connections); err != nil {
		return nil, err
	}
	if err := s.takeSettledInstant(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// takeSettledInstant takes an instant at which the list of tables holds: a
// table that was made or dropped between the list and the instant would be
// missing from the backup though it belongs to it. The list is not read under
// the lock, which keeps writers waiting.
func (s *Snapshot) takeSettledInstant(ctx context.Context) (err error) {
	for n := 1; ; n++ {
		if err := s.listTables(ctx); err != nil {
			return err
		}
		before := s.tables
		if s.watch, err = unchanged.Before(ctx, s.control, s.Server.MariaDB(), s.opt.Clock); err != nil {
			return err
		}
		if err := s.takeInstant(ctx); err != nil {
			return err
		}
		if err := s.listTables(ctx); err != nil {
			return err
		}
		name := differs(before, s.tables)
		if name == "" {
			return s.prove(ctx)
		}
		if n == s.opt.attempts {
			return changed(name, errors.New("it was made, dropped or altered while the backup began, and others before it"))
		}
		if s.locker != nil {
			if err := s.locker.Close(); err != nil {
				return err
			}
			s.locker = nil
		}
		s.Warnings, s.lockedNote = nil, ""
	}
}

// differs names a table that is in one list only or was made anew.
func differs(a, b []tableInfo) string {
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a):
			return b[i].name
		case i >= len(b) || a[i].name < b[i].name:
			return a[i].name
		case a[i].name != b[i].name || a[i].created != b[i].created:
			return b[i].name
		}
	}
	return ""
}

// EstimatedBytes is what the server's statistics say of the tables' size.
func (s *Snapshot) EstimatedBytes() int64 {
	var n int64
	for _, t := range s.tables {
		n += t.bytes
	}
	return n
}

// Close ends all connections and with them every lock.
func (s *Snapshot) Close() error {
	var errs []error
	for _, c := range append([]*mysql.Conn{s.control, s.raw, s.locker}, s.readers...) {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

func (s *Snapshot) openReaders(ctx context.Context, n int) error {
	s.readers = make([]*mysql.Conn, n)
	g, ctx := errgroup.WithContext(ctx)
	for i := range s.readers {
		g.Go(func() error {
			c, err := mysql.Connect(ctx, s.opt.Config)
			if err != nil {
				return err
			}
			s.readers[i] = c
			_, err = c.Exec(ctx, "SET character_set_results=NULL, SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
			if mysql.NotUnderstood(err) { // not all versions take both in one SET
				if _, err = c.Exec(ctx, "SET character_set_results=NULL"); err == nil {
					_, err = c.Exec(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
				}
			}
			return err
		})
	}
	return g.Wait()
}

// errBusy says that a lock was not granted in time: others could use the
// database no longer than that.
var errBusy = errors.New("the lock was not granted in time")

// rung is one method. lock makes changes wait; unlock lets them go on.
type rung struct {
	method string
	usable func() bool
	lock   func(ctx context.Context) error
	unlock string
}

func (s *Snapshot) ladder() []rung {
	wait := fmt.Sprintf("SET SESSION lock_wait_timeout=%d", s.lockSeconds())
	tableLocks := rung{
		method: MethodTableLocks,
		usable: func() bool { return len(s.names(true)) > 0 },
		lock:   func(ctx context.Context) error { return s.execAll(ctx, wait, lockTables(s.names(true))) },
		unlock: "UNLOCK TABLES",
	}
	if s.locker != nil {
		// A writer that waits for a table that the locker holds would keep
		// every lock on the whole server waiting in turn.
		return []rung{tableLocks}
	}
	return []rung{
		{
			method: MethodBackupStage,
			usable: func() bool { return s.Server.MariaDB() && s.Server.VersionNumber >= 100401 },
			lock: func(ctx context.Context) error {
				return s.execAll(ctx, wait, "BACKUP STAGE START", "BACKUP STAGE BLOCK_COMMIT")
			},
			unlock: "BACKUP STAGE END",
		},
		{
			method: MethodGlobalReadLock,
			usable: func() bool { return true },
			lock: func(ctx context.Context) error {
				if err := s.mayFlush(ctx); err != nil {
					return err
				}
				return s.execAll(ctx, wait, "FLUSH TABLES WITH READ LOCK")
			},
			unlock: "UNLOCK TABLES",
		},
		tableLocks,
	}
}

// lockSeconds is LockWait as the server takes it.
func (s *Snapshot) lockSeconds() int { return max(1, int(s.opt.LockWait/time.Second)) }

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

func (s *Snapshot) takeWith(ctx context.Context, r rung) error {
	var err error
	for range s.opt.attempts {
		start := s.opt.Clock.Now()
		if err = r.lock(ctx); err == nil {
			return s.underLock(ctx, r, start)
		}
		if mysql.Number(err) != mysql.ErLockWaitTimeout {
			return err
		}
		// Others were made to wait behind this lock; let them go on first.
		// What a failed START left behind must go too.
		if _, uerr := s.control.Exec(ctx, r.unlock); uerr != nil && mysql.Number(uerr) == 0 {
			return uerr
		}
		if err := s.pause(ctx); err != nil {
			return err
		}
	}
	return errBusy
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
		if (r[4].Text == "Query" || r[4].Text == "Execute") && err == nil && time.Duration(seconds*float64(time.Second)) >= s.opt.LockWait {
			return errLongStatement
		}
	}
	return nil
}

// underLock opens the readers' views and always unlocks.
func (s *Snapshot) underLock(ctx context.Context, r rung, start time.Time) (err error) {
	defer func() {
		// The lock goes even when ctx is over; if not, closing the connection drops it.
		_, uerr := s.control.Exec(context.WithoutCancel(ctx), r.unlock)
		s.Consistency.FreezeMS = s.opt.Clock.Now().Sub(start).Milliseconds()
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
	_, err = locker.Exec(ctx, fmt.Sprintf("SET character_set_results=NULL, SESSION lock_wait_timeout=%d", s.lockSeconds()))
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
		if err := s.pause(ctx); err != nil {
			return err
		}
	}
	return err
}

// pause lets go on who was made to wait.
func (s *Snapshot) pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(s.opt.LockWait / 2):
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
