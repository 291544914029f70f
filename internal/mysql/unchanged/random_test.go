package unchanged_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// TestRandom changes tables at random in sessions that stay open across
// backups, and compares each backup, which takes over what it may from the one
// before, with one that reads everything. The seed is printed; set
// BACKSTAY_TEST_SEED to repeat a run.
func TestRandom(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("BACKSTAY_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("BACKSTAY_TEST_SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	const tables, rounds = 24, 30
	r := newRig(t)
	var names []string
	for i := range tables {
		names = append(names, fmt.Sprintf("r%02d", i))
	}
	r.exec(t, plain(names...)...)
	r.settle(t)
	config := r.root
	config.Database = "shop"
	type session struct {
		c    *mysql.Conn
		open bool
		held map[string]bool // tables whose rows it may hold locked
	}
	sessions := make([]*session, 3)
	for i := range sessions {
		sessions[i] = &session{c: mysqltest.Connect(t, config), held: map[string]bool{}}
		run(t, sessions[i].c, "SET SESSION innodb_lock_wait_timeout=1, SESSION lock_wait_timeout=1")
	}
	end := func(s *session) {
		if s.open {
			run(t, s.c, []string{"COMMIT", "COMMIT", "ROLLBACK"}[rnd.IntN(3)])
		}
		s.open, s.held = false, map[string]bool{}
	}
	free := func(but *session) string {
		for {
			name := names[rnd.IntN(tables)]
			taken := false
			for _, s := range sessions {
				taken = taken || s != but && s.held[name]
			}
			if !taken {
				return name
			}
		}
	}
	dml := func(name string) string {
		id, v := rnd.IntN(6), rnd.IntN(3)
		return []string{
			fmt.Sprintf("REPLACE INTO %s VALUES (%d,'%d')", name, id, v), fmt.Sprintf("DELETE FROM %s WHERE id=%d", name, id),
			fmt.Sprintf("UPDATE %s SET v='%d' WHERE id>%d", name, v, id), fmt.Sprintf("INSERT IGNORE INTO %s VALUES (%d,'x')", name, id),
		}[rnd.IntN(4)]
	}
	ddl := func() []string {
		a, b := free(nil), free(nil)
		if a == b {
			return []string{"TRUNCATE " + a}
		}
		return [][]string{
			{"TRUNCATE " + a}, {"ALTER TABLE " + a + " FORCE"}, {"RENAME TABLE " + a + " TO tmp, " + b + " TO " + a + ", tmp TO " + b},
			{"DROP TABLE " + a, "CREATE TABLE " + a + " LIKE " + b}, {"FLUSH TABLES " + a}, {"ALTER TABLE " + a + " ADD c INT", "ALTER TABLE " + a + " DROP c"},
			{"ANALYZE TABLE " + a}, {"DROP TABLE " + a, "CREATE TABLE " + a + " LIKE " + b, "INSERT INTO " + a + " SELECT * FROM " + b},
		}[rnd.IntN(8)]
	}
	last := r.try(t, r.config, nil)
	total := 0
	for range rounds {
		// Often nothing is open, or nothing could be taken over for two hours.
		quiet := rnd.IntN(4) > 0
		for range rnd.IntN(4) {
			s := sessions[rnd.IntN(len(sessions))]
			switch n := rnd.IntN(10); {
			case n < 2:
				run(t, s.c, []string{"START TRANSACTION", "START TRANSACTION WITH CONSISTENT SNAPSHOT"}[rnd.IntN(2)])
				s.open, s.held = true, map[string]bool{}
			case n < 7:
				name := free(s)
				run(t, s.c, dml(name))
				if s.open {
					s.held[name] = true
				}
			case n < 9:
				end(s)
			default:
				r.exec(t, ddl()...)
			}
		}
		if quiet {
			for _, s := range sessions {
				end(s)
			}
		}
		last = r.next(t, last)
		total += len(last.reused())
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%d of %d tables taken over", total, rounds*tables)
	if total == 0 {
		t.Error("no table was ever taken over")
	}
}
