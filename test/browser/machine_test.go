package browser

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/cli"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// isBackstay makes a process of this test's program backstay.
const isBackstay = "BACKSTAY_TEST_CONSOLE"

func TestMain(m *testing.M) {
	if os.Getenv(isBackstay) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := cli.Main(ctx, os.Args[1:], cli.Environment{
			Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Clock: ahead{file: filepath.Join(os.Getenv("HOME"), "ahead")}, Version: "1.2.3-test",
		})
		stop()
		os.Exit(code)
	}
	os.Exit(mysqltest.Main(m))
}

// ahead is a clock that a file, where there is one, puts forward.
type ahead struct {
	core.SystemClock
	file string
}

func (a ahead) Now() time.Time {
	by, _ := os.ReadFile(a.file)                              // without it, it goes right
	d, _ := time.ParseDuration(strings.TrimSpace(string(by))) // as it does with what is not whole yet
	return a.SystemClock.Now().Add(d)
}

// artifacts is the folder that takes the pictures.
func artifacts() string {
	if folder := os.Getenv("BACKSTAY_TEST_ARTIFACTS"); folder != "" {
		return folder
	}
	return "artifacts"
}

// machine is one with an app, a repository and the service.
type machine struct {
	t        *testing.T
	dir      string
	database string
	service  *exec.Cmd
	ended    chan struct{}
	url      string // of the console
	setUp    string // the link

	mu  sync.Mutex
	log bytes.Buffer
}

var (
	listens = regexp.MustCompile(`the service runs.* listen=(\S+)`)
	link    = regexp.MustCompile(`(http://\S+)/setup\?key=\S+`)
)

// newMachine makes a machine whose app has some tables and files.
func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir(), database: mysqltest.Database(t)}
	mysqltest.ExecIn(t, m.database,
		"CREATE TABLE tickets (id INT AUTO_INCREMENT PRIMARY KEY, title VARCHAR(200) NOT NULL, state VARCHAR(20) NOT NULL, body TEXT)",
		"CREATE TABLE people (id INT PRIMARY KEY, name VARCHAR(100) NOT NULL)",
		"CREATE TABLE settings (name VARCHAR(50) PRIMARY KEY, value TEXT)",
		"INSERT INTO tickets (title, state, body) SELECT CONCAT('Ticket ', seq), 'open', REPEAT('printer on fire ', 20) FROM seq_1_to_2000",
		"INSERT INTO people SELECT seq, CONCAT('Person ', seq) FROM seq_1_to_50",
		"INSERT INTO settings VALUES ('title', 'Helpdesk'), ('language', 'en')",
	)
	m.write("www/config.ini", "title = Helpdesk\n")
	m.write("www/uploads/notes/readme.txt", "what the helpdesk knows\n")
	for i := range 30 {
		m.write(fmt.Sprintf("www/uploads/2026/photo-%02d.bin", i), strings.Repeat(fmt.Sprintf("%08d", i), 4000))
	}
	server := mysqltest.Server(t)
	m.write("backstay.yaml", fmt.Sprintf(`# The helpdesk's backups.
repository:
  url: "file://%[1]s/repo"
  password_file: %[1]s/repository.key
state_dir: %[1]s/state

apps:
  - name: helpdesk  # asked for by everybody
    profile: generic
    root: %[1]s/www
    database: {socket: %[2]s, user: %[3]s, name: %[4]s}
    files:
      - path: %[1]s/www/uploads
    config: [%[1]s/www/config.ini]
    schedule:
      time: "02:00"  # every night
    retention: {count: 20, daily: 14}
    hooks:
      before:
        - "while [ -e %[1]s/hold ]; do sleep 0.05; done"
        - "if [ -e %[1]s/broken ]; then echo 'the mail queue cannot be stopped' >&2; exit 1; fi"
`, m.dir, server.Socket, server.User, m.database))
	m.run("init")
	return m
}

func (m *machine) write(name, text string) {
	m.t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) command(args ...string) *exec.Cmd {
	m.t.Helper()
	self, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	cmd := exec.Command(self, append([]string{"--config", filepath.Join(m.dir, "backstay.yaml")}, args...)...)
	cmd.Env = append(os.Environ(), isBackstay+"=1", "HOME="+m.dir, "TMPDIR="+os.TempDir(), "TZ=Europe/Berlin")
	return cmd
}

// run runs a command of backstay to its end.
func (m *machine) run(args ...string) string {
	m.t.Helper()
	out, err := m.command(args...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("backstay %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// serve starts the service, and ends it with the test.
func (m *machine) serve(listen string) {
	m.t.Helper()
	m.service = m.command("serve", "--listen", listen)
	stderr, err := m.service.StderrPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	m.service.Stdout = m.service.Stderr
	if err := m.service.Start(); err != nil {
		m.t.Fatal(err)
	}
	ended := make(chan struct{})
	m.ended = ended
	ready := make(chan struct{}, 1)
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(stderr)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			m.mu.Lock()
			m.log.WriteString(lines.Text() + "\n")
			if found := listens.FindStringSubmatch(lines.Text()); found != nil {
				m.url = "http://" + strings.Trim(found[1], `"`)
				ready <- struct{}{}
			}
			if found := link.FindString(lines.Text()); found != "" {
				m.setUp = found
			}
			m.mu.Unlock()
		}
		_ = m.service.Wait() // it is killed, or says above why it ended
	}()
	m.t.Cleanup(func() {
		m.stop()
		if m.t.Failed() {
			m.t.Logf("the service said:\n%s", m.said())
		}
	})
	select {
	case <-ready:
	case <-ended:
		m.t.Fatalf("the service ended:\n%s", m.said())
	case <-time.After(time.Minute):
		m.t.Fatalf("the service is not ready:\n%s", m.said())
	}
}

// stop ends the service.
func (m *machine) stop() {
	if m.service.Process.Signal(syscall.SIGTERM) == nil {
		select {
		case <-m.ended:
		case <-time.After(20 * time.Second):
			_ = m.service.Process.Kill()
			<-m.ended
		}
	}
}

func (m *machine) said() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.String()
}

// link waits for the set-up link.
func (m *machine) link() string {
	m.t.Helper()
	for range 300 {
		m.mu.Lock()
		found := m.setUp
		m.mu.Unlock()
		if found != "" {
			return found
		}
		select {
		case <-m.ended:
		case <-time.After(100 * time.Millisecond):
		}
	}
	m.t.Fatalf("there is no set-up link:\n%s", m.said())
	return ""
}

func (m *machine) remove(name string) {
	m.t.Helper()
	if err := os.Remove(filepath.Join(m.dir, name)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) read(name string) string {
	m.t.Helper()
	b, err := os.ReadFile(filepath.Join(m.dir, name))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(b)
}

// random makes a file that cannot be made smaller.
func (m *machine) random(name string, size int) {
	m.t.Helper()
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(b)
	m.write(name, string(b))
}
