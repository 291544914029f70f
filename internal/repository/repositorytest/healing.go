package repositorytest

import (
	"bytes"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
)

// testHealing spoils all files of a backup and writes one of them again: in a
// session that heals it comes back, in the old backup too, and nothing else does.
func testHealing(t *testing.T, h Harness) {
	if h.Spoil == nil {
		t.Skip("what is stored cannot be spoiled")
	}
	s := open(t, h)
	healer, ok := s.(repository.Healer)
	if !ok {
		t.Fatalf("%T cannot store anew what it holds damaged", s)
	}
	here, gone, later := Random(1, 300_000), Random(2, 300_000), Random(3, 300_000)
	ss := begin(t, s)
	first, second := put(t, ss, here), put(t, ss, gone)
	old := commit(t, ss, writeDir(t, ss, file("here", first), file("gone", second)), NewBackup(1))
	h.Spoil(t)
	damaged := func(id core.ObjectID) {
		t.Helper()
		if _, err := Get(t.Context(), s, id); core.CodeOf(err) != core.CodeDamage {
			t.Fatalf("read %s: %v, want damage", id, err)
		}
	}
	damaged(first.ID)
	damaged(second.ID)

	// Cut short, it leaves all as it was.
	cut, err := healer.BeginHealing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	put(t, cut, here)
	cut.Abort()
	damaged(second.ID)

	healing, err := healer.BeginHealing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a, b := put(t, healing, here), put(t, healing, later)
	if put(t, healing, here) != a || a.ID != first.ID {
		t.Errorf("the same file is now object %s, was %s", a.ID, first.ID)
	}
	if healing.Healed() != 1 {
		t.Errorf("%d parts were stored anew, want 1", healing.Healed())
	}
	commit(t, healing, writeDir(t, healing, file("here", a), file("later", b)), NewBackup(2))
	entries, err := s.ReadDir(t.Context(), old.Root.ID)
	if err != nil || len(entries) != 2 {
		t.Fatalf("read the old backup: %d entries, %v", len(entries), err)
	}
	for _, again := range []repository.Store{s, open(t, h)} {
		if !bytes.Equal(readAll(t, again, first.ID), here) || !bytes.Equal(readAll(t, again, b.ID), later) {
			t.Error("other bytes came back")
		}
	}
	damaged(second.ID)
	maintain(t, s)
	if !bytes.Equal(readAll(t, s, first.ID), here) {
		t.Error("after maintenance other bytes came back")
	}
}

func maintain(t *testing.T, s repository.Store) {
	t.Helper()
	if _, err := s.Maintain(t.Context()); err != nil {
		t.Errorf("maintain: %v", err)
	}
}
