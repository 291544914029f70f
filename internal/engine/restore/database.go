package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	treerestore "github.com/backstay/backstay/internal/files/restore"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/profile"
)

func (r *Restore) planDatabase(ctx context.Context) error {
	if r.open.IndexDamage != nil {
		return &core.Error{
			Code: core.CodeDamage, Op: "plan restore", Err: r.open.IndexDamage,
			Hint: "what is not the database can be restored: --only files, --only config; or restore another backup (backstay list)",
		}
	}
	d := r.open.Manifest.Database
	p := &databasePlan{tables: r.req.Tables}
	step := Step{Component: core.ComponentDatabase, What: fmt.Sprintf("%d tables, %d rows", d.Tables, d.Rows), Bytes: d.Bytes}
	if len(r.req.Tables) > 0 {
		step.What, step.Bytes = "", 0
		for _, name := range r.req.Tables {
			i := slices.IndexFunc(r.open.Index.Tables, func(t core.Table) bool { return t.Name == name })
			if i < 0 {
				return &core.Error{
					Code: core.CodeNotFound, Op: "plan restore", Message: fmt.Sprintf("the backup has no table %q", name),
					Hint: "backstay show " + r.req.Record.ID + " lists its tables",
				}
			}
			t := r.open.Index.Tables[i]
			step.What += fmt.Sprintf("table %s (%d rows) ", name, t.Rows)
			step.Bytes += t.Bytes
		}
		step.What = strings.TrimSpace(step.What)
	}
	r.db = p
	if r.target == nil {
		return &core.Error{
			Code: core.CodeApplication, Op: "plan restore", Message: "it is not known which database to restore into",
			Hint: "give --database-host, --database-user, --database-name and a password (--database-password-file)",
		}
	}
	cfg := r.targetConfig()
	if r.req.ToDatabase != "" && r.req.ToDatabase == r.target.Name {
		return &core.Error{
			Code: core.CodeUsage, Op: "plan restore", Message: fmt.Sprintf("database %q is the live one", r.req.ToDatabase),
			Hint: "give another name for a copy, or leave out --to-database to restore the live app",
		}
	}
	step.Into = "database " + cfg.Database + " at " + cfg.Address()
	var err error
	if p.carry, err = r.planCarry(ctx, cfg); err != nil {
		return err
	}
	report, err := r.askServer(ctx, cfg, true)
	if err != nil {
		return err
	}
	if err := r.refuseLive(ctx, report.Server); err != nil {
		return err
	}
	if len(report.Live) > 0 {
		step.Replaces = fmt.Sprintf("tables and objects of the same names; %d tables are there now, others %s", len(report.Live), r.others())
		r.Plan.Live = r.Plan.Live || r.req.live()
	}
	r.Plan.Steps = append(r.Plan.Steps, step)
	r.findCarry(p.carry)
	for _, f := range report.Findings {
		r.add(f)
	}
	r.Plan.DatabaseBytes = report.NeedsBytes
	r.Plan.EstimateMS += 2 * step.Bytes * 1000 / buildRate // loaded, then read back
	if r.req.live() {
		if err := r.compareDatabase(ctx, cfg, report); err != nil {
			return err
		}
		if report.Exists {
			if err := r.findLeftovers(ctx, cfg); err != nil {
				return err
			}
		}
	}
	if r.req.ToDatabase != "" && r.req.Copy == nil && len(r.req.Tables) == 0 && len(r.open.Index.Objects) > 0 {
		r.note("events", "events are disabled in the copy; views, triggers and routines that name database %s in their text go on using that one", d.Name)
	}
	return nil
}

// discover finds out what the live app is, and which database the restore
// fills: the live app's, or the one that was given, or, on a bare machine, the
// one that the backup's configuration names.
func (r *Restore) discover(ctx context.Context) error {
	app, err := r.profile.Discover(ctx, r.req.Target.App)
	if err == nil {
		r.app, r.target = app, app.Database
		return nil
	}
	r.e.Log.Debug("the live app cannot be read", "err", err)
	given := r.req.Target.App.Database
	if given.Name != "" && given.User != "" {
		r.target = &core.DatabaseSource{
			Host: given.Host, Port: given.Port, Socket: given.Socket, User: given.User, Password: given.Password,
			Name: given.Name, Prefix: given.Prefix, TLS: given.TLS,
		}
		return nil
	}
	if r.open.Manifest.Settings["config"] == "" || !slices.Contains(r.open.Manifest.Components, core.ComponentConfig) {
		return nil // planDatabase says so when the database is wanted
	}
	app, err = r.discoverBackup(ctx, given)
	if err != nil {
		r.e.Log.Debug("the backup's configuration cannot be read either", "err", err)
		return nil
	}
	r.target = app.Database
	return nil
}

// discoverBackup reads the backup's configuration as if it were installed; what
// is given of the database wins over it. It
// lies on the disk for that moment, in the state folder, readable by nobody else.
func (r *Restore) discoverBackup(ctx context.Context, given profile.Database) (_ *core.Application, err error) {
	if err := os.MkdirAll(r.e.StateDir, 0o700); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(r.e.StateDir, "config-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	src, err := r.source(ctx, core.ComponentConfig)
	if err != nil {
		return nil, err
	}
	if _, err := treerestore.Files(ctx, r.e.Store, src.entry, src.extra, treerestore.Options{
		Targets: map[string]string{"app": dir}, Owners: r.open.Manifest.Owners, Trees: src.trees, KeepRoots: true,
	}); err != nil {
		return nil, err
	}
	if err := r.restoreMarkers(ctx, dir); err != nil {
		return nil, err
	}
	app := r.req.Target.App
	app.Root, app.Database = dir, given
	return r.profile.Discover(ctx, app)
}

func (r *Restore) targetConfig() mysql.Config {
	cfg := mysql.ConfigOf(*r.target)
	if r.req.ToDatabase != "" {
		cfg.Database = r.req.ToDatabase
	}
	return cfg
}
