package exchange

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files/capture"
	"github.com/backstay/backstay/internal/files/treetest"
)

func ok(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func benchApp(b *testing.B, dir string) *app {
	a := &app{m: treetest.NewStore(), root: dir + "/www/app"}
	ok(b, treetest.ManyFiles(a.root, manyFiles()))
	c, err := capture.Files(b.Context(), []core.FileSet{treetest.AppSet(a.root)}, a.m, capture.Options{})
	ok(b, err)
	a.c = c
	a.opt = Options{Targets: map[string]string{"app": a.root}, Owners: c.Owners, Trees: c.Trees, Name: "bench", MovesFile: dir + "/moves"}
	return a
}

// manyFiles is how many files the benchmarks have: BACKSTAY_BENCH_FILES, or 20,000.
func manyFiles() int {
	n, err := strconv.Atoi(os.Getenv("BACKSTAY_BENCH_FILES"))
	if err != nil {
		return 20_000
	}
	return n
}

// BenchmarkUnchanged compares a tree with its backup when nothing differs.
func BenchmarkUnchanged(b *testing.B) {
	a := benchApp(b, b.TempDir())
	for b.Loop() {
		start := time.Now()
		_, err := Compare(b.Context(), a.m, a.c.Entry, a.extra(), a.opt)
		ok(b, err)
		b.ReportMetric(time.Since(start).Seconds(), "s/quick")
		start = time.Now()
		built, err := Build(b.Context(), a.m, a.c.Entry, a.extra(), a.opt)
		ok(b, err)
		b.ReportMetric(time.Since(start).Seconds(), "s/build")
		start = time.Now()
		_, err = Changed(b.Context(), built)
		ok(b, err)
		b.ReportMetric(time.Since(start).Seconds(), "s/recheck")
		ok(b, Drop(built))
	}
}

// BenchmarkAllChanged makes every file change places.
func BenchmarkAllChanged(b *testing.B) {
	a := benchApp(b, b.TempDir())
	at := time.Now()
	ok(b, filepath.WalkDir(a.root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.Chtimes(path, at, at)
		}
		return err
	}))
	for b.Loop() {
		start := time.Now()
		built, err := Build(b.Context(), a.m, a.c.Entry, a.extra(), a.opt)
		ok(b, err)
		b.ReportMetric(time.Since(start).Seconds(), "s/build")
		start = time.Now()
		_, err = Switch(b.Context(), built)
		ok(b, err)
		b.ReportMetric(time.Since(start).Seconds(), "s/switch")
		start = time.Now()
		_, err = Revert(b.Context(), built)
		ok(b, err)
		b.ReportMetric(time.Since(start).Seconds(), "s/revert")
		start = time.Now()
		ok(b, Drop(built))
		b.ReportMetric(time.Since(start).Seconds(), "s/drop")
	}
}
