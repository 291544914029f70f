package page

import (
	"strconv"
	"testing"
)

func TestPagerOf(t *testing.T) {
	for _, c := range []struct {
		offset, limit, shown, total int
		want                        Pager
	}{
		{0, 50, 0, 0, Pager{First: 1}},
		{0, 50, 50, 50, Pager{First: 1, Last: 50, Total: 50}},
		{0, 50, 50, 51, Pager{First: 1, Last: 50, Total: 51, Next: "50"}},
		{50, 50, 1, 51, Pager{First: 51, Last: 51, Total: 51, Former: "0"}},
		{70, 50, 50, 200, Pager{First: 71, Last: 120, Total: 200, Former: "20", Next: "120"}},
		{20, 50, 50, 200, Pager{First: 21, Last: 70, Total: 200, Former: "0", Next: "70"}},
		{0, 50, 50, -1, Pager{First: 1, Last: 50, Total: -1, Next: "50"}},
		{50, 50, 49, -1, Pager{First: 51, Last: 99, Total: -1, Former: "0"}},
	} {
		if got := PagerOf(c.offset, c.limit, c.shown, c.total, strconv.Itoa); got != c.want {
			t.Errorf("%d of %d: %+v, want %+v", c.shown, c.total, got, c.want)
		}
	}
}
