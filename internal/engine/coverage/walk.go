package coverage

import (
	"context"
	"path"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/repository"
)

// found is an object in a backup.
type found struct {
	at    int // its place in the record
	path  string
	entry core.Entry
	table string
	chunk *core.Chunk // of rows; nil: another file, or a folder
	rec   repository.Record
}

// walk visits the objects of backups, of folders once: equal folders are one
// object, with equal objects below.
type walk struct {
	e     *engine.Engine
	store *record
	ctx   context.Context
	// again visits folders of other backups again where something damaged is in
	// them.
	again  bool
	visit  func(found) error
	damage func(at int, id core.ObjectID, message string)
	// unknown finds a place in the record for an object; nil: what has none, as it
	// came meanwhile, is left out.
	unknown func(core.ObjectID) int

	passed []bool // folders that need no visit any more
}

func (w *walk) all(all []repository.Record) error {
	for _, rec := range all {
		if err := w.backup(rec); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) backup(rec repository.Record) error {
	top := found{entry: core.Entry{Type: core.TypeDir, Object: rec.Root}, rec: rec}
	var names names
	wrong := map[string]error{} // by path: what the store does not notice
	if at, ok := w.place(rec.Root.ID); ok && w.done(at) {
		return nil // another backup is equal
	}
	o, err := w.e.OpenBackup(w.ctx, rec)
	switch {
	case core.CodeOf(err) == core.CodeDamage: // what is whole in it can be read all the same
		wrong[repository.ManifestName] = err
	case err != nil:
		return err
	default:
		names = namesOf(o.Index)
		if o.IndexDamage != nil && o.Manifest.Database != nil {
			wrong[o.Manifest.Database.Index] = o.IndexDamage
		}
	}
	if _, err := w.folder(top, names, wrong); err != nil {
		return err
	}
	for _, err := range wrong { // it is not even there
		if at, ok := w.place(rec.Root.ID); ok {
			w.damage(at, rec.Root.ID, err.Error())
		}
	}
	return nil
}

// place is an object's in the record.
func (w *walk) place(id core.ObjectID) (at int, ok bool) {
	if w.unknown != nil {
		return w.unknown(id), true
	}
	n, ok := w.store.index[keyOf(id)]
	return int(n), ok
}

func (w *walk) done(at int) bool { return at < len(w.passed) && w.passed[at] }

// folder visits a folder and what is below it, and says for again whether
// something of it is damaged.
func (w *walk) folder(f found, names names, wrong map[string]error) (damaged bool, err error) {
	at, ok := w.place(f.entry.Object.ID)
	if !ok || w.done(at) {
		return false, nil
	}
	if f.at = at; len(w.passed) <= at {
		w.passed = append(w.passed, make([]bool, max(at+1-len(w.passed), len(w.store.objects)-len(w.passed)))...)
	}
	if err := w.visit(f); err != nil {
		return false, err
	}
	entries, err := w.e.Store.ReadDir(w.ctx, f.entry.Object.ID)
	if core.CodeOf(err) == core.CodeDamage {
		w.damage(at, f.entry.Object.ID, "the folder cannot be read: "+err.Error())
		w.passed[at] = !w.again
		return true, nil
	}
	if err != nil {
		return false, err
	}
	for _, x := range entries {
		below := found{path: path.Join(f.path, x.Name), entry: x, rec: f.rec}
		below.table, below.chunk = names.tables[below.path], names.chunks[below.path]
		var bad bool
		if x.Type == core.TypeDir {
			bad, err = w.folder(below, names, wrong)
		} else {
			bad, err = w.file(below, wrong[below.path])
			delete(wrong, below.path)
		}
		if err != nil {
			return damaged, err
		}
		damaged = damaged || bad
	}
	damaged = w.again && (damaged || w.store.objects[at].damaged)
	w.passed[at] = !damaged
	return damaged, nil
}

func (w *walk) file(f found, wrong error) (damaged bool, err error) {
	at, ok := w.place(f.entry.Object.ID)
	if !ok {
		return false, nil
	}
	if f.at = at; wrong != nil {
		w.damage(at, f.entry.Object.ID, wrong.Error())
	}
	if err := w.visit(f); err != nil {
		return false, err
	}
	return w.again && w.store.objects[at].damaged, nil
}

// names says which paths belong to which table, and which are rows.
type names struct {
	tables map[string]string
	chunks map[string]*core.Chunk
}

func namesOf(index core.DatabaseIndex) names {
	n := names{map[string]string{}, map[string]*core.Chunk{}}
	for _, t := range index.Tables {
		n.tables[t.Schema] = t.Name
		for _, c := range t.Files() {
			n.tables[c.File], n.chunks[c.File] = t.Name, &c
		}
	}
	return n
}
