package profile

import (
	"context"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Scheduler is a profile whose application says itself when it wants to be
// backed up and how many backups it wants kept.
type Scheduler interface {
	// AppSchedule reads the application's own settings as they are now. q is nil
	// when the settings are not in the database, which NeedsDatabase says. An
	// error names the setting that cannot be understood and what can be written
	// there: whoever gets one MUST NOT run anything on that schedule. What is known
	// of the retention comes with an error too.
	AppSchedule(ctx context.Context, q Querier, app App) (AppSchedule, error)
	// ScheduleNeedsDatabase says whether AppSchedule asks the database.
	ScheduleNeedsDatabase() bool
}

// AppSchedule is what an application's settings say of its backups.
type AppSchedule struct {
	Enabled  bool
	Days     []time.Weekday // none: all
	Hour     int
	Minute   int
	Every    time.Duration // 0: at Hour:Minute on Days
	TimeZone string        // "": the machine's
	Only     []core.Component
	// Retention: 0 is not set. The application keeps what either rule keeps, or
	// only what both keep, as Both says.
	Count, KeepDays int
	Both            bool
	// RetentionErr says why it is not known what the application keeps: the
	// schedule is good all the same, and nothing may be removed by it.
	RetentionErr error
	File         string // absolute path of the file that says so, with an error too; "": the database does
	Source       string // where it was read, for people: "conf/production/config-itop.php, itop-backup"
}

// Incidents is a profile whose application opens tickets about its own backups.
type Incidents interface {
	// IncidentURL is the address of the application that gets them.
	IncidentURL(ctx context.Context, app App) (string, error)
}
