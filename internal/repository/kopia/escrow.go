package kopia

import (
	"context"
	"encoding/hex"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/kopia/escrow"
)

var _ repository.Escrow = (*Store)(nil)

// ID implements repository.Escrow.
func (s *Store) ID() string { return hex.EncodeToString(s.rep.UniqueID()) }

// Format implements repository.Escrow.
func (s *Store) Format(ctx context.Context) (map[string][]byte, error) {
	found, err := escrow.Read(withLog(ctx, s.opts.Logger), s.files)
	return found, storageError("read the repository's format", s.files.root, err)
}

// PutFormat implements repository.Escrow.
func (s *Store) PutFormat(ctx context.Context, format map[string][]byte) error {
	const op = "put back the repository's format"
	if err := s.mustWrite(op); err != nil {
		return err
	}
	return storageError(op, s.files.root, escrow.Write(withLog(ctx, s.opts.Logger), s.files, format))
}

// ChangeKey implements repository.Escrow.
func (s *Store) ChangeKey(ctx context.Context, key core.Secret) error {
	const op = "change the repository's key"
	if err := s.mustWrite(op); err != nil {
		return err
	}
	return storageError(op, s.files.root, s.rep.FormatManager().ChangePassword(withLog(ctx, s.opts.Logger), key.Reveal()))
}
