package restore

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/switchover"
	"github.com/backstay/backstay/internal/files"
	treerestore "github.com/backstay/backstay/internal/files/restore"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/load"
)

// copyElsewhere restores into a folder or a database that is not the live
// app's. Before anything is changed there, everything that will be needed is
// read back from the repository once; a folder that is empty or missing is
// filled without that.
func (r *Restore) copyElsewhere(ctx context.Context, out *Restored) error {
	if r.intoNothing() {
		return r.fillNothing(ctx, out)
	}
	if err := r.findDamage(ctx); err != nil {
		return err
	}
	if r.db != nil {
		if err := r.prepareDatabase(ctx, r.targetConfig()); err != nil {
			return err
		}
	}
	if err := r.carryOut(ctx, out); err != nil {
		return err
	}
	return r.finishElsewhere(out)
}

func (r *Restore) carryOut(ctx context.Context, out *Restored) error {
	for _, c := range []core.Component{core.ComponentCode, core.ComponentConfig, core.ComponentDatabase, core.ComponentFiles} {
		if c == core.ComponentDatabase && r.db != nil {
			if err := r.runDatabase(ctx, out); err != nil {
				return err
			}
		}
		if r.trees[c] != nil {
			if err := r.runTree(ctx, c, out); err != nil {
				return err
			}
		}
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

// treeSource is a component's trees in the backup.
type treeSource struct {
	entry core.Entry
	extra core.ObjectID
	trees []core.Tree
}

func (r *Restore) source(ctx context.Context, c core.Component) (s treeSource, err error) {
	if s.entry, err = r.open.Lookup(ctx, string(c)); err != nil {
		return s, err
	}
	switch e, err := r.open.Lookup(ctx, files.ExtraName(c)); {
	case err == nil:
		s.extra = e.Object.ID
	case core.CodeOf(err) != core.CodeNotFound:
		return s, err
	}
	for _, t := range r.open.Manifest.Trees {
		if t.Component == c {
			s.trees = append(s.trees, t)
		}
	}
	return s, nil
}

func (r *Restore) runTree(ctx context.Context, c core.Component, out *Restored) error {
	p := r.trees[c]
	src, err := r.source(ctx, c)
	if err != nil {
		return err
	}
	r.e.Progress.Stage("restore "+string(c), r.stepBytes(c))
	denied := func(d treerestore.Denied) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.denied = append(r.denied, d)
	}
	store, err := r.storeFor(ctx, c)
	if err != nil {
		return err
	}
	got, err := treerestore.Files(ctx, store, src.entry, src.extra, treerestore.Options{
		Targets: p.targets, Paths: p.paths, Owners: r.open.Manifest.Owners, Trees: src.trees,
		Kept: r.open.Manifest.Warnings, Verify: true, Progress: engine.QuietStage(r.e.Progress), Follow: r.follow(src.trees), Damaged: r.lost, Denied: denied,
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
	got, err := load.Load(ctx, r.open.Index, engine.NewSource(r.open), r.loadOptions(r.targetConfig()))
	if err != nil {
		return err
	}
	countLoaded(&out.Outcome, got)
	return nil
}

func (r *Restore) loadOptions(cfg mysql.Config) load.Options {
	return load.Options{
		Config: cfg, Connections: r.req.Target.Connections, Tables: r.db.tables, Progress: r.e.Progress,
		DisableEvents: r.req.ToDatabase != "", Plan: r.db.carry, Origin: r.open.Manifest.Database.Server,
	}
}

func countLoaded(out *switchover.Outcome, got *load.Loaded) {
	out.Tables, out.Rows = got.Tables, got.Rows
	out.Bytes += got.Bytes
	out.Warnings = append(out.Warnings, got.Warnings...)
}

// prepareDatabase sees to it that the target database is there and may be
// filled, before anything of the app is changed.
func (r *Restore) prepareDatabase(ctx context.Context, cfg mysql.Config) error {
	if err := r.ensureDatabase(ctx, cfg); err != nil {
		return err
	}
	return r.proveServer(ctx, cfg)
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
