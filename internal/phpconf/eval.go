package phpconf

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/VKCOM/php-parser/pkg/ast"
)

// eval returns the value of an expression. It has no side effects.
func (in *interpreter) eval(n ast.Vertex) Value {
	in.depth++
	defer func() { in.depth-- }()
	if in.depth > maxDepth {
		return in.unknown(n, "it is nested too deeply")
	}
	v := in.value(n)
	if v.line == 0 && !isNil(n) {
		if p := n.GetPosition(); p != nil {
			v.line = p.StartLine
		}
	}
	return v
}

func (in *interpreter) value(n ast.Vertex) Value {
	switch n := n.(type) {
	case *ast.ScalarString:
		return in.quoted(n)
	case *ast.ScalarEncapsed:
		return in.interpolated(n, n.Parts, '"')
	case *ast.ScalarHeredoc:
		return in.heredoc(n)
	case *ast.ScalarLnumber:
		return in.number(n, string(n.Value))
	case *ast.ScalarDnumber:
		return in.number(n, string(n.Value))
	case *ast.ExprBrackets:
		return in.eval(n.Expr)
	case *ast.ExprUnaryMinus:
		return in.signed(n, n.Expr, true)
	case *ast.ExprUnaryPlus:
		return in.signed(n, n.Expr, false)
	case *ast.ExprBinaryConcat:
		return in.concatChain(n)
	case *ast.ExprArray:
		return in.arrayLiteral(n)
	case *ast.ExprConstFetch:
		return in.constant(n)
	case *ast.ExprVariable:
		return in.variable(n)
	case *ast.ExprArrayDimFetch:
		return in.item(n)
	case *ast.ExprAssign:
		return in.unknown(n, "a larger expression sets it")
	case *ast.ExprFunctionCall:
		if name := plainName(n.Function); name != "" {
			return in.unknown(n, "it calls "+name+"()")
		}
		return in.unknown(n, "it calls a function")
	case *ast.ScalarMagicConstant:
		return in.unknown(n, "it uses "+string(n.Value))
	}
	return in.unknown(n, "it is an expression that only PHP can evaluate")
}

func (in *interpreter) quoted(n *ast.ScalarString) Value {
	raw := n.Value
	if len(raw) < 2 || n.MinusTkn != nil || raw[0] != raw[len(raw)-1] {
		return in.unknown(n, "its quotes were not understood")
	}
	switch raw[0] {
	case '\'':
		return Value{kind: String, text: singleQuoted(raw[1 : len(raw)-1])}
	case '"':
		if text, ok := escaped(raw[1:len(raw)-1], '"'); ok {
			return Value{kind: String, text: text}
		}
	}
	return in.unknown(n, "its quotes were not understood")
}

// interpolated joins the parts of a double-quoted string.
func (in *interpreter) interpolated(n ast.Vertex, parts []ast.Vertex, quote byte) Value {
	var out strings.Builder
	for _, part := range parts {
		if literal, ok := part.(*ast.ScalarEncapsedStringPart); ok {
			text, ok := escaped(literal.Value, quote)
			if !ok {
				return in.unknown(n, "it holds an escape that PHP refuses")
			}
			out.WriteString(text)
			continue
		}
		v := in.embedded(part)
		if !v.IsLiteral() || v.kind == Array {
			return in.unknown(n, why(v, "it embeds an array"))
		}
		text := v.Text()
		if !in.spend(len(text)) {
			return in.unknown(n, "it grows too large")
		}
		out.WriteString(text)
	}
	return Value{kind: String, text: out.String()}
}

// embedded returns the value of "$x", "$x[k]", "${x}" and "{$x['k']}".
func (in *interpreter) embedded(part ast.Vertex) Value {
	switch part := part.(type) {
	case *ast.ScalarEncapsedStringBrackets:
		return in.eval(part.Var)
	case *ast.ScalarEncapsedStringVar:
		name, ok := part.Name.(*ast.Identifier)
		if !ok || part.Dim != nil {
			return in.unknown(part, "it embeds an expression")
		}
		return in.read(strings.TrimPrefix(string(name.Value), "$"), part)
	case *ast.ExprVariable:
		return in.eval(part)
	case *ast.ExprArrayDimFetch:
		k, ok := in.bareKey(part.Dim)
		if !ok {
			return in.unknown(part, "it embeds an expression")
		}
		return in.itemAt(part, k)
	}
	return in.unknown(part, "it embeds an expression")
}

// bareKey returns the key in "$x[k]", where words and numbers are not PHP
// expressions: only a canonical decimal is an integer.
func (in *interpreter) bareKey(n ast.Vertex) (key, bool) {
	switch n := n.(type) {
	case *ast.ScalarString:
		return arrayKey(string(n.Value)), true
	case *ast.ScalarLnumber:
		return arrayKey(string(n.Value)), true
	case *ast.ExprUnaryMinus:
		if digits, ok := n.Expr.(*ast.ScalarLnumber); ok {
			return arrayKey("-" + string(digits.Value)), true
		}
	case *ast.ExprVariable:
		return keyOf(in.eval(n))
	}
	return key{}, false
}

func why(v Value, otherwise string) string {
	if v.why != "" {
		return v.why
	}
	return otherwise
}

// heredoc removes the last line end and the closing label's indentation, then
// decodes the parts (a nowdoc has no escapes).
func (in *interpreter) heredoc(n *ast.ScalarHeredoc) Value {
	if n.OpenHeredocTkn == nil {
		return in.unknown(n, "its quotes were not understood")
	}
	nowdoc := strings.Contains(string(n.OpenHeredocTkn.Value), "'")
	if len(n.Parts) == 0 {
		return Value{kind: String}
	}
	last, ok := n.Parts[len(n.Parts)-1].(*ast.ScalarEncapsedStringPart)
	if !ok {
		return in.unknown(n, "its quotes were not understood")
	}
	end := strings.LastIndexAny(string(last.Value), "\r\n")
	if end < 0 || strings.Trim(string(last.Value[end+1:]), " \t") != "" {
		return in.unknown(n, "its quotes were not understood")
	}
	indent := string(last.Value[end+1:])

	parts := make([]ast.Vertex, len(n.Parts))
	copy(parts, n.Parts)
	lineStart := true
	for i, part := range parts {
		literal, ok := part.(*ast.ScalarEncapsedStringPart)
		if !ok {
			if lineStart && indent != "" {
				return in.unknown(n, "its indentation was not understood")
			}
			lineStart = false
			continue
		}
		text := string(literal.Value)
		if i == len(parts)-1 {
			text = text[:end]
			if literal.Value[end] == '\n' {
				text = strings.TrimSuffix(text, "\r")
			}
		}
		text, ok = outdent(text, indent, lineStart, i == len(parts)-1)
		if !ok {
			return in.unknown(n, "its indentation was not understood")
		}
		parts[i] = &ast.ScalarEncapsedStringPart{Value: []byte(text)}
		lineStart = false
	}
	if nowdoc {
		var out strings.Builder
		for _, part := range parts {
			literal, ok := part.(*ast.ScalarEncapsedStringPart)
			if !ok {
				return in.unknown(n, "its quotes were not understood")
			}
			out.Write(literal.Value)
		}
		return Value{kind: String, text: out.String()}
	}
	return in.interpolated(n, parts, 0)
}

// outdent removes indent from the beginning of each line of text. Lines of
// blanks only may be shorter; any other line without it is a syntax error.
func outdent(text, indent string, lineStart, final bool) (string, bool) {
	if indent == "" {
		return text, true
	}
	var out strings.Builder
	for first := true; ; first = false {
		line, rest := text, ""
		at := strings.IndexAny(text, "\r\n")
		if at >= 0 {
			after := at + 1
			if text[at] == '\r' && after < len(text) && text[after] == '\n' {
				after++
			}
			line, rest = text[:after], text[after:]
		}
		if !first || lineStart {
			switch content := strings.TrimRight(line, "\r\n"); {
			case strings.HasPrefix(content, indent):
				line = line[len(indent):]
			case strings.Trim(content, " \t") == "" && (at >= 0 || final) && strings.HasPrefix(indent, content):
				line = line[len(content):]
			default:
				return "", false
			}
		}
		out.WriteString(line)
		if at < 0 {
			return out.String(), true
		}
		text = rest
	}
}

// number reads PHP's number forms. An integer that does not fit becomes a
// float, as in PHP.
func (in *interpreter) number(n ast.Vertex, raw string) Value {
	text := strings.ReplaceAll(strings.ToLower(raw), "_", "")
	base := 10
	digits := text
	switch {
	case strings.HasPrefix(text, "0x"):
		base, digits = 16, text[2:]
	case strings.HasPrefix(text, "0b"):
		base, digits = 2, text[2:]
	case strings.HasPrefix(text, "0o"):
		base, digits = 8, text[2:]
	case strings.ContainsAny(text, ".e"):
		f, err := strconv.ParseFloat(text, 64)
		if err != nil && !math.IsInf(f, 0) {
			return in.unknown(n, "its number was not understood")
		}
		return Value{kind: Float, float: f}
	case len(text) > 1 && text[0] == '0':
		base, digits = 8, text[1:]
	}
	if len(digits) > 400 {
		return in.unknown(n, "its number was not understood")
	}
	whole, ok := new(big.Int).SetString(digits, base)
	if !ok || digits == "" {
		return in.unknown(n, "its number was not understood")
	}
	if whole.IsInt64() {
		return Value{kind: Int, int: whole.Int64()}
	}
	f, _ := new(big.Float).SetInt(whole).Float64()
	return Value{kind: Float, float: f}
}

func (in *interpreter) signed(n, operand ast.Vertex, negative bool) Value {
	v := in.eval(operand)
	switch v.kind {
	case Int:
		if !negative {
			return v
		}
		if v.int == math.MinInt64 {
			return Value{kind: Float, float: -float64(v.int)}
		}
		return Value{kind: Int, int: -v.int}
	case Float:
		if negative {
			v.float = -v.float
		}
		return v
	}
	return in.unknown(n, why(v, "it is an expression that only PHP can evaluate"))
}

// concatChain evaluates a . b . c . …, which the parser nests to the left,
// without recursing along the chain.
func (in *interpreter) concatChain(n *ast.ExprBinaryConcat) Value {
	var parts []ast.Vertex
	var left ast.Vertex = n
	for {
		c, ok := left.(*ast.ExprBinaryConcat)
		if !ok {
			break
		}
		parts = append(parts, c.Right)
		left = c.Left
	}
	parts = append(parts, left)
	var out strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		v := in.eval(parts[i])
		if !v.IsLiteral() || v.kind == Array {
			return in.unknown(n, why(v, "it joins an array"))
		}
		text := v.Text()
		if !in.spend(len(text)) {
			return in.unknown(n, "it grows too large")
		}
		out.WriteString(text)
	}
	return Value{kind: String, text: out.String()}
}

// concat joins two values; false when that is not possible.
func (in *interpreter) concat(a, b Value) (Value, bool) {
	for _, v := range []Value{a, b} {
		if !v.IsLiteral() || v.kind == Array {
			return v, false
		}
	}
	left, right := a.Text(), b.Text()
	if !in.spend(len(left) + len(right)) {
		return Value{}, false
	}
	return Value{kind: String, text: left + right, line: b.line}, true
}

func (in *interpreter) arrayLiteral(n *ast.ExprArray) Value {
	a := newArray()
	for _, item := range n.Items {
		item, ok := item.(*ast.ExprArrayItem)
		if !ok || item == nil {
			return in.unknown(n, "it is a list of variables")
		}
		if item.Val == nil && item.Key == nil && item.EllipsisTkn == nil {
			continue // what stands after a trailing comma
		}
		if item.EllipsisTkn != nil || item.AmpersandTkn != nil {
			return in.unknown(n, "it spreads or refers to another array")
		}
		v := in.eval(item.Val)
		if item.Key == nil {
			if !a.append(v) {
				return in.unknown(n, "its keys were not understood")
			}
			continue
		}
		k, ok := keyOf(in.eval(item.Key))
		if !ok {
			return in.unknown(n, "one of its keys only PHP can evaluate")
		}
		a.set(k, v)
	}
	return Value{kind: Array, array: a}
}

// keyOf converts a value to an array key as PHP does; false for what PHP
// refuses, or converts with a complaint.
func keyOf(v Value) (key, bool) {
	switch v.kind {
	case String:
		return arrayKey(v.text), true
	case Int:
		return key{isInt: true, int: v.int}, true
	case Null:
		return key{}, true
	case Bool:
		if v.bool {
			return key{isInt: true, int: 1}, true
		}
		return key{isInt: true}, true
	case Float:
		if v.float == math.Trunc(v.float) && math.Abs(v.float) < 1<<53 {
			return key{isInt: true, int: int64(v.float)}, true
		}
	}
	return key{}, false
}

func (in *interpreter) constant(n *ast.ExprConstFetch) Value {
	name := plainName(n.Const)
	switch strings.ToLower(name) {
	case "true":
		return Value{kind: Bool, bool: true}
	case "false":
		return Value{kind: Bool}
	case "null":
		return Value{kind: Null}
	}
	switch name {
	case "PHP_EOL":
		return Value{kind: String, text: "\n"}
	case "DIRECTORY_SEPARATOR":
		return Value{kind: String, text: "/"}
	}
	if v, ok := in.constants[name]; ok {
		return in.shared(v)
	}
	if name == "" {
		name = "of another name space"
	}
	return in.unknown(n, "it uses the constant "+name)
}

func (in *interpreter) variable(n *ast.ExprVariable) Value {
	name, ok := variableName(n)
	if !ok {
		return in.unknown(n, "it uses a variable variable")
	}
	return in.read(name, n)
}

// read returns a variable's value. An unset one is null, as in PHP, but for
// those that PHP sets itself.
func (in *interpreter) read(name string, at ast.Vertex) Value {
	if strings.HasPrefix(name, "_") && strings.ToUpper(name) == name || name == "GLOBALS" || name == "this" ||
		name == "argv" || name == "argc" || name == "php_errormsg" || name == "http_response_header" {
		if _, set := in.variables[name]; !set || strings.HasPrefix(name, "_") || name == "GLOBALS" {
			return in.unknown(at, "it uses $"+name)
		}
	}
	v, ok := in.lookup(name)
	if !ok {
		return Value{}
	}
	if !v.IsLiteral() {
		return in.unknown(at, "it uses $"+name+", which is not literal")
	}
	return in.shared(v)
}

// shared notes that the value's array is now held twice.
func (in *interpreter) shared(v Value) Value {
	if v.array != nil {
		v.array.shared = true
	}
	return v
}

func (in *interpreter) item(n *ast.ExprArrayDimFetch) Value {
	if n.Dim == nil {
		return in.unknown(n, "it is an expression that only PHP can evaluate")
	}
	k, ok := keyOf(in.eval(n.Dim))
	if !ok {
		return in.unknown(n, "it is an expression that only PHP can evaluate")
	}
	return in.itemAt(n, k)
}

func (in *interpreter) itemAt(n *ast.ExprArrayDimFetch, k key) Value {
	base := in.eval(n.Var)
	if base.kind != Array {
		return in.unknown(n, why(base, "it is an expression that only PHP can evaluate"))
	}
	at, ok := base.array.index[k]
	if !ok {
		return Value{} // null, with a warning, as in PHP
	}
	v := base.array.values[at]
	if !v.IsLiteral() {
		return in.unknown(n, v.why)
	}
	return in.shared(v)
}
