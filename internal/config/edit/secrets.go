package edit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/config/strict"
	"github.com/backstay/backstay/internal/core"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// secret is where a secret stands that is written in a file.
type secret struct {
	line       int // from 0
	start, end int // bytes of the line
	raw        string
}

// secretKeys are keys whose values are secrets wherever they stand.
func secretKeys() []string { return []string{"password", "secret", "api_key", "client_secret"} }

// secretsOf finds the secrets below n: values of secretKeys, of headers, and the
// addresses of destinations that hold one. One that is written over several
// lines is an error, for it could not be hidden.
func secretsOf(lines []string, n ast.Node, within string) ([]secret, error) {
	f := &secretFinder{lines: lines}
	f.walk(n, within, false)
	slices.SortFunc(f.found, func(a, b secret) int {
		if a.line != b.line {
			return a.line - b.line
		}
		return a.start - b.start
	})
	return f.found, f.err
}

type secretFinder struct {
	lines []string
	found []secret
	err   error
}

// walk looks below n, which is the value of a key called within; hide says that
// all below it is secret.
func (f *secretFinder) walk(n ast.Node, within string, hide bool) {
	switch v := unwrap(n).(type) {
	case nil, *ast.NullNode, *ast.AliasNode:
	case *ast.SequenceNode:
		for _, item := range v.Values {
			f.walk(item, within, hide)
		}
	case *ast.MappingNode:
		f.entries(v.Values, within, hide)
	case *ast.MappingValueNode:
		f.entries([]*ast.MappingValueNode{v}, within, hide)
	default:
		if hide {
			f.add(v)
		}
	}
}

func (f *secretFinder) entries(values []*ast.MappingValueNode, within string, hide bool) {
	kind := ""
	if t := entryOf(values, "type"); t != nil && t.Value != nil {
		kind = t.Value.GetToken().Value
	}
	for _, v := range values {
		key := keyOf(v)
		secret := hide || slices.Contains(secretKeys(), key) || within == "notify" && (key == "headers" || key == "url" && kind != "itop" && kind != "itflow")
		if v.Key.IsMergeKey() {
			key = within
		}
		f.walk(v.Value, key, secret)
	}
}

func (f *secretFinder) add(n ast.Node) {
	tk := n.GetToken()
	at := strict.PositionOf(tk)
	fail := func() {
		if f.err == nil {
			f.err = refuse(at.Line, "a secret is written in a way that cannot be hidden", "write it on one line, or better in a file of its own: password_file")
		}
	}
	if at.Line > len(f.lines) {
		fail()
		return
	}
	line := f.lines[at.Line-1]
	start, ok := byteOf(line, at.Column)
	if !ok {
		fail()
		return
	}
	end := -1
	switch tk.Type {
	case token.DoubleQuoteType, token.SingleQuoteType:
		end = endOfQuoted(line, start)
	case token.LiteralType, token.FoldedType:
	default:
		if strings.HasPrefix(line[start:], tk.Value) && tk.Value != "" {
			end = start + len(tk.Value)
		}
	}
	if end < 0 {
		fail()
		return
	}
	f.found = append(f.found, secret{at.Line - 1, start, end, line[start:end]})
}

// byteOf turns a column, which counts characters, into bytes.
func byteOf(line string, column int) (int, bool) {
	n := 1
	for i := range line {
		if n == column {
			return i, true
		}
		n++
	}
	return 0, false
}

// endOfQuoted returns where the quoted text ends that begins at start, -1 when
// it does not on this line.
func endOfQuoted(line string, start int) int {
	quote := line[start]
	if quote != '"' && quote != '\'' {
		return -1
	}
	for i := start + 1; i < len(line); i++ {
		switch {
		case quote == '"' && line[i] == '\\':
			i++
		case line[i] != quote:
		case quote == '\'' && i+1 < len(line) && line[i+1] == '\'':
			i++
		default:
			return i + 1
		}
	}
	return -1
}

const placeholder = "(secret %d is kept)"

// replaceSecrets writes something in place of each secret.
func replaceSecrets(lines []string, secrets []secret, with func(i int, s secret) string) []string {
	out := slices.Clone(lines)
	for i, s := range slices.Backward(secrets) {
		out[s.line] = out[s.line][:s.start] + with(i, s) + out[s.line][s.end:]
	}
	return out
}

// starred hides secrets; those that are not in known are said to be new. nil
// knows all.
func starred(lines []string, secrets, known []secret) []string {
	return replaceSecrets(lines, secrets, func(_ int, s secret) string {
		if known != nil && !slices.ContainsFunc(known, func(k secret) bool { return k.raw == s.raw }) {
			return `"***** (new)"`
		}
		return `"*****"`
	})
}

// maskText replaces the secrets of a section's text by what stands for them.
func maskText(text, name string) (masked string, secrets []secret, err error) {
	lines := strings.Split(text, "\n")
	r := strict.New("")
	body := r.Parse([]byte(text))
	if err := r.Err(); err != nil || body == nil {
		return text, nil, err
	}
	secrets, err = secretsOf(lines, body, name)
	if err != nil {
		return "", nil, err
	}
	lines = replaceSecrets(lines, secrets, func(i int, _ secret) string { return fmt.Sprintf(`"`+placeholder+`"`, i+1) })
	return strings.Join(lines, "\n"), secrets, nil
}

// unmaskText puts secrets back where text has what stands for them, which must
// be where secrets stand: elsewhere they would be shown.
func unmaskText(text, name string, secrets []secret) (string, error) {
	lines := strings.Split(text, "\n")
	r := strict.New("")
	body := r.Parse([]byte(text))
	if r.Err() != nil || body == nil {
		return text, nil // which is said of it elsewhere
	}
	typed, err := secretsOf(lines, body, name)
	if err != nil {
		return "", err
	}
	left := strings.Join(replaceSecrets(lines, typed, func(_ int, _ secret) string { return "" }), "\n")
	for i := range secrets {
		if strings.Contains(left, fmt.Sprintf(placeholder, i+1)) {
			return "", &core.Error{
				Code: core.CodeUsage, Message: fmt.Sprintf("%q stands where no secret can be", fmt.Sprintf(placeholder, i+1)),
				Hint: "leave it as the value of the key that it was at, or write another value",
			}
		}
	}
	lines = replaceSecrets(lines, typed, func(_ int, s secret) string {
		for i, kept := range secrets {
			if strings.Trim(s.raw, `"'`) == fmt.Sprintf(placeholder, i+1) {
				return kept.raw
			}
		}
		return s.raw
	})
	return strings.Join(lines, "\n"), nil
}
