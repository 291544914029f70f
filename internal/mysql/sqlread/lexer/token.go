package lexer

import (
	"errors"
	"io"
	"strconv"
)

// Kind is what a token is.
type Kind uint8

// The kinds.
const (
	EOF       Kind = iota // the dump's end
	Delimiter             // the statement's end
	Word
	Number
	String
	Name  // quoted
	Mark  // one byte
	Frame // begin or end of a versioned comment that is read, or one that is skipped
	Comment
)

// Sandbox is how mariadb-dump has the client give up commands that reach the
// system. https://mariadb.org/mariadb-dump-file-compatibility-change/
const Sandbox = `/*M!999999\- enable the sandbox mode */`

// Next reads a token; it begins at pos.
func (l *Lexer) Next() (Kind, error) {
	if l.Pos == l.End && !l.More() {
		if errors.Is(l.Done, io.EOF) {
			return EOF, nil
		}
		return EOF, l.Cut("")
	}
	c := l.Buf[l.Pos]
	if c == l.Mode.Delimiter[0] && !l.Versioned && l.Has(l.Mode.Delimiter) {
		l.Pos += len(l.Mode.Delimiter)
		return Delimiter, nil
	}
	switch {
	case c == '\'' || c == '"' || c == '`':
		l.Pos++
		if c == '`' || c == '"' && l.Mode.ANSIQuotes {
			return Name, l.Quoted(c, "a quoted name")
		}
		return String, l.Quoted(c, "a text")
	case c == '#' || c == '-' && l.Dash():
		return Comment, l.ToLineEnd()
	case c == '/' && l.At(1) == '*':
		return l.comment()
	case c == '*' && l.At(1) == '/':
		if !l.Versioned {
			return Mark, Damaged("a comment ends here that has not begun")
		}
		l.Versioned = false
		l.Pos += 2
		return Frame, nil
	case c == '\\':
		if l.At(1) == 'N' {
			l.Pos += 2
			return Word, nil
		}
		return Mark, &Refusal{Message: `a command of the mysql client (\` + Printable(l.At(1)) + `)`, Hint: "no dump needs one: take it out if you know what it is for"}
	case c == 0:
		return Mark, Damaged("there are zero bytes where a statement is to be")
	case WordByte[c]:
		return l.word(), nil
	}
	l.Pos++
	return Mark, nil
}

func (l *Lexer) word() Kind {
	digits := true
	for {
		w := l.Buf[l.Pos:l.End]
		for i, c := range w {
			if !WordByte[c] || c == '$' && l.Mode.Delimiter[0] == '$' {
				l.Pos += i
				if digits {
					return Number
				}
				return Word
			}
			digits = digits && c >= '0' && c <= '9'
		}
		l.Pos = l.End
		if !l.More() {
			if digits {
				return Number
			}
			return Word
		}
	}
}

// comment reads a comment of the kind /* */, or the begin of a versioned one
// that the server reads. It follows MY_LEX_LONG_COMMENT of both servers' sql_lex.cc.
func (l *Lexer) comment() (Kind, error) {
	if l.Has(Sandbox) {
		l.Pos += len(Sandbox)
		return Frame, nil
	}
	mark := 0
	switch {
	case l.At(2) == '!':
		mark = 3
	case l.At(2) == 'M' && l.At(3) == '!':
		mark = 4
	default:
		l.Pos += 2
		return Comment, l.ToCommentEnd(false)
	}
	digits := 0
	for digits < 6 && l.At(mark+digits) >= '0' && l.At(mark+digits) <= '9' {
		digits++
	}
	if digits < 5 {
		digits = 0
	}
	version, _ := strconv.Atoi(string(l.Buf[l.Pos+mark : l.Pos+mark+digits])) // digits or nothing
	if !l.runs(mark == 4, version) {
		return l.skipped(mark + digits)
	}
	if l.Versioned {
		return Frame, &Refusal{Message: "a versioned comment within another one", Hint: "no server reads them alike"}
	}
	l.Versioned = true
	l.Pos += mark + digits
	return Frame, nil
}

// runs says whether the server reads a versioned comment. MariaDB leaves
// /*!50700 to /*!99999 to MySQL, and MySQL knows no /*M!.
// https://mariadb.com/kb/en/comment-syntax/
func (l *Lexer) runs(mariaMark bool, version int) bool {
	if !l.MariaDB {
		return !mariaMark && version <= l.Version
	}
	return version <= l.Version && (mariaMark || version < 50700 || version > 99999)
}

// skipped reads over a versioned comment that the server skips. The client
// obeys commands even there.
func (l *Lexer) skipped(frame int) (Kind, error) {
	l.Pos += frame
	from := l.Base + int64(l.Pos)
	if err := l.ToCommentEnd(true); err != nil {
		return Frame, err
	}
	start := int(from - l.Base)
	if start >= l.Keep {
		quote := byte(0)
		for i := start; i < l.Pos; i++ {
			switch c := l.Buf[i]; {
			case quote != 0 && c == '\\':
				i++
			case quote != 0 && c == quote:
				quote = 0
			case quote == 0 && (c == '\'' || c == '"' || c == '`'):
				quote = c
			case quote == 0 && c == '\\':
				return Frame, &Refusal{Message: "a command of the mysql client in a comment", Hint: "no dump needs one: take it out if you know what it is for"}
			}
		}
	}
	return Frame, nil
}

// Refusal is why a statement is not taken; the reader adds where it stands.
type Refusal struct {
	Message, Hint string
	Damage        bool
}

func (r *Refusal) Error() string { return r.Message }

func Refuse(message string) error { return &Refusal{Message: message} }

func Damaged(message string) error {
	return &Refusal{Message: message, Damage: true, Hint: "the dump is damaged: take another copy of it"}
}

func Printable(c byte) string {
	if c > ' ' && c < 0x7f {
		return string(rune(c))
	}
	return "?"
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
