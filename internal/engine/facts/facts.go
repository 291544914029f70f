// Package facts reads what is known of a backup's content without reading its
// rows: how many there are in each table, how large its components are, and how
// many of the users' files look like noise, as encrypted ones do. It is for
// checks, which compare it with what was usual. It promises that damage to
// single files does not keep the rest from being known, and to need little
// memory and time however large the backup is.
package facts

import (
	"context"
	"slices"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/repository"
)

// Read returns the facts of a backup. See ReadSince.
func Read(ctx context.Context, e *engine.Engine, rec repository.Record) (core.Facts, error) {
	return ReadSince(ctx, e, rec, nil)
}

// Counts is Read without a look into the files: Sample is nil.
func Counts(ctx context.Context, e *engine.Engine, rec repository.Record) (core.Facts, error) {
	return read(ctx, e, rec, nil, false)
}

// ReadSince returns the facts of a backup. Files that are not as they were in
// earlier, when it is not nil, are looked into before others; an earlier backup
// that is gone or damaged is passed over.
//
// A file or folder that is damaged is left out of the sample, whose Reason says
// so; a damaged index of the database gives no Tables. With an error with
// core.CodeDamage (the manifest cannot be read) the facts hold what the
// repository's record says, and neither tables nor a sample. Any other error is
// the repository's or the context's, and there are no facts.
func ReadSince(ctx context.Context, e *engine.Engine, rec repository.Record, earlier *repository.Record) (core.Facts, error) {
	return read(ctx, e, rec, earlier, true)
}

func read(ctx context.Context, e *engine.Engine, rec repository.Record, earlier *repository.Record, sampled bool) (core.Facts, error) {
	out := core.Facts{Backup: rec.ID, App: rec.App, Time: rec.Time, Trigger: rec.Trigger, Bytes: rec.LogicalBytes, Stored: rec.StoredBytes, Components: rec.Components}
	if rec.Origin != nil {
		out.Trigger = core.TriggerImport
	}
	o, err := e.OpenBackup(ctx, rec)
	if core.CodeOf(err) == core.CodeDamage {
		return out, err
	}
	if err != nil {
		return core.Facts{}, err
	}
	if o.Manifest.Database != nil && o.IndexDamage == nil {
		out.Tables = make(map[string]core.RowCount, len(o.Index.Tables))
		for _, t := range o.Index.Tables {
			out.Tables[t.Name] = core.RowCount{Rows: t.Rows, Bytes: t.Bytes}
		}
	}
	if sampled && slices.Contains(o.Manifest.Components, core.ComponentFiles) {
		s := &sampler{store: e.Store}
		if out.Sample, err = s.sample(ctx, o, earlierFiles(ctx, e, earlier)); err != nil {
			return core.Facts{}, err
		}
	}
	return out, nil
}

// earlierFiles is the folder of the users' files in an earlier backup; nil:
// there is none that could be read.
func earlierFiles(ctx context.Context, e *engine.Engine, earlier *repository.Record) *core.Entry {
	if earlier == nil {
		return nil
	}
	o, err := e.OpenBackup(ctx, *earlier)
	if err != nil {
		e.Log.Debug("the earlier backup does not say which files changed", "backup", earlier.ID, "err", err)
		return nil
	}
	dir, err := o.Lookup(ctx, string(core.ComponentFiles))
	if err != nil {
		e.Log.Debug("the earlier backup does not say which files changed", "backup", earlier.ID, "err", err)
		return nil
	}
	return &dir
}
