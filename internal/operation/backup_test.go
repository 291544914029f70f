package operation_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/repository/faulty"
	"github.com/backstay/backstay/internal/state"
)

// TestOutcomes lets a backup end in every way, and reads what is recorded, what
// monitors hear, and which alarm there is.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	target := func(w *world, change func(*engine.Target)) {
		made := w.app("shop").Target
		w.app("shop").Target = func() (engine.Target, error) {
			t, err := made()
			change(&t)
			return t, err
		}
	}
	type pings = []core.Outcome
	for name, c := range map[string]struct {
		given   func(w *world) // before it
		outcome core.Outcome
		code    core.Code
		fault   string
		pings   pings
		open    []string
	}{
		"ok": {func(*world) {}, core.OutcomeOK, "", "", pings{core.OutcomeRunning, core.OutcomeOK}, []string{}},
		"with warnings": {func(w *world) {
			target(w, func(t *engine.Target) { t.App.Hooks.After = []string{"false"} })
		}, core.OutcomeWarnings, "", "", pings{core.OutcomeRunning, core.OutcomeWarnings}, []string{}},
		"the password is not there": {func(w *world) { w.fails("shop") }, core.OutcomeFailed, core.CodeFailed, "", pings{core.OutcomeRunning, core.OutcomeFailed}, []string{"shop backup"}},
		"its files are gone": {func(w *world) {
			target(w, func(t *engine.Target) { t.App.Root = "/nowhere" })
		}, core.OutcomeFailed, core.CodeApplication, "", pings{core.OutcomeRunning, core.OutcomeFailed}, []string{"shop backup"}},
		"the repository is full": {func(w *world) { w.store.Set(faulty.On(faulty.Commit).DiskFull()) },
			core.OutcomeFailed, core.CodeDisk, "repository", pings{core.OutcomeRunning, core.OutcomeFailed}, []string{"repository"}},
		"the repository is gone": {func(w *world) { w.store.Set(faulty.On(faulty.Begin).Gone()) },
			core.OutcomeFailed, core.CodeNoRepository, "repository", pings{core.OutcomeRunning, core.OutcomeFailed}, []string{"repository"}},
		"something below was cancelled, and nobody wanted it": {func(w *world) { w.store.Set(faulty.On(faulty.Begin).Fail(context.Canceled)) },
			core.OutcomeFailed, core.CodeCancelled, "", pings{core.OutcomeRunning, core.OutcomeFailed}, []string{"shop backup"}},
		"a time limit below was over": {func(w *world) { w.store.Set(faulty.On(faulty.Begin).Fail(context.DeadlineExceeded)) },
			core.OutcomeFailed, core.CodeFailed, "", pings{core.OutcomeRunning, core.OutcomeFailed}, []string{"shop backup"}},
		"another operation works on it": {func(w *world) {
			lock, err := w.engine.LockApp(w.Context(), "shop", "restore", false)
			if err != nil {
				w.Fatal(err)
			}
			w.Cleanup(func() { _ = lock.Release() })
		}, core.OutcomeMissed, core.CodeLocked, "", pings{core.OutcomeRunning}, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "shop")
			due := w.clock.Now().Add(-time.Minute)
			c.given(w)
			r, err := w.caretaker().Backup(t.Context(), *w.app("shop"), engine.BackupOptions{}, operation.Occasion{Trigger: "catch-up", Schedule: "nightly", Due: &due})
			failed := c.outcome != core.OutcomeOK && c.outcome != core.OutcomeWarnings
			if (err != nil) != failed || core.CodeOf(err) != c.code {
				t.Errorf("error %v", err)
			}
			run := w.lastRun("shop")
			w.same("record", core.Run{
				ID: 1, App: "shop", Kind: core.RunBackup, Trigger: "catch-up", Schedule: "nightly", Due: &due, Started: w.clock.Now(), Finished: run.Finished,
				Outcome: c.outcome, Backup: r.Backup.ID, Code: c.code, Fault: c.fault, Message: run.Message, Hint: run.Hint, Warnings: len(r.Backup.Warnings), By: "tester",
			}, run)
			if run.Finished == nil || (run.Message != "") != failed || failed == (len(w.ids("shop")) == 1) {
				t.Errorf("%+v; backups %v", run, w.ids("shop"))
			}
			w.same("pings", c.pings, w.ping.told)
			w.same("alarms", c.open, w.open())
		})
	}
}

// TestCancelled stops a backup in the middle, and one that was just committed:
// nobody is called.
func TestCancelled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop")
	ctx, cancel := context.WithCancel(t.Context())
	w.engine.Store = onCommit{w.memory, cancel}
	w.app("shop").Retention = count(1)
	r, err := w.caretaker().Backup(ctx, *w.app("shop"), engine.BackupOptions{}, operation.Occasion{Trigger: "manual"})
	if err != nil || r.Backup.ID == "" || len(r.Problems) > 0 {
		t.Errorf("stopped after the commit: %+v %v", r, err)
	}
	if run := w.lastRun("shop"); run.Outcome != core.OutcomeOK || run.Backup != r.Backup.ID {
		t.Errorf("recorded as %+v", run)
	}
	w.engine.Store = w.memory
	if _, err := w.caretaker().Backup(ctx, *w.app("shop"), engine.BackupOptions{}, operation.Occasion{Trigger: "manual"}); core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("stopped before: %v", err)
	}
	if run := w.lastRun("shop"); run.Outcome != core.OutcomeCancelled || run.Finished == nil {
		t.Errorf("recorded as %+v", run)
	}
	if _, err := w.caretaker().Check(ctx, []string{"shop"}, "manual"); core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("a check that was stopped: %v", err)
	}
	w.same("alarms", []string{}, w.open())
	w.same("told", 0, len(w.desk.heard()))
	w.same("backups", []string{r.Backup.ID}, w.ids("shop"))
}

// TestStateUnusable: backups are made without the state database, somebody
// hears that it is so, and of a backup that fails all the same.
func TestStateUnusable(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(w *world){
		"locked": func(w *world) {
			w.state = state.Without(&core.Error{Code: core.CodeLocked, Message: "another process holds it"})
		},
		"full": func(w *world) { w.state = state.Without(&core.Error{Code: core.CodeDisk, Message: "there is no room"}) },
		"gone": func(w *world) {
			if err := w.state.Close(); err != nil {
				w.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "shop")
			w.app("shop").Retention = count(1)
			w.backup("shop")
			broken(w)
			r := w.backup("shop")
			if r.Backup.ID == "" || len(r.Pruned) > 0 || len(w.ids("shop")) != 2 {
				t.Errorf("%+v; retention must wait for what is known of backups", r)
			}
			w.same("problems", []string{"service"}, alarming(r.Problems))
			w.same("told", []string{"opened  service"}, w.desk.heard())
			w.fails("shop")
			if r, err := w.try("shop"); !errors.Is(err, errGone) {
				t.Error(err)
			} else {
				w.same("problems", []string{"service", "shop backup"}, alarming(r.Problems))
			}
			w.same("told", []string{"opened shop backup", "opened  service"}, w.desk.heard())
			w.same("pings", core.OutcomeFailed, w.ping.told[len(w.ping.told)-1])
		})
	}
}

// TestStateDamaged: it is begun anew under way, and the backup and its record
// are there.
func TestStateDamaged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop")
	w.backup("shop")
	if err := w.state.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.engine.StateDir, state.FileName), []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	w.openState()
	r := w.backup("shop")
	w.same("problems", []string{"service"}, alarming(r.Problems))
	if run := w.lastRun("shop"); run.Outcome != core.OutcomeOK || run.Backup != r.Backup.ID {
		t.Errorf("recorded as %+v", run)
	}
}

// TestNothingAroundABackup lets everything around a backup fail once it is
// committed: it is a good one all the same.
func TestNothingAroundABackup(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		given func(w *world) // after the commit
		open  []string
	}{
		"the list":               {func(w *world) { w.store.Set(faulty.On(faulty.List).Gone()) }, []string{"repository"}},
		"the list is incomplete": {func(w *world) { w.memory.Lose(w.ids("shop")[0]) }, []string{"repository"}},
		"its size":               {func(w *world) { w.store.Set(faulty.On(faulty.Space).Gone()) }, []string{"repository"}},
		"looking into it":        {func(w *world) { w.store.Set(faulty.On(faulty.Open).Gone()) }, []string{"repository"}},
		"it is damaged":          {func(w *world) { w.store.Set(faulty.On(faulty.Open).Damage()) }, []string{"shop proof"}},
		"its folders":            {func(w *world) { w.store.Set(faulty.On(faulty.ReadDir).Gone()) }, []string{"repository"}},
		"removing others":        {func(w *world) { w.store.Set(faulty.On(faulty.Delete).Gone()) }, []string{}},
		"a destination":          {func(w *world) { w.desk.do = func() error { return errGone }; w.memory.Lose(w.ids("shop")[0]) }, []string{"repository"}},
		"a destination panics":   {func(w *world) { w.desk.do = func() error { panic("desk") }; w.memory.Lose(w.ids("shop")[0]) }, []string{"repository"}},
		"a monitor":              {func(w *world) { w.ping.do = func(context.Context) error { return errGone } }, []string{}},
		"a monitor panics":       {func(w *world) { w.ping.do = func(context.Context) error { panic("ping") } }, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "shop")
			first := w.backup("shop")
			w.app("shop").Retention = count(1)
			var made string
			w.engine.Store = faultyAfterCommit(w, func() { c.given(w) })
			r := w.backup("shop")
			made = r.Backup.ID
			run := w.lastRun("shop")
			if run.Outcome != core.OutcomeOK || run.Backup != made {
				t.Errorf("recorded as %+v", run)
			}
			if ids := w.ids("shop"); ids[len(ids)-1] != made {
				t.Errorf("%s is not there: %v", made, ids)
			}
			w.same("alarms", c.open, w.open())
			if looked := len(c.open) == 0 || name == "its size"; looked != (len(r.Pruned) == 1) && name != "removing others" {
				t.Errorf("of %s there was removed %+v", first.Backup.ID, r.Pruned)
			}
		})
	}
}

// faultyAfterCommit has do set faults when the next backup is committed.
func faultyAfterCommit(w *world, do func()) *faulty.Store {
	w.store = faulty.New(onCommit{w.memory, do})
	return w.store
}

// TestSlowMonitor: monitors that never answer keep a backup waiting for a
// moment, all of them together, and destinations not much longer.
func TestSlowMonitor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "shop")
		deaf := make(chan struct{})
		never := pingFunc(func(context.Context) error { <-deaf; return nil }) // nor does it know of contexts
		patient := pingFunc(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		w.app("shop").Pings = func() []operation.Pinger { return []operation.Pinger{never, patient, w.ping} }
		w.app("shop").Posts = func() []notify.Post { return []notify.Post{{Name: "deaf", Destination: deafDesk(deaf)}} }
		mend := w.fails("shop")
		began := time.Now()
		if _, err := w.try("shop"); !errors.Is(err, errGone) {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("what surrounds a backup took %s", took)
		}
		w.same("pings", []core.Outcome{core.OutcomeRunning, core.OutcomeFailed}, w.ping.told)
		mend()
		w.backup("shop")
		close(deaf)
		if err := w.state.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
	})
}

type pingFunc func(ctx context.Context) error

func (f pingFunc) Ping(ctx context.Context, _ core.Run) error { return f(ctx) }

type deafDesk chan struct{}

func (d deafDesk) Deliver(context.Context, string, notify.Message) (string, error) {
	<-d
	return "", nil
}

// TestClockJumps: a clock that was set wrong leaves no alarm behind when what is
// dated in the future no longer is, and no run without an end.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop")
	w.app("shop").Retention = count(3)
	w.backup("shop")
	mend := w.fails("shop")
	w.clock.pass(1000 * 24 * time.Hour)
	if _, err := w.try("shop"); err == nil {
		t.Fatal("no error")
	}
	w.same("alarms", []string{"shop backup"}, w.open())
	mend()
	w.clock.pass(-1000 * 24 * time.Hour)
	last := w.backup("shop")
	w.same("alarms", []string{}, w.open())
	w.engine.Store = onCommit{w.memory, func() { w.clock.pass(-48 * time.Hour) }} // under way
	w.backup("shop")
	runs, err := w.state.Runs(t.Context(), state.RunFilter{App: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range runs {
		if run.Finished == nil || run.Outcome == core.OutcomeRunning {
			t.Errorf("%+v", run)
		}
	}
	w.same("alarms while backups are of the future", []string{"shop backup"}, w.open())
	w.same("problems", []string{"future", "future", "future"}, problemNames(w.check().Problems))
	w.clock.pass(48 * time.Hour)
	w.check()
	w.same("alarms", []string{}, w.open())
	if ids := w.ids("shop"); len(ids) != 3 || ids[1] != last.Backup.ID {
		t.Errorf("backups %v", ids)
	}
}
