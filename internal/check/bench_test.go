package check

import (
	"fmt"
	"testing"
)

// BenchmarkJudge judges an app as large as iTop, with a year of daily backups.
func BenchmarkJudge(b *testing.B) {
	a := newApp()
	for d := range 400 {
		tables := map[string]int64{}
		for n := range 220 {
			tables[fmt.Sprint("table", n)] = int64(n*100 + d*n%50)
		}
		a.tables(tables)
	}
	b.ResetTimer()
	for range b.N {
		Judge(a.in)
	}
}
