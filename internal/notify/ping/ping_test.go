package ping_test

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/notify/notifytest"
	"github.com/backstay/backstay/internal/notify/ping"
	"github.com/backstay/backstay/internal/notify/wire/wiretest"
)

const uuid = "9a3f1b52-0c4e-4b8e-8f2e-0d9d6a7f1c11"

func open(t *testing.T, opt ping.Options) *ping.Pinger {
	t.Helper()
	p, err := ping.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func run(outcome core.Outcome) core.Run {
	began := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	r := core.Run{ID: 9, App: "helpdesk", Kind: core.RunBackup, Started: began, Outcome: outcome}
	if outcome != core.OutcomeRunning {
		ended := began.Add(90 * time.Second)
		r.Finished = &ended
	}
	return r
}

// TestConformance: a ping keeps what every destination promises.
func TestConformance(t *testing.T) {
	notifytest.Run(t, func(t *testing.T) notifytest.Harness {
		site := wiretest.New(t, "text/plain", "OK")
		faults := site.SaysNo()
		// What healthchecks.io answers with status 200 to a ping that it drops.
		faults["knows no such check"] = func() { site.Answer(200, "text/plain", "OK (not found)") }
		faults["drops what is too often"] = func() { site.Answer(200, "text/plain", "OK (rate limited)\n") }
		return notifytest.Harness{
			Destination: open(t, ping.Options{URL: core.NewSecret(site.URL + "/" + uuid)}), Taken: site.Bodies,
			Faults: faults, Hang: site.Hang, Secrets: []string{uuid, uuid[:8]},
		}
	})
}

// TestDestination: an alarm's life is fail, fail and success; a test changes
// nothing.
func TestDestination(t *testing.T) {
	site := wiretest.New(t, "text/plain", "OK")
	p := open(t, ping.Options{URL: core.NewSecret(site.URL + "/" + uuid)})
	for _, part := range []core.AlarmPart{core.AlarmOpened, core.AlarmUpdated, core.AlarmClosed, core.AlarmTest} {
		if ref, err := p.Deliver(t.Context(), "", notifytest.Message(part, "helpdesk")); err != nil || ref != "" {
			t.Errorf("%s: %q, %v", part, ref, err)
		}
	}
	var paths []string
	for _, r := range site.Taken() {
		paths = append(paths, r.Path)
	}
	if diff := cmp.Diff([]string{"/" + uuid + "/fail", "/" + uuid + "/fail", "/" + uuid, "/" + uuid + "/log"}, paths); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}

// TestDeskTest: no part of a test tells the watchdog that backups are well.
func TestDeskTest(t *testing.T) {
	site := wiretest.New(t, "text/plain", "OK")
	desk := &notify.Desk{Clock: core.SystemClock{}, Host: "web1"}
	p := open(t, ping.Options{URL: core.NewSecret(site.URL + "/" + uuid)})
	for _, tried := range desk.Test(t.Context(), []notify.Post{{Name: "ping", Destination: p}}, false) {
		if tried.Err != nil {
			t.Error(tried.Err)
		}
	}
	if len(site.Taken()) == 0 {
		t.Error("nothing was sent")
	}
	for _, r := range site.Taken() {
		if r.Path != "/"+uuid+"/log" {
			t.Errorf("it pinged %s", r.Path)
		}
	}
}

// TestRun: the pings of a run share an id, and say what became of it.
func TestRun(t *testing.T) {
	site := wiretest.New(t, "text/plain", "OK")
	p := open(t, ping.Options{URL: core.NewSecret(site.URL + "/" + uuid + "/"), Host: "web1"})
	good := run(core.OutcomeWarnings)
	good.Backup, good.Warnings = "20270301T120000Z-1a2b", 2
	bad := run(core.OutcomeFailed)
	bad.ID, bad.Message, bad.Hint = 10, "disk full", "make room"
	for _, r := range []core.Run{run(core.OutcomeRunning), good, bad, run(core.OutcomeCancelled)} {
		if err := p.Ping(t.Context(), ping.EventOf(r.Outcome), r); err != nil {
			t.Fatal(err)
		}
	}
	var paths, ids []string
	for _, r := range site.Taken() {
		u, err := url.Parse(r.Path)
		if err != nil {
			t.Fatal(err)
		}
		paths, ids = append(paths, u.Path), append(ids, u.Query().Get("rid"))
	}
	if diff := cmp.Diff([]string{"/" + uuid + "/start", "/" + uuid + "/", "/" + uuid + "/fail", "/" + uuid + "/log"}, paths); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
	if ids[0] != ids[1] || ids[0] == ids[2] || len(ids[0]) != 36 || ids[0][14] != '8' {
		t.Errorf("ids %v: those of one run are the same UUID, and another has another", ids)
	}
	want := []string{
		"backup of helpdesk on web1: running\nstarted: 2027-03-01T12:00:00Z\n",
		"backup of helpdesk on web1: warnings\nstarted: 2027-03-01T12:00:00Z\ntook: 1m30s\nbackup: 20270301T120000Z-1a2b\nwarnings: 2\n",
		"backup of helpdesk on web1: failed\nstarted: 2027-03-01T12:00:00Z\ntook: 1m30s\nerror: disk full\nhint: make room\n",
		"backup of helpdesk on web1: cancelled\nstarted: 2027-03-01T12:00:00Z\ntook: 1m30s\n",
	}
	if diff := cmp.Diff(want, site.Bodies()); diff != "" {
		t.Errorf("bodies (-want +got):\n%s", diff)
	}
}

// TestSuffixes: watchdogs with other addresses can be pinged too.
func TestSuffixes(t *testing.T) {
	site := wiretest.New(t, "application/json", `{"ok":true}`)
	kuma := open(t, ping.Options{
		URL:    core.NewSecret(site.URL + "/api/push/T0ken?status=up&msg=OK"),
		Suffix: map[ping.Event]string{ping.Start: ping.None, ping.Fail: "?status=down&msg=failed", ping.Log: ping.None},
	})
	words := open(t, ping.Options{URL: core.NewSecret(site.URL + "/ping"), Suffix: map[ping.Event]string{ping.Start: "begin", ping.Success: "/done/ok", ping.Fail: "/%66"}})
	for _, p := range []*ping.Pinger{kuma, words} {
		for _, event := range []ping.Event{ping.Start, ping.Success, ping.Fail} {
			if err := p.Ping(t.Context(), event, core.Run{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	var paths []string
	for _, r := range site.Taken() {
		path, _, _ := strings.Cut(r.Path, "?rid=")
		paths = append(paths, path)
	}
	want := []string{"/api/push/T0ken?status=up&msg=OK", "/api/push/T0ken?msg=failed&status=down", "/ping/begin", "/ping/done/ok", "/ping/%66"}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
	_, err := kuma.Deliver(t.Context(), "", notifytest.Message(core.AlarmTest, "helpdesk"))
	if err == nil || core.HintOf(err) == "" {
		t.Errorf("a test that cannot be sent: %v", err)
	}
	site.Answer(404, "application/json", `{"ok":false,"msg":"Monitor not found or not active."}`)
	err = kuma.Ping(t.Context(), ping.Success, core.Run{})
	if err == nil || !strings.Contains(err.Error(), "Monitor not found or not active.") || strings.Contains(err.Error(), "T0ken") {
		t.Errorf("got %v", err)
	}
}

// TestOptions: what cannot work is said when it is configured, without secrets.
func TestOptions(t *testing.T) {
	cases := map[string]ping.Options{
		"no address":       {},
		"not a URL":        {URL: core.NewSecret("https://hc-ping.com:x/" + uuid)},
		"does not begin":   {URL: core.NewSecret("hc-ping.com/" + uuid)},
		"no event":         {URL: core.NewSecret("https://hc-ping.com/" + uuid), Suffix: map[ping.Event]string{"stop": "/stop"}},
		"does not fit":     {URL: core.NewSecret("https://hc-ping.com/" + uuid), Suffix: map[ping.Event]string{ping.Fail: "/a b"}},
		"read authorities": {URL: core.NewSecret("https://hc-ping.com/" + uuid), CA: "/nonexistent"},
	}
	for _, text := range slices.Sorted(maps.Keys(cases)) {
		_, err := ping.New(cases[text])
		if err == nil || !strings.Contains(err.Error(), text) || core.HintOf(err) == "" || core.CodeOf(err) != core.CodeConfig {
			t.Errorf("got %v, want %q", err, text)
			continue
		}
		notifytest.Discreet(t, err, []string{uuid})
	}
}
