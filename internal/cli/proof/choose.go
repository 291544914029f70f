package proof

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/repository"
)

// choose returns the backup to drill, and when the app's newest was made. Where
// none's turn it is by policy the record is empty, and reason says so.
func (s commands) choose(ctx context.Context, c *operation.Caretaker, a *config.App, ref string, byPolicy bool) (rec repository.Record, newest time.Time, reason string, err error) {
	e := c.Engine
	all, err := e.List(ctx, a.Name)
	if err != nil && core.CodeOf(err) != core.CodeDamage { // those that can be shown can be drilled
		return rec, newest, "", err
	}
	for _, r := range all {
		if !r.Aside() {
			newest = r.Time
		}
	}
	if byPolicy {
		var last operation.DrillRecord
		if _, err := c.State.Value(ctx, operation.DrillKey(a.Name), &last); err != nil {
			s.Printer.Logger().Debug("read of the last drill", "app", a.Name, "err", err) // then the repository's marks decide
		}
		var drilled time.Time
		if last.Passes != nil && last.Passed { // one that failed is tried again
			drilled = *last.Passes
		}
		var backups []core.Backup
		for _, r := range all {
			backups = append(backups, r.Backup)
		}
		now := e.Clock.Now()
		random := rand.New(rand.NewPCG(uint64(now.UnixNano()), rand.Uint64())) //nolint:gosec // not a secret
		chosen, why, ok := operation.ChooseDrill(backups, operation.DrillPolicy{Newest: a.Drill.Newest, Last: a.Drill.Last, Each: a.Drill.Each}, drilled, now, random)
		if !ok {
			return rec, newest, why, nil
		}
		rec, err = e.Find(ctx, chosen.ID)
		return rec, newest, why, err
	}
	if ref == "" || ref == "latest" {
		ref = a.Name + "@latest"
	}
	rec, err = e.Find(ctx, ref)
	if err == nil && rec.App != a.Name {
		err = &core.Error{Code: core.CodeUsage, Op: "drill", Message: "backup " + rec.ID + " is of app " + rec.App, Hint: "backstay drill " + rec.App + " " + rec.ID}
	}
	return rec, newest, "", err
}
