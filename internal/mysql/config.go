// Package mysql talks to MariaDB and MySQL servers: it connects, learns what
// the server and the account can do, runs statements, streams rows without
// holding them, and sends LOAD DATA LOCAL. It is for packages dump and load,
// which make backups of it, and for the engine. Authentication and TLS come
// from go-mysql's client; once logged in, this package speaks the wire
// protocol itself, so that a row of any size passes through a fixed buffer.
package mysql

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	gomysql "github.com/go-mysql-org/go-mysql/mysql"

	"github.com/backstay/backstay/internal/core"
)

// Config says how to reach a server and as whom.
type Config struct {
	Host     string // "" or "localhost" with a Socket: the socket
	Port     int    // 0: 3306
	Socket   string
	User     string
	Password core.Secret
	Database string // default database; may be ""
	TLS      core.DatabaseTLS
}

// ConfigOf makes the Config of a source, with its database as the default.
func ConfigOf(s core.DatabaseSource) Config {
	return Config{
		Host: s.Host, Port: s.Port, Socket: s.Socket, User: s.User,
		Password: s.Password, Database: s.Name, TLS: s.TLS,
	}
}

const connectTimeout = 15 * time.Second

// Address returns where the Config leads: a socket path or host:port.
func (c Config) Address() string {
	if c.usesSocket() {
		return c.Socket
	}
	host, port := c.Host, c.Port
	if host == "" {
		host = "127.0.0.1"
	}
	if port == 0 {
		port = 3306
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

func (c Config) usesSocket() bool {
	return c.Socket != "" && (c.Host == "" || c.Host == "localhost")
}

// Connect logs in and prepares the session: autocommit, UTC, an empty
// sql_mode, no statement time limit, utf8mb4 for names and texts. Errors have
// CodeDatabase and say what to check.
func Connect(ctx context.Context, c Config) (*Conn, error) {
	tlsConfig, err := c.tlsConfig()
	if err != nil {
		return nil, err
	}
	conn, err := c.login(ctx, tlsConfig)
	if err != nil && tlsConfig != nil && c.TLS.Mode == "preferred" && ctx.Err() == nil && noTLSOnServer(err) {
		conn, err = c.login(ctx, nil)
	}
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	if err := conn.prepareSession(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (c Config) login(ctx context.Context, tlsConfig *tls.Config) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	network := "tcp"
	if c.usesSocket() {
		network = "unix"
		tlsConfig = nil // a socket is private already
	}
	// The library's handshake takes no context: a deadline on the connection
	// ends it, and so does a cancelled context.
	var stop func() bool
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		raw, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		stop = context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
		return raw, nil
	}
	lib, err := client.ConnectWithDialer(ctx, network, c.Address(), c.User, c.Password.Reveal(), c.Database, dial,
		func(l *client.Conn) error {
			// The statements after the login are ours, in the classic form.
			l.UnsetCapability(gomysql.CLIENT_QUERY_ATTRIBUTES)
			l.UnsetCapability(gomysql.CLIENT_DEPRECATE_EOF)
			if tlsConfig != nil {
				l.SetTLSConfig(tlsConfig)
			}
			return l.SetCapability(gomysql.CLIENT_LOCAL_FILES)
		})
	if stop != nil && !stop() {
		if lib != nil {
			_ = lib.Close() // the login lost the race against its deadline
		}
		return nil, errors.Join(ctx.Err(), err)
	}
	if err != nil {
		return nil, err
	}
	return newConn(lib.Conn.Conn, lib.GetConnectionID(), lib.GetServerVersion()), nil
}

func (c Config) tlsConfig() (*tls.Config, error) {
	t := &tls.Config{ServerName: c.Host, MinVersion: tls.VersionTLS12}
	if c.TLS.CA != "" {
		pem, err := os.ReadFile(c.TLS.CA)
		if err != nil {
			return nil, &core.Error{Code: core.CodeConfig, Op: "read database CA", Err: err, Hint: "check database.tls.ca"}
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &core.Error{
				Code: core.CodeConfig, Op: "read database CA",
				Message: c.TLS.CA + " holds no PEM certificate", Hint: "check database.tls.ca",
			}
		}
	}
	switch c.TLS.Mode {
	case "", "off":
		return nil, nil
	case "preferred", "required":
		t.InsecureSkipVerify = true // what these modes mean, in MySQL's own words too
	case "verify-ca":
		// The chain is checked, the name is not.
		t.InsecureSkipVerify = true
		roots := t.RootCAs
		t.VerifyConnection = func(s tls.ConnectionState) error {
			opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
			for _, cert := range s.PeerCertificates[1:] {
				opts.Intermediates.AddCert(cert)
			}
			_, err := s.PeerCertificates[0].Verify(opts)
			return err
		}
	case "verify-full":
	default:
		return nil, &core.Error{
			Code: core.CodeConfig, Op: "connect to database", Message: fmt.Sprintf("there is no TLS mode %q", c.TLS.Mode),
			Hint: "database.tls.mode is off, preferred, required, verify-ca or verify-full",
		}
	}
	return t, nil
}

func noTLSOnServer(err error) bool {
	// The library has no value to compare with for this.
	return strings.Contains(err.Error(), "does not support TLS")
}

// explain turns a failed login into words. The server's own message is kept.
func (c Config) explain(ctx context.Context, err error) error {
	e := &core.Error{Code: core.CodeDatabase, Op: "connect to database at " + c.Address(), Err: err}
	var my *gomysql.MyError
	var refused *net.OpError
	switch {
	case errors.As(err, &my):
		e.Err = &ServerError{Number: int(my.Code), State: my.State, Message: my.Message}
		switch my.Code {
		case erAccessDenied:
			e.Message = fmt.Sprintf("the server refused user %q", c.User)
			e.Hint = "check user and password: in the application's configuration, or database: in backstay.yaml"
		case erDBAccessDenied:
			e.Message = fmt.Sprintf("user %q may not use database %q", c.User, c.Database)
			e.Hint = fmt.Sprintf("GRANT SELECT, LOCK TABLES, SHOW VIEW, TRIGGER, EVENT ON `%s`.* TO the account", c.Database)
		case erUnknownDatabase:
			e.Message = fmt.Sprintf("there is no database %q", c.Database)
			e.Hint = "check the database's name: in the application's configuration, or database.name in backstay.yaml"
		case erTooManyConnections:
			e.Hint = "the server has no connection free; raise max_connections, or set database.connections: 1"
		}
	case ctx.Err() != nil:
		return &core.Error{Op: e.Op, Err: ctx.Err()}
	case errors.Is(err, context.DeadlineExceeded):
		e.Message, e.Err = fmt.Sprintf("no answer within %s", connectTimeout), nil
		e.Hint = "is the server up, and does a firewall let this machine reach it?"
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		e.Message = "no server listens there"
		e.Hint = "is the database server running? Host, port and socket can be given under database: in backstay.yaml"
	case errors.Is(err, syscall.EACCES):
		e.Hint = "run as root, or as a user who may open the socket"
	case errors.As(err, &refused):
		e.Hint = "check database.host and database.port"
	case errors.Is(err, io.EOF):
		e.Hint = "the server closed the connection during the login; its log says why"
	}
	return e
}
