// Package consistency backs up databases while they are written and altered,
// and while connections and servers end, and looks at whether each backup is of
// one instant or a clear failure. It is for the project's own tests. It
// promises that the moments of changes are chosen; where they are left to
// chance, the seed is printed.
package consistency

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/load"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

// long makes tests run for as long as it takes to meet what is rare:
// `make test-consistency`.
const long = "BACKSTAY_TEST_LONG"

// limit is how long anything may take that is to end.
const limit = time.Minute

// rank is an account's rights and what they allow.
type rank struct {
	name        string
	grants      []string
	method      string // of a backup that nothing disturbs
	connections int
}

func ranks(t testing.TB) []rank {
	t.Helper()
	best := dump.MethodGlobalReadLock
	if mysqltest.OnMariaDB(t) {
		best = dump.MethodBackupStage
	}
	see := "SHOW VIEW, TRIGGER, EVENT, EXECUTE"
	return []rank{
		{"all rights", []string{"ALL ON *.*"}, best, 4},
		{"its database only", []string{"ALL ON DB.*"}, dump.MethodTableLocks, 4},
		{"SELECT only", []string{"SELECT, " + see + " ON DB.*"}, dump.MethodSingle, 1},
	}
}

// as gives an account with these rights, connected to the database.
func as(t testing.TB, database string, grants ...string) mysql.Config {
	t.Helper()
	grants = append([]string(nil), grants...)
	for i := range grants {
		grants[i] = strings.ReplaceAll(grants[i], "DB", mysql.QuoteName(strings.ReplaceAll(database, "_", `\_`)))
	}
	c := mysqltest.User(t, grants...)
	c.Database = database
	return c
}

func restore(t testing.TB, tree *mysqltest.Tree, d *dump.Dumped) string {
	t.Helper()
	to := mysqltest.Database(t)
	if _, err := load.Load(t.Context(), d.Index, tree, load.Options{Config: mysqltest.Config(t, to), Progress: core.NoProgress{}}); err != nil {
		t.Fatal(err)
	}
	return to
}

// paused is a tree that calls at for every file that is begun, before it is.
type paused struct {
	*mysqltest.Tree
	mu sync.Mutex
	at func(path string)
}

func (p *paused) Create(ctx context.Context, path string) (core.FileWriter, error) {
	p.pause(path)
	return p.Tree.Create(ctx, path)
}

func (p *paused) CreateBlocks(ctx context.Context, path string) (core.FileWriter, error) {
	p.pause(path)
	return p.Tree.CreateBlocks(ctx, path)
}

func (p *paused) pause(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at(path)
}

// backup dumps a database; opened is called when the instant is taken, at when
// a file is begun. Either may be nil.
func backup(t testing.TB, opt dump.Options, opened func(s *dump.Snapshot), at func(path string)) (*mysqltest.Tree, *dump.Dumped, core.Consistency, error) {
	t.Helper()
	if opt.Clock == nil {
		opt.Clock = core.SystemClock{}
	}
	s, err := dump.Open(t.Context(), opt)
	if err != nil {
		return nil, nil, core.Consistency{}, err
	}
	if opened != nil {
		opened(s)
	}
	if at == nil {
		at = func(string) {}
	}
	tree := &paused{Tree: mysqltest.NewTree(), at: at}
	d, err := s.Write(t.Context(), tree, core.NoProgress{})
	return tree.Tree, d, s.Consistency, errors.Join(err, s.Close())
}

// clear fails the test when an error does not say what to do.
func clear(t testing.TB, err error) {
	t.Helper()
	if code := core.CodeOf(err); code != core.CodeDatabase || core.HintOf(err) == "" {
		t.Errorf("code %q, hint %q: %v", code, core.HintOf(err), err)
	}
}

// TestEveryAccount backs up under load, as accounts with all rights, with
// rights on their database only, and with SELECT only.
func TestEveryAccount(t *testing.T) {
	for _, r := range ranks(t) {
		for _, mixed := range []bool{false, true} {
			name := r.name
			if mixed {
				name += ", with a table without transactions"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := begin(t, 4, mixed)
				config := as(t, w.database, r.grants...)
				for range 2 {
					tree, d, c, err := backup(t, dump.Options{Config: config}, nil, nil)
					if err != nil {
						t.Fatal(err)
					}
					if c.Method != r.method && c.Method != dump.MethodSingle && !(mixed && c.Method == dump.MethodTableLocks) || r.method == dump.MethodBackupStage && !mixed && c.Method != r.method {
						t.Errorf("method %s (%s), want %s", c.Method, c.Why, r.method)
					}
					if c.Method == dump.MethodSingle && (c.Connections != 1 || c.Why == "") {
						t.Errorf("%d connections because %q", c.Connections, c.Why)
					}
					locked := true
					for _, warning := range d.Warnings {
						locked = locked && warning.Code != "not-locked"
					}
					if !locked {
						if r.method != dump.MethodSingle {
							t.Errorf("warnings: %v", d.Warnings)
						}
					}
					w.agree(t, restore(t, tree, d), locked)
				}
				w.end()
				t.Logf("%d commits, %d deadlocks", w.commits.Load(), w.deadlocks.Load())
			})
		}
	}
}

// TestTableLocksOnAQuietDatabase has an account with rights on its database
// only read over several connections where nobody writes at the moment, and
// never makes anybody's transaction fail.
func TestTableLocksOnAQuietDatabase(t *testing.T) {
	w := begin(t, 0, false)
	_, _, c, err := backup(t, dump.Options{Config: as(t, w.database, "ALL ON DB.*")}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Method != dump.MethodTableLocks || c.Connections != 4 {
		t.Errorf("method %s on %d connections: %s", c.Method, c.Connections, c.Why)
	}
}

// TestNoTransactionFails counts the transactions that the server ends because of
// backups, in the very order of tables that brings lock requests into a circle.
func TestNoTransactionFails(t *testing.T) {
	for _, r := range ranks(t) {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			w := begin(t, 4, false)
			config := as(t, w.database, r.grants...)
			for range 5 {
				if _, _, _, err := backup(t, dump.Options{Config: config, LockWait: time.Second}, nil, nil); err != nil {
					t.Fatal(err)
				}
			}
			w.end()
			if n := w.deadlocks.Load(); n > 0 {
				t.Errorf("the server ended %d of %d transactions", n, w.commits.Load())
			}
		})
	}
}
