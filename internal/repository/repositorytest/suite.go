// Package repositorytest is the conformance suite of repository.Store. It is
// for every implementation of the seam: package memory, package kopia, package
// faulty with no faults. What the seam's comments promise is tested here once.
package repositorytest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
)

// Harness is one repository to test.
type Harness struct {
	// Open opens the repository, each time as another process would. The suite
	// closes what it opens.
	Open func(t testing.TB) repository.Store
	// Lose makes the repository lose the record of backup id, which is not
	// deleted. nil: that cannot happen to this kind of repository.
	Lose func(t testing.TB, id string)
	// Spoil makes the files that are stored until now unreadable, not the folders.
	// nil: that cannot be done to this kind of repository.
	Spoil func(t testing.TB)
	// Deduplicates says that equal bytes are stored once.
	Deduplicates bool
	// SharesBlocks says that equal blocks of different files are stored once.
	SharesBlocks bool
}

// Run runs the suite. make gives a new, empty repository for each test.
func Run(t *testing.T, make func(t *testing.T) Harness) {
	tests := []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"bytes of all sizes", testSizes},
		{"files in blocks", testBlocks},
		{"attributes of entries", testEntries},
		{"names that cannot be", testBadNames},
		{"large folder", testLargeFolder},
		{"seek", testSeek},
		{"many writers in one session", testConcurrentWriters},
		{"many sessions at once", testConcurrentSessions},
		{"nothing before commit", testInvisible},
		{"abort", testAbort},
		{"file thrown away", testDiscard},
		{"list", testList},
		{"commit refuses", testCommitRefuses},
		{"delete", testDelete},
		{"lost backups", testLost},
		{"marks", testMarks},
		{"marks at once", testMarksAtOnce},
		{"list while marks change", testListWhileMarking},
		{"unknown ids", testUnknown},
		{"cancelled", testCancel},
		{"equal backup costs nothing", testDeduplication},
		{"maintenance keeps everything", testMaintain},
		{"space", testSpace},
		{"healing", testHealing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, make(t)) })
	}
}

func open(t testing.TB, h Harness) repository.Store {
	t.Helper()
	s := h.Open(t)
	t.Cleanup(func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func begin(t testing.TB, s repository.Store) repository.Session {
	t.Helper()
	ss, err := s.Begin(t.Context())
	if err != nil {
		t.Fatalf("begin: %v", err)
	}
	t.Cleanup(ss.Abort)
	return ss
}

// Put stores data as a file.
func Put(ctx context.Context, w core.TreeWriter, hint string, data []byte) (_ core.Object, err error) {
	f, err := w.Create(ctx, hint)
	if err != nil {
		return core.Object{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, bytes.NewReader(data)); err != nil {
		return core.Object{}, err
	}
	return f.Finish()
}

func put(t testing.TB, w core.TreeWriter, data []byte) core.Object {
	t.Helper()
	o, err := Put(t.Context(), w, "test file", data)
	if err != nil {
		t.Fatalf("store file: %v", err)
	}
	if o.Size != int64(len(data)) {
		t.Fatalf("stored %d bytes, object says %d", len(data), o.Size)
	}
	return o
}

func writeDir(t testing.TB, w core.TreeWriter, entries ...core.Entry) core.Object {
	t.Helper()
	o, err := w.WriteDir(t.Context(), entries)
	if err != nil {
		t.Fatalf("store folder: %v", err)
	}
	return o
}

func readAll(t testing.TB, r core.TreeReader, id core.ObjectID) []byte {
	t.Helper()
	data, err := Get(t.Context(), r, id)
	if err != nil {
		t.Fatalf("read object: %v", err)
	}
	return data
}

// Get reads a whole file.
func Get(ctx context.Context, r core.TreeReader, id core.ObjectID) (_ []byte, err error) {
	in, err := r.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	return io.ReadAll(in)
}

func file(name string, o core.Object) core.Entry {
	return core.Entry{Name: name, Type: core.TypeFile, Mode: 0o640, ModTime: time.Unix(1, 2).UTC(), Object: o}
}

// NewBackup returns a backup to commit; n makes it unlike others and later.
func NewBackup(n int) core.Backup {
	return core.Backup{
		ID: fmt.Sprintf("20260102T03%02d%02d-test", n/60, n%60), App: "helpdesk", Profile: "itop", Host: "web1",
		Time:    time.Date(2026, 1, 2, 3, n/60, n%60, 123456789, time.UTC),
		Trigger: "manual", Note: "after \"lunch\"\n",
		Consistency:  core.Consistency{Mode: "online", Method: "backup-stage", Connections: 4, FreezeMS: 12},
		FreezeMS:     12,
		DurationMS:   3456,
		LogicalBytes: 1 << 40,
		Components: map[core.Component]core.ComponentSize{
			core.ComponentDatabase: {Tables: 3, Rows: 17, TablesReused: 1, Bytes: 99},
			core.ComponentFiles:    {Files: 5, Bytes: 6},
		},
		Warnings: []core.Warning{{Code: "vanished", Object: "files/ä.txt", Message: "went away"}},
	}
}

func commit(t testing.TB, ss repository.Session, root core.Object, b core.Backup) repository.Record {
	t.Helper()
	r, err := ss.Commit(t.Context(), root, b)
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	want := b
	want.StoredBytes = r.StoredBytes
	if diff := cmp.Diff(want, r.Backup); diff != "" {
		t.Fatalf("record differs from what was committed (-want +got):\n%s", diff)
	}
	if r.Root != root {
		t.Fatalf("root is %v, committed %v", r.Root, root)
	}
	return r
}

func list(t testing.TB, s repository.Store) []repository.Record {
	t.Helper()
	records, err := s.List(t.Context())
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	return records
}

func ids(records []repository.Record) []string {
	out := []string{}
	for _, r := range records {
		out = append(out, r.ID)
	}
	return out
}

// Random returns n bytes that do not compress, the same for the same seed.
func Random(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

func testSizes(t *testing.T, h Harness) {
	s := open(t, h)
	ss := begin(t, s)
	const mb = 1 << 20
	sizes := []int{0, 1, 2, 4095, 4096, 65537, mb - 1, mb, mb + 1, 2 * mb, 4*mb - 1, 4 * mb, 4*mb + 1, 8*mb + 3, 40 * mb}
	var entries []core.Entry
	want := map[string][32]byte{}
	for i, n := range sizes {
		data := Random(uint64(i), n)
		name := fmt.Sprintf("%d", n)
		want[name] = sha256.Sum256(data)
		entries = append(entries, file(name, put(t, ss, data)))
	}
	zeros := make([]byte, 9*mb)
	want["zeros"] = sha256.Sum256(zeros)
	entries = append(entries, file("zeros", put(t, ss, zeros)))
	root := writeDir(t, ss, entries...)
	commit(t, ss, root, NewBackup(1))

	s2 := open(t, h)
	records := list(t, s2)
	if len(records) != 1 {
		t.Fatalf("%d backups, want 1", len(records))
	}
	got, err := s2.ReadDir(t.Context(), records[0].Root.ID)
	if err != nil {
		t.Fatalf("read root: %v", err)
	}
	for _, e := range got {
		data := readAll(t, s2, e.Object.ID)
		if int64(len(data)) != e.Object.Size || sha256.Sum256(data) != want[e.Name] {
			t.Errorf("file %s: %d bytes came back, not those that were stored", e.Name, len(data))
		}
		delete(want, e.Name)
	}
	if len(want) > 0 {
		t.Errorf("%d files are missing", len(want))
	}
}

func sorted(entries []core.Entry) []core.Entry {
	return slices.SortedFunc(slices.Values(entries), func(a, b core.Entry) int { return strings.Compare(a.Name, b.Name) })
}

func testEntries(t *testing.T, h Harness) {
	s := open(t, h)
	ss := begin(t, s)
	content := put(t, ss, []byte("content"))
	target := put(t, ss, []byte("../else where/ü"))
	empty := writeDir(t, ss)
	inner := writeDir(t, ss, file("a", content), file("b", content),
		core.Entry{Name: "c", Type: core.TypeSymlink, Mode: 0o777, ModTime: time.Unix(5, 0).UTC(), Object: target},
		core.Entry{Name: "d", Type: core.TypeDir, Mode: 0o700, ModTime: time.Unix(6, 0).UTC(), Object: empty})
	utc := func(sec, nsec int64) time.Time { return time.Unix(sec, nsec).UTC() }
	entry := func(name string, change func(*core.Entry)) core.Entry {
		e := file(name, content)
		if change != nil {
			change(&e)
		}
		return e
	}
	entries := []core.Entry{
		entry("plain", nil),
		entry("Ünïcödé 日本語 🙂", nil),
		entry("e\u0301 decomposed", nil), entry("\u00e9 composed", nil),
		entry("new\nline", nil), entry("tab\tand\x01control", nil),
		entry(`quote"s'and\back`, nil), entry("<html>&amp;", nil), entry(" spaces ", nil), entry("..dots", nil),
		entry(strings.Repeat("n", 255), nil), entry("case", nil), entry("CASE", nil), entry("-rf", nil),
		entry("%41~1", nil), entry("\ufeffbom", nil), entry("line\u2028separator", nil),
		entry("setuid", func(e *core.Entry) { e.Mode = 0o755 | fs.ModeSetuid }),
		entry("setgid", func(e *core.Entry) { e.Mode = 0o2 | fs.ModeSetgid }),
		entry("sticky", func(e *core.Entry) { e.Mode = 0o777 | fs.ModeSticky | fs.ModeSetgid | fs.ModeSetuid }),
		entry("no mode", func(e *core.Entry) { e.Mode = 0 }),
		entry("owner", func(e *core.Entry) { e.UID, e.GID = 65534, 65537 }),
		entry("big owner", func(e *core.Entry) { e.UID, e.GID = 4294967294, 3000000000 }),
		entry("nanoseconds", func(e *core.Entry) { e.ModTime = utc(1767323045, 1) }),
		entry("just under", func(e *core.Entry) { e.ModTime = utc(1767323045, 999999999) }),
		entry("epoch", func(e *core.Entry) { e.ModTime = utc(0, 0) }),
		entry("before the epoch", func(e *core.Entry) { e.ModTime = utc(-1, 999999999) }),
		entry("1901", func(e *core.Entry) { e.ModTime = utc(-1<<31, 0) }),
		entry("2038", func(e *core.Entry) { e.ModTime = utc(1<<31, 5) }),
		entry("2446", func(e *core.Entry) { e.ModTime = utc(15032385535, 7) }),
		entry("year 9999", func(e *core.Entry) { e.ModTime = time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC) }),
		entry("year 12000", func(e *core.Entry) { e.ModTime = time.Date(12000, 1, 1, 0, 0, 0, 3, time.UTC) }),
		entry("year 1500", func(e *core.Entry) { e.ModTime = time.Date(1500, 1, 1, 0, 0, 0, 4, time.UTC) }),
		{Name: "link", Type: core.TypeSymlink, Mode: 0o777, UID: 1, GID: 2, ModTime: utc(3, 4), Object: target},
		{Name: "empty folder", Type: core.TypeDir, Mode: 0o755 | fs.ModeSticky, ModTime: utc(5, 6), Object: empty},
		{Name: "folder", Type: core.TypeDir, Mode: 0o500, UID: 7, ModTime: utc(8, 9), Object: inner, Files: 2},
	}
	root := writeDir(t, ss, entries...)
	commit(t, ss, root, NewBackup(1))

	s2 := open(t, h)
	got, err := s2.ReadDir(t.Context(), list(t, s2)[0].Root.ID)
	if err != nil {
		t.Fatalf("read folder: %v", err)
	}
	if diff := cmp.Diff(sorted(entries), sorted(got)); diff != "" {
		t.Errorf("entries differ (-stored +read):\n%s", diff)
	}
	if inner.Size != 14 {
		t.Errorf("folder with two files of 7 bytes has size %d, want 14", inner.Size)
	}
	if got, err := s2.ReadDir(t.Context(), empty.ID); err != nil || len(got) != 0 {
		t.Errorf("empty folder: %v, %v", got, err)
	}
	if got := readAll(t, s2, target.ID); string(got) != "../else where/ü" {
		t.Errorf("link target is %q", got)
	}
	if got, err := s2.ReadDir(t.Context(), inner.ID); err != nil || len(got) != 4 {
		t.Errorf("inner folder: %d entries, %v; want 4", len(got), err)
	}
	var files, bytes int64
	for _, e := range entries {
		switch e.Type {
		case core.TypeFile:
			files, bytes = files+1, bytes+e.Object.Size
		case core.TypeDir:
			files, bytes = files+e.Files, bytes+e.Object.Size
		}
	}
	if root.Size != bytes {
		t.Errorf("root has size %d, want %d", root.Size, bytes)
	}
	// A folder of an earlier backup may be used again, and counts as it did.
	ss = begin(t, s2)
	outer := writeDir(t, ss, core.Entry{Name: "again", Type: core.TypeDir, Mode: 0o700, ModTime: utc(1, 1), Object: root, Files: files})
	commit(t, ss, outer, NewBackup(2))
	got, err = s2.ReadDir(t.Context(), outer.ID)
	if err != nil || len(got) != 1 || got[0].Files != files || got[0].Object.Size != bytes {
		t.Errorf("reused folder: %v, %v; want %d files of %d bytes", got, err, files, bytes)
	}
}

func testBadNames(t *testing.T, h Harness) {
	s := open(t, h)
	ss := begin(t, s)
	o := put(t, ss, []byte("x"))
	for name, entries := range map[string][]core.Entry{
		"twice":     {file("a", o), file("b", o), file("a", o)},
		"empty":     {file("", o)},
		"dot":       {file(".", o)},
		"dots":      {file("..", o)},
		"slash":     {file("a/b", o)},
		"nul":       {file("a\x00", o)},
		"not utf-8": {file("a\xff", o)},
		"no object": {{Name: "a", Type: core.TypeFile}},
		"no type":   {{Name: "a", Object: o}},
		"type bits": {{Name: "a", Type: core.TypeFile, Mode: fs.ModeDir | 0o700, Object: o}},
	} {
		if _, err := ss.WriteDir(t.Context(), entries); err == nil {
			t.Errorf("%s: the folder was stored", name)
		}
	}
}

func testLargeFolder(t *testing.T, h Harness) {
	s := open(t, h)
	ss := begin(t, s)
	o := put(t, ss, []byte("same"))
	var entries []core.Entry
	for i := range 5000 {
		entries = append(entries, file(fmt.Sprintf("file number %05d with a name of some length", i), o))
	}
	root := writeDir(t, ss, entries...)
	commit(t, ss, root, NewBackup(1))
	s2 := open(t, h)
	got, err := s2.ReadDir(t.Context(), root.ID)
	if err != nil {
		t.Fatalf("read folder: %v", err)
	}
	if diff := cmp.Diff(entries, sorted(got)); diff != "" {
		t.Errorf("entries differ (-stored +read):\n%.2000s", diff)
	}
}

func testSeek(t *testing.T, h Harness) {
	s := open(t, h)
	ss := begin(t, s)
	data := Random(3, 21<<20)
	o := put(t, ss, data)
	commit(t, ss, writeDir(t, ss, file("f", o)), NewBackup(1))
	in, err := s.Open(t.Context(), o.ID)
	if err != nil {
		t.Fatal(err)
	}
	end := int64(len(data))
	var at int64
	for _, step := range []struct {
		offset int64
		whence int
		want   int64
	}{
		{end - 10, io.SeekStart, end - 10},
		{0, io.SeekStart, 0},
		{9 << 20, io.SeekStart, 9 << 20},
		{-5, io.SeekCurrent, 9<<20 + 100 - 5},
		{-1 << 20, io.SeekEnd, end - 1<<20},
		{0, io.SeekEnd, end},
		{1, io.SeekStart, 1},
		{20 << 20, io.SeekCurrent, 20<<20 + 101},
	} {
		at, err = in.Seek(step.offset, step.whence)
		if err != nil || at != step.want {
			t.Fatalf("seek(%d, %d) = %d, %v; want %d", step.offset, step.whence, at, err, step.want)
		}
		buf := make([]byte, 100)
		n, err := io.ReadFull(in, buf)
		if at == end {
			if err != io.EOF {
				t.Fatalf("read at the end: %d, %v; want EOF", n, err)
			}
			continue
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("read at %d: %v", at, err)
		}
		if !bytes.Equal(buf[:n], data[at:min(at+100, end)]) {
			t.Fatalf("other bytes at %d", at)
		}
	}
	if _, err := in.Seek(-1, io.SeekStart); err == nil {
		t.Error("seek before the start works")
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if err := in.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func testConcurrentWriters(t *testing.T, h Harness) {
	s := open(t, h)
	ss := begin(t, s)
	const writers, each = 16, 12
	entries := make([]core.Entry, writers*each)
	var wg sync.WaitGroup
	errs := make(chan error, writers)
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				n := w*each + i
				data := Random(uint64(n), 1000+n*997)
				if n%8 == 0 {
					data = Random(7, 300_000) // the same for several, at once
				}
				o, err := Put(t.Context(), ss, "concurrent", data)
				if err != nil {
					errs <- err
					return
				}
				entries[n] = file(fmt.Sprintf("%03d", n), o)
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Fatal(err)
	}
	commit(t, ss, writeDir(t, ss, entries...), NewBackup(1))
	s2 := open(t, h)
	for n, e := range entries {
		want := Random(uint64(n), 1000+n*997)
		if n%8 == 0 {
			want = Random(7, 300_000)
		}
		if !bytes.Equal(readAll(t, s2, e.Object.ID), want) {
			t.Errorf("file %d came back with other bytes", n)
		}
	}
}

func testConcurrentSessions(t *testing.T, h Harness) {
	const sessions = 8
	stores := []repository.Store{open(t, h), open(t, h)}
	var wg sync.WaitGroup
	errs := make(chan error, sessions)
	for n := range sessions {
		wg.Go(func() {
			errs <- func() error {
				s := stores[n%len(stores)]
				ss, err := s.Begin(t.Context())
				if err != nil {
					return err
				}
				defer ss.Abort()
				o, err := Put(t.Context(), ss, "f", Random(uint64(n/2), 2<<20))
				if err != nil {
					return err
				}
				root, err := ss.WriteDir(t.Context(), []core.Entry{file("f", o)})
				if err != nil {
					return err
				}
				r, err := ss.Commit(t.Context(), root, NewBackup(n))
				if err != nil {
					return err
				}
				records, err := s.List(t.Context())
				if err != nil {
					return err
				}
				if !slices.Contains(ids(records), r.ID) {
					return fmt.Errorf("committed backup %s is not listed: %v", r.ID, ids(records))
				}
				return nil
			}()
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range append(stores, open(t, h)) {
		records := list(t, s)
		if len(records) != sessions {
			t.Fatalf("%d backups listed, want %d", len(records), sessions)
		}
		for n, r := range records {
			entries, err := s.ReadDir(t.Context(), r.Root.ID)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(readAll(t, s, entries[0].Object.ID), Random(uint64(n/2), 2<<20)) {
				t.Errorf("backup %d came back with other bytes", n)
			}
		}
	}
}
