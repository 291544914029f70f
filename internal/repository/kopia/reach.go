package kopia

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	kopiarepo "github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/object"
	"github.com/kopia/kopia/snapshot"
	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/kopia/heal"
	"github.com/backstay/backstay/internal/repository/kopia/tree"
)

// checkReuse makes sure that everything below root can be found: in the index,
// and by name and length in the packs that the index points to. kopia stores
// nothing that its index names already, and looks no further: without this
// check a backup would share what is lost, and be no backup.
//
// Changed bytes are not noticed, except in folders: that would be to read all.
func (ss *session) checkReuse(ctx context.Context, root core.ObjectID) error {
	const op = "check what the backup shares with others"
	id, err := object.ParseID(string(root))
	if err != nil {
		return fmt.Errorf("root %q: %w", root, err)
	}
	if err := ss.store.refresh(ctx); err != nil {
		return err
	}
	// After the index: a pack is there before an index names it.
	packs, err := ss.store.packs(ctx)
	if err != nil {
		return err
	}
	c := reuseCheck{w: ss.w, files: ss.store.files, packs: packs, folders: map[object.ID]struct{}{}}
	var gctx context.Context
	c.readers, gctx = errgroup.WithContext(ctx)
	c.readers.SetLimit(min(runtime.GOMAXPROCS(0), maxAtOnce))
	err = c.object(gctx, id, true)
	// The readers' error comes first: what they ended is only cancelled.
	if rerr := c.readers.Wait(); rerr != nil {
		err = rerr
	}
	switch {
	case errors.Is(err, content.ErrContentNotFound):
		// Maintenance marks what no backup uses, and removes it from the index
		// when it finds it marked some four hours later. Stored by this session
		// before the mark and committed after the removal, it is missing.
		return &core.Error{
			Code: core.CodeFailed, Op: op, Err: err,
			Message: "data that was to be shared was removed while the backup was running",
			Hint:    "run the backup again: it will store that data anew",
		}
	case heal.Damaged(err):
		return repository.StorageError(&core.Error{
			Code: core.CodeDamage, Op: op, Err: err,
			Message: "the repository lost data that this backup would share with older ones",
			Hint: "`backstay verify --all` shows what is affected; for new backups set repository.url to a new folder " +
				"and run `backstay init`, and keep the old folder for what is still whole",
		})
	}
	return err
}

// packs returns the lengths of the packs, in bytes.
func (s *Store) packs(ctx context.Context) (map[blob.ID]int64, error) {
	packs := map[blob.ID]int64{}
	for _, prefix := range content.PackBlobIDPrefixes {
		err := s.files.ListBlobs(ctx, prefix, func(m blob.Metadata) error {
			packs[m.BlobID] = m.Length
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return packs, nil
}

// reuseCheck looks for objects and what they are made of.
type reuseCheck struct {
	w       kopiarepo.DirectRepositoryWriter
	files   *fileStorage
	readers *errgroup.Group // each has a folder and all below it

	mu      sync.Mutex
	packs   map[blob.ID]int64      // lengths
	folders map[object.ID]struct{} // that were found whole, or are being looked at
}

// first says whether a folder was not looked at yet.
func (c *reuseCheck) first(id object.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, known := c.folders[id]
	c.folders[id] = struct{}{}
	return !known
}

func (c *reuseCheck) object(ctx context.Context, id object.ID, folder bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if folder && !c.first(id) {
		return nil
	}
	contents, err := c.w.VerifyObject(ctx, id)
	if err != nil {
		return err
	}
	for _, id := range contents {
		if err := c.content(ctx, id); err != nil {
			return err
		}
	}
	if !folder {
		return nil
	}
	return c.below(ctx, id)
}

func (c *reuseCheck) below(ctx context.Context, id object.ID) error {
	r, err := openObject(ctx, c.w, id)
	if err != nil {
		return err
	}
	d, err := tree.ReadFolder(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("read folder %s: %w", id, err)
	}
	for _, e := range d.Entries {
		folder := e.Type == snapshot.EntryTypeDirectory
		check := func() error {
			if err := c.object(ctx, e.ObjectID, folder); err != nil {
				return fmt.Errorf("%s: %w", e.Name, err)
			}
			return nil
		}
		// A folder for which no reader is free is this one's own.
		if folder && c.readers.TryGo(check) {
			continue
		}
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// content makes sure that a chunk's place in its pack exists.
func (c *reuseCheck) content(ctx context.Context, id content.ID) error {
	info, err := c.w.ContentInfo(ctx, id)
	if err != nil {
		return err
	}
	end := int64(info.PackOffset) + int64(info.PackedLength)
	c.mu.Lock()
	length, ok := c.packs[info.PackBlobID]
	c.mu.Unlock()
	if ok && length >= end {
		return nil
	}
	// Somebody's pack that is newer than our list, or lost.
	m, err := c.files.GetMetadata(ctx, info.PackBlobID)
	if err != nil {
		return fmt.Errorf("pack %s: %w", info.PackBlobID, err)
	}
	if m.Length < end {
		return fmt.Errorf("pack %s has %d bytes, not %d or more: %w", info.PackBlobID, m.Length, end, blob.ErrInvalidRange)
	}
	c.mu.Lock()
	c.packs[info.PackBlobID] = m.Length
	c.mu.Unlock()
	return nil
}
