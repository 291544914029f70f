package operations

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// service is `backstay serve`.
type service struct {
	p   *place
	cmd *exec.Cmd

	mu      sync.Mutex
	log     bytes.Buffer
	address string
	ended   chan struct{}
	err     error // once ended
}

var readyLine = regexp.MustCompile(`the service runs.* listen=(\S+)`)

// serve starts the service and waits until it is ready.
func (p *place) serve() *service {
	p.t.Helper()
	s := &service{p: p, ended: make(chan struct{})}
	s.cmd = p.command(context.Background(), "serve", "--listen", "127.0.0.1:0", "--verbose")
	stderr, err := s.cmd.StderrPipe()
	p.ok(err)
	p.ok(s.cmd.Start())
	go func() {
		lines := bufio.NewScanner(stderr)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			s.mu.Lock()
			s.log.WriteString(lines.Text() + "\n")
			if m := readyLine.FindStringSubmatch(lines.Text()); m != nil {
				s.address = m[1]
			}
			s.mu.Unlock()
		}
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	p.t.Cleanup(func() {
		if s.cmd.Process.Kill() == nil {
			<-s.ended
		}
		if p.t.Failed() {
			p.t.Logf("the service said:\n%s", s.said())
		}
	})
	eventually(p.t, "the service is ready", func() error {
		select {
		case <-s.ended:
			p.t.Fatalf("the service ended: %v\n%s", s.err, s.said())
		default:
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.address == "" {
			return fmt.Errorf("it has not said so:\n%s", &s.log)
		}
		return nil
	})
	return s
}

func (s *service) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// look has the service look at the clock.
func (s *service) look() {
	s.p.t.Helper()
	s.p.ok(s.cmd.Process.Signal(syscall.SIGHUP))
}

// begin moves the clock on to when backups are due, just after the next of the
// times that are an interval apart.
func (s *service) begin(every time.Duration) {
	s.p.t.Helper()
	now := s.p.now()
	s.p.clock(now.Truncate(every).Add(every + 2*time.Second).Sub(now))
	s.look()
}

// due is begin, and waits for the backups that are due to end, one of each
// outcome in any order.
func (s *service) due(every time.Duration, want ...string) {
	s.p.t.Helper()
	before := s.p.records(core.RunBackup)
	s.begin(every)
	eventually(s.p.t, "the runs that are due", func() error {
		after := s.p.records(core.RunBackup)
		var got []string
		for _, r := range after[:len(after)-len(before)] {
			got = append(got, string(r.Outcome))
		}
		slices.Sort(got)
		if !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			return fmt.Errorf("they are %q, want %q\n%s", got, want, s.said())
		}
		return nil
	})
	s.idle()
}

// idle waits until no process of the service is left: a run is recorded before
// its alarms are told.
func (s *service) idle() {
	s.p.t.Helper()
	eventually(s.p.t, "its processes have ended", func() error {
		if children := s.children(); len(children) > 0 {
			return fmt.Errorf("there are %v", children)
		}
		return nil
	})
}

// children are the processes that the service started.
func (s *service) children() (pids []int) {
	s.p.t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.cmd.Process.Pid))
	s.p.ok(err)
	for _, file := range tasks {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		for field := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(field)
			s.p.ok(err)
			pids = append(pids, pid)
		}
	}
	return pids
}

// stop ends the service as systemd does.
func (s *service) stop() {
	s.p.t.Helper()
	s.p.ok(s.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-s.ended:
	case <-time.After(limit):
		s.p.t.Fatalf("the service does not end\n%s", s.said())
	}
	if s.err != nil {
		s.p.t.Fatalf("the service ended with %v\n%s", s.err, s.said())
	}
}

// held is an app whose backups wait while the file "hold" is there, after they
// have said so by the file "held".
func (p *place) held(name string) string {
	return p.files(name, 1000, fmt.Sprintf(`hooks: {before: ["touch %[1]s; while test -e %[2]s; do sleep 0.05; done"]}`, p.path("held"), p.path("hold")))
}

func (p *place) waitFor(name string) {
	p.t.Helper()
	eventually(p.t, "a backup runs", func() error {
		_, err := os.Stat(p.path(name))
		return err
	})
}

// A scheduled backup that is killed is a failed run and one alarm, which the
// next good backup ends.
func TestKilledBackup(t *testing.T) {
	p := newPlace(t)
	p.config("schedule: {every: 1h}", p.held("wiki"))
	p.runs(0, "init")
	s := p.serve()
	s.due(time.Hour, "ok")

	p.write("hold", "")
	p.ok(os.Remove(p.path("held")))
	s.begin(time.Hour)
	p.waitFor("held")
	// A check runs beside it, and may have ended since.
	children := slices.DeleteFunc(s.children(), func(pid int) bool {
		words, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		return err != nil || !strings.Contains(string(words), "\x00backup\x00")
	})
	if len(children) != 1 {
		t.Fatalf("there are %d processes of backups, not 1\n%s", len(children), s.said())
	}
	p.ok(syscall.Kill(children[0], syscall.SIGKILL))
	p.ok(os.Remove(p.path("hold")))
	s.idle()
	eventually(t, "the run is recorded as failed", func() error {
		if last := p.records(core.RunBackup)[0]; last.Outcome != core.OutcomeFailed || !strings.Contains(last.Message, "SIGKILL") {
			return fmt.Errorf("it is %+v", last)
		}
		return nil
	})
	p.runs(4, "check")
	p.runs(4, "check")
	p.told.want(t, "main", "wiki backup: opened")
	s.due(time.Hour, "ok")
	p.told.want(t, "main", "wiki backup: opened closed")
	p.wantOpen()
	s.stop()
	p.runs(0, "verify", "--all")
}

// The service and its run are killed at once, and the machine is down for days.
// The next service knows: what ran has failed, what was missed is caught up
// once.
func TestKilledService(t *testing.T) {
	p := newPlace(t)
	p.config("schedule: {every: 6h}", p.held("wiki"))
	p.runs(0, "init")
	s := p.serve()
	s.due(6*time.Hour, "ok")

	p.write("hold", "")
	p.ok(os.Remove(p.path("held")))
	s.begin(6 * time.Hour)
	p.waitFor("held")
	children := s.children()
	p.ok(s.cmd.Process.Signal(syscall.SIGSTOP)) // so that it cannot record anything
	for _, pid := range children {
		p.ok(syscall.Kill(pid, syscall.SIGKILL))
	}
	p.ok(s.cmd.Process.Kill())
	<-s.ended
	p.ok(os.Remove(p.path("hold")))

	p.clock(50 * time.Hour)
	s = p.serve()
	eventually(t, "what was missed is caught up", func() error {
		runs := p.records(core.RunBackup)
		got := fmt.Sprintf("%d runs", len(runs))
		for _, r := range runs {
			got += fmt.Sprintf(", %s %s", r.Trigger, r.Outcome)
		}
		if got != "3 runs, catch-up ok, schedule failed, schedule ok" {
			return fmt.Errorf("there are %s", got)
		}
		return nil
	})
	s.idle()
	s.due(6*time.Hour, "ok") // and no more than that
	if runs := p.records(core.RunBackup); len(runs) != 4 || runs[0].Trigger != "schedule" {
		t.Errorf("the runs are %+v", runs)
	}
	s.stop()
	p.wantOpen()
	for i, d := range p.told.heard("main") {
		if d.Part == "opened" && i > 0 {
			t.Errorf("a second alarm: %+v", d)
		}
	}
	p.runs(0, "verify", "--all")
}

// A configuration that cannot be read changes nothing: what is due is done by
// the one before it. It is an alarm, which ends with it.
func TestBrokenConfiguration(t *testing.T) {
	p := newPlace(t)
	p.config("schedule: {every: 1h}", p.files("wiki", 1000))
	p.runs(0, "init")
	good, err := os.ReadFile(p.path("backstay.yaml"))
	p.ok(err)
	s := p.serve()
	s.due(time.Hour, "ok")

	p.write("backstay.yaml", string(good)+"nonsense: {\n")
	s.look()
	eventually(t, "the alarm", func() error { return p.toldLast("service opened") })
	p.runs(1, "check") // a person's meets the mistake
	p.uses = "former.yaml"
	p.write(p.uses, string(good))
	s.due(time.Hour, "ok")
	p.told.want(t, "main", "service: opened")

	p.write("backstay.yaml", string(good))
	s.look()
	eventually(t, "the end of the alarm", func() error { return p.toldLast("service closed") })
	s.idle()
	p.told.want(t, "main", "service: opened closed")
	p.wantBackups(2)
	s.stop()
}

// toldLast compares what was told last, as "topic part".
func (p *place) toldLast(want string) error {
	heard := p.told.heard("main")
	if len(heard) == 0 {
		return fmt.Errorf("nothing was told")
	}
	if last := heard[len(heard)-1]; last.Alarm.Topic+" "+last.Part != want {
		return fmt.Errorf("it is %s %s", last.Alarm.Topic, last.Part)
	}
	return nil
}
