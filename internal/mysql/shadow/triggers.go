package shadow

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/ddl"
	"github.com/backstay/backstay/internal/mysql/probe"
)

// Triggers follow a table that is renamed within its database. So those of the
// departing side stay at their tables until Settle, and those of the arriving
// side wait at theirs: no row is ever written without them, and a switch that
// has to give up has taken nothing from anybody. Names of triggers are there
// once in a database: the arriving ones have temporary names as long as theirs
// are taken.

// Alias is a temporary name of a trigger.
type Alias struct {
	Name string `json:"name"`
	Temp string `json:"temp"`
}

// named returns the name that a trigger has when it has its own.
func (s *Shadow) named(trigger string) string {
	for _, a := range slices.Concat(s.Was.Triggers, s.Will.Triggers) {
		if strings.EqualFold(a.Temp, trigger) {
			return a.Name
		}
	}
	return trigger
}

// home is where the table of one of the arriving side's triggers lies now.
func (x *exchange) home(o Object) place {
	if t := x.s.table(o.Table); t != nil {
		if shelf, waits := x.shelved(t, x.to); waits {
			return shelf
		}
	}
	return place{x.s.Live, o.Table}
}

// bringTriggers makes those of the arriving side's triggers that are not at
// their tables. It is called before the tables change places and after.
func (x *exchange) bringTriggers(ctx context.Context) error {
	s := x.s
	wanted := x.wanted("trigger")
	all, err := x.triggers(ctx)
	if err != nil {
		return err
	}
	if len(wanted) == 0 && len(all) == 0 {
		return nil
	}
	all, err = x.clearWay(ctx, all)
	if err != nil {
		return err
	}
	taken := map[string]liveTrigger{} // by lower-case name
	for _, t := range all {
		taken[strings.ToLower(t.name)] = t
	}
	type work struct {
		o     Object
		table place
		name  string
	}
	var todo []work
	side, changed := s.of(x.to), false
	for _, o := range wanted {
		p := x.home(o)
		if slices.ContainsFunc(all, func(t liveTrigger) bool {
			return strings.EqualFold(s.named(t.name), o.Name) && s.key(place{s.Live, t.table}) == s.key(p)
		}) {
			continue
		}
		if p.schema != s.Live {
			continue // after the tables changed places
		}
		_, readable := ddl.TriggerOn(o.SchemaObject, o.Statement, p.name)
		if !readable && x.stand(p).standing != isLive {
			continue // a rename would spoil it
		}
		name := o.Name
		if other, is := taken[strings.ToLower(name)]; is && readable {
			i := slices.IndexFunc(side.Triggers, func(a Alias) bool { return strings.EqualFold(a.Name, name) })
			if i < 0 {
				i, changed = len(side.Triggers), true
				side.Triggers = append(side.Triggers, Alias{name, s.temp()})
			}
			name = side.Triggers[i].Temp
		} else if is { // its statement cannot be changed
			if err := x.exec(ctx, "drop trigger "+name+" of table "+other.table, "DROP TRIGGER IF EXISTS "+mysql.QuoteName(other.name)); err != nil {
				return err
			}
		}
		todo = append(todo, work{o, p, name})
	}
	if changed {
		if err := x.save(); err != nil {
			return err
		}
	}
	for _, w := range todo {
		statement := w.o.Statement
		if s.key(w.table) != s.key(place{s.Live, w.o.Table}) {
			text, _ := ddl.TriggerOn(w.o.SchemaObject, statement, w.table.name)
			statement = []byte(text)
		}
		if w.name != w.o.Name {
			text, ok := ddl.TriggerCalled(w.o.SchemaObject, statement, w.name)
			if !ok {
				return errors.New("trigger " + w.o.Name + ": its statement cannot be read")
			}
			statement = []byte(text)
		}
		if err := x.create(ctx, w.o, statement); err != nil {
			return err
		}
	}
	return nil
}

// clearWay drops the triggers that keep a table from being renamed: into
// another database, or because the rename would spoil them.
func (x *exchange) clearWay(ctx context.Context, all []liveTrigger) ([]liveTrigger, error) {
	var left []liveTrigger
	for _, t := range slices.Backward(all) {
		at := x.stand(place{x.s.Live, t.table})
		o, known := x.now[objectKey{"trigger", strings.ToLower(x.s.named(t.name))}]
		departs := at.standing == isLive
		if departs {
			_, gone := x.shelved(at.table, !x.to)
			_, waits := x.shelved(at.table, x.to)
			departs = !gone && x.departs(at.table, waits)
		}
		_, movable := ddl.TriggerOn(o.SchemaObject, o.Statement, "t")
		if !departs || x.s.Mode == ModeNames && (movable || !known) {
			left = append(left, t)
			continue
		}
		if err := x.exec(ctx, "drop trigger "+t.name+" of table "+t.table, "DROP TRIGGER IF EXISTS "+mysql.QuoteName(t.name)); err != nil {
			return nil, err
		}
	}
	slices.Reverse(left)
	return left, nil
}

// nameTriggers drops the triggers of what is not live, and gives the live ones
// their names and words: a rename changes those in which one names its table.
// Writers wait meanwhile, so that none misses them.
func (x *exchange) nameTriggers(ctx context.Context) error {
	all, err := x.triggers(ctx)
	if err != nil {
		return err
	}
	if len(all) == 0 && len(x.wanted("trigger")) == 0 {
		return nil
	}
	want := map[string]place{}
	for _, o := range x.wanted("trigger") {
		want[strings.ToLower(o.Name)] = x.s.key(place{x.s.Live, o.Table})
	}
	var left []liveTrigger
	// The last ones go first: those that a cut leaves still stand in their order,
	// and the others come behind them again.
	for _, t := range slices.Backward(all) {
		p := place{x.s.Live, t.table}
		at := x.stand(p).standing
		home, isWanted := want[strings.ToLower(t.name)]
		if at != onOldShelf && at != onNewShelf && (!isWanted || home == x.s.key(p)) {
			left = append(left, t)
			continue
		}
		if err := x.exec(ctx, "drop trigger "+t.name+" of table "+t.table, "DROP TRIGGER IF EXISTS "+mysql.QuoteName(t.name)); err != nil {
			return err
		}
	}
	slices.Reverse(left)
	if err := x.readNow(ctx); err != nil {
		return err
	}
	var tables []string
	for _, o := range x.wanted("trigger") {
		now, live := x.now[keyOf(o)]
		aliased := slices.ContainsFunc(left, func(t liveTrigger) bool {
			return !strings.EqualFold(t.name, o.Name) && strings.EqualFold(x.s.named(t.name), o.Name)
		})
		if (!live || aliased || !bytes.Equal(now.Statement, o.Statement) && alike(o, now)) && !slices.Contains(tables, o.Table) {
			tables = append(tables, o.Table)
		}
	}
	for _, table := range tables {
		if err := x.nameTable(ctx, table, left); err != nil {
			return err
		}
	}
	return nil
}

// nameTable makes the triggers of a table anew, in their order.
func (x *exchange) nameTable(ctx context.Context, table string, all []liveTrigger) (err error) {
	var todo []Object
	var temps []string
	own := map[objectKey]bool{} // those that have their names
	for _, t := range all {
		if x.s.fold(t.table) != x.s.fold(table) {
			continue
		}
		o, known := x.now[objectKey{"trigger", strings.ToLower(x.s.named(t.name))}]
		if !known {
			return nil // one that cannot be made again
		}
		for _, w := range x.wanted("trigger") {
			if keyOf(w) == keyOf(o) && alike(w, o) {
				o = w
			}
		}
		if ok, err := x.mayDefine(ctx, o); err != nil || !ok {
			return err // it would lose its definer for the sake of a word
		}
		if strings.EqualFold(t.name, o.Name) {
			own[keyOf(o)] = true
		} else {
			temps = append(temps, t.name)
		}
		if !slices.ContainsFunc(todo, func(p Object) bool { return keyOf(p) == keyOf(o) }) {
			todo = append(todo, o)
		}
	}
	for _, w := range x.wanted("trigger") { // that an earlier try dropped
		if !slices.ContainsFunc(todo, func(o Object) bool { return keyOf(o) == keyOf(w) }) && x.s.fold(w.Table) == x.s.fold(table) {
			todo = append(todo, w)
		}
	}
	// A try that was cut short has turned their order.
	wanted := x.wanted("trigger")
	rank := func(o Object) int {
		return slices.IndexFunc(wanted, func(w Object) bool { return keyOf(w) == keyOf(o) })
	}
	slices.SortStableFunc(todo, func(a, b Object) int { return rank(a) - rank(b) })
	if err := x.exec(ctx, "lock table "+table, "LOCK TABLES "+mysql.QuoteName(table)+" WRITE"); err != nil {
		return err
	}
	defer func() {
		_, unlockErr := x.control.Exec(ctx, "UNLOCK TABLES")
		err = errors.Join(err, unlockErr)
	}()
	// Each goes behind those of its kind: after all of them the order is right.
	// Where a server can, each is made in place of itself, so that a kill leaves
	// users none missing.
	for _, o := range todo {
		statement := o.Statement
		if rest, ok := bytes.CutPrefix(statement, []byte("CREATE ")); own[keyOf(o)] && ok && x.server.MariaDB() {
			statement = append([]byte("CREATE OR REPLACE "), rest...)
		} else if own[keyOf(o)] {
			if err := x.exec(ctx, "drop trigger "+o.Name, "DROP TRIGGER IF EXISTS "+mysql.QuoteName(o.Name)); err != nil {
				return err
			}
		}
		if err := x.create(ctx, o, statement); err != nil {
			return err
		}
	}
	for _, name := range temps {
		if err := x.exec(ctx, "drop trigger "+name, "DROP TRIGGER IF EXISTS "+mysql.QuoteName(name)); err != nil {
			return err
		}
	}
	return nil
}

// mayDefine says whether the account may make an object with its definer.
func (x *exchange) mayDefine(ctx context.Context, o Object) (bool, error) {
	return probe.Definer(ctx, x.control, x.s.Run, o.Definer)
}
