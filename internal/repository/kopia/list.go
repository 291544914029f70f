package kopia

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kopia/kopia/repo/manifest"
	"github.com/kopia/kopia/snapshot"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
)

// List implements repository.Store.
//
// When backups that were committed are no longer in kopia's index, or their
// record cannot be read, List returns those it finds together with an error
// that has core.CodeDamage and names the others: a caller must not take the
// rest for all, but may still restore one of them or make a new backup.
func (s *Store) List(ctx context.Context) ([]repository.Record, error) {
	const op = "list backups"
	// The ledger first: an entry is made after its backup and removed before
	// it, so whatever it names now must be found below.
	entered, err := s.ledgerIDs(ctx)
	if err != nil {
		return nil, readError(ctx, op, s.files, err)
	}
	found, err := s.snapshots(ctx, nil)
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
	return records, &core.Error{
		Code: core.CodeDamage, Op: op,
		Message: fmt.Sprintf("%d of the repository's backups cannot be found in its index any more: %s",
			len(broken), strings.Join(broken, ", ")),
		Hint: "files of the repository are missing or damaged: put them back from a copy, or try `kopia index recover`; " +
			"if a backup was deleted with another tool, `backstay delete` it here too",
	}
}

// lost returns those of entered that are not in have and were not deleted
// meanwhile, described for a person.
func (s *Store) lost(ctx context.Context, entered, have map[string]bool) ([]string, error) {
	missing := false
	for id := range entered {
		missing = missing || !have[id]
	}
	if !missing {
		return nil, nil
	}
	still, err := s.ledgerIDs(ctx)
	if err != nil {
		return nil, readError(ctx, "list backups", s.files, err)
	}
	var lost []string
	for id := range entered {
		if !have[id] && still[id] {
			lost = append(lost, s.describeLost(ctx, id))
		}
	}
	slices.Sort(lost)
	return lost, nil
}

// snapshots returns the manifests of our backups; all of them for nil labels.
func (s *Store) snapshots(ctx context.Context, labels map[string]string) ([]*snapshot.Manifest, error) {
	const op = "list backups"
	entries, err := s.find(ctx, snapshot.ManifestType, labels)
	if err != nil {
		return nil, err
	}
	var found []*snapshot.Manifest
	for _, e := range entries {
		if e.Labels[tagID] == "" {
			continue // somebody's own snapshot, made with kopia
		}
		m := &snapshot.Manifest{}
		if _, err := s.manifests.Get(ctx, e.ID, m); err != nil {
			return nil, readError(ctx, op, s.files, fmt.Errorf("backup %s: %w", e.Labels[tagID], err))
		}
		m.ID = e.ID
		found = append(found, m)
	}
	return found, nil
}

// manifestsOf returns the entries of the snapshots that are backup id.
func (s *Store) manifestsOf(ctx context.Context, id string) ([]*manifest.EntryMetadata, error) {
	return s.find(ctx, snapshot.ManifestType, map[string]string{tagID: id})
}

// find looks for manifests in a fresh index.
func (s *Store) find(ctx context.Context, kind string, labels map[string]string) ([]*manifest.EntryMetadata, error) {
	const op = "read the list of backups"
	if err := mustBeRepository(s.files.root); err != nil {
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
