package sqlread

import (
	"strings"

	"github.com/backstay/backstay/internal/mysql/sqlread/lexer"
)

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
	case g.peek(0).upper == "TRANSACTION", g.peek(1).upper == "TRANSACTION":
		g.st.Kind, g.st.Note = KindSkip, "the isolation of transactions is left out"
		g.i = len(g.pieces)
		return nil
	case g.rocksVariable():
		return g.skipRocksDB()
	}
	for _, p := range g.pieces {
		switch {
		case p.kind != lexer.Word:
		case p.upper == "GTID_PURGED", p.upper == "GTID_SLAVE_POS":
			g.st.Kind, g.st.Note = KindSkip, "where the dump stands in the binary log is left out"
			g.i = len(g.pieces)
			return nil
		case p.upper == "SQL_LOG_BIN":
			g.st.Kind, g.st.Note = KindSkip, "whether the load is logged is left out"
			g.i = len(g.pieces)
			return nil
		}
	}
	for {
		if err := g.assignment(); err != nil {
			return err
		}
		if !g.mark(",") {
			return g.finish()
		}
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

// assignment takes one variable = value.
func (g *grammar) assignment() error {
	user, name, err := g.variable()
	if err != nil {
		return err
	}
	if !user {
		if _, ok := settable[name]; !ok {
			return &lexer.Refusal{Message: "a server variable that dumps do not set (" + strings.ToLower(printableWord(name)) + ")"}
		}
	}
	if !g.mark("=") {
		if !g.mark(":") || !g.mark("=") {
			return lexer.Refuse("a variable without a value")
		}
	}
	v, err := g.value()
	if err != nil {
		return err
	}
	switch {
	case user:
		if len(g.r.variables) > 1000 {
			return lexer.Refuse("more user variables than dumps have")
		}
		g.r.variables[name] = v
	case !v.known && settable[name]:
		return lexer.Refuse("a value that is not known here for " + strings.ToLower(name))
	case name == "CHARACTER_SET_CLIENT":
		return g.r.lex.Mode.SetCharset(strings.ToLower(v.text))
	case name == "SQL_MODE":
		return g.r.setMode(v.text)
	}
	return nil
}

// variable takes @user, @@[session.]name or [session] name.
func (g *grammar) variable() (user bool, name string, err error) {
	if g.mark("@") {
		if !g.mark("@") {
			p := g.peek(0)
			g.i++
			switch p.kind {
			case lexer.Word, lexer.Number:
				return true, p.upper, nil
			case lexer.Name, lexer.String:
				return true, strings.ToUpper(lexer.Unquote(p.text, true)), nil
			}
			return false, "", lexer.Refuse("a variable without a name")
		}
		if scope := g.word("SESSION", "LOCAL"); scope != "" && !g.mark(".") {
			return false, "", lexer.Refuse("a variable without a name")
		}
	} else if g.peek(1).kind == lexer.Word {
		g.word("SESSION", "LOCAL")
	}
	p := g.peek(0)
	if p.kind == lexer.Name {
		g.i++
		return false, strings.ToUpper(lexer.Unquote(p.text, false)), nil
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

// value takes a literal, a variable, IFNULL or CONCAT of such.
func (g *grammar) value() (value, error) {
	p := g.peek(0)
	switch {
	case g.is(0, "@"):
		user, name, err := g.variable()
		if err != nil {
			return value{}, err
		}
		if user {
			v, ok := g.r.variables[name]
			if !ok {
				return value{known: true, null: true}, nil
			}
			return v, nil
		}
		if _, ok := settable[name]; !ok && name != "INNODB_STATS_AUTO_RECALC" {
			return value{}, lexer.Refuse("a server variable that dumps do not read")
		}
		switch name {
		case "CHARACTER_SET_CLIENT":
			return value{known: true, text: g.r.lex.Mode.Charset}, nil
		case "SQL_MODE":
			return value{known: true, text: g.r.sqlMode}, nil
		}
		return value{}, nil
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
	case p.kind == lexer.Word && (p.upper == "IFNULL" || p.upper == "CONCAT") && g.is(1, "("):
		g.i += 2
		a, err := g.value()
		if err != nil {
			return value{}, err
		}
		if !g.mark(",") {
			return value{}, lexer.Refuse("a value that dumps do not have")
		}
		b, err := g.value()
		if err != nil {
			return value{}, err
		}
		if !g.mark(")") {
			return value{}, lexer.Refuse("a value that dumps do not have")
		}
		switch {
		case p.upper == "IFNULL" && a.known && !a.null:
			return a, nil
		case p.upper == "IFNULL" && a.known:
			return b, nil
		case p.upper == "CONCAT" && a.known && b.known && !a.null && !b.null:
			return value{known: true, text: a.text + b.text}, nil
		}
		return value{}, nil
	case p.kind == lexer.Word:
		if next := g.peek(1); next.kind == lexer.Mark && next.text != "," && next.text != ";" {
			return value{}, lexer.Refuse("a value that dumps do not have")
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
	return value{}, lexer.Refuse("a value that dumps do not have")
}

func printableWord(w string) string {
	if len(w) > maxName {
		w = w[:maxName]
	}
	return strings.ToValidUTF8(w, "?")
}

// setMode notes what of a sql_mode changes how text is read.
// https://dev.mysql.com/doc/refman/8.4/en/sql-mode.html, https://mariadb.com/kb/en/sql-mode/
func (r *Reader) setMode(mode string) error {
	ansi, plain := false, false
	for m := range strings.SplitSeq(mode, ",") {
		switch m = strings.ToUpper(strings.TrimSpace(m)); m {
		case "ANSI_QUOTES", "ANSI", "DB2", "MAXDB", "MSSQL", "ORACLE", "POSTGRESQL":
			ansi = true
		case "NO_BACKSLASH_ESCAPES":
			plain = true
		case "", "0":
		default:
			if m[0] < 'A' || m[0] > 'Z' {
				return lexer.Refuse("a sql_mode that is not written out")
			}
		}
	}
	r.sqlMode, r.lex.Mode.ANSIQuotes, r.lex.Mode.NoBackslash = mode, ansi, plain
	return nil
}
