package strict

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Field is one key of a mapping: how its value is read and what the JSON
// schema says of it.
type Field struct {
	Key    string
	Doc    string
	Schema map[string]any
	// Nested makes the schema, in place of Schema, where other fields are in it:
	// reading needs none, and there may be thousands of apps.
	Nested func() map[string]any
	Read   func(r *Reader, at Position, n ast.Node)
}

// Describe gives the field what editors show of it.
func (f Field) Describe(doc string) Field {
	f.Doc = doc
	return f
}

// Section reads a mapping into fields. It returns where each of its own keys
// stands, and whether it was a mapping.
func (r *Reader) Section(n ast.Node, what string, fields []Field) (map[string]Position, bool) {
	entries, ok := r.Entries(n, what)
	at := make(map[string]Position, len(entries))
	for _, e := range entries {
		i := slices.IndexFunc(fields, func(f Field) bool { return f.Key == e.Key })
		if i < 0 {
			keys := make([]string, len(fields))
			for j := range fields {
				keys[j] = fields[j].Key
			}
			r.Problem(e.At, NearestHint(e.Key, keys, "keys here"), "%s has no key %q", sectionName(what), Shown(e.Key))
			continue
		}
		at[e.Key] = e.At
		fields[i].Read(r, e.At, e.Value)
	}
	return at, ok
}

func sectionName(what string) string {
	if what == "" {
		return "the configuration"
	}
	return fmt.Sprintf("%q", what)
}

// TextField is any text, checked by check, which returns what is wrong with it
// and a hint. An empty text is right where check allows it.
func TextField(key string, into *string, check func(string) (wrong, hint string)) Field {
	return Field{
		Key: key, Schema: map[string]any{"type": "string"},
		Read: func(r *Reader, _ Position, n ast.Node) {
			s, ok := r.Text(n, key)
			if !ok {
				return
			}
			if check != nil {
				if wrong, hint := check(s); wrong != "" {
					r.Problem(PositionOf(n.GetToken()), hint, "%q %s", key, wrong)
					return
				}
			}
			*into = s
		},
	}
}

func NotEmpty(s string) (wrong, hint string) {
	if strings.TrimSpace(s) == "" {
		return "is empty", "give it a value, or remove the key"
	}
	return "", ""
}

func Absolute(s string) (wrong, hint string) {
	switch {
	case s == "":
		return NotEmpty(s)
	case strings.HasPrefix(s, "~"):
		return fmt.Sprintf("must be an absolute path, not %q", Shown(s)), "write the home folder out; ~ is not expanded here"
	case !path.IsAbs(s):
		return fmt.Sprintf("must be an absolute path, not %q", Shown(s)), "begin it with /"
	case strings.ContainsRune(s, 0):
		return "holds a zero byte", ""
	case slices.Contains(strings.Split(s, "/"), ".."):
		return fmt.Sprintf("must not hold .., as %q does", Shown(s)), fmt.Sprintf("did you mean %q?", path.Clean(s))
	}
	return "", ""
}

// PathField is an absolute path. It is stored without trailing and doubled
// slashes.
func PathField(key string, into *string, emptyAllowed bool) Field {
	f := TextField(key, into, func(s string) (string, string) {
		if s == "" && emptyAllowed {
			return "", ""
		}
		return Absolute(s)
	})
	read := f.Read
	f.Read = func(r *Reader, at Position, n ast.Node) {
		read(r, at, n)
		if *into != "" {
			*into = path.Clean(*into)
		}
	}
	f.Schema = map[string]any{"type": "string", "pattern": "^/"}
	if emptyAllowed {
		f.Schema["pattern"] = "^(/|$)"
	}
	return f
}

func OneOf(key string, into *string, what string, values ...string) Field {
	f := TextField(key, into, func(s string) (string, string) {
		if slices.Contains(values, s) {
			return "", ""
		}
		shownValues := slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == "" })
		return fmt.Sprintf("cannot be %q", Shown(s)), NearestHint(s, shownValues, what)
	})
	f.Schema = map[string]any{"enum": values}
	return f
}

func NumberField(key string, into *int, low, high int) Field {
	return Field{
		Key: key, Schema: map[string]any{"type": "integer", "minimum": low, "maximum": high},
		Read: func(r *Reader, _ Position, n ast.Node) {
			if v, ok := r.Number(n, key, low, high); ok {
				*into = v
			}
		},
	}
}

// BoolField is true or false.
func BoolField(key string, into *bool) Field {
	return Field{
		Key: key, Schema: map[string]any{"type": "boolean"},
		Read: func(r *Reader, _ Position, n ast.Node) {
			if v, ok := r.Truth(n, key); ok {
				*into = v
			}
		},
	}
}

// NotField is true where into is false.
func NotField(key string, into *bool) Field {
	f := BoolField(key, into)
	f.Read = func(r *Reader, _ Position, n ast.Node) {
		if v, ok := r.Truth(n, key); ok {
			*into = !v
		}
	}
	return f
}

// ListField is a list of texts, each checked by check. What `defaults` put
// into the list stays in front where add is true and goes where it is false.
func ListField(key string, into *[]string, add bool, check func(string) (wrong, hint string)) Field {
	return Field{
		Key: key, Schema: map[string]any{"type": "array", "items": map[string]any{"type": "string"}},
		Read: func(r *Reader, _ Position, n ast.Node) {
			var list []string
			if add {
				list = slices.Clone(*into)
			}
			for _, item := range r.Items(n, key) {
				s, ok := r.Text(item, key)
				if !ok {
					continue
				}
				if wrong, hint := check(s); wrong != "" {
					r.Problem(PositionOf(item.GetToken()), hint, "an entry of %q %s", key, wrong)
					continue
				}
				if !add || !slices.Contains(list, s) {
					list = append(list, s)
				}
			}
			*into = list
		},
	}
}

func SectionField(key string, fields []Field, check func(r *Reader, own Position, at map[string]Position)) Field {
	return Field{
		Key: key, Nested: func() map[string]any { return ObjectSchema(fields) },
		Read: func(r *Reader, own Position, n ast.Node) {
			if at, ok := r.Section(n, key, fields); ok && check != nil {
				check(r, own, at)
			}
		},
	}
}

func ObjectSchema(fields []Field) map[string]any {
	properties := make(map[string]any, len(fields))
	for _, f := range fields {
		schema := f.Schema
		if f.Nested != nil {
			schema = f.Nested()
		}
		property := make(map[string]any, len(schema)+1)
		for k, v := range schema {
			property[k] = v
		}
		if f.Doc != "" {
			property["description"] = f.Doc
		}
		properties[f.Key] = property
	}
	return map[string]any{"type": []string{"object", "null"}, "additionalProperties": false, "properties": properties}
}

// OneOrManySchema is the schema of a list that may be left away around its only
// entry.
func OneOrManySchema(one map[string]any) map[string]any {
	return map[string]any{"anyOf": []any{one, map[string]any{"type": "array", "items": one}}}
}

// StartOf returns where a mapping begins: its first key.
func (r *Reader) StartOf(n ast.Node) Position {
	switch v := n.(type) {
	case *ast.MappingNode:
		if !v.IsFlowStyle && len(v.Values) > 0 {
			return PositionOf(v.Values[0].Key.GetToken())
		}
	case *ast.MappingValueNode:
		return PositionOf(v.Key.GetToken())
	}
	return PositionOf(n.GetToken())
}
