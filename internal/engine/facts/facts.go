// Package facts reads what is known of a backup's content without reading its
// rows: how many there are in each table, how large its components are, and how
// many of the users' files look like noise, as encrypted ones do. It is for
// checks, which compare it with what was usual. It promises that damage to
// single files does not keep the rest from being known, and to need little
// memory and time however large the backup is.
package facts

import (
	"context"
	"errors"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/repository"
)

// Read returns the facts of a backup. See ReadSince.
func Read(ctx context.Context, e *engine.Engine, rec repository.Record) (core.Facts, error) {
	return ReadSince(ctx, e, rec, nil)
}

// ReadSince returns the facts of a backup. Files that are not as they were in
// earlier, when it is not nil, are looked into before others.
//
// With an error with core.CodeDamage (the manifest cannot be read) the facts
// hold what the repository's record says, and neither tables nor a sample. Any
// other error is the repository's or the context's, and there are no facts.
func ReadSince(ctx context.Context, e *engine.Engine, rec repository.Record, earlier *repository.Record) (core.Facts, error) {
	return core.Facts{}, errors.New("read facts: not built yet")
}
