// Package coverage reads back a repository a part at a time, so that every object
// is read in a stated time however large it is. It is for the verify command. It
// promises that objects are read in the order in which they were not read for
// the longest time, that what was read is remembered as it goes, so that a run
// that is cut short is gone on with, and that damage is named with every backup
// that has it.
package coverage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/repository"
)

// Report says what a run read.
type Report struct {
	Objects     int64     `json:"objects"`      // that there are
	Bytes       int64     `json:"bytes"`        // in them
	ReadObjects int64     `json:"read_objects"` // by this run
	ReadBytes   int64     `json:"read_bytes"`   // by this run
	Unread      int64     `json:"unread"`       // that were never read
	Oldest      time.Time `json:"oldest"`       // since when some object was not read; of one that never was, when it was first seen
	Damaged     []Damaged `json:"damaged"`      // found by this run
	Begun       bool      `json:"begun_anew"`   // what was read before is not known: it is the first run, or the record was lost
	Unlisted    string    `json:"unlisted,omitempty"`
	DurationMS  int64     `json:"duration_ms"`
}

// Damaged is an object that cannot be read as it was written.
type Damaged struct {
	Object  string  `json:"object"` // its id in the repository
	Message string  `json:"message"`
	In      []Place `json:"in"` // every backup that has it
}

// Place is where a backup has an object.
type Place struct {
	Backup string `json:"backup"`
	App    string `json:"app"`
	Path   string `json:"path"`
	Table  string `json:"table,omitempty"`
}

// readers read at the same time.
const readers = 4

// saveEvery is after how many objects what was read is remembered.
const saveEvery = 500

// Run reads share (above 0, at most 1) of the repository's bytes.
func Run(ctx context.Context, e *engine.Engine, share float64) (_ *Report, err error) {
	began := e.Clock.Now()
	store, err := open(e.StateDir, e.Repository)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.close()) }()
	r := &run{e: e, store: store, report: &Report{Damaged: []Damaged{}, Begun: store.fresh}, sizes: map[key]int64{}, due: map[key]bool{}, damaged: map[key]*Damaged{}}
	all, err := e.List(ctx, "")
	if core.CodeOf(err) == core.CodeDamage {
		r.report.Unlisted, err = err.Error(), nil
	}
	if err != nil {
		return nil, err
	}
	e.Progress.Stage("look for what there is to read", 0)
	if err := r.walk(ctx, all, true, r.learn); err != nil {
		return nil, err
	}
	r.choose(share)
	e.Progress.Stage("read back", r.dueBytes)
	err = r.read(ctx, all)
	if cerr := r.conclude(ctx, all); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	r.report.DurationMS = e.Clock.Now().Sub(began).Milliseconds()
	return r.report, nil
}

// key stands for an object: 64 bits of a hash of its id.
type key uint64

func keyOf(id core.ObjectID) key {
	h := fnv.New64a()
	_, _ = io.WriteString(h, string(id)) // it never fails
	return key(h.Sum64())
}

type run struct {
	e        *engine.Engine
	store    *record
	report   *Report
	sizes    map[key]int64
	due      map[key]bool // to be read by this run
	dueBytes int64

	mu      sync.Mutex
	damaged map[key]*Damaged
	order   []key // of damaged
}

// found is an object in a backup.
type found struct {
	path  string
	entry core.Entry
	table string
	chunk *core.Chunk // of rows; nil: another file, or a folder
	rec   repository.Record
}

// walk visits the objects of backups. once leaves out folders that were visited
// in another one: equal folders are one object, with equal objects below.
func (r *run) walk(ctx context.Context, all []repository.Record, once bool, visit func(context.Context, found) error) error {
	seen := map[key]bool{}
	for _, rec := range all {
		o, err := r.e.OpenBackup(ctx, rec)
		if err != nil {
			if core.CodeOf(err) != core.CodeDamage {
				return err
			}
			r.damage(rec.Root.ID, err.Error())
			continue
		}
		if o.IndexDamage != nil {
			r.damage(rec.Root.ID, o.IndexDamage.Error())
		}
		tables, chunks := names(o.Index)
		top := found{entry: core.Entry{Type: core.TypeDir, Object: rec.Root}, rec: rec}
		var below func(at found) error
		below = func(at found) error {
			if k := keyOf(at.entry.Object.ID); once {
				if seen[k] {
					return nil
				}
				seen[k] = true
			}
			if err := visit(ctx, at); err != nil {
				return err
			}
			entries, err := r.e.Store.ReadDir(ctx, at.entry.Object.ID)
			if core.CodeOf(err) == core.CodeDamage {
				r.damage(at.entry.Object.ID, "the folder cannot be read: "+err.Error())
				return nil
			}
			if err != nil {
				return err
			}
			for _, x := range entries {
				p := path.Join(at.path, x.Name)
				f := found{path: p, entry: x, table: tables[p], rec: rec}
				if c, ok := chunks[p]; ok {
					f.chunk = &c
				}
				if x.Type == core.TypeDir {
					err = below(f)
				} else {
					err = visit(ctx, f)
				}
				if err != nil {
					return err
				}
			}
			return nil
		}
		if err := below(top); err != nil {
			return err
		}
	}
	return nil
}

// names says which paths belong to which table, and which are rows.
func names(index core.DatabaseIndex) (tables map[string]string, chunks map[string]core.Chunk) {
	tables, chunks = map[string]string{}, map[string]core.Chunk{}
	for _, t := range index.Tables {
		tables[t.Schema] = t.Name
		for _, c := range t.Files() {
			tables[c.File], chunks[c.File] = t.Name, c
		}
	}
	return tables, chunks
}

// learn notes that an object is there.
func (r *run) learn(ctx context.Context, f found) error {
	k := keyOf(f.entry.Object.ID)
	size := f.entry.Object.Size
	if f.entry.Type == core.TypeDir {
		size = 0 // what is below it counts by itself
	}
	r.sizes[k] = size
	r.store.see(k, r.e.Clock.Now())
	return ctx.Err()
}

// choose decides what is read now: what was not read for the longest time.
func (r *run) choose(share float64) {
	type candidate struct {
		key  key
		last uint32
	}
	var all []candidate
	for k, size := range r.sizes {
		r.report.Objects++
		r.report.Bytes += size
		all = append(all, candidate{k, r.store.seen[k].last})
	}
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Or(cmp.Compare(a.last, b.last), cmp.Compare(a.key, b.key)) })
	// By bytes and by number: many small files take their time too.
	bytes, number := int64(share*float64(r.report.Bytes))+1, int(share*float64(len(all)))+1
	for i, c := range all {
		if r.dueBytes >= bytes && i >= number {
			break
		}
		r.due[c.key] = true
		r.dueBytes += r.sizes[c.key]
	}
}

// read reads what is due.
func (r *run) read(ctx context.Context, all []repository.Record) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	err := r.walk(ctx, all, true, func(_ context.Context, f found) error {
		if gctx.Err() != nil {
			return gctx.Err()
		}
		k := keyOf(f.entry.Object.ID)
		r.mu.Lock()
		due := r.due[k]
		delete(r.due, k) // it may be in many backups
		r.mu.Unlock()
		if !due {
			return nil
		}
		if f.entry.Type == core.TypeDir {
			return r.done(k, 0) // walking reads it
		}
		g.Go(func() error { return r.check(gctx, k, f) })
		return nil
	})
	if gerr := g.Wait(); gerr != nil {
		err = gerr
	}
	return errors.Join(err, r.store.save())
}

func (r *run) check(ctx context.Context, k key, f found) error {
	r.e.Progress.Item(f.path)
	n, err := r.e.CheckObject(ctx, f.entry, f.chunk)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case core.CodeOf(err) == core.CodeDamage:
		r.damage(f.entry.Object.ID, err.Error())
	case err != nil:
		return fmt.Errorf("read %s of backup %s: %w", f.path, f.rec.ID, err)
	}
	return r.done(k, n)
}

// done remembers that an object was read, also one that is damaged: that is
// told, and the others have their turn.
func (r *run) done(k key, n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.ReadObjects++
	r.report.ReadBytes += n
	r.store.read(k, r.e.Clock.Now())
	if r.report.ReadObjects%saveEvery == 0 {
		return r.store.save()
	}
	return nil
}

func (r *run) damage(id core.ObjectID, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := keyOf(id)
	if r.damaged[k] == nil {
		r.damaged[k] = &Damaged{Object: string(id), Message: message, In: []Place{}}
		r.order = append(r.order, k)
	}
}

// maxPlaces bounds how many places of one object are named.
const maxPlaces = 100

// conclude names the backups that have what is damaged, and remembers how far
// the reading is.
func (r *run) conclude(ctx context.Context, all []repository.Record) error {
	if len(r.damaged) > 0 && ctx.Err() == nil {
		marked := map[string]bool{}
		err := r.walk(ctx, all, false, func(_ context.Context, f found) error {
			d := r.damaged[keyOf(f.entry.Object.ID)]
			if d == nil {
				return nil
			}
			if !marked[f.rec.ID] {
				marked[f.rec.ID] = true
				r.e.NoteDamage(ctx, f.rec.ID)
			}
			if len(d.In) < maxPlaces {
				d.In = append(d.In, Place{Backup: f.rec.ID, App: f.rec.App, Path: cmp.Or(f.path, repository.ManifestName), Table: f.table})
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, rec := range all { // those that could not even be opened
			if d := r.damaged[keyOf(rec.Root.ID)]; d != nil && !marked[rec.ID] {
				r.e.NoteDamage(ctx, rec.ID)
				d.In = append(d.In, Place{Backup: rec.ID, App: rec.App, Path: repository.ManifestName})
			}
		}
		for _, k := range r.order {
			r.report.Damaged = append(r.report.Damaged, *r.damaged[k])
		}
		slices.SortStableFunc(r.report.Damaged, func(a, b Damaged) int { return strings.Compare(pathOf(a), pathOf(b)) })
	}
	if ctx.Err() == nil && r.report.Unlisted == "" {
		r.store.keepOnly(r.sizes)
	}
	oldest, unread := r.store.oldest()
	r.report.Oldest, r.report.Unread = oldest, unread
	return r.store.finish(Summary{At: r.e.Clock.Now(), Oldest: oldest, Unread: unread, Objects: r.report.Objects, Bytes: r.report.Bytes})
}

func pathOf(d Damaged) string {
	if len(d.In) == 0 {
		return ""
	}
	return d.In[0].Path
}
