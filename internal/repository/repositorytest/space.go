package repositorytest

import (
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
)

// testSpace: every open store says the same of the space that is used, and of
// when the repository was maintained, whoever did it.
func testSpace(t *testing.T, h Harness) {
	s, other := open(t, h), open(t, h)
	space := func(s repository.Store) core.Space {
		t.Helper()
		space, err := s.Space(t.Context())
		if err != nil {
			t.Fatalf("space: %v", err)
		}
		if space.Used < 0 || (space.Total < 0) != (space.Free < 0) || space.Free > space.Total {
			t.Errorf("%+v cannot be", space)
		}
		return space
	}
	empty := space(s)
	if empty.Maintained != nil || empty.Attempted != nil {
		t.Errorf("a new repository was maintained: %+v", empty)
	}
	const size = 3 << 20
	ss := begin(t, s)
	commit(t, ss, writeDir(t, ss, file("f", put(t, ss, Random(1, size)))), NewBackup(1))
	for _, st := range []repository.Store{s, other, open(t, h)} {
		if grown := space(st).Used - empty.Used; grown < size || grown > size+size/4 {
			t.Errorf("%d bytes more are used after a backup of %d", grown, size)
		}
	}
	m, err := s.Maintain(t.Context())
	if err != nil {
		t.Fatalf("maintain: %v", err)
	}
	if !m.Full || m.Began.IsZero() || m.Ended.Before(m.Began) {
		t.Errorf("the first maintenance: %+v", m)
	}
	for _, st := range []repository.Store{s, other, open(t, h)} {
		got := space(st)
		if got.Maintained == nil || !got.Maintained.Equal(m.Ended) || got.Attempted == nil || !got.Attempted.Equal(m.Began) {
			t.Errorf("%+v after %+v", got, m)
		}
		if got.Used < size {
			t.Errorf("%d bytes are used after maintenance, of which a backup needs %d", got.Used, size)
		}
	}
}
