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
	behindTables = wordSet("WHERE GROUP ORDER HAVING LIMIT SET VALUES VALUE UNION EXCEPT INTERSECT DO THEN BEGIN RETURN WHEN ELSE WINDOW")
)

func wordSet(words string) map[string]bool {
	set := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		set[w] = true
	}
	return set
}

// databases lists the databases that a statement names. A name before a
// dot is one where a table or a routine is named; elsewhere it may be the
// alias of a table, and then that stands somewhere without a dot.
func databases(pieces []piece) (found []string) {
	alone := map[string]bool{"new": true, "old": true}
	for i := range pieces {
		if name := nameOf(&pieces[i]); name != "" && (i+1 == len(pieces) || pieces[i+1].text != ".") {
			alone[strings.ToLower(name)] = true
		}
	}
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
		case name != "" && p.kind != lexer.Number && mark(i+1, ".") && !mark(i-1, ".") && !mark(i-1, "@"):
			three, call := mark(i+3, "."), mark(i+3, "(")
			if at.tables || three || call || !alone[strings.ToLower(name)] {
				found = append(found, name)
			}
			at.among, at.tables = at.among || at.tables, false
			i += 2 // what stands behind the dot is no word of the language
		case p.kind == lexer.Word && (mark(i-1, "@") || mark(i+1, "(") && beforeTable[p.upper] && p.upper != "FROM" && p.upper != "USING" && p.upper != "JOIN"):
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
