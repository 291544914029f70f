// Package journal keeps what a restore of a live app is doing, in the state
// folder, so that one that was killed at any point can be finished or taken
// back, and one that ended can be undone. It is for the engine. It promises
// that what Save returned for survives a power cut, and that a journal is the
// old one or the new one, never a part of one.
//
// A run has a folder of its own, <state_dir>/restores/<app>/<run>, with
// journal.json and what else belongs to it (docs/spec/restore-journal.md).
package journal

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/shadow"
)

// Phase is how far a run has come.
type Phase string

// The phases.
const (
	Building  Phase = "building"  // beside the live app, of which nothing has changed
	Switching Phase = "switching" // parts of the live app may be the backup's, others not
	Switched  Phase = "switched"  // the live app is wholly the backup's; steps after that may be left
	Done      Phase = "done"      // so it is, and nothing is left to do; what was replaced is kept
	Reverting Phase = "reverting" // parts of the live app may be what they were, others the backup's
	Reverted  Phase = "reverted"  // the live app is wholly what it was; steps after that may be left
	Undone    Phase = "undone"    // so it is, and nothing is left to do; what was taken away is kept
)

// schema is the version of journal.json that this code writes and reads.
const schema = 1

// Journal is one run. It holds no secrets.
type Journal struct {
	Schema     int       `json:"schema"`
	Run        string    `json:"run"` // names what the run makes: 10 of a-z and 0-9
	App        string    `json:"app"`
	Profile    string    `json:"profile"`
	Backup     string    `json:"backup"`
	BackupTime time.Time `json:"backup_time"`
	Scope      string    `json:"scope,omitempty"` // what of the app, in words; "": all
	Root       string    `json:"root,omitempty"`
	Phase      Phase     `json:"phase"`

	// Order tells which run was later: clocks are set back.
	Order    int64     `json:"order"`
	Started  time.Time `json:"started"`
	Switched time.Time `json:"switched,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
	KeepTill time.Time `json:"keep_till,omitzero"` // what is kept is dropped after this

	Database *shadow.Shadow `json:"database,omitempty"`
	Address  string         `json:"address,omitempty"` // of its server, for messages
	Trees    []Tree         `json:"trees,omitempty"`   // in the order of the switch
	// Undoing says that somebody asked for the way back; otherwise Reverting is
	// a switch that failed and took itself back.
	Undoing bool `json:"undoing,omitempty"`
	// Settled says that the tables have the names of constraints that they had
	// in the backup, or before it.
	Settled bool `json:"settled,omitempty"`
	// Maintenance says that users may be kept out by this run.
	Maintenance bool   `json:"maintenance,omitempty"`
	Safety      string `json:"safety_backup,omitempty"` // its id
	Code        bool   `json:"code,omitempty"`          // the code is part of it
	Files       bool   `json:"files,omitempty"`         // what users put in is part of it
	Steps       []Step `json:"steps,omitempty"`

	// Versions and Settings are the backup's, for what is run after it.
	Versions map[string]string `json:"versions,omitempty"`
	Settings map[string]string `json:"settings,omitempty"`

	dir string
}

// Tree is a component whose files change places.
type Tree struct {
	Component core.Component `json:"component"`
	MovesFile string         `json:"moves_file"` // of package exchange
}

// Step is a command that was run after the switch.
type Step struct {
	Name       string    `json:"name"`
	Command    string    `json:"command"` // to be typed by hand
	Started    time.Time `json:"started"`
	DurationMS int64     `json:"duration_ms"`
	Exit       int       `json:"exit"`
	Output     string    `json:"output,omitempty"` // its end
	Error      string    `json:"error,omitempty"`  // "": it worked
}

// Mixed says whether the live app may be half old, half new.
func (j *Journal) Mixed() bool { return j.Phase == Switching || j.Phase == Reverting }

// Unfinished says whether something is left to do.
func (j *Journal) Unfinished() bool { return j.Phase != Done && j.Phase != Undone }

// Left says of a run that is unfinished what is so; backstay restore --resume
// finishes all of them.
func (j *Journal) Left() string {
	d := j.Describe()
	switch {
	case j.Phase == Building:
		return d + " was cut short; nothing live was changed"
	case j.Phase == Switching:
		return d + " was cut short in its switch, so the app may be half restored"
	case j.Phase == Reverting && j.Undoing:
		return "the undoing of " + d + " was cut short, so the app may be half restored"
	case j.Phase == Reverting:
		return d + " failed, and was cut short while it took itself back, so the app may be half restored"
	case j.Phase == Reverted:
		return "the undoing of " + d + " was cut short after its switch: the app is what it was before, and steps are left to do"
	}
	return d + " was cut short after its switch: the app is wholly of that backup, and steps are left to do"
}

// Unsettled says whether tables may still have internal names of constraints.
func (j *Journal) Unsettled() bool {
	return j.Mixed() || (j.Phase == Switched || j.Phase == Reverted) && j.Database != nil && !j.Settled
}

// Since is when the backup's state became the live one, or, where that is not
// known, when the run began.
func (j *Journal) Since() time.Time {
	if j.Switched.IsZero() {
		return j.Started
	}
	return j.Switched
}

// Dir is the folder of the run.
func (j *Journal) Dir() string { return j.dir }

// Describe says in a few words which restore this is.
func (j *Journal) Describe() string {
	what := "the restore"
	if j.Scope != "" {
		what += " of " + j.Scope
	}
	return fmt.Sprintf("%s from backup %s that began at %s", what, j.Backup, j.Started.UTC().Format(time.RFC3339))
}

func folder(stateDir, app string) string { return filepath.Join(stateDir, "restores", app) }

const fileName = "journal.json"

// Begin makes the folder of a run and saves its journal there.
func Begin(stateDir string, j *Journal) error {
	earlier, err := All(stateDir, j.App)
	if err != nil {
		return err
	}
	for _, e := range earlier {
		j.Order = max(j.Order, e.Order+1)
	}
	j.Schema, j.dir = schema, filepath.Join(folder(stateDir, j.App), j.Run)
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return diskError(err)
	}
	for _, dir := range []string{folder(stateDir, j.App), filepath.Join(stateDir, "restores"), stateDir} {
		if err := syncDir(dir); err != nil {
			return diskError(err)
		}
	}
	return j.Save()
}

// Save brings the journal to disk in place of the last one.
func (j *Journal) Save() (err error) {
	text, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return fmt.Errorf("write journal of the restore: %w", err)
	}
	path := filepath.Join(j.dir, fileName)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return diskError(err)
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return diskError(errors.Join(err, os.Remove(path+".new")))
	}
	if err := os.Rename(path+".new", path); err != nil {
		return diskError(err)
	}
	return diskError(syncDir(j.dir))
}

// Remove forgets the run. What it made elsewhere must be gone.
func (j *Journal) Remove() error {
	// The journal goes first: without it the folder is no run.
	for _, name := range []string{fileName, ""} {
		if err := os.RemoveAll(filepath.Join(j.dir, name)); err != nil {
			return diskError(err)
		}
	}
	return diskError(syncDir(filepath.Dir(j.dir)))
}

// All returns the runs of an app that are known here, the oldest first.
func All(stateDir, app string) ([]*Journal, error) {
	entries, err := os.ReadDir(folder(stateDir, app))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, diskError(err)
	}
	var out []*Journal
	for _, e := range entries {
		j, err := read(filepath.Join(folder(stateDir, app), e.Name()))
		if err != nil {
			return nil, err
		}
		if j != nil {
			out = append(out, j)
		}
	}
	slices.SortFunc(out, func(a, b *Journal) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), a.Started.Compare(b.Started))
	})
	return out, nil
}

// Apps returns the apps of which runs are known here, by name.
func Apps(stateDir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(stateDir, "restores"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out, diskError(err)
}

// Newest returns the last run of an app, nil when there is none.
func Newest(stateDir, app string) (*Journal, error) {
	all, err := All(stateDir, app)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[len(all)-1], nil
}

// read returns nil for a folder in which no run began.
func read(dir string) (*Journal, error) {
	path := filepath.Join(dir, fileName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, diskError(err)
	}
	j := &Journal{dir: dir}
	if err := json.Unmarshal(text, j); err != nil {
		return nil, &core.Error{
			Code: core.CodeFailed, Op: "read journal of a restore", Message: path + " is not one", Err: err,
			Hint: "if somebody changed it, put it back; it says where what the restore replaced is kept",
		}
	}
	if j.Schema > schema {
		return nil, &core.Error{
			Code: core.CodeUnsupported, Op: "read journal of a restore", Message: fmt.Sprintf("%s was written by a newer backstay", path),
			Hint: "use that version or a newer one",
		}
	}
	if name := filepath.Base(dir); j.Run != name || strings.ContainsAny(j.Run, "/.") {
		return nil, &core.Error{Code: core.CodeFailed, Op: "read journal of a restore", Message: fmt.Sprintf("%s is of run %q", path, j.Run), Hint: "put the folder back under its own name"}
	}
	return j, nil
}

func diskError(err error) error {
	if err == nil {
		return nil
	}
	return &core.Error{Code: core.CodeDisk, Op: "keep the journal of the restore", Err: err, Hint: "make room in state_dir, or run as the user who owns it, usually root"}
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
