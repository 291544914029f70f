package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/backstay/backstay/internal/repository"
)

// Damage that was found once is remembered, in the repository with the damaged
// backup and on this machine: new backups share content with old ones, also
// after the damaged ones are deleted.

func (e *Engine) damagePath() string {
	return filepath.Join(e.StateDir, "damaged", fmt.Sprintf("%x", sha256.Sum256([]byte(e.Repository))))
}

// NoteDamage remembers that a backup was found damaged. That is worth knowing
// whether or not it can be remembered.
func (e *Engine) NoteDamage(ctx context.Context, id string) {
	now := e.Clock.Now()
	err := e.Store.Mark(ctx, id, repository.Mark{Damaged: &now})
	if lerr := ensureDir(filepath.Dir(e.damagePath())); lerr != nil {
		err = errors.Join(err, lerr)
	} else {
		err = errors.Join(err, os.WriteFile(e.damagePath(), []byte(e.Repository+"\n"), 0o600))
	}
	if err != nil && ctx.Err() == nil {
		e.Log.Warn("the damage could not be recorded", "backup", id, "err", err)
	}
}

// distrusts says whether damage in the repository is known here.
func (e *Engine) distrusts() bool {
	_, err := os.Stat(e.damagePath())
	return err == nil
}

// Trust forgets damage that was found: all backups were read back and are whole.
func (e *Engine) Trust() error {
	if err := os.Remove(e.damagePath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget the damage: %w", err)
	}
	return nil
}
