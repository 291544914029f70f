// Package progress lets other processes see how far a run is. It is for the
// commands, which write, and the console, which reads: a run is a process of its
// own and goes on whoever looks, so what it says of itself is a small file in
// the state folder. It promises that a reader sees a whole state, the last or
// the one before, and that a file that cannot be written takes nothing from the
// run.
package progress

import (
	"errors"
	"time"
)

// Progress is how far a run is, at Updated.
type Progress struct {
	Run     int64     `json:"run"`
	Stage   string    `json:"stage"` // what is being done: "database", "files"; "": nothing yet
	Item    string    `json:"item,omitempty"`
	Done    int64     `json:"done"`  // bytes of the stage
	Total   int64     `json:"total"` // bytes expected of the stage; 0: not known
	Began   time.Time `json:"began"` // of the stage
	Updated time.Time `json:"updated"`
	// Stages are those that are over, in their order.
	Stages []Stage `json:"stages"`
}

// Stage is a stage that is over.
type Stage struct {
	Name       string `json:"name"`
	Done       int64  `json:"done"` // bytes
	DurationMS int64  `json:"duration_ms"`
}

// ErrNone says that a run has no file, as before its first stage and after its end.
var ErrNone = errors.New("no progress is known")

// Read returns how far a run is; ErrNone when it says nothing.
func Read(stateDir string, run int64) (Progress, error) { return Progress{}, ErrNone }
