package lexer

import (
	"regexp"
	"strings"
)

// noClientCharsets cannot be told apart from SQL byte by byte, so that no
// server takes them from a client.
var noClientCharsets = map[string]bool{"ucs2": true, "utf16": true, "utf16le": true, "utf32": true}

// plainCharset keeps numbers out, by which servers know character sets too.
var plainCharset = regexp.MustCompile(`^[a-z][a-z0-9]*$`)

// SetCharset has text read in another character set of the client.
func (m *Mode) SetCharset(charset string) error {
	if noClientCharsets[charset] || !plainCharset.MatchString(charset) {
		return &Refusal{Message: "a character set that no client can have", Hint: "dump with --default-character-set=utf8mb4"}
	}
	m.Charset = charset
	m.wide = wideLead(charset, 0xE0)
	return nil
}

// ReadsNames says whether names come out in UTF-8.
func (m *Mode) ReadsNames() bool {
	return strings.HasPrefix(m.Charset, "utf8") || m.Charset == "latin1" || m.Charset == "binary"
}

// upperLatin1 are the characters of MySQL's latin1 from 0x80 on, which are
// those of Windows. https://dev.mysql.com/doc/refman/8.4/en/charset-we-sets.html
const upperLatin1 = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ"

// Decode returns a name in UTF-8 where it stands in latin1, as mysqldump
// writes views and routines in the character sets in which they were made.
func (m *Mode) Decode(name string) string {
	if m.Charset != "latin1" || ASCII(name) {
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

// ASCII says whether a text has only ASCII characters.
func ASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
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
