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
	"maps"
	"slices"
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
	// Ownerless says of which objects nobody knows whose they are: they are
	// stored without a definer. nil: of none.
	Ownerless func(kind, name string) bool

	sliceBytes int64         // 0: sliceBytes; tests take less
	attempts   int           // 0: attempts
	patience   time.Duration // 0: mysql.Patience
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
	masked   []string // notes on members that the server does not tell

	catalogue sync.Mutex // over control, while readers read tables

	ids     tableIDs        // before the instant
	watched map[string]bool // tables that can change without an error
	objects string          // what objectState gave before the instant
	holder  *mysql.Conn     // has held open since before the instant; nil when there are none
	holding sync.Mutex      // over held and holds
	held    map[string]bool
	holds   map[*mysql.Conn]bool // readers that have held open since the instant

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
	partitioned   bool
	elsewhere     bool // its rows are in other tables
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
	if opt.patience == 0 {
		opt.patience = mysql.Patience
	}
	s := &Snapshot{opt: opt, database: opt.Config.Database}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	ctx, stop := mysql.WhileAlive(ctx, opt.Config, opt.patience)
	defer func() { err = stop(err) }()
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
	if err := s.mustShowPresent(ctx); err != nil {
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

// mustShowPresent refuses a MariaDB that shows system-versioned tables as they
// were at another time: a session cannot undo that for itself.
func (s *Snapshot) mustShowPresent(ctx context.Context) error {
	rows, err := s.control.Query(ctx, "SELECT @@system_versioning_asof")
	if mysql.NotUnderstood(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ask for system_versioning_asof: %w", err)
	}
	if len(rows) == 1 && len(rows[0]) == 1 && rows[0][0].Text != "DEFAULT" {
		return &core.Error{
			Code: core.CodeDatabase, Op: "back up database " + s.database,
			Message: "the server shows system-versioned tables as they were at " + rows[0][0].Text,
			Hint:    "as the server's administrator: SET GLOBAL system_versioning_asof=DEFAULT, and take it out of the server's configuration",
		}
	}
	return nil
}

// takeSettledInstant takes an instant at which the list of tables holds: a
// table that was made or dropped between the list and the instant would be
// missing from the backup though it belongs to it. The list is not read under
// the lock, which keeps writers waiting.
func (s *Snapshot) takeSettledInstant(ctx context.Context) (err error) {
	hidden := s.Warnings
	for n := 1; ; n++ {
		if err := s.letGo(ctx); err != nil {
			return err
		}
		// Before tables are held: it may have to wait for whoever waits for them.
		if s.objects, err = s.objectState(ctx); err != nil {
			return err
		}
		if err := s.listSettled(ctx); err != nil {
			return err
		}
		before := s.tables
		if s.watch, err = unchanged.Before(ctx, s.control, s.Server.MariaDB(), s.opt.Clock, s.holder); err != nil {
			return err
		}
		taken := s.takeInstant(ctx)
		if taken != nil && mysql.Number(taken) != mysql.ErNoSuchTable { // one was dropped before it could be locked
			return taken
		}
		name, err := s.listAgain(ctx, before)
		if err != nil {
			return err
		}
		if taken != nil && name == "" { // it was made again meanwhile
			name = "of database " + s.database
		}
		if name == "" {
			still, err := s.handOver(ctx)
			if err != nil {
				return err
			}
			if still {
				return s.prove(ctx)
			}
			name = slices.Sorted(maps.Keys(s.held))[0]
		}
		if n == s.opt.attempts {
			return changed(name, errors.Join(taken, errors.New("it was made, dropped or altered while the backup began, and others before it")))
		}
		if s.locker != nil {
			if err := s.locker.Close(); err != nil {
				return err
			}
			s.locker = nil
		}
		s.Warnings, s.lockedNote = slices.Clone(hidden), ""
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
	for _, c := range append([]*mysql.Conn{s.control, s.raw, s.locker, s.holder}, s.readers...) {
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
			if err != nil {
				return err
			}
			return keepIdle(ctx, c)
		})
	}
	return g.Wait()
}
