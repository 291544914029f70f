package auditor

import (
	"time"
)

// Schema is the version of the document's JSON form (docs/spec/evidence.md).
const Schema = 1

// Document is the document. Its fields are its JSON form.
type Document struct {
	Schema     int         `json:"schema"`
	What       string      `json:"what"`
	Generated  time.Time   `json:"generated"`
	From       time.Time   `json:"from"`
	To         time.Time   `json:"to"`
	Backstay   string      `json:"backstay"`
	Host       string      `json:"host"`
	By         string      `json:"by"`
	Signer     string      `json:"signer"`
	Apps       []AppFacts  `json:"apps"`
	Repository RepoFacts   `json:"repository"`
	Kits       []Kit       `json:"kits"`
	KitsKnown  bool        `json:"kits_known"`
	Access     AccessFacts `json:"access"`
	Standards  []Standard  `json:"standards"`
	Exceptions []Exception `json:"exceptions"`
	// Unlisted counts exceptions beyond those that are listed.
	Unlisted int      `json:"unlisted,omitempty"`
	Gaps     []string `json:"gaps"`
	Notes    []string `json:"notes"` // what a reader must know to read it right
}

// AppFacts is what the document says of an app.
type AppFacts struct {
	Name         string          `json:"name"`
	Profile      string          `json:"profile"`
	Schedules    []ScheduleFacts `json:"schedules"`
	ByHand       int             `json:"by_hand"` // backups that were made without a schedule
	Backups      *BackupFacts    `json:"backups"` // nil: not known
	RPO          Target          `json:"rpo"`
	RTO          Target          `json:"rto"`
	Drills       []DrillFacts    `json:"drills"`
	DrillsKnown  bool            `json:"drills_known"`
	Restores     []RestoreFacts  `json:"restores"`
	Verification VerifyFacts     `json:"verification"`
	Retention    []string        `json:"retention"`
	Exceptions   int             `json:"exceptions"`
}

// ScheduleFacts holds a schedule against what ran.
type ScheduleFacts struct {
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	When      string `json:"when"`
	Off       bool   `json:"off"`
	Due       int    `json:"due"`
	OK        int    `json:"ok"`
	Warnings  int    `json:"warnings"`
	Failed    int    `json:"failed"`
	Cancelled int    `json:"cancelled"`
	Missed    int    `json:"missed"`    // recorded as never begun
	CaughtUp  int    `json:"caught_up"` // a later run stood for it
	NoRecord  int    `json:"no_record"`
	Running   int    `json:"running"`
}

// Ran counts the due times that led to a backup, or whatever was planned.
func (s ScheduleFacts) Ran() int { return s.OK + s.Warnings }

// BackupFacts counts the backups there are.
type BackupFacts struct {
	Number   int        `json:"number"`
	Oldest   *time.Time `json:"oldest"`
	Newest   *time.Time `json:"newest"` // that is good: not damaged
	AgeMS    int64      `json:"age_ms"` // of the newest
	Damaged  []string   `json:"damaged"`
	Verified int        `json:"verified"` // read back whole at some time
	Drilled  int        `json:"drilled"`
	Pinned   int        `json:"pinned"`
	Bytes    int64      `json:"bytes"`  // of the newest, as the application has them
	Stored   int64      `json:"stored"` // what all of them added to the repository
}

// Target is what was measured against what was promised.
type Target struct {
	Known      bool       `json:"known"` // there was something to measure
	MeasuredMS int64      `json:"measured_ms"`
	TargetMS   int64      `json:"target_ms"` // 0: none is set
	Missed     bool       `json:"missed"`
	From       *time.Time `json:"from,omitempty"` // of the longest gap
	To         *time.Time `json:"to,omitempty"`
	Of         int        `json:"of"` // measurements
}

// DrillFacts is one drill.
type DrillFacts struct {
	Report  string    `json:"report"`
	Time    time.Time `json:"time"`
	Backup  string    `json:"backup"`
	Mode    string    `json:"mode"`
	Passed  bool      `json:"passed"`
	RTOMS   int64     `json:"rto_ms"`
	OK      int       `json:"ok"`
	Failed  []string  `json:"failed"`
	Skipped int       `json:"skipped"`
}

// RestoreFacts is a restore that people did.
type RestoreFacts struct {
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`
	Backup  string    `json:"backup"`
	Outcome string    `json:"outcome"`
	TookMS  int64     `json:"took_ms"`
	By      string    `json:"by"`
}

// VerifyFacts says what was read back.
type VerifyFacts struct {
	Runs   int        `json:"runs"`
	OK     int        `json:"ok"`
	Last   *time.Time `json:"last"` // when a backup was last read back and found whole
	Damage int        `json:"damage"`
}

// RepoFacts is where the backups are.
type RepoFacts struct {
	Address     string `json:"address"`
	Kind        string `json:"kind"`
	Where       string `json:"where"`
	SameMachine string `json:"same_machine"` // "yes", "no", or NotKnown
	Immutable   string `json:"immutable"`    // likewise
	Encryption  string `json:"encryption"`
	Hash        string `json:"hash"`
	UsedBytes   int64  `json:"used_bytes"` // -1: not known
	FreeBytes   int64  `json:"free_bytes"`
}

// NotKnown stands for what cannot be seen from here.
const NotKnown = "not known to backstay"

// AccessFacts is what the audit log says.
type AccessFacts struct {
	Known   bool          `json:"known"`
	Entries int64         `json:"entries"` // as they were written
	Broken  int64         `json:"broken"`
	Reason  string        `json:"reason,omitempty"`
	Actions []ActionFacts `json:"actions"` // in the period, by action
}

// ActionFacts counts an action.
type ActionFacts struct {
	Action string `json:"action"`
	Begun  int    `json:"begun"`
	Failed int    `json:"failed"`
	Who    string `json:"who"`
}

// Exception is something that did not go as it should, or that somebody decided
// against a warning.
type Exception struct {
	Time   time.Time `json:"time"`
	App    string    `json:"app,omitempty"`
	Kind   string    `json:"kind"` // "run failed", "run missed", "alarm", "problem", "drill failed", "forced", …
	What   string    `json:"what"`
	Source string    `json:"source"` // where more of it is: a command
}

// Standard is a table: what a standard asks for, and what is so.
type Standard struct {
	Name string `json:"name"`
	Note string `json:"note"`
	Rows []Row  `json:"rows"`
}

// Status is how a row's question is answered.
type Status string

// The statuses of rows.
const (
	Met     Status = "met"
	Partly  Status = "partly met"
	NotMet  Status = "not met"
	Unknown Status = "not known"
)

// Row answers one thing that a standard asks for.
type Row struct {
	Ref      string `json:"ref"`
	Asks     string `json:"asks"` // in our own words
	Here     string `json:"here"`
	Evidence string `json:"evidence"`
	Status   Status `json:"status"`
}
