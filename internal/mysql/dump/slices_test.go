package dump

import (
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestCutRange: ranges begin one after the other and cover all that was asked
// for; none has too many keys, however unevenly they lie; and they stay where
// they are when the table grows.
func TestCutRange(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	edges := []int64{0, 1, -1, 2, 1 << 31, -(1 << 31), 1<<63 - 1, -(1 << 63), 1000}
	key := func(span int) *big.Int {
		switch random.IntN(20) {
		case 0:
			return big.NewInt(edges[random.IntN(len(edges))])
		case 1:
			return new(big.Int).SetUint64(random.Uint64())
		}
		return big.NewInt(random.Int64N(1<<span+1) - random.Int64N(1<<(span/2)+1))
	}
	for range 2000 {
		span := random.IntN(62)
		var keys []*big.Int
		for range 1 + random.IntN(200) {
			keys = append(keys, key(span))
		}
		slices.SortFunc(keys, (*big.Int).Cmp)
		keys = slices.CompactFunc(keys, func(a, b *big.Int) bool { return a.Cmp(b) == 0 })
		count := func(from, to *big.Int) (n int64, _ error) {
			for _, k := range keys {
				if k.Cmp(from) >= 0 && k.Cmp(to) < 0 {
					n++
				}
			}
			return n, nil
		}
		low, high := keys[0], keys[len(keys)-1]
		enough := 1 + random.Int64N(40)
		ranges, err := cutRange(low, high, int64(len(keys)-1), enough, count)
		if err != nil {
			t.Fatal(err)
		}
		if ranges[0].from.Cmp(low) != 0 {
			t.Fatalf("the first range begins at %s, not at %s", ranges[0].from, low)
		}
		for i, r := range ranges {
			to := high
			if i+1 < len(ranges) {
				to = ranges[i+1].from
			}
			if i > 0 && r.from.Cmp(ranges[i-1].from) <= 0 || to.Cmp(high) > 0 {
				t.Fatalf("range %d of %v is out of order", i, ranges)
			}
			// What hardly has a row joins the range before it, some times at most.
			if n, _ := count(r.from, to); n != r.rows || n > enough+130*(enough/16) {
				t.Fatalf("range %d has %d keys, said to be %d, enough are %d", i, n, r.rows, enough)
			}
		}
		if int64(len(ranges)) > 1+130*int64(len(keys))/max(1, enough) {
			t.Fatalf("%d ranges for %d keys, enough are %d", len(ranges), len(keys), enough)
		}
	}
}

// TestCutRangeStays: a table that grows keeps the ends of its ranges.
func TestCutRangeStays(t *testing.T) {
	cut := func(high int64) (ends []string) {
		ranges, err := cutRange(big.NewInt(1), big.NewInt(high), high, 1000, func(from, to *big.Int) (int64, error) {
			return new(big.Int).Sub(to, from).Int64(), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range ranges {
			ends = append(ends, r.from.String())
		}
		return ends
	}
	before, after := cut(100_000), cut(150_000)
	if len(before) < 100 {
		t.Fatalf("only %d ranges", len(before))
	}
	for _, e := range before {
		if !slices.Contains(after, e) {
			t.Errorf("no range begins at %s any more", e)
		}
	}
}
