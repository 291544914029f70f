package page

import "strconv"

// Pager is what the template "pager" takes: the links from a part of a list to
// those before and after it.
type Pager struct {
	First, Last, Total int    // Total -1: not known
	Former, Next       string // "": there is none
}

// PagerOf makes the links of the part that begins at offset and shows so many of
// the limit that a part has; link makes the address of an offset. With a total
// that is not known, -1, there is more while a part is full.
func PagerOf(offset, limit, shown, total int, link func(offset int) string) Pager {
	p := Pager{First: offset + 1, Last: offset + shown, Total: total}
	if offset > 0 {
		p.Former = link(max(offset-limit, 0))
	}
	if total < 0 && shown == limit || offset+shown < total {
		p.Next = link(offset + limit)
	}
	return p
}

// Offset is where the part of a list begins that the address asks for.
func (q *Request) Offset() int {
	n, err := strconv.Atoi(q.Field("offset"))
	if err != nil || n < 0 || n > 1<<30 {
		return 0
	}
	return n
}
