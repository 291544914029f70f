package phpconf

import (
	"reflect"
	"strings"

	"github.com/VKCOM/php-parser/pkg/ast"
)

var vertexType = reflect.TypeFor[ast.Vertex]()

// children calls do for each node directly below n.
func children(n ast.Vertex, do func(ast.Vertex)) {
	if isNil(n) {
		return
	}
	v := reflect.ValueOf(n).Elem()
	for i := range v.NumField() {
		field := v.Field(i)
		switch {
		case field.Type() == vertexType:
			if !field.IsNil() {
				do(field.Interface().(ast.Vertex))
			}
		case field.Kind() == reflect.Slice && field.Type().Elem() == vertexType:
			for j := range field.Len() {
				if item := field.Index(j); !item.IsNil() {
					do(item.Interface().(ast.Vertex))
				}
			}
		}
	}
}

// checkDepth refuses trees that recursion should not go down. Chains of
// concatenation do not count: they are evaluated without recursion.
func (in *interpreter) checkDepth(root ast.Vertex) error {
	type level struct {
		node  ast.Vertex
		depth int
	}
	stack := []level{{node: root}}
	for len(stack) > 0 {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if at.depth > maxDepth {
			return unreadable("it is nested too deeply", nil)
		}
		_, inChain := at.node.(*ast.ExprBinaryConcat)
		children(at.node, func(c ast.Vertex) {
			depth := at.depth + 1
			if _, chained := c.(*ast.ExprBinaryConcat); chained && inChain {
				depth = at.depth
			}
			stack = append(stack, level{node: c, depth: depth})
		})
	}
	return nil
}

// walk visits n and all nodes below it; visit returns false to stay out of a
// node. It does not recurse, so that long chains cost no stack.
func walk(n ast.Vertex, visit func(ast.Vertex) bool) {
	stack := []ast.Vertex{n}
	for len(stack) > 0 {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if isNil(at) || !visit(at) {
			continue
		}
		children(at, func(c ast.Vertex) { stack = append(stack, c) })
	}
}

// pinGlobals finds the variables that functions or references can change at
// any time: those in `global $x`, and those that a reference is taken of.
func (in *interpreter) pinGlobals(root ast.Vertex) {
	pin := func(n, at ast.Vertex, why string) {
		if name, ok := rootVariable(n); ok {
			in.pinned[name] = in.unknown(at, why)
		}
	}
	walk(root, func(n ast.Vertex) bool {
		switch n := n.(type) {
		case *ast.StmtGlobal:
			for _, v := range n.Vars {
				pin(v, n, "a function may change it")
			}
		case *ast.ExprAssignReference:
			pin(n.Var, n, "it is a reference")
			pin(n.Expr, n, "a reference to it is taken")
		case *ast.ExprArrayItem:
			if n.AmpersandTkn != nil {
				pin(n.Val, n, "a reference to it is taken")
			}
		case *ast.ExprClosureUse:
			if n.AmpersandTkn != nil {
				pin(n.Var, n, "a reference to it is taken")
			}
		case *ast.StmtForeach:
			if n.AmpersandTkn != nil {
				pin(n.Expr, n, "a reference to it is taken")
				pin(n.Var, n, "it is a reference")
			}
		}
		return true
	})
}

// spoil makes not literal whatever n, which is not understood, may change.
func (in *interpreter) spoil(n ast.Vertex, why string) {
	walk(n, func(n ast.Vertex) bool {
		spoil := func(target ast.Vertex) { in.spoilTarget(target, in.unknown(n, why)) }
		switch n := n.(type) {
		case *ast.StmtFunction, *ast.StmtClass, *ast.ExprClosure, *ast.ExprArrowFunction:
			return false // variables in there are local; pinGlobals saw the rest
		case *ast.ExprInclude:
			in.becomeOpaque(n, "an included file may set it")
		case *ast.ExprIncludeOnce:
			in.becomeOpaque(n, "an included file may set it")
		case *ast.ExprRequire:
			in.becomeOpaque(n, "an included file may set it")
		case *ast.ExprRequireOnce:
			in.becomeOpaque(n, "an included file may set it")
		case *ast.ExprEval:
			in.becomeOpaque(n, "eval() may set it")
		case *ast.ExprFunctionCall:
			in.spoilArguments(n)
		case *ast.ExprMethodCall:
			in.spoilDirect(n.Args, n)
		case *ast.ExprStaticCall:
			in.spoilDirect(n.Args, n)
		case *ast.StmtForeach:
			spoil(n.Key)
			spoil(n.Var)
		case *ast.StmtUnset:
			for _, v := range n.Vars {
				spoil(v)
			}
		case *ast.StmtStaticVar:
			spoil(n.Var)
		case *ast.StmtCatch:
			spoil(n.Var)
		case *ast.ExprPreInc:
			spoil(n.Var)
		case *ast.ExprPreDec:
			spoil(n.Var)
		case *ast.ExprPostInc:
			spoil(n.Var)
		case *ast.ExprPostDec:
			spoil(n.Var)
		default:
			if target := assignTarget(n); target != nil {
				spoil(target)
			}
		}
		return true
	})
}

// assignTarget returns the left side of any kind of assignment, nil for other
// nodes.
func assignTarget(n ast.Vertex) ast.Vertex {
	if !strings.HasPrefix(reflect.TypeOf(n).Elem().Name(), "ExprAssign") {
		return nil
	}
	field := reflect.ValueOf(n).Elem().FieldByName("Var")
	if !field.IsValid() || field.Type() != vertexType || field.IsNil() {
		return nil
	}
	return field.Interface().(ast.Vertex)
}

// harmless are functions, common in configuration files, that change none of
// the variables they are given.
var harmless = []string{
	"mysqli_", "define", "defined", "constant", "ini_set", "ini_get", "set_time_limit", "error_reporting", "date_default_timezone_set",
	"die", "exit", "header", "error_log", "trigger_error", "mb_internal_encoding", "function_exists", "getenv", "file_exists", "is_",
	"file_get_contents", "trim", "rtrim", "ltrim", "dirname", "basename", "realpath", "strlen", "substr", "explode", "implode",
	"in_array", "array_merge", "array_key_exists", "htmlspecialchars", "sprintf", "count", "strtolower", "strtoupper", "intval", "strpos",
	"session_", "setlocale", "putenv", "spl_autoload_register",
}

// spoilArguments spoils the variables that a call may change: functions can
// take their arguments by reference.
func (in *interpreter) spoilArguments(n *ast.ExprFunctionCall) {
	name := functionName(n)
	switch name {
	case "extract", "parse_str", "import_request_variables":
		in.becomeOpaque(n, name+"() may set it")
		return
	}
	if name == "define" && len(n.Args) > 0 {
		if c := in.eval(argument(n.Args[0])); c.kind == String {
			in.define(c.text, in.unknown(n, "it is defined under a condition"))
		}
	}
	for _, h := range harmless {
		if name == h || strings.HasSuffix(h, "_") && strings.HasPrefix(name, h) {
			return
		}
	}
	in.spoilDirect(n.Args, n)
}

func (in *interpreter) spoilDirect(args []ast.Vertex, at ast.Vertex) {
	for _, a := range args {
		if a := argument(a); a != nil {
			if _, ok := rootVariable(a); ok {
				in.spoilTarget(a, in.unknown(at, "a function may change it"))
			}
		}
	}
}

// spoilTarget makes the variables that stand in the place of an assignment's
// left side not literal.
func (in *interpreter) spoilTarget(target ast.Vertex, why Value) {
	if isNil(target) {
		return
	}
	if name, ok := rootVariable(target); ok {
		if name == "GLOBALS" {
			in.becomeOpaqueFor(why)
			return
		}
		in.variables[name] = why
		return
	}
	switch target.(type) {
	case *ast.ExprArray, *ast.ExprList, *ast.ExprArrayItem:
		walk(target, func(n ast.Vertex) bool {
			if name, ok := variableName(n); ok {
				in.variables[name] = why
			}
			return true
		})
	case *ast.ExprVariable: // $$x
		in.becomeOpaqueFor(why)
	}
}

// rootVariable returns x for $x, $x['k'] and $x['k']['l'].
func rootVariable(n ast.Vertex) (string, bool) {
	for {
		if name, ok := variableName(n); ok {
			return name, true
		}
		fetch, ok := n.(*ast.ExprArrayDimFetch)
		if !ok {
			return "", false
		}
		n = fetch.Var
	}
}

// becomeOpaque forgets all variables: from here on any may have any value, until
// the file sets it. Constants that were defined keep their value.
func (in *interpreter) becomeOpaque(n ast.Vertex, why string) { in.becomeOpaqueFor(in.unknown(n, why)) }

func (in *interpreter) becomeOpaqueFor(why Value) {
	in.opaque = &why
	clear(in.variables)
}
