package edit

import (
	"reflect"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/config/strict"
	"github.com/goccy/go-yaml/ast"
)

// cut is a section as it stands in the file: lines [first, last) of it, the
// first from its key on.
type cut struct {
	first, last int    // lines, from 0
	before      string // what stands before the key on its line: spaces, or the dash of a list's entry
	key         string // the key and its colon, as it is written
	gap         string // between the colon and a value on the same line
	head        string // a comment behind the key of a block, with the spaces before it
	block       bool   // the value is on lines of its own
	offset      int    // spaces by which a block's lines are farther right than the key
	text        string // the value
}

// cut finds out what a section consists of, and makes sure that it is all.
func (d *Document) cut(p place) (cut, error) {
	line, column := d.at(p.entry.Key)
	c := cut{first: line, before: d.lines[line][:column]}
	unsure := refuse(line+1, "the section is written in a way that only an editor can change", "write it as "+p.name+": with its keys on lines of their own below it")
	if strings.Trim(c.before, " -") != "" {
		return c, unsure
	}
	end, ok := endOfKey(d.lines[line], column, p.name)
	if !ok {
		return c, unsure
	}
	c.key = d.lines[line][column:end]
	rest := d.lines[line][end:]
	value := strings.TrimLeft(rest, " ")
	c.last = d.extent(line, column, blockList(p.entry.Value, column))
	body := slices.Clone(d.lines[line+1 : c.last])
	dedented, by := dedent(body)
	if value == "" || strings.HasPrefix(value, "#") {
		c.block, c.head = true, rest
		c.offset = by - column
		c.text = strings.Join(dedented, "\n")
	} else {
		c.gap = rest[:len(rest)-len(value)]
		c.text = strings.Join(append([]string{value}, dedented...), "\n")
	}
	// Whatever was cut must mean what the file means there.
	inner := strict.New("")
	n := inner.Parse([]byte(c.text))
	if inner.Err() != nil {
		return c, unsure
	}
	want, ok := d.meaning(p.entry.Value)
	got, gotOK := (&Document{reader: d.reader}).meaning(n)
	if !ok || !gotOK || !reflect.DeepEqual(want, got) {
		return c, unsure
	}
	return c, nil
}

// at returns line and byte of a node, from 0.
func (d *Document) at(n ast.Node) (line, column int) {
	at := strict.PositionOf(n.GetToken())
	line = min(at.Line, len(d.lines)) - 1
	column, ok := byteOf(d.lines[line], at.Column)
	if !ok {
		column = 0
	}
	return line, column
}

// endOfKey returns where the colon behind a key ends.
func endOfKey(line string, start int, key string) (int, bool) {
	end := start + len(key)
	if start < len(line) && (line[start] == '"' || line[start] == '\'') {
		end = endOfQuoted(line, start)
	} else if !strings.HasPrefix(line[start:], key) {
		return 0, false
	}
	if end < 0 || end > len(line) {
		return 0, false
	}
	rest := strings.TrimLeft(line[end:], " ")
	if !strings.HasPrefix(rest, ":") {
		return 0, false
	}
	return len(line) - len(rest) + 1, true
}

// blockList says whether a value is a list whose dashes stand below its key, as
// they may.
func blockList(n ast.Node, column int) bool {
	list, ok := unwrap(n).(*ast.SequenceNode)
	return ok && !list.IsFlowStyle && list.Start != nil && strict.PositionOf(list.Start).Column == column+1
}

// extent returns the line behind the last that belongs to the value of the key
// at line and column: those farther right, comments too, up to the next that is
// not, and no blank ones at the end.
func (d *Document) extent(line, column int, list bool) int {
	last := line + 1
	for i := line + 1; i < len(d.lines); i++ {
		text := strings.TrimLeft(d.lines[i], " ")
		indent := len(d.lines[i]) - len(text)
		switch {
		case strings.TrimSpace(text) == "":
		case indent > column, list && indent == column && (text == "-" || strings.HasPrefix(text, "- ")):
			last = i + 1
		case strings.HasPrefix(text, "#"):
		default:
			return last
		}
	}
	return last
}

// dedent takes away the spaces that all lines begin with, and says how many.
func dedent(lines []string) ([]string, int) {
	by := -1
	for _, line := range lines {
		if indent := len(line) - len(strings.TrimLeft(line, " ")); strings.TrimSpace(line) != "" && (by < 0 || indent < by) {
			by = indent
		}
	}
	out := make([]string, len(lines))
	for i, line := range lines {
		if by > 0 && len(line) >= by && strings.TrimSpace(line[:by]) == "" {
			line = line[by:]
		}
		out[i] = line
	}
	return out, max(by, 0)
}

type pair struct {
	Key   string
	Value any
}

// meaning is what a node says, whatever the way that it is written, with aliases
// looked up. It is false where that goes too deep.
func (d *Document) meaning(n ast.Node) (any, bool) { return d.meant(n, 64) }

func (d *Document) meant(n ast.Node, depth int) (any, bool) {
	if n == nil {
		return nil, true
	}
	before := d.reader.Problems()
	if n = d.reader.Resolve(n); n == nil || depth == 0 || d.reader.Problems() > before {
		return nil, false
	}
	var values []*ast.MappingValueNode
	switch v := n.(type) {
	case *ast.NullNode:
		return nil, true
	case *ast.SequenceNode:
		list := []any{}
		for _, item := range v.Values {
			m, ok := d.meant(item, depth-1)
			if !ok {
				return nil, false
			}
			list = append(list, m)
		}
		return list, true
	case *ast.MappingNode:
		values = v.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{v}
	case *ast.LiteralNode:
		return pair{"text", v.Value.Value}, true
	case *ast.StringNode:
		return pair{"text", v.Value}, true
	default:
		return pair{n.Type().String(), n.GetToken().Value}, true
	}
	pairs := []pair{}
	for _, v := range values {
		m, ok := d.meant(v.Value, depth-1)
		if !ok {
			return nil, false
		}
		pairs = append(pairs, pair{keyOf(v), m})
	}
	return pairs, true
}

// others is what the file says but for one section.
func (d *Document) others(scope, name string) (any, bool) {
	whole, ok := d.meaning(d.body)
	if !ok {
		return nil, false
	}
	top, _ := whole.([]pair)
	without := func(pairs []pair, key string) []pair {
		return slices.DeleteFunc(slices.Clone(pairs), func(p pair) bool { return p.Key == key })
	}
	if slices.Contains(TopSections(), name) {
		return without(top, name), true
	}
	top = slices.Clone(top)
	for i := range top {
		switch {
		case scope == "" && top[i].Key == "defaults":
			pairs, _ := top[i].Value.([]pair)
			top[i].Value = without(pairs, name)
		case scope != "" && top[i].Key == "apps":
			list, _ := top[i].Value.([]any)
			list = slices.Clone(list)
			for j := range list {
				pairs, _ := list[j].([]pair)
				if slices.Contains(pairs, pair{"name", pair{"text", scope}}) {
					list[j] = without(pairs, name)
				}
			}
			top[i].Value = list
		}
	}
	// A `defaults` that has nothing else may come and go.
	return slices.DeleteFunc(top, func(p pair) bool {
		pairs, ok := p.Value.([]pair)
		return scope == "" && p.Key == "defaults" && (p.Value == nil || ok && len(pairs) == 0)
	}), true
}
