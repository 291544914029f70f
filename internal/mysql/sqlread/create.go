package sqlread

import (
	"github.com/backstay/backstay/internal/mysql/sqlread/lexer"
)

// engines are those that keep rows in the database itself.
var engines = map[string]bool{
	"INNODB": true, "MYISAM": true, "ARIA": true, "MEMORY": true, "HEAP": true, "ARCHIVE": true, "CSV": true, "MERGE": true, "MRG_MYISAM": true,
	"ROCKSDB": true, "TOKUDB": true, "BLACKHOLE": true, "SEQUENCE": true, "COLUMNSTORE": true, "XTRADB": true,
}

// tableOptions may stand behind the columns of a table. Those that name files,
// other servers or tablespaces are not among them.
var tableOptions = map[string]bool{
	"ENGINE": true, "TYPE": true, "AUTO_INCREMENT": true, "AVG_ROW_LENGTH": true, "DEFAULT": true, "CHARSET": true, "CHARACTER": true, "SET": true, "COLLATE": true,
	"CHECKSUM": true, "TABLE_CHECKSUM": true, "COMMENT": true, "COMPRESSION": true, "DELAY_KEY_WRITE": true, "ENCRYPTION": true, "ENCRYPTED": true, "ENCRYPTION_KEY_ID": true,
	"INSERT_METHOD": true, "KEY_BLOCK_SIZE": true, "MAX_ROWS": true, "MIN_ROWS": true, "PACK_KEYS": true, "PAGE_COMPRESSED": true, "PAGE_COMPRESSION_LEVEL": true, "PAGE_CHECKSUM": true,
	"ROW_FORMAT": true, "STATS_AUTO_RECALC": true, "STATS_PERSISTENT": true, "STATS_SAMPLE_PAGES": true, "TRANSACTIONAL": true, "SEQUENCE": true, "AUTOEXTEND_SIZE": true,
	"ENGINE_ATTRIBUTE": true, "IETF_QUOTES": true,
}

// create judges CREATE: what stands before the kind of object here, the rest by kind.
func (g *grammar) create() error {
	st := g.st
	st.Kind = KindCreate
	g.words("OR", "REPLACE")
	if g.word("ALGORITHM") != "" {
		if !g.mark("=") || g.word("UNDEFINED", "MERGE", "TEMPTABLE") == "" {
			return lexer.Refuse("an ALGORITHM that no view has")
		}
	}
	if g.peek(0).upper == "DEFINER" {
		if err := g.definer(); err != nil {
			return err
		}
	}
	if g.words("SQL", "SECURITY") && g.word("DEFINER", "INVOKER") == "" {
		return lexer.Refuse("a SQL SECURITY that no object has")
	}
	switch {
	case g.word("TABLE") != "":
		return g.table()
	case g.word("VIEW") != "":
		return g.view()
	case g.word("TRIGGER") != "":
		return g.trigger()
	case g.word("PROCEDURE") != "":
		st.Object = ObjectProcedure
		return g.routine()
	case g.word("FUNCTION") != "", g.words("AGGREGATE", "FUNCTION"):
		st.Object = ObjectFunction
		return g.routine()
	case g.words("PACKAGE", "BODY"):
		st.Object = ObjectPackageBody
		return g.routine()
	case g.word("PACKAGE") != "":
		st.Object = ObjectPackage
		return g.routine()
	case g.word("EVENT") != "":
		return g.event()
	case g.word("SEQUENCE") != "":
		return g.sequence()
	case g.word("DATABASE", "SCHEMA") != "":
		return g.database()
	case g.word("INDEX") != "", g.words("UNIQUE", "INDEX"), g.words("FULLTEXT", "INDEX"), g.words("SPATIAL", "INDEX"):
		return g.index()
	}
	return lexer.Refuse("a statement that dumps of one database do not have")
}

// definer takes DEFINER=account.
func (g *grammar) definer() error {
	from := g.i
	g.i++
	if !g.mark("=") {
		return lexer.Refuse("a DEFINER without an account")
	}
	part := func() (string, error) {
		p := g.peek(0)
		g.i++
		if p.kind != lexer.Name && p.kind != lexer.String && p.kind != lexer.Word && p.kind != lexer.Number || len(p.text) > 4*maxAccount {
			return "", lexer.Refuse("a DEFINER without an account")
		}
		if p.kind == lexer.Name || p.kind == lexer.String {
			return lexer.Unquote(p.text, p.kind == lexer.String && !g.r.lex.Mode.NoBackslash), nil
		}
		return p.text, nil
	}
	var err error
	if g.st.DefinerUser, err = part(); err != nil {
		return err
	}
	if quoted := g.pieces[g.i-1].kind != lexer.Word; !quoted && (g.pieces[g.i-1].upper == "CURRENT_USER" || g.pieces[g.i-1].upper == "CURRENT_ROLE") {
		g.st.DefinerUser = g.pieces[g.i-1].upper
		if g.mark("(") && !g.mark(")") {
			return lexer.Refuse("a DEFINER without an account")
		}
	} else if g.mark("@") {
		if g.st.DefinerHost, err = part(); err != nil {
			return err
		}
		for g.is(0, ".") || g.is(0, "%") || g.is(0, "-") { // a host without quotes
			g.st.DefinerHost += g.peek(0).text
			g.i++
			if p := g.peek(0); p.kind == lexer.Word && p.upper != "SQL" || p.kind == lexer.Number {
				g.st.DefinerHost += p.text
				g.i++
			}
		}
	}
	g.definerFrom, g.definerTo = from, g.i
	return nil
}

func (g *grammar) head(o Object) error {
	g.st.Object = o
	g.words("IF", "NOT", "EXISTS")
	name, err := g.target()
	g.st.Name = name
	return err
}

func (g *grammar) table() error {
	if err := g.head(ObjectTable); err != nil {
		return err
	}
	if !g.mark("(") || g.peek(0).upper == "LIKE" {
		return lexer.Refuse("a table that is made from another one")
	}
	if err := g.members(true); err != nil {
		return err
	}
	for !g.end() {
		if err := g.tableOption(); err != nil {
			return err
		}
	}
	return nil
}

// members judges definitions of columns, keys and constraints: up to the
// closing parenthesis, which it takes, or to the statement's end.
func (g *grammar) members(parenthesis bool) error {
	depth := 0
	for ; !g.end(); g.i++ {
		if parenthesis && depth == 0 && g.mark(")") {
			return nil
		}
		if err := g.member(&depth); err != nil {
			return err
		}
		if depth < 0 {
			return lexer.Refuse("a parenthesis ends that has not begun")
		}
	}
	if parenthesis || depth != 0 {
		return lexer.Refuse("a parenthesis that does not end")
	}
	return nil
}

// partitionWords may stand behind PARTITION BY outside parentheses.
var partitionWords = wordSet("LINEAR HASH KEY RANGE LIST COLUMNS ALGORITHM PARTITIONS SUBPARTITION SUBPARTITIONS BY SYSTEM_TIME INTERVAL STARTS TIMESTAMP LIMIT AUTO CURRENT " +
	"SECOND MINUTE HOUR DAY WEEK MONTH QUARTER YEAR MINUTE_SECOND HOUR_SECOND HOUR_MINUTE DAY_SECOND DAY_MINUTE DAY_HOUR YEAR_MONTH")

// partitions judges what stands behind PARTITION BY.
func (g *grammar) partitions() error {
	depth := 0
	for i := g.i; i < len(g.pieces); i++ {
		switch p := &g.pieces[i]; {
		case p.text == "(":
			depth++
		case p.text == ")":
			depth--
		case p.upper == "VALUES" && g.pieces[i-1].kind == lexer.Mark:
			return lexer.Refuse("a query within a table's definition") // and no partition's values
		case depth == 0 && p.kind == lexer.Word && !partitionWords[p.upper]:
			return lexer.Refuse("an option that partitions do not have (" + printableWord(p.text) + ")")
		}
	}
	return g.members(false)
}

const maxDepth = 256

// notInTables are words that no definition of a column has, outside quotes.
var notInTables = map[string]string{
	"SELECT": "a query within a table's definition", "LOAD_FILE": "a function that reads files", "SLEEP": "a function that waits", "BENCHMARK": "a function that waits", "GET_LOCK": "a function that waits",
	"DIRECTORY": "a table's files in another place (DATA or INDEX DIRECTORY)", "CONNECTION": "a table on another server (CONNECTION)",
}

// member judges one token of a definition.
func (g *grammar) member(depth *int) error {
	p := g.peek(0)
	switch {
	case g.is(0, "("):
		if *depth++; *depth > maxDepth {
			return lexer.Refuse("more parentheses within each other than any statement has")
		}
	case g.is(0, ")"):
		*depth--
	case g.is(0, ";"):
		return lexer.Refuse("more than one statement")
	case g.is(0, "@"):
		return lexer.Refuse("a variable in a table's definition")
	case p.kind == lexer.Word && !g.is(-1, ".") && (p.upper == "TABLE" || p.upper == "VALUES" && (*depth == 0 || g.peek(1).upper != "LESS" && g.peek(1).upper != "IN") ||
		p.upper == "WITH" && g.peek(1).upper != "PARSER" && g.peek(1).upper != "SYSTEM"):
		return lexer.Refuse("a query within a table's definition")
	case p.kind == lexer.Word && (notInTables[p.upper] != ""):
		// A column may be called so; then it has a type behind it, and is not called as a function.
		if p.upper == "SELECT" || p.upper == "DIRECTORY" && (g.peek(-1).upper == "DATA" || g.peek(-1).upper == "INDEX") || g.is(1, "(") || p.upper == "CONNECTION" && (g.is(1, "=") || g.peek(1).kind == lexer.String) {
			return lexer.Refuse(notInTables[p.upper])
		}
	case p.kind == lexer.Word && p.upper == "ENGINE" && (g.is(1, "=") || *depth == 0):
		return g.engine(1)
	case p.kind == lexer.Word && p.upper == "TABLESPACE":
		return g.tablespace(1)
	case p.kind == lexer.Word && p.upper == "REFERENCES", p.kind == lexer.Word && p.upper == "FOR" && g.peek(-1).upper == "VALUE":
		if g.is(2, ".") {
			if err := g.own(g.r.nameOf(g.peek(1))); err != nil {
				return err
			}
		}
	case g.is(0, ".") && g.is(-2, ".") && g.peek(-3).kind != lexer.Number && g.peek(-3).kind != lexer.Mark:
		return lexer.Refuse("a name of three parts in a table's definition")
	case g.is(0, ".") && g.r.database != "" && g.r.nameOf(g.peek(-1)) == g.r.database && !g.is(-2, "."):
		// Sequences in defaults, and tables referred to, come with the database's name.
		// Without it there must be no query's word, and no comment after two dashes.
		next := g.peek(1)
		query := next.upper == "TABLE" || next.upper == "VALUES" || next.upper == "WITH" || notInTables[next.upper] != ""
		if next.kind == lexer.Word && query || g.is(-2, "-") && g.is(-3, "-") {
			return lexer.Refuse("a name with its database where no dump has one, in a table's definition")
		}
		p.dropped, g.peek(-1).dropped = true, true
	case g.is(0, ".") && g.peek(-1).kind != lexer.Number && !g.is(-2, "."):
		return g.qualify(g.peek(-1))
	case p.kind == lexer.Word && (p.upper == "NEXTVAL" || p.upper == "LASTVAL" || p.upper == "SETVAL") && g.is(1, "(") && g.is(3, "."):
		return g.own(g.r.nameOf(g.peek(2)))
	}
	return nil
}

// nameOf is a name in UTF-8.
func (r *Reader) nameOf(p *piece) string {
	switch p.kind {
	case lexer.Name:
		return r.lex.Mode.Decode(lexer.Unquote(p.text, false))
	case lexer.Word, lexer.Number:
		return p.text
	}
	return ""
}

// engine judges the engine that is named n pieces on.
func (g *grammar) engine(n int) error {
	if g.is(n, "=") {
		n++
	}
	p := g.peek(n)
	name := p.text
	if p.kind == lexer.Name || p.kind == lexer.String {
		name = lexer.Unquote(p.text, false)
	}
	if !engines[lexer.Upper(name)] {
		return &lexer.Refusal{
			Message: "a table with an engine that is not loaded (" + printableWord(name) + ")",
			Hint:    "engines that read files or other servers are not taken; dump without this table",
		}
	}
	g.st.Engine = name
	return nil
}

// tablespace judges the tablespace that is named n pieces on: the two that hold no files of their own.
func (g *grammar) tablespace(n int) error {
	if g.is(n, "=") {
		n++
	}
	if name := g.r.nameOf(g.peek(n)); name != "innodb_system" && name != "innodb_file_per_table" {
		return lexer.Refuse("a table in a tablespace of its own (TABLESPACE)")
	}
	return nil
}

func (g *grammar) tableOption() error {
	p := g.peek(0)
	switch {
	case g.mark(","), g.mark(";") && g.end():
		return nil
	case p.kind == lexer.Name: // an option of an engine that the server may not have
		g.i++
		return g.optionValue()
	case g.words("WITH", "SYSTEM", "VERSIONING"):
		return nil
	case g.words("PARTITION", "BY"):
		return g.partitions()
	case p.kind != lexer.Word:
		return lexer.Refuse("an option that no table has")
	case p.upper == "UNION":
		return g.union()
	case p.upper == "TABLESPACE":
		if err := g.tablespace(1); err != nil {
			return err
		}
		g.i++
		return g.optionValue()
	case p.upper == "ENGINE", p.upper == "TYPE":
		if err := g.engine(1); err != nil {
			return err
		}
		if p.upper == "TYPE" { // as MySQL 4 wrote it, which no server reads
			p.instead = "ENGINE"
		}
		g.i++
		return g.optionValue()
	case p.upper == "DEFAULT", p.upper == "CHARACTER":
		g.i++
		return nil
	case tableOptions[p.upper]:
		g.i++
		return g.optionValue()
	case notInTables[p.upper] != "":
		return lexer.Refuse(notInTables[p.upper])
	case (p.upper == "DATA" || p.upper == "INDEX") && g.peek(1).upper == "DIRECTORY":
		return lexer.Refuse(notInTables["DIRECTORY"])
	case p.upper == "AS", p.upper == "IGNORE", p.upper == "REPLACE", p.upper == "TABLE", p.upper == "VALUES", p.upper == "WITH":
		return lexer.Refuse("a table that is made from another one")
	}
	return lexer.Refuse("an option that tables in dumps do not have (" + printableWord(p.text) + ")")
}

func (g *grammar) optionValue() error {
	g.mark("=")
	switch p := g.peek(0); p.kind {
	case lexer.Word, lexer.Number, lexer.String, lexer.Name:
		g.i++
		if g.mark(".") {
			g.i++
		}
		return nil
	}
	return lexer.Refuse("an option of a table without a value")
}

func (g *grammar) union() error {
	g.i++
	g.mark("=")
	if !g.mark("(") {
		return lexer.Refuse("an option of a table without a value")
	}
	if g.mark(")") {
		return nil
	}
	if _, err := g.targets(); err != nil {
		return err
	}
	if !g.mark(")") {
		return lexer.Refuse("an option of a table without a value")
	}
	return nil
}

func (g *grammar) view() error {
	if err := g.head(ObjectView); err != nil {
		return err
	}
	if g.mark("(") {
		for !g.mark(")") {
			if g.end() {
				return lexer.Refuse("a parenthesis that does not end")
			}
			g.i++
		}
	}
	if g.word("AS") == "" {
		return lexer.Refuse("a view without a query")
	}
	g.st.StandIn = g.standIn()
	return g.body(true)
}

// standIn says whether the query is that of mysqldump's stand-ins: SELECT 1 AS `a`, 1 AS `b`.
func (g *grammar) standIn() bool {
	i := 0
	if g.peek(i).upper != "SELECT" {
		return false
	}
	for {
		p := g.peek(i + 1)
		if p.kind != lexer.Number && p.upper != "NULL" || g.peek(i+2).upper != "AS" || g.peek(i+3).kind != lexer.Name {
			return false
		}
		if i += 4; !g.is(i, ",") {
			return g.i+i >= len(g.pieces)
		}
	}
}

func (g *grammar) trigger() error {
	if err := g.head(ObjectTrigger); err != nil {
		return err
	}
	if g.word("BEFORE", "AFTER") == "" {
		return lexer.Refuse("a trigger without a time")
	}
	for g.word("INSERT", "UPDATE", "DELETE", "OR") != "" {
	}
	if g.word("ON") == "" {
		return lexer.Refuse("a trigger without a table")
	}
	table, err := g.target()
	if err != nil {
		return err
	}
	g.st.Table = table
	if !g.words("FOR", "EACH", "ROW") {
		return lexer.Refuse("a trigger that is none")
	}
	return g.body(true)
}

func (g *grammar) routine() error {
	if err := g.head(g.st.Object); err != nil {
		return err
	}
	if g.st.Object == ObjectFunction && !g.is(0, "(") && g.peek(0).upper != "RETURN" {
		return &lexer.Refusal{Message: "a function from a library of the server", Hint: "install it on the server by hand"}
	}
	return g.body(false)
}

func (g *grammar) event() error {
	if err := g.head(ObjectEvent); err != nil {
		return err
	}
	if !g.words("ON", "SCHEDULE") {
		return lexer.Refuse("an event without a schedule")
	}
	return g.body(false)
}

func (g *grammar) sequence() error {
	if err := g.head(ObjectSequence); err != nil {
		return err
	}
	return g.sequenceOptions()
}

func (g *grammar) sequenceOptions() error {
	for ; !g.end(); g.i++ {
		p := g.peek(0)
		if p.upper == "ENGINE" {
			if err := g.engine(1); err != nil {
				return err
			}
		}
		if p.kind == lexer.Mark && p.text != "=" && p.text != "-" && p.text != ";" || p.kind == lexer.Name || p.kind == lexer.Word && !sequenceWords[p.upper] && !engines[p.upper] {
			return lexer.Refuse("an option that sequences do not have")
		}
	}
	return nil
}

var sequenceWords = map[string]bool{
	"AS": true, "START": true, "WITH": true, "MINVALUE": true, "MAXVALUE": true, "NO": true, "NOMINVALUE": true, "NOMAXVALUE": true, "INCREMENT": true, "BY": true, "CACHE": true, "NOCACHE": true,
	"CYCLE": true, "NOCYCLE": true, "ENGINE": true, "COMMENT": true, "RESTART": true, "BIGINT": true, "INT": true, "INTEGER": true, "SMALLINT": true, "MEDIUMINT": true, "TINYINT": true,
	"UNSIGNED": true, "SIGNED": true,
}

func (g *grammar) database() error {
	g.words("IF", "NOT", "EXISTS")
	name, err := g.name()
	if err != nil {
		return err
	}
	g.st.Object = ObjectDatabase
	if err := g.databaseOptions(); err != nil {
		return err
	}
	return g.use(name)
}

func (g *grammar) databaseOptions() error {
	for !g.end() {
		switch {
		case g.mark(";"):
		case g.word("DEFAULT", "CHARACTER", "SET") != "":
		case g.word("CHARSET", "COLLATE", "ENCRYPTION", "COMMENT") != "":
			if err := g.optionValue(); err != nil {
				return err
			}
		case g.peek(-1).upper == "SET" || g.is(0, "="):
			if err := g.optionValue(); err != nil {
				return err
			}
		default:
			return lexer.Refuse("an option that databases in dumps do not have")
		}
	}
	return nil
}

func (g *grammar) index() error {
	name, err := g.name()
	if err != nil {
		return err
	}
	if g.word("USING", "TYPE") != "" {
		g.i++
	}
	if g.word("ON") == "" {
		return lexer.Refuse("an index without a table")
	}
	g.st.Object, g.st.Name = ObjectIndex, name
	if g.st.Table, err = g.target(); err != nil {
		return err
	}
	return g.members(false)
}
