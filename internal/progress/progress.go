// Package progress lets other processes see how far a run is. It is for the
// commands, which write, and the console, which reads: a run is a process of its
// own and goes on whoever looks, so what it says of itself is a small file in
// the state folder. It promises that a reader sees a whole state, the last or
// the one before, and that a file that cannot be written takes nothing from the
// run.
package progress

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
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

// maxFile is how much of a file is read. Writers write less: a longer one is
// not theirs.
const maxFile = 64 << 10

// Read returns how far a run is; ErrNone when it says nothing. Texts in it may
// be anything, as names of files and tables are.
func Read(stateDir string, run int64) (p Progress, err error) {
	path := pathOf(stateDir, run)
	// A pipe, or a link to elsewhere, is not a writer's.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Progress{}, ErrNone
	case err != nil:
		return Progress{}, fmt.Errorf("read progress: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxFile {
		return Progress{}, fmt.Errorf("read progress: %s is not a file of at most %d bytes", path, maxFile)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return Progress{}, fmt.Errorf("read progress: %w", err)
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return Progress{}, fmt.Errorf("read progress: %s: %w", path, err)
	}
	if p.Run != run {
		return Progress{}, fmt.Errorf("read progress: %s is about run %d", path, p.Run)
	}
	p.Done, p.Total = max(p.Done, 0), max(p.Total, 0)
	return p, nil
}

// Remove removes the file of a run that is over and could not do so itself.
// None being there is no error.
func Remove(stateDir string, run int64) error {
	if err := os.Remove(pathOf(stateDir, run)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove progress: %w", err)
	}
	return nil
}

// Clean removes what runs left that were killed: the files of those that keep
// does not want.
func Clean(stateDir string, keep func(run int64) bool) error {
	entries, err := os.ReadDir(filepath.Join(stateDir, folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for progress of runs that are over: %w", err)
	}
	var problems []error
	for _, e := range entries {
		name, _, _ := strings.Cut(e.Name(), ".") // also what was not renamed: ID.json.new
		run, err := strconv.ParseInt(name, 10, 64)
		if err != nil || e.IsDir() || keep(run) {
			continue // what is not a run's is somebody else's
		}
		if err := os.Remove(filepath.Join(stateDir, folder, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// folder is where the files are, in the state folder.
const folder = "progress"

func pathOf(stateDir string, run int64) string {
	return filepath.Join(stateDir, folder, strconv.FormatInt(run, 10)+".json")
}
