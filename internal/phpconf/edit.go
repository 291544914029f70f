package phpconf

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/VKCOM/php-parser/pkg/ast"

	"github.com/backstay/backstay/internal/core"
)

// Assignment is what a file is to give to a variable, or to one item of it.
type Assignment struct {
	Variable string   // without $
	Keys     []string // from the outermost; none: the variable itself
	Value    Value    // Text, Number or Truth
}

// name returns the setting as PHP writes it.
func (a Assignment) name() string {
	name := "$" + a.Variable
	for _, k := range a.Keys {
		name += "['" + k + "']"
	}
	return name
}

// Text returns the string s as a value.
func Text(s string) Value { return Value{kind: String, text: s} }

// Number returns the integer n as a value.
func Number(n int64) Value { return Value{kind: Int, int: n} }

// Truth returns the boolean b as a value.
func Truth(b bool) Value { return Value{kind: Bool, bool: b} }

// Edit returns src with the assignments made in it: the expression that gives
// the variable or item its value is replaced in place by a plain literal, and
// one that nothing gives yet is added. All other bytes stay. What the file says
// already is not touched.
//
// The result has been read back: it sets what the assignments say, and all else
// as before. Where that cannot be had, as for a setting that depends on a
// condition, the error is a core.Error that names the setting, and holds no
// values.
func Edit(src []byte, assignments []Assignment) (out []byte, err error) {
	before, err := Parse(src)
	if err != nil {
		return nil, err
	}
	var open []Assignment
	for _, a := range assignments {
		if v, ok := before.at(a); !ok || !same(v, a.Value) {
			open = append(open, a)
		}
	}
	if len(open) == 0 {
		return src, nil
	}
	replacements, err := replacements(src, open)
	if err != nil {
		return nil, err
	}
	out = splice(src, replacements)
	after, err := Parse(out)
	if err != nil {
		return nil, notEditable(open[0], "the file could not be read after it was changed", err)
	}
	for _, a := range open {
		if v, ok := after.at(a); !ok || !same(v, a.Value) {
			return nil, notEditable(a, "other lines of the file change it too", nil)
		}
	}
	if !before.sameBut(after, open) {
		return nil, notEditable(open[0], "other settings depend on it", nil)
	}
	return out, nil
}

func notEditable(a Assignment, why string, cause error) error {
	return &core.Error{
		Code: core.CodeApplication, Op: "change PHP configuration", Message: fmt.Sprintf("%s cannot be changed in place: %s", a.name(), why), Err: cause,
		Hint: "write it as a plain value on a line of its own",
	}
}

// at returns what the file gives to the assignment's target.
func (f *File) at(a Assignment) (Value, bool) {
	v, ok := f.Variable(a.Variable)
	for _, k := range a.Keys {
		if !ok || v.kind != Array {
			return v, ok && v.kind == NotLiteral
		}
		v, ok = v.Get(k)
	}
	return v, ok
}

// Same says whether both files give the assignment's target its value in the
// same words, or the same value in plain sight, or both not at all.
func (f *File) Same(other *File, a Assignment) bool {
	x, inX := f.at(a)
	y, inY := other.at(a)
	return inX == inY && same(x, y)
}

// replacement stands for src[start:end].
type replacement struct {
	start, end int
	text       string
}

func splice(src []byte, list []replacement) []byte {
	slices.SortStableFunc(list, func(a, b replacement) int { return a.start - b.start })
	var out bytes.Buffer
	at := 0
	for _, r := range list {
		out.Write(src[at:r.start])
		out.WriteString(r.text)
		at = r.end
	}
	out.Write(src[at:])
	return out.Bytes()
}

// replacements finds the place of each assignment.
func replacements(src []byte, assignments []Assignment) (list []replacement, err error) {
	defer func() {
		if r := recover(); r != nil { // see Parse
			list, err = nil, unreadable("the PHP in it could not be parsed", fmt.Errorf("parser: %v", r))
		}
	}()
	root, err := parseSource(append(bytes.Clone(src), '\n'))
	if err != nil {
		return nil, err
	}
	for _, a := range assignments {
		s := seeker{src: src, target: a, first: -1}
		s.statements(root.Stmts)
		switch {
		case s.found != nil:
			list = append(list, *s.found)
		case s.insert != nil:
			list = append(list, *s.insert)
		case len(a.Keys) == 0 && s.first >= 0:
			list = append(list, replacement{s.first, s.first, "$" + a.Variable + " = " + literal(a.Value) + ";\n"})
		default:
			return nil, notEditable(a, "no line of the file sets it", nil)
		}
	}
	slices.SortStableFunc(list, func(a, b replacement) int { return a.start - b.start })
	for i := 1; i < len(list); i++ {
		if list[i].start < list[i-1].end {
			return nil, notEditable(assignments[0], "one expression sets several settings", nil)
		}
	}
	return list, nil
}

// seeker looks for the last plain assignment that gives its target a value.
type seeker struct {
	src    []byte
	target Assignment
	found  *replacement // the expression that gives the value
	insert *replacement // where an item can be added
	first  int          // where the first assignment to any variable begins; -1: there is none
}

func (s *seeker) statements(list []ast.Vertex) {
	for _, n := range list {
		switch n := n.(type) {
		case *ast.StmtExpression:
			if e, ok := n.Expr.(*ast.ExprAssign); ok {
				if p := n.GetPosition(); p != nil && s.first < 0 {
					s.first = p.StartPos
				}
				s.assignment(e)
			}
		case *ast.StmtStmtList:
			s.statements(n.Stmts)
		case *ast.StmtNamespace:
			s.statements(n.Stmts)
		}
	}
}

// assignment looks at `$x = …` and `$x['a']['b'] = …`.
func (s *seeker) assignment(e *ast.ExprAssign) {
	var dims []ast.Vertex
	target := e.Var
	for {
		fetch, ok := target.(*ast.ExprArrayDimFetch)
		if !ok {
			break
		}
		dims = append(dims, fetch.Dim)
		target = fetch.Var
	}
	name, ok := variableName(target)
	if !ok || name != s.target.Variable || len(dims) > len(s.target.Keys) {
		return
	}
	slices.Reverse(dims)
	for i, d := range dims {
		if !s.isKey(d, s.target.Keys[i]) {
			return
		}
	}
	s.within(e.Expr, s.target.Keys[len(dims):])
}

// within goes down an array literal.
func (s *seeker) within(n ast.Vertex, keys []string) {
	if len(keys) == 0 {
		if p := n.GetPosition(); p != nil {
			s.found = &replacement{p.StartPos, p.EndPos, literal(s.target.Value)}
		}
		return
	}
	array, ok := n.(*ast.ExprArray)
	if !ok {
		return
	}
	for i := len(array.Items) - 1; i >= 0; i-- { // the last of equal keys counts
		item, ok := array.Items[i].(*ast.ExprArrayItem)
		if ok && item.Key != nil && item.AmpersandTkn == nil && s.isKey(item.Key, keys[0]) {
			s.within(item.Val, keys[1:])
			return
		}
	}
	if open := array.OpenBracketTkn; len(keys) == 1 && open != nil && open.Position != nil {
		text := "\n\t" + literal(Text(keys[0])) + " => " + literal(s.target.Value) + ","
		if at := open.Position.EndPos; at < len(s.src) && s.src[at] != '\n' && s.src[at] != '\r' {
			text = strings.TrimPrefix(text, "\n\t") + " "
		}
		s.insert = &replacement{open.Position.EndPos, open.Position.EndPos, text}
	}
}

func (s *seeker) isKey(n ast.Vertex, want string) bool {
	if isNil(n) {
		return false
	}
	k, ok := keyOf(newInterpreter(s.src).eval(n))
	return ok && k == arrayKey(want)
}

// literal writes a value as var_export does.
func literal(v Value) string {
	switch v.kind {
	case Bool:
		return strconv.FormatBool(v.bool)
	case Int:
		return strconv.FormatInt(v.int, 10)
	}
	text := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v.text)
	return "'" + strings.ReplaceAll(text, "\x00", `' . "\0" . '`) + "'"
}

// same says whether two known values are the same in PHP's strictest sense, and
// whether two unknown ones are the same expression.
func same(a, b Value) bool {
	if a.kind != b.kind {
		return false
	}
	switch a.kind {
	case NotLiteral:
		return a.source == b.source && a.why == b.why
	case Array:
		if len(a.array.keys) != len(b.array.keys) {
			return false
		}
		for i, k := range a.array.keys {
			at, ok := b.array.index[k]
			if !ok || !same(a.array.values[i], b.array.values[at]) {
				return false
			}
		}
		return true
	}
	return a.bool == b.bool && a.int == b.int && a.text == b.text && (a.float == b.float || a.float != a.float && b.float != b.float)
}

// sameBut says whether two files set the same but for the assignments' targets.
func (f *File) sameBut(other *File, but []Assignment) bool {
	if (f.opaque == nil) != (other.opaque == nil) || len(f.constants) != len(other.constants) {
		return false
	}
	for name, v := range f.constants {
		if o, ok := other.constants[name]; !ok || !same(v, o) {
			return false
		}
	}
	names := append(f.Variables(), other.Variables()...)
	for _, name := range names {
		var targets [][]string
		for _, a := range but {
			if a.Variable == name {
				targets = append(targets, a.Keys)
			}
		}
		a, inA := f.variables[name]
		b, inB := other.variables[name]
		if !sameApart(a, b, inA, inB, targets) {
			return false
		}
	}
	return true
}

// sameApart compares all but the items at the targets.
func sameApart(a, b Value, inA, inB bool, targets [][]string) bool {
	if slices.ContainsFunc(targets, func(keys []string) bool { return len(keys) == 0 }) {
		return true
	}
	if len(targets) == 0 || a.kind != Array || b.kind != Array {
		return inA == inB && same(a, b)
	}
	for _, item := range append(a.Items(), b.Items()...) {
		var below [][]string
		for _, keys := range targets {
			if arrayKey(keys[0]).String() == item.Key {
				below = append(below, keys[1:])
			}
		}
		x, inX := a.Get(item.Key)
		y, inY := b.Get(item.Key)
		if !sameApart(x, y, inX, inY, below) {
			return false
		}
	}
	return true
}
