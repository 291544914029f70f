package sqlread

import (
	"strings"

	"github.com/backstay/backstay/internal/mysql/sqlread/lexer"
)

// clause is where in a statement a piece stands.
type clause struct {
	tables bool // a table is named next
	among  bool // behind one, in a list of tables
	query  bool // at this depth there was a SELECT: FROM is a clause, and not part of a function
}

// Words after which a table, or a routine, is named, those that stand between
// them and the name, and those that end a list of tables.
var (
	beforeTable  = wordSet("FROM JOIN STRAIGHT_JOIN UPDATE INTO CALL TABLE TABLES TRUNCATE USING HANDLER REFERENCES INSERT REPLACE DELETE")
	besideTable  = wordSet("IGNORE LOW_PRIORITY DELAYED HIGH_PRIORITY QUICK LATERAL ONLY IF NOT EXISTS LOCAL TEMPORARY")
	behindTables = wordSet("WHERE GROUP ORDER HAVING LIMIT SET VALUES UNION THEN RETURN WHEN ELSE")
)

func wordSet(words string) map[string]bool {
	set := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		set[w] = true
	}
	return set
}

// databases lists the databases that a statement names: what stands before a
// dot, unless it is a table or an alias that a list of tables of the same
// statement names without one, and the dot is not itself in such a list.
func (r *Reader) databases(pieces []piece, anyCase bool) (found []string) {
	nameOf, noted := r.nameOf, map[string]bool{}
	fold := func(name string) string {
		if anyCase {
			return strings.ToLower(name)
		}
		return name
	}
	alone, strict := map[string]bool{}, false
	begin := func(from int) { // of a statement, up to its semicolon
		alone, strict = map[string]bool{}, false
		listed := false
		for i := from; i < len(pieces) && pieces[i].text != ";"; i++ {
			p := &pieces[i]
			listed = listed || p.kind == lexer.Word && beforeTable[p.upper]
			switch name := nameOf(p); {
			case i > 0 && p.kind == lexer.Word && (p.upper == "RENAME" || p.upper == "CREATE" || p.upper == "ALTER" || p.upper == "DROP"):
				strict = true
			case listed && name != "" && (i+1 == len(pieces) || pieces[i+1].text != ".") && pieces[i-1].text != ".":
				alone[fold(name)] = true
			}
		}
	}
	begin(0)
	mark := func(i int, text string) bool {
		return i >= 0 && i < len(pieces) && pieces[i].kind == lexer.Mark && pieces[i].text == text
	}
	stack := []clause{{query: true}}
	for i := 0; i < len(pieces); i++ {
		p, at := &pieces[i], &stack[len(stack)-1]
		name := nameOf(p)
		switch {
		case mark(i, "("):
			stack = append(stack, clause{tables: at.tables})
		case mark(i, ")"):
			if len(stack) > 1 {
				stack = stack[:len(stack)-1]
				at = &stack[len(stack)-1]
				at.among, at.tables = at.among || at.tables, false
			}
		case mark(i, ","):
			at.tables = at.among
		case mark(i, ";"):
			at.tables, at.among = false, false
			begin(i + 1)
		case name != "" && p.kind != lexer.Number && mark(i+1, ".") && !mark(i-1, ".") && !mark(i-1, "@"):
			three, call := mark(i+3, "."), mark(i+3, "(")
			lower := strings.ToLower(name)
			if (at.tables || three || call || strict || !alone[fold(name)] && lower != "new" && lower != "old") && !noted[name] {
				noted[name] = true
				found = append(found, name)
			}
			at.among, at.tables = at.among || at.tables, false
			i += 2 // what stands behind the dot is no word of the language
		case p.kind == lexer.Word && (i > 0 && pieces[i-1].upper == "AS" && p.upper != "SELECT" && !beforeTable[p.upper] || mark(i-1, "@") || mark(i+1, "(") && beforeTable[p.upper] && p.upper != "FROM" && p.upper != "USING" && p.upper != "JOIN"):
		case p.kind == lexer.Word && p.upper == "SELECT":
			*at = clause{query: true}
		case p.kind == lexer.Word && beforeTable[p.upper]:
			at.tables = at.query || p.upper != "FROM" && p.upper != "USING"
			at.among = at.tables
		case p.kind == lexer.Word && behindTables[p.upper]:
			at.tables, at.among = false, false
		case at.tables && name != "" && !besideTable[p.upper]:
			at.tables = false
		}
	}
	return found
}
