package kopia

import (
	"context"
	"errors"
	"sync"
	"syscall"

	"github.com/kopia/kopia/repo/blob"
)

// unindexed knows the packs and session markers that a session has written and
// that no index blob names yet. kopia writes an index at Flush and every ten
// minutes; until then nobody can know of them.
type unindexed struct {
	mu  sync.Mutex
	ids []blob.ID
}

type unindexedKey struct{}

// withUnindexed makes what is written under the returned context known to u.
func withUnindexed(ctx context.Context, u *unindexed) context.Context {
	return context.WithValue(ctx, unindexedKey{}, u)
}

// PutBlob implements blob.Storage.
func (s *fileStorage) PutBlob(ctx context.Context, id blob.ID, data blob.Bytes, opts blob.PutOptions) error {
	err := s.Storage.PutBlob(ctx, id, data, opts)
	if u, ok := ctx.Value(unindexedKey{}).(*unindexed); ok {
		u.note(id, err)
	}
	return err
}

func (u *unindexed) note(id blob.ID, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch id[0] {
	case 'p', 'q', 's':
		u.ids = append(u.ids, id)
	case 'x':
		// Only a full disk is a certain no: after any other error the index
		// may be there all the same.
		if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
			u.ids = nil
		}
	}
}

// take returns the ids and forgets them.
func (u *unindexed) take() []blob.ID {
	u.mu.Lock()
	defer u.mu.Unlock()
	ids := u.ids
	u.ids = nil
	return ids
}
