package edit

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/config/strict"
	"github.com/goccy/go-yaml/ast"
)

// said is a plain value somewhere in a section, with aliases and merges looked
// up.
type said struct {
	peer  string // to whom what stands beside it goes: type and address
	path  string // keys, from the peer's on
	value string
}

// saidAt is what is said, and where.
type saidAt struct {
	said
	key string
	at  strict.Position
}

var keptText = regexp.MustCompile(`\(secret [0-9]+ is kept\)`)

// addressKeys say where a destination sends to, and with that its secrets.
func addressKeys() []string {
	return []string{"type", "url", "url_file", "url_env", "host", "port", "issuer"}
}

// namesSecret says whether a key's value is where a secret is found.
func namesSecret(key string) bool {
	return strings.HasSuffix(key, "_file") || strings.HasSuffix(key, "_env")
}

// guard finds what would send a secret elsewhere than now. Whoever may change a
// section here need not know the secrets that the service can read: so those that
// are kept stay with their destination, and no others are named. shown is the
// text with what stands for secrets, next what the file would be.
func (d *Document) guard(at place, old cut, shown string, next *Document) ([]Problem, error) {
	before, err := d.saidBefore(at, old)
	if err != nil {
		return nil, err
	}
	value, err := oneValue(shown)
	if err != nil {
		return nil, hostile(err)
	}
	lines, typed, count, err := d.splice(at, old, shown, value)
	if err != nil {
		return nil, err
	}
	masked, err := parse(d.path, d.join(lines))
	if err != nil {
		return nil, hostile(err)
	}
	now, err := masked.saidIn(at)
	if err != nil {
		return nil, err
	}
	actual, err := next.saidIn(at)
	if err != nil {
		return nil, err
	}
	// A secret is put back as it is written in the file: it must not become
	// anything more than one value where it is put.
	if !slices.EqualFunc(now, actual, func(a, b saidAt) bool {
		return a.path == b.path && (a.value == b.value || keptText.MatchString(a.value))
	}) {
		return nil, hostile(errors.New("a secret would be more than one value there"))
	}
	var problems []Problem
	for _, s := range now {
		line := s.at.Line - typed
		p := Problem{Line: s.at.Line, Column: s.at.Column}
		kept := keptText.FindString(s.value)
		switch {
		case slices.Contains(before, s.said):
			continue
		case line < 1 || line > count:
			p.Message, p.Hint = fmt.Sprintf("%q takes over what another part of the file says (*)", strict.Shown(s.key)), "write it out"
		case kept != "":
			p.Message = fmt.Sprintf("%q cannot stay at %q: the secret would go elsewhere than now", kept, strict.Shown(s.key))
			p.Hint = "type the secret anew, or leave type and address of its destination as they are"
		case namesSecret(s.key):
			p.Message = fmt.Sprintf("a file or variable with a secret is named in backstay.yaml with an editor, not here: %q", strict.Shown(s.key))
			p.Hint = "type the secret itself here, or add the line on the machine; one that is there stays with the type and address that it is for"
		default:
			continue
		}
		if line >= 1 && line <= count {
			p.Typed = line
		}
		problems = append(problems, p)
	}
	return problems, nil
}

// saidBefore is what a section says now, with what stands for its secrets.
func (d *Document) saidBefore(at place, old cut) ([]said, error) {
	if at.entry == nil {
		return nil, nil
	}
	var own []secret
	for _, s := range d.secrets {
		if s.line >= old.first && s.line < old.last {
			own = append(own, s)
		}
	}
	_, numbered, err := maskText(old.text, at.name)
	if err != nil {
		return nil, err
	}
	if !slices.EqualFunc(own, numbered, func(a, b secret) bool { return a.raw == b.raw }) {
		return nil, refuse(old.first+1, "it cannot be told which secrets are in this section", "change it with an editor")
	}
	lines := replaceSecrets(d.lines, own, func(i int, _ secret) string { return fmt.Sprintf(`"`+placeholder+`"`, i+1) })
	masked, err := parse(d.path, []byte(strings.Join(lines, "\n")))
	if err != nil {
		return nil, err
	}
	all, err := masked.saidIn(at)
	var before []said
	for _, s := range all {
		before = append(before, s.said)
	}
	return before, err
}

// saidIn is all that a section says, in the order of the file.
func (d *Document) saidIn(at place) ([]saidAt, error) {
	there, err := d.find(at.scope, at.name)
	if err != nil || there.entry == nil || there.entry.Value == nil {
		return nil, err
	}
	c := collector{reader: d.reader}
	problems := d.reader.Problems()
	c.walk(there.entry.Value, saidAt{key: at.name}, 64)
	if d.reader.Problems() > problems || c.deep {
		return nil, refuse(lineOf(there.entry.Key), "the section is written in a way that cannot be followed", "write it without << and *, and each key once")
	}
	return c.all, nil
}

type collector struct {
	reader *strict.Reader
	all    []saidAt
	deep   bool
}

func (c *collector) walk(n ast.Node, in saidAt, depth int) {
	if n == nil {
		return
	}
	if depth == 0 {
		c.deep = true
		return
	}
	own := c.reader.Resolve(n)
	switch v := own.(type) {
	case nil, *ast.NullNode:
	case *ast.SequenceNode:
		for _, item := range v.Values {
			next := in
			next.path += "[]"
			c.walk(item, next, depth-1)
		}
	case *ast.MappingNode, *ast.MappingValueNode:
		entries, _ := c.reader.Entries(v, "")
		in.peer += "\n" + c.peer(entries)
		for _, e := range entries {
			next := in
			next.path, next.key = fmt.Sprintf("%s.%q", in.path, e.Key), e.Key
			c.walk(e.Value, next, depth-1)
		}
	default:
		in.value, in.at = textOf(v), strict.PositionOf(v.GetToken())
		c.all = append(c.all, in)
	}
}

// peer says to whom the values of a mapping go.
func (c *collector) peer(entries []strict.Entry) string {
	var b strings.Builder
	port := slices.ContainsFunc(entries, func(e strict.Entry) bool { return e.Key == "port" })
	for _, key := range append(addressKeys(), "tls") {
		i := slices.IndexFunc(entries, func(e strict.Entry) bool { return e.Key == key })
		// Without a port, it follows from how the connection is encrypted.
		if i < 0 || entries[i].Value == nil || key == "tls" && port {
			continue
		}
		if scalar, ok := c.reader.Resolve(entries[i].Value).(ast.ScalarNode); ok {
			fmt.Fprintf(&b, "%s=%q ", key, textOf(scalar))
		}
	}
	return b.String()
}

func textOf(n ast.Node) string {
	switch v := n.(type) {
	case *ast.LiteralNode:
		return v.Value.Value
	case *ast.StringNode:
		return v.Value
	}
	return n.GetToken().Value
}
