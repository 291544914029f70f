// Package auditor makes one document of a period for auditors: what was planned
// and what ran, what can be restored and how long that takes, what went wrong,
// and how all that answers to what standards ask for. It is for the command
// report. It is pure: it reads no clock, no disk and no database. It promises
// that what is not met or not known is said as plainly as what is.
package auditor

import (
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/evidence"
)

// Input is what a document is made of. Times may be in any zone; the document
// says them in UTC.
type Input struct {
	Generated time.Time
	From, To  time.Time // To is not after Generated
	Backstay  string    // version
	Host      string
	By        string // who asked for it
	Signer    string // fingerprint of the key that will sign it
	Apps      []App
	// Runs and Alarms are those of no single app.
	Runs       []core.Run
	Alarms     []core.Alarm
	Problems   []core.Problem
	Repository Repository
	Kits       []Kit
	KitsKnown  bool // false: this version, or this state folder, has no record of kits
	Audit      Audit
	// RecordsSince is when the records of runs begin; zero: it is not known.
	RecordsSince time.Time
	// Gaps says what could not be read, and why.
	Gaps []string
}

// App is what is known of one app.
type App struct {
	Name, Profile string
	Schedules     []Schedule
	RPO, RTO      time.Duration // targets; 0: none
	Retention     []string      // in words
	Runs          []core.Run    // that began in the period, of all kinds, in any order
	Backups       []core.Backup // all there are now
	BackupsKnown  bool          // false: they could not be listed
	Drills        []evidence.Drill
	DrillsKnown   bool // false: some reports could not be relied on
	Alarms        []core.Alarm
	Problems      []core.Problem // now
}

// Schedule is what was planned.
type Schedule struct {
	Kind string // one of core's RunKind constants
	Name string
	When string // in words
	Off  bool
	Due  []time.Time // in the period, by the schedule as it is now; ascending
	// Since is when the records of its runs begin, where that is later than
	// RecordsSince: only so many runs of a kind are kept.
	Since time.Time
}

// Repository is what is known of where the backups are.
type Repository struct {
	Address     string // without secrets
	Kind        string // "file", "sftp", "s3", …; "": not known
	Where       string // facts in words
	SameMachine *bool  // nil: not known
	Locked      *bool  // objects cannot be removed before a time; nil: not known
	Encryption  string // algorithm; "": not known
	Hash        string
	Space       *core.Space
}

// Kit is a recovery kit.
type Kit struct {
	ID     string     `json:"id"`
	Made   *time.Time `json:"made"`
	Proven *time.Time `json:"proven"` // when it last opened the repository; nil: never
	Stale  string     `json:"stale,omitempty"`
}

// Audit is what is known of the audit log.
type Audit struct {
	Entries []core.Audited // in the period, in any order
	Read    int64          // entries that were verified
	Broken  int64          // the first that is not as it was written; 0: none
	Reason  string
	Known   bool // false: it could not be read
}
