package kopia

import (
	"bytes"
	"testing"

	"github.com/backstay/backstay/internal/core"
)

// TestChangeKey: the new key opens the repository at once, the old one no more;
// what was open goes on; and the format as it was makes the old key good again.
func TestChangeKey(t *testing.T) {
	dir := t.TempDir()
	with := func(key string) Options {
		return Options{URL: "file://" + dir + "/r", Password: core.NewSecret(key), StateDir: dir + "/state"}
	}
	if err := Create(t.Context(), with("old")); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), with("old"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	before, err := s.Format(t.Context())
	if err != nil || len(before["kopia.repository"]) == 0 {
		t.Fatalf("the format has %d blobs: %v", len(before), err)
	}
	if err := s.ChangeKey(t.Context(), core.NewSecret("new")); err != nil {
		t.Fatal(err)
	}
	opens := func(key string) core.Code {
		t.Helper()
		o, err := Open(t.Context(), with(key))
		if err != nil {
			return core.CodeOf(err)
		}
		if o.ID() != s.ID() || len(o.ID()) != 64 {
			t.Errorf("it is repository %s, and was %s", o.ID(), s.ID())
		}
		if err := o.Close(t.Context()); err != nil {
			t.Error(err)
		}
		return ""
	}
	if got := opens("new"); got != "" {
		t.Errorf("the new key: %s", got)
	}
	if got := opens("old"); got != core.CodeWrongKey {
		t.Errorf("the old key: %s", got)
	}
	if _, err := s.List(t.Context()); err != nil {
		t.Errorf("a store that was open: %v", err)
	}
	after, err := s.Format(t.Context())
	if err != nil || bytes.Equal(before["kopia.repository"], after["kopia.repository"]) {
		t.Errorf("the format did not change (%v)", err)
	}
	if err := PutFormat(t.Context(), with("old"), before); err != nil {
		t.Fatal(err)
	}
	if got := opens("old"); got != "" {
		t.Errorf("the old key, put back: %s", got)
	}
	// Killed between the two: no key opens it until the format is put back.
	for half := range before {
		if err := PutFormat(t.Context(), with("old"), after); err != nil {
			t.Fatal(err)
		}
		mixed := map[string][]byte{"kopia.repository": after["kopia.repository"], half: before[half]}
		if err := PutFormat(t.Context(), with("old"), mixed); err != nil {
			t.Fatal(err)
		}
		if err := PutFormat(t.Context(), with("old"), before); err != nil {
			t.Fatal(err)
		}
		if got := opens("old"); got != "" {
			t.Errorf("%s only, put back: %s", half, got)
		}
	}
	other := with("other")
	other.URL = "file://" + dir + "/other"
	if err := Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if err := PutFormat(t.Context(), other, before); err == nil {
		t.Error("the format of another repository was put into it")
	}
}
