package operation_test

import (
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/schedule"
)

// part backs up what one schedule of an app is for.
func (w *world) part(app, name string, only core.Component) error {
	w.clock.pass(3 * time.Hour)
	_, err := w.caretaker().Backup(w.Context(), *w.app(app), engine.BackupOptions{Trigger: "schedule", Only: []core.Component{only}}, operation.Occasion{Trigger: "schedule", Schedule: name})
	return err
}

// TestFailedPart: of an app whose parts have schedules of their own, a part that
// fails is one alarm until it is backed up, whatever becomes of the other part.
func TestFailedPart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop")
	w.app("shop").Schedules = []schedule.Spec{
		{Name: "cf", Every: 6 * time.Hour, Only: []core.Component{core.ComponentConfig}, TimeZone: "UTC"},
		{Name: "fl", Every: 6 * time.Hour, Only: []core.Component{core.ComponentFiles}, TimeZone: "UTC"},
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.part("shop", "cf", core.ComponentConfig))
	must(w.part("shop", "fl", core.ComponentFiles))
	for range 4 {
		mend := w.fails("shop")
		if w.part("shop", "cf", core.ComponentConfig) == nil {
			t.Fatal("it did not fail")
		}
		mend()
		must(w.part("shop", "fl", core.ComponentFiles))
		w.same("open between", []string{"shop backup"}, w.open())
	}
	w.same("problems", []string{"failed", "stale-part"}, problemNames(w.check().Problems))
	for _, told := range w.desk.heard() {
		if told == "closed shop backup" {
			t.Error("the alarm was closed while the part failed")
		}
	}
	// Many runs later it is still known.
	for range 60 {
		must(w.part("shop", "fl", core.ComponentFiles))
	}
	w.same("problems after many runs", []string{"failed", "stale-part"}, problemNames(w.check().Problems))
	must(w.part("shop", "cf", core.ComponentConfig))
	w.same("open when it is backed up", []string{}, w.open())

	// A schedule that is no longer there is forgotten when another is well.
	mend := w.fails("shop")
	_ = w.part("shop", "cf", core.ComponentConfig)
	mend()
	w.same("open when it fails again", []string{"shop backup"}, w.open())
	w.app("shop").Schedules = w.app("shop").Schedules[1:]
	w.check()
	w.same("open while no other ran", []string{"shop backup"}, w.open())
	must(w.part("shop", "fl", core.ComponentFiles))
	w.same("open when another ran", []string{}, w.open())
}
