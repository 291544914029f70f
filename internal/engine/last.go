package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The id of the backup that this machine made last of an app lies in the state
// folder. When the repository no longer has it, and nobody deleted it here, the
// repository's folder was put back to an older state, or replaced.

func (e *Engine) lastPath(app string) string { return filepath.Join(e.StateDir, "last", app) }

// last returns the id of the last backup that was made from here into this
// repository, or "".
func (e *Engine) last(app string) (string, error) {
	text, err := os.ReadFile(e.lastPath(app))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read which backup was the last: %w", err)
	}
	id, where, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	if where != e.Repository {
		return "", nil
	}
	return id, nil
}

func (e *Engine) setLast(app, id string) error {
	if err := ensureDir(filepath.Dir(e.lastPath(app))); err != nil {
		return err
	}
	return os.WriteFile(e.lastPath(app), []byte(id+" "+e.Repository+"\n"), 0o600)
}

// forgetLast is for a backup that is deleted from here.
func (e *Engine) forgetLast(app, id string) error {
	last, err := e.last(app)
	if err != nil || last != id {
		return err
	}
	return os.Remove(e.lastPath(app))
}
