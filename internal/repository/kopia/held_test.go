package kopia_test

import (
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository/kopia"
)

// TestOpenThroughChangeOfKey: a backup that runs while another process changes
// the key, and for hours after, is written and can be read with the new key; and
// a folder that is gone is still told.
func TestOpenThroughChangeOfKey(t *testing.T) {
	days := newCalendar()
	opts := createIn(t, days)
	open := func(key core.Secret) *kopia.Store {
		t.Helper()
		with := opts
		with.Password = key
		s, err := kopia.Open(t.Context(), with)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	before, other := open(opts.Password), open(opts.Password)
	if _, err := storeParts(t.Context(), before, 1, part{seed: 1, size: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	key := core.NewSecret("another key")
	if err := other.ChangeKey(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	n := 1
	// kopia reads the format again after a quarter of an hour.
	for _, d := range []time.Duration{0, 16 * time.Minute, time.Hour} {
		days.add(d)
		for name, s := range map[string]*kopia.Store{"opened before": before, "that changed it": other, "opened after": open(key)} {
			n++
			if _, err := storeParts(t.Context(), s, n, part{seed: uint64(n), size: 1 << 20}); err != nil {
				t.Errorf("%s later, the store %s: %v", d, name, err)
			}
			if all, err := s.List(t.Context()); err != nil || len(all) < 2 {
				t.Errorf("%s later, the store %s lists %d: %v", d, name, len(all), err)
			}
		}
	}
	// A second change, by one that knows the first key no more.
	if err := open(key).ChangeKey(t.Context(), opts.Password); err != nil {
		t.Fatal(err)
	}
	days.add(16 * time.Minute)
	for name, s := range map[string]*kopia.Store{"opened before": before, "that changed it": other} {
		n++
		if _, err := storeParts(t.Context(), s, n, part{seed: uint64(n), size: 1 << 20}); err != nil {
			t.Errorf("after the second change, the store %s: %v", name, err)
		}
	}
	all, err := open(opts.Password).List(t.Context())
	if err != nil || len(all) != n {
		t.Errorf("%d of %d backups are there: %v", len(all), n, err)
	}
}
