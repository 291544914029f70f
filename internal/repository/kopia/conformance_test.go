package kopia_test

import (
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
			Open:         func(t testing.TB) repository.Store { return mustOpen(t, opts) },
		}
	})
}
