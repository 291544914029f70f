package kopia_test

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/kopia"
)

func TestLimits(t *testing.T) {
	opts := create(t)
	s := mustOpen(t, opts)
	r := mustStore(t, s, 1)
	if got := s.Limits(); got.UploadBytesPerSecond != 0 || got.DownloadBytesPerSecond != 0 {
		t.Errorf("limits %+v without any", got)
	}
	mustClose(t, s)

	limited := opts
	limited.UploadLimit, limited.DownloadLimit = 20_000, 30_000_000
	s = mustOpen(t, limited)
	defer mustClose(t, s)
	if got := s.Limits(); got.UploadBytesPerSecond != 20_000 || got.DownloadBytesPerSecond != 30_000_000 {
		t.Errorf("limits %+v", got)
	}
	if err := read(t, s, r, 1); err != nil {
		t.Error(err)
	}
	// A new connection may send a tenth of a minute's bytes, 120 kB, at once.
	// The other 40 kB take two seconds.
	start := time.Now()
	if _, err := storeParts(t.Context(), s, 2, part{2, 160_000}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < time.Second {
		t.Errorf("160 kB at 20 kB/s after 120 kB for nothing took %v, want 2 s", took)
	}
	// The limit is this process's own.
	s2 := mustOpen(t, opts)
	defer mustClose(t, s2)
	if got := s2.Limits(); got.UploadBytesPerSecond != 0 {
		t.Errorf("limits %+v without any, after another process had some", got)
	}

	limited.UploadLimit = -1
	_, err := kopia.Open(t.Context(), limited)
	wantError(t, err, core.CodeUsage, "cannot be negative")
}

// TestWhoseFault: what the repository or its storage does wrong can be told from
// all else.
func TestWhoseFault(t *testing.T) {
	opts := create(t)
	s := mustOpen(t, opts)
	defer mustClose(t, s)
	r := mustStore(t, s, 1)
	openWith := func(change func(*kopia.Options)) error {
		o := opts
		change(&o)
		s, err := kopia.Open(t.Context(), o)
		if err == nil {
			mustClose(t, s)
		}
		return err
	}
	failing := func(errno syscall.Errno) error {
		s.OnChange(func(string, bool) error { return &fs.PathError{Op: "write", Path: "blob", Err: errno} })
		defer s.OnChange(func(string, bool) error { return nil })
		_, err := store(t.Context(), s, 2)
		return err
	}
	_, twice := store(t.Context(), s, 1)
	for name, tt := range map[string]struct {
		err   error
		code  core.Code
		blame bool
	}{
		"wrong key":       {openWith(func(o *kopia.Options) { o.Password = core.NewSecret("wrong") }), core.CodeWrongKey, true},
		"no such folder":  {openWith(func(o *kopia.Options) { o.URL += "-gone" }), core.CodeNoRepository, true},
		"full disk":       {failing(syscall.ENOSPC), core.CodeDisk, true},
		"quota":           {failing(syscall.EDQUOT), core.CodeDisk, true},
		"broken disk":     {failing(syscall.EIO), core.CodeDisk, true},
		"stale mount":     {failing(syscall.ESTALE), core.CodeDisk, true},
		"read-only mount": {failing(syscall.EROFS), core.CodeDisk, true},
		"missing object": {func() error {
			_, err := s.ReadDir(t.Context(), "kffffffffffffffffffffffffffffffff")
			return err
		}(), core.CodeDamage, true},
		"unknown backup":  {s.Delete(t.Context(), "nothing"), core.CodeNotFound, false},
		"same id again":   {twice, core.CodeFailed, false},
		"no key given":    {kopia.Create(t.Context(), kopia.Options{URL: opts.URL}), core.CodeUsage, false},
		"unusable config": {openWith(func(o *kopia.Options) { o.URL = "gopher://x" }), core.CodeUsage, false},
		"state folder":    {openWith(func(o *kopia.Options) { o.StateDir = "/proc/nothing" }), core.CodeDisk, false},
	} {
		if core.CodeOf(tt.err) != tt.code || errors.Is(tt.err, repository.ErrStorage) != tt.blame {
			t.Errorf("%s: %v has code %s, storage's fault %t; want %s, %t", name, tt.err, core.CodeOf(tt.err),
				errors.Is(tt.err, repository.ErrStorage), tt.code, tt.blame)
		}
	}
	if err := read(t, s, r, 1); err != nil {
		t.Error(err)
	}
}
