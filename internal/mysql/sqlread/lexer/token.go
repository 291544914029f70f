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
func (s *Lexer) Next() (Kind, error) {
	if s.Pos == s.End && !s.More() {
		if errors.Is(s.Done, io.EOF) {
			return EOF, nil
		}
		return EOF, s.Cut("")
	}
	c := s.Buf[s.Pos]
	if c == s.Mode.Delimiter[0] && !s.Versioned && s.Has(s.Mode.Delimiter) {
		s.Pos += len(s.Mode.Delimiter)
		return Delimiter, nil
	}
	switch {
	case c == '\'' || c == '"' || c == '`':
		s.Pos++
		if c == '`' || c == '"' && s.Mode.ANSIQuotes {
			return Name, s.Quoted(c, "a quoted name")
		}
		return String, s.Quoted(c, "a text")
	case c == '#' || c == '-' && s.Dash():
		return Comment, s.ToLineEnd()
	case c == '/' && s.At(1) == '*':
		return s.comment()
	case c == '*' && s.At(1) == '/':
		if !s.Versioned {
			return Mark, Damaged("a comment ends here that has not begun")
		}
		s.Versioned = false
		s.Pos += 2
		return Frame, nil
	case c == '\\':
		if s.At(1) == 'N' {
			s.Pos += 2
			return Word, nil
		}
		return Mark, &Refusal{Message: `a command of the mysql client (\` + Printable(s.At(1)) + `)`, Hint: "no dump needs one: take it out if you know what it is for"}
	case c == 0:
		return Mark, Damaged("there are zero bytes where a statement is to be")
	case WordByte[c]:
		return s.word()
	case c == '-' && s.OddDash():
		return Mark, OddByte()
	}
	s.Pos++
	return Mark, nil
}

func (s *Lexer) word() (Kind, error) {
	kind, odd := Number, false
	end := func() (Kind, error) {
		if odd && !s.Mode.Unicode() {
			return kind, OddByte()
		}
		return kind, nil
	}
	for {
		w := s.Buf[s.Pos:s.End]
		for i, c := range w {
			if !WordByte[c] || c == '$' && s.Mode.Delimiter[0] == '$' {
				s.Pos += i
				return end()
			}
			if c < '0' || c > '9' {
				kind = Word
			}
			odd = odd || c >= 0x80
		}
		s.Pos = s.End
		if !s.More() {
			return end()
		}
	}
}

// comment reads a comment of the kind /* */, or the begin of a versioned one
// that the server reads. It follows MY_LEX_LONG_COMMENT of both servers' sql_lex.cc.
func (s *Lexer) comment() (Kind, error) {
	if s.Has(Sandbox) {
		s.Pos += len(Sandbox)
		return Frame, nil
	}
	mark := 0
	switch {
	case s.At(2) == '!':
		mark = 3
	case s.At(2) == 'M' && s.At(3) == '!':
		mark = 4
	default:
		s.Pos += 2
		return Comment, s.ToCommentEnd(false)
	}
	digits := 0
	for digits < 6 && s.At(mark+digits) >= '0' && s.At(mark+digits) <= '9' {
		digits++
	}
	if digits < 5 {
		digits = 0
	}
	version, _ := strconv.Atoi(string(s.Buf[s.Pos+mark : s.Pos+mark+digits])) // digits or nothing
	if !Runs(s.MariaDB, s.Version, mark == 4, version) {
		return s.skipped(mark + digits)
	}
	if s.Versioned {
		return Frame, &Refusal{Message: "a versioned comment within another one", Hint: "no server reads them alike"}
	}
	s.Versioned = true
	s.Pos += mark + digits
	return Frame, nil
}

// Runs says whether a server reads a versioned comment. MariaDB leaves
// /*!50700 to /*!99999 to MySQL, and MySQL knows no /*M!.
// https://mariadb.com/kb/en/comment-syntax/
func Runs(mariaDB bool, server int, mariaMark bool, version int) bool {
	if !mariaDB {
		return !mariaMark && version <= server
	}
	return version <= server && (mariaMark || version < 50700 || version > 99999)
}

// skipped reads over a versioned comment that the server skips. The client
// obeys commands even there.
func (s *Lexer) skipped(frame int) (Kind, error) {
	s.Pos += frame
	from := s.Base + int64(s.Pos)
	if err := s.ToCommentEnd(true); err != nil {
		return Frame, err
	}
	start := int(from - s.Base)
	if start >= s.Keep {
		quote := byte(0)
		for i := start; i < s.Pos; i++ {
			switch c := s.Buf[i]; {
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
