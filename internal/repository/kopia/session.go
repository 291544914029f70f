package kopia

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	kopiafs "github.com/kopia/kopia/fs"
	kopiarepo "github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/object"
	"github.com/kopia/kopia/snapshot"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/kopia/place"
	"github.com/backstay/backstay/internal/repository/kopia/tree"
)

// Begin implements repository.Store.
func (s *Store) Begin(ctx context.Context) (repository.Session, error) {
	const op = "begin backup"
	if err := s.mustWrite(op); err != nil {
		return nil, err
	}
	if err := place.MustBeRepository(s.files.root); err != nil {
		return nil, err
	}
	ss := &session{
		store: s, summaries: map[object.ID]*kopiafs.DirectorySummary{},
		slots: make(chan struct{}, min(runtime.GOMAXPROCS(0), maxAtOnce)),
	}
	gctx, done := guard(withLog(ctx, s.opts.Logger))
	defer done(nil)
	// What others wrote since this store last looked need not be stored again.
	if err := done(s.rep.Refresh(gctx)); err != nil {
		return nil, readError(ctx, op, s.files, err)
	}
	_, w, err := s.rep.NewDirectWriter(withLog(ctx, s.opts.Logger), kopiarepo.WriteSessionOptions{
		Purpose:  "backup",
		OnUpload: func(n int64) { ss.stored.Add(n) },
	})
	if err != nil {
		return nil, storageError(op, s.files.root, err)
	}
	ss.w, ss.newWriter = w, w.NewObjectWriter
	return ss, nil
}

// session implements repository.Session.
type session struct {
	store     *Store
	w         kopiarepo.DirectRepositoryWriter
	newWriter func(context.Context, object.WriterOptions) object.Writer
	stored    atomic.Int64
	unindexed unindexed
	slots     chan struct{} // a place in it is held while compressing

	// mu is held for reading by whatever writes, and for writing by Commit and
	// Abort: what they remove or make visible must not change meanwhile.
	mu    sync.RWMutex
	ended bool

	// summaries of folders written by this session, so that their parents need
	// not read them again. Bounded: it is emptied when full.
	sumMu     sync.Mutex
	summaries map[object.ID]*kopiafs.DirectorySummary
}

var _ repository.Session = (*session)(nil)

// maxAtOnce bounds how many chunks are compressed and packs written at once:
// each takes some 40 MB.
const maxAtOnce = 4

// maxSummaries bounds session.summaries to some 15 MB.
const maxSummaries = 100_000

var errEnded = errors.New("backup session has ended")

// enter begins a write; leave must be called when it returns nil.
func (ss *session) enter(ctx context.Context, op string) error {
	ss.mu.RLock()
	err := ctx.Err()
	if ss.ended {
		err = errors.Join(errEnded, err)
	}
	if err == nil {
		return nil
	}
	ss.mu.RUnlock()
	return fmt.Errorf("%s: %w", op, err)
}

func (ss *session) leave() { ss.mu.RUnlock() }

// context returns ctx as kopia needs it, and the function to end it with.
func (ss *session) context(ctx context.Context) (context.Context, func(error) error) {
	return guard(withUnindexed(withLog(ctx, ss.store.opts.Logger), &ss.unindexed))
}

// StoredBytes implements repository.Session.
func (ss *session) StoredBytes() int64 { return ss.stored.Load() }

// Create implements core.TreeWriter.
func (ss *session) Create(ctx context.Context, hint string) (core.FileWriter, error) {
	if err := ss.enter(ctx, "store "+hint); err != nil {
		return nil, err
	}
	defer ss.leave()
	gctx, done := ss.context(ctx)
	return &fileWriter{
		session: ss, hint: hint, ctx: ctx, done: done,
		out: ss.newWriter(gctx, object.WriterOptions{
			Description: hint, Compressor: dataCompressor, MetadataCompressor: metadataCompressor,
		}),
	}, nil
}

// fileWriter implements core.FileWriter.
type fileWriter struct {
	session *session
	hint    string
	ctx     context.Context
	done    func(error) error
	out     object.Writer
	size    int64
	closed  bool
	err     error // the first; nothing is written after it
}

// enter begins a write; session.leave must be called when it returns nil.
func (f *fileWriter) enter() error {
	if f.err == nil && f.closed {
		f.err = fmt.Errorf("store %s: file is closed", f.hint)
	}
	if f.err == nil {
		f.err = f.session.enter(f.ctx, "store "+f.hint)
	}
	return f.err
}

func (f *fileWriter) Write(p []byte) (int, error) {
	if err := f.enter(); err != nil {
		return 0, err
	}
	defer f.session.leave()
	f.session.slots <- struct{}{}
	n, err := f.out.Write(p)
	<-f.session.slots
	f.size += int64(n)
	if err != nil {
		f.err = storageError("store "+f.hint, f.session.store.files.root, err)
	}
	return n, f.err
}

func (f *fileWriter) Finish() (core.Object, error) {
	if err := f.enter(); err != nil {
		return core.Object{}, err
	}
	defer f.session.leave()
	f.session.slots <- struct{}{}
	id, err := f.out.Result()
	<-f.session.slots
	if err != nil {
		f.err = storageError("store "+f.hint, f.session.store.files.root, err)
		return core.Object{}, f.err
	}
	f.err = fmt.Errorf("store %s: file is finished", f.hint)
	return core.Object{ID: core.ObjectID(id.String()), Size: f.size}, nil
}

// Close hands the writer back. kopia keeps closed writers for use again, so it
// must not see a second Close.
func (f *fileWriter) Close() error {
	if f.closed {
		return nil
	}
	f.closed = true
	defer f.done(nil)
	if err := f.out.Close(); err != nil {
		return fmt.Errorf("store %s: %w", f.hint, err)
	}
	return nil
}

// WriteDir implements core.TreeWriter.
func (ss *session) WriteDir(ctx context.Context, entries []core.Entry) (_ core.Object, err error) {
	const op = "store folder"
	if err := ss.enter(ctx, op); err != nil {
		return core.Object{}, err
	}
	defer ss.leave()
	gctx, done := ss.context(ctx)
	defer done(nil)
	list := make([]tree.Entry, 0, len(entries))
	for _, e := range entries {
		var sum *kopiafs.DirectorySummary
		if e.Type == core.TypeDir {
			if sum, err = ss.summary(gctx, e.Object.ID); err != nil {
				return core.Object{}, storageError(op+" "+e.Name, ss.store.files.root, done(err))
			}
		}
		de, err := tree.NewEntry(e, sum)
		if err != nil {
			return core.Object{}, fmt.Errorf("%s: %w", op, err)
		}
		list = append(list, de)
	}
	d, err := tree.NewFolder(list)
	if err != nil {
		return core.Object{}, fmt.Errorf("%s: %w", op, err)
	}
	w := ss.newWriter(gctx, object.WriterOptions{
		Description: "folder", Prefix: "k", Compressor: metadataCompressor, MetadataCompressor: metadataCompressor,
	})
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := json.NewEncoder(w).Encode(d); err != nil {
		return core.Object{}, storageError(op, ss.store.files.root, done(err))
	}
	id, err := w.Result()
	if err != nil {
		return core.Object{}, storageError(op, ss.store.files.root, done(err))
	}
	ss.remember(id, d.Summary)
	return core.Object{ID: core.ObjectID(id.String()), Size: d.Summary.TotalFileSize}, nil
}

func (ss *session) remember(id object.ID, sum *kopiafs.DirectorySummary) {
	ss.sumMu.Lock()
	defer ss.sumMu.Unlock()
	if len(ss.summaries) >= maxSummaries {
		clear(ss.summaries)
	}
	ss.summaries[id] = sum
}

// summary returns the sums of a folder that was written by this session or is
// in the repository already.
func (ss *session) summary(ctx context.Context, dir core.ObjectID) (_ *kopiafs.DirectorySummary, err error) {
	id, err := object.ParseID(string(dir))
	if err != nil || id == object.EmptyID {
		return nil, fmt.Errorf("%q is not an object of this repository", dir)
	}
	ss.sumMu.Lock()
	sum := ss.summaries[id]
	ss.sumMu.Unlock()
	if sum != nil {
		return sum, nil
	}
	r, err := openObject(ctx, ss.w, id)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	d, err := tree.ReadFolder(r)
	if err != nil {
		return nil, fmt.Errorf("read folder %s: %w", dir, err)
	}
	ss.remember(id, d.Summary)
	return d.Summary, nil
}

// Abort implements repository.Session.
func (ss *session) Abort() {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if err := ss.end(context.Background()); err != nil {
		ss.store.opts.Logger.Warn("clean up after a backup that was not committed", "error", err)
	}
}

// end ends the session, if it has not ended, and removes what it wrote that is
// in no index: nobody can use that, and on a full disk nothing could be done
// before maintenance dares to remove it. ss.mu is held for writing.
func (ss *session) end(ctx context.Context) error {
	if ss.ended {
		return nil
	}
	ss.ended = true
	ctx = withLog(context.WithoutCancel(ctx), ss.store.opts.Logger)
	err := ss.w.Close(ctx)
	for _, id := range ss.unindexed.take() {
		err = errors.Join(err, ss.store.files.DeleteBlob(ctx, id))
	}
	return err
}

// Commit implements repository.Session.
//
// Order: all objects and their index; then the snapshot manifest with its
// index, which is the moment from which the backup exists; then the ledger
// entry (see ledger.go). Every write is synced before the next begins.
func (ss *session) Commit(ctx context.Context, root core.Object, backup core.Backup) (_ repository.Record, err error) {
	op := "commit backup " + backup.ID
	if err := ss.enter(ctx, op); err != nil {
		return repository.Record{}, err
	}
	ss.leave()
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.ended {
		return repository.Record{}, fmt.Errorf("%s: %w", op, errEnded)
	}
	s := ss.store
	defer func() {
		switch endErr := ss.end(ctx); {
		case err != nil:
			err = errors.Join(err, endErr)
		case endErr != nil: // the backup exists
			s.opts.Logger.WarnContext(ctx, "end backup session", "error", endErr)
		}
	}()
	if err := checkBackup(backup); err != nil {
		return repository.Record{}, fmt.Errorf("%s: %w", op, err)
	}
	known, err := s.manifestsOf(ctx, backup.ID)
	if err != nil {
		return repository.Record{}, err
	}
	if len(known) > 0 {
		return repository.Record{}, fmt.Errorf("%s: there is already a backup with this id", op)
	}

	gctx, done := ss.context(ctx)
	defer done(nil)
	fail := func(err error) (repository.Record, error) {
		return repository.Record{}, storageError(op, s.files.root, done(err))
	}
	sum, err := ss.summary(gctx, root.ID)
	if err != nil {
		return fail(err)
	}
	if err := ss.w.Flush(gctx); err != nil {
		return fail(err)
	}
	if err := ss.checkReuse(gctx, root.ID); err != nil {
		return fail(err)
	}
	backup.StoredBytes = ss.StoredBytes()
	root.Size = sum.TotalFileSize
	man, err := newSnapshot(root, sum, backup)
	if err != nil {
		return fail(err)
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	if _, err := snapshot.SaveSnapshot(gctx, ss.w, man); err != nil {
		return fail(err)
	}
	// From here the backup exists or it does not: a cancellation between the
	// write of the index and the end of Flush would make an error of a success.
	last, lastDone := ss.context(context.WithoutCancel(ctx))
	if err := lastDone(ss.w.Flush(last)); err != nil {
		s.takeBack(context.WithoutCancel(ctx), backup.ID)
		return fail(err)
	}
	s.enterInLedger(context.WithoutCancel(ctx), backup.ID)
	return repository.Record{Backup: backup, Root: root}, nil
}
