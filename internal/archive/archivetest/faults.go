package archivetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

var (
	errReader = errors.New("the repository went away")
	errWriter = errors.New("no space left on device")
)

// testRepositoryFails makes each of the first readings of the backup fail, and
// later ones here and there.
func testRepositoryFails(t *testing.T, c Case) {
	newSandbox(t)
	content := Sample(t, c.Profile)
	s := content.Tree.(*tree)
	total := 0
	s.fault = func(string) error { total++; return nil }
	if _, err := c.Format.Write(t.Context(), io.Discard, content, c.writeOptions()); err != nil {
		t.Fatal(err)
	}
	for at := 1; at <= total; at += 1 + at/20 {
		n := 0
		s.fault = func(string) error {
			if n++; n == at {
				return errReader
			}
			return nil
		}
		if _, err := c.Format.Write(t.Context(), io.Discard, content, c.writeOptions()); n >= at && !errors.Is(err, errReader) {
			t.Errorf("reading %d of %d fails, and Write returns %v", at, total, err)
		}
	}
	s.fault = nil
	if c.Dialect == "" {
		return
	}
	size, dump := content.DumpSize, content.Dump
	content.DumpSize = func(context.Context, archive.Dialect) (int64, error) { return 0, errReader }
	content.Dump = func(context.Context, io.Writer, archive.Dialect) ([]core.Warning, error) { return nil, errReader }
	if _, err := c.Format.Write(t.Context(), io.Discard, content, c.writeOptions()); !errors.Is(err, errReader) {
		t.Errorf("there is no dump, and Write returns %v", err)
	}
	content.DumpSize = size
	content.Dump = func(ctx context.Context, w io.Writer, d archive.Dialect) ([]core.Warning, error) {
		if _, err := io.WriteString(w, "-- it begins well\n"); err != nil {
			return nil, err
		}
		return nil, errReader
	}
	if _, err := c.Format.Write(t.Context(), io.Discard, content, c.writeOptions()); !errors.Is(err, errReader) {
		t.Errorf("the dump breaks off, and Write returns %v", err)
	}
	warning := core.Warning{Code: "from-the-dump", Object: "t", Message: "what the dump has to say"}
	content.Dump = func(ctx context.Context, w io.Writer, d archive.Dialect) ([]core.Warning, error) {
		_, err := dump(ctx, w, d)
		return []core.Warning{warning}, err
	}
	warnings, err := c.Format.Write(t.Context(), io.Discard, content, c.writeOptions())
	if err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, w := range warnings {
		if w == warning {
			passed++
		}
	}
	if passed != 1 {
		t.Errorf("the dump's warning is passed on %d times: %v", passed, warnings)
	}
}

// limited takes so many bytes and then fails.
type limited struct {
	left int
	err  error
	full func()
}

func (w *limited) Write(p []byte) (int, error) {
	if len(p) <= w.left {
		w.left -= len(p)
		return len(p), nil
	}
	n := w.left
	w.left = 0
	if w.full != nil {
		w.full()
	}
	return n, w.err
}

// testDiskFull gives Write too little room.
func testDiskFull(t *testing.T, c Case) {
	content := Sample(t, c.Profile)
	data, _ := write(t, c, content)
	newSandbox(t)
	room := []int{0, 1, 10, len(data) - 1}
	for n := 1; n < 8; n++ {
		room = append(room, n*len(data)/8)
	}
	for _, n := range room {
		if n > len(data)-40 && n != len(data)-1 {
			continue
		}
		// Archives with random parts differ in size by a few bytes.
		short := min(n, len(data)-40)
		if n == len(data)-1 {
			short = len(data) - 1
			if d, _ := write(t, c, content); len(d) != len(data) {
				continue
			}
		}
		if _, err := c.Format.Write(t.Context(), &limited{left: max(0, short), err: errWriter}, content, c.writeOptions()); !errors.Is(err, errWriter) {
			t.Errorf("there is room for %d of %d bytes, and Write returns %v", short, len(data), err)
		}
	}
}

// testCancelled ends the context before and during the work.
func testCancelled(t *testing.T, c Case) {
	content := largeSample(t, c.Profile)
	data, _ := write(t, c, content)
	f := store(t, c.fileName(), data)
	b := newSandbox(t)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Format.Write(over, io.Discard, content, c.writeOptions()); core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("Write with a context that is over: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := c.Format.Write(ctx, &limited{full: cancel, err: context.Canceled}, content, c.writeOptions()); core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("Write while the context ends: %v", err)
	}
	if a, err := c.Format.Open(over, f, c.openOptions(b)); err == nil {
		if flaws, err := a.Check(over); core.CodeOf(err) != core.CodeCancelled {
			t.Errorf("Check with a context that is over: %v, flaws %v", err, flaws)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	} else if core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("Open with a context that is over: %v", err)
	}
	a, err := c.Format.Open(t.Context(), f, c.openOptions(b))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}()
	if flaws, err := a.Check(t.Context()); err != nil || len(flaws) > 0 {
		t.Fatal(err, flaws)
	}
	ctx, cancel = context.WithCancel(t.Context())
	entries := 0
	err = a.Files(ctx, func(archive.Entry, io.Reader) error { entries++; cancel(); return nil })
	if entries > 1 || entries == 1 && core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("Files while the context ends: %d entries, %v", entries, err)
	}
	cancel()
	if dump, err := a.OpenDump(over); err == nil && dump != nil {
		if _, err := io.Copy(io.Discard, dump); core.CodeOf(err) != core.CodeCancelled {
			t.Errorf("read the dump with a context that is over: %v", err)
		}
		_ = dump.Close() // it has been cancelled, and may say so again
	} else if err != nil && core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("OpenDump with a context that is over: %v", err)
	}
}

// memoryLimit is how many bytes of heap the writing and reading of an archive
// of large files may take.
const memoryLimit = 64 << 20

// testMemory writes and reads a content that is far larger than the memory it
// may take.
func testMemory(t *testing.T, c Case) {
	const size = 150 << 20
	nodes := sampleNodes()
	for _, top := range []string{"files/app/data", "files/app/uploads"} {
		nodes = append(nodes, node{
			path: top + "/huge.bin", typ: core.TypeFile, mode: 0o640, time: fixedTime,
			made: func() io.ReadSeeker { return &pattern{size: size} }, size: size,
		})
	}
	content := content(t, c.Profile, newTree(), nodes, 0)
	if c.Dialect != "" {
		content.DumpSize = func(context.Context, archive.Dialect) (int64, error) { return size, nil }
		content.Dump = func(ctx context.Context, w io.Writer, _ archive.Dialect) ([]core.Warning, error) {
			return nil, largeDump(ctx, w, size)
		}
	}
	f, err := os.Create(filepath.Join(t.TempDir(), c.fileName()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it is only read then
	b := newSandbox(t)
	debug.FreeOSMemory()
	opt := c.writeOptions()
	opt.Level = 1
	var m meter
	m.begin()
	opt.Progress = &m
	if _, err := c.Format.Write(t.Context(), &metered{f, &m}, content, opt); err != nil {
		t.Fatal(err)
	}
	t.Logf("Write: %d MB of heap", m.peak>>20)
	if m.peak > memoryLimit {
		t.Errorf("Write takes %d MB of heap", m.peak>>20)
	}
	debug.FreeOSMemory()
	m.begin()
	read := c.openOptions(b)
	read.Progress = &m
	a, err := c.Format.Open(t.Context(), f, read)
	if err != nil {
		t.Fatal(err)
	}
	flaws, err := a.Check(t.Context())
	m.look()
	if err != nil || len(flaws) > 0 {
		t.Fatal(err, flaws)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("Check: %d MB of heap", m.peak>>20)
	if m.peak > memoryLimit {
		t.Errorf("Check takes %d MB of heap", m.peak>>20)
	}
}

// largeDump writes a dump of exactly size bytes.
func largeDump(ctx context.Context, w io.Writer, size int) error {
	const head, end = "-- MariaDB dump 10.19\n", "-- Dump completed on 2026-03-04  5:06:07\n"
	line := []byte(fmt.Sprintf("INSERT INTO `t` VALUES (1,'%0200d');\n", 7))
	if _, err := io.WriteString(w, head); err != nil {
		return err
	}
	for left := size - len(head) - len(end); left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if left < 2*len(line) {
			line = fmt.Appendf(nil, "-- %0*d\n", left-4, 0)
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
		left -= len(line)
	}
	_, err := io.WriteString(w, end)
	return err
}

// meter looks at the heap every few megabytes of progress.
type meter struct {
	mu         sync.Mutex
	base, peak uint64
	since      int64
}

func (m *meter) begin() {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	m.base, m.peak = s.HeapAlloc, 0
}

func (m *meter) look() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lookLocked()
}

func (m *meter) lookLocked() {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	if s.HeapAlloc > m.base {
		m.peak = max(m.peak, s.HeapAlloc-m.base)
	}
}

func (m *meter) Stage(string, int64) {}
func (m *meter) Item(string)         {}

// Add implements core.Progress.
func (m *meter) Add(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.since += n; m.since > 4<<20 {
		m.since = 0
		m.lookLocked()
	}
}

// metered looks at the heap as an archive is written.
type metered struct {
	w io.Writer
	m *meter
}

func (w *metered) Write(p []byte) (int, error) {
	w.m.look()
	return w.w.Write(p)
}
