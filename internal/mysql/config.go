// Package mysql talks to MariaDB and MySQL servers: it connects, learns what
// the server and the account can do, runs statements, streams rows without
// holding them, and sends LOAD DATA LOCAL. It is for packages dump and load,
// which make backups of it, and for the engine. It speaks the
// wire protocol itself, so that a row of any size passes through a fixed buffer
// and a peer that is no database server, or a hostile one, gets an error and
// nothing else.
package mysql

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

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
	Timeout  time.Duration // of the login; 0: 15 s
}

// ConfigOf makes the Config of a source, with its database as the default.
func ConfigOf(s core.DatabaseSource) Config {
	return Config{
		Host: s.Host, Port: s.Port, Socket: s.Socket, User: s.User,
		Password: s.Password, Database: s.Name, TLS: s.TLS,
	}
}

const defaultTimeout = 15 * time.Second

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

func (c Config) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return defaultTimeout
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
	limited, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	conn, err := c.login(limited, tlsConfig)
	if errors.Is(err, errNoTLS) && c.TLS.Mode == "preferred" {
		conn, err = c.login(limited, nil)
	}
	if err != nil {
		return nil, c.explain(ctx, limited, err)
	}
	conn.address = c.Address()
	if err := conn.prepareSession(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (c Config) tlsConfig() (*tls.Config, error) {
	host, _, err := net.SplitHostPort(c.Address())
	if err != nil { // a socket, which has no TLS
		host = c.Host
	}
	t := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
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
			if len(s.PeerCertificates) == 0 {
				return errors.New("the server has no certificate")
			}
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

// explain turns a failed login into words. The server's own message is kept.
// limited is ctx with the limit of the login.
func (c Config) explain(ctx, limited context.Context, err error) error {
	e := &core.Error{Code: core.CodeDatabase, Op: "connect to database at " + c.Address(), Err: err}
	var server *ServerError
	var plugin *pluginError
	var inTLS *tlsError
	var network *net.OpError
	switch {
	case ctx.Err() != nil:
		return &core.Error{Op: e.Op, Err: ctx.Err()}
	case errors.Is(err, context.DeadlineExceeded) && sameDeadline(ctx, limited):
		// The network's timer can be ahead of the context's.
		return &core.Error{Op: e.Op, Err: context.DeadlineExceeded}
	case errors.As(err, &server):
		e.Message, e.Hint = c.explainRefusal(server.Number)
	case errors.Is(err, context.DeadlineExceeded):
		e.Message, e.Err = fmt.Sprintf("no answer within %s", c.timeout()), nil
		e.Hint = "is the server up, and does a firewall let this machine reach it?"
	case errors.Is(err, errNoTLS):
		e.Hint = "configure TLS on the server (ssl_cert, ssl_key), or set database.tls.mode to preferred"
	case errors.As(err, &inTLS):
		e.Hint = explainTLS(err)
	case errors.As(err, &plugin):
		e.Hint = "ALTER USER … IDENTIFIED VIA ed25519 (MariaDB) or WITH caching_sha2_password (MySQL)"
	case errors.Is(err, errNotAServer):
		e.Hint = "check database.host, database.port and database.socket"
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		e.Message = "no server listens there"
		e.Hint = "is the database server running? Host, port and socket can be given under database: in backstay.yaml"
	case errors.Is(err, syscall.EACCES):
		e.Hint = "run as root, or as a user who may open the socket"
	case isEOF(err), errors.Is(err, syscall.ECONNRESET):
		e.Message, e.Err = "the connection was closed during the login", nil
		e.Hint = "is this a database server? Its log says why it hangs up"
	case errors.As(err, &network):
		e.Hint = "check database.host and database.port"
	}
	return e
}

func sameDeadline(a, b context.Context) bool {
	atA, okA := a.Deadline()
	atB, okB := b.Deadline()
	return okA && okB && atA.Equal(atB)
}

// explainRefusal gives message and hint for the error number of a refused login.
func (c Config) explainRefusal(number int) (message, hint string) {
	switch number {
	case erAccessDenied, erAccessDeniedNoPassword:
		return fmt.Sprintf("the server refused user %q", c.User),
			"check user and password: in the application's configuration, or database: in backstay.yaml"
	case erDBAccessDenied:
		return fmt.Sprintf("user %q may not use database %q", c.User, c.Database),
			fmt.Sprintf("GRANT SELECT, LOCK TABLES, SHOW VIEW, TRIGGER, EVENT ON %s.* TO the account", QuoteName(c.Database))
	case erUnknownDatabase:
		return fmt.Sprintf("there is no database %q", c.Database),
			"check the database's name: in the application's configuration, or database.name in backstay.yaml"
	case erTooManyConnections, erTooManyUserConnections, erUserLimitReached:
		return "", "the server has no connection free; raise max_connections or the account's own limit, or set database.connections: 1"
	case erHostNotPrivileged:
		return "", "the server takes no connections from this machine: CREATE USER …@'this host', or connect through its socket"
	case erHostBlocked:
		return "", "on the server: FLUSH HOSTS, or mariadb-admin flush-hosts"
	case erAccountLockedMariaDB, erAccountLockedMySQL:
		return "", "ALTER USER … ACCOUNT UNLOCK"
	case erPasswordExpired, erMustChangePassword:
		return "", "the account's password has expired: ALTER USER … IDENTIFIED BY a new one, and enter that where the application has it"
	case erSecureTransport:
		return "", "the account may only connect with TLS: set database.tls.mode to required"
	}
	return "", ""
}

func explainTLS(err error) string {
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &authority):
		return "the server's certificate is not from the authority in database.tls.ca; check that file"
	case errors.As(err, &name):
		return "the server's certificate is for another name: set database.host to a name that is in it, or database.tls.mode to verify-ca"
	case errors.As(err, &invalid):
		return "renew the server's certificate"
	}
	return "the server's TLS settings and versions are in its log; backstay needs TLS 1.2 or newer"
}
