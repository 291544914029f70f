package sqlwrite

import (
	"regexp"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/ddl"
)

// object is an object that is not a table, with its statement.
type object struct {
	core.SchemaObject
	statement string
}

// inOrder returns views so that each comes after those that it reads, itself or
// by a function. Servers print what a view reads behind FROM, JOIN or a
// parenthesis, quoted; functions are as they were typed. A view whose names are
// in another set than UTF-8 comes after those that are not.
func inOrder(views, functions []object) []object {
	names := map[string]int{}
	for i, v := range views {
		names[v.Name] = i
	}
	called := map[string][]int{} // function → views that it may read
	for _, f := range functions {
		for name, i := range names {
			if containsWord(f.statement, name) {
				called[f.Name] = append(called[f.Name], i)
			}
		}
		slices.Sort(called[f.Name])
	}
	needs := make([][]int, len(views))
	for i, v := range views {
		needs[i] = reads(v.statement, names, called)
		if strings.HasPrefix(v.Charset, "utf8") {
			continue
		}
		for j, other := range views {
			if strings.HasPrefix(other.Charset, "utf8") {
				needs[i] = append(needs[i], j)
			}
		}
	}
	var ordered []object
	state := make([]int, len(views)) // 1: under way, 2: placed
	var place func(i int)
	place = func(i int) {
		if state[i] != 0 { // a circle is one in appearance only: a view cannot read itself
			return
		}
		state[i] = 1
		for _, j := range needs[i] {
			place(j)
		}
		state[i] = 2
		ordered = append(ordered, views[i])
	}
	for i := range views {
		place(i)
	}
	return ordered
}

var readsNext = regexp.MustCompile(`(?i)(?:\b(?:from|join)[ (]+|[(,] *)$`)

// reads returns which views a view's statement reads.
func reads(statement string, views map[string]int, called map[string][]int) []int {
	var found []int
	for i := 0; i < len(statement); {
		if strings.IndexByte("`'\"", statement[i]) < 0 {
			i++
			continue
		}
		n := ddl.QuotedLength(statement[i:])
		if n < 0 {
			break
		}
		if name, after, ok := ddl.CutName(statement[i:]); ok {
			view, isView := views[name]
			switch {
			case strings.HasPrefix(after, "("):
				found = append(found, called[name]...)
			case isView && !strings.HasPrefix(after, ".") && readsNext.MatchString(statement[max(0, i-40):i]):
				found = append(found, view)
			}
		}
		i += n
	}
	return found
}

func containsWord(text, word string) bool {
	for from := 0; ; {
		i := strings.Index(text[from:], word)
		if i < 0 {
			return false
		}
		i += from
		end := i + len(word)
		if (i == 0 || !partOfName(text[i-1])) && (end == len(text) || !partOfName(text[end])) {
			return true
		}
		from = i + 1
	}
}

func partOfName(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
