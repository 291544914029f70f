// Package repair makes an app's newest backup whole again as far as there is
// something to make it of: the live app is captured anew, and what of it is
// damaged in the repository is stored anew. It is for the verify command. It
// promises to remove nothing, and to name what is lost of older backups.
package repair

import (
	"context"
	"fmt"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/repository"
)

// Repaired says what was done.
type Repaired struct {
	App     string          `json:"app"`
	Newest  string          `json:"newest"`  // the backup that was looked at
	Damaged []engine.Damage `json:"damaged"` // in it, before
	Backup  *core.Backup    `json:"backup"`  // the new one, which is whole; nil: none was needed
	Parts   int             `json:"parts"`   // stored anew
	// Older are the app's other backups, and those of other apps that were known
	// to be damaged, after: what is still damaged in them is lost.
	Older []engine.Verified `json:"older"`
	// Unlisted says which backups cannot be found at all; "": none. Those cannot be
	// repaired.
	Unlisted string `json:"unlisted,omitempty"`
}

// Lost says how many older backups have lost something.
func (r Repaired) Lost() (n int) {
	for _, v := range r.Older {
		if len(v.Damaged) > 0 {
			n++
		}
	}
	return n
}

// Run verifies an app's backups, and where the newest is damaged makes a new one
// that is whole. Of older ones what the live app still has is whole again, and
// the rest is named. What was done until an error is returned with it.
func Run(ctx context.Context, e *engine.Engine, t engine.Target) (*Repaired, error) {
	app := t.App.Name
	out := &Repaired{App: app, Damaged: []engine.Damage{}, Older: []engine.Verified{}}
	all, err := e.List(ctx, "")
	if core.CodeOf(err) == core.CodeDamage {
		out.Unlisted, err = err.Error(), nil
	}
	if err != nil {
		return nil, err
	}
	newest := newestOf(all, app)
	if newest == nil {
		return nil, &core.Error{Code: core.CodeNotFound, Op: "repair", Message: "there is no backup of app " + app, Hint: "backstay backup " + app}
	}
	v, err := e.Verify(ctx, *newest)
	if err != nil {
		return nil, err
	}
	out.Newest, out.Damaged = newest.ID, v.Damaged
	if len(v.Damaged) > 0 {
		if err := out.captureAnew(ctx, e, t, newest.ID); err != nil {
			return out, err
		}
	}
	for _, r := range all {
		switch {
		case r.ID == newest.ID && out.Backup == nil: // it was read just now
		case r.App == app || r.Damaged != nil:
			if v, err = e.Verify(ctx, r); err != nil {
				return out, err
			}
			out.Older = append(out.Older, *v)
		}
	}
	return out, nil
}

// newestOf is an app's newest backup that is not kept aside, or its newest; nil:
// it has none.
func newestOf(all []repository.Record, app string) (newest *repository.Record) {
	for i, r := range all {
		if r.App == app && (newest == nil || newest.Aside() || !r.Aside()) {
			newest = &all[i]
		}
	}
	return newest
}

// captureAnew makes a backup of the live app that is whole.
func (r *Repaired) captureAnew(ctx context.Context, e *engine.Engine, t engine.Target, damaged string) error {
	b, err := e.Backup(ctx, t, engine.BackupOptions{Wait: true, Trigger: "manual", ReadAll: true, Healed: &r.Parts, Note: "repairs backup " + damaged})
	if err != nil && (core.CodeOf(err) != core.CodeDamage || b.ID == "") {
		return fmt.Errorf("capture anew what is damaged: %w", err)
	}
	next, err := e.Find(ctx, b.ID)
	if err != nil {
		return err
	}
	if next.Damaged == nil && next.Verified != nil { // making it read it back, as damage is known
		r.Backup = &next.Backup
		return nil
	}
	v, err := e.Verify(ctx, next)
	if err != nil {
		return err
	}
	if len(v.Damaged) == 0 {
		r.Backup = &next.Backup
		return nil
	}
	return &core.Error{
		Code: core.CodeDamage, Op: "repair", Message: fmt.Sprintf("the new backup %s is damaged as soon as it is written: %s", b.ID, v.Damaged[0].Message),
		Hint: "the storage itself may be failing: make a repository elsewhere with backstay init, and back up into that",
	}
}
