package facts_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/engine/facts"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/faulty"
	"github.com/backstay/backstay/internal/repository/memory"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

func read(t *testing.T, e *engine.Engine, ref string, since *repository.Record) core.Facts {
	t.Helper()
	f, err := facts.ReadSince(t.Context(), e, enginetest.Find(t, e, ref), since)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// random is noise whose beginning is none of a known format, as that of one
// random file in a thousand is.
func random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	copy(b, "\x07\x91\x03\x05")
	return string(b)
}

func text(n int) string {
	return strings.Repeat("The quick brown fox jumps over the lazy dog. ", n/45+1)[:n]
}

// filesOnly is an app without a database, with so many files of text.
func filesOnly(t *testing.T, store repository.Store, n int) (*enginetest.App, *engine.Engine) {
	t.Helper()
	a := enginetest.Existing(t.TempDir(), "none", mysqltest.Config(t, "none"))
	a.Write(t, "app.ini", "x=1\n")
	for i := range n {
		a.Write(t, fmt.Sprintf("uploads/%d/file%d.txt", i%7, i), fmt.Sprint(i)+text(5000))
	}
	return a, enginetest.New(t, store)
}

// TestRead compares the facts with what is in the app.
func TestRead(t *testing.T) {
	t.Parallel()
	a := enginetest.NewApp(t)
	for name, body := range map[string]string{
		"uploads/noise.bin":        random(100_000),
		"uploads/noise-small.bin":  random(4096),
		"uploads/header-noise.bin": text(70_000) + random(200_000),
		"uploads/locked.bin":       "WANACRY!" + random(6000),
		"uploads/head-of-text.doc": random(70_000) + text(200_000),
		"uploads/tiny.bin":         random(4095),
		"uploads/picture.jpg":      "\xff\xd8\xff\xe0" + random(50_000),
		"uploads/report.pdf":       "%PDF-1.7\n" + random(50_000),
		"uploads/data.zip":         "PK\x03\x04" + random(50_000),
		"uploads/movie.mp4":        "\x00\x00\x00\x20ftypisom" + random(50_000),
		"uploads/notes.txt":        text(100_000),
		"uploads/zeros.bin":        strings.Repeat("\x00", 100_000),
	} {
		a.Write(t, name, body)
	}
	e := enginetest.New(t, memory.New())
	b := enginetest.Backup(t, e, a.Target)
	got := read(t, e, b.ID, nil)
	var tables []string
	for name, n := range got.Tables {
		tables = append(tables, fmt.Sprintf("%s %d", name, n.Rows))
		if n.Bytes <= 0 {
			t.Errorf("table %s has %d bytes", name, n.Bytes)
		}
	}
	want := core.Facts{
		Backup: b.ID, App: "shop", Time: b.Time, Trigger: "manual", Bytes: b.LogicalBytes, Stored: b.StoredBytes, Components: b.Components, Tables: got.Tables,
		Sample: &core.Sample{Files: 11, Noise: 5, Total: 11, Noisy: []string{
			"files/app/uploads/head-of-text.doc", "files/app/uploads/header-noise.bin", "files/app/uploads/locked.bin", "files/app/uploads/noise-small.bin", "files/app/uploads/noise.bin",
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
	if len(tables) != 3 || got.Tables["a"].Rows != 100 || got.Tables["bag"].Rows != 50 {
		t.Errorf("tables: %v", tables)
	}
}

// TestSampleIsStable: the same files are chosen again, those that changed first.
func TestSampleIsStable(t *testing.T) {
	t.Parallel()
	a, e := filesOnly(t, memory.New(), 400)
	first := enginetest.Backup(t, e, a.FilesOnly())
	before := read(t, e, first.ID, nil)
	if diff := cmp.Diff(&core.Sample{Files: 150, Total: 400}, before.Sample); diff != "" {
		t.Fatalf("of text (-want +got):\n%s", diff)
	}
	for i := range 40 { // a tenth was encrypted
		a.Write(t, fmt.Sprintf("uploads/%d/file%d.txt", i%7, i), random(5000))
	}
	a.Write(t, "uploads/new/more.txt", random(5000))
	second := enginetest.Backup(t, e, a.FilesOnly())
	earlier := enginetest.Find(t, e, first.ID)
	known, unknown := read(t, e, second.ID, &earlier), read(t, e, second.ID, nil)
	if known.Sample.Noise != 41 || known.Sample.Files != 150 || known.Sample.Total != 401 {
		t.Errorf("with the earlier backup known: %+v, not all of the 41 that changed", known.Sample)
	}
	if n := unknown.Sample.Noise; n == 0 || n == 41 {
		t.Errorf("with no earlier backup known: %+v", unknown.Sample)
	}
	if diff := cmp.Diff(known, read(t, e, second.ID, &earlier)); diff != "" {
		t.Errorf("read again (-first +second):\n%s", diff)
	}
	for i := range 400 { // and now all, under their old names
		a.Write(t, fmt.Sprintf("uploads/%d/file%d.txt", i%7, i), random(6000))
	}
	third := enginetest.Backup(t, e, a.FilesOnly())
	if got := read(t, e, third.ID, &earlier); got.Sample.Noise != 150 || len(got.Sample.Noisy) != 5 {
		t.Errorf("of noise: %+v", got.Sample)
	}
	gone := earlier
	gone.Root.ID = "gone"
	if diff := cmp.Diff(unknown, read(t, e, second.ID, &gone)); diff != "" {
		t.Errorf("with an earlier backup that is gone (-none +gone):\n%s", diff)
	}
}

// TestDamage: what is damaged is left out and named; the rest is known.
func TestDamage(t *testing.T) {
	t.Parallel()
	store := faulty.New(memory.New())
	a, e := filesOnly(t, store, 30)
	rec := enginetest.Find(t, e, enginetest.Backup(t, e, a.FilesOnly()).ID)
	paths := enginetest.PathsOf(t, store, rec)

	file := paths["files/app/uploads/3/file3.txt"].Object.ID
	store.Set(faulty.On(faulty.Open).Of(string(file)).Damage())
	got := read(t, e, rec.ID, nil).Sample
	if got.Files != 29 || got.Total != 30 || !strings.Contains(got.Reason, "1 files or folders") || !strings.Contains(got.Reason, "uploads/3/file3.txt") {
		t.Errorf("a file that cannot be opened: %+v", got)
	}
	folder := paths["files/app/uploads/4"]
	store.Set(faulty.On(faulty.ReadDir).Of(string(folder.Object.ID)).Damage())
	if got := read(t, e, rec.ID, nil).Sample; int64(got.Files) != 30-folder.Files || !strings.Contains(got.Reason, "files/app/uploads/4") {
		t.Errorf("a folder that cannot be read: %+v", got)
	}
	store.Set(faulty.On(faulty.Read).Nth(5).Damage())
	if got := read(t, e, rec.ID, nil).Sample; got.Files != 29 || got.Reason == "" {
		t.Errorf("a file that cannot be read: %+v", got)
	}
	store.Set(faulty.On(faulty.Open).Of(string(paths["manifest.json"].Object.ID)).Damage())
	f, err := facts.Read(t.Context(), e, rec)
	enginetest.WantError(t, err, core.CodeDamage)
	if f.Backup != rec.ID || f.Bytes != rec.LogicalBytes || f.Sample != nil {
		t.Errorf("facts of a backup without its manifest: %+v", f)
	}
}

// TestNoRepository: what is not damage is an error, and no facts.
func TestNoRepository(t *testing.T) {
	t.Parallel()
	store := faulty.New(memory.New())
	a, e := filesOnly(t, store, 30)
	rec := enginetest.Find(t, e, enginetest.Backup(t, e, a.FilesOnly()).ID)
	gone := &core.Error{Code: core.CodeNoRepository, Message: "the repository is gone"}
	for _, op := range []faulty.Op{faulty.Open, faulty.Read, faulty.ReadDir} {
		calls := store.Calls(op)
		store.Set()
		read(t, e, rec.ID, nil)
		total := store.Calls(op) - calls
		for n := 1; n <= total; n++ {
			store.Set(faulty.On(op).Nth(n).Fail(gone))
			f, err := facts.Read(t.Context(), e, rec)
			enginetest.WantError(t, err, core.CodeNoRepository)
			if diff := cmp.Diff(core.Facts{}, f); diff != "" {
				t.Fatalf("%s %d (-want +got):\n%s", op, n, diff)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := facts.Read(ctx, e, rec)
	enginetest.WantError(t, err, core.CodeCancelled)
}

// TestIndexDamaged: without the index there are no tables, and all else.
func TestIndexDamaged(t *testing.T) {
	t.Parallel()
	a := enginetest.NewApp(t)
	a.Write(t, "uploads/notes.txt", text(10_000))
	e := enginetest.New(t, memory.New())
	rec := enginetest.Find(t, e, enginetest.Backup(t, e, a.Target).ID)
	e.Store = enginetest.Tampered(t, e.Store, rec, enginetest.Tamper{Change: func(p string, data []byte) []byte {
		if p == "database/index.json" {
			return bytes.ToUpper(data)
		}
		return data
	}})
	got := read(t, e, rec.ID, nil)
	if got.Tables != nil || got.Sample == nil || got.Sample.Files != 1 {
		t.Errorf("facts: %+v", got)
	}
}
