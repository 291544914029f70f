// Package memory keeps backups in the memory of the process. It is for tests of
// what stands above the repository.Store seam: a plain, correct store with no
// disk, no key and nothing to wait for. It promises what the seam promises,
// for as long as the process lives.
package memory

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
)

// Store is an open repository in memory. All methods are safe for concurrent
// use. Make one with New.
type Store struct{ repo *repo }

var _ repository.Store = (*Store)(nil)

// repo is what the stores of one repository share.
type repo struct {
	maintaining sync.Mutex // the maintenance lease

	mu       sync.Mutex
	objects  map[core.ObjectID]object // never changed once stored
	backups  map[string]repository.Record
	lost     map[string]bool        // ids of backups whose record is gone
	spoiled  map[core.ObjectID]bool // objects that cannot be read any more
	sessions int                    // open ones

	attempted, maintained *time.Time
}

// object is a stored file, or a folder when it has entries (not nil).
type object struct {
	data    []byte
	entries []core.Entry
	files   int64 // below a folder
	bytes   int64
}

// New makes a new, empty repository and opens it.
func New() *Store {
	return &Store{repo: &repo{
		objects: map[core.ObjectID]object{}, backups: map[string]repository.Record{},
		lost: map[string]bool{}, spoiled: map[core.ObjectID]bool{},
	}}
}

// Lose makes the repository lose the record of backup id, as a kopia repository
// does with an index blob: List misses it until it is deleted.
func (s *Store) Lose(id string) {
	s.repo.mu.Lock()
	defer s.repo.mu.Unlock()
	delete(s.repo.backups, id)
	s.repo.lost[id] = true
}

// Spoil makes objects unreadable. Only a healing session stores them anew.
func (s *Store) Spoil(objects ...core.ObjectID) {
	s.repo.mu.Lock()
	defer s.repo.mu.Unlock()
	for _, id := range objects {
		s.repo.spoiled[id] = true
	}
}

// SpoilFiles is Spoil of all files.
func (s *Store) SpoilFiles() {
	s.repo.mu.Lock()
	defer s.repo.mu.Unlock()
	for id, o := range s.repo.objects {
		s.repo.spoiled[id] = s.repo.spoiled[id] || o.entries == nil
	}
}

// Reopen opens the same repository again, as another process would.
func (s *Store) Reopen() *Store { return &Store{repo: s.repo} }

// Close does nothing.
func (s *Store) Close(context.Context) error { return nil }

// cancelled returns the error for an operation of a context that has ended.
func cancelled(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// find returns the object id, or an error with core.CodeDamage.
func (r *repo) find(op string, id core.ObjectID, folder bool) (object, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o, ok := r.objects[id]
	if !ok || (o.entries != nil) != folder || r.spoiled[id] {
		return object{}, repository.StorageError(&core.Error{
			Code: core.CodeDamage, Op: op, Message: "there is no such object", Hint: "the repository is damaged",
		})
	}
	return o, nil
}

// ReadDir implements core.TreeReader.
func (s *Store) ReadDir(ctx context.Context, dir core.ObjectID) ([]core.Entry, error) {
	op := "read folder " + string(dir)
	if err := cancelled(ctx, op); err != nil {
		return nil, err
	}
	o, err := s.repo.find(op, dir, true)
	return slices.Clone(o.entries), err
}

// Open implements core.TreeReader.
func (s *Store) Open(ctx context.Context, file core.ObjectID) (io.ReadSeekCloser, error) {
	op := "read object " + string(file)
	if err := cancelled(ctx, op); err != nil {
		return nil, err
	}
	o, err := s.repo.find(op, file, false)
	if err != nil {
		return nil, err
	}
	return &reader{ctx: ctx, op: op, Reader: bytes.NewReader(o.data)}, nil
}

type reader struct {
	ctx context.Context
	op  string
	*bytes.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := cancelled(r.ctx, r.op); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

func (r *reader) Close() error { return nil }

// List implements repository.Store.
func (s *Store) List(ctx context.Context) ([]repository.Record, error) {
	if err := cancelled(ctx, "list backups"); err != nil {
		return nil, err
	}
	s.repo.mu.Lock()
	defer s.repo.mu.Unlock()
	records := make([]repository.Record, 0, len(s.repo.backups))
	for _, r := range s.repo.backups {
		records = append(records, clone(r))
	}
	slices.SortFunc(records, func(a, b repository.Record) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID))
	})
	if len(s.repo.lost) == 0 {
		return records, nil
	}
	return records, damaged("list backups", s.repo.lost)
}

// damaged returns the error for a repository that lost backups.
func damaged(op string, lost map[string]bool) error {
	return repository.StorageError(&core.Error{
		Code: core.CodeDamage, Op: op,
		Message: "backups cannot be found any more: " + strings.Join(slices.Sorted(maps.Keys(lost)), ", "),
		Hint:    "if they are not wanted any more, delete each with `backstay delete ID`",
	})
}

// clone copies what a caller could change. Like a record that was written down
// and read again, it has its times in UTC.
func clone(r repository.Record) repository.Record {
	utc := func(t *time.Time) *time.Time {
		if t == nil {
			return nil
		}
		u := t.UTC()
		return &u
	}
	r.Time = r.Time.UTC()
	r.Components, r.Warnings = maps.Clone(r.Components), slices.Clone(r.Warnings)
	r.Verified, r.Damaged, r.Drilled = utc(r.Verified), utc(r.Damaged), utc(r.Drilled)
	return r
}

func notFound(op, id string) error {
	return &core.Error{
		Code: core.CodeNotFound, Op: op, Message: fmt.Sprintf("there is no backup %q", id),
		Hint: "see the backups there are with `backstay list`",
	}
}

// Delete implements repository.Store.
func (s *Store) Delete(ctx context.Context, id string) error {
	op := "delete backup " + id
	if err := cancelled(ctx, op); err != nil {
		return err
	}
	s.repo.mu.Lock()
	defer s.repo.mu.Unlock()
	if _, ok := s.repo.backups[id]; !ok && !s.repo.lost[id] {
		return notFound(op, id)
	}
	delete(s.repo.backups, id)
	delete(s.repo.lost, id)
	return nil
}

// Mark implements repository.Store.
func (s *Store) Mark(ctx context.Context, id string, mark repository.Mark) error {
	op := "mark backup " + id
	if err := cancelled(ctx, op); err != nil {
		return err
	}
	s.repo.mu.Lock()
	defer s.repo.mu.Unlock()
	r, ok := s.repo.backups[id]
	if !ok {
		return notFound(op, id)
	}
	if mark.Pinned != nil {
		r.Pinned = *mark.Pinned
	}
	if mark.Verified != nil {
		r.Verified, r.Damaged = mark.Verified, nil
	}
	if mark.Damaged != nil {
		r.Damaged = mark.Damaged
	}
	if mark.Drilled != nil {
		r.Drilled = mark.Drilled
	}
	s.repo.backups[id] = clone(r)
	return nil
}

// Maintain implements repository.Store. While a session is open nothing is
// removed: it may use any object that is there. A repository that lost backups
// is not maintained, because their data has no other user.
func (s *Store) Maintain(ctx context.Context) (repository.Maintained, error) {
	const op = "maintain repository"
	if err := cancelled(ctx, op); err != nil {
		return repository.Maintained{}, err
	}
	r := s.repo
	if !r.maintaining.TryLock() {
		return repository.Maintained{}, &core.Error{
			Code: core.CodeLocked, Op: op, Message: "the repository is being maintained by this process", Hint: "wait for it",
		}
	}
	defer r.maintaining.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	m := repository.Maintained{Full: true, Began: core.SystemClock{}.Now().UTC()}
	r.attempted = &m.Began
	if len(r.lost) > 0 {
		return m, damaged(op, r.lost)
	}
	if r.sessions == 0 {
		used := map[core.ObjectID]object{}
		for _, b := range r.backups {
			r.collect(b.Root.ID, used)
		}
		m.Removed = size(r.objects) - size(used)
		r.objects = used
	}
	m.Ended = core.SystemClock{}.Now().UTC()
	r.maintained = &m.Ended
	return m, nil
}

// Space implements repository.Store. There is no limit.
func (s *Store) Space(ctx context.Context) (core.Space, error) {
	if err := cancelled(ctx, "measure repository"); err != nil {
		return core.Space{}, err
	}
	r := s.repo
	r.mu.Lock()
	defer r.mu.Unlock()
	space := core.Space{Used: size(r.objects), Free: -1, Total: -1}
	if r.attempted != nil {
		at := *r.attempted
		space.Attempted = &at
	}
	if r.maintained != nil {
		at := *r.maintained
		space.Maintained = &at
	}
	return space, nil
}

// size is how many bytes are in objects.
func size(objects map[core.ObjectID]object) int64 {
	var n int64
	for _, o := range objects {
		n += int64(len(o.data))
	}
	return n
}

// collect adds id and all that lies below it to used.
func (r *repo) collect(id core.ObjectID, used map[core.ObjectID]object) {
	if _, done := used[id]; done {
		return
	}
	o := r.objects[id]
	used[id] = o
	for _, e := range o.entries {
		r.collect(e.Object.ID, used)
	}
}
