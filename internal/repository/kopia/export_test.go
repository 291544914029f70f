package kopia

import "context"

// Lose removes the snapshot of backup id and nothing else, as kopia's own
// command line does.
func (s *Store) Lose(ctx context.Context, id string) error {
	snapshots, err := s.manifestsOf(ctx, id)
	if err != nil {
		return err
	}
	return s.change(ctx, "lose backup "+id, snapshots, nil)
}
