package kopia_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/kopia"
	"github.com/backstay/backstay/internal/repository/repositorytest"
)

// scramble changes every byte of a blob.
func scramble(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for i := range data {
		data[i] ^= 0x55
	}
	return os.WriteFile(path, data, 0o600)
}

// house commits backup n: a folder in a folder with the files of seeds.
func house(t *testing.T, ss repository.Session, n int, seeds ...uint64) repository.Record {
	t.Helper()
	dir := func(entries ...core.Entry) core.Object {
		o, err := ss.WriteDir(t.Context(), entries)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	var files []core.Entry
	for _, seed := range seeds {
		o, err := repositorytest.Put(t.Context(), ss, "f", repositorytest.Random(seed, 200_000))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, core.Entry{Name: fmt.Sprint(seed), Type: core.TypeFile, Mode: 0o600, Object: o})
	}
	inner := dir(files...)
	outer := dir(core.Entry{Name: "inner", Type: core.TypeDir, Mode: 0o700, Object: inner})
	r, err := ss.Commit(t.Context(), dir(core.Entry{Name: "outer", Type: core.TypeDir, Mode: 0o700, Object: outer}), repositorytest.NewBackup(n))
	if err != nil {
		t.Fatalf("commit backup %d: %v", n, err)
	}
	return r
}

// lost reads a backup of house and counts what of it is damaged.
func lost(t *testing.T, s repository.Store, r repository.Record) (n int) {
	t.Helper()
	var below func(id core.ObjectID)
	below = func(id core.ObjectID) {
		entries, err := s.ReadDir(t.Context(), id)
		if err != nil {
			if core.CodeOf(err) != core.CodeDamage {
				t.Fatal(err)
			}
			n++
			return
		}
		for _, e := range entries {
			if e.Type == core.TypeDir {
				below(e.Object.ID)
				continue
			}
			data, err := repositorytest.Get(t.Context(), s, e.Object.ID)
			var seed uint64
			if _, serr := fmt.Sscan(e.Name, &seed); serr != nil {
				t.Fatal(serr)
			}
			switch {
			case core.CodeOf(err) == core.CodeDamage:
				n++
			case err != nil:
				t.Fatal(err)
			case string(data) != string(repositorytest.Random(seed, 200_000)):
				t.Errorf("backup %s: file %s came back with other bytes", r.ID, e.Name)
			}
		}
	}
	below(r.Root.ID)
	return n
}

// TestHeal damages each pack of a repository in each way. A session that heals
// writes again what there is but for one file: the new backup is whole, of the
// old one that file at most is lost, and the repository can be maintained.
func TestHeal(t *testing.T) {
	days := newCalendar()
	pristine := createIn(t, days)
	s := mustOpen(t, pristine)
	ss, err := s.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ss.Abort()
	old := house(t, ss, 1, 1, 2, 3)
	mustClose(t, s)

	seen := map[string]int{}
	packs := append(blobs(t, folderOf(pristine), "p"), blobs(t, folderOf(pristine), "q")...)
	for _, path := range packs {
		rel, err := filepath.Rel(folderOf(pristine), path)
		if err != nil {
			t.Fatal(err)
		}
		for how, damage := range map[string]func(string) error{"deleted": os.Remove, "cut short": cutShort, "a byte changed": flipByte, "all bytes changed": scramble} {
			for _, again := range [][]uint64{{1, 2, 3}, {1, 2}} {
				t.Run(fmt.Sprint(how, " ", rel, " ", again), func(t *testing.T) {
					days := newCalendar()
					opts := newOptions(t).WithTime(days.Now)
					opts.Clock = days
					if err := os.CopyFS(folderOf(opts), os.DirFS(folderOf(pristine))); err != nil {
						t.Fatal(err)
					}
					if err := damage(filepath.Join(folderOf(opts), rel)); err != nil {
						t.Fatal(err)
					}
					days.add(25 * time.Hour)
					seen[rel[:1]+" "+healed(t, opts, days, old, again)]++
				})
			}
		}
	}
	t.Logf("seen: %v", seen)
	for _, want := range []string{"p healed", "q healed", "p one lost"} {
		if seen[want] == 0 {
			t.Errorf("no case was %q", want)
		}
	}
}

// healed heals a repository that may be damaged and says what came of it.
func healed(t *testing.T, opts kopia.Options, days *calendar, old repository.Record, again []uint64) string {
	t.Helper()
	s, err := kopia.Open(t.Context(), opts)
	if err != nil {
		return "cannot be opened" // the format or the index is what is damaged
	}
	defer mustClose(t, s)
	if _, err := s.List(t.Context()); err != nil {
		return "the list is damaged" // which no healing mends
	}
	before := lost(t, s, old)
	if before == 0 {
		return "whole" // what is damaged is of no backup: a log, a former index
	}
	ss, err := s.BeginHealing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ss.Abort()
	next := house(t, ss, 2, again...)
	if n := lost(t, s, next); n != 0 {
		t.Errorf("%d parts of the new backup are damaged", n)
	}
	after := lost(t, s, old)
	if after > before || after > 0 && len(again) == 3 || after == 0 && ss.Healed() == 0 {
		t.Errorf("damaged parts of the old backup: %d before, %d after, %d stored anew", before, after, ss.Healed())
	}
	if after > 0 {
		found := days.Now()
		if err := s.Mark(t.Context(), old.ID, repository.Mark{Damaged: &found}); err != nil {
			t.Fatal(err)
		}
	}
	// Where a folder is lost, no maintenance can know what is below it.
	_, err = s.ReadDir(t.Context(), innerOf(t, s, old))
	for range 4 {
		days.add(25 * time.Hour)
		if _, merr := s.Maintain(t.Context()); (merr != nil) != (err != nil) {
			t.Errorf("maintain: %v; the inner folder: %v", merr, err)
		}
	}
	if n := lost(t, s, next); n != 0 {
		t.Errorf("%d parts of the new backup are damaged after maintenance", n)
	}
	if n := lost(t, s, old); n > after {
		t.Errorf("%d parts of the old backup are damaged after maintenance, %d before", n, after)
	}
	if after == 0 {
		return "healed"
	}
	return "one lost"
}

// TestMaintainAfterHealing loses a file that nothing writes again, beside one
// that is: the loss must not keep the repository from being maintained.
func TestMaintainAfterHealing(t *testing.T) {
	days := newCalendar()
	opts := createIn(t, days)
	s := mustOpen(t, opts)
	defer mustClose(t, s)
	old, err := storeParts(t.Context(), s, 1, part{1, mega}, part{2, mega})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range blobs(t, folderOf(opts), "p") {
		if err := scramble(p); err != nil {
			t.Fatal(err)
		}
	}
	ss, err := s.BeginHealing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ss.Abort()
	next, err := commitParts(t.Context(), ss, 2, part{1, mega})
	if err != nil {
		t.Fatal(err)
	}
	found := days.Now()
	if err := s.Mark(t.Context(), old.ID, repository.Mark{Damaged: &found}); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		days.add(25 * time.Hour)
		mustMaintain(t, s)
	}
	wantParts(t, s, next, part{1, mega})
	entries, err := s.ReadDir(t.Context(), old.Root.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repositorytest.Get(t.Context(), s, entries[0].Object.ID); err != nil {
		t.Errorf("what the old backup shares with the new one: %v", err)
	}
	_, err = repositorytest.Get(t.Context(), s, entries[1].Object.ID)
	wantError(t, err, core.CodeDamage)
}

// TestHealingTouchesNothingThatIsOnlyAway has the way to a pack fail, not the
// pack: a session that heals must stop, and leave it as it is.
func TestHealingTouchesNothingThatIsOnlyAway(t *testing.T) {
	opts := create(t)
	s := mustOpen(t, opts)
	defer mustClose(t, s)
	mustStore(t, s, 1)
	packs := blobs(t, folderOf(opts), "p")
	for _, p := range packs { // a folder gives an error to whoever reads it as a file
		if err := errors.Join(os.Rename(p, p+".away"), os.Mkdir(p, 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	ss, err := s.BeginHealing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repositorytest.Put(t.Context(), ss, "f", contentOf(1)); err == nil || ss.Healed() != 0 {
		t.Errorf("%v, %d parts were stored anew", err, ss.Healed())
	}
	ss.Abort()
	for _, p := range packs {
		if err := errors.Join(os.Remove(p), os.Rename(p+".away", p)); err != nil {
			t.Fatal(err)
		}
	}
	ss, err = s.BeginHealing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ss.Abort()
	if _, err := repositorytest.Put(t.Context(), ss, "f", contentOf(1)); err != nil || ss.Healed() != 0 {
		t.Errorf("%v, %d parts were stored anew", err, ss.Healed())
	}
}

// innerOf is the inner folder of a backup of house, or the one above it that
// cannot be read.
func innerOf(t *testing.T, s repository.Store, r repository.Record) core.ObjectID {
	t.Helper()
	id := r.Root.ID
	for range 2 {
		entries, err := s.ReadDir(t.Context(), id)
		if err != nil {
			return id
		}
		id = entries[0].Object.ID
	}
	return id
}
