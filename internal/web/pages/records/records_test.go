package records_test

import (
	"fmt"
	"github.com/backstay/backstay/internal/web/pages/pagestest"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
)

const hostile = "<script>alert(1)</script>\"' \u202eevil"

func small(t *testing.T, what, content string) {
	t.Helper()
	if len(content) > 100_000 {
		t.Errorf("%s has %d bytes", what, len(content))
	}
	if strings.Contains(content, "<script>alert") || strings.Contains(content, " style=") {
		t.Errorf("%s has what a record put into it, or a style", what)
	}
}

// add records a run that is over.
func add(t *testing.T, s *pagestest.Site, r core.Run) int64 {
	t.Helper()
	r.Trigger, r.Started = "manual", s.Clock.Now().Add(-time.Hour)
	done := r.Started.Add(90 * time.Second)
	r.Finished = &done
	id, err := s.State.AddRun(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestRuns(t *testing.T) {
	s := newSite(t)
	pagestest.Holds(t, s.Page(t, access.Viewer, "/runs"), "Nothing has run yet.")
	for i := range 60 {
		add(t, s, core.Run{App: "helpdesk", Kind: core.RunBackup, Outcome: core.OutcomeFailed, Message: fmt.Sprint(i, hostile, strings.Repeat("x", 5000)), Hint: hostile, By: hostile})
	}
	add(t, s, core.Run{Kind: core.RunMaintain, Outcome: core.OutcomeOK, By: "service"})
	content := s.Page(t, access.Viewer, "/runs")
	small(t, "the list", content)
	pagestest.Holds(t, content, "offset=50", "Maintenance of the repository")
	if content := s.Page(t, access.Viewer, "/runs?offset=50"); strings.Contains(content, `rel="next"`) {
		t.Error("the last page has a next one")
	}
	if content := s.Page(t, access.Viewer, "/runs?kind=maintain"); strings.Count(content, "<tr>") != 2 {
		t.Error("the filter lets others through")
	}
	pagestest.Holds(t, s.Page(t, access.Viewer, "/runs?app=nothing"), "Nothing in this list fits.")
	pagestest.Holds(t, s.Page(t, access.Viewer, "/runs?since=yesterday"), "“Since” is not a day")
	small(t, "hostile filters", s.Page(t, access.Viewer, "/runs?offset=-1&app="+url.QueryEscape(hostile)+"&kind="+url.QueryEscape(hostile)+"&outcome="+url.QueryEscape(hostile)+"&since="+url.QueryEscape(hostile)))
}

func TestFailedRun(t *testing.T) {
	s := newSite(t)
	id := add(t, s, core.Run{App: "helpdesk", Kind: core.RunBackup, Outcome: core.OutcomeFailed, Code: core.CodeDisk, Message: "no room" + hostile, Hint: "make room", By: hostile})
	content := s.Page(t, access.Viewer, fmt.Sprintf("/runs/%d", id))
	small(t, "a failed run", content)
	pagestest.Holds(t, content, "no room&lt;script", "make room", "The disk cannot take it", "1 min 30 s")
	if strings.Contains(content, "data-run=") || strings.Contains(content, "http-equiv") {
		t.Error("the page of a run that is over keeps looking")
	}
	for _, target := range []string{"/runs/99999", "/runs/0", "/runs/-1", "/runs/abc", "/runs/99999999999999999999", "/runs/99999/live"} {
		if r := s.Ask(t, access.Viewer, target, nil); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", target, r.Status)
		}
	}
}

func TestRunUnderWay(t *testing.T) {
	s := newSite(t)
	begin := func(kind, by string) int64 {
		id, err := s.State.BeginRun(t.Context(), core.Run{App: "helpdesk", Kind: kind, Trigger: "manual", Started: s.Clock.Now().Add(-time.Minute), By: by})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	id := begin(core.RunRestore, "somebody")
	dir := filepath.Join(s.StateDir, "progress")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	now := s.Clock.Now()
	file := fmt.Sprintf(`{"run":%d,"stage":"files","item":%q,"done":250000000,"total":1000000000,"began":%q,"updated":%q,"stages":[{"name":"database","done":5,"duration_ms":2000}]}`,
		id, "a<b>", now.Add(-10*time.Second).Format(time.RFC3339), now.Format(time.RFC3339))
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.json", id)), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	page := fmt.Sprintf("/runs/%d", id)
	content := s.Page(t, access.Admin, page)
	small(t, "a run under way", content)
	pagestest.Holds(t, content, `data-run="`, `data-live="`+page+`/live"`, "http-equiv", "a&lt;b&gt;", `value="25"`, "25.0 MB", "30.0 s", "database", "/cancel")
	live := s.Page(t, access.Viewer, page+"/live")
	pagestest.Holds(t, live, `value="25"`)
	if strings.Contains(live, "<html") || strings.Contains(live, "/cancel") || strings.Contains(live, "data-over") {
		t.Errorf("the live part: %s", live)
	}
	cancel := func(role access.Role, id int64) int {
		return s.Ask(t, role, fmt.Sprintf("/runs/%d/cancel", id), url.Values{}).StatusCode
	}
	if got := cancel(access.Viewer, id); got != http.StatusForbidden {
		t.Errorf("a viewer cancels: %d", got)
	}
	if got := cancel(access.Operator, id); got != http.StatusForbidden {
		t.Errorf("an operator cancels another's restore: %d", got)
	}
	if got := cancel(access.Operator, begin(core.RunBackup, "somebody")); got != http.StatusSeeOther {
		t.Errorf("an operator cancels a backup: %d", got)
	}
	if got := cancel(access.Admin, id); got != http.StatusSeeOther {
		t.Errorf("an admin cancels a restore: %d", got)
	}
}

func TestAuditAndAlarms(t *testing.T) {
	s := newSite(t)
	pagestest.Holds(t, s.Page(t, access.Viewer, "/alarms"), "There is no open alarm.")
	for range 3 {
		if err := s.State.Audit(t.Context(), core.Audited{Time: s.Clock.Now(), Who: hostile, Via: "console", Action: "restore", Object: hostile, Outcome: "ok", Detail: strings.Repeat(hostile, 1000)}); err != nil {
			t.Fatal(err)
		}
	}
	content := s.Page(t, access.Admin, "/audit?action=restore&check=1")
	small(t, "the audit log", content)
	pagestest.Holds(t, content, "The log is as it was written", "&lt;script&gt;")
	for _, role := range []access.Role{access.Viewer, access.Operator} {
		if r := s.Ask(t, role, "/audit", nil); r.StatusCode != http.StatusForbidden {
			t.Errorf("%s sees the audit log: %s", role, r.Status)
		}
	}
	closed := s.Clock.Now()
	for i, alarm := range []core.Alarm{{App: "helpdesk", Topic: core.TopicBackup}, {Topic: core.TopicRepository, Closed: &closed}} {
		alarm.Opened, alarm.Updated = s.Clock.Now().Add(-time.Duration(i+1)*time.Hour), s.Clock.Now()
		alarm.Problems = []core.Problem{{Topic: alarm.Topic, Name: "stale", Object: hostile, Message: hostile, Hint: hostile, Level: core.LevelAlarm}}
		alarm.Deliveries = map[string]core.Delivery{hostile: {Told: core.AlarmOpened, At: s.Clock.Now(), Ref: hostile}, "mail": {Error: hostile}}
		if err := s.State.SaveAlarm(t.Context(), &alarm); err != nil {
			t.Fatal(err)
		}
	}
	content = s.Page(t, access.Operator, "/alarms")
	small(t, "the alarms", content)
	pagestest.Holds(t, content, "told that it began", "not delivered", "<details>", "/alarms/test")
}

func TestRepository(t *testing.T) {
	s := newSite(t)
	for day := range 5 {
		if err := s.State.AddSpace(t.Context(), s.Config.Repository.URL, core.Space{Used: int64(day+1) * 1e9, Free: 5e9, Total: 10e9}); err != nil {
			t.Fatal(err)
		}
		s.Clock.Pass(time.Minute)
	}
	content := s.Page(t, access.Admin, "/repository")
	small(t, "the repository", content)
	pagestest.Holds(t, content, `class="picture growth"`, "helpdesk", "can be read", "/repository/maintain", "/repository/key")
	viewer := s.Page(t, access.Viewer, "/repository")
	if strings.Contains(viewer, "/repository/key") || strings.Contains(viewer, "/repository/maintain") {
		t.Error("a viewer is shown buttons that they may not use")
	}
	for _, role := range []access.Role{access.Viewer, access.Operator} {
		for _, target := range []string{"/repository/key", "/repository/maintain"} {
			if r := s.Ask(t, role, target, url.Values{}); r.StatusCode != http.StatusForbidden || strings.Contains(pagestest.Text(t, r), "key-of-the-test") {
				t.Errorf("%s: %s %s", role, target, r.Status)
			}
		}
	}
	s.Noted = nil
	r := s.Ask(t, access.Admin, "/repository/key", url.Values{})
	if r.Header.Get("Cache-Control") != "no-store" {
		t.Error("the key may be kept by a cache")
	}
	pagestest.Holds(t, pagestest.Text(t, r), "key-of-the-test")
	if got := strings.Join(s.Noted, "\n"); got != "show key repository ok" {
		t.Errorf("the audit log has %q", got)
	}
	if r := s.Ask(t, access.Admin, "/repository/maintain", url.Values{}); r.StatusCode != http.StatusSeeOther {
		t.Errorf("maintain: %s", r.Status)
	}
}

// TestResults: what each kind of run came to is on its page, and what a file
// says that is none of ours does no harm.
func TestResults(t *testing.T) {
	s := newSite(t)
	damaged := strings.Repeat(`{"path":"files/<b>","message":"the checksum differs"},`, 300)
	for name, c := range map[string]struct {
		kind, result string
		want         []string
	}{
		"backup":      {core.RunBackup, `{"schema":1,"backups":[{"id":"b1","time":"2026-11-23T10:00:00Z","logical_bytes":5000,"stored_bytes":10,"freeze_ms":7,"warnings":[{"code":"vanished","object":"a<b>","message":"it is gone"}]}]}`, []string{"/backups/b1", "5.0 kB", "7 ms", "1 warning", "a&lt;b&gt;: it is gone"}},
		"verify":      {core.RunVerify, `{"schema":1,"verified":[{"id":"b1","files":3,"rows":1200,"bytes":9,"damaged":[]}]}`, []string{"intact", "3 objects and 1,200 rows"}},
		"damage":      {core.RunVerify, `{"verified":[{"id":"b1","damaged":[` + strings.TrimSuffix(damaged, ",") + `]}]}`, []string{"damaged", "files/&lt;b&gt;", "and 200 more"}},
		"check":       {core.RunCheck, `{"apps":["helpdesk"],"problems":[{"app":"helpdesk","name":"stale","message":"too old","hint":"back up","level":"alarm"}]}`, []string{"too old", "back up", "alarm"}},
		"check ok":    {core.RunCheck, `{"apps":["helpdesk"],"problems":[]}`, []string{"Nothing is wrong."}},
		"prune":       {core.RunPrune, `{"apps":[{"app":"helpdesk","removed":1,"decisions":[{"id":"x","time":"2026-01-01T00:00:00Z","keep":false,"reasons":["older than the last 7 days"]},{"id":"y","keep":true,"reasons":["pinned"]}]}]}`, []string{"1 backup was removed", "older than the last 7 days"}},
		"notify test": {core.RunNotify, `{"tried":[{"destination":"mail","part":"opened","took_ms":20},{"destination":"itop","part":"opened","error":"refused"}]}`, []string{"mail", "20 ms", "itop", "refused"}},
		"not JSON":    {core.RunBackup, `{"backups":[`, []string{"ok"}},
		"other JSON":  {core.RunPrune, `{"apps":"<script>alert(1)</script>","verified":7}`, []string{"ok"}},
	} {
		t.Run(name, func(t *testing.T) {
			id := add(t, s, core.Run{App: "helpdesk", Kind: c.kind, Outcome: core.OutcomeOK, By: "x"})
			dir := filepath.Join(s.StateDir, "console", "results")
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.json", id)), []byte(c.result), 0o600); err != nil {
				t.Fatal(err)
			}
			content := s.Page(t, access.Viewer, fmt.Sprintf("/runs/%d", id))
			small(t, "the page", content)
			pagestest.Holds(t, content, c.want...)
			if strings.Contains(content, "pinned") {
				t.Error("it lists what is kept")
			}
		})
	}
}

func TestRestoredRun(t *testing.T) {
	s := newSite(t)
	list, err := s.Console.Backups(t.Context(), console.BackupQuery{App: "helpdesk"})
	if err != nil {
		t.Fatal(err)
	}
	id := list.Backups[0].ID
	run, err := s.Console.StartRestore(t.Context(), console.RestoreOrder{App: "helpdesk", Backup: id}, console.Who{By: "anna", Via: "console"})
	if err != nil {
		t.Fatal(err)
	}
	s.Finish(t, run, core.OutcomeWarnings, "", "", `{"schema":1,"app":"helpdesk","backup":"`+id+`","tables":8,"rows":3892,"files":227,"bytes":20800000,"warnings":[{"code":"owner","object":"a.txt","message":"its owner <b> is not known here"}],"next":["restart php-fpm"],"run":"abc","safety_backup":"`+id+`","unavailable_ms":120,"kept_till":"2026-11-30T12:00:00Z","steps":[]}`)
	content := s.Page(t, access.Admin, "/runs/"+strconv.FormatInt(run, 10))
	for _, want := range []string{"3,892", "227", "/apps/helpdesk/undo", "restart php-fpm", "its owner &lt;b&gt; is not known here", "/backups/" + id} {
		if !strings.Contains(content, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
}
