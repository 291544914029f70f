package kopia

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
)

// onDecode is called when a hookedMark is read.
var onDecode func()

type hookedMark struct{ mark }

func (h *hookedMark) UnmarshalJSON(data []byte) error {
	if f := onDecode; f != nil {
		onDecode = nil
		f()
	}
	return json.Unmarshal(data, &h.mark)
}

// TestLoadWhileReplaced replaces all marks after they were found, and before
// all of them are read.
func TestLoadWhileReplaced(t *testing.T) {
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
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	markAll := func(at time.Time) {
		for n := range 2 {
			if err := s.Mark(t.Context(), fmt.Sprintf("b%d", n), repository.Mark{Verified: &at}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for n := range 2 {
		ss, err := s.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer ss.Abort()
		root, err := ss.WriteDir(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ss.Commit(t.Context(), root, core.Backup{ID: fmt.Sprintf("b%d", n), App: "a"}); err != nil {
			t.Fatal(err)
		}
	}
	markAll(at)
	onDecode = func() { markAll(at.Add(time.Hour)) }
	got, err := load[hookedMark](t.Context(), s, markType)
	if err != nil {
		t.Fatalf("load while the marks are replaced: %v", err)
	}
	if len(got) != 2 || onDecode != nil {
		t.Fatalf("%d marks, want 2", len(got))
	}
	for _, m := range got {
		if !m.value.Verified.Value.Equal(at.Add(time.Hour)) {
			t.Errorf("%v has mark %v", m.labels, m.value.Verified)
		}
	}
}
