package kopia

import (
	"context"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository/kopia/heal"
)

// Heal implements repository.Healer.
func (s *Store) Heal(ctx context.Context, objects []core.ObjectID) (int, error) {
	n, err := heal.Contents(withLog(ctx, s.opts.Logger), s.rep, objects)
	return n, storageError("heal the repository", s.files.root, err)
}
