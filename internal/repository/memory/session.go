package memory

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
)

// Begin implements repository.Store.
func (s *Store) Begin(ctx context.Context) (repository.Session, error) {
	if err := cancelled(ctx, "begin backup"); err != nil {
		return nil, err
	}
	s.repo.mu.Lock()
	defer s.repo.mu.Unlock()
	s.repo.sessions++
	return &session{repo: s.repo, objects: map[core.ObjectID]object{}}, nil
}

// session keeps what it is given to itself until it is committed.
type session struct {
	repo *repo

	mu      sync.Mutex // taken before repo.mu where both are
	ended   bool
	stored  int64
	objects map[core.ObjectID]object
	healing bool // stores anew what is spoiled
	healed  int
}

var (
	_ repository.Healer         = (*Store)(nil)
	_ repository.HealingSession = (*session)(nil)
)

var errEnded = errors.New("backup session has ended")

func (ss *session) live(ctx context.Context, op string) error {
	if err := cancelled(ctx, op); err != nil {
		return err
	}
	if ss.ended {
		return fmt.Errorf("%s: %w", op, errEnded)
	}
	return nil
}

// end releases the session; ss.mu is held.
func (ss *session) end() {
	if ss.ended {
		return
	}
	ss.ended = true
	ss.repo.mu.Lock()
	defer ss.repo.mu.Unlock()
	ss.repo.sessions--
}

// StoredBytes implements repository.Session.
func (ss *session) StoredBytes() int64 {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.stored
}

// Abort implements repository.Session.
func (ss *session) Abort() {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.end()
}

// find looks in the session and in the repository; ss.mu is held.
func (ss *session) find(id core.ObjectID) (object, bool) {
	if o, ok := ss.objects[id]; ok {
		return o, true
	}
	ss.repo.mu.Lock()
	defer ss.repo.mu.Unlock()
	o, ok := ss.repo.objects[id]
	return o, ok
}

func (ss *session) spoiled(id core.ObjectID) bool {
	ss.repo.mu.Lock()
	defer ss.repo.mu.Unlock()
	return ss.repo.spoiled[id]
}

// Healed implements repository.HealingSession.
func (ss *session) Healed() int {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.healed
}

// BeginHealing implements repository.Healer.
func (s *Store) BeginHealing(ctx context.Context) (repository.HealingSession, error) {
	begun, err := s.Begin(ctx)
	if err != nil {
		return nil, err
	}
	ss := begun.(*session)
	ss.healing = true
	return ss, nil
}

// keep stores o unless it is there already; ss.mu is held.
func (ss *session) keep(id core.ObjectID, o object) {
	_, mine := ss.objects[id]
	if _, ok := ss.find(id); ok && (mine || !ss.healing || !ss.spoiled(id)) {
		return
	} else if ok {
		ss.healed++
	}
	ss.objects[id] = o
	ss.stored += int64(len(o.data))
}

// Create implements core.TreeWriter.
func (ss *session) Create(ctx context.Context, hint string) (core.FileWriter, error) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	op := "store " + hint
	if err := ss.live(ctx, op); err != nil {
		return nil, err
	}
	return &file{session: ss, ctx: ctx, op: op}, nil
}

// CreateBlocks implements core.TreeWriter. Files share nothing but the whole.
func (ss *session) CreateBlocks(ctx context.Context, hint string) (core.FileWriter, error) {
	return ss.Create(ctx, hint)
}

// file implements core.FileWriter.
type file struct {
	session *session
	ctx     context.Context
	op      string
	data    bytes.Buffer
	over    bool // finished or closed
}

// check is called with session.mu held.
func (f *file) check() error {
	if f.over {
		return fmt.Errorf("%s: file is closed", f.op)
	}
	return f.session.live(f.ctx, f.op)
}

func (f *file) Write(p []byte) (int, error) {
	f.session.mu.Lock()
	defer f.session.mu.Unlock()
	if err := f.check(); err != nil {
		return 0, err
	}
	return f.data.Write(p)
}

func (f *file) Finish() (core.Object, error) {
	f.session.mu.Lock()
	defer f.session.mu.Unlock()
	if err := f.check(); err != nil {
		return core.Object{}, err
	}
	f.over = true
	data := f.data.Bytes()
	id := core.ObjectID(fmt.Sprintf("%x", sha256.Sum256(data)))
	f.session.keep(id, object{data: data})
	return core.Object{ID: id, Size: int64(len(data))}, nil
}

func (f *file) Close() error {
	f.session.mu.Lock()
	defer f.session.mu.Unlock()
	f.over = true
	return nil
}

// WriteDir implements core.TreeWriter. Unlike a store with a disk it also
// refuses files that are not stored.
func (ss *session) WriteDir(ctx context.Context, entries []core.Entry) (core.Object, error) {
	const op = "store folder"
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if err := ss.live(ctx, op); err != nil {
		return core.Object{}, err
	}
	dir := object{entries: make([]core.Entry, 0, len(entries))}
	for _, e := range entries {
		e, err := ss.checkEntry(e)
		if err != nil {
			return core.Object{}, fmt.Errorf("%s: %w", op, err)
		}
		switch e.Type {
		case core.TypeFile:
			dir.files, dir.bytes = dir.files+1, dir.bytes+e.Object.Size
		case core.TypeDir:
			dir.files, dir.bytes = dir.files+e.Files, dir.bytes+e.Object.Size
		}
		dir.entries = append(dir.entries, e)
	}
	slices.SortFunc(dir.entries, func(a, b core.Entry) int { return cmp.Compare(a.Name, b.Name) })
	for i, e := range dir.entries {
		if i > 0 && e.Name == dir.entries[i-1].Name {
			return core.Object{}, fmt.Errorf("%s: two entries are named %q", op, e.Name)
		}
		// JSON would not do: it has no years after 9999.
		dir.data = fmt.Appendf(dir.data, "%q %s %o %d %d %d %d %s\n",
			e.Name, e.Type, e.Mode, e.UID, e.GID, e.ModTime.Unix(), e.ModTime.Nanosecond(), e.Object.ID)
	}
	id := core.ObjectID(fmt.Sprintf("k%x", sha256.Sum256(dir.data)))
	ss.keep(id, dir)
	return core.Object{ID: id, Size: dir.bytes}, nil
}

// checkEntry returns e with the sizes that its object has.
func (ss *session) checkEntry(e core.Entry) (core.Entry, error) {
	const modeBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	switch {
	case e.Name == "", e.Name == ".", e.Name == "..", strings.ContainsAny(e.Name, "/\x00"), !utf8.ValidString(e.Name):
		return e, fmt.Errorf("%q cannot name an entry", e.Name)
	case e.Mode&^modeBits != 0:
		return e, fmt.Errorf("entry %q has mode %v, which is more than permissions", e.Name, e.Mode)
	case e.Type != core.TypeFile && e.Type != core.TypeDir && e.Type != core.TypeSymlink:
		return e, fmt.Errorf("entry %q has unknown type %q", e.Name, e.Type)
	}
	o, ok := ss.find(e.Object.ID)
	if !ok || (o.entries != nil) != (e.Type == core.TypeDir) {
		return e, fmt.Errorf("entry %q has no stored object: %q", e.Name, e.Object.ID)
	}
	e.ModTime = e.ModTime.UTC()
	if e.Type == core.TypeDir {
		e.Files, e.Object.Size = o.files, o.bytes
	} else {
		e.Files, e.Object.Size = 0, int64(len(o.data))
	}
	return e, nil
}

// Commit implements repository.Session.
func (ss *session) Commit(ctx context.Context, root core.Object, b core.Backup) (repository.Record, error) {
	op := "commit backup " + b.ID
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if err := ss.live(ctx, op); err != nil {
		return repository.Record{}, err
	}
	defer ss.end()
	dir, ok := ss.find(root.ID)
	switch {
	case !repository.ValidID(b.ID):
		return repository.Record{}, fmt.Errorf("%s: %q cannot be a backup's id", op, b.ID)
	case b.App == "":
		return repository.Record{}, fmt.Errorf("%s: backup names no app", op)
	case !ok || dir.entries == nil:
		return repository.Record{}, fmt.Errorf("%s: root %q is not a stored folder", op, root.ID)
	}
	record, err := json.Marshal(b)
	if err != nil {
		return repository.Record{}, fmt.Errorf("%s: %w", op, err)
	}
	ss.repo.mu.Lock()
	defer ss.repo.mu.Unlock()
	if _, taken := ss.repo.backups[b.ID]; taken {
		return repository.Record{}, fmt.Errorf("%s: there is already a backup with this id", op)
	}
	for id, o := range ss.objects {
		ss.repo.objects[id] = o
		delete(ss.repo.spoiled, id)
	}
	ss.stored += int64(len(record))
	b.StoredBytes = ss.stored
	r := clone(repository.Record{Backup: b, Root: core.Object{ID: root.ID, Size: dir.bytes}})
	ss.repo.backups[b.ID] = r
	delete(ss.repo.lost, b.ID)
	return clone(r), nil
}
