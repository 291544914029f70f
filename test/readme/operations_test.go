package readme

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// everyNight is the section of README.md about the service.
const everyNight = "Every night, by itself"

// configure adds to the configuration what the page says of all apps, with a
// receiver of the test's in place of the destinations.
func (g *guide) configure(text, receiver string) {
	g.t.Helper()
	blocks := regexp.MustCompile("(?ms)^```yaml\n(defaults:.*?)^```$").FindAllStringSubmatch(text, -1)
	if len(blocks) != 1 {
		g.t.Fatalf("%s has %d configurations for all apps, not one", g.page, len(blocks))
	}
	add := regexp.MustCompile(`(?ms)^  notify:.*`).ReplaceAllString(blocks[0][1], "  notify:\n    - {type: webhook, url: \""+receiver+"\"}\n")
	path := filepath.Join(g.dir, "backstay.yaml")
	old, err := os.ReadFile(path)
	g.ok(err)
	g.ok(os.WriteFile(path, append(old, "\n"+add+"service: {listen: off}\n"...), 0o600))
}

// receiver hears of alarms.
type receiver struct {
	mu    sync.Mutex
	heard []string
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var told struct {
		Part  string
		Alarm struct{ App, Topic string }
	}
	if err := json.NewDecoder(req.Body).Decode(&told); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard = append(r.heard, told.Part+" "+told.Alarm.App+"/"+told.Alarm.Topic)
}

// serve runs the service until the test ends.
func (g *guide) serve(flags ...string) {
	g.t.Helper()
	cmd := exec.Command(filepath.Join(g.dir, "bin/backstay"), append([]string{"serve"}, flags...)...)
	cmd.Env = g.env
	log, err := os.Create(filepath.Join(g.dir, "service.log"))
	g.ok(err)
	cmd.Stdout, cmd.Stderr = log, log
	g.ok(cmd.Start())
	g.t.Cleanup(func() {
		g.ok(cmd.Process.Signal(syscall.SIGTERM))
		if err := cmd.Wait(); err != nil {
			g.t.Errorf("the service ended: %v", err)
		}
		g.ok(log.Close())
	})
	for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		text, err := os.ReadFile(log.Name())
		g.ok(err)
		switch {
		case strings.Contains(string(text), "the run has ended"): // the check that it begins with
			return
		case time.Since(begun) > 30*time.Second:
			g.t.Fatalf("the service is not ready:\n%s", text)
		}
	}
}

func TestEveryNight(t *testing.T) {
	g := newGuide(t, "../README.md")
	g.section = everyNight
	text, err := os.ReadFile(g.page)
	g.ok(err)
	_, section, _ := sectionOf(t, string(text), everyNight)
	r := &receiver{}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	g.configure(section, server.URL)
	for range 3 { // that is what is usual
		g.must("backstay backup helpdesk")
	}
	g.must("backstay verify helpdesk")
	g.serve()
	g.follow(3)
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff([]string{"opened helpdesk/content", "closed helpdesk/content"}, r.heard); diff != "" {
		t.Error("the alarm was told otherwise than once (-want +heard):\n" + diff)
	}
}

func TestRetentionGuide(t *testing.T) {
	g := newGuide(t, "retention.md")
	text, err := os.ReadFile(g.page)
	g.ok(err)
	for _, command := range []string{"backup helpdesk --pin --note second", "backup helpdesk", "verify helpdesk@latest", "backup helpdesk", "backup helpdesk"} {
		g.must("backstay " + command)
	}
	g.configure(string(text), "")
	g.follow(1)
}
