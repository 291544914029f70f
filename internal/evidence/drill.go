// Package evidence holds what drills showed, and proves later that nobody has
// changed it: a report for each drill as JSON and HTML, signed with the key of
// this installation, and one document over a period for auditors. It is for the
// commands and the console. It promises that a report that was changed in one
// byte is refused, that it holds no secrets, and that it says what was not
// looked at as plainly as what was.
package evidence

import (
	"time"

	"github.com/backstay/backstay/internal/core"
)

// DrillSchema is the version of a drill's report (docs/spec/evidence.md).
const DrillSchema = 1

// Drill is the report of one drill.
type Drill struct {
	Schema   int           `json:"schema"`
	ID       string        `json:"id"`  // names the report's files; letters, digits and dashes
	Run      int64         `json:"run"` // of the state database; 0: it was not recorded
	App      string        `json:"app"`
	Profile  string        `json:"profile"`
	Backstay string        `json:"backstay"` // version
	Host     string        `json:"host"`     // where the drill ran
	Trigger  string        `json:"trigger"`  // "manual", "schedule", …
	Started  time.Time     `json:"started"`
	Finished time.Time     `json:"finished"`
	Mode     string        `json:"mode"` // DrillFull or DrillSample
	Passed   bool          `json:"passed"`
	Failure  string        `json:"failure,omitempty"` // what ended it early; "": it ran to its end
	Hint     string        `json:"hint,omitempty"`
	Backup   DrilledBackup `json:"backup"`
	Place    Place         `json:"place"`
	Steps    []Step        `json:"steps"`  // in the order in which they ran
	Proofs   []core.Proof  `json:"proofs"` // in the order in which they were made
	RPO      Objective     `json:"rpo"`
	RTO      Objective     `json:"rto"`
	// Sampled says what of the backup was looked at, when Mode is DrillSample.
	Sampled *Sampled `json:"sampled,omitempty"`
	// Signer is the fingerprint of the key that signs the report, and PageSHA256
	// the hash of its HTML: another report's, however well signed, is not taken
	// for it. Save fills them in.
	Signer     string `json:"signer"`
	PageSHA256 string `json:"page_sha256"`
	// Left says what the drill could not clean up; empty: nothing is left.
	Left []string `json:"left,omitempty"`
}

// The modes of drills.
const (
	DrillFull   = "full"
	DrillSample = "sample"
)

// DrilledBackup is the backup that was restored.
type DrilledBackup struct {
	ID         string              `json:"id"`
	Time       time.Time           `json:"time"`
	Host       string              `json:"host"`
	Trigger    string              `json:"trigger"`
	Bytes      int64               `json:"bytes"`
	Components core.ComponentSizes `json:"components"`
	Versions   map[string]string   `json:"versions,omitempty"`
	Server     string              `json:"server,omitempty"` // of origin: "mariadb 10.11.19"
}

// Place is where it was restored.
type Place struct {
	Server    string   `json:"server,omitempty"`    // "mariadb 10.11.19", and how it was chosen
	Private   bool     `json:"private"`             // the server was started for this drill and had no network
	PHP       string   `json:"php,omitempty"`       // version; "": the application was not started
	Isolation []string `json:"isolation,omitempty"` // what kept the application off the world
	FreeBytes int64    `json:"free_bytes"`          // of the disk, before
	UsedBytes int64    `json:"used_bytes"`          // of the disk, at most as seen
}

// Step is one step of the recovery, measured.
type Step struct {
	Name       string `json:"name"` // "server", "plan", "restore database", "compile", "start", "visit", …
	DurationMS int64  `json:"duration_ms"`
	Bytes      int64  `json:"bytes,omitempty"`
	Recovery   bool   `json:"recovery"` // it is a part of the time to recover; proofs are not
}

// Objective is a measured time against the one that was promised.
type Objective struct {
	MeasuredMS int64 `json:"measured_ms"`
	TargetMS   int64 `json:"target_ms"` // 0: none is set
	// Missed says that the measured time is longer than the target. That fails no
	// drill; it is told.
	Missed bool `json:"missed"`
}

// Sampled counts what was looked at, of how much.
type Sampled struct {
	Tables      int   `json:"tables"`
	Rows        int64 `json:"rows"`
	RowsOf      int64 `json:"rows_of"`
	Chunks      int64 `json:"chunks"`
	ChunksOf    int64 `json:"chunks_of"`
	Files       int64 `json:"files"`
	FilesOf     int64 `json:"files_of"`
	Seed        int64 `json:"seed"` // that chose them, so that the same can be chosen again
	SchemaWhole bool  `json:"schema_whole"`
}

// Failed returns the proofs that failed.
func (d Drill) Failed() []core.Proof {
	var out []core.Proof
	for _, p := range d.Proofs {
		if p.Outcome == core.ProofFailed {
			out = append(out, p)
		}
	}
	return out
}
