package shadow

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/references"
)

// foreignKey is one that the server has now.
type foreignKey struct {
	child, parent    place
	name             string
	columns, targets []string
	onUpdate         string
	onDelete         string
}

// clause returns the key's text, leading to a table called parent.
func (f foreignKey) clause(parent place) string {
	to := mysql.QuoteName(parent.name)
	if parent.schema != f.child.schema {
		to = parent.String()
	}
	text := "FOREIGN KEY (" + mysql.QuoteNames(f.columns) + ") REFERENCES " + to + " (" + mysql.QuoteNames(f.targets) + ")"
	// What a server does when nothing is said it does not print, and each has
	// its own word for it.
	if f.onDelete != "" {
		text += " ON DELETE " + f.onDelete
	}
	if f.onUpdate != "" {
		text += " ON UPDATE " + f.onUpdate
	}
	return text
}

// foreignKeys reads the foreign keys of tables in some databases, and where
// everywhere is set those of all others that lead into them.
func (l *look) foreignKeys(ctx context.Context, schemas []string, everywhere bool) ([]foreignKey, error) {
	found, err := references.Read(ctx, l.control, l.server, schemas, everywhere)
	keys := make([]foreignKey, len(found))
	for i, k := range found {
		keys[i] = foreignKey{place{k.Schema, k.Table}, place{k.ToSchema, k.ToTable}, k.Name, k.Columns, k.Targets, k.OnUpdate, k.OnDelete}
	}
	return keys, err
}

// straighten has foreign keys lead where they should after tables changed
// places: what is live leads to what is live, what is shelved leads to nothing
// but its own shelf. Keys follow a table that is renamed, so those of tables
// that stayed lead to a shelf now, and those of shelved tables to live ones.
func (l *look) straighten(ctx context.Context, arriving side, save func() error) error {
	s := l.s
	keys, err := l.foreignKeys(ctx, append(s.schemas(), s.Abroad...), false)
	if err != nil {
		return err
	}
	var away []Link // of shelved tables
	drop := map[place][]string{}
	present := map[Link]bool{} // without clauses
	for _, f := range keys {
		child, parent := l.stand(f.child), l.stand(f.parent)
		goal := f.parent
		if parent.table != nil {
			goal = s.live(parent.table)
		}
		present[Link{Schema: f.child.schema, Table: s.fold(f.child.name), Name: f.name}] = true
		shelf := child.standing == onOldShelf || child.standing == onNewShelf
		switch {
		case shelf && parent.standing != child.standing:
			x := child.standing == onNewShelf
			away = append(away, Link{Schema: f.child.schema, Table: f.child.name, Name: f.name})
			name := f.name
			if number, ok := strings.CutPrefix(name, f.child.name+foreignInfix); ok {
				name = child.table.Name + foreignInfix + number // the rename to the shelf changed it
			}
			f.child.schema = s.Live // where it is when the clause is read again
			link := Link{Schema: s.Live, Table: child.table.Name, Name: name, Clause: f.clause(goal)}
			if links := &s.of(side(x)).Links; !slices.ContainsFunc(*links, link.same) {
				*links = append(*links, link)
			}
			if err := l.noteKeys(ctx, place{away[len(away)-1].Schema, away[len(away)-1].Table}, s.live(child.table), side(x)); err != nil {
				return err
			}
		case !shelf && (parent.standing == onOldShelf || parent.standing == onNewShelf):
			link := Link{Schema: f.child.schema, Table: f.child.name, Name: f.name, Clause: f.clause(goal)}
			if !slices.ContainsFunc(s.Moves, link.same) {
				s.Moves = append(s.Moves, link)
			}
			drop[f.child] = append(drop[f.child], f.name)
			present[Link{Schema: f.child.schema, Table: s.fold(f.child.name), Name: f.name}] = false
			if child.standing == elsewhere {
				if err := l.noteKeys(ctx, f.child, f.child, arriving); err != nil {
					return err
				}
			}
		}
	}
	if len(away)+len(s.Moves) > 0 {
		if err := save(); err != nil {
			return err
		}
	}
	for _, a := range away {
		p := place{a.Schema, a.Table}
		drop[p] = append(drop[p], a.Name)
	}
	for p, names := range drop {
		if err := l.dropLinks(ctx, p, names); err != nil {
			return err
		}
	}
	add := map[place][]Link{}
	for _, link := range slices.Concat(s.Moves, s.of(arriving).Links) {
		p := place{link.Schema, link.Table}
		if kind, ok := l.at(p); ok && kind != "table" || !ok && slices.Contains(s.schemas(), link.Schema) {
			continue // the table is gone, by somebody else's hand
		}
		id := Link{Schema: link.Schema, Table: s.fold(link.Table), Name: link.Name}
		if !present[id] {
			add[p] = append(add[p], link)
		}
		present[id] = true
	}
	var names []string
	for _, links := range add {
		for _, link := range links {
			if link.Schema == s.Live {
				names = append(names, link.Name)
			}
		}
	}
	if len(names) > 0 {
		left := slices.DeleteFunc(keys, func(f foreignKey) bool { return slices.Contains(drop[f.child], f.name) })
		if _, err := l.freeNames(ctx, left, names, arriving, save); err != nil {
			return err
		}
	}
	for p, links := range add {
		if err := l.addLinks(ctx, p, links); err != nil {
			return err
		}
	}
	return nil
}

// same says whether both are the same key of the same table.
func (k Link) same(o Link) bool {
	return k.Schema == o.Schema && k.Table == o.Table && k.Name == o.Name
}

func (l *look) dropLinks(ctx context.Context, p place, names []string) error {
	parts := make([]string, len(names))
	for i, n := range names {
		parts[i] = "DROP FOREIGN KEY " + mysql.QuoteName(n)
	}
	return l.exec(ctx, "take foreign keys off table "+p.name, "ALTER TABLE "+p.String()+" "+commas(parts))
}

func (l *look) addLinks(ctx context.Context, p place, links []Link) error {
	parts := make([]string, len(links))
	for i, k := range links {
		parts[i] = "ADD CONSTRAINT " + mysql.QuoteName(k.Name) + " " + k.Clause
	}
	return l.exec(ctx, "give table "+p.name+" its foreign keys", "ALTER TABLE "+p.String()+" "+commas(parts))
}

// strays describes the foreign keys that lead from or to a shelf and should not.
func (l *look) strays(keys []foreignKey) []string {
	var out []string
	for _, f := range keys {
		child, parent := l.stand(f.child), l.stand(f.parent)
		shelf := func(s standing) bool { return s == onOldShelf || s == onNewShelf }
		if (shelf(child.standing) || shelf(parent.standing)) && child.standing != parent.standing {
			out = append(out, fmt.Sprintf("%s of %s leads to %s", f.name, f.child, f.parent))
		}
	}
	return out
}
