package sqlwrite

import (
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/ddl"
)

// literal says how a column's values are written.
type literal int

const (
	// binaryText is for whatever is not known to be another: a string of the
	// binary set is copied into a column of any set as it is, as LOAD DATA
	// CHARACTER SET binary does.
	binaryText literal = iota
	plainText          // utf8mb4 text, or the text of a value that has no character set
	number             // whole and decimal numbers
)

// opening returns what a value begins with. All but numbers end with a quote.
func (l literal) opening() string {
	switch l {
	case plainText:
		return "'"
	case number:
		return ""
	}
	return "_binary '"
}

// literals returns how the columns of a table are written, by its definition.
// Where that cannot be read, all are binaryText, but for columns whose form
// says what they are.
func literals(t core.Table, create string, dialect Dialect) []literal {
	types := map[string]string{} // what follows a column's name
	_, items, rest, ok := ddl.Split(create)
	for _, item := range items {
		if name, after, named := ddl.CutName(item); ok && named {
			types[name] = after
		}
	}
	set := wordAfter(ddl.OutsideQuotes(rest), " CHARSET=")
	all := make([]literal, len(t.Columns))
	for i, c := range t.Columns {
		switch c.Form {
		case core.FormFloat, core.FormText:
			all[i] = plainText
		default:
			all[i] = literalOf(types[c.Name], set)
		}
		if all[i] == number && dialect == DialectITFlow {
			all[i] = plainText // its own dumps quote everything but NULL
		}
	}
	return all
}

// literalOf judges a column by what its definition says after its name, and by
// its table's character set.
func literalOf(definition, tableSet string) literal {
	bare := strings.ToLower(strings.TrimLeft(ddl.OutsideQuotes(definition), " "))
	word := bare[:len(bare)-len(strings.TrimLeft(bare, "abcdefghijklmnopqrstuvwxyz"))]
	switch word {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "decimal":
		return number
	case "float", "double", "date", "datetime", "time", "timestamp", "year":
		return plainText
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set":
		set := wordAfter(bare, " character set ")
		if set == "" {
			set, _, _ = strings.Cut(wordAfter(bare, " collate "), "_")
		}
		if set == "" {
			set = strings.ToLower(tableSet)
		}
		// Not ascii: its columns take any byte, and a conversion takes none above 127.
		if set == "utf8mb4" || set == "utf8mb3" || set == "utf8" {
			return plainText
		}
	}
	return binaryText
}

func wordAfter(text, mark string) string {
	_, after, found := strings.Cut(text, mark)
	if !found {
		return ""
	}
	end := strings.IndexFunc(after, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	if end < 0 {
		return after
	}
	return after[:end]
}

// tableText is what the rows of a table are written with.
type tableText struct {
	name    string
	head    string // "INSERT INTO `t` (`a`,`b`) VALUES" and what stands before the first row
	between string // rows
	columns []columnText
	fixed   int64 // bytes that a row without NULL and escapes has more than its line in a chunk
}

// columnText is a column as the inner loop wants it: texts of up to 16 bytes
// that are stored whole, of which the first so many count.
type columnText struct {
	number  bool
	quoted  int // bytes around a value
	open    padded
	next    padded // after a value of this column: its end, a comma, and the next column's beginning
	endText padded // the end of a value
}

type padded struct {
	text [16]byte
	n    int
}

func pad(s string) (p padded) {
	p.n = copy(p.text[:], s)
	return p
}

func newTableText(t core.Table, create string, dialect Dialect) *tableText {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = mysql.QuoteName(c.Name)
	}
	x := &tableText{name: t.Name, columns: make([]columnText, len(t.Columns)), between: ",\n"}
	x.head = "INSERT INTO " + mysql.QuoteName(t.Name) + " (" + strings.Join(names, ",") + ") VALUES\n"
	if dialect == DialectITFlow {
		x.head = "INSERT INTO " + mysql.QuoteName(t.Name) + " (" + strings.Join(names, ", ") + ") VALUES "
		x.between = ","
	}
	all := literals(t, create, dialect)
	for i, l := range all {
		c := &x.columns[i]
		end := "'"
		if l == number {
			end = ""
		}
		c.number, c.open, c.endText = l == number, pad(l.opening()), pad(end)
		c.quoted = len(l.opening()) + len(end)
		x.fixed += int64(c.quoted)
		if i+1 < len(all) {
			c.next = pad(end + "," + all[i+1].opening())
		}
	}
	x.fixed++ // two parentheses, and no newline
	return x
}
