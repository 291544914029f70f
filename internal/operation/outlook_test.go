package operation

import (
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/schedule"
)

// A set of components has the next backup of those schedules that ask for just
// it; what none asks for is part of the whole ones.
func TestNextOfSet(t *testing.T) {
	at := func(hour int, only ...core.Component) schedule.Spec {
		return schedule.Spec{Name: setOf(only), Weekly: &schedule.Weekly{At: schedule.ClockTime{Hour: hour}}, Only: only, TimeZone: "UTC"}
	}
	off := at(1)
	off.Name, off.Off = "off", true
	specs := []schedule.Spec{at(2), at(14, core.ComponentDatabase), at(15, core.ComponentFiles, core.ComponentDatabase), off}
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for set, want := range map[string]int{"database": 14, "database,files": 15, "code,config,database,files": 2, "files": 2} {
		if got := nextOf("helpdesk", specs, set)(noon).UTC().Hour(); got != want {
			t.Errorf("the next backup of %s is at %d, want %d", set, got, want)
		}
	}
	if got := nextOf("helpdesk", nil, "database")(noon); !got.IsZero() {
		t.Errorf("nothing is scheduled, and the next is at %s", got)
	}
}
