package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
)

// fromFile makes the plan from the configuration file: it holds names of apps,
// or "broken".
func (h *harness) fromFile(path string) func() (Plan, error) {
	return func() (Plan, error) {
		content, err := os.ReadFile(path)
		if err != nil {
			return Plan{}, &core.Error{Code: core.CodeConfig, Op: "read configuration", Err: err, Hint: "put it back"}
		}
		text := string(content)
		if text == "" || strings.Contains(text, "broken") {
			return Plan{}, &core.Error{Code: core.CodeConfig, Op: "read configuration", Message: "it cannot be understood: " + text, Hint: "correct it"}
		}
		plan := Plan{Digest: text, WatchFiles: []string{path}, Service: Service{Listen: "127.0.0.1:0"}}
		for _, app := range strings.Fields(text) {
			plan.Jobs = append(plan.Jobs, daily(h.t, app, 13, 0))
		}
		return plan, nil
	}
}

func (h *harness) problem(name string) bool {
	for _, p := range h.problems() {
		if p.Name == name {
			return true
		}
	}
	return false
}

// TestConfigChanges: good, broken, removed and restored while the service runs.
func TestConfigChanges(t *testing.T) {
	h := newHarness(t)
	h.plan = h.fromFile(h.config)
	h.replace(h.config, "desk")
	h.start()
	h.replace(h.config, "desk docs")
	h.says(`msg="a changed configuration is in effect" jobs=2 because=file`)
	h.replace(h.config, "broken")
	h.until("the problem", func() bool { return h.problem("config-broken") })
	if p := h.problems()[0]; !strings.Contains(p.Message, "it cannot be understood: broken") || p.Hint != "correct it" || p.Topic != core.TopicService || p.Level != core.LevelAlarm {
		t.Errorf("got %+v", p)
	}
	h.says("level=ERROR")
	if body, status := h.get("/healthz"); status != 503 || !strings.Contains(body, "config-broken: the configuration cannot be used since 2026-11-23T12:00:00Z") {
		t.Errorf("%d %s", status, body)
	}
	h.clock.set(noon().Add(1)) // another attempt is said again
	h.replace(h.config, "broken too")
	h.says("understood: broken too")
	if err := os.Remove(h.config); err != nil {
		t.Fatal(err)
	}
	h.says("no such file")
	h.replace(h.config, "desk docs")
	h.until("the problem to be over", func() bool { return len(h.problems()) == 0 })
	if body, status := h.get("/healthz"); status != 200 || body != "ok\n" {
		t.Errorf("%d %s", status, body)
	}
	if n := strings.Count(h.log.String(), "a changed configuration is in effect"); n != 1 {
		t.Errorf("the same configuration took effect %d times", n)
	}
	h.replace(h.config, "desk")
	h.says(`jobs=1 because=file`)
}

// TestHalfWrittenConfig: an editor that empties the file before it writes it
// alarms nobody.
func TestHalfWrittenConfig(t *testing.T) {
	h := newHarness(t)
	h.plan = h.fromFile(h.config)
	h.replace(h.config, "desk")
	h.start()
	half := make(chan struct{}, 1)
	read := h.fromFile(h.config)
	h.setPlan(func() (Plan, error) {
		plan, err := read()
		if err != nil {
			select {
			case half <- struct{}{}:
			default:
			}
		}
		return plan, err
	})
	f, err := os.Create(h.config)
	if err != nil {
		t.Fatal(err)
	}
	<-half // it was read while it was empty
	if _, err := f.WriteString("desk docs wiki"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	h.says("jobs=3 because=file")
	if strings.Contains(h.log.String(), "level=ERROR") {
		t.Errorf("somebody was alarmed:\n%s", h.log)
	}
}

// TestConfigBehindLink: links that are turned to other folders, as deployments
// and Kubernetes do, and files that nobody tells of.
func TestConfigBehindLink(t *testing.T) {
	h := newHarness(t)
	for _, v := range []string{"v1", "v2"} {
		if err := os.Mkdir(filepath.Join(h.dir, v), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	h.replace(h.dir+"/v1/config", "desk")
	h.replace(h.dir+"/v2/config", "desk docs")
	if err := os.Symlink("v1", h.dir+"/current"); err != nil {
		t.Fatal(err)
	}
	link := h.dir + "/current/config"
	h.plan = h.fromFile(link)
	h.start()
	if err := os.Symlink("v2", h.dir+"/next"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(h.dir+"/next", h.dir+"/current"); err != nil {
		t.Fatal(err)
	}
	h.says("jobs=2 because=file")
}

// TestSignal: SIGHUP reads the configuration anew, changed or not.
func TestSignal(t *testing.T) {
	h := newHarness(t)
	h.plan = h.fromFile(h.dir + "/elsewhere")
	h.replace(h.dir+"/elsewhere", "desk")
	h.wait.look = 1 << 40
	read := h.fromFile(h.dir + "/elsewhere")
	h.plan = func() (Plan, error) {
		plan, err := read()
		plan.WatchFiles = nil // nobody tells of it
		return plan, err
	}
	h.start()
	h.replace(h.dir+"/elsewhere", "desk docs")
	if err := unix.Kill(os.Getpid(), unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	h.says("jobs=2 because=signal")
	h.replace(h.dir+"/elsewhere", "broken")
	if err := unix.Kill(os.Getpid(), unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	h.until("the problem", func() bool { return h.problem("config-broken") })
}

// TestRefresh: schedules that are in databases are asked for again.
func TestRefresh(t *testing.T) {
	h := newHarness(t)
	n := 0
	h.plan = func() (Plan, error) {
		n++
		plan := Plan{Digest: "first", RefreshEvery: 1 << 24, Jobs: []Job{daily(t, "desk", 13, 0)}}
		if n >= 3 {
			plan.Digest, plan.Jobs = "second", append(plan.Jobs, daily(t, "docs", 13, 0))
		}
		return plan, nil
	}
	h.start()
	h.says("jobs=2 because=refresh")
}

// TestRunOutlivesItsJob: what runs when its app is taken out of the
// configuration is finished and recorded.
func TestRunOutlivesItsJob(t *testing.T) {
	h := newHarness(t)
	h.plan = h.fromFile(h.config)
	h.replace(h.config, "desk docs")
	h.modes["desk"] = "waits"
	h.start()
	h.clock.set(noon().Add(3600e9))
	h.until("the run", func() bool { return h.file("desk.running") })
	h.replace(h.config, "docs")
	h.says("jobs=1 because=file")
	h.replace(h.dir+"/desk.go-on", "")
	h.until("its end", func() bool {
		return h.file("desk.finished") && strings.Count(h.log.String(), "the run has ended") == 2
	})
	if err := h.end(); err != nil {
		t.Fatal(err)
	}
	for _, r := range h.runs() {
		if r.Outcome != core.OutcomeOK {
			t.Errorf("got %+v", r)
		}
	}
}

// TestStartRefused: what keeps the service from its work at the start is an
// error, and leaves nothing behind.
func TestStartRefused(t *testing.T) {
	h := newHarness(t)
	h.plan = func() (Plan, error) { return Plan{}, errors.New("no configuration") }
	if err := Run(t.Context(), h.o); err == nil || err.Error() != "no configuration" {
		t.Errorf("got %v", err)
	}
	h.plan = func() (Plan, error) { panic("in the reader") }
	if err := Run(t.Context(), h.o); err == nil || !strings.Contains(err.Error(), "in the reader") {
		t.Errorf("got %v", err)
	}
	twice := daily(t, "desk", 13, 0)
	h.plan = func() (Plan, error) { return Plan{Jobs: []Job{twice, twice}}, nil }
	if err := Run(t.Context(), h.o); core.CodeOf(err) != core.CodeConfig || core.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
	if Holder(h.dir) != "" {
		t.Error("the lock is held")
	}
	h.o.Load = func(ctx context.Context) (Plan, error) { return Plan{}, nil }
	h.o.StateDir = h.config + "/below-a-file"
	if err := Run(t.Context(), h.o); core.CodeOf(err) != core.CodeDisk || core.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
}

// TestTwoServices: the second on a state folder is refused, and told by whom.
func TestTwoServices(t *testing.T) {
	h := newHarness(t)
	if Holder(h.dir) != "" {
		t.Error("nobody holds it")
	}
	h.start()
	if got := Holder(h.dir); !strings.HasPrefix(got, "process ") || !strings.HasSuffix(got, " since 2026-11-23T12:00:00Z") {
		t.Errorf("held by %q", got)
	}
	err := Run(t.Context(), h.o)
	if core.CodeOf(err) != core.CodeLocked || !strings.Contains(err.Error(), Holder(h.dir)) || core.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
	if err := h.end(); err != nil {
		t.Fatal(err)
	}
	if Holder(h.dir) != "" {
		t.Error("it is held after the end")
	}
	h.ended = make(chan error, 1)
	h.start()
}
