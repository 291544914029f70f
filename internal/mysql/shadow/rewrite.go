package shadow

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/ddl"
)

// Names that servers make for constraints follow a table that is renamed: what
// begins with the table's name and one of these begins with its new name then,
// whatever follows (seen on MariaDB 10.11 and 11.8 and MySQL 9.7, whose CHECKs
// alone have names that are there once in a database).
const (
	foreignInfix = "_ibfk_"
	checkInfix   = "_chk_"
)

const maxName = 64 // characters of an identifier

// rewriter makes statements that build new tables on their shelf.
type rewriter struct {
	s       *Shadow
	mariaDB bool

	mu   sync.Mutex
	done map[string][]byte
}

// once is rewrite; a table that is made twice has the same names both times.
func (r *rewriter) once(name string, statement []byte) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if out, ok := r.done[name]; ok {
		return out, nil
	}
	out, err := r.rewrite(name, statement)
	if err == nil {
		r.done[name] = out
	}
	return out, err
}

// rewrite changes the statement of a table or sequence of the backup.
func (r *rewriter) rewrite(name string, statement []byte) ([]byte, error) {
	t := r.s.table(name)
	if t == nil {
		return nil, fmt.Errorf("the backup's table %s was not planned for", name)
	}
	if t.Kind == "sequence" {
		text := string(statement)
		at := strings.IndexByte(text, '`')
		if at < 0 || !strings.HasPrefix(strings.ToUpper(text), "CREATE ") {
			return nil, errors.New("its statement cannot be read")
		}
		_, after, ok := ddl.CutName(text[at:])
		if !ok {
			return nil, errors.New("its statement cannot be read")
		}
		return []byte(text[:at] + mysql.QuoteName(r.s.shelf(t, newest, false).name) + after), nil
	}
	out, err := r.table(t, string(statement))
	return []byte(out), err
}

func (r *rewriter) table(t *Table, statement string) (string, error) {
	head, items, rest, ok := ddl.Split(statement)
	at := strings.IndexByte(head, '`')
	if !ok || at < 0 || !strings.HasPrefix(strings.ToUpper(head), "CREATE ") {
		return "", errors.New("its definition cannot be read")
	}
	_, after, ok := ddl.CutName(head[at:])
	if !ok {
		return "", errors.New("its definition cannot be read")
	}
	shelf := r.s.shelf(t, newest, false).name
	head = head[:at] + mysql.QuoteName(shelf) + after
	var kept []string
	for _, item := range items {
		item, keep, err := r.item(t, shelf, item)
		if err != nil {
			return "", err
		}
		if keep {
			kept = append(kept, item)
		}
	}
	return head + "(\n  " + strings.Join(kept, ",\n  ") + "\n)" + rest, nil
}

// item rewrites one line of a definition. Foreign keys to tables that do not
// change places are left out and written down: they would have a say in what
// users may do to those tables.
func (r *rewriter) item(t *Table, shelf, item string) (string, bool, error) {
	if strings.HasPrefix(item, "`") {
		mapped := r.sequences(item)
		if mapped != item {
			r.s.Columns = append(r.s.Columns, Column{t.Name, item})
		}
		return mapped, true, nil
	}
	name, body, ok := ddl.CutConstraint(item)
	if !ok {
		return item, true, nil
	}
	switch {
	case strings.HasPrefix(body, "FOREIGN KEY "):
		before, parent, after, ok := ddl.CutReference(body)
		if !ok {
			return "", false, fmt.Errorf("its foreign key %s cannot be read", name)
		}
		to := r.s.table(parent.Name)
		if parent.Schema != "" && r.s.fold(parent.Schema) != r.s.fold(r.s.Live) || to == nil || to.Kind != "table" {
			r.s.Will.Links = append(r.s.Will.Links, Link{Schema: r.s.Live, Table: t.Name, Name: name, Clause: body})
			return "", false, nil
		}
		if r.s.Mode == ModeNames {
			body = before + mysql.QuoteName(to.New) + after
		}
		if name == "" || r.s.Mode == ModeDatabase {
			break
		}
		return "CONSTRAINT " + mysql.QuoteName(r.called(t, shelf, "FOREIGN KEY", foreignInfix, name, "")) + " " + body, true, nil
	case strings.HasPrefix(body, "CHECK ") && !r.mariaDB && r.s.Mode == ModeNames && name != "":
		return "CONSTRAINT " + mysql.QuoteName(r.called(t, shelf, "CHECK", checkInfix, name, body)) + " " + body, true, nil
	}
	if name != "" {
		return "CONSTRAINT " + mysql.QuoteName(name) + " " + body, true, nil
	}
	return body, true, nil
}

// called returns how a constraint is called while its table is on the shelf:
// so that the rename gives it its own name, or by a temporary one.
func (r *rewriter) called(t *Table, shelf, kind, infix, name, clause string) string {
	if number, ok := strings.CutPrefix(name, t.Name+infix); ok {
		if shelved := shelf + infix + number; len([]rune(shelved)) <= maxName {
			return shelved
		}
	}
	temp := r.s.temp()
	r.s.Will.Names = append(r.s.Will.Names, Constraint{Table: t.Name, Kind: kind, Name: name, Temp: temp, Clause: clause})
	return temp
}

// temp gives out a temporary name.
func (s *Shadow) temp() string {
	s.Temps++
	return mysql.ReservedName(s.Run, fmt.Sprintf("c%04d", s.Temps))
}

// sequences has a column's default take numbers from new sequences, since the
// server refuses a default whose sequence is not there.
func (r *rewriter) sequences(item string) string {
	if r.s.Mode != ModeNames {
		return item
	}
	return ddl.MapSequences(item, func(p ddl.Qualified) (string, bool) {
		t := r.s.table(p.Name)
		if p.Schema != "" && r.s.fold(p.Schema) != r.s.fold(r.s.Live) || t == nil || t.Kind != "sequence" {
			return "", false
		}
		return mysql.QuoteName(t.New), true
	})
}

var nextID = regexp.MustCompile(` AUTO_INCREMENT=\d+`)

// canonical returns a table's definition, printed at any place, as it reads
// when the table is live and its constraints have their names: without the
// foreign keys that it has while it is live only, and without the next
// AUTO_INCREMENT value. ok is false when it cannot be read.
func (s *Shadow) canonical(t *Table, printed string, places map[place]stand, mariaDB bool) (string, bool) {
	head, items, rest, ok := ddl.Split(printed)
	if !ok {
		return "", false
	}
	at := strings.IndexByte(head, '`')
	if at < 0 {
		return "", false
	}
	shown, after, ok := ddl.CutName(head[at:])
	if !ok {
		return "", false
	}
	head = head[:at] + mysql.QuoteName(t.Name) + after
	named := func(kind, infix, name string) string {
		for _, c := range s.Will.Names {
			if c.Temp == name && c.Kind == kind {
				return c.Name
			}
		}
		if number, generated := strings.CutPrefix(name, shown+infix); generated {
			return t.Name + infix + number
		}
		return name
	}
	standOf := func(q ddl.Qualified) stand {
		p := place{q.Schema, q.Name}
		if p.schema == "" {
			p.schema = s.Live
			if found := places[s.key(p)]; found.table != nil || s.Mode == ModeNames {
				return found
			}
			p.schema = s.New
		}
		return places[s.key(p)]
	}
	var columns, constraints []string
	for _, item := range items {
		name, body, isConstraint := ddl.CutConstraint(item)
		switch {
		case strings.HasPrefix(item, "`"):
			columns = append(columns, ddl.MapSequences(item, func(p ddl.Qualified) (string, bool) {
				if found := standOf(p); found.table != nil {
					return mysql.QuoteName(s.Live) + "." + mysql.QuoteName(found.table.Name), true
				}
				return "", false
			}))
		case isConstraint && strings.HasPrefix(body, "FOREIGN KEY "):
			before, parent, after, ok := ddl.CutReference(body)
			if !ok {
				return "", false
			}
			found := standOf(parent)
			if found.table == nil || found.table.Kind != "table" {
				continue
			}
			constraints = append(constraints, "CONSTRAINT "+mysql.QuoteName(named("FOREIGN KEY", foreignInfix, name))+" "+before+mysql.QuoteName(found.table.Name)+after)
		case isConstraint && strings.HasPrefix(body, "CHECK ") && !mariaDB:
			constraints = append(constraints, "CONSTRAINT "+mysql.QuoteName(named("CHECK", checkInfix, name))+" "+body)
		case isConstraint:
			constraints = append(constraints, item)
		default:
			columns = append(columns, item)
		}
	}
	slices.Sort(constraints) // servers print them by name
	return head + "(\n  " + strings.Join(append(columns, constraints...), ",\n  ") + "\n)" + nextID.ReplaceAllString(rest, ""), true
}
