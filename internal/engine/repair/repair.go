// Package repair makes an app's newest backup whole again as far as there is
// something to make it of: what is damaged in it is captured anew from the live
// app, and stored anew. It is for the verify command. It promises to remove
// nothing that can be read, and to name what is lost of older backups.
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
	App     string            `json:"app"`
	Damaged []engine.Damage   `json:"damaged"` // in the newest backup, before
	Backup  *core.Backup      `json:"backup"`  // the new one, which is whole; nil: none was needed
	Parts   int               `json:"parts"`   // stored anew
	Older   []engine.Verified `json:"older"`   // the app's other backups, after: what is still damaged in them is lost
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

// rounds bounds how often a backup is made until it is whole: what lists the
// parts of an object can be damaged, and the parts are known only after it.
const rounds = 4

// Run verifies an app's backups, and where the newest is damaged makes a new one
// that shares nothing damaged. Of older ones what the live app still has is whole
// again, and the rest is named.
func Run(ctx context.Context, e *engine.Engine, t engine.Target) (*Repaired, error) {
	app := t.App.Name
	healer, ok := e.Store.(repository.Healer)
	if !ok {
		return nil, &core.Error{Code: core.CodeUnsupported, Op: "repair", Message: "this repository cannot store damaged parts anew"}
	}
	all, err := e.List(ctx, app)
	if err != nil && core.CodeOf(err) != core.CodeDamage {
		return nil, err
	}
	if len(all) == 0 {
		return nil, &core.Error{Code: core.CodeNotFound, Op: "repair", Message: "there is no backup of app " + app, Hint: "backstay backup " + app}
	}
	newest := all[len(all)-1]
	for _, r := range all {
		if !r.Aside() {
			newest = r
		}
	}
	out := &Repaired{App: app, Damaged: []engine.Damage{}, Older: []engine.Verified{}}
	v, err := e.Verify(ctx, newest)
	if err != nil {
		return nil, err
	}
	out.Damaged = v.Damaged
	if len(v.Damaged) > 0 {
		if err := out.captureAnew(ctx, e, healer, t, newest); err != nil {
			return out, err
		}
	}
	for _, r := range all {
		v, err := e.Verify(ctx, r)
		if err != nil {
			return out, err
		}
		out.Older = append(out.Older, *v)
	}
	return out, nil
}

// captureAnew makes backups until one is whole.
func (r *Repaired) captureAnew(ctx context.Context, e *engine.Engine, healer repository.Healer, t engine.Target, rec repository.Record) error {
	for round := 0; ; round++ {
		objects, err := objectsOf(ctx, e, rec)
		if err != nil {
			return err
		}
		n, err := healer.Heal(ctx, objects)
		r.Parts += n
		if err != nil {
			return err
		}
		b, err := e.Backup(ctx, t, engine.BackupOptions{Wait: true, Trigger: "manual", ReadAll: true, Note: "repairs backup " + rec.ID})
		if err != nil && (core.CodeOf(err) != core.CodeDamage || b.ID == "") {
			return fmt.Errorf("capture anew what is damaged: %w", err)
		}
		next, err := e.Find(ctx, b.ID)
		if err != nil {
			return err
		}
		v, err := e.Verify(ctx, next)
		if err != nil {
			return err
		}
		if len(v.Damaged) == 0 {
			r.Backup = &next.Backup
			return nil
		}
		if round == rounds {
			return &core.Error{
				Code: core.CodeDamage, Op: "repair", Message: fmt.Sprintf("after %d tries the new backup %s is still damaged: %s", rounds, b.ID, v.Damaged[0].Message),
				Hint: "the storage itself may be failing: make a repository elsewhere with backstay init, and back up into that",
			}
		}
		if err := e.Delete(ctx, next); err != nil { // it is no better than the one before
			return err
		}
		rec = next
	}
}

// objectsOf are all objects of a backup that can be found: what is damaged can
// hide what else is, a manifest all of it.
func objectsOf(ctx context.Context, e *engine.Engine, rec repository.Record) ([]core.ObjectID, error) {
	objects := []core.ObjectID{rec.Root.ID}
	seen := map[core.ObjectID]bool{rec.Root.ID: true}
	var below func(dir core.ObjectID) error
	below = func(dir core.ObjectID) error {
		entries, err := e.Store.ReadDir(ctx, dir)
		if core.CodeOf(err) == core.CodeDamage {
			return nil // it is one of them, and is met again in the new backup
		}
		if err != nil {
			return err
		}
		for _, x := range entries {
			if seen[x.Object.ID] {
				continue
			}
			seen[x.Object.ID] = true
			objects = append(objects, x.Object.ID)
			if x.Type == core.TypeDir {
				if err := below(x.Object.ID); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return objects, below(rec.Root.ID)
}
