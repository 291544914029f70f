package operation_test

import (
	"testing"
	"time"

	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/schedule"
)

// TestDrillIsOverdue: who asks for drills by a schedule hears when none passes,
// and not before one could.
func TestDrillIsOverdue(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	w := newWorld(t, "shop")
	shop := w.app("shop")
	shop.Limits.MaxAge = -1
	shop.Drills = operation.Drills{Scheduled: true, Schedule: schedule.Spec{Every: day, TimeZone: "UTC"}, Newest: 7 * day}
	w.backup("shop")
	found := func() []string { return problemNames(w.caretaker().Look(t.Context(), w.names()).Problems) }
	w.same("at first", []string{}, append([]string{}, found()...))
	w.clock.pass(9 * day) // newest, an interval and a day
	w.same("in time", []string{}, append([]string{}, found()...))
	w.clock.pass(time.Hour)
	w.same("late", []string{"drill-age"}, found())

	now := w.clock.Now()
	record := operation.DrillRecord{Time: now, Backup: "0123456789abcdef", Failed: []string{"table a: it is missing"}}
	if err := w.state.SetValue(t.Context(), operation.DrillKey("shop"), record); err != nil {
		t.Fatal(err)
	}
	w.same("failed", []string{"drill-failed", "drill-age"}, found())
	record.Passed, record.Passes, record.RTOMS, record.RTOTargetMS = true, &now, 2000, 1000
	if err := w.state.SetValue(t.Context(), operation.DrillKey("shop"), record); err != nil {
		t.Fatal(err)
	}
	w.same("passed", []string{"rto-missed"}, found())
	w.clock.pass(10 * day)
	shop.Drills.Schedule.Off = true
	w.same("off", []string{"rto-missed"}, found())
}
