package consistency

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/cli"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// ticking calls at each time that somebody asks for the time, with its count:
// a dump asks around the moment at which it holds up the writers.
type ticking struct {
	core.SystemClock
	mu sync.Mutex
	n  int
	at func(n int)
}

func (c *ticking) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	c.at(c.n)
	return c.SystemClock.Now()
}

// sessions lists the sessions of an account, oldest first.
func sessions(t *testing.T, user string) []string {
	t.Helper()
	var ids []string
	for _, r := range mysqltest.Query(t, "", "SELECT ID FROM information_schema.PROCESSLIST WHERE USER="+mysql.QuoteText(user)+" ORDER BY ID") {
		ids = append(ids, r[0].Text)
	}
	return ids
}

// TestKilledSessions kills each session of a backup in turn, at each of several
// stages. The backup fails and says why, or is right all the same; writers go
// on, and the next backup is made.
func TestKilledSessions(t *testing.T) {
	stages := []string{"lock 2", "lock 3", "lock 4", "opened", "database/data/account/", "database/data/zero/", "database/index.json"}
	for _, r := range ranks(t) {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			w := begin(t, 2, r.method == dump.MethodTableLocks)
			config := as(t, w.database, r.grants...)
			failed := 0
			for _, stage := range stages {
				for i, more := 0, true; more; i++ {
					reached := false
					kill := func() {
						if ids := sessions(t, config.User); !reached && i < len(ids) {
							mysqltest.Exec(t, "KILL "+ids[i])
						} else if !reached {
							more = false
						}
						reached = true
					}
					clock := &ticking{at: func(n int) {
						if stage == fmt.Sprintf("lock %d", n) {
							kill()
						}
					}}
					tree, d, _, err := backup(t, dump.Options{Config: config, Connections: 2, Clock: clock, LockWait: time.Second}, func(*dump.Snapshot) {
						if stage == "opened" {
							kill()
						}
					}, func(path string) {
						if strings.HasPrefix(path, stage) {
							kill()
						}
					})
					if !reached {
						break // without a lock nobody asks for the time so often
					}
					if err != nil {
						failed++
						clear(t, err)
						continue
					}
					w.agree(t, restore(t, tree, d), r.method != dump.MethodSingle)
				}
			}
			if failed < len(stages) {
				t.Errorf("only %d backups failed", failed)
			}
			before := w.commits.Load()
			for end := time.Now().Add(limit); w.commits.Load() < before+10; {
				if time.Now().After(end) {
					t.Fatal("the writers do not go on")
				}
			}
			tree, d, _, err := backup(t, dump.Options{Config: config}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			w.agree(t, restore(t, tree, d), r.method != dump.MethodSingle)
		})
	}
}

// site is an app with a repository, and the way to its database server, which
// the test can cut.
type site struct {
	dir    string
	server *localserver.Server
	way    *way
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{dir: t.TempDir(), server: mysqltest.Start(t, localserver.Options{Name: "gone", TCP: true})}
	root := mysqltest.ConfigOf(s.server, "")
	mysqltest.ExecOn(t, root, "CREATE DATABASE app", "USE app", "CREATE TABLE small (id INT PRIMARY KEY) ENGINE=InnoDB", "INSERT INTO small VALUES (1)",
		"CREATE TABLE big (id INT AUTO_INCREMENT PRIMARY KEY, pad TEXT) ENGINE=InnoDB", "INSERT INTO big (pad) VALUES "+numbers(1000, "(REPEAT('%d ',1000))"),
		"CREATE USER app@'%' IDENTIFIED BY 'test-only'", "GRANT ALL ON app.* TO app@'%'")
	s.way = newWay(t, net.JoinHostPort("127.0.0.1", strconv.Itoa(s.server.Port)))
	for name, text := range map[string]string{
		"db.pw": "test-only\n",
		"backstay.yaml": fmt.Sprintf(`repository: {url: "file://%[1]s/repo", password_file: %[1]s/repository.key}
state_dir: %[1]s/state
apps:
  - name: app
    profile: generic
    root: %[1]s/app
    database: {host: 127.0.0.1, port: %[2]d, user: app, password_file: %[1]s/db.pw, name: app}
`, s.dir, s.way.port()),
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"app", "home"} {
		if err := os.Mkdir(filepath.Join(s.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if code, out := s.run(t, "init"); code != 0 {
		t.Fatal(out)
	}
	return s
}

// run runs a command as the program does, and returns its exit code and output.
func (s *site) run(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	code := cli.Main(t.Context(), args, cli.Environment{
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: io.Discard, Clock: core.SystemClock{}, Version: "1.2.3-test",
		Getenv: func(name string) string {
			return map[string]string{"HOME": s.dir + "/home", "BACKSTAY_CONFIG": s.dir + "/backstay.yaml"}[name]
		},
	})
	return code, out.String()
}

func (s *site) backups(t *testing.T) int {
	t.Helper()
	code, out := s.run(t, "list", "--json")
	var list struct {
		Backups []json.RawMessage `json:"backups"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 {
		t.Fatalf("list: exit code %d, %v\n%s", code, err, out)
	}
	return len(list.Backups)
}

// TestServerGone loses the server in the middle of a backup in several ways:
// the command fails with its exit code and a hint, no backup is listed, the
// app's lock is free, and the next backup is whole.
func TestServerGone(t *testing.T) {
	for name, lose := range map[string]func(s *site) error{
		"killed":    func(s *site) error { return s.server.Kill() },
		"shut down": func(s *site) error { return s.server.Restart(t.Context()) },
		"cut off":   func(s *site) error { s.way.cut(); return nil },
	} {
		for _, after := range []int64{3_000, 500_000} {
			t.Run(fmt.Sprintf("%s after %d bytes", name, after), func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				lost := make(chan error, 1)
				s.way.stopAt(after, func() { lost <- lose(s); s.way.cut() })
				code, out := s.run(t, "backup", "--json")
				select {
				case err := <-lost:
					if err != nil {
						t.Fatal(err)
					}
				case <-time.After(limit):
					t.Fatalf("the moment did not come: exit code %d\n%s", code, out)
				}
				var said struct {
					Error struct{ Code, Message, Hint string }
				}
				if err := json.Unmarshal([]byte(out), &said); err != nil || code != 1 || said.Error.Code != string(core.CodeDatabase) || said.Error.Hint == "" {
					t.Errorf("exit code %d, %v\n%s", code, err, out)
				}
				if n := s.backups(t); n != 0 {
					t.Errorf("%d backups are listed", n)
				}
				if err := s.server.Restart(t.Context()); err != nil {
					t.Fatal(err)
				}
				s.way.mend()
				if code, out := s.run(t, "backup", "--no-wait"); code != 0 {
					t.Errorf("the next backup: exit code %d\n%s", code, out)
				}
				if code, out := s.run(t, "verify"); code != 0 {
					t.Errorf("verify: exit code %d\n%s", code, out)
				}
			})
		}
	}
}

// way leads connections to a server, counts what comes back, and can be cut.
type way struct {
	listener net.Listener
	target   string
	pumps    sync.WaitGroup

	mu    sync.Mutex
	open  map[net.Conn]bool
	whole bool
	left  int64
	at    func()
}

func newWay(t *testing.T, target string) *way {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &way{listener: l, target: target, open: map[net.Conn]bool{}, whole: true}
	w.pumps.Go(w.serve)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		w.cut()
		w.pumps.Wait()
	})
	return w
}

func (w *way) port() int { return w.listener.Addr().(*net.TCPAddr).Port }

// stopAt calls do once, when so many bytes have come from the server, before the
// next one goes on.
func (w *way) stopAt(bytes int64, do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left, w.at = bytes, do
}

func (w *way) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.whole = false
	for c := range w.open {
		_ = c.Close() // the other end may have gone first
	}
}

func (w *way) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.whole = true
}

func (w *way) serve() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				panic(err)
			}
			return
		}
		server, err := net.Dial("tcp", w.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		w.mu.Lock()
		whole := w.whole
		if whole {
			w.open[client], w.open[server] = true, true
			w.pumps.Go(func() { w.pump(server, client, false) })
			w.pumps.Go(func() { w.pump(client, server, true) })
		}
		w.mu.Unlock()
		if !whole {
			_, _ = client.Close(), server.Close()
		}
	}
}

func (w *way) pump(to, from net.Conn, answers bool) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buffer := make([]byte, 8<<10)
	for {
		n, err := from.Read(buffer)
		if answers && n > 0 {
			w.count(int64(n))
		}
		if _, werr := to.Write(buffer[:n]); err != nil || werr != nil {
			return
		}
	}
}

func (w *way) count(n int64) {
	w.mu.Lock()
	w.left -= n
	do := w.at
	if w.left > 0 {
		do = nil
	}
	if do != nil {
		w.at = nil
	}
	w.mu.Unlock()
	if do != nil {
		do()
	}
}

// TestDroppedBeforeItsLock drops a table at every reading of the clock that a
// backup makes on its way to its instant: between the list of the tables and
// their lock too. The backup begins again without the table, and gives up only
// when tables go on going away.
func TestDroppedBeforeItsLock(t *testing.T) {
	t.Parallel()
	for _, always := range []bool{false, true} {
		made := 0
		for at := 1; at <= 8 && !(always && at > 2); at++ {
			database := mysqltest.Database(t)
			mysqltest.ExecIn(t, database, "CREATE TABLE stays (id INT PRIMARY KEY) ENGINE=InnoDB", "CREATE TABLE goes0 (id INT PRIMARY KEY) ENGINE=InnoDB")
			config := as(t, database, "ALL ON DB.*")
			dropped := 0
			clock := &ticking{at: func(n int) {
				if n == at || always && n > at {
					mysqltest.ExecIn(t, database, fmt.Sprintf("DROP TABLE goes%d", dropped), fmt.Sprintf("CREATE TABLE goes%d (id INT PRIMARY KEY) ENGINE=InnoDB", dropped+1))
					dropped++
				}
			}}
			_, d, _, err := backup(t, dump.Options{Config: config, Connections: 2, Clock: clock, LockWait: time.Second}, nil, nil)
			if err != nil {
				if !errors.Is(err, dump.ErrChanged) {
					t.Errorf("dropped at reading %d, always %v: %v", at, always, err)
				}
				clear(t, err)
				continue
			}
			made++
			if d.Database.Tables < 2 && dropped > 0 && len(d.Warnings) == 0 {
				t.Errorf("dropped at reading %d: the backup has %d tables and says nothing", at, d.Database.Tables)
			}
		}
		if made == 0 && !always {
			t.Error("no backup was made")
		}
	}
}
