package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/backstay/backstay/internal/core"
	treerestore "github.com/backstay/backstay/internal/files/restore"
)

// intoNothing says whether the restore fills a folder that is missing or empty,
// and does nothing else. Then there is nothing that a damaged backup could
// spoil, and to read all of it beforehand would only double the reading.
func (r *Restore) intoNothing() bool {
	if r.db != nil || r.req.ToDir == "" {
		return false
	}
	entries, err := os.ReadDir(r.req.ToDir)
	return errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0
}

// fillNothing carries out a restore that intoNothing is true of. What is
// damaged is left out, and its error says so.
func (r *Restore) fillNothing(ctx context.Context, out *Restored) error {
	r.lost = &treerestore.Damaged{}
	if err := r.carryOut(ctx, out); err != nil {
		return err
	}
	if err := r.finishElsewhere(out); err != nil {
		return err
	}
	if len(r.lost.Paths) == 0 {
		return nil
	}
	return r.damaged(ctx, fmt.Sprintf("%d files were written to %s and %d are missing", out.Files, r.req.ToDir, r.lost.Files), r.lost.Paths)
}

// findDamage reads what will be restored, so that damage is found while nothing
// has been changed.
func (r *Restore) findDamage(ctx context.Context) error {
	damages, err := r.e.ReadBack(ctx, r.open, r.needs)
	if err != nil || len(damages) == 0 {
		return err
	}
	var names []string
	for _, d := range damages {
		name := d.Path
		if d.Table != "" {
			name = "table " + d.Table + " (" + d.Path + ")"
		}
		names = append(names, name)
	}
	return r.damaged(ctx, "nothing was changed", names)
}

// checkIntact reads what will be restored for the plan.
func (r *Restore) checkIntact(ctx context.Context) error {
	switch err := r.findDamage(ctx); {
	case err == nil:
		r.note("intact", "everything that is needed was read back from the repository and is whole")
	case core.CodeOf(err) == core.CodeDamage:
		r.add(core.Finding{Kind: core.FindingImpossible, Name: FindingDamaged, Message: err.Error(), Hint: core.HintOf(err)})
	default:
		return err
	}
	return nil
}

// damaged says what has come of a restore because these names are damaged.
func (r *Restore) damaged(ctx context.Context, outcome string, names []string) error {
	r.e.NoteDamage(ctx, r.open.Record.ID)
	return &core.Error{
		Code: core.CodeDamage, Op: "restore backup " + r.open.Record.ID,
		Message: outcome + ", because the backup is damaged: " + core.Some(names, 5),
		Hint:    "restore another backup (backstay list), or only what is whole: --only, --table, --path; backstay verify names all that is damaged",
	}
}
