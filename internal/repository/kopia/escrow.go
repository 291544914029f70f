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

// PutFormat puts back what Format returned, of a repository that may not open
// any more. One of another repository is refused.
func PutFormat(ctx context.Context, opts Options, format map[string][]byte) error {
	opts, err := opts.withDefaults()
	if err != nil {
		return err
	}
	loc, err := parseURL(opts.URL)
	if err != nil {
		return err
	}
	st := newFileStorage(loc.path, opts.days)
	defer st.packs.Close()
	return storageError("put back the repository's format", loc.path, escrow.Write(withLog(ctx, opts.Logger), st, format))
}

// ChangeKey implements repository.Escrow.
func (s *Store) ChangeKey(ctx context.Context, key core.Secret) error {
	const op = "change the repository's key"
	if err := s.mustWrite(op); err != nil {
		return err
	}
	return storageError(op, s.files.root, s.rep.FormatManager().ChangePassword(withLog(ctx, s.opts.Logger), key.Reveal()))
}
