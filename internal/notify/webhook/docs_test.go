package webhook_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify/notifytest"
	"github.com/backstay/backstay/internal/notify/webhook"
	"github.com/backstay/backstay/internal/notify/wire/wiretest"
)

// example returns the first block of docs/notify.md in a language.
func example(t *testing.T, language string) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/notify.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n```"+language+"\n")
	block, _, closed := strings.Cut(rest, "\n```")
	if !ok || !closed {
		t.Fatalf("docs/notify.md has no block of %s", language)
	}
	return block + "\n"
}

func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("the example in docs/notify.md needs %s, which is not here", name)
	}
	return path
}

// TestDocumentedForm holds the example in docs/notify.md against what is sent.
func TestDocumentedForm(t *testing.T) {
	site := wiretest.New(t, "", "")
	problem := core.Problem{App: "a", Topic: core.TopicBackup, Name: "stale", Object: "o", Message: "m", Hint: "h", Level: core.LevelAlarm}
	if _, err := open(t, options(site.URL)).Deliver(t.Context(), "T-12", notifytest.Message(core.AlarmOpened, "a", problem)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(keys(t, example(t, "json")), keys(t, site.Bodies()[0])); diff != "" {
		t.Errorf("fields (-documented +sent):\n%s", diff)
	}
}

// keys returns the paths of all fields of a JSON text.
func keys(t *testing.T, text string) []string {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	found := map[string]bool{}
	var walk func(path string, value any)
	walk = func(path string, value any) {
		switch v := value.(type) {
		case map[string]any:
			for name, inner := range v {
				found[path+"."+name] = true
				walk(path+"."+name, inner)
			}
		case []any:
			for _, inner := range v {
				walk(path+"[]", inner)
			}
		}
	}
	walk("", value)
	return slices.Sorted(maps.Keys(found))
}

// TestPythonExample runs the receiver of docs/notify.md, which takes what is
// signed and nothing else.
func TestPythonExample(t *testing.T) {
	python := program(t, "python3")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	receiver := exec.CommandContext(ctx, python, "-c", example(t, "python"), "0")
	receiver.Env = append(os.Environ(), "SECRET="+signing)
	out, err := receiver.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := receiver.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = receiver.Wait() // it was killed
	}()
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("the receiver does not begin: %v", lines.Err())
	}
	var port int
	if _, err := fmt.Sscanf(lines.Text(), "listening on port %d", &port); err != nil {
		t.Fatalf("%v in %q", err, lines.Text())
	}
	send := func(change func(*webhook.Options)) error {
		opt := options("http://127.0.0.1:" + strconv.Itoa(port) + path)
		opt.Clock = core.SystemClock{}
		change(&opt)
		_, err := open(t, opt).Deliver(ctx, "", notifytest.Message(core.AlarmOpened, "名前"))
		return err
	}
	if err := send(func(*webhook.Options) {}); err != nil {
		t.Fatalf("it refuses what is signed: %v", err)
	}
	if want := "opened " + notifytest.Message(core.AlarmOpened, "名前").Subject; !lines.Scan() || lines.Text() != want {
		t.Errorf("it read %q, want %q", lines.Text(), want)
	}
	for name, change := range map[string]func(*webhook.Options){
		"another secret": func(o *webhook.Options) { o.Secret = core.NewSecret("another") },
		"an old one":     func(o *webhook.Options) { o.Clock = clock{} },
	} {
		if err := send(change); err == nil || !strings.Contains(err.Error(), "401 Unauthorized") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestShellExample runs the lines of docs/notify.md on what was sent.
func TestShellExample(t *testing.T) {
	shell := program(t, "sh")
	program(t, "openssl")
	site := wiretest.New(t, "", "")
	opt := options(site.URL)
	opt.Clock = core.SystemClock{}
	if _, err := open(t, opt).Deliver(t.Context(), "", notifytest.Message(core.AlarmOpened, "a")); err != nil {
		t.Fatal(err)
	}
	sent := site.Taken()[0]
	dir := t.TempDir()
	verify := func(secret, body string) error {
		if err := os.WriteFile(filepath.Join(dir, "body"), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		c := exec.CommandContext(t.Context(), shell, "-c", example(t, "sh"))
		c.Dir = dir
		c.Env = append(os.Environ(), "SECRET="+secret, "signature="+sent.Header.Get(webhook.SignatureHeader))
		return c.Run()
	}
	if err := verify(signing, sent.Body); err != nil {
		t.Errorf("it refuses what is signed: %v", err)
	}
	if verify("another", sent.Body) == nil || verify(signing, sent.Body+" ") == nil {
		t.Error("it takes what is not signed so")
	}
}
