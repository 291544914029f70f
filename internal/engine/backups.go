package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/repository"
)

// maxManifest bounds what is read as a manifest or index.
const maxManifest = 1 << 30

func (e *Engine) readObject(ctx context.Context, id core.ObjectID) (_ []byte, err error) {
	r, err := e.Store.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	b, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	if err == nil && len(b) > maxManifest {
		err = fmt.Errorf("larger than %d bytes", maxManifest)
	}
	return b, err
}

// Open is a backup opened for reading.
type Open struct {
	Record   repository.Record
	Manifest core.Manifest
	Index    core.DatabaseIndex // empty when the backup has no database
	// IndexDamage says why Index is empty though the backup has a database.
	IndexDamage error
	root        core.Entry
	store       core.TreeReader
}

// OpenBackup reads a backup's manifest and index and checks that they fit
// together.
func (e *Engine) OpenBackup(ctx context.Context, rec repository.Record) (*Open, error) {
	o, err := e.openManifest(ctx, rec)
	if err != nil {
		return nil, err
	}
	// Damage to the index must not keep the files from being restored.
	if err := e.readIndex(ctx, o); core.CodeOf(err) == core.CodeDamage {
		o.Index, o.IndexDamage = core.DatabaseIndex{}, err
	} else if err != nil {
		return nil, err
	}
	if e.Narrow != nil {
		e.Narrow(o)
	}
	return o, nil
}

func (e *Engine) openManifest(ctx context.Context, rec repository.Record) (*Open, error) {
	o := &Open{Record: rec, store: e.Store, root: core.Entry{Type: core.TypeDir, Object: rec.Root}}
	op := "read backup " + rec.ID
	text, err := e.readNamed(ctx, o, op, repository.ManifestName)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &o.Manifest); err != nil {
		return nil, damaged(op, repository.ManifestName+" is not a manifest", err)
	}
	if o.Manifest.Schema > core.ManifestSchema {
		return nil, &core.Error{
			Code: core.CodeUnsupported, Op: op, Message: fmt.Sprintf("it was written by backstay %s in layout %d, and this version knows %d", o.Manifest.BackstayVersion, o.Manifest.Schema, core.ManifestSchema),
			Hint: "use that version of backstay or a newer one",
		}
	}
	if o.Manifest.ID != rec.ID {
		return nil, damaged(op, "its manifest belongs to backup "+o.Manifest.ID, nil)
	}
	return o, nil
}

// readIndex reads the index of the database, when there is one.
func (e *Engine) readIndex(ctx context.Context, o *Open) error {
	db := o.Manifest.Database
	if db == nil {
		return nil
	}
	op := "read backup " + o.Record.ID
	text, err := e.readNamed(ctx, o, op, db.Index)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != db.Checksum {
		return damaged(op, db.Index+" is not the one that the manifest names", nil)
	}
	if err := json.Unmarshal(text, &o.Index); err != nil {
		return damaged(op, db.Index+" is not an index", err)
	}
	return nil
}

// readNamed reads a file that every backup of its kind has.
func (e *Engine) readNamed(ctx context.Context, o *Open, op, p string) ([]byte, error) {
	text, err := e.readPath(ctx, o, p)
	switch {
	case core.CodeOf(err) == core.CodeNotFound:
		return nil, damaged(op, p+" is missing", nil)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return text, nil
}

func damaged(op, message string, err error) error {
	return &core.Error{Code: core.CodeDamage, Op: op, Message: message, Err: err, Hint: "backstay verify --all shows which backups are whole"}
}

func (e *Engine) readPath(ctx context.Context, o *Open, p string) ([]byte, error) {
	entry, err := o.Lookup(ctx, p)
	if err != nil {
		return nil, err
	}
	b, err := e.readObject(ctx, entry.Object.ID)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	return b, nil
}

// Lookup returns the entry at a path of the backup; "" is its root.
func (o *Open) Lookup(ctx context.Context, p string) (core.Entry, error) {
	p = strings.Trim(path.Clean("/"+p), "/")
	return files.LookupIn(ctx, o.store, o.root, p, o.Record.ID)
}

// ReadDir lists a folder of the backup, by name.
func (o *Open) ReadDir(ctx context.Context, dir core.Entry) ([]core.Entry, error) {
	entries, err := o.store.ReadDir(ctx, dir.Object.ID)
	slices.SortFunc(entries, func(a, b core.Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries, err
}

// Cat copies a file of the backup to w.
func (o *Open) Cat(ctx context.Context, p string, w io.Writer) (err error) {
	entry, err := o.Lookup(ctx, p)
	if err != nil {
		return err
	}
	if entry.Type == core.TypeDir {
		return &core.Error{Code: core.CodeUsage, Op: "read " + p, Message: "it is a folder", Hint: "backstay ls lists it; backstay restore --path takes it out"}
	}
	r, err := o.store.Open(ctx, entry.Object.ID)
	if err != nil {
		return fmt.Errorf("read %s: %w", p, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if _, err := io.Copy(w, r); err != nil {
		return fmt.Errorf("read %s: %w", p, err)
	}
	return nil
}

// source makes a backup a source for package load. Each folder is read once:
// a database may have thousands of tables, and a table thousands of chunks.
type source struct {
	o    *Open
	mu   sync.Mutex
	dirs map[string]map[string]core.Entry // folder → name → entry
}

// NewSource returns the files of an opened backup for package load. Safe for
// concurrent use.
func NewSource(o *Open) *source { return &source{o: o, dirs: map[string]map[string]core.Entry{}} }

func (s *source) Open(ctx context.Context, p string) (io.ReadCloser, error) {
	entry, err := s.lookup(ctx, p)
	if err != nil {
		return nil, err
	}
	return s.o.store.Open(ctx, entry.Object.ID)
}

func (s *source) lookup(ctx context.Context, p string) (core.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lookupLocked(ctx, p)
}

func (s *source) lookupLocked(ctx context.Context, p string) (core.Entry, error) {
	if p == "." {
		return s.o.root, nil
	}
	dir, name := path.Dir(p), path.Base(p)
	names, known := s.dirs[dir]
	if !known {
		folder, err := s.lookupLocked(ctx, dir)
		if err != nil {
			return core.Entry{}, err
		}
		entries, err := s.o.store.ReadDir(ctx, folder.Object.ID)
		if err != nil {
			return core.Entry{}, fmt.Errorf("read %s: %w", dir, err)
		}
		names = make(map[string]core.Entry, len(entries))
		for _, e := range entries {
			names[e.Name] = e
		}
		s.dirs[dir] = names
	}
	entry, ok := names[name]
	if !ok {
		return core.Entry{}, damaged("read "+p, "the index names it and it is not there", nil)
	}
	return entry, nil
}

// Delete removes a backup. A pinned one is refused.
func (e *Engine) Delete(ctx context.Context, rec repository.Record) error {
	if rec.Pinned {
		return &core.Error{
			Code: core.CodeUsage, Op: "delete backup " + rec.ID, Message: "it is pinned",
			Hint: "backstay unpin " + rec.ID + " first",
		}
	}
	if err := e.Store.Delete(ctx, rec.ID); err != nil {
		return err
	}
	if err := e.forgetLast(rec.App, rec.ID); err != nil {
		e.Log.Warn("the next backup will miss the deleted one", "err", err)
	}
	return nil
}

// Pin keeps a backup from retention and from Delete, or lets go of it.
func (e *Engine) Pin(ctx context.Context, rec repository.Record, pin bool) error {
	return e.Store.Mark(ctx, rec.ID, repository.Mark{Pinned: &pin})
}
