package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/journal"
	"github.com/backstay/backstay/internal/engine/switchover"
	"github.com/backstay/backstay/internal/files/exchange"
	"github.com/backstay/backstay/internal/mysql/shadow"
)

// Run carries the plan out. For a live app nothing live has changed until all
// that it will consist of lies beside it, complete and compared with the
// backup; then it is switched. On an error the live app is as it was, unless
// the error has core.CodeUnfinished: then Resume or Undo must be called.
func (r *Restore) Run(ctx context.Context) (_ *Restored, err error) {
	if err := r.Refused(); err != nil {
		return nil, err
	}
	if r.req.Lock == nil {
		lock, lerr := r.e.LockApp(ctx, r.req.lockName(), "restore", r.req.Wait)
		if lerr != nil {
			return nil, lerr
		}
		defer func() { err = errors.Join(err, lock.Release()) }()
	}
	out := &Restored{Outcome: switchover.Outcome{App: r.Plan.App, Backup: r.Plan.Backup, Warnings: []core.Warning{}, Next: []string{}, Steps: []journal.Step{}}}
	if r.req.Copy != nil {
		return out, r.makeCopy(ctx, out)
	}
	if !r.req.live() {
		return out, r.copyElsewhere(ctx, out)
	}
	c := &switchover.Change{
		E: r.e, Profile: r.profile, Target: r.req.Target, App: r.app, Force: r.req.Force, Wait: r.req.Wait, Out: &out.Outcome,
		Journal: &journal.Journal{
			Run: switchover.NewRun(), App: r.Plan.App, Profile: r.profile.Name(), Backup: r.Plan.Backup, BackupTime: r.open.Manifest.Time,
			Scope: r.scope(), Root: r.root(), Phase: journal.Building, Started: r.e.Clock.Now(), Code: r.trees[core.ComponentCode] != nil,
			Files: r.trees[core.ComponentFiles] != nil, Versions: r.open.Manifest.Versions, Settings: r.open.Manifest.Settings,
		},
	}
	if r.target != nil {
		c.Config, c.Fills = r.targetConfig(), r.db != nil
		c.Journal.Address = c.Config.Address()
	}
	earlier, err := c.ClearEarlier(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.Open(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := r.build(ctx, c); err != nil {
		if core.CodeOf(err) == core.CodeDamage { // name all that is damaged, not only what was met first
			err = cmp.Or(r.findDamage(ctx), err)
		}
		return nil, c.Abandon(ctx, err)
	}
	if err := r.backUpFirst(ctx, c); err != nil {
		return nil, c.Abandon(ctx, err)
	}
	if err := c.SwitchOver(ctx); err != nil {
		return nil, err
	}
	if err := c.Finish(ctx); err != nil {
		return nil, err
	}
	out.Next = append(out.Next, r.ownerSteps()...)
	if !r.req.partial() {
		out.Next = append(out.Next, r.nextSteps(ctx)...)
	}
	return out, c.Keep(ctx, r.req.Keep, earlier)
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

// build makes all that the app will consist of, beside it.
func (r *Restore) build(ctx context.Context, c *switchover.Change) (err error) {
	if r.db != nil {
		if err := r.prepareDatabase(ctx, c.Config); err != nil {
			return err
		}
	}
	if err := journal.Begin(r.e.StateDir, c.Journal); err != nil {
		return err
	}
	for _, component := range []core.Component{core.ComponentCode, core.ComponentConfig, core.ComponentFiles} {
		if r.trees[component] == nil {
			continue
		}
		if err := r.buildTree(ctx, c, component); err != nil {
			return err
		}
	}
	if r.db == nil {
		return nil
	}
	c.Journal.Database, err = shadow.Choose(ctx, c.Config, r.open.Index, shadow.Options{
		Run: c.Journal.Run, Tables: r.db.tables, Prefix: r.target.Prefix, Clean: r.req.Clean, Plan: r.db.carry,
	})
	if err != nil {
		return err
	}
	if err := c.Journal.Save(); err != nil {
		return err
	}
	loaded, err := c.Journal.Database.Build(ctx, r.open.Index, engine.NewSource(r.open), r.loadOptions(c.Config))
	if err != nil {
		return err
	}
	countLoaded(c.Out, loaded)
	return c.Journal.Save()
}

func (r *Restore) buildTree(ctx context.Context, c *switchover.Change, component core.Component) error {
	// The journal names the file before there is anything to find with it.
	t := journal.Tree{Component: component, MovesFile: filepath.Join(c.Journal.Dir(), string(component)+".moves")}
	c.Journal.Trees = append(c.Journal.Trees, t)
	if err := c.Journal.Save(); err != nil {
		return err
	}
	src, opt, err := r.exchangeOptions(ctx, component)
	if err != nil {
		return err
	}
	opt.Name, opt.MovesFile = c.Journal.Run, t.MovesFile
	opt.MovedTargets = slices.Contains(r.req.Force, exchange.MovedTarget)
	r.e.Progress.Stage("compare and build "+string(component), r.stepBytes(component))
	opt.Progress = engine.QuietStage(r.e.Progress)
	built, err := exchange.Build(ctx, r.treeReader(), src.entry, src.extra, opt)
	if err != nil {
		return fmt.Errorf("build %s: %w", component, err)
	}
	c.Trees = append(c.Trees, built)
	if len(opt.Paths) > 0 {
		c.Out.Files += built.Added.Files + built.Changed.Files + built.Unchanged
	} else {
		for _, t := range src.trees {
			c.Out.Files += t.Files
		}
	}
	c.Out.Bytes += r.stepBytes(component)
	c.Out.Warnings = append(c.Out.Warnings, built.Warnings...)
	c.Out.Next = append(c.Out.Next, asRoot(built.Commands)...)
	c.Out.Warnings = append(c.Out.Warnings, ownerWarnings(built.Commands)...)
	return nil
}

// exchangeOptions says how a component comes into the live app.
func (r *Restore) exchangeOptions(ctx context.Context, component core.Component) (treeSource, exchange.Options, error) {
	src, err := r.source(ctx, component)
	if err != nil {
		return src, exchange.Options{}, err
	}
	p := r.trees[component]
	return src, exchange.Options{
		Targets: p.targets, Paths: p.paths, Owners: r.open.Manifest.Owners, Trees: src.trees, Kept: r.open.Manifest.Warnings,
		Follow: r.follow(src.trees), Clean: r.req.Clean && !r.req.partial(), Transform: p.transform,
	}, nil
}

// backUpFirst backs the live app up, so that what is replaced is in the
// repository too.
func (r *Restore) backUpFirst(ctx context.Context, c *switchover.Change) error {
	if r.req.NoSafetyBackup || r.app == nil || !r.Plan.Live {
		return nil
	}
	b, err := r.e.Backup(ctx, r.req.Target, engine.BackupOptions{
		Trigger: engine.TriggerBeforeRestore, Note: "before restoring backup " + r.open.Record.ID, Held: true, WhatIsThere: true, Wait: r.req.Wait,
	})
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return ctx.Err()
	case r.req.Keep > 0: // an app that is restored because it is broken
		c.Out.Warnings = append(c.Out.Warnings, core.Warning{Code: FindingNoSafety, Object: c.Journal.App,
			Message: fmt.Sprintf("what was live before could not be backed up: %v. It is kept beside the app: backstay undo %s", err, c.Journal.App)})
		return nil
	default:
		return &core.Error{
			Code: core.CodeOf(err), Op: "back up what is live before it is replaced", Err: err,
			Hint: "make it possible, or have what is replaced kept beside the app (restore.keep in backstay.yaml), or go on without either: --no-safety-backup",
		}
	}
	c.Out.Safety, c.Journal.Safety = b.ID, b.ID
	return c.Journal.Save()
}
