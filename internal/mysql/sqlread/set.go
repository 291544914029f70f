package sqlread

import (
	"strings"

	"github.com/backstay/backstay/internal/mysql/sqlread/lexer"
)

// What a SET means for how the rest is read has to be known for certain, and
// servers work out values and assign them in an order of their own. So a value
// is a constant or what a variable had before the statement, and user variables
// are what dumps use them for: places to keep what the session had.

// Session is what Reader takes the session's settings for, as far as they
// decide how text is read. Whoever runs the statements can compare.
type Session struct {
	Charset     string // character_set_client; "utf8" may be utf8mb3
	ANSIQuotes  bool   // sql_mode has ANSI_QUOTES
	NoBackslash bool   // sql_mode has NO_BACKSLASH_ESCAPES
}

// Session returns what the session's settings have to be once the statements
// are run that have been returned so far.
func (r *Reader) Session() Session {
	m := &r.lex.Mode
	return Session{Charset: m.Charset, ANSIQuotes: m.ANSIQuotes, NoBackslash: m.NoBackslash}
}

// value is what is known of a variable.
type value struct {
	known bool
	null  bool
	text  string
}

// settable are the session variables that a dump may set: none reaches
// beyond the session. The mark says whether Reader must know the value.
var settable = map[string]bool{
	"CHARACTER_SET_CLIENT": true, "CHARACTER_SET_CONNECTION": false, "CHARACTER_SET_RESULTS": false, "CHARACTER_SET_DATABASE": false, "COLLATION_CONNECTION": false, "COLLATION_DATABASE": false,
	"SQL_MODE": true, "TIME_ZONE": false, "FOREIGN_KEY_CHECKS": false, "UNIQUE_CHECKS": false, "CHECK_CONSTRAINT_CHECKS": false, "SQL_NOTES": false, "NOTE_VERBOSITY": false, "SQL_WARNINGS": false,
	"AUTOCOMMIT": false, "SQL_QUOTE_SHOW_CREATE": false, "SQL_SAFE_UPDATES": false, "SQL_AUTO_IS_NULL": false, "SQL_BIG_SELECTS": false, "INNODB_STRICT_MODE": false,
	"SQL_REQUIRE_PRIMARY_KEY": false, "SQL_GENERATE_INVISIBLE_PRIMARY_KEY": false, "SHOW_CREATE_TABLE_SKIP_SECONDARY_ENGINE": false, "EXPLICIT_DEFAULTS_FOR_TIMESTAMP": false,
	"SYSTEM_VERSIONING_ALTER_HISTORY": false, "SYSTEM_VERSIONING_INSERT_HISTORY": false, "NET_READ_TIMEOUT": false, "NET_WRITE_TIMEOUT": false, "WAIT_TIMEOUT": false, "INTERACTIVE_TIMEOUT": false,
	"LOCK_WAIT_TIMEOUT": false, "INNODB_LOCK_WAIT_TIMEOUT": false, "LC_TIME_NAMES": false, "GROUP_CONCAT_MAX_LEN": false, "TIMESTAMP": false, "MAX_STATEMENT_TIME": false, "MAX_EXECUTION_TIME": false,
	"TX_ISOLATION": false, "TRANSACTION_ISOLATION": false, "DEFAULT_WEEK_FORMAT": false, "DIV_PRECISION_INCREMENT": false, "OLD_MODE": false,
}

const (
	logBin    = "SQL_LOG_BIN" // left out wherever it is set
	maxSaved  = 1000          // user variables
	leftOut   = "whether the load is logged is left out"
	positions = "where the dump stands in the binary log is left out"
)

// setting is a SET under judgement.
type setting struct {
	assigned map[string]bool  // by name; user variables begin with @
	read     map[string]bool  // user variables
	saved    map[string]value // user variables that it assigns
	charset  string           // "" stays
	mode     *string          // nil stays
}

// set judges SET. It notes what the session's settings become.
func (g *grammar) set() error {
	g.st.Kind = KindSet
	switch {
	case g.word("NAMES") != "":
		charset, err := g.charsetName()
		if err != nil {
			return err
		}
		if g.word("COLLATE") != "" {
			g.i++
		}
		if err := g.finish(); err != nil {
			return err
		}
		return g.r.lex.Mode.SetCharset(charset)
	case g.words("CHARACTER", "SET"), g.words("CHARSET"):
		charset, err := g.charsetName()
		if err != nil {
			return err
		}
		if err := g.finish(); err != nil {
			return err
		}
		return g.r.lex.Mode.SetCharset(charset)
	case g.peek(0).upper == "TRANSACTION", g.peek(0).upper != "GLOBAL" && g.peek(1).upper == "TRANSACTION":
		for ; !g.end() && (g.peek(0).kind == lexer.Word || g.is(0, ",")); g.i++ {
		}
		g.st.Kind, g.st.Note = KindSkip, "the isolation of transactions is left out"
		return g.finish()
	case g.position():
		g.st.Kind, g.st.Note = KindSkip, positions
		return g.finish()
	case g.rocksDBSet():
		return g.skipRocksDB()
	}
	s := setting{assigned: map[string]bool{}, read: map[string]bool{}, saved: map[string]value{}}
	kept := 0
	for n := 0; ; n++ {
		from := g.i
		out, err := g.assignment(&s)
		if err != nil {
			return err
		}
		switch {
		case out && n > 0 && kept > 0:
			g.leaveOut(from-1, g.i)
		case out && g.is(0, ","):
			g.leaveOut(from, g.i+1)
		case !out:
			kept++
		}
		if !g.mark(",") {
			break
		}
	}
	for name := range s.saved {
		if s.read["@"+name] {
			return lexer.Refuse("a SET that assigns a user variable and uses it")
		}
	}
	if err := g.finish(); err != nil {
		return err
	}
	if kept == 0 {
		for i := range g.pieces {
			g.pieces[i].dropped = false
		}
		g.st.Kind, g.st.Note = KindSkip, leftOut
		return nil
	}
	return g.r.apply(s)
}

// apply notes what the session's settings become.
func (r *Reader) apply(s setting) error {
	for name, v := range s.saved {
		if len(r.variables) >= maxSaved {
			return lexer.Refuse("more user variables than dumps have")
		}
		r.variables[name] = v
	}
	if s.charset != "" {
		if err := r.lex.Mode.SetCharset(s.charset); err != nil {
			return err
		}
	}
	if s.mode != nil {
		return r.setMode(*s.mode)
	}
	return nil
}

// position takes a statement that sets nothing but a position in the binary log.
func (g *grammar) position() bool {
	i := 0
	switch {
	case g.peek(0).upper == "GLOBAL":
		i = 1
	case g.is(0, "@") && g.is(1, "@") && g.peek(2).upper == "GLOBAL" && g.is(3, "."):
		i = 4
	}
	if name := g.peek(i).upper; name != "GTID_PURGED" && name != "GTID_SLAVE_POS" || !g.is(i+1, "=") || g.peek(i+2).kind != lexer.String {
		return false
	}
	if i += 3; g.peek(i).kind == lexer.String {
		i++
	}
	g.i += i
	return true
}

func (g *grammar) leaveOut(from, to int) {
	for i := from; i < to; i++ {
		g.pieces[i].dropped = true
	}
}

func (g *grammar) charsetName() (string, error) {
	p := g.peek(0)
	g.i++
	switch p.kind {
	case lexer.String, lexer.Name:
		return strings.ToLower(lexer.Unquote(p.text, false)), nil
	case lexer.Word:
		if p.upper != "DEFAULT" {
			return strings.ToLower(p.text), nil
		}
	}
	return "", lexer.Refuse("a character set that is not named")
}

// assignment takes one variable = value. out says that it is to be left out.
func (g *grammar) assignment(s *setting) (out bool, err error) {
	user, name, err := g.variable()
	if err != nil {
		return false, err
	}
	if _, ok := settable[name]; !user && !ok && name != logBin {
		return false, &lexer.Refusal{Message: "a server variable that dumps do not set (" + strings.ToLower(printableWord(name)) + ")"}
	}
	if !g.mark("=") {
		if !g.mark(":") || !g.mark("=") {
			return false, lexer.Refuse("a variable without a value")
		}
	}
	v, of, err := g.value(s)
	if err != nil {
		return false, err
	}
	switch {
	case user && of == "":
		return false, &lexer.Refusal{Message: "a user variable that does not keep what the session had", Hint: "dumps keep settings in user variables and nothing else"}
	case user:
		s.assigned["@"+name] = true
		s.saved[name] = v
		return of == logBin, nil
	}
	s.assigned[name] = true
	switch {
	case name == logBin:
		return true, nil
	case settable[name] && (!v.known || v.null):
		return false, lexer.Refuse("a value that is not known here for " + strings.ToLower(name))
	case name == "CHARACTER_SET_CLIENT":
		s.charset = strings.ToLower(v.text)
		if s.charset == "" {
			return false, lexer.Refuse("a character set that is not named")
		}
	case name == "SQL_MODE":
		s.mode = &v.text
	}
	return false, nil
}

// variable takes @user, @@[session.]name or [session] name. Names are ASCII:
// servers take others for the same that are not.
func (g *grammar) variable() (user bool, name string, err error) {
	if g.mark("@") {
		if !g.mark("@") {
			p := g.peek(0)
			g.i++
			if (p.kind == lexer.Word || p.kind == lexer.Number) && lexer.ASCII(p.text) && len(p.text) <= maxName {
				return true, strings.ToUpper(p.text), nil
			}
			return false, "", lexer.Refuse("a user variable with a name that dumps do not use")
		}
		if scope := g.word("SESSION", "LOCAL"); scope != "" && !g.mark(".") {
			return false, "", lexer.Refuse("a variable without a name")
		}
	} else if g.peek(1).kind == lexer.Word || g.peek(1).kind == lexer.Name {
		g.word("SESSION", "LOCAL")
	}
	p := g.peek(0)
	if p.kind == lexer.Name {
		g.i++
		return false, lexer.Upper(lexer.Unquote(p.text, false)), nil
	}
	if p.kind != lexer.Word {
		return false, "", lexer.Refuse("a variable without a name")
	}
	if p.upper == "GLOBAL" || p.upper == "PERSIST" || p.upper == "PERSIST_ONLY" {
		return false, "", &lexer.Refusal{Message: "a setting of the whole server", Hint: "take it out of the dump: settings of the server are not loaded"}
	}
	g.i++
	return false, p.upper, nil
}

// value takes a constant, a variable, or a choice of the two. of is the
// server's variable whose value it is; "" none.
func (g *grammar) value(s *setting) (v value, of string, err error) {
	p := g.peek(0)
	switch {
	case g.is(0, "@"):
		return g.variableValue(s)
	case p.kind == lexer.Word && p.upper == "IFNULL" && g.is(1, "("):
		// HeidiSQL's, which older ones write as IF(@a IS NULL, constant, @a).
		g.i += 2
		if v, _, err = g.variableValue(s); err != nil {
			return value{}, "", err
		}
		if !g.mark(",") {
			return value{}, "", unusualValue()
		}
		other, err := g.constant()
		if err == nil && !g.mark(")") {
			err = unusualValue()
		}
		return v.or(other), "", err
	case p.kind == lexer.Word && p.upper == "IF" && g.is(1, "("):
		g.i += 2
		if v, _, err = g.variableValue(s); err != nil {
			return value{}, "", err
		}
		if !g.words("IS", "NULL") || !g.mark(",") {
			return value{}, "", unusualValue()
		}
		other, err := g.constant()
		if err != nil || !g.mark(",") {
			return value{}, "", unusualValue()
		}
		same, _, err := g.variableValue(s)
		if err != nil || same != v || !g.mark(")") {
			return value{}, "", unusualValue()
		}
		return v.or(other), "", nil
	}
	v, err = g.constant()
	return v, "", err
}

func unusualValue() error { return lexer.Refuse("a value that dumps do not have") }

// or is another value where this one is NULL.
func (v value) or(other value) value {
	switch {
	case !v.known:
		return value{}
	case v.null:
		return other
	}
	return v
}

// variableValue takes a variable that the statement has not assigned.
func (g *grammar) variableValue(s *setting) (value, string, error) {
	if !g.is(0, "@") {
		return value{}, "", unusualValue()
	}
	user, name, err := g.variable()
	if err != nil {
		return value{}, "", err
	}
	if user {
		s.read["@"+name] = true
		v, ok := g.r.variables[name]
		if !ok {
			v = value{known: true, null: true}
		}
		return v, "", nil
	}
	if _, ok := settable[name]; !ok && name != "INNODB_STATS_AUTO_RECALC" && name != logBin {
		return value{}, "", lexer.Refuse("a server variable that dumps do not read")
	}
	if s.assigned[name] {
		return value{}, "", lexer.Refuse("a SET that assigns a variable and uses it")
	}
	switch name {
	case "CHARACTER_SET_CLIENT":
		return value{known: true, text: g.r.lex.Mode.Charset}, name, nil
	case "SQL_MODE":
		return value{known: true, text: g.r.sqlMode}, name, nil
	}
	return value{}, name, nil
}

// constant takes a literal or a keyword.
func (g *grammar) constant() (value, error) {
	p := g.peek(0)
	switch {
	case p.kind == lexer.String:
		g.i++
		// What an escape stands for is not worked out here.
		return value{known: !strings.Contains(p.text, `\`), text: lexer.Unquote(p.text, false)}, nil
	case p.kind == lexer.Number || g.is(0, "-") && g.peek(1).kind == lexer.Number:
		g.mark("-")
		v := value{known: true, text: g.peek(0).text}
		g.i++
		if g.mark(".") {
			g.i++
		}
		return v, nil
	case p.kind == lexer.Word:
		if next := g.peek(1); next.kind == lexer.Mark && next.text != "," && next.text != ";" && next.text != ")" {
			return value{}, unusualValue()
		}
		g.i++
		if p.upper == "DEFAULT" {
			return value{}, nil
		}
		return value{known: true, null: p.upper == "NULL", text: p.text}, nil
	case p.kind == lexer.Name:
		g.i++
		return value{known: true, text: lexer.Unquote(p.text, false)}, nil
	}
	return value{}, unusualValue()
}

func printableWord(w string) string {
	if len(w) > maxName {
		w = w[:maxName]
	}
	return strings.ToValidUTF8(w, "?")
}

// modes are what a sql_mode may consist of; the mark says whether it makes names
// of what stands between double quotes. MariaDB's MSSQL is not among them, which
// makes quotes of brackets, nor are others for the sake of foreign servers.
// https://dev.mysql.com/doc/refman/8.4/en/sql-mode.html, https://mariadb.com/kb/en/sql-mode/
var modes = map[string]bool{
	"ANSI_QUOTES": true, "ANSI": true, "ORACLE": true,
	"": false, "ALLOW_INVALID_DATES": false, "EMPTY_STRING_IS_NULL": false, "ERROR_FOR_DIVISION_BY_ZERO": false, "HIGH_NOT_PRECEDENCE": false, "IGNORE_BAD_TABLE_OPTIONS": false,
	"IGNORE_SPACE": false, "MYSQL323": false, "MYSQL40": false, "NO_AUTO_CREATE_USER": false, "NO_AUTO_VALUE_ON_ZERO": false, noBackslash: false, "NO_DIR_IN_CREATE": false,
	"NO_ENGINE_SUBSTITUTION": false, "NO_FIELD_OPTIONS": false, "NO_KEY_OPTIONS": false, "NO_TABLE_OPTIONS": false, "NO_UNSIGNED_SUBTRACTION": false, "NO_ZERO_DATE": false,
	"NO_ZERO_IN_DATE": false, "ONLY_FULL_GROUP_BY": false, "PAD_CHAR_TO_FULL_LENGTH": false, "PIPES_AS_CONCAT": false, "REAL_AS_FLOAT": false, "SIMULTANEOUS_ASSIGNMENT": false,
	"STRICT_ALL_TABLES": false, "STRICT_TRANS_TABLES": false, "TIME_ROUND_FRACTIONAL": false, "TIME_TRUNCATE_FRACTIONAL": false, "TRADITIONAL": false,
}

const noBackslash = "NO_BACKSLASH_ESCAPES"

// setMode notes what of a sql_mode changes how text is read.
func (r *Reader) setMode(mode string) error {
	ansi, plain := false, false
	if len(mode) > 4096 {
		return lexer.Refuse("a sql_mode that is longer than any is")
	}
	if mode != "0" {
		for m := range strings.SplitSeq(mode, ",") {
			m = lexer.Upper(m)
			quotes, ok := modes[m]
			if !ok {
				return lexer.Refuse("a sql_mode under which SQL is not read (" + printableWord(m) + ")")
			}
			ansi, plain = ansi || quotes, plain || m == noBackslash
		}
	}
	r.sqlMode, r.lex.Mode.ANSIQuotes, r.lex.Mode.NoBackslash = mode, ansi, plain
	return nil
}
