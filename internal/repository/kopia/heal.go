package kopia

import (
	"context"

	kopiarepo "github.com/kopia/kopia/repo"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository/kopia/heal"
)

// Heal implements repository.Healer.
func (s *Store) Heal(ctx context.Context, objects []core.ObjectID) (n int, err error) {
	err = kopiarepo.DirectWriteSession(withLog(ctx, s.opts.Logger), s.rep, kopiarepo.WriteSessionOptions{Purpose: "heal"}, func(ctx context.Context, w kopiarepo.DirectRepositoryWriter) error {
		n, err = heal.Contents(ctx, w, objects)
		return err
	})
	return n, storageError("heal the repository", s.files.root, err)
}
