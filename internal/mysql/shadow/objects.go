package shadow

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/ddl"
	"github.com/backstay/backstay/internal/mysql/load"
)

// objectKey tells objects apart. Servers take these names in any case; two of
// one kind that differ in case only cannot be.
type objectKey struct{ kind, name string }

func keyOf(o Object) objectKey { return objectKey{o.Kind, strings.ToLower(o.Name)} }

// same says whether two objects are alike in everything.
func (o Object) same(p Object) bool {
	a, b := o.SchemaObject, p.SchemaObject
	a.File, b.File = "", ""
	return a == b && bytes.Equal(o.Statement, p.Statement)
}

// readNow reads what is live of the objects that are replaced.
func (x *exchange) readNow(ctx context.Context) error {
	objects, _, err := x.objects(ctx)
	if err != nil {
		return err
	}
	x.now = map[objectKey]Object{}
	for _, o := range objects {
		x.now[keyOf(o)] = o
	}
	return nil
}

// wanted lists the arriving side's objects of some kinds, in their order.
func (x *exchange) wanted(kinds ...string) []Object {
	var out []Object
	for _, o := range x.s.of(x.to).Objects {
		if slices.Contains(kinds, o.Kind) && !slices.Contains(x.s.Left, o.Kind+" "+o.Name) {
			out = append(out, o)
		}
	}
	return out
}

// unwanted lists what is live of both sides' objects of a kind and is not as
// the arriving side has it.
func (x *exchange) unwanted(kind string) []Object {
	want := map[objectKey]Object{}
	for _, o := range x.wanted(kind) {
		want[keyOf(o)] = o
	}
	var out []Object
	seen := map[objectKey]bool{}
	for _, o := range slices.Concat(x.s.Was.Objects, x.s.Will.Objects) {
		key := keyOf(o)
		now, live := x.now[key]
		if o.Kind != kind || !live || seen[key] {
			continue
		}
		seen[key] = true
		if w, ok := want[key]; !ok || !w.same(now) || x.otherDefaults(now) {
			out = append(out, now)
		}
	}
	return out
}

// otherDefaults says whether an object may mean something else though it reads
// the same: parameters of routines have the database's character set when they
// name none.
func (x *exchange) otherDefaults(o Object) bool {
	return (o.Kind == "procedure" || o.Kind == "function") && x.s.Was.Collation != x.s.Will.Collation
}

func (x *exchange) drop(ctx context.Context, o Object) error {
	if err := load.DropObject(ctx, x.control, o.SchemaObject); err != nil {
		return x.explain(ctx, "drop "+o.Kind+" "+o.Name, err)
	}
	delete(x.now, keyOf(o))
	return nil
}

func (x *exchange) create(ctx context.Context, o Object, statement []byte) error {
	warning, err := load.CreateObject(ctx, x.control, o.SchemaObject, statement)
	if err != nil {
		return x.explain(ctx, "make "+o.Kind+" "+o.Name, err)
	}
	if warning != nil && !slices.Contains(x.warnings, *warning) {
		x.warnings = append(x.warnings, *warning)
	}
	return nil
}

// dropEvents drops events. Before the tables change places it leaves those that
// this account cannot make again: a table in use may still end the exchange.
func (x *exchange) dropEvents(ctx context.Context, early bool) error {
	for _, o := range x.unwanted("event") {
		if early {
			if may, err := x.mayDefine(ctx, o); err != nil {
				return err
			} else if !may {
				continue
			}
		}
		if err := x.drop(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

func (x *exchange) makeEvents(ctx context.Context) error { return x.makeMissing(ctx, "event") }

func (x *exchange) makeMissing(ctx context.Context, kind string) error {
	for _, o := range x.wanted(kind) {
		if _, live := x.now[keyOf(o)]; live {
			continue
		}
		if err := x.create(ctx, o, o.Statement); err != nil {
			return err
		}
	}
	return nil
}

// replaceRoutines drops and makes routines and packages. A package takes its
// body with it.
func (x *exchange) replaceRoutines(ctx context.Context) error {
	for _, kind := range []string{"package body", "package", "procedure", "function"} {
		for _, o := range x.unwanted(kind) {
			if err := x.drop(ctx, o); err != nil {
				return err
			}
			if kind == "package" {
				delete(x.now, objectKey{"package body", strings.ToLower(o.Name)})
			}
		}
	}
	for _, kind := range []string{"function", "procedure", "package", "package body"} {
		if err := x.makeMissing(ctx, kind); err != nil {
			return err
		}
	}
	return nil
}

// makeViews makes the views that are on no shelf. They may use each other:
// those that fail are tried again for as long as that helps.
func (x *exchange) makeViews(ctx context.Context) error {
	var todo []Object
	for _, o := range x.wanted("view") {
		t := x.s.table(o.Name)
		if t == nil {
			continue
		}
		if _, there := x.at(x.s.live(t)); !there {
			todo = append(todo, o)
		}
	}
	for len(todo) > 0 {
		var again []Object
		var failures []error
		for _, o := range todo {
			warning, err := load.CreateObject(ctx, x.control, o.SchemaObject, o.Statement)
			if err != nil && mysql.Number(err) == 0 {
				return fmt.Errorf("make view %s: %w", o.Name, err)
			}
			if err != nil {
				again, failures = append(again, o), append(failures, err)
				continue
			}
			if warning != nil {
				x.warnings = append(x.warnings, *warning)
			}
		}
		if len(again) == len(todo) {
			// A view can be invalid at its origin. That must not cost the rest.
			for i, o := range again {
				if !slices.Contains(x.s.Lost, o.Name) {
					x.s.Lost = append(x.s.Lost, o.Name)
				}
				x.warnings = append(x.warnings, core.Warning{Code: "invalid-view", Object: "view " + o.Name, Message: "it could not be created: " + failures[i].Error()})
			}
			break
		}
		todo = again
	}
	return x.list(ctx)
}

// alike says whether two triggers are the same but for the words in which they
// and their table are named, which a rename and a temporary name change.
func alike(a, b Object) bool {
	neutral := func(o Object) (string, bool) {
		text, ok := ddl.TriggerCalled(o.SchemaObject, o.Statement, "t")
		if !ok {
			return "", false
		}
		return ddl.TriggerOn(o.SchemaObject, []byte(text), "t")
	}
	x, ok1 := neutral(a)
	y, ok2 := neutral(b)
	if !ok1 || !ok2 {
		return bytes.Equal(a.Statement, b.Statement)
	}
	return x == y
}

// plainLiteral quotes text for statements that take a plain literal only, in a
// session that reads backslashes.
func plainLiteral(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(text) + "'"
}
