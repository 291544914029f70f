package consistency

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// workload is a database and the writers that keep it busy. Every transaction
// leaves the tables in agreement, so a copy in which they disagree is not of
// one instant.
type workload struct {
	database  string
	mixed     bool // has tables without transactions
	commits   atomic.Int64
	deadlocks atomic.Int64 // transactions that the server ended for others' sake
	longest   atomic.Int64 // of any statement since the last reset, in nanoseconds
	stop      context.CancelFunc
	writers   sync.WaitGroup
}

const accounts, balance = 12, 1000

func schema(mixed bool) []string {
	statements := []string{
		"CREATE TABLE account (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB",
		"CREATE TABLE counter (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB",
		"CREATE TABLE journal (id INT AUTO_INCREMENT PRIMARY KEY, counter INT NOT NULL, KEY (counter)) ENGINE=InnoDB",
		"CREATE TABLE parent (id INT PRIMARY KEY, children INT NOT NULL, total BIGINT NOT NULL) ENGINE=InnoDB",
		"CREATE TABLE child (id INT AUTO_INCREMENT PRIMARY KEY, parent INT NOT NULL, value INT NOT NULL, FOREIGN KEY (parent) REFERENCES parent (id)) ENGINE=InnoDB",
		"CREATE TABLE zero (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB", // the other side of counter
		"CREATE TABLE calm (id INT PRIMARY KEY, pad VARCHAR(200)) ENGINE=InnoDB",
		"INSERT INTO calm VALUES " + numbers(2000, "(%d,REPEAT('x',200))"),
		"CREATE TABLE part (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB PARTITION BY HASH (id) PARTITIONS 4",
	}
	for _, t := range []string{"account", "part"} {
		statements = append(statements, "INSERT INTO "+t+" VALUES "+numbers(accounts, fmt.Sprintf("(%%d,%d)", balance)))
	}
	statements = append(statements,
		"INSERT INTO counter VALUES "+numbers(accounts, "(%d,0)"), "INSERT INTO zero VALUES "+numbers(accounts, "(%d,0)"),
		"INSERT INTO parent VALUES "+numbers(accounts, "(%d,0,0)"))
	if mixed {
		statements = append(statements,
			"CREATE TABLE first_my (id INT PRIMARY KEY) ENGINE=MyISAM",
			"CREATE TABLE then_inno (id INT PRIMARY KEY) ENGINE=InnoDB")
	}
	return statements
}

// numbers formats 1 … n, with commas between.
func numbers(n int, format string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf(format, i+1)
	}
	return strings.Join(parts, ",")
}

// begin makes a database and starts n writers on it, which end with the test.
func begin(t testing.TB, n int, mixed bool) *workload {
	t.Helper()
	w := &workload{database: mysqltest.Database(t), mixed: mixed}
	mysqltest.ExecIn(t, w.database, schema(mixed)...)
	w.write(t, mysqltest.Config(t, w.database), n)
	return w
}

// write starts n writers.
func (w *workload) write(t testing.TB, config mysql.Config, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	w.stop = cancel
	t.Cleanup(w.end)
	for i := 1; i <= n; i++ {
		c, err := mysql.Connect(ctx, config)
		if err != nil {
			t.Fatal(err)
		}
		w.writers.Go(func() {
			defer c.Close() // the server may be gone by design
			for k := 0; ctx.Err() == nil; k++ {
				if err := w.transactions(ctx, c, i, k); err != nil {
					if ctx.Err() == nil {
						t.Errorf("writer: %v", err)
					}
					return
				}
			}
		})
	}
}

// end stops the writers and waits for them.
func (w *workload) end() {
	w.stop()
	w.writers.Wait()
}

// transactions commits one transaction of each kind. Writers take rows in one
// order, so that they do not wait for each other in a circle.
func (w *workload) transactions(ctx context.Context, c *mysql.Conn, writer, k int) error {
	from, to := 1+(writer+k)%accounts, 1+(writer*5+k*7)%accounts
	if from > to {
		from, to = to, from
	}
	amount := 1 + k%9
	all := [][]string{
		{
			fmt.Sprintf("UPDATE account SET n=n-%d WHERE id=%d", amount, from),
			fmt.Sprintf("UPDATE account SET n=n+%d WHERE id=%d", amount, to),
		},
		{
			fmt.Sprintf("UPDATE counter SET n=n+2 WHERE id=%d", from),
			fmt.Sprintf("INSERT INTO journal (counter) VALUES (%d),(%d)", from, from),
			fmt.Sprintf("UPDATE zero SET n=n-2 WHERE id=%d", from),
		},
		{
			fmt.Sprintf("UPDATE parent SET children=children+1, total=total+%d WHERE id=%d", amount, to),
			fmt.Sprintf("INSERT INTO child (parent, value) VALUES (%d,%d)", to, amount),
		},
		{
			fmt.Sprintf("UPDATE part SET n=n-%d WHERE id=%d", amount, from),
			fmt.Sprintf("UPDATE part SET n=n+%d WHERE id=%d", amount, to),
		},
	}
	if w.mixed {
		id := k*100 + writer
		if err := w.exec(ctx, c, fmt.Sprintf("INSERT INTO first_my VALUES (%d)", id)); err != nil {
			return err
		}
		all = append(all, []string{fmt.Sprintf("INSERT INTO then_inno VALUES (%d)", id)})
	}
	for _, statements := range all {
		for {
			err := w.transaction(ctx, c, statements)
			if mysql.Number(err) != erDeadlock {
				if err != nil {
					return err
				}
				break
			}
			w.deadlocks.Add(1) // all is undone
		}
	}
	return nil
}

const erDeadlock = 1213

func (w *workload) transaction(ctx context.Context, c *mysql.Conn, statements []string) error {
	for _, s := range append(append([]string{"START TRANSACTION"}, statements...), "COMMIT") {
		if err := w.exec(ctx, c, s); err != nil {
			return err
		}
	}
	w.commits.Add(1)
	return nil
}

func (w *workload) exec(ctx context.Context, c *mysql.Conn, statement string) error {
	start := time.Now()
	_, err := c.Exec(ctx, statement)
	took := int64(time.Since(start))
	for {
		have := w.longest.Load()
		if took <= have || w.longest.CompareAndSwap(have, took) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// invariants are queries that find nothing in a copy that is of one instant.
// Tables without transactions count where they were locked.
func (w *workload) invariants(locked bool) map[string]string {
	in := map[string]string{
		"sum of accounts":           fmt.Sprintf("SELECT SUM(n), COUNT(*) FROM account HAVING SUM(n)<>%d OR COUNT(*)<>%d", accounts*balance, accounts),
		"sum of partitions":         fmt.Sprintf("SELECT SUM(n), COUNT(*) FROM part HAVING SUM(n)<>%d OR COUNT(*)<>%d", accounts*balance, accounts),
		"counter and its journal":   "SELECT c.id, c.n, (SELECT COUNT(*) FROM journal WHERE counter=c.id) AS counted FROM counter c HAVING c.n<>counted",
		"counter and its opposite":  "SELECT c.id, c.n, z.n FROM counter c LEFT JOIN zero z USING (id) WHERE NOT (c.n = -z.n) OR z.n IS NULL",
		"parent and its children":   "SELECT p.id, p.children, (SELECT COUNT(*) FROM child WHERE parent=p.id) AS counted FROM parent p HAVING p.children<>counted",
		"parent and the sum":        "SELECT p.id, p.total, (SELECT COALESCE(SUM(value),0) FROM child WHERE parent=p.id) AS summed FROM parent p HAVING p.total<>summed",
		"what nobody writes":        "SELECT COUNT(*) FROM calm HAVING COUNT(*)<>2000",
		"number of counters":        fmt.Sprintf("SELECT COUNT(*) FROM counter HAVING COUNT(*)<>%d", accounts),
		"number of those opposite":  fmt.Sprintf("SELECT COUNT(*) FROM zero HAVING COUNT(*)<>%d", accounts),
		"number of parents":         fmt.Sprintf("SELECT COUNT(*) FROM parent HAVING COUNT(*)<>%d", accounts),
		"children without a parent": "SELECT c.id FROM child c LEFT JOIN parent p ON p.id=c.parent WHERE p.id IS NULL",
	}
	if w.mixed && locked {
		// Each number goes into first_my before it goes into then_inno.
		in["rows of two engines"] = "SELECT i.id FROM then_inno i LEFT JOIN first_my m USING (id) WHERE m.id IS NULL"
		in["rows on their way"] = "SELECT MOD(m.id,100), COUNT(*) FROM first_my m LEFT JOIN then_inno i USING (id) WHERE i.id IS NULL GROUP BY MOD(m.id,100) HAVING COUNT(*)>1"
	}
	return in
}

// disagreements lists the invariants that do not hold in a copy.
func (w *workload) disagreements(t testing.TB, config mysql.Config, locked bool) []string {
	t.Helper()
	c, err := mysql.Connect(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	var bad []string
	for name, query := range w.invariants(locked) {
		rows, err := c.Query(t.Context(), query)
		if err != nil {
			t.Fatal(errors.Join(fmt.Errorf("%s: %w", name, err), c.Close()))
		}
		if len(rows) > 0 {
			bad = append(bad, fmt.Sprintf("%s: %d rows, first %v", name, len(rows), texts(rows[0])))
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return bad
}

func texts(r mysql.Row) []string {
	var out []string
	for _, v := range r {
		out = append(out, v.Text)
	}
	return out
}

// agree fails the test when a copy is not of one instant.
func (w *workload) agree(t testing.TB, database string, locked bool) {
	t.Helper()
	for _, d := range w.disagreements(t, mysqltest.Config(t, database), locked) {
		t.Errorf("the copy is not of one instant: %s", d)
	}
}
