// Package phpserver runs a PHP application on PHP's built-in web server, on
// loopback and for this process alone. It is for drills. It promises that what
// it runs reaches no network where the system allows a network namespace, and
// has no mail and no way to start commands anywhere; that it says which of this
// holds; and that nothing is left of it when it is closed, or when this process
// dies, however that happens.
package phpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/backstay/backstay/internal/core"
)

// Options says what to run and how.
type Options struct {
	PHP          string            // path of php; "": from PATH
	DocumentRoot string            // absolute
	Within       []string          // folders, absolute, beyond which PHP opens no file (open_basedir), DocumentRoot among them
	Temporary    string            // absolute folder for sessions and temporary files, made by the caller, whom UID can write to
	Socket       string            // of the database, PHP's default for mysqli and PDO; "": none
	Settings     map[string]string // of php.ini; they do not win over what keeps PHP off the world
	UID, GID     uint32            // who runs it, when this process is root's; 0 is refused
	Nice         int               // 0 to 19
	Log          *slog.Logger      // nil: none
}

// Server is a running server. Its methods may be called from any goroutine.
type Server struct {
	Base      string   // http://127.0.0.1:PORT
	Version   string   // of PHP
	Isolation []string // what keeps it off the world, in words for the report

	room    *room
	process *process
	printed *printed

	closing sync.Once
	failure error // of closing
}

// means are the ways of the kernel's that may be tried. Tests leave some out,
// to see what holds without them.
type means struct {
	namespaces bool
	rules      bool // of Landlock and seccomp
}

// Start starts PHP and returns when it answers connections. Without PHP, or
// without an extension of it that every application needs, the error has
// core.CodeUnsupported. What PHP said is in the error when it does not start.
func Start(ctx context.Context, o Options) (*Server, error) {
	return start(ctx, o, means{namespaces: true, rules: true})
}

func start(ctx context.Context, o Options, m means) (_ *Server, err error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	program, err := find(o.PHP)
	if err != nil {
		return nil, err
	}
	r, err := newRoom(o, program, m)
	if err != nil {
		return nil, fmt.Errorf("prepare a place to run PHP in: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	known, err := r.ask(ctx, program, o)
	if err != nil {
		return nil, err
	}
	p, out, err := r.serve(ctx, program, o)
	if err != nil {
		return nil, err
	}
	s := &Server{
		Base: fmt.Sprintf("http://127.0.0.1:%d", p.port), Version: known.Version, Isolation: r.words(o, p),
		room: r, process: p, printed: out,
	}
	o.Log.Debug("php serves", "base", s.Base, "root", o.DocumentRoot, "isolation", s.Isolation)
	return s, nil
}

// check refuses what would not keep the package's promises.
func (o Options) check() error {
	op := "run PHP's built-in server"
	for _, dir := range append([]string{o.DocumentRoot, o.Temporary}, o.Within...) {
		if !filepath.IsAbs(dir) {
			return fmt.Errorf("%s: the folder %q is not absolute", op, dir)
		}
		if filepath.Clean(dir) == "/" {
			return fmt.Errorf("%s: the whole file system is not to be opened to it", op)
		}
	}
	if os.Geteuid() == 0 && (o.UID == 0 || o.GID == 0) {
		return &core.Error{Code: core.CodeUsage, Op: op, Message: "root does not run an application's code",
			Hint: "name the user of the web server (drill: user)"}
	}
	if o.Nice < 0 || o.Nice > 19 {
		return fmt.Errorf("%s: nice %d is not within 0 and 19", op, o.Nice)
	}
	return nil
}

// Client reaches the server, follows no redirects, and reaches nothing else.
// Each request has a time limit of two minutes, each answer one of 64 MiB. It
// has no cookie jar; who needs one copies it.
func (s *Server) Client() *http.Client { return newClient(s) }

// Log is the end of what PHP printed: warnings, fatal errors, and requests that
// it answered with a server's error. The last of it is there after Close.
func (s *Server) Log() string { return s.printed.String() }

// Close ends PHP with all that it started, and says what it could not end.
// Close after Close does nothing but say the same.
func (s *Server) Close() error {
	s.closing.Do(func() { s.failure = errors.Join(s.process.end(), s.room.close()) })
	return s.failure
}
