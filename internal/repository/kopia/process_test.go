package kopia_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository/kopia"
	"github.com/backstay/backstay/internal/repository/repositorytest"
)

// childVar, when set, makes this test binary another process on a repository:
// "write FROM TO", "maintain", "maintain-killed CHANGE", "large", or "hang" (in the middle of a backup).
const childVar = "BACKSTAY_TEST_CHILD"

func TestMain(m *testing.M) {
	if job := os.Getenv(childVar); job != "" {
		if err := child(context.Background(), strings.Fields(job), os.Getenv("BACKSTAY_TEST_URL")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(ctx context.Context, job []string, url string) (err error) {
	if job[0] == "maintain-killed" {
		return killed(ctx, url, job[1])
	}
	s, err := kopia.Open(ctx, kopia.Options{URL: url, Password: core.NewSecret("correct horse"), Hostname: "child"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(ctx)) }()
	switch job[0] {
	case "write":
		from, err := strconv.Atoi(job[1])
		if err != nil {
			return err
		}
		to, err := strconv.Atoi(job[2])
		if err != nil {
			return err
		}
		for n := from; n < to; n++ {
			r, err := store(ctx, s, n)
			if err != nil {
				return fmt.Errorf("backup %d: %w", n, err)
			}
			if n%2 == 1 {
				if err := s.Delete(ctx, r.ID); err != nil {
					return fmt.Errorf("delete %d: %w", n, err)
				}
			}
		}
	case "maintain":
		_, err := s.Maintain(ctx)
		return err
	case "large":
		return large(ctx, s)
	case "hang":
		ss, err := s.Begin(ctx)
		if err != nil {
			return err
		}
		if _, err := repositorytest.Put(ctx, ss, "f", repositorytest.Random(77, 50<<20)); err != nil {
			return err
		}
		fmt.Println("written")
		_, err = io.Copy(io.Discard, os.Stdin) // until killed
		return err
	}
	return nil
}

func start(t *testing.T, opts kopia.Options, job string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"="+job, "BACKSTAY_TEST_URL="+opts.URL, "TMPDIR="+t.TempDir())
	cmd.Stderr = os.Stderr
	return cmd
}

// TestManyProcesses lets processes write, delete and maintain at once.
func TestManyProcesses(t *testing.T) {
	opts := create(t)
	s := mustOpen(t, opts)
	defer mustClose(t, s)
	const processes, each = 3, 6
	var wg sync.WaitGroup
	for i := range processes {
		cmd := start(t, opts, fmt.Sprintf("write %d %d", i*each, (i+1)*each))
		wg.Go(func() {
			if err := cmd.Run(); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	for range 3 {
		if _, err := s.Maintain(t.Context()); err != nil {
			t.Errorf("maintain: %v", err)
		}
		if _, err := s.List(t.Context()); err != nil {
			t.Errorf("list: %v", err)
		}
	}
	wg.Wait()
	cmd := start(t, opts, "maintain")
	if err := cmd.Run(); err != nil {
		t.Errorf("maintain in another process: %v", err)
	}
	records, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != processes*each/2 {
		t.Fatalf("%d backups, want %d", len(records), processes*each/2)
	}
	for i, r := range records {
		if err := read(t, s, r, 2*i); err != nil {
			t.Error(err)
		}
	}
}

// TestKilled kills a process in the middle of a backup.
func TestKilled(t *testing.T) {
	opts := create(t)
	s := mustOpen(t, opts)
	defer mustClose(t, s)
	first := mustStore(t, s, 1)
	cmd := start(t, opts, "hang")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "written\n" {
		t.Fatalf("child said %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
	check := func(want int) {
		t.Helper()
		records, err := s.List(t.Context())
		if err != nil || len(records) != want {
			t.Fatalf("%d backups, %v; want %d", len(records), err, want)
		}
		if err := read(t, s, first, 1); err != nil {
			t.Error(err)
		}
	}
	check(1)
	mustStore(t, s, 2)
	if _, err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(2)
}

func TestMaintainTwiceAtOnce(t *testing.T) {
	opts := create(t)
	stores := []*kopia.Store{mustOpen(t, opts), mustOpen(t, opts)}
	mustStore(t, stores[0], 1)
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for i, s := range stores {
		wg.Go(func() { _, errs[i] = s.Maintain(t.Context()) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil { // unless one was over before the other began
			wantError(t, err, core.CodeLocked, "is being maintained by process "+strconv.Itoa(os.Getpid()), "testhost")
		}
	}
	for _, s := range stores {
		mustClose(t, s)
	}
}

const (
	largeFiles = 4
	largeSize  = 100 << 20
)

// large stores and reads back files at once, and prints the most memory that
// this process ever had, in bytes.
func large(ctx context.Context, s *kopia.Store) error {
	ss, err := s.Begin(ctx)
	if err != nil {
		return err
	}
	defer ss.Abort()
	errs := make(chan error)
	entries := make([]core.Entry, largeFiles)
	for i := range entries {
		go func() {
			errs <- func() (err error) {
				f, err := ss.Create(ctx, "large")
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, f.Close()) }()
				for n := range largeSize >> 20 {
					if _, err := f.Write(repositorytest.Random(uint64(i<<8+n), 1<<20)); err != nil {
						return err
					}
				}
				o, err := f.Finish()
				entries[i] = core.Entry{Name: strconv.Itoa(i), Type: core.TypeFile, Object: o}
				return err
			}()
		}()
	}
	var failed error
	for range entries {
		failed = errors.Join(failed, <-errs)
	}
	if failed != nil {
		return failed
	}
	root, err := ss.WriteDir(ctx, entries)
	if err != nil {
		return err
	}
	if _, err := ss.Commit(ctx, root, repositorytest.NewBackup(1)); err != nil {
		return err
	}
	for _, e := range entries {
		in, err := s.Open(ctx, e.Object.ID)
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, in)
		if err := errors.Join(err, in.Close()); err != nil || n != largeSize {
			return fmt.Errorf("read %d bytes: %w", n, err)
		}
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	fmt.Println(strings.Fields(peak)[0])
	return nil
}

// TestMemoryIsBounded stores much more than the memory that it may take.
func TestMemoryIsBounded(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("only Linux tells how much memory a process had")
	}
	if raceDetector {
		t.Skip("the race detector takes several times the memory")
	}
	out, err := start(t, create(t), "large").Output()
	if err != nil {
		t.Fatalf("child: %v", err)
	}
	peak, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	// The key derivation takes 64 MiB, each of up to four processors 40 MiB.
	most := (150 + 40*min(runtime.GOMAXPROCS(0), 4)) << 10
	t.Logf("%d KiB at most for %d MiB", peak, largeFiles*largeSize>>20)
	if peak > most {
		t.Errorf("%d KiB of memory, want at most %d", peak, most)
	}
}
