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
	Damaged     []Damaged `json:"damaged"`      // found by this run, the first maxDamaged
	DamagedAll  int64     `json:"damaged_all"`  // how many those are
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

// Plan says how much a run reads.
type Plan struct {
	Share float64 // of the repository's bytes and of its objects; above 0, at most 1
	// Within is in which time every object is read, and Every how often this is
	// run: what would be late otherwise, as runs were left out, is read beside the
	// share. 0: the share alone.
	Within, Every time.Duration
}

// readers read at the same time.
const readers = 4

// saveEvery is after how many objects what was read is remembered.
const saveEvery = 500

// Run reads the part of the repository that was not read for the longest time.
// With an error it returns what it found until then; what was read is
// remembered all the same.
func Run(ctx context.Context, e *engine.Engine, plan Plan) (_ *Report, err error) {
	began := e.Clock.Now()
	store, err := open(e.StateDir, e.Repository, began)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.close()) }()
	r := &run{e: e, store: store, report: &Report{Damaged: []Damaged{}, Begun: store.fresh}, damaged: map[int]*Damaged{}}
	all, err := e.List(ctx, "")
	if core.CodeOf(err) == core.CodeDamage {
		r.report.Unlisted, err = err.Error(), nil
	}
	if err != nil {
		return nil, err
	}
	e.Progress.Stage("look for what there is to read", 0)
	if err := r.learn(ctx, all); err != nil {
		return nil, err
	}
	due := r.choose(plan, began)
	e.Progress.Stage("read back", due)
	err = r.read(ctx, all)
	if ctx.Err() == nil { // damage that was found is told also when the rest could not be read
		err = errors.Join(err, r.conclude(ctx, all))
	}
	r.report.DurationMS = e.Clock.Now().Sub(began).Milliseconds()
	return r.report, err
}

type run struct {
	e      *engine.Engine
	store  *record
	report *Report
	due    []bool // to be read by this run, by the object's place in the record

	mu      sync.Mutex
	damaged map[int]*Damaged
	order   []int // of damaged
}

// learn notes what is there, and forgets what is not any more.
func (r *run) learn(ctx context.Context, all []repository.Record) error {
	now, known := r.e.Clock.Now(), len(r.store.objects)
	w := walk{e: r.e, store: r.store, ctx: ctx, damage: r.damage}
	w.visit = func(f found) error {
		size := f.entry.Object.Size
		if f.entry.Type == core.TypeDir {
			size = 0 // what is below it counts by itself
		}
		if o := &r.store.objects[f.at]; !o.there {
			o.there, o.size = true, size
			r.report.Objects++
			r.report.Bytes += size
		}
		return ctx.Err()
	}
	w.unknown = func(id core.ObjectID) int { return r.store.see(keyOf(id), now) }
	if err := w.all(all); err != nil {
		return err
	}
	if r.report.Unlisted == "" { // else it is not known what is gone
		r.store.forget()
	}
	r.due = make([]bool, len(r.store.objects))
	if len(r.store.objects) == known && !r.store.fresh {
		return nil
	}
	return r.store.rewrite()
}

// choose decides what is read now, and returns how many bytes that are: what was
// not read for the longest time, by number and bytes: many small files take their
// time too.
func (r *run) choose(plan Plan, now time.Time) (bytes int64) {
	order := make([]uint32, 0, len(r.store.objects))
	for i, o := range r.store.objects {
		if o.there {
			order = append(order, uint32(i))
		}
	}
	since := func(i uint32) uint32 { return r.store.objects[i].since() }
	slices.SortFunc(order, func(i, j uint32) int {
		a, b := r.store.objects[i], r.store.objects[j] // in the same second, what was never read comes first
		return cmp.Or(cmp.Compare(a.since(), b.since()), cmp.Compare(a.last, b.last), cmp.Compare(a.key, b.key))
	})
	weight := func(i uint32) float64 {
		return 1/float64(r.report.Objects) + float64(r.store.objects[i].size)/float64(max(r.report.Bytes, 1))
	}
	const whole = 2 // what all weigh together
	budget := plan.Share * whole
	if plan.Within > 0 && plan.Every > 0 {
		// Each object has so many runs left, this one too, and all that come before
		// it in the order have no more.
		sum := 0.0
		for _, i := range order {
			sum += weight(i)
			left := plan.Within - now.Sub(time.Unix(int64(since(i)), 0))
			budget = max(budget, sum/max(1, float64((left+plan.Every*3/2)/plan.Every)))
		}
	}
	const rounding = 1e-9
	for _, i := range order {
		if budget < rounding {
			break
		}
		budget -= weight(i)
		r.due[i] = true
		bytes += r.store.objects[i].size
	}
	return bytes
}

// read reads what is due.
func (r *run) read(ctx context.Context, all []repository.Record) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	w := walk{e: r.e, store: r.store, ctx: gctx, damage: r.damage}
	w.visit = func(f found) error {
		if gctx.Err() != nil {
			return gctx.Err()
		}
		if !r.due[f.at] {
			return nil
		}
		r.due[f.at] = false // it may be in many backups
		if f.entry.Type == core.TypeDir {
			return r.done(f.at, 0) // walking reads it
		}
		g.Go(func() error { return r.check(gctx, f) })
		return nil
	}
	err := w.all(all)
	// The readers' error comes first: a walk that they ended is only cancelled.
	if gerr := g.Wait(); gerr != nil {
		err = gerr
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(err, r.store.save())
}

func (r *run) check(ctx context.Context, f found) error {
	r.e.Progress.Item(f.path)
	n, err := r.e.CheckObject(ctx, f.entry, f.chunk)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case core.CodeOf(err) == core.CodeDamage:
		r.damage(f.at, f.entry.Object.ID, err.Error())
	case err != nil:
		return fmt.Errorf("read %s of backup %s: %w", f.path, f.rec.ID, err)
	}
	return r.done(f.at, n)
}

// done remembers that an object was read. One that is damaged was not: only when
// that was told, the others have their turn.
func (r *run) done(at int, n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.ReadObjects++
	r.report.ReadBytes += n
	if !r.store.objects[at].damaged {
		r.store.read(at, r.e.Clock.Now())
	}
	if r.report.ReadObjects%saveEvery == 0 {
		return r.store.save()
	}
	return nil
}

// maxDamaged and maxPlaces bound what is named: of a repository that is all gone
// that would be all.
const (
	maxDamaged = 1000
	maxPlaces  = 100
)

func (r *run) damage(at int, id core.ObjectID, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o := &r.store.objects[at]; o.damaged {
		return // the first thing that is wrong with it will do
	} else {
		o.damaged = true
	}
	if r.report.DamagedAll++; len(r.order) < maxDamaged {
		r.damaged[at] = &Damaged{Object: string(id), Message: message, In: []Place{}}
		r.order = append(r.order, at)
	}
}

// conclude names the backups that have what is damaged, and remembers how far
// the reading is.
func (r *run) conclude(ctx context.Context, all []repository.Record) error {
	if r.report.DamagedAll > 0 {
		if err := r.name(ctx, all); err != nil {
			return err
		}
	}
	oldest, unread := r.store.oldest()
	r.report.Oldest, r.report.Unread = oldest, unread
	return r.store.finish(Summary{At: r.e.Clock.Now(), Oldest: oldest, Unread: unread, Objects: r.report.Objects, Bytes: r.report.Bytes})
}

// name says where what is damaged is.
func (r *run) name(ctx context.Context, all []repository.Record) error {
	marked := map[string]bool{}
	w := walk{e: r.e, store: r.store, ctx: ctx, again: true, damage: r.damage}
	w.visit = func(f found) error {
		if !r.store.objects[f.at].damaged {
			return ctx.Err()
		}
		if !marked[f.rec.ID] {
			marked[f.rec.ID] = true
			r.e.NoteDamage(ctx, f.rec.ID)
		}
		if d := r.damaged[f.at]; d != nil && len(d.In) < maxPlaces {
			d.In = append(d.In, Place{Backup: f.rec.ID, App: f.rec.App, Path: cmp.Or(f.path, "/"), Table: f.table})
		}
		return ctx.Err()
	}
	if err := w.all(all); err != nil {
		return err
	}
	for at := range r.store.objects {
		if r.store.objects[at].damaged {
			r.store.read(at, r.e.Clock.Now())
		}
	}
	for _, at := range r.order {
		r.report.Damaged = append(r.report.Damaged, *r.damaged[at])
	}
	slices.SortStableFunc(r.report.Damaged, func(a, b Damaged) int { return strings.Compare(pathOf(a), pathOf(b)) })
	return nil
}

func pathOf(d Damaged) string {
	if len(d.In) == 0 {
		return ""
	}
	return d.In[0].Path
}
