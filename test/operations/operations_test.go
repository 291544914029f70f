// Package operations shows that backups look after themselves: that what goes
// wrong with them is one alarm which begins, lasts and ends once, and that the
// service goes on whatever happens to it. It is for the project's own tests. It
// promises real processes of the whole program, whose clock a test moves.
package operations

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/cli"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// clockVariable names the file with the seconds by which backstay's clock is
// ahead. A process of this test's program that has it is backstay.
const clockVariable = "BACKSTAY_TEST_CLOCK"

func TestMain(m *testing.M) {
	if file := os.Getenv(clockVariable); file != "" {
		os.Exit(backstay(movedClock(file)))
	}
	os.Exit(mysqltest.Main(m))
}

// backstay is cmd/backstay's main.
func backstay(clock core.Clock) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return cli.Main(ctx, os.Args[1:], cli.Environment{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Clock: clock, Version: "1.2.3-test",
	})
}

// movedClock is the machine's clock, ahead by what its file says.
type movedClock string

func (c movedClock) Now() time.Time {
	text, err := os.ReadFile(string(c))
	if err != nil {
		panic(err)
	}
	ahead, err := strconv.Atoi(string(text))
	if err != nil {
		panic(err)
	}
	return time.Now().Round(0).Add(time.Duration(ahead) * time.Second)
}

// limit is how long anything may take that a test waits for.
const limit = time.Minute

// place is a machine: apps, a repository, a clock, and somebody who is told.
type place struct {
	t     *testing.T
	dir   string
	ahead time.Duration // the clock
	told  *receiver
	uses  string // the configuration of commands
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{t: t, dir: t.TempDir(), told: newReceiver(t), uses: "backstay.yaml"}
	for _, d := range []string{"tmp", "home"} {
		p.ok(os.Mkdir(filepath.Join(p.dir, d), 0o700))
	}
	p.clock(0)
	return p
}

func (p *place) ok(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) path(name string) string { return filepath.Join(p.dir, name) }

// write writes a file, making its folder, all at once.
func (p *place) write(name, text string) {
	p.t.Helper()
	p.ok(os.MkdirAll(filepath.Dir(p.path(name)), 0o700))
	p.ok(os.WriteFile(p.path(name)+".new", []byte(text), 0o600))
	p.ok(os.Rename(p.path(name)+".new", p.path(name)))
}

// clock moves the clock of all processes.
func (p *place) clock(by time.Duration) {
	p.t.Helper()
	p.ahead += by
	p.write("clock", strconv.Itoa(int(p.ahead/time.Second)))
}

// now is the time by that clock.
func (p *place) now() time.Time { return time.Now().Add(p.ahead) }

// config writes the configuration: lines of defaults, and apps.
func (p *place) config(defaults string, apps ...string) {
	p.t.Helper()
	p.write("backstay.yaml", fmt.Sprintf(`repository: {url: "file://%[1]s/repo", password_file: %[1]s/repository.key}
state_dir: %[1]s/state
defaults:
  notify:
    - {name: main, type: webhook, url: "%[2]s/main"}
    - {name: spare, type: webhook, url: "%[2]s/spare", fallback: true}
  %[3]s
apps:
%[4]s`, p.dir, p.told.server.URL, defaults, strings.Join(apps, "")))
}

// files makes an app of files only. more are lines of the configuration.
func (p *place) files(name string, size int, more ...string) string {
	p.t.Helper()
	p.write(name+"/uploads/a.txt", "first\n")
	p.write(name+"/uploads/random.bin", noise(uint64(len(name)), size))
	return p.app(name, append(more, "profile: generic")...)
}

// app is an app in the configuration.
func (p *place) app(name string, lines ...string) string {
	return fmt.Sprintf("  - name: %s\n    root: %s\n    files: [{path: %s}]\n    %s\n", name, p.path(name), p.path(name+"/uploads"), strings.Join(lines, "\n    "))
}

// database makes an app with a table of so many rows on a server.
func (p *place) database(name string, server *localserver.Server, db string, account mysql.Config, rows int, more ...string) string {
	p.t.Helper()
	mysqltest.ExecOn(p.t, mysqltest.ConfigOf(server, db),
		"CREATE TABLE pages (id INT PRIMARY KEY, body TEXT) ENGINE=InnoDB", "CREATE TABLE tags (page INT, tag VARCHAR(30)) ENGINE=InnoDB",
		fmt.Sprintf("INSERT INTO pages SELECT seq, SHA2(seq, 512) FROM seq_1_to_%d", rows), "INSERT INTO tags SELECT seq, 'x' FROM seq_1_to_150")
	p.write(name+".pw", account.Password.Reveal()+"\n")
	p.write(name+"/uploads/a.txt", "first\n")
	return p.app(name, append(more, "profile: generic",
		fmt.Sprintf("database: {socket: %q, user: %q, password_file: %s, name: %q}", server.Socket, account.User, p.path(name+".pw"), db))...)
}

// shared makes such an app on the server that tests share, and returns its
// database too.
func (p *place) shared(name string, rows int, more ...string) (app, db string) {
	p.t.Helper()
	db = mysqltest.Database(p.t)
	account := mysqltest.User(p.t, "ALL ON `"+strings.ReplaceAll(db, "_", `\_`)+"`.*")
	return p.database(name, mysqltest.Server(p.t), db, account, rows, more...), db
}

func noise(seed uint64, size int) string {
	b := make([]byte, size)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

func (p *place) command(ctx context.Context, args ...string) *exec.Cmd {
	p.t.Helper()
	program, err := os.Executable()
	p.ok(err)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + p.path("home"), "TMPDIR=" + p.path("tmp"), "TZ=UTC", "BACKSTAY_CONFIG=" + p.path(p.uses), clockVariable + "=" + p.path("clock"),
	}
	return cmd
}

// runs runs a command to its end and returns what it printed.
func (p *place) runs(code int, args ...string) (stdout, stderr string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), limit)
	defer cancel()
	cmd := p.command(ctx, args...)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != code {
		p.t.Fatalf("backstay %s: exit code %d, want %d: %v\n%s%s", strings.Join(args, " "), got, code, err, &out, &log)
	}
	return out.String(), log.String()
}

// reads runs a command with --json and reads what it printed.
func (p *place) reads(into any, code int, args ...string) {
	p.t.Helper()
	out, _ := p.runs(code, append(args, "--json")...)
	p.ok(json.Unmarshal([]byte(out), into))
}

// backs makes backups, an hour apart.
func (p *place) backs(times int, args ...string) {
	p.t.Helper()
	for range times {
		p.runs(0, append([]string{"backup"}, args...)...)
		p.clock(time.Hour)
	}
}

// records returns the runs of a kind, the newest first.
func (p *place) records(kind string) (found []core.Run) {
	p.t.Helper()
	var out struct{ Runs []core.Run }
	p.reads(&out, 0, "runs", "--limit", "100")
	for _, r := range out.Runs {
		if r.Kind == kind {
			found = append(found, r)
		}
	}
	return found
}

// wantOpen compares the alarms that are open, as "app topic".
func (p *place) wantOpen(want ...string) {
	p.t.Helper()
	var out struct{ Alarms []core.Alarm }
	p.reads(&out, 0, "alarms")
	var open []string
	for _, a := range out.Alarms {
		if a.Closed == nil {
			open = append(open, strings.TrimSpace(a.App+" "+string(a.Topic)))
		}
	}
	if strings.Join(open, ", ") != strings.Join(want, ", ") {
		p.t.Fatalf("open alarms are %q, want %q", open, want)
	}
}

// eventually waits until check returns no error.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
