package edit

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/config/strict"
	"github.com/backstay/backstay/internal/core"
	"github.com/goccy/go-yaml/ast"
)

// Proposal is a file as it would be.
type Proposal struct {
	Before, After []byte // the file; secrets in it are as they are
	// Diff is what is different, with three lines around it; secrets are stars.
	// None when nothing is.
	Diff     []Line
	Problems []Problem // for which the file cannot be used so; none: it can
	Warnings []core.Warning
	// Text is what was asked for, for the form to be shown again.
	Text   string
	d      *Document
	config *Config
}

// Problem is something that is wrong with the file as it would be.
type Problem struct {
	Line, Column  int // of the file
	Message, Hint string
	// Typed is the line of what was typed, from 1; 0: it lies elsewhere.
	Typed int
}

// Changed says whether anything is different.
func (p *Proposal) Changed() bool { return !bytes.Equal(p.Before, p.After) }

// Config is what the file would say; nil where there are Problems.
func (p *Proposal) Config() *Config { return p.config }

// Replace proposes another text for a section, or with "" to remove it. One that
// is not there is added, and `defaults` too. A secret that would go elsewhere than
// now, and a newly named file or variable that holds one, is a Problem. Errors:
// as of Section; CodeUsage
// for a text that is not one value, or that would change something else.
func (d *Document) Replace(scope, name, text string) (*Proposal, error) {
	at, err := d.find(scope, name)
	if err != nil {
		return nil, err
	}
	text, err = normalText(text)
	if err != nil {
		return nil, err
	}
	asked := text
	var old cut
	if at.entry != nil {
		if old, err = d.cut(at); err != nil {
			return nil, err
		}
		shown, secrets, err := maskText(old.text, name)
		if err != nil {
			return nil, err
		}
		if now, _ := normalText(shown); now == text && text != "" {
			return d.propose(d.data, d, asked, 0, 0)
		}
		if text, err = unmaskText(text, name, secrets); err != nil {
			return nil, err
		}
	} else if text == "" {
		return d.propose(d.data, d, asked, 0, 0)
	}
	value, err := oneValue(text)
	if err != nil {
		var bad *strict.Error
		if !errors.As(err, &bad) {
			return nil, err
		}
		// It is no YAML: nothing is put into the file, and the problems are those
		// of the text.
		p := &Proposal{Before: d.data, After: d.data, Text: asked, d: d}
		for _, q := range bad.Problems {
			p.Problems = append(p.Problems, Problem{Line: q.At.Line, Column: q.At.Column, Message: q.Message, Hint: q.Hint, Typed: q.At.Line})
		}
		return p, nil
	}
	lines, typed, count, err := d.splice(at, old, text, value)
	if err != nil {
		return nil, err
	}
	after := d.join(lines)
	next, err := parse(d.path, after)
	if err != nil {
		return nil, hostile(err)
	}
	if err := d.same(next, scope, name, text, value); err != nil {
		return nil, err
	}
	if text != "" {
		problems, err := d.guard(at, old, asked, next)
		if err != nil {
			return nil, err
		}
		if len(problems) > 0 {
			// What is said of such a file elsewhere could hold the secret.
			return &Proposal{Before: d.data, After: d.data, Text: asked, Problems: problems, d: d}, nil
		}
	}
	return d.propose(after, next, asked, typed, count)
}

func hostile(err error) error {
	return &core.Error{Code: core.CodeUsage, Message: "the text cannot stand there", Err: err, Hint: "write the value of this section only, as YAML"}
}

// same makes sure that next says what was asked for and nothing else.
func (d *Document) same(next *Document, scope, name, text string, value ast.Node) error {
	before, ok1 := d.others(scope, name)
	after, ok2 := next.others(scope, name)
	if !ok1 || !ok2 || !reflect.DeepEqual(before, after) {
		return hostile(errors.New("something else in the file would be different too"))
	}
	at, err := next.find(scope, name)
	if err != nil {
		return hostile(err)
	}
	if (at.entry == nil) != (text == "") {
		return hostile(errors.New("the section would not be what was typed"))
	}
	if at.entry == nil {
		return nil
	}
	got, ok1 := next.meaning(at.entry.Value)
	want, ok2 := (&Document{reader: next.reader}).meaning(value)
	if !ok1 || !ok2 || !reflect.DeepEqual(got, want) {
		return hostile(errors.New("the section would not be what was typed"))
	}
	return nil
}

// normalText has plain line ends, and no blank lines around it.
func normalText(text string) (string, error) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	if len(text) > MaxBytes || strings.ContainsAny(text, "\r\x00\u0085\u2028\u2029\ufeff") {
		return "", &core.Error{Code: core.CodeUsage, Message: "the text is too long, or has characters that cannot be in a configuration", Hint: "write it as YAML"}
	}
	lines := strings.Split(text, "\n")
	blank := func(s string) bool { return strings.TrimSpace(s) == "" }
	for len(lines) > 0 && blank(lines[0]) {
		lines = lines[1:]
	}
	for len(lines) > 0 && blank(lines[len(lines)-1]) {
		lines = lines[:len(lines)-1]
	}
	lines, _ = dedent(lines)
	return strings.Join(lines, "\n"), nil
}

// oneValue parses a section's text; nil for "".
func oneValue(text string) (ast.Node, error) {
	if text == "" {
		return nil, nil
	}
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "---") || strings.HasPrefix(line, "...") || strings.HasPrefix(line, "%") {
			return nil, hostile(fmt.Errorf("a line begins with %q", line[:1]))
		}
	}
	r := strict.New("")
	n := r.Parse([]byte(text))
	if err := r.Err(); err != nil {
		return nil, err
	}
	if n == nil {
		return nil, &core.Error{Code: core.CodeUsage, Message: "there is no value, only comments", Hint: "to remove the section, leave nothing at all"}
	}
	return n, nil
}

// splice returns the file's lines with the section replaced. Its text has so many
// lines, and stands behind the first typed ones.
func (d *Document) splice(at place, old cut, text string, value ast.Node) (lines []string, typed, count int, err error) {
	if text == "" {
		lines, err = d.remove(at, old)
		return lines, 0, 0, err
	}
	count = strings.Count(text, "\n") + 1
	inline := count == 1 && flat(value)
	var made []string
	write := func(before, key, gap, head string, offset int) {
		indent := strings.Repeat(" ", len(before)+offset)
		if inline && head == "" {
			made = []string{before + key + gap + text}
			return
		}
		made = []string{before + key + head}
		for _, line := range strings.Split(text, "\n") {
			if strings.TrimSpace(line) != "" {
				line = indent + line
			}
			made = append(made, line)
		}
	}
	put := func(first, last int) {
		lines = slices.Concat(d.lines[:first], made, d.lines[last:])
		typed = first + len(made) - count
	}
	if at.entry != nil {
		offset, gap := d.step(), " "
		if _, list := unwrap(value).(*ast.SequenceNode); old.block && (old.offset > 0 || old.offset == 0 && list) && strings.TrimSpace(old.text) != "" {
			offset = old.offset
		}
		if !old.block {
			gap = old.gap
		}
		write(old.before, old.key, gap, strings.TrimRight(old.head, " "), offset)
		put(old.first, old.last)
		return lines, typed, count, nil
	}
	if len(at.siblings) > 0 {
		last := at.siblings[len(at.siblings)-1]
		line, column := d.at(last.Key)
		_, indent := d.at(at.siblings[0].Key)
		write(strings.Repeat(" ", indent), at.name+":", " ", "", d.step())
		end := d.extent(line, column, blockList(last.Value, column))
		put(end, end)
		return lines, typed, count, nil
	}
	// Nothing has the section yet: `defaults`, or the file, is without keys.
	step := d.step()
	if at.defaults != nil {
		line, column := d.at(at.defaults.Key)
		if end, ok := endOfKey(d.lines[line], column, "defaults"); !ok || !blankOrComment(d.lines[line][end:]) {
			return nil, 0, 0, refuse(line+1, `"defaults" is written in a way that only an editor can change`, "write its keys on lines of their own")
		}
		write(strings.Repeat(" ", column+step), at.name+":", " ", "", step)
		put(line+1, line+1)
		return lines, typed, count, nil
	}
	top, _, err := d.mapping(d.body)
	if err != nil || len(top) == 0 {
		return nil, 0, 0, refuse(1, "the configuration says nothing yet", "write one with: backstay init")
	}
	write(strings.Repeat(" ", step), at.name+":", " ", "", step)
	made = append([]string{"defaults:"}, made...)
	line, column := d.at(top[len(top)-1].Key)
	end := d.extent(line, column, blockList(top[len(top)-1].Value, column))
	if apps := entryOf(top, "apps"); apps != nil {
		end, _ = d.at(apps.Key)
		for end > 0 && strings.HasPrefix(d.lines[end-1], "#") {
			end--
		}
		made = append(made, "")
	}
	put(end, end)
	if made[len(made)-1] == "" {
		typed--
	}
	return lines, typed, count, nil
}

func blankOrComment(s string) bool {
	s = strings.TrimSpace(s)
	return s == "" || strings.HasPrefix(s, "#")
}

// flat says whether a value can stand on the line of its key.
func flat(n ast.Node) bool {
	switch v := n.(type) {
	case *ast.MappingNode:
		return v.IsFlowStyle
	case *ast.SequenceNode:
		return v.IsFlowStyle
	case *ast.MappingValueNode, *ast.AnchorNode, *ast.LiteralNode:
		return false
	}
	return true
}

// step is by how much the file indents.
func (d *Document) step() int {
	top, _, err := d.mapping(d.body)
	if err != nil {
		return 2
	}
	for _, entry := range top {
		if values, flow, err := d.mapping(entry.Value); err == nil && !flow && len(values) > 0 {
			if _, column := d.at(values[0].Key); column > 0 {
				return column
			}
		}
	}
	return 2
}

// remove returns the file's lines without the section.
func (d *Document) remove(at place, old cut) ([]string, error) {
	if strings.TrimSpace(old.before) == "" {
		return slices.Concat(d.lines[:old.first], d.lines[old.last:]), nil
	}
	// It is the first of a list's entry: the next one gets its dash.
	if len(at.siblings) < 2 {
		return nil, refuse(old.first+1, "nothing would be left of the entry", "remove the app with an editor")
	}
	line, column := d.at(at.siblings[1].Key)
	if line != old.last {
		return nil, refuse(old.first+1, "there are comments between this section and the next key", "move the name of the app to its first line")
	}
	lines := slices.Concat(d.lines[:old.first], d.lines[line:])
	lines[old.first] = old.before + d.lines[line][column:]
	return lines, nil
}

// join makes a file of lines, with the line ends of this one.
func (d *Document) join(lines []string) []byte {
	end := "\n"
	if d.crlf {
		end = "\r\n"
	}
	// A file without a line end after its last line keeps it so, unless that was
	// not the last line.
	if old := d.lines; lines[len(lines)-1] != "" && (len(old) == 0 || old[len(old)-1] == "" || lines[len(lines)-1] != old[len(old)-1]) {
		lines = append(slices.Clone(lines), "")
	}
	out := strings.Join(lines, end)
	if d.bom {
		out = "\ufeff" + out
	}
	return []byte(out)
}

// propose looks at what the file would be. text is shown again with it, and
// stands on count lines behind the first typed ones.
func (d *Document) propose(after []byte, next *Document, text string, typed, count int) (*Proposal, error) {
	p := &Proposal{Before: d.data, After: after, Text: text, d: d}
	p.Diff = difference(d.masked(), starred(next.lines, next.secrets, slices.Concat([]secret{}, d.secrets)))
	if len(p.Diff) == 0 && p.Changed() {
		p.Diff = []Line{{Kind: '+', Text: "# …"}} // line ends only
	}
	now, err := config.Parse(d.path, after)
	var bad *strict.Error
	switch {
	case errors.As(err, &bad):
		for _, q := range bad.Problems {
			problem := Problem{Line: q.At.Line, Column: q.At.Column, Message: q.Message, Hint: q.Hint}
			if n := q.At.Line - typed; n >= 1 && n <= count {
				problem.Typed = n
			}
			p.Problems = append(p.Problems, problem)
		}
		return p, nil
	case err != nil:
		return nil, err
	}
	p.config = now
	if now.HoldsSecret() && d.info != nil && d.info.Mode().Perm()&0o077 != 0 {
		p.Problems = append(p.Problems, Problem{
			Line: 1, Column: 1, Message: "a secret would be written in the file, which others than its owner can read",
			Hint: "on the machine: chmod 600 " + d.path + ", or name a file of its own there with an editor (password_file, url_file, …)",
		})
	}
	var known []core.Warning
	if old, err := config.Parse(d.path, d.data); err == nil {
		known = old.Warnings
	}
	for _, w := range now.Warnings {
		if !slices.ContainsFunc(known, func(k core.Warning) bool { return k.Code == w.Code && k.Message == w.Message }) {
			p.Warnings = append(p.Warnings, w)
		}
	}
	return p, nil
}
