package edit

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/goccy/go-yaml/ast"
)

// Config is what the file says as it is.
func (d *Document) Config() (*Config, error) { return config.Parse(d.path, d.data) }

// SameSettings says whether two configurations ask for the same of the service.
// Where it listens is left out: that can be said on the command line too.
func SameSettings(a, b *Config) bool {
	if a == nil || b == nil {
		return false
	}
	x, y := *a, *b
	x.Service.Listen, y.Service.Listen = "", ""
	x.Warnings, y.Warnings = nil, nil
	return reflect.DeepEqual(x.Apps, y.Apps) && reflect.DeepEqual(x.Defaults, y.Defaults) && reflect.DeepEqual(x.Service, y.Service) && reflect.DeepEqual(x.Console, y.Console)
}

// DestinationTypes lists the types that an entry of `notify` can have.
func DestinationTypes() []string { return config.DestinationTypes() }

// Keys returns the plain values of a section's text by key: texts, numbers, true
// and false. It is false where the text is no mapping: a list, or no YAML.
func Keys(text string) (map[string]string, bool) {
	if text == "" {
		return map[string]string{}, true
	}
	d, err := parse("", []byte(text))
	if err != nil {
		return nil, false
	}
	if _, ok := unwrap(d.body).(*ast.SequenceNode); ok || d.body == nil {
		return nil, false
	}
	values, _, err := d.mapping(d.body)
	if err != nil {
		return nil, false
	}
	found := map[string]string{}
	for _, v := range values {
		switch n := v.Value.(type) {
		case *ast.SequenceNode:
			var items []string
			for _, item := range n.Values {
				if s, ok := item.(ast.ScalarNode); ok {
					items = append(items, s.GetToken().Value)
				}
			}
			if len(items) == len(n.Values) {
				found[keyOf(v)] = strings.Join(items, ", ")
			}
		case ast.ScalarNode:
			found[keyOf(v)] = n.GetToken().Value
		}
	}
	return found, true
}

// Setting is a key of a section and the value that it is to have; "" removes it.
type Setting struct{ Key, Value string }

var plainValue = regexp.MustCompile(`^(?:[0-9]+|[0-9]{1,2}:[0-9]{2}|[A-Za-z0-9][A-Za-z0-9%./_-]*)$`)

// SetKeys changes keys of a section's text, which is a mapping or "", and leaves
// the others and the comments. One in braces is written on lines of its own.
func SetKeys(text string, settings []Setting) (string, error) {
	complex := &core.Error{Code: core.CodeUnsupported, Message: "this section is written in a way that the form cannot change", Hint: "change its text"}
	now, ok := Keys(text)
	if !ok {
		return "", complex
	}
	for _, s := range settings {
		if strings.ContainsFunc(s.Value, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return "", &core.Error{Code: core.CodeUsage, Message: fmt.Sprintf("the value of %q has more than one line", s.Key), Hint: "write it on one"}
		}
		if now[s.Key] == s.Value {
			continue
		}
		var err error
		if text, err = setKey(text, s); err != nil {
			return "", err
		}
	}
	text, err := normalText(text)
	if err != nil {
		return "", err
	}
	if n, err := oneValue(text); text != "" && (err != nil || n == nil) {
		// Nothing but comments is left.
		return "", nil
	}
	return text, nil
}

func setKey(text string, s Setting) (string, error) {
	complex := &core.Error{Code: core.CodeUnsupported, Message: "this section is written in a way that the form cannot change", Hint: "change its text"}
	text, err := unbraced(text)
	if err != nil {
		return "", err
	}
	line := ""
	if s.Value != "" {
		quoted := s.Value
		if !plainValue.MatchString(quoted) {
			b, err := json.Marshal(quoted)
			if err != nil {
				return "", err
			}
			quoted = string(b)
		}
		line = s.Key + ": " + quoted
	}
	d, err := parse("", []byte(text))
	if err != nil {
		return "", err
	}
	values, _, err := d.mapping(d.body)
	if err != nil {
		return "", err
	}
	entry := entryOf(values, s.Key)
	if entry == nil {
		if line == "" {
			return text, nil
		}
		return strings.TrimPrefix(strings.TrimRight(text, "\n")+"\n"+line, "\n"), nil
	}
	c, err := d.cut(place{name: s.Key, entry: entry})
	if err != nil || c.before != "" {
		return "", complex
	}
	var made []string
	if line != "" {
		if !c.block && !strings.Contains(c.text, "\n") {
			line += commentAfter(c.text)
		}
		made = []string{line}
	}
	lines := append(append(append([]string{}, d.lines[:c.first]...), made...), d.lines[c.last:]...)
	return strings.Join(lines, "\n"), nil
}

// commentAfter is the comment behind a value on its line, with space before it;
// "": there is none.
func commentAfter(value string) string {
	value = strings.TrimSpace(value)
	if value != "" && strings.ContainsRune(`"'`, rune(value[0])) {
		end := endOfQuoted(value, 0)
		if end < 0 || end > len(value) {
			return ""
		}
		value = value[end:]
	} else if strings.ContainsAny(value, `"'`) {
		return ""
	}
	if _, comment, ok := strings.Cut(" "+value, " #"); ok {
		return "  #" + comment
	}
	return ""
}

// unbraced writes a mapping in braces on lines of its own.
func unbraced(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	d, err := parse("", []byte(text))
	if err != nil {
		return "", err
	}
	values, flow, err := d.mapping(d.body)
	if err != nil || !flow {
		return text, err
	}
	complex := &core.Error{Code: core.CodeUnsupported, Message: "this section is written in a way that the form cannot change", Hint: "change its text"}
	m, ok := d.body.(*ast.MappingNode)
	if !ok || m.End == nil || len(d.lines) != 1 {
		return "", complex
	}
	row := d.lines[0]
	end, ok := byteOf(row, m.End.Position.Column)
	if !ok || row[end] != '}' {
		return "", complex
	}
	var out []string
	if comment := strings.TrimSpace(row[end+1:]); comment != "" {
		out = append(out, comment)
	}
	for i, v := range values {
		_, from := d.at(v.Key)
		to := end
		if i+1 < len(values) {
			_, to = d.at(values[i+1].Key)
		}
		raw := strings.TrimSpace(row[from:to])
		out = append(out, strings.TrimSpace(strings.TrimSuffix(raw, ",")))
	}
	made := strings.Join(out, "\n")
	next, err := parse("", []byte(made))
	if err != nil {
		return "", complex
	}
	before, ok1 := d.meaning(d.body)
	after, ok2 := next.meaning(next.body)
	if list, _ := before.([]pair); len(list) == 0 {
		return made, nil
	}
	if !ok1 || !ok2 || !reflect.DeepEqual(before, after) {
		return "", complex
	}
	return made, nil
}
