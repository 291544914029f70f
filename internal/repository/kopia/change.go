package kopia

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	kopiarepo "github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/manifest"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
)

// Marks are kopia manifests of their own, beside the snapshot's. A snapshot's
// manifest cannot be changed in place: kopia writes a new one and deletes the
// old one, and two processes doing that at once would leave two snapshots, and
// a crash at the wrong moment none. kopia's command line leaves manifests of a
// type that it does not know alone.
//
// Each field carries a number one higher than the highest that its writer saw,
// and the highest wins, so that any set of mark manifests has one meaning
// whatever their order: a new mark holds all fields and removes the manifests
// that it was made from; of two made at once each keeps what the other did not
// set.
const (
	markType = "backstay-mark"
	labelID  = "backup" // of a mark manifest
)

// mark is what is recorded about a backup after its commit.
type mark struct {
	Pinned   stamped[bool]      `json:"pinned,omitzero"`
	Verified stamped[time.Time] `json:"verified,omitzero"`
	Damaged  stamped[time.Time] `json:"damaged,omitzero"` // the zero time: no longer
	Drilled  stamped[time.Time] `json:"drilled,omitzero"`
}

type stamped[T any] struct {
	N     int64 `json:"n"` // 0: never set
	Value T     `json:"value"`
}

func (s *stamped[T]) merge(o stamped[T], less func(a, b T) bool) {
	if o.N > s.N || (o.N == s.N && less(s.Value, o.Value)) {
		*s = o
	}
}

// merge joins what two manifests say. Of equal numbers the later time wins,
// and a pin or a damage wins over its removal.
func (m mark) merge(o mark) mark {
	m.Pinned.merge(o.Pinned, func(a, b bool) bool { return !a && b })
	m.Verified.merge(o.Verified, time.Time.Before)
	m.Damaged.merge(o.Damaged, time.Time.Before)
	m.Drilled.merge(o.Drilled, time.Time.Before)
	return m
}

func (m mark) with(change repository.Mark) mark {
	next := max(m.Pinned.N, m.Verified.N, m.Damaged.N, m.Drilled.N) + 1
	if change.Pinned != nil {
		m.Pinned = stamped[bool]{next, *change.Pinned}
	}
	if change.Verified != nil {
		m.Verified = stamped[time.Time]{next, change.Verified.UTC()}
		m.Damaged = stamped[time.Time]{N: next}
	}
	if change.Damaged != nil {
		m.Damaged = stamped[time.Time]{next, change.Damaged.UTC()}
	}
	if change.Drilled != nil {
		m.Drilled = stamped[time.Time]{next, change.Drilled.UTC()}
	}
	return m
}

func (m mark) apply(b *core.Backup) {
	if m.Pinned.N > 0 {
		b.Pinned = m.Pinned.Value
	}
	if m.Verified.N > 0 {
		b.Verified = &m.Verified.Value
	}
	if !m.Damaged.Value.IsZero() {
		b.Damaged = &m.Damaged.Value
	}
	if m.Drilled.N > 0 {
		b.Drilled = &m.Drilled.Value
	}
}

// marks returns the marks of all backups.
func (s *Store) marks(ctx context.Context) (map[string]mark, error) {
	all, err := load[mark](ctx, s, markType)
	if err != nil {
		return nil, err
	}
	marks := map[string]mark{}
	for _, l := range all {
		id := l.labels[labelID]
		marks[id] = marks[id].merge(*l.value)
	}
	return marks, nil
}

// Mark implements repository.Store.
func (s *Store) Mark(ctx context.Context, id string, change repository.Mark) error {
	op := "mark backup " + id
	if err := s.mustWrite(op); err != nil {
		return err
	}
	known, err := s.manifestsOf(ctx, id)
	if err != nil {
		return err
	}
	if len(known) == 0 {
		return notFound(op, id)
	}
	old, err := s.find(ctx, markType, map[string]string{labelID: id})
	if err != nil {
		return err
	}
	marks, err := s.marks(ctx)
	if err != nil {
		return err
	}
	if change.Pinned != nil && !*change.Pinned {
		if err := s.files.DeleteBlob(ctx, pinBlob(id)); err != nil {
			return storageError(op, s.files.root, err)
		}
	}
	now := marks[id].with(change)
	err = s.change(ctx, op, old, func(ctx context.Context, m *manifest.Manager) error {
		_, err := m.Put(ctx, map[string]string{manifest.TypeLabelKey: markType, labelID: id}, now)
		return err
	})
	if err == nil && change.Pinned != nil && *change.Pinned {
		err = storageError(op, s.files.root, s.putMarker(ctx, pinBlob(id)))
	}
	return err
}

// Delete implements repository.Store. A backup that is in the ledger alone is
// removed from it.
func (s *Store) Delete(ctx context.Context, id string) error {
	op := "delete backup " + id
	if err := s.mustWrite(op); err != nil {
		return err
	}
	snapshots, err := s.manifestsOf(ctx, id)
	if err != nil {
		return err
	}
	entered, err := s.ledgerIDs(ctx)
	if err != nil {
		return readError(ctx, op, s.files, err)
	}
	if len(snapshots) == 0 && !entered[id] {
		return notFound(op, id)
	}
	marks, err := s.find(ctx, markType, map[string]string{labelID: id})
	if err != nil {
		return err
	}
	// The ledger before and after: see List and reconcile.
	if err := s.files.DeleteBlob(ctx, ledgerBlob(id)); err != nil {
		return storageError(op, s.files.root, err)
	}
	if err := s.change(ctx, op, slices.Concat(snapshots, marks), nil); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	return storageError(op, s.files.root, errors.Join(s.files.DeleteBlob(ctx, pinBlob(id)), s.files.DeleteBlob(ctx, ledgerBlob(id))))
}

func notFound(op, id string) error {
	return &core.Error{
		Code: core.CodeNotFound, Op: op, Message: fmt.Sprintf("there is no backup %q", id),
		Hint: "see the backups there are with `backstay list`",
	}
}

// change deletes manifests and adds others in one flush, so that both happen
// or neither.
func (s *Store) change(ctx context.Context, op string, remove []*manifest.EntryMetadata, add func(context.Context, *manifest.Manager) error) (err error) {
	ctx = withLog(ctx, s.opts.Logger)
	_, w, err := s.rep.NewDirectWriter(ctx, kopiarepo.WriteSessionOptions{Purpose: op})
	if err != nil {
		return storageError(op, s.files.root, err)
	}
	gctx, done := guard(ctx)
	defer func() {
		err = storageError(op, s.files.root, done(err))
		if closeErr := w.Close(context.WithoutCancel(ctx)); err == nil && closeErr != nil {
			err = fmt.Errorf("%s: %w", op, closeErr)
		}
	}()
	// kopia takes the later of a manifest and its deletion. Where another
	// machine's clock was ahead of ours, "now" would delete nothing.
	now := time.Time{}
	for _, e := range remove {
		if t := e.ModTime.Add(time.Nanosecond); t.After(now) {
			now = t
		}
	}
	if t := s.opts.now(); t.After(now) {
		now = t
	}
	m, err := manifest.NewManager(gctx, w.ContentManager(), manifest.ManagerOptions{
		TimeNow: func() time.Time { return now }, AutoCompactionThreshold: manifestCompactionOff,
	}, nil)
	if err != nil {
		return err
	}
	for _, e := range remove {
		if err := m.Delete(gctx, e.ID); err != nil {
			return err
		}
	}
	if add != nil {
		if err := add(gctx, m); err != nil {
			return err
		}
	}
	if err := m.Flush(gctx); err != nil {
		return err
	}
	return w.ContentManager().Flush(gctx)
}

// takeBack removes what a failed commit may have left behind. It can fail for
// the same reason as the commit, so it only tells.
func (s *Store) takeBack(ctx context.Context, id string) {
	left, err := s.manifestsOf(ctx, id)
	if err == nil && len(left) > 0 {
		err = s.change(ctx, "take back backup "+id, left, nil)
	}
	if err != nil {
		s.opts.Logger.WarnContext(ctx, "look for what a failed commit left", "backup", id, "error", err)
	}
}
