package core

import "time"

// Run is one execution of an operation, recorded with its outcome.
type Run struct {
	ID       int64      `json:"id"`
	App      string     `json:"app,omitempty"` // "": it is not about one app
	Kind     string     `json:"kind"`          // one of the RunKind constants
	Trigger  string     `json:"trigger"`       // "manual", "schedule", "catch-up"
	Schedule string     `json:"schedule,omitempty"`
	Due      *time.Time `json:"due,omitempty"` // when the schedule wanted it
	Started  time.Time  `json:"started"`
	Finished *time.Time `json:"finished"` // nil while it runs
	Outcome  Outcome    `json:"outcome"`
	Backup   string     `json:"backup,omitempty"` // the id of the backup that it made or read
	Code     Code       `json:"code,omitempty"`   // of its error
	Fault    string     `json:"fault,omitempty"`  // "repository": it is to blame for the error
	Message  string     `json:"message,omitempty"`
	Hint     string     `json:"hint,omitempty"`
	Warnings int        `json:"warnings,omitempty"`
	By       string     `json:"by"` // who ran it: an account, or "service"
}

// The kinds of runs.
const (
	RunBackup   = "backup"
	RunCheck    = "check"
	RunPrune    = "prune"
	RunMaintain = "maintain"
	RunVerify   = "verify"
	RunRestore  = "restore"
	RunUndo     = "undo"
	RunExport   = "export"
	RunImport   = "import"
	RunPlan     = "plan" // what a restore or its undo would do; it changes nothing
	RunNotify   = "notify-test"
	RunDrill    = "drill"
	RunReport   = "report" // a document for auditors
)

// Outcome is how a run ended.
type Outcome string

// The outcomes of runs.
const (
	OutcomeRunning   Outcome = "running"
	OutcomeOK        Outcome = "ok"
	OutcomeWarnings  Outcome = "warnings"  // done, with warnings or in part
	OutcomeFailed    Outcome = "failed"    // also: the process ended in the middle
	OutcomeCancelled Outcome = "cancelled" // a person or the end of the service stopped it
	OutcomeMissed    Outcome = "missed"    // it never began: nothing ran at its time
)

// Problem is something that a check found wrong: one line for people, and a
// part of an alarm.
type Problem struct {
	App string `json:"app,omitempty"` // whose problem; "" for the machine's or the repository's
	// Topic says which alarm it belongs to: one cause may show itself in many
	// problems, and is still one alarm.
	Topic   Topic        `json:"topic"`
	Name    string       `json:"name"`             // lower-case words with dashes, the same in every release: "missing", "stale", "rows-dropped"
	Object  string       `json:"object,omitempty"` // table, component, backup, setting
	Message string       `json:"message"`          // what is so, with the numbers, in a sentence without a full stop
	Hint    string       `json:"hint,omitempty"`   // what to type or to do
	Level   ProblemLevel `json:"level"`
}

// ProblemLevel says what follows from a problem.
type ProblemLevel string

// The levels of problems.
const (
	LevelAlarm  ProblemLevel = "alarm"  // exit code 4, and an alarm for as long as it lasts
	LevelNotice ProblemLevel = "notice" // good to know; nobody is called
)

// Topic groups problems that have one cause.
type Topic string

// The topics. An alarm is about one topic of one app; TopicRepository and
// TopicService are the machine's, and their alarms have no app.
const (
	TopicBackup     Topic = "backup"     // backups fail, are missing, too old or not scheduled as they should be
	TopicContent    Topic = "content"    // a backup is implausible: smaller, tables gone, files unreadable
	TopicProof      Topic = "proof"      // verification or drill failed, found damage or is too old
	TopicRepository Topic = "repository" // the repository is full, gone, filling up or not maintained
	TopicService    Topic = "service"    // backstay itself: its state, its configuration, its destinations
)

// Alarm is a condition that somebody must hear of. It has one life: opened
// once, updated while it lasts, closed when the condition is over.
type Alarm struct {
	ID       int64      `json:"id"`
	App      string     `json:"app,omitempty"`
	Topic    Topic      `json:"topic"`
	Opened   time.Time  `json:"opened"`
	Updated  time.Time  `json:"updated"` // when its problems last changed
	Closed   *time.Time `json:"closed"`
	Problems []Problem  `json:"problems"` // the present ones, or the last before it closed
	// Deliveries says, by destination, what it was told of the alarm.
	Deliveries map[string]Delivery `json:"deliveries"`
}

// Delivery is what one destination was told of one alarm.
type Delivery struct {
	Ref    string    `json:"ref,omitempty"` // what the destination calls it: a ticket's number
	Told   AlarmPart `json:"told"`          // the last part of its life that was delivered; "": none yet
	Digest string    `json:"digest"`        // of the problems that were told
	At     time.Time `json:"at"`            // of the last attempt
	Error  string    `json:"error,omitempty"`
}

// AlarmPart is a part of an alarm's life.
type AlarmPart string

// The parts of an alarm's life.
const (
	AlarmOpened  AlarmPart = "opened"
	AlarmUpdated AlarmPart = "updated"
	AlarmClosed  AlarmPart = "closed"
	AlarmTest    AlarmPart = "test" // no alarm at all: `backstay notify test`
)

// Audited is an entry of the audit log: who changed or read what.
type Audited struct {
	ID      int64     `json:"id"`
	Time    time.Time `json:"time"`
	Who     string    `json:"who"`    // the account, and the one behind sudo
	Via     string    `json:"via"`    // "command", "service", "console" or "api"
	Action  string    `json:"action"` // "restore", "delete", "pin", …
	Object  string    `json:"object,omitempty"`
	Outcome string    `json:"outcome"` // "begun", "ok", or an error's code
	Detail  string    `json:"detail,omitempty"`
}

// Facts is what is known of a backup's content without reading its rows: what
// a check compares with what was usual.
type Facts struct {
	Backup     string              `json:"backup"`
	App        string              `json:"app,omitempty"`
	Time       time.Time           `json:"time"`
	Trigger    string              `json:"trigger,omitempty"` // of the backup: "schedule", "import", "before-restore", …
	Bytes      int64               `json:"bytes"`
	Stored     int64               `json:"stored"`
	Components ComponentSizes      `json:"components"`
	Tables     map[string]RowCount `json:"tables,omitempty"` // nil: the backup has no database, or its index could not be read
	Sample     *Sample             `json:"sample,omitempty"` // nil: no files, or not looked at
}

// RowCount counts a table.
type RowCount struct {
	Rows  int64 `json:"rows"`
	Bytes int64 `json:"bytes"`
}

// Sample says how many of the users' files that were looked into look like
// noise: all byte values equally frequent, and nothing at their beginning that
// says what they are. Encrypted files do; few others.
type Sample struct {
	Files  int      `json:"files"` // looked into
	Noise  int      `json:"noise"`
	Noisy  []string `json:"noisy,omitempty"` // some of their paths
	Total  int64    `json:"total"`           // files that could have been looked into
	Reason string   `json:"reason,omitempty"`
}

// Space is how full a repository is.
type Space struct {
	Used       int64      `json:"used"`       // bytes in its objects; -1: not known
	Free       int64      `json:"free"`       // bytes that can still be written; -1: no limit is known
	Total      int64      `json:"total"`      // of the storage; -1: no limit is known
	Maintained *time.Time `json:"maintained"` // when maintenance last completed, nil: never
	Attempted  *time.Time `json:"attempted"`  // when maintenance was last begun
}
