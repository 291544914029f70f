package kopia

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
)

// TestCommitChecksTheIndex has an object that is not in the repository's index
// (any more) in a backup.
func TestCommitChecksTheIndex(t *testing.T) {
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
	backup := func(id string, gone bool) error {
		ss, err := s.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer ss.Abort()
		f, err := ss.Create(t.Context(), "f")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := io.WriteString(f, "content"); err != nil {
			t.Fatal(err)
		}
		o, err := f.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if gone {
			o.ID = core.ObjectID(strings.Repeat("ab", 32))
		}
		inner, err := ss.WriteDir(t.Context(), []core.Entry{{Name: "f", Type: core.TypeFile, Object: o}})
		if err != nil {
			t.Fatal(err)
		}
		root, err := ss.WriteDir(t.Context(), []core.Entry{
			{Name: "one", Type: core.TypeDir, Object: inner}, {Name: "two", Type: core.TypeDir, Object: inner},
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = ss.Commit(t.Context(), root, core.Backup{ID: id, App: "a"})
		return err
	}
	if err := backup("whole", false); err != nil {
		t.Errorf("nothing is missing: %v", err)
	}
	if err := backup("holes", true); core.CodeOf(err) != core.CodeFailed || !strings.Contains(core.HintOf(err), "run the backup again") {
		t.Errorf("a file is missing: %v", err)
	}
	if got, err := s.List(t.Context()); err != nil || len(got) != 1 {
		t.Errorf("%v, %v; want one backup", got, err)
	}
}
