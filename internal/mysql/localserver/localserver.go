// Package localserver runs a private, throwaway MariaDB or MySQL server from
// the binaries that are installed on the machine. It is for the demo, for
// drills and for tests; backups do not need it.
//
// It promises to touch no server and no data that is already there: every
// server has its own data folder, socket, temporary folder and process, reads
// no option file, and listens on the network only when asked to, on a free
// port of the loopback interface. It promises to leave nothing behind: when
// the process that started a server dies, however it dies, the server dies
// with it and its folder is removed, at once or by the next start. All that
// stays is a template of an empty database (some 20 MB) in the user's cache
// folder, from which the next server starts faster.
package localserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Options says what kind of server to start. The zero value is a small, fast
// server without networking.
type Options struct {
	Dir    string // existing folder in which the server's own folder is made; "": the system's temporary folder
	Name   string // goes into the folder's name, for people; may be empty
	Binary string // path of mariadbd or mysqld; "": searched for
	TCP    bool   // listen on 127.0.0.1 too
	Port   int    // with TCP: this port; 0: a free one

	// BufferPool and LogFile are InnoDB's memory and redo log in bytes. 0 gives
	// 32 MiB and 16 MiB, enough for tests.
	BufferPool int64
	LogFile    int64
	// Durable makes the server sync what it writes, as a real one does. Without
	// it data survives a killed server, but not a machine that loses power.
	Durable bool

	Args []string // further options of the server; they come last, so they win
	Log  *slog.Logger
}

const (
	defaultBufferPool = 32 << 20
	defaultLogFile    = 16 << 20

	// A start includes crash recovery after Kill, which depends on the data.
	startLimit = 2 * time.Minute
	stopLimit  = 30 * time.Second

	portAttempts = 5
)

// Server is a running server. User root has no password, through the socket
// and through TCP. Its methods are safe for concurrent use; its fields do not
// change after Start.
type Server struct {
	Socket string // path of the Unix socket
	Port   int    // on 127.0.0.1; 0 without TCP
	Dir    string // the server's own folder; what callers put into it shares its fate
	User   string // "root"
	Vendor string // "mariadb" or "mysql"

	binary  binary
	options Options
	log     *slog.Logger
	folder  *folder
	guard   *watchdog

	mu      sync.Mutex
	process *process // nil when the server does not run
	logFrom int64    // where in the log the last start begins
	closed  bool
}

// Start starts a server and returns when it accepts connections. It first
// removes what crashed processes left in opts.Dir. ctx ends the wait for the
// start, not the server. A missing server binary is an error with
// core.CodeUnsupported; a full disk one with core.CodeDisk.
func Start(ctx context.Context, opts Options) (*Server, error) {
	b, err := findBinary(ctx, opts.Binary)
	if err != nil {
		return nil, err
	}
	if opts.Dir == "" {
		opts.Dir = os.TempDir()
	}
	parent, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("find folder for the database server: %w", err)
	}
	log := opts.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	sweep(parent, log)
	f, err := newFolder(parent, opts.Name)
	if err != nil {
		return nil, diskError("make folder for the database server", parent, err)
	}
	s := &Server{
		Socket: f.socket, Dir: f.path, User: "root", Vendor: b.vendor,
		binary: b, options: opts, log: log, folder: f,
	}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) start(ctx context.Context) error {
	guard, err := startWatchdog(s.folder)
	if err != nil {
		return err
	}
	s.guard = guard
	if err := os.Mkdir(s.tmpDir(), 0o700); err != nil {
		return diskError("make folder for the database server", s.Dir, err)
	}
	if err := fillDataFolder(ctx, s.binary, s.dataDir(), s.log); err != nil {
		return diskError("prepare the database server's data folder", s.Dir, err)
	}
	for attempt := 1; ; attempt++ {
		if s.options.TCP {
			if s.Port, err = choosePort(ctx, s.options.Port); err != nil {
				return err
			}
		}
		err = s.launch(ctx)
		// Between choosing a free port and binding it, another process may take it.
		if errors.Is(err, errPortTaken) && s.options.Port == 0 && attempt < portAttempts {
			continue
		}
		return err
	}
}

func (s *Server) dataDir() string { return filepath.Join(s.Dir, "data") }
func (s *Server) tmpDir() string  { return filepath.Join(s.Dir, "tmp") }
func (s *Server) pidFile() string { return filepath.Join(s.Dir, pidFileName) }

// ErrorLog returns the path of the server's own log.
func (s *Server) ErrorLog() string { return filepath.Join(s.Dir, "error.log") }

// Stop shuts the server down cleanly and removes its folder. When the server
// does not end in time, or ctx ends, it is killed and that is the error. A
// server that had already died by itself is an error too. Stop after Stop or
// Close does nothing.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.shutdown(ctx), s.remove())
}

// Close kills the server and removes its folder: for data that nobody needs
// any more, faster than Stop. Close after Stop or Close does nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.kill(), s.remove())
}

// Kill ends the server as a crash would (SIGKILL) and returns when it is gone.
// Its data stays for Restart.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kill()
}

// Restart shuts the server down cleanly when it runs, and starts it again on
// the same data, socket and port. It returns when the server accepts
// connections.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("restart database server: it was stopped for good")
	}
	if err := s.shutdown(ctx); err != nil {
		return err
	}
	return s.launch(ctx)
}

// shutdown ends the process, if there is one, by asking it to.
func (s *Server) shutdown(ctx context.Context) error {
	p := s.process
	if p == nil {
		return nil
	}
	s.process = nil
	if p.ended() {
		return errors.Join(s.failure("run database server", p.waitErr), s.guard.forget())
	}
	err := p.terminate(ctx, stopLimit)
	if err != nil {
		err = s.failure("stop database server", err)
	}
	return errors.Join(err, s.guard.forget())
}

func (s *Server) kill() error {
	p := s.process
	if p == nil {
		return nil
	}
	s.process = nil
	return errors.Join(p.kill(), s.guard.forget())
}

// remove deletes the folder. The watchdog goes last, so that a crash in
// between still leaves it to finish the work.
func (s *Server) remove() error {
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.folder.remove()
	if s.guard != nil {
		err = errors.Join(err, s.guard.dismiss())
	}
	return err
}

// launch starts the process on the folder as it is and waits until it answers.
func (s *Server) launch(ctx context.Context) error {
	s.log.Debug("starting database server", "binary", s.binary.path, "dir", s.Dir, "port", s.Port)
	log, err := os.OpenFile(s.ErrorLog(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return diskError("open the database server's log", s.Dir, err)
	}
	info, err := log.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open the database server's log: %w", err), log.Close())
	}
	s.logFrom = info.Size()
	p, err := startProcess(s.binary.path, s.arguments(), s.tmpDir(), log)
	err = errors.Join(err, log.Close())
	if p == nil {
		return err
	}
	if err == nil {
		err = s.guard.watch(p.pid)
	}
	if err == nil {
		waitCtx, cancel := context.WithTimeout(ctx, startLimit)
		err = waitReady(waitCtx, s.Socket, p.done)
		cancel()
	}
	if err == nil {
		s.process = p
		return nil
	}
	err = s.failure("start database server", errors.Join(err, p.kill()))
	return errors.Join(err, s.guard.forget())
}

func (s *Server) arguments() []string {
	size := func(n, fallback int64) string {
		if n <= 0 {
			n = fallback
		}
		return strconv.FormatInt(n, 10)
	}
	args := []string{
		"--no-defaults",
		"--basedir=" + s.binary.baseDir,
		"--datadir=" + s.dataDir(),
		"--tmpdir=" + s.tmpDir(),
		"--socket=" + s.Socket,
		"--pid-file=" + s.pidFile(),
		// The log is the process's standard error: the server writes there
		// from its first line on, and no option decides where a failure is told.
		"--skip-name-resolve",
		"--skip-log-bin",
		"--local-infile=1",
		"--character-set-server=utf8mb4",
		"--max-allowed-packet=64M",
		"--innodb-buffer-pool-size=" + size(s.options.BufferPool, defaultBufferPool),
		"--innodb-buffer-pool-load-at-startup=OFF",
		"--innodb-buffer-pool-dump-at-shutdown=OFF",
		// Asynchronous I/O takes a share of a kernel-wide limit that several
		// servers at once use up.
		"--innodb-use-native-aio=OFF",
		"--performance-schema=OFF",
		"--key-buffer-size=8M",
	}
	logFile := size(s.options.LogFile, defaultLogFile)
	if s.Vendor == "mysql" {
		args = append(args, "--mysqlx=OFF", "--secure-file-priv=NULL",
			// The second is MySQL's before 8.0.30, and no longer known to 9.
			"--loose-innodb-redo-log-capacity="+logFile, "--loose-innodb-log-file-size="+logFile)
	} else {
		args = append(args, "--innodb-log-file-size="+logFile, "--loose-aria-pagecache-buffer-size=16M")
	}
	if os.Geteuid() == 0 {
		args = append(args, "--user=root")
	}
	if s.options.TCP {
		args = append(args, "--bind-address=127.0.0.1", "--port="+strconv.Itoa(s.Port))
	} else {
		args = append(args, "--skip-networking")
	}
	if !s.options.Durable {
		args = append(args, "--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync")
		if s.Vendor == "mariadb" {
			args = append(args, "--loose-debug-no-sync=ON", "--loose-sync-frm=OFF")
		}
	}
	return append(args, s.options.Args...)
}

// choosePort returns want, or a port that is free now.
func choosePort(ctx context.Context, want int) (int, error) {
	if want != 0 {
		return want, nil
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return 0, fmt.Errorf("find free port: %w", err)
	}
	return port, nil
}

var errPortTaken = &core.Error{
	Code: core.CodeFailed, Message: "the port is in use",
	Hint: "choose another port, or none to have a free one chosen",
}
