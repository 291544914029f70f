package sqlwrite

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/ddl"
)

// kinds are the objects that are not tables, in the order in which each finds
// what it needs. Sequences come before tables, all others after the rows:
// triggers would fire for every one of them.
var kinds = []string{"function", "procedure", "package", "package body", "view", "trigger", "event"}

// writeObject adds the text of an object under the settings that it was made
// under, and puts those of the dump back.
func (d *dump) writeObject(o object) {
	name := mysql.QuoteName(o.Name)
	body, delimiter, why := d.body(o)
	if why != "" {
		d.notCarried(o.Kind+" "+o.Name, why)
		return
	}
	if d.opt.Dialect == DialectITop && hasComment(o) {
		d.warn("comments", o.Kind+" "+o.Name, "iTop's restore has the mysql client leave comments out, those in its text too; what it does stays the same")
	}
	if o.Definer != "" && !d.opt.NoDefiner {
		d.definers[o.Definer] = append(d.definers[o.Definer], o.Kind+" "+o.Name)
	}
	d.comment(strings.ToUpper(o.Kind[:1]) + o.Kind[1:] + " " + name)
	mode := o.SQLMode
	if strings.HasPrefix(o.Kind, "package") && mode == "" {
		mode = "ORACLE"
	}
	d.line("SET SQL_MODE=" + mysql.QuoteText(mode) + ";")
	// While names are still in UTF-8.
	d.line("DROP " + strings.ToUpper(o.Kind) + " IF EXISTS " + name + ";")
	if o.TimeZone != "" {
		d.line("SET TIME_ZONE=" + mysql.QuoteText(o.TimeZone) + ";")
	}
	if o.Charset != "" {
		d.line("SET CHARACTER_SET_CLIENT=" + o.Charset + ", COLLATION_CONNECTION=" + o.Collation + ";")
	}
	if delimiter == ";" {
		d.line(body + ";")
	} else {
		d.line("DELIMITER " + delimiter)
		d.line(body + " " + delimiter)
		d.line("DELIMITER ;")
	}
	if o.Charset != "" {
		d.line("SET NAMES utf8mb4;")
	}
	if o.TimeZone != "" {
		d.line("SET TIME_ZONE='+00:00';")
	}
	d.line("SET SQL_MODE='" + d.mode + "';")
	d.line("")
}

// writeSequence adds the text of a sequence and the number it goes on with.
func (d *dump) writeSequence(o object) {
	name := mysql.QuoteName(o.Name)
	statement, why := d.oneStatement(o.statement)
	if why != "" {
		d.notCarried("sequence "+o.Name, why)
		return
	}
	d.comment("Sequence " + name)
	d.line("DROP SEQUENCE IF EXISTS " + name + ";")
	d.line(statement + ";")
	if next, cycle, ok := strings.Cut(o.Value, ","); ok {
		d.line(fmt.Sprintf("DO SETVAL(%s, %s, 0, %s);", name, next, cycle))
	}
	d.line("")
}

// body returns an object's statement and the delimiter to put behind it; or why
// the reader could not take it.
func (d *dump) body(o object) (text, delimiter, why string) {
	text = o.statement
	delimiter = ";"
	if o.Kind != "view" {
		for _, delimiter = range []string{";;", "$$", "//", "@@", "%%", "$_$", "$_$_$"} {
			if !strings.Contains(text, delimiter) {
				break
			}
		}
		if strings.Contains(text, delimiter) {
			return "", "", "no delimiter is left that its text does not hold"
		}
	}
	if d.opt.Dialect == DialectITFlow {
		if !passesLines(text, delimiter) {
			return "", "", "ITFlow's importer leaves out lines that are empty or begin with a comment, and ends statements at the end of a line"
		}
		return text, delimiter, ""
	}
	if ddl.TrailsInASCII(o.Charset) {
		// The client reads the text in utf8mb4, and may take half of a
		// character for a backslash or a quote.
		quote, ok := clientReads(text, !strings.Contains(o.SQLMode, "NO_BACKSLASH_ESCAPES"))
		if !ok {
			return "", "", "the mysql client misreads its text, which is in " + o.Charset
		}
		if quote != 0 {
			// To the client this ends the text that it takes for quoted; to the server it is a comment.
			d.warn("comments", o.Kind+" "+o.Name, "its text, which is in "+o.Charset+", gets a comment at its end, without which the mysql client would misread it; what it does stays the same")
			text += " -- " + string(rune(quote)) + "\n"
		}
	}
	return text, delimiter, ""
}

// clientReads reads a statement as the mysql and mariadb clients do with
// --default-character-set=utf8mb4, and returns the quote that is open at its end, 0
// for none. ok is false when they would take a part of it for a command or a
// comment to its end. backslash says that a backslash escapes.
func clientReads(text string, backslash bool) (quote byte, ok bool) {
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c >= utf8.RuneSelf:
			_, n := utf8.DecodeRuneInString(text[i:])
			i += n
		case c == '\\' && quote == 0:
			return 0, false
		case c == '\\' && backslash && quote != '`':
			i += 2
		case quote != 0:
			if c == quote {
				quote = 0
			}
			i++
		case c == '\'' || c == '"' || c == '`':
			quote = c
			i++
		case commentLength(text[i:]) > 0:
			i += commentLength(text[i:])
			if i > len(text) {
				return 0, false
			}
		default:
			i++
		}
	}
	return quote, true
}

// commentLength returns the length of the comment that text begins with, 0 for
// none; it is longer than text for one that does not end. A comment with
// a version is none.
func commentLength(text string) int {
	switch {
	case strings.HasPrefix(text, "/*") && !strings.HasPrefix(text, "/*!") && !strings.HasPrefix(text, "/*M!"):
		end := strings.Index(text[2:], "*/")
		if end < 0 {
			return len(text) + 1
		}
		return end + 4
	case strings.HasPrefix(text, "#"), strings.HasPrefix(text, "--") && (len(text) == 2 || text[2] <= ' '):
		end := strings.IndexByte(text, '\n')
		if end < 0 {
			return len(text)
		}
		return end + 1
	}
	return 0
}

// hasComment says whether an object's text has comments outside quotes.
func hasComment(o object) bool {
	backslash := !strings.Contains(o.SQLMode, "NO_BACKSLASH_ESCAPES")
	quote := byte(0)
	for i := 0; i < len(o.statement); i++ {
		c := o.statement[i]
		switch {
		case quote != 0 && c == '\\' && backslash && quote != '`':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"' || c == '`':
			quote = c
		case commentLength(o.statement[i:]) > 0:
			return true
		}
	}
	return false
}

// oneStatement returns a printed definition so that the dialect's reader takes
// it for one statement, or why it cannot.
func (d *dump) oneStatement(text string) (statement, why string) {
	if d.opt.Dialect != DialectITFlow || passesLines(text, ";") {
		return text, ""
	}
	if text = onOneLine(text); passesLines(text, ";") {
		return text, ""
	}
	return "", "ITFlow's importer takes a line of it for the end of the statement, or for none"
}

// passesLines says whether ITFlow's importer (backupImportSql) takes text for
// one statement: it leaves out lines that are empty, comments or DELIMITER, and
// ends a statement with a line that ends in the delimiter.
func passesLines(text, delimiter string) bool {
	const space = " \t\n\r\x00\x0b" // PHP's trim
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		trimmed := strings.Trim(line, space)
		if trimmed == "" || strings.HasPrefix(trimmed, "--") || strings.HasPrefix(trimmed, "#") || len(trimmed) > 9 && strings.EqualFold(trimmed[:9], "DELIMITER") {
			return false
		}
		if i+1 < len(lines) && strings.HasSuffix(strings.TrimRight(line, space), delimiter) {
			return false
		}
	}
	return true
}

// onOneLine replaces newlines outside quotes by spaces. text is a definition as
// the server prints it, without comments of its own.
func onOneLine(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); {
		if strings.IndexByte("`'\"", text[i]) >= 0 {
			n := ddl.QuotedLength(text[i:])
			if n < 0 {
				n = len(text) - i
			}
			out.WriteString(text[i : i+n])
			i += n
			continue
		}
		if text[i] == '\n' {
			out.WriteByte(' ')
		} else {
			out.WriteByte(text[i])
		}
		i++
	}
	return out.String()
}

// warnOfDefiners says for each account that objects run as what it takes to load them.
func (d *dump) warnOfDefiners() {
	for _, account := range slices.Sorted(maps.Keys(d.definers)) {
		objects, more := d.definers[account], ""
		if n := len(objects) - namedObjects; n > 0 {
			objects, more = objects[:namedObjects], fmt.Sprintf(" and %d more", n)
		}
		d.warn(CodeDefiner, "account "+account, fmt.Sprintf("%s%s run as this account: only it, or an account with SUPER, SET USER (MariaDB) or SET_ANY_DEFINER (MySQL), can load the dump to its end", strings.Join(objects, ", "), more))
	}
}

// namedObjects is how many objects of an account a warning names.
const namedObjects = 10

func (d *dump) notCarried(what, why string) {
	d.warn("not-carried", what, "it is not in the export: "+why)
}

func (d *dump) warn(code, what, message string) {
	d.warnings = append(d.warnings, core.Warning{Code: code, Object: what, Message: message})
}
