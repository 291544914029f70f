package sqlread

import (
	"regexp"
	"strings"
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

// noClientCharsets cannot be told apart from SQL byte by byte, so that no
// server takes them from a client.
var noClientCharsets = map[string]bool{"ucs2": true, "utf16": true, "utf16le": true, "utf32": true}

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
		return g.r.setCharset(charset)
	case g.words("CHARACTER", "SET"), g.words("CHARSET"):
		charset, err := g.charsetName()
		if err != nil {
			return err
		}
		if err := g.finish(); err != nil {
			return err
		}
		return g.r.setCharset(charset)
	case g.peek(0).upper == "TRANSACTION", g.peek(1).upper == "TRANSACTION":
		g.st.Kind, g.st.Note = KindSkip, "the isolation of transactions is left out"
		g.i = len(g.pieces)
		return nil
	case g.rocksVariable():
		return g.skipRocksDB()
	}
	for _, p := range g.pieces {
		switch {
		case p.kind != tokenWord:
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
	case tokenString, tokenName:
		return strings.ToLower(unquote(p.text, false)), nil
	case tokenWord:
		if p.upper != "DEFAULT" {
			return strings.ToLower(p.text), nil
		}
	}
	return "", refuse("a character set that is not named")
}

// assignment takes one variable = value.
func (g *grammar) assignment() error {
	user, name, err := g.variable()
	if err != nil {
		return err
	}
	if !user {
		if _, ok := settable[name]; !ok {
			return &refusal{message: "a server variable that dumps do not set (" + strings.ToLower(printableWord(name)) + ")"}
		}
	}
	if !g.mark("=") {
		if !g.mark(":") || !g.mark("=") {
			return refuse("a variable without a value")
		}
	}
	v, err := g.value()
	if err != nil {
		return err
	}
	switch {
	case user:
		if len(g.r.variables) > 1000 {
			return refuse("more user variables than dumps have")
		}
		g.r.variables[name] = v
	case !v.known && settable[name]:
		return refuse("a value that is not known here for " + strings.ToLower(name))
	case name == "CHARACTER_SET_CLIENT":
		return g.r.setCharset(strings.ToLower(v.text))
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
			case tokenWord, tokenNumber:
				return true, p.upper, nil
			case tokenName, tokenString:
				return true, strings.ToUpper(unquote(p.text, true)), nil
			}
			return false, "", refuse("a variable without a name")
		}
		if scope := g.word("SESSION", "LOCAL"); scope != "" && !g.mark(".") {
			return false, "", refuse("a variable without a name")
		}
	} else if g.peek(1).kind == tokenWord {
		g.word("SESSION", "LOCAL")
	}
	p := g.peek(0)
	if p.kind == tokenName {
		g.i++
		return false, strings.ToUpper(unquote(p.text, false)), nil
	}
	if p.kind != tokenWord {
		return false, "", refuse("a variable without a name")
	}
	if p.upper == "GLOBAL" || p.upper == "PERSIST" || p.upper == "PERSIST_ONLY" {
		return false, "", &refusal{message: "a setting of the whole server", hint: "take it out of the dump: settings of the server are not loaded"}
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
			return value{}, refuse("a server variable that dumps do not read")
		}
		switch name {
		case "CHARACTER_SET_CLIENT":
			return value{known: true, text: g.r.mode.charset}, nil
		case "SQL_MODE":
			return value{known: true, text: g.r.sqlMode}, nil
		}
		return value{}, nil
	case p.kind == tokenString:
		g.i++
		// What an escape stands for is not worked out here.
		return value{known: !strings.Contains(p.text, `\`), text: unquote(p.text, false)}, nil
	case p.kind == tokenNumber || g.is(0, "-") && g.peek(1).kind == tokenNumber:
		g.mark("-")
		v := value{known: true, text: g.peek(0).text}
		g.i++
		if g.mark(".") {
			g.i++
		}
		return v, nil
	case p.kind == tokenWord && (p.upper == "IFNULL" || p.upper == "CONCAT") && g.is(1, "("):
		g.i += 2
		a, err := g.value()
		if err != nil {
			return value{}, err
		}
		if !g.mark(",") {
			return value{}, refuse("a value that dumps do not have")
		}
		b, err := g.value()
		if err != nil {
			return value{}, err
		}
		if !g.mark(")") {
			return value{}, refuse("a value that dumps do not have")
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
	case p.kind == tokenWord:
		if next := g.peek(1); next.kind == tokenMark && next.text != "," && next.text != ";" {
			return value{}, refuse("a value that dumps do not have")
		}
		g.i++
		if p.upper == "DEFAULT" {
			return value{}, nil
		}
		return value{known: true, null: p.upper == "NULL", text: p.text}, nil
	case p.kind == tokenName:
		g.i++
		return value{known: true, text: unquote(p.text, false)}, nil
	}
	return value{}, refuse("a value that dumps do not have")
}

func printableWord(w string) string {
	if len(w) > maxName {
		w = w[:maxName]
	}
	return strings.ToValidUTF8(w, "?")
}

// plainCharset keeps numbers out, by which servers know character sets too.
var plainCharset = regexp.MustCompile(`^[a-z][a-z0-9]*$`)

func (r *Reader) setCharset(charset string) error {
	if noClientCharsets[charset] || !plainCharset.MatchString(charset) {
		return &refusal{message: "a character set that no client can have", hint: "dump with --default-character-set=utf8mb4"}
	}
	r.mode.charset = charset
	r.mode.wide = wideLead(charset, 0xE0)
	return nil
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
				return refuse("a sql_mode that is not written out")
			}
		}
	}
	r.sqlMode, r.mode.ansiQuotes, r.mode.noBackslash = mode, ansi, plain
	return nil
}

// readsNames says whether names come out in UTF-8.
func (r *Reader) readsNames() bool {
	return strings.HasPrefix(r.mode.charset, "utf8") || r.mode.charset == "latin1" || r.mode.charset == "binary"
}

// upperLatin1 are the characters of MySQL's latin1 from 0x80 on, which are
// those of Windows. https://dev.mysql.com/doc/refman/8.4/en/charset-we-sets.html
const upperLatin1 = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ"

// decode returns a name in UTF-8 where it stands in latin1, as mysqldump
// writes views and routines in the character sets in which they were made.
func (r *Reader) decode(name string) string {
	if r.mode.charset != "latin1" || ascii(name) {
		return name
	}
	upper := []rune(upperLatin1)
	var b strings.Builder
	for _, c := range []byte(name) {
		if c >= 0x80 && c < 0xA0 {
			b.WriteRune(upper[c-0x80])
		} else {
			b.WriteRune(rune(c))
		}
	}
	return b.String()
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
