package kopia_test

import (
	"fmt"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/kopia"
	"github.com/backstay/backstay/internal/repository/repositorytest"
)

func newOptions(t testing.TB) kopia.Options {
	t.Helper()
	return kopia.Options{
		URL: "file://" + t.TempDir() + "/repository", Password: core.NewSecret("correct horse"),
		StateDir: t.TempDir(), Hostname: "testhost",
	}
}

// create makes a new repository.
func create(t testing.TB) kopia.Options {
	t.Helper()
	opts := newOptions(t)
	if err := kopia.Create(t.Context(), opts); err != nil {
		t.Fatalf("create repository: %v", err)
	}
	return opts
}

func mustOpen(t testing.TB, opts kopia.Options) *kopia.Store {
	t.Helper()
	s, err := kopia.Open(t.Context(), opts)
	if err != nil {
		t.Fatalf("open repository: %v", err)
	}
	return s
}

func TestConformance(t *testing.T) {
	repositorytest.Run(t, func(t *testing.T) repositorytest.Harness {
		opts := create(t)
		return repositorytest.Harness{
			Deduplicates: true,
			SharesBlocks: true,
			Spoil: func(t testing.TB) {
				for _, p := range blobs(t, folderOf(opts), "p") {
					if err := scramble(p); err != nil {
						t.Fatal(err)
					}
				}
			},
			Open: func(t testing.TB) repository.Store { return mustOpen(t, opts) },
			Lose: func(t testing.TB, id string) {
				s := mustOpen(t, opts)
				defer mustClose(t, s)
				if err := s.Lose(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

// TestCompresses would fail if kopia did not know the compressor: it then
// stores without one and says nothing.
func TestCompresses(t *testing.T) {
	s := mustOpen(t, create(t))
	defer mustClose(t, s)
	ss, err := s.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ss.Abort()
	var rows []byte
	for n := 0; len(rows) < 4<<20; n++ {
		rows = fmt.Appendf(rows, "%d\tR-%06d\tongoing\t2026-01-02 03:04:05\n", n, n)
	}
	o, err := repositorytest.Put(t.Context(), ss, "rows", rows)
	if err != nil {
		t.Fatal(err)
	}
	root, err := ss.WriteDir(t.Context(), []core.Entry{{Name: "rows", Type: core.TypeFile, Object: o}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := ss.Commit(t.Context(), root, repositorytest.NewBackup(1))
	if err != nil {
		t.Fatal(err)
	}
	if r.StoredBytes > int64(len(rows))/3 {
		t.Errorf("%d bytes of rows take %d", len(rows), r.StoredBytes)
	}
}
