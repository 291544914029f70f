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
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/repository"
)

// List returns the backups of an app, or of all when app is "", oldest first.
func (e *Engine) List(ctx context.Context, app string) ([]repository.Record, error) {
	all, err := e.Store.List(ctx)
	if err != nil || app == "" {
		return all, err
	}
	return slices.DeleteFunc(all, func(r repository.Record) bool { return r.App != app }), nil
}

// Find returns the backup that ref names: an id or a unique prefix of one,
// APP@latest, or APP@TIME, the newest at or before it.
func (e *Engine) Find(ctx context.Context, ref string) (repository.Record, error) {
	app, when, isApp := strings.Cut(ref, "@")
	if isApp {
		list, err := e.List(ctx, app)
		if err != nil {
			return repository.Record{}, err
		}
		return findByTime(list, app, when)
	}
	all, err := e.Store.List(ctx)
	if err != nil {
		return repository.Record{}, err
	}
	var found []repository.Record
	for _, r := range all {
		if r.ID == ref {
			return r, nil
		}
		if ref != "" && strings.HasPrefix(r.ID, ref) {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return repository.Record{}, &core.Error{
			Code: core.CodeNotFound, Op: "find backup", Message: fmt.Sprintf("there is no backup %q", ref),
			Hint: "backstay list shows all backups; APP@latest names the newest one of an app",
		}
	}
	ids := make([]string, len(found))
	for i, r := range found {
		ids[i] = r.ID
	}
	return repository.Record{}, &core.Error{
		Code: core.CodeAmbiguous, Op: "find backup", Message: fmt.Sprintf("%q could be any of %s", ref, strings.Join(ids, ", ")),
		Hint: "give more of the id",
	}
}

func findByTime(list []repository.Record, app, when string) (repository.Record, error) {
	if len(list) == 0 {
		return repository.Record{}, &core.Error{
			Code: core.CodeNotFound, Op: "find backup", Message: fmt.Sprintf("there is no backup of app %q", app),
			Hint: "backstay list shows all backups",
		}
	}
	if when == "latest" {
		return list[len(list)-1], nil
	}
	t, err := parseTime(when)
	if err != nil {
		return repository.Record{}, err
	}
	for _, r := range slices.Backward(list) {
		if !r.Time.After(t) {
			return r, nil
		}
	}
	return repository.Record{}, &core.Error{
		Code: core.CodeNotFound, Op: "find backup",
		Message: fmt.Sprintf("the oldest backup of %s is of %s, after %s", app, list[0].Time.Format(time.RFC3339), t.Format(time.RFC3339)),
		Hint:    "backstay list " + app + " shows them all",
	}
}

// parseTime reads RFC 3339, or a date with or without a time in local time. A
// date alone means its end.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	if t, err := time.ParseInLocation("2006-01-02", s, time.Local); err == nil {
		return t.AddDate(0, 0, 1).Add(-time.Nanosecond), nil
	}
	return time.Time{}, &core.Error{
		Code: core.CodeUsage, Op: "find backup", Message: fmt.Sprintf("%q is not a time", s),
		Hint: "write APP@latest, APP@2026-11-23, APP@2026-11-23T08:30 (local time) or APP@2026-11-23T08:30:00Z",
	}
}

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
	root     core.Entry
	store    core.TreeReader
}

// OpenBackup reads a backup's manifest and index and checks that they fit
// together.
func (e *Engine) OpenBackup(ctx context.Context, rec repository.Record) (*Open, error) {
	o, err := e.openManifest(ctx, rec)
	if err != nil {
		return nil, err
	}
	if err := e.readIndex(ctx, o); err != nil {
		return nil, err
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
	return files.Lookup(ctx, o.store, o.root, p)
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

func newSource(o *Open) *source { return &source{o: o, dirs: map[string]map[string]core.Entry{}} }

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
	return e.Store.Delete(ctx, rec.ID)
}

// same says whether two backups hold the same object at an entry.
func same(a, b core.Entry) bool {
	return a.Type == b.Type && a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID &&
		a.Object.Size == b.Object.Size && a.Object.ID == b.Object.ID && (a.Type == core.TypeDir || a.ModTime.Equal(b.ModTime))
}

// Change is a difference between two backups.
type Change struct {
	Kind   string `json:"kind"` // "added", "removed", "changed"
	Object string `json:"object"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// Diff says what is different in b as against a: tables with their rows, other
// objects of the database, and files.
func (e *Engine) Diff(ctx context.Context, a, b *Open) ([]Change, error) {
	changes := diffTables(a.Index.Tables, b.Index.Tables)
	objects, err := e.diffObjects(ctx, a, b)
	if err != nil {
		return nil, err
	}
	changes = append(changes, objects...)
	for _, c := range core.Components() {
		if c == core.ComponentDatabase || !slices.Contains(a.Manifest.Components, c) || !slices.Contains(b.Manifest.Components, c) {
			continue
		}
		left, err := a.Lookup(ctx, string(c))
		if err != nil {
			return nil, err
		}
		right, err := b.Lookup(ctx, string(c))
		if err != nil {
			return nil, err
		}
		more, err := e.diffDirs(ctx, string(c), left, right)
		if err != nil {
			return nil, err
		}
		changes = append(changes, more...)
	}
	return changes, nil
}

func diffTables(a, b []core.Table) []Change {
	var out []Change
	before := map[string]core.Table{}
	for _, t := range a {
		before[t.Name] = t
	}
	rows := func(t core.Table) string { return fmt.Sprintf("%d rows", t.Rows) }
	for _, t := range b {
		old, ok := before[t.Name]
		delete(before, t.Name)
		switch {
		case !ok:
			out = append(out, Change{Kind: "added", Object: "table " + t.Name, After: rows(t)})
		case old.Rows != t.Rows || old.Checksum != t.Checksum:
			out = append(out, Change{Kind: "changed", Object: "table " + t.Name, Before: rows(old), After: rows(t)})
		}
	}
	for _, t := range a {
		if _, gone := before[t.Name]; gone {
			out = append(out, Change{Kind: "removed", Object: "table " + t.Name, Before: rows(t)})
		}
	}
	slices.SortStableFunc(out, func(x, y Change) int { return strings.Compare(x.Object, y.Object) })
	return out
}

// diffObjects compares views, triggers and the like, and tables' definitions,
// by their statements.
func (e *Engine) diffObjects(ctx context.Context, a, b *Open) ([]Change, error) {
	list := func(o *Open) map[string]string {
		m := map[string]string{}
		for _, t := range o.Index.Tables {
			m["definition of table "+t.Name] = t.Schema
		}
		for _, s := range o.Index.Objects {
			m[s.Kind+" "+s.Name] = s.File
		}
		return m
	}
	left, right := list(a), list(b)
	var out []Change
	for name, file := range right {
		old, ok := left[name]
		if !ok {
			if !strings.HasPrefix(name, "definition of ") { // said with the table already
				out = append(out, Change{Kind: "added", Object: name})
			}
			continue
		}
		x, err := e.readPath(ctx, a, old)
		if err != nil {
			return nil, err
		}
		y, err := e.readPath(ctx, b, file)
		if err != nil {
			return nil, err
		}
		if !dump.SameDefinition(string(x), string(y)) {
			out = append(out, Change{Kind: "changed", Object: name})
		}
	}
	for name := range left {
		if _, ok := right[name]; !ok && !strings.HasPrefix(name, "definition of ") {
			out = append(out, Change{Kind: "removed", Object: name})
		}
	}
	slices.SortFunc(out, func(x, y Change) int { return strings.Compare(x.Object, y.Object) })
	return out, nil
}

// diffDirs compares two folders. Equal folders are one object and are not read.
func (e *Engine) diffDirs(ctx context.Context, at string, a, b core.Entry) ([]Change, error) {
	if a.Object.ID == b.Object.ID {
		return nil, nil
	}
	left, err := e.Store.ReadDir(ctx, a.Object.ID)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", at, err)
	}
	right, err := e.Store.ReadDir(ctx, b.Object.ID)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", at, err)
	}
	before := map[string]core.Entry{}
	for _, x := range left {
		before[x.Name] = x
	}
	size := func(x core.Entry) string {
		if x.Type == core.TypeDir {
			return fmt.Sprintf("%d files", x.Files)
		}
		return fmt.Sprintf("%d bytes", x.Object.Size)
	}
	var out []Change
	for _, y := range right {
		name := at + "/" + y.Name
		x, ok := before[y.Name]
		delete(before, y.Name)
		switch {
		case !ok:
			out = append(out, Change{Kind: "added", Object: name, After: size(y)})
		case x.Type == core.TypeDir && y.Type == core.TypeDir:
			if x.Mode != y.Mode || x.UID != y.UID || x.GID != y.GID {
				out = append(out, Change{Kind: "changed", Object: name, Before: "mode or owner"})
			}
			more, err := e.diffDirs(ctx, name, x, y)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		case !same(x, y):
			out = append(out, Change{Kind: "changed", Object: name, Before: size(x), After: size(y)})
		}
	}
	for _, x := range before {
		out = append(out, Change{Kind: "removed", Object: at + "/" + x.Name, Before: size(x)})
	}
	slices.SortFunc(out, func(p, q Change) int { return strings.Compare(p.Object, q.Object) })
	return out, nil
}

// Choose returns the backups that ref means: one backup, the newest of an app
// (or with all every one of it), or with "" the newest of each app (or all).
func (e *Engine) Choose(ctx context.Context, ref string, all bool) ([]repository.Record, error) {
	records, err := e.Store.List(ctx)
	if err != nil {
		return nil, err
	}
	newest := map[string]repository.Record{}
	var matching []repository.Record
	for _, r := range records {
		if ref == "" || r.App == ref {
			matching = append(matching, r)
			newest[r.App] = r
		}
	}
	if len(matching) == 0 && ref != "" {
		rec, err := e.Find(ctx, ref)
		return []repository.Record{rec}, err
	}
	if len(matching) == 0 {
		return nil, &core.Error{Code: core.CodeNotFound, Op: "choose backups", Message: "there is no backup yet", Hint: "backstay backup makes one"}
	}
	if all {
		return matching, nil
	}
	return slices.DeleteFunc(matching, func(r repository.Record) bool { return newest[r.App].ID != r.ID }), nil
}

// Pin keeps a backup from retention and from Delete, or lets go of it.
func (e *Engine) Pin(ctx context.Context, rec repository.Record, pin bool) error {
	return e.Store.Mark(ctx, rec.ID, repository.Mark{Pinned: &pin})
}
