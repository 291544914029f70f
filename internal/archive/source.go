package archive

import (
	"context"
	"io"
	"sync"

	"github.com/backstay/backstay/internal/core"
)

// Source is an archive's file as a format reads it. It remembers its own
// failure, so that a disk that cannot be read is not taken for a damaged
// archive, and ends with its context. Unpackers may read it in goroutines of
// their own.
type Source struct {
	ctx      context.Context
	r        io.Reader
	progress core.Progress

	mu  sync.Mutex
	err error
}

// NewSource returns a source that reads r. progress hears what is read; nil: nobody does.
func NewSource(ctx context.Context, r io.Reader, progress core.Progress) *Source {
	if progress == nil {
		progress = core.NoProgress{}
	}
	return &Source{ctx: ctx, r: r, progress: progress}
}

// Read implements io.Reader.
func (s *Source) Read(p []byte) (int, error) {
	err := s.ctx.Err()
	n := 0
	if err == nil {
		n, err = s.r.Read(p)
		s.progress.Add(int64(n))
	}
	if err != nil && err != io.EOF {
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
	}
	return n, err
}

// Failed returns why the file could not be read; nil where it could.
func (s *Source) Failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
