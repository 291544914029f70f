package notify

import (
	"context"
	"log/slog"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Matter is what an alarm is about.
type Matter struct {
	App   string // "": the machine
	Topic core.Topic
}

// Scope says what was looked at. Alarms of other matters stay as they are.
type Scope map[Matter]bool

// Add says that topics of app were looked at.
func (s Scope) Add(app string, topics ...core.Topic) {
	for _, t := range topics {
		s[Matter{app, t}] = true
	}
}

// Desk opens, updates and closes alarms. It is safe for concurrent use, but two
// that work on the same matters at the same time may tell the same twice.
type Desk struct {
	// Posts returns the destinations of an app, in the order of the
	// configuration; "" is for the machine's alarms.
	Posts    func(app string) []Post
	Ledger   Ledger
	Clock    core.Clock
	Log      *slog.Logger
	Host     string         // the machine's name; tickets are found by it
	Location *time.Location // whose time people read; nil: UTC
	Timeout  time.Duration  // of one delivery; 0: 30 s
}

// Changes is what Reconcile did.
type Changes struct {
	Opened, Updated, Closed []core.Alarm
	Open                    []core.Alarm // all in the ledger that are open now, also those of other matters
	Failed                  []Failure    // what could not be delivered; it is tried again at the next Reconcile
	// Untold are the open alarms in scope that have destinations, none of which
	// was ever told.
	Untold []core.Alarm
}

// Failure is a delivery that failed.
type Failure struct {
	Post  string
	Alarm core.Alarm
	Part  core.AlarmPart
	Err   error // without secrets
}

// Reconcile opens, updates and closes alarms so that there is one for each
// matter in scope that has problems of LevelAlarm, tells the destinations of
// what changed, and tries again what they could not be told before. A matter
// that has a problem counts as looked at. safe returns in words which backup of
// an app is the last good one; it may be nil.
//
// Where the ledger fails, what is wrong now is told all the same: Changes is
// valid with an error too. The error is of the ledger, or says that nobody was
// told of an alarm.
func (d *Desk) Reconcile(ctx context.Context, scope Scope, problems []core.Problem, safe func(app string) string) (Changes, error) {
	return Changes{}, &core.Error{Code: core.CodeUnsupported, Op: "reconcile alarms", Message: "this is not built yet"}
}
