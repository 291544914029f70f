package mysql

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Share calls do for 0 … n-1 over all connections, in that order, each
// connection one call at a time. The first error ends the others' contexts and
// is returned.
func Share(ctx context.Context, conns []*Conn, n int, do func(ctx context.Context, c *Conn, i int) error) error {
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for _, c := range conns {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := do(ctx, c, i); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}
