package engine

import (
	"cmp"
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

// fillNothing carries out a restore that intoNothing is true of. When damage
// breaks it off, its error names all that is damaged.
func (r *Restore) fillNothing(ctx context.Context, out *Restored) error {
	err := r.carryOut(ctx, out)
	if core.CodeOf(err) != core.CodeDamage {
		return err
	}
	return cmp.Or(r.findDamage(ctx, "what is in "+r.req.ToDir+" now is not all"), err)
}

// findDamage reads what will be restored, mostly so that damage is found while
// nothing has been changed. Its error says what has come of the restore so far.
func (r *Restore) findDamage(ctx context.Context, outcome string) error {
	damages, err := r.e.verifyOpen(ctx, r.open, r.needs)
	if err != nil || len(damages) == 0 {
		return err
	}
	r.e.noteDamage(ctx, r.open.Record.ID)
	var names []string
	for _, d := range damages[:min(5, len(damages))] {
		name := d.Path
		if d.Table != "" {
			name = "table " + d.Table + " (" + d.Path + ")"
		}
		names = append(names, name)
	}
	list := strings.Join(names, ", ")
	if n := len(damages) - len(names); n > 0 {
		list += fmt.Sprintf(" and %d more", n)
	}
	return &core.Error{
		Code: core.CodeDamage, Op: "restore backup " + r.open.Record.ID,
		Message: outcome + ", because the backup is damaged: " + list,
		Hint:    "restore another backup (backstay list), or only what is whole: --only, --table, --path",
	}
}
