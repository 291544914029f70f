package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/backstay/backstay/internal/core"
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

// checkReadable reads what will be restored, so that damage is found while
// nothing has been changed.
func (r *Restore) checkReadable(ctx context.Context) error {
	return r.findDamage(ctx, "nothing was changed")
}

// fillNothing carries out a restore that intoNothing is true of. When damage
// breaks it off, its error names all that is damaged.
func (r *Restore) fillNothing(ctx context.Context, out *Restored) error {
	err := r.carryOut(ctx, out)
	if core.CodeOf(err) != core.CodeDamage {
		return err
	}
	if all := r.findDamage(ctx, "what is in "+r.req.ToDir+" now is not all"); all != nil {
		return all
	}
	return err
}

// findDamage reads what the restore needs. Its error says what has come of the
// restore and what is damaged.
func (r *Restore) findDamage(ctx context.Context, outcome string) error {
	damages, err := r.e.verifyOpen(ctx, r.open, r.needs)
	if err != nil || len(damages) == 0 {
		return err
	}
	r.e.noteDamage(ctx, r.open.Record.ID)
	var names []string
	for _, d := range damages {
		name := d.Path
		if d.Table != "" {
			name = "table " + d.Table + " (" + d.Path + ")"
		}
		names = append(names, name)
	}
	more := ""
	if len(names) > 5 {
		more = fmt.Sprintf(" and %d more", len(names)-5)
		names = names[:5]
	}
	return &core.Error{
		Code: core.CodeDamage, Op: "restore backup " + r.open.Record.ID,
		Message: outcome + ", because the backup is damaged: " + strings.Join(names, ", ") + more,
		Hint:    "restore another backup (backstay list), or only what is whole: --only, --table, --path",
	}
}
