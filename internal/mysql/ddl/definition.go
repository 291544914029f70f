package ddl

import "strings"

// Split takes a printed CREATE TABLE apart: what stands before the outer
// brackets, what stands between them, split at commas, and what follows them.
// It reads what a session without NO_BACKSLASH_ESCAPES was shown.
func Split(create string) (head string, items []string, rest string, ok bool) {
	depth, start := 0, 0
	for i := 0; i < len(create); {
		switch create[i] {
		case '`', '\'', '"':
			n := QuotedLength(create[i:])
			if n < 0 {
				return "", nil, "", false
			}
			i += n
			continue
		case '(':
			if depth++; depth == 1 {
				head, start = create[:i], i+1
			}
		case ')':
			if depth--; depth == 0 {
				return head, append(items, strings.TrimSpace(create[start:i])), create[i+1:], true
			}
		case ',':
			if depth == 1 {
				items = append(items, strings.TrimSpace(create[start:i]))
				start = i + 1
			}
		}
		i++
	}
	return "", nil, "", false
}

// QuotedLength returns the length of the quoted text or name that s begins
// with, -1 when it does not end.
func QuotedLength(s string) int {
	quote := s[0]
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quote != '`':
			i++
		case s[i] == quote && i+1 < len(s) && s[i+1] == quote:
			i++
		case s[i] == quote:
			return i + 1
		}
	}
	return -1
}

// OutsideQuotes returns s without its quoted texts and names.
func OutsideQuotes(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); {
		if strings.IndexByte("`'\"", s[i]) >= 0 {
			n := QuotedLength(s[i:])
			if n < 0 {
				break
			}
			i += n
			continue
		}
		out.WriteByte(s[i])
		i++
	}
	return out.String()
}

// CutName reads the quoted name that s begins with.
func CutName(s string) (name, after string, ok bool) {
	if !strings.HasPrefix(s, "`") {
		return "", "", false
	}
	n := QuotedLength(s)
	if n < 0 {
		return "", "", false
	}
	return strings.ReplaceAll(s[1:n-1], "``", "`"), s[n:], true
}
