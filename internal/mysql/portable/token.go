package portable

import "strings"

// kind is what a token is.
type kind int

const (
	space   kind = iota // white space
	comment             // a comment, also a versioned one that its server skips
	word                // keyword, function or unquoted name
	name                // quoted name
	text                // string literal, with N, x or b in front where it has one
	number              //
	mark                // operator or punctuation, one byte but for -> and ->>
)

// token is a piece of a statement. The texts of all tokens of a statement
// together are the statement.
type token struct {
	kind kind
	text string
	// out is what stands in its place in the rewritten statement.
	out string
}

// dialect is how a statement is to be read.
type dialect struct {
	mariaDB     bool // which versioned comments are statements
	version     int  // 101106 for 10.11.6, 80036 for 8.0.36
	ansiQuotes  bool // "x" is a name
	noBackslash bool // \ in a string stands for itself
	charset     string
}

// wide says whether a byte begins a character whose second byte may look like
// a quote or a backslash, which is so in these character sets only.
func (d dialect) wide(b byte) bool {
	switch d.charset {
	case "big5", "gbk", "gb18030":
		return b >= 0x81 && b <= 0xFE
	case "sjis", "cp932":
		return b >= 0x81 && b <= 0x9F || b >= 0xE0 && b <= 0xFC
	}
	return false
}

// tokenize cuts a statement into tokens. It takes any bytes: what ends in the
// middle of a string or a comment ends there. Versioned comments that the
// server of the dialect runs are opened: their frame becomes space, so that
// what they hold is read by every server.
func (d dialect) tokenize(sql string) []token {
	var out []token
	opened := false
	for len(sql) > 0 {
		k, n := d.next(sql)
		t := token{kind: k, text: sql[:n], out: sql[:n]}
		switch {
		case k == comment && strings.HasPrefix(t.text, "/*") && len(t.text) > 2:
			if frame := d.versioned(t.text); frame > 0 {
				t.kind, t.text, t.out, n = space, sql[:frame], "", frame
				opened = true
			} else if t.text[2] == '!' || strings.HasPrefix(t.text, "/*M!") {
				t.out = " " // the other server might run it
			}
		case opened && k == mark && strings.HasPrefix(sql, "*/"):
			t.kind, t.text, t.out, n = space, "*/", "", 2
			opened = false
		}
		out = append(out, t)
		sql = sql[n:]
	}
	return out
}

// versioned returns the length of the frame before what a versioned comment
// holds, or 0 when the server of the dialect skips the comment.
// https://mariadb.com/kb/en/comment-syntax/: MariaDB skips /*!50700 … to
// /*!99999, which are MySQL's. MySQL knows no /*M!.
func (d dialect) versioned(c string) int {
	n := 0
	switch {
	case strings.HasPrefix(c, "/*!"):
		n = 3
	case strings.HasPrefix(c, "/*M!") && d.mariaDB:
		n = 4
	default:
		return 0
	}
	digits := 0
	for n+digits < len(c) && digits < 6 && c[n+digits] >= '0' && c[n+digits] <= '9' {
		digits++
	}
	if digits < 5 {
		return n
	}
	version := 0
	for _, b := range []byte(c[n : n+digits]) {
		version = version*10 + int(b-'0')
	}
	if !d.mariaDB && digits == 6 && (n+6 >= len(c) || !isSpace(c[n+6])) {
		digits, version = 5, version/10 // MySQL takes a sixth digit only before a blank
	}
	if d.mariaDB && n == 3 && version >= 50700 && version <= 99999 || version > d.version {
		return 0
	}
	return n + digits
}

// next returns the kind and length of the token that sql begins with.
func (d dialect) next(sql string) (kind, int) {
	b := sql[0]
	switch {
	case isSpace(b):
		return space, span(sql, isSpace)
	case b == '#' || strings.HasPrefix(sql, "--") && (len(sql) == 2 || isSpace(sql[2]) || sql[2] < ' '):
		if i := strings.IndexByte(sql, '\n'); i >= 0 {
			return comment, i
		}
		return comment, len(sql)
	case strings.HasPrefix(sql, "/*"):
		return comment, d.commentEnd(sql)
	case b == '`':
		return name, d.quoteEnd(sql, 0, false)
	case b == '"' && d.ansiQuotes:
		return name, d.quoteEnd(sql, 0, false)
	case b == '\'' || b == '"':
		return text, d.quoteEnd(sql, 0, !d.noBackslash)
	case len(sql) > 1 && sql[1] == '\'' && strings.IndexByte("xXbBnN", b) >= 0:
		return text, d.quoteEnd(sql, 1, !d.noBackslash)
	case b >= '0' && b <= '9' || b == '.' && len(sql) > 1 && sql[1] >= '0' && sql[1] <= '9':
		return d.numberOrWord(sql)
	case isWord(b):
		return word, d.wordEnd(sql)
	case strings.HasPrefix(sql, "->>"):
		return mark, 3
	case strings.HasPrefix(sql, "->"):
		return mark, 2
	}
	return mark, 1
}

// commentEnd finds the end of the comment that sql begins with. A versioned
// comment may hold comments and strings of its own.
func (d dialect) commentEnd(sql string) int {
	for _, head := range []string{"/*!", "/*M!"} {
		if !strings.HasPrefix(sql, head) {
			continue
		}
		for i := len(head); i < len(sql); {
			if strings.HasPrefix(sql[i:], "*/") {
				return i + 2
			}
			_, n := d.next(sql[i:])
			i += n
		}
		return len(sql)
	}
	if i := strings.Index(sql[2:], "*/"); i >= 0 {
		return 2 + i + 2
	}
	return len(sql)
}

// quoteEnd finds the end of the quoted text whose first quote is at from.
func (d dialect) quoteEnd(sql string, from int, backslash bool) int {
	quote := sql[from]
	for i := from + 1; i < len(sql); i++ {
		switch {
		case d.wide(sql[i]) && i+1 < len(sql):
			i++
		case sql[i] == '\\' && backslash:
			i++
		case sql[i] != quote:
		case i+1 < len(sql) && sql[i+1] == quote:
			i++
		default:
			return i + 1
		}
	}
	return len(sql)
}

// unquote returns what a string literal stands for.
// https://dev.mysql.com/doc/refman/8.4/en/string-literals.html
func (d dialect) unquote(literal string) string {
	if len(literal) < 2 {
		return literal
	}
	quote, body := literal[0], literal[1:len(literal)-1]
	var out strings.Builder
	for i := 0; i < len(body); i++ {
		c := body[i]
		switch {
		case d.wide(c) && i+1 < len(body):
			out.WriteByte(c)
			i++
			c = body[i]
		case c == quote:
			i++ // the second of two
		case c == '\\' && !d.noBackslash && i+1 < len(body):
			i++
			switch c = body[i]; c {
			case '0':
				c = 0
			case 'b':
				c = '\b'
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			case 't':
				c = '\t'
			case 'Z':
				c = 26
			case '%', '_':
				out.WriteByte('\\') // only LIKE makes something of it
			}
		}
		out.WriteByte(c)
	}
	return out.String()
}

// numberOrWord reads a number, or a name that begins with a digit.
func (d dialect) numberOrWord(sql string) (kind, int) {
	n := span(sql, func(b byte) bool { return b >= '0' && b <= '9' })
	if n == 1 && len(sql) > 2 && sql[0] == '0' && strings.IndexByte("xXbB", sql[1]) >= 0 {
		return number, 2 + span(sql[2:], isHex)
	}
	point := n < len(sql) && sql[n] == '.'
	if point {
		n += 1 + span(sql[n+1:], func(b byte) bool { return b >= '0' && b <= '9' })
	}
	if n < len(sql) && (sql[n] == 'e' || sql[n] == 'E') {
		e := n + 1
		if e < len(sql) && (sql[e] == '+' || sql[e] == '-') {
			e++
		}
		if digits := span(sql[e:], func(b byte) bool { return b >= '0' && b <= '9' }); digits > 0 {
			return number, e + digits
		}
	}
	if !point && n < len(sql) && isWord(sql[n]) {
		return word, d.wordEnd(sql)
	}
	return number, n
}

func (d dialect) wordEnd(sql string) int {
	i := 0
	for i < len(sql) && isWord(sql[i]) {
		if d.wide(sql[i]) && i+1 < len(sql) {
			i++
		}
		i++
	}
	return i
}

func span(s string, in func(byte) bool) int {
	for i := range len(s) {
		if !in(s[i]) {
			return i
		}
	}
	return len(s)
}

func isSpace(b byte) bool {
	return b == ' ' || b == '\t' || b == '\n' || b == '\r' || b == '\v' || b == '\f'
}

func isWord(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_' || b == '$' || b >= 0x80
}

func isHex(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F'
}
