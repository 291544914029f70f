package shadow

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/backstay/backstay/internal/core"
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
		if at < 0 || !hasPrefixFold(text, "CREATE ") {
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
	if !ok || at < 0 || !hasPrefixFold(head, "CREATE ") {
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
	name, body, ok := cutConstraint(item)
	if !ok {
		return item, true, nil
	}
	switch {
	case strings.HasPrefix(body, "FOREIGN KEY "):
		before, parent, after, ok := cutReference(body)
		if !ok {
			return "", false, fmt.Errorf("its foreign key %s cannot be read", name)
		}
		to := r.s.table(parent.name)
		if parent.schema != "" && r.s.fold(parent.schema) != r.s.fold(r.s.Live) || to == nil || to.Kind != "table" {
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

var sequenceCall = regexp.MustCompile("(?i)\\b(?:nextval|lastval|setval)\\($")

// sequences has a column's default take numbers from new sequences, since the
// server refuses a default whose sequence is not there.
func (r *rewriter) sequences(item string) string {
	if r.s.Mode != ModeNames {
		return item
	}
	return mapSequences(item, func(p place) (string, bool) {
		t := r.s.table(p.name)
		if p.schema != "" && r.s.fold(p.schema) != r.s.fold(r.s.Live) || t == nil || t.Kind != "sequence" {
			return "", false
		}
		return mysql.QuoteName(t.New), true
	})
}

// mapSequences replaces the names of sequences that expressions call.
func mapSequences(text string, other func(place) (string, bool)) string {
	var out strings.Builder
	from := 0
	for i := 0; i < len(text); {
		if strings.IndexByte("`'\"", text[i]) < 0 {
			i++
			continue
		}
		n := ddl.QuotedLength(text[i:])
		if n < 0 {
			break
		}
		if text[i] == '`' && sequenceCall.MatchString(text[:i]) {
			p, after, ok := cutPlace(text[i:])
			n = len(text) - i - len(after)
			if replacement, replace := other(p); ok && replace {
				out.WriteString(text[from:i] + replacement)
				from = i + n
			}
		}
		i += n
	}
	return out.String() + text[from:]
}

// cutPlace reads a quoted name, or two with a dot between them.
func cutPlace(text string) (p place, after string, ok bool) {
	p.name, after, ok = ddl.CutName(text)
	if !ok || !strings.HasPrefix(after, ".`") {
		return p, after, ok
	}
	p.schema = p.name
	p.name, after, ok = ddl.CutName(after[1:])
	return p, after, ok
}

// cutConstraint reads "CONSTRAINT `name` body", or a body that begins with
// FOREIGN KEY or CHECK. ok is false for any other line.
func cutConstraint(item string) (name, body string, ok bool) {
	if rest, named := strings.CutPrefix(item, "CONSTRAINT "); named {
		if name, rest, ok = ddl.CutName(rest); !ok {
			return "", "", false
		}
		return name, strings.TrimPrefix(rest, " "), true
	}
	return "", item, strings.HasPrefix(item, "FOREIGN KEY ") || strings.HasPrefix(item, "CHECK ")
}

// cutReference reads the table that a foreign key leads to.
func cutReference(body string) (before string, parent place, after string, ok bool) {
	const word = "REFERENCES "
	for i := 0; i < len(body); {
		if strings.IndexByte("`'\"", body[i]) >= 0 {
			n := ddl.QuotedLength(body[i:])
			if n < 0 {
				return "", place{}, "", false
			}
			i += n
			continue
		}
		if strings.HasPrefix(body[i:], word) {
			i += len(word)
			parent, after, ok = cutPlace(body[i:])
			return body[:i], parent, after, ok
		}
		i++
	}
	return "", place{}, "", false
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
	standOf := func(p place) stand {
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
		name, body, isConstraint := cutConstraint(item)
		switch {
		case strings.HasPrefix(item, "`"):
			columns = append(columns, mapSequences(item, func(p place) (string, bool) {
				if found := standOf(p); found.table != nil {
					return mysql.QuoteName(s.Live) + "." + mysql.QuoteName(found.table.Name), true
				}
				return "", false
			}))
		case isConstraint && strings.HasPrefix(body, "FOREIGN KEY "):
			before, parent, after, ok := cutReference(body)
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

// onTable returns a trigger's statement for its table under another name. ok is
// false when the statement cannot be read byte by byte, and when a rename would
// spoil it: MariaDB writes the table's name into it in UTF-8, whatever
// character set it is in (seen on 10.11 and 11.8).
func onTable(o core.SchemaObject, statement []byte, table string) (string, bool) {
	text := string(statement)
	if ddl.TrailsInASCII(o.Charset) || !isASCII(o.Table) && !strings.HasPrefix(o.Charset, "utf8") {
		return "", false
	}
	quotes, backslash := "`'\"", !strings.Contains(o.SQLMode, "NO_BACKSLASH_ESCAPES")
	for i := 0; i < len(text); {
		switch {
		case strings.IndexByte(quotes, text[i]) >= 0:
			i += quotedLength(text[i:], backslash)
		case strings.HasPrefix(text[i:], "/*"):
			end := strings.Index(text[i+2:], "*/")
			if end < 0 {
				return "", false
			}
			i += end + 4
		case strings.HasPrefix(text[i:], "-- "), text[i] == '#':
			end := strings.IndexByte(text[i:], '\n')
			if end < 0 {
				return "", false
			}
			i += end + 1
		case !wordByte(text[i]):
			i++
		default:
			n := 1
			for i+n < len(text) && wordByte(text[i+n]) {
				n++
			}
			if !strings.EqualFold(text[i:i+n], "ON") {
				i += n
				continue
			}
			start := skipSpace(text, i+n)
			end, ok := skipName(text, start, backslash)
			if !ok {
				return "", false
			}
			if dot := skipSpace(text, end); dot < len(text) && text[dot] == '.' {
				if end, ok = skipName(text, skipSpace(text, dot+1), backslash); !ok {
					return "", false
				}
			}
			// A name that was not quoted may have ended without a space.
			return text[:i] + "ON " + mysql.QuoteName(table) + " " + text[skipSpace(text, end):], true
		}
	}
	return "", false
}

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r >= 0x80 })
}

func wordByte(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func skipSpace(text string, i int) int {
	for i < len(text) && strings.IndexByte(" \t\r\n\v\f", text[i]) >= 0 {
		i++
	}
	return i
}

func skipName(text string, i int, backslash bool) (int, bool) {
	if i >= len(text) {
		return 0, false
	}
	if text[i] == '`' || text[i] == '"' {
		return i + quotedLength(text[i:], backslash && text[i] != '"'), true
	}
	start := i
	for i < len(text) && wordByte(text[i]) {
		i++
	}
	return i, i > start
}

// quotedLength is ddl.QuotedLength where backslashes may mean themselves.
func quotedLength(text string, backslash bool) int {
	quote := text[0]
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quote != '`' && backslash:
			i++
		case text[i] == quote && i+1 < len(text) && text[i+1] == quote:
			i++
		case text[i] == quote:
			return i + 1
		}
	}
	return len(text)
}
