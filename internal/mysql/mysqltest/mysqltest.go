// Package mysqltest gives tests a real database server of their own. One
// server is shared by the tests of a test binary; it starts when the first of
// them asks for it and is gone when the binary ends, however it ends. It is
// for tests only, and it promises that a machine without a server fails them:
// they never skip.
//
// It imports package mysql, so tests of mysql that use it are in mysql_test.
package mysqltest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/localserver"
)

// The server of this test binary. A package variable, because what it serves
// is the binary, not one test.
var shared struct {
	mu     sync.Mutex
	server *localserver.Server
	err    error // the first failure to start: it is not tried again for every test
}

// BinaryVariable names the environment variable that gives the path of the
// server program to test against; without it the installed one is searched for.
const BinaryVariable = "BACKSTAY_TEST_MYSQLD"

var counter atomic.Int64

const cleanupLimit = 30 * time.Second

// Main runs the tests, stops the shared server and returns the exit code:
//
//	func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }
//
// Without it the server is killed when the binary ends.
func Main(m *testing.M) int {
	code := m.Run()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server == nil {
		return code
	}
	if err := shared.server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the tests' database server:", err)
		code = max(code, 1)
	}
	shared.server = nil
	return code
}

// Server returns the shared server, which listens on its socket and on TCP. A
// test that stops, kills or reconfigures a server takes one of its own from
// Start.
func Server(t testing.TB) *localserver.Server {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server == nil && shared.err == nil {
		// Not the test's context: the server outlives the test.
		shared.server, shared.err = localserver.Start(context.Background(), localserver.Options{Name: "test", TCP: true, Binary: os.Getenv(BinaryVariable)})
	}
	fatal(t, shared.err)
	return shared.server
}

// Start starts a server for this test alone; it is killed and removed at the
// test's end.
func Start(t testing.TB, opts localserver.Options) *localserver.Server {
	t.Helper()
	if opts.Binary == "" {
		opts.Binary = os.Getenv(BinaryVariable)
	}
	s, err := localserver.Start(t.Context(), opts)
	fatal(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("stop the test's database server: %v", err)
		}
	})
	return s
}

// OnMariaDB says whether the tests run against MariaDB, for cases that only one
// vendor knows.
func OnMariaDB(t testing.TB) bool {
	t.Helper()
	return Server(t).Vendor == mysql.MariaDB
}

// ConfigOf returns how root connects to a server through its socket. database
// may be "".
func ConfigOf(s *localserver.Server, database string) mysql.Config {
	return mysql.Config{Socket: s.Socket, User: s.User, Database: database}
}

// Config returns how root connects to the shared server through its socket.
// database may be "".
func Config(t testing.TB, database string) mysql.Config {
	t.Helper()
	return ConfigOf(Server(t), database)
}

// Connect connects; the connection is closed at the test's end.
func Connect(t testing.TB, config mysql.Config) *mysql.Conn {
	t.Helper()
	conn, err := mysql.Connect(t.Context(), config)
	fatal(t, err)
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Errorf("close the test's connection: %v", err)
		}
	})
	return conn
}

// Database makes an empty utf8mb4 database on the shared server and returns
// its name. It is dropped at the test's end.
func Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", counter.Add(1))
	Exec(t, "CREATE DATABASE "+mysql.QuoteName(name)+" CHARACTER SET utf8mb4")
	t.Cleanup(func() { cleanup(t, "DROP DATABASE IF EXISTS "+mysql.QuoteName(name)) })
	return name
}

// Exec runs statements as root on the shared server, in one session with no
// default database.
func Exec(t testing.TB, statements ...string) {
	t.Helper()
	ExecOn(t, Config(t, ""), statements...)
}

// ExecIn runs statements as root in a database of the shared server, in one
// session.
func ExecIn(t testing.TB, database string, statements ...string) {
	t.Helper()
	ExecOn(t, Config(t, database), statements...)
}

// ExecOn runs statements in one session of any server and account.
func ExecOn(t testing.TB, config mysql.Config, statements ...string) {
	t.Helper()
	fatal(t, execAll(t.Context(), config, statements))
}

// Query returns the rows of a query as root in a database of the shared server.
func Query(t testing.TB, database, query string) []mysql.Row {
	t.Helper()
	rows, err := queryAll(t.Context(), Config(t, database), query)
	fatal(t, err)
	return rows
}

// User makes an account with the rights given, each as it stands between
// GRANT and TO: "SELECT, LOCK TABLES ON `shop`.*". It returns how to connect
// as that account through the socket; it is dropped at the test's end.
func User(t testing.TB, grants ...string) mysql.Config {
	t.Helper()
	config := Config(t, "")
	config.User = fmt.Sprintf("user_%d", counter.Add(1))
	config.Password = core.NewSecret(rand.Text())
	// With skip-name-resolve a TCP client is nobody's localhost.
	account := mysql.QuoteText(config.User) + "@'%'"
	statements := []string{"CREATE USER " + account + " IDENTIFIED BY " + mysql.QuoteText(config.Password.Reveal())}
	for _, grant := range grants {
		statements = append(statements, "GRANT "+grant+" TO "+account)
	}
	t.Cleanup(func() { cleanup(t, "DROP USER IF EXISTS "+account) })
	Exec(t, statements...)
	return config
}

// cleanup runs a statement after the test, whose context is over by then.
func cleanup(t testing.TB, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), cleanupLimit)
	defer cancel()
	if err := execAll(ctx, Config(t, ""), []string{statement}); err != nil {
		t.Errorf("clean up after the test: %v", err)
	}
}

func execAll(ctx context.Context, config mysql.Config, statements []string) (err error) {
	conn, err := mysql.Connect(ctx, config)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := conn.Close(); err == nil {
			err = closeErr
		}
	}()
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", excerpt(statement), err)
		}
	}
	return nil
}

func queryAll(ctx context.Context, config mysql.Config, query string) (rows []mysql.Row, err error) {
	conn, err := mysql.Connect(ctx, config)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closeErr := conn.Close(); err == nil {
			err = closeErr
		}
	}()
	rows, err = conn.Query(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", excerpt(query), err)
	}
	return rows, nil
}

// excerpt shortens a statement for a message.
func excerpt(statement string) string {
	const limit = 200
	if len(statement) <= limit {
		return statement
	}
	return strings.ToValidUTF8(statement[:limit], "") + "…"
}

// fatal ends the test on an error, with the hint when it has one.
func fatal(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if hint := core.HintOf(err); hint != "" {
		t.Fatalf("%v\nhint: %s", err, hint)
	}
	t.Fatal(err)
}
