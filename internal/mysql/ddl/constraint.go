package ddl

import (
	"slices"
	"strings"
)

// Qualified is the name of a table, with its database where that is given.
type Qualified struct{ Schema, Name string }

// MapSequences replaces the names of sequences that expressions call.
func MapSequences(text string, other func(Qualified) (string, bool)) string {
	var out strings.Builder
	from := 0
	for i := 0; i < len(text); {
		if strings.IndexByte("`'\"", text[i]) < 0 {
			i++
			continue
		}
		n := QuotedLength(text[i:])
		if n < 0 {
			break
		}
		if text[i] == '`' && sequenceCall.MatchString(text[:i]) {
			p, after, ok := CutQualified(text[i:])
			n = len(text) - i - len(after)
			if replacement, replace := other(p); ok && replace {
				out.WriteString(text[from:i] + replacement)
				from = i + n
			}
		}
		i += n
	}
	return out.String() + text[from:]
}

// CutQualified reads a quoted name, or two with a dot between them.
func CutQualified(text string) (p Qualified, after string, ok bool) {
	p.Name, after, ok = CutName(text)
	if !ok || !strings.HasPrefix(after, ".`") {
		return p, after, ok
	}
	p.Schema = p.Name
	p.Name, after, ok = CutName(after[1:])
	return p, after, ok
}

// CutConstraint reads "CONSTRAINT `name` body", or a body that begins with
// FOREIGN KEY or CHECK. ok is false for any other line.
func CutConstraint(item string) (name, body string, ok bool) {
	if rest, named := strings.CutPrefix(item, "CONSTRAINT "); named {
		if name, rest, ok = CutName(rest); !ok {
			return "", "", false
		}
		return name, strings.TrimPrefix(rest, " "), true
	}
	return "", item, strings.HasPrefix(item, "FOREIGN KEY ") || strings.HasPrefix(item, "CHECK ")
}

// CutReference reads the table that a foreign key leads to.
func CutReference(body string) (before string, parent Qualified, after string, ok bool) {
	const word = "REFERENCES "
	for i := 0; i < len(body); {
		if strings.IndexByte("`'\"", body[i]) >= 0 {
			n := QuotedLength(body[i:])
			if n < 0 {
				return "", Qualified{}, "", false
			}
			i += n
			continue
		}
		if strings.HasPrefix(body[i:], word) {
			i += len(word)
			parent, after, ok = CutQualified(body[i:])
			return body[:i], parent, after, ok
		}
		i++
	}
	return "", Qualified{}, "", false
}

// KeyLines returns a printed definition's keys.
func KeyLines(printed string) []string {
	_, items, _, _ := Split(printed)
	return slices.DeleteFunc(items, func(item string) bool {
		_, _, constraint := CutConstraint(item)
		return strings.HasPrefix(item, "`") || constraint || strings.HasPrefix(item, "PERIOD ")
	})
}

// KeyName returns the name of a plain key, "" for any other line.
func KeyName(line string) string {
	for _, head := range []string{"KEY ", "UNIQUE KEY "} {
		if rest, ok := strings.CutPrefix(line, head); ok {
			name, _, _ := CutName(rest)
			return name
		}
	}
	return ""
}
