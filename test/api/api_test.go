// Package api runs the commands of docs/api.md against a service and compares
// what they print with what is shown there.
package api

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// block is a block of commands with what the guide says they print.
type block struct{ commands, output string }

var blocks = regexp.MustCompile("(?ms)^```sh\n(.*?)^```\n(?:```json\n(.*?)^```\n)?")

func TestGuide(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("curl is missing: make setup installs it")
	}
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []block
	for _, b := range blocks.FindAllStringSubmatch(string(text), -1) {
		all = append(all, block{b[1], b[2]})
	}
	if len(all) < 10 {
		t.Fatalf("docs/api.md has only %d blocks of commands", len(all))
	}
	s := start(t)

	// One shell runs all of them: each goes on from what those before it set.
	var script strings.Builder
	for i, b := range all {
		commands := strings.ReplaceAll(b.commands, "127.0.0.1:8484", s.address)
		fmt.Fprintf(&script, "{ :\n%s\n} >%d.out\necho %d >done\n", commands, i, i)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-e", "-c", script.String())
	cmd.Dir, cmd.Env = s.dir, s.env
	failure, err := cmd.CombinedOutput()
	last, _ := os.ReadFile(filepath.Join(s.dir, "done"))
	for i, b := range all {
		out, readErr := os.ReadFile(filepath.Join(s.dir, fmt.Sprintf("%d.out", i)))
		if readErr != nil {
			t.Fatalf("the commands ended after block %s: %v\n%s\nthe service says:\n%s", bytes.TrimSpace(last), err, failure, s.log())
		}
		if !matches(b.output, string(out)) {
			t.Errorf("block %d of docs/api.md:\n%s\nprints something else than is shown there:\n%s\nshown:\n%s", i, b.commands, out, b.output)
		}
	}
	if err != nil {
		t.Fatalf("after block %s: %v\n%s\nthe service says:\n%s", bytes.TrimSpace(last), err, failure, s.log())
	}
	if t.Failed() {
		t.Logf("the service says:\n%s", s.log())
	}
	whole, err := os.ReadFile(filepath.Join(s.dir, "wiki.tar.zst"))
	if err != nil || len(whole) < 3_000_000 {
		t.Errorf("the download has %d bytes, %v", len(whole), err)
	}
}

var (
	times  = regexp.MustCompile(`\d{4}-\d\d-\d\d[T_]\d\d[:_]\d\d(:\d\d(\.\d+)?Z)?`)
	ids    = regexp.MustCompile(`\b[0-9a-f]{16}\b`)
	sizes  = regexp.MustCompile(`"(id|run|size)":\d+`)
	blanks = regexp.MustCompile(`\s+`)
)

// matches says whether an output is what is shown, where … stands for anything.
func matches(shown, output string) bool {
	normal := func(s string) string {
		s = times.ReplaceAllString(s, "TIME")
		s = ids.ReplaceAllString(s, "ID")
		s = sizes.ReplaceAllString(s, `"$1":N`)
		return blanks.ReplaceAllString(s, "")
	}
	var pattern strings.Builder
	for i, part := range strings.Split(normal(shown), "…") {
		if i > 0 {
			pattern.WriteString(".*")
		}
		pattern.WriteString(regexp.QuoteMeta(part))
	}
	return regexp.MustCompile("(?s)^" + pattern.String() + "$").MatchString(normal(output))
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		shown, output string
		want          bool
	}{
		{`{"id":1,…}`, `{"id":22,"x":"y"}` + "\n", true},
		{`{"id":1,…}`, `{"di":22,"x":"y"}`, false},
		{`{"a":"2026-11-23T21:35:04Z"}`, `{"a":"2027-01-01T00:00:00.123Z"}`, true},
		{`ok`, `failed`, false},
		{``, `something`, false},
	} {
		if got := matches(c.shown, c.output); got != c.want {
			t.Errorf("%q as against %q: %v", c.output, c.shown, got)
		}
	}
}

// service is a running service with the app wiki and the user anna.
type service struct {
	dir, address string
	env          []string
	log          func() string
}

var listens = regexp.MustCompile(`the service runs.* listen=(\S+)`)

func start(t *testing.T) *service {
	t.Helper()
	s := &service{dir: t.TempDir()}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(s.dir, name) }
	s.env = append(os.Environ(), "TZ=UTC", "LC_ALL=C", "PATH="+at("bin")+":"+os.Getenv("PATH"), "BACKSTAY_CONFIG="+at("backstay.yaml"), "HOME="+s.dir)
	run := func(dir, name string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir, cmd.Env = dir, s.env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v\n%s", name, args, err, out)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", at("bin/backstay"), "./cmd/backstay")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(at(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("wiki/images/welcome.txt", "Welcome to the wiki.\n")
	noise := make([]byte, 3_000_000)
	state := uint32(1)
	for i := range noise { // what does not get smaller by being packed
		state = state*1664525 + 1013904223
		noise[i] = byte(state >> 24)
	}
	write("wiki/images/photo.bin", string(noise))
	write("password", "correct horse battery staple")
	write("backstay.yaml", fmt.Sprintf(`repository: {url: "file://%[1]s/repository", password_file: %[1]s/key}
state_dir: %[1]s/state
apps:
  - name: wiki
    profile: generic
    root: %[1]s/wiki
    files: [{path: %[1]s/wiki/images}]
`, s.dir))
	run(s.dir, at("bin/backstay"), "init")
	run(s.dir, at("bin/backstay"), "user", "add", "anna", "--role", "admin", "--password-file", at("password"))

	serve := exec.CommandContext(context.Background(), at("bin/backstay"), "serve", "--listen", "127.0.0.1:0")
	serve.Dir, serve.Env = s.dir, s.env
	log, err := os.Create(at("service.log"))
	if err != nil {
		t.Fatal(err)
	}
	s.log = func() string {
		text, err := os.ReadFile(at("service.log"))
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
	said, err := serve.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	address, read := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewScanner(said)
		for lines.Scan() {
			fmt.Fprintln(log, lines.Text())
			if m := listens.FindStringSubmatch(lines.Text()); m != nil {
				select {
				case address <- m[1]:
				default:
				}
			}
		}
	}()
	t.Cleanup(func() {
		if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		<-read
		if err := serve.Wait(); err != nil {
			t.Errorf("the service ended with %v:\n%s", err, s.log())
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	select {
	case s.address = <-address:
	case <-time.After(time.Minute):
		t.Fatalf("the service does not listen:\n%s", s.log())
	case <-read:
		t.Fatalf("the service ended:\n%s", s.log())
	}
	return s
}
