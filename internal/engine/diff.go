package engine

import (
	"context"
	"fmt"
	"maps"
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

// Difference is all that is different in one backup as against another one.
type Difference struct {
	Versions []Change         `json:"versions"` // what the profile knows of: "version application"
	Modules  []Change         `json:"modules"`  // and extensions: "module itop-tickets"
	Tables   []TableDiff      `json:"tables"`
	Objects  []Change         `json:"objects"` // views, triggers and the like: "view titles"
	Files    []FileDifference `json:"files"`
}

// TableDiff is a table that is not the same in both backups.
type TableDiff struct {
	Name       string `json:"name"`
	Kind       string `json:"kind"`        // "added", "removed", "changed"
	RowsBefore *int64 `json:"rows_before"` // null: there was no such table
	RowsAfter  *int64 `json:"rows_after"`  // null: there is none
	Content    bool   `json:"content"`     // a changed one has other rows
	Definition bool   `json:"definition"`  // a changed one has another definition
}

// FileDifference is what is different in the files of a component.
type FileDifference struct {
	Component core.Component `json:"component"`
	Added     int64          `json:"added"` // files
	Removed   int64          `json:"removed"`
	Changed   int64          `json:"changed"` // files, and folders with another mode or owner
	Changes   []Change       `json:"-"`       // a folder that is new or gone is one of them
}

// Empty says whether there is no difference.
func (d *Difference) Empty() bool {
	return len(d.Versions) == 0 && len(d.Modules) == 0 && len(d.Tables) == 0 && len(d.Objects) == 0 && len(d.Files) == 0
}

// Changes lists all of it in one row.
func (d *Difference) Changes() []Change {
	out := slices.Concat(d.Versions, d.Modules)
	rows := func(n *int64) string {
		if n == nil {
			return ""
		}
		return fmt.Sprintf("%d rows", *n)
	}
	definitions := []Change{}
	for _, t := range d.Tables {
		if t.Kind != "changed" || t.Content {
			out = append(out, Change{Kind: t.Kind, Object: "table " + t.Name, Before: rows(t.RowsBefore), After: rows(t.RowsAfter)})
		}
		if t.Definition {
			definitions = append(definitions, Change{Kind: "changed", Object: "definition of table " + t.Name})
		}
	}
	out = slices.Concat(out, definitions, d.Objects)
	for _, f := range d.Files {
		out = append(out, f.Changes...)
	}
	return out
}

// Diff says what is different in b as against a: versions and modules, tables
// with their rows and definitions, other objects of the database, and files.
// Components that only one of them holds are not compared.
func (e *Engine) Diff(ctx context.Context, a, b *Open) (*Difference, error) {
	for _, o := range []*Open{a, b} {
		if o.IndexDamage != nil {
			return nil, o.IndexDamage
		}
	}
	d := &Difference{Versions: diffVersions(a, b), Modules: diffModules(a, b), Tables: []TableDiff{}, Objects: []Change{}, Files: []FileDifference{}}
	both := func(c core.Component) bool {
		return slices.Contains(a.Manifest.Components, c) && slices.Contains(b.Manifest.Components, c)
	}
	if both(core.ComponentDatabase) {
		if err := e.diffDatabase(ctx, d, a, b); err != nil {
			return nil, err
		}
	}
	for _, c := range core.Components() {
		if c == core.ComponentDatabase || !both(c) {
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
		f := FileDifference{Component: c}
		if err := e.diffDirs(ctx, &f, string(c), left, right); err != nil {
			return nil, err
		}
		if len(f.Changes) > 0 {
			d.Files = append(d.Files, f)
		}
	}
	return d, nil
}

func diffVersions(a, b *Open) []Change {
	return diffTexts("version ", a.Manifest.Versions, b.Manifest.Versions)
}

func diffModules(a, b *Open) []Change {
	list := func(o *Open) map[string]string {
		m := map[string]string{}
		for _, module := range o.Manifest.Modules {
			kind := "module "
			if module.Source != "" {
				kind = "extension "
			}
			m[kind+module.Name] = module.Version
		}
		return m
	}
	return diffTexts("", list(a), list(b))
}

// diffTexts compares texts by name.
func diffTexts(prefix string, before, after map[string]string) []Change {
	out := []Change{}
	for name, now := range after {
		then, ok := before[name]
		switch {
		case !ok:
			out = append(out, Change{Kind: "added", Object: prefix + name, After: now})
		case then != now:
			out = append(out, Change{Kind: "changed", Object: prefix + name, Before: then, After: now})
		}
	}
	for name, then := range before {
		if _, ok := after[name]; !ok {
			out = append(out, Change{Kind: "removed", Object: prefix + name, Before: then})
		}
	}
	sortChanges(out)
	return out
}

func sortChanges(list []Change) {
	slices.SortStableFunc(list, func(x, y Change) int { return strings.Compare(x.Object, y.Object) })
}

func (e *Engine) diffDatabase(ctx context.Context, d *Difference, a, b *Open) error {
	before := map[string]core.Table{}
	for _, t := range a.Index.Tables {
		before[t.Name] = t
	}
	for _, t := range b.Index.Tables {
		old, ok := before[t.Name]
		delete(before, t.Name)
		if !ok {
			d.Tables = append(d.Tables, TableDiff{Name: t.Name, Kind: "added", RowsAfter: &t.Rows})
			continue
		}
		other, err := e.otherDefinition(ctx, a, old.Schema, b, t.Schema)
		if err != nil {
			return err
		}
		content := old.Rows != t.Rows || old.Checksum != t.Checksum
		if content || other {
			d.Tables = append(d.Tables, TableDiff{Name: t.Name, Kind: "changed", RowsBefore: &old.Rows, RowsAfter: &t.Rows, Content: content, Definition: other})
		}
	}
	for _, t := range before {
		d.Tables = append(d.Tables, TableDiff{Name: t.Name, Kind: "removed", RowsBefore: &t.Rows})
	}
	slices.SortFunc(d.Tables, func(x, y TableDiff) int { return strings.Compare(x.Name, y.Name) })
	return e.diffObjects(ctx, d, a, b)
}

// otherDefinition says whether a statement in a is another one in b.
func (e *Engine) otherDefinition(ctx context.Context, a *Open, inA string, b *Open, inB string) (bool, error) {
	left, err := a.Lookup(ctx, inA)
	if err != nil {
		return false, err
	}
	right, err := b.Lookup(ctx, inB)
	if err != nil || left.Object.ID == right.Object.ID {
		return false, err
	}
	x, err := e.readObject(ctx, left.Object.ID)
	if err != nil {
		return false, fmt.Errorf("%s: %w", inA, err)
	}
	y, err := e.readObject(ctx, right.Object.ID)
	if err != nil {
		return false, fmt.Errorf("%s: %w", inB, err)
	}
	return !dump.SameDefinition(string(x), string(y)), nil
}

// diffObjects compares views, triggers and the like by their statements.
func (e *Engine) diffObjects(ctx context.Context, d *Difference, a, b *Open) error {
	list := func(o *Open) map[string]string {
		m := map[string]string{}
		for _, s := range o.Index.Objects {
			m[s.Kind+" "+s.Name] = s.File
		}
		return m
	}
	left, right := list(a), list(b)
	for _, name := range slices.Sorted(maps.Keys(right)) {
		old, ok := left[name]
		delete(left, name)
		if !ok {
			d.Objects = append(d.Objects, Change{Kind: "added", Object: name})
			continue
		}
		other, err := e.otherDefinition(ctx, a, old, b, right[name])
		if err != nil {
			return err
		}
		if other {
			d.Objects = append(d.Objects, Change{Kind: "changed", Object: name})
		}
	}
	for name := range left {
		d.Objects = append(d.Objects, Change{Kind: "removed", Object: name})
	}
	sortChanges(d.Objects)
	return nil
}

// diffDirs compares two folders. Equal folders are one object and are not read.
func (e *Engine) diffDirs(ctx context.Context, f *FileDifference, at string, a, b core.Entry) error {
	if a.Object.ID == b.Object.ID {
		return nil
	}
	left, err := e.Store.ReadDir(ctx, a.Object.ID)
	if err != nil {
		return fmt.Errorf("read %s: %w", at, err)
	}
	right, err := e.Store.ReadDir(ctx, b.Object.ID)
	if err != nil {
		return fmt.Errorf("read %s: %w", at, err)
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
	first := len(f.Changes)
	var folders [][2]core.Entry // in both
	for _, y := range right {
		name := at + "/" + y.Name
		x, ok := before[y.Name]
		delete(before, y.Name)
		switch {
		case !ok:
			f.Changes, f.Added = append(f.Changes, Change{Kind: "added", Object: name, After: size(y)}), f.Added+filesOf(y)
		case x.Type == core.TypeDir && y.Type == core.TypeDir:
			if x.Mode != y.Mode || x.UID != y.UID || x.GID != y.GID {
				f.Changes, f.Changed = append(f.Changes, Change{Kind: "changed", Object: name, Before: "mode or owner"}), f.Changed+1
			}
			folders = append(folders, [2]core.Entry{x, y})
		case !same(x, y):
			f.Changes, f.Changed = append(f.Changes, Change{Kind: "changed", Object: name, Before: size(x), After: size(y)}), f.Changed+1
		}
	}
	for _, x := range before {
		f.Changes, f.Removed = append(f.Changes, Change{Kind: "removed", Object: at + "/" + x.Name, Before: size(x)}), f.Removed+filesOf(x)
	}
	for _, pair := range folders {
		if err := e.diffDirs(ctx, f, at+"/"+pair[0].Name, pair[0], pair[1]); err != nil {
			return err
		}
	}
	sortChanges(f.Changes[first:])
	return nil
}

// filesOf counts an entry: a folder is as many files as lie in it.
func filesOf(e core.Entry) int64 {
	if e.Type == core.TypeDir {
		return e.Files
	}
	return 1
}
