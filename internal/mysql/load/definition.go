package load

import (
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/ddl"
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
	_, lines, rest, ok := ddl.Split(create)
	if !ok {
		return d, false
	}
	d.types = map[string]string{}
	d.versioned = strings.Contains(ddl.OutsideQuotes(rest), "WITH SYSTEM VERSIONING")
	for _, line := range lines {
		if strings.HasPrefix(line, "`") {
			name, after, ok := ddl.CutName(line)
			if !ok {
				return d, false
			}
			bare := ddl.OutsideQuotes(after)
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
	if k.name, after, ok = ddl.CutName(after); !ok || !strings.HasPrefix(after, " (") {
		return k
	}
	after = after[2:]
	var columns []string
	for {
		var column string
		if column, after, ok = ddl.CutName(after); !ok {
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
	if after = ddl.OutsideQuotes(after); strings.Contains(after, "USING HASH") || strings.Contains(after, "OVERLAPS") {
		return k
	}
	k.columns = columns
	return k
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
