package capture

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/treetest"
)

// saved sends a cache through its file.
func saved(t *testing.T, c *Cache) *Cache {
	t.Helper()
	path := t.TempDir() + "/cache"
	c.BackupID, c.Repository = "backup-1", "repository-1"
	treetest.OK(t, c.Save(path))
	got, err := LoadCache(path)
	treetest.OK(t, err)
	if got.BackupID != "backup-1" || got.Repository != "repository-1" || got.Len() != c.Len() {
		t.Fatalf("loaded %q %q with %d files, saved %d", got.BackupID, got.Repository, got.Len(), c.Len())
	}
	return got
}

func TestUnchangedFilesAreNotRead(t *testing.T) {
	root := t.TempDir() + "/tree"
	treetest.HostileTree(t, root)
	m := treetest.NewStore()
	first := capture1(t, m, Options{Clock: treetest.LaterClock{}}, treetest.AppSet(root))
	before := treetest.Stored(t, m, first.Entry)
	// Only links and extra.jsonl may be written again; a file that is opened
	// for reading calls Create.
	m.Forget()
	second := capture1(t, m, Options{Clock: treetest.LaterClock{}, Cache: saved(t, first.Cache)}, treetest.AppSet(root))
	for _, hint := range m.Created() {
		if e := before[hint]; e.Type != core.TypeSymlink && hint != "files.extra.jsonl" {
			t.Errorf("%q was read again", hint)
		}
	}
	after := treetest.Stored(t, m, second.Entry)
	for _, all := range []map[string]core.Entry{before, after} {
		for path, e := range all {
			if e.Type == core.TypeDir { // folders are stored anew and may have another id
				e.Object.ID = ""
				all[path] = e
			}
		}
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Error(diff)
	}
	firstExtra, err := files.ReadExtra(t.Context(), m, first.Extra.ID)
	treetest.OK(t, err)
	secondExtra, err := files.ReadExtra(t.Context(), m, second.Extra.ID)
	treetest.OK(t, err)
	if diff := cmp.Diff(firstExtra, secondExtra); diff != "" {
		t.Error(diff)
	}
	tree := second.Trees[0]
	// Further names of a file are counted with the file, not as reused.
	if links := countLinks(firstExtra); tree.Reused != tree.Files-links {
		t.Errorf("%d files, %d of them reused, %d links", tree.Files, tree.Reused, links)
	}
	if second.Cache.Len() != first.Cache.Len() {
		t.Errorf("cache shrank from %d to %d", first.Cache.Len(), second.Cache.Len())
	}
}

func countLinks(extras map[string]files.Extra) (n int64) {
	for _, x := range extras {
		if x.Link != "" {
			n++
		}
	}
	return n
}

func TestChangedFilesAreReadAgain(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, path string){
		"content, same size and mtime": func(t *testing.T, path string) {
			info, err := os.Stat(path)
			treetest.OK(t, err)
			treetest.OK(t, os.WriteFile(path, []byte("CONTENT"), 0o644))
			treetest.SetTime(t, path, info.ModTime())
		},
		"mtime": func(t *testing.T, path string) { treetest.SetTime(t, path, time.Unix(1, 0)) },
		"mode":  func(t *testing.T, path string) { treetest.OK(t, os.Chmod(path, 0o600)) },
		"replaced": func(t *testing.T, path string) {
			treetest.Write(t, path+".new", "CONTENT")
			treetest.OK(t, os.Rename(path+".new", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			path := treetest.Write(t, root+"/file", "content")
			treetest.Write(t, root+"/other", "o")
			m := treetest.NewStore()
			first := capture1(t, m, Options{Clock: treetest.LaterClock{}}, treetest.AppSet(root))
			waitForTick(t)
			change(t, path)
			m.Forget()
			second := capture1(t, m, Options{Clock: treetest.LaterClock{}, Cache: first.Cache}, treetest.AppSet(root))
			if diff := cmp.Diff([]string{"app/file"}, m.Created()); diff != "" {
				t.Error(diff)
			}
			content, err := os.ReadFile(path)
			treetest.OK(t, err)
			if got := m.Read(t, treetest.Stored(t, m, second.Entry)["app/file"].Object.ID); got != string(content) {
				t.Errorf("stored %q, the file has %q", got, content)
			}
		})
	}
}

// waitForTick returns when a change of a file gives it a newer ctime than one
// before the call: the kernel's clock for that moves in steps of some milliseconds.
func waitForTick(t *testing.T) {
	t.Helper()
	probe := treetest.Write(t, t.TempDir()+"/probe", "")
	ctime := func() unix.Timespec {
		treetest.OK(t, os.Chmod(probe, 0o600))
		var st unix.Stat_t
		treetest.OK(t, unix.Lstat(probe, &st))
		return st.Ctim
	}
	for start := ctime(); ctime() == start; {
		runtime.Gosched()
	}
}

// clockAt says when a capture takes place.
type clockAt time.Time

func (c clockAt) Now() time.Time { return time.Time(c) }

// A file that changed just before it was read could change again without a
// trace in its times.
func TestRacilyCleanFilesAreReadAgain(t *testing.T) {
	root := t.TempDir()
	path := treetest.Write(t, root+"/file", "f")
	var st unix.Stat_t
	treetest.OK(t, unix.Lstat(path, &st))
	changed := time.Unix(st.Ctim.Unix())
	for after, cached := range map[time.Duration]int{
		-time.Hour: 0, 0: 0, settled - 1: 0, settled: 1, time.Hour: 1,
	} {
		got := capture1(t, treetest.NewStore(), Options{Clock: clockAt(changed.Add(after))}, treetest.AppSet(root))
		if got.Cache.Len() != cached {
			t.Errorf("%v after its change: %d files in the cache, want %d", after, got.Cache.Len(), cached)
		}
	}
}

func TestDamagedCacheIsEmpty(t *testing.T) {
	root := t.TempDir()
	for i := range 20 {
		treetest.Write(t, fmt.Sprintf("%s/%d", root, i), "x")
	}
	c := capture1(t, treetest.NewStore(), Options{Clock: treetest.LaterClock{}}, treetest.AppSet(root)).Cache
	c.BackupID = "b"
	path := t.TempDir() + "/cache"
	treetest.OK(t, c.Save(path))
	whole, err := os.ReadFile(path)
	treetest.OK(t, err)
	load := func(content []byte) (*Cache, error) {
		treetest.OK(t, os.WriteFile(path, content, 0o600))
		return LoadCache(path)
	}
	if got, err := load(whole); err != nil || got.Len() != 20 {
		t.Fatalf("%v, %d files", err, got.Len())
	}
	for i := range whole {
		flipped := bytes.Clone(whole)
		flipped[i] ^= 0x40
		if got, err := readCache(bytes.NewReader(flipped), uint64(len(flipped))); err == nil || got != nil {
			t.Fatalf("byte %d flipped: %v, %+v", i, err, got)
		}
	}
	for i := range whole {
		if got, err := readCache(bytes.NewReader(whole[:i]), uint64(i)); err == nil || got != nil {
			t.Fatalf("cut at %d: %v, %+v", i, err, got)
		}
	}
	if got, err := load(whole[:len(whole)/2]); err == nil || got == nil || got.Len() != 0 || got.BackupID != "" {
		t.Errorf("half: %v, %+v", err, got)
	}
	other := bytes.Replace(whole, []byte("cache 1"), []byte("cache 2"), 1)
	if got, err := load(other); err == nil || got.Len() != 0 {
		t.Errorf("other version: %v, %+v", err, got)
	}
	if got, err := LoadCache(path + ".gone"); err != nil || got == nil || got.Len() != 0 {
		t.Errorf("missing: %v, %+v", err, got)
	}
	if got, err := LoadCache(t.TempDir()); err == nil || got == nil || got.Len() != 0 {
		t.Errorf("a folder: %v, %+v", err, got)
	}
}

func TestCacheIsReplacedWholeOrNot(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/cache"
	c := newCache()
	c.BackupID = "first"
	treetest.OK(t, c.Save(path))
	c.BackupID = "second"
	treetest.OK(t, c.Save(path))
	info, err := os.Stat(path)
	treetest.OK(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	c.BackupID = "third"
	treetest.OK(t, os.Mkdir(dir+"/taken", 0o700))
	treetest.Write(t, dir+"/taken/x", "x")
	if err := c.Save(dir + "/taken"); err == nil {
		t.Error("saved over a folder")
	}
	if err := c.Save(dir + "/gone/cache"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	names, err := filepath.Glob(dir + "/.*")
	treetest.OK(t, err)
	if len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
	if got, err := LoadCache(path); err != nil || got.BackupID != "second" {
		t.Errorf("%v %+v", err, got)
	}
}

// Two caches of a million files each, the old and the new one, must leave most
// of a small server's memory alone.
func TestCacheMemory(t *testing.T) {
	const n = 1_000_000
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := heap()
	id := strings.Repeat("0123456789abcdef", 4)
	fill := func() *Cache {
		c := newCache()
		for i := range n {
			st := unix.Stat_t{Ino: uint64(i), Size: 1}
			key := cacheKey{byte(i >> 16), byte(i >> 8), byte(i)}
			treetest.OK(t, c.add(key, &st, content{object: core.Object{ID: core.ObjectID(id), Size: 1}}))
		}
		return c
	}
	old, fresh := fill(), fill()
	old.sort()
	used := heap() - before
	if used > 400<<20 {
		t.Errorf("%d MiB for two caches", used>>20)
	}
	t.Logf("%d MiB for two caches of a million files", used>>20)
	if got, _, found := old.lookup(cacheKey{1, 2, 3}, &unix.Stat_t{Ino: 0x010203, Size: 1}); !found || string(got.object.ID) != id {
		t.Errorf("%+v %v", got, found)
	}
	runtime.KeepAlive(fresh)
}

func TestCacheKeepsFilesWithUnreadableXattrsOut(t *testing.T) {
	c := &capture{fresh: newCache(), clock: treetest.LaterClock{}, uids: map[uint32]bool{}, gids: map[uint32]bool{}}
	f := &folder{place: &place{}, path: "app"}
	var st unix.Stat_t
	treetest.OK(t, c.storeFile(job{in: f, name: "a", stored: "a"}, cacheKey{1}, &st, content{partial: true}, time.Now()))
	treetest.OK(t, c.storeFile(job{in: f, name: "b", stored: "b"}, cacheKey{2}, &st, content{}, time.Now()))
	if c.fresh.Len() != 1 || !slices.ContainsFunc(c.fresh.records, func(r cacheRecord) bool { return r.Key == cacheKey{2} }) {
		t.Errorf("%+v", c.fresh.records)
	}
}

func FuzzLoadCache(f *testing.F) {
	dir := f.TempDir()
	c := newCache()
	c.BackupID = "b"
	st := unix.Stat_t{Ino: 1, Size: 1}
	if err := c.add(cacheKey{1}, &st, content{object: core.Object{ID: "id", Size: 1}, sparse: true}); err != nil {
		f.Fatal(err)
	}
	if err := c.Save(dir + "/seed"); err != nil {
		f.Fatal(err)
	}
	seed, err := os.ReadFile(dir + "/seed")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(cacheMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := t.TempDir() + "/cache"
		treetest.OK(t, os.WriteFile(path, b, 0o600))
		c, err := LoadCache(path)
		if c == nil || (err != nil && c.Len() > 0) {
			t.Errorf("%+v %v", c, err)
		}
	})
}

// TestCacheGenerations changes, keeps and forgets files from one cache to the next.
func TestCacheGenerations(t *testing.T) {
	type file struct {
		id      string
		version int64
	}
	stat := func(n int, f file) *unix.Stat_t { return &unix.Stat_t{Ino: uint64(n), Size: f.version} }
	key := func(n int) cacheKey { return cacheKey{byte(n * 37), byte(n >> 8), byte(n)} }
	have := map[int]file{}
	var c *Cache
	for generation := range int64(6) {
		next := after(c)
		now := map[int]file{}
		for n := range 300 {
			switch was, known := have[n]; {
			case (n+int(generation))%7 == 0: // it is gone
			case known && n%3 != 0:
				got, record, ok := next.old.lookup(key(n), stat(n, was))
				if !ok || string(got.object.ID) != was.id || !got.sparse {
					t.Fatalf("generation %d does not know file %d: %v %+v", generation, n, ok, got)
				}
				next.keep(record)
				next.keep(record)
				now[n] = was
			default:
				f := file{fmt.Sprintf("object-%d-%d", n, generation), generation}
				treetest.OK(t, next.add(key(n), stat(n, f), content{object: core.Object{ID: core.ObjectID(f.id), Size: f.version}, sparse: true}))
				now[n] = f
			}
		}
		if next.Len() != len(now) {
			t.Errorf("generation %d: %d files, want %d", generation, next.Len(), len(now))
		}
		loaded := saved(t, next)
		for n, f := range now {
			for which, c := range map[string]*Cache{"saved": loaded, "flat": next.flat()} {
				if got, _, ok := c.lookup(key(n), stat(n, f)); !ok || string(got.object.ID) != f.id {
					t.Errorf("generation %d, %s: file %d is %q, want %q", generation, which, n, got.object.ID, f.id)
				}
			}
		}
		if loaded.Len() != len(now) {
			t.Errorf("generation %d: %d files were saved, want %d", generation, loaded.Len(), len(now))
		}
		have, c = now, next
	}
}
