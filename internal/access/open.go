package access

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"

	"github.com/backstay/backstay/internal/core"
)

// busyTimeout is how long a method waits for another process to end its
// transaction. They take milliseconds.
const (
	busyTimeout = 5 * time.Second
	lockPoll    = 10 * time.Millisecond
)

// FileName is the database's name in the state folder.
const FileName = "access.db"

// Store is the open database of users. Safe for concurrent use, by several
// processes too: the commands change what the service reads.
//
// Its methods return errors with core.CodeLocked when another process holds the
// database longer than some seconds, and core.CodeDisk when it cannot be read
// or written or is damaged. What was to be written then is not.
type Store struct {
	path     string
	clock    core.Clock
	patience time.Duration // how long to wait for other processes
	cost     cost          // of a password's hash
	most     int           // rows of attempts that are no user's
	hashing  *turnstile

	writing chan struct{} // holds one token while a goroutine writes: SQLite's own waiting is not fair

	mu     sync.RWMutex // read-locked while pool is used
	pool   *sql.DB      // nil: closed, or to be opened anew
	file   os.FileInfo  // of the database that pool has open
	closed bool
}

// Open opens the database in the folder dir, and makes both where they are
// missing. One that is damaged is an error with a hint: nobody is let in by a
// new one.
func Open(ctx context.Context, dir string, clock core.Clock) (*Store, error) {
	return newStore(dir, clock).opened(ctx)
}

func newStore(dir string, clock core.Clock) *Store {
	return &Store{
		path: filepath.Join(dir, FileName), clock: clock, patience: busyTimeout, cost: fullCost(), most: maxStrangers,
		hashing: newTurnstile(hashesAtOnce, hashesWaiting), writing: make(chan struct{}, 1),
	}
}

func (s *Store) opened(ctx context.Context) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return nil, diskError(err)
	}
	path, err := filepath.Abs(s.path)
	if err != nil {
		return nil, diskError(err)
	}
	s.path = path
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx, true); err != nil {
		return nil, err
	}
	return s, nil
}

// Close closes it. Closing it twice does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.shut()
}

func (s *Store) shut() error {
	if s.pool == nil {
		return nil
	}
	err := s.pool.Close()
	s.pool = nil
	return named("close the database of users", err)
}

// open opens the database, and with make makes one where none ever was. The
// caller holds mu.
//
// It never opens the file but through SQLite: closing any descriptor of it
// would take this process's POSIX locks on it away, other connections' too.
func (s *Store) open(ctx context.Context, make bool) (err error) {
	gate, err := s.gate(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, diskError(gate.Close())) }() // which lets go of it
	info, err := os.Lstat(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && make:
		for _, suffix := range companions() {
			if _, err := os.Lstat(s.path + suffix); err == nil {
				return s.damaged(fmt.Errorf("%w: it is gone, and %s is there", errDamaged, FileName+suffix))
			}
		}
		if err := s.create(ctx); err != nil {
			return diskError(err)
		}
	case errors.Is(err, fs.ErrNotExist):
		return s.damaged(fmt.Errorf("%w: it is gone", errDamaged))
	case err != nil:
		return diskError(err)
	case !info.Mode().IsRegular():
		return s.damaged(fmt.Errorf("%w: it is no file", errDamaged))
	case info.Size() == 0:
		return s.damaged(fmt.Errorf("%w: it is empty", errDamaged)) // SQLite would take it for a new one
	case info.Mode().Perm()&0o077 != 0:
		if err := os.Chmod(s.path, 0o600); err != nil {
			return diskError(err)
		}
	}
	if s.file, err = os.Stat(s.path); err != nil {
		return diskError(err)
	}
	if err := s.inspect(ctx); err != nil {
		return s.explained(ctx, opOpen, err)
	}
	if s.pool, err = openPool(s.path, s.patience); err != nil {
		return named(opOpen, err)
	}
	if err = migrate(ctx, s.pool, s.path); err != nil {
		return errors.Join(s.explained(ctx, opOpen, err), s.shut())
	}
	return nil
}

// inspect looks at a database in ways that write nothing: one that is opened to
// be written would have the log that lies beside it written into it when it is
// closed, and the log removed, whether they belong together or not.
func (s *Store) inspect(ctx context.Context) error {
	var id int
	err := looked(s.path, "immutable=1", func(pool *sql.DB) error { // the file alone, without its log
		return pool.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id)
	})
	if err != nil {
		return err
	}
	if id != applicationID { // it is there from the beginning: see create
		return errForeign
	}
	return looked(s.path, fmt.Sprintf("mode=ro&_busy_timeout=%d", s.patience.Milliseconds()), func(pool *sql.DB) error { return check(ctx, pool) })
}

// looked runs do with a connection of its own.
func looked(path, settings string, do func(*sql.DB) error) error {
	u := url.URL{Scheme: "file", Path: path, RawQuery: settings + "&_defensive=1&_pragma=cell_size_check(1)"}
	connector, err := sqlite.NewConnector(u.String())
	if err != nil {
		return err
	}
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(1)
	return errors.Join(do(pool), pool.Close())
}

// check reads the whole database: it is small, and decides who gets in.
func check(ctx context.Context, pool *sql.DB) error {
	var first string
	if err := pool.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&first); err != nil {
		return err
	}
	if first != "ok" {
		return fmt.Errorf("%w: %s", errDamaged, first)
	}
	return nil
}

// companions are what SQLite adds to a database's name.
func companions() []string { return []string{"-wal", "-shm", "-journal"} }

// gate keeps other processes from making the database at the same time.
func (s *Store) gate(ctx context.Context) (*os.File, error) {
	f, err := os.OpenFile(s.path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, diskError(err)
	}
	for waited := time.Duration(0); ; waited += lockPoll {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			if err := likeFolder(f.Name()); err != nil {
				return nil, errors.Join(diskError(err), f.Close())
			}
			return f, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			return nil, errors.Join(diskError(fmt.Errorf("lock %s: %w", f.Name(), err)), f.Close())
		case waited >= s.patience:
			return nil, errors.Join(&core.Error{
				Code: core.CodeLocked, Op: opOpen, Message: "another process is opening the database of users " + s.path,
				Hint: "try again; when it stays so, fuser -v " + f.Name() + " names the process",
			}, f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(named(opOpen, ctx.Err()), f.Close())
		case <-time.After(lockPoll):
		}
	}
}

// create makes an empty database under another name and renames it, so that a
// crash leaves none that is half made. The caller holds the gate.
func (s *Store) create(ctx context.Context) error {
	next := s.path + ".new"
	for _, suffix := range append(companions(), "") {
		if err := os.Remove(next + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	f, err := os.OpenFile(next, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Close(), likeFolder(next)); err != nil {
		return err
	}
	pool, err := openPool(next, s.patience)
	if err != nil {
		return err
	}
	if err := errors.Join(migrate(ctx, pool, next), pool.Close()); err != nil {
		return s.explained(ctx, "make the database of users", err)
	}
	if err := os.Rename(next, s.path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(s.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// likeFolder gives a file that root makes to the owner of its folder: the
// service may run as that one, and root's commands must not keep it out.
func likeFolder(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return nil
	}
	return os.Lchown(path, int(owner.Uid), int(owner.Gid))
}

func openPool(path string, patience time.Duration) (*sql.DB, error) {
	connector, err := sqlite.NewConnector(dsn(path, patience))
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(4)
	pool.SetMaxIdleConns(4)
	return pool, nil
}

// dsn names the database and its settings: transactions take the right to write
// when they begin, since one that has read cannot wait for it; what was
// committed is there after a power cut (synchronous FULL); and what is deleted
// is gone from the file.
func dsn(path string, patience time.Duration) string {
	settings := []string{
		"mode=rw", "_txlock=immediate", "_defensive=1",
		fmt.Sprintf("_busy_timeout=%d", patience.Milliseconds()),
		"_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)", "_pragma=cell_size_check(1)", "_pragma=journal_size_limit(4194304)",
		"_pragma=foreign_keys(1)", "_pragma=secure_delete(1)",
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: strings.Join(settings, "&")}
	return u.String()
}

// read runs do, which only reads. op is for errors.
func (s *Store) read(ctx context.Context, op string, do func(*sql.DB) error) error {
	release, err := s.use(ctx)
	if err != nil {
		return err
	}
	defer release()
	return s.explained(ctx, op, do(s.pool))
}

// write runs do in a transaction that nobody else writes in. When do returns an
// error nothing is written.
func (s *Store) write(ctx context.Context, op string, do func(*sql.Tx) error) error {
	select {
	case s.writing <- struct{}{}:
	case <-ctx.Done():
		return named(op, ctx.Err())
	}
	defer func() { <-s.writing }()
	release, err := s.use(ctx)
	if err != nil {
		return err
	}
	defer release()
	tx, err := s.pool.BeginTx(ctx, nil) // BEGIN IMMEDIATE: see dsn
	if err != nil {
		return s.explained(ctx, op, err)
	}
	if err := do(tx); err != nil {
		if undo := tx.Rollback(); undo != nil && !errors.Is(undo, sql.ErrTxDone) {
			err = errors.Join(err, undo)
		}
		return s.explained(ctx, op, err)
	}
	return s.explained(ctx, op, tx.Commit())
}

// keep is write, for what people must not lose: users, passwords, tokens, and
// that they are gone. It is in the database itself then, and not in its log only.
func (s *Store) keep(ctx context.Context, op string, do func(*sql.Tx) error) error {
	if err := s.write(ctx, op, do); err != nil {
		return err
	}
	release, err := s.use(ctx)
	if err != nil {
		return nil // it was written
	}
	defer release()
	// What fails here is in the log all the same, and comes over with the next change.
	_, _ = s.pool.ExecContext(context.WithoutCancel(ctx), "PRAGMA wal_checkpoint(TRUNCATE)")
	return nil
}

// use readies the pool, which stays as it is until release. A database that was
// put in place of the open one is opened; one that is gone is not made anew.
func (s *Store) use(ctx context.Context) (release func(), err error) {
	for {
		s.mu.RLock()
		if s.closed {
			s.mu.RUnlock()
			return nil, errClosed
		}
		if s.pool != nil && !s.moved() {
			return s.mu.RUnlock, nil
		}
		s.mu.RUnlock()
		if err := s.reopen(ctx); err != nil {
			return nil, err
		}
	}
}

func (s *Store) reopen(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.pool != nil && !s.moved() {
		return nil // another goroutine was here first
	}
	_ = s.shut() // of a file that has no name any more
	return s.open(ctx, false)
}

// moved says whether the file at the path is another than the open one.
func (s *Store) moved() bool {
	now, err := os.Stat(s.path)
	return err != nil || !os.SameFile(now, s.file)
}
