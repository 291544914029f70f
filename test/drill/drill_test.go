// Package drill shows that drills of the whole program leave nothing behind,
// whatever ends them, and name what is wrong with a backup that was damaged on
// purpose. It is for the project's own tests.
package drill

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/cli"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// selfVariable makes a process of this test's program backstay.
const selfVariable = "BACKSTAY_TEST_SELF"

func TestMain(m *testing.M) {
	if os.Getenv(selfVariable) != "" {
		os.Exit(backstay())
	}
	os.Exit(mysqltest.Main(m))
}

// backstay is cmd/backstay's main.
func backstay() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return cli.Main(ctx, os.Args[1:], cli.Environment{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Clock: core.SystemClock{}, Version: "1.2.3-test",
	})
}

// site is the demo's helpdesk in a repository.
type site struct {
	t                 *testing.T
	dir, scratch, cfg string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: filepath.Join(t.TempDir(), "demo"), scratch: t.TempDir()}
	s.cfg = filepath.Join(s.dir, "backstay.yaml")
	if out, err := s.command("demo", "--size", "8", "--keep="+s.dir, "--no-progress").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return s
}

func (s *site) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(s.t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), selfVariable+"=1", "HOME="+s.t.TempDir())
	return cmd
}

func (s *site) on(args ...string) *exec.Cmd {
	return s.command(append([]string{"--config", s.cfg}, args...)...)
}

// empty waits until nothing is in the scratch folder: the server of a killed
// drill takes a moment to die.
func (s *site) empty() {
	s.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		left, err := os.ReadDir(s.scratch)
		if err != nil {
			s.t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("a drill left %v", left)
		}
	}
}

// runs are the recorded drills, newest first.
func (s *site) runs() []core.Run {
	s.t.Helper()
	out, err := s.on("runs", "--json").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	var got struct{ Runs []core.Run }
	if err := json.Unmarshal(out, &got); err != nil {
		s.t.Fatal(err)
	}
	var drills []core.Run
	for _, r := range got.Runs {
		if r.Kind == core.RunDrill {
			drills = append(drills, r)
		}
	}
	return drills
}

// TestKilled kills a drill in each of its stages. What is left is a failed
// record, and the next drill passes.
func TestKilled(t *testing.T) {
	s := newSite(t)
	for n, stage := range []string{"plan the restore", "load and verify database", "restore files", "look at the copy"} {
		cmd := s.on("drill", "helpdesk", "--dir", s.scratch)
		said, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// A line says that a stage is over: the next one runs then.
		lines, seen := bufio.NewScanner(said), false
		for lines.Scan() {
			if seen = strings.Contains(lines.Text(), stage); seen {
				if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
					t.Fatal(err)
				}
				break
			}
		}
		err = cmd.Wait()
		if !seen {
			if stage == "look at the copy" { // an application that nothing is known of is not looked at
				continue
			}
			t.Fatalf("stage %q did not come", stage)
		}
		if err == nil {
			t.Logf("the drill was over before it could be killed after %q", stage)
			continue
		}
		s.empty()
		drills := s.runs()
		if len(drills) != n+1 || drills[0].Outcome != core.OutcomeFailed {
			t.Errorf("killed after %q the records are %+v", stage, drills)
		}
	}
	if out, err := s.on("drill", "helpdesk", "--dir", s.scratch).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.empty()
}

// TestInterrupted ends a drill as Ctrl-C does.
func TestInterrupted(t *testing.T) {
	s := newSite(t)
	cmd := s.on("drill", "helpdesk", "--dir", s.scratch)
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(said); lines.Scan(); {
		if strings.Contains(lines.Text(), "plan the restore") {
			break
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("it ended with %v", err)
	}
	left, err := os.ReadDir(s.scratch)
	if err != nil || len(left) > 0 {
		t.Errorf("it left %v (%v)", left, err)
	}
	if drills := s.runs(); len(drills) != 1 || drills[0].Outcome != core.OutcomeCancelled {
		t.Errorf("the records are %+v", drills)
	}
}
