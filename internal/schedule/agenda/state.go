package agenda

import (
	"time"

	"github.com/backstay/backstay/internal/schedule"
)

// Job is something that is to be done on a schedule.
type Job struct {
	Key      string             // its own, and the same over restarts
	App      string             // the jobs of one app run one at a time; "": it is about none
	Kind     string             // one of core's RunKind constants
	Group    string             // the jobs of one group run one at a time, whatever their apps; "": none
	Free     bool               // it neither waits for Limits.Running nor counts for it: a check must not wait for a backup that hangs
	Name     string             // of the schedule: Spec.Name
	Off      bool               // it never runs; also when its schedule is off
	Schedule *schedule.Schedule // keyed by Key here; nil with Err
	Err      error              // why there is no schedule: the job is listed and never runs
}

// Memory is what an agenda has to remember of a job over restarts.
type Memory struct {
	Handled     time.Time `json:"handled"` // all that was due until then is dealt with
	Fingerprint string    `json:"fingerprint"`
}

// Limits are an agenda's settings. Zero values are the defaults.
type Limits struct {
	Running int           // jobs that run at a time; default 1
	Grace   time.Duration // a run that begins later than this was missed; default 10 minutes
}

// Start is a job to begin now. Save Changed first, then begin it: a due time
// leads to one run at most.
type Start struct {
	Job       Job
	Due       time.Time // the latest that it stands for
	Trigger   string    // one of the Trigger constants
	Collapsed int       // earlier due times that it stands for too
}

// Event is something that happened to a job and is worth a record or a line in
// the log.
type Event struct {
	Kind    EventKind
	Job     Job
	Due     time.Time // EventMissed: the latest of the due times
	Count   int       // due times that it is about
	Message string    // for people, lower case, no full stop
}

// EventKind is a kind of event.
type EventKind string

// The kinds of events.
const (
	EventMissed  EventKind = "missed"  // it was due while nothing ran, and is not caught up
	EventClock   EventKind = "clock"   // the clock was far ahead: due times count from now on
	EventChanged EventKind = "changed" // the schedule was changed: due times count from now on
)

// State is what an agenda knows of a job: for status and metrics.
type State struct {
	Job     Job       // with Off and Err as they are in effect
	Off     bool      // it never runs: Job.Off
	Next    time.Time // when it may begin next: what is due in a pause at its end; zero: never, off or in error
	Handled time.Time
	Ended   time.Time // when its last run ended; zero: none did since New
	Running *Running  // nil: it does not run
	Waiting *Waiting  // nil: it does not wait
	Gone    bool      // it is no longer configured, and still runs
}

// Running is a job that runs.
type Running struct {
	Since   time.Time
	Due     time.Time
	Trigger string
}

// Waiting is a job that is due and cannot begin yet.
type Waiting struct {
	Due       time.Time // the latest that it waits with
	First     time.Time // the first, which decides its turn
	Trigger   string
	Collapsed int
	For       string    // one of the For constants
	Until     time.Time // the end of the pause; else zero
}
