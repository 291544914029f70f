// Package restore brings an app, or a part of it, back from a backup. It is for
// the commands, and later the console. It promises that nothing live has changed
// before everything that is needed lies beside it, complete and compared with
// the backup; that the live app is then switched to it at once, or stays wholly
// as it was; and that there is a way back.
package restore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/files"
	treerestore "github.com/backstay/backstay/internal/files/restore"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/load"
)

// Run carries the plan out. Before anything is changed, everything that will
// be needed is read back from the repository once; a folder that is empty or
// missing is filled without that.
func (r *Restore) Run(ctx context.Context) (_ *Restored, err error) {
	if err := r.Refused(); err != nil {
		return nil, err
	}
	lock, err := r.e.LockApp(ctx, r.req.Target.App.Name, "restore", r.req.Wait)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	out := &Restored{App: r.Plan.App, Backup: r.Plan.Backup, Warnings: []core.Warning{}, Next: []string{}}
	if r.intoNothing() {
		return out, r.fillNothing(ctx, out)
	}
	if err := r.findDamage(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.letGo()) }()
	if r.db != nil && r.db.target != nil {
		if err := r.claimDatabase(ctx); err != nil {
			return nil, err
		}
	}
	if !r.changesLive() {
		return out, r.carryOut(ctx, out)
	}
	// Nothing has been changed until here.
	done, err := r.e.BeginRestore(r.Plan.App, r.Plan.Backup, r.scope())
	if err != nil {
		return nil, err
	}
	if err := r.carryOut(ctx, out); err != nil {
		return nil, err
	}
	return out, done()
}

// scope says in words how much of the app is restored; "" is all of it.
func (r *Restore) scope() string {
	var parts []string
	for _, c := range r.req.Only {
		parts = append(parts, string(c))
	}
	for _, t := range r.req.Tables {
		parts = append(parts, "table "+t)
	}
	return strings.Join(append(parts, r.req.Paths...), ", ")
}

// changesLive says whether the live app is half old, half new while the
// restore runs.
func (r *Restore) changesLive() bool {
	return len(r.trees) > 0 && r.req.ToDir == "" || r.db != nil && r.req.ToDatabase == ""
}

func (r *Restore) carryOut(ctx context.Context, out *Restored) error {
	for _, c := range core.Components() {
		if _, ok := r.trees[c]; ok && c != core.ComponentFiles {
			if err := r.runTree(ctx, c, out); err != nil {
				return err
			}
		}
	}
	if r.db != nil {
		if err := r.runDatabase(ctx, out); err != nil {
			return err
		}
	}
	if _, ok := r.trees[core.ComponentFiles]; ok {
		if err := r.runTree(ctx, core.ComponentFiles, out); err != nil {
			return err
		}
	}
	if !r.req.partial() && r.req.ToDir == "" && r.req.ToDatabase == "" {
		out.Next = append(out.Next, r.nextSteps(ctx)...)
	}
	return nil
}

// needs says whether the restore will read the object at this path of the
// backup.
func (r *Restore) needs(p string) bool {
	c, rest, _ := strings.Cut(p, "/")
	component := engine.ComponentOf(c)
	if component == core.ComponentDatabase {
		if r.db == nil {
			return false
		}
		if len(r.db.tables) == 0 || rest == "" {
			return true
		}
		for _, t := range r.open.Index.Tables {
			if !slices.Contains(r.db.tables, t.Name) {
				continue
			}
			if p == t.Schema || slices.ContainsFunc(t.Files(), func(ch core.Chunk) bool { return ch.File == p || strings.HasPrefix(ch.File, p+"/") }) || strings.HasPrefix(t.Schema, p+"/") {
				return true
			}
		}
		return false
	}
	t := r.trees[component]
	if t == nil {
		return false
	}
	if len(t.paths) == 0 || rest == "" {
		return true
	}
	return slices.ContainsFunc(t.paths, func(want string) bool {
		return rest == want || strings.HasPrefix(rest, want+"/") || strings.HasPrefix(want, rest+"/")
	})
}

func (r *Restore) runTree(ctx context.Context, c core.Component, out *Restored) error {
	p := r.trees[c]
	entry, err := r.open.Lookup(ctx, string(c))
	if err != nil {
		return err
	}
	var extra core.ObjectID
	switch e, err := r.open.Lookup(ctx, files.ExtraName(c)); {
	case err == nil:
		extra = e.Object.ID
	case core.CodeOf(err) != core.CodeNotFound:
		return err
	}
	var trees []core.Tree
	for _, t := range r.open.Manifest.Trees {
		if t.Component == c {
			trees = append(trees, t)
		}
	}
	r.e.Progress.Stage("restore "+string(c), r.stepBytes(c))
	got, err := treerestore.Files(ctx, r.e.Store, entry, extra, treerestore.Options{
		Targets: p.targets, Paths: p.paths, Owners: r.open.Manifest.Owners, Trees: trees,
		Kept: r.open.Manifest.Warnings, Verify: true, Progress: engine.QuietStage(r.e.Progress), Follow: r.follow(trees), Damaged: r.lost,
	})
	if err != nil {
		return fmt.Errorf("restore %s: %w", c, err)
	}
	out.Files += got.Files
	out.Bytes += got.Bytes
	out.Warnings = append(out.Warnings, got.Warnings...)
	return nil
}

func (r *Restore) stepBytes(c core.Component) int64 {
	var n int64
	for _, s := range r.Plan.Steps {
		if s.Component == c {
			n += s.Bytes
		}
	}
	return n
}

// follow lists the paths at which the live app may keep a link to a folder that
// was captured in its place: the folder is filled, the link stays.
func (r *Restore) follow(trees []core.Tree) []string {
	var out []string
	if r.req.ToDir != "" {
		return nil
	}
	for _, t := range trees {
		for _, p := range t.Followed {
			out = append(out, path.Join(t.Place, p))
		}
	}
	return out
}

func (r *Restore) runDatabase(ctx context.Context, out *Restored) error {
	if r.db.target == nil {
		app, err := r.profile.Discover(ctx, r.req.Target.App)
		if err != nil {
			return fmt.Errorf("read the restored configuration: %w", err)
		}
		if app.Database == nil {
			return &core.Error{Code: core.CodeApplication, Op: "restore database", Message: "the restored configuration names no database"}
		}
		r.app, r.db.target = app, app
		if err := r.carryLate(ctx, out); err != nil {
			return err
		}
		if err := r.claimDatabase(ctx); err != nil {
			return err
		}
	}
	cfg := r.targetConfig(r.db.target)
	got, err := load.Load(ctx, r.open.Index, engine.NewSource(r.open), load.Options{
		Config: cfg, Connections: r.req.Target.Connections, Tables: r.db.tables, Progress: r.e.Progress,
		DisableEvents: r.req.ToDatabase != "", Plan: r.db.carry, Origin: r.open.Manifest.Database.Server,
	})
	if err != nil {
		return err
	}
	out.Tables, out.Rows = got.Tables, got.Rows
	out.Bytes += got.Bytes
	out.Warnings = append(out.Warnings, got.Warnings...)
	return nil
}

// claimDatabase prepares the target and, when it is the live one, keeps the
// application's own tools and other backstays off it until letGo.
func (r *Restore) claimDatabase(ctx context.Context) error {
	cfg := r.targetConfig(r.db.target)
	if err := r.prepareDatabase(ctx, cfg); err != nil {
		return err
	}
	if r.req.ToDatabase != "" {
		return nil
	}
	var err error
	if r.guard, err = mysql.Connect(ctx, cfg); err != nil {
		return err
	}
	wait := engine.LockGrace
	if r.req.Wait {
		wait = 600
	}
	if err := engine.TakeDatabaseLock(ctx, r.guard, cfg.Database, wait); err != nil {
		return err
	}
	return engine.TakeNamedLocks(ctx, r.guard, r.db.target.Database.Locks, wait)
}

func (r *Restore) letGo() error {
	if r.guard == nil {
		return nil
	}
	return r.guard.Close()
}

// prepareDatabase sees to it that the target database is there and may be
// filled, before anything of the app is changed.
func (r *Restore) prepareDatabase(ctx context.Context, cfg mysql.Config) (err error) {
	if err := r.ensureDatabase(ctx, cfg); err != nil {
		return err
	}
	c, err := mysql.Connect(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	probe := mysql.QuoteName("backstay_probe_" + engine.NewID())
	for _, statement := range r.probes(probe) {
		if _, err := c.Exec(ctx, statement); err != nil {
			if mysql.Number(err) != 0 { // the session lives: leave nothing behind
				_, _ = c.Exec(ctx, "DROP TABLE IF EXISTS "+probe)
			}
			return &core.Error{
				Code: core.CodeDatabase, Op: "restore into database " + cfg.Database,
				Message: fmt.Sprintf("account %q may not do there what a restore needs (%s)", cfg.User, statement), Err: err,
				Hint: "GRANT ALL ON the database to the account, or give another one with --database-user and --database-password-file; for triggers and functions the server may also need log_bin_trust_function_creators=1",
			}
		}
	}
	return r.db.carry.Rehearse(ctx, c, "backstay_probe_"+engine.NewID())
}

// probes are statements that use every right that the restore will need, on an
// object of their own.
func (r *Restore) probes(name string) []string {
	statements := []string{
		"CREATE TABLE " + name + " (id INT PRIMARY KEY)", "INSERT INTO " + name + " VALUES (1)",
		"ALTER TABLE " + name + " ADD COLUMN x INT", "SELECT * FROM " + name,
	}
	kinds := map[string][]string{
		"trigger":   {"CREATE TRIGGER " + name + " BEFORE INSERT ON " + name + " FOR EACH ROW SET NEW.x = 1", "DROP TRIGGER " + name},
		"function":  {"CREATE FUNCTION " + name + "() RETURNS INT DETERMINISTIC NO SQL RETURN 1", "DROP FUNCTION " + name},
		"procedure": {"CREATE PROCEDURE " + name + "() SET @backstay = 1", "DROP PROCEDURE " + name},
		"event":     {"CREATE EVENT " + name + " ON SCHEDULE AT '2037-01-01 00:00:00' DISABLE DO SET @backstay = 1", "DROP EVENT " + name},
	}
	if len(r.db.tables) == 0 {
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			if slices.ContainsFunc(r.open.Index.Objects, func(o core.SchemaObject) bool { return o.Kind == kind }) {
				statements = append(statements, kinds[kind]...)
			}
		}
	}
	return append(statements, "DROP TABLE "+name)
}

// ensureDatabase makes the target database when it is not there, with the
// character set of the original.
func (r *Restore) ensureDatabase(ctx context.Context, cfg mysql.Config) (err error) {
	name, charset, collation := cfg.Database, r.open.Manifest.Database.Charset, r.open.Manifest.Database.Collation
	if p := r.db.carry; p != nil && p.Collation != "" {
		charset, collation = p.Charset, p.Collation
	}
	cfg.Database = ""
	c, err := mysql.Connect(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	rows, err := c.Query(ctx, "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME="+mysql.QuoteText(name))
	if err != nil || len(rows) > 0 {
		return err
	}
	create := "CREATE DATABASE IF NOT EXISTS " + mysql.QuoteName(name)
	if charset != "" && collation != "" {
		create += " CHARACTER SET " + mysql.QuoteName(charset) + " COLLATE " + mysql.QuoteName(collation)
	}
	if _, err := c.Exec(ctx, create); err != nil {
		return &core.Error{
			Code: core.CodeDatabase, Op: "make database " + name, Err: err,
			Hint: fmt.Sprintf("as the server's administrator: %s; GRANT ALL ON %s.* TO the account %q", create, mysql.QuoteName(name), cfg.User),
		}
	}
	return nil
}
