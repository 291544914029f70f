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
	"log/slog"
	"net/http"
)

// Options says what to run and how.
type Options struct {
	PHP          string            // path of php; "": from PATH
	DocumentRoot string            // absolute
	Within       []string          // folders, absolute, beyond which PHP opens no file (open_basedir), DocumentRoot among them
	Temporary    string            // absolute folder for sessions and temporary files, made by the caller
	Socket       string            // of the database, PHP's default for mysqli and PDO; "": none
	Settings     map[string]string // of php.ini; they do not win over what keeps PHP off the world
	UID, GID     uint32            // who runs it, when this process is root's; 0 is refused
	Nice         int               // 0 to 19
	Log          *slog.Logger
}

// Server is a running server.
type Server struct {
	Base      string   // http://127.0.0.1:PORT
	Version   string   // of PHP
	Isolation []string // what keeps it off the world, in words for the report
}

// Start starts PHP and returns when it answers connections. Without PHP, the
// error has core.CodeUnsupported.
func Start(ctx context.Context, o Options) (*Server, error) {
	return nil, errors.New("not built yet")
}

// Client reaches the server, follows no redirects, and reaches nothing else.
func (s *Server) Client() *http.Client { return nil }

// Log is the end of what PHP printed: warnings, fatal errors.
func (s *Server) Log() string { return "" }

// Close ends PHP with all that it started. Close after Close does nothing.
func (s *Server) Close() error { return nil }
