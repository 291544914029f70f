package sqlread

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
	maxStalls  = 100
	maxComment = 64 << 20
)

// scanner is a window on the dump that slides forward: what lies before keep is forgotten.
type scanner struct {
	r    io.Reader
	buf  []byte
	keep int   // what is needed begins here
	pos  int   // read up to here
	end  int   // filled up to here
	base int64 // of buf[0] in the dump
	done error // why no more can be read: io.EOF or an error

	line    int64 // number of lines that begin before counted, from 1
	counted int   // up to where lines are counted

	limit     int64 // how far from limitFrom the window may get
	limitFrom int64
	limitOf   string // what has the limit
	limitHint string

	mode lexMode

	discard bool // nothing before pos is needed
}

// lexMode is how the session reads text.
type lexMode struct {
	ansiQuotes  bool
	noBackslash bool
	charset     string
	wide        bool // a character's second byte may look like a quote or a backslash
	delimiter   string
}

var errTooLong = errors.New("too long")

func newScanner(r io.Reader) scanner {
	return scanner{r: r, line: 1, mode: lexMode{charset: "utf8mb4", delimiter: ";"}}
}

// more reads on. It returns false at the dump's end, at an error and where
// the limit is reached; done tells. Indexes but those of the scanner are void after it.
func (s *scanner) more() bool {
	if s.done != nil {
		return false
	}
	if s.limit > 0 && s.base+int64(s.pos)-s.limitFrom > s.limit {
		s.done = errTooLong
		return false
	}
	if s.discard {
		s.keep = s.pos
	}
	if s.end == len(s.buf) {
		if s.keep > len(s.buf)/2 || s.keep > 0 && s.keep == s.end {
			s.count(s.keep)
			copy(s.buf, s.buf[s.keep:s.end])
			s.base += int64(s.keep)
			s.pos -= s.keep
			s.end -= s.keep
			s.counted -= s.keep
			s.keep = 0
		} else {
			grown := make([]byte, max(firstBuffer, 2*len(s.buf)))
			s.count(s.keep)
			copy(grown, s.buf[s.keep:s.end])
			s.base += int64(s.keep)
			s.pos -= s.keep
			s.end -= s.keep
			s.counted -= s.keep
			s.keep, s.buf = 0, grown
		}
	}
	for range maxStalls {
		n, err := s.r.Read(s.buf[s.end:])
		if n < 0 || n > len(s.buf)-s.end {
			s.done = errors.New("the reader lies about what it read")
			return false
		}
		s.end += n
		if err != nil {
			s.done = err
		}
		if n > 0 {
			return true
		}
		if err != nil {
			return false
		}
	}
	s.done = io.ErrNoProgress
	return false
}

// shrink lets a window go that one long row has made large.
func (s *scanner) shrink() {
	if len(s.buf) > 16<<20 && s.end-s.keep < firstBuffer/2 {
		s.count(s.keep)
		small := make([]byte, firstBuffer)
		copy(small, s.buf[s.keep:s.end])
		s.base += int64(s.keep)
		s.pos -= s.keep
		s.end -= s.keep
		s.counted -= s.keep
		s.keep, s.buf = 0, small
	}
}

// count counts lines up to an index.
func (s *scanner) count(to int) {
	if to > s.counted {
		s.line += int64(bytes.Count(s.buf[s.counted:to], []byte{'\n'}))
		s.counted = to
	}
}

// lineAt returns the number of the line at an index at or after the last one asked for.
func (s *scanner) lineAt(i int) int64 {
	s.count(i)
	return s.line
}

// need makes n bytes after pos available, or as many as there are.
func (s *scanner) need(n int) bool {
	for s.end-s.pos < n {
		if !s.more() {
			return false
		}
	}
	return true
}

// at returns the byte i after pos, or 0 at the end.
func (s *scanner) at(i int) byte {
	if s.pos+i < s.end || s.need(i+1) {
		return s.buf[s.pos+i]
	}
	return 0
}

// has says whether text comes next.
func (s *scanner) has(text string) bool {
	return s.need(len(text)) && string(s.buf[s.pos:s.pos+len(text)]) == text
}

func (s *scanner) tooLong() error {
	return &refusal{message: s.limitOf + " that is longer than " + size(s.limit), hint: s.limitHint}
}

// cut returns the error of a dump that ends inside something, or that could not be read on.
func (s *scanner) cut(inside string) error {
	switch {
	case errors.Is(s.done, errTooLong):
		return s.tooLong()
	case s.done == nil || errors.Is(s.done, io.EOF):
		return &core.Error{
			Code: core.CodeDamage, Op: "read SQL dump", Message: "the dump ends inside " + inside,
			Hint: "it was cut off: the dump is not whole; take another copy of it",
		}
	default:
		return fmt.Errorf("read SQL dump: %w", s.done)
	}
}

// wordByte are the bytes of words: letters, digits, _, $ and whatever is not ASCII.
var wordByte = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 0x80 || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$'
	}
	return t
}()

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// quoted moves behind the end of a quoted text; pos is behind its first quote.
func (s *scanner) quoted(q byte, inside string) error {
	escapes := q != '`' && !s.mode.noBackslash && !(q == '"' && s.mode.ansiQuotes)
	if s.mode.wide {
		return s.quotedWide(q, escapes, inside)
	}
	for {
		w := s.buf[s.pos:s.end]
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
				s.pos += i + 1
				return nil
			}
			i += 2
		}
		// What is left is nothing, or one byte that may begin a pair.
		s.pos += i
		if s.pos > s.end {
			return errors.New("read SQL dump: passed the end of what was read")
		}
		if !s.more() {
			if s.end-s.pos == 1 && s.buf[s.pos] == q && errors.Is(s.done, io.EOF) {
				s.pos++
				return nil
			}
			return s.cut(inside)
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

func (s *scanner) quotedWide(q byte, escapes bool, inside string) error {
	for {
		if s.pos == s.end && !s.more() {
			return s.cut(inside)
		}
		c := s.buf[s.pos]
		switch {
		case wideLead(s.mode.charset, c) && s.need(2) && wideTrail(s.mode.charset, s.buf[s.pos+1]):
			s.pos += 2
		case c == '\\' && escapes:
			if !s.need(2) {
				return s.cut(inside)
			}
			s.pos += 2
		case c == q:
			s.pos++
			if s.at(0) != q {
				return nil
			}
			s.pos++
		default:
			s.pos++
		}
	}
}

// wideLead and wideTrail are the bytes of characters of two bytes whose second
// one may be ASCII. https://dev.mysql.com/doc/refman/8.4/en/charset-asian-sets.html
func wideLead(charset string, c byte) bool {
	switch charset {
	case "gbk", "gb18030":
		return c >= 0x81 && c <= 0xFE
	case "big5":
		return c >= 0xA1 && c <= 0xF9
	case "sjis", "cp932":
		return c >= 0x81 && c <= 0x9F || c >= 0xE0 && c <= 0xFC
	}
	return false
}

func wideTrail(charset string, c byte) bool {
	switch charset {
	case "gbk", "gb18030":
		return c >= 0x40 && c <= 0x7E || c >= 0x80 && c <= 0xFE
	case "big5":
		return c >= 0x40 && c <= 0x7E || c >= 0xA1 && c <= 0xFE
	case "sjis", "cp932":
		return c >= 0x40 && c <= 0x7E || c >= 0x80 && c <= 0xFC
	}
	return false
}

// toLineEnd moves to the end of the line, before its newline.
func (s *scanner) toLineEnd() error {
	for {
		if i := bytes.IndexByte(s.buf[s.pos:s.end], '\n'); i >= 0 {
			s.pos += i
			return nil
		}
		s.pos = s.end
		if !s.more() {
			if errors.Is(s.done, io.EOF) {
				return nil
			}
			return s.cut("a comment")
		}
	}
}

// toCommentEnd moves behind the end of a comment. nested says that it may hold
// comments, as the servers' lexers have it for versioned comments that they skip.
func (s *scanner) toCommentEnd(nested bool) error {
	inner := false
	for {
		i := bytes.IndexAny(s.buf[s.pos:s.end], "*/")
		if i < 0 {
			s.pos = s.end
			if !s.more() {
				return s.cut("a comment")
			}
			continue
		}
		s.pos += i
		switch {
		case s.has("*/"):
			s.pos += 2
			if !inner {
				return nil
			}
			inner = false
		case nested && !inner && s.has("/*"):
			s.pos += 2
			inner = true
		default:
			s.pos++
		}
	}
}

// dash says whether a comment of the kind "-- " begins at pos.
func (s *scanner) dash() bool {
	if s.buf[s.pos] != '-' || s.at(1) != '-' {
		return false
	}
	if !s.need(3) {
		return true
	}
	c := s.buf[s.pos+2]
	return c <= ' ' || c == 0x7f
}
