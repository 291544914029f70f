package kopia

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	kopiarepo "github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/object"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository/kopia/tree"
)

// Open implements core.TreeReader. ctx must last as long as the reader is used.
func (s *Store) Open(ctx context.Context, file core.ObjectID) (io.ReadSeekCloser, error) {
	op := "read object " + string(file)
	oid, err := object.ParseID(string(file))
	if err != nil || oid == object.EmptyID {
		return nil, damage(op, fmt.Errorf("%q is not an object of this repository", file))
	}
	gctx, done := guard(withLog(ctx, s.opts.Logger))
	r := &objectReader{store: s, op: op, id: oid, ctx: ctx, gctx: gctx, done: done}
	if err := r.open(); err != nil {
		done(nil)
		return nil, err
	}
	return r, nil
}

// ReadDir implements core.TreeReader.
func (s *Store) ReadDir(ctx context.Context, dir core.ObjectID) (_ []core.Entry, err error) {
	r, err := s.Open(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	d, err := tree.ReadFolder(r)
	if err != nil {
		return nil, readError(ctx, "read folder "+string(dir), s.files, err)
	}
	entries := make([]core.Entry, len(d.Entries))
	for i, e := range d.Entries {
		entries[i] = e.Core()
	}
	return entries, nil
}

// refresh makes visible what others committed and compacted.
func (s *Store) refresh(ctx context.Context) error {
	ctx, done := guard(ctx)
	return done(s.rep.Refresh(ctx))
}

// objectReader reads an object. Maintenance elsewhere may have moved its
// content since this process last looked at the index; so a failure is
// believed only when it happens again with a fresh index.
type objectReader struct {
	store *Store
	op    string
	id    object.ID
	ctx   context.Context // the caller's
	gctx  context.Context // for kopia
	done  func(error) error

	mu     sync.Mutex // Close may come from another goroutine than Read
	in     object.Reader
	offset int64
	closed bool
}

var _ io.ReadSeekCloser = (*objectReader)(nil)

var errClosed = errors.New("object is closed")

// open opens the object at r.offset.
func (r *objectReader) open() error {
	err := r.tryOpen()
	if err == nil || r.ctx.Err() != nil {
		return r.fail(err)
	}
	if err := r.store.refresh(r.gctx); err != nil {
		return r.fail(err)
	}
	return r.fail(r.tryOpen())
}

func (r *objectReader) tryOpen() error {
	in, err := openObject(r.gctx, r.store.rep, r.id)
	if err != nil {
		return err
	}
	if _, err := in.Seek(r.offset, io.SeekStart); err != nil {
		return errors.Join(err, in.Close())
	}
	if r.in != nil {
		err = r.in.Close()
	}
	r.in = in
	return err
}

func openObject(ctx context.Context, rep kopiarepo.Repository, id object.ID) (object.Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return rep.OpenObject(ctx, id)
}

func (r *objectReader) fail(err error) error {
	return readError(r.ctx, r.op, r.store.files, err)
}

// Read implements io.Reader.
func (r *objectReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, errClosed
	}
	if err := r.ctx.Err(); err != nil {
		return 0, fmt.Errorf("%s: %w", r.op, err)
	}
	n, err := r.in.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		if err := r.open(); err != nil {
			return 0, err
		}
		n, err = r.in.Read(p)
	}
	r.offset += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		return n, r.fail(err)
	}
	return n, err
}

// Seek implements io.Seeker.
func (r *objectReader) Seek(offset int64, whence int) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, errClosed
	}
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += r.offset
	case io.SeekEnd:
		offset += r.in.Length()
	default:
		return 0, fmt.Errorf("%s: seek from %d", r.op, whence)
	}
	if offset < 0 {
		return 0, fmt.Errorf("%s: seek to %d, before the start", r.op, offset)
	}
	if _, err := r.in.Seek(offset, io.SeekStart); err != nil {
		r.offset = offset
		if err := r.open(); err != nil {
			return 0, err
		}
	}
	r.offset = offset
	return offset, nil
}

// Close implements io.Closer.
func (r *objectReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	defer r.done(nil)
	if err := r.in.Close(); err != nil {
		return fmt.Errorf("%s: %w", r.op, err)
	}
	return nil
}
