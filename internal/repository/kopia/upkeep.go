package kopia

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"github.com/kopia/kopia/repo/maintenance"

	"github.com/backstay/backstay/internal/repository/kopia/lease"
)

// upkeep is a maintenance as the storage sees it. A nil one, of whatever is not
// a maintenance, may do everything and counts nothing.
type upkeep struct {
	lease       *lease.Lease
	gone, added atomic.Int64 // bytes
	failure     atomic.Pointer[error]
}

type upkeepKey struct{}

// withUpkeep makes what happens to blobs under the returned context part of u.
func withUpkeep(ctx context.Context, u *upkeep) context.Context {
	return context.WithValue(ctx, upkeepKey{}, u)
}

func upkeepOf(ctx context.Context) *upkeep {
	u, _ := ctx.Value(upkeepKey{}).(*upkeep)
	return u
}

// note remembers the first failure of the storage: kopia counts some and says
// no more than how many.
func (u *upkeep) note(err error) {
	if u != nil && err != nil {
		u.failure.CompareAndSwap(nil, &err)
	}
}

// because returns err with the first failure of the storage as its cause.
func (u *upkeep) because(err error) error {
	if first := u.failure.Load(); first != nil && !errors.Is(err, *first) {
		return fmt.Errorf("%w: %w", err, *first)
	}
	return err
}

// mayRemove is asked before each removal: of all that a maintenance does, that
// alone cannot be undone by one that runs beside it.
func (u *upkeep) mayRemove() error {
	if u == nil {
		return nil
	}
	return u.lease.Held()
}

// sizeOf returns how large a file is that will be replaced or removed.
func (u *upkeep) sizeOf(path string) (int64, error) {
	if u == nil {
		return 0, nil
	}
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

func (u *upkeep) wrote(n int64) {
	if u != nil {
		u.added.Add(n)
	}
}

func (u *upkeep) removed(n int64) {
	if u != nil {
		u.gone.Add(n)
	}
}

// When maintenance began and ended stands in kopia's own schedule, which it
// encrypts and authenticates, beside the runs of kopia's tasks: kopia keeps what
// it does not know.
const (
	taskBegun maintenance.TaskType = "backstay-begun" // every one; only the last is kept
	taskFull  maintenance.TaskType = "backstay-full"  // the full ones that got to their end
)

// fullEvery is how long after the start of a full maintenance the next is due:
// a day, less what a daily call may come early.
const fullEvery = 20 * time.Hour

// lastFull returns the last full maintenance that got to its end; the zero
// value when there was none.
func lastFull(s *maintenance.Schedule) maintenance.RunInfo {
	if runs := s.Runs[taskFull]; len(runs) > 0 {
		return runs[0]
	}
	return maintenance.RunInfo{}
}

// recordBegin records that a maintenance begins, and says whether it is to be a
// full one. One that was killed or failed did not get to its end, so that the
// next is full again.
func (s *Store) recordBegin(ctx context.Context, now time.Time) (full bool, err error) {
	schedule, err := maintenance.GetSchedule(ctx, s.rep)
	if err != nil {
		return false, err
	}
	age := now.Sub(lastFull(schedule).Start)
	full = age < 0 || age >= fullEvery // age < 0: a clock was wrong
	delete(schedule.Runs, taskBegun)
	schedule.ReportRun(taskBegun, maintenance.RunInfo{Start: now, End: now, Success: true})
	return full, maintenance.SetSchedule(ctx, s.reader, schedule)
}

// recordEnd records that a maintenance got to its end.
func (s *Store) recordEnd(ctx context.Context, full bool, began, ended time.Time) error {
	if !full {
		return nil
	}
	schedule, err := maintenance.GetSchedule(ctx, s.rep)
	if err != nil {
		return err
	}
	schedule.ReportRun(taskFull, maintenance.RunInfo{Start: began, End: ended, Success: true})
	return maintenance.SetSchedule(ctx, s.reader, schedule)
}

// maintained returns when maintenance was last begun, and when a full one last
// got to its end; nil for never.
func (s *Store) maintained(ctx context.Context) (attempted, completed *time.Time, err error) {
	schedule, err := maintenance.GetSchedule(ctx, s.rep)
	if err != nil {
		return nil, nil, err
	}
	if runs := schedule.Runs[taskBegun]; len(runs) > 0 {
		at := runs[0].Start.UTC()
		attempted = &at
	}
	if last := lastFull(schedule); !last.End.IsZero() {
		at := last.End.UTC()
		completed = &at
	}
	return attempted, completed, nil
}
