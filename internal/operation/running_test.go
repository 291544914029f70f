package operation_test

import (
	"slices"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// TestHangs: a backup that goes on for much longer than usual is a problem, and
// one that takes its time is none.
func TestHangs(t *testing.T) {
	w := newWorld(t, "a")
	for range 5 {
		began := w.clock.Now()
		w.clock.pass(30 * time.Minute)
		finished := w.clock.Now()
		if _, err := w.state.AddRun(t.Context(), core.Run{App: "a", Kind: core.RunBackup, Trigger: "schedule", Started: began, Finished: &finished, Outcome: core.OutcomeOK}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.state.BeginRun(t.Context(), core.Run{App: "a", Kind: core.RunBackup, Trigger: "schedule", Started: w.clock.Now()}); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		pass  time.Duration
		hangs bool
	}{{time.Hour, false}, {time.Hour, false}, {time.Minute, true}} {
		w.clock.pass(step.pass)
		report := w.caretaker().Look(t.Context(), []string{"a"})
		if got := slices.ContainsFunc(report.Problems, func(p core.Problem) bool { return p.Name == "hangs" && p.App == "a" }); got != step.hangs {
			t.Errorf("after %s more: %v", step.pass, report.Problems)
		}
	}
}

// TestTwoConfigurations: one that shares the state folder does not end the
// alarms of the other's apps; the one that an app was taken out of does.
func TestTwoConfigurations(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.fails("b")
	_, _ = w.try("b")
	w.check()
	w.same("open", []string{"b backup"}, w.open())
	w.apps = w.apps[:1]
	other := w.caretaker()
	other.Config = "/etc/other.yaml"
	if _, err := other.Check(t.Context(), []string{"a"}, "manual"); err != nil {
		t.Fatal(err)
	}
	w.same("open after the other's check", []string{"b backup"}, w.open())
	w.check("a")
	w.same("open when it is configured no more", []string{}, w.open())
}
