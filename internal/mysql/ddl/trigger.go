package ddl

import (
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// TriggerOn returns a trigger's statement for its table under another name. ok is
// false when the statement cannot be read byte by byte, and when a rename would
// spoil it: MariaDB writes the table's name into it in UTF-8, whatever
// character set it is in (seen on 10.11 and 11.8).
func TriggerOn(o core.SchemaObject, statement []byte, table string) (string, bool) {
	text := string(statement)
	if TrailsInASCII(o.Charset) || !ascii(o.Table) && !strings.HasPrefix(o.Charset, "utf8") {
		return "", false
	}
	backslash := !strings.Contains(o.SQLMode, "NO_BACKSLASH_ESCAPES")
	i, ok := findWord(text, "ON", backslash)
	if !ok {
		return "", false
	}
	end, ok := skipQualified(text, skipSpace(text, i+len("ON")), backslash)
	if !ok {
		return "", false
	}
	// A name that was not quoted may have ended without a space.
	return text[:i] + "ON " + mysql.QuoteName(table) + " " + text[skipSpace(text, end):], true
}

// TriggerCalled returns a trigger's statement under another name. ok is false
// when the statement cannot be read byte by byte.
func TriggerCalled(o core.SchemaObject, statement []byte, name string) (string, bool) {
	text := string(statement)
	if TrailsInASCII(o.Charset) {
		return "", false
	}
	backslash := !strings.Contains(o.SQLMode, "NO_BACKSLASH_ESCAPES")
	i, ok := findWord(text, "TRIGGER", backslash)
	if !ok {
		return "", false
	}
	start := skipIfNotExists(text, skipSpace(text, i+len("TRIGGER")))
	end, ok := skipQualified(text, start, backslash)
	if !ok {
		return "", false
	}
	return text[:start] + mysql.QuoteName(name) + " " + text[skipSpace(text, end):], true
}

// TriggerHere returns a trigger's statement without the database that may stand
// before its name and its table's: servers print a trigger as it was typed, and
// elsewhere it would be made where it came from. What cannot be read byte by
// byte is returned as it is.
func TriggerHere(o core.SchemaObject, statement []byte) []byte {
	text := string(statement)
	if TrailsInASCII(o.Charset) {
		return statement
	}
	backslash := !strings.Contains(o.SQLMode, "NO_BACKSLASH_ESCAPES")
	for _, word := range []string{"TRIGGER", "ON"} {
		i, ok := findWord(text, word, backslash)
		if !ok {
			return statement
		}
		start := skipSpace(text, i+len(word))
		if word == "TRIGGER" {
			start = skipIfNotExists(text, start)
		}
		end, ok := skipName(text, start, backslash)
		if !ok {
			return statement
		}
		if dot := skipSpace(text, end); dot < len(text) && text[dot] == '.' {
			text = text[:start] + text[skipSpace(text, dot+1):]
		}
	}
	return []byte(text)
}

func skipIfNotExists(text string, start int) int {
	for _, word := range []string{"IF", "NOT", "EXISTS"} {
		if n := len(word); start+n < len(text) && strings.EqualFold(text[start:start+n], word) && !wordByte(text[start+n]) {
			start = skipSpace(text, start+n)
		}
	}
	return start
}

// findWord finds a word that is neither quoted nor in a comment.
func findWord(text, word string, backslash bool) (int, bool) {
	for i := 0; i < len(text); {
		switch {
		case strings.IndexByte("`'\"", text[i]) >= 0:
			i += quotedLength(text[i:], backslash)
		case strings.HasPrefix(text[i:], "/*"):
			end := strings.Index(text[i+2:], "*/")
			if end < 0 {
				return 0, false
			}
			i += end + 4
		case strings.HasPrefix(text[i:], "-- "), text[i] == '#':
			end := strings.IndexByte(text[i:], '\n')
			if end < 0 {
				return 0, false
			}
			i += end + 1
		case !wordByte(text[i]):
			i++
		default:
			n := 1
			for i+n < len(text) && wordByte(text[i+n]) {
				n++
			}
			if strings.EqualFold(text[i:i+n], word) {
				return i, true
			}
			i += n
		}
	}
	return 0, false
}

// skipQualified returns where a name ends that may have a database before it.
func skipQualified(text string, start int, backslash bool) (int, bool) {
	end, ok := skipName(text, start, backslash)
	if !ok {
		return 0, false
	}
	if dot := skipSpace(text, end); dot < len(text) && text[dot] == '.' {
		return skipName(text, skipSpace(text, dot+1), backslash)
	}
	return end, true
}

func wordByte(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func skipSpace(text string, i int) int {
	for i < len(text) && strings.IndexByte(" \t\r\n\v\f", text[i]) >= 0 {
		i++
	}
	return i
}

func skipName(text string, i int, backslash bool) (int, bool) {
	if i >= len(text) {
		return 0, false
	}
	if text[i] == '`' || text[i] == '"' {
		return i + quotedLength(text[i:], backslash && text[i] != '"'), true
	}
	start := i
	for i < len(text) && wordByte(text[i]) {
		i++
	}
	return i, i > start
}

// quotedLength is QuotedLength where backslashes may mean themselves.
func quotedLength(text string, backslash bool) int {
	quote := text[0]
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quote != '`' && backslash:
			i++
		case text[i] == quote && i+1 < len(text) && text[i+1] == quote:
			i++
		case text[i] == quote:
			return i + 1
		}
	}
	return len(text)
}
