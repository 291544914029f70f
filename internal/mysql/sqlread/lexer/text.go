package lexer

import "strings"

// Unquote returns what a quoted name or a plain text stands for.
func Unquote(t string, escapes bool) string {
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

// Clean makes text of a dump fit for a message.
func Clean(text []byte, limit int) string {
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

// Upper is a word in capitals. One that is not ASCII is no keyword, though
// letters of it may have an ASCII one for their capital.
func Upper(word string) string {
	if !ASCII(word) {
		return word
	}
	return strings.ToUpper(word)
}
