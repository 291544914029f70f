package kopia_test

import (
	"os"
	"testing"

	"github.com/backstay/backstay/internal/core"
)

// TestPackLostWhileOpen takes packs away that the store has read from, and so
// keeps open, and puts them back.
func TestPackLostWhileOpen(t *testing.T) {
	opts := create(t)
	s := mustOpen(t, opts)
	defer mustClose(t, s)
	rec := mustStore(t, s, 0)
	if err := read(t, s, rec, 0); err != nil {
		t.Fatal(err)
	}
	kept := map[string][]byte{}
	for _, p := range blobs(t, folderOf(opts), "p") {
		data, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		kept[p] = data
		if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
	if len(kept) == 0 {
		t.Fatal("there are no packs")
	}
	if err := read(t, s, rec, 0); core.CodeOf(err) != core.CodeDamage {
		t.Errorf("got %v, want damage", err)
	}
	for p, data := range kept {
		if err := os.WriteFile(p, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := read(t, s, rec, 0); err != nil {
		t.Errorf("put back: %v", err)
	}
}
