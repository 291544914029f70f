package memory_test

import (
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/memory"
	"github.com/backstay/backstay/internal/repository/repositorytest"
)

func TestConformance(t *testing.T) {
	repositorytest.Run(t, func(*testing.T) repositorytest.Harness {
		s := memory.New()
		return repositorytest.Harness{
			Deduplicates: true,
			Spoil:        func(testing.TB) { s.SpoilFiles() },
			Lose:         func(_ testing.TB, id string) { s.Lose(id) },
			Open:         func(testing.TB) repository.Store { return s.Reopen() },
		}
	})
}

func TestMaintainRemovesWhatNobodyUses(t *testing.T) {
	s := memory.New()
	var files []core.ObjectID
	var records []repository.Record
	for n := range 2 {
		ss, err := s.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		o, err := repositorytest.Put(t.Context(), ss, "f", []byte{byte(n)})
		if err != nil {
			t.Fatal(err)
		}
		root, err := ss.WriteDir(t.Context(), []core.Entry{{Name: "f", Type: core.TypeFile, Object: o}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := ss.Commit(t.Context(), root, repositorytest.NewBackup(n))
		if err != nil {
			t.Fatal(err)
		}
		files, records = append(files, o.ID), append(records, r)
	}
	if err := s.Delete(t.Context(), records[0].ID); err != nil {
		t.Fatal(err)
	}
	open, err := s.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	get := func(n int) error { _, err := repositorytest.Get(t.Context(), s, files[n]); return err }
	for _, step := range []struct {
		name string
		gone bool
	}{{"while a session is open", false}, {"with no session", true}} {
		if _, err := s.Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := get(0); (core.CodeOf(err) == core.CodeDamage) != step.gone {
			t.Errorf("%s: unused object: %v", step.name, err)
		}
		if err := get(1); err != nil {
			t.Errorf("%s: used object: %v", step.name, err)
		}
		open.Abort()
	}
}
