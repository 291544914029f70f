package restore

import (
	"context"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/preflight"
	"github.com/backstay/backstay/internal/profile"
)

// partly says whether a part of the live app is restored, and not all of it.
func (r *Restore) partly() bool {
	return r.req.live() && r.app != nil && (r.req.partial() || len(r.req.Only) > 0)
}

// findDependencies says what the restored part depends on, or what depends on
// it, and does not come back with it.
func (r *Restore) findDependencies(ctx context.Context) error {
	if !r.partly() {
		return nil
	}
	part := profile.Part{
		Database: r.db != nil, Tables: r.req.Tables, Files: r.trees[core.ComponentFiles] != nil, Config: r.trees[core.ComponentConfig] != nil,
		Code: r.trees[core.ComponentCode] != nil, Prefix: r.Prefix(),
	}
	for _, p := range r.trees {
		for _, q := range p.paths {
			if rest, ok := strings.CutPrefix(q+"/", "app/"); ok {
				part.Paths = append(part.Paths, strings.Trim(rest, "/"))
			}
		}
	}
	for _, f := range r.profile.Partly(part) {
		r.add(f)
	}
	if name := r.open.Manifest.Settings["config"]; name != "" && len(r.req.Paths) > 0 && part.Config && part.HasPath(name) {
		r.add(profile.Depends(name, "this is the application's configuration: all of its settings become those of the backup, but for the connection to the database", ""))
	}
	if r.db == nil || len(r.req.Tables) == 0 {
		return nil
	}
	ties, err := preflight.FindTies(ctx, r.targetConfig(), r.req.Tables)
	for _, f := range ties.Findings(profile.FindingDepends, r.req.Tables) {
		r.add(f)
	}
	return err
}
