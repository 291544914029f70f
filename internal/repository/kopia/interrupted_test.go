package kopia_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/kopia"
)

// week is a repository in which each day a backup is made and one is deleted,
// and something kept that shares data with it.
type week struct {
	days *calendar
	opts kopia.Options
	day  int
	kept map[string][]part
}

func newWeek(t *testing.T) *week {
	days := newCalendar()
	return &week{days: days, opts: createIn(t, days), kept: map[string][]part{}}
}

// begin begins the next day.
func (w *week) begin(t *testing.T, s repository.Store) {
	t.Helper()
	w.day++
	d := uint64(w.day)
	parts := []part{{d, 50_000}, {100 + d, 10_000}}
	kept, err := storeParts(t.Context(), s, 2*w.day, parts...)
	if err != nil {
		t.Fatal(err)
	}
	w.kept[kept.ID] = parts
	gone, err := storeParts(t.Context(), s, 2*w.day+1, part{d, 50_000}, part{200 + d, 400_000})
	if err != nil {
		t.Fatal(err)
	}
	w.days.add(25 * time.Hour)
	if err := s.Delete(t.Context(), gone.ID); err != nil {
		t.Fatal(err)
	}
}

// wantWhole reads every backup.
func (w *week) wantWhole(t *testing.T, s repository.Store) {
	t.Helper()
	records, err := s.List(t.Context())
	if err != nil || len(records) != len(w.kept) {
		t.Fatalf("%d backups, %v; want %d", len(records), err, len(w.kept))
	}
	for _, r := range records {
		wantParts(t, s, r, w.kept[r.ID]...)
	}
}

// TestMaintenanceBreaksOff lets the storage fail at each change that
// maintenance makes, and at all after it, until it gets through: a disk that is
// full, and a process or a machine that is gone.
func TestMaintenanceBreaksOff(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fails func(remove bool) error
	}{
		"full": {func(remove bool) error {
			if remove {
				return nil
			}
			return &fs.PathError{Op: "write", Path: "blob", Err: syscall.ENOSPC}
		}},
		"gone": {func(bool) error { return &fs.PathError{Op: "write", Path: "blob", Err: syscall.EIO} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWeek(t)
			s := mustOpen(t, w.opts)
			defer mustClose(t, s)
			broke := 0
			for range 3 {
				w.begin(t, s)
				completed := mustSpace(t, s).Maintained
				for n := 1; ; n++ {
					var mu sync.Mutex
					changes, failed := 0, false
					s.OnMaintenance(func(_ context.Context, _ string, remove bool) error {
						mu.Lock()
						defer mu.Unlock()
						if changes++; changes < n {
							return nil
						}
						err := tt.fails(remove)
						failed = failed || err != nil
						return err
					})
					m, err := s.Maintain(t.Context())
					space := mustSpace(t, s)
					if err == nil {
						if failed || !m.Full || space.Maintained == nil || !space.Maintained.Equal(m.Ended) {
							t.Fatalf("day %d, change %d of %d: no error after %+v, %+v", w.day, n, changes, m, space)
						}
						break
					}
					broke++
					if core.CodeOf(err) != core.CodeDisk || !errors.Is(err, repository.ErrStorage) || core.HintOf(err) == "" && name == "full" {
						t.Errorf("day %d, change %d: %v", w.day, n, err)
					}
					if !cmp.Equal(space.Maintained, completed) || !m.Ended.IsZero() {
						t.Errorf("day %d, change %d: it broke off and is recorded as complete: %+v, %+v", w.day, n, space, m)
					}
					if n > 1 && (space.Attempted == nil || !space.Attempted.Equal(m.Began)) {
						t.Errorf("day %d, change %d: attempted %v, not %v", w.day, n, space.Attempted, m.Began)
					}
					if n%4 == 0 {
						w.wantWhole(t, s)
					}
					if t.Failed() {
						return
					}
				}
			}
			if broke < 30 {
				t.Errorf("maintenance broke off only %d times", broke)
			}
			other := mustOpen(t, w.opts)
			defer mustClose(t, other)
			w.wantWhole(t, other)
			for n := range 7 { // with backups going on, as in life
				parts := []part{{uint64(300 + n), 1000}}
				r, err := storeParts(t.Context(), other, 100+n, parts...)
				if err != nil {
					t.Fatal(err)
				}
				w.kept[r.ID] = parts
				w.days.add(25 * time.Hour)
				mustMaintain(t, other)
			}
			w.wantWhole(t, other)
			// The deleted ones had 1.2 MB of their own. Those packs are not
			// full, and are written anew with others every other day.
			if used, want := mustSpace(t, other).Used, int64(800_000); used > want {
				t.Errorf("%d bytes are used in the end, want under %d", used, want)
			}
		})
	}
}

// TestMaintenanceKilled kills a process in the middle of a maintenance.
func TestMaintenanceKilled(t *testing.T) {
	t.Parallel()
	w := newWeek(t)
	s := mustOpen(t, w.opts)
	defer mustClose(t, s)
	for range 3 {
		w.begin(t, s)
		for _, change := range []int{2, 9} {
			cmd := start(t, w.opts, "maintain-killed "+strconv.Itoa(change))
			cmd.Env = append(cmd.Env, "BACKSTAY_TEST_NOW="+w.days.Now().Format(time.RFC3339))
			var exit interface{ Sys() any }
			if err := cmd.Run(); !errors.As(err, &exit) || !exit.Sys().(syscall.WaitStatus).Signaled() {
				t.Fatalf("the child was not killed: %v", err)
			}
			w.days.add(time.Minute)
			_, err := s.Maintain(t.Context())
			wantError(t, err, core.CodeLocked, "on child since", "its lease ends at")
			w.days.add(time.Hour)
			w.wantWhole(t, s)
		}
		m := mustMaintain(t, s)
		if !m.Full {
			t.Errorf("day %d: after one that was killed, maintenance is not full", w.day)
		}
		if space := mustSpace(t, s); space.Maintained == nil || !space.Maintained.Equal(m.Ended) {
			t.Errorf("day %d: %+v after %+v", w.day, space, m)
		}
		w.wantWhole(t, s)
	}
}

// killed maintains the repository until a change, and kills this process.
func killed(ctx context.Context, url, change string) error {
	n, err := strconv.Atoi(change)
	if err != nil {
		return err
	}
	now, err := time.Parse(time.RFC3339, os.Getenv("BACKSTAY_TEST_NOW"))
	if err != nil {
		return err
	}
	days := &calendar{now: now}
	opts := kopia.Options{URL: url, Password: core.NewSecret("correct horse"), Hostname: "child", Clock: days}.WithTime(days.Now)
	s, err := kopia.Open(ctx, opts)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	s.OnMaintenance(func(context.Context, string, bool) error {
		mu.Lock()
		defer mu.Unlock()
		if n--; n > 0 {
			return nil
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			return err
		}
		select {} // until the signal is there
	})
	m, err := s.Maintain(ctx)
	return fmt.Errorf("not killed: %+v, %w", m, err)
}

// TestLostLease takes the lease from a maintenance.
func TestLostLease(t *testing.T) {
	t.Parallel()
	steal := func(t *testing.T, w *week) {
		text, err := json.Marshal(map[string]any{
			"token": "another's", "host": "elsewhere", "pid": 1, "since": w.days.Now(), "expires": w.days.Now().Add(15 * time.Minute),
		})
		if err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(filepath.Join(folderOf(w.opts), "backstay.lease"), text, 0o600); err != nil {
			t.Error(err)
		}
	}
	for name, tt := range map[string]struct {
		renewal time.Duration
		lose    func(t *testing.T, w *week, ctx context.Context)
	}{
		"while it works": {time.Millisecond, func(t *testing.T, w *week, ctx context.Context) {
			steal(t, w)
			<-ctx.Done()
		}},
		// It wakes up at a removal, before it could notice anything.
		"while it sleeps": {0, func(t *testing.T, w *week, _ context.Context) {
			w.days.add(time.Hour)
			steal(t, w)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWeek(t)
			w.opts = w.opts.WithLeaseRenewal(tt.renewal)
			s := mustOpen(t, w.opts)
			defer mustClose(t, s)
			w.begin(t, s)
			mustMaintain(t, s)
			w.begin(t, s)
			completed := mustSpace(t, s).Maintained
			var mu sync.Mutex
			lost, packs := false, len(blobs(t, folderOf(w.opts), "p"))
			s.OnMaintenance(func(ctx context.Context, _ string, remove bool) error {
				mu.Lock()
				defer mu.Unlock()
				if remove && !lost {
					lost = true
					tt.lose(t, w, ctx)
				}
				return nil
			})
			m, err := s.Maintain(t.Context())
			if !lost {
				t.Fatal("nothing was to be removed")
			}
			wantError(t, err, core.CodeLocked, "lease", "nothing is lost")
			if errors.Is(err, repository.ErrStorage) {
				t.Errorf("a lost lease is not the storage's fault: %v", err)
			}
			if m.Removed != 0 || len(blobs(t, folderOf(w.opts), "p")) < packs {
				t.Errorf("it went on to remove: %+v", m)
			}
			if space := mustSpace(t, s); !cmp.Equal(space.Maintained, completed) || !space.Attempted.Equal(m.Began) {
				t.Errorf("%+v after %+v", space, m)
			}
			s.OnMaintenance(func(context.Context, string, bool) error { return nil })
			_, err = s.Maintain(t.Context())
			wantError(t, err, core.CodeLocked, "on elsewhere since")
			w.days.add(time.Hour) // the other is gone
			if m := mustMaintain(t, s); !m.Full {
				t.Errorf("%+v, want a full maintenance", m)
			}
			w.wantWhole(t, s)
		})
	}
}
