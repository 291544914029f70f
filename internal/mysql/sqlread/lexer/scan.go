// Package lexer cuts SQL dumps into tokens as the servers' own lexers do, in
// whatever portions they are read. It is the lower half of package sqlread.
package lexer

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/backstay/backstay/internal/core"
)

const (
	firstBuffer = 64 << 10
	// maxStalls is how often in a row a reader may return nothing.
	maxStalls = 100
	// MaxComment is the longest comment in bytes.
	MaxComment = 64 << 20
)

// Lexer is a window on the dump that slides forward, and cuts it into tokens:
// what lies before Keep is forgotten. It is used by one goroutine.
type Lexer struct {
	r    io.Reader
	Buf  []byte
	Keep int   // what is needed begins here
	Pos  int   // read up to here
	End  int   // filled up to here
	Base int64 // of Buf[0] in the dump
	Done error // why no more can be read: io.EOF or an error

	line    int64 // number of lines that begin before counted, from 1
	counted int   // up to where lines are counted

	Limit     int64 // how far from LimitFrom the window may get; 0: as far as it likes
	LimitFrom int64
	LimitOf   string // what has the limit
	LimitHint string

	Mode    Mode
	Discard bool // nothing before Pos is needed

	MariaDB   bool // the server that the dump is read for, which decides on versioned comments
	Version   int
	Versioned bool // in a versioned comment that is read
}

// Mode is how the session reads text.
type Mode struct {
	ANSIQuotes  bool
	NoBackslash bool
	Charset     string
	Delimiter   string
	Wide        bool // a character's second byte may look like a quote or a backslash
}

// ErrTooLong is Done where Limit was reached.
var ErrTooLong = errors.New("too long")

// New returns a lexer of the dump r.
func New(r io.Reader) Lexer {
	return Lexer{r: r, line: 1, Mode: Mode{Charset: "utf8mb4", Delimiter: ";"}}
}

// More reads on. It returns false at the dump's end, at an error and where
// the limit is reached; done tells. Indexes but those of the scanner are void after it.
func (s *Lexer) More() bool {
	if s.Done != nil {
		return false
	}
	if s.Limit > 0 && s.Base+int64(s.Pos)-s.LimitFrom > s.Limit {
		s.Done = ErrTooLong
		return false
	}
	if s.Discard {
		s.Keep = s.Pos
	}
	if s.End == len(s.Buf) {
		if s.Keep > len(s.Buf)/2 || s.Keep > 0 && s.Keep == s.End {
			s.count(s.Keep)
			copy(s.Buf, s.Buf[s.Keep:s.End])
			s.Base += int64(s.Keep)
			s.Pos -= s.Keep
			s.End -= s.Keep
			s.counted -= s.Keep
			s.Keep = 0
		} else {
			grown := make([]byte, max(firstBuffer, 2*len(s.Buf)))
			s.count(s.Keep)
			copy(grown, s.Buf[s.Keep:s.End])
			s.Base += int64(s.Keep)
			s.Pos -= s.Keep
			s.End -= s.Keep
			s.counted -= s.Keep
			s.Keep, s.Buf = 0, grown
		}
	}
	for range maxStalls {
		n, err := s.r.Read(s.Buf[s.End:])
		if n < 0 || n > len(s.Buf)-s.End {
			s.Done = errors.New("the reader lies about what it read")
			return false
		}
		s.End += n
		if err != nil {
			s.Done = err
		}
		if n > 0 {
			return true
		}
		if err != nil {
			return false
		}
	}
	s.Done = io.ErrNoProgress
	return false
}

// Shrink lets a window go that one long row has made large.
func (s *Lexer) Shrink() {
	if len(s.Buf) > 16<<20 && s.End-s.Keep < firstBuffer/2 {
		s.count(s.Keep)
		small := make([]byte, firstBuffer)
		copy(small, s.Buf[s.Keep:s.End])
		s.Base += int64(s.Keep)
		s.Pos -= s.Keep
		s.End -= s.Keep
		s.counted -= s.Keep
		s.Keep, s.Buf = 0, small
	}
}

// count counts lines up to an index.
func (s *Lexer) count(to int) {
	if to > s.counted {
		s.line += int64(bytes.Count(s.Buf[s.counted:to], []byte{'\n'}))
		s.counted = to
	}
}

// LineAt returns the number of the line at an index at or after the last one asked for.
func (s *Lexer) LineAt(i int) int64 {
	s.count(i)
	return s.line
}

// Need makes n bytes after pos available, or as many as there are.
func (s *Lexer) Need(n int) bool {
	for s.End-s.Pos < n {
		if !s.More() {
			return false
		}
	}
	return true
}

// At returns the byte i after pos, or 0 at the end.
func (s *Lexer) At(i int) byte {
	if s.Pos+i < s.End || s.Need(i+1) {
		return s.Buf[s.Pos+i]
	}
	return 0
}

// Has says whether text comes next.
func (s *Lexer) Has(text string) bool {
	return s.Need(len(text)) && string(s.Buf[s.Pos:s.Pos+len(text)]) == text
}

func (s *Lexer) TooLong() error {
	return &Refusal{Message: s.LimitOf + " that is longer than " + size(s.Limit), Hint: s.LimitHint}
}

// Cut returns the error of a dump that ends inside something, or that could not be read on.
func (s *Lexer) Cut(inside string) error {
	switch {
	case errors.Is(s.Done, ErrTooLong):
		return s.TooLong()
	case s.Done == nil || errors.Is(s.Done, io.EOF):
		return &core.Error{
			Code: core.CodeDamage, Op: "read SQL dump", Message: "the dump ends inside " + inside,
			Hint: "it was cut off: the dump is not whole; take another copy of it",
		}
	default:
		return fmt.Errorf("read SQL dump: %w", s.Done)
	}
}

// WordByte are the bytes of words: letters, digits, _, $ and whatever is not ASCII.
var WordByte = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 0x80 || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$'
	}
	return t
}()

func IsSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// Quoted moves behind the end of a quoted text; pos is behind its first quote.
func (s *Lexer) Quoted(q byte, inside string) error {
	escapes := q != '`' && !s.Mode.NoBackslash && !(q == '"' && s.Mode.ANSIQuotes)
	if s.Mode.Wide {
		return s.quotedWide(q, escapes, inside)
	}
	for {
		w := s.Buf[s.Pos:s.End]
		i := 0
		for {
			n := seek(w[i:], q, escapes)
			if n < 0 {
				i = len(w)
				break
			}
			i += n
			if i+1 >= len(w) {
				break
			}
			if w[i] == q && w[i+1] != q {
				s.Pos += i + 1
				return nil
			}
			i += 2
		}
		// What is left is nothing, or one byte that may begin a pair.
		s.Pos += i
		if s.Pos > s.End {
			return errors.New("read SQL dump: passed the end of what was read")
		}
		if !s.More() {
			if s.End-s.Pos == 1 && s.Buf[s.Pos] == q && errors.Is(s.Done, io.EOF) {
				s.Pos++
				return nil
			}
			return s.Cut(inside)
		}
	}
}

// near is how far to look byte by byte: most texts are short, and calls cost.
const near = 24

// seek returns where the next quote, or the next backslash, is.
func seek(w []byte, q byte, escapes bool) int {
	n := min(near, len(w))
	for i, c := range w[:n] {
		if c == q || c == '\\' && escapes {
			return i
		}
	}
	// Blocks, so that many backslashes before a far quote cost no squares.
	for from, block := n, 256; from < len(w); block = min(2*block, 64<<10) {
		part := w[from:min(from+block, len(w))]
		i := bytes.IndexByte(part, q)
		if escapes {
			if i >= 0 {
				part = part[:i]
			}
			if b := bytes.IndexByte(part, '\\'); b >= 0 {
				i = b
			}
		}
		if i >= 0 {
			return from + i
		}
		from += block
	}
	return -1
}

// quotedWide is Quoted for character sets in whose characters a quote can hide.
// Text that has such characters is refused behind its end, which is a guess then.
func (s *Lexer) quotedWide(q byte, escapes bool, inside string) error {
	foreign := false
	for {
		if s.Pos == s.End && !s.More() {
			return s.Cut(inside)
		}
		c := s.Buf[s.Pos]
		foreign = foreign || c >= 0x80
		switch {
		case wideLead(s.Mode.Charset, c) && s.Need(2) && wideTrail(s.Mode.Charset, s.Buf[s.Pos+1]):
			s.Pos += 2
		case c == '\\' && escapes:
			if !s.Need(2) {
				return s.Cut(inside)
			}
			s.Pos += 2
		case c == q:
			s.Pos++
			if s.At(0) == q {
				s.Pos++
				continue
			}
			if foreign {
				return s.Mode.WideText()
			}
			return nil
		default:
			s.Pos++
		}
	}
}

// ToLineEnd moves to the end of the line, before its newline.
func (s *Lexer) ToLineEnd() error {
	for {
		if i := bytes.IndexByte(s.Buf[s.Pos:s.End], '\n'); i >= 0 {
			s.Pos += i
			return nil
		}
		s.Pos = s.End
		if !s.More() {
			if errors.Is(s.Done, io.EOF) {
				return nil
			}
			return s.Cut("a comment")
		}
	}
}

// ToCommentEnd moves behind the end of a comment. nested says that it may hold
// comments, as the servers' lexers have it for versioned comments that they skip.
func (s *Lexer) ToCommentEnd(nested bool) error {
	inner := false
	for {
		i := bytes.IndexAny(s.Buf[s.Pos:s.End], "*/")
		if i < 0 {
			s.Pos = s.End
			if !s.More() {
				return s.Cut("a comment")
			}
			continue
		}
		s.Pos += i
		switch {
		case s.Has("*/"):
			s.Pos += 2
			if !inner {
				return nil
			}
			inner = false
		case nested && !inner && s.Has("/*"):
			s.Pos += 2
			inner = true
		default:
			s.Pos++
		}
	}
}

// Dash says whether a comment of the kind "-- " begins at pos.
func (s *Lexer) Dash() bool {
	if s.Buf[s.Pos] != '-' || s.At(1) != '-' {
		return false
	}
	if !s.Need(3) {
		return true
	}
	return s.Buf[s.Pos+2] <= ' '
}

// OddDash says whether two dashes come with a byte behind them that makes a
// comment of them in some character sets only.
func (s *Lexer) OddDash() bool {
	return s.Buf[s.Pos] == '-' && s.At(1) == '-' && (s.At(2) == 0x7f || s.At(2) >= 0x80 && !s.Mode.Unicode())
}

// OddByte is the refusal of a byte that not every server reads alike.
func OddByte() error {
	return &Refusal{Message: "a character outside quotes that servers read in different ways", Hint: "dump with --default-character-set=utf8mb4"}
}
