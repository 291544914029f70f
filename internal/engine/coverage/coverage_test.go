package coverage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/faulty"
	"github.com/backstay/backstay/internal/repository/memory"
	"github.com/backstay/backstay/internal/repository/repositorytest"
)

const day = 24 * time.Hour

// calendar is a clock that the test moves.
type calendar struct{ now time.Time }

func (c *calendar) Now() time.Time { return c.now }

// world is a repository whose backups hold files of the test's own.
type world struct {
	*testing.T
	store  *memory.Store
	engine *engine.Engine
	clock  *calendar
	made   int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, store: memory.New(), clock: &calendar{time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)}}
	w.engine = enginetest.New(t, w.store)
	w.engine.Clock = w.clock
	return w
}

// backup makes one with a file of each size by name, in a folder.
func (w *world) backup(files map[string]int) repository.Record {
	w.Helper()
	ss, err := w.store.Begin(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	defer ss.Abort()
	var entries []core.Entry
	for name, size := range files {
		seed := uint64(0)
		for _, b := range []byte(name) {
			seed = seed*31 + uint64(b)
		}
		o, err := repositorytest.Put(w.Context(), ss, name, repositorytest.Random(seed, size))
		if err != nil {
			w.Fatal(err)
		}
		entries = append(entries, core.Entry{Name: name, Type: core.TypeFile, Mode: 0o600, Object: o})
	}
	w.made++
	b := repositorytest.NewBackup(w.made)
	b.Time = w.clock.now
	manifest, err := repositorytest.Put(w.Context(), ss, "manifest", fmt.Appendf(nil, `{"schema":%d,"id":%q,"app":%q}`, core.ManifestSchema, b.ID, b.App))
	if err != nil {
		w.Fatal(err)
	}
	dir, err := ss.WriteDir(w.Context(), entries)
	if err != nil {
		w.Fatal(err)
	}
	root, err := ss.WriteDir(w.Context(), []core.Entry{
		{Name: "files", Type: core.TypeDir, Mode: 0o700, Object: dir},
		{Name: repository.ManifestName, Type: core.TypeFile, Mode: 0o600, Object: manifest},
	})
	if err != nil {
		w.Fatal(err)
	}
	r, err := ss.Commit(w.Context(), root, b)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func (w *world) run(plan Plan) *Report {
	w.Helper()
	r, err := Run(w.Context(), w.engine, plan)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// object is the id of a file in a backup's folder.
func (w *world) object(r repository.Record, name string) core.ObjectID {
	w.Helper()
	for p, e := range enginetest.PathsOf(w.T, w.store, r) {
		if p == "files/"+name {
			return e.Object.ID
		}
	}
	w.Fatalf("no file %s", name)
	return ""
}

// TestEveryObjectInTime runs for three months, with backups that come and go and
// share most of what they have, and with days on which nothing runs: no object
// stays unread for longer than it may.
func TestEveryObjectInTime(t *testing.T) {
	w := newWorld(t)
	const within = 10 * day
	plan := Plan{Share: 0.1, Within: within, Every: day}
	random := rand.New(rand.NewPCG(1, 2))
	files := map[string]int{}
	for n := range 60 {
		files[fmt.Sprint("f", n)] = 1 + random.IntN(20_000)
	}
	var backups []repository.Record
	var largest, whole int64
	for n := range 90 {
		w.clock.now = w.clock.now.Add(day)
		for range random.IntN(12) { // up to a fifth is new each day
			files[fmt.Sprintf("f%d", random.IntN(60))] = 1 + random.IntN(20_000)
		}
		backups = append(backups, w.backup(files))
		for len(backups) > 5 {
			i := random.IntN(len(backups) - 1)
			if err := w.store.Delete(t.Context(), backups[i].ID); err != nil {
				t.Fatal(err)
			}
			backups = slices.Delete(backups, i, i+1)
		}
		if n > 30 && n < 34 || n == 50 { // the machine is off
			continue
		}
		r := w.run(plan)
		if age := w.clock.now.Sub(r.Oldest); age > within {
			t.Errorf("day %d: some object was not read for %v", n, age)
		}
		largest, whole = max(largest, r.ReadBytes), max(whole, r.Bytes)
	}
	if largest > whole*2/3 {
		t.Errorf("a run read %d of at most %d bytes", largest, whole)
	}
}

// TestNewOnesDoNotStarveOldOnes: as much as is read each day is new each day.
func TestNewOnesDoNotStarveOldOnes(t *testing.T) {
	w := newWorld(t)
	files := map[string]int{}
	for n := range 50 {
		files[fmt.Sprint("old", n)] = 1000
	}
	w.backup(files)
	for n := range 40 {
		w.clock.now = w.clock.now.Add(day)
		w.backup(map[string]int{fmt.Sprint("new", n): 10_000})
		r := w.run(Plan{Share: 0.1})
		if age := w.clock.now.Sub(r.Oldest); age > 11*day {
			t.Fatalf("day %d: some object was not read for %v", n, age)
		}
	}
}

// TestShares reads thirds: each object once, but for what rounds a share up.
func TestShares(t *testing.T) {
	w := newWorld(t)
	files := map[string]int{"empty": 0}
	for n := range 40 {
		files[fmt.Sprint(n)] = n * 100
	}
	w.backup(files)
	w.backup(files) // shares the folder; the manifest differs and so the root
	var read int64
	var r *Report
	for n := range 3 {
		w.clock.now = w.clock.now.Add(day)
		if r = w.run(Plan{Share: 1. / 3}); r.Begun != (n == 0) {
			t.Errorf("run %d: begun anew is %v", n, r.Begun)
		}
		if r.ReadObjects == 0 || r.ReadObjects > r.Objects/2 {
			t.Errorf("a third of %d objects are %d", r.Objects, r.ReadObjects)
		}
		read += r.ReadObjects
	}
	if r.Unread != 0 || read < r.Objects || read > r.Objects+3 || r.Objects != 41+1+3 {
		t.Errorf("read %d: %+v", read, r)
	}
	known, ok := Known(w.engine.StateDir, w.engine.Repository)
	if !ok || known.Oldest != r.Oldest || known.Objects != r.Objects || known.Unread != 0 || !known.At.Equal(w.clock.now) {
		t.Errorf("known is %+v", known)
	}
	if age := w.clock.now.Sub(known.Oldest); age != 2*day {
		t.Errorf("the oldest reading is %v ago", age)
	}
}

// TestSameSecond: runs that come at once go on with one another.
func TestSameSecond(t *testing.T) {
	w := newWorld(t)
	files := map[string]int{}
	for n := range 40 {
		files[fmt.Sprint(n)] = 100
	}
	w.backup(files)
	w.run(Plan{Share: 1})
	before := readOnes(t, w)
	for range 5 {
		w.run(Plan{Share: 0.2})
	}
	for k, at := range readOnes(t, w) {
		if at <= before[k] {
			t.Errorf("object %d was not read again", k)
		}
	}
}

// TestResumed ends a run after some objects, as a kill would: the next one goes
// on with the others, and reads none of them again.
func TestResumed(t *testing.T) {
	w := newWorld(t)
	files := map[string]int{}
	for n := range 3 * saveEvery {
		files[fmt.Sprint(n)] = 10
	}
	w.backup(files)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.engine.Progress = newEnding(2*saveEvery, cancel)
	_, err := Run(ctx, w.engine, Plan{Share: 1})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, ok := Known(w.engine.StateDir, w.engine.Repository); ok {
		t.Error("a run that was cut short left a summary")
	}
	w.engine.Progress = core.NoProgress{}
	before := readOnes(t, w)
	if len(before) < saveEvery || len(before) >= len(files) {
		t.Fatalf("%d of %d objects are remembered", len(before), len(files))
	}
	w.clock.now = w.clock.now.Add(day)
	share := 1 - float64(len(before))/float64(len(files)+3)
	r := w.run(Plan{Share: share})
	if r.Unread > 1 || r.Begun {
		t.Errorf("after that: %+v", r)
	}
	for k, at := range readOnes(t, w) {
		if was, ok := before[k]; ok && was != at {
			before[k] = 0
		}
	}
	again := 0
	for _, at := range before {
		if at == 0 {
			again++
		}
	}
	if again > 2 { // the share is by bytes too
		t.Errorf("%d objects were read again", again)
	}
}

// ending ends the work after some items.
type ending struct {
	core.NoProgress
	after  atomic.Int64
	cancel func()
}

func newEnding(after int64, cancel func()) *ending {
	e := &ending{cancel: cancel}
	e.after.Store(after)
	return e
}

func (e *ending) Item(string) {
	if e.after.Add(-1) == 0 {
		e.cancel()
	}
}

// readOnes is what the record says of objects that were read.
func readOnes(t *testing.T, w *world) map[key]uint32 {
	t.Helper()
	r, err := open(w.engine.StateDir, w.engine.Repository, w.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	read := map[key]uint32{}
	for _, o := range r.objects {
		if o.last > 0 {
			read[o.key] = o.last
		}
	}
	return read
}

// TestDamage is named with every backup that has it, once, and marked.
func TestDamage(t *testing.T) {
	w := newWorld(t)
	first := w.backup(map[string]int{"a": 100, "b": 200})
	second := w.backup(map[string]int{"a": 100, "c": 300})
	third := w.backup(map[string]int{"d": 100})
	w.store.Spoil(w.object(first, "a"))
	r := w.run(Plan{Share: 1})
	if len(r.Damaged) != 1 || r.DamagedAll != 1 || r.Damaged[0].Message == "" {
		t.Fatalf("%+v", r)
	}
	var in []string
	for _, p := range r.Damaged[0].In {
		in = append(in, p.Backup+" "+p.App+" "+p.Path)
	}
	want := []string{first.ID + " " + first.App + " files/a", second.ID + " " + second.App + " files/a"}
	if !slices.Equal(in, want) {
		t.Errorf("it is in %q, want %q", in, want)
	}
	for _, b := range []repository.Record{first, second, third} {
		rec := enginetest.Find(t, w.engine, b.ID)
		if (rec.Damaged != nil) != (b.ID != third.ID) {
			t.Errorf("backup %s: damaged %v", b.ID, rec.Damaged)
		}
	}
	// It was told; others have their turn before it is read again.
	w.clock.now = w.clock.now.Add(day)
	if r := w.run(Plan{Share: 0.01}); r.Unread != 0 {
		t.Errorf("%+v", r)
	}
}

// TestDamagedFoldersAndManifests hide what is below them, and nothing else.
func TestDamagedFoldersAndManifests(t *testing.T) {
	for _, what := range []string{"root", "folder", "manifest"} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			r := w.backup(map[string]int{"a": 100})
			other := w.backup(map[string]int{"b": 100})
			paths := enginetest.PathsOf(t, w.store, r)
			id := map[string]core.ObjectID{"root": r.Root.ID, "folder": paths["files"].Object.ID, "manifest": paths[repository.ManifestName].Object.ID}[what]
			hidden := map[string]int64{"root": 3, "folder": 1}[what]
			w.store.Spoil(id)
			for range 2 { // it is told each time: reading the folders is what finds it
				got := w.run(Plan{Share: 1})
				if len(got.Damaged) != 1 || got.Damaged[0].Object != string(id) || len(got.Damaged[0].In) != 1 || got.Damaged[0].In[0].Backup != r.ID {
					t.Errorf("%+v", got)
				}
				if got.Objects != 8-hidden {
					t.Errorf("%d objects", got.Objects)
				}
			}
			if enginetest.Find(t, w.engine, r.ID).Damaged == nil || enginetest.Find(t, w.engine, other.ID).Damaged != nil {
				t.Error("other backups are marked than those that are damaged")
			}
		})
	}
}

// TestDamageIsToldAfterAKill: what was found before a run was cut short is found
// again, not taken for read.
func TestDamageIsToldAfterAKill(t *testing.T) {
	w := newWorld(t)
	files := map[string]int{"a": 100}
	for n := range 50 {
		files[fmt.Sprint(n)] = 10
	}
	r := w.backup(files)
	w.store.Spoil(w.object(r, "a"))
	// The last read fails in another way than by damage.
	inner := w.engine.Store
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.engine.Progress = newEnding(51, cancel)
	if _, err := Run(ctx, w.engine, Plan{Share: 1}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	w.engine.Progress, w.engine.Store = core.NoProgress{}, inner
	w.clock.now = w.clock.now.Add(day)
	if got := w.run(Plan{Share: 0.2}); len(got.Damaged) != 1 {
		t.Errorf("%+v", got)
	}
}

// TestOtherErrors end the run; what is damaged is told with them.
func TestOtherErrors(t *testing.T) {
	w := newWorld(t)
	r := w.backup(map[string]int{"a": 100, "b": 200})
	w.store.Spoil(w.object(r, "a"))
	gone := errors.New("the network is gone")
	w.engine.Store = faulty.New(w.store, faulty.On(faulty.Read).Of(string(w.object(r, "b"))).Fail(gone))
	got, err := Run(t.Context(), w.engine, Plan{Share: 1})
	if !errors.Is(err, gone) || got == nil {
		t.Fatalf("%v, %+v", err, got)
	}
	w.engine.Store = w.store
	w.clock.now = w.clock.now.Add(day)
	if again := w.run(Plan{Share: 0.5}); len(got.Damaged)+len(again.Damaged) == 0 {
		t.Error("the damage was not told")
	}
}

// TestTwoAtOnce: the second is refused.
func TestTwoAtOnce(t *testing.T) {
	w := newWorld(t)
	r, err := open(w.engine.StateDir, w.engine.Repository, w.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Run(t.Context(), w.engine, Plan{Share: 1})
	enginetest.WantError(t, err, core.CodeLocked, "another run")
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	w.run(Plan{Share: 1})
}

// TestRecordDamaged: what is no record, or the tail of one, is left out; times of
// a clock that was ahead do not keep an object from being read.
func TestRecordDamaged(t *testing.T) {
	w := newWorld(t)
	w.backup(map[string]int{"a": 1, "b": 2})
	whole := w.run(Plan{Share: 1})
	path := files(w.engine.StateDir, w.engine.Repository)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ahead := slices.Clone(text)
	for at := len(header); at < len(ahead); at += entrySize {
		binary.BigEndian.PutUint32(ahead[at+12:], uint32(w.clock.now.AddDate(10, 0, 0).Unix()))
	}
	for name, tt := range map[string]struct {
		text   string
		begun  bool
		unread int64 // after one object was read
	}{
		"whole":       {string(text), false, 0},
		"cut short":   {string(text[:len(text)-3]), false, 1},
		"a tail":      {string(text) + "xyz", false, 0},
		"empty":       {"", true, whole.Objects - 1},
		"other bytes": {strings.Repeat("x", 500), true, whole.Objects - 1},
		"ahead":       {string(ahead), false, whole.Objects - 1},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			w := *w
			w.T = t
			w.clock = &calendar{w.clock.now.Add(day)}
			e := *w.engine
			e.Clock, w.engine = w.clock, &e
			r := w.run(Plan{Share: 1e-9}) // one object
			if r.Begun != tt.begun || r.ReadObjects != 1 || r.Unread != tt.unread {
				t.Errorf("%+v", r)
			}
			if r := w.run(Plan{Share: 1}); r.Unread != 0 || r.Oldest.Before(w.clock.now) || r.Oldest.After(w.clock.now.Add(time.Second)) {
				t.Errorf("then %+v", r)
			}
		})
	}
}

// TestForgotten: what is of no backup any more is forgotten, but not while the
// list of backups is not whole.
func TestForgotten(t *testing.T) {
	w := newWorld(t)
	first := w.backup(map[string]int{"a": 1, "b": 2})
	w.backup(map[string]int{"c": 1})
	w.run(Plan{Share: 1})
	w.store.Lose(first.ID)
	w.clock.now = w.clock.now.Add(40 * day)
	r := w.run(Plan{Share: 1})
	if r.Unlisted == "" || r.Objects != 4 || !r.Oldest.Equal(w.clock.now) || len(readOnes(t, w)) != 9 {
		t.Errorf("%d are remembered, %+v", len(readOnes(t, w)), r)
	}
	if err := w.store.Delete(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	if r := w.run(Plan{Share: 1}); r.Unlisted != "" || len(readOnes(t, w)) != 4 {
		t.Errorf("%d are remembered, %+v", len(readOnes(t, w)), r)
	}
}

// TestNothing: an empty repository is covered.
func TestNothing(t *testing.T) {
	w := newWorld(t)
	if r := w.run(Plan{Share: 1, Within: day, Every: time.Hour}); r.Objects != 0 || r.Unread != 0 || !r.Oldest.IsZero() {
		t.Errorf("%+v", r)
	}
}
