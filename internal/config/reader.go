package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/backstay/backstay/internal/core"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits on the file, so that a hostile one costs neither memory nor stack: a
// configuration of a thousand apps is far below them.
const (
	maxFileBytes = 256 << 10
	maxDepth     = 32     // of lists and mappings in one another
	maxNodes     = 50_000 // visited, counting what an alias stands for each time
	maxProblems  = 10     // reported at once
)

// position is a place in the file, counted from 1.
type position struct{ line, column int }

func positionOf(tk *token.Token) position {
	if tk == nil || tk.Position == nil {
		return position{1, 1}
	}
	return position{max(tk.Position.Line, 1), max(tk.Position.Column, 1)}
}

type problem struct {
	at            position
	message, hint string
}

// reader walks the syntax tree of one file, fills in a Config and gathers what
// is wrong.
type reader struct {
	name     string
	problems []problem
	warnings []core.Warning
	anchors  map[string]ast.Node
	nodes    int
	exceeded bool

	inlineSecret *position
}

func (r *reader) problem(at position, hint, format string, args ...any) {
	r.problems = append(r.problems, problem{at, fmt.Sprintf(format, args...), hint})
}

// err returns what was found wrong as one error, in the order of the file.
func (r *reader) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b problem) int {
		if a.at.line != b.at.line {
			return a.at.line - b.at.line
		}
		return a.at.column - b.at.column
	})
	var messages, hints []string
	for i, p := range r.problems {
		if i == maxProblems {
			messages = append(messages, fmt.Sprintf("%s: and %d more", r.name, len(r.problems)-maxProblems))
			break
		}
		messages = append(messages, fmt.Sprintf("%s:%d:%d: %s", r.name, p.at.line, p.at.column, p.message))
		if p.hint == "" {
			continue
		}
		hint := p.hint
		if len(r.problems) > 1 {
			hint = fmt.Sprintf("line %d: %s", p.at.line, hint)
		}
		if !slices.Contains(hints, hint) {
			hints = append(hints, hint)
		}
	}
	return &core.Error{
		Code: core.CodeConfig, Message: strings.Join(messages, "\n"), Hint: strings.Join(hints, "\n"),
	}
}

// parse returns the file's only document, or nil when there is none or when it
// is not YAML; then there are problems.
func (r *reader) parse(data []byte) ast.Node {
	if len(data) > maxFileBytes {
		r.problem(position{1, 1}, "", "the file has %d bytes, more than the %d that a configuration may have", len(data), maxFileBytes)
		return nil
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if at, ok := invalidText(data); !ok {
		r.problem(at, "save the file as UTF-8", "this is not UTF-8 text")
		return nil
	}
	tokens := lexer.Tokenize(string(data))
	if !r.shallow(tokens) {
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		at, message := position{1, 1}, "not YAML"
		var syntax interface {
			error
			GetToken() *token.Token
			GetMessage() string
		}
		if errors.As(err, &syntax) {
			at, message = positionOf(syntax.GetToken()), syntax.GetMessage()
		}
		hint := "check the indentation (spaces, not tabs), colons and quotes there"
		if lines := bytes.Split(data, []byte("\n")); at.line <= len(lines) && bareStar.Match(lines[at.line-1]) {
			hint = "put a value that begins with * into quotes"
		}
		r.problem(at, hint, "this is not YAML: %s", message)
		return nil
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType || doc.Body.Type() == ast.CommentGroupType {
			continue
		}
		if body != nil {
			r.problem(positionOf(doc.Body.GetToken()), "remove the line with ---", "there is a second document in the file")
			return nil
		}
		body = doc.Body
	}
	if body != nil {
		ast.Walk(r, body)
	}
	return body
}

// bareStar is a value that begins with *, as cron expressions do: an alias.
var bareStar = regexp.MustCompile(`:\s+\*`)

// Visit notes the anchors of the tree, for the aliases to be found.
func (r *reader) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok && a.Name != nil {
		name := a.Name.GetToken().Value
		if _, twice := r.anchors[name]; twice {
			r.problem(positionOf(a.GetToken()), "give each anchor a name of its own", "there are two anchors called %q", name)
		}
		r.anchors[name] = a.Value
	}
	return r
}

func invalidText(data []byte) (position, bool) {
	at := position{1, 1}
	for len(data) > 0 {
		c, n := utf8.DecodeRune(data)
		if (c == utf8.RuneError && n == 1) || c == 0 {
			return at, false
		}
		at.column++
		if c == '\n' {
			at = position{at.line + 1, 1}
		}
		data = data[n:]
	}
	return at, true
}

// shallow refuses a nesting so deep that the parser, which is recursive, would
// run out of stack. Deep nesting by indentation needs more bytes than a file
// may have; in one line it takes one byte a level.
func (r *reader) shallow(tokens token.Tokens) bool {
	flow, line, inLine := 0, 0, 0
	for _, tk := range tokens {
		if tk.Position.Line != line {
			line, inLine = tk.Position.Line, 0
		}
		switch tk.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType:
			inLine++
		case token.TagType:
			r.problem(positionOf(tk), "remove the tag; write the value by itself", "a configuration has no tags like %q", tk.Value)
			return false
		case token.AnchorType:
			inLine++
		}
		if flow > maxDepth || inLine > maxDepth {
			r.problem(positionOf(tk), "", "lists and mappings are nested deeper than %d levels", maxDepth)
			return false
		}
	}
	return true
}

// resolve returns what n stands for, looking through anchors and aliases, and
// nil when there is no such thing; then there is a problem.
func (r *reader) resolve(n ast.Node) ast.Node {
	for range maxDepth {
		r.nodes++
		if r.nodes > maxNodes {
			if !r.exceeded {
				r.problem(positionOf(n.GetToken()), "write the values out, or use fewer aliases", "the aliases make this too large")
			}
			r.exceeded = true
			return nil
		}
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.AliasNode:
			name := v.Value.GetToken().Value
			target, ok := r.anchors[name]
			if !ok {
				r.problem(positionOf(v.GetToken()), "", "there is no anchor %q", name)
				return nil
			}
			n = target
		default:
			return n
		}
	}
	r.problem(positionOf(n.GetToken()), "", "this alias stands for itself")
	return nil
}

// entry is one key of a mapping with its value.
type entry struct {
	key   string
	at    position // of the key
	value ast.Node
}

// entries returns what a mapping holds, with `<<` merged in behind its own
// keys. A null is an empty mapping; anything else is a problem and false.
func (r *reader) entries(n ast.Node, what string) ([]entry, bool) {
	return r.entriesWithin(n, what, maxDepth)
}

func (r *reader) entriesWithin(n ast.Node, what string, depth int) ([]entry, bool) {
	at := positionOf(n.GetToken())
	n = r.resolve(n)
	if n == nil {
		return nil, false
	}
	var values []*ast.MappingValueNode
	switch v := n.(type) {
	case *ast.NullNode:
		return nil, true
	case *ast.MappingNode:
		values = v.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{v}
	default:
		hint := "write the keys on lines of their own: key: value"
		if what != "" {
			hint = "write it as " + what + ": {key: value}, or the keys on lines of their own below it"
		}
		if what == "files" { // whose entries look like the plain paths of config
			hint = "write it as files: [{path: /path}]"
		}
		r.problem(at, hint, "%s must hold keys and values, not %s", sectionName(what), describe(n))
		return nil, false
	}
	var own, merged []entry
	for _, v := range values {
		key := v.Key.GetToken()
		if v.Key.IsMergeKey() {
			if depth == 0 {
				r.problem(positionOf(key), "", "this alias stands for itself")
				return nil, false
			}
			more, ok := r.entriesWithin(v.Value, "<<", depth-1)
			if !ok {
				return nil, false
			}
			merged = append(merged, more...)
			continue
		}
		if _, plain := v.Key.(ast.ScalarNode); !plain {
			r.problem(positionOf(key), "", "a key must be a plain word")
			return nil, false
		}
		if i := slices.IndexFunc(own, func(e entry) bool { return e.key == key.Value }); i >= 0 {
			r.problem(positionOf(key), "keep one of the two", "the key %q is here twice, first on line %d", key.Value, own[i].at.line)
			continue
		}
		own = append(own, entry{key.Value, positionOf(key), v.Value})
	}
	for _, m := range merged {
		if !slices.ContainsFunc(own, func(e entry) bool { return e.key == m.key }) {
			own = append(own, m)
		}
	}
	return own, true
}

// items returns what a list holds. A null is an empty list; anything else is a
// problem.
func (r *reader) items(n ast.Node, key string) []ast.Node {
	at := positionOf(n.GetToken())
	switch v := r.resolve(n).(type) {
	case nil, *ast.NullNode:
		return nil
	case *ast.SequenceNode:
		return v.Values
	default:
		hint := fmt.Sprintf("write it as %s: [one, two], or with a dash before each", key)
		if key == "files" {
			hint = "write it as files: [{path: /path}]"
		}
		r.problem(at, hint,
			"%q must be a list, not %s", key, describe(v))
		return nil
	}
}

// text returns a string. key names it in a problem.
func (r *reader) text(n ast.Node, key string) (string, bool) {
	at := positionOf(n.GetToken())
	switch v := r.resolve(n).(type) {
	case nil:
		return "", false
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return v.Value.Value, true
	case *ast.NullNode:
		r.problem(at, "give it a value, or remove the key", "%q has no value", key)
	case ast.ScalarNode:
		r.problem(at, "put it in quotes if it is meant as text", "%q must be text, not %s", key, describe(v))
	default:
		r.problem(at, "", "%q must be text, not %s", key, describe(v))
	}
	return "", false
}

// number returns a whole number within the bounds.
func (r *reader) number(n ast.Node, key string, low, high int) (int, bool) {
	at := positionOf(n.GetToken())
	v := r.resolve(n)
	if v == nil {
		return 0, false
	}
	if i, ok := v.(*ast.IntegerNode); ok {
		switch x := i.Value.(type) {
		case uint64:
			if x >= uint64(low) && x <= uint64(high) {
				return int(x), true
			}
		case int64:
			if x >= int64(low) && x <= int64(high) {
				return int(x), true
			}
		}
		r.problem(at, "", "%q must be a number from %d to %d, not %s", key, low, high, shown(i.GetToken().Value))
		return 0, false
	}
	got := describe(v)
	if s, ok := v.(*ast.StringNode); ok {
		got = fmt.Sprintf("the text %q", shown(s.Value))
	}
	r.problem(at, "", "%q must be a number from %d to %d, not %s", key, low, high, got)
	return 0, false
}

// truth reads true or false.
func (r *reader) truth(n ast.Node, key string) (value, ok bool) {
	at := positionOf(n.GetToken())
	v := r.resolve(n)
	if v == nil {
		return false, false
	}
	if b, ok := v.(*ast.BoolNode); ok {
		return b.Value, true
	}
	hint := ""
	if s, ok := v.(*ast.StringNode); ok {
		hint = map[string]string{"yes": "write true", "on": "write true", "no": "write false", "off": "write false"}[strings.ToLower(s.Value)]
	}
	r.problem(at, hint, "%q must be true or false, not %s", key, describe(v))
	return false, false
}

// item is an entry of a list, or the only one, which needs none.
type item struct {
	value  ast.Node
	listed bool
}

// oneOrMany returns what a list of mappings holds, or the mapping that stands
// in its place. Nothing at all is a problem, for it may be meant as either.
func (r *reader) oneOrMany(n ast.Node, key string) []item {
	at := positionOf(n.GetToken())
	switch v := r.resolve(n).(type) {
	case nil:
		return nil
	case *ast.NullNode:
		r.problem(at, fmt.Sprintf("write %s: [] for none, or remove the key", key), "%q has no value", key)
		return nil
	case *ast.SequenceNode:
		items := make([]item, len(v.Values))
		for i := range v.Values {
			items[i] = item{v.Values[i], true}
		}
		return items
	default:
		return []item{{n, false}}
	}
}

func describe(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys and values"
	case *ast.SequenceNode:
		return "a list"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.NullNode:
		return "nothing"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	default:
		return "this"
	}
}

// shown shortens a value for a message.
func shown(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return s
}
