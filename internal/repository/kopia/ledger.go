package kopia

import (
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/kopia/kopia/repo/blob"

	"github.com/backstay/backstay/internal/repository/kopia/place"
)

// The ledger is an empty blob beside kopia's for each backup, under a name that
// kopia ignores. kopia takes the index blobs that it finds for all there are:
// when one is lost, so are the snapshots in it, without an error, and its next
// maintenance removes their data as unused. The ledger makes that loss known:
// List and Maintain compare the two.
//
// An entry is made after its backup was committed. If that fails, the backup
// stands; it is entered at the next opportunity (reconcile).
//
// A pin has an empty blob of its own too, so that it does not go with an index
// blob: what somebody wanted kept must not be pruned because the wish was lost.
const (
	ledgerPrefix = "backstay.backup."
	pinPrefix    = "backstay.pinned."
)

func ledgerBlob(id string) blob.ID { return blob.ID(ledgerPrefix + id) }
func pinBlob(id string) blob.ID    { return blob.ID(pinPrefix + id) }

// ledgerIDs returns the ids of the backups in the ledger.
func (s *Store) ledgerIDs(ctx context.Context) (map[string]bool, error) {
	return s.idsOf(ctx, ledgerPrefix)
}

// idsOf returns what follows prefix in the names of the blobs that have it.
func (s *Store) idsOf(ctx context.Context, prefix blob.ID) (map[string]bool, error) {
	if err := place.MustBeRepository(s.files.root); err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	err := s.files.ListBlobs(ctx, prefix, func(m blob.Metadata) error {
		ids[strings.TrimPrefix(string(m.BlobID), string(prefix))] = true
		return nil
	})
	return ids, err
}

// enterInLedger is called when nothing may fail any more, so it only tells.
func (s *Store) enterInLedger(ctx context.Context, id string) {
	if err := s.putMarker(ctx, ledgerBlob(id)); err != nil {
		s.opts.Logger.WarnContext(ctx, "backup is stored, but not entered in the ledger yet", "backup", id, "error", err)
	}
}

// putMarker writes an empty blob: all that it says is its name.
func (s *Store) putMarker(ctx context.Context, id blob.ID) error {
	return s.files.PutBlob(ctx, id, noBytes{}, blob.PutOptions{})
}

// noBytes is a blob.Bytes with nothing in it.
type noBytes struct{}

var _ blob.Bytes = noBytes{}

func (noBytes) WriteTo(io.Writer) (int64, error) { return 0, nil }
func (noBytes) Length() int                      { return 0 }
func (noBytes) Reader() io.ReadSeekCloser        { return noReader{bytes.NewReader(nil)} }

type noReader struct{ *bytes.Reader }

func (noReader) Close() error { return nil }

// reconcile enters the backups that are missing in the ledger, and says whether
// any is known to be damaged.
func (s *Store) reconcile(ctx context.Context) (damaged bool, err error) {
	records, err := s.List(ctx)
	if err != nil {
		return damaged, err
	}
	entered, err := s.ledgerIDs(ctx)
	if err != nil {
		return damaged, err
	}
	for _, r := range records {
		damaged = damaged || r.Damaged != nil
		if entered[r.ID] {
			continue
		}
		if err := s.putMarker(ctx, ledgerBlob(r.ID)); err != nil {
			return damaged, err
		}
		// Deleted meanwhile? Delete removes the entry before and after the
		// snapshot, so one of the two of us sees the other.
		left, err := s.manifestsOf(ctx, r.ID)
		if err != nil {
			return damaged, err
		}
		if len(left) == 0 {
			if err := s.files.DeleteBlob(ctx, ledgerBlob(r.ID)); err != nil {
				return damaged, err
			}
		}
	}
	return damaged, nil
}
