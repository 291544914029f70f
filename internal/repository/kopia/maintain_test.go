package kopia_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/kopia"
	"github.com/backstay/backstay/internal/repository/repositorytest"
)

// calendar is a clock that tests move. It goes on a little with each look, as
// kopia tells what happened before what by it.
type calendar struct {
	mu  sync.Mutex
	now time.Time
}

func newCalendar() *calendar { return &calendar{now: time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)} }

func (c *calendar) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Millisecond)
	return c.now
}

func (c *calendar) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// createIn makes a repository that lives in the calendar's time.
func createIn(t testing.TB, days *calendar) kopia.Options {
	t.Helper()
	opts := newOptions(t).WithTime(days.Now)
	opts.Clock = days
	if err := kopia.Create(t.Context(), opts); err != nil {
		t.Fatalf("create repository: %v", err)
	}
	return opts
}

// part is a file of a backup: some random bytes.
type part struct {
	seed uint64
	size int
}

// storeParts commits backup n of some files, in the order given.
func storeParts(ctx context.Context, s repository.Store, n int, parts ...part) (repository.Record, error) {
	ss, err := s.Begin(ctx)
	if err != nil {
		return repository.Record{}, err
	}
	defer ss.Abort()
	return commitParts(ctx, ss, n, parts...)
}

func commitParts(ctx context.Context, ss repository.Session, n int, parts ...part) (repository.Record, error) {
	var entries []core.Entry
	for i, p := range parts {
		o, err := repositorytest.Put(ctx, ss, "part", repositorytest.Random(p.seed, p.size))
		if err != nil {
			return repository.Record{}, err
		}
		entries = append(entries, core.Entry{Name: fmt.Sprintf("%02d", i), Type: core.TypeFile, Mode: 0o600, Object: o})
	}
	root, err := ss.WriteDir(ctx, entries)
	if err != nil {
		return repository.Record{}, err
	}
	return ss.Commit(ctx, root, repositorytest.NewBackup(n))
}

// wantParts reads a backup and compares every byte.
func wantParts(t *testing.T, s repository.Store, r repository.Record, parts ...part) {
	t.Helper()
	entries, err := s.ReadDir(t.Context(), r.Root.ID)
	if err != nil || len(entries) != len(parts) {
		t.Errorf("backup %s: %d files, %v; want %d", r.ID, len(entries), err, len(parts))
		return
	}
	for i, p := range parts {
		data, err := repositorytest.Get(t.Context(), s, entries[i].Object.ID)
		if err != nil || string(data) != string(repositorytest.Random(p.seed, p.size)) {
			t.Errorf("backup %s: file %d came back with other bytes, %v", r.ID, i, err)
		}
	}
}

func mustMaintain(t *testing.T, s repository.Store) repository.Maintained {
	t.Helper()
	m, err := s.Maintain(t.Context())
	if err != nil {
		t.Fatalf("maintain: %v", err)
	}
	return m
}

func mustSpace(t *testing.T, s repository.Store) core.Space {
	t.Helper()
	space, err := s.Space(t.Context())
	if err != nil {
		t.Fatalf("space: %v", err)
	}
	return space
}

// onDisk counts the bytes of a repository's blobs by itself.
func onDisk(t *testing.T, opts kopia.Options) (total int64) {
	t.Helper()
	for _, path := range blobs(t, folderOf(opts), "") {
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		total += fi.Size()
	}
	return total
}

const mega = 1 << 20

// TestSpaceComesBack deletes backups and maintains the repository every day.
func TestSpaceComesBack(t *testing.T) {
	t.Parallel()
	days := newCalendar()
	opts := createIn(t, days)
	s := mustOpen(t, opts)
	defer mustClose(t, s)
	backup := func(n int, parts ...part) repository.Record {
		t.Helper()
		r, err := storeParts(t.Context(), s, n, parts...)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	shared, alone, most := part{1, mega}, part{2, 16 * mega}, part{3, 16 * mega}
	kept := backup(1, shared)
	first := backup(2, shared, alone)        // its pack is its own
	second := backup(3, part{4, mega}, most) // a ninth of its pack will be used by the next
	fourth := backup(4, part{4, mega})
	days.add(30 * time.Hour) // backups are a little older when they are deleted
	for _, r := range []repository.Record{first, second} {
		if err := s.Delete(t.Context(), r.ID); err != nil {
			t.Fatal(err)
		}
	}
	start := onDisk(t, opts)
	if start < 16*mega {
		t.Fatalf("the repository has only %d bytes", start)
	}
	after := map[int]int64{}
	var daily []repository.Record
	for day := 1; day <= 8; day++ {
		days.add(24*time.Hour - time.Second) // a daily call is never quite a day after the last
		daily = append(daily, backup(100+day, shared, part{uint64(100 + len(daily)), 50_000}))
		before := onDisk(t, opts)
		m := mustMaintain(t, s)
		after[day] = onDisk(t, opts)
		if !m.Full || m.Freed() != before-after[day] {
			t.Errorf("day %d: %+v freed %d, but %d bytes went", day, m, m.Freed(), before-after[day])
		}
		if again := mustMaintain(t, s); again.Full {
			t.Errorf("day %d: the second call of the day is full again: %+v", day, again)
		}
		space := mustSpace(t, s)
		if space.Used != onDisk(t, opts) || space.Maintained == nil || !space.Maintained.Equal(m.Ended) || !space.Attempted.After(*space.Maintained) {
			t.Errorf("day %d: %+v after %+v with %d bytes on the disk", day, space, m, onDisk(t, opts))
		}
		t.Logf("day %d: %d bytes, %+v", day, after[day], m)
	}
	// The documentation of Maintain says when.
	if after[1] < start {
		t.Errorf("%d bytes of %d after the first call: it freed something, which is not safe", after[1], start)
	}
	if want := start - 15*mega; after[4] > want {
		t.Errorf("%d bytes after four days, want under %d: the pack that nothing uses is still there", after[4], want)
	}
	if want := int64(5 * mega); after[6] > want {
		t.Errorf("%d bytes after six days, want under %d: the pack that little uses is still there", after[6], want)
	}
	other := mustOpen(t, opts)
	defer mustClose(t, other)
	for _, s := range []repository.Store{s, other} {
		wantParts(t, s, kept, shared)
		wantParts(t, s, fourth, part{4, mega})
		for i, r := range daily {
			wantParts(t, s, r, shared, part{uint64(100 + i), 50_000})
		}
	}
}

// TestBackupsDuringMaintenance stores whole backups in the middle of every step
// of maintenance, of data that it is about to remove, and has others under way
// all the time. What was committed must stay whole, whatever maintenance does
// then and later.
func TestBackupsDuringMaintenance(t *testing.T) {
	t.Parallel()
	days := newCalendar()
	opts := createIn(t, days)
	s, writer := mustOpen(t, opts), mustOpen(t, opts)
	defer mustClose(t, s)
	defer mustClose(t, writer)
	type backup struct {
		record repository.Record
		parts  []part
	}
	var committed []backup
	n, refused := 0, 0
	next := func(what ...part) (int, []part) {
		n++
		return n, append(what, part{uint64(1000 + n), 2000})
	}
	// keep enters a backup that was committed; one that learns in time that it
	// lacks something is none.
	keep := func(r repository.Record, parts []part, err error) {
		t.Helper()
		switch {
		case err == nil:
			committed = append(committed, backup{r, parts})
		case core.CodeOf(err) == core.CodeFailed && core.HintOf(err) == "run the backup again: it will store that data anew":
			refused++
		default:
			t.Errorf("backup during maintenance: %v", err)
		}
	}
	during := 0
	var mu sync.Mutex // packs are removed by many at once
	steps := map[string]int{}
	s.OnMaintenance(func(ctx context.Context, path string, remove bool) error {
		mu.Lock()
		defer mu.Unlock()
		rel, err := filepath.Rel(folderOf(opts), path)
		if err != nil {
			return err
		}
		// The first letter tells packs from indexes from kopia's schedule,
		// which each task writes at its end. A few of each will do: each
		// backup leaves something for the next day to remove.
		step := fmt.Sprintf("%.1s %t", rel, remove)
		if steps[step]++; steps[step] > 1 && (rel[0] != 'k' || steps[step]%2 == 0) {
			return nil
		}
		// What was deleted one to six days ago is in every state.
		n, parts := next(part{uint64(during % 6), 100_000}, part{uint64(during * 5 % 6), 100_000})
		during++
		r, err := storeParts(context.WithoutCancel(ctx), writer, n, parts...)
		keep(r, parts, err)
		return nil
	})
	for day := range 7 {
		// Those of the hours before: they are about what will be deleted.
		old := uint64(day % 6)
		n, parts := next(part{old, 100_000})
		r, err := storeParts(t.Context(), s, n, parts...)
		if err != nil {
			t.Fatal(err)
		}
		// One that is under way until after the maintenance.
		long, err := writer.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer long.Abort()
		if _, err := repositorytest.Put(t.Context(), long, "begun early", repositorytest.Random(old, 100_000)); err != nil {
			t.Fatal(err)
		}
		days.add(23 * time.Hour)
		if err := s.Delete(t.Context(), r.ID); err != nil {
			t.Fatal(err)
		}
		// All but the newest few go, so that nothing keeps their data.
		for len(committed) > 8 {
			if err := s.Delete(t.Context(), committed[0].record.ID); err != nil {
				t.Fatal(err)
			}
			committed = committed[1:]
		}
		clear(steps)
		m := mustMaintain(t, s)
		if !m.Full {
			t.Errorf("day %d: maintenance was not full", day)
		}
		n, parts = next(part{old, 100_000}, part{old + 1, 100_000})
		r, err = commitParts(t.Context(), long, n, parts...)
		keep(r, parts, err)
		for _, b := range committed {
			wantParts(t, s, b.record, b.parts...)
		}
		if t.Failed() {
			t.Fatalf("day %d", day)
		}
	}
	s.OnMaintenance(func(context.Context, string, bool) error { return nil })
	for range 3 { // what was wrongly taken for unused would go now
		days.add(25 * time.Hour)
		mustMaintain(t, s)
	}
	fresh := mustOpen(t, opts)
	defer mustClose(t, fresh)
	records, err := fresh.List(t.Context())
	if err != nil || len(records) != len(committed) {
		t.Errorf("%d backups, %v; want %d", len(records), err, len(committed))
	}
	for _, b := range committed {
		wantParts(t, fresh, b.record, b.parts...)
	}
	t.Logf("%d backups in the middle, %d told to run again", during, refused)
	if during < 40 || refused > during/2 {
		t.Errorf("%d backups in the middle, of which %d were told to run again", during, refused)
	}
}
