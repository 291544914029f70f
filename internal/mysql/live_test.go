package mysql_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// promptly is far more than what must end at once may take on a busy machine.
const promptly = 10 * time.Second

// noLeak fails the test when goroutines are left behind after do.
func noLeak(t *testing.T, do func()) {
	t.Helper()
	before := runtime.NumGoroutine()
	do()
	deadline := time.Now().Add(promptly)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			buf := make([]byte, 64<<10)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
		runtime.Gosched()
	}
}

// endless is a query whose result never ends in a test's time.
const endless = "SELECT a.n, REPEAT('x', 10000) FROM d.hundred a, d.hundred b, d.hundred c, d.hundred d"

// withHundred makes the table that endless needs.
func withHundred(t *testing.T, c *mysql.Conn) {
	t.Helper()
	values := strings.TrimSuffix(strings.Repeat("(1),", 100), ",")
	for _, s := range []string{"CREATE DATABASE d", "CREATE TABLE d.hundred (n INT)", "INSERT INTO d.hundred VALUES " + values} {
		if _, err := c.Exec(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
}

// during calls do once, when the first row has come.
type during struct {
	do func()
}

func (d *during) WriteRow([]byte, bool) error {
	if d.do != nil {
		d.do()
		d.do = nil
	}
	return nil
}

func TestEndInTheMiddleOfAResult(t *testing.T) {
	server := mysqltest.Start(t, localserver.Options{})
	admin := mysqltest.Connect(t, mysqltest.ConfigOf(server, ""))
	withHundred(t, admin)
	connect := func() *mysql.Conn {
		c, err := mysql.Connect(t.Context(), mysqltest.ConfigOf(server, ""))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	t.Run("cancelled", func(t *testing.T) {
		noLeak(t, func() {
			c := connect()
			ctx, cancel := context.WithCancel(t.Context())
			start := time.Now()
			err := c.Stream(ctx, endless, 2, &mysql.Encoder{Sink: &during{cancel}})
			if !errors.Is(err, context.Canceled) || time.Since(start) > promptly {
				t.Errorf("after %s: %v", time.Since(start), err)
			}
			if _, err := c.Exec(t.Context(), "SELECT 1"); err == nil {
				t.Error("the session goes on in the middle of a result")
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("cancelled before", func(t *testing.T) {
		c := connect()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Query(ctx, "SELECT 1"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		_ = c.Close()
	})
	t.Run("killed session", func(t *testing.T) {
		noLeak(t, func() {
			c := connect()
			kill := func() {
				if _, err := admin.Exec(t.Context(), fmt.Sprintf("KILL %d", c.ID())); err != nil {
					t.Error(err)
				}
			}
			err := c.Stream(t.Context(), endless, 2, &mysql.Encoder{Sink: &during{kill}})
			wantError(t, err, core.CodeDatabase)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("killed query", func(t *testing.T) {
		c := connect()
		kill := func() {
			if _, err := admin.Exec(t.Context(), fmt.Sprintf("KILL QUERY %d", c.ID())); err != nil {
				t.Error(err)
			}
		}
		err := c.Stream(t.Context(), endless, 2, &mysql.Encoder{Sink: &during{kill}})
		wantError(t, err, core.CodeDatabase, "interrupted")
		if _, err := c.Exec(t.Context(), "SELECT 1"); err != nil {
			t.Errorf("the session is lost: %v", err)
		}
		_ = c.Close()
	})
	t.Run("killed server", func(t *testing.T) {
		noLeak(t, func() {
			c := connect()
			kill := func() {
				if err := server.Kill(); err != nil {
					t.Error(err)
				}
			}
			err := c.Stream(t.Context(), endless, 2, &mysql.Encoder{Sink: &during{kill}})
			wantError(t, err, core.CodeDatabase, "connection to the database was lost")
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	})
}

// rowsForever gives lines without end and calls do once it has given some.
type rowsForever struct {
	lines int
	do    func()
}

func (r *rowsForever) Read(p []byte) (int, error) {
	if r.lines++; r.lines == 20 {
		r.do()
	}
	const line = "1234567890123456789012345678901\n"
	n := len(p) / len(line)
	return copy(p, strings.Repeat(line, n)), nil
}

func TestEndInTheMiddleOfALoad(t *testing.T) {
	server := mysqltest.Start(t, localserver.Options{})
	admin := mysqltest.Connect(t, mysqltest.ConfigOf(server, ""))
	for _, s := range []string{"CREATE DATABASE d", "CREATE TABLE d.t (v VARCHAR(50))"} {
		if _, err := admin.Exec(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	const statement = `LOAD DATA LOCAL INFILE 'rows' INTO TABLE t`
	run := func(t *testing.T, do func(c *mysql.Conn, cancel func())) (err error) {
		t.Helper()
		noLeak(t, func() {
			c, cerr := mysql.Connect(t.Context(), mysqltest.ConfigOf(server, "d"))
			if cerr != nil {
				t.Fatal(cerr)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var rows io.Reader = &rowsForever{do: func() { do(c, cancel) }}
			_, err = c.LoadLocal(ctx, statement, rows)
			_ = c.Close()
		})
		return err
	}
	empty := func(t *testing.T) {
		t.Helper()
		// A lock waits for the session that is being undone.
		if _, err := admin.Exec(t.Context(), "LOCK TABLES d.t WRITE"); err != nil {
			t.Fatal(err)
		}
		rows, err := admin.Query(t.Context(), "SELECT COUNT(*) FROM d.t")
		if err != nil {
			t.Fatal(err)
		}
		if rows[0][0].Text != "0" {
			t.Errorf("%s rows of a load that did not end are there", rows[0][0].Text)
		}
		if _, err := admin.Exec(t.Context(), "UNLOCK TABLES"); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("cancelled", func(t *testing.T) {
		if err := run(t, func(_ *mysql.Conn, cancel func()) { cancel() }); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		empty(t)
	})
	t.Run("killed session", func(t *testing.T) {
		err := run(t, func(c *mysql.Conn, _ func()) {
			if _, err := admin.Exec(t.Context(), fmt.Sprintf("KILL %d", c.ID())); err != nil {
				t.Error(err)
			}
		})
		wantError(t, err, core.CodeDatabase)
		empty(t)
	})
	t.Run("killed server", func(t *testing.T) {
		err := run(t, func(*mysql.Conn, func()) {
			if err := server.Kill(); err != nil {
				t.Error(err)
			}
		})
		wantError(t, err, core.CodeDatabase)
	})
}

func TestStatementsOfEverySize(t *testing.T) {
	c := mysqltest.Connect(t, mysqltest.Config(t, ""))
	for _, n := range []int{0, 1<<24 - 100, 1<<24 - 2 - len("SELECT LENGTH('')"), 1<<24 - 1 - len("SELECT LENGTH('')"), 1<<24 - len("SELECT LENGTH('')"), 1 << 24, 2<<24 + 5} {
		rows, err := c.Query(t.Context(), "SELECT LENGTH('"+strings.Repeat("x", n)+"')")
		if err != nil {
			t.Fatal(err)
		}
		if rows[0][0].Text != fmt.Sprint(n) {
			t.Errorf("the server got %s bytes, want %d", rows[0][0].Text, n)
		}
	}
	_, err := c.Exec(t.Context(), "SELECT LENGTH('"+strings.Repeat("x", 65<<20)+"')")
	wantError(t, err, core.CodeDatabase)
}
