package phpconf

import (
	"reflect"
	"strings"

	"github.com/VKCOM/php-parser/pkg/ast"
)

// interpreter goes through the statements of a file in their order and keeps
// what is known of each variable. It errs on the side of not knowing: whatever
// it does not understand makes the variables it may touch not literal.
type interpreter struct {
	src       []byte
	variables map[string]Value
	constants map[string]Value
	// pinned variables can change behind the interpreter's back at any time: a
	// function writes them, or a reference to them was taken.
	pinned  map[string]Value
	opaque  *Value
	stopped bool
	depth   int
	// work left, in copied array items and string bytes: keeps `$a = $a . $a`
	// and its kin from growing without bound.
	work int
}

const maxWork = 64 << 20

func newInterpreter(src []byte) *interpreter {
	return &interpreter{
		src: src, variables: map[string]Value{}, constants: map[string]Value{}, pinned: map[string]Value{}, work: maxWork,
	}
}

func (in *interpreter) file() *File {
	for name, why := range in.pinned {
		in.variables[name] = why
	}
	return &File{variables: in.variables, constants: in.constants, opaque: in.opaque}
}

func (in *interpreter) run(root *ast.Root) {
	in.pinGlobals(root)
	in.statements(root.Stmts)
}

func (in *interpreter) statements(list []ast.Vertex) {
	for _, s := range list {
		if in.stopped {
			return
		}
		in.statement(s)
	}
}

func (in *interpreter) statement(s ast.Vertex) {
	switch s := s.(type) {
	case nil, *ast.StmtNop, *ast.StmtInlineHtml, *ast.StmtUse, *ast.StmtUseList, *ast.StmtGroupUseList, *ast.StmtDeclare,
		*ast.StmtFunction, *ast.StmtClass, *ast.StmtInterface, *ast.StmtTrait, *ast.StmtEnum, *ast.StmtGlobal:
		// Nothing of these runs by itself; what functions do to globals was
		// looked at beforehand (pinGlobals).
	case *ast.StmtExpression:
		in.expression(s.Expr)
	case *ast.StmtStmtList:
		in.statements(s.Stmts)
	case *ast.StmtNamespace:
		in.statements(s.Stmts)
	case *ast.StmtConstList:
		for _, c := range s.Consts {
			if c, ok := c.(*ast.StmtConstant); ok {
				in.define(identifier(c.Name), in.eval(c.Expr))
			}
		}
	case *ast.StmtUnset:
		for _, v := range s.Vars {
			if name, ok := variableName(v); ok {
				if delete(in.variables, name); in.opaque != nil {
					in.variables[name] = Value{}
				}
				continue
			}
			in.spoilTarget(v, in.unknown(s, "part of it is unset"))
		}
	case *ast.StmtReturn, *ast.StmtHaltCompiler, *ast.StmtThrow:
		in.stopped = true
	default:
		in.spoil(s, "it depends on a condition or a loop")
	}
}

// expression runs an expression that stands as a statement.
func (in *interpreter) expression(e ast.Vertex) {
	switch e := e.(type) {
	case *ast.ExprAssign:
		in.assignment(e)
	case *ast.ExprAssignConcat:
		in.compound(e.Var, e, func(old Value) (Value, bool) {
			in.spoil(e.Expr, "a larger expression sets it")
			return in.concat(old, in.eval(e.Expr))
		})
	case *ast.ExprAssignCoalesce:
		in.compound(e.Var, e, func(old Value) (Value, bool) {
			in.spoil(e.Expr, "a larger expression sets it")
			if old.kind != Null {
				return old, old.IsLiteral()
			}
			v := in.eval(e.Expr)
			return v, v.IsLiteral()
		})
	case *ast.ExprBrackets:
		in.expression(e.Expr)
	case *ast.ExprErrorSuppress:
		in.expression(e.Expr)
	case *ast.ExprBinaryLogicalOr: // … or die('…')
		in.expression(e.Left)
		in.spoil(e.Right, "it depends on a condition")
	case *ast.ExprBinaryLogicalAnd:
		in.expression(e.Left)
		in.spoil(e.Right, "it depends on a condition")
	case *ast.ExprExit:
		in.stopped = true
	case *ast.ExprFunctionCall:
		if functionName(e) == "define" && len(e.Args) >= 2 {
			for _, a := range e.Args {
				in.spoil(a, "a larger expression sets it")
			}
			if name := in.eval(argument(e.Args[0])); name.kind == String {
				in.define(name.text, in.eval(argument(e.Args[1])))
			}
			return
		}
		in.spoil(e, "a function may change it")
	default:
		in.spoil(e, "a larger expression sets it")
	}
}

// define sets a constant; PHP keeps the first value. What an included file may
// have defined before is not known.
func (in *interpreter) define(name string, v Value) {
	if _, exists := in.constants[name]; exists || name == "" {
		return
	}
	if in.opaque != nil {
		v = *in.opaque
	}
	in.constants[name] = v
}

// assignment runs `$x = …`, `$x['k'] = …` and chains of them, and returns the
// value.
func (in *interpreter) assignment(e *ast.ExprAssign) Value {
	var v Value
	if inner, ok := e.Expr.(*ast.ExprAssign); ok {
		// Bounded: checkDepth has limited the nesting.
		v = in.assignment(inner)
		if v.array != nil {
			v.array.shared = true // two variables hold it now
		}
	} else {
		in.spoil(e.Expr, "a larger expression sets it")
		v = in.eval(e.Expr)
	}
	in.assign(e.Var, v, e)
	return v
}

func (in *interpreter) assign(target ast.Vertex, v Value, at ast.Vertex) {
	if name, ok := variableName(target); ok {
		in.set(name, v)
		return
	}
	fetch, ok := target.(*ast.ExprArrayDimFetch)
	if !ok {
		in.spoilTarget(target, in.unknown(at, "a larger expression sets it"))
		return
	}
	// $x['a']['b'] = …: collect the keys from the inside out.
	var keys []ast.Vertex
	for ok {
		keys = append(keys, fetch.Dim)
		target = fetch.Var
		fetch, ok = target.(*ast.ExprArrayDimFetch)
	}
	name, plain := variableName(target)
	if !plain || name == "GLOBALS" {
		in.spoilTarget(target, in.unknown(at, "a larger expression sets it"))
		return
	}
	old, known := in.lookup(name)
	if known && !old.IsLiteral() {
		return // what is not known stays so
	}
	changed, ok := in.withItem(old, keys, v)
	if !ok {
		changed = in.unknown(at, "part of it is set to what could not be evaluated")
	}
	in.set(name, changed)
}

// withItem returns v with the item at keys (outermost last) set; nil as a key
// appends.
func (in *interpreter) withItem(v Value, keys []ast.Vertex, item Value) (Value, bool) {
	if len(keys) == 0 {
		return item, true
	}
	switch {
	case v.kind == Null:
		v = Value{kind: Array, array: newArray(), line: item.line}
	case v.kind != Array:
		return v, false
	case v.array.shared:
		if !in.spend(len(v.array.keys)) {
			return v, false
		}
		v.array = v.array.copy()
	}
	last := keys[len(keys)-1]
	if last == nil {
		inner, ok := in.withItem(Value{}, keys[:len(keys)-1], item)
		return v, ok && v.array.append(inner)
	}
	k, ok := keyOf(in.eval(last))
	if !ok {
		return v, false
	}
	old := Value{}
	if at, exists := v.array.index[k]; exists {
		old = v.array.values[at]
	}
	inner, ok := in.withItem(old, keys[:len(keys)-1], item)
	if !ok {
		return v, false
	}
	v.array.set(k, inner)
	return v, true
}

// compound runs `$x op= …`.
func (in *interpreter) compound(target, at ast.Vertex, change func(old Value) (Value, bool)) {
	name, ok := variableName(target)
	if !ok {
		in.spoilTarget(target, in.unknown(at, "a larger expression sets it"))
		return
	}
	old, known := in.lookup(name)
	if known && !old.IsLiteral() {
		return
	}
	v, ok := change(old)
	if !ok {
		v = in.unknown(at, "a larger expression sets it")
	}
	in.set(name, v)
}

func (in *interpreter) set(name string, v Value) { in.variables[name] = v }

// lookup returns what is known of a variable; false when nothing sets it.
func (in *interpreter) lookup(name string) (Value, bool) {
	if v, ok := in.pinned[name]; ok {
		return v, true
	}
	if v, ok := in.variables[name]; ok {
		return v, true
	}
	if in.opaque != nil {
		return *in.opaque, true
	}
	return Value{}, false
}

// spend uses up work; false when there is none left.
func (in *interpreter) spend(n int) bool {
	in.work -= n
	return in.work > 0
}

// unknown makes the value for an expression that cannot be evaluated.
func (in *interpreter) unknown(n ast.Vertex, why string) Value {
	v := Value{kind: NotLiteral, why: why}
	if isNil(n) {
		return v
	}
	if p := n.GetPosition(); p != nil {
		v.line = p.StartLine
		if p.StartPos >= 0 && p.StartPos <= p.EndPos && p.EndPos <= len(in.src) {
			v.source = string(in.src[p.StartPos:p.EndPos])
		}
	}
	return v
}

func isNil(n ast.Vertex) bool {
	return n == nil || reflect.ValueOf(n).IsNil()
}

// variableName returns the name of a plain variable, without $.
func variableName(n ast.Vertex) (string, bool) {
	v, ok := n.(*ast.ExprVariable)
	if !ok || v.DollarTkn != nil {
		return "", false
	}
	id, ok := v.Name.(*ast.Identifier)
	if !ok {
		return "", false
	}
	return strings.TrimPrefix(string(id.Value), "$"), true
}

func identifier(n ast.Vertex) string {
	if id, ok := n.(*ast.Identifier); ok {
		return string(id.Value)
	}
	return ""
}

// functionName returns the called function in lower case, "" when it is not a
// plain name.
func functionName(e *ast.ExprFunctionCall) string { return strings.ToLower(plainName(e.Function)) }

// plainName returns an unqualified or \-rooted name, "" for others.
func plainName(n ast.Vertex) string {
	var parts []ast.Vertex
	switch n := n.(type) {
	case *ast.Name:
		parts = n.Parts
	case *ast.NameFullyQualified:
		parts = n.Parts
	}
	if len(parts) != 1 {
		return ""
	}
	if p, ok := parts[0].(*ast.NamePart); ok {
		return string(p.Value)
	}
	return ""
}

func argument(n ast.Vertex) ast.Vertex {
	if a, ok := n.(*ast.Argument); ok && a.VariadicTkn == nil {
		return a.Expr
	}
	return nil
}
