package kopia

import (
	"context"
	"errors"
	"fmt"

	"github.com/kopia/kopia/repo/blob"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository/kopia/place"
)

var _ blob.Volume = (*fileStorage)(nil)

// GetCapacity implements blob.Volume.
func (s *fileStorage) GetCapacity(ctx context.Context) (blob.Capacity, error) {
	if err := ctx.Err(); err != nil {
		return blob.Capacity{}, err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(s.root, &fs); err != nil {
		return blob.Capacity{}, fmt.Errorf("ask for the free space of %s: %w", s.root, err)
	}
	if fs.Blocks == 0 { // a file system that has no size, such as some network ones
		return blob.Capacity{}, blob.ErrNotAVolume
	}
	// Bavail: what is kept for root is no space for backups.
	return blob.Capacity{SizeB: fs.Blocks * uint64(fs.Bsize), FreeB: fs.Bavail * uint64(fs.Bsize)}, nil
}

// Space implements repository.Store.
func (s *Store) Space(ctx context.Context) (core.Space, error) {
	const op = "measure repository"
	space := core.Space{Free: -1, Total: -1}
	if err := place.MustBeRepository(s.files.root); err != nil {
		return core.Space{}, err
	}
	gctx, done := guard(withLog(ctx, s.opts.Logger))
	defer done(nil)
	err := s.files.ListBlobs(gctx, "", func(m blob.Metadata) error {
		space.Used += m.Length
		return nil
	})
	if err != nil {
		return core.Space{}, readError(ctx, op, s.files, done(err))
	}
	switch c, err := s.files.GetCapacity(gctx); {
	case err == nil:
		space.Free, space.Total = int64(c.FreeB), int64(c.SizeB)
	case !errors.Is(err, blob.ErrNotAVolume):
		return core.Space{}, readError(ctx, op, s.files, err)
	}
	if space.Attempted, space.Maintained, err = s.maintained(gctx); err != nil {
		return core.Space{}, readError(ctx, op, s.files, err)
	}
	return space, nil
}
