package kopia

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// TestFailedWriteIsTold proves that every kind of write error reaches the
// caller with the disk code, also where no file system can be filled.
func TestFailedWriteIsTold(t *testing.T) {
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
	errBroken := &os.PathError{Op: "write", Path: "somewhere", Err: errors.New("input/output error")}
	for n := 1; ; n++ {
		count := 0
		s.files.onChange = func(context.Context, change) error {
			if count++; count == n {
				return errBroken
			}
			return nil
		}
		err := func() error {
			ss, err := s.Begin(t.Context())
			if err != nil {
				return err
			}
			defer ss.Abort()
			root, err := ss.WriteDir(t.Context(), nil)
			if err != nil {
				return err
			}
			_, err = ss.Commit(t.Context(), root, core.Backup{ID: "b", App: "a", Note: time.Duration(n).String()})
			return err
		}()
		s.files.onChange = nil
		records, listErr := s.List(t.Context())
		if listErr != nil {
			t.Fatalf("write %d failed: list: %v", n, listErr)
		}
		if err == nil {
			if len(records) != 1 || n < 4 {
				t.Errorf("%d backups after a commit, %d writes", len(records), n)
			}
			break
		}
		if core.CodeOf(err) != core.CodeDisk || !errors.Is(err, errBroken) {
			t.Errorf("write %d failed: %v", n, err)
		}
		if len(records) != 0 {
			t.Fatalf("write %d failed, but the backup is listed", n)
		}
	}
}
