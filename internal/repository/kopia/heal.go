package kopia

import (
	"context"

	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/kopia/heal"
	"github.com/backstay/backstay/internal/repository/kopia/place"
)

var _ repository.Healer = (*Store)(nil)

type healing struct {
	*session
	*heal.Objects
}

// BeginHealing implements repository.Healer.
func (s *Store) BeginHealing(ctx context.Context) (repository.HealingSession, error) {
	begun, err := s.Begin(ctx)
	if err != nil {
		return nil, err
	}
	ss := begun.(*session)
	o, err := heal.New(ctx, ss.w, func(err error) bool { return heal.Damaged(err) && place.MustBeRepository(s.files.root) == nil })
	if err != nil {
		ss.Abort()
		return nil, storageError("begin backup", s.files.root, err)
	}
	ss.newWriter = o.NewWriter
	return healing{ss, o}, nil
}
