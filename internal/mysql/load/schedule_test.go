package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

func tableOf(name string, slices int, rows int64) *tableLoad {
	t := core.Table{Name: name, Rows: rows * int64(slices), Bytes: rows * 100 * int64(slices)}
	for i := range slices {
		for j := range 2 {
			t.Chunks = append(t.Chunks, core.Chunk{File: fmt.Sprintf("database/data/%s/%04d-%05d.tsv", name, i, j), Rows: rows / 2, Bytes: rows * 50})
		}
	}
	return newTableLoad(t)
}

// TestScheduleOrder runs tables of every form over several workers: every part
// is done once, a step begins when the one before it is done, and no two
// connections load a table whose counter lets in one.
func TestScheduleOrder(t *testing.T) {
	var tables []*tableLoad
	for i := range 40 {
		w := tableOf(fmt.Sprintf("t%d", i), i%5, int64(1+i*7%11))
		w.ranges = i%2 == 0
		w.alone = i%3 == 0
		if i%4 == 0 {
			w.later = []key{{name: "k"}}
		}
		tables = append(tables, w)
	}
	var mu sync.Mutex
	done := map[string]int{}
	inRows := map[*tableLoad]int{}
	err := newSchedule(tables).run(t.Context(), make([]*mysql.Conn, 4), func(_ context.Context, _ *mysql.Conn, w *tableLoad, at step, part int) error {
		mu.Lock()
		done[fmt.Sprintf("%s %d %d", w.Name, at, part)]++
		if at == stepRows {
			inRows[w]++
			if w.alone && inRows[w] > 1 {
				t.Errorf("%s is loaded over two connections at once", w.Name)
			}
		} else if inRows[w] > 0 {
			t.Errorf("step %d of %s began before its rows were in", at, w.Name)
		}
		mu.Unlock()
		mu.Lock()
		defer mu.Unlock()
		if at == stepRows {
			inRows[w]--
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, w := range tables {
		for s := stepRows; s < stepDone; s++ {
			for part := range w.parts(s) {
				want++
				if n := done[fmt.Sprintf("%s %d %d", w.Name, s, part)]; n != 1 {
					t.Errorf("part %d of step %d of %s was done %d times", part, s, w.Name, n)
				}
			}
		}
	}
	if len(done) != want {
		t.Errorf("%d parts were done, there are %d", len(done), want)
	}
}

// TestScheduleEndsOnError has others wait for a table when its part fails.
func TestScheduleEndsOnError(t *testing.T) {
	w := tableOf("t", 3, 10)
	w.alone = true
	failed := errors.New("failed")
	err := newSchedule([]*tableLoad{w}).run(t.Context(), make([]*mysql.Conn, 4), func(context.Context, *mysql.Conn, *tableLoad, step, int) error { return failed })
	if !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
}

func TestScheduleBeginsWithTheLargest(t *testing.T) {
	var order []string
	tables := []*tableLoad{tableOf("small", 1, 10), tableOf("large", 4, 100), tableOf("medium", 1, 50)}
	err := newSchedule(tables).run(t.Context(), make([]*mysql.Conn, 1), func(_ context.Context, _ *mysql.Conn, w *tableLoad, _ step, _ int) error {
		order = append(order, w.Name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if order[0] != "large" || order[len(order)-1] != "small" {
		t.Errorf("order %v", order)
	}
}

func TestConnections(t *testing.T) {
	for _, c := range []mysql.Config{{}, {Host: "localhost"}, {Socket: "/run/server.sock"}, {Host: "127.0.0.1"}, {Host: "::1"}} {
		if n := connections(c); n < 2 || n > 8 {
			t.Errorf("%d connections to %s", n, c.Address())
		}
	}
	if n := connections(mysql.Config{Host: "db.example.org"}); n != 4 {
		t.Errorf("%d connections to another machine", n)
	}
}
