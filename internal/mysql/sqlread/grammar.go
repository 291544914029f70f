package sqlread

import (
	"strings"
	"unicode/utf8"

	"github.com/backstay/backstay/internal/mysql/sqlread/lexer"
)

// grammar judges one statement. Its methods move on when they find what they look for.
type grammar struct {
	r      *Reader
	pieces []piece
	i      int
	st     *Statement

	definerFrom, definerTo int // the pieces of DEFINER=…; equal: none
}

// Limits of names, in characters, https://dev.mysql.com/doc/refman/8.4/en/identifier-length.html.
const (
	maxName    = 64
	maxAccount = 80 + 255
)

func (g *grammar) end() bool { return g.i >= len(g.pieces) }

func (g *grammar) peek(n int) *piece {
	if g.i+n >= 0 && g.i+n < len(g.pieces) {
		return &g.pieces[g.i+n]
	}
	return &piece{}
}

// word moves over one of words and returns it, or "".
func (g *grammar) word(words ...string) string {
	if p := g.peek(0); p.kind == lexer.Word {
		for _, w := range words {
			if p.upper == w {
				g.i++
				return w
			}
		}
	}
	return ""
}

// words moves over all words in this order, or over none.
func (g *grammar) words(words ...string) bool {
	for n, w := range words {
		if p := g.peek(n); p.kind != lexer.Word || p.upper != w {
			return false
		}
	}
	g.i += len(words)
	return true
}

func (g *grammar) mark(m string) bool {
	if p := g.peek(0); p.kind == lexer.Mark && p.text == m {
		g.i++
		return true
	}
	return false
}

func (g *grammar) is(n int, m string) bool {
	p := g.peek(n)
	return p.kind == lexer.Mark && p.text == m
}

// name moves over a name.
func (g *grammar) name() (string, error) {
	p := g.peek(0)
	var name string
	switch p.kind {
	case lexer.Name:
		name = lexer.Unquote(p.text, false)
	case lexer.Word, lexer.Number:
		name = p.text
	default:
		return "", lexer.Refuse("a name is missing")
	}
	if name == "" || strings.ContainsRune(name, 0) || utf8.RuneCountInString(name) > maxName {
		return "", lexer.Refuse("a name that no server takes")
	}
	g.i++
	return g.r.lex.Mode.Decode(name), nil
}

// target moves over the name of what the statement is about and leaves out
// the database before it, which has to be the dump's.
func (g *grammar) target() (string, error) {
	from := g.i
	name, err := g.name()
	if err != nil {
		return "", err
	}
	if !g.mark(".") {
		return name, nil
	}
	if err := g.own(name); err != nil {
		return "", err
	}
	g.pieces[from].dropped, g.pieces[from+1].dropped = true, true
	g.st.placed = true
	return g.name()
}

// own refuses another database's name.
func (g *grammar) own(database string) error {
	if database == g.r.database {
		return nil
	}
	return &lexer.Refusal{
		Message: "a name in another database (" + database + ")",
		Hint:    "one dump is read for one database: dump each database on its own",
	}
}

// targets moves over names with commas between them.
func (g *grammar) targets() ([]string, error) {
	var names []string
	for {
		name, err := g.target()
		if err != nil {
			return nil, err
		}
		names = append(names, name)
		if !g.mark(",") {
			return names, nil
		}
	}
}

// finish refuses what is left.
func (g *grammar) finish() error {
	for g.mark(";") {
	}
	if g.end() {
		return nil
	}
	return lexer.Refuse("more than such a statement has in a dump")
}

// judge says what the statement is, or refuses it.
func (g *grammar) judge() error {
	st := g.st
	switch verb := g.word("SET", "CREATE", "DROP", "ALTER", "LOCK", "UNLOCK", "START", "BEGIN", "COMMIT", "USE", "SELECT", "DO",
		"FLUSH", "ANALYZE", "OPTIMIZE", "CHECK", "CHECKSUM", "CHANGE", "PREPARE", "EXECUTE", "DEALLOCATE"); verb {
	case "SET":
		return g.set()
	case "CREATE":
		return g.create()
	case "DROP":
		return g.drop()
	case "ALTER":
		return g.alter()
	case "LOCK":
		return g.lock()
	case "UNLOCK":
		st.Kind = KindUnlock
		if g.word("TABLES", "TABLE") == "" {
			return lexer.Refuse("a statement that dumps do not have")
		}
		return g.finish()
	case "START":
		st.Kind = KindBegin
		if !g.words("TRANSACTION") {
			return lexer.Refuse("a statement that dumps do not have")
		}
		g.words("WITH", "CONSISTENT", "SNAPSHOT")
		return g.finish()
	case "BEGIN", "COMMIT":
		st.Kind = KindBegin
		if verb == "COMMIT" {
			st.Kind = KindCommit
		}
		g.word("WORK")
		return g.finish()
	case "USE":
		name, err := g.name()
		if err != nil {
			return err
		}
		return g.use(name)
	case "SELECT", "DO":
		return g.setval()
	case "FLUSH", "ANALYZE", "OPTIMIZE", "CHECK", "CHECKSUM":
		st.Kind, st.Note = KindSkip, verb+" is not needed to load"
		g.i = len(g.pieces)
		return nil
	case "CHANGE":
		if g.word("MASTER", "REPLICATION") == "" {
			return lexer.Refuse("a statement that dumps do not have")
		}
		st.Kind, st.Note = KindSkip, "where the dump stands in the binary log is left out"
		g.i = len(g.pieces)
		return nil
	case "PREPARE", "EXECUTE", "DEALLOCATE":
		return g.rocksDB(verb)
	}
	return g.unknown()
}

// clientCommands are what the mysql client obeys at the begin of a statement.
var clientCommands = map[string]bool{
	"SOURCE": true, "SYSTEM": true, "TEE": true, "NOTEE": true, "PAGER": true, "NOPAGER": true, "EDIT": true, "CONNECT": true, "CLEAR": true,
	"EGO": true, "GO": true, "EXIT": true, "QUIT": true, "PRINT": true, "PROMPT": true, "REHASH": true, "RESETCONNECTION": true, "SANDBOX": true,
	"STATUS": true, "WARNINGS": true, "NOWARNING": true, "CHARSET": true, "COSTS": true, "SSL_SESSION_DATA_PRINT": true, "QUERY_ATTRIBUTES": true, "DELIMITER": true,
}

func (g *grammar) unknown() error {
	p := g.peek(0)
	switch {
	case p.kind == lexer.Word && clientCommands[p.upper]:
		return &lexer.Refusal{Message: "a command of the mysql client", Hint: "no dump needs one: take it out if you know what it is for"}
	case p.kind == lexer.Word && (p.upper == "DELETE" || p.upper == "TRUNCATE" || p.upper == "UPDATE"):
		return &lexer.Refusal{Message: "a statement that changes rows which are there already", Hint: "dump with CREATE TABLE and without DELETE or TRUNCATE"}
	}
	return lexer.Refuse("a statement that dumps do not have")
}

// use takes the name of the dump's only database.
func (g *grammar) use(name string) error {
	if err := g.finish(); err != nil {
		return err
	}
	r := g.r
	switching := g.pieces[0].upper == "USE"
	if switching {
		r.elsewhere.At = ""
	}
	switch {
	case systemDatabase(name):
		if switching {
			r.leave(name)
		}
		return r.switched("the server's own database ("+name+")", "one dump is read for one database: dump the app's database on its own")
	case r.databaseFixed:
	case r.touched && name != r.database: // what came before belongs to another one
		if switching {
			r.leave(name)
		}
		return r.switched("the dump switches to another database ("+name+") behind the tables of one", "one dump is read for one database: dump each database on its own")
	default:
		if r.database == "" {
			r.database = name
		}
		r.databaseFixed = true
	}
	if name != r.database {
		if switching {
			r.leave(name)
		}
		return r.switched("the dump switches to another database ("+name+")", "one dump is read for one database: dump each database on its own")
	}
	g.st.Kind, g.st.Name = KindUse, name
	return nil
}

func (g *grammar) lock() error {
	if g.word("TABLES", "TABLE") == "" {
		return lexer.Refuse("a statement that dumps do not have")
	}
	g.st.Kind = KindLock
	for {
		name, err := g.target()
		if err != nil {
			return err
		}
		g.st.Names = append(g.st.Names, name)
		if g.word("AS") != "" {
			if _, err := g.name(); err != nil {
				return err
			}
		}
		switch {
		case g.word("READ") != "":
			g.word("LOCAL")
		case g.words("LOW_PRIORITY", "WRITE"):
		case g.word("WRITE") != "":
			g.word("CONCURRENT")
		default:
			return lexer.Refuse("a lock that dumps do not take")
		}
		if !g.mark(",") {
			return g.finish()
		}
	}
}

// setval takes SETVAL(sequence, numbers), as mariadb-dump sets sequences.
func (g *grammar) setval() error {
	if g.peek(-1).upper == "SELECT" && g.rocksVariable() {
		return g.skipRocksDB()
	}
	if g.word("SETVAL") == "" || !g.mark("(") {
		return lexer.Refuse("a statement that dumps do not have")
	}
	name, err := g.target()
	if err != nil {
		return err
	}
	for !g.mark(")") {
		if p := g.peek(0); p.kind != lexer.Number && !g.is(0, ",") && !g.is(0, "-") && p.upper != "TRUE" && p.upper != "FALSE" {
			return lexer.Refuse("a value of a sequence that is no number")
		}
		g.i++
	}
	g.st.Kind, g.st.Object, g.st.Name = KindSetSequence, ObjectSequence, name
	return g.finish()
}

// rocksVariable says whether the statement is one of those with which Percona's
// mysqldump asks for MyRocks' bulk load.
func (g *grammar) rocksVariable() bool {
	for _, p := range g.pieces {
		if p.kind == lexer.Word && strings.HasPrefix(p.upper, "ROCKSDB_") {
			return true
		}
	}
	return false
}

// rocksDBSet takes SET @a = IF (@b, 'statement', 'statement') of them.
func (g *grammar) rocksDBSet() bool {
	shape := []string{"@", "", "=", "IF", "(", "@", "", ",", "'", ",", "'", ")"}
	for i, want := range shape {
		switch p := g.peek(i); {
		case want == "" && p.kind == lexer.Word, want == "'" && p.kind == lexer.String, want != "" && (p.text == want || p.upper == want):
		default:
			return false
		}
	}
	return g.i+len(shape) == len(g.pieces) && g.rocksVariable()
}

func (g *grammar) skipRocksDB() error {
	g.st.Kind, g.st.Note = KindSkip, "Percona Server's bulk load is left out"
	g.i = len(g.pieces)
	return nil
}

func (g *grammar) rocksDB(verb string) error {
	switch {
	case verb == "PREPARE" && g.rocksVariable():
		g.r.prepared = g.peek(0).upper
		return g.skipRocksDB()
	case g.r.prepared != "" && (verb == "EXECUTE" && g.word(g.r.prepared) != "" || verb == "DEALLOCATE" && g.words("PREPARE", g.r.prepared)):
		return g.skipRocksDB()
	}
	return lexer.Refuse("a statement that is put together when it is run")
}

func (g *grammar) drop() error {
	st := g.st
	st.Kind = KindDrop
	switch {
	case g.word("TABLE", "TABLES") != "":
		st.Object = ObjectTable
	case g.word("VIEW") != "":
		st.Object = ObjectView
	case g.word("TRIGGER") != "":
		st.Object = ObjectTrigger
	case g.word("PROCEDURE") != "":
		st.Object = ObjectProcedure
	case g.word("FUNCTION") != "":
		st.Object = ObjectFunction
	case g.word("EVENT") != "":
		st.Object = ObjectEvent
	case g.word("SEQUENCE") != "":
		st.Object = ObjectSequence
	case g.words("PACKAGE", "BODY"):
		st.Object = ObjectPackageBody
	case g.word("PACKAGE") != "":
		st.Object = ObjectPackage
	case g.word("DATABASE", "SCHEMA") != "":
		g.words("IF", "EXISTS")
		name, err := g.name()
		if err != nil {
			return err
		}
		st.Object = ObjectDatabase
		return g.use(name)
	default:
		return lexer.Refuse("a statement that dumps do not have")
	}
	g.words("IF", "EXISTS")
	names, err := g.targets()
	if err != nil {
		return err
	}
	g.word("RESTRICT", "CASCADE")
	st.Name, st.Names = names[0], names
	return g.finish()
}

// insert judges the head of INSERT or REPLACE up to VALUES.
func (g *grammar) insert() error {
	st := g.st
	st.Kind = KindInsert
	st.Replace = g.word("INSERT", "REPLACE") == "REPLACE"
	g.word("LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY")
	st.Ignore = g.word("IGNORE") != ""
	g.word("INTO")
	name, err := g.target()
	if err != nil {
		return err
	}
	st.Name = name
	if g.mark("(") {
		st.Columns = []string{}
		for !g.mark(")") {
			if len(st.Columns) > 0 && !g.mark(",") {
				return lexer.Refuse("a list of columns that is none")
			}
			column, err := g.name()
			if err != nil {
				return err
			}
			st.Columns = append(st.Columns, column)
		}
	}
	if g.word("VALUES", "VALUE") == "" || !g.end() {
		return &lexer.Refusal{Message: "an INSERT of another kind than rows of values", Hint: "dump with plain INSERT … VALUES statements"}
	}
	var b strings.Builder
	verb := "INSERT"
	if st.Replace {
		verb = "REPLACE"
	}
	b.WriteString(verb)
	if st.Ignore {
		b.WriteString(" IGNORE")
	}
	b.WriteString(" INTO " + quote(name))
	if st.Columns != nil {
		b.WriteString(" (")
		for i, c := range st.Columns {
			if i > 0 {
				b.WriteString(",")
			}
			b.WriteString(quote(c))
		}
		b.WriteString(")")
	}
	b.WriteString(" VALUES ")
	st.Text = b.String()
	return nil
}

func quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
