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
	r.db.server = &target
	return portable.Make(ctx, portable.Input{
		Origin: r.open.Manifest.Database.Server, Index: r.open.Index, Tables: r.db.tables,
		Read: r.reader(),
	}, target)
}

// reader reads whole files of the backup; safe for concurrent use.
func (r *Restore) reader() func(ctx context.Context, path string) ([]byte, error) {
	source := engine.NewSource(r.open)
	return func(ctx context.Context, path string) (_ []byte, err error) {
		f, err := source.Open(ctx, path)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		return io.ReadAll(f)
	}
}

// findCarry adds what the plan for the target says to the restore's plan.
func (r *Restore) findCarry(p *portable.Plan) {
	r.Plan.Rewrites = append(r.Plan.Rewrites, p.Rewrites...)
	r.Plan.Refusals = append(r.Plan.Refusals, p.Refusals...)
	for _, s := range describeRewrites(p.Rewrites) {
		r.add(core.Finding{Kind: core.FindingRewrite, Name: "rewritten", Message: s})
	}
	for _, n := range p.Notices {
		r.add(core.Finding{Kind: core.FindingFine, Name: "server-difference", Object: n.Object, Message: n.Message})
	}
	for _, f := range p.Refusals {
		r.add(core.Finding{Kind: core.FindingImpossible, Name: "not-portable", Object: f.Object, Message: "cannot be restored there: " + f.Reason, Hint: f.Hint})
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
