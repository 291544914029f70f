package ui

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean makes text from outside harmless on a terminal: control characters,
// line ends too, bytes that are not UTF-8 and characters that turn the
// direction of writing or hide come out as escapes such as \x1b and \u202e.
// All other text is returned as it is.
func Clean(s string) string {
	clean := true
	for i, c := range s {
		if hostile(c) || c == utf8.RuneError && invalidAt(s, i) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		c, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case c == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case hostile(c) && c < 0x80:
			fmt.Fprintf(&b, `\x%02x`, c)
		case hostile(c) && c < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, c)
		case hostile(c):
			fmt.Fprintf(&b, `\U%08x`, c)
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

func invalidAt(s string, i int) bool {
	_, n := utf8.DecodeRuneInString(s[i:])
	return n == 1
}

func hostile(c rune) bool {
	const joiner, nonJoiner = '\u200d', '\u200c' // part of emoji and of some scripts
	if c == joiner || c == nonJoiner {
		return false
	}
	return unicode.In(c, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

func cleanArgs(args []any) []any {
	out := make([]any, len(args))
	for i, arg := range args {
		switch v := arg.(type) {
		case string:
			out[i] = Clean(v)
		case []byte:
			out[i] = Clean(string(v))
		case error:
			out[i] = Clean(v.Error())
		case fmt.Formatter: // such as core.Secret, which knows what it may show
			out[i] = v
		case fmt.Stringer:
			out[i] = Clean(v.String())
		case bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64, nil:
			out[i] = v
		default:
			out[i] = Clean(fmt.Sprint(v))
		}
	}
	return out
}
