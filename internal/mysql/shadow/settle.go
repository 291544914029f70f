package shadow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/ddl"
)

// Settle does what may wait until users are back, after a Switch and after a
// Revert: it gives the live tables' constraints and triggers the names and
// words that they have in the backup, or had before, and looks for rows whose
// foreign keys lead nowhere now. It may be called again. What it could not do
// is a warning; the database works without. save is as in Switch.
func (s *Shadow) Settle(ctx context.Context, config mysql.Config, save func() error) (_ []core.Warning, err error) {
	l, err := s.open(ctx, config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.alone(ctx); err != nil {
		return nil, err
	}
	state := s.standing(l)
	if s.Doing == "" && s.Switched {
		if err := l.lacks(old); err != nil {
			return nil, err
		}
	}
	if s.Doing != "" || state == StateMixed {
		return nil, &core.Error{Code: core.CodeFailed, Op: "settle the database", Message: "a switch of the database was cut short", Hint: "finish it first: backstay restore --resume, or backstay undo"}
	}
	x := &exchange{look: l, to: side(state == StateNew), save: save}
	if err := x.nameConstraints(ctx); err != nil {
		return nil, err
	}
	if err := x.mendKeys(ctx); err != nil {
		return nil, err
	}
	if err := x.nameTriggers(ctx); err != nil {
		return nil, err
	}
	return x.warnings, x.findOrphans(ctx)
}

// nameConstraints gives the live tables' constraints their own names. Where a
// shelved table has such a name, that one's gets a temporary one first.
func (x *exchange) nameConstraints(ctx context.Context) error {
	s := x.s
	mine := s.of(x.to)
	if len(mine.Names) == 0 {
		return nil
	}
	keys, err := x.foreignKeys(ctx, []string{s.Live}, false)
	if err != nil {
		return err
	}
	var names []string
	for _, c := range mine.Names {
		if c.Kind == "FOREIGN KEY" {
			names = append(names, c.Name)
		}
	}
	byName, err := x.freeNames(ctx, keys, names, x.to, x.save)
	if err != nil {
		return err
	}
	for _, c := range mine.Names {
		if c.Kind == "CHECK" {
			if err := x.nameCheck(ctx, c); err != nil {
				return err
			}
			continue
		}
		f, ok := byName[strings.ToLower(c.Temp)]
		if !ok {
			continue // it has its name
		}
		if other, taken := byName[strings.ToLower(c.Name)]; taken {
			x.warnings = append(x.warnings, core.Warning{
				Code: "constraint", Object: "table " + c.Table,
				Message: fmt.Sprintf("its foreign key %s is called %s, because table %s has one of that name", c.Name, c.Temp, other.child.name),
			})
			continue
		}
		if err := x.renameKey(ctx, f, c.Name); err != nil {
			return err
		}
	}
	return nil
}

// freeNames gives foreign keys of the live database that have one of some
// names, and lie on the shelf of the side that is not arriving, temporary names.
// It returns what then has a name, by its lower-case form: these names are
// compared in any case.
func (l *look) freeNames(ctx context.Context, keys []foreignKey, names []string, arriving side, save func() error) (map[string]foreignKey, error) {
	s := l.s
	others := s.of(!arriving)
	byName := map[string]foreignKey{}
	for _, f := range keys {
		if f.child.schema == s.Live {
			byName[strings.ToLower(f.name)] = f
		}
	}
	known := func(table string, f foreignKey) func(Constraint) bool {
		return func(o Constraint) bool {
			return o.Table == table && o.Kind == "FOREIGN KEY" && o.Name == f.name
		}
	}
	changed := false
	var todo []foreignKey
	for _, name := range names { // all at once, so that the journal is written once
		f, taken := byName[strings.ToLower(name)]
		at := l.stand(f.child)
		if !taken || at.standing != shelfOf(!arriving) {
			continue
		}
		todo = append(todo, f)
		if !slices.ContainsFunc(others.Names, known(at.table.Name, f)) {
			others.Names = append(others.Names, Constraint{Table: at.table.Name, Kind: "FOREIGN KEY", Name: f.name, Temp: s.temp()})
			changed = true
		}
	}
	if changed {
		if err := save(); err != nil {
			return nil, err
		}
	}
	for _, f := range todo {
		i := slices.IndexFunc(others.Names, known(l.stand(f.child).table.Name, f))
		if err := l.renameKey(ctx, f, others.Names[i].Temp); err != nil {
			return nil, err
		}
		delete(byName, strings.ToLower(f.name))
	}
	return byName, nil
}

// renameKey gives a foreign key another name, without a moment in which there
// is none.
func (l *look) renameKey(ctx context.Context, f foreignKey, name string) error {
	return l.exec(ctx, "name foreign key "+name+" of table "+f.child.name, "ALTER TABLE "+f.child.String()+" DROP FOREIGN KEY "+mysql.QuoteName(f.name)+", ADD CONSTRAINT "+mysql.QuoteName(name)+" "+f.clause(f.parent))
}

// copyLimit is how large a table may be, in bytes, that is copied for the name
// of a CHECK. MySQL copies it while writers wait.
const copyLimit = 64 << 20

// nameCheck gives a CHECK of MySQL its own name.
func (x *exchange) nameCheck(ctx context.Context, c Constraint) error {
	rows, err := x.control.Query(ctx, "SELECT TABLE_NAME, CONSTRAINT_NAME FROM information_schema.TABLE_CONSTRAINTS WHERE CONSTRAINT_TYPE='CHECK' AND CONSTRAINT_SCHEMA="+
		mysql.QuoteText(x.s.Live)+" AND CONSTRAINT_NAME IN ("+quoteTexts([]string{c.Name, c.Temp})+")")
	if err != nil {
		return fmt.Errorf("find CHECK %s: %w", c.Name, err)
	}
	waits, holder := false, ""
	for _, r := range rows {
		if r[1].Text == c.Temp {
			waits = true
		} else {
			holder = r[0].Text
		}
	}
	if !waits {
		return nil
	}
	t := x.s.table(c.Table)
	size, err := x.control.Query(ctx, "SELECT COALESCE(MAX(DATA_LENGTH+INDEX_LENGTH),0) FROM information_schema.TABLES WHERE TABLE_SCHEMA="+mysql.QuoteText(x.s.Live)+" AND TABLE_NAME IN ("+quoteTexts([]string{c.Table, holder})+")")
	if err != nil {
		return fmt.Errorf("size of table %s: %w", c.Table, err)
	}
	n, err := strconv.ParseInt(size[0][0].Text, 10, 64)
	if err != nil {
		return fmt.Errorf("size of table %s: %w", c.Table, err)
	}
	rename := func(table, from, to, clause string) string {
		return "ALTER TABLE " + mysql.QuoteName(table) + " DROP CHECK " + mysql.QuoteName(from) + ", ADD CONSTRAINT " + mysql.QuoteName(to) + " " + clause
	}
	held := x.stand(place{x.s.Live, holder})
	if n > copyLimit || holder != "" && held.standing != shelfOf(!x.to) || t == nil {
		x.warnings = append(x.warnings, core.Warning{
			Code: "constraint", Object: "table " + c.Table,
			Message: fmt.Sprintf("its CHECK %s is called %s; to rename it MySQL would copy the table, or another table has one of that name (when that is gone: %s)", c.Name, c.Temp, rename(c.Table, c.Temp, c.Name, c.Clause)),
		})
		return nil
	}
	if holder != "" {
		clause, err := x.checkClause(ctx, place{x.s.Live, holder}, c.Name)
		if err != nil {
			return err
		}
		others := x.s.of(!x.to)
		i := slices.IndexFunc(others.Names, func(o Constraint) bool { return o.Kind == "CHECK" && o.Table == held.table.Name && o.Name == c.Name })
		if i < 0 {
			i = len(others.Names)
			others.Names = append(others.Names, Constraint{Table: held.table.Name, Kind: "CHECK", Name: c.Name, Temp: x.s.temp(), Clause: clause})
			if err := x.save(); err != nil {
				return err
			}
		}
		if err := x.exec(ctx, "name CHECK "+c.Name+" of table "+holder, rename(holder, c.Name, others.Names[i].Temp, clause)); err != nil {
			return err
		}
	}
	return x.exec(ctx, "name CHECK "+c.Name+" of table "+c.Table, rename(c.Table, c.Temp, c.Name, c.Clause))
}

// checkClause reads a CHECK as the server prints it.
func (x *exchange) checkClause(ctx context.Context, p place, name string) (string, error) {
	printed, err := x.showCreate(ctx, p)
	if err != nil {
		return "", err
	}
	_, items, _, _ := ddl.Split(printed)
	for _, item := range items {
		if n, body, ok := ddl.CutConstraint(item); ok && n == name {
			return body, nil
		}
	}
	return "", fmt.Errorf("table %s: its CHECK %s is not in its definition", p.name, name)
}

// orphansShown is how many rows are counted at most.
const orphansShown = 1000

// findOrphans warns of live rows that lead nowhere, in tables whose other end
// changed places without them.
func (x *exchange) findOrphans(ctx context.Context) error {
	if x.to == old {
		return nil
	}
	keys, err := x.foreignKeys(ctx, append([]string{x.s.Live}, x.s.Abroad...), false)
	if err != nil {
		return err
	}
	for _, f := range keys {
		child, parent := x.stand(f.child), x.stand(f.parent)
		// The rows of two tables of the backup are as they were at its origin.
		if (child.standing == isLive) == (parent.standing == isLive) {
			continue
		}
		n, err := x.orphans(ctx, f)
		if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		count := strconv.Itoa(n)
		if n > orphansShown {
			count = fmt.Sprintf("more than %d", orphansShown)
		}
		x.warnings = append(x.warnings, core.Warning{
			Code: "orphans", Object: "table " + f.child.name,
			Message: fmt.Sprintf("%s rows of it lead by %s (%s) to rows of table %s that are not there", count, f.name, commas(f.columns), f.parent.name),
		})
	}
	return nil
}

func (x *exchange) orphans(ctx context.Context, f foreignKey) (int, error) {
	if _, there := x.at(f.parent); !there && slices.Contains(x.s.schemas(), f.parent.schema) {
		return 0, nil
	}
	var on, given []string
	for i, c := range f.columns {
		on = append(on, "c."+mysql.QuoteName(c)+" = p."+mysql.QuoteName(f.targets[i]))
		given = append(given, "c."+mysql.QuoteName(c)+" IS NOT NULL")
	}
	rows, err := x.control.Query(ctx, fmt.Sprintf("SELECT COUNT(*) FROM (SELECT 1 FROM %s c WHERE %s AND NOT EXISTS (SELECT 1 FROM %s p WHERE %s) LIMIT %d) o",
		f.child, strings.Join(given, " AND "), f.parent, strings.Join(on, " AND "), orphansShown+1))
	if mysql.AccessDenied(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look for rows of %s that lead nowhere: %w", f.child, err)
	}
	return strconv.Atoi(rows[0][0].Text)
}
