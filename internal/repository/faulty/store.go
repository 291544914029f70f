package faulty

import (
	"context"
	"io"
	"slices"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
)

// Begin implements repository.Store.
func (s *Store) Begin(ctx context.Context) (repository.Session, error) {
	if err := s.before(ctx, Begin, ""); err != nil {
		return nil, err
	}
	inner, err := s.inner.Begin(ctx)
	if err != nil {
		return nil, err
	}
	return &session{Session: inner, store: s}, nil
}

var _ repository.Healer = (*Store)(nil)

// BeginHealing implements repository.Healer where the inner store does.
func (s *Store) BeginHealing(ctx context.Context) (repository.HealingSession, error) {
	if err := s.before(ctx, Begin, ""); err != nil {
		return nil, err
	}
	healer, ok := s.inner.(repository.Healer)
	if !ok {
		return nil, &core.Error{Code: core.CodeUnsupported, Op: "begin backup", Message: "this store cannot store anew what is damaged"}
	}
	inner, err := healer.BeginHealing(ctx)
	if err != nil {
		return nil, err
	}
	return healing{&session{Session: inner, store: s}, inner.Healed}, nil
}

type healing struct {
	*session
	healed func() int
}

func (h healing) Healed() int { return h.healed() }

// List implements repository.Store. A fault with core.CodeDamage comes with the
// records found, as the seam says; the inner store's error wins over it.
func (s *Store) List(ctx context.Context) ([]repository.Record, error) {
	fault := s.before(ctx, List, "")
	if fault != nil && core.CodeOf(fault) != core.CodeDamage {
		return nil, fault
	}
	records, err := s.inner.List(ctx)
	if err == nil {
		err = fault
	}
	return records, err
}

// Delete implements repository.Store.
func (s *Store) Delete(ctx context.Context, id string) error {
	if err := s.before(ctx, Delete, id); err != nil {
		return err
	}
	return s.inner.Delete(ctx, id)
}

// Mark implements repository.Store.
func (s *Store) Mark(ctx context.Context, id string, mark repository.Mark) error {
	if err := s.before(ctx, Mark, id); err != nil {
		return err
	}
	return s.inner.Mark(ctx, id, mark)
}

// Maintain implements repository.Store.
func (s *Store) Maintain(ctx context.Context) (repository.Maintained, error) {
	if err := s.before(ctx, Maintain, ""); err != nil {
		return repository.Maintained{}, err
	}
	return s.inner.Maintain(ctx)
}

// Space implements repository.Store.
func (s *Store) Space(ctx context.Context) (core.Space, error) {
	if err := s.before(ctx, Space, ""); err != nil {
		return core.Space{}, err
	}
	return s.inner.Space(ctx)
}

// Close implements repository.Store. The inner store is closed also where a
// fault makes it fail.
func (s *Store) Close(ctx context.Context) error {
	fault := s.before(ctx, Close, "")
	if err := s.inner.Close(ctx); err != nil {
		return err
	}
	return fault
}

// ReadDir implements core.TreeReader.
func (s *Store) ReadDir(ctx context.Context, dir core.ObjectID) ([]core.Entry, error) {
	if err := s.before(ctx, ReadDir, string(dir)); err != nil {
		return nil, err
	}
	return s.inner.ReadDir(ctx, dir)
}

// Open implements core.TreeReader.
func (s *Store) Open(ctx context.Context, file core.ObjectID) (io.ReadSeekCloser, error) {
	if err := s.before(ctx, Open, string(file)); err != nil {
		return nil, err
	}
	inner, err := s.inner.Open(ctx, file)
	if err != nil {
		return nil, err
	}
	return &reader{ReadSeekCloser: inner, store: s, ctx: ctx, id: string(file)}, nil
}

type reader struct {
	io.ReadSeekCloser
	store *Store
	ctx   context.Context
	id    string
}

func (r *reader) Read(p []byte) (int, error) {
	f := r.store.hit(Read, r.id, len(p))
	if err := f.stop(r.ctx, Read); err != nil {
		return 0, err
	}
	if f != nil && f.what == short && len(p) > 1 {
		p = p[:len(p)/2]
	}
	n, err := r.ReadSeekCloser.Read(p)
	if f != nil && f.what == flip && n > 0 {
		p[n/2] ^= 0x10
	}
	return n, err
}

func (r *reader) Seek(offset int64, whence int) (int64, error) {
	if err := r.store.before(r.ctx, Seek, r.id); err != nil {
		return 0, err
	}
	return r.ReadSeekCloser.Seek(offset, whence)
}

type session struct {
	repository.Session
	store *Store
}

var _ repository.Session = (*session)(nil)

func (ss *session) Create(ctx context.Context, hint string) (core.FileWriter, error) {
	return ss.create(ctx, hint, ss.Session.Create)
}

func (ss *session) CreateBlocks(ctx context.Context, hint string) (core.FileWriter, error) {
	return ss.create(ctx, hint, ss.Session.CreateBlocks)
}

func (ss *session) create(ctx context.Context, hint string, create func(context.Context, string) (core.FileWriter, error)) (core.FileWriter, error) {
	if err := ss.store.before(ctx, Create, hint); err != nil {
		return nil, err
	}
	inner, err := create(ctx, hint)
	if err != nil {
		return nil, err
	}
	return &fileWriter{inner: inner, store: ss.store, ctx: ctx, hint: hint}, nil
}

func (ss *session) WriteDir(ctx context.Context, entries []core.Entry) (core.Object, error) {
	if err := ss.store.before(ctx, WriteDir, ""); err != nil {
		return core.Object{}, err
	}
	return ss.Session.WriteDir(ctx, entries)
}

func (ss *session) Commit(ctx context.Context, root core.Object, backup core.Backup) (repository.Record, error) {
	if err := ss.store.before(ctx, Commit, backup.ID); err != nil {
		ss.Abort()
		return repository.Record{}, err
	}
	return ss.Session.Commit(ctx, root, backup)
}

type fileWriter struct {
	inner core.FileWriter
	store *Store
	ctx   context.Context
	hint  string
	err   error // of a Write: a file with a gap must not be finished
}

func (w *fileWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	f := w.store.hit(Write, w.hint, len(p))
	if w.err = f.stop(w.ctx, Write); w.err != nil {
		return 0, w.err
	}
	switch {
	case f != nil && f.what == short:
		n, err := w.inner.Write(p[:len(p)/2])
		if err == nil {
			err = f.err
		}
		w.err = err
		return n, err
	case f != nil && f.what == flip && len(p) > 0:
		p = slices.Clone(p)
		p[len(p)/2] ^= 0x10
	}
	return w.inner.Write(p)
}

func (w *fileWriter) Finish() (core.Object, error) {
	if w.err != nil {
		return core.Object{}, w.err
	}
	if err := w.store.before(w.ctx, Finish, w.hint); err != nil {
		return core.Object{}, err
	}
	return w.inner.Finish()
}

func (w *fileWriter) Close() error {
	fault := w.store.before(w.ctx, CloseFile, w.hint)
	if err := w.inner.Close(); err != nil {
		return err
	}
	return fault
}
