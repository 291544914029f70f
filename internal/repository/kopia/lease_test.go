package kopia

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// testClock is a clock that tests move.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func leaseOptions(t *testing.T, clock core.Clock, host string) Options {
	t.Helper()
	opts, err := Options{Clock: clock, Hostname: host}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return opts
}

func TestLease(t *testing.T) {
	root := t.TempDir()
	clock := &testClock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	a, b := leaseOptions(t, clock, "alpha"), leaseOptions(t, clock, "beta")
	held, first, err := takeLease(t.Context(), root, a)
	if err != nil {
		t.Fatal(err)
	}
	refused := func() {
		t.Helper()
		_, _, err := takeLease(t.Context(), root, b)
		if core.CodeOf(err) != core.CodeLocked || !strings.Contains(err.Error(), "on alpha since 2026-01-02T03:04:05Z") {
			t.Fatalf("second lease: %v", err)
		}
	}
	refused()
	clock.add(leaseDuration - time.Second)
	refused()
	if err := first.renew(); err != nil {
		t.Fatal(err)
	}
	clock.add(leaseDuration + clockSkew - time.Second)
	refused()

	// Not renewed for too long: taken over, and the first notices.
	clock.add(2 * time.Second)
	_, second, err := takeLease(t.Context(), root, b)
	if err != nil {
		t.Fatalf("take over: %v", err)
	}
	if err := first.renew(); core.CodeOf(err) != core.CodeLocked {
		t.Errorf("renew a lease that was taken over: %v", err)
	}
	if held.Err() != nil {
		t.Error("the context ended with no renewal")
	}
	if err := first.release(); err != nil {
		t.Error(err)
	}
	if err := second.renew(); err != nil {
		t.Errorf("the first's release ended the second's lease: %v", err)
	}
	if err := second.release(); err != nil {
		t.Error(err)
	}

	// Given back: free at once.
	_, third, err := takeLease(t.Context(), root, a)
	if err != nil {
		t.Fatal(err)
	}
	if err := third.release(); err != nil {
		t.Error(err)
	}
}

// TestLeaseCutShort is a crash while the lease was being written.
func TestLeaseCutShort(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, leaseName)
	if err := os.WriteFile(path, []byte(`{"token":"ab`), 0o600); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	clock := &testClock{now: fi.ModTime()}
	opts := leaseOptions(t, clock, "alpha")
	if _, _, err := takeLease(t.Context(), root, opts); core.CodeOf(err) != core.CodeLocked {
		t.Errorf("fresh file that cannot be read: %v", err)
	}
	clock.add(leaseDuration + clockSkew)
	_, l, err := takeLease(t.Context(), root, opts)
	if err != nil {
		t.Fatalf("old file that cannot be read: %v", err)
	}
	if err := l.release(); err != nil {
		t.Error(err)
	}
}

func TestLeaseRace(t *testing.T) {
	root := t.TempDir()
	opts := leaseOptions(t, core.SystemClock{}, "alpha")
	var wg sync.WaitGroup
	var mu sync.Mutex
	var taken []*lease
	for range 20 {
		wg.Go(func() {
			_, l, err := takeLease(context.Background(), root, opts)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				taken = append(taken, l)
			} else if core.CodeOf(err) != core.CodeLocked {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(taken) != 1 {
		t.Errorf("%d hold the lease", len(taken))
	}
	for _, l := range taken {
		if err := l.release(); err != nil {
			t.Error(err)
		}
	}
}

// TestFailedWriteIsTold proves that every kind of write error reaches the
// caller with the disk code, also where no file system can be filled.
func TestFailedWriteIsTold(t *testing.T) {
	opts := Options{URL: "file://" + t.TempDir() + "/r", Password: core.NewSecret("key"), Hostname: "h"}
	if err := Create(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	errBroken := &os.PathError{Op: "write", Path: "somewhere", Err: errors.New("input/output error")}
	for n := 1; ; n++ {
		count := 0
		s.files.onWrite = func(string, int64) error {
			if count++; count == n {
				return errBroken
			}
			return nil
		}
		err := func() error {
			ss, err := s.Begin(t.Context())
			if err != nil {
				return err
			}
			defer ss.Abort()
			root, err := ss.WriteDir(t.Context(), nil)
			if err != nil {
				return err
			}
			_, err = ss.Commit(t.Context(), root, core.Backup{ID: "b", App: "a", Note: time.Duration(n).String()})
			return err
		}()
		s.files.onWrite = nil
		records, listErr := s.List(t.Context())
		if listErr != nil {
			t.Fatalf("write %d failed: list: %v", n, listErr)
		}
		if err == nil {
			if len(records) != 1 || n < 4 {
				t.Errorf("%d backups after a commit, %d writes", len(records), n)
			}
			break
		}
		if core.CodeOf(err) != core.CodeDisk || !errors.Is(err, errBroken) {
			t.Errorf("write %d failed: %v", n, err)
		}
		if len(records) != 0 {
			t.Fatalf("write %d failed, but the backup is listed", n)
		}
	}
}
