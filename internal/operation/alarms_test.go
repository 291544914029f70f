package operation_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/check"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/faulty"
	"github.com/backstay/backstay/internal/schedule"
	"github.com/backstay/backstay/internal/state"
)

// TestAlarmsOfOneApp: what is found of one app leaves the alarms of others alone.
func TestAlarmsOfOneApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "a", "b")
	w.backup("a")
	mendA, mendB := w.fails("a"), w.fails("b")
	_, _ = w.try("a")
	_, _ = w.try("b")
	w.same("open", []string{"a backup", "b backup"}, w.open())
	mendB()
	w.backup("b")
	w.same("open after b's", []string{"a backup"}, w.open())
	w.check("b")
	w.same("open after b's check", []string{"a backup"}, w.open())
	_, _ = w.try("a")
	mendA()
	w.backup("a")
	w.same("open after a's", []string{}, w.open())
	w.same("told", []string{"opened a backup", "opened b backup", "closed b backup", "closed a backup"}, w.desk.heard())
}

// TestRepositoryAlarm: what the repository does to many apps is one alarm, which
// lasts until none of them fails because of it.
func TestRepositoryAlarm(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "a", "b", "c")
	w.backup("a")
	w.store.Set(faulty.On(faulty.Commit).DiskFull())
	for _, app := range w.names() {
		_, _ = w.try(app)
	}
	w.same("open", []string{"repository"}, w.open())
	w.store.Set()
	r := w.backup("a")
	w.same("problems after a's", []string{"repository"}, alarming(r.Problems))
	w.backup("b")
	w.same("open after a's and b's", []string{"repository"}, w.open())
	w.store.Set(faulty.On(faulty.List).Gone())
	w.check("a")
	w.same("open while it is gone", []string{"repository"}, w.open())
	w.store.Set()
	w.backup("c")
	w.same("open after all", []string{}, w.open())
	told := w.desk.heard()
	if told[0] != "opened  repository" || told[len(told)-1] != "closed  repository" || slices.ContainsFunc(told[1:len(told)-1], func(s string) bool { return !strings.HasPrefix(s, "updated") }) {
		t.Errorf("told %q", told)
	}
	// An app that is not configured any more keeps no alarm open.
	w.store.Set(faulty.On(faulty.Commit).DiskFull())
	_, _ = w.try("c")
	w.store.Set()
	mend := w.fails("b")
	_, _ = w.try("b")
	mend()
	w.same("open before they are gone", []string{"b backup", "repository"}, w.open())
	w.apps = w.apps[:1]
	w.check()
	w.same("open when they are gone", []string{}, w.open())
}

// TestOvertaken lets a backup of another process end between what a check looks
// at and what it tells: the newer one has the last word.
func TestOvertaken(t *testing.T) {
	t.Parallel()
	for _, fails := range []bool{true, false} {
		w := newWorld(t, "a", "b")
		w.backup("a")
		mend := w.fails("a")
		if fails {
			mend()
		} else {
			_, _ = w.try("a")
		}
		w.desk.heard()
		slow := *w.engine
		slow.Store = onSpace{w.store, new(sync.Once), func() {
			if fails {
				w.fails("a")
			} else {
				mend()
			}
			_, _ = w.try("a")
		}}
		c := w.caretaker()
		c.Engine = &slow
		report, err := c.Check(t.Context(), w.names(), "schedule")
		if err != nil {
			t.Fatal(err)
		}
		if fails {
			w.same("told", []string{"opened a backup"}, w.desk.heard())
			w.same("found", []string{"a backup"}, alarming(report.Problems))
			w.same("open", []string{"a backup"}, w.open())
		} else {
			w.same("told", []string{"closed a backup"}, w.desk.heard())
			w.same("found", []string{}, alarming(report.Problems))
			w.same("open", []string{}, w.open())
		}
	}
}

// TestTwoAtOnce has several processes find the same at the same time: there is
// one alarm, told once.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "a", "b", "c")
	w.store.Set(faulty.On(faulty.Commit).DiskFull())
	var all sync.WaitGroup
	for _, app := range w.names() {
		all.Go(func() {
			c := w.caretaker()
			_, _ = c.Backup(t.Context(), *w.app(app), engine.BackupOptions{}, operation.Occasion{Trigger: "manual"})
			if _, err := w.caretaker().Check(t.Context(), w.names(), "manual"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	opened := slices.DeleteFunc(w.desk.heard(), func(s string) bool { return !strings.HasPrefix(s, "opened") })
	w.same("opened", []string{"opened  repository"}, opened)
	w.same("open", []string{"repository"}, w.open())
}

// TestUnreadableCloses: what cannot be looked at closes no alarm.
func TestUnreadableCloses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop")
	w.app("shop").Limits.SizeReductionMax = 50
	w.backup("shop")
	w.write("shop", "data", 10)
	w.backup("shop")
	w.same("open", []string{"shop content"}, w.open())
	w.store.Set(faulty.On(faulty.List).Gone())
	w.check()
	w.same("open, with no list", []string{"repository", "shop content"}, w.open())
	w.store.Set()
	faultyAfterCommit(w, func() { w.store.Set(faulty.On(faulty.Open).Damage()) })
	w.engine.Store = w.store
	w.write("shop", "data", 1000)
	w.backup("shop")
	w.same("open, with a newest that nobody can read", []string{"shop content", "shop proof"}, w.open())
	w.store.Set()
	r := w.check()
	w.same("problems", []string{}, problemNames(r.Problems))
	w.same("open", []string{}, w.open())
}

// TestStale: a backup that was not made is told of by a check, and is over with
// the next one.
func TestStale(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop", "new")
	w.app("shop").Schedules = []schedule.Spec{{Every: 24 * time.Hour, TimeZone: "UTC"}}
	w.app("new").Schedules = w.app("shop").Schedules
	w.backup("shop")
	w.same("a new app's first is still to come", []string{}, alarming(w.check().Problems))
	w.clock.pass(30 * time.Hour)
	w.same("late", []string{"new backup", "shop backup"}, alarming(w.check().Problems))
	w.backup("shop")
	w.same("open", []string{"new backup"}, w.open())
	w.app("new").Schedules[0].Off = true
	w.check()
	w.same("open, switched off", []string{}, w.open())
}

func TestAccept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop")
	if _, err := w.caretaker().Accept(t.Context(), *w.app("shop")); core.CodeOf(err) != core.CodeNotFound {
		t.Errorf("with no backup: %v", err)
	}
	w.app("shop").Limits.SizeReductionMax = 50
	w.backup("shop")
	w.write("shop", "data", 10)
	id := w.backup("shop").Backup.ID
	w.same("open", []string{"shop content"}, w.open())
	got, err := w.caretaker().Accept(t.Context(), *w.app("shop"))
	if err != nil {
		t.Fatal(err)
	}
	w.same("accepted", check.Accepted{Backup: id, Time: w.clock.Now(), By: "tester"}, got)
	w.check()
	w.same("open", []string{}, w.open())
	w.state = state.Without(errGone)
	if _, err := w.caretaker().Accept(t.Context(), *w.app("shop")); err == nil {
		t.Error("it was not kept, and nobody says so")
	}
}

// TestStatus says what is known where the repository cannot be reached, and
// tells nobody.
func TestStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop", "off")
	w.app("shop").Schedules = []schedule.Spec{{Every: 24 * time.Hour, TimeZone: "UTC"}}
	w.app("off").Schedules = []schedule.Spec{{Every: time.Hour, Off: true}}
	b := w.backup("shop").Backup
	now := w.clock.Now()
	if err := w.memory.Mark(t.Context(), b.ID, repository.Mark{Verified: &now}); err != nil {
		t.Fatal(err)
	}
	lock, err := w.engine.LockApp(t.Context(), "off", "restore", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Release() })
	s, err := w.caretaker().Status(t.Context(), w.names())
	if err != nil {
		t.Fatal(err)
	}
	shop, off := s.Apps[0], s.Apps[1]
	if s.Backups != 1 || s.Repository == nil || shop.Last == nil || shop.Last.ID != b.ID || !shop.Verified.Equal(now) || shop.Drilled != nil || shop.LastRun.Backup != b.ID {
		t.Errorf("%+v", s)
	}
	midnight := time.Date(2030, 1, 8, 0, 0, 0, 0, time.UTC)
	if next := shop.Schedules[0].Next; next == nil || !next.Equal(midnight) {
		t.Errorf("next %v, want %v", next, midnight)
	}
	if !off.Schedules[0].Off || off.Schedules[0].Next != nil || !strings.HasPrefix(off.Doing, "restore by process") || off.Last != nil {
		t.Errorf("%+v", off)
	}
	w.store.Set(faulty.On(faulty.List).Gone())
	s, err = w.caretaker().Status(t.Context(), append(w.names(), "unknown"))
	if err != nil || !s.Alarming() || s.Repository != nil || len(s.Apps) != 2 || s.Apps[0].LastRun == nil || len(s.Apps[0].Schedules) != 1 {
		t.Errorf("%+v %v", s, err)
	}
	w.same("problems", []string{"repository-unusable"}, problemNames(s.Problems))
	w.same("told", 0, len(w.desk.heard()))
	w.same("open", []string{}, w.open())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.caretaker().Status(ctx, w.names()); core.CodeOf(err) != core.CodeCancelled {
		t.Error(err)
	}
}

func TestTellService(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop")
	w.fails("shop")
	_, _ = w.try("shop")
	w.desk.heard()
	broken := []core.Problem{{Topic: core.TopicService, Name: "config", Message: "it cannot be read", Level: core.LevelAlarm}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the service ends
	for _, problems := range [][]core.Problem{broken, broken, nil, nil} {
		c := w.caretaker()
		c.ServiceRuns = true
		if err := c.TellService(ctx, problems); err != nil {
			t.Fatal(err)
		}
		c = w.caretaker() // a command beside it leaves that to the service
		c.ServiceRuns = true
		if _, err := c.Check(t.Context(), []string{"shop"}, "manual"); err != nil {
			t.Fatal(err)
		}
	}
	w.same("told", []string{"opened  service", "closed  service"}, w.desk.heard())
	w.same("open", []string{"shop backup"}, w.open())
}

// TestUndeliverable: that nobody could be told is an error of the check, and is
// told as soon as somebody listens.
func TestUndeliverable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop")
	w.fails("shop")
	w.desk.do = func() error { return errGone }
	if _, err := w.try("shop"); err == nil || strings.Contains(err.Error(), "nobody") {
		t.Errorf("the backup's error is %v", err)
	}
	r, err := w.caretaker().Check(t.Context(), w.names(), "schedule")
	if err == nil || !strings.Contains(err.Error(), "nobody could be told") || !r.Alarming() {
		t.Errorf("%+v %v", r, err)
	}
	runs, rerr := w.state.Runs(t.Context(), state.RunFilter{Kind: core.RunCheck})
	if rerr != nil || len(runs) != 1 || runs[0].Outcome != core.OutcomeFailed || runs[0].App != "shop" {
		t.Errorf("%+v %v", runs, rerr)
	}
	w.desk.do = nil
	w.check()
	w.same("told", []string{"opened shop backup"}, w.desk.heard())
}

func TestTestAlarms(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "a", "b")
	broken := &desk{do: func() error { return errGone }}
	w.app("b").Posts = func() []notify.Post { return []notify.Post{{Name: "broken", Destination: broken}} }
	var said []string
	for _, tried := range w.caretaker().TestAlarms(t.Context(), w.apps, true, false) {
		said = append(said, fmt.Sprintf("%s/%s/%s/%t", tried.App, tried.Destination, tried.Part, tried.Error == ""))
	}
	w.same("tried", []string{
		"a/desk/opened/true", "a/desk/updated/true", "a/desk/closed/true", "b/broken/opened/false", "/desk/opened/true", "/desk/updated/true", "/desk/closed/true",
	}, said)
	said = nil
	for _, tried := range w.caretaker().TestAlarms(t.Context(), w.apps[:1], false, true) {
		said = append(said, tried.Part)
	}
	w.same("left open", []string{"opened", "updated"}, said)
	w.same("open", []string{}, w.open())
}

// TestPostsAreMadeOnce: they read passwords.
func TestPostsAreMadeOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop")
	made := 0
	posts := w.app("shop").Posts
	w.app("shop").Posts = func() []notify.Post { made++; return posts() }
	w.backup("shop")
	w.same("with nothing to tell", 0, made)
	w.fails("shop")
	_, _ = w.try("shop")
	w.same("for an alarm", 1, made)
}

// TestSizesAreRemembered: once an hour, however often somebody looks.
func TestSizesAreRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop")
	for range 90 {
		w.clock.pass(2 * time.Minute)
		w.caretaker().Look(t.Context(), w.names())
	}
	samples, err := w.state.Space(t.Context(), w.engine.Repository, time.Time{})
	if err != nil || len(samples) != 3 {
		t.Errorf("%d of 3 hours are remembered: %v", len(samples), err)
	}
}

// TestLife is a property: whatever happens, the open alarms are those of what is
// wrong, for what was looked at, by a model that knows only what was done.
func TestLife(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(6, 6))
	for range 6 {
		w := newWorld(t, "a", "b", "c")
		for i := range w.apps {
			w.apps[i].Limits.SizeReductionMax = 50
			w.apps[i].Retention = count(3)
		}
		type fault struct{ app, storage bool }
		last := map[string]fault{}   // how each app's last backup ended
		shrunk := map[string]bool{}  // the newest backup has less than half of what is usual
		newest := map[string]int64{} // its size
		usual := map[string]int64{}  // that before it shrank: it does not get used to it
		damaged := map[string]bool{} // any backup
		life := ""
		for range 60 {
			app := w.names()[r.IntN(3)]
			whole := false
			switch what := r.IntN(9); {
			case what < 3: // well, with the size that it happens to have
				n := []int{1000, 100_000}[r.IntN(2)]
				w.write(app, "data", n)
				b := w.backup(app).Backup
				if shrunk[app] = b.LogicalBytes*2 < usual[app]; !shrunk[app] {
					usual[app] = b.LogicalBytes
				}
				newest[app] = b.LogicalBytes
				last[app] = fault{}
				life += fmt.Sprintf(" %s:%d", app, n)
			case what < 5:
				mend := w.fails(app)
				_, _ = w.try(app)
				mend()
				last[app] = fault{app: true}
				life += " " + app + ":fails"
			case what < 6:
				w.store.Set(faulty.On(faulty.Commit).DiskFull())
				_, _ = w.try(app)
				w.store.Set()
				last[app] = fault{storage: true}
				life += " " + app + ":full"
			case what < 7:
				ids := w.ids(app)
				if len(ids) > 0 && r.IntN(3) == 0 {
					now := w.clock.Now()
					if err := w.memory.Mark(t.Context(), ids[len(ids)-1], repository.Mark{Damaged: &now}); err != nil {
						t.Fatal(err)
					}
					damaged[app] = true
				} else {
					for _, id := range ids {
						now := w.clock.Now()
						if err := w.memory.Mark(t.Context(), id, repository.Mark{Verified: &now}); err != nil {
							t.Fatal(err)
						}
					}
					damaged[app] = false
				}
				w.check(app)
				life += " " + app + ":mark"
			case what < 8:
				if len(w.ids(app)) > 0 {
					if _, err := w.caretaker().Accept(t.Context(), *w.app(app)); err != nil {
						t.Fatal(err)
					}
					shrunk[app], usual[app] = false, newest[app]
					w.check(app)
				}
				life += " " + app + ":accept"
			default:
				w.check()
				whole = true
			}
			want := []string{}
			storage := false
			for _, a := range w.names() {
				for topic, is := range map[string]bool{"backup": last[a].app, "content": shrunk[a], "proof": damaged[a]} {
					if is {
						want = append(want, a+" "+topic)
					}
				}
				storage = storage || last[a].storage
			}
			if storage {
				want = append(want, "repository")
			}
			slices.Sort(want)
			if !slices.Equal(want, w.open()) {
				w.same("open after"+life, want, w.open())
				return
			}
			if whole {
				w.same("problems", want, alarming(w.caretaker().Look(t.Context(), w.names()).Problems))
			}
		}
	}
}
