package restore

import (
	"fmt"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files/capture"
	"github.com/backstay/backstay/internal/files/durable"
	"github.com/backstay/backstay/internal/files/treetest"
)

// BenchmarkDurability restores 5,000 small files to the file system of TMPDIR,
// each file synced by itself or many at once (docs/adr/0006-durable-restores.md).
func BenchmarkDurability(b *testing.B) {
	const n = 5000
	root := b.TempDir()
	if err := treetest.ManyFiles(root, n); err != nil {
		b.Fatal(err)
	}
	m := treetest.NewStore()
	c, err := capture.Files(b.Context(), []core.FileSet{treetest.AppSet(root)}, m, capture.Options{})
	if err != nil {
		b.Fatal(err)
	}
	s, err := durable.New()
	if err != nil {
		b.Fatal(err)
	}
	bench := func(name string, h hooked, batch int) {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			for i := 0; b.Loop(); i++ {
				opt := optionsFor(c, fmt.Sprintf("%s/%d", dir, i), func(o *Options) { o.Verify, o.batch = true, batch })
				if _, err := restoreFiles(b.Context(), m, c.Entry, extraOf(c), opt, h); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "files/s")
		})
	}
	bench("each", hooked{System: s, untrusted: true}, 0)
	for _, batch := range []int{64, 256, 1024, 4096} {
		bench(fmt.Sprintf("batches of %d", batch), hooked{System: s}, batch)
	}
}
