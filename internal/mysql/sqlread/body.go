package sqlread

import (
	"slices"
	"unicode/utf8"

	"github.com/backstay/backstay/internal/mysql/sqlread/lexer"
)

// body looks through what a view, trigger, event or routine does. loading says
// that it may run, or be looked at, while rows are loaded.
func (g *grammar) body(loading bool) error {
	st, compound, several := g.st, false, false
	depth := 0
	for ; !g.end(); g.i++ {
		p := g.peek(0)
		switch {
		case p.kind == lexer.Mark:
			switch p.text {
			case "(":
				if depth++; depth > maxDepth {
					return lexer.Refuse("more parentheses within each other than any statement has")
				}
			case ")":
				depth--
			case ";":
				several = several || g.i+1 < len(g.pieces)
			case ".":
				if q := g.peek(-1); q.kind != lexer.Number && !g.is(-2, ".") {
					if err := g.qualify(q); err != nil {
						return err
					}
				}
			}
		case p.kind != lexer.Word:
		case g.is(-1, ".") && g.peek(-2).kind != lexer.Number || g.is(-1, "@"):
			if p.upper == "GLOBAL" && g.is(-2, "@") {
				st.reach("@@GLOBAL")
			}
		case p.upper == "BEGIN", p.upper == "IF", p.upper == "LOOP", p.upper == "WHILE", p.upper == "REPEAT", p.upper == "CASE", p.upper == "FOR", p.upper == "IS", p.upper == "AS":
			compound = true
		default:
			g.reaches(p)
		}
	}
	if st.Object == ObjectView && several || several && !compound {
		return lexer.Refuse("more than one statement")
	}
	if loading && len(st.Reaches) > 0 {
		return &lexer.Refusal{
			Message: "a " + string(st.Object) + " that reaches beyond the database (" + st.Reaches[0] + ")",
			Hint:    "dump without it, and make it by hand after the restore",
		}
	}
	return nil
}

// reaches notes a word of a body that stands for something beyond the database.
func (g *grammar) reaches(p *piece) {
	next := g.peek(1).upper
	switch p.upper {
	case "SONAME", "OUTFILE", "DUMPFILE":
		g.st.reach(p.upper)
	case "LOAD_FILE", "SLEEP", "BENCHMARK", "SYS_EXEC", "SYS_EVAL", "GET_LOCK":
		if g.is(1, "(") {
			g.st.reach(p.upper)
		}
	case "LOAD":
		if next == "DATA" || next == "XML" || next == "INDEX" {
			g.st.reach("LOAD " + next)
		}
	case "GLOBAL", "PERSIST", "PERSIST_ONLY":
		if g.is(-1, ",") && g.peek(1).kind != lexer.Mark && (g.is(2, "=") || g.is(2, ":") || g.is(2, ".")) {
			g.st.reach("SET " + p.upper)
		}
	case "PASSWORD":
		if g.is(-1, ",") && next == "FOR" {
			g.st.reach("SET PASSWORD")
		}
	case "DATA", "INDEX":
		if next == "DIRECTORY" {
			g.st.reach(p.upper + " DIRECTORY")
		}
	case "SET":
		if next == "ROLE" && !g.is(2, "=") || next == "DEFAULT" && g.peek(2).upper == "ROLE" {
			g.st.reach("SET ROLE")
		}
		if next == "GLOBAL" || next == "PERSIST" || next == "PERSIST_ONLY" || next == "PASSWORD" {
			g.st.reach("SET " + next)
		}
	case "CREATE", "ALTER", "DROP", "RENAME":
		if next == "OR" {
			next = g.peek(3).upper
		}
		if next == "TABLESPACE" || next == "INSTANCE" || next == "USER" || next == "ROLE" || next == "SERVER" || next == "DATABASE" || next == "SCHEMA" {
			g.st.reach(p.upper + " " + next)
		}
	case "GRANT", "REVOKE", "KILL": // no name without quotes
		g.st.reach(p.upper)
	case "INSTALL", "UNINSTALL", "PURGE", "RESET", "CHANGE", "START", "STOP", "BACKUP", "CLONE":
		if serverParts[next] {
			g.st.reach(p.upper + " " + next)
		}
	case "SHUTDOWN", "RESTART": // where a statement may begin, so no column
		if before := g.peek(-1); (before.kind != lexer.Mark || before.text == ";" || before.text == ")" || before.text == ":" || before.text == ">") && before.upper != "AS" &&
			(g.peek(1).kind != lexer.Mark || g.is(1, ";")) {
			g.st.reach(p.upper)
		}
	}
}

// serverParts are what of a server statements install, start, stop and forget.
var serverParts = wordSet("PLUGIN SONAME COMPONENT BINARY MASTER REPLICATION SLAVE REPLICA PERSIST ALL GROUP_REPLICATION STAGE LOCAL INSTANCE")

func (s *Statement) reach(what string) {
	if !slices.Contains(s.Reaches, what) {
		s.Reaches = append(s.Reaches, what)
	}
}

// maxQualifiers bounds a search that is done for each of them.
const maxQualifiers = 10_000

// qualify notes what stands before a dot, as the server will understand it.
func (g *grammar) qualify(p *piece) error {
	s, name := g.st, g.r.nameOf(p)
	switch {
	case name == "" || s.qualified[name]:
		return nil
	case !utf8.ValidString(name) || !g.r.lex.Mode.ReadsNames() && !lexer.ASCII(name):
		return &lexer.Refusal{Message: "a name that is not understood in the character set " + g.r.lex.Mode.Charset, Hint: "dump with --default-character-set=utf8mb4"}
	case len(s.qualified) >= maxQualifiers:
		return lexer.Refuse("more names with dots than any statement has")
	case s.qualified == nil:
		s.qualified = map[string]bool{}
	}
	s.qualified[name] = true
	s.Qualifiers = append(s.Qualifiers, name)
	return nil
}
