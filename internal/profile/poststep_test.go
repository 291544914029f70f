package profile

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
)

func shell(script string) PostStep {
	return PostStep{Name: "try", Why: "to see", Argv: []string{"/bin/sh", "-c", script}}
}

func TestRunPostStep(t *testing.T) {
	t.Setenv("BACKSTAY_PASSWORD", "of-the-repository")
	dir := t.TempDir()
	step := shell(`echo "out $STEP $BACKSTAY_PASSWORD"; echo err >&2; pwd`)
	step.Dir, step.Env = dir, []string{"STEP=1"}
	var out bytes.Buffer
	result, err := RunPostStep(t.Context(), step, nil, &out)
	want := "out 1 \nerr\n" + dir + "\n"
	if err != nil || result.Exit != 0 || result.Output != want || out.String() != want {
		t.Errorf("%+v, %v, shown %q", result, err, out.String())
	}
	byHand, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", "unset BACKSTAY_PASSWORD; "+step.ByHand()).CombinedOutput()
	if err != nil || string(byHand) != want {
		t.Errorf("by hand: %q, %v", byHand, err)
	}
}

func TestRunPostStepFails(t *testing.T) {
	failing := func(change func(s *PostStep)) PostStep {
		s := shell("echo half done; exit 3")
		change(&s)
		return s
	}
	prove := func(err error) func(*PostStep) {
		return func(s *PostStep) {
			s.Argv = []string{"/bin/sh", "-c", "true"}
			s.Prove = func(context.Context, Querier) error { return err }
		}
	}
	for name, c := range map[string]struct {
		step PostStep
		code core.Code
		exit int
		part string
	}{
		"exit code":      {failing(func(*PostStep) {}), core.CodeFailed, 3, "half done"},
		"without a word": {failing(func(s *PostStep) { s.Argv[2] = "echo nothing"; s.Shows = "compiled" }), core.CodeFailed, 0, `without the word "compiled"`},
		"not proven":     {failing(prove(errors.New("the database is as it was"))), core.CodeFailed, 0, "as it was"},
		"killed":         {failing(func(s *PostStep) { s.Argv[2] = "kill -9 $$" }), core.CodeFailed, -1, "killed"},
		"too long":       {failing(func(s *PostStep) { s.Argv[2] = "sleep 60 & wait"; s.Timeout = 50 * time.Millisecond }), core.CodeFailed, -1, "did not end within 50ms"},
		"no program":     {failing(func(s *PostStep) { s.Argv[0] = "no-such-program" }), core.CodeUnsupported, -1, "no-such-program"},
		"no command":     {failing(func(s *PostStep) { s.Argv = nil }), core.CodeUnsupported, -1, "no command"},
		"nobody's":       {failing(func(s *PostStep) { s.As = "/no/such/path" }), core.CodeUnsupported, -1, "/no/such/path"},
		"no folder":      {failing(func(s *PostStep) { s.Dir = "/no/such/folder" }), core.CodeFailed, -1, "no such file"},
	} {
		result, err := RunPostStep(t.Context(), c.step, queryNothing{}, nil)
		if core.CodeOf(err) != c.code || result.Exit != c.exit || !strings.Contains(err.Error(), c.part) || !strings.HasPrefix(core.HintOf(err), "by hand: ") {
			t.Errorf("%s: %+v, %v (hint %q)", name, result, err, core.HintOf(err))
		}
	}
	// Nothing to ask: the command alone decides.
	step := failing(prove(errors.New("asked")))
	if _, err := RunPostStep(t.Context(), step, nil, nil); err != nil {
		t.Error(err)
	}
}

type queryNothing struct{}

func (queryNothing) Query(context.Context, string) ([][]*string, error) { return nil, nil }

// TestRunPostStepCancelled: what the command started ends with it.
func TestRunPostStepCancelled(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	pipe := filepath.Join(dir, "started")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	pid := make(chan int, 1)
	go func() {
		text, _ := os.ReadFile(pipe)
		n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		pid <- n
		cancel()
	}()
	_, err := RunPostStep(ctx, shell("sleep 600 & echo $! >"+pipe+"; wait"), nil, nil)
	if core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("got %v", err)
	}
	child := <-pid
	if child == 0 {
		t.Fatal("the command did not start its child")
	}
	ended(t, strconv.Itoa(child))
}

// TestRunPostStepOutput: much is shown whole and kept in part, and nobody who
// listens stops the command.
func TestRunPostStepOutput(t *testing.T) {
	step := shell("i=0; while [ $i -lt 3000 ]; do echo 'line of a length that adds up'; i=$((i+1)); done; echo the end")
	var out bytes.Buffer
	result, err := RunPostStep(t.Context(), step, nil, &out)
	if err != nil || out.Len() < 80_000 || len(result.Output) > MaxStepOutput || len(result.Output) < MaxStepOutput-100 || !strings.HasSuffix(result.Output, "the end\n") {
		t.Errorf("%v: shown %d, kept %d", err, out.Len(), len(result.Output))
	}
	reader, writer := io.Pipe()
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	if result, err := RunPostStep(t.Context(), step, nil, writer); err != nil || !strings.HasSuffix(result.Output, "the end\n") {
		t.Errorf("with nobody listening: %v", err)
	}
}

// TestRunPostStepAs: as root it becomes the owner of the path, as anybody else
// it says what to type.
func TestRunPostStepAs(t *testing.T) {
	dir := t.TempDir()
	owned := filepath.Join(dir, "owned")
	if err := os.WriteFile(owned, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	step := shell("id -u; id -G; echo $HOME")
	step.As = owned
	result, err := RunPostStep(t.Context(), step, nil, nil)
	if err != nil || !strings.HasPrefix(result.Output, strconv.Itoa(os.Geteuid())+"\n") {
		t.Errorf("one's own: %+v, %v", result, err)
	}
	if os.Geteuid() != 0 {
		step.As = "/etc"
		if _, err := RunPostStep(t.Context(), step, nil, nil); core.CodeOf(err) != core.CodeUnsupported || !strings.Contains(core.HintOf(err), "sudo -u root ") {
			t.Errorf("root's: %v (hint %q)", err, core.HintOf(err))
		}
		return
	}
	if err := os.Chown(owned, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	result, err = RunPostStep(t.Context(), step, nil, nil)
	lines := strings.Split(result.Output, "\n")
	if err != nil || lines[0] != "65534" || strings.Contains(" "+lines[1]+" ", " 0 ") || lines[2] == os.Getenv("HOME") {
		t.Errorf("nobody's: %+v, %v", result, err)
	}
	if err := os.Chown(owned, 54321, 54322); err != nil { // nobody knows them
		t.Fatal(err)
	}
	if result, err = RunPostStep(t.Context(), step, nil, nil); err != nil || !strings.HasPrefix(result.Output, "54321\n54322\n") {
		t.Errorf("a number's: %+v, %v", result, err)
	}
}

func TestHookSteps(t *testing.T) {
	app := App{Name: "wiki", Root: t.TempDir(), Hooks: Hooks{AfterRestore: []string{"echo $BACKSTAY_APP $BACKSTAY_ROOT; pwd", "exit 1"}}}
	steps := HookSteps(app)
	if len(steps) != 2 || steps[1].Name != "hooks.after_restore[1]" {
		t.Fatalf("got %+v", steps)
	}
	if result, err := RunPostStep(t.Context(), steps[0], nil, nil); err != nil || result.Output != "wiki "+app.Root+"\n"+app.Root+"\n" {
		t.Errorf("%+v, %v", result, err)
	}
	if _, err := RunPostStep(t.Context(), steps[1], nil, nil); err == nil {
		t.Error("its failure was not noticed")
	}
}

// TestMaintenanceHooksLeave: letting users in again is tried until it works.
func TestMaintenanceHooksLeave(t *testing.T) {
	flag := filepath.Join(t.TempDir(), "flag")
	app := App{Name: "wiki", Hooks: Hooks{MaintenanceOn: []string{"touch " + flag}, MaintenanceOff: []string{"rm " + flag}}}
	ctx, cancel := context.WithCancel(t.Context())
	leave, err := MaintenanceHooks(ctx, app)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := os.Rename(flag, flag+".away"); err != nil {
		t.Fatal(err)
	}
	if err := leave(); err == nil || !strings.Contains(err.Error(), "maintenance_off") {
		t.Errorf("got %v", err)
	}
	if err := os.Rename(flag+".away", flag); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(leave(), leave()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(flag); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the flag is there: %v", err)
	}
}

func TestCompareVersions(t *testing.T) {
	ordered := []string{"2.7.0", "2.7.0-1", "2.7.10", "3.2.1-beta", "3.2.1", "3.2.1-1-15749", "3.2.1-1-15750", "3.3.0-dev-svn", "3.3.0", "10.0"}
	for i, a := range ordered {
		for j, b := range ordered {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := CompareVersions(a, b); got != want {
				t.Errorf("%s and %s: %d, want %d", a, b, got, want)
			}
		}
	}
	if CompareVersions("3.3.0-dev-svn", "3.3.0-dev-git") != 0 || CompareVersions("", "1") >= 0 {
		t.Error("words have no order, and nothing is below something")
	}
}

func TestHostText(t *testing.T) {
	for _, c := range []struct {
		to            core.DatabaseSource
		current, want string
	}{
		{core.DatabaseSource{Host: "db"}, "old", "db"},
		{core.DatabaseSource{Host: "db", Port: 3306}, "old:3310", "db"},
		{core.DatabaseSource{Host: "db", Port: 3307}, "p:old", "p:db:3307"},
		{core.DatabaseSource{Socket: "/run/x.sock"}, "P:old:3310", "P:localhost"},
		{core.DatabaseSource{Host: "localhost", Socket: "/run/x.sock"}, "", "localhost"},
		{core.DatabaseSource{Host: "localhost", Port: 3307}, "", "127.0.0.1:3307"},
		{core.DatabaseSource{Host: "", Port: 3307}, "", "127.0.0.1:3307"},
	} {
		if got, err := HostText(c.to, c.current); err != nil || got != c.want {
			t.Errorf("%+v for %q: %q, %v", c.to, c.current, got, err)
		}
	}
	if _, err := HostText(core.DatabaseSource{Host: "fe80::1"}, ""); core.HintOf(err) == "" {
		t.Errorf("IPv6: %v", err)
	}
	same := [][2]core.DatabaseSource{
		{{Host: "db"}, {Host: "DB", Port: 3306}}, {{Socket: "/s"}, {Host: "localhost", Socket: "/s"}}, {{Host: "localhost"}, {Host: "127.0.0.1"}},
	}
	for _, s := range same {
		if !SameServer(s[0], s[1]) {
			t.Errorf("%+v and %+v differ", s[0], s[1])
		}
	}
	other := [][2]core.DatabaseSource{{{Host: "db"}, {Host: "db2"}}, {{Socket: "/s"}, {Socket: "/t"}}, {{Host: "db"}, {Host: "db", Port: 3307}}, {{Socket: "/s"}, {Host: "127.0.0.1"}}}
	for _, s := range other {
		if SameServer(s[0], s[1]) {
			t.Errorf("%+v and %+v are the same", s[0], s[1])
		}
	}
}
