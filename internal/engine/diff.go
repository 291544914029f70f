package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/dump"
)

// same says whether two backups hold the same object at an entry.
func same(a, b core.Entry) bool {
	return a.Type == b.Type && a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID &&
		a.Object.Size == b.Object.Size && a.Object.ID == b.Object.ID && (a.Type == core.TypeDir || a.ModTime.Equal(b.ModTime))
}

// Change is a difference between two backups.
type Change struct {
	Kind   string `json:"kind"` // "added", "removed", "changed"
	Object string `json:"object"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// Diff says what is different in b as against a: tables with their rows, other
// objects of the database, and files.
func (e *Engine) Diff(ctx context.Context, a, b *Open) ([]Change, error) {
	for _, o := range []*Open{a, b} {
		if o.IndexDamage != nil {
			return nil, o.IndexDamage
		}
	}
	changes := diffTables(a.Index.Tables, b.Index.Tables)
	objects, err := e.diffObjects(ctx, a, b)
	if err != nil {
		return nil, err
	}
	changes = append(changes, objects...)
	for _, c := range core.Components() {
		if c == core.ComponentDatabase || !slices.Contains(a.Manifest.Components, c) || !slices.Contains(b.Manifest.Components, c) {
			continue
		}
		left, err := a.Lookup(ctx, string(c))
		if err != nil {
			return nil, err
		}
		right, err := b.Lookup(ctx, string(c))
		if err != nil {
			return nil, err
		}
		more, err := e.diffDirs(ctx, string(c), left, right)
		if err != nil {
			return nil, err
		}
		changes = append(changes, more...)
	}
	return changes, nil
}

func diffTables(a, b []core.Table) []Change {
	var out []Change
	before := map[string]core.Table{}
	for _, t := range a {
		before[t.Name] = t
	}
	rows := func(t core.Table) string { return fmt.Sprintf("%d rows", t.Rows) }
	for _, t := range b {
		old, ok := before[t.Name]
		delete(before, t.Name)
		switch {
		case !ok:
			out = append(out, Change{Kind: "added", Object: "table " + t.Name, After: rows(t)})
		case old.Rows != t.Rows || old.Checksum != t.Checksum:
			out = append(out, Change{Kind: "changed", Object: "table " + t.Name, Before: rows(old), After: rows(t)})
		}
	}
	for _, t := range a {
		if _, gone := before[t.Name]; gone {
			out = append(out, Change{Kind: "removed", Object: "table " + t.Name, Before: rows(t)})
		}
	}
	slices.SortStableFunc(out, func(x, y Change) int { return strings.Compare(x.Object, y.Object) })
	return out
}

// diffObjects compares views, triggers and the like, and tables' definitions,
// by their statements.
func (e *Engine) diffObjects(ctx context.Context, a, b *Open) ([]Change, error) {
	list := func(o *Open) map[string]string {
		m := map[string]string{}
		for _, t := range o.Index.Tables {
			m["definition of table "+t.Name] = t.Schema
		}
		for _, s := range o.Index.Objects {
			m[s.Kind+" "+s.Name] = s.File
		}
		return m
	}
	left, right := list(a), list(b)
	var out []Change
	for name, file := range right {
		old, ok := left[name]
		if !ok {
			if !strings.HasPrefix(name, "definition of ") { // said with the table already
				out = append(out, Change{Kind: "added", Object: name})
			}
			continue
		}
		x, err := e.readPath(ctx, a, old)
		if err != nil {
			return nil, err
		}
		y, err := e.readPath(ctx, b, file)
		if err != nil {
			return nil, err
		}
		if !dump.SameDefinition(string(x), string(y)) {
			out = append(out, Change{Kind: "changed", Object: name})
		}
	}
	for name := range left {
		if _, ok := right[name]; !ok && !strings.HasPrefix(name, "definition of ") {
			out = append(out, Change{Kind: "removed", Object: name})
		}
	}
	slices.SortFunc(out, func(x, y Change) int { return strings.Compare(x.Object, y.Object) })
	return out, nil
}

// diffDirs compares two folders. Equal folders are one object and are not read.
func (e *Engine) diffDirs(ctx context.Context, at string, a, b core.Entry) ([]Change, error) {
	if a.Object.ID == b.Object.ID {
		return nil, nil
	}
	left, err := e.Store.ReadDir(ctx, a.Object.ID)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", at, err)
	}
	right, err := e.Store.ReadDir(ctx, b.Object.ID)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", at, err)
	}
	before := map[string]core.Entry{}
	for _, x := range left {
		before[x.Name] = x
	}
	size := func(x core.Entry) string {
		if x.Type == core.TypeDir {
			return fmt.Sprintf("%d files", x.Files)
		}
		return fmt.Sprintf("%d bytes", x.Object.Size)
	}
	var out []Change
	for _, y := range right {
		name := at + "/" + y.Name
		x, ok := before[y.Name]
		delete(before, y.Name)
		switch {
		case !ok:
			out = append(out, Change{Kind: "added", Object: name, After: size(y)})
		case x.Type == core.TypeDir && y.Type == core.TypeDir:
			if x.Mode != y.Mode || x.UID != y.UID || x.GID != y.GID {
				out = append(out, Change{Kind: "changed", Object: name, Before: "mode or owner"})
			}
			more, err := e.diffDirs(ctx, name, x, y)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		case !same(x, y):
			out = append(out, Change{Kind: "changed", Object: name, Before: size(x), After: size(y)})
		}
	}
	for _, x := range before {
		out = append(out, Change{Kind: "removed", Object: at + "/" + x.Name, Before: size(x)})
	}
	slices.SortFunc(out, func(p, q Change) int { return strings.Compare(p.Object, q.Object) })
	return out, nil
}
