package lease

import (
	"context"
	"log/slog"
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

func options(clock core.Clock, host string) Options {
	return Options{Clock: clock, Logger: slog.New(slog.DiscardHandler), Hostname: host}
}

func TestLease(t *testing.T) {
	root := t.TempDir()
	clock := &testClock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	a, b := options(clock, "alpha"), options(clock, "beta")
	held, first, err := Take(t.Context(), root, a)
	if err != nil {
		t.Fatal(err)
	}
	refused := func() {
		t.Helper()
		_, _, err := Take(t.Context(), root, b)
		if core.CodeOf(err) != core.CodeLocked || !strings.Contains(err.Error(), "on alpha since 2026-01-02T03:04:05Z") {
			t.Fatalf("second lease: %v", err)
		}
	}
	refused()
	clock.add(duration - time.Second)
	refused()
	if err := first.renew(); err != nil {
		t.Fatal(err)
	}
	clock.add(duration + clockSkew - time.Second)
	refused()

	// Not renewed for too long: taken over, and the first notices.
	clock.add(2 * time.Second)
	_, second, err := Take(t.Context(), root, b)
	if err != nil {
		t.Fatalf("take over: %v", err)
	}
	if err := first.renew(); core.CodeOf(err) != core.CodeLocked {
		t.Errorf("renew a lease that was taken over: %v", err)
	}
	if held.Err() != nil {
		t.Error("the context ended with no renewal")
	}
	if err := first.Release(); err != nil {
		t.Error(err)
	}
	if err := second.renew(); err != nil {
		t.Errorf("the first's release ended the second's lease: %v", err)
	}
	if err := second.Release(); err != nil {
		t.Error(err)
	}

	// Given back: free at once.
	_, third, err := Take(t.Context(), root, a)
	if err != nil {
		t.Fatal(err)
	}
	if err := third.Release(); err != nil {
		t.Error(err)
	}
}

// TestLeaseCutShort is a crash while the lease was being written.
func TestLeaseCutShort(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, fileName)
	if err := os.WriteFile(path, []byte(`{"token":"ab`), 0o600); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	clock := &testClock{now: fi.ModTime()}
	opts := options(clock, "alpha")
	if _, _, err := Take(t.Context(), root, opts); core.CodeOf(err) != core.CodeLocked {
		t.Errorf("fresh file that cannot be read: %v", err)
	}
	clock.add(duration + clockSkew)
	_, l, err := Take(t.Context(), root, opts)
	if err != nil {
		t.Fatalf("old file that cannot be read: %v", err)
	}
	if err := l.Release(); err != nil {
		t.Error(err)
	}
}

func TestLeaseRace(t *testing.T) {
	root := t.TempDir()
	opts := options(core.SystemClock{}, "alpha")
	var wg sync.WaitGroup
	var mu sync.Mutex
	var taken []*Lease
	for range 20 {
		wg.Go(func() {
			_, l, err := Take(context.Background(), root, opts)
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
		if err := l.Release(); err != nil {
			t.Error(err)
		}
	}
}
