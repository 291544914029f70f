package kopia

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kopia/kopia/repo/manifest"
	"github.com/kopia/kopia/snapshot"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/kopia/place"
)

// List implements repository.Store.
//
// When backups that were committed are no longer in kopia's index, or their
// record cannot be read, List returns those it finds together with an error
// that has core.CodeDamage and names the others.
func (s *Store) List(ctx context.Context) ([]repository.Record, error) {
	const op = "list backups"
	// The ledger first: an entry is made after its backup and removed before
	// it, so whatever it names now must be found below.
	entered, err := s.ledgerIDs(ctx)
	if err != nil {
		return nil, readError(ctx, op, s.files, err)
	}
	found, err := s.snapshots(ctx)
	if err != nil {
		return nil, err
	}
	marks, err := s.marks(ctx)
	if err != nil {
		return nil, err
	}
	pinned, err := s.idsOf(ctx, pinPrefix)
	if err != nil {
		return nil, readError(ctx, op, s.files, err)
	}
	records := make([]repository.Record, 0, len(found))
	have := make(map[string]bool, len(found))
	var broken []string
	for _, m := range found {
		id := m.Tags[tagID]
		if have[id] {
			continue // kopia's command line changed the snapshot while we looked
		}
		have[id] = true
		r, err := recordOf(m)
		if err != nil {
			broken = append(broken, fmt.Sprintf("%s (%v)", id, err))
			continue
		}
		marks[id].apply(&r.Backup)
		r.Pinned = r.Pinned || pinned[id]
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b repository.Record) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID))
	})
	lost, err := s.lost(ctx, entered, have)
	if err != nil {
		return nil, err
	}
	broken = append(broken, lost...)
	if len(broken) == 0 {
		return records, nil
	}
	return records, repository.StorageError(&core.Error{
		Code: core.CodeDamage, Op: op,
		Message: fmt.Sprintf("%d of the repository's backups cannot be found in its index any more: %s",
			len(broken), strings.Join(broken, ", ")),
		Hint: "files of the repository are missing or damaged: put them back from a copy, or try `kopia index recover`; " +
			"what was deleted with another tool or cannot be had back, `backstay delete` by its whole id",
	})
}

// lost returns those of entered that are not in have and were not deleted
// meanwhile.
func (s *Store) lost(ctx context.Context, entered, have map[string]bool) ([]string, error) {
	var missing []string
	for id := range entered {
		if !have[id] {
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return nil, nil
	}
	still, err := s.ledgerIDs(ctx)
	if err != nil {
		return nil, readError(ctx, "list backups", s.files, err)
	}
	missing = slices.DeleteFunc(missing, func(id string) bool { return !still[id] })
	slices.Sort(missing)
	return missing, nil
}

// snapshots returns the manifests of our backups.
func (s *Store) snapshots(ctx context.Context) ([]*snapshot.Manifest, error) {
	all, err := load[snapshot.Manifest](ctx, s, snapshot.ManifestType)
	if err != nil {
		return nil, err
	}
	var found []*snapshot.Manifest
	for _, l := range all {
		if l.labels[tagID] != "" { // else somebody's own, made with kopia
			found = append(found, l.value)
		}
	}
	return found, nil
}

type loaded[T any] struct {
	labels map[string]string
	value  *T
}

// load reads all manifests of a kind. A manifest that was removed between the
// search and the reading may have been replaced: then it looks again.
func load[T any](ctx context.Context, s *Store, kind string) ([]loaded[T], error) {
	const op, attempts = "read the list of backups", 20
	for attempt := 1; ; attempt++ {
		entries, err := s.find(ctx, kind, nil)
		if err != nil {
			return nil, err
		}
		all := make([]loaded[T], 0, len(entries))
		for _, e := range entries {
			var v T
			if _, err = s.manifests.Get(ctx, e.ID, &v); err != nil {
				break
			}
			all = append(all, loaded[T]{e.Labels, &v})
		}
		if err == nil {
			return all, nil
		}
		if attempt == attempts || !errors.Is(err, manifest.ErrNotFound) {
			return nil, readError(ctx, op, s.files, err)
		}
	}
}

// manifestsOf returns the entries of the snapshots that are backup id.
func (s *Store) manifestsOf(ctx context.Context, id string) ([]*manifest.EntryMetadata, error) {
	return s.find(ctx, snapshot.ManifestType, map[string]string{tagID: id})
}

// find looks for manifests in a fresh index.
func (s *Store) find(ctx context.Context, kind string, labels map[string]string) ([]*manifest.EntryMetadata, error) {
	const op = "read the list of backups"
	if err := place.MustBeRepository(s.files.root); err != nil {
		return nil, err
	}
	ctx = withLog(ctx, s.opts.Logger)
	if err := s.refresh(ctx); err != nil {
		return nil, readError(ctx, op, s.files, err)
	}
	want := map[string]string{manifest.TypeLabelKey: kind}
	for k, v := range labels {
		want[k] = v
	}
	gctx, done := guard(ctx)
	entries, err := s.manifests.Find(gctx, want)
	if err = done(err); err != nil {
		return nil, readError(ctx, op, s.files, err)
	}
	return entries, nil
}
