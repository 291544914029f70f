package lexer

import "strings"

// clientCharsets are the character sets in which every byte under 0x80 that
// stands outside quotes is what it is in ASCII: not ucs2, utf16 and utf32, which
// no server takes from a client, and not swe7, where the marks of SQL are letters.
// https://dev.mysql.com/doc/refman/8.4/en/charset-charsets.html
var clientCharsets = func() map[string]bool {
	known := map[string]bool{}
	for _, name := range strings.Fields(`armscii8 ascii big5 binary cp1250 cp1251 cp1256 cp1257 cp850 cp852 cp866 cp932 dec8 eucjpms euckr gb18030 gb2312 gbk geostd8
		greek hebrew hp8 keybcs2 koi8r koi8u latin1 latin2 latin5 latin7 macce macroman sjis tis620 ujis utf8 utf8mb3 utf8mb4`) {
		known[name] = true
	}
	return known
}()

// SetCharset has text read in another character set of the client.
func (m *Mode) SetCharset(charset string) error {
	if !clientCharsets[charset] {
		return &Refusal{Message: "a character set in which SQL cannot be read safely (" + Clean([]byte(charset), 32) + ")", Hint: "dump with --default-character-set=utf8mb4"}
	}
	m.Charset = charset
	m.Wide = wideLead(charset, 0xE0)
	return nil
}

// Unicode says whether the client's character set is UTF-8. In others the
// server takes bytes over 0x7F for spaces and control characters here and there.
func (m *Mode) Unicode() bool { return strings.HasPrefix(m.Charset, "utf8") }

// WideText is the refusal of text in a character set in whose characters a
// quote or a backslash may be hidden.
func (m *Mode) WideText() error {
	return &Refusal{
		Message: "text in the character set " + m.Charset + ", of which only ASCII is read, because quotes can hide in its characters",
		Hint:    "load the dump with the mysql client into a database of its own and back that up, or dump with --default-character-set=utf8mb4",
	}
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
