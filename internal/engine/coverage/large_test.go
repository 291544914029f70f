package coverage

import (
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine/enginetest"
)

// BenchmarkRecord measures what a million objects cost in memory and on disk.
func BenchmarkRecord(b *testing.B) {
	const n = 1_000_000
	dir, now := b.TempDir(), enginetest.Later{}.Now()
	live := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		before := live()
		r, err := open(dir, "bench", now)
		if err != nil {
			b.Fatal(err)
		}
		for i := range n {
			at := r.see(keyOf(core.ObjectID("object "+strconv.Itoa(i))), now)
			r.objects[at].there, r.objects[at].size = true, int64(i)
		}
		run := &run{store: r, report: &Report{Objects: n, Bytes: n * (n - 1) / 2}, due: make([]bool, n)}
		run.choose(Plan{Share: 1. / 30, Within: 720 * time.Hour, Every: 24 * time.Hour}, now)
		b.ReportMetric(float64(live()-before)/n, "B/object")
		if err := r.rewrite(); err != nil {
			b.Fatal(err)
		}
		info, err := os.Stat(r.path)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size())/n, "diskB/object")
		runtime.KeepAlive(run)
		if err := r.close(); err != nil {
			b.Fatal(err)
		}
	}
}
