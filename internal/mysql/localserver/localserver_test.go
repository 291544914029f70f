package localserver_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/localserver"
)

// childVariable makes the test binary start a server in the folder that it
// names, say so, and wait to be killed.
const childVariable = "BACKSTAY_TEST_SERVER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		os.Exit(child(dir))
	}
	os.Exit(m.Run())
}

func child(dir string) int {
	s, err := localserver.Start(context.Background(), localserver.Options{Dir: dir})
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	fmt.Println(s.Dir)
	_, err = io.Copy(io.Discard, os.Stdin) // until the test is done
	return map[bool]int{true: 0, false: 1}[errors.Join(err, s.Stop(context.Background())) == nil]
}

func start(t *testing.T, opts localserver.Options) *localserver.Server {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	s, err := localserver.Start(t.Context(), opts)
	if err != nil {
		t.Fatalf("%v\nhint: %s", err, core.HintOf(err))
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func query(t *testing.T, s *localserver.Server, statements ...string) string {
	t.Helper()
	conn, err := mysql.Connect(t.Context(), mysql.Config{Socket: s.Socket, User: s.User})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	text := ""
	for _, statement := range statements {
		rows, err := conn.Query(t.Context(), statement)
		if err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		if len(rows) > 0 {
			text = rows[0][0].Text
		}
	}
	return text
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("left behind: %s", filepath.Join(dir, e.Name()))
	}
}

func TestStopLeavesNothing(t *testing.T) {
	parent := t.TempDir()
	s := start(t, localserver.Options{Dir: parent, Name: "Help/desk"})
	if got := query(t, s, "SELECT CURRENT_USER()"); got != "root@localhost" {
		t.Errorf("the user is %s", got)
	}
	if got := query(t, s, "SELECT @@skip_networking"); got != "1" {
		t.Errorf("without TCP, skip_networking is %s", got)
	}
	if got := query(t, s, "SELECT @@datadir"); !strings.HasPrefix(got, parent) {
		t.Errorf("the data folder is %s", got)
	}
	for range 2 {
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wantEmpty(t, parent)
	if err := s.Restart(t.Context()); err == nil {
		t.Error("a stopped server restarted")
	}
}

func TestTCPListensOnLoopbackOnly(t *testing.T) {
	s := start(t, localserver.Options{TCP: true})
	conn, err := mysql.Connect(t.Context(), mysql.Config{Host: "127.0.0.1", Port: s.Port, User: s.User})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if got := query(t, s, "SELECT @@bind_address"); got != "127.0.0.1" {
		t.Errorf("bound to %q", got)
	}
}

func TestTakenPortIsAnError(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	parent := t.TempDir()
	_, err = localserver.Start(t.Context(), localserver.Options{Dir: parent, TCP: true, Port: l.Addr().(*net.TCPAddr).Port})
	if err == nil || !strings.Contains(err.Error(), "the port is in use") {
		t.Errorf("got %v", err)
	}
	wantEmpty(t, parent)
}

func TestKilledServerRestartsWithItsData(t *testing.T) {
	s := start(t, localserver.Options{TCP: true})
	query(t, s, "CREATE DATABASE d", "CREATE TABLE d.t (a INT) ENGINE=InnoDB", "INSERT INTO d.t VALUES (7)")
	port := s.Port
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("unix", s.Socket); err == nil {
		t.Error("the killed server answers")
	}
	for range 2 { // once after a crash, once after a clean shutdown
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := query(t, s, "SELECT a FROM d.t"); got != "7" || s.Port != port {
			t.Errorf("after the restart the row is %q and the port %d, before it was %d", got, s.Port, port)
		}
	}
}

func TestLongPathGetsShortSocket(t *testing.T) {
	parent := filepath.Join(t.TempDir(), strings.Repeat("long", 20), strings.Repeat("er", 40))
	if err := os.MkdirAll(parent, 0o700); err != nil {
		t.Fatal(err)
	}
	s := start(t, localserver.Options{Dir: parent})
	query(t, s, "SELECT 1")
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantEmpty(t, parent)
	if _, err := os.Stat(filepath.Dir(s.Socket)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's folder %s is still there: %v", filepath.Dir(s.Socket), err)
	}
}

func TestMissingBinaryNamesThePackage(t *testing.T) {
	parent := t.TempDir()
	for name, path := range map[string]string{"none": filepath.Join(parent, "mariadbd"), "no program": "/dev/null"} {
		_, err := localserver.Start(t.Context(), localserver.Options{Dir: parent, Binary: path})
		if core.CodeOf(err) != core.CodeUnsupported || !strings.Contains(core.HintOf(err), "mariadb-server") {
			t.Errorf("%s: got %v, hint %q", name, err, core.HintOf(err))
		}
	}
	wantEmpty(t, parent)
}

func TestFailedStartQuotesTheLog(t *testing.T) {
	parent := t.TempDir()
	_, err := localserver.Start(t.Context(), localserver.Options{Dir: parent, Args: []string{"--no-such-option"}})
	if core.CodeOf(err) != core.CodeDatabase || !strings.Contains(err.Error(), "unknown option '--no-such-option'") {
		t.Errorf("got %v", err)
	}
	wantEmpty(t, parent)
}

func TestDeadServerIsToldAtStop(t *testing.T) {
	parent := t.TempDir()
	s := start(t, localserver.Options{Dir: parent})
	query(t, s, "SELECT 1")
	conn, err := mysql.Connect(t.Context(), mysql.Config{Socket: s.Socket, User: s.User})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "SHUTDOWN"); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	waitFor(t, "the server to end", func() bool {
		_, err := os.Stat(filepath.Join(s.Dir, "server.pid"))
		return errors.Is(err, os.ErrNotExist)
	})
	// Whether the process has gone or is going, Stop ends well or says that it was gone.
	if err := s.Stop(t.Context()); err != nil && !strings.Contains(err.Error(), "run database server") {
		t.Error(err)
	}
	wantEmpty(t, parent)
}

func TestCancelledStartLeavesNothing(t *testing.T) {
	parent := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := localserver.Start(ctx, localserver.Options{Dir: parent})
	if core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("got %v", err)
	}
	wantEmpty(t, parent)
}

// Several processes may need the first template at once, and one that was cut
// short must not be used.
func TestTemplateIsMadeOnceAndRepaired(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			s, err := localserver.Start(t.Context(), localserver.Options{Dir: t.TempDir()})
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	found, err := filepath.Glob(filepath.Join(cache, "backstay", "database", "*", "data", "ibdata1"))
	if err != nil || len(found) != 1 {
		t.Fatalf("templates: %v, %v", found, err)
	}
	for name, damage := range map[string]func() error{
		"shortened": func() error { return os.Truncate(found[0], 1<<20) },
		"missing":   func() error { return os.Remove(found[0]) },
		"flipped":   func() error { return flipByte(found[0], 70000) },
		"no index": func() error {
			return os.Truncate(filepath.Join(filepath.Dir(filepath.Dir(found[0])), "template.json"), 10)
		},
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		s := start(t, localserver.Options{})
		if got := query(t, s, "SELECT COUNT(*) FROM mysql.global_priv WHERE user = 'root'"); got == "0" {
			t.Errorf("%s: no root", name)
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := os.Stat(found[0]); err != nil || info.Size() < 12<<20 {
			t.Errorf("%s: the template was not made anew: %v", name, err)
		}
	}
}

func flipByte(path string, offset int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], offset); err != nil {
		return err
	}
	b[0] ^= 1
	_, err = f.WriteAt(b[:], offset)
	return err
}

func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	parent := t.TempDir()
	if err := syscall.Mount("tmpfs", parent, "tmpfs", 0, "size=6m"); err != nil {
		t.Skipf("this machine lets no file system be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(parent, 0); err != nil {
			t.Error(err)
		}
	})
	t.Run("template", func(t *testing.T) {
		t.Setenv("XDG_CACHE_HOME", filepath.Join(parent, "cache"))
		if err := os.Mkdir(filepath.Join(parent, "cache"), 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := localserver.Start(t.Context(), localserver.Options{Dir: t.TempDir()})
		wantDisk(t, err)
		if err := os.RemoveAll(filepath.Join(parent, "cache")); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("data", func(t *testing.T) {
		_, err := localserver.Start(t.Context(), localserver.Options{Dir: parent})
		wantDisk(t, err)
		wantEmpty(t, parent)
	})
}

func wantDisk(t *testing.T, err error) {
	t.Helper()
	if core.CodeOf(err) != core.CodeDisk || core.HintOf(err) == "" {
		t.Errorf("got %v (code %s, hint %q)", err, core.CodeOf(err), core.HintOf(err))
	}
}

// The kernel kills the server with the thread that started it, so that thread
// must not be one that ends before the program does.
func TestServerOutlivesTheCallersThread(t *testing.T) {
	var s *localserver.Server
	var err error
	parent := t.TempDir()
	var wg sync.WaitGroup
	wg.Go(func() {
		runtime.LockOSThread() // not unlocked: the thread ends here
		s, err = localserver.Start(t.Context(), localserver.Options{Dir: parent})
	})
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		query(t, s, "SELECT 1")
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// serverPID returns the process number of the server in a folder.
func serverPID(t *testing.T, dir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "server.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// runs says whether a process is there and no zombie.
func runs(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited too long for %s", what)
		case <-ticker.C:
		}
	}
}

// startChild runs this binary as a process that starts a server in parent, and
// returns it with the server's folder.
func startChild(t *testing.T, binary, parent string, attr *syscall.SysProcAttr, env ...string) (*exec.Cmd, io.Closer, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = append(append(os.Environ(), childVariable+"="+parent), env...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = attr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(out)
	line, err := said.ReadString('\n')
	dir := strings.TrimSpace(line)
	if err != nil || !filepath.IsAbs(dir) {
		rest, restErr := io.ReadAll(said)
		t.Fatalf("the child said %s%s: %v", line, rest, errors.Join(err, restErr, cmd.Wait()))
	}
	return cmd, in, dir
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // "signal: killed"
}

func TestKilledParentLeavesNothing(t *testing.T) {
	parent := t.TempDir()
	cmd, _, dir := startChild(t, os.Args[0], parent, nil)
	pid := serverPID(t, dir)
	kill(t, cmd)
	waitFor(t, "the server to die", func() bool { return !runs(pid) })
	waitFor(t, "the folder to go", func() bool {
		_, err := os.Stat(dir)
		return errors.Is(err, os.ErrNotExist)
	})
	wantEmpty(t, parent)
}

// With the watchdog gone too, the server dies all the same and the next start
// removes the folder.
func TestKilledParentAndWatchdog(t *testing.T) {
	parent := t.TempDir()
	cmd, _, dir := startChild(t, os.Args[0], parent, nil)
	pid := serverPID(t, dir)
	watchdog := childOf(t, cmd.Process.Pid, "backstay-database-watchdog")
	if err := syscall.Kill(watchdog, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	kill(t, cmd)
	waitFor(t, "the server to die", func() bool { return !runs(pid) })
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("the folder went without a watchdog: %v", err)
	}
	s := start(t, localserver.Options{Dir: parent})
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the next start left the dead one's folder: %v", err)
	}
	query(t, s, "SELECT 1")
}

// childOf finds a child process by a word of its command line.
func childOf(t *testing.T, parent int, word string) int {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); len(fields) < 2 || fields[1] != strconv.Itoa(parent) {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if err == nil && strings.Contains(string(cmdline), word) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatalf("process %d has no child %q", parent, word)
	return 0
}

func TestOtherServersInTheFolderLiveOn(t *testing.T) {
	parent := t.TempDir()
	cmd, in, dir := startChild(t, os.Args[0], parent, nil)
	s := start(t, localserver.Options{Dir: parent})
	query(t, s, "SELECT 1")
	if !runs(serverPID(t, dir)) {
		t.Error("a start ended the server of another process")
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the other process could not stop its server: %v", err)
	}
}

func TestOrdinaryUserWithoutHome(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user; as an ordinary user every other test shows this")
	}
	// Where an ordinary user can reach it.
	dir, err := os.MkdirTemp("", "backstay-test-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	binary := filepath.Join(dir, "test")
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(binary, program, 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	home := filepath.Join(dir, "home")
	if err := errors.Join(os.Mkdir(home, 0o700), os.Chown(home, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	attr := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	cmd, in, server := startChild(t, binary, home, attr, "HOME=/nonexistent", "XDG_CACHE_HOME=", "TMPDIR="+home)
	if !runs(serverPID(t, server)) {
		t.Error("the server does not run")
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(server); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %s", server)
	}
	if _, err := os.Stat("/nonexistent"); !errors.Is(err, os.ErrNotExist) {
		t.Error("a home folder was made that was not there")
	}
}

// A system fresh from debootstrap knows neither its own name nor localhost.
func TestNoNameCanBeLookedUp(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can put an empty /etc/hosts in place for one process")
	}
	parent := t.TempDir()
	// A program that makes such a system, for itself alone, and then is the child.
	script := filepath.Join(t.TempDir(), "nameless")
	text := `#!/bin/sh
set -e
mount --make-rprivate /
[ ! -e /etc/hosts ] || mount --bind /dev/null /etc/hosts
[ ! -e /etc/resolv.conf ] || mount --bind /dev/null /etc/resolv.conf
[ ! -e /etc/nsswitch.conf ] || mount --bind "$0.nsswitch" /etc/nsswitch.conf
for name in localhost "$(uname -n)"; do
	if getent hosts "$name"; then echo "$name can still be looked up"; exit 1; fi
done
exec "$0.child"
`
	if err := errors.Join(
		os.WriteFile(script, []byte(text), 0o700), os.WriteFile(script+".nsswitch", []byte("hosts: files\n"), 0o644),
		os.Symlink(os.Args[0], script+".child"),
	); err != nil {
		t.Fatal(err)
	}
	attr := &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	probe := exec.CommandContext(t.Context(), "mount", "--make-rprivate", "/")
	probe.SysProcAttr = attr
	if out, err := probe.CombinedOutput(); err != nil {
		t.Skipf("this machine gives no process mounts of its own: %v: %s", err, out)
	}
	cmd, in, dir := startChild(t, script, parent, attr, "XDG_CACHE_HOME="+t.TempDir())
	if !runs(serverPID(t, dir)) {
		t.Error("the server does not run")
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	wantEmpty(t, parent)
}
