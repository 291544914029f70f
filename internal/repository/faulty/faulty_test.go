package faulty_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"syscall"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/faulty"
	"github.com/backstay/backstay/internal/repository/memory"
	"github.com/backstay/backstay/internal/repository/repositorytest"
)

func TestConformance(t *testing.T) {
	repositorytest.Run(t, func(*testing.T) repositorytest.Harness {
		s := memory.New()
		return repositorytest.Harness{
			Deduplicates: true,
			Lose:         func(_ testing.TB, id string) { s.Lose(id) },
			Open:         func(testing.TB) repository.Store { return faulty.New(s.Reopen()) },
		}
	})
}

// TestDamagedList gives the records that are there with the error, unlike a
// list that cannot be had.
func TestDamagedList(t *testing.T) {
	inner := memory.New()
	ss, err := inner.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ss.Abort()
	root, err := ss.WriteDir(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ss.Commit(t.Context(), root, repositorytest.NewBackup(1)); err != nil {
		t.Fatal(err)
	}
	s := faulty.New(inner, faulty.On(faulty.List).Damage())
	if got, err := s.List(t.Context()); core.CodeOf(err) != core.CodeDamage || len(got) != 1 {
		t.Errorf("%d records, %v; want one with damage", len(got), err)
	}
	s.Set(faulty.On(faulty.List).Fail(errTest))
	if got, err := s.List(t.Context()); !errors.Is(err, errTest) || len(got) != 0 {
		t.Errorf("%d records, %v; want none with the error", len(got), err)
	}
}

var errTest = errors.New("test fault")

// cycle uses every method once and returns the first error.
func cycle(ctx context.Context, s repository.Store) (err error) {
	defer func() { err = errors.Join(err, s.Close(context.WithoutCancel(ctx))) }()
	ss, err := s.Begin(ctx)
	if err != nil {
		return err
	}
	defer ss.Abort()
	o, err := repositorytest.Put(ctx, ss, "files/a", []byte("content"))
	if err != nil {
		return err
	}
	root, err := ss.WriteDir(ctx, []core.Entry{{Name: "a", Type: core.TypeFile, Object: o}})
	if err != nil {
		return err
	}
	r, err := ss.Commit(ctx, root, repositorytest.NewBackup(1))
	if err != nil {
		return err
	}
	entries, err := s.ReadDir(ctx, r.Root.ID)
	if err != nil {
		return err
	}
	in, err := s.Open(ctx, entries[0].Object.ID)
	if err != nil {
		return err
	}
	if _, err := io.ReadAll(in); err != nil {
		return err
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := in.Close(); err != nil {
		return err
	}
	if _, err := s.List(ctx); err != nil {
		return err
	}
	pinned := true
	if err := s.Mark(ctx, r.ID, repository.Mark{Pinned: &pinned}); err != nil {
		return err
	}
	if _, err := s.Maintain(ctx); err != nil {
		return err
	}
	if _, err := s.Space(ctx); err != nil {
		return err
	}
	return s.Delete(ctx, r.ID)
}

var ops = []faulty.Op{
	faulty.Begin, faulty.Create, faulty.Write, faulty.Finish, faulty.CloseFile, faulty.WriteDir, faulty.Commit, faulty.ReadDir,
	faulty.Open, faulty.Read, faulty.Seek, faulty.List, faulty.Delete, faulty.Mark, faulty.Maintain, faulty.Space, faulty.Close,
}

func TestEveryPlaceFails(t *testing.T) {
	for _, op := range ops {
		inner := memory.New()
		s := faulty.New(inner, faulty.On(op).Fail(errTest))
		if err := cycle(t.Context(), s); !errors.Is(err, errTest) {
			t.Errorf("fault at %s: %v", op, err)
		}
		if s.Calls(op) == 0 {
			t.Errorf("calls of %s are not counted", op)
		}
		if op == faulty.Commit {
			if got, err := inner.List(t.Context()); err != nil || len(got) != 0 {
				t.Errorf("failed commit left %v, %v", got, err)
			}
		}
		s.Set()
		if err := cycle(t.Context(), faulty.New(memory.New())); err != nil {
			t.Errorf("no faults: %v", err)
		}
	}
}

func TestEveryPlaceBlocks(t *testing.T) {
	for _, op := range ops {
		if op == faulty.Close {
			continue // cycle closes with a context that does not end
		}
		ctx, cancel := context.WithCancel(t.Context())
		s := faulty.New(memory.New(), faulty.On(op).Block())
		done := make(chan error, 1)
		go func() { done <- cycle(ctx, s) }()
		for s.Calls(op) == 0 {
			select {
			case err := <-done:
				t.Fatalf("%s did not block: %v", op, err)
			default:
			}
		}
		cancel()
		if err := <-done; core.CodeOf(err) != core.CodeCancelled {
			t.Errorf("block at %s: %v", op, err)
		}
	}
}

// write stores parts as one file and returns what was stored.
func write(t *testing.T, s repository.Store, parts ...string) ([]byte, error) {
	t.Helper()
	ss, err := s.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ss.Abort()
	f, err := ss.Create(t.Context(), "rows of tickets")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range parts {
		if _, err := io.WriteString(f, p); err != nil {
			if _, finishErr := f.Finish(); finishErr == nil {
				t.Error("a file that was not written whole can be finished")
			}
			return nil, err
		}
	}
	o, err := f.Finish()
	if err != nil {
		return nil, err
	}
	root, err := ss.WriteDir(t.Context(), []core.Entry{{Name: "f", Type: core.TypeFile, Object: o}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ss.Commit(t.Context(), root, repositorytest.NewBackup(1)); err != nil {
		t.Fatal(err)
	}
	return repositorytest.Get(t.Context(), s, o.ID)
}

func TestWhenAndWhat(t *testing.T) {
	w, r := faulty.On(faulty.Write), faulty.On(faulty.Read)
	for name, tt := range map[string]struct {
		fault faulty.Fault
		want  string    // what is read; "" when there is an error
		err   error     // or
		code  core.Code // of the error
	}{
		"first call":             {fault: w.Nth(1).Fail(errTest), err: errTest},
		"third call":             {fault: w.Nth(3).Fail(errTest), err: errTest},
		"fourth of three calls":  {fault: w.Nth(4).Fail(errTest), want: "abcdefghi"},
		"another file":           {fault: w.Of("mails").Fail(errTest), want: "abcdefghi"},
		"this file":              {fault: w.Of("tickets").Fail(errTest), err: errTest},
		"disk full after 6":      {fault: w.AfterBytes(6).DiskFull(), err: syscall.ENOSPC, code: core.CodeDisk},
		"disk large enough":      {fault: w.AfterBytes(9).DiskFull(), want: "abcdefghi"},
		"short write":            {fault: w.Nth(2).Short(), err: io.ErrShortWrite},
		"short reads":            {fault: r.Short(), want: "abcdefghi"},
		"bit flipped at writing": {fault: w.Nth(2).Flip(), want: "abcdufghi"},
		"bit flipped at reading": {fault: r.Nth(1).Flip(), want: "abcdufghi"},
		"damage":                 {fault: r.Damage(), code: core.CodeDamage},
	} {
		t.Run(name, func(t *testing.T) {
			s := faulty.New(memory.New(), tt.fault)
			got, err := write(t, s, "abc", "def", "ghi")
			switch {
			case tt.want != "":
				if err != nil || !bytes.Equal(got, []byte(tt.want)) {
					t.Errorf("read %q, %v; want %q", got, err, tt.want)
				}
			case err == nil:
				t.Errorf("no error, read %q", got)
			case tt.err != nil && !errors.Is(err, tt.err), tt.code != "" && core.CodeOf(err) != tt.code:
				t.Errorf("error %v, want %v with code %q", err, tt.err, tt.code)
			}
		})
	}
}
