package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine/switchover"
	"github.com/backstay/backstay/internal/files/exchange"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/preflight"
	"github.com/backstay/backstay/internal/profile"
)

// buildRate is how many bytes a restore builds in a second, roughly: it is for
// the plan's estimate only. Measured on two cores (docs/performance.md).
const buildRate = 50 << 20

// countBudget is how long the plan may count rows of live tables.
const countBudget = 5 * time.Second

// compareTree says what a component changes in the live app.
func (r *Restore) compareTree(ctx context.Context, c core.Component) error {
	src, opt, err := r.exchangeOptions(ctx, c)
	if err != nil {
		return err
	}
	d, err := exchange.Compare(ctx, r.treeReader(), src.entry, src.extra, opt)
	if core.CodeOf(err) == core.CodeDamage {
		if err := r.findDamage(ctx); err != nil { // names all that is damaged
			return err
		}
	}
	if err != nil {
		return fmt.Errorf("compare %s: %w", c, err)
	}
	r.Plan.Files = append(r.Plan.Files, FilesChange{Component: c, Added: d.Added, Changed: d.Changed, Removed: d.Removed, Extra: d.Extra, Unchanged: d.Unchanged})
	r.Plan.EstimateMS += r.sizeOf(c) * 1000 / buildRate
	for _, o := range d.Obstacles {
		r.add(core.Finding{Kind: core.FindingImpossible, Name: o.Code, Object: o.Object, Message: o.Message})
	}
	for _, w := range d.Decisions {
		r.add(core.Finding{
			Kind: core.FindingDecision, Name: w.Code, Object: w.Object, Message: w.Message,
			Hint: "look who made the link and where it leads, and point it back, or move the folder back",
		})
	}
	for _, s := range d.Space {
		r.Plan.Space = append(r.Plan.Space, s)
		if s.Enough() {
			continue
		}
		r.add(core.Finding{
			Kind: core.FindingImpossible, Name: FindingDiskSpace, Object: s.Path,
			Message: fmt.Sprintf("%d bytes are needed beside what is there, and %d are free", s.Bytes, s.Free), Hint: "make room on that file system, or restore less (--only, --path)",
		})
	}
	return nil
}

// sizeOf is how many bytes the backup has of a component.
func (r *Restore) sizeOf(c core.Component) (n int64) {
	for _, t := range r.open.Manifest.Trees {
		if t.Component == c {
			n += t.Bytes
		}
	}
	return n
}

// configure has the application's configuration file lead to the database that
// is restored into: the backup's may lead to another machine's.
func (r *Restore) configure(ctx context.Context, p *treePlan) error {
	name := r.open.Manifest.Settings["config"]
	stored := path.Join("app", name)
	if name == "" || r.target == nil && r.req.URL == "" || !p.wants(stored) || r.req.BackupConnection {
		return nil
	}
	content, err := r.configContent(ctx)
	if err != nil || content == nil {
		return err
	}
	conf := profile.Configuration{App: r.Plan.App, Root: r.root(), Path: filepath.Join(r.root(), name), URL: r.req.URL}
	if r.target != nil {
		conf.Database = r.connection(ctx)
	}
	if r.app != nil {
		conf.Live = r.liveConfig()
	}
	_, changes, err := r.profile.Configure(ctx, content, conf)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if core.CodeOf(err) == core.CodeUsage {
			return err
		}
		r.add(core.Finding{
			Kind: core.FindingDecision, Name: profile.FindingConnection, Object: name, Hint: core.HintOf(err),
			Message: fmt.Sprintf("it cannot be made to lead to the database that is restored (%v); agreed to, it comes back as it is in the backup", err),
		})
		return nil
	}
	if len(changes) == 0 {
		return nil
	}
	r.Plan.Settings = changes
	keeps := ""
	if r.app != nil && r.req.URL == "" {
		keeps = ", which it keeps"
	}
	for _, ch := range changes {
		r.add(core.Finding{
			Kind: core.FindingRewrite, Name: profile.FindingConnection, Object: name,
			Message: fmt.Sprintf("%s: %q in the backup, %q here", ch.Setting, ch.From, ch.To) + keeps,
		})
	}
	p.transform = map[string]func([]byte) ([]byte, error){stored: func(content []byte) ([]byte, error) {
		out, _, err := r.profile.Configure(ctx, content, conf)
		return out, err
	}}
	return nil
}

// configContent is the configuration file of the backup; nil: it has none.
func (r *Restore) configContent(ctx context.Context) ([]byte, error) {
	name := r.open.Manifest.Settings["config"]
	if name == "" {
		return nil, nil
	}
	var b bytes.Buffer
	err := r.open.Cat(ctx, path.Join(string(core.ComponentConfig), "app", name), &b)
	if core.CodeOf(err) == core.CodeNotFound {
		return nil, nil
	}
	return b.Bytes(), err
}

// liveConfig is the configuration file that is there now; nil: there is none.
func (r *Restore) liveConfig() []byte {
	name := r.open.Manifest.Settings["config"]
	if name == "" || r.root() == "" {
		return nil
	}
	content, err := os.ReadFile(filepath.Join(r.root(), name))
	if err != nil {
		r.e.Log.Debug("the live configuration cannot be read", "err", err)
		return nil
	}
	return content
}

// connection is how the restored application is to reach its database. Into a
// live app that is as its own configuration has it: the account in backstay.yaml
// may be backstay's. On a bare machine the account that was given
// for the restore may be an administrator's: where the application's own
// account works too, it is kept.
func (r *Restore) connection(ctx context.Context) *core.DatabaseSource {
	if r.app != nil {
		given := r.req.Target.App
		given.Database = profile.Database{}
		own, err := r.profile.Discover(ctx, given)
		if err != nil || own.Database == nil {
			return r.target
		}
		return own.Database
	}
	backup, err := r.discoverBackup(ctx, profile.Database{})
	if err != nil || backup.Database == nil {
		return r.target
	}
	own := *r.target
	own.User, own.Password, own.Prefix = backup.Database.User, backup.Database.Password, backup.Database.Prefix
	cfg := mysql.ConfigOf(own)
	cfg.Database = ""
	c, err := mysql.Connect(ctx, cfg)
	if err != nil {
		other := *r.target
		other.Prefix = own.Prefix
		if other.Password.Empty() { // an account of this system's, which a web server cannot use
			other.User, other.Password = own.User, own.Password
		}
		r.findAccount(own.User, other.User)
		return &other
	}
	_ = c.Close() // only opened to see whether it can be
	return &own
}

// compareApp has the profile look at backup and machine.
func (r *Restore) compareApp(ctx context.Context) {
	if !r.req.live() || r.req.partial() {
		return
	}
	content, err := r.configContent(ctx)
	if err != nil {
		r.e.Log.Debug("the backup's configuration cannot be read", "err", err)
	}
	live := r.liveConfig()
	var target *core.DatabaseSource
	if r.db != nil {
		target = r.connection(ctx)
	}
	for _, f := range r.profile.Compare(ctx, profile.Comparison{
		App: r.req.Target.App, Live: r.app, Manifest: &r.open.Manifest, Target: target, Root: r.root(),
		Code: r.trees[core.ComponentCode] != nil, Files: r.trees[core.ComponentFiles] != nil, Settings: r.trees[core.ComponentConfig] != nil,
		Config: content, LiveConfig: live, List: r.listBackup,
	}) {
		r.add(f)
	}
}

// listBackup lists the files that the restore brings below a folder of the
// app, relative to that folder.
func (r *Restore) listBackup(ctx context.Context, dir string) ([]string, error) {
	var out []string
	for _, c := range []core.Component{core.ComponentCode, core.ComponentFiles} {
		if r.trees[c] == nil {
			continue
		}
		top, err := r.open.Lookup(ctx, path.Join(string(c), "app", dir))
		if core.CodeOf(err) == core.CodeNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		err = r.walkFiles(ctx, top, "", func(rel string, _ core.Entry) error {
			out = append(out, rel)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// askServer has the server say whether it can take the database. Nothing is
// made there but, unless dry, objects of backstay's own that are gone again.
func (r *Restore) askServer(ctx context.Context, cfg mysql.Config, dry bool) (*preflight.Report, error) {
	return preflight.Ask(ctx, cfg, preflight.Input{
		Database: *r.open.Manifest.Database, Index: r.open.Index, Tables: r.db.tables, Read: r.reader(), Plan: r.db.carry,
		Target: r.db.server, Connections: r.req.Target.Connections, Clean: r.req.Clean, Keep: r.req.Keep > 0, Warnings: r.open.Manifest.Warnings, Copy: r.req.ToDatabase != "", Imported: r.open.Manifest.Origin != nil, DryRun: dry,
	})
}

// compareDatabase says what becomes of the live tables.
func (r *Restore) compareDatabase(ctx context.Context, cfg mysql.Config, report *preflight.Report) error {
	names := make([]string, len(report.Live))
	for i, t := range report.Live {
		names[i] = t.Name
	}
	var counts map[string]preflight.Count
	if !r.req.Estimates {
		var err error
		if counts, err = preflight.LiveCounts(ctx, cfg, names, countBudget); err != nil {
			return err
		}
	}
	prefix := r.target.Prefix
	live := map[string]bool{}
	for _, t := range report.Live {
		if t.InBackup {
			live[t.BackupName] = true
		}
		rows, exact := t.Rows, t.Exact
		if n, ok := counts[t.Name]; ok {
			rows, exact = n.Rows, n.Exact
		}
		change := TableChange{Name: t.Name, Now: &rows, Exact: exact, Fate: "kept"}
		if !t.InBackup && len(r.db.tables) > 0 {
			continue // a partial restore is not about it
		}
		if !t.InBackup && r.req.Clean && len(t.Name) >= len(prefix) && t.Name[:len(prefix)] == prefix {
			change.Fate = "removed"
		}
		if t.InBackup {
			change.Fate, change.Then = "replaced", r.rowsThen(t.BackupName)
		}
		r.Plan.Tables = append(r.Plan.Tables, change)
	}
	for _, t := range r.open.Index.Tables {
		if !live[t.Name] && (len(r.db.tables) == 0 || slices.Contains(r.db.tables, t.Name)) {
			rows := t.Rows
			r.Plan.Tables = append(r.Plan.Tables, TableChange{Name: t.Name, Then: &rows, Exact: true, Fate: "added"})
		}
	}
	return nil
}

// findLeftovers names tables of restores that nobody knows of any more.
func (r *Restore) findLeftovers(ctx context.Context, cfg mysql.Config) error {
	runs, err := switchover.Leftovers(ctx, r.e.StateDir, r.Plan.App, cfg)
	if len(runs) > 0 {
		r.note("left-over", "tables of restores that no journal here knows lie in or beside the database (%s): backstay undo %s --drop removes them", core.Some(runs, 5), r.Plan.App)
	}
	return err
}

func (r *Restore) rowsThen(table string) *int64 {
	i := slices.IndexFunc(r.open.Index.Tables, func(t core.Table) bool { return t.Name == table })
	if i < 0 {
		return nil
	}
	rows := r.open.Index.Tables[i].Rows
	return &rows
}

// proveServer asks the server again, with everything that a dry run may not
// try, right before the database is built.
func (r *Restore) proveServer(ctx context.Context, cfg mysql.Config) error {
	report, err := r.askServer(ctx, cfg, false)
	if err != nil {
		return err
	}
	var refused []error
	for _, f := range report.Findings {
		forced := slices.Contains(r.req.Force, f.Name)
		known := slices.ContainsFunc(r.Plan.Findings, func(p core.Finding) bool { return p.Kind == f.Kind && p.Name == f.Name && p.Object == f.Object })
		if f.Kind == core.FindingImpossible || f.Kind == core.FindingDecision && !forced && !known {
			code := core.CodeDatabase
			hint := f.Hint
			if f.Kind == core.FindingDecision {
				code, hint = core.CodeDecision, "if that is what you want, run it again with --force "+f.Name
			}
			refused = append(refused, &core.Error{Code: code, Op: "restore into database " + cfg.Database, Message: f.Message, Hint: hint})
		}
	}
	return errors.Join(refused...)
}
