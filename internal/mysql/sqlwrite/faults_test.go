package sqlwrite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

var errDisk = errors.New("the disk is full")

type fullDisk struct{ room int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.room -= len(p); d.room < 0 {
		return 0, errDisk
	}
	return len(p), nil
}

func TestWriterFails(t *testing.T) {
	in, size := made(1, 40<<20)
	for _, room := range []int{0, 100, 5 << 20, int(size)} {
		if _, err := Write(t.Context(), &fullDisk{room}, in, Options{Dialect: DialectMySQL, Workers: 3}); !errors.Is(err, errDisk) {
			t.Errorf("with room for %d bytes: %v", room, err)
		}
	}
}

// broken is a source of which one file fails half-way, or is not there.
type broken struct {
	files
	path    string
	missing bool
}

func (b broken) Open(ctx context.Context, path string) (io.ReadCloser, error) {
	if path != b.path {
		return b.files.Open(ctx, path)
	}
	if b.missing {
		return nil, errDisk
	}
	half := bytes.NewReader(b.files[path][:len(b.files[path])/2])
	return io.NopCloser(io.MultiReader(half, iotest.ErrReader(errDisk))), nil
}

func TestSourceFails(t *testing.T) {
	in, _ := made(0, 40<<20)
	whole := in.Source.(files)
	for _, path := range []string{"schema", "0", "2"} {
		for _, missing := range []bool{true, false} {
			in.Source = broken{whole, path, missing}
			var out bytes.Buffer
			if _, err := Write(t.Context(), &out, in, Options{Dialect: DialectITop, Workers: 2}); !errors.Is(err, errDisk) {
				t.Errorf("%s, missing %v: %v", path, missing, err)
			}
			if strings.Contains(out.String(), "Dump completed") {
				t.Errorf("%s, missing %v: the dump looks whole", path, missing)
			}
			if _, err := Size(t.Context(), in, Options{Dialect: DialectITop, Workers: 2}); !errors.Is(err, errDisk) {
				t.Errorf("size of %s, missing %v: %v", path, missing, err)
			}
		}
	}
}

func TestCancelled(t *testing.T) {
	in, _ := made(0, 20<<20)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Write(ctx, io.Discard, in, Options{Dialect: DialectMySQL}); !errors.Is(err, context.Canceled) {
		t.Errorf("write: %v", err)
	}
	if _, err := Size(ctx, in, Options{Dialect: DialectMySQL}); !errors.Is(err, context.Canceled) {
		t.Errorf("size: %v", err)
	}
}

func TestUnknownDialect(t *testing.T) {
	if _, err := Write(t.Context(), io.Discard, Input{}, Options{}); err == nil {
		t.Error("it was taken")
	}
}

// TestDamage: rows that are not as they were stored are found, and the dump does not end.
func TestDamage(t *testing.T) {
	in, _ := made(1, 20<<20)
	whole := in.Source.(files)
	chunk := whole["1"]
	middle := bytes.IndexByte(chunk[len(chunk)/2:], '\n') + len(chunk)/2 + 1
	change := func(at int, b byte) []byte {
		c := bytes.Clone(chunk)
		c[at] = b
		return c
	}
	for name, damaged := range map[string][]byte{
		"a letter":            change(middle+20, 'Q'),
		"a bit of a number":   change(middle, 'x'),
		"a tab":               change(middle+20, '\t'),
		"a newline":           change(middle+20, '\n'),
		"an escape":           change(middle+20, '\\'),
		"cut in a row":        chunk[:middle-5],
		"cut between rows":    chunk[:middle],
		"empty":               nil,
		"a row more":          append(bytes.Clone(chunk), chunk[middle:]...),
		"SQL in place of one": append([]byte("1); DROP TABLE t; -- "), chunk[21:]...),
	} {
		files := files{"1": damaged, "0": whole["0"], "schema": whole["schema"]}
		var out bytes.Buffer
		in.Source = files
		_, err := Write(t.Context(), &out, in, Options{Dialect: DialectMySQL, Workers: 2})
		if core.CodeOf(err) != core.CodeDamage {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(out.String(), "Dump completed") {
			t.Errorf("%s: the dump looks whole", name)
		}
	}
}

// rows makes a row of any length while it is read.
type longRow struct{ left int64 }

func (r *longRow) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), r.left))
	for i := range p[:n] {
		p[i] = "ab'\r"[i&3]
	}
	r.left -= int64(n)
	if r.left == 0 {
		p[n-1] = '\n'
	}
	return n, nil
}

type endless map[string]int64 // path → bytes

func (e endless) Open(_ context.Context, path string) (io.ReadCloser, error) {
	if path == "schema" {
		return io.NopCloser(strings.NewReader("CREATE TABLE `t` (\n  `a` longblob\n) DEFAULT CHARSET=utf8mb4")), nil
	}
	return io.NopCloser(&longRow{e[path]}), nil
}

// TestMemoryIsBounded: rows of 64 and 200 MB, with text of one and a half
// times that, take a few buffers.
func TestMemoryIsBounded(t *testing.T) {
	source := endless{}
	table := core.Table{Name: "t", Schema: "schema", Columns: []core.Column{{Name: "a"}}}
	for i, size := range []int64{64 << 20, 200 << 20, 1, 64 << 20} {
		path := fmt.Sprint(i)
		source[path] = size
		var sum mysql.RowSummer
		r := &longRow{size}
		piece := make([]byte, 1<<20)
		for r.left > 0 {
			n, _ := r.Read(piece)
			sum.Write(piece[:n], r.left == 0)
		}
		table.Chunks = append(table.Chunks, core.Chunk{File: path, Rows: 1, Bytes: size, Checksum: sum.Sum().String()})
	}
	in := Input{Index: core.DatabaseIndex{Tables: []core.Table{table}}, Source: source}
	for _, workers := range []int{1, 4} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		written := &counter{}
		if _, err := Write(t.Context(), written, in, Options{Dialect: DialectMySQL, Workers: workers}); err != nil {
			t.Fatal(err)
		}
		size, err := Size(t.Context(), in, Options{Dialect: DialectMySQL, Workers: workers})
		if err != nil || size != written.n {
			t.Errorf("%d workers: Size says %d, Write wrote %d (%v)", workers, size, written.n, err)
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 80<<20 {
			t.Errorf("%d workers: %d MiB were allocated", workers, used>>20)
		}
		if written.longest > 3<<20 {
			t.Errorf("%d workers: %d bytes were written at once", workers, written.longest)
		}
	}
}

type counter struct {
	n       int64
	longest int
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	c.longest = max(c.longest, len(p))
	return len(p), nil
}

// TestStatementsStayShort: no INSERT is much longer than a mebibyte, of ITFlow's
// each is a line, and together they have all rows.
func TestStatementsStayShort(t *testing.T) {
	for shape := range shapes {
		in, _ := made(shape, 20<<20)
		for _, dialect := range []Dialect{DialectMySQL, DialectITFlow} {
			var out bytes.Buffer
			if _, err := Write(t.Context(), &out, in, Options{Dialect: dialect}); err != nil {
				t.Fatal(err)
			}
			var statements, longest int
			for s := range bytes.SplitSeq(out.Bytes(), []byte(";\n")) {
				if !bytes.Contains(s, []byte("INSERT INTO")) {
					continue
				}
				statements++
				longest = max(longest, len(s))
				if dialect == DialectITFlow && bytes.Count(bytes.TrimSpace(s), []byte("\n")) > 0 {
					t.Errorf("%s: a statement of several lines: %.100q", shapes[shape].name, s)
				}
			}
			if longest > statementBytes+inBytes || statements < 10 {
				t.Errorf("%s, %s: %d statements of up to %d bytes", shapes[shape].name, dialect, statements, longest)
			}
		}
	}
}

// stuck is a writer that hangs at its first write of rows until it is released.
type stuck struct {
	hangs, released chan struct{}
	once            sync.Once
}

func (s *stuck) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("INSERT INTO")) {
		s.once.Do(func() { close(s.hangs); <-s.released })
	}
	return len(p), nil
}

// noted tells each opening of a file.
type noted struct {
	files
	opened chan string
}

func (n noted) Open(ctx context.Context, path string) (io.ReadCloser, error) {
	n.opened <- path
	return n.files.Open(ctx, path)
}

// TestSlowWriter: while nobody takes the text, only so much of it is made, however
// many chunks there are.
func TestSlowWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers, chunks = 3, 100
		table := core.Table{Name: "t", Schema: "schema", Columns: []core.Column{{Name: "a"}}}
		source := noted{files{"schema": []byte(shapes[0].create)}, make(chan string, chunks+1)}
		for i := range chunks {
			var sum mysql.RowSummer
			row := fmt.Appendf(nil, "%d\n", i)
			sum.Write(row, true)
			path := fmt.Sprint(i)
			source.files[path] = row
			table.Chunks = append(table.Chunks, core.Chunk{File: path, Rows: 1, Bytes: int64(len(row)), Checksum: sum.Sum().String()})
		}
		w := &stuck{hangs: make(chan struct{}), released: make(chan struct{})}
		failed := make(chan error, 1)
		go func() {
			_, err := Write(t.Context(), w, Input{Index: core.DatabaseIndex{Tables: []core.Table{table}}, Source: source}, Options{Dialect: DialectMySQL, Workers: workers})
			failed <- err
		}()
		<-w.hangs
		synctest.Wait()                                                // the workers do no more, unless the writer does
		if n := len(source.opened) - 1; n > 2*workers || n < workers { // but for the schema
			t.Errorf("%d chunks were begun while none was written", n)
		}
		close(w.released)
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
		if n := len(source.opened) - 1; n != chunks {
			t.Errorf("%d chunks of %d were read", n, chunks)
		}
	})
}
