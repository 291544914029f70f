package daemon

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/schedule"
	"github.com/backstay/backstay/internal/state"
)

// get asks the service.
func (h *harness) get(path string) (body string, status int) {
	h.t.Helper()
	body, status, _ = h.ask(http.MethodGet, path)
	return body, status
}

func (h *harness) ask(method, path string) (string, int, http.Header) {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, "http://"+h.address+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		h.t.Fatal(err)
	}
	return string(body), res.StatusCode, res.Header
}

func TestPaths(t *testing.T) {
	h := newHarness(t)
	h.start()
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/healthz", 200}, {"HEAD", "/healthz", 200}, {"HEAD", "/metrics", 200}, {"POST", "/metrics", 405}, {"DELETE", "/healthz", 405},
		{"GET", "/", 404}, {"GET", "/metrics/", 404}, {"GET", "/debug/pprof/", 404}, {"GET", "/backstay.yaml", 404},
	} {
		if _, got, _ := h.ask(c.method, c.path); got != c.want {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, got, c.want)
		}
	}
}

// TestMetrics: what the state database and the agenda hold is shown.
func TestMetrics(t *testing.T) {
	off := scheduled(t, core.RunBackup, "docs", schedule.Spec{Name: "nightly", Cron: "0 2 * * *", TimeZone: "UTC", Off: true})
	bad := Job{}
	bad.Key, bad.App, bad.Kind, bad.Err = "backup/wiki/", "wiki", core.RunBackup, &core.Error{Message: "no such day"}
	pause := schedule.Pause{From: schedule.ClockTime{Hour: 8}, To: schedule.ClockTime{Hour: 18}}
	paused := scheduled(t, core.RunBackup, "shop", schedule.Spec{Every: time.Hour, TimeZone: "UTC", Pauses: []schedule.Pause{pause}})
	h := newHarness(t, daily(t, "desk", 13, 0), off, bad, paused)
	plan, err := h.plan()
	if err != nil {
		t.Fatal(err)
	}
	plan.Repository = "file:///r"
	h.plan = func() (Plan, error) { return plan, nil }
	db, err := state.Open(t.Context(), h.dir, h.clock)
	if err != nil {
		t.Fatal(err)
	}
	maintained, verified := noon().Add(-48*time.Hour), noon().Add(-time.Hour)
	started, finished := noon().Add(-2*time.Hour), noon().Add(-2*time.Hour+90*time.Second)
	for _, err := range []error{
		db.SetValue(t.Context(), "last-backup/desk", core.Backup{App: "desk", Time: started, DurationMS: 61500, LogicalBytes: 1000, StoredBytes: 10, FreezeMS: 250, Verified: &verified}),
		db.SetValue(t.Context(), "last-backup/gone", core.Backup{App: "gone", Time: started}),
		db.AddSpace(t.Context(), "file:///r", core.Space{Used: 5, Free: -1, Total: 100, Maintained: &maintained}),
		db.SaveAlarm(t.Context(), &core.Alarm{App: "desk", Topic: core.TopicContent, Opened: noon(), Updated: noon(), Problems: []core.Problem{{Name: "a"}, {Name: "b"}}}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []core.Run{
		{App: "desk", Kind: core.RunBackup, Started: started, Finished: &finished, Outcome: core.OutcomeWarnings},
		{App: "desk", Kind: core.RunBackup, Started: noon().Add(-time.Minute), Finished: &[]time.Time{noon()}[0], Outcome: core.OutcomeFailed},
	} {
		if _, err := db.AddRun(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	h.start()
	body, status := h.get("/metrics")
	if status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	for _, want := range []string{
		`backstay_last_success_timestamp_seconds{app="desk"} 1.79542809e+09`,
		`backstay_last_run_timestamp_seconds{app="desk"} 1.7954352e+09`,
		`backstay_last_run_outcome{app="desk",outcome="failed"} 1`, `backstay_last_run_outcome{app="desk",outcome="ok"} 0`,
		`backstay_last_run_duration_seconds{app="desk"} 60`,
		`backstay_last_backup_duration_seconds{app="desk"} 61.5`, `backstay_last_backup_logical_bytes{app="desk"} 1000`, `backstay_last_backup_stored_bytes{app="desk"} 10`,
		`backstay_last_backup_freeze_seconds{app="desk"} 0.25`, `backstay_last_backup_verified_timestamp_seconds{app="desk"} 1.7954316e+09`,
		`backstay_last_success_timestamp_seconds{app="wiki"} 0`, `backstay_last_success_timestamp_seconds{app="docs"} 0`,
		`backstay_problems{app="desk",topic="backup"} 0`, `backstay_problems{app="wiki",topic="proof"} 0`, `backstay_problems{app="",topic="repository"} 0`,
		`backstay_next_run_timestamp_seconds{app="shop",kind="backup",schedule=""} 1.7954568e+09`,
		`backstay_problems{app="desk",topic="content"} 2`, `backstay_problems{app="",topic="service"} 0`,
		`backstay_next_run_timestamp_seconds{app="desk",kind="backup",schedule=""} 1.7954388e+09`,
		`backstay_schedule_enabled{app="desk",kind="backup",schedule=""} 1`, `backstay_schedule_enabled{app="docs",kind="backup",schedule="nightly"} 0`,
		`backstay_schedule_broken{app="wiki",kind="backup",schedule=""} 1`, `backstay_schedule_broken{app="desk",kind="backup",schedule=""} 0`,
		`backstay_repository_used_bytes 5`, `backstay_repository_total_bytes 100`, `backstay_repository_maintained_timestamp_seconds 1.7952624e+09`,
		`backstay_config_ok 1`, `backstay_state_ok 1`, `backstay_stopping 0`, `backstay_build_info{revision="",version="1.2.3"} 1`,
		"go_goroutines ", "process_resident_memory_bytes ",
	} {
		if !strings.Contains(body, want+"\n") && !strings.Contains(body, "\n"+want) {
			t.Errorf("no %s", want)
		}
	}
	for _, not := range []string{`app="gone"`, "repository_free_bytes", `backstay_next_run_timestamp_seconds{app="docs"`} {
		if strings.Contains(body, not) {
			t.Errorf("there is %s", not)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
}

func TestAddresses(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for address, part := range map[string]string{
		busy.Addr().String(): "another program listens there", "127.0.0.1": "missing port", "127.0.0.1:99999": "invalid port", "192.0.2.1:8484": "this machine has no such address",
		"nowhere.invalid:8484": "there is no host of that name",
	} {
		h := newHarness(t)
		h.o.Listen = address
		err := Run(t.Context(), h.o)
		if core.CodeOf(err) != core.CodeConfig || !strings.Contains(err.Error(), part) || !strings.Contains(err.Error(), address) || !strings.Contains(core.HintOf(err), "service.listen") {
			t.Errorf("%s: %v (hint: %s)", address, err, core.HintOf(err))
		}
	}
}

// TestListenMoves: a changed address takes effect at once; one that cannot be
// used is a problem, and the former one goes on.
func TestListenMoves(t *testing.T) {
	h := newHarness(t)
	h.start()
	move := func(digest, address string) {
		h.setPlan(func() (Plan, error) {
			return Plan{Digest: digest, WatchFiles: []string{h.config}, Service: Service{Listen: address}}, nil
		})
		h.replace(h.config, digest)
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	move("2", busy.Addr().String())
	h.until("the problem", func() bool { return h.problem("listen") })
	if body, status := h.get("/healthz"); status != 503 || !strings.Contains(body, "another program listens there") {
		t.Errorf("%d %s", status, body)
	}
	address := busy.Addr().String()
	if err := busy.Close(); err != nil {
		t.Fatal(err)
	}
	move("3", address)
	h.until("the problem to be over", func() bool { return !h.problem("listen") })
	h.address = address
	if body, status := h.get("/healthz"); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	move("4", "")
	h.says("jobs=0 because=file")
	h.until("silence", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
}
