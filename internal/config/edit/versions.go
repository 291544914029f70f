package edit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/config/strict"
	"github.com/backstay/backstay/internal/core"
)

// keptVersions is how many former versions are kept.
const keptVersions = 50

// Version is the configuration as it was until somebody changed it here.
type Version struct {
	ID     string    `json:"-"`
	Until  time.Time `json:"until"` // when it was replaced
	By     string    `json:"by"`    // who replaced it
	Path   string    `json:"path"`
	Digest string    `json:"digest"` // of its content
	Next   string    `json:"next"`   // of what it was replaced by
}

func versionsFolder(stateDir string) string { return filepath.Join(stateDir, "console", "config") }

const versionTime = "20060102T150405.000000000Z"

var versionID = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}\.[0-9]{9}Z-[0-9a-f]{12}$`)

func keepVersion(folder string, now time.Time, d *Document, after []byte, by string) (id string, err error) {
	v := Version{Until: now.UTC(), By: by, Path: d.target, Digest: d.Digest(), Next: digest(after)}
	id = now.UTC().Format(versionTime) + "-" + v.Digest[:12]
	about, err := json.Marshal(v)
	if err != nil {
		return id, fmt.Errorf("describe the former configuration: %w", err)
	}
	if err := replaceFile(filepath.Join(folder, id+".json"), append(about, '\n'), nil); err != nil {
		return id, err
	}
	return id, replaceFile(filepath.Join(folder, id+".yaml"), d.data, nil)
}

func removeVersion(folder, id string) error {
	return errors.Join(ignoreMissing(os.Remove(filepath.Join(folder, id+".yaml"))), ignoreMissing(os.Remove(filepath.Join(folder, id+".json"))))
}

// forget removes all but the newest versions.
func forget(folder string) error {
	ids, err := versionIDs(folder)
	if err != nil {
		return err
	}
	var errs []error
	for i, id := range ids {
		if i >= keptVersions {
			errs = append(errs, removeVersion(folder, id))
		}
	}
	return errors.Join(errs...)
}

// versionIDs lists the versions, the newest first.
func versionIDs(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list former configurations: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), ".yaml"); ok && versionID.MatchString(id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	return ids, nil
}

// Versions lists the former versions, the newest first.
func Versions(stateDir string) ([]Version, error) {
	folder := versionsFolder(stateDir)
	ids, err := versionIDs(folder)
	if err != nil {
		return nil, err
	}
	var list []Version
	for _, id := range ids {
		v := Version{ID: id}
		data, err := os.ReadFile(filepath.Join(folder, id+".json"))
		if err == nil {
			err = json.Unmarshal(data, &v)
		}
		if err != nil { // only who replaced it is lost with it
			until, terr := time.Parse(versionTime, id[:strings.LastIndexByte(id, '-')])
			if terr != nil {
				continue
			}
			v = Version{Until: until}
		}
		v.ID = id
		list = append(list, v)
	}
	return list, nil
}

// PutBack proposes a former version in place of the file. CodeNotFound.
func (d *Document) PutBack(stateDir, id string) (*Proposal, error) {
	missing := &core.Error{Code: core.CodeNotFound, Message: "there is no such former configuration", Hint: "the newest fifty are kept"}
	if !versionID.MatchString(id) {
		return nil, missing
	}
	data, err := os.ReadFile(filepath.Join(versionsFolder(stateDir), id+".yaml"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing
	}
	if err != nil {
		return nil, fmt.Errorf("read the former configuration: %w", err)
	}
	next, err := parse(d.path, data)
	var bad *strict.Error
	if errors.As(err, &bad) {
		return nil, &core.Error{Code: core.CodeConfig, Op: "read the former configuration", Err: err, Hint: "it was no YAML then; put it right with an editor"}
	}
	if err != nil {
		return nil, err
	}
	return d.propose(data, next, "", 0, 0)
}
