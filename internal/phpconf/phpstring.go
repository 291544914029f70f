package phpconf

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// singleQuoted decodes what stands between single quotes: only \\ and \' are
// escapes.
func singleQuoted(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw)
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] == '\\' && i+1 < len(raw) && (raw[i+1] == '\\' || raw[i+1] == '\'') {
			i++
		}
		out = append(out, raw[i])
	}
	return string(out)
}

// escaped decodes the literal part of a double-quoted string (quote is '"') or
// of a heredoc (quote is 0, where \" is no escape). false when PHP would refuse
// the text.
func escaped(raw []byte, quote byte) (string, bool) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw), true
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' || i+1 == len(raw) {
			out = append(out, raw[i])
			continue
		}
		i++
		switch c := raw[i]; c {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case 'v':
			out = append(out, '\v')
		case 'f':
			out = append(out, '\f')
		case 'e':
			out = append(out, 0x1b)
		case '\\', '$':
			out = append(out, c)
		case '0', '1', '2', '3', '4', '5', '6', '7':
			end := i
			for end < len(raw) && end < i+3 && raw[end] >= '0' && raw[end] <= '7' {
				end++
			}
			n, err := strconv.ParseUint(string(raw[i:end]), 8, 16)
			if err != nil {
				return "", false
			}
			out = append(out, byte(n)) // \400 and above wrap, as in PHP
			i = end - 1
		case 'x', 'X':
			end := i + 1
			for end < len(raw) && end < i+3 && isHex(raw[end]) {
				end++
			}
			if end == i+1 {
				out = append(out, '\\', c)
				break
			}
			n, err := strconv.ParseUint(string(raw[i+1:end]), 16, 8)
			if err != nil {
				return "", false
			}
			out = append(out, byte(n))
			i = end - 1
		case 'u':
			if i+1 == len(raw) || raw[i+1] != '{' {
				out = append(out, '\\', 'u')
				break
			}
			size := bytes.IndexByte(raw[i:], '}')
			if size < 0 {
				return "", false
			}
			n, err := strconv.ParseUint(string(raw[i+2:i+size]), 16, 32)
			if err != nil || n > utf8.MaxRune {
				return "", false
			}
			out = appendCodePoint(out, uint32(n))
			i += size
		default:
			if c == quote {
				out = append(out, c)
			} else {
				out = append(out, '\\', c)
			}
		}
	}
	return string(out), true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// appendCodePoint writes n in the form of UTF-8, surrogates too, as PHP does.
func appendCodePoint(out []byte, n uint32) []byte {
	if n >= 0xd800 && n <= 0xdfff {
		return append(out, 0xe0|byte(n>>12), 0x80|byte(n>>6)&0xbf, 0x80|byte(n)&0xbf)
	}
	return utf8.AppendRune(out, rune(n))
}
