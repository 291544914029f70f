package dump_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// hall leads connections to a server until it is frozen: then they stay open
// and nothing passes, as when a machine hangs or a firewall forgets.
type hall struct {
	frozen chan struct{}
	once   sync.Once
}

func newHall(t *testing.T) (*hall, mysql.Config) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hall{frozen: make(chan struct{})}
	target := net.JoinHostPort("127.0.0.1", strconv.Itoa(mysqltest.Server(t).Port))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var pumps sync.WaitGroup
	pumps.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // the test is over
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close() // which the client notices
				continue
			}
			stop := func() { _, _ = client.Close(), server.Close() }
			context.AfterFunc(ctx, stop)
			pumps.Go(func() { h.pump(server, client); stop() })
			pumps.Go(func() { h.pump(client, server); stop() })
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		cancel()
		pumps.Wait()
	})
	config := mysqltest.Config(t, "")
	config.Socket, config.Host, config.Port = "", "127.0.0.1", l.Addr().(*net.TCPAddr).Port
	return h, config
}

func (h *hall) freeze() { h.once.Do(func() { close(h.frozen) }) }

func (h *hall) pump(to io.Writer, from io.Reader) {
	buffer := make([]byte, 8<<10)
	for {
		n, err := from.Read(buffer)
		select {
		case <-h.frozen:
			if err == nil {
				_, _ = io.Copy(io.Discard, from) // until the end of the test
			}
			return
		default:
		}
		if _, werr := to.Write(buffer[:n]); err != nil || werr != nil {
			return
		}
	}
}

// TestServerHangs freezes the way to the server at several moments, in one of
// them while writers are held up: the backup ends with a clear error, and the
// server lets the writers go on.
func TestServerHangs(t *testing.T) {
	from := mysqltest.Database(t)
	busy(t, from)
	for i, moment := range []string{"under the lock", "opened", "a", "z"} {
		t.Run(moment, func(t *testing.T) {
			t.Parallel()
			h, config := newHall(t)
			config.Database = from
			opt := options(config).WithPatience(2 * time.Second)
			opt.Clock = &counting{at: func(n int) {
				if n == 4 && moment == "under the lock" {
					h.freeze()
				}
			}}
			s, err := dump.Open(t.Context(), opt)
			if err == nil {
				if moment == "opened" {
					h.freeze()
				}
				_, err = s.Write(t.Context(), mysqltest.NewTree(), &onItem{do: func(table string) {
					if table == moment {
						h.freeze()
					}
				}})
				if cerr := s.Close(); cerr != nil {
					t.Error(cerr)
				}
			}
			if err == nil || core.CodeOf(err) != core.CodeDatabase || core.HintOf(err) == "" || !strings.Contains(err.Error(), "no answer within 2s") {
				t.Errorf("got %v", err)
			}
			mysqltest.ExecIn(t, from, "SET SESSION lock_wait_timeout=60, innodb_lock_wait_timeout=60", "UPDATE z SET n=n", fmt.Sprintf("CREATE TABLE made%d (id INT)", i))
		})
	}
}

// counting calls at each time that somebody asks for the time.
type counting struct {
	core.SystemClock
	mu sync.Mutex
	n  int
	at func(n int)
}

func (c *counting) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	c.at(c.n)
	return c.SystemClock.Now()
}
