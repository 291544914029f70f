package restore

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/profile"
)

// nextSteps says what is left to do by hand after a whole restore.
func (r *Restore) nextSteps(ctx context.Context) []string {
	var steps []string
	step := r.accountStep(ctx)
	if i := slices.IndexFunc(r.Plan.Findings, func(f core.Finding) bool { return f.Name == FindingAccount }); step == "" && i >= 0 {
		step = r.Plan.Findings[i].Message
	}
	if step != "" {
		steps = append(steps, step)
	}
	_, code := r.trees[core.ComponentCode]
	_, files := r.trees[core.ComponentFiles]
	return append(steps, r.profile.AfterRestore(profile.Restored{
		Root: r.root(), Code: code, Files: files, Versions: r.open.Manifest.Versions, Settings: r.open.Manifest.Settings,
	})...)
}

// accountStep says when the application, by its own configuration, will not
// find the database that was restored: on another machine that is the rule,
// and what it would find instead may be somebody's live data.
func (r *Restore) accountStep(ctx context.Context) string {
	if r.db == nil {
		return ""
	}
	own := r.req.Target.App
	own.Database = profile.Database{}
	app, err := r.profile.Discover(ctx, own)
	if err != nil || app.Database == nil {
		return "" // it has no configuration that could be read
	}
	file := filepath.Join(r.root(), r.open.Manifest.Settings["config"])
	named, filled := mysql.ConfigOf(*app.Database), r.targetConfig()
	if named.Database != filled.Database || named.Address() != filled.Address() {
		return fmt.Sprintf("%s names the database %s at %s, and the restore filled %s at %s: unless both are the same, write the latter there, with an account that may use it, before anyone opens the application",
			file, named.Database, named.Address(), filled.Database, filled.Address())
	}
	c, err := mysql.Connect(ctx, named)
	if err != nil {
		return fmt.Sprintf("the application cannot log in to its database with the account in %s (%v): make the account, with the password that is in that file, or change it there; as the server's administrator: CREATE USER %s@localhost IDENTIFIED BY …; GRANT ALL ON %s.* TO %[3]s@localhost",
			file, err, mysql.QuoteName(named.User), mysql.QuoteName(named.Database))
	}
	_ = c.Close() // only opened to see whether it can be
	return ""
}
