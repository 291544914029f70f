package proof

import (
	"context"
	"time"

	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/repository"
)

// choose returns the backup to drill, and when the app's newest was made. Where
// none's turn it is by policy the record is empty, and reason says so.
func (s commands) choose(ctx context.Context, e *engine.Engine, a *config.App, ref string, byPolicy bool) (rec repository.Record, newest time.Time, reason string, err error) {
	all, err := e.List(ctx, a.Name)
	if err != nil && core.CodeOf(err) != core.CodeDamage { // those that can be shown can be drilled
		return rec, newest, "", err
	}
	for _, r := range all {
		if !r.Aside() {
			newest = r.Time
		}
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
