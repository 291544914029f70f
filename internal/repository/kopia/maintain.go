package kopia

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	kopiarepo "github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/maintenance"
	"github.com/kopia/kopia/snapshot/snapshotgc"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/kopia/lease"
	"github.com/backstay/backstay/internal/repository/kopia/place"
)

// Maintain implements repository.Store. It runs kopia's full maintenance with
// its full safety margins (maintenance.SafetyFull), so that backups can be
// written at the same time; within fullEvery of a full one that got to its end
// it runs kopia's quick one, which only keeps the index small. Of what no backup
// uses any more a full one takes one step, and frees only what the ones before
// it have prepared:
//
//  1. What was stored over 24 hours ago is marked.
//  2. What was marked over an hour before an earlier call, which ended over
//     four hours before this one, leaves the index.
//  3. Packs that the index names no more are removed when they are over 24
//     hours old. Every other call writes anew what is over 60 hours old and in
//     packs of which the index names less than 60 %, when there are two of
//     them or more; neither it nor a call within an hour of it removes any.
//
// So the call after a Delete frees nothing of it. With a call each day its
// packs go with the third or fourth, those that others use in small part with
// the fifth or sixth, and those that others use for the most part stay.
// Several calls at once free no more than one.
//
// A killed session leaves packs that no index names, which a call removes 96
// hours after the session's last sign of life, data that was indexed, which
// goes the way above, and temporary files, which go after sweepAge. An aborted
// session leaves only what was indexed.
//
// While a backup is recorded as damaged, packs that are used in part stay.
//
// A repository in which backups are missing is not maintained: their data is
// still there, as unused, and would be removed.
func (s *Store) Maintain(ctx context.Context) (m repository.Maintained, err error) {
	const op = "maintain repository"
	if err := s.mustWrite(op); err != nil {
		return m, err
	}
	if err := place.MustBeRepository(s.files.root); err != nil {
		return m, err
	}
	held, l, err := lease.Take(ctx, s.files.root, lease.Options{
		Clock: s.opts.Clock, Logger: s.opts.Logger, Hostname: s.opts.Hostname, Renewal: s.opts.leaseRenewal,
	})
	if err != nil {
		return m, storageError(op, s.files.root, err)
	}
	defer func() { err = errors.Join(err, storageError(op, s.files.root, l.Release())) }()
	u := &upkeep{lease: l}
	defer func() { m.Removed, m.Written = u.gone.Load(), u.added.Load() }()
	damaged, err := s.reconcile(held)
	if err != nil {
		return m, err
	}
	gctx, done := guard(withUpkeep(withLog(held, s.opts.Logger), u))
	defer done(nil)
	fail := func(err error) error { return storageError(op, s.files.root, done(u.because(err))) }

	m.Began = s.opts.now().UTC()
	if m.Full, err = s.recordBegin(gctx, m.Began); err != nil {
		return m, fail(err)
	}
	if err := s.runKopia(gctx, m.Full, safety(damaged)); err != nil {
		return m, fail(err)
	}
	if m.Full {
		if err := s.sweep(gctx); err != nil {
			return m, fail(err)
		}
	}
	ended := s.opts.now().UTC()
	if err := s.recordEnd(gctx, m.Full, m.Began, ended); err != nil {
		return m, fail(err)
	}
	m.Ended = ended
	return m, nil
}

// safety is kopia's own, with a greater age from which on data is written anew.
// kopia writes what is marked anew too, which makes the mark a new one: with
// its two hours, a mark in a pack that is not full is never old enough for what
// it marks to be dropped. After 60 hours it has been dropped by then.
//
// Nothing is written anew while a backup is known to be damaged: what of it is
// lost cannot be, and kopia would do nothing that comes after that.
func safety(damaged bool) maintenance.SafetyParameters {
	s := maintenance.SafetyFull
	s.RewriteMinAge = 60 * time.Hour
	if damaged {
		s.RewriteMinAge = math.MaxInt64
	}
	return s
}

// runKopia lets kopia do its part of a maintenance.
func (s *Store) runKopia(ctx context.Context, full bool, safety maintenance.SafetyParameters) error {
	mode := maintenance.ModeQuick
	if full {
		mode = maintenance.ModeFull
	}
	ran := false
	err := kopiarepo.DirectWriteSession(ctx, s.rep, kopiarepo.WriteSessionOptions{Purpose: "maintenance"},
		func(ctx context.Context, w kopiarepo.DirectRepositoryWriter) error {
			if err := s.compactManifests(ctx, w); err != nil {
				return err
			}
			// force: whoever has our lease may maintain, not only the owner
			// that kopia knows.
			return maintenance.RunExclusive(ctx, w, mode, true, func(ctx context.Context, p maintenance.RunParameters) error {
				ran = true
				if full {
					if err := snapshotgc.Run(ctx, w, true, safety, p.MaintenanceStartTime); err != nil {
						return err
					}
				}
				return maintenance.Run(ctx, p, safety)
			})
		})
	if err == nil && !ran { // kopia has a lock of its own, beside the connection
		err = &core.Error{
			Code: core.CodeLocked, Op: "maintain repository",
			Message: "another process on this machine is maintaining the repository without its lease", Hint: "wait for it",
		}
	}
	return err
}

// compactManifests does what kopia would do at every look at the manifests
// and we have turned off: reading is not writing.
func (s *Store) compactManifests(ctx context.Context, w kopiarepo.DirectRepositoryWriter) error {
	m, err := newManifests(ctx, w, s.opts.now)
	if err != nil {
		return err
	}
	if _, err := m.Find(ctx, nil); err != nil {
		return err
	}
	if err := m.Compact(ctx); err != nil {
		return fmt.Errorf("compact manifests: %w", err)
	}
	return w.Flush(ctx)
}

// sweepAge is how old a temporary file must be to have no writer any more.
const sweepAge = 24 * time.Hour

// sweep removes the temporary files that killed processes left in the
// repository; kopia never sees them.
func (s *Store) sweep(ctx context.Context) error {
	oldest := s.opts.now().Add(-sweepAge)
	return filepath.WalkDir(s.files.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if d.IsDir() || !strings.Contains(d.Name(), place.BlobSuffix+place.TempInfix) {
			return nil
		}
		fi, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) || (err == nil && fi.ModTime().After(oldest)) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := upkeepOf(ctx).mayRemove(); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.opts.Logger.InfoContext(ctx, "removed a file that a killed process left", "path", path)
		return nil
	})
}
