package sqlread

import (
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
)

type tokenKind uint8

const (
	tokenEnd       tokenKind = iota // the dump's end
	tokenDelimiter                  // the statement's end
	tokenWord
	tokenNumber
	tokenString
	tokenName  // quoted
	tokenMark  // one byte
	tokenFrame // begin or end of a versioned comment that is read, or one that is skipped
	tokenComment
)

// token is a piece of a statement, by its place behind scanner.keep.
type token struct {
	from, to int32
	kind     tokenKind
}

// lexer cuts the dump into tokens.
type lexer struct {
	scanner
	opt       Options
	mariaDB   bool
	version   int
	versioned bool // in a versioned comment that is read
}

// sandbox is how mariadb-dump has the client give up commands that reach the
// system. https://mariadb.org/mariadb-dump-file-compatibility-change/
const sandbox = `/*M!999999\- enable the sandbox mode */`

// next reads a token; it begins at pos.
func (l *lexer) next() (tokenKind, error) {
	if l.pos == l.end && !l.more() {
		if errors.Is(l.done, io.EOF) {
			return tokenEnd, nil
		}
		return tokenEnd, l.cut("")
	}
	c := l.buf[l.pos]
	if c == l.mode.delimiter[0] && !l.versioned && l.has(l.mode.delimiter) {
		l.pos += len(l.mode.delimiter)
		return tokenDelimiter, nil
	}
	switch {
	case c == '\'' || c == '"' || c == '`':
		l.pos++
		if c == '`' || c == '"' && l.mode.ansiQuotes {
			return tokenName, l.quoted(c, "a quoted name")
		}
		return tokenString, l.quoted(c, "a text")
	case c == '#' || c == '-' && l.dash():
		return tokenComment, l.toLineEnd()
	case c == '/' && l.at(1) == '*':
		return l.comment()
	case c == '*' && l.at(1) == '/':
		if !l.versioned {
			return tokenMark, damaged("a comment ends here that has not begun")
		}
		l.versioned = false
		l.pos += 2
		return tokenFrame, nil
	case c == '\\':
		if l.at(1) == 'N' {
			l.pos += 2
			return tokenWord, nil
		}
		return tokenMark, &refusal{message: `a command of the mysql client (\` + printable(l.at(1)) + `)`, hint: "no dump needs one: take it out if you know what it is for"}
	case c == 0:
		return tokenMark, damaged("there are zero bytes where a statement is to be")
	case wordByte[c]:
		return l.word(), nil
	}
	l.pos++
	return tokenMark, nil
}

func (l *lexer) word() tokenKind {
	digits := true
	for {
		w := l.buf[l.pos:l.end]
		for i, c := range w {
			if !wordByte[c] || c == '$' && l.mode.delimiter[0] == '$' {
				l.pos += i
				if digits {
					return tokenNumber
				}
				return tokenWord
			}
			digits = digits && c >= '0' && c <= '9'
		}
		l.pos = l.end
		if !l.more() {
			if digits {
				return tokenNumber
			}
			return tokenWord
		}
	}
}

// comment reads a comment of the kind /* */, or the begin of a versioned one
// that the server reads. It follows MY_LEX_LONG_COMMENT of both servers' sql_lex.cc.
func (l *lexer) comment() (tokenKind, error) {
	if l.has(sandbox) {
		l.pos += len(sandbox)
		return tokenFrame, nil
	}
	mark := 0
	switch {
	case l.at(2) == '!':
		mark = 3
	case l.at(2) == 'M' && l.at(3) == '!':
		mark = 4
	default:
		l.pos += 2
		return tokenComment, l.toCommentEnd(false)
	}
	digits := 0
	for digits < 6 && l.at(mark+digits) >= '0' && l.at(mark+digits) <= '9' {
		digits++
	}
	if digits < 5 {
		digits = 0
	}
	version, _ := strconv.Atoi(string(l.buf[l.pos+mark : l.pos+mark+digits])) // digits or nothing
	if !l.runs(mark == 4, version) {
		return l.skipped(mark + digits)
	}
	if l.versioned {
		return tokenFrame, &refusal{message: "a versioned comment within another one", hint: "no server reads them alike"}
	}
	l.versioned = true
	l.pos += mark + digits
	return tokenFrame, nil
}

// runs says whether the server reads a versioned comment. MariaDB leaves
// /*!50700 to /*!99999 to MySQL, and MySQL knows no /*M!.
// https://mariadb.com/kb/en/comment-syntax/
func (l *lexer) runs(mariaMark bool, version int) bool {
	if !l.mariaDB {
		return !mariaMark && version <= l.version
	}
	return version <= l.version && (mariaMark || version < 50700 || version > 99999)
}

// skipped reads over a versioned comment that the server skips. The client
// obeys commands even there.
func (l *lexer) skipped(frame int) (tokenKind, error) {
	l.pos += frame
	from := l.base + int64(l.pos)
	if err := l.toCommentEnd(true); err != nil {
		return tokenFrame, err
	}
	start := int(from - l.base)
	if start >= l.keep {
		quote := byte(0)
		for i := start; i < l.pos; i++ {
			switch c := l.buf[i]; {
			case quote != 0 && c == '\\':
				i++
			case quote != 0 && c == quote:
				quote = 0
			case quote == 0 && (c == '\'' || c == '"' || c == '`'):
				quote = c
			case quote == 0 && c == '\\':
				return tokenFrame, &refusal{message: "a command of the mysql client in a comment", hint: "no dump needs one: take it out if you know what it is for"}
			}
		}
	}
	return tokenFrame, nil
}

// refusal is why a statement is not taken; the reader adds where it stands.
type refusal struct {
	message, hint string
	damage        bool
}

func (r *refusal) Error() string { return r.message }

func refuse(message string) error { return &refusal{message: message} }

func damaged(message string) error {
	return &refusal{message: message, damage: true, hint: "the dump is damaged: take another copy of it"}
}

func printable(c byte) string {
	if c > ' ' && c < 0x7f {
		return string(rune(c))
	}
	return "?"
}

// piece is a significant token for the grammar.
type piece struct {
	kind    tokenKind
	text    string
	upper   string // of words
	from    int32  // its place in the statement's raw text
	to      int32
	dropped bool // left out of the text that is sent
}

// maxPieces bounds the memory that a statement of many small tokens takes.
const maxPieces = 1 << 20

// unquote returns what a quoted name or a plain text stands for.
func unquote(t string, escapes bool) string {
	if len(t) < 2 {
		return t
	}
	q := t[:1]
	in := strings.ReplaceAll(t[1:len(t)-1], q+q, q)
	if !escapes || !strings.Contains(in, `\`) {
		return in
	}
	var b strings.Builder
	for i := 0; i < len(in); i++ {
		if in[i] == '\\' && i+1 < len(in) {
			i++
		}
		b.WriteByte(in[i])
	}
	return b.String()
}

// located turns what is wrong into an error for a person.
func located(err error, line int64, begin string) error {
	var r *refusal
	if !errors.As(err, &r) {
		var e *core.Error
		if errors.As(err, &e) && e.Code == core.CodeDamage {
			return &core.Error{Code: e.Code, Op: e.Op, Message: e.Message + " that begins at line " + strconv.FormatInt(line, 10), Hint: e.Hint}
		}
		return err
	}
	code, hint := core.CodeUnsupported, r.hint
	if r.damage {
		code = core.CodeDamage
	}
	if hint == "" {
		hint = "only what dumps consist of is read, so that nothing else on the server can be touched; take the statement out of the dump if it is not needed"
	}
	message := "line " + strconv.FormatInt(line, 10) + ": " + r.message
	if begin != "" {
		message += ": " + begin
	}
	return &core.Error{Code: code, Op: "read SQL dump", Message: message, Hint: hint}
}

// size writes a number of bytes for a person.
func size(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return strconv.FormatInt(n>>30, 10) + " GiB"
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.FormatInt(n>>20, 10) + " MiB"
	}
	return strconv.FormatInt(n, 10) + " bytes"
}

// clean makes text of a dump fit for a message.
func clean(text []byte, limit int) string {
	if len(text) > limit {
		text = text[:limit]
	}
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == '\uFFFD' {
			return '?'
		}
		return c
	}, strings.ToValidUTF8(string(text), "?")))
}
