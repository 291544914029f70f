package load

import (
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// definition is what is asked of a table's definition, as the server that is
// loaded prints it.
type definition struct {
	keys          []key // without the primary key, in the order in which they are printed
	primary       bool
	autoIncrement string            // the column's name; "" for none
	types         map[string]string // column → first word of its type, lower case
	versioned     bool              // system-versioned
}

// key is one key line: "UNIQUE KEY `name` (`a`,`b`(20)) COMMENT 'x'".
type key struct {
	text     string
	name     string
	unique   bool
	fullText bool
	columns  []string // nil: an expression, or of a kind that is not known here
}

// readDefinition takes a printed CREATE TABLE apart. It looks no further than
// it must: lines of a kind that it does not know are keys without columns.
func readDefinition(create string) (d definition, ok bool) {
	lines, rest, ok := splitLines(create)
	if !ok {
		return d, false
	}
	d.types = map[string]string{}
	d.versioned = strings.Contains(outsideQuotes(rest), "WITH SYSTEM VERSIONING")
	for _, line := range lines {
		if strings.HasPrefix(line, "`") {
			name, after, ok := cutName(line)
			if !ok {
				return d, false
			}
			bare := outsideQuotes(after)
			word := strings.TrimLeft(bare, " ")
			d.types[name] = strings.ToLower(word[:len(word)-len(strings.TrimLeft(word, letters))])
			if strings.Contains(bare, " AUTO_INCREMENT") {
				d.autoIncrement = name
			}
			continue
		}
		if strings.HasPrefix(line, "PRIMARY KEY") {
			d.primary = true
			continue
		}
		if strings.HasPrefix(line, "CONSTRAINT ") || strings.HasPrefix(line, "CHECK ") || strings.HasPrefix(line, "PERIOD FOR ") {
			continue
		}
		d.keys = append(d.keys, readKey(line))
	}
	return d, true
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func readKey(line string) key {
	k := key{text: line}
	kind, after, ok := strings.Cut(line, "KEY ")
	if !ok {
		return k
	}
	switch strings.TrimSpace(kind) {
	case "":
	case "UNIQUE":
		k.unique = true
	case "FULLTEXT":
		k.fullText = true
	default:
		return k
	}
	if k.name, after, ok = cutName(after); !ok || !strings.HasPrefix(after, " (") {
		return k
	}
	after = after[2:]
	var columns []string
	for {
		var column string
		if column, after, ok = cutName(after); !ok {
			return k
		}
		columns = append(columns, column)
		if strings.HasPrefix(after, "(") { // the length of a prefix
			digits := strings.TrimLeft(after[1:], "0123456789")
			if !strings.HasPrefix(digits, ")") {
				return k
			}
			after = digits[1:]
		}
		after = strings.TrimPrefix(after, " ASC")
		after = strings.TrimPrefix(after, " DESC")
		if strings.HasPrefix(after, ")") {
			break
		}
		if after, ok = strings.CutPrefix(after, ","); !ok {
			return k
		}
	}
	// Both stand on columns that the server adds and hides.
	if after = outsideQuotes(after); strings.Contains(after, "USING HASH") || strings.Contains(after, "OVERLAPS") {
		return k
	}
	k.columns = columns
	return k
}

// splitLines returns what stands between the outer brackets, split at commas,
// and what follows them.
func splitLines(create string) (lines []string, rest string, ok bool) {
	depth, start := 0, 0
	for i := 0; i < len(create); {
		switch create[i] {
		case '`', '\'', '"':
			n := quoteEnd(create[i:])
			if n < 0 {
				return nil, "", false
			}
			i += n
			continue
		case '(':
			if depth++; depth == 1 {
				start = i + 1
			}
		case ')':
			if depth--; depth == 0 {
				return append(lines, strings.TrimSpace(create[start:i])), create[i+1:], true
			}
		case ',':
			if depth == 1 {
				lines = append(lines, strings.TrimSpace(create[start:i]))
				start = i + 1
			}
		}
		i++
	}
	return nil, "", false
}

// quoteEnd returns the length of the quoted text or name that s begins with,
// -1 when it does not end. The session has no NO_BACKSLASH_ESCAPES.
func quoteEnd(s string) int {
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

// outsideQuotes returns s without its quoted texts and names.
func outsideQuotes(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); {
		if strings.IndexByte("`'\"", s[i]) >= 0 {
			n := quoteEnd(s[i:])
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

// cutName reads the quoted name that s begins with.
func cutName(s string) (name, after string, ok bool) {
	if !strings.HasPrefix(s, "`") {
		return "", "", false
	}
	n := quoteEnd(s)
	if n < 0 {
		return "", "", false
	}
	return strings.ReplaceAll(s[1:n-1], "``", "`"), s[n:], true
}

// later returns the keys that are taken off while the rows come in: the last
// ones of those printed, so that the others and they, put back, stand in the
// same order. What the table needs to be the same table is kept, and what a
// server may not build without copying the table.
func (d definition) later(t core.Table) []key {
	first := len(d.keys)
	for first > 0 && d.mayWait(d.keys[first-1], t) {
		first--
	}
	return d.keys[first:]
}

func (d definition) mayWait(k key, t core.Table) bool {
	if k.columns == nil || d.versioned {
		return false
	}
	if k.unique && !d.primary {
		return false // the rows may be stored in its order
	}
	if k.columns[0] == d.autoIncrement && (len(t.Key) == 0 || t.Key[0] != d.autoIncrement) {
		return false // the counter needs a key
	}
	for _, column := range k.columns {
		stored := slices.ContainsFunc(t.Columns, func(c core.Column) bool { return c.Name == column })
		if !stored { // generated
			return false
		}
	}
	return true
}

// dropStatement takes keys off a table.
func dropStatement(table string, keys []key) string {
	parts := make([]string, len(keys))
	for i, k := range keys {
		parts[i] = "DROP KEY " + mysql.QuoteName(k.name)
	}
	return "ALTER TABLE " + mysql.QuoteName(table) + " " + strings.Join(parts, ", ")
}

// addStatements put keys back: all in one reading of the table, but for
// full-text keys, of which InnoDB builds one at a time and, beside others, slower.
func addStatements(table string, keys []key) []string {
	head := "ALTER TABLE " + mysql.QuoteName(table) + " ADD "
	var plain, out []string
	for _, k := range keys {
		if k.fullText {
			out = append(out, head+k.text)
		} else {
			plain = append(plain, k.text)
		}
	}
	if len(plain) > 0 {
		out = slices.Insert(out, 0, head+strings.Join(plain, ", ADD "))
	}
	return out
}
