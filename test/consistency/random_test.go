package consistency

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// seedVariable gives the seed of a randomised run: the same statements come at
// the same points of the backups again, while the writers do as they like.
const seedVariable = "BACKSTAY_TEST_SEED"

// TestRandomChanges runs statements by chance, beside the writers, from points
// by chance of a backup on. The backup is a state that the database was in when
// the instant was taken, or a clear failure.
func TestRandomChanges(t *testing.T) {
	t.Parallel()
	seed := uint64(1) // the same in every run of all tests: what is to be found by chance is looked for by make test-consistency
	if os.Getenv(long) != "" {
		seed = rand.Uint64()
	}
	if text := os.Getenv(seedVariable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s=%d", seedVariable, seed)
	rounds := 3
	if os.Getenv(long) != "" {
		rounds = 150
	}
	var exact, failed atomic.Int64
	t.Run("all", func(t *testing.T) {
		for i, r := range ranks(t) {
			for round := range rounds {
				t.Run(fmt.Sprintf("%s/%d", r.name, round), func(t *testing.T) {
					t.Parallel()
					t.Logf("%s=%d", seedVariable, seed)
					if randomRound(t, r, rand.New(rand.NewPCG(seed, uint64(i*rounds+round)))) {
						exact.Add(1)
					} else {
						failed.Add(1)
					}
				})
			}
		}
	})
	t.Logf("%d backups are of one instant, %d failed clearly", exact.Load(), failed.Load())
}

// randomRound says whether there was a backup.
func randomRound(t *testing.T, r rank, rnd *rand.Rand) bool {
	w := begin(t, 0, rnd.IntN(3) == 0)
	mysqltest.ExecIn(t, w.database, subjects()...)
	w.write(t, mysqltest.Config(t, w.database), 2)
	s := newScript(t, w.database, rnd)
	opt := dump.Options{Config: as(t, w.database, r.grants...), Connections: 1 + rnd.IntN(3), LockWait: time.Second, Clock: &ticking{at: func(int) { s.event() }}}
	possible := 0 // statements that may come before the instant
	tree, d, _, err := backup(t, opt, func(*dump.Snapshot) {
		possible = s.begun()
		s.event()
	}, func(string) { s.event() })
	s.end(t)
	w.end()
	if t.Failed() {
		t.Log(s)
	}
	if err != nil {
		if !errors.Is(err, dump.ErrChanged) {
			t.Errorf("%v\n%s", err, s)
		}
		clear(t, err)
		return false
	}
	locked := true
	unsure := map[string]bool{}
	for _, warning := range d.Warnings {
		switch warning.Code {
		case "unreadable", "invalid-view": // not in the backup or not to be made again, which it says
			unsure[warning.Object] = true
		case "not-locked":
			locked = false
			unsure["rows of "+strings.TrimPrefix(warning.Object, "table ")] = true
		}
	}
	restored := restore(t, tree, d)
	w.agree(t, restored, locked)
	have := steady(t, restored, unsure)
	again := mysqltest.Database(t) // goes through the same states, without writers
	mysqltest.ExecIn(t, again, append(schema(w.mixed), subjects()...)...)
	c := mysqltest.Connect(t, mysqltest.Config(t, again))
	nearest := ""
	for k := 0; ; k++ {
		diff := cmp.Diff(steady(t, again, unsure), have)
		if diff == "" {
			break
		}
		if nearest == "" || len(diff) < len(nearest) {
			nearest = diff
		}
		if k == possible {
			t.Errorf("the backup is none of the states that were there at its instant, before statements 0 to %d (-nearest +restored):\n%s\n%s", possible, nearest, s)
			break
		}
		if _, err := c.Exec(t.Context(), s.steps[k].statement); err != nil && mysql.Number(err) == 0 {
			t.Fatal(err)
		}
	}
	if t.Failed() {
		t.Log(s)
	}
	return true
}

var nextNumber = regexp.MustCompile(` AUTO_INCREMENT=\d+`)

// steady is what a database holds but for what the writers write.
func steady(t *testing.T, database string, unsure map[string]bool) map[string]string {
	t.Helper()
	all := contents(t, database)
	for _, table := range []string{"account", "counter", "journal", "parent", "child", "zero", "part", "first_my", "then_inno"} {
		delete(all, "rows of "+table)
	}
	for name, text := range all {
		all[name] = nextNumber.ReplaceAllString(text, "")
		if unsure[name] {
			delete(all, name)
		}
	}
	return all
}

// step is a statement and the event of a backup from which on it may run: that
// somebody asks for the time, that the instant is taken, or that a file is begun.
type step struct {
	statement string
	event     int
	wait      bool // until it is done or waits for a lock, before the backup goes on
}

// script runs steps one after the other in a session of its own.
type script struct {
	t     *testing.T
	c     *mysql.Conn
	steps []step
	jobs  chan string
	ended chan struct{}
	done  atomic.Int64

	mu     sync.Mutex
	events int
	next   int
}

func newScript(t *testing.T, database string, rnd *rand.Rand) *script {
	t.Helper()
	s := &script{t: t, ended: make(chan struct{})}
	for _, statement := range randomStatements(rnd) {
		s.steps = append(s.steps, step{statement: statement, event: 1 + rnd.IntN(20), wait: rnd.IntN(2) == 0})
	}
	events := make([]int, len(s.steps))
	for i := range events {
		events[i] = s.steps[i].event
	}
	slices.Sort(events)
	for i := range events {
		s.steps[i].event = events[i]
	}
	s.jobs = make(chan string, len(s.steps))
	ctx := context.WithoutCancel(t.Context())
	var err error
	if s.c, err = mysql.Connect(ctx, mysqltest.Config(t, database)); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.ended)
		for statement := range s.jobs {
			for {
				_, err := s.c.Exec(ctx, statement)
				if mysql.Number(err) == erDeadlock {
					continue // with a writer
				}
				// After others a statement may have nothing to work on.
				if n := mysql.Number(err); err != nil && (n == 0 || n == mysql.ErLockWaitTimeout) {
					t.Errorf("%s: %v", statement, err)
				}
				break
			}
			s.done.Add(1)
		}
	}()
	return s
}

// randomStatements alter the subjects, write to them, or alter the writers'
// tables in ways that they do not mind.
func randomStatements(rnd *rand.Rand) []string {
	one := func(of ...string) string { return of[rnd.IntN(len(of))] }
	all := changes()
	var statements []string
	for range 1 + rnd.IntN(4) {
		switch rnd.IntN(4) {
		case 0, 1:
			statements = append(statements, all[rnd.IntN(len(all))].do...)
		case 2:
			table, id := one("t", "twin", "p", "pair", "a", "z", "vacant"), rnd.IntN(12)
			statements = append(statements, fmt.Sprintf(one(
				"INSERT INTO %s (id) VALUES (%d)", "DELETE FROM %s WHERE id<%d", "UPDATE %s SET v='random' WHERE id<=%d", "REPLACE INTO %s (id) VALUES (%d)",
			), table, id))
		default:
			table := one("account", "counter", "journal", "parent", "child", "zero", "calm", "part")
			statements = append(statements, one(
				"ALTER TABLE "+table+" FORCE", "OPTIMIZE TABLE "+table, "ALTER TABLE "+table+" ADD extra INT DEFAULT 5", "ALTER TABLE "+table+" DROP extra",
				"ALTER TABLE "+table+" ADD extra INT DEFAULT 5 FIRST", "ALTER TABLE "+table+" ADD KEY extra_key (id)", "ANALYZE TABLE "+table,
				fmt.Sprintf("ALTER TABLE part PARTITION BY HASH (id) PARTITIONS %d", 1+rnd.IntN(5)),
				"RENAME TABLE account TO tmp2, part TO account, tmp2 TO part",
				"CREATE TABLE copy LIKE account", "DROP TABLE copy",
			))
		}
	}
	return statements
}

// event lets the session begin the statements whose time has come.
func (s *script) event() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.events++; s.next < len(s.steps) && s.steps[s.next].event <= s.events; {
		s.jobs <- s.steps[s.next].statement
		s.next++
		if s.steps[s.next-1].wait {
			s.await(s.next)
		}
	}
}

// await returns when n statements are done or one waits for a lock; not later
// than in a second, because it may be at a point at which the backup holds others
// up who hold up the statement.
func (s *script) await(n int) {
	for end := time.Now().Add(time.Second); s.done.Load() < int64(n) && time.Now().Before(end); {
		rows := mysqltest.Query(s.t, "", fmt.Sprintf("SELECT 1 FROM information_schema.PROCESSLIST WHERE ID=%d AND STATE LIKE 'Waiting for%%'", s.c.ID()))
		if len(rows) > 0 {
			return
		}
	}
}

// begun is the number of statements that have begun or may.
func (s *script) begun() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next
}

// end waits for the statements that have begun; the others do not run.
func (s *script) end(t *testing.T) {
	t.Helper()
	close(s.jobs)
	select {
	case <-s.ended:
	case <-time.After(limit):
		t.Errorf("the statements do not end: %s", s)
	}
	if err := s.c.Close(); err != nil {
		t.Error(err)
	}
}

func (s *script) String() string {
	var out strings.Builder
	for i, st := range s.steps {
		fmt.Fprintf(&out, "%d. from event %d, waited for %t, begun %t: %s\n", i+1, st.event, st.wait, i < s.next, st.statement)
	}
	return out.String()
}
