package ddl

import (
	"slices"
	"strings"
)

// Masked is a column of whose definition servers print "?" in place of what may
// be characters beyond the first 65,536: in sets that have them.
type Masked struct {
	Name    string
	Set     bool
	Members []int // of an ENUM or SET, counted from 0, that have a "?"
	Default bool  // its default has one
}

var wide = []string{"utf8mb4", "utf16", "utf16le", "utf32", "gb18030"}

// FindMasked lists the columns of a printed CREATE TABLE that may be printed with
// "?" for other characters.
func FindMasked(create string) []Masked {
	if !strings.Contains(create, "?") {
		return nil
	}
	_, items, rest, _ := Split(create)
	var found []Masked
	for _, item := range items {
		name, after, named := CutName(item)
		if !named || !slices.Contains(wide, setOf(after, rest)) {
			continue
		}
		m := Masked{Name: name}
		members, _, ok := cutMembers(after)
		for i, text := range members {
			if strings.Contains(text, "?") {
				m.Members = append(m.Members, i)
			}
		}
		m.Set = ok && strings.HasPrefix(strings.ToLower(after), " set(")
		_, literal, _ := cutDefault(after)
		m.Default = strings.Contains(literal, "?")
		if m.Default || len(m.Members) > 0 {
			found = append(found, m)
		}
	}
	return found
}

// Unmask returns a printed CREATE TABLE with the true texts of a column's
// members, by their place, and of its default, which is nil where it stays.
func Unmask(create, column string, members map[int]string, value *string) string {
	head, items, _, ok := Split(create)
	if !ok {
		return create
	}
	at := len(head)
	for _, item := range items {
		i := strings.Index(create[at:], item)
		if i < 0 {
			return create
		}
		at += i
		name, after, _ := CutName(item)
		if name != column {
			at += len(item)
			continue
		}
		changed := after
		if value != nil {
			if before, literal, ok := cutDefault(changed); ok {
				changed = before + quote(*value) + changed[len(before)+len(literal):]
			}
		}
		if list, texts, ok := cutMembers(changed); ok && len(members) > 0 {
			for i, text := range members {
				list[i] = quote(text)
			}
			open := strings.Index(changed, "(")
			changed = changed[:open+1] + strings.Join(list, ",") + changed[open+1+texts:]
		}
		return create[:at+len(item)-len(after)] + changed + create[at+len(item):]
	}
	return create
}

func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", "''", "\x00", `\0`, "\n", `\n`, "\r", `\r`).Replace(text) + "'"
}

// setOf returns the character set of a column, by what its definition says after
// its name and the table's after its columns.
func setOf(after, rest string) string {
	bare := strings.ToLower(OutsideQuotes(after))
	for _, mark := range []string{" character set ", " charset "} {
		if _, set, ok := strings.Cut(bare, mark); ok {
			set, _, _ = strings.Cut(set, " ")
			return set
		}
	}
	if _, collation, ok := strings.Cut(bare, " collate "); ok {
		set, _, _ := strings.Cut(collation, "_")
		return set
	}
	_, set, _ := strings.Cut(strings.ToLower(OutsideQuotes(rest)), " charset=")
	set, _, _ = strings.Cut(set, " ")
	return set
}

// cutMembers returns the members of an ENUM or SET, quoted, and the length of their list.
func cutMembers(after string) (members []string, length int, ok bool) {
	open := strings.Index(after, "(")
	if open < 0 || !slices.Contains([]string{" enum", " set"}, strings.ToLower(after[:open])) {
		return nil, 0, false
	}
	list := after[open+1:]
	for at := 0; at < len(list) && list[at] == '\''; {
		n := QuotedLength(list[at:])
		if n < 0 {
			return nil, 0, false
		}
		members = append(members, list[at:at+n])
		at += n
		if at < len(list) && list[at] == ',' {
			at++
			continue
		}
		return members, at, at < len(list) && list[at] == ')'
	}
	return nil, 0, false
}

// cutDefault returns what stands before a column's default, and that, where it
// is a quoted text.
func cutDefault(after string) (before, literal string, ok bool) {
	const mark = " DEFAULT '"
	for at := 0; at < len(after); {
		if strings.HasPrefix(after[at:], mark) {
			at += len(mark) - 1
			n := QuotedLength(after[at:])
			if n < 0 {
				return "", "", false
			}
			return after[:at], after[at : at+n], true
		}
		if strings.IndexByte("`'\"", after[at]) >= 0 {
			n := QuotedLength(after[at:])
			if n < 0 {
				return "", "", false
			}
			at += n
			continue
		}
		at++
	}
	return "", "", false
}
