package operation_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/check"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/faulty"
	"github.com/backstay/backstay/internal/retention"
	"github.com/backstay/backstay/internal/schedule"
	"github.com/backstay/backstay/internal/state"
)

func count(n int) []retention.Policy { return []retention.Policy{{Count: n}} }

// TestRetention: after a backup that is well, and then only.
func TestRetention(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop", "other")
	w.app("shop").Retention = count(2)
	for range 3 {
		w.backup("other")
	}
	first, second := w.backup("shop").Backup.ID, w.backup("shop").Backup.ID
	mend := w.fails("shop")
	if r, err := w.try("shop"); err == nil || len(r.Pruned) > 0 {
		t.Errorf("%+v %v", r, err)
	}
	mend()
	w.same("after one that failed", []string{first, second}, w.ids("shop"))
	r := w.backup("shop")
	if len(r.Pruned) != 1 || r.Pruned[0].ID != first || r.Pruned[0].Keep {
		t.Errorf("removed %+v", r.Pruned)
	}
	w.same("after one that did not", []string{second, r.Backup.ID}, w.ids("shop"))
	w.same("of the other app", 3, len(w.ids("other")))
}

// TestHold: nothing is removed while anything about an app's backups is in
// doubt. Each case first has a backup too many.
func TestHold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		given func(w *world)
		held  string // "": it is not
	}{
		"nothing is wrong": {func(*world) {}, ""},
		"an anomaly is open": {func(w *world) {
			w.app("shop").Limits.SizeReductionMax = 50
			w.write("shop", "data", 10)
		}, "an anomaly is open (size-reduction"},
		"somebody accepted it": {func(w *world) {
			w.app("shop").Limits.SizeReductionMax = 50
			w.write("shop", "data", 10)
			w.backup("shop")
			if _, err := w.caretaker().Accept(w.Context(), *w.app("shop")); err != nil {
				w.Fatal(err)
			}
		}, ""},
		"a backup is damaged": {func(w *world) {
			now := w.clock.Now()
			if err := w.memory.Mark(w.Context(), w.ids("shop")[1], repository.Mark{Damaged: &now}); err != nil {
				w.Fatal(err)
			}
		}, "an anomaly is open (damaged"},
		"the repository lost backups": {func(w *world) { w.memory.Lose(w.ids("shop")[0]) }, "the repository has lost backups"},
		"the newest cannot be looked into": {func(w *world) {
			faultyAfterCommit(w, func() { w.store.Set(faulty.On(faulty.Open).Damage()) })
			w.engine.Store = w.store
		}, "the newest backup could not be checked"},
		"what is usual is not known": {func(w *world) { w.state = state.Without(errGone) }, "the newest backup could not be checked"},
		"the schedule is no schedule": {func(w *world) {
			w.app("shop").Schedules = []schedule.Spec{{Cron: "99 * * * *"}}
		}, "cannot be understood"},
		"the application cannot be asked": {func(w *world) {
			w.app("shop").Profile = selfMade{}.Name()
			w.app("shop").Retention = []retention.Policy{{FromApp: true}}
		}, "cannot be understood"},
		"it was asked before, and cannot be now": {func(w *world) {
			w.app("shop").Profile = selfMade{}.Name()
			w.app("shop").Retention = []retention.Policy{{FromApp: true}}
			file := filepath.Join(w.root("shop"), "schedule")
			if err := os.WriteFile(file, []byte("24 100"), 0o600); err != nil {
				w.Fatal(err)
			}
			w.check()
			if err := os.Remove(file); err != nil {
				w.Fatal(err)
			}
		}, "cannot be understood"},
		"there is another anomaly, of another app": {func(w *world) {
			w.app("other").Limits.SizeMin = 1 << 40
			w.backup("other")
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "shop", "other")
			for range 3 {
				w.backup("shop")
			}
			before := len(w.ids("shop"))
			w.app("shop").Retention = count(3)
			c.given(w)
			r := w.backup("shop")
			if held := len(r.Pruned) == 0; held != (c.held != "") {
				t.Errorf("removed %+v", r.Pruned)
			}
			if c.held == "" {
				return
			}
			lost := 0
			if strings.Contains(c.held, "lost") {
				lost = 1
			}
			w.same("backups", before+1-lost, len(w.ids("shop")))
			w.store.Set()
			ct := w.caretaker() // and not by hand either, for the same reason
			if strings.Contains(c.held, "could not be checked") {
				w.store.Set(faulty.On(faulty.Open).Damage())
			}
			decisions, err := ct.Prune(t.Context(), *w.app("shop"), ct.Look(t.Context(), []string{"shop"}))
			if err != nil || len(decisions) != before+1-lost {
				t.Fatal(decisions, err)
			}
			for _, d := range decisions {
				if !d.Keep || !strings.Contains(strings.Join(d.Reasons, "; "), "on hold: "+c.held[:min(20, len(c.held))]) && !strings.Contains(strings.Join(d.Reasons, "; "), c.held) {
					t.Errorf("%+v", d)
				}
			}
			w.same("backups", before+1-lost, len(w.ids("shop")))
		})
	}
}

// TestFromApp: the application's numbers are followed while it can be asked.
func TestFromApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop")
	w.app("shop").Profile = selfMade{}.Name()
	w.app("shop").Retention = []retention.Policy{{FromApp: true}}
	w.app("shop").Schedules = []schedule.Spec{{FromApp: true}}
	file := filepath.Join(w.root("shop"), "schedule")
	says := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	says("24 3")
	for range 5 {
		w.backup("shop")
	}
	w.same("backups, of 3", 3, len(w.ids("shop")))
	says("a mess")
	r := w.backup("shop")
	w.same("backups, of nobody knows", 4, len(w.ids("shop")))
	w.same("alarms after a backup, by what it said last", []string{}, alarming(r.Problems))
	w.check()
	w.same("alarms after a check", []string{"shop backup"}, w.open())
	says("24 2")
	w.check()
	w.same("alarms when it is mended", []string{}, w.open())
	w.backup("shop")
	w.same("backups, of 2", 2, len(w.ids("shop")))
}

// TestOneSettingIsWrong: a typo in what the application keeps holds what is kept
// and nothing else, and one in its schedule only what follows its schedule.
func TestOneSettingIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop")
	w.app("shop").Profile = selfMade{}.Name()
	w.app("shop").Retention = []retention.Policy{{FromApp: true}}
	w.app("shop").Schedules = []schedule.Spec{{FromApp: true}}
	says := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(w.root("shop"), "schedule"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	notices := func(r operation.Report) (matters []string) {
		for _, p := range r.Problems {
			if p.Level == core.LevelNotice {
				matters = append(matters, strings.TrimSpace(p.App+" "+string(p.Topic)+" "+p.Name))
			}
		}
		return matters
	}
	for range 2 {
		w.backup("shop")
	}
	says("24 five")
	r := w.backup("shop")
	w.same("removed", 0, len(r.Pruned))
	report := w.check()
	w.same("nobody is called", []string{}, w.open())
	w.same("notices", []string{"shop backup retention"}, notices(report))
	want := operation.Want(t.Context(), w.engine, *w.app("shop"))
	if want.Unusable != nil || want.Unkept == nil || len(want.Schedules) != 1 || want.Schedules[0].Every != 24*time.Hour {
		t.Errorf("the schedule: %+v", want)
	}
	ct := w.caretaker()
	decisions, err := ct.Prune(t.Context(), *w.app("shop"), ct.Look(t.Context(), []string{"shop"}))
	if err != nil || len(decisions) != 3 {
		t.Fatal(decisions, err)
	}
	for _, d := range decisions {
		if !d.Keep || !strings.Contains(strings.Join(d.Reasons, "; "), "five") {
			t.Errorf("%+v", d)
		}
	}
	says("off five")
	status, err := w.caretaker().Status(t.Context(), []string{"shop"})
	if err != nil || len(status.Apps[0].Schedules) != 1 || !status.Apps[0].Schedules[0].Off || status.Apps[0].Schedules[0].When != "" {
		t.Errorf("switched off: %+v, %v", status.Apps, err)
	}

	says("often 2")
	want = operation.Want(t.Context(), w.engine, *w.app("shop"))
	if want.Unusable == nil || want.Unkept != nil || want.Retention[0].Count != 2 {
		t.Errorf("a good retention beside a schedule that is wrong: %+v", want)
	}
	w.app("shop").Schedules = []schedule.Spec{{Every: time.Hour}}
	w.same("removed by a schedule of its own", 2, len(w.backup("shop").Pruned))
	w.same("alarms of a schedule of its own", []string{}, alarming(w.check().Problems))
}

// TestStatusOfSchedules: status says when the next backup may really begin, also
// while one waits for the end of a pause, and whose a schedule is.
func TestStatusOfSchedules(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop")
	w.app("shop").Profile = selfMade{}.Name()
	w.app("shop").Retention = []retention.Policy{{FromApp: true}}
	if err := os.WriteFile(filepath.Join(w.root("shop"), "schedule"), []byte("24 3"), 0o600); err != nil {
		t.Fatal(err)
	}
	now := w.clock.Now().UTC().Truncate(time.Minute)
	at := func(d time.Duration) schedule.ClockTime {
		return schedule.ClockTime{Hour: now.Add(d).Hour(), Minute: now.Add(d).Minute()}
	}
	paused := schedule.Spec{Name: "paused", Every: time.Hour, TimeZone: "UTC", Pauses: []schedule.Pause{{From: at(-3 * time.Hour), To: at(3 * time.Hour)}}}
	w.app("shop").Schedules = []schedule.Spec{paused, {Name: "app", FromApp: true}, {Name: "off", Off: true}}
	status, err := w.caretaker().Status(t.Context(), []string{"shop"})
	if err != nil {
		t.Fatal(err)
	}
	got := status.Apps[0].Schedules
	if next := got[0].Next; next == nil || !next.Equal(now.Add(3*time.Hour)) || got[0].Source != "" {
		t.Errorf("paused: %v, %+v", next, got[0])
	}
	if got[1].Source != "schedule" || got[1].Next == nil {
		t.Errorf("the application's: %+v", got[1])
	}
	w.same("switched off", operation.ScheduleStatus{Name: "off", Off: true}, got[2])
}

// TestRememberedSchedule: what an application said is not asked for anew after
// each backup, and counts no more when the configuration is another.
func TestRememberedSchedule(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop")
	w.app("shop").Profile = selfMade{}.Name()
	w.app("shop").Schedules = []schedule.Spec{{FromApp: true}}
	file := filepath.Join(w.root("shop"), "schedule")
	if err := os.WriteFile(file, []byte("1 0"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.backup("shop")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	w.same("asked no more", []string{}, alarming(w.backup("shop").Problems))
	w.app("shop").Schedules = []schedule.Spec{{FromApp: true, Name: "own"}, {Every: 24 * time.Hour, Name: "daily"}}
	w.same("another configuration", []string{"shop backup"}, alarming(w.backup("shop").Problems))
	// An app that is not looked at is never asked.
	w.app("shop").Target = func() (engine.Target, error) { t.Error("it was asked"); return engine.Target{}, errGone }
	w.write("more", "data", 10)
	w.apps = append(w.apps, operation.App{Name: "more"})
	w.caretaker().Look(t.Context(), []string{"more"})
}

// TestPolicyPerSet: each set of components has its own policy.
func TestPolicyPerSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop")
	w.app("shop").Retention = []retention.Policy{{Count: 1}, {Components: []core.Component{core.ComponentConfig}, Count: 3}}
	for range 5 {
		w.backup("shop")
		w.clock.pass(time.Minute)
		if _, err := w.caretaker().Backup(t.Context(), *w.app("shop"), engine.BackupOptions{Only: []core.Component{core.ComponentConfig}}, operation.Occasion{Trigger: "manual"}); err != nil {
			t.Fatal(err)
		}
	}
	records, err := w.memory.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kept := map[int]int{}
	for _, r := range records {
		kept[len(r.Components)]++
	}
	w.same("kept, by how many components they have", map[int]int{1: 3, 2: 1}, kept)
}

// TestPruneHalf: what was removed before a failure is told apart from what was
// not, and the next backup goes on.
func TestPruneHalf(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop")
	for range 4 {
		w.backup("shop")
	}
	ids := w.ids("shop")
	w.app("shop").Retention = count(1)
	w.store.Set(faulty.On(faulty.Delete).Nth(2).Gone())
	r := w.backup("shop")
	if len(r.Pruned) != 1 || r.Pruned[0].ID != ids[0] {
		t.Errorf("removed %+v, want the oldest alone", r.Pruned)
	}
	w.same("backups", append(ids[1:], r.Backup.ID), w.ids("shop"))
	entries, err := w.state.AuditLog(t.Context(), state.AuditFilter{})
	if err != nil || len(entries) != 1 || entries[0].Object != ids[0] || entries[0].Who != "tester" {
		t.Errorf("the audit log has %+v %v", entries, err)
	}

	w.store.Set(faulty.On(faulty.Delete).Of(ids[2]).Gone())
	ct := w.caretaker()
	decisions, err := ct.Prune(t.Context(), *w.app("shop"), ct.Look(t.Context(), []string{"shop"}))
	if core.CodeOf(err) != core.CodeNoRepository || !strings.Contains(err.Error(), ids[2]) {
		t.Errorf("error %v", err)
	}
	var said []string
	for _, d := range decisions {
		said = append(said, fmt.Sprint(d.ID, " ", d.Keep, " ", strings.Contains(strings.Join(d.Reasons, ""), "still there")))
	}
	w.same("decisions", []string{r.Backup.ID + " true false", ids[3] + " true true", ids[2] + " true true", ids[1] + " false false"}, said)

	w.store.Set(faulty.On(faulty.Delete).Nth(1).Fail(&core.Error{Code: core.CodeNotFound, Message: "somebody was faster"}))
	w.backup("shop")
	w.same("the next one", 2, len(w.ids("shop"))) // the one that "somebody" removed is there
}

// TestPlanIsPrune compares what a plan says with what is done, over random
// backups and policies.
func TestPlanIsPrune(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 15 {
		w := newWorld(t, "shop")
		for range 1 + r.IntN(9) {
			w.clock.pass(time.Duration(r.IntN(60)) * time.Hour)
			b := w.backup("shop").Backup
			if now := w.clock.Now(); r.IntN(5) == 0 {
				pinned := true
				if err := w.memory.Mark(t.Context(), b.ID, repository.Mark{Pinned: &pinned, Verified: &now}); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.app("shop").Retention = []retention.Policy{{Count: r.IntN(4), Days: r.IntN(5), Daily: r.IntN(4), Weekly: r.IntN(3)}}
		plan, err := w.caretaker().Plan(t.Context(), *w.app("shop"), w.caretaker().Look(t.Context(), []string{"shop"}))
		if err != nil {
			t.Fatal(err)
		}
		before := w.ids("shop")
		ct := w.caretaker()
		done, err := ct.Prune(t.Context(), *w.app("shop"), ct.Look(t.Context(), []string{"shop"}))
		if err != nil {
			t.Fatal(err)
		}
		w.same(fmt.Sprintf("decisions, policy %d %+v", n, w.app("shop").Retention), plan, done)
		var kept []string
		for _, d := range plan {
			if d.Keep {
				kept = append([]string{d.ID}, kept...)
			}
		}
		w.same(fmt.Sprintf("backups, of %v", before), kept, w.ids("shop"))
	}
}

// TestPruneBesideABackup: it waits for nobody, and knows of a backup that was
// made since somebody looked.
func TestPruneBesideABackup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop")
	w.app("shop").Limits = check.Limits{SizeReductionMax: 50}
	for range 3 {
		w.backup("shop")
	}
	ct := w.caretaker()
	report := ct.Look(t.Context(), []string{"shop"})
	lock, err := w.engine.LockApp(t.Context(), "shop", "backup", false)
	if err != nil {
		t.Fatal(err)
	}
	a := *w.app("shop")
	a.Retention = count(1)
	if _, err := ct.Prune(t.Context(), a, report); core.CodeOf(err) != core.CodeLocked {
		t.Errorf("beside a backup: %v", err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	w.write("shop", "data", 10)
	w.backup("shop") // in another process: an anomaly
	decisions, err := ct.Prune(t.Context(), a, report)
	if err != nil || len(decisions) != 4 {
		t.Fatal(decisions, err)
	}
	w.same("backups", 4, len(w.ids("shop")))
	if why := strings.Join(decisions[3].Reasons, ""); !strings.Contains(why, "size-reduction") {
		t.Errorf("kept because %s", why)
	}
	// What nobody judged is no reason to remove anything.
	decisions, err = ct.Prune(t.Context(), a, operation.Report{})
	if err != nil {
		t.Fatal(err)
	}
	w.same("after no look", 4, len(w.ids("shop")))
	if why := strings.Join(decisions[3].Reasons, ""); !strings.Contains(why, "on hold") {
		t.Errorf("kept because %s", why)
	}
	plan, err := w.caretaker().Plan(t.Context(), a, operation.Report{})
	if err != nil || !plan[3].Keep {
		t.Errorf("a plan after no look: %+v %v", plan, err)
	}
}

// TestMaintain is recorded however it ends, and what is old is forgotten.
func TestMaintain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop")
	w.app("shop").Retention = count(1)
	for range 120 {
		w.backup("shop")
	}
	known, err := w.state.Facts(t.Context(), "shop")
	if err != nil || len(known) != 120 {
		t.Fatal(len(known), err)
	}
	last := func() core.Run {
		t.Helper()
		runs, err := w.state.Runs(t.Context(), state.RunFilter{Kind: core.RunMaintain, Limit: 1})
		if err != nil || len(runs) != 1 {
			t.Fatal(runs, err)
		}
		return runs[0]
	}
	w.store.Set(faulty.On(faulty.Maintain).Gone())
	if _, err := w.caretaker().Maintain(t.Context(), "schedule"); core.CodeOf(err) != core.CodeNoRepository {
		t.Error(err)
	}
	if run := last(); run.Outcome != core.OutcomeFailed || run.Fault != "repository" {
		t.Errorf("%+v", run)
	}
	if known, err := w.state.Facts(t.Context(), "shop"); err != nil || len(known) >= 120 || len(known) < 100 {
		t.Errorf("%d facts are kept %v", len(known), err)
	}
	w.store.Set(faulty.On(faulty.Maintain).Fail(&core.Error{Code: core.CodeLocked, Message: "another machine does it"}))
	if _, err := w.caretaker().Maintain(t.Context(), "schedule"); core.CodeOf(err) != core.CodeLocked {
		t.Error(err)
	}
	w.same("outcome", core.OutcomeMissed, last().Outcome)
	w.store.Set()
	if m, err := w.caretaker().Maintain(t.Context(), "schedule"); err != nil || m.Removed == 0 {
		t.Errorf("%+v %v", m, err)
	}
	w.same("outcome", core.OutcomeOK, last().Outcome)
}
