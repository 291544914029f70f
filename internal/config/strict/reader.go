// Package strict reads a YAML file so that nothing in it is silently ignored: a
// key that is not known, a value of the wrong type and one that cannot be are
// problems with line and column and what was probably meant. The same fields
// that it reads with make the JSON schema of the file. It is for package config,
// and safe against hostile files: depth, size and aliases are bounded.
package strict

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
	MaxFileBytes = 256 << 10
	maxDepth     = 32     // of lists and mappings in one another
	maxNodes     = 50_000 // visited, counting what an alias stands for each time
	MaxProblems  = 10     // reported at once
)

// Position is a place in the file, counted from 1.
type Position struct{ Line, Column int }

// PositionOf returns where a token stands.
func PositionOf(tk *token.Token) Position {
	if tk == nil || tk.Position == nil {
		return Position{1, 1}
	}
	return Position{max(tk.Position.Line, 1), max(tk.Position.Column, 1)}
}

type problem struct {
	at            Position
	message, hint string
}

// Reader walks the syntax tree of one file, fills in what fields are for and
// gathers what is wrong. It is for one goroutine.
type Reader struct {
	name     string
	problems []problem
	anchors  map[string]ast.Node
	nodes    int
	exceeded bool

	// Examples is, by key, how a value is written that is no plain mapping or
	// list of texts.
	Examples map[string]string
	// Warnings is what may be so and is unwise.
	Warnings []core.Warning
	// Excusing has Excuse turn problems into warnings.
	Excusing bool
	// InlineSecret is where the first secret stands that is written in the file
	// itself, nil when there is none.
	InlineSecret *Position
}

// New returns a reader of the file called name.
func New(name string) *Reader { return &Reader{name: name, anchors: map[string]ast.Node{}} }

// Problems counts what was found wrong so far.
func (r *Reader) Problems() int { return len(r.problems) }

// Problem notes that something is wrong, and what to do about it; hint may be "".
func (r *Reader) Problem(at Position, hint, format string, args ...any) {
	r.problems = append(r.problems, problem{at, fmt.Sprintf(format, args...), hint})
}

// Excuse takes back the problems since there were so many, when the reader is
// Excusing: they become warnings. It returns them in words, "" for none. What it
// is about must then be left alone by whoever would act on it.
func (r *Reader) Excuse(since int, code string) string {
	if !r.Excusing || len(r.problems) <= since {
		return ""
	}
	var said []string
	for _, p := range r.problems[since:] {
		message := p.message
		if p.hint != "" {
			message += " (" + p.hint + ")"
		}
		r.Warn(p.at, code, message)
		said = append(said, fmt.Sprintf("line %d: %s", p.at.Line, message))
	}
	r.problems = r.problems[:since]
	return strings.Join(said, "; ")
}

// Warn notes that something may be so and is unwise.
func (r *Reader) Warn(at Position, code, message string) {
	r.Warnings = append(r.Warnings, core.Warning{Code: code, Object: fmt.Sprintf("%s:%d:%d", r.name, at.Line, at.Column), Message: message})
}

// Err returns what was found wrong as one error, in the order of the file.
func (r *Reader) Err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b problem) int {
		if a.at.Line != b.at.Line {
			return a.at.Line - b.at.Line
		}
		return a.at.Column - b.at.Column
	})
	var messages, hints []string
	for i, p := range r.problems {
		if i == MaxProblems {
			messages = append(messages, fmt.Sprintf("%s: and %d more", r.name, len(r.problems)-MaxProblems))
			break
		}
		messages = append(messages, fmt.Sprintf("%s:%d:%d: %s", r.name, p.at.Line, p.at.Column, p.message))
		if p.hint == "" {
			continue
		}
		hint := p.hint
		if len(r.problems) > 1 {
			hint = fmt.Sprintf("line %d: %s", p.at.Line, hint)
		}
		if !slices.Contains(hints, hint) {
			hints = append(hints, hint)
		}
	}
	whole := &core.Error{Code: core.CodeConfig, Message: strings.Join(messages, "\n"), Hint: strings.Join(hints, "\n")}
	found := &Error{whole: whole}
	for _, p := range r.problems {
		found.Problems = append(found.Problems, Problem{p.at, p.message, p.hint})
	}
	return found
}

// Problem is one thing that is wrong.
type Problem struct {
	At      Position
	Message string
	Hint    string // ""; or what to do about it
}

// Error is all that is wrong with a file: a core.Error that can also be taken
// apart.
type Error struct {
	whole    *core.Error
	Problems []Problem // in the order of the file
}

// Error lists the first MaxProblems, one a line.
func (e *Error) Error() string { return e.whole.Error() }

// Unwrap returns the core.Error.
func (e *Error) Unwrap() error { return e.whole }

// Parse returns the file's only document, or nil when there is none or when it
// is not YAML; then there are problems.
func (r *Reader) Parse(data []byte) ast.Node {
	if len(data) > MaxFileBytes {
		r.Problem(Position{1, 1}, "", "the file has %d bytes, more than the %d that a configuration may have", len(data), MaxFileBytes)
		return nil
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if at, ok := invalidText(data); !ok {
		r.Problem(at, "save the file as UTF-8", "this is not UTF-8 text")
		return nil
	}
	tokens := lexer.Tokenize(string(data))
	if !r.shallow(tokens) {
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		at, message := Position{1, 1}, "not YAML"
		var syntax interface {
			error
			GetToken() *token.Token
			GetMessage() string
		}
		if errors.As(err, &syntax) {
			at, message = PositionOf(syntax.GetToken()), syntax.GetMessage()
		}
		hint := "check the indentation (spaces, not tabs), colons and quotes there"
		if lines := bytes.Split(data, []byte("\n")); at.Line <= len(lines) && bareStar.Match(lines[at.Line-1]) {
			hint = "put a value that begins with * into quotes"
		}
		r.Problem(at, hint, "this is not YAML: %s", message)
		return nil
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType || doc.Body.Type() == ast.CommentGroupType {
			continue
		}
		if body != nil {
			r.Problem(PositionOf(doc.Body.GetToken()), "remove the line with ---", "there is a second document in the file")
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
func (r *Reader) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok && a.Name != nil {
		name := a.Name.GetToken().Value
		if _, twice := r.anchors[name]; twice {
			r.Problem(PositionOf(a.GetToken()), "give each anchor a name of its own", "there are two anchors called %q", name)
		}
		r.anchors[name] = a.Value
	}
	return r
}

func invalidText(data []byte) (Position, bool) {
	at := Position{1, 1}
	for len(data) > 0 {
		c, n := utf8.DecodeRune(data)
		if (c == utf8.RuneError && n == 1) || c == 0 {
			return at, false
		}
		at.Column++
		if c == '\n' {
			at = Position{at.Line + 1, 1}
		}
		data = data[n:]
	}
	return at, true
}

// shallow refuses a nesting so deep that the parser, which is recursive, would
// run out of stack. Deep nesting by indentation needs more bytes than a file
// may have; in one line it takes one byte a level.
func (r *Reader) shallow(tokens token.Tokens) bool {
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
			r.Problem(PositionOf(tk), "remove the tag; write the value by itself", "a configuration has no tags like %q", tk.Value)
			return false
		case token.AnchorType:
			inLine++
		}
		if flow > maxDepth || inLine > maxDepth {
			r.Problem(PositionOf(tk), "", "lists and mappings are nested deeper than %d levels", maxDepth)
			return false
		}
	}
	return true
}

// Resolve returns what n stands for, looking through anchors and aliases, and
// nil when there is no such thing; then there is a problem.
func (r *Reader) Resolve(n ast.Node) ast.Node {
	for range maxDepth {
		r.nodes++
		if r.nodes > maxNodes {
			if !r.exceeded {
				r.Problem(PositionOf(n.GetToken()), "write the values out, or use fewer aliases", "the aliases make this too large")
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
				r.Problem(PositionOf(v.GetToken()), "", "there is no anchor %q", name)
				return nil
			}
			n = target
		default:
			return n
		}
	}
	r.Problem(PositionOf(n.GetToken()), "", "this alias stands for itself")
	return nil
}

// Entry is one key of a mapping with its value.
type Entry struct {
	Key   string
	At    Position // of the key
	Value ast.Node
}

// Entries returns what a mapping holds, with `<<` merged in behind its own
// keys. A null is an empty mapping; anything else is a problem and false.
func (r *Reader) Entries(n ast.Node, what string) ([]Entry, bool) {
	return r.entriesWithin(n, what, maxDepth)
}

func (r *Reader) entriesWithin(n ast.Node, what string, depth int) ([]Entry, bool) {
	at := PositionOf(n.GetToken())
	n = r.Resolve(n)
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
		if example := r.Examples[what]; example != "" {
			hint = "write it as " + what + ": " + example
		}
		r.Problem(at, hint, "%s must hold keys and values, not %s", sectionName(what), describe(n))
		return nil, false
	}
	var own, merged []Entry
	for _, v := range values {
		key := v.Key.GetToken()
		if v.Key.IsMergeKey() {
			if depth == 0 {
				r.Problem(PositionOf(key), "", "this alias stands for itself")
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
			r.Problem(PositionOf(key), "", "a key must be a plain word")
			return nil, false
		}
		if i := slices.IndexFunc(own, func(e Entry) bool { return e.Key == key.Value }); i >= 0 {
			r.Problem(PositionOf(key), "keep one of the two", "the key %q is here twice, first on line %d", key.Value, own[i].At.Line)
			continue
		}
		own = append(own, Entry{key.Value, PositionOf(key), v.Value})
	}
	for _, m := range merged {
		if !slices.ContainsFunc(own, func(e Entry) bool { return e.Key == m.Key }) {
			own = append(own, m)
		}
	}
	return own, true
}

// Items returns what a list holds. A null is an empty list; anything else is a
// problem.
func (r *Reader) Items(n ast.Node, key string) []ast.Node {
	at := PositionOf(n.GetToken())
	switch v := r.Resolve(n).(type) {
	case nil, *ast.NullNode:
		return nil
	case *ast.SequenceNode:
		return v.Values
	default:
		hint := fmt.Sprintf("write it as %s: [one, two], or with a dash before each", key)
		if example := r.Examples[key]; example != "" {
			hint = "write it as " + key + ": " + example
		}
		r.Problem(at, hint,
			"%q must be a list, not %s", key, describe(v))
		return nil
	}
}

// Text returns a string. key names it in a problem.
func (r *Reader) Text(n ast.Node, key string) (string, bool) {
	at := PositionOf(n.GetToken())
	switch v := r.Resolve(n).(type) {
	case nil:
		return "", false
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return v.Value.Value, true
	case *ast.NullNode:
		r.Problem(at, "give it a value, or remove the key", "%q has no value", key)
	case ast.ScalarNode:
		r.Problem(at, "put it in quotes if it is meant as text", "%q must be text, not %s", key, describe(v))
	default:
		r.Problem(at, "", "%q must be text, not %s", key, describe(v))
	}
	return "", false
}

// Number returns a whole number within the bounds.
func (r *Reader) Number(n ast.Node, key string, low, high int) (int, bool) {
	at := PositionOf(n.GetToken())
	v := r.Resolve(n)
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
		r.Problem(at, "", "%q must be a number from %d to %d, not %s", key, low, high, Shown(i.GetToken().Value))
		return 0, false
	}
	got := describe(v)
	if s, ok := v.(*ast.StringNode); ok {
		got = fmt.Sprintf("the text %q", Shown(s.Value))
	}
	r.Problem(at, "", "%q must be a number from %d to %d, not %s", key, low, high, got)
	return 0, false
}

// Truth reads true or false.
func (r *Reader) Truth(n ast.Node, key string) (value, ok bool) {
	at := PositionOf(n.GetToken())
	v := r.Resolve(n)
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
	r.Problem(at, hint, "%q must be true or false, not %s", key, describe(v))
	return false, false
}

// Item is an entry of a list, or the only one, which needs none.
type Item struct {
	Value  ast.Node
	Listed bool
}

// OneOrMany returns what a list of mappings holds, or the mapping that stands
// in its place. Nothing at all is a problem, for it may be meant as either.
func (r *Reader) OneOrMany(n ast.Node, key string) []Item {
	at := PositionOf(n.GetToken())
	switch v := r.Resolve(n).(type) {
	case nil:
		return nil
	case *ast.NullNode:
		r.Problem(at, fmt.Sprintf("write %s: [] for none, or remove the key", key), "%q has no value", key)
		return nil
	case *ast.SequenceNode:
		items := make([]Item, len(v.Values))
		for i := range v.Values {
			items[i] = Item{v.Values[i], true}
		}
		return items
	default:
		return []Item{{n, false}}
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

// Shown shortens a value for a message.
func Shown(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return s
}
