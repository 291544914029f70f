package progress_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/progress"
)

// clock moves on by a second at each look.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Second)
	return c.now
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)} }

// until reads until what is read is as wanted.
func until(t *testing.T, dir string, run int64, want func(progress.Progress) bool) progress.Progress {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var last progress.Progress
	var err error
	for {
		if last, err = progress.Read(dir, run); err == nil && want(last) {
			return last
		}
		if err != nil && !errors.Is(err, progress.ErrNone) {
			t.Fatal(err)
		}
		select {
		case <-deadline:
			t.Fatalf("it says %+v, %v", last, err)
		case <-tick.C:
		}
	}
}

func TestWriter(t *testing.T) {
	dir := t.TempDir()
	w := progress.NewWriter(dir, 7, newClock(), slog.New(slog.DiscardHandler))
	if _, err := progress.Read(dir, 7); !errors.Is(err, progress.ErrNone) {
		t.Errorf("before the first stage: %v", err)
	}
	w.Stage("database", 100)
	w.Item("tickets")
	w.Add(60)
	w.Add(40)
	got := until(t, dir, 7, func(p progress.Progress) bool { return p.Done == 100 })
	if got.Run != 7 || got.Stage != "database" || got.Item != "tickets" || got.Total != 100 || got.Began.IsZero() || !got.Updated.After(got.Began) {
		t.Errorf("%+v", got)
	}
	w.Stage("files", -1)
	got = until(t, dir, 7, func(p progress.Progress) bool { return p.Stage == "files" })
	if len(got.Stages) != 1 || got.Stages[0].DurationMS < 1000 || got.Item != "" || got.Done != 0 || got.Total != 0 {
		t.Errorf("%+v", got)
	}
	got.Stages[0].DurationMS = 0
	if diff := cmp.Diff([]progress.Stage{{Name: "database", Done: 100}}, got.Stages); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(filepath.Join(dir, "progress", "7.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	w.Close()
	w.Close()
	w.Stage("too late", 1)
	if _, err := progress.Read(dir, 7); !errors.Is(err, progress.ErrNone) {
		t.Errorf("after the end: %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "progress")); err != nil || len(left) != 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

// TestReadersSeeWholeStates: whoever reads while it is written reads all of it.
func TestReadersSeeWholeStates(t *testing.T) {
	dir := t.TempDir()
	w := progress.NewWriter(dir, 1, newClock(), slog.New(slog.DiscardHandler))
	defer w.Close()
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() {
			for j := range 200 {
				w.Stage(fmt.Sprint(i, j, strings.Repeat("x", j)), int64(j))
				w.Item("item")
				w.Add(1)
			}
		})
	}
	ended := make(chan struct{})
	go func() { writers.Wait(); close(ended) }()
	for {
		if _, err := progress.Read(dir, 1); err != nil && !errors.Is(err, progress.ErrNone) {
			t.Fatal(err)
		}
		select {
		case <-ended:
			return
		default:
		}
	}
}

// TestBounded: whatever names there are, what is written can be read.
func TestBounded(t *testing.T) {
	dir := t.TempDir()
	w := progress.NewWriter(dir, 1, newClock(), slog.New(slog.DiscardHandler))
	defer w.Close()
	hostile := strings.Repeat("\x00\xff\"<", 100_000)
	for range 300 {
		w.Stage(hostile, 1)
		w.Item(hostile)
	}
	w.Stage("the last", 1)
	got := until(t, dir, 1, func(p progress.Progress) bool { return p.Stage == "the last" })
	if n := len(got.Stages); n == 0 || n > 100 {
		t.Errorf("%d stages", n)
	}
}

// TestCannotBeWritten: that is said once, and nothing else happens.
func TestCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "progress"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var said lockedBuffer
	w := progress.NewWriter(dir, 1, newClock(), slog.New(slog.NewTextHandler(&said, nil)))
	var p core.Progress = w
	deadline := time.Now().Add(10 * time.Second)
	for said.count("level=WARN") == 0 {
		if time.Now().After(deadline) {
			t.Fatal("nothing is said")
		}
		p.Stage("database", 1)
		p.Add(1)
	}
	for range 100 {
		p.Stage("again", 1)
	}
	w.Close()
	if n := said.count("level=WARN"); n != 1 {
		t.Errorf("said %d times: %s", n, said.buf.String())
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) count(part string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.buf.String(), part)
}

// TestHostileFiles: what is not a writer's is an error, at once, and not read.
func TestHostileFiles(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "progress")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(run int, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprint(run)+".json"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(1, "")
	put(2, `{"run":2,"stage":"a"`)
	put(3, `{"run":4}`)
	put(4, `{"run":4,"stage":"`+strings.Repeat("x", 70_000)+`"}`)
	put(5, `[1]`)
	for _, err := range []error{
		unix.Mkfifo(filepath.Join(folder, "6.json"), 0o600), os.Symlink("/dev/zero", filepath.Join(folder, "7.json")),
		os.Mkdir(filepath.Join(folder, "8.json"), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for run := range int64(8) {
		if got, err := progress.Read(dir, run+1); err == nil || errors.Is(err, progress.ErrNone) {
			t.Errorf("run %d: %+v, %v", run+1, got, err)
		}
	}
	put(9, `{"run":9,"done":-5,"total":-1}`)
	if got, err := progress.Read(dir, 9); err != nil || got.Done != 0 || got.Total != 0 {
		t.Errorf("%+v %v", got, err)
	}
}

func TestClean(t *testing.T) {
	dir := t.TempDir()
	if err := progress.Clean(dir, func(int64) bool { return false }); err != nil {
		t.Errorf("without a folder: %v", err)
	}
	folder := filepath.Join(dir, "progress")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"1.json", "2.json", "2.json.new", "3.json.new", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := progress.Clean(dir, func(run int64) bool { return run == 1 }); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(folder + "/*")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{folder + "/1.json", folder + "/notes.txt"}, left); diff != "" {
		t.Error(diff)
	}
	if err := errors.Join(progress.Remove(dir, 1), progress.Remove(dir, 1)); err != nil {
		t.Error(err)
	}
	if _, err := progress.Read(dir, 1); !errors.Is(err, progress.ErrNone) {
		t.Errorf("removed: %v", err)
	}
}
