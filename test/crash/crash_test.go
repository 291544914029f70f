// Package crash ends the built program in the middle of its work, with an
// interrupt and with a kill, at several moments, and looks at what is left. It
// is for the project's own tests. It promises that the moments are chosen, not
// hit by luck, where the work has a moment that a test can hold it at.
package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

var program string // the built backstay

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "backstay-built-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "backstay")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "github.com/backstay/backstay/cmd/backstay")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build backstay: %v\n%s", err, out)
		return 1
	}
	return mysqltest.Main(m)
}

// limit is how long a process may take for what it is asked to do.
const limit = time.Minute

// patience is how long a process may take to end once it is told to, also when
// the database server does not answer.
const patience = 20 * time.Second

// place is an app with a repository, in folders of the test's own.
type place struct {
	t        *testing.T
	dir      string
	db       string
	server   *localserver.Server
	account  mysql.Config
	appRoot  string
	hooks    string // lines of the app in backstay.yaml
	more     string // and one that the place itself needs
	password string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{t: t, dir: t.TempDir(), db: mysqltest.Database(t), server: mysqltest.Server(t)}
	p.account = mysqltest.User(t, "ALL ON `"+strings.ReplaceAll(p.db, "_", `\_`)+"`.*")
	p.password = p.account.Password.Reveal()
	p.appRoot = filepath.Join(p.dir, "app")
	for _, d := range []string{"tmp", "home", "app/uploads"} {
		p.ok(os.MkdirAll(filepath.Join(p.dir, d), 0o700))
	}
	p.write("db.pw", p.password+"\n")
	p.write("app/uploads/a.txt", "first\n")
	p.write("app/uploads/random.bin", string(random(1, 1<<20)))
	mysqltest.ExecIn(t, p.db,
		"CREATE TABLE pages (id INT PRIMARY KEY, body TEXT) ENGINE=InnoDB", "CREATE TABLE tags (page INT, tag VARCHAR(30)) ENGINE=InnoDB",
		"INSERT INTO pages SELECT seq, REPEAT(SHA2(seq, 512), 8) FROM seq_1_to_4000", "INSERT INTO tags SELECT seq, 'x' FROM seq_1_to_1000")
	p.config(p.server.Port)
	p.runs(0, "init")
	return p
}

func random(seed uint64, size int) []byte {
	b := make([]byte, size)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func (p *place) ok(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) write(name, text string) {
	p.t.Helper()
	p.ok(os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600))
}

// config writes the configuration with the database server on port.
func (p *place) config(port int) {
	p.t.Helper()
	p.write("backstay.yaml", fmt.Sprintf(`repository: {url: "file://%[1]s/repo", password_file: %[1]s/repository.key}
state_dir: %[1]s/state
apps:
  - name: wiki
    profile: generic
    root: %[6]s
    database: {host: 127.0.0.1, port: %[2]d, user: %[3]s, password_file: %[1]s/db.pw, name: %[4]s}
    files: [{path: %[6]s/uploads}]
    %[5]s
    %[7]s
`, p.dir, port, p.account.User, p.db, p.hooks, p.appRoot, p.more))
}

func (p *place) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(p.t.Context(), limit)
	p.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir + "/home", "TMPDIR=" + p.dir + "/tmp", "BACKSTAY_CONFIG=" + p.dir + "/backstay.yaml",
	}
	return cmd
}

// runs runs a command to its end and returns its stdout.
func (p *place) runs(code int, args ...string) string {
	p.t.Helper()
	cmd := p.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != code {
		p.t.Fatalf("backstay %s: exit code %d, want %d: %v\n%s%s", strings.Join(args, " "), got, code, err, &stdout, &stderr)
	}
	return stdout.String()
}

// running is a process under way.
type running struct {
	p      *place
	cmd    *exec.Cmd
	stderr bytes.Buffer
	done   chan error
}

func (p *place) start(args ...string) *running {
	p.t.Helper()
	r := &running{p: p, cmd: p.command(args...), done: make(chan error, 1)}
	r.cmd.Stderr = &r.stderr
	p.ok(r.cmd.Start())
	p.noSecretsInProcess(r.cmd.Process.Pid)
	go func() { r.done <- r.cmd.Wait() }()
	return r
}

// noSecretsInProcess looks at what every user of the machine can see of it.
func (p *place) noSecretsInProcess(pid int) {
	p.t.Helper()
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return // not Linux, or it has ended
	}
	key, _ := os.ReadFile(filepath.Join(p.dir, "repository.key"))
	for _, secret := range []string{p.password, strings.TrimSpace(string(key))} {
		if secret != "" && bytes.Contains(line, []byte(secret)) {
			p.t.Errorf("the command line of the process shows a secret")
		}
	}
}

// reach waits until the process has come to the gate.
func (r *running) reach(g *gate) {
	r.p.t.Helper()
	select {
	case <-g.reached:
	case err := <-r.done:
		r.p.t.Fatalf("it ended before it came to the gate: %v\n%s", err, &r.stderr)
	case <-time.After(limit):
		r.p.t.Fatalf("it did not come to the gate\n%s", &r.stderr)
	}
}

// end sends a signal and waits for the end.
func (r *running) end(signal syscall.Signal) {
	r.p.t.Helper()
	r.p.ok(r.cmd.Process.Signal(signal))
	select {
	case <-r.done:
	case <-time.After(patience):
		r.p.ok(r.cmd.Process.Signal(syscall.SIGQUIT)) // it says where it is
		<-r.done
		r.p.t.Fatalf("it goes on after %v\n%s", signal, &r.stderr)
	}
	state := r.cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch signal {
	case syscall.SIGKILL:
		if state.Signal() != syscall.SIGKILL {
			r.p.t.Fatalf("it ended by itself: %v\n%s", r.cmd.ProcessState, &r.stderr)
		}
	default:
		if state.ExitStatus() != 130 {
			r.p.t.Fatalf("%v after %v, want exit code 130\n%s", r.cmd.ProcessState, signal, &r.stderr)
		}
		if text := r.stderr.String(); !strings.Contains(text, "cancelled") || !strings.Contains(text, "backstay: hint: ") || strings.Contains(text, "context canceled") {
			r.p.t.Errorf("it does not say in plain words that it was cancelled:\n%s", text)
		}
	}
}

// list returns the ids of the backups there are.
func (p *place) list() []string {
	p.t.Helper()
	var out struct {
		Backups []struct {
			ID string `json:"id"`
		} `json:"backups"`
	}
	p.ok(json.Unmarshal([]byte(p.runs(0, "list", "--json")), &out))
	var ids []string
	for _, b := range out.Backups {
		ids = append(ids, b.ID)
	}
	return ids
}

// aftermath holds what is left to what was promised: every backup that is
// listed is whole, nothing lies about, no lock is held, the next backup is made
// and is whole.
func (p *place) aftermath(want ...int) {
	p.t.Helper()
	p.config(p.server.Port)
	n := len(p.list())
	fits := false
	for _, w := range want {
		fits = fits || n == w
	}
	if !fits {
		p.t.Fatalf("%d backups are listed, want one of %v", n, want)
	}
	for _, dir := range []string{"tmp", "home"} {
		left, err := os.ReadDir(filepath.Join(p.dir, dir))
		p.ok(err)
		for _, e := range left {
			p.t.Errorf("left behind: %s/%s", dir, e.Name())
		}
	}
	p.runs(0, "backup", "--no-wait")
	p.runs(0, "verify", "--all")
	if got := len(p.list()); got != n+1 {
		p.t.Errorf("%d backups after the next one, want %d", got, n+1)
	}
	p.noneConnected()
}

// noneConnected waits until the server has noticed that its clients are gone,
// and with them their locks.
func (p *place) noneConnected() {
	p.t.Helper()
	p.wait("the server to be left alone", func() bool {
		rows := mysqltest.Query(p.t, "", "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER="+mysql.QuoteText(p.account.User))
		return rows[0][0].Text == "0"
	})
}

func (p *place) wait(what string, done func() bool) {
	p.t.Helper()
	deadline := time.Now().Add(limit)
	for !done() {
		if time.Now().After(deadline) {
			p.t.Fatalf("waited too long for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func (p *place) target() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.server.Port)) }

func signals() map[string]syscall.Signal {
	return map[string]syscall.Signal{"interrupt": syscall.SIGINT, "terminate": syscall.SIGTERM, "kill": syscall.SIGKILL}
}

// TestBackupEndsInTheMiddle ends a backup at the login, while the consistency
// point is taken, and at the beginning, in the middle and near the end of the
// rows.
func TestBackupEndsInTheMiddle(t *testing.T) {
	t.Parallel()
	for name, signal := range signals() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			p.runs(0, "backup")
			n := 1
			for _, pass := range []int64{50, 9_000, 200_000, 2_000_000, 4_000_000} {
				if signal == syscall.SIGTERM && pass > 50 && pass < 4_000_000 {
					continue // it is handled as an interrupt
				}
				g := newGate(t, p.target(), pass)
				p.config(g.port())
				r := p.start("backup", "--verbose", "--no-reuse") // which reads as much each time
				r.reach(g)
				r.end(signal)
				g.close()
				p.aftermath(n)
				n++
			}
		})
	}
}

// TestBackupEndsWhileFilesAreStored ends a backup when it has begun to write
// into the repository, and again as soon as there is anything but data there:
// about the moment of the commit. The second is a race, and whoever wins it,
// what is listed must be whole.
func TestBackupEndsWhileFilesAreStored(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			// Blobs of the repository have some 20 MB: this makes several.
			for i := range 3 {
				p.write(fmt.Sprintf("app/uploads/big%d.bin", i), string(random(uint64(10+i), 20<<20)))
			}
			before := p.blobs()
			r := p.start("backup")
			p.wait("a blob of data", func() bool { return len(p.blobs()["p"]) > len(before["p"]) })
			r.end(signal)
			p.aftermath(0)

			p.write("app/uploads/another.bin", string(random(20, 1<<20)))
			before = p.blobs()
			r = p.start("backup")
			p.wait("a blob that is not data", func() bool { return count(p.blobs())-len(p.blobs()["p"]) > count(before)-len(before["p"]) })
			p.ok(r.cmd.Process.Signal(signal))
			<-r.done
			if code := r.cmd.ProcessState.ExitCode(); code != 0 && code != 130 && code != -1 {
				t.Errorf("exit code %d\n%s", code, &r.stderr)
			}
			p.aftermath(1, 2)
		})
	}
}

// blobs lists the repository's files by the first letter of their path.
func (p *place) blobs() map[string][]string {
	p.t.Helper()
	out := map[string][]string{}
	root := filepath.Join(p.dir, "repo")
	var walk func(dir string)
	walk = func(dir string) {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			p.t.Fatal(err)
		}
		for _, e := range entries {
			at := filepath.Join(dir, e.Name())
			if e.IsDir() {
				walk(at)
				continue
			}
			rel, err := filepath.Rel(root, at)
			p.ok(err)
			if strings.HasSuffix(rel, ".f") {
				out[rel[:1]] = append(out[rel[:1]], rel)
			}
		}
	}
	walk(root)
	return out
}

func count(blobs map[string][]string) (n int) {
	for _, b := range blobs {
		n += len(b)
	}
	return n
}

// TestVerifyEndsInTheMiddle ends verify while it reads.
func TestVerifyEndsInTheMiddle(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	for i := range 3 {
		p.write(fmt.Sprintf("app/uploads/big%d.bin", i), string(random(uint64(30+i), 20<<20)))
	}
	const backups = 6
	for range backups {
		p.runs(0, "backup")
	}
	marked := func() (n int) {
		var out struct {
			Backups []struct {
				Verified *time.Time `json:"verified"`
			} `json:"backups"`
		}
		p.ok(json.Unmarshal([]byte(p.runs(0, "list", "--json")), &out))
		for _, b := range out.Backups {
			if b.Verified != nil {
				n++
			}
		}
		return n
	}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		r := p.start("verify", "--all")
		p.wait("verify to have read some", func() bool { return bytesRead(t, r.cmd.Process.Pid) > 20<<20 })
		r.end(signal)
		if n := marked(); n == backups {
			t.Errorf("all backups are marked as verified after %v", signal)
		}
	}
	p.aftermath(backups)
}

// bytesRead says how much a process has read so far.
func bytesRead(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		t.Fatalf("it ended before it was to be ended: %v", err)
	}
	_, rest, _ := strings.Cut(string(text), "rchar: ")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseInt(line, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRestoreEndsInTheMiddle ends a restore while rows are loaded. The same
// restore again brings everything back.
func TestRestoreEndsInTheMiddle(t *testing.T) {
	t.Parallel()
	for name, signal := range signals() {
		if signal == syscall.SIGTERM {
			continue // it is handled as an interrupt
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			p.runs(0, "backup")
			want := mysqltest.Checksum(t, p.db)
			p.ok(os.RemoveAll(filepath.Join(p.appRoot, "uploads")))
			for _, pass := range []int64{5_000, 1_000_000} {
				g := newGate(t, p.target(), pass)
				p.config(g.port())
				r := p.start("restore", "wiki", "latest", "--yes")
				r.reach(g)
				r.end(signal)
				g.close()
				p.config(p.server.Port)
				p.runs(0, "verify", "--all")
			}
			p.noneConnected()
			p.runs(0, "restore", "wiki", "latest", "--yes", "--no-wait")
			if diff := cmp.Diff(want, mysqltest.Checksum(t, p.db)); diff != "" {
				t.Errorf("tables differ after the restore (-want +got):\n%s", diff)
			}
			if got, err := os.ReadFile(filepath.Join(p.appRoot, "uploads/random.bin")); err != nil || !bytes.Equal(got, random(1, 1<<20)) {
				t.Errorf("a file is not back: %v", err)
			}
			p.aftermath(2) // what was live was backed up too
		})
	}
}

// TestInterruptLeavesReadOnlyMode interrupts a backup of an app that is
// read-only for that time: it must be writable again, and hooks.after has run.
func TestInterruptLeavesReadOnlyMode(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.hooks = fmt.Sprintf(`consistency: readonly
    hooks: {before: ["echo before >> %[1]s/log"], after: ["echo after >> %[1]s/log"], readonly_on: ["echo on >> %[1]s/log"], readonly_off: ["echo off >> %[1]s/log"]}`, p.dir)
	g := newGate(t, p.target(), 200_000)
	p.config(g.port())
	r := p.start("backup")
	r.reach(g)
	r.end(syscall.SIGINT)
	log, err := os.ReadFile(filepath.Join(p.dir, "log"))
	p.ok(err)
	if diff := cmp.Diff("before\non\noff\nafter\n", string(log)); diff != "" {
		t.Errorf("hooks (-want +got):\n%s", diff)
	}
	g.close()
	p.aftermath(0)
}

// TestInterruptWhileWaiting interrupts a backup that waits for another one,
// which is not disturbed.
func TestInterruptWhileWaiting(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	gatePath := filepath.Join(p.dir, "gate")
	p.ok(syscall.Mkfifo(gatePath, 0o600))
	p.hooks = fmt.Sprintf(`hooks: {before: ["echo > %[1]s/started; timeout 60 head -n 1 %[1]s/gate > %[1]s/line"]}`, p.dir)
	p.config(p.server.Port)
	first := p.start("backup")
	p.wait("the first backup", func() bool { _, err := os.Stat(filepath.Join(p.dir, "started")); return err == nil })
	second := p.command("backup")
	pipe, err := second.StderrPipe()
	p.ok(err)
	p.ok(second.Start())
	buffer := make([]byte, 4096)
	n, err := pipe.Read(buffer)
	p.ok(err)
	if !strings.Contains(string(buffer[:n]), "waiting for another operation") {
		t.Errorf("it says %q", buffer[:n])
	}
	p.ok(second.Process.Signal(syscall.SIGINT))
	var rest bytes.Buffer
	_, err = rest.ReadFrom(pipe)
	p.ok(err)
	if err := second.Wait(); second.ProcessState.ExitCode() != 130 {
		t.Errorf("the waiting one: %v\n%s", err, &rest)
	}
	p.ok(os.WriteFile(gatePath, []byte("\n"), 0o600))
	if err := <-first.done; err != nil {
		t.Errorf("the first one: %v\n%s", err, &first.stderr)
	}
	p.hooks = ""
	p.aftermath(1)
}
