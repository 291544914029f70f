package restore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/portable"
)

// planCarry asks the target server what it can take and makes the plan of what
// must be rewritten for it.
func (r *Restore) planCarry(ctx context.Context, cfg mysql.Config) (_ *portable.Plan, err error) {
	cfg.Database = "" // it may not be there yet
	c, err := mysql.Connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	target, err := portable.Ask(ctx, c, r.open.Index)
	if err != nil {
		return nil, fmt.Errorf("ask the server what it can take: %w", err)
	}
	files := engine.NewSource(r.open)
	return portable.Make(ctx, portable.Input{
		Origin: r.open.Manifest.Database.Server, Index: r.open.Index, Tables: r.db.tables,
		Read: func(ctx context.Context, path string) (_ []byte, err error) {
			f, err := files.Open(ctx, path)
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, f.Close()) }()
			return io.ReadAll(f)
		},
	}, target)
}

// Refused returns the error with which Run refuses: an object of the backup
// that the target server cannot take. nil when there is none.
func (r *Restore) Refused() error {
	if r.db == nil {
		return nil
	}
	return r.db.carry.Err("restore app " + r.Plan.App)
}

// findCarry adds what the plan for the target says to the restore's plan.
func (r *Restore) findCarry(p *portable.Plan) {
	r.Plan.Rewrites = append(r.Plan.Rewrites, p.Rewrites...)
	r.Plan.Refusals = append(r.Plan.Refusals, p.Refusals...)
	for _, s := range describeRewrites(p.Rewrites) {
		r.find("will be rewritten: %s", s)
	}
	for _, n := range p.Notices {
		r.find("%s: %s", n.Object, n.Message)
	}
	for _, f := range p.Refusals {
		s := fmt.Sprintf("cannot be restored there: %s: %s", f.Object, f.Reason)
		if f.Hint != "" {
			s += " (" + f.Hint + ")"
		}
		r.find("%s", s)
	}
}

// objectsShown is how many objects of one rewrite are named.
const objectsShown = 5

// describeRewrites says each change once, with the objects that it is made to.
func describeRewrites(rewrites []portable.Rewrite) []string {
	var order []portable.Rewrite
	objects := map[portable.Rewrite][]string{}
	for _, w := range rewrites {
		object := w.Object
		w.Object = ""
		if len(objects[w]) == 0 {
			order = append(order, w)
		}
		objects[w] = append(objects[w], object)
	}
	var out []string
	for _, w := range order {
		change := w.From + " -> " + w.To
		switch {
		case w.To == "":
			change = w.From + " is left out"
		case w.From == "":
			change = w.To + " is added"
		}
		out = append(out, fmt.Sprintf("%s: %s %s (%s)", core.Some(objects[w], objectsShown), w.Rule, change, w.Why))
	}
	return out
}

// carryLate makes the plan for a target that was not known before: one that
// the restored configuration names.
func (r *Restore) carryLate(ctx context.Context, out *Restored) (err error) {
	if r.db.carry, err = r.planCarry(ctx, r.targetConfig(r.db.target)); err != nil {
		return err
	}
	if err := r.Refused(); err != nil {
		return err
	}
	for _, s := range describeRewrites(r.db.carry.Rewrites) {
		out.Warnings = append(out.Warnings, core.Warning{Code: "rewritten", Object: "database", Message: s})
	}
	return nil
}
