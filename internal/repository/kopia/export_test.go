package kopia

import (
	"context"
	"time"

	"github.com/kopia/kopia/repo/blob/throttling"
)

// Lose removes the snapshot of backup id and nothing else, as kopia's own
// command line does.
func (s *Store) Lose(ctx context.Context, id string) error {
	snapshots, err := s.manifestsOf(ctx, id)
	if err != nil {
		return err
	}
	return s.change(ctx, "lose backup "+id, snapshots, nil)
}

// WithTime returns options with which the repository lives in another time.
func (o Options) WithTime(now func() time.Time) Options {
	o.days = now
	return o
}

// WithLeaseRenewal returns options with which the maintenance lease is renewed
// so often.
func (o Options) WithLeaseRenewal(d time.Duration) Options {
	o.leaseRenewal = d
	return o
}

// OnMaintenance has f asked before each change to a blob that a maintenance by
// this store makes.
func (s *Store) OnMaintenance(f func(ctx context.Context, path string, remove bool) error) {
	s.files.onChange = func(ctx context.Context, c change) error {
		if upkeepOf(ctx) == nil {
			return nil
		}
		return f(ctx, c.path, c.remove)
	}
}

// OnChange has f asked before each change to a blob.
func (s *Store) OnChange(f func(path string, remove bool) error) {
	s.files.onChange = func(_ context.Context, c change) error { return f(c.path, c.remove) }
}

// Limits returns what is limited.
func (s *Store) Limits() throttling.Limits { return s.rep.Throttler().Limits() }
