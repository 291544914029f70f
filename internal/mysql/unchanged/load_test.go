package unchanged_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/internal/mysql"
)

// TestUnderLoad takes backups, each from the one before, while writers change
// pairs of tables, both in one transaction that may take long. In every backup
// the tables of a pair are equal: none was taken over that had changed, were
// its commit ever so close to the instant.
func TestUnderLoad(t *testing.T) {
	t.Parallel()
	const pairs, writers, backups, shortest = 16, 3, 12, 8 * time.Second
	r := newRig(t)
	for i := range pairs {
		r.exec(t, plain(fmt.Sprintf("p%02d", i), fmt.Sprintf("q%02d", i))...)
	}
	r.settle(t)
	config := r.root
	config.Database = "shop"
	ctx, stop := context.WithCancel(t.Context())
	g, gctx := errgroup.WithContext(ctx)
	var commits atomic.Int64
	for w := range writers {
		g.Go(func() (err error) {
			c, err := mysql.Connect(context.WithoutCancel(gctx), config)
			if err != nil {
				return err
			}
			defer func() { _ = c.Close() }()
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			for n := 0; gctx.Err() == nil; n++ {
				// A few pairs are written to for a while, then others.
				pair := (int(time.Now().Unix())/2*3 + rnd.IntN(2)) % pairs
				statements := []string{
					"START TRANSACTION", fmt.Sprintf("UPDATE p%02d SET v=v+1 WHERE id=%d", pair, w+1),
					fmt.Sprintf("SELECT SLEEP(%g)", []float64{0, 0.001, 0.01, 0.3}[rnd.IntN(4)]),
					fmt.Sprintf("UPDATE q%02d SET v=v+1 WHERE id=%d", pair, w+1), "COMMIT",
				}
				if n%7 == 0 {
					statements[0] = "START TRANSACTION WITH CONSISTENT SNAPSHOT"
				}
				for _, s := range statements {
					if strings.HasPrefix(s, "SELECT") {
						_, err = c.Query(context.WithoutCancel(gctx), s)
					} else {
						_, err = c.Exec(context.WithoutCancel(gctx), s)
					}
					if err != nil {
						return fmt.Errorf("%s: %w", s, err)
					}
				}
				commits.Add(1)
			}
			return nil
		})
	}
	last := r.try(t, r.config, nil)
	total, start := 0, time.Now()
	for n := 0; n < backups || time.Since(start) < shortest; n++ {
		last = r.try(t, r.config, &last)
		sums := map[string]string{}
		for _, table := range last.Index.Tables {
			sums[table.Name] = table.Checksum
		}
		for i := range pairs {
			p, q := fmt.Sprintf("p%02d", i), fmt.Sprintf("q%02d", i)
			if sums[p] == "" || sums[p] != sums[q] {
				t.Fatalf("backup %d: %s and %s differ; read because %q and %q", n, p, q, last.why(p), last.why(q))
			}
		}
		total += len(last.reused())
	}
	stop()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d tables taken over while %d transactions were committed", total, commits.Load())
	if total == 0 || commits.Load() == 0 {
		t.Error("nothing was tried")
	}
}
