package engine

import (
	"context"
	"slices"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/dump"
)

// former returns the newest backup of the app's database, from which the rows
// of unchanged tables are taken over; nil when it cannot be used. It saves
// time, not data, so that only a cancellation is an error.
func (b *backup) former(ctx context.Context) (*dump.Former, error) {
	if b.opt.ReadAll {
		return &dump.Former{Unused: "--no-reuse was given"}, nil
	}
	if b.knowsDamage() { // which must not be passed on for as long as rows can be read anew
		b.e.Log.Debug("all tables are read: damage is known in the repository")
		return &dump.Former{Unused: "damage is known in the repository"}, nil
	}
	f, err := b.readFormer(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, err
	}
	if err != nil {
		b.e.Log.Warn("all tables are read, because the last backup cannot be used to tell which changed", "err", err)
		return nil, nil
	}
	return f, nil
}

func (b *backup) readFormer(ctx context.Context) (*dump.Former, error) {
	for _, r := range slices.Backward(b.existing) {
		if _, has := r.Components[core.ComponentDatabase]; !has || r.App != b.target.App.Name || r.Origin != nil {
			continue // what was imported was never captured from this server
		}
		o, err := b.e.OpenBackup(ctx, r)
		if err == nil {
			err = o.IndexDamage
		}
		if err != nil {
			return nil, err
		}
		db := o.Manifest.Database
		if db == nil || db.Evidence == "" || db.Name != b.app.Database.Name || db.Prefix != b.app.Database.Prefix || o.Manifest.BackstayVersion != b.e.Version {
			b.e.Log.Debug("all tables are read: the last backup is of another database or version", "backup", r.ID)
			return nil, nil
		}
		return b.e.loadFormer(ctx, o)
	}
	return nil, nil
}

func (e *Engine) loadFormer(ctx context.Context, o *Open) (*dump.Former, error) {
	evidence, err := e.readPath(ctx, o, o.Manifest.Database.Evidence)
	if err != nil {
		return nil, err
	}
	data, err := o.Lookup(ctx, "database/data")
	if err != nil {
		return nil, err
	}
	folders, err := e.Store.ReadDir(ctx, data.Object.ID)
	if err != nil {
		return nil, err
	}
	return dump.NewFormer(evidence, o.Index, folders)
}

// tellRead logs why tables were read.
func (b *backup) tellRead(d *dump.Dumped) {
	for _, t := range d.Evidence.Tables {
		if t.Why != "" {
			b.e.Log.Debug("table read", "table", t.Name, "why", t.Why)
		}
	}
}
