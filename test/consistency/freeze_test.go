package consistency

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// freezeBackups is how many backups BenchmarkFreeze makes of each kind.
const freezeBackups = "BACKSTAY_FREEZE_BACKUPS"

// BenchmarkFreeze prints how long writers wait at most during a backup, beside
// how long they wait at most during as long a time without one. `make
// bench-freeze` runs it.
func BenchmarkFreeze(b *testing.B) {
	n, err := strconv.Atoi(cmp.Or(os.Getenv(freezeBackups), "60"))
	if err != nil {
		b.Fatal(err)
	}
	out := tabwriter.NewWriter(os.Stdout, 20, 0, 2, ' ', 0)
	fmt.Fprintf(out, "\naccount\tbeside the writers\tmethod\tlongest wait, median\tp99\tmax\twithout a backup, median\tp99\tmax\ttold, median\tcommits\tdeadlocks\n")
	for _, r := range ranks(b) {
		for _, beside := range besides() {
			b.Run(r.name+"/"+beside.name, func(b *testing.B) {
				for range b.N {
					measureFreeze(b, out, n, r, beside)
				}
			})
		}
	}
	if err := out.Flush(); err != nil {
		b.Error(err)
	}
}

// beside is what goes on beside the writers.
type beside struct {
	name       string
	statements []string
	long       string // goes on until the end
}

func besides() []beside {
	return []beside{
		{name: "nothing"},
		{name: "long SELECT", long: "SELECT SLEEP(1000) FROM calm LIMIT 1"},
		{name: "open transaction", statements: []string{"START TRANSACTION", "INSERT INTO calm VALUES (100000,'x')", "SELECT COUNT(*) FROM account"}},
	}
}

func (s beside) start(b *testing.B, database string) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	c, err := mysql.Connect(ctx, mysqltest.Config(b, database))
	if err != nil {
		b.Fatal(err)
	}
	for _, q := range s.statements {
		if _, err := c.Exec(ctx, q); err != nil {
			b.Fatal(err)
		}
	}
	var going sync.WaitGroup
	if s.long != "" {
		going.Go(func() { _, _ = c.Exec(ctx, s.long) }) // ends with the test
	}
	b.Cleanup(func() {
		killSession(b, c.ID())
		cancel()
		going.Wait()
		_ = c.Close() // the server has closed it
	})
}

func measureFreeze(b *testing.B, out *tabwriter.Writer, n int, r rank, s beside) {
	w := begin(b, 4, false)
	s.start(b, w.database)
	config := as(b, w.database, r.grants...)
	var with, without, told []time.Duration
	method := map[string]int{}
	for range n {
		w.longest.Store(0)
		start := time.Now()
		snapshot, err := dump.Open(b.Context(), dump.Options{Config: config, Clock: core.SystemClock{}})
		if err != nil {
			b.Fatal(err)
		}
		_, err = snapshot.Write(b.Context(), mysqltest.NewTree(), core.NoProgress{})
		if err != nil {
			b.Fatal(err)
		}
		took := time.Since(start)
		with = append(with, time.Duration(w.longest.Swap(0)))
		told = append(told, time.Duration(snapshot.Consistency.FreezeMS)*time.Millisecond)
		method[snapshot.Consistency.Method]++
		if err := snapshot.Close(); err != nil {
			b.Fatal(err)
		}
		w.longest.Store(0)
		time.Sleep(took) // as long without a backup
		without = append(without, time.Duration(w.longest.Load()))
	}
	w.end()
	quantile := func(d []time.Duration, q float64) string {
		slices.Sort(d)
		return fmt.Sprintf("%.1f ms", float64(d[min(len(d)-1, int(q*float64(len(d))))])/float64(time.Millisecond))
	}
	fmt.Fprintf(out, "%s\t%s\t%v\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\n", r.name, s.name, method,
		quantile(with, 0.5), quantile(with, 0.99), quantile(with, 1), quantile(without, 0.5), quantile(without, 0.99), quantile(without, 1),
		quantile(told, 0.5), w.commits.Load(), w.deadlocks.Load())
	if err := out.Flush(); err != nil {
		b.Error(err)
	}
}

// killSession ends a session, also when the test's context is over.
func killSession(t testing.TB, id uint32) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	c, err := mysql.Connect(ctx, mysqltest.Config(t, ""))
	if err != nil {
		t.Error(err)
		return
	}
	if _, err := c.Exec(ctx, fmt.Sprintf("KILL %d", id)); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
