package kopia

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kopia/kopia/repo/object"
	"github.com/kopia/kopia/snapshot"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository/kopia/tree"
)

// reuseMargin is how long a session may be sure that what it found stored
// stays. Maintenance marks what no backup uses, and removes it from the index
// when it finds it marked some four hours later (maintenance.SafetyFull). A
// session that reused such a thing before it was marked, and is committed
// after it was removed, would be a backup with holes.
const reuseMargin = 3 * time.Hour

// checkReuse makes sure that everything below root is in the repository, if
// the session has lasted so long that something may have been removed.
func (ss *session) checkReuse(ctx context.Context, root core.ObjectID) error {
	if ss.store.opts.Clock.Now().Sub(ss.begun) < reuseMargin {
		return nil
	}
	if err := ss.store.refresh(ctx); err != nil {
		return err
	}
	id, err := object.ParseID(string(root))
	if err != nil {
		return fmt.Errorf("root %q: %w", root, err)
	}
	err = ss.reach(ctx, id, true, map[object.ID]struct{}{})
	if damaged(err) {
		return &core.Error{
			Code: core.CodeFailed, Op: "check what the backup reuses", Err: err,
			Message: "maintenance removed data that was to be reused, while the backup was running",
			Hint:    "run the backup again: it will store that data anew",
		}
	}
	return err
}

func (ss *session) reach(ctx context.Context, id object.ID, folder bool, seen map[object.ID]struct{}) (err error) {
	if _, ok := seen[id]; ok {
		return nil
	}
	if _, err := ss.w.VerifyObject(ctx, id); err != nil {
		return err
	}
	if !folder {
		return nil
	}
	seen[id] = struct{}{}
	r, err := openObject(ctx, ss.w, id)
	if err != nil {
		return err
	}
	d, err := tree.ReadFolder(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("read folder %s: %w", id, err)
	}
	for _, e := range d.Entries {
		if err := ss.reach(ctx, e.ObjectID, e.Type == snapshot.EntryTypeDirectory, seen); err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
	}
	return nil
}
