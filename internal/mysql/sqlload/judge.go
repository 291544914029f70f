package sqlload

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/sqlread"
)

// remarks are the warnings of a statement.
type remarks struct {
	number int
	line   int64 // of the statement
}

// judge reads the warnings of the statement that h ran last, and counts those
// that tell of changed data. b is the statement's rows; nil when it has none.
func (l *loader) judge(ctx context.Context, h *hand, t *table, b *batch, r remarks) error {
	line := r.line
	rows, err := h.conn.Query(ctx, "SHOW WARNINGS")
	if err != nil {
		return fmt.Errorf("ask what the server remarked on table %s: %w", t.Name, err)
	}
	var changed int64
	first := ""
	if more := r.number - len(rows); more > 0 { // what cannot be read is not taken for harmless
		changed, first = int64(more), fmt.Sprintf("it kept only %d of its %d warnings", len(rows), r.number)
	}
	for _, r := range rows {
		if len(r) != 3 || harmless(r[1].Text) {
			continue
		}
		if generated := ofGenerated.FindStringSubmatch(r[2].Text); generated != nil {
			if !t.stored(generated[1]) {
				continue // it is computed whenever it is read
			}
			l.warn(core.Warning{Code: "generated", Object: "table " + t.Name, Message: "the dump has values of a stored generated column; the server computed them anew"})
			continue
		}
		if b != nil && emptyMember(r[2].Text, t, b) {
			continue
		}
		if at := rowNumber(r[2].Text); b != nil && at > 0 && at <= len(b.rows) {
			line = b.rows[at-1].line
		}
		if changed++; changed == 1 {
			first = r[2].Text
		}
	}
	if changed == 0 {
		return nil
	}
	l.mu.Lock()
	known := t.Changed > 0
	t.Changed += changed
	l.mu.Unlock()
	if !known { // one example a table; the sum is told at the end
		l.flaw(Flaw{Line: line, Object: "table " + t.Name, Message: "the server changed a value: " + first})
	}
	return nil
}

// judgeDefinition looks whether the server made another table than it was told to.
func (l *loader) judgeDefinition(ctx context.Context, h *hand, s *sqlread.Statement) error {
	rows, err := h.conn.Query(ctx, "SHOW WARNINGS")
	if err != nil {
		return fmt.Errorf("ask what the server remarked on %s: %w", called(s), err)
	}
	for _, r := range rows {
		const keyTooLong, columnConverted, otherEngine, otherPlace = "1071", "1246", "1266", "1618"
		if len(r) == 3 && r[1].Text == otherPlace {
			return misread(s.Line, r[2].Text)
		}
		if len(r) == 3 && slices.Contains([]string{keyTooLong, columnConverted, otherEngine}, r[1].Text) {
			l.flaw(Flaw{Line: s.Line, Object: called(s), Message: "the server made it differently: " + r[2].Text})
		}
	}
	return nil
}

// harmless are remarks on how something is written, not on what it means. 1300
// is about a literal that is no text in the session's character set, such as the
// bytes of a BLOB: what does not fit into a column has a remark of its own.
func harmless(code string) bool {
	return slices.Contains([]string{"1287", "1681", "3719", "3720", "3778", "3090", "1300", "1031", "1831", "4095"}, code)
}

var (
	atRow    = regexp.MustCompile(` at row ([0-9]+)$`)
	ofColumn = regexp.MustCompile(`^Data truncated for column '(.*)' at row [0-9]+$`)
	// MariaDB's remark on a value for a generated column, which its dumps have.
	ofGenerated = regexp.MustCompile(`^The value specified for generated column '(.*)' in table '.*' has been ignored$`)
)

func rowNumber(message string) int {
	m := atRow.FindStringSubmatch(message)
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return 0
	}
	return n
}

// emptyMember says whether a remark is about the empty value of an ENUM, which
// old data has where a value was none of its members, and which is stored as it is.
func emptyMember(message string, t *table, b *batch) bool {
	m, at := ofColumn.FindStringSubmatch(message), rowNumber(message)
	if m == nil || at < 1 || at > len(b.rows) {
		return false
	}
	i := slices.IndexFunc(t.columns, func(c column) bool { return c.name == m[1] })
	if i < 0 || t.columns[i].kind != "enum" {
		return false
	}
	if b.columns != nil {
		i = slices.IndexFunc(b.columns, func(c string) bool { return strings.EqualFold(c, m[1]) })
	}
	switch literal(b.row(at-1), i, strings.Contains(b.settings.mode, "NO_BACKSLASH_ESCAPES")) {
	case "''", `""`, "0", "_binary ''", "_binary''":
		return true
	}
	return false
}

// literal returns the i-th value of a row as it is written.
func literal(row string, i int, plainBackslash bool) string {
	depth, begin, n := 0, 0, 0
	for at := 0; at < len(row); at++ {
		switch c := row[at]; c {
		case '\'', '"', '`':
			for at++; at < len(row) && row[at] != c; at++ { // a doubled quote begins anew
				if row[at] == '\\' && !plainBackslash && c != '`' {
					at++
				}
			}
		case '(':
			if depth++; depth == 1 {
				begin = at + 1
			}
		case ')', ',':
			if c == ')' {
				depth--
			}
			if depth == 1 && c == ',' || depth == 0 {
				if n == i {
					return strings.TrimSpace(row[begin:at])
				}
				n, begin = n+1, at+1
			}
		}
	}
	return ""
}
